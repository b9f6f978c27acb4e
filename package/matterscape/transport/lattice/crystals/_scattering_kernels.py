"""Three-phonon processes of the irreducible wavevectors of a crystal's mesh, summed over pairs of wavevectors."""

import math

import numba
import numpy as np

from matterscape.transport.lattice._linewidth_kernels import broadened_delta

#: An adaptive broadening is at least this many rad/ps, lest two modes of equal velocity meet at a point.
NARROWEST = 1e-3


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def sum_thirds(places, phases, shifts, third, blocks, pair_starts, vectors, summed):
    """``summed[b, p, 3 x + y, l]``: blocks of pair p times mode l at wavevector ``places[b]``, over third atoms."""
    n_modes = vectors.shape[1]
    for b in numba.prange(len(places)):
        q = places[b]
        waves = np.empty((3, n_modes), np.complex128)
        for p in range(len(pair_starts) - 1):
            summed[b, p] = 0.0
            for t in range(pair_starts[p], pair_starts[p + 1]):
                phase = phases[q, shifts[t]]
                for c in range(3):
                    for l in range(n_modes):
                        waves[c, l] = phase * vectors[q, l, 3 * third[t] + c]
                for x in range(3):
                    for y in range(3):
                        for c in range(3):
                            value = blocks[t, x, y, c]
                            for l in range(n_modes):
                                summed[b, p, 3 * x + y, l] += value * waves[c, l]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _couple(summed, phases, shifts, first, second, own, other, bloch, partial, squares):
    """|Psi|^2 (n, m, l) of three wavevectors from sums over third atoms; ``bloch`` and ``partial`` are scratch."""
    size = own.shape[1]
    n_modes = own.shape[0]
    bloch[:] = 0.0
    for p in range(len(first)):
        phase = phases[shifts[p]]
        for x in range(3):
            for y in range(3):
                row, column = 3 * first[p] + x, 3 * second[p] + y
                for l in range(n_modes):
                    bloch[row, column, l] += phase * summed[p, 3 * x + y, l]
    partial[:] = 0.0
    for row in range(size):
        for m in range(n_modes):
            for column in range(size):
                factor = other[m, column]
                for l in range(n_modes):
                    partial[row, m, l] += factor * bloch[row, column, l]
    for n in range(n_modes):
        coupling = bloch[n]
        coupling[:] = 0.0
        for row in range(size):
            factor = own[n, row]
            for m in range(n_modes):
                for l in range(n_modes):
                    coupling[m, l] += factor * partial[row, m, l]
        for m in range(n_modes):
            for l in range(n_modes):
                squares[n, m, l] = coupling[m, l].real ** 2 + coupling[m, l].imag ** 2


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _adapted(one, sign, other, steps):
    """Broadening from the difference of two velocities along the steps of the mesh (Li et al. 2014, eq. 24)."""
    total = 0.0
    for k in range(3):
        change = 0.0
        for x in range(3):
            change += (one[x] + sign * other[x]) * steps[k, x]
        total += change * change
    return max(math.sqrt(total / 6), NARROWEST)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def add_processes(
    irreducible,
    seconds,
    thirds,
    weights,
    phases,
    shifts,
    first,
    second,
    summed,
    vectors,
    omega,
    unit,
    quanta,
    amplitudes,
    zero_point,
    width,
    shape,
    velocities,
    steps,
    representatives,
    turns,
    n_chunks,
    widths,
    matrix,
):
    """Add to the full widths (T, I, M), and to the collision matrix (T, I, M, I, M, 3, 3) unless it is empty.

    Column b of ``seconds`` and ``weights`` (I, B) belongs to the third wavevector ``thirds[b]``, whose sums over third
    atoms are ``summed[b]``. An infinite frequency marks a translation, which takes no part. ``width`` 0 asks for an
    adaptive one.
    """
    n_temperatures, n_modes, size = len(quanta), vectors.shape[1], vectors.shape[2]
    collect = matrix.size > 0
    for chunk in numba.prange(n_chunks):
        bloch = np.empty((size, size, n_modes), np.complex128)
        partial = np.empty((size, n_modes, n_modes), np.complex128)
        squares = np.empty((n_modes, n_modes, n_modes))
        to_second = np.empty((n_temperatures, n_modes, n_modes))
        to_third = np.empty((n_temperatures, n_modes, n_modes))
        for i in range(chunk, len(irreducible), n_chunks):
            q = irreducible[i]
            for b in range(len(thirds)):
                weight = weights[i, b]
                if weight == 0.0:
                    continue
                q2, q3 = seconds[i, b], thirds[b]
                _couple(summed[b], phases[q2], shifts, first, second, vectors[q], vectors[q2], bloch, partial, squares)
                if collect:
                    to_second[:] = 0.0
                    to_third[:] = 0.0
                for n in range(n_modes):
                    for m in range(n_modes):
                        for l in range(n_modes):
                            w1, w2, w3 = omega[q, n], omega[q2, m], omega[q3, l]
                            if w1 == np.inf or w2 == np.inf or w3 == np.inf:
                                continue
                            decay_width = joint_width = width
                            if width == 0.0:
                                decay_width = _adapted(velocities[q2, m], -1.0, velocities[q3, l], steps)
                                joint_width = _adapted(velocities[q2, m], 1.0, velocities[q3, l], steps)
                            decay = broadened_delta(w1 - w2 - w3, decay_width, shape)
                            joined = broadened_delta(w1 + w2 - w3, joint_width, shape)
                            joining = broadened_delta(w1 + w3 - w2, joint_width, shape)
                            total = decay + joined + joining
                            if total == 0.0:
                                continue
                            strength = weight * unit * squares[n, m, l] / (w1 * w2 * w3)
                            for t in range(n_temperatures):
                                one, other = quanta[t, q2, m], quanta[t, q3, l]
                                widths[t, i, n] += strength * (
                                    (zero_point + one + other) * decay + (one - other) * (joined - joining)
                                )
                                if collect:
                                    to_second[t, n, m] += strength * amplitudes[t, q3, l] * total
                                    to_third[t, n, l] += strength * amplitudes[t, q2, m] * total
                if collect:
                    for t in range(n_temperatures):
                        _scatter(to_second[t], representatives[q2], turns[q2], matrix[t, i])
                        _scatter(to_third[t], representatives[q3], turns[q3], matrix[t, i])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _scatter(rates, representative, turn, rows):
    """Add rates (n, m) to a wavevector that ``turn`` makes from an irreducible one."""
    for n in range(len(rates)):
        for m in range(len(rates)):
            for x in range(3):
                for y in range(3):
                    rows[n, representative, m, x, y] += rates[n, m] * turn[x, y]
