"""Real spherical harmonics of the directions of vectors, with first and second derivatives.

Orthonormal on the sphere, no Condon-Shortley phase, ``m = -l .. l`` inside each l, flat index ``l^2 + l + m``: the
components of l = 1 are ``sqrt(3 / 4 pi) (y, z, x) / r``. Same as sphericart's ``SphericalHarmonics``.
"""

from functools import lru_cache

import numpy as np
import torch

from matterscape.basis import _harmonics_kernels as kernels
from matterscape.kernels import Operator

MAX_ANGULAR = 50


def spherical_harmonics(vectors: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Real spherical harmonics of the directions of vectors; differentiable twice.

    Parameters
    ----------
    vectors : torch.Tensor, (n_vectors, 3), float32 or float64
        Of any length but zero, where the direction is not defined.
    max_angular : int
        Largest l, from 0 to 50.

    Returns
    -------
    torch.Tensor, (n_vectors, (max_angular + 1)^2)
        In the dtype of the vectors. The gradient is by the Cartesian vector, of ``Y(r / |r|)``.

    Raises
    ------
    ValueError
        If the shape is another one, ``max_angular`` is out of range, or a vector is zero or not finite.
    TypeError
        If the dtype is another one.
    """
    _check(vectors, max_angular)
    return _values(vectors, max_angular)


def spherical_harmonics_with_gradients(vectors: torch.Tensor, max_angular: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Real spherical harmonics and their gradients as tensors; differentiable once more.

    Parameters and errors as in ``spherical_harmonics``.

    Returns
    -------
    values : torch.Tensor, (n_vectors, (max_angular + 1)^2)
    gradients : torch.Tensor, (n_vectors, 3, (max_angular + 1)^2)
        By the Cartesian vector, of ``Y(r / |r|)``, in units of 1 / length.
    """
    _check(vectors, max_angular)
    return harmonics_and_gradients(vectors, max_angular)


def spherical_harmonics_with_hessians(
    vectors: torch.Tensor, max_angular: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Real spherical harmonics, gradients and second derivatives as tensors.

    Parameters and errors as in ``spherical_harmonics``. The second derivatives are not differentiable any further.

    Returns
    -------
    values : torch.Tensor, (n_vectors, (max_angular + 1)^2)
    gradients : torch.Tensor, (n_vectors, 3, (max_angular + 1)^2)
    hessians : torch.Tensor, (n_vectors, 3, 3, (max_angular + 1)^2)
    """
    _check(vectors, max_angular)
    return *harmonics_and_gradients(vectors, max_angular), _hessians(vectors, max_angular)


def _check(vectors: torch.Tensor, max_angular: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"vectors have shape {tuple(vectors.shape)}; accepted is (n_vectors, 3)")
    if isinstance(max_angular, bool) or not isinstance(max_angular, int) or not 0 <= max_angular <= MAX_ANGULAR:
        raise ValueError(f"max_angular is {max_angular!r}; accepted is a whole number from 0 to {MAX_ANGULAR}")


def _no_direction(lengths: np.ndarray | torch.Tensor) -> ValueError:
    invalid = int((~((lengths > 0) & (lengths < np.inf))).nonzero()[0][0])
    return ValueError(f"vector {invalid} has length {float(lengths[invalid])}; accepted are finite lengths above zero")


# numba bodies


def _run(kernel, vectors: np.ndarray, *arguments) -> None:
    *arguments, max_angular, output = arguments
    tables = kernels.harmonics_tables(max_angular, vectors.dtype.name)
    if not kernel(vectors, *arguments, max_angular, tables, *output):
        raise _no_direction(np.linalg.norm(vectors, axis=1))


def _values_body(vectors, max_angular):
    values = np.empty((len(vectors), (max_angular + 1) ** 2), vectors.dtype)
    _run(kernels.values_kernel, vectors, max_angular, [values])
    return values


def _with_gradients_body(vectors, max_angular):
    n = (max_angular + 1) ** 2
    memory = np.empty(len(vectors) * 4 * n, vectors.dtype)  # one piece: fresh pages cost more than the arithmetic
    values = memory[: len(vectors) * n].reshape(len(vectors), n)
    gradients = memory[len(vectors) * n :].reshape(len(vectors), 3 * n)
    _run(kernels.gradients_kernel, vectors, max_angular, [values, gradients])
    return values, gradients.reshape(len(vectors), 3, n)


def _hessians_body(vectors, max_angular):
    n = (max_angular + 1) ** 2
    hessians = np.empty((len(vectors), 9 * n), vectors.dtype)
    _run(kernels.hessians_kernel, vectors, max_angular, [hessians])
    return hessians.reshape(-1, 3, 3, n)


def _vjp_body(vectors, weights, max_angular):
    result = np.empty_like(vectors)
    _run(kernels.vjp_kernel, vectors, weights, max_angular, [result])
    return result


def _jvp_body(vectors, directions, max_angular):
    result = np.empty((len(vectors), (max_angular + 1) ** 2), vectors.dtype)
    _run(kernels.jvp_kernel, vectors, directions, max_angular, [result])
    return result


def _hvp_body(vectors, weights, directions, max_angular):
    result = np.empty_like(vectors)
    _run(kernels.hvp_kernel, vectors, weights, directions, max_angular, [result])
    return result


# torch bodies, the same algebra on (n_vectors, ...) tensors


@lru_cache(maxsize=32)
def _torch_tables(max_angular: int, dtype: torch.dtype, device: torch.device) -> kernels.HarmonicsTables:
    tables = kernels.harmonics_tables(max_angular)
    recursion, derivatives = (
        torch.tensor(table, dtype=dtype, device=device) for table in (tables.recursion, tables.derivatives)
    )
    return kernels.HarmonicsTables(recursion, torch.tensor(tables.rows, device=device), derivatives)


def _normalise(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (n_vectors, 3) and lengths (n_vectors, 1)."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    if not bool(((lengths > 0) & (lengths < torch.inf)).all()):
        raise _no_direction(lengths[:, 0])
    return vectors / lengths, lengths


def _shells(units: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Values (n_vectors, n) on the unit sphere."""
    recursion = _torch_tables(max_angular, units.dtype, units.device).recursion
    x, y, z = units[:, 0:1], units[:, 1:2], units[:, 2:3]
    shells = [torch.full_like(x, (4 * torch.pi) ** -0.5)]
    for angular in range(1, max_angular + 1):
        factor, minus = recursion[angular * angular : (angular + 1) ** 2].T
        below = shells[-1]
        cosine, sine = below[:, -1:], below[:, :1] if angular > 1 else torch.zeros_like(x)
        inner = factor[1:-1] * z * below
        if angular > 1:
            inner = inner - minus[1:-1] * torch.nn.functional.pad(shells[-2], (1, 1))
        outer = [factor[:1] * (x * sine + y * cosine), inner, factor[:1] * (x * cosine - y * sine)]
        shells.append(torch.cat(outer, dim=1))
    return torch.cat(shells, dim=1)


def _solid_gradient(solid: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Gradients (n_vectors, 3, n) of the solid harmonics (n_vectors, n)."""
    _, rows, derivatives = _torch_tables(max_angular, solid.dtype, solid.device)
    terms = derivatives.T * solid[:, rows.T]  # (n_vectors, 5, n)
    return torch.stack([terms[:, 0] + terms[:, 1], terms[:, 2] + terms[:, 3], terms[:, 4]], dim=1)


def _angular(max_angular: int, like: torch.Tensor) -> torch.Tensor:
    """The l of every column (n,)."""
    angular = torch.arange(max_angular + 1, device=like.device)
    return torch.repeat_interleave(angular, 2 * angular + 1).to(like.dtype)


def _values_reference(vectors: torch.Tensor, max_angular: int) -> torch.Tensor:
    units, _ = _normalise(vectors)
    return _shells(units, max_angular)


def _with_gradients_reference(vectors: torch.Tensor, max_angular: int) -> tuple[torch.Tensor, torch.Tensor]:
    units, lengths = _normalise(vectors)
    values = _shells(units, max_angular)
    radial = units[:, :, None] * (_angular(max_angular, units) * values)[:, None]
    return values, (_solid_gradient(values, max_angular) - radial) / lengths[:, :, None]


def _hessians_reference(vectors: torch.Tensor, max_angular: int) -> torch.Tensor:
    units, lengths = _normalise(vectors)
    angular = _angular(max_angular, units)
    values = _shells(units, max_angular)
    slopes = _solid_gradient(values, max_angular)
    second = torch.stack([_solid_gradient(slopes[:, a], max_angular) for a in range(3)], dim=1)  # (n_vectors, 3, 3, n)
    mixed = units[:, :, None, None] * slopes[:, None]
    dyad = units[:, :, None, None] * units[:, None, :, None]
    identity = torch.eye(3, dtype=units.dtype, device=units.device)[:, :, None]
    radial = angular * ((angular + 2) * dyad - identity) * values[:, None, None]
    return (second - angular * (mixed + mixed.transpose(1, 2)) + radial) / lengths[:, :, None, None] ** 2


def _vjp_reference(vectors: torch.Tensor, weights: torch.Tensor, max_angular: int) -> torch.Tensor:
    """``sum_lm weights_lm grad Y_lm``: (n_vectors, 3)."""
    return torch.einsum("in,ian->ia", weights, _with_gradients_reference(vectors, max_angular)[1])


def _jvp_reference(vectors: torch.Tensor, directions: torch.Tensor, max_angular: int) -> torch.Tensor:
    """``directions . grad Y_lm``: (n_vectors, n)."""
    return torch.einsum("ia,ian->in", directions, _with_gradients_reference(vectors, max_angular)[1])


def _hvp_reference(
    vectors: torch.Tensor, weights: torch.Tensor, directions: torch.Tensor, max_angular: int
) -> torch.Tensor:
    """``sum_lm weights_lm Hessian(Y_lm) directions``: (n_vectors, 3)."""
    units, lengths = _normalise(vectors)
    angular = _angular(max_angular, units)
    values = _shells(units, max_angular)
    slopes = _solid_gradient(values, max_angular)
    along = torch.einsum("ia,ian->in", directions, slopes)
    radial = (units * directions).sum(1, keepdim=True)
    weighted = angular * weights
    result = torch.einsum("in,ian->ia", weights, _solid_gradient(along, max_angular))
    result = result - radial * torch.einsum("in,ian->ia", weighted, slopes)
    result = result - units * (weighted * (along - (angular + 2) * radial * values)).sum(1, keepdim=True)
    result = result - directions * (weighted * values).sum(1, keepdim=True)
    return result / lengths**2


# operators, the derivative of each made of the next


def _like_values(vectors, *others):
    return vectors.new_empty(vectors.shape[0], (others[-1] + 1) ** 2)


def _like_vectors(vectors, *others):
    return torch.empty_like(vectors, memory_format=torch.contiguous_format)


def _second(vectors, weights, directions, max_angular):
    # without a graph over positions nobody asks for second derivatives
    return _hvp(vectors, weights, directions, max_angular) if vectors.requires_grad else None


_hvp = Operator(
    "spherical_harmonics_hvp",
    reference=_hvp_reference,
    body=_hvp_body,
    fake=_like_vectors,
)
_jvp = Operator(
    "spherical_harmonics_jvp",
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
    "spherical_harmonics_vjp",
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
    "spherical_harmonics",
    reference=_values_reference,
    body=_values_body,
    fake=_like_values,
    derivative=lambda inputs, gradients: (_vjp(inputs[0], gradients[0], inputs[1]), None),
)


def _with_gradients_derivative(inputs, gradients):
    vectors, max_angular = inputs
    by_values, by_gradients = gradients
    axes = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    rows = (_hvp(vectors, by_gradients[:, a].contiguous(), axes[a].expand_as(vectors), max_angular) for a in range(3))
    return _vjp(vectors, by_values, max_angular) + sum(rows), None


harmonics_and_gradients = Operator(
    "spherical_harmonics_with_gradients",
    reference=_with_gradients_reference,
    body=_with_gradients_body,
    fake=lambda vectors, max_angular: (
        _like_values(vectors, max_angular),
        vectors.new_empty(vectors.shape[0], 3, (max_angular + 1) ** 2),
    ),
    derivative=_with_gradients_derivative,
)
_hessians = Operator(
    "spherical_harmonics_hessians",
    reference=_hessians_reference,
    body=_hessians_body,
    fake=lambda vectors, max_angular: vectors.new_empty(vectors.shape[0], 3, 3, (max_angular + 1) ** 2),
)
