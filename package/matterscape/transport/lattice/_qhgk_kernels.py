"""The double sums over modes of the quasi-harmonic Green-Kubo conductivity, in tiles of the velocity matrices.

Every pair of modes is visited once and counted for both, as heat capacity, lifetime and |v|^2 are symmetric.
"""

import math

import numba
import numpy as np

QHGK, FULL, WIGNER = range(3)
LORENTZ, GAUSS = range(2)
#: Parts of a tile with sums of their own, whatever the number of threads.
CHUNKS = 8
#: Columns of the sums: xx, yy, zz, yz, xz, xy of C v v tau, the same between equal frequencies, and D.
COLUMNS = 13
SMALL = 1e-2


@numba.njit(nogil=True, cache=True, error_model="numpy")
def exchange_capacity(x, y, x_decay, y_decay, x_norm, y_norm):
    """x y (N(x) - N(y)) / (y - x), the heat capacity in k_B of two modes with reduced frequencies x and y.

    ``decay`` is e^-x and ``norm`` 1 / (1 - e^-x). Without cancellation, and the mode's own capacity at x = y.
    """
    gap, low = abs(x - y), max(x_decay, y_decay)
    if gap > SMALL:
        slope = (low - min(x_decay, y_decay)) / gap
    else:
        slope = low * (1 - gap * (1 / 2 - gap * (1 / 6 - gap * (1 / 24 - gap * (1 / 120 - gap / 720)))))
    return x * y * slope * x_norm * y_norm


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _peak(x, width, shape):
    """pi times a peak of unit area: a Lorentzian of half width ``width``, or exp(-x^2/s^2) with s = 2 ``width``."""
    if shape == GAUSS:
        return 0.5 * math.sqrt(math.pi) / width * math.exp(-((0.5 * x / width) ** 2))
    return width / (width * width + x * x)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def sum_pairs(
    start, omega, widths, capacities, reduced, decays, norms, velocity, kind, shape, antiresonant, degenerate, sums
):
    """Add the pairs of modes n = start + row, m >= n of a tile to ``sums`` (CHUNKS, M, COLUMNS), in k_B Å^2/ps.

    ``velocity`` (3, W, L), real or complex, rows from n = start, columns from m = start; ``capacities`` of each mode in
    k_B; ``reduced``, ``decays``, ``norms`` as in :func:`exchange_capacity`, or empty in classical statistics.
    """
    n_rows, n_columns = velocity.shape[1:]
    for chunk in numba.prange(CHUNKS):
        total, products = sums[chunk], np.empty(6)
        for row in range(chunk, n_rows, CHUNKS):
            n = start + row
            own = np.zeros(COLUMNS)
            for column in range(row, n_columns):
                m = start + column
                detuning, width, sum_ = omega[n] - omega[m], widths[n] + widths[m], omega[n] + omega[m]
                lifetime = _peak(detuning, width, shape)
                if kind == FULL:
                    slow, fast = lifetime * sum_**2, _peak(sum_, width, shape) * detuning**2
                    lifetime = (slow + fast) / (4 * omega[n] * omega[m])
                elif kind == WIGNER:
                    lifetime *= 4 * omega[n] * omega[m] / sum_**2
                elif antiresonant:
                    lifetime += _peak(sum_, width, shape)
                if kind == WIGNER:
                    capacity = 0.25 * sum_ * (capacities[n] / omega[n] + capacities[m] / omega[m])
                elif len(reduced) == 0:
                    capacity = 1.0
                else:
                    capacity = exchange_capacity(reduced[n], reduced[m], decays[n], decays[m], norms[n], norms[m])
                x, y, z = velocity[0, row, column], velocity[1, row, column], velocity[2, row, column]
                products[0], products[1] = (x * np.conj(x)).real, (y * np.conj(y)).real
                products[2], products[3] = (z * np.conj(z)).real, (y * np.conj(z)).real
                products[4], products[5] = (x * np.conj(z)).real, (x * np.conj(y)).real
                diffusivity = lifetime * (products[0] + products[1] + products[2]) / 3
                weight = capacity * lifetime
                own[12] += diffusivity
                for c in range(6):
                    own[c] += weight * products[c]
                if abs(detuning) <= degenerate:
                    for c in range(6):
                        own[6 + c] += weight * products[c]
                if m == n:
                    continue
                total[m, 12] += diffusivity
                for c in range(6):
                    total[m, c] += weight * products[c]
                if abs(detuning) <= degenerate:
                    for c in range(6):
                        total[m, 6 + c] += weight * products[c]
            for c in range(COLUMNS):
                total[n, c] += own[c]


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def scan_pairs(start, omega, half_widths, reduced, decays, norms, velocity, tensors, diffusivities):
    """The same for E half widths that all modes share, in one pass.

    ``tensors`` (CHUNKS, 6, E) in k_B Å^2/ps and ``diffusivities`` (CHUNKS, M, E) in Å^2/ps are added to.
    """
    n_rows, n_columns = velocity.shape[1:]
    n_widths = len(half_widths)
    for chunk in numba.prange(CHUNKS):
        tensor, diffusivity = tensors[chunk], diffusivities[chunk]
        lifetimes, products = np.empty(n_widths), np.empty(6)
        for row in range(chunk, n_rows, CHUNKS):
            n = start + row
            for column in range(row, n_columns):
                m = start + column
                detuning = omega[n] - omega[m]
                square = detuning * detuning
                for e in range(n_widths):
                    width = 2 * half_widths[e]
                    lifetimes[e] = width / (width * width + square)
                capacity = 1.0
                if len(reduced) > 0:
                    capacity = exchange_capacity(reduced[n], reduced[m], decays[n], decays[m], norms[n], norms[m])
                x, y, z = velocity[0, row, column], velocity[1, row, column], velocity[2, row, column]
                products[0], products[1] = (x * np.conj(x)).real, (y * np.conj(y)).real
                products[2], products[3] = (z * np.conj(z)).real, (y * np.conj(z)).real
                products[4], products[5] = (x * np.conj(z)).real, (x * np.conj(y)).real
                share = (products[0] + products[1] + products[2]) / 3
                own, other = diffusivity[n], diffusivity[m]
                for e in range(n_widths):
                    own[e] += share * lifetimes[e]
                # a pair stands for two, unless it is one mode
                weight = capacity
                if m != n:
                    weight = 2 * capacity
                    for e in range(n_widths):
                        other[e] += share * lifetimes[e]
                for c in range(6):
                    weighted = weight * products[c]
                    for e in range(n_widths):
                        tensor[c, e] += weighted * lifetimes[e]
