"""Numba loops of the spherical expansion: harmonics, radial functions and accumulation in one pass over the pairs.

The density of an atom is (lm, channel), channel = (species channel, radial) innermost. Pairs come sorted by their
first atom; blocks of neighbours go through the harmonics together so that those vectorise over the neighbours.
"""

import numba
import numpy as np

from matterscape.basis._harmonics_kernels import harmonics_block, harmonics_gradients_block, normalise_block
from matterscape.basis._lanes import LANES
from matterscape.basis.splines import evaluate_spline

FAST = {"contract", "nsz", "reassoc"}


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def accumulate(vectors, weights, channels, offsets, table, inverse_step, max_angular, tables, density):
    """density[i, lm, c n] += w Y_lm(r) R_nl(r) over the neighbours of i in channel c."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        units = np.empty((4, LANES), vectors.dtype)
        harmonics = np.empty((n_harmonics, LANES), vectors.dtype)
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], LANES):
            stop = min(start + LANES, offsets[i + 1])
            normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, harmonics)
            for pair in range(start, stop):
                b = pair - start
                evaluate_spline(1 / units[3, b], inverse_step, table, radial, slopes)
                first = channels[pair] * n_radial
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        angular = weights[pair] * harmonics[lm, b]
                        for n in range(n_radial):
                            density[i, lm, first + n] += angular * radial[l * n_radial + n]


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def pull_back(
    gradient, vectors, weights, channels, offsets, table, inverse_step, max_angular, tables, on_vectors, on_weights
):
    """Gradient with respect to vectors and weights of the pairs from a gradient of the density."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        units = np.empty((4, LANES), vectors.dtype)
        harmonics = np.empty((n_harmonics, LANES), vectors.dtype)
        derivatives = np.empty((3, n_harmonics, LANES), vectors.dtype)
        dx, dy, dz = derivatives[0], derivatives[1], derivatives[2]
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], LANES):
            stop = min(start + LANES, offsets[i + 1])
            normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, harmonics)
            harmonics_gradients_block(units, max_angular, tables, harmonics, derivatives)
            for pair in range(start, stop):
                b = pair - start
                evaluate_spline(1 / units[3, b], inverse_step, table, radial, slopes)
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
                        by_x += dx[lm, b] * by_value
                        by_y += dy[lm, b] * by_value
                        by_z += dz[lm, b] * by_value
                on_weights[pair] = value
                on_vectors[pair, 0] = weights[pair] * (along * units[0, b] + by_x)
                on_vectors[pair, 1] = weights[pair] * (along * units[1, b] + by_y)
                on_vectors[pair, 2] = weights[pair] * (along * units[2, b] + by_z)


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
    tables,
    density,
):
    """Change of the density to first order for given changes of the vectors and weights of the pairs."""
    n_functions = table.shape[2]
    n_radial = n_functions // (max_angular + 1)
    n_harmonics = (max_angular + 1) ** 2
    for i in numba.prange(len(offsets) - 1):
        units = np.empty((4, LANES), vectors.dtype)
        harmonics = np.empty((n_harmonics, LANES), vectors.dtype)
        derivatives = np.empty((3, n_harmonics, LANES), vectors.dtype)
        dx, dy, dz = derivatives[0], derivatives[1], derivatives[2]
        radial, slopes = np.empty(n_functions, vectors.dtype), np.empty(n_functions, vectors.dtype)
        for start in range(offsets[i], offsets[i + 1], LANES):
            stop = min(start + LANES, offsets[i + 1])
            normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, harmonics)
            harmonics_gradients_block(units, max_angular, tables, harmonics, derivatives)
            for pair in range(start, stop):
                b = pair - start
                evaluate_spline(1 / units[3, b], inverse_step, table, radial, slopes)
                first = channels[pair] * n_radial
                tx, ty, tz = tangents[pair, 0], tangents[pair, 1], tangents[pair, 2]
                stretch = weights[pair] * (units[0, b] * tx + units[1, b] * ty + units[2, b] * tz)
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        turned = dx[lm, b] * tx + dy[lm, b] * ty + dz[lm, b] * tz
                        on_radial = weight_tangents[pair] * harmonics[lm, b] + weights[pair] * turned
                        on_slopes = stretch * harmonics[lm, b]
                        for n in range(n_radial):
                            density[i, lm, first + n] += (
                                on_radial * radial[l * n_radial + n] + on_slopes * slopes[l * n_radial + n]
                            )
