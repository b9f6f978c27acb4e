"""The pass over the neighbour list of embedded-atom potentials.

The same numbers as the general loops of :mod:`matterscape.potentials._star_kernels` give with the form ``eam``. Here a
centre's list is cut down to squared distances first, which leaves nothing but polynomials for the second loop, and the
vectors are made anew, from memory that is still in the cache, for the third.
"""

import numba
import numpy as np

from matterscape.potentials._eam_kernels import FAST, HEADER_SPECIES, embedding, pair_terms
from matterscape.potentials._star_kernels import OVERLAP, add_buffers, chunk_bounds
from matterscape.potentials._stars import EAM_SETFL


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _accumulate_chunk(
    layout, start, stop, positions, weights, types, second, offsets, parameters, tables, with_pieces,
    energies, gradient, pieces,
):  # fmt: skip
    """Centres ``start`` to ``stop``; returns the pair of an overlap, or -1."""
    longest = 1
    for i in range(start, stop):
        longest = max(longest, offsets[i + 1] - offsets[i] + 1)
    neighbours = np.empty(longest, np.int32)
    squares = np.empty(longest, positions.dtype)
    density_slopes, pair_slopes = np.empty(longest, positions.dtype), np.empty(longest, positions.dtype)
    header = parameters[0]
    n_species = int(header[HEADER_SPECIES])
    square_cutoff, square_overlap = parameters[1, 0], positions.dtype.type(OVERLAP * OVERLAP)
    zero, two, weight = positions.dtype.type(0), positions.dtype.type(2), positions.dtype.type(1)
    for i in range(start, stop):
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        closest = square_cutoff
        n = 0
        for p in range(offsets[i], offsets[i + 1]):
            j = second[p]
            dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
            square = dx * dx + dy * dy + dz * dz
            # written always and kept by raising n: cheaper than a branch that the processor cannot foresee
            squares[n] = square
            neighbours[n] = j
            n += square < square_cutoff
            closest = min(closest, square)
        if closest < square_overlap:
            for p in range(offsets[i], offsets[i + 1]):
                j = second[p]
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                if dx * dx + dy * dy + dz * dz < square_overlap:
                    return p
        first_pair = types[i] * n_species
        density = energy = zero
        for k in range(n):
            table = tables[first_pair + types[neighbours[k]]]
            given, half, density_slopes[k], pair_slopes[k] = pair_terms(layout, squares[k], header, table)
            density += given
            energy += half
        embedded, slope = embedding(layout, density, types[i], parameters, tables)
        energies[i] += energy + embedded
        if len(weights) > 0:
            weight = weights[i]
        slope, factor = two * weight * slope, two * weight
        on_x = on_y = on_z = zero
        for k in range(n):
            j = neighbours[k]
            radial = slope * density_slopes[k] + factor * pair_slopes[k]
            dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
            to_x, to_y, to_z = radial * dx, radial * dy, radial * dz
            gradient[j, 0] += to_x
            gradient[j, 1] += to_y
            gradient[j, 2] += to_z
            on_x += to_x
            on_y += to_y
            on_z += to_z
            if with_pieces:
                for a, d in enumerate((dx, dy, dz)):
                    pieces[j, a, 0] -= d * to_x
                    pieces[j, a, 1] -= d * to_y
                    pieces[j, a, 2] -= d * to_z
        gradient[i, 0] -= on_x
        gradient[i, 1] -= on_y
        gradient[i, 2] -= on_z
    return np.int64(-1)


@numba.njit(nogil=True, cache=True, parallel=True)
def _accumulate(
    layout, bounds, positions, weights, types, second, offsets, parameters, tables, with_pieces,
    energies, gradient, pieces,
):  # fmt: skip
    n_chunks = len(bounds) - 1
    overlaps = np.empty(n_chunks, np.int64)
    gradients = np.zeros((n_chunks - 1, gradient.shape[0], 3), gradient.dtype)
    all_pieces = np.zeros((n_chunks - 1, pieces.shape[0], 3, 3), pieces.dtype)
    for chunk in numba.prange(n_chunks):
        overlaps[chunk] = _accumulate_chunk(
            layout, bounds[chunk], bounds[chunk + 1], positions, weights, types, second, offsets, parameters, tables,
            with_pieces, energies,
            gradient if chunk == 0 else gradients[chunk - 1],
            pieces if chunk == 0 else all_pieces[chunk - 1],
        )  # fmt: skip
    if n_chunks > 1:
        add_buffers(gradients.reshape(n_chunks - 1, gradient.size), gradient.reshape(gradient.size))
        if with_pieces:
            add_buffers(all_pieces.reshape(n_chunks - 1, pieces.size), pieces.reshape(pieces.size))
    return overlaps.max()


def accumulate(
    positions: np.ndarray,
    weights: np.ndarray,
    types: np.ndarray,
    second: np.ndarray,
    offsets: np.ndarray,
    parameters: np.ndarray,
    tables: np.ndarray,
    kind: int,
    with_pieces: bool,
    energies: np.ndarray,
    gradient: np.ndarray,
    pieces: np.ndarray,
) -> int:
    """Add energies, gradient and flux pieces; see :func:`matterscape.potentials._star_kernels.accumulate`."""
    bounds = chunk_bounds(offsets, min(numba.get_num_threads(), len(offsets) - 1))
    overlap = _accumulate(
        (0,) if kind == EAM_SETFL else (), bounds, positions, weights, types, second, offsets,
        parameters.astype(positions.dtype, copy=False), tables.astype(positions.dtype, copy=False), with_pieces,
        energies, gradient, pieces if with_pieces else pieces[:0],
    )  # fmt: skip
    return int(overlap)
