"""Numba loops of Clebsch-Gordan products of chosen pairs of channels: numbers in, numbers out.

Eight pairs of channels lie in lanes; their factors are gathered into scratch rows, one row per order m.
"""

from typing import NamedTuple

import numba
import numpy as np

from matterscape.basis._lanes import LANES, at, fill, load, load_first, spread, store, store_first

FAST = {"contract", "nsz", "reassoc"}
_SAMPLES_AT_ONCE = 32


class Terms(NamedTuple):
    """Coefficients sorted by the order of one of the three features, ``y`` and ``z`` the orders of the other two."""

    starts: np.ndarray  # (2 l + 2,) first coefficient of each order
    y: np.ndarray  # (coefficients,)
    z: np.ndarray  # (coefficients,)
    values: np.ndarray  # (coefficients,)


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _gathered(flat, begin, orders, channels, chosen, start, rows):
    """rows[m, lane] = block[m, channel of pair start + lane]; zeros beyond the last pair."""
    flat_rows, count = rows.reshape(-1), min(LANES, len(chosen) - start)
    for lane in range(count):
        position = begin + at(chosen, start + lane)
        for m in range(orders):
            flat_rows[m * LANES + lane] = at(flat, position)
            position += channels
    for lane in range(count, LANES):
        for m in range(orders):
            flat_rows[m * LANES + lane] = 0.0


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _scattered(rows, begin, orders, channels, chosen, start, out):
    """block[m, channel of pair start + lane] += rows[m, lane]."""
    for lane in range(min(LANES, len(chosen) - start)):
        position = begin + at(chosen, start + lane)
        for m in range(orders):
            out[position] += rows[m, lane]
            position += channels


@numba.njit(nogil=True, cache=True, fastmath=FAST)
def _contracted(terms, order, y, z):
    """Sum of coefficient times y times z for one order of the third feature."""
    lanes = fill(y, 0.0)
    for term in range(at(terms.starts, order), at(terms.starts, order + 1)):
        lanes = lanes + spread(terms.values, term) * (load(y, at(terms.y, term)) * load(z, at(terms.z, term)))
    return lanes


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def products(first, second, chosen1, chosen2, terms, sizes, channels, n_samples, out):
    """out[s, M, p] = sum C[m1, m2, M] first[s, m1, q1 of p] second[s, m2, q2 of p]; ``sizes``: 2 l + 1 of the three."""
    n_pairs = len(chosen1)
    for block in numba.prange((n_samples + _SAMPLES_AT_ONCE - 1) // _SAMPLES_AT_ONCE):
        a, b = np.empty((sizes[0], LANES), out.dtype), np.empty((sizes[1], LANES), out.dtype)
        for s in range(block * _SAMPLES_AT_ONCE, min(n_samples, (block + 1) * _SAMPLES_AT_ONCE)):
            for start in range(0, n_pairs, LANES):
                _gathered(first, s * sizes[0] * channels[0], sizes[0], channels[0], chosen1, start, a)
                _gathered(second, s * sizes[1] * channels[1], sizes[1], channels[1], chosen2, start, b)
                for m in range(sizes[2]):
                    position = (s * sizes[2] + m) * n_pairs + start
                    store_first(out, position, n_pairs - start, _contracted(terms, m, a, b))


@numba.njit(nogil=True, cache=True, parallel=True, fastmath=FAST)
def gradients(
    gradient, first, second, chosen1, chosen2, by_first, by_second, sizes, channels, n_samples, on_first, on_second
):
    """Gradients of both factors, which are zero before."""
    n_pairs = len(chosen1)
    for block in numba.prange((n_samples + _SAMPLES_AT_ONCE - 1) // _SAMPLES_AT_ONCE):
        a, b = np.empty((sizes[0], LANES), first.dtype), np.empty((sizes[1], LANES), first.dtype)
        g, result = np.empty((sizes[2], LANES), first.dtype), np.empty((max(sizes), LANES), first.dtype)
        for s in range(block * _SAMPLES_AT_ONCE, min(n_samples, (block + 1) * _SAMPLES_AT_ONCE)):
            begin1, begin2 = s * sizes[0] * channels[0], s * sizes[1] * channels[1]
            for start in range(0, n_pairs, LANES):
                _gathered(first, begin1, sizes[0], channels[0], chosen1, start, a)
                _gathered(second, begin2, sizes[1], channels[1], chosen2, start, b)
                for m in range(sizes[2]):
                    store(g, m, load_first(gradient, (s * sizes[2] + m) * n_pairs + start, n_pairs - start))
                for m in range(sizes[0]):
                    store(result, m, _contracted(by_first, m, b, g))
                _scattered(result, begin1, sizes[0], channels[0], chosen1, start, on_first)
                for m in range(sizes[1]):
                    store(result, m, _contracted(by_second, m, a, g))
                _scattered(result, begin2, sizes[1], channels[1], chosen2, start, on_second)
