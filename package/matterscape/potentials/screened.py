"""Real-space part of long-ranged sums: pairs that interact through Gamma(p/2, a^2 r^2) / (Gamma(p/2) r^p).

With Q(s, x) = Gamma(s, x) / Gamma(s) and x = a^2 r^2 the function is Q(p/2, x) / r^p and its slope
-p Q(p/2 + 1, x) / r^(p+1). alpha = 0 gives the bare 1/r^p.
"""

import math

import numba
import numpy as np
import torch
from scipy.special import gammaincc

from matterscape.potentials._long_range_operator import long_range_operator


@numba.njit(nogil=True, cache=True)
def _regularised(x, exponent):
    """Q(p/2, x) and Q(p/2 + 1, x), by Q(s + 1, x) = Q(s, x) + x^s e^-x / Gamma(s + 1)."""
    decay = math.exp(-x)
    if exponent % 2:
        s, value, term = 0.5, math.erfc(math.sqrt(x)), math.sqrt(x / math.pi) * 2 * decay
    else:
        s, value, term = 1.0, decay, x * decay
    for _ in range((exponent - 1) // 2):
        value += term
        s += 1
        term *= x / s
    return value, value + term


@numba.njit(nogil=True, cache=True, parallel=True)
def screened_sums(
    centres, points, charges, second, offsets, alpha, exponent, cutoff, potentials, gradients, with_tensors, tensors
):
    """Potential (N,), gradient (N, 3) and tensor (N, 3, 3) at the centres from the points near each of them.

    Every pair in both orders; those beyond the cut-off are skipped.
    """
    for i in numba.prange(len(centres)):
        potential = 0.0
        gradient, tensor, vector = np.zeros(3), np.zeros((3, 3)), np.empty(3)
        for pair in range(offsets[i], offsets[i + 1]):
            j = second[pair]
            squared = 0.0
            for a in range(3):
                vector[a] = centres[i, a] - points[j, a]
                squared += vector[a] * vector[a]
            if squared >= cutoff * cutoff:
                continue
            bare = charges[j] / math.sqrt(squared) ** exponent
            near, steep = (1.0, 1.0) if alpha == 0.0 else _regularised(alpha * alpha * squared, exponent)
            slope = -exponent * bare * steep / squared
            potential += bare * near
            for a in range(3):
                gradient[a] += slope * vector[a]
                if with_tensors:
                    for b in range(3):
                        tensor[a, b] -= slope * vector[a] * vector[b]
        potentials[i] += potential
        for a in range(3):
            gradients[i, a] += gradient[a]
            if with_tensors:
                for b in range(3):
                    tensors[i, a, b] += tensor[a, b]


def _fields_body(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    first, second, shifts = geometry[:, 0], geometry[:, 1], geometry[:, 2:]
    n_atoms = len(positions)
    points = positions[second] + np.einsum("pk,pkx->px", shifts, cells[structure_index[first]])
    offsets = np.searchsorted(first, np.arange(n_atoms + 1))
    potential, gradient = np.zeros((len(sources), n_atoms)), np.zeros((len(sources), n_atoms, 3))
    tensor = np.zeros((n_atoms if with_tensor else 0, 3, 3))
    each = np.arange(len(first), dtype=np.int32)
    for index, source in enumerate(sources):
        last = with_tensor and index == len(sources) - 1
        screened_sums(
            positions, points, source[second], each, offsets, alpha, exponent, math.inf, potential[index],
            gradient[index], last, tensor,
        )  # fmt: skip
    return potential, gradient, tensor


def _fields_reference(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    first, second, shifts = geometry[:, 0], geometry[:, 1], geometry[:, 2:].to(cells.dtype)
    vectors = positions[first] - positions[second] - torch.einsum("pk,pkx->px", shifts, cells[structure_index[first]])
    squared = (vectors**2).sum(dim=1)
    values, slopes = squared ** (-exponent / 2), -exponent * squared ** (-exponent / 2 - 1)
    if alpha > 0:
        x = alpha**2 * squared
        values = values * torch.special.gammaincc(torch.full_like(x, exponent / 2), x)
        slopes = slopes * torch.special.gammaincc(torch.full_like(x, exponent / 2 + 1), x)

    def at_sites(contributions: torch.Tensor) -> torch.Tensor:
        return positions.new_zeros(len(positions), *contributions.shape[1:]).index_add(0, first, contributions)

    potential = torch.stack([at_sites(source[second] * values) for source in sources])
    along = slopes[:, None] * vectors
    gradient = torch.stack([at_sites(source[second, None] * along) for source in sources])
    tensor = -at_sites(sources[-1, second, None, None] * vectors[:, :, None] * along[:, None, :])
    return potential, gradient, tensor[: len(positions) if with_tensor else 0]


def pair_stiffness(vectors: np.ndarray, alpha: float, exponent: int) -> np.ndarray:
    """Second derivatives (P, 3, 3) of Q(p/2, a^2 r^2) / r^p in the vectors (P, 3)."""
    squared = (vectors**2).sum(axis=1)
    x = alpha**2 * squared
    slope = -exponent * gammaincc(exponent / 2 + 1, x) * squared ** (-exponent / 2 - 1)  # psi' / r
    bend = 2 * exponent * alpha**2 * x ** (exponent / 2) * np.exp(-x) / math.gamma(exponent / 2 + 1)
    curvature = -(exponent + 1) * slope + bend * squared ** (-exponent / 2)  # psi''
    along = ((curvature - slope) / squared)[:, None, None] * vectors[:, :, None] * vectors[:, None, :]
    return along + slope[:, None, None] * np.eye(3)


#: ``geometry`` (P, 5): first and second atom and whole-cell shifts of all directed pairs inside the cut-off.
screened_operator = long_range_operator("screened_pairs", _fields_body, _fields_reference)
