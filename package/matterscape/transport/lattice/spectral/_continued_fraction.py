"""Continued fractions of many chains at many complex numbers."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def continued_fractions(a, b2, z, tails):
    """b2_0 / (z - a_0 - b2_1 / (z - a_1 - ... - t)) (R, W) of coefficients (R, k) at z (W,) with tails t (R, W)."""
    n_chains, n_levels = a.shape
    found = np.empty((n_chains, len(z)), np.complex128)
    for point in numba.prange(len(z)):
        for chain in range(n_chains):
            rest = tails[chain, point]
            for level in range(n_levels - 1, -1, -1):
                value = z[point] - a[chain, level] - rest
                # levels beyond the end of a chain are empty
                rest = b2[chain, level] / value if b2[chain, level] > 0 else 0j
            found[chain, point] = rest
    return found
