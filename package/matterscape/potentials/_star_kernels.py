"""Outer loops of the star potentials: energies with gradients in one pass, Hessians, third derivatives.

The loops know nothing of the functional form: they gather the neighbours of a centre inside the cut-offs, call
:func:`~matterscape.potentials._stars.star`, and scatter what it returns.
"""

import numba
import numpy as np

from matterscape.potentials._stars import NEIGHBOUR_COLUMNS, PAIR_COLUMNS, star

FAST = {"contract", "nsz"}
OVERLAP = 1e-3  # Å: closer atoms stand for an exploded run


@numba.njit(nogil=True, cache=True, error_model="numpy")
def gather(i, positions, types, second, offsets, parameters, vectors, neighbours, neighbour_types):
    """Neighbours of centre ``i`` inside the cut-offs; returns their number and the first pair that overlaps, or -1."""
    first_pair = 1 + types[i] * int(parameters[0, 0])
    x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
    overlap = np.int64(-1)
    n = 0
    for p in range(offsets[i], offsets[i + 1]):
        j = second[p]
        dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
        square = dx * dx + dy * dy + dz * dz
        # written always and kept by raising n: cheaper than a branch that the processor cannot foresee
        vectors[n, 0], vectors[n, 1], vectors[n, 2] = dx, dy, dz
        neighbours[n] = j
        neighbour_types[n] = types[j]
        n += square < parameters[first_pair + types[j], 0]
        if square < OVERLAP * OVERLAP:
            overlap = p
    return n, overlap


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _accumulate_chunk(
    start, stop, positions, weights, types, second, offsets, parameters, tables, kind, with_pieces,
    energies, gradient, pieces,
):  # fmt: skip
    """Centres ``start`` to ``stop``; returns the pair of an overlap, or -1."""
    longest = 1
    for i in range(start, stop):
        longest = max(longest, offsets[i + 1] - offsets[i] + 1)
    vectors = np.empty((longest, 3), positions.dtype)
    slopes = np.empty((longest, 3), positions.dtype)
    neighbours, neighbour_types = np.empty(longest, np.int64), np.empty(longest, np.int64)
    workspace = np.empty((longest, NEIGHBOUR_COLUMNS), positions.dtype)
    pairs = np.empty((longest * (longest - 1) // 2, PAIR_COLUMNS), positions.dtype)
    weight = positions.dtype.type(1)
    for i in range(start, stop):
        n, overlap = gather(i, positions, types, second, offsets, parameters, vectors, neighbours, neighbour_types)
        if overlap >= 0:
            return overlap
        energies[i] += star(kind, n, vectors, neighbour_types, types[i], parameters, tables, slopes, workspace, pairs)
        if len(weights) > 0:
            weight = weights[i]
        on_x = on_y = on_z = positions.dtype.type(0)
        for m in range(n):
            j = neighbours[m]
            x, y, z = weight * slopes[m, 0], weight * slopes[m, 1], weight * slopes[m, 2]
            gradient[j, 0] += x
            gradient[j, 1] += y
            gradient[j, 2] += z
            on_x += x
            on_y += y
            on_z += z
            if with_pieces:
                for a in range(3):
                    pieces[j, a, 0] -= vectors[m, a] * x
                    pieces[j, a, 1] -= vectors[m, a] * y
                    pieces[j, a, 2] -= vectors[m, a] * z
        gradient[i, 0] -= on_x
        gradient[i, 1] -= on_y
        gradient[i, 2] -= on_z
    return np.int64(-1)


@numba.njit(nogil=True, cache=True, parallel=True)
def add_buffers(buffers, total):
    """Sum of the chunks' buffers in their order, whichever thread does it."""
    for element in numba.prange(len(total)):
        value = total[element]
        for chunk in range(len(buffers)):
            value += buffers[chunk, element]
        total[element] = value


@numba.njit(nogil=True, cache=True, parallel=True)
def _accumulate(
    bounds, positions, weights, types, second, offsets, parameters, tables, kind, with_pieces,
    energies, gradient, pieces,
):  # fmt: skip
    n_chunks = len(bounds) - 1
    overlaps = np.empty(n_chunks, np.int64)
    # the first chunk writes into the outputs, so that one thread needs no buffer and no reduction
    gradients = np.zeros((n_chunks - 1, gradient.shape[0], 3), gradient.dtype)
    all_pieces = np.zeros((n_chunks - 1, pieces.shape[0], 3, 3), pieces.dtype)
    for chunk in numba.prange(n_chunks):
        overlaps[chunk] = _accumulate_chunk(
            bounds[chunk], bounds[chunk + 1], positions, weights, types, second, offsets, parameters, tables, kind,
            with_pieces, energies,
            gradient if chunk == 0 else gradients[chunk - 1],
            pieces if chunk == 0 else all_pieces[chunk - 1],
        )  # fmt: skip
    if n_chunks > 1:
        add_buffers(gradients.reshape(n_chunks - 1, gradient.size), gradient.reshape(gradient.size))
        if with_pieces:
            add_buffers(all_pieces.reshape(n_chunks - 1, pieces.size), pieces.reshape(pieces.size))
    for overlap in overlaps:
        if overlap >= 0:
            return overlap
    return np.int64(-1)


def chunk_bounds(offsets: np.ndarray, n_chunks: int) -> np.ndarray:
    """Centres (n_chunks + 1,) between which the chunks hold about as many pairs each."""
    shares = np.linspace(0, offsets[-1], n_chunks + 1)
    bounds = np.searchsorted(offsets, shares)
    bounds[0], bounds[-1] = 0, len(offsets) - 1
    return bounds


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
    """Add energies, gradient and flux pieces of a star potential over directed pairs.

    Parameters
    ----------
    positions : ndarray (M, 3), float32 or float64
        Extended atoms in Å, the centres first.
    weights : ndarray (M,) or (0,)
        w_i of the centres' energies in gradient and pieces; empty means 1.
    types : ndarray (M,), int64
    second : ndarray (P,), int32
    offsets : ndarray (N + 1,), int64
        Pairs ``offsets[i]`` to ``offsets[i + 1]`` lead from centre i to the extended atoms ``second``.
    parameters, tables : ndarray (R, K) and (T, n, c)
        See :mod:`matterscape.potentials._stars`.
    kind : int
        Functional form.
    with_pieces : bool
        Whether ``pieces`` are wanted.
    energies : ndarray (M,)
        += U_i in eV.
    gradient : ndarray (M, 3)
        += d(sum_i w_i U_i)/dr in eV/Å.
    pieces : ndarray (M, 3, 3)
        += -sum_i w_i (r_j - r_i)^a (dU_i/dr_j)^b in eV.

    Returns
    -------
    int
        Index of a pair of overlapping atoms, whose results are then not complete; -1 if there is none.
    """
    bounds = chunk_bounds(offsets, min(numba.get_num_threads(), len(offsets) - 1))
    parameters = parameters.astype(positions.dtype, copy=False)
    tables = tables.astype(positions.dtype, copy=False)
    if not with_pieces:
        pieces = pieces[:0]
    overlap = _accumulate(
        bounds, positions, weights, types, second, offsets, parameters, tables, kind, with_pieces,
        energies, gradient, pieces,
    )  # fmt: skip
    return int(overlap)
