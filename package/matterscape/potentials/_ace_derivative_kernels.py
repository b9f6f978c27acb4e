"""Derivatives of the atomic cluster expansion beyond the gradient, star by star.

With the atomic basis A(r_1 .. r_n) of a star, G = dA/dr (3 n, E), g = dU/dA (E,), K = d^2U/dA^2 (E, E) and the
polynomial's constant third derivatives L, the chain rule gives

    d^2U/dr^2 = G K G^T + sum_a g_a d^2A_a/dr^2,
    d^3U/dr^3 = L G G G + (d^2A/dr^2 K G^T, three permutations) + sum_a g_a d^3A_a/dr^3,

where derivatives of A act on one neighbour at a time. All are exact but the last term of the third derivatives, a
central difference of its 3 x 3 block per neighbour.

Every kernel takes the pairs of some stars with what :func:`pair_functions` made of them: harmonics with first and
second derivatives, and radial functions with two.
"""

import numba
import numpy as np
import torch

from matterscape.basis import spherical_harmonics_with_gradients, spherical_harmonics_with_hessians
from matterscape.potentials._ace_kernels import FAST, HALF_EXPONENT, MAX_ANGULAR, SPECIES, element_starts, transform
from matterscape.potentials._star_derivative_kernels import expand, packed_index

_device = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
_threaded = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST, parallel=True)


def pair_functions(
    vectors: np.ndarray, rows: np.ndarray, parameters: np.ndarray, curvatures: bool
) -> tuple[np.ndarray, ...]:
    """Unit vectors, harmonics and radial functions of pairs, with their derivatives.

    Parameters
    ----------
    vectors : ndarray (P, 3), float64
        In Å, inside the cut-off.
    rows : ndarray (P,), int64
        Row of each pair in ``parameters``.
    parameters : ndarray (R, K)
    curvatures : bool
        Whether second derivatives of the harmonics are wanted.

    Returns
    -------
    units (P, 4), harmonics (P, n), gradients (P, 3, n), hessians (P, 3, 3, n) or (0, 3, 3, n), radial (P, 3, N)
        Unit vectors with 1 / r; radial functions with two derivatives.
    """
    n_species, max_angular = int(parameters[0, SPECIES]), int(parameters[0, MAX_ANGULAR])
    points = torch.from_numpy(np.ascontiguousarray(vectors))
    if curvatures:
        harmonics = spherical_harmonics_with_hessians(points, max_angular)
    else:
        harmonics = spherical_harmonics_with_gradients(points, max_angular)
        harmonics = (*harmonics, points.new_empty(0, 3, 3, harmonics[0].shape[1]))
    lengths = np.linalg.norm(vectors, axis=1)
    units = np.concatenate([vectors / lengths[:, None], 1 / lengths[:, None]], axis=1)
    n_radial = int(parameters[1 + n_species**2, : max_angular + 1].max())
    radial = np.empty((len(vectors), 3, n_radial))
    _radial(lengths, parameters[rows], int(parameters[0, HALF_EXPONENT]), radial)
    return units, *(np.ascontiguousarray(h.numpy()) for h in harmonics), radial


@_device
def _radial(lengths, pairs, half_exponent, radial):
    for p in range(len(lengths)):
        x, x1, x2, f, f1, f2 = transform(lengths[p], half_exponent, pairs[p])
        value, slope, curvature = 1.0, 0.0, 0.0
        before, slope_before, curvature_before = 0.0, 0.0, 0.0
        for n in range(radial.shape[2]):
            by_r, second = slope * x1, curvature * x1 * x1 + slope * x2
            radial[p, 0, n] = f * value
            radial[p, 1, n] = f1 * value + f * by_r
            radial[p, 2, n] = f2 * value + 2 * f1 * by_r + f * second
            factor = 1.0 if n == 0 else 2.0
            new_value = factor * x * value - before
            new_slope = factor * (value + x * slope) - slope_before
            new_curvature = factor * (2 * slope + x * curvature) - curvature_before
            before, slope_before, curvature_before = value, slope, curvature
            value, slope, curvature = new_value, new_slope, new_curvature


@_device
def _star_basis(start, stop, types, functions, layout, basis, gradient):
    """Atomic basis (E,) and its gradient (3 n, E) of the star with the pairs ``start`` to ``stop``."""
    units, harmonics, gradients, _, radial = functions
    starts, n_radial = layout
    basis[:] = 0.0
    basis[0] = 1.0
    gradient[: 3 * (stop - start)] = 0.0
    for p in range(start, stop):
        line = 3 * (p - start)
        row = 0
        for angular in range(len(n_radial)):
            for _ in range(2 * angular + 1):
                element, y = starts[types[p], row], harmonics[p, row]
                for n in range(n_radial[angular]):
                    basis[element + n] += radial[p, 0, n] * y
                for a in range(3):
                    along, across = units[p, a] * y, gradients[p, a, row]
                    for n in range(n_radial[angular]):
                        gradient[line + a, element + n] = radial[p, 1, n] * along + radial[p, 0, n] * across
                row += 1


@_device
def _curvature(p, types, functions, layout, a, b, curvature):
    """d^2 A / dr_a dr_b (E,) of one pair; only the elements of its species are written."""
    units, harmonics, gradients, hessians, radial = functions
    starts, n_radial = layout
    row = 0
    straight = units[p, a] * units[p, b]
    bent = units[p, 3] * ((1.0 if a == b else 0.0) - straight)
    for angular in range(len(n_radial)):
        for _ in range(2 * angular + 1):
            element, y = starts[types[p], row], harmonics[p, row]
            mixed = bent * y + units[p, a] * gradients[p, b, row] + units[p, b] * gradients[p, a, row]
            for n in range(n_radial[angular]):
                curvature[element + n] = (
                    radial[p, 2, n] * straight * y + radial[p, 1, n] * mixed + radial[p, 0, n] * hessians[p, a, b, row]
                )
            row += 1


@_device
def _weighted_curvature(p, types, functions, layout, weights, block):
    """sum_e weights_e d^2 A_e / dr dr of one pair is added to ``block`` (3, 3)."""
    units, harmonics, gradients, hessians, radial = functions
    starts, n_radial = layout
    row = 0
    for angular in range(len(n_radial)):
        for _ in range(2 * angular + 1):
            element, y = starts[types[p], row], harmonics[p, row]
            flat = slope = curved = 0.0
            for n in range(n_radial[angular]):
                weight = weights[element + n]
                flat += weight * radial[p, 0, n]
                slope += weight * radial[p, 1, n]
                curved += weight * radial[p, 2, n]
            bent = slope * units[p, 3] * y
            for a in range(3):
                block[a, a] += bent
                for b in range(3):
                    block[a, b] += (
                        (curved * y - bent) * units[p, a] * units[p, b]
                        + slope * (units[p, a] * gradients[p, b, row] + units[p, b] * gradients[p, a, row])
                        + flat * hessians[p, a, b, row]
                    )
            row += 1


@_device
def _polynomial_gradient(factors, values, basis, gradient):
    """dU/dA (E,)."""
    gradient[:] = 0.0
    for m in range(len(values)):
        a, b, c = factors[m, 0], factors[m, 1], factors[m, 2]
        gradient[a] += values[m] * basis[b] * basis[c]
        gradient[b] += values[m] * basis[a] * basis[c]
        gradient[c] += values[m] * basis[a] * basis[b]


@_device
def _polynomial_hessian(factors, values, basis, hessian):
    """d^2U/dA^2 (E, E) without the element 1; linear in the basis, if that element of it is 0."""
    hessian[:] = 0.0
    for m in range(len(values)):
        for first in range(3):
            a, b, c = factors[m, first], factors[m, (first + 1) % 3], factors[m, (first + 2) % 3]
            if a > 0 and b > 0:
                value = values[m] * basis[c]
                hessian[a, b] += value
                hessian[b, a] += value


@_device
def _layout(parameters):
    n_species, max_angular = int(parameters[0, SPECIES]), int(parameters[0, MAX_ANGULAR])
    starts, n_elements = element_starts(parameters)
    return (starts, parameters[1 + n_species * n_species, : max_angular + 1].astype(np.int64)), n_elements


@_threaded
def star_hessians(
    offsets, types, centre_types, functions, parameters, factors, values, max_chunks, block_offsets, blocks
):
    """Blocks between the members of each star, its centre first; arguments as of :func:`star_third_derivatives`."""
    layout, n_elements = _layout(parameters)
    n_centres = len(centre_types)
    n_chunks = min(n_centres, max_chunks)
    longest = 3 * np.diff(offsets).max()
    for chunk in numba.prange(n_chunks):
        basis, slopes = np.empty(n_elements), np.empty(n_elements)
        gradient, curved = np.empty((longest, n_elements)), np.empty((n_elements, n_elements))
        for i in range(chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks):
            start, stop = offsets[i], offsets[i + 1]
            n = stop - start
            own = values[centre_types[i]]
            _star_basis(start, stop, types, functions, layout, basis, gradient)
            _polynomial_gradient(factors, own, basis, slopes)
            _polynomial_hessian(factors, own, basis, curved)
            used = gradient[: 3 * n]
            matrix = np.dot(np.dot(used, curved), used.T)
            for m in range(n):
                _weighted_curvature(
                    start + m, types, functions, layout, slopes, matrix[3 * m : 3 * m + 3, 3 * m : 3 * m + 3]
                )
            expand(n, matrix, blocks[block_offsets[i] : block_offsets[i + 1]])


@_threaded
def star_third_derivatives(
    offsets, types, centre_types, functions, moved, step, parameters, factors, values, max_chunks, value_offsets,
    packed,
):  # fmt: skip
    """Packed third derivatives of every star; returns the largest difference between entries that should be equal.

    Parameters
    ----------
    offsets : array (N + 1,), int64
        Pairs ``offsets[i]`` to ``offsets[i + 1]`` belong to star i.
    types, centre_types : array (P,) and (N,), int64
    functions : tuple of arrays
        Of the pairs, see :func:`pair_functions`.
    moved : tuple of arrays
        The same for six copies of the pairs, moved by ``step`` along +x, -x, +y, -y, +z, -z.
    step : float
    parameters : array (R, K)
    factors, values : array (M, 3), int64, and (S, M)
        Monomials, and their coefficients for each species of the centre.
    max_chunks : int
    value_offsets : array (N + 1,), int64
    packed : array
        Filled as :class:`matterscape.potentials.third_order.ThirdOrder` wants it.
    """
    layout, n_elements = _layout(parameters)
    n_centres, n_pairs = len(centre_types), len(types)
    n_chunks = min(n_centres, max_chunks)
    longest = 3 * np.diff(offsets).max()
    spreads = np.zeros(n_chunks)
    for chunk in numba.prange(n_chunks):
        basis, slopes, change = np.empty(n_elements), np.empty(n_elements), np.empty(n_elements)
        gradient, curved = np.empty((longest, n_elements)), np.empty((n_elements, n_elements))
        bends = np.zeros((3, n_elements))
        local = np.empty((2, 3, 3))
        for i in range(chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks):
            start, stop = offsets[i], offsets[i + 1]
            size = 3 * (stop - start)
            own = values[centre_types[i]]
            _star_basis(start, stop, types, functions, layout, basis, gradient)
            _polynomial_gradient(factors, own, basis, slopes)
            _polynomial_hessian(factors, own, basis, curved)
            used = gradient[:size]
            on_basis = np.dot(used, curved)
            raw = np.empty((size, size, size))
            for r in range(size):
                m, c = r // 3, r % 3
                change[:] = used[r]
                _polynomial_hessian(factors, own, change, curved)
                raw[r] = np.dot(np.dot(used, curved), used.T)
                bends[:] = 0.0
                for b in range(3):
                    _curvature(start + m, types, functions, layout, b, c, bends[b])
                mixed = np.dot(bends, on_basis.T)
                for b in range(3):
                    for q in range(size):
                        raw[r, 3 * m + b, q] += mixed[b, q]
                        raw[r, q, 3 * m + b] += mixed[b, q]
                for k in range(stop - start):
                    block = raw[r, 3 * k : 3 * k + 3, 3 * k : 3 * k + 3]
                    _weighted_curvature(start + k, types, functions, layout, on_basis[r], block)
                local[:] = 0.0
                for side in range(2):
                    copy = (2 * c + side) * n_pairs + start + m
                    _weighted_curvature_of_copy(copy, types[start + m], moved, layout, slopes, local[side])
                for a in range(3):
                    for b in range(3):
                        raw[r, 3 * m + a, 3 * m + b] += (local[0, a, b] - local[1, a, b]) / (2 * step)
            target = packed[value_offsets[i] : value_offsets[i + 1]]
            for r in range(size):
                for q in range(r + 1):
                    for p in range(q + 1):
                        first, second, third = raw[r, q, p], raw[q, r, p], raw[p, r, q]
                        target[packed_index(p, q, r)] = (first + second + third) / 3
                        spread = max(first, second, third) - min(first, second, third)
                        spreads[chunk] = max(spreads[chunk], spread)
    return spreads.max()


@_device
def _weighted_curvature_of_copy(copy, neighbour_type, moved, layout, weights, block):
    units, harmonics, gradients, hessians, radial = moved
    one = (
        units[copy : copy + 1],
        harmonics[copy : copy + 1],
        gradients[copy : copy + 1],
        hessians[copy : copy + 1],
        radial[copy : copy + 1],
    )
    _weighted_curvature(0, np.full(1, neighbour_type), one, layout, weights, block)


@_device
def star_features(offsets, types, centre_types, functions, parameters, factors, members, weights, features):
    """Values (N, F) of the functions of each centre; ``members`` (M,) and ``weights`` (M,) of the monomials."""
    layout, n_elements = _layout(parameters)
    basis = np.empty(n_elements)
    gradient = np.empty((3 * np.diff(offsets).max(), n_elements))
    for i in range(len(centre_types)):
        _star_basis(offsets[i], offsets[i + 1], types, functions, layout, basis, gradient)
        features[i] = 0.0
        for m in range(len(members)):
            product = basis[factors[m, 0]] * basis[factors[m, 1]] * basis[factors[m, 2]]
            features[i, members[m]] += weights[m] * product


@_device
def star_jacobians(
    offsets, atoms, types, centre_types, vectors, functions, parameters, factors, members, weights, features,
    jacobian, virials,
):  # fmt: skip
    """Derivatives of the functions, summed over the centres of each species.

    Parameters
    ----------
    offsets, types, centre_types, functions, parameters, factors, members, weights
        As of :func:`star_features`; fastest if ``members`` ascend.
    atoms : array (P,), int64
        The atom that each pair leads to.
    vectors : array (P, 3)
    features : array (N, F)
        Filled.
    jacobian : array (3 N, S F)
        += dB/dr, for the functions of each species of the centre.
    virials : array (9, S F)
        += sum r^a dB/dr^b over the pairs, in row 3 a + b.
    """
    layout, n_elements = _layout(parameters)
    longest, n_functions = 3 * np.diff(offsets).max(), features.shape[1]
    basis, gradient = np.empty(n_elements), np.empty((longest, n_elements))
    by_element, slopes = np.empty((n_elements, longest)), np.empty((n_functions, longest))
    for i in range(len(centre_types)):
        start, stop = offsets[i], offsets[i + 1]
        size = 3 * (stop - start)
        _star_basis(start, stop, types, functions, layout, basis, gradient)
        for q in range(size):
            for element in range(n_elements):
                by_element[element, q] = gradient[q, element]
        features[i] = 0.0
        slopes[:] = 0.0
        for m in range(len(members)):
            f, weight = members[m], weights[m]
            a, b, c = factors[m, 0], factors[m, 1], factors[m, 2]
            on_a, on_b, on_c = basis[b] * basis[c] * weight, basis[a] * basis[c] * weight, basis[a] * basis[b] * weight
            features[i, f] += on_a * basis[a]
            for q in range(size):
                slopes[f, q] += on_a * by_element[a, q] + on_b * by_element[b, q] + on_c * by_element[c, q]
        first = centre_types[i] * n_functions
        for p in range(start, stop):
            for b in range(3):
                q = 3 * (p - start) + b
                towards, own = jacobian[3 * atoms[p] + b], jacobian[3 * i + b]
                for f in range(n_functions):
                    towards[first + f] += slopes[f, q]
                    own[first + f] -= slopes[f, q]
                for a in range(3):
                    target, length = virials[3 * a + b], vectors[p, a]
                    for f in range(n_functions):
                        target[first + f] += length * slopes[f, q]
