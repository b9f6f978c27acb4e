"""Bonded pairs and angles as one torch operator."""

import numpy as np
import torch

from matterscape.kernels import Operator
from matterscape.potentials import _bonded_kernels as kernels


def _reference(
    positions: torch.Tensor,
    weights: torch.Tensor,
    pairs: torch.Tensor,
    pair_rows: torch.Tensor,
    pair_parameters: torch.Tensor,
    angles: torch.Tensor,
    angle_rows: torch.Tensor,
    angle_parameters: torch.Tensor,
    thirds: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies, gradient of the weighted sum and its flux tensors, in extended atoms.

    Parameters
    ----------
    positions : tensor (M, 3)
        Extended atoms, in Å.
    weights : tensor (M,) or (0,)
        Weight of each energy in the sum that is differentiated; an empty tensor stands for ones.
    pairs (K, 2), pair_rows (K,), angles (A, 3), angle_rows (A,) : int64 tensors
        See :class:`~matterscape.potentials.topology.Topology`.
    pair_parameters (R, 9), angle_parameters (Q, 2) : tensors
        Columns as in ``_bonded_kernels``.
    thirds : bool
        Whether the energy of an angle belongs in thirds to its atoms instead of to the centre.

    Returns
    -------
    energies (M,), gradient (M, 3), pieces (M, 3, 3) : tensors
        U_i; d(sum_i w_i U_i)/dx_j; W_j^ab = -sum_i w_i (x_j - x_i)^a dU_i/dx_j^b.
    """
    if len(weights) == 0:
        weights = positions.new_ones(len(positions))
    energies = positions.new_zeros(len(positions))
    gradient, pieces = torch.zeros_like(positions), positions.new_zeros(len(positions), 3, 3)
    first, second = pairs.unbind(1)
    vectors = positions[second] - positions[first]
    r0, k2, k3, k4, q, a, rho, c, u0 = pair_parameters[pair_rows].unbind(1)
    r = vectors.norm(dim=1)
    x = r - r0
    repulsion, dispersion = a * torch.exp(-r / rho), c / r**6
    pair_energies = x**2 * (k2 + k3 * x + k4 * x**2) + q / r + repulsion - dispersion - u0
    slopes = x * (2 * k2 + 3 * k3 * x + 4 * k4 * x**2) - q / r**2 - repulsion / rho + 6 * dispersion / r
    pull = (0.5 * slopes / r)[:, None] * vectors
    energies = energies.index_add(0, first, 0.5 * pair_energies).index_add(0, second, 0.5 * pair_energies)
    sums = (weights[first] + weights[second])[:, None] * pull
    gradient = gradient.index_add(0, second, sums).index_add(0, first, -sums)
    outer = vectors[:, :, None] * pull[:, None, :]
    pieces = pieces.index_add(0, first, -weights[second, None, None] * outer)
    pieces = pieces.index_add(0, second, -weights[first, None, None] * outer)

    corners = positions[angles]  # (A, 3, 3)
    arms = corners - corners[:, 1:2]
    k, theta0 = angle_parameters[angle_rows].unbind(1)
    lengths = arms[:, ::2].norm(dim=2)  # (A, 2)
    directions = arms[:, ::2] / lengths[:, :, None]
    cosine = (directions[:, 0] * directions[:, 1]).sum(1)
    excess = torch.arccos(cosine) - theta0
    factor = -2 * k * excess / torch.sqrt(1 - cosine**2)
    on_ends = (directions.flip(1) - cosine[:, None, None] * directions) * (factor[:, None] / lengths)[:, :, None]
    on_corners = torch.stack([on_ends[:, 0], -on_ends.sum(1), on_ends[:, 1]], dim=1)
    sharing = positions.new_tensor([1 / 3, 1 / 3, 1 / 3] if thirds else [0.0, 1.0, 0.0])
    shares = sharing * weights[angles]  # (A, 3)
    total = shares.sum(1)[:, None, None]
    places = total * arms - (shares[:, :, None] * arms).sum(1, keepdim=True)
    flat = angles.reshape(-1)
    energies = energies.index_add(0, flat, ((k * excess**2)[:, None] * sharing).reshape(-1))
    gradient = gradient.index_add(0, flat, (total * on_corners).reshape(-1, 3))
    pieces = pieces.index_add(0, flat, -(places[:, :, :, None] * on_corners[:, :, None, :]).reshape(-1, 3, 3))
    return energies, gradient, pieces


def _body(positions, weights, pairs, pair_rows, pair_parameters, angles, angle_rows, angle_parameters, thirds):
    n_extended = len(positions)
    energies = np.zeros(n_extended, positions.dtype)
    gradient = np.zeros((n_extended, 3), positions.dtype)
    pieces = np.zeros((n_extended, 3, 3), positions.dtype)
    term = kernels.accumulate(
        positions,
        weights,
        pairs,
        pair_rows,
        pair_parameters,
        angles,
        angle_rows,
        angle_parameters,
        thirds,
        True,
        energies,
        gradient,
        pieces,
    )
    check_term(term, pairs, angles)
    return energies, gradient, pieces


def check_term(term: int, pairs: np.ndarray, angles: np.ndarray, owners: np.ndarray | None = None) -> None:
    """Raise for a term that has no force.

    Raises
    ------
    ValueError
        Naming the atoms, if ``term`` is not -1.
    """
    if term < 0:
        return
    straight = term >= len(pairs)
    atoms = angles[term - len(pairs)] if straight else pairs[term]
    atoms = (atoms if owners is None else owners[atoms]).tolist()
    if straight:
        raise ValueError(f"the angle of atoms {atoms} is straight or closed; its harmonic energy has no force there")
    raise ValueError(f"bonded atoms {atoms} coincide; they must be at least {kernels.SHORTEST_PAIR:g} Å apart")


def _derivative(inputs, gradients):
    on_energies, on_gradient, on_pieces = gradients
    results: list[torch.Tensor | None] = [None] * len(inputs)
    fitted = inputs[4].requires_grad or inputs[7].requires_grad
    if on_energies is not None and not fitted:
        results[0] = bonded(inputs[0], on_energies.contiguous(), *inputs[2:])[1]
        gradients = (None, on_gradient, on_pieces)
    if not any(gradient is not None for gradient in gradients):
        return results
    further = torch.is_grad_enabled()
    # second derivatives, and those in the parameters, by torch through the reference
    with torch.enable_grad():
        # views: the gradients may depend on the same tensors, and that path is not this operator's
        leaves = {k: inputs[k].view_as(inputs[k]) for k in (0, 1, 4, 7) if inputs[k].requires_grad}
        outputs = _reference(*(leaves.get(k, value) for k, value in enumerate(inputs)))
        product = sum((out * grad).sum() for out, grad in zip(outputs, gradients) if grad is not None)
        parts = torch.autograd.grad(product, list(leaves.values()), create_graph=further, allow_unused=True)
    for k, part in zip(leaves, parts):
        if part is not None:
            results[k] = part if results[k] is None else results[k] + part
    return results


bonded = Operator(
    "bonded",
    reference=_reference,
    body=_body,
    fake=lambda positions, *_: (
        positions.new_empty(positions.shape[0]),
        torch.empty_like(positions),
        positions.new_empty(positions.shape[0], 3, 3),
    ),
    derivative=_derivative,
    fill_missing=False,
)
