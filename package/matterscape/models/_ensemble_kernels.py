"""Numba loops of an ensemble potential in dynamics: from points to densities, and from their gradient to forces.

Harmonics, radial functions and their slopes of every neighbour are kept between the two passes, in blocks of eight
neighbours of one atom. Radial functions come multiplied with the cutoff function.
"""

import numba
import numpy as np

from matterscape.basis._harmonics_kernels import harmonics_block, harmonics_gradients_block, normalise_block
from matterscape.basis._lanes import LANES
from matterscape.basis.splines import evaluate_spline

FAST = {"contract", "nsz", "reassoc"}


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _scaled_functions(r, cutoff, width, inverse_step, table, values, slopes):
    """Radial functions times the quintic cutoff function, and their derivatives d/dr."""
    evaluate_spline(r, inverse_step, table, values, slopes)
    t = (r - (cutoff - width)) / width
    if t > 0.0:
        u = min(t, 1.0 - t)  # by symmetry, from the nearer end
        rising = u * u * u * (10.0 - u * (15.0 - 6.0 * u))
        weight = 1.0 - rising if t < 0.5 else rising
        change = -30.0 * u * u * (1.0 - u) * (1.0 - u) / width
        for f in range(len(values)):
            slopes[f] = weight * slopes[f] + change * values[f]
            values[f] *= weight


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath=FAST)
def expand(
    first, places, points, types, second, offsets, blocks, cutoff, width,
    radial_step, radial_table, step, table, max_angular, tables,
    counts, near, vectors, units, harmonics, radial_parts, parts, radial_density, density,
):  # fmt: skip
    """Densities of the atoms ``first .. first + len(places) - 1``; row ``places[a]`` belongs to the a-th of them.

    ``radial_density[row, c n]`` sums the functions of ``radial_table``, ``density[row, lm, c n]`` those of ``table``
    times harmonics, over the neighbours of type c. ``near`` and ``vectors`` get the neighbours within the cutoff.
    """
    n_few = radial_table.shape[2]
    n_radial = table.shape[2] // (max_angular + 1)
    start_pair, start_block = offsets[first], blocks[first]
    for a in numba.prange(len(places)):
        i, row = first + a, places[a]
        begin, n = offsets[i] - start_pair, 0
        for pair in range(offsets[i], offsets[i + 1]):
            j = second[pair]
            x, y, z = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
            if x * x + y * y + z * z < cutoff * cutoff:
                near[begin + n] = j
                vectors[begin + n, 0], vectors[begin + n, 1], vectors[begin + n, 2] = x, y, z
                n += 1
        counts[a] = n
        radial_density[row] = 0.0
        density[row] = 0.0
        for b in range(0, n, LANES):
            block = blocks[i] - start_block + b // LANES
            normalise_block(vectors[: begin + n], begin + b, units[block])
            harmonics_block(units[block], max_angular, tables, harmonics[block])
            for lane in range(min(LANES, n - b)):
                r = 1.0 / units[block, 3, lane]
                kind = types[near[begin + b + lane]]
                few, slopes = radial_parts[block, lane, 0], radial_parts[block, lane, 1]
                _scaled_functions(r, cutoff, width, radial_step, radial_table, few, slopes)
                for f in range(n_few):
                    radial_density[row, kind * n_few + f] += 0.28209479177387814 * few[f]
                values, slopes = parts[block, lane, 0], parts[block, lane, 1]
                _scaled_functions(r, cutoff, width, step, table, values, slopes)
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        angular = harmonics[block, lm, lane]
                        for f in range(n_radial):
                            density[row, lm, kind * n_radial + f] += angular * values[l * n_radial + f]


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy", fastmath=FAST)
def pull_back(
    first, places, types, offsets, blocks, max_angular, tables,
    counts, near, units, harmonics, radial_parts, parts, on_radial, on_density, slopes,
):  # fmt: skip
    """Gradient ``slopes`` with respect to the vectors of the pairs from those of the densities of :func:`expand`."""
    n_few, n_radial = radial_parts.shape[3], parts.shape[3] // (max_angular + 1)
    start_pair, start_block = offsets[first], blocks[first]
    for a in numba.prange(len(places)):
        i, row = first + a, places[a]
        begin, n = offsets[i] - start_pair, counts[a]
        derivatives = np.empty((3, (max_angular + 1) ** 2, LANES), units.dtype)
        dx, dy, dz = derivatives[0], derivatives[1], derivatives[2]
        for b in range(0, n, LANES):
            block = blocks[i] - start_block + b // LANES
            harmonics_gradients_block(units[block], max_angular, tables, harmonics[block], derivatives)
            for lane in range(min(LANES, n - b)):
                kind = types[near[begin + b + lane]]
                along = by_x = by_y = by_z = 0.0
                for f in range(n_few):
                    along += on_radial[row, kind * n_few + f] * radial_parts[block, lane, 1, f]
                along *= 0.28209479177387814
                for l in range(max_angular + 1):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        by_value = by_slope = 0.0
                        for f in range(n_radial):
                            gradient = on_density[row, lm, kind * n_radial + f]
                            by_value += gradient * parts[block, lane, 0, l * n_radial + f]
                            by_slope += gradient * parts[block, lane, 1, l * n_radial + f]
                        along += harmonics[block, lm, lane] * by_slope
                        by_x += dx[lm, lane] * by_value
                        by_y += dy[lm, lane] * by_value
                        by_z += dz[lm, lane] * by_value
                pair = begin + b + lane
                slopes[pair, 0] = along * units[block, 0, lane] + by_x
                slopes[pair, 1] = along * units[block, 1, lane] + by_y
                slopes[pair, 2] = along * units[block, 2, lane] + by_z


@numba.njit(nogil=True, cache=True)
def fold(first, owners, offsets, counts, near, vectors, slopes, forces, pieces):
    """Add the forces and, unless ``pieces`` is empty, the flux tensors of pairs to atoms."""
    with_pieces = len(pieces) > 0
    for a in range(len(counts)):
        i, begin = first + a, offsets[first + a] - offsets[first]
        for pair in range(begin, begin + counts[a]):
            j = owners[near[pair]]
            for y in range(3):
                forces[i, y] += slopes[pair, y]
                forces[j, y] -= slopes[pair, y]
                if with_pieces:
                    for x in range(3):
                        pieces[j, x, y] -= vectors[pair, x] * slopes[pair, y]


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def mix(density, channels, mixed):
    """mixed[row, lm, c n] = sum_a channels[a, c] density[row, lm, a n]."""
    n_species, n_channels = channels.shape
    n_radial = density.shape[2] // n_species
    for row in numba.prange(len(density)):
        for lm in range(density.shape[1]):
            for c in range(n_channels):
                for f in range(n_radial):
                    total = 0.0
                    for a in range(n_species):
                        total += channels[a, c] * density[row, lm, a * n_radial + f]
                    mixed[row, lm, c * n_radial + f] = total
