"""The torch operator of a long-ranged sum: energies, gradients and flux tensors from fields at the sites.

A long-ranged pair energy sum_i w_i U_i = 1/2 sum_ij w_i q_i q_j psi(r_ij) is bilinear in the sources a_i = w_i q_i and
q_i. Given the potential v, its gradient E and the tensor T of both sources at every site (the *fields*),

    U_i = q_i v_i / 2,   gradient_k = (a_k E_k[q] + q_k E_k[a]) / 2,   W_j = q_j T_j[a] / 2,
    d/dq_k = (w_k v_k[q] + v_k[a]) / 2,

where T^{ab}(r) = -sum_i a_i (r - r_i)^a d psi / dr^b. The sum of W_j is minus the derivative in the strain.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from matterscape.kernels import Operator


def assemble(charges: Any, weights: Any, potential: Any, gradient: Any, tensor: Any) -> tuple[Any, Any, Any, Any]:
    """Energies (N,), gradient (N, 3), pieces (N, 3, 3) and charge gradient (N,) from fields; numpy or torch.

    ``potential`` (C, N) and ``gradient`` (C, N, 3) for the charges and, last, the weighted charges (C = 1 if all
    weights are 1); ``tensor`` (N or 0, 3, 3) of the weighted charges.
    """
    return (
        0.5 * charges * potential[0],
        0.5 * charges[:, None] * ((weights * gradient[0].T).T + gradient[-1]),
        0.5 * charges[: len(tensor), None, None] * tensor,
        0.5 * (weights * potential[0] + potential[-1]),
    )


def strain_to_cells(
    on_strain: torch.Tensor,
    on_positions: torch.Tensor,
    positions: torch.Tensor,
    cells: torch.Tensor,
    structure_index: torch.Tensor,
) -> torch.Tensor:
    """Gradient on the cells (B, 3, 3) at fixed positions from the gradient on a strain that moves both.

    From r -> r (1 + e), h -> h (1 + e): dE/de = r^T dE/dr + h^T dE/dh.
    """
    moved = on_positions.new_zeros(cells.shape).index_add(
        0, structure_index, positions[:, :, None] * on_positions[:, None, :]
    )
    return torch.linalg.solve(cells.transpose(1, 2), on_strain - moved)


def long_range_operator(
    name: str, fields_body: Callable[..., tuple[Any, Any, Any]], fields_reference: Callable[..., tuple[Any, Any, Any]]
) -> Operator:
    """Operator ``(positions, cells, charges, weights, structure_index, geometry, alpha, exponent, with_pieces)``.

    It returns energies (N,) (never weighted), gradient (N, 3), pieces (N or 0, 3, 3) and charge gradient (N,) of the
    weighted sum of energies, without self energies; ``weights`` (N,), or (0,) for all one.

    Parameters
    ----------
    name : str
    fields_body, fields_reference : callable
        ``(positions, cells, sources (C, N), structure_index, geometry, alpha, exponent, with_pieces)`` to fields:
        potential (C, N), gradient (C, N, 3), tensor (N or 0, 3, 3) of the last source; in numpy, and in differentiable
        torch.
    """

    def reference(
        positions: torch.Tensor,
        cells: torch.Tensor,
        charges: torch.Tensor,
        weights: torch.Tensor,
        structure_index: torch.Tensor,
        geometry: torch.Tensor,
        alpha: float,
        exponent: int,
        with_pieces: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energies, gradient, pieces and charge gradient of a long-ranged sum."""
        unit = weights.shape[0] == 0
        sources = charges[None] if unit else torch.stack([charges, weights * charges])
        fields = fields_reference(positions, cells, sources, structure_index, geometry, alpha, exponent, with_pieces)
        return assemble(charges, torch.ones_like(charges) if unit else weights, *fields)

    def body(positions, cells, charges, weights, structure_index, geometry, alpha, exponent, with_pieces):
        dtype = positions.dtype
        positions, cells, charges, weights = (a.astype(np.float64) for a in (positions, cells, charges, weights))
        unit = len(weights) == 0
        sources = charges[None] if unit else np.stack([charges, weights * charges])
        fields = fields_body(positions, cells, sources, structure_index, geometry, alpha, exponent, with_pieces)
        results = assemble(charges, np.ones_like(charges) if unit else weights, *fields)
        return tuple(np.ascontiguousarray(result, dtype=dtype) for result in results)

    def fake(positions, cells, charges, weights, structure_index, geometry, alpha, exponent, with_pieces):
        n_atoms = positions.shape[0]
        pieces = positions.new_empty(n_atoms if with_pieces else 0, 3, 3)
        return charges.new_empty(n_atoms), torch.empty_like(positions), pieces, charges.new_empty(n_atoms)

    def derivative(inputs, gradients):
        positions, cells, charges, weights, structure_index, *fixed, with_pieces = inputs
        on_energies, *others = gradients
        total = [None] * 4
        if on_energies is not None:
            _, on_positions, pieces, on_charges = operator(
                positions, cells, charges, on_energies.contiguous(), structure_index, *fixed, cells.requires_grad
            )
            total[0], total[2] = on_positions, on_charges
            if cells.requires_grad:
                on_strain = -cells.new_zeros(cells.shape).index_add(0, structure_index, pieces)
                total[1] = strain_to_cells(on_strain, on_positions, positions, cells, structure_index)
        if any(other is not None for other in others):
            further = torch.is_grad_enabled()
            with torch.enable_grad():
                # views: what comes in may depend on the same tensors, and that path is not this operator's
                tensors = [t.view_as(t) for t in (positions, cells, charges, weights)]
                results = reference(*tensors, structure_index, *fixed, with_pieces)[1:]
                product = sum((result * other).sum() for result, other in zip(results, others) if other is not None)
                wanted = [place for place, tensor in enumerate(tensors) if tensor.requires_grad]
                parts = torch.autograd.grad(
                    product, [tensors[place] for place in wanted], create_graph=further, allow_unused=True
                )
            for place, part in zip(wanted, parts):
                if part is not None:
                    total[place] = part if total[place] is None else total[place] + part
        return (*total, *[None] * 5)

    operator = Operator(name, reference=reference, body=body, fake=fake, derivative=derivative, fill_missing=False)
    return operator
