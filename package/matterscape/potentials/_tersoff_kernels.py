"""Tersoff energy of one centre and its gradient, in the type of the vectors.

Rows of ``parameters``: pairs (centre, neighbour) have the columns ``PAIR_*``, triplets (centre i, bond j, other
neighbour k), which start at row ``1 + S * S``, have ``TRIPLET_*``. A triplet is *plain* when lambda3 = 0, the cut-off
function of r_ik is the one of the pair, and exchanging j and k changes nothing: then one angular function serves both
orders.
"""

import numba
import numpy as np

# columns of pairs: both ends of the switch, pi / (its width), A / 2, lambda1, B / 2, lambda2, beta, n, and the zeta
# below which the bond order is 1 to rounding
PAIR_INNER, PAIR_OUTER, PAIR_SWITCH = 1, 2, 3
PAIR_HALF_A, PAIR_LAMBDA1, PAIR_HALF_B, PAIR_LAMBDA2, PAIR_BETA, PAIR_N, PAIR_SMALL = range(4, 11)
# columns of triplets: plain or not, gamma, gamma c^2 / d^2, d^2, cos0, lambda3, m, and the switch of r_ik
TRIPLET_PLAIN, TRIPLET_GAMMA, TRIPLET_STRENGTH, TRIPLET_D_SQUARED, TRIPLET_COSINE = range(5)
TRIPLET_LAMBDA3, TRIPLET_M, TRIPLET_INNER, TRIPLET_OUTER, TRIPLET_SWITCH = range(5, 10)

# columns of the workspace, and of the scratch per pair of neighbours
_X, _Y, _Z, _R, _INVERSE, _SWITCH, _SWITCH_SLOPE, _ZETA, _BY_ZETA, _RADIAL = range(10)
_COSINE, _ANGULAR, _ANGULAR_SLOPE = range(3)

FAST = {"contract", "nsz", "arcp"}


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _switch(r, row, column, parameters, zero):
    """Cut-off function 1/2 + 1/2 cos(pi (r - inner) / (outer - inner)) and its slope.

    ``inner``, ``outer`` and pi / (outer - inner) stand in ``parameters[row, column : column + 3]``.
    """
    if r.real <= parameters[row, column]:
        return zero + parameters.dtype.type(1), zero
    if r.real >= parameters[row, column + 1]:
        return zero, zero
    half = parameters.dtype.type(0.5)
    factor = parameters[row, column + 2]
    phase = factor * (r - parameters[row, column])
    return half + half * np.cos(phase), -half * factor * np.sin(phase)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _angular(cosine, row, parameters):
    """g = gamma (1 + c^2 x^2 / (d^2 (d^2 + x^2))), x = cos - cos0, and its slope; free of the textbook cancellation."""
    difference = cosine - parameters[row, TRIPLET_COSINE]
    square = difference * difference
    inverse = parameters.dtype.type(1) / (parameters[row, TRIPLET_D_SQUARED] + square)
    strength = parameters[row, TRIPLET_STRENGTH] * inverse
    slope = (strength + strength) * difference * parameters[row, TRIPLET_D_SQUARED] * inverse
    return parameters[row, TRIPLET_GAMMA] + strength * square, slope


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _term(r_j, r_k, cosine, row, parameters):
    """One term of zeta_ij in the general form, and its slopes along r_ij, r_ik and the cosine."""
    g, g_slope = _angular(cosine, row, parameters)
    f, f_slope = _switch(r_k, row, TRIPLET_INNER, parameters, cosine - cosine)
    lambda3 = parameters[row, TRIPLET_LAMBDA3]
    exponent = lambda3 * (r_j - r_k)
    by_distance = exponent - exponent + lambda3
    if parameters[row, TRIPLET_M] == 3:
        by_distance = parameters.dtype.type(3) * exponent * exponent * lambda3
        exponent = exponent * exponent * exponent
    growth = np.exp(exponent)
    value = f * g * growth
    return value, by_distance * value, f_slope * g * growth - by_distance * value, f * g_slope * growth


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def tersoff(n, vectors, types, centre_type, parameters, gradient, workspace, pairs):
    """U_i = 1/2 sum_j fC(r_ij) [A exp(-lambda1 r_ij) - b_ij B exp(-lambda2 r_ij)]."""
    one = parameters.dtype.type(1)
    half = parameters.dtype.type(0.5)
    zero = vectors.dtype.type(0)
    n_species = int(parameters[0, 0])
    first_pair = 1 + centre_type * n_species
    first_triplet = 1 + n_species * n_species * (1 + centre_type)

    pair = 0
    for j in range(n):
        row = first_pair + types[j]
        x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
        r = np.sqrt(x * x + y * y + z * z)
        inverse = one / r
        x, y, z = x * inverse, y * inverse, z * inverse
        f_j, f_slope = _switch(r, row, PAIR_INNER, parameters, zero)
        workspace[j, _X], workspace[j, _Y], workspace[j, _Z] = x, y, z
        workspace[j, _R], workspace[j, _INVERSE] = r, inverse
        workspace[j, _SWITCH], workspace[j, _SWITCH_SLOPE] = f_j, f_slope
        zeta = zero
        for k in range(j):
            cosine = x * workspace[k, _X] + y * workspace[k, _Y] + z * workspace[k, _Z]
            pairs[pair, _COSINE] = cosine
            j_k = first_triplet + types[j] * n_species + types[k]
            if parameters[j_k, TRIPLET_PLAIN] != 0:
                g, g_slope = _angular(cosine, j_k, parameters)
                pairs[pair, _ANGULAR], pairs[pair, _ANGULAR_SLOPE] = g, g_slope
                zeta += workspace[k, _SWITCH] * g
                workspace[k, _ZETA] += f_j * g
            else:
                k_j = first_triplet + types[k] * n_species + types[j]
                zeta += _term(r, workspace[k, _R], cosine, j_k, parameters)[0]
                workspace[k, _ZETA] += _term(workspace[k, _R], r, cosine, k_j, parameters)[0]
            pair += 1
        workspace[j, _ZETA] = zeta

    energy = zero
    for j in range(n):
        row = first_pair + types[j]
        r, f_j, zeta = workspace[j, _R], workspace[j, _SWITCH], workspace[j, _ZETA]
        repulsion = parameters[row, PAIR_HALF_A] * np.exp(-parameters[row, PAIR_LAMBDA1] * r)
        attraction = parameters[row, PAIR_HALF_B] * np.exp(-parameters[row, PAIR_LAMBDA2] * r)
        by_zeta = zero
        if zeta.real > parameters[row, PAIR_SMALL]:
            power = np.exp(parameters[row, PAIR_N] * np.log(parameters[row, PAIR_BETA] * zeta))
            order = np.exp(-half / parameters[row, PAIR_N] * np.log(one + power))
            attraction *= order
            by_zeta = half * f_j * attraction * power / ((one + power) * zeta)
        energy += f_j * (repulsion - attraction)
        workspace[j, _BY_ZETA] = by_zeta
        workspace[j, _RADIAL] = workspace[j, _SWITCH_SLOPE] * (repulsion - attraction) + f_j * (
            parameters[row, PAIR_LAMBDA2] * attraction - parameters[row, PAIR_LAMBDA1] * repulsion
        )

    pair = 0
    for j in range(n):
        x, y, z, inverse = workspace[j, _X], workspace[j, _Y], workspace[j, _Z], workspace[j, _INVERSE]
        f_j, f_slope, by_zeta = workspace[j, _SWITCH], workspace[j, _SWITCH_SLOPE], workspace[j, _BY_ZETA]
        radial = on_x = on_y = on_z = zero
        for k in range(j):
            cosine = pairs[pair, _COSINE]
            by_zeta_k = workspace[k, _BY_ZETA]
            j_k = first_triplet + types[j] * n_species + types[k]
            if parameters[j_k, TRIPLET_PLAIN] != 0:
                g = pairs[pair, _ANGULAR]
                by_cosine = (by_zeta * workspace[k, _SWITCH] + by_zeta_k * f_j) * pairs[pair, _ANGULAR_SLOPE]
                radial += by_zeta_k * f_slope * g
                workspace[k, _RADIAL] += by_zeta * workspace[k, _SWITCH_SLOPE] * g
            else:
                k_j = first_triplet + types[k] * n_species + types[j]
                _, own, other, angular = _term(workspace[j, _R], workspace[k, _R], cosine, j_k, parameters)
                radial += by_zeta * own
                workspace[k, _RADIAL] += by_zeta * other
                by_cosine = by_zeta * angular
                _, own, other, angular = _term(workspace[k, _R], workspace[j, _R], cosine, k_j, parameters)
                radial += by_zeta_k * other
                workspace[k, _RADIAL] += by_zeta_k * own
                by_cosine += by_zeta_k * angular
            ux, uy, uz = workspace[k, _X], workspace[k, _Y], workspace[k, _Z]
            on_j, on_k = by_cosine * inverse, by_cosine * workspace[k, _INVERSE]
            on_x += on_j * (ux - cosine * x)
            on_y += on_j * (uy - cosine * y)
            on_z += on_j * (uz - cosine * z)
            gradient[k, 0] += on_k * (x - cosine * ux)
            gradient[k, 1] += on_k * (y - cosine * uy)
            gradient[k, 2] += on_k * (z - cosine * uz)
            pair += 1
        workspace[j, _RADIAL] += radial
        gradient[j, 0], gradient[j, 1], gradient[j, 2] = on_x, on_y, on_z
    for j in range(n):
        for a in range(3):
            gradient[j, a] += workspace[j, _RADIAL] * workspace[j, _X + a]
    return energy
