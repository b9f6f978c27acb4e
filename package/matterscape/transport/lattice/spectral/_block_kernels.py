"""Products of a sparse matrix of 3 x 3 blocks with tall blocks of vectors, and the recursions that they are part of.

R vectors of n atoms are (n, 3, R / 8, 8), the R numbers of a row next to each other: each 3 x 3 block that is read
serves all of them, eight in a register. Sums over rows are taken per chunk of rows, so that their bits do not depend on
the number of threads.
"""

import numba
import numpy as np

from matterscape.basis._lanes import LANES, load, store

ROWS_PER_CHUNK = 128


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _multiply_row(starts, columns, blocks, strips, n_strips, row, total):
    """total (3 S, 8) = sum_j B_ij x_j of block row i for vectors as ``strips`` (3 n S, 8)."""
    begin, end = starts[row], starts[row + 1]
    strip = 0
    while strip + 1 < n_strips:  # six sums in registers keep the multipliers busy
        p0 = p1 = p2 = q0 = q1 = q2 = load(total, 0) * 0.0
        for place in range(begin, end):
            at = 3 * n_strips * columns[place] + strip
            x0, y0 = load(strips, at), load(strips, at + 1)
            x1, y1 = load(strips, at + n_strips), load(strips, at + n_strips + 1)
            x2, y2 = load(strips, at + 2 * n_strips), load(strips, at + 2 * n_strips + 1)
            b0, b1, b2 = blocks[place, 0, 0], blocks[place, 0, 1], blocks[place, 0, 2]
            p0, q0 = p0 + b0 * x0 + b1 * x1 + b2 * x2, q0 + b0 * y0 + b1 * y1 + b2 * y2
            b0, b1, b2 = blocks[place, 1, 0], blocks[place, 1, 1], blocks[place, 1, 2]
            p1, q1 = p1 + b0 * x0 + b1 * x1 + b2 * x2, q1 + b0 * y0 + b1 * y1 + b2 * y2
            b0, b1, b2 = blocks[place, 2, 0], blocks[place, 2, 1], blocks[place, 2, 2]
            p2, q2 = p2 + b0 * x0 + b1 * x1 + b2 * x2, q2 + b0 * y0 + b1 * y1 + b2 * y2
        store(total, strip, p0)
        store(total, strip + 1, q0)
        store(total, strip + n_strips, p1)
        store(total, strip + n_strips + 1, q1)
        store(total, strip + 2 * n_strips, p2)
        store(total, strip + 2 * n_strips + 1, q2)
        strip += 2
    if strip < n_strips:
        p0 = p1 = p2 = load(total, 0) * 0.0
        for place in range(begin, end):
            at = 3 * n_strips * columns[place] + strip
            x0, x1, x2 = load(strips, at), load(strips, at + n_strips), load(strips, at + 2 * n_strips)
            p0 = p0 + blocks[place, 0, 0] * x0 + blocks[place, 0, 1] * x1 + blocks[place, 0, 2] * x2
            p1 = p1 + blocks[place, 1, 0] * x0 + blocks[place, 1, 1] * x1 + blocks[place, 1, 2] * x2
            p2 = p2 + blocks[place, 2, 0] * x0 + blocks[place, 2, 1] * x1 + blocks[place, 2, 2] * x2
        store(total, strip, p0)
        store(total, strip + n_strips, p1)
        store(total, strip + 2 * n_strips, p2)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def multiply(starts, columns, blocks, vectors, product):
    """product = B x."""
    n_rows, _, n_strips, _ = vectors.shape
    strips, results = vectors.reshape(-1, LANES), product.reshape(-1, LANES)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), vectors.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, blocks, strips, n_strips, row, total)
            for own in range(3 * n_strips):
                store(results, 3 * n_strips * row + own, load(total, own))


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def lanczos_product(starts, columns, blocks, current, previous, inverse, factor, dots):
    """previous <- inverse B current - factor previous, and its dot products with ``current`` by chunk, dots (C, S, 8).

    ``inverse`` and ``factor`` (S, 8) are one number per vector.
    """
    n_rows, _, n_strips, _ = current.shape
    strips, results = current.reshape(-1, LANES), previous.reshape(-1, LANES)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), current.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, blocks, strips, n_strips, row, total)
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
    strips, results = current.reshape(-1, LANES), previous.reshape(-1, LANES)
    for chunk in numba.prange((n_rows + ROWS_PER_CHUNK - 1) // ROWS_PER_CHUNK):
        total = np.zeros((3 * n_strips, LANES), current.dtype)
        for row in range(chunk * ROWS_PER_CHUNK, min(n_rows, (chunk + 1) * ROWS_PER_CHUNK)):
            _multiply_row(starts, columns, blocks, strips, n_strips, row, total)
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
