"""The double sum over modes of the quasi-harmonic Green-Kubo conductivity."""

import math

import numba
import numpy as np

QHGK, FULL, WIGNER = range(3)
NEARLY_EQUAL = 1e-6


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _capacity(x):
    half = 0.5 * x
    return (half / math.sinh(half)) ** 2 if half < 350.0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pair_capacity(x, y, wigner):
    """Heat capacity in k_B of two modes with reduced frequencies x and y, the mode's own where they are equal."""
    cx, cy = _capacity(x), _capacity(y)
    if wigner:
        return 0.25 * (x + y) * (cx / x + cy / y)
    if abs(x - y) < NEARLY_EQUAL:
        return 0.5 * (cx + cy)
    # N(x) - N(y) without the cancellation of two large numbers
    low, high = min(x, y), max(x, y)
    if high > 700.0:
        return x * y * math.exp(-low) / ((1 - math.exp(-low)) * (high - low)) if low < 700.0 else 0.0
    difference = math.sinh(0.5 * (high - low)) / (2 * math.sinh(0.5 * low) * math.sinh(0.5 * high))
    return x * y * difference / (high - low)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def sum_pairs(omega, widths, vibrating, reduced, velocity, classical, kind, degenerate, total, diagonal, diffusivity):
    """Fill each mode's part of C v v tau, (M, 3, 3) in k_B Å^2/ps, of it between equal frequencies, and D in Å^2/ps.

    ``reduced`` are hbar omega / k_B T, ``velocity`` (3, M, M), real or complex.
    """
    n_modes = len(omega)
    for n in numba.prange(n_modes):
        products = np.empty((3, 3))
        for m in range(n_modes):
            if not (vibrating[n] and vibrating[m]):
                continue
            detuning, width = omega[n] - omega[m], widths[n] + widths[m]
            sum_ = omega[n] + omega[m]
            lifetime = width / (width**2 + detuning**2)
            if kind == FULL:
                slow, fast = lifetime * sum_**2, width / (width**2 + sum_**2) * detuning**2
                lifetime = (slow + fast) / (4 * omega[n] * omega[m])
            elif kind == WIGNER:
                lifetime *= 4 * omega[n] * omega[m] / sum_**2
            capacity = 1.0 if classical else pair_capacity(reduced[n], reduced[m], kind == WIGNER)
            if classical and kind == WIGNER:
                capacity = 0.25 * sum_ * (1 / omega[n] + 1 / omega[m])
            for a in range(3):
                for b in range(3):
                    products[a, b] = (velocity[a, n, m] * np.conj(velocity[b, n, m])).real * lifetime
                diffusivity[n] += products[a, a] / 3
            for a in range(3):
                for b in range(3):
                    total[n, a, b] += capacity * products[a, b]
                    if abs(detuning) <= degenerate:
                        diagonal[n, a, b] += capacity * products[a, b]
