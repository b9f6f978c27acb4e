"""Maximally coupled tensors as a list of multiplications, and the compiled loops that run it: eight samples at a time.

A sample has one number in every slot of a row: the nine components of its vectors, then those of the intermediate and
final tensors. An instruction adds ``coefficient * left * right`` to a later slot; instructions are sorted by that slot.
Derivatives run the same list: tangents forwards, gradients backwards.
"""

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from matterscape.basis._lanes import LANES, load, store
from matterscape.basis.coupling import ClebschGordan

CHUNK = 16  # blocks of eight samples per task
N_INPUTS = 9
_device = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
_threaded = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"}, parallel=True)


class Coupling(NamedTuple):
    """One product ``(left x right)_(l1 + l2)``: the tensors' numbers in order of their making, and l1, l2."""

    left: int
    right: int
    l1: int
    l2: int


class Program(NamedTuple):
    """Couplings in order, which tensor every column of the result is, and the same number by number.

    Tensors 0, 1, 2 are the vectors; coupling k makes tensor 3 + k. Slot 9 + i is the sum of the instructions
    ``starts[i] .. starts[i + 1]``; ``factors`` (n, 2) are the slots of the left and right number, ``coefficients`` (n,)
    theirs. ``inputs`` (9,) and ``outputs`` ((2 l + 1)^2,) are the slots of the vectors' and results' numbers, columns
    innermost.
    """

    couplings: tuple[Coupling, ...]
    columns: tuple[int, ...]
    n_slots: int
    inputs: np.ndarray
    outputs: np.ndarray
    starts: np.ndarray
    factors: np.ndarray
    coefficients: np.ndarray


@lru_cache(maxsize=32)
def program(lambda_: int, dtype: str = "float64") -> Program:
    """The multiplications for tensors of one order, from 1 on."""
    couplings: list[Coupling] = []

    def couple(left: int, right: int, l1: int, l2: int) -> int:
        couplings.append(Coupling(left, right, l1, l2))
        return len(couplings) + 2

    def powers(vector: int) -> list[int]:
        """Tensors of the orders 0 (absent), 1, ..., lambda of one vector."""
        made = [-1, vector]
        for angular in range(1, lambda_):
            made.append(couple(made[-1], vector, angular, 1))
        return made

    first, second = powers(0), powers(1)

    def product(l1: int, total: int) -> int:
        """The product of ``l1`` first vectors and ``total - l1`` second ones."""
        if l1 in (0, total):
            return (second if l1 == 0 else first)[total]
        return couple(first[l1], second[total - l1], l1, total - l1)

    columns = [product(l, lambda_) for l in range(lambda_ + 1)]
    if lambda_ == 1:
        columns.append(2)
    else:
        columns += [couple(product(l, lambda_ - 1), 2, lambda_ - 1, 1) for l in range(lambda_)]

    sizes = [3, 3, 3, *(2 * (c.l1 + c.l2) + 1 for c in couplings)]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    starts, factors, coefficients = [0], [], []
    tables = ClebschGordan(lambda_)
    for coupling in couplings:
        table = tables[coupling.l1, coupling.l2, coupling.l1 + coupling.l2]
        rows = np.stack([table.total, offsets[coupling.left] + table.first, offsets[coupling.right] + table.second], 1)
        if coupling.left == coupling.right:  # a b and b a are one multiplication
            rows[:, 1:].sort(axis=1)
        rows, merged = np.unique(rows, axis=0, return_inverse=True)
        starts += list(starts[-1] + np.searchsorted(rows[:, 0], np.arange(1, len(table.starts))))
        factors.append(rows[:, 1:])
        coefficients.append(np.bincount(merged.ravel(), table.values))
    # unsigned indices spare the loops a test for negative ones
    return Program(
        tuple(couplings),
        tuple(columns),
        int(offsets[-1]),
        (np.arange(3)[:, None] + offsets[:3]).ravel().astype(np.uint64),
        (np.arange(2 * lambda_ + 1)[:, None] + offsets[columns]).ravel().astype(np.uint64),
        np.array(starts, dtype=np.uint64),
        np.concatenate(factors) if factors else np.empty((0, 2), np.int64),
        np.concatenate(coefficients).astype(dtype) if factors else np.empty(0, dtype),
    )


@_device
def _take(rows, start, slots_of, slots):
    """Numbers of eight samples from rows (n, numbers) into their slots; lanes beyond the last sample repeat it."""
    for lane in range(LANES):
        sample = min(start + lane, rows.shape[0] - 1)
        for k in range(rows.shape[1]):
            slots[slots_of[k], lane] = rows[sample, k]


@_device
def _give(slots, start, slots_of, rows):
    for lane in range(min(LANES, rows.shape[0] - start)):
        for k in range(rows.shape[1]):
            rows[start + lane, k] = slots[slots_of[k], lane]


@_device
def _forwards(starts, factors, coefficients, values):
    for target in range(starts.shape[0] - 1):
        total = load(values, N_INPUTS + target)
        for k in range(starts[target], starts[target + 1]):
            total = total + coefficients[k] * (load(values, factors[k, 0]) * load(values, factors[k, 1]))
        store(values, N_INPUTS + target, total)


@_device
def _tangents(starts, factors, coefficients, values, tangents):
    for target in range(starts.shape[0] - 1):
        total = load(tangents, N_INPUTS + target)
        for k in range(starts[target], starts[target + 1]):
            left, right = factors[k, 0], factors[k, 1]
            change = load(tangents, left) * load(values, right) + load(values, left) * load(tangents, right)
            total = total + coefficients[k] * change
        store(tangents, N_INPUTS + target, total)


@_device
def _backwards(starts, factors, coefficients, values, gradients):
    """Gradients by every slot from those by the results, the last slot first."""
    for target in range(starts.shape[0] - 2, -1, -1):
        incoming = load(gradients, N_INPUTS + target)
        for k in range(starts[target], starts[target + 1]):
            left, right = factors[k, 0], factors[k, 1]
            scaled = coefficients[k] * incoming
            store(gradients, left, load(gradients, left) + scaled * load(values, right))
            store(gradients, right, load(gradients, right) + scaled * load(values, left))


@_device
def _tangents_backwards(starts, factors, coefficients, values, tangents, gradients, changes):
    """As ``_backwards``, with the changes of the gradients along the tangents."""
    for target in range(starts.shape[0] - 2, -1, -1):
        incoming, change = load(gradients, N_INPUTS + target), load(changes, N_INPUTS + target)
        for k in range(starts[target], starts[target + 1]):
            left, right = factors[k, 0], factors[k, 1]
            scaled, scaled_change = coefficients[k] * incoming, coefficients[k] * change
            store(gradients, left, load(gradients, left) + scaled * load(values, right))
            store(gradients, right, load(gradients, right) + scaled * load(values, left))
            by_left = scaled_change * load(values, right) + scaled * load(tangents, right)
            store(changes, left, load(changes, left) + by_left)
            by_right = scaled_change * load(values, left) + scaled * load(tangents, left)
            store(changes, right, load(changes, right) + by_right)


@_threaded
def values_kernel(vectors, inputs, outputs, n_slots, starts, factors, coefficients, result):
    """Result (n, (2 l + 1)^2) of vectors (n, 9); ``inputs`` and ``outputs`` are the slots of their numbers."""
    n_blocks = (vectors.shape[0] + LANES - 1) // LANES
    for task in numba.prange((n_blocks + CHUNK - 1) // CHUNK):
        values = np.empty((n_slots, LANES), vectors.dtype)
        for block in range(task * CHUNK, min((task + 1) * CHUNK, n_blocks)):
            values[:] = 0
            _take(vectors, LANES * block, inputs, values)
            _forwards(starts, factors, coefficients, values)
            _give(values, LANES * block, outputs, result)


@_threaded
def jvp_kernel(vectors, directions, inputs, outputs, n_slots, starts, factors, coefficients, result):
    """Change of the result along directions (n, 9)."""
    n_blocks = (vectors.shape[0] + LANES - 1) // LANES
    for task in numba.prange((n_blocks + CHUNK - 1) // CHUNK):
        values, tangents = np.empty((n_slots, LANES), vectors.dtype), np.empty((n_slots, LANES), vectors.dtype)
        for block in range(task * CHUNK, min((task + 1) * CHUNK, n_blocks)):
            values[:], tangents[:] = 0, 0
            _take(vectors, LANES * block, inputs, values)
            _take(directions, LANES * block, inputs, tangents)
            _forwards(starts, factors, coefficients, values)
            _tangents(starts, factors, coefficients, values, tangents)
            _give(tangents, LANES * block, outputs, result)


@_threaded
def vjp_kernel(vectors, weights, inputs, outputs, n_slots, starts, factors, coefficients, result):
    """Gradient (n, 9) of the sum of the result times weights (n, (2 l + 1)^2)."""
    n_blocks = (vectors.shape[0] + LANES - 1) // LANES
    for task in numba.prange((n_blocks + CHUNK - 1) // CHUNK):
        values, gradients = np.empty((n_slots, LANES), vectors.dtype), np.empty((n_slots, LANES), vectors.dtype)
        for block in range(task * CHUNK, min((task + 1) * CHUNK, n_blocks)):
            values[:], gradients[:] = 0, 0
            _take(vectors, LANES * block, inputs, values)
            _take(weights, LANES * block, outputs, gradients)
            _forwards(starts, factors, coefficients, values)
            _backwards(starts, factors, coefficients, values, gradients)
            _give(gradients, LANES * block, inputs, result)


@_threaded
def hvp_kernel(vectors, weights, directions, inputs, outputs, n_slots, starts, factors, coefficients, result):
    """Change (n, 9) of the gradient of ``vjp_kernel`` along directions."""
    n_blocks = (vectors.shape[0] + LANES - 1) // LANES
    for task in numba.prange((n_blocks + CHUNK - 1) // CHUNK):
        values, tangents = np.empty((n_slots, LANES), vectors.dtype), np.empty((n_slots, LANES), vectors.dtype)
        gradients, changes = np.empty((n_slots, LANES), vectors.dtype), np.empty((n_slots, LANES), vectors.dtype)
        for block in range(task * CHUNK, min((task + 1) * CHUNK, n_blocks)):
            values[:], tangents[:], gradients[:], changes[:] = 0, 0, 0, 0
            _take(vectors, LANES * block, inputs, values)
            _take(directions, LANES * block, inputs, tangents)
            _take(weights, LANES * block, outputs, gradients)
            _forwards(starts, factors, coefficients, values)
            _tangents(starts, factors, coefficients, values, tangents)
            _tangents_backwards(starts, factors, coefficients, values, tangents, gradients, changes)
            _give(changes, LANES * block, inputs, result)
