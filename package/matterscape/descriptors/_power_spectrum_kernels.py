"""Numba loops of the power spectrum: numbers in, numbers out.

A density is (N, (max_angular + 1)^2, Q) with the channels q = (species, radial) innermost. A row of features is
[l][q1 <= q2], products of different channels carry sqrt(2) so that inner products are those of the full matrix.
"""

import math

import numba
import numpy as np

SQRT2 = math.sqrt(2.0)
LANES = 8  # rows start at a multiple of this, so that short loops vectorise without a remainder


@numba.njit(nogil=True, cache=True)
def shell_factor(l):
    """(-1)^l / sqrt(2 l + 1): the Clebsch-Gordan coefficient that couples l with l to an invariant."""
    return (1.0 - 2.0 * (l % 2)) / math.sqrt(2 * l + 1)


@numba.njit(nogil=True, cache=True, parallel=True, fastmath={"contract", "nsz", "reassoc"})
def symmetric_products(a, b, max_angular, features):
    """features[i, l, q1 <= q2] = sum_m (a_q1 b_q2 + b_q1 a_q2) / 2 * shell_factor(l), times sqrt(2) if q1 < q2."""
    n_samples, _, n_channels = a.shape
    for i in numba.prange(n_samples):
        row = np.empty(n_channels, a.dtype)
        start = 0
        for l in range(max_angular + 1):
            half = 0.5 * shell_factor(l)
            for q1 in range(n_channels):
                for q2 in range(q1, n_channels):
                    row[q2] = 0.0
                for lm in range(l * l, (l + 1) * (l + 1)):
                    a1, b1 = a[i, lm, q1], b[i, lm, q1]
                    for q2 in range(q1, n_channels):
                        row[q2] += a1 * b[i, lm, q2] + b1 * a[i, lm, q2]
                features[i, start] = half * row[q1]
                for q2 in range(q1 + 1, n_channels):
                    features[i, start + q2 - q1] = SQRT2 * half * row[q2]
                start += n_channels - q1


@numba.njit(nogil=True, cache=True, parallel=True, fastmath={"contract", "nsz", "reassoc"})
def squares(a, max_angular, features):
    """features[i, l, q1 <= q2] = sum_m a_q1 a_q2 * shell_factor(l), times sqrt(2) if q1 < q2."""
    n_samples, _, n_channels = a.shape
    for i in numba.prange(n_samples):
        row = np.empty(n_channels, a.dtype)
        start = 0
        for l in range(max_angular + 1):
            factor = shell_factor(l)
            for q1 in range(n_channels):
                first = q1 - q1 % LANES
                for q2 in range(first, n_channels):
                    row[q2] = 0.0
                for lm in range(l * l, (l + 1) * (l + 1)):
                    a1 = a[i, lm, q1]
                    for q2 in range(first, n_channels):
                        row[q2] += a1 * a[i, lm, q2]
                features[i, start] = factor * row[q1]
                for q2 in range(q1 + 1, n_channels):
                    features[i, start + q2 - q1] = SQRT2 * factor * row[q2]
                start += n_channels - q1


@numba.njit(nogil=True, cache=True, parallel=True, fastmath={"contract", "nsz", "reassoc"})
def contraction(gradient, a, max_angular, result):
    """result[i, lm, q] = sum_q' (g_qq' + g_q'q) a_q' * shell_factor(l): the transpose of d(squares)/da."""
    n_samples, _, n_channels = a.shape
    for i in numba.prange(n_samples):
        matrix = np.empty((n_channels, n_channels), a.dtype)
        row = np.empty(n_channels, a.dtype)
        start = 0
        for l in range(max_angular + 1):
            factor = shell_factor(l)
            for q1 in range(n_channels):
                matrix[q1, q1] = 2.0 * factor * gradient[i, start]
                for q2 in range(q1 + 1, n_channels):
                    value = SQRT2 * factor * gradient[i, start + q2 - q1]
                    matrix[q1, q2] = value
                    matrix[q2, q1] = value
                start += n_channels - q1
            for lm in range(l * l, (l + 1) * (l + 1)):
                for q2 in range(n_channels):
                    row[q2] = 0.0
                for q1 in range(n_channels):
                    a1 = a[i, lm, q1]
                    for q2 in range(n_channels):
                        row[q2] += a1 * matrix[q1, q2]
                for q2 in range(n_channels):
                    result[i, lm, q2] = row[q2]
