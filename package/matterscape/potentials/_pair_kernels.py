"""Numba loops of the pair potentials over half neighbour lists.

For a few centres at a time the neighbours inside the cutoff are first gathered by type, so that eight pairs with the
same parameters go through the functional forms at once (:mod:`_radial`); then the forces are scattered. Positions and
results travel as rows of four: three components, and the type or the energy.
"""

import numba
import numpy as np

from matterscape.basis._lanes import LANES
from matterscape.potentials._eight import append_near, squares_and_types
from matterscape.potentials._lane_functions import FAST
from matterscape.potentials._quads import add_to_row, force_and_energy, plus, reaction, row_of, zeros
from matterscape.potentials._radial import CLOSEST_SQUARED, CUTOFF_SQUARED, radial

BATCH = 8  # centres whose pairs go through the functional forms together
MIN_PAIRS_PER_THREAD = 5000  # below, a second thread costs more than it brings

# unsigned indices spare numba's test for negative ones
_U = np.uint64


def accumulate(
    positions, weights, types, second, offsets, parameters, tables, kind, with_pieces, energies, gradient, pieces
) -> int:
    """Add energies, gradient and flux tensors of all pairs; see :func:`matterscape.potentials.local.local_operator`.

    The sums run in float64 whatever the dtype of the arrays. Returns the index of a pair closer than its parameters
    allow, or -1.
    """
    n_extended = len(positions)
    n_chunks = max(1, min(numba.get_num_threads(), len(second) // MIN_PAIRS_PER_THREAD))
    points = np.empty((n_extended, 4))
    sums = np.empty((n_chunks, n_extended, 4))
    _prepare(positions, types, points, sums)
    fluxes = np.zeros((n_chunks, n_extended if with_pieces else 0, 9))
    if len(weights) == 0 and with_pieces:
        weights = np.ones(n_extended)
    shares = [len(second) * chunk // n_chunks for chunk in range(1, n_chunks)]
    bounds = np.array([0, *np.searchsorted(offsets, shares), len(offsets) - 1])
    failures = np.empty(n_chunks, np.int64)
    loop = _one_chunk if n_chunks == 1 else _all_chunks
    loop(
        bounds,
        points,
        np.asarray(weights, np.float64),
        types,
        second,
        offsets,
        np.asarray(parameters, np.float64),
        sums,
        fluxes,
        failures,
    )
    _add_sums(sums, energies, gradient)
    if with_pieces:
        pieces += fluxes.sum(axis=0).reshape(-1, 3, 3)
    return int(failures.max())


@numba.njit(nogil=True, cache=True)
def _prepare(positions, types, points, sums):
    """Positions and types as rows of four, sums set to zero."""
    for k in range(len(positions)):
        for x in range(3):
            points[k, x] = positions[k, x]
        points[k, 3] = types[k]
        for chunk in range(len(sums)):
            for x in range(4):
                sums[chunk, k, x] = 0.0


@numba.njit(nogil=True, cache=True)
def _add_sums(sums, energies, gradient):
    for k in range(len(energies)):
        for chunk in range(len(sums)):
            for x in range(3):
                gradient[k, x] += sums[chunk, k, x]
            energies[k] += sums[chunk, k, 3]


@numba.njit(nogil=True, cache=True, parallel=True)
def _all_chunks(bounds, points, weights, types, second, offsets, parameters, sums, fluxes, failures):
    """Every chunk of centres in its own thread and with its own sums."""
    for chunk in numba.prange(len(failures)):
        _one_chunk(
            bounds[chunk : chunk + 2],
            points,
            weights,
            types,
            second,
            offsets,
            parameters,
            sums[chunk : chunk + 1],
            fluxes[chunk : chunk + 1],
            failures[chunk : chunk + 1],
        )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _one_chunk(bounds, points, weights, types, second, offsets, parameters, sums, fluxes, failures):
    """The pairs of the centres ``bounds[0]`` to ``bounds[1]``."""
    start, stop = _U(bounds[0]), _U(bounds[1])
    n_rows = _U(len(parameters))
    n_types = _U(round(np.sqrt(n_rows)))
    most = 0
    for i in range(start, stop):
        most = max(most, offsets[i + _U(1)] - offsets[i])
    n_tiles = _U(BATCH * most // LANES + 1)
    capacity = n_tiles * _U(LANES)
    tiles, partners = np.empty((n_rows * n_tiles, LANES)), np.empty(n_rows * capacity, np.uint32)
    value_tiles, slope_tiles = np.empty((n_rows * n_tiles, LANES)), np.empty((n_rows * n_tiles, LANES))
    squares, values, slopes = tiles.reshape(-1), value_tiles.reshape(-1), slope_tiles.reshape(-1)
    begins, counts = np.empty((BATCH, n_types), np.uint64), np.empty((BATCH, n_types), np.uint64)
    ends = np.empty(n_rows, np.uint64)
    out, flux = sums[0], fluxes[0]
    failures[0] = -1
    for first in range(start, stop, _U(BATCH)):
        last = min(first + _U(BATCH), stop)
        for row in range(n_rows):
            ends[row] = row * capacity
        for i in range(first, last):
            member, first_row = i - first, _U(types[i]) * n_types
            for t in range(n_types):
                begins[member, t] = ends[first_row + t]
            _gather(i, points, second, offsets, parameters, first_row, n_types, squares, partners, ends)
            for t in range(n_types):
                counts[member, t] = ends[first_row + t] - begins[member, t]
        for row in range(n_rows):
            first_tile = row * n_tiles
            last_tile = (ends[row] + _U(LANES - 1)) // _U(LANES)
            for k in range(ends[row], last_tile * _U(LANES)):
                squares[k] = parameters[row, CUTOFF_SQUARED]
            if radial(parameters, row, tiles, first_tile, last_tile, value_tiles, slope_tiles):
                failures[0] = _first_too_close(first, last, points, types, second, offsets, parameters, n_types)
        for i in range(first, last):
            for t in range(n_types):
                begin, n = begins[i - first, t], counts[i - first, t]
                if len(weights) == 0:
                    _scatter(i, begin, n, points, partners, values, slopes, out)
                else:
                    _scatter_weighted(i, begin, n, points, partners, values, slopes, weights, out, flux)


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _gather(i, points, second, offsets, parameters, first_row, n_types, squares, partners, ends):
    """Append the neighbours of ``i`` inside the cutoff, with their squared distances, to those of their row.

    A neighbour outside is written, too, and the next one over it: no branch that a processor would mispredict.
    """
    p, last = _U(offsets[i]), _U(offsets[i + _U(1)])
    while p + _U(LANES) <= last:
        near, kinds = squares_and_types(points, i, second, p)
        for t in range(n_types):
            row = first_row + t
            limit = parameters[row, CUTOFF_SQUARED]
            ends[row] = append_near(near, kinds, float(t), limit, second, p, squares, partners, ends[row])
        p += _U(LANES)
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    for q in range(p, last):
        j = _U(second[q])
        row = first_row + _U(points[j, 3])
        dx, dy, dz = points[j, 0] - x, points[j, 1] - y, points[j, 2] - z
        squared = dx * dx + dy * dy + dz * dz
        n = ends[row]
        squares[n] = squared
        partners[n] = j
        ends[row] = n + _U(squared < parameters[row, CUTOFF_SQUARED])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _first_too_close(first, last, points, types, second, offsets, parameters, n_types):
    """Index of the first pair of the centres that is closer than its parameters allow."""
    for i in range(first, last):
        for p in range(_U(offsets[i]), _U(offsets[i + _U(1)])):
            j = _U(second[p])
            squared = 0.0
            for x in range(3):
                squared += (points[j, x] - points[i, x]) ** 2
            if squared < parameters[_U(types[i]) * n_types + _U(types[j]), CLOSEST_SQUARED]:
                return np.int64(p)
    return -1


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _scatter(i, begin, n, points, partners, values, slopes, out):
    """Forces on both ends of every pair, half of its energy to each."""
    centre, total = row_of(points, i), zeros()
    for k in range(n):
        j = _U(partners[begin + k])
        push = force_and_energy(row_of(points, j), centre, slopes[begin + k], values[begin + k])
        add_to_row(out, j, push)
        total = plus(total, push)
    add_to_row(out, i, reaction(total))


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def _scatter_weighted(i, begin, n, points, partners, values, slopes, weights, out, flux):
    """The same for the sum of the energies times weights, and the flux tensors where ``flux`` is not empty."""
    centre, total = row_of(points, i), zeros()
    for k in range(n):
        j = _U(partners[begin + k])
        half = 0.5 * slopes[begin + k]
        push = force_and_energy(row_of(points, j), centre, half * (weights[i] + weights[j]), values[begin + k])
        add_to_row(out, j, push)
        total = plus(total, push)
        if len(flux) > 0:
            on_i, on_j = half * weights[j], half * weights[i]
            for a in range(3):
                d = points[j, a] - points[i, a]
                for b in range(3):
                    outer = d * (points[j, b] - points[i, b])
                    flux[i, _U(3 * a + b)] -= on_i * outer
                    flux[j, _U(3 * a + b)] -= on_j * outer
    add_to_row(out, i, reaction(total))
