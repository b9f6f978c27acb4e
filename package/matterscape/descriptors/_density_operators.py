"""Density expansion as torch operators: value, pull-back of gradients, push-forward of changes.

The density is linear in nothing but the weights, so its pull-back depends on the vectors too. The second derivative in
the vectors is rare (force training does not need it) and goes through the torch reference.
"""

from typing import Any

import numpy as np
import torch

from matterscape.basis._harmonics_kernels import harmonics_tables
from matterscape.basis.harmonics import harmonics_and_gradients
from matterscape.descriptors import _density_kernels as kernels
from matterscape.kernels import Operator


def _radial_reference(
    distances: torch.Tensor, table: torch.Tensor, inverse_step: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and slopes (P, n_functions) of the splines ``table`` at distances (P,)."""
    position = distances * inverse_step
    interval = position.detach().long().clamp(0, table.shape[0] - 1)
    t = (position - interval)[:, None]
    pieces = table[interval]
    value, slope = pieces[:, 5], torch.zeros_like(pieces[:, 5])
    for power in range(4, -1, -1):
        slope = slope * t + value
        value = value * t + pieces[:, power]
    return value, slope * inverse_step


def _parts_reference(
    vectors: torch.Tensor, table: torch.Tensor, inverse_step: float, max_angular: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Harmonics (P, lm), their gradients (P, 3, lm), radial values and slopes (P, lm, n), directions (P, 3)."""
    harmonics, gradients = harmonics_and_gradients.reference(vectors, max_angular)
    distances = vectors.norm(dim=1)
    repeats = torch.tensor([2 * l + 1 for l in range(max_angular + 1)], device=vectors.device)
    radial, slopes = (
        torch.repeat_interleave(part.unflatten(1, (max_angular + 1, -1)), repeats, dim=1)
        for part in _radial_reference(distances, table, inverse_step)
    )
    return harmonics, gradients, radial, slopes, vectors / distances[:, None]


def _first_atoms(offsets: torch.Tensor) -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())


def _accumulated(
    contributions: torch.Tensor, channels: torch.Tensor, offsets: torch.Tensor, n_channels: int
) -> torch.Tensor:
    """Sum contributions (P, lm, n) of the pairs into densities (N, lm, n_channels n)."""
    n_atoms, (n_harmonics, n_radial) = len(offsets) - 1, contributions.shape[1:]
    total = contributions.new_zeros(n_atoms * n_channels, n_harmonics, n_radial)
    total = total.index_add(0, _first_atoms(offsets) * n_channels + channels, contributions)
    return total.reshape(n_atoms, n_channels, n_harmonics, n_radial).transpose(1, 2).flatten(2).contiguous()


def _expansion_reference(
    vectors: torch.Tensor,
    weights: torch.Tensor,
    channels: torch.Tensor,
    offsets: torch.Tensor,
    table: torch.Tensor,
    inverse_step: float,
    max_angular: int,
    n_channels: int,
) -> torch.Tensor:
    """Densities (N, lm, n_channels n) of atoms whose pairs ``offsets[i]:offsets[i + 1]`` have the given vectors."""
    harmonics, _, radial, _, _ = _parts_reference(vectors, table, inverse_step, max_angular)
    contributions = (weights[:, None] * harmonics)[:, :, None] * radial
    return _accumulated(contributions, channels, offsets, n_channels)


def _pull_back_reference(
    gradient: torch.Tensor,
    vectors: torch.Tensor,
    weights: torch.Tensor,
    channels: torch.Tensor,
    offsets: torch.Tensor,
    table: torch.Tensor,
    inverse_step: float,
    max_angular: int,
    n_channels: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients on vectors (P, 3) and weights (P,) from a gradient on the densities."""
    harmonics, gradients, radial, slopes, directions = _parts_reference(vectors, table, inverse_step, max_angular)
    on_pairs = gradient.unflatten(2, (n_channels, -1))[_first_atoms(offsets), :, channels]  # (P, lm, n)
    by_value, by_slope = (on_pairs * radial).sum(2), (on_pairs * slopes).sum(2)
    along = (harmonics * by_slope).sum(1, keepdim=True) * directions
    across = torch.einsum("pxm,pm->px", gradients, by_value)
    return weights[:, None] * (along + across), (harmonics * by_value).sum(1)


def _push_forward_reference(
    tangents: torch.Tensor,
    weight_tangents: torch.Tensor,
    vectors: torch.Tensor,
    weights: torch.Tensor,
    channels: torch.Tensor,
    offsets: torch.Tensor,
    table: torch.Tensor,
    inverse_step: float,
    max_angular: int,
    n_channels: int,
) -> torch.Tensor:
    """Change of the densities for changes (P, 3) of the vectors and (P,) of the weights, to first order."""
    harmonics, gradients, radial, slopes, directions = _parts_reference(vectors, table, inverse_step, max_angular)
    turned = torch.einsum("pxm,px->pm", gradients, tangents)
    on_radial = weight_tangents[:, None] * harmonics + weights[:, None] * turned
    on_slopes = (weights * (directions * tangents).sum(1))[:, None] * harmonics
    contributions = on_radial[:, :, None] * radial + on_slopes[:, :, None] * slopes
    return _accumulated(contributions, channels, offsets, n_channels)


def _empty_density(like: torch.Tensor, offsets: torch.Tensor, table: torch.Tensor, max_angular: int, n_channels: int):
    n_radial = table.shape[2] // (max_angular + 1)
    return like.new_empty(offsets.shape[0] - 1, (max_angular + 1) ** 2, n_channels * n_radial)


def _zero_density(like: np.ndarray, offsets: np.ndarray, table: np.ndarray, max_angular: int, n_channels: int):
    n_radial = table.shape[2] // (max_angular + 1)
    return np.zeros((len(offsets) - 1, (max_angular + 1) ** 2, n_channels * n_radial), like.dtype)


def _expansion_body(vectors, weights, channels, offsets, table, inverse_step, max_angular, n_channels):
    density = _zero_density(vectors, offsets, table, max_angular, n_channels)
    tables = harmonics_tables(max_angular, vectors.dtype.name)
    kernels.accumulate(
        vectors, weights, channels, offsets, table, vectors.dtype.type(inverse_step), max_angular, tables, density
    )
    return density


def _pull_back_body(gradient, vectors, weights, channels, offsets, table, inverse_step, max_angular, n_channels):
    on_vectors, on_weights = np.empty_like(vectors), np.empty_like(weights)
    tables = harmonics_tables(max_angular, vectors.dtype.name)
    step = vectors.dtype.type(inverse_step)
    kernels.pull_back(
        gradient, vectors, weights, channels, offsets, table, step, max_angular, tables, on_vectors, on_weights
    )
    return on_vectors, on_weights


def _push_forward_body(
    tangents, weight_tangents, vectors, weights, channels, offsets, table, inverse_step, max_angular, n_channels
):
    density = _zero_density(vectors, offsets, table, max_angular, n_channels)
    tables = harmonics_tables(max_angular, vectors.dtype.name)
    step = vectors.dtype.type(inverse_step)
    kernels.push_forward(
        tangents,
        weight_tangents,
        vectors,
        weights,
        channels,
        offsets,
        table,
        step,
        max_angular,
        tables,
        density,
    )
    return density


def _expansion_derivative(inputs: Any, gradients: tuple[torch.Tensor, ...]):
    return (*density_pull_back(gradients[0], *inputs), *[None] * 6)


def _pull_back_derivative(inputs: Any, gradients: tuple[torch.Tensor, ...]):
    gradient, vectors, weights, *fixed = inputs
    on_gradient = density_push_forward(*gradients, vectors, weights, *fixed)
    if not (vectors.requires_grad or weights.requires_grad):
        return (on_gradient, *[None] * 8)
    with torch.enable_grad():
        # views: the gradient may depend on the same vectors, and that path is not this operator's
        vectors, weights = vectors.view_as(vectors), weights.view_as(weights)
        pulled = _pull_back_reference(gradient, vectors, weights, *fixed)
        product = sum((part * incoming).sum() for part, incoming in zip(pulled, gradients))
        wanted = [tensor for tensor in (vectors, weights) if tensor.requires_grad]
        results = iter(torch.autograd.grad(product, wanted, create_graph=gradients[0].requires_grad))
    second = [next(results) if tensor.requires_grad else None for tensor in (vectors, weights)]
    return (on_gradient, *second, *[None] * 6)


density_expansion = Operator(
    "density_expansion",
    reference=_expansion_reference,
    body=_expansion_body,
    fake=lambda vectors, weights, channels, offsets, table, inverse_step, max_angular, n_channels: _empty_density(
        vectors, offsets, table, max_angular, n_channels
    ),
    derivative=_expansion_derivative,
)
density_pull_back = Operator(
    "density_pull_back",
    reference=_pull_back_reference,
    body=_pull_back_body,
    fake=lambda gradient, vectors, weights, *_: (torch.empty_like(vectors), torch.empty_like(weights)),
    derivative=_pull_back_derivative,
)
density_push_forward = Operator(
    "density_push_forward",
    reference=_push_forward_reference,
    body=_push_forward_body,
    fake=lambda tangents, dw, vectors, weights, channels, offsets, table, step, max_angular, n_channels: _empty_density(
        vectors, offsets, table, max_angular, n_channels
    ),
)
