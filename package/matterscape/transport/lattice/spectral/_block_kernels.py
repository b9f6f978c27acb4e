"""Products of a sparse matrix of 3 x 3 blocks with tall blocks of vectors, and the recursions that they are part of.

R vectors of n atoms are (n, 3, R / 8, 8), the R numbers of a row next to each other: each 3 x 3 block that is read
serves all of them, eight in a register. Sums over rows are taken per chunk of rows, so that their bits do not depend on
the number of threads.
"""

import numba
import numpy as np

from matterscape.basis._lanes import LANES, load, prefetch, store

ROWS_PER_CHUNK = 128
#: Blocks ahead of the one in use whose vectors are asked for: about a row, as their places follow no pattern.
BLOCKS_AHEAD = 20


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _multiply_row(starts, columns, elements, strips, n_strips, row, total):
    """total (3 S, 8) = sum_j B_ij x_j of one block row i; B as elements (9 B,), vectors as strips (3 n S, 8)."""
    begin, end, height = starts[row], starts[row + 1], np.uint64(n_strips)
    one, two, last = np.uint64(1), np.uint64(2), len(columns) - 1
    strip = 0
    while strip + 1 < n_strips:  # six sums in registers keep the multipliers busy
        p0 = p1 = p2 = q0 = q1 = q2 = load(total, 0) * 0.0
        for place in range(begin, end):
            # unsigned, or every access would ask whether it counts from the end
            ahead = np.uint64(3 * n_strips * np.int64(columns[min(place + BLOCKS_AHEAD, last)]) + strip)
            for _ in range(3):
                prefetch(strips, ahead)
                prefetch(strips, ahead + one)
                ahead += height
            at, k = np.uint64(3 * n_strips * np.int64(columns[place]) + strip), np.uint64(9 * np.int64(place))
            for _ in range(3):
                x, y = load(strips, at), load(strips, at + one)
                b0, b1, b2 = elements[k], elements[k + np.uint64(3)], elements[k + np.uint64(6)]
                p0, p1, p2 = p0 + b0 * x, p1 + b1 * x, p2 + b2 * x
                q0, q1, q2 = q0 + b0 * y, q1 + b1 * y, q2 + b2 * y
                at, k = at + height, k + one
        out = np.uint64(strip)
        store(total, out, p0)
        store(total, out + one, q0)
        store(total, out + height, p1)
        store(total, out + height + one, q1)
        store(total, out + two * height, p2)
        store(total, out + two * height + one, q2)
        strip += 2
    if strip < n_strips:
        p0 = p1 = p2 = load(total, 0) * 0.0
        for place in range(begin, end):
            at, k = np.uint64(3 * n_strips * np.int64(columns[place]) + strip), np.uint64(9 * np.int64(place))
            for _ in range(3):
                x = load(strips, at)
                p0 = p0 + elements[k] * x
                p1 = p1 + elements[k + np.uint64(3)] * x
                p2 = p2 + elements[k + np.uint64(6)] * x
                at, k = at + height, k + one
        out = np.uint64(strip)
        store(total, out, p0)
        store(total, out + height, p1)
        store(total, out + two * height, p2)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def multiply(starts, columns, blocks, vectors, product):
    """product = B x."""
    n_rows, _, n_strips, _ = vectors.shape
    strips, results, elements = vectors.reshape(-1, LANES), product.reshape(-1, LANES), blocks.reshape(-1)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), vectors.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, elements, strips, n_strips, row, total)
            for own in range(3 * n_strips):
                store(results, 3 * n_strips * row + own, load(total, own))


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def lanczos_product(starts, columns, blocks, current, previous, inverse, factor, dots):
    """previous <- inverse B current - factor previous, and its dot products with ``current`` by chunk, dots (C, S, 8).

    ``inverse`` and ``factor`` (S, 8) are one number per vector.
    """
    n_rows, _, n_strips, _ = current.shape
    strips, results, elements = current.reshape(-1, LANES), previous.reshape(-1, LANES), blocks.reshape(-1)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), current.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, elements, strips, n_strips, row, total)
            for own in range(3 * n_strips):
                at, strip = 3 * n_strips * row + own, own % n_strips
                value = load(inverse, strip) * load(total, own) - load(factor, strip) * load(results, at)
                store(results, at, value)
                store(dots[chunk], strip, load(dots[chunk], strip) + value * load(strips, at))


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def lanczos_update(current, new, ratio, squares):
    """new <- new - ratio current, and its squared norms by chunk, squares (C, S, 8)."""
    n_rows, _, n_strips, _ = current.shape
    strips, results = current.reshape(-1, LANES), new.reshape(-1, LANES)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            for own in range(3 * n_strips):
                at, strip = 3 * n_strips * row + own, own % n_strips
                value = load(results, at) - load(ratio, strip) * load(strips, at)
                store(results, at, value)
                store(squares[chunk], strip, load(squares[chunk], strip) + value * value)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def chebyshev_step(starts, columns, blocks, current, previous, scale, shift, squares, dots):
    """previous <- scale B current - shift current - previous.

    Its squared norms and its dot products with ``current`` are returned by chunk, squares and dots (C, S, 8).
    """
    n_rows, _, n_strips, _ = current.shape
    strips, results, elements = current.reshape(-1, LANES), previous.reshape(-1, LANES), blocks.reshape(-1)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), current.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, elements, strips, n_strips, row, total)
            for own in range(3 * n_strips):
                at, strip = 3 * n_strips * row + own, own % n_strips
                old = load(strips, at)
                value = scale * load(total, own) - shift * old - load(results, at)
                store(results, at, value)
                store(squares[chunk], strip, load(squares[chunk], strip) + value * value)
                store(dots[chunk], strip, load(dots[chunk], strip) + value * old)


def n_chunks(n_rows: int) -> int:
    """Chunks that a number of block rows is summed in."""
    return -(-n_rows // ROWS_PER_CHUNK)
