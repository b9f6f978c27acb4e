"""Elastic scattering of phonons by deviations of the masses."""

import numba
import numpy as np

from matterscape.transport.lattice._linewidth_kernels import broadened_delta


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def add_mass_scattering(own, places, mesh, vectors, omega, final, factors, width, shape, n_chunks, sums):
    """Add sum_q'm f_q'm w_s S_ss'(q - q') w_s'* delta(omega_qn - omega_q'm) to ``sums`` (I, M) for wavevectors ``own``.

    ``w_s`` are products of the two eigenvectors (Q, M, 3 n) at atom s, ``factors`` (K, n, n) the structure factors on
    the mesh of K wavevectors, ``places`` (Q, 3) the steps of the wavevectors, ``final`` (Q, M) the f.
    """
    n_modes, n_atoms = vectors.shape[1], vectors.shape[2] // 3
    for chunk in numba.prange(n_chunks):
        overlaps = np.empty(n_atoms, np.complex128)
        for i in range(chunk, len(own), n_chunks):
            q = own[i]
            for other in range(len(vectors)):
                k = 0
                for x in range(3):
                    k = k * mesh[x] + (places[q, x] - places[other, x]) % mesh[x]
                for n in range(n_modes):
                    for m in range(n_modes):
                        weight = broadened_delta(omega[q, n] - omega[other, m], width, shape) * final[other, m]
                        if weight == 0.0:
                            continue
                        for s in range(n_atoms):
                            overlaps[s] = 0.0
                            for x in range(3 * s, 3 * s + 3):
                                overlaps[s] += vectors[q, n, x].conjugate() * vectors[other, m, x]
                        strength = 0.0
                        for s in range(n_atoms):
                            for r in range(n_atoms):
                                strength += (overlaps[s] * factors[k, s, r] * overlaps[r].conjugate()).real
                        sums[i, n] += weight * strength
