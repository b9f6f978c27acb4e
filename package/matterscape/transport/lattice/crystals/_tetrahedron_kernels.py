"""Densities of states by linear interpolation in tetrahedra."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add_section(energy, e, w, order, scale, values):
    """Add to ``values`` (n,) the density at one energy of a tetrahedron: its section, times the mean of w (n, 4) there.

    ``order`` sorts the corners' energies e. The section is a triangle, or two of them between the middle corners; a
    triangle's share is a determinant of its corners' barycentric coordinates.
    """
    a, b, c, d = order
    if energy < e[b]:
        ab, ac, ad = (energy - e[a]) / (e[b] - e[a]), (energy - e[a]) / (e[c] - e[a]), (energy - e[a]) / (e[d] - e[a])
        density = 3 * ab * ac / (e[d] - e[a]) * scale
        for k in range(len(values)):
            mean = (3 - ab - ac - ad) * w[k, a] + ab * w[k, b] + ac * w[k, c] + ad * w[k, d]
            values[k] += density * mean / 3
    elif energy < e[c]:
        ac, ad = (energy - e[a]) / (e[c] - e[a]), (energy - e[a]) / (e[d] - e[a])
        bc, bd = (energy - e[b]) / (e[c] - e[b]), (energy - e[b]) / (e[d] - e[b])
        one = 3 * ac * (1 - bd) / (e[d] - e[a]) * scale
        two = 3 * (1 - ac) * bc / (e[d] - e[b]) * scale
        for k in range(len(values)):
            at_ac = (1 - ac) * w[k, a] + ac * w[k, c]
            at_bd = (1 - bd) * w[k, b] + bd * w[k, d]
            at_ad = (1 - ad) * w[k, a] + ad * w[k, d]
            at_bc = (1 - bc) * w[k, b] + bc * w[k, c]
            values[k] += one * (at_ac + at_ad + at_bd) / 3 + two * (at_ac + at_bd + at_bc) / 3
    else:
        ad, bd, cd = (e[d] - energy) / (e[d] - e[a]), (e[d] - energy) / (e[d] - e[b]), (e[d] - energy) / (e[d] - e[c])
        density = 3 * bd * cd / (e[d] - e[a]) * scale
        for k in range(len(values)):
            mean = (3 - ad - bd - cd) * w[k, d] + ad * w[k, a] + bd * w[k, b] + cd * w[k, c]
            values[k] += density * mean / 3


@numba.njit(nogil=True, cache=True, parallel=True, error_model="numpy")
def tetrahedron_densities(energies, weights, corners, lowest, step, n_points, n_chunks):
    """Densities (n_chunks, n_points, n) at ``lowest + i step``, to be summed over chunks.

    ``energies`` (n1, n2, n3, M) and ``weights`` (n1, n2, n3, M, n) on a mesh, ``corners`` (6, 4, 3) the tetrahedra that
    fill one of its cells, as steps of the mesh.
    """
    n1, n2, n3, n_modes = energies.shape
    n_weights = weights.shape[4]
    densities = np.zeros((n_chunks, n_points, n_weights))
    scale = 1 / (6.0 * n1 * n2 * n3)
    for chunk in numba.prange(n_chunks):
        e, w, order = np.empty(4), np.empty((n_weights, 4)), np.zeros(4, np.int64)
        for cell in range(chunk, n1 * n2 * n3, n_chunks):
            i, j, k = cell // (n2 * n3), cell // n3 % n2, cell % n3
            for tetrahedron in range(len(corners)):
                for mode in range(n_modes):
                    for v in range(4):
                        x, y, z = corners[tetrahedron, v]
                        x, y, z = (i + x) % n1, (j + y) % n2, (k + z) % n3
                        e[v] = energies[x, y, z, mode]
                        for s in range(n_weights):
                            w[s, v] = weights[x, y, z, mode, s]
                    order[0] = 0
                    for v in range(1, 4):  # insertion
                        place = v
                        while place > 0 and e[order[place - 1]] > e[v]:
                            order[place] = order[place - 1]
                            place -= 1
                        order[place] = v
                    first = int(np.floor((e[order[0]] - lowest) / step)) + 1
                    last = int(np.floor((e[order[3]] - lowest) / step))
                    for point in range(max(first, 0), min(last + 1, n_points)):
                        energy = lowest + step * point
                        if e[order[0]] <= energy < e[order[3]]:
                            _add_section(energy, e, w, order, scale, densities[chunk, point])
    return densities
