"""Numba loops over pairs of lags."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def fill_overlap_covariance(first, second, variogram, straight, n_times, out):
    """Covariance of mean squares at the lags n and m of each pair, see ``overlap_covariance``."""
    reach = len(variogram) - 1
    for pair in range(len(first)):
        n, m = first[pair], second[pair]
        total = 0.0
        for s in range(-min(m + straight, n_times - n - 1), min(n + straight, n_times - m - 1) + 1):
            covariance = 0.5 * (
                variogram[min(abs(n - s), reach)]
                + variogram[min(abs(m + s), reach)]
                - variogram[min(abs(s), reach)]
                - variogram[min(abs(m + s - n), reach)]
            )
            total += max(min(n_times - n, n_times - m - s) - max(0, -s), 0) * covariance * covariance
        out[pair] = 2.0 * total / (np.float64(n_times - n) * (n_times - m))
