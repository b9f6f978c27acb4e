"""Numba loops of the Clebsch-Gordan products of equivariant features: numbers in, numbers out.

A row of ``first``, ``second`` or a product is flat and holds blocks (2 l + 1, channels). A product of two blocks is
made in two steps: ``half[M, m1, q2] = sum_m2 C[m1, m2, M] second[m2, q2]``, which costs next to nothing, and the outer
product over the channels, ``product[M, q1, q2] = sum_m1 first[m1, q1] half[M, m1, q2]``, over the pairs (M, m1) that
couple at all. The channels q2 lie in lanes; four q1 share what is loaded.

A plan has one line (``LINE``) per product of blocks; ``Halves`` are its tables of coefficients. Every row of a result
is written by one thread in a fixed order, so the result does not depend on the number of threads.
"""

from typing import NamedTuple

import numba
import numpy as np

from matterscape.basis._lanes import (
    LANES,
    at,
    fill,
    load,
    load_at,
    load_first,
    spread,
    store,
    store_first,
    total,
    totals,
)

FAST = {"contract", "nsz", "reassoc"}
# positions are those of the first number of a block in its row; element (m1, q1) of the first factor lies at
# first + m1 first_stride + q1, element (M, q1, q2) of a product at result + M stride + q1 second_channels + q2;
# the last fields are positions in the tables of ``Halves``
LINE = np.dtype(
    [
        (name, np.int64)
        for name in (
            *("first", "first_channels", "first_angular", "first_stride"),
            *("second", "second_channels", "second_angular"),
            *("angular", "result", "stride"),
            *("first_by_total", "first_by_order", "second_by_total", "second_by_order"),
        )
    ]
)
_ROWS_AT_ONCE = 32


class Halves(NamedTuple):
    """The coefficients of each (l1, l2 -> L) as pairs (M, m) of the orders of result and one factor, sorted by M.

    A pair couples to one or two orders of the other factor; where it is one, the second coefficient is zero.
    """

    order: np.ndarray  # (pairs,) m of the factor whose channels are outermost in the half product
    total: np.ndarray  # (pairs,) M
    other: np.ndarray  # (2 pairs,) m of the other factor
    values: np.ndarray  # (2 pairs,) coefficients
    by_total: np.ndarray  # 2 L + 2 numbers per coupling: first pair of each M
    by_order: np.ndarray  # 2 l + 2 numbers per coupling: first of each m in ``sorted_pairs``
    sorted_pairs: np.ndarray  # (pairs,) the pairs of each coupling sorted by m, then M


@numba.njit(nogil=True, cache=True)
def grouped(index, n_groups):
    """Rows sorted by ``index`` (stable) and where each of the groups begins: order (n,), offsets (n_groups + 1,)."""
    offsets = np.zeros(n_groups + 1, np.int64)
    for group in index:
        offsets[group + 1] += 1
    for group in range(n_groups):
        offsets[group + 1] += offsets[group]
    position = offsets.copy()
    order = np.empty(len(index), np.int64)
    for row in range(len(index)):
        order[position[index[row]]] = row
        position[index[row]] += 1
    return order, offsets


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _half(flat, begin, channels, stride, by_total, angular, halves, half):
    """half[pair, q] = sum_m C[pair, m] block[m, q] for the pairs of one coupling; rows of whole lanes."""
    wide = (channels + LANES - 1) // LANES
    start, stop = halves.by_total[by_total], halves.by_total[by_total + 2 * angular + 1]
    for v in range(wide):
        count, position = channels - v * LANES, begin + v * LANES
        for pair in range(start, stop):
            one = load_first(flat, position + at(halves.other, 2 * pair) * stride, count)
            two = load_first(flat, position + at(halves.other, 2 * pair + 1) * stride, count)
            lanes = spread(halves.values, 2 * pair) * one + spread(halves.values, 2 * pair + 1) * two
            store(half, (pair - start) * wide + v, lanes)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _half_of_second(second, begin, line, halves, half):
    """The half product of the second factor whose row begins at ``begin``."""
    channels = line.second_channels
    _half(second, begin + line.second, channels, channels, line.first_by_total, line.angular, halves, half)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _half_of_first(first, begin, line, halves, half):
    """The half product of the first factor, for the gradient of the second."""
    channels, stride = line.first_channels, line.first_stride
    _half(first, begin + line.first, channels, stride, line.second_by_total, line.angular, halves, half)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _outer(first, begin, line, half, halves, out, out_begin, again):
    """out[M, q1, q2] = sum_m1 first[m1, q1] half[M, m1, q2], added to what is there if ``again``."""
    q1, q2, stride = line.first_channels, line.second_channels, line.stride
    wide = (q2 + LANES - 1) // LANES
    start = halves.by_total[line.first_by_total]
    for m in range(2 * line.angular + 1):
        low, high = halves.by_total[line.first_by_total + m], halves.by_total[line.first_by_total + m + 1]
        for v in range(wide):
            count = q2 - v * LANES
            for q in range(0, q1 - 3, 4):
                position = out_begin + m * stride + q * q2 + v * LANES
                a = b = c = d = fill(out, 0.0)
                if again:
                    a = load_first(out, position, count)
                    b = load_first(out, position + q2, count)
                    c = load_first(out, position + 2 * q2, count)
                    d = load_first(out, position + 3 * q2, count)
                for pair in range(low, high):
                    lanes = load(half, (pair - start) * wide + v)
                    factor = begin + at(halves.order, pair) * line.first_stride + q
                    a = a + spread(first, factor) * lanes
                    b = b + spread(first, factor + 1) * lanes
                    c = c + spread(first, factor + 2) * lanes
                    d = d + spread(first, factor + 3) * lanes
                store_first(out, position, count, a)
                store_first(out, position + q2, count, b)
                store_first(out, position + 2 * q2, count, c)
                store_first(out, position + 3 * q2, count, d)
            if q1 & 2:
                q = q1 & ~3
                position = out_begin + m * stride + q * q2 + v * LANES
                a = b = fill(out, 0.0)
                if again:
                    a = load_first(out, position, count)
                    b = load_first(out, position + q2, count)
                for pair in range(low, high):
                    lanes = load(half, (pair - start) * wide + v)
                    factor = begin + at(halves.order, pair) * line.first_stride + q
                    a = a + spread(first, factor) * lanes
                    b = b + spread(first, factor + 1) * lanes
                store_first(out, position, count, a)
                store_first(out, position + q2, count, b)
            if q1 & 1:
                position = out_begin + m * stride + (q1 - 1) * q2 + v * LANES
                a = fill(out, 0.0)
                if again:
                    a = load_first(out, position, count)
                for pair in range(low, high):
                    factor = begin + at(halves.order, pair) * line.first_stride + q1 - 1
                    a = a + spread(first, factor) * load(half, (pair - start) * wide + v)
                store_first(out, position, count, a)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _onto_first(gradient, begin, line, half, halves, out, out_begin):
    """out[m1, q1] += sum_(M, q2) half[M, m1, q2] gradient[M, q1, q2]."""
    q1, q2, stride = line.first_channels, line.second_channels, line.stride
    full, rest = q2 // LANES, q2 % LANES
    wide = full + (rest > 0)
    start = halves.by_total[line.first_by_total]
    for m in range(2 * line.first_angular + 1):
        low, high = halves.by_order[line.first_by_order + m], halves.by_order[line.first_by_order + m + 1]
        for q in range(0, q1 - 3, 4):
            a = b = c = d = fill(out, 0.0)
            for k in range(low, high):
                pair = at(halves.sorted_pairs, k)
                position = begin + at(halves.total, pair) * stride + q * q2
                row = (pair - start) * wide
                for v in range(full):
                    lanes = load(half, row + v)
                    a = a + lanes * load_at(gradient, position)
                    b = b + lanes * load_at(gradient, position + q2)
                    c = c + lanes * load_at(gradient, position + 2 * q2)
                    d = d + lanes * load_at(gradient, position + 3 * q2)
                    position += LANES
                if rest:
                    lanes = load(half, row + full)
                    a = a + lanes * load_first(gradient, position, rest)
                    b = b + lanes * load_first(gradient, position + q2, rest)
                    c = c + lanes * load_first(gradient, position + 2 * q2, rest)
                    d = d + lanes * load_first(gradient, position + 3 * q2, rest)
            position = out_begin + m * line.first_stride + q
            store_first(out, position, 4, load_first(out, position, 4) + totals(a, b, c, d))
        for q in range(q1 - q1 % 4, q1):
            a = fill(out, 0.0)
            for k in range(low, high):
                pair = at(halves.sorted_pairs, k)
                position = begin + at(halves.total, pair) * stride + q * q2
                for v in range(wide):
                    lanes = load(half, (pair - start) * wide + v)
                    a = a + lanes * load_first(gradient, position + v * LANES, q2 - v * LANES)
            out[out_begin + m * line.first_stride + q] += total(a)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _onto_second(gradient, begin, line, half, halves, out, out_begin):
    """out[m2, q2] += sum_(M, q1) half[M, m2, q1] gradient[M, q1, q2]."""
    q1, q2, stride = line.first_channels, line.second_channels, line.stride
    wide = (q1 + LANES - 1) // LANES
    factors = half.reshape(-1)
    start = halves.by_total[line.second_by_total]
    for m in range(2 * line.second_angular + 1):
        low, high = halves.by_order[line.second_by_order + m], halves.by_order[line.second_by_order + m + 1]
        for v in range(0, q2, LANES):
            count = q2 - v
            a = b = c = d = fill(out, 0.0)
            for k in range(low, high):
                pair = at(halves.sorted_pairs, k)
                factor = (pair - start) * wide * LANES
                row = begin + at(halves.total, pair) * stride + v
                for q in range(0, q1 - 3, 4):
                    position = row + q * q2
                    a = a + spread(factors, factor + q) * load_first(gradient, position, count)
                    b = b + spread(factors, factor + q + 1) * load_first(gradient, position + q2, count)
                    c = c + spread(factors, factor + q + 2) * load_first(gradient, position + 2 * q2, count)
                    d = d + spread(factors, factor + q + 3) * load_first(gradient, position + 3 * q2, count)
                for q in range(q1 - q1 % 4, q1):
                    a = a + spread(factors, factor + q) * load_first(gradient, row + q * q2, count)
            position = out_begin + m * q2 + v
            store_first(out, position, count, load_first(out, position, count) + ((a + b) + (c + d)))


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _first_gradients(start, stop, second, gradient, rows, order, offsets, plan, halves, half, out, widths):
    """Gradients of the first factors ``start .. stop``, zero before; ``rows`` (n, 3): first, second, target."""
    for i in range(start, stop):
        for k in range(offsets[i], offsets[i + 1]):
            row = order[k]
            other, given = rows[row, 1] * widths[1], rows[row, 2] * widths[2]
            for c in range(len(plan)):
                line = plan[c]
                _half_of_second(second, other, line, halves, half)
                _onto_first(gradient, given + line.result, line, half, halves, out, i * widths[0] + line.first)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _second_gradients(start, stop, first, gradient, rows, order, offsets, plan, halves, half, out, widths):
    """Gradients of the second factors ``start .. stop``, which are zero before."""
    for j in range(start, stop):
        for k in range(offsets[j], offsets[j + 1]):
            row = order[k]
            other, given = rows[row, 0] * widths[0], rows[row, 2] * widths[2]
            for c in range(len(plan)):
                line = plan[c]
                _half_of_first(first, other, line, halves, half)
                _onto_second(gradient, given + line.result, line, half, halves, out, j * widths[1] + line.second)


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def products(first, second, rows, order, offsets, plan, halves, half_rows, out, widths):
    """All products of the plan, summed over the rows of every target; targets without rows are zero before."""
    n_targets = len(offsets) - 1
    for block in numba.prange((n_targets + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE):
        half = np.empty((half_rows, LANES), out.dtype)
        for target in range(block * _ROWS_AT_ONCE, min(n_targets, (block + 1) * _ROWS_AT_ONCE)):
            for c in range(len(plan)):
                line = plan[c]
                for k in range(offsets[target], offsets[target + 1]):
                    row = order[k]
                    _half_of_second(second, rows[row, 1] * widths[1], line, halves, half)
                    begin, result = rows[row, 0] * widths[0] + line.first, target * widths[2] + line.result
                    _outer(first, begin, line, half, halves, out, result, k > offsets[target])


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def gradients_of_one(second, which, gradient, rows, order, offsets, plan, halves, half_rows, out, widths):
    """Gradients of the first (``which`` 0) or second (1) factors, from the other factors and those of the products."""
    n_groups = len(offsets) - 1
    for block in numba.prange((n_groups + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE):
        half = np.empty((half_rows, LANES), out.dtype)
        start, stop = block * _ROWS_AT_ONCE, min(n_groups, (block + 1) * _ROWS_AT_ONCE)
        if which == 0:
            _first_gradients(start, stop, second, gradient, rows, order, offsets, plan, halves, half, out, widths)
        else:
            _second_gradients(start, stop, second, gradient, rows, order, offsets, plan, halves, half, out, widths)


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def gradients_of_both(first, second, gradient, rows, order, offsets, plan, halves, half_rows, out1, out2, widths):
    """Both gradients where row k combines factors k and k for target k: every gradient is read from memory once."""
    n_groups = len(offsets) - 1
    for block in numba.prange((n_groups + _ROWS_AT_ONCE - 1) // _ROWS_AT_ONCE):
        half = np.empty((half_rows, LANES), out1.dtype)
        for i in range(block * _ROWS_AT_ONCE, min(n_groups, (block + 1) * _ROWS_AT_ONCE)):
            _first_gradients(i, i + 1, second, gradient, rows, order, offsets, plan, halves, half, out1, widths)
            _second_gradients(i, i + 1, first, gradient, rows, order, offsets, plan, halves, half, out2, widths)
