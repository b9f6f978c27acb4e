r"""A basis of 2 lambda + 1 tensors of order lambda from three vectors, for models that multiply them with invariants.

With maximal coupling, :math:`(a \tilde\otimes b)_{l_1 + l_2} = \sum C^{l_1 l_2 \to l_1 + l_2} a b`, and its powers of
one vector, :math:`q^{\tilde l} = \sqrt{4 \pi\, l! / (2 l + 1)!!}\, |q|^l Y_l(\hat q)`, the columns are

- :math:`q_1^{\tilde l} \tilde\otimes q_2^{\widetilde{\lambda - l}}` for l = 0 .. lambda, and
- :math:`(q_1^{\tilde l} \tilde\otimes q_2^{\widetilde{\lambda - 1 - l}}) \tilde\otimes q_3` for l = 0 .. lambda - 1.

They span all tensors of order lambda unless the vectors are coplanar: the modulus of their determinant is proportional
to :math:`|q_1 \cdot (q_2 \times q_3)|^\lambda |q_1 \times q_2|^{\lambda (\lambda - 1)}`. Coplanar vectors give the rank
lambda + 1, collinear ones 1. All entries are polynomials: nothing is normalised, so nothing is singular.

Reference: Domina, Bigi, Pegolo, Ceriotti, arXiv:2505.05404 (2025).
"""

import math

import numpy as np
import torch

from matterscape.basis.coupling import clebsch_gordan
from matterscape.descriptors import _tensor_basis_kernels as kernels
from matterscape.kernels import Operator

MAX_LAMBDA = 8


def maximally_coupled(vectors: torch.Tensor, lambda_: int) -> torch.Tensor:
    """Tensors of order lambda that three vectors span; differentiable twice.

    Parameters
    ----------
    vectors : torch.Tensor, (n_samples, 3, 3), float32 or float64
        Components (y, z, x) along the second axis, vectors q1, q2, q3 along the last.
    lambda_ : int
        From 0 to 8.

    Returns
    -------
    torch.Tensor, (n_samples, 2 lambda + 1, 2 lambda + 1)
        Components m = -lambda .. lambda along the second axis, tensors along the last. They turn like the real
        spherical harmonics and have the parity (-1)^lambda.

    Raises
    ------
    ValueError
        If the shape is another one, a component is not finite or ``lambda_`` is out of range.
    TypeError
        If the dtype is another one.
    """
    _check_vectors(vectors)
    if isinstance(lambda_, bool) or not isinstance(lambda_, int | np.integer) or not 0 <= lambda_ <= MAX_LAMBDA:
        raise ValueError(f"lambda_ is {lambda_!r}; accepted is a whole number from 0 to {MAX_LAMBDA}")
    if lambda_ == 0:
        return 0 * vectors[:, :1, :1] + 1
    return _values(vectors, int(lambda_))


def pseudoscalar(vectors: torch.Tensor) -> torch.Tensor:
    r"""The invariant :math:`-q_1 \cdot (q_2 \times q_3) / \sqrt 6`, which changes sign under inversion.

    Times the columns of :func:`maximally_coupled` for three other vectors it spans the tensors of opposite parity.

    Parameters
    ----------
    vectors : torch.Tensor, (n_samples, 3, 3)
        As for :func:`maximally_coupled`.

    Returns
    -------
    torch.Tensor, (n_samples,)
    """
    _check_vectors(vectors)
    first, second, third = vectors.unbind(dim=2)  # a cyclic order of the components leaves the product as it is
    return -(first * torch.linalg.cross(second, third)).sum(dim=1) / math.sqrt(6)


def contract_channels(features: torch.Tensor, weights: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Linear combinations of the channels of an equivariant feature, with weights that belong to the centre's species.

    Three combinations of the density of l = 1 are the vectors of :func:`maximally_coupled`; 2 lambda + 1 of the
    density of l = lambda complete them where a site is too symmetric to have three independent vectors.

    Parameters
    ----------
    features : torch.Tensor, (n_samples, 2 l + 1, n_channels)
    weights : torch.Tensor, (n_species, n_channels, n_combinations)
    centres : torch.Tensor, (n_samples,), int64
        Species of every sample as an index into the weights.

    Returns
    -------
    torch.Tensor, (n_samples, 2 l + 1, n_combinations)

    Raises
    ------
    ValueError
        If the shapes do not fit together, or an index is out of range.
    """
    if features.ndim != 3 or weights.ndim != 3 or features.shape[2] != weights.shape[1]:
        raise ValueError(
            f"features have shape {tuple(features.shape)} and weights {tuple(weights.shape)}; accepted are "
            "(n_samples, 2 l + 1, n_channels) and (n_species, n_channels, n_combinations)"
        )
    if centres.shape != features.shape[:1]:
        raise ValueError(f"centres have shape {tuple(centres.shape)}; accepted is ({len(features)},)")
    outside = (centres < 0) | (centres >= len(weights))
    if bool(outside.any()):
        raise ValueError(f"centres have the index {int(centres[outside][0])}; accepted is from 0 to {len(weights) - 1}")
    return torch.bmm(features, weights[centres])


def _check_vectors(vectors: torch.Tensor) -> None:
    if vectors.ndim != 3 or vectors.shape[1:] != (3, 3):
        raise ValueError(f"vectors have shape {tuple(vectors.shape)}; accepted is (n_samples, 3, 3)")
    # one number that is not finite makes the sum so, which costs less to look at
    if not bool(torch.isfinite(vectors.detach().sum())) and not bool(torch.isfinite(vectors).all()):
        sample = int((~torch.isfinite(vectors)).nonzero()[0, 0])
        raise ValueError(f"vectors of sample {sample} are not finite; accepted are finite components")


# numba bodies


def _run(kernel, lambda_: int, result: np.ndarray, *arrays: np.ndarray) -> np.ndarray:
    code = kernels.program(lambda_, result.dtype.name)
    flat = [array.reshape(len(array), array.shape[1] * array.shape[2]) for array in (*arrays, result)]
    kernel(*flat[:-1], code.inputs, code.outputs, code.n_slots, code.starts, code.factors, code.coefficients, flat[-1])
    return result


def _new(vectors, lambda_):
    return np.empty((len(vectors), 2 * lambda_ + 1, 2 * lambda_ + 1), vectors.dtype)


def _values_body(vectors, lambda_):
    return _run(kernels.values_kernel, lambda_, _new(vectors, lambda_), vectors)


def _jvp_body(vectors, directions, lambda_):
    return _run(kernels.jvp_kernel, lambda_, _new(vectors, lambda_), vectors, directions)


def _vjp_body(vectors, weights, lambda_):
    return _run(kernels.vjp_kernel, lambda_, np.empty_like(vectors), vectors, weights)


def _hvp_body(vectors, weights, directions, lambda_):
    return _run(kernels.hvp_kernel, lambda_, np.empty_like(vectors), vectors, weights, directions)


# torch bodies: the same list of couplings on tensors (n_samples, 2 l + 1)


def _table(coupling: kernels.Coupling, like: torch.Tensor) -> torch.Tensor:
    table = clebsch_gordan(coupling.l1, coupling.l2, coupling.l1 + coupling.l2)
    return torch.tensor(table, dtype=like.dtype, device=like.device)


def _couple(coupling: kernels.Coupling, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.einsum("abM,na,nb->nM", _table(coupling, left), left, right)


def _forwards(vectors: torch.Tensor, code: kernels.Program) -> list[torch.Tensor]:
    made = list(vectors.unbind(dim=2))
    for coupling in code.couplings:
        made.append(_couple(coupling, made[coupling.left], made[coupling.right]))
    return made


def _tangents(directions: torch.Tensor, made: list[torch.Tensor], code: kernels.Program) -> list[torch.Tensor]:
    changes = list(directions.unbind(dim=2))
    for coupling in code.couplings:
        by_left = _couple(coupling, changes[coupling.left], made[coupling.right])
        changes.append(by_left + _couple(coupling, made[coupling.left], changes[coupling.right]))
    return changes


def _backwards(gradients: list[torch.Tensor], made: list[torch.Tensor], code: kernels.Program) -> list[torch.Tensor]:
    """Gradients by all tensors; those by the results are given, zeros for the others."""
    gradients = list(gradients)
    for number in range(len(code.couplings) - 1, -1, -1):
        coupling = code.couplings[number]
        table, incoming = _table(coupling, made[0]), gradients[3 + number]
        by_left = torch.einsum("abM,nM,nb->na", table, incoming, made[coupling.right])
        by_right = torch.einsum("abM,nM,na->nb", table, incoming, made[coupling.left])
        gradients[coupling.left] = gradients[coupling.left] + by_left
        gradients[coupling.right] = gradients[coupling.right] + by_right
    return gradients


def _by_column(weights: torch.Tensor, made: list[torch.Tensor], code: kernels.Program) -> list[torch.Tensor]:
    gradients = [torch.zeros_like(tensor) for tensor in made]
    for column, tensor in enumerate(code.columns):
        gradients[tensor] = gradients[tensor] + weights[:, :, column]
    return gradients


def _values_reference(vectors: torch.Tensor, lambda_: int) -> torch.Tensor:
    code = kernels.program(lambda_)
    made = _forwards(vectors, code)
    return torch.stack([made[tensor] for tensor in code.columns], dim=2)


def _jvp_reference(vectors: torch.Tensor, directions: torch.Tensor, lambda_: int) -> torch.Tensor:
    code = kernels.program(lambda_)
    changes = _tangents(directions, _forwards(vectors, code), code)
    return torch.stack([changes[tensor] for tensor in code.columns], dim=2)


def _vjp_reference(vectors: torch.Tensor, weights: torch.Tensor, lambda_: int) -> torch.Tensor:
    code = kernels.program(lambda_)
    made = _forwards(vectors, code)
    return torch.stack(_backwards(_by_column(weights, made, code), made, code)[:3], dim=2)


def _hvp_reference(
    vectors: torch.Tensor, weights: torch.Tensor, directions: torch.Tensor, lambda_: int
) -> torch.Tensor:
    code = kernels.program(lambda_)
    made = _forwards(vectors, code)
    tangents = _tangents(directions, made, code)
    gradients = _backwards(_by_column(weights, made, code), made, code)
    changes = [torch.zeros_like(tensor) for tensor in made]
    for number in range(len(code.couplings) - 1, -1, -1):
        coupling = code.couplings[number]
        table, incoming, change = _table(coupling, made[0]), gradients[3 + number], changes[3 + number]
        for factors, target, other in (
            ("abM,nM,nb->na", coupling.left, coupling.right),
            ("abM,nM,na->nb", coupling.right, coupling.left),
        ):
            by_gradient = torch.einsum(factors, table, change, made[other])
            by_value = torch.einsum(factors, table, incoming, tangents[other])
            changes[target] = changes[target] + by_gradient + by_value
    return torch.stack(changes[:3], dim=2)


# operators, the derivative of each made of the next


def _like_values(vectors, *others):
    return vectors.new_empty(vectors.shape[0], 2 * others[-1] + 1, 2 * others[-1] + 1)


def _like_vectors(vectors, *others):
    return torch.empty_like(vectors, memory_format=torch.contiguous_format)


def _second(vectors, weights, directions, lambda_):
    # without a graph over the vectors nobody asks for second derivatives
    return _hvp(vectors, weights, directions, lambda_) if vectors.requires_grad else None


_hvp = Operator("maximally_coupled_hvp", reference=_hvp_reference, body=_hvp_body, fake=_like_vectors)
_jvp = Operator(
    "maximally_coupled_jvp",
    reference=_jvp_reference,
    body=_jvp_body,
    fake=_like_values,
    derivative=lambda inputs, gradients: (
        _second(inputs[0], gradients[0], inputs[1], inputs[2]),
        _vjp(inputs[0], gradients[0], inputs[2]),
        None,
    ),
)
_vjp = Operator(
    "maximally_coupled_vjp",
    reference=_vjp_reference,
    body=_vjp_body,
    fake=_like_vectors,
    derivative=lambda inputs, gradients: (
        _second(inputs[0], inputs[1], gradients[0], inputs[2]),
        _jvp(inputs[0], gradients[0], inputs[2]),
        None,
    ),
)
_values = Operator(
    "maximally_coupled",
    reference=_values_reference,
    body=_values_body,
    fake=_like_values,
    derivative=lambda inputs, gradients: (_vjp(inputs[0], gradients[0], inputs[1]), None),
)
