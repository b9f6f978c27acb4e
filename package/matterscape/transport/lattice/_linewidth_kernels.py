"""Sums over decays of modes, with energy conserved to a broadening."""

import math

import numba

GAUSS, TRIANGLE, LORENTZ = range(3)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def broadened_delta(x, width, shape):
    """A peak of unit area at 0; ``width`` s: exp(-x^2/s^2)/(sqrt(pi) s) up to 2 s, a triangle, or a Lorentzian."""
    x = abs(x)
    if shape == LORENTZ:
        return 0.5 * width / math.pi / (x * x + 0.25 * width * width)
    if shape == TRIANGLE:
        return (1 - x / width) / width if x < width else 0.0
    return math.exp(-((x / width) ** 2)) / (math.sqrt(math.pi) * width) if x < 2 * width else 0.0


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def add_decays(strengths, own, first, second, first_quanta, second_quanta, zero_point, factor, width, shape, widths):
    """Add sum_ml s_nml {(z + N_m + N_l) delta(n - m - l) + (N_m - N_l) [delta(n + m - l) - delta(n + l - m)]}.

    ``strengths`` (B, M, L) s; ``own`` (B,), ``first`` (M,), ``second`` (L,) frequencies; ``first_quanta`` (T, M) and
    ``second_quanta`` (T, L) occupations N; ``widths`` (T, B) is added to.
    """
    n_temperatures = len(first_quanta)
    for n in numba.prange(len(own)):
        for m in range(len(first)):
            for l in range(len(second)):
                strength = factor * strengths[n, m, l]
                if strength == 0.0:
                    continue
                decay = broadened_delta(own[n] - first[m] - second[l], width, shape)
                absorption = broadened_delta(own[n] + first[m] - second[l], width, shape)
                absorption -= broadened_delta(own[n] + second[l] - first[m], width, shape)
                if decay == 0.0 and absorption == 0.0:
                    continue
                for t in range(n_temperatures):
                    one, other = first_quanta[t, m], second_quanta[t, l]
                    widths[t, n] += strength * ((zero_point + one + other) * decay + (one - other) * absorption)
