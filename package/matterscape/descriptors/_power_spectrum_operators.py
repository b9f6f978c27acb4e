"""Power spectrum of a density as torch operators, closed under differentiation.

P(a) is quadratic: with the symmetric bilinear B(a, b), P(a) = B(a, a), dP[v] = 2 B(a, v), and the transpose of
v -> 2 B(a, v) is the contraction C(g, a), which is linear in both arguments. Three kernels give all derivatives.
"""

import math

import numpy as np
import torch

from matterscape.descriptors import _power_spectrum_kernels as kernels
from matterscape.kernels import Operator


def n_features(n_channels: int, max_angular: int) -> int:
    """Number of columns of a power spectrum with ``n_channels`` (species, radial) channels."""
    return (max_angular + 1) * n_channels * (n_channels + 1) // 2


def channel_pairs(n_channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices q1 <= q2 in the order of the columns of one l."""
    return np.triu_indices(n_channels)


def _shell_factor(l: int) -> float:
    return (-1) ** l / math.sqrt(2 * l + 1)


def _weights(n_channels: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q1, q2 = (torch.from_numpy(q).to(like.device) for q in channel_pairs(n_channels))
    weights = torch.full_like(q1, math.sqrt(2.0), dtype=like.dtype)
    return q1, q2, weights.masked_fill(q1 == q2, 1.0)


def _bilinear_reference(a: torch.Tensor, b: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Symmetric bilinear form B(a, b) of densities (N, (max_angular + 1)^2, Q): (N, n_features)."""
    q1, q2, weights = _weights(a.shape[2], a)
    blocks = []
    for l in range(max_angular + 1):
        rows = slice(l * l, (l + 1) ** 2)
        products = torch.einsum("nmq,nmr->nqr", a[:, rows], b[:, rows]) * _shell_factor(l)
        blocks.append(0.5 * (products + products.transpose(1, 2))[:, q1, q2] * weights)
    return torch.cat(blocks, dim=1)


def _square_reference(a: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Power spectrum P(a) = B(a, a) of densities (N, (max_angular + 1)^2, Q): (N, n_features)."""
    return _bilinear_reference(a, a, max_angular)


def _contraction_reference(gradient: torch.Tensor, a: torch.Tensor, max_angular: int) -> torch.Tensor:
    """Transpose of v -> 2 B(a, v) applied to a gradient (N, n_features): (N, (max_angular + 1)^2, Q)."""
    n_channels = a.shape[2]
    q1, q2, weights = _weights(n_channels, a)
    blocks = gradient.reshape(gradient.shape[0], max_angular + 1, len(q1)) * weights
    matrices = gradient.new_zeros(gradient.shape[0], max_angular + 1, n_channels, n_channels)
    matrices[:, :, q1, q2] = blocks
    matrices = matrices + matrices.transpose(2, 3)
    parts = [
        torch.einsum("nqr,nmr->nmq", matrices[:, l], a[:, l * l : (l + 1) ** 2]) * _shell_factor(l)
        for l in range(max_angular + 1)
    ]
    return torch.cat(parts, dim=1)


def _bilinear_body(a, b, max_angular):
    features = np.empty((a.shape[0], n_features(a.shape[2], max_angular)), a.dtype)
    kernels.symmetric_products(a, b, max_angular, features)
    return features


def _square_body(a, max_angular):
    features = np.empty((a.shape[0], n_features(a.shape[2], max_angular)), a.dtype)
    kernels.squares(a, max_angular, features)
    return features


def _contraction_body(gradient, a, max_angular):
    result = np.empty_like(a)
    kernels.contraction(gradient, a, max_angular, result)
    return result


def _bilinear_derivative(inputs, gradients):
    a, b, max_angular = inputs
    return (
        0.5 * power_spectrum_contraction(gradients[0], b, max_angular),
        0.5 * power_spectrum_contraction(gradients[0], a, max_angular),
        None,
    )


def _square_derivative(inputs, gradients):
    return power_spectrum_contraction(gradients[0], *inputs), None


def _contraction_derivative(inputs, gradients):
    gradient, a, max_angular = inputs
    return (
        2 * power_spectrum_bilinear(a, gradients[0], max_angular),
        power_spectrum_contraction(gradient, gradients[0], max_angular),
        None,
    )


power_spectrum = Operator(
    "power_spectrum",
    reference=_square_reference,
    body=_square_body,
    fake=lambda a, max_angular: a.new_empty(a.shape[0], n_features(a.shape[2], max_angular)),
    derivative=_square_derivative,
)
power_spectrum_bilinear = Operator(
    "power_spectrum_bilinear",
    reference=_bilinear_reference,
    body=_bilinear_body,
    fake=lambda a, b, max_angular: a.new_empty(a.shape[0], n_features(a.shape[2], max_angular)),
    derivative=_bilinear_derivative,
)
power_spectrum_contraction = Operator(
    "power_spectrum_contraction",
    reference=_contraction_reference,
    body=_contraction_body,
    fake=lambda gradient, a, max_angular: torch.empty_like(a),
    derivative=_contraction_derivative,
)
