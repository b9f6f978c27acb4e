"""Second and third derivatives of star potentials, star by star.

A star is a centre with its neighbours inside the cut-offs. Its energy depends on the n vectors to the neighbours, so
everything is differentiated in those 3 n coordinates, and derivatives that involve the centre follow from translation
invariance. Second derivatives are taken by complex step (Squire and Trapp, SIAM Review 40, 110, 1998), exact to
rounding; third derivatives are central differences of those. Third derivatives of a star are kept packed: entry
(p, q, r) with p <= q <= r stands at r (r + 1) (r + 2) / 6 + q (q + 1) / 2 + p.

Threads share the stars in at most ``max_chunks`` chunks; every star is written by one of them, so that the number of
threads does not show in the results.
"""

import numba
import numpy as np

from matterscape.potentials._star_kernels import gather
from matterscape.potentials._stars import NEIGHBOUR_COLUMNS, PAIR_COLUMNS, star

COMPLEX_STEP = 1e-20


@numba.njit(nogil=True, cache=True, error_model="numpy")
def find_stars(positions, types, second, offsets, parameters, star_offsets, neighbours):
    """Neighbours inside the cut-offs: ``star_offsets`` (N + 1,) and ``neighbours`` (P or more,) are filled."""
    longest = np.diff(offsets).max() + 1
    vectors = np.empty((longest, 3), positions.dtype)
    own, own_types = np.empty(longest, np.int64), np.empty(longest, np.int64)
    star_offsets[0] = 0
    for i in range(len(offsets) - 1):
        n, _ = gather(i, positions, types, second, offsets, parameters, vectors, own, own_types)
        start = star_offsets[i]
        neighbours[start : start + n] = own[:n]
        star_offsets[i + 1] = start + n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _place_star(i, positions, types, star_offsets, neighbours, vectors, neighbour_types):
    start, stop = star_offsets[i], star_offsets[i + 1]
    for m in range(stop - start):
        j = neighbours[start + m]
        neighbour_types[m] = types[j]
        for a in range(3):
            vectors[m, a] = positions[j, a] - positions[i, a]
    return stop - start


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _scratch(n):
    """Complex arrays that a star with up to n neighbours needs: vectors, gradient, workspace, pairs."""
    return (
        np.empty((n, 3), np.complex128),
        np.empty((n, 3), np.complex128),
        np.empty((n, NEIGHBOUR_COLUMNS), np.complex128),
        np.empty((n * (n - 1) // 2 + 1, PAIR_COLUMNS), np.complex128),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _column(m, a, n, types, centre_type, parameters, tables, kind, scratch, column):
    """Column (m, a) of a star's second derivatives."""
    vectors, gradient, workspace, pairs = scratch
    kept = vectors[m, a]
    vectors[m, a] = kept + COMPLEX_STEP * 1j
    star(kind, n, vectors, types, centre_type, parameters, tables, gradient, workspace, pairs)
    vectors[m, a] = kept
    for k in range(n):
        for b in range(3):
            column[3 * k + b] = gradient[k, b].imag / COMPLEX_STEP


@numba.njit(nogil=True, cache=True, error_model="numpy")
def expand(n, matrix, blocks):
    """Blocks ((n + 1)^2, 3, 3) between centre (0) and neighbours from the neighbours' matrix (3 n, 3 n)."""
    blocks[:] = 0.0
    for j in range(n):
        for k in range(n):
            for a in range(3):
                for b in range(3):
                    value = matrix[3 * j + a, 3 * k + b]
                    blocks[(j + 1) * (n + 1) + k + 1, a, b] = value
                    blocks[(j + 1) * (n + 1), a, b] -= value
                    blocks[k + 1, a, b] -= value
                    blocks[0, a, b] += value


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def star_hessians(
    positions, types, star_offsets, neighbours, parameters, tables, kind, max_chunks, start, block_offsets, blocks
):
    """``blocks[block_offsets[m]:block_offsets[m + 1]]`` is filled for star ``start + m``, its centre first."""
    n_centres = len(block_offsets) - 1
    n_chunks = min(n_centres, max_chunks)
    longest = np.diff(star_offsets[start : start + n_centres + 1]).max()
    for chunk in numba.prange(n_chunks):
        scratch = _scratch(longest)
        neighbour_types = np.empty(longest, np.int64)
        matrix = np.empty((3 * longest, 3 * longest))
        for m in range(chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks):
            i = start + m
            n = _place_star(i, positions, types, star_offsets, neighbours, scratch[0], neighbour_types)
            for c in range(3 * n):
                # by rows, as the matrix is symmetric up to rounding
                _column(c // 3, c % 3, n, neighbour_types, types[i], parameters, tables, kind, scratch, matrix[c])
            expand(n, matrix, blocks[block_offsets[m] : block_offsets[m + 1]])


@numba.njit(nogil=True, cache=True)
def packed_index(p, q, r):
    """Place of (p, q, r), p <= q <= r, in a packed symmetric tensor."""
    return r * (r + 1) * (r + 2) // 6 + q * (q + 1) // 2 + p


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def star_third_derivatives(
    positions, types, star_offsets, neighbours, parameters, tables, kind, max_chunks, step, value_offsets, values
):
    """Packed third derivatives of every star; returns the largest difference between entries that should be equal."""
    n_centres = len(star_offsets) - 1
    n_chunks = min(n_centres, max_chunks)
    longest = np.diff(star_offsets).max()
    asymmetries = np.zeros(n_chunks)
    for chunk in numba.prange(n_chunks):
        scratch = _scratch(longest)
        vectors = scratch[0]
        neighbour_types = np.empty(longest, np.int64)
        columns = np.empty((2, 3 * longest))
        raw = np.empty((3 * longest, 3 * longest, 3 * longest))
        for i in range(chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks):
            n = _place_star(i, positions, types, star_offsets, neighbours, vectors, neighbour_types)
            for r in range(3 * n):
                kept = vectors[r // 3, r % 3]
                for q in range(r + 1):
                    for side in range(2):
                        vectors[r // 3, r % 3] = kept + (1 - 2 * side) * step
                        column = columns[side]
                        _column(q // 3, q % 3, n, neighbour_types, types[i], parameters, tables, kind, scratch, column)
                    for p in range(3 * n):
                        raw[r, q, p] = (columns[0, p] - columns[1, p]) / (2 * step)
                vectors[r // 3, r % 3] = kept
            packed = values[value_offsets[i] : value_offsets[i + 1]]
            for r in range(3 * n):
                for q in range(r + 1):
                    for p in range(q + 1):
                        first, second, third = raw[r, q, p], raw[r, p, q], raw[q, p, r]
                        packed[packed_index(p, q, r)] = (first + second + third) / 3
                        spread = max(first, second, third) - min(first, second, third)
                        asymmetries[chunk] = max(asymmetries[chunk], spread)
    return asymmetries.max()


@numba.njit(nogil=True, cache=True, parallel=True)
def contract_stars(vector, star_offsets, atoms, value_offsets, values, max_chunks, block_offsets, blocks):
    """Star by star the third derivatives times a displacement (N, 3), as blocks like :func:`star_hessians`."""
    n_centres = len(star_offsets) - 1
    n_chunks = min(n_centres, max_chunks)
    longest = np.diff(star_offsets).max()
    for chunk in numba.prange(n_chunks):
        matrix = np.empty((3 * longest, 3 * longest))
        e = np.empty(3 * longest)
        for i in range(chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks):
            start = star_offsets[i]
            n = star_offsets[i + 1] - start
            for m in range(n):
                for a in range(3):
                    e[3 * m + a] = vector[atoms[start + m], a] - vector[i, a]
            matrix[:] = 0.0
            packed = values[value_offsets[i] : value_offsets[i + 1]]
            entry = 0
            for r in range(3 * n):
                for q in range(r + 1):
                    for p in range(q + 1):
                        value = packed[entry]
                        entry += 1
                        # each distinct permutation once, into the upper triangle
                        matrix[p, q] += value * e[r]
                        if q != r:
                            matrix[p, r] += value * e[q]
                        if p != q:
                            matrix[q, r] += value * e[p]
            for q in range(3 * n):
                for p in range(q):
                    matrix[q, p] = matrix[p, q]
            expand(n, matrix, blocks[block_offsets[i] : block_offsets[i + 1]])
