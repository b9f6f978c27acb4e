"""Numba loops of the spherical expansion: harmonics, radial functions and accumulation in one pass over the pairs.

The density of an atom is (lm, channel), channel = (species channel, radial) innermost. Pairs come sorted by their
first atom; blocks of neighbours go through the harmonics together so that those vectorise over the neighbours.
"""

import numba
import numpy as np

from matterscape.basis.spherical_harmonics import BLOCK, harmonics_block, harmonics_gradients_block
from matterscape.basis.splines import evaluate_spline

FAST = {"contract", "nsz", "reassoc"}


@numba.njit(nogil=True, cache=True, inline="always")
def _load_block(vectors, start, stop, x, y, z):
    """Copy up to BLOCK vectors; the rest becomes a harmless unit vector."""
    for b in range(BLOCK):
        if start + b < stop:
            x[b], y[b], z[b] = vectors[start + b, 0], vectors[start + b, 1], vectors[start + b, 2]
        else:
            x[b], y[b], z[b] = 0.0, 0.0, 1.0


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def accumulate(vectors, weights, channels, offsets, table, inverse_step, max_angular, prefactors, density):
    """density[i, lm, c n] += w Y_lm(r) R_nl(r) over the neighbours of i in channel c."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        x, y, z = np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype)
        harmonics = np.empty((n_harmonics, BLOCK), vectors.dtype)
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], BLOCK):
            stop = min(start + BLOCK, offsets[i + 1])
            _load_block(vectors, start, stop, x, y, z)
            harmonics_block(x, y, z, max_angular, prefactors, harmonics)
            for pair in range(start, stop):
                b = pair - start
                distance = np.sqrt(x[b] * x[b] + y[b] * y[b] + z[b] * z[b])
                evaluate_spline(distance, inverse_step, table, radial, slopes)
                first = channels[pair] * n_radial
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        angular = weights[pair] * harmonics[lm, b]
                        for n in range(n_radial):
                            density[i, lm, first + n] += angular * radial[l * n_radial + n]


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def pull_back(
    gradient, vectors, weights, channels, offsets, table, inverse_step, max_angular, prefactors, on_vectors, on_weights
):
    """Gradient with respect to vectors and weights of the pairs from a gradient of the density."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        x, y, z = np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype)
        harmonics = np.empty((n_harmonics, BLOCK), vectors.dtype)
        derivatives = np.empty((3, n_harmonics, BLOCK), vectors.dtype)
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], BLOCK):
            stop = min(start + BLOCK, offsets[i + 1])
            _load_block(vectors, start, stop, x, y, z)
            harmonics_gradients_block(x, y, z, max_angular, prefactors, harmonics, derivatives)
            for pair in range(start, stop):
                b = pair - start
                distance = np.sqrt(x[b] * x[b] + y[b] * y[b] + z[b] * z[b])
                evaluate_spline(distance, inverse_step, table, radial, slopes)
                first = channels[pair] * n_radial
                value = along = by_x = by_y = by_z = vectors.dtype.type(0.0)
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        by_value = by_slope = vectors.dtype.type(0.0)
                        for n in range(n_radial):
                            by_value += gradient[i, lm, first + n] * radial[l * n_radial + n]
                            by_slope += gradient[i, lm, first + n] * slopes[l * n_radial + n]
                        value += harmonics[lm, b] * by_value
                        along += harmonics[lm, b] * by_slope
                        by_x += derivatives[0, lm, b] * by_value
                        by_y += derivatives[1, lm, b] * by_value
                        by_z += derivatives[2, lm, b] * by_value
                along /= distance
                on_weights[pair] = value
                on_vectors[pair, 0] = weights[pair] * (along * x[b] + by_x)
                on_vectors[pair, 1] = weights[pair] * (along * y[b] + by_y)
                on_vectors[pair, 2] = weights[pair] * (along * z[b] + by_z)


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def push_forward(
    tangents,
    weight_tangents,
    vectors,
    weights,
    channels,
    offsets,
    table,
    inverse_step,
    max_angular,
    prefactors,
    density,
):
    """Change of the density to first order for given changes of the vectors and weights of the pairs."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        x, y, z = np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype), np.empty(BLOCK, vectors.dtype)
        harmonics = np.empty((n_harmonics, BLOCK), vectors.dtype)
        derivatives = np.empty((3, n_harmonics, BLOCK), vectors.dtype)
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], BLOCK):
            stop = min(start + BLOCK, offsets[i + 1])
            _load_block(vectors, start, stop, x, y, z)
            harmonics_gradients_block(x, y, z, max_angular, prefactors, harmonics, derivatives)
            for pair in range(start, stop):
                b = pair - start
                distance = np.sqrt(x[b] * x[b] + y[b] * y[b] + z[b] * z[b])
                evaluate_spline(distance, inverse_step, table, radial, slopes)
                first = channels[pair] * n_radial
                tx, ty, tz = tangents[pair, 0], tangents[pair, 1], tangents[pair, 2]
                stretch = weights[pair] * (x[b] * tx + y[b] * ty + z[b] * tz) / distance
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        turned = derivatives[0, lm, b] * tx + derivatives[1, lm, b] * ty + derivatives[2, lm, b] * tz
                        on_radial = weight_tangents[pair] * harmonics[lm, b] + weights[pair] * turned
                        on_slopes = stretch * harmonics[lm, b]
                        for n in range(n_radial):
                            density[i, lm, first + n] += (
                                on_radial * radial[l * n_radial + n] + on_slopes * slopes[l * n_radial + n]
                            )
