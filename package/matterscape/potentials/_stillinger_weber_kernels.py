"""Stillinger-Weber energy of one centre and its gradient, in the type of the vectors.

Rows of ``parameters``: pairs (centre, neighbour) have the columns ``PAIR_*``, triplets (centre, neighbour, neighbour),
which start at row ``1 + S * S``, have ``TRIPLET_*``.
"""

import numba
import numpy as np

PAIR_CUTOFF, PAIR_HALF_STRENGTH, PAIR_B, PAIR_SIGMA, PAIR_P, PAIR_Q, PAIR_GAMMA_SIGMA = range(1, 8)
TRIPLET_STRENGTH, TRIPLET_COSINE = range(2)

# columns of the workspace
_X, _Y, _Z, _INVERSE, _H, _SLOPE, _RADIAL = range(7)

FAST = {"contract", "nsz", "arcp"}


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def stillinger_weber(n, vectors, types, centre_type, parameters, gradient, workspace):
    """U_i = sum_j phi(r_ij) / 2 + sum_{j<k} lambda epsilon (cos - cos0)^2 h(r_ij) h(r_ik)."""
    one, two, four = parameters.dtype.type(1), parameters.dtype.type(2), parameters.dtype.type(4)
    n_species = int(parameters[0, 0])
    first_pair = 1 + centre_type * n_species
    first_triplet = 1 + n_species * n_species * (1 + centre_type)
    energy = vectors.dtype.type(0)
    for j in range(n):
        row = first_pair + types[j]
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        r = np.sqrt(x * x + y * y + z * z)
        inverse = one / r
        h = slope = radial = vectors.dtype.type(0)
        if r.real < parameters[row, PAIR_CUTOFF]:
            to_cutoff = one / (r - parameters[row, PAIR_CUTOFF])
            ratio = parameters[row, PAIR_SIGMA] * inverse
            if parameters[row, PAIR_P] == four and parameters[row, PAIR_Q] == 0:
                repulsion, attraction = (
                    parameters[row, PAIR_B] * (ratio * ratio) * (ratio * ratio),
                    vectors.dtype.type(1),
                )
            else:
                logarithm = np.log(ratio)
                repulsion = parameters[row, PAIR_B] * np.exp(parameters[row, PAIR_P] * logarithm)
                attraction = np.exp(parameters[row, PAIR_Q] * logarithm)
            decay = parameters[row, PAIR_HALF_STRENGTH] * np.exp(parameters[row, PAIR_SIGMA] * to_cutoff)
            phi = (repulsion - attraction) * decay
            energy += phi
            radial = (parameters[row, PAIR_Q] * attraction - parameters[row, PAIR_P] * repulsion) * inverse * decay
            radial -= parameters[row, PAIR_SIGMA] * to_cutoff * to_cutoff * phi
            h = np.exp(parameters[row, PAIR_GAMMA_SIGMA] * to_cutoff)
            slope = -parameters[row, PAIR_GAMMA_SIGMA] * to_cutoff * to_cutoff * h
        x, y, z = x * inverse, y * inverse, z * inverse
        on_x = on_y = on_z = vectors.dtype.type(0)
        for k in range(j):
            triplet = first_triplet + types[j] * n_species + types[k]
            ux, uy, uz = workspace[k, _X], workspace[k, _Y], workspace[k, _Z]
            h_k = workspace[k, _H]
            cosine = x * ux + y * uy + z * uz
            difference = cosine - parameters[triplet, TRIPLET_COSINE]
            by_cosine = parameters[triplet, TRIPLET_STRENGTH] * difference
            angular = by_cosine * difference
            by_cosine *= two * h * h_k
            energy += angular * h * h_k
            radial += angular * slope * h_k
            workspace[k, _RADIAL] += angular * h * workspace[k, _SLOPE]
            on_j, on_k = by_cosine * inverse, by_cosine * workspace[k, _INVERSE]
            on_x += on_j * (ux - cosine * x)
            on_y += on_j * (uy - cosine * y)
            on_z += on_j * (uz - cosine * z)
            gradient[k, 0] += on_k * (x - cosine * ux)
            gradient[k, 1] += on_k * (y - cosine * uy)
            gradient[k, 2] += on_k * (z - cosine * uz)
        workspace[j, _X], workspace[j, _Y], workspace[j, _Z], workspace[j, _INVERSE] = x, y, z, inverse
        workspace[j, _H], workspace[j, _SLOPE], workspace[j, _RADIAL] = h, slope, radial
        gradient[j, 0], gradient[j, 1], gradient[j, 2] = on_x, on_y, on_z
    for j in range(n):
        for a in range(3):
            gradient[j, a] += workspace[j, _RADIAL] * workspace[j, _X + a]
    return energy
