"""Sums over decays of modes, with energy conserved to a broadening.

Those of glasses have two bodies each, compiled ones and, for other devices and as the reference, ones of torch.
"""

import math

import numba
import numpy as np
import torch

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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _weigh(couplings, target, omega, start, first, width, shape, strengths):
    """Strengths |Psi|^2 delta(target - omega_l) / omega_l of one row, and the range of l where they count."""
    reach = width if shape == TRIANGLE else 2 * width
    low, high = first, first + len(couplings)
    if shape != LORENTZ:
        low += np.searchsorted(omega[low:high], target - reach)
        high = low + np.searchsorted(omega[low:high], target + reach)
    low = max(low, start)
    for l in range(low, high):
        coupling = np.float64(couplings[l - first])
        strengths[l - low] = coupling * coupling * broadened_delta(target - omega[l], width, shape) / omega[l]
    return low, max(low, high)


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def add_triples(couplings, own, others, first, omega, quanta, zero_point, width, shape, widths):
    """Add what triples n <= m, l with omega_n + omega_m near omega_l give to the widths of all three modes.

    Parameters: ``couplings`` (B, W, L) Psi of modes ``own`` to own + B, ``others`` to others + W, ``first`` to
    first + L, all sorted by frequency; ``omega`` (M,); ``quanta`` (T, M). ``widths`` (B, T, M), a copy for each mode n,
    is added to; in rad/ps when |Psi|^2 / (omega omega omega) is in (rad/ps)^2.
    """
    n_own, n_others, n_third = couplings.shape
    for b in numba.prange(n_own):
        strengths = np.empty(n_third)
        n, sums = own + b, widths[b]
        for w in range(max(0, n - others), n_others):
            m = others + w
            low, high = _weigh(couplings[b, w], omega[n] + omega[m], omega, 0, first, width, shape, strengths)
            unit = 1 / (omega[n] * omega[m])
            # two orders of n and m, unless they are the same mode
            orders = 0.5 if n == m else 1.0
            for t in range(len(quanta)):
                quantum, created, absorbed = zero_point + quanta[t, n] + quanta[t, m], 0.0, 0.0
                for l in range(low, high):
                    strength = unit * strengths[l - low]
                    sums[t, l] += orders * quantum * strength
                    created += strength
                    absorbed += strength * quanta[t, l]
                sums[t, n] += quanta[t, m] * created - absorbed
                if n != m:
                    sums[t, m] += quanta[t, n] * created - absorbed


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def add_own(couplings, own, others, first, sign, omega, quanta, zero_point, width, shape, widths):
    """Add what pairs m, l with omega_n + sign omega_m near omega_l give to the widths (T, B) of modes n alone.

    Parameters as of :func:`add_triples`, but ``own`` (B,) are any modes; ``sign`` 1 for absorption of m, -1 for decay,
    where l >= m.
    """
    n_own, n_others, n_third = couplings.shape
    for b in numba.prange(n_own):
        strengths = np.empty(n_third)
        n = own[b]
        for w in range(n_others):
            m = others + w
            start = m if sign < 0 else 0
            target = omega[n] + sign * omega[m]
            low, high = _weigh(couplings[b, w], target, omega, start, first, width, shape, strengths)
            unit = 1 / (omega[n] * omega[m])
            for t in range(len(quanta)):
                total = 0.0
                for l in range(low, high):
                    weight = quanta[t, m] - sign * quanta[t, l]
                    if sign < 0:
                        weight = (zero_point + weight) * (0.5 if l == m else 1.0)
                    total += strengths[l - low] * weight
                widths[t, b] += unit * total


def triples_reference(couplings, own, others, first, omega, quanta, zero_point, width, shape):
    """What ``add_triples`` adds, summed over its batch, (T, M); tensors of one device."""
    n, m, l = (
        torch.arange(start, start + size, device=omega.device)
        for start, size in zip((own, others, first), couplings.shape)
    )
    strengths = _strengths(couplings, omega[n, None] + omega[m], omega, n, m, l, width, shape)
    strengths = strengths * (m >= n[:, None])[:, :, None]
    different = (m != n[:, None]).to(omega.dtype)[:, :, None]
    sums = torch.zeros_like(quanta)
    for row, count in zip(sums, quanta):
        created = zero_point + count[n, None] + count[m]
        row[l] += torch.einsum("nml,nm->l", strengths * (0.5 + 0.5 * different), created)
        row[n] += torch.einsum("nml,nml->n", strengths, count[m, None] - count[l].expand(strengths.shape))
        row[m] += torch.einsum("nml,nml->m", strengths * different, count[n, None, None] - count[l])
    return sums


def own_reference(couplings, own, others, first, sign, omega, quanta, zero_point, width, shape):
    """What ``add_own`` adds, (T, B); tensors of one device."""
    n = torch.as_tensor(own, device=omega.device)
    m, l = (
        torch.arange(start, start + size, device=omega.device)
        for start, size in zip((others, first), couplings.shape[1:])
    )
    strengths = _strengths(couplings, omega[n, None] + sign * omega[m], omega, n, m, l, width, shape)
    weights = quanta[:, m, None] - sign * quanta[:, None, l]
    if sign < 0:
        weights = (zero_point + weights) * ((l >= m[:, None]).to(omega.dtype) - 0.5 * (l == m[:, None]))
    return torch.einsum("nml,tml->tn", strengths, weights)


def _strengths(couplings, targets, omega, n, m, l, width, shape):
    x = (targets[:, :, None] - omega[l]).abs()
    if shape == LORENTZ:
        delta = 0.5 * width / math.pi / (x * x + 0.25 * width * width)
    elif shape == TRIANGLE:
        delta = (1 - x / width).clamp(min=0) / width
    else:
        delta = torch.exp(-((x / width) ** 2)) / (math.sqrt(math.pi) * width) * (x < 2 * width)
    return couplings.to(omega.dtype) ** 2 * delta / (omega[n, None, None] * omega[m, None] * omega[l])
