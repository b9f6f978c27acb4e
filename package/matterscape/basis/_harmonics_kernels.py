"""Compiled loops of the real spherical harmonics: eight directions at a time.

With the solid harmonics ``S_lm(r) = r^l Y_lm(r / r)``, homogeneous polynomials of degree l:

- values come from ``Y_lm = A z Y_(l-1)m - B Y_(l-2)m`` and, for ``|m| = l``, from ``(x + i y) (Y_(l-1)(l-1) + i
  Y_(l-1)(1-l))``, on the unit sphere;
- every derivative of S_lm is a combination of at most two S_(l-1)m', with constant coefficients, so the same table
  gives first and second derivatives;
- ``Y = S / r^l`` then has the gradient ``(dS_a - l u_a S) / r`` and the Hessian ``(dS_ab - l u_a dS_b - l u_b dS_a
  - l delta_ab S + l (l + 2) u_a u_b S) / r^2`` with the unit vector u.

Row ``l^2 + l + m`` holds Y_lm throughout.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np

from matterscape.basis._lanes import LANES, load, store, transpose_tile

CHUNK = 64 * LANES  # vectors per task
_device = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
_threaded = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"}, parallel=True)


class HarmonicsTables(NamedTuple):
    """Constants of the recursions up to one l, n = (l + 1)^2 rows.

    ``recursion`` (n, 2): A and B; rows with ``|m| = l`` have the factor of their recursion first. ``rows`` (n, 5) and
    ``derivatives`` (n, 5): ``dS/dx = d0 S[r0] + d1 S[r1]``, ``dS/dy = d2 S[r2] + d3 S[r3]``, ``dS/dz = d4 S[r4]``.
    Absent terms point to row 0 with the coefficient 0.
    """

    recursion: np.ndarray
    rows: np.ndarray
    derivatives: np.ndarray


@lru_cache(maxsize=64)
def harmonics_tables(max_angular: int, dtype: str = "float64") -> HarmonicsTables:
    """The constants for ``l = 0 .. max_angular`` in one dtype."""
    n = (max_angular + 1) ** 2
    recursion, rows, derivatives = np.zeros((n, 2)), np.zeros((n, 5), dtype=np.int64), np.zeros((n, 5))
    for angular in range(1, max_angular + 1):
        centre, below = angular * angular + angular, (angular - 1) ** 2 + (angular - 1)  # rows of m = 0
        ratio = (2 * angular + 1) / (2 * angular - 1)
        for m in range(-angular, angular + 1):
            row, order = centre + m, abs(m)
            if order == angular:
                recursion[row, 0] = math.sqrt((2 * angular + 1) / (2 * angular) * (2 if angular == 1 else 1))
            else:
                scale = (2 * angular + 1) / ((angular - order) * (angular + order))
                recursion[row, 0] = math.sqrt(scale * (2 * angular - 1))
                if order < angular - 1:
                    scale /= 2 * angular - 3
                    recursion[row, 1] = math.sqrt(scale * (angular - 1 - order) * (angular - 1 + order))
                rows[row, 4], derivatives[row, 4] = below + m, math.sqrt(ratio * (angular - order) * (angular + order))
            # d/dx and d/dy lower and raise the order m by one; cosines (m >= 0) and sines (m < 0) mix in d/dy
            sign = 1 if m >= 0 else -1
            lower = 0.5 * math.sqrt(ratio * (angular + order) * (angular + order - 1))
            raise_ = 0.5 * math.sqrt(ratio * (angular - order) * (angular - order - 1))
            if order == 0:
                lower, raise_ = 0.0, math.sqrt(2) * raise_
            elif order == 1:
                lower *= math.sqrt(2)
            to_lower, to_raise = sign * (order - 1), sign * (order + 1)
            if order > 0 and not (m == -1):  # there is no sine of order 0
                rows[row, 0], derivatives[row, 0] = below + to_lower, lower
            if raise_ > 0:
                rows[row, 1], derivatives[row, 1] = below + to_raise, -raise_
                rows[row, 3], derivatives[row, 3] = below - to_raise, -sign * raise_
            if order > 0 and m != 1:
                rows[row, 2], derivatives[row, 2] = below - to_lower, -sign * lower
    for table in (recursion, rows, derivatives):
        table.setflags(write=False)
    return HarmonicsTables(recursion.astype(dtype), rows, derivatives.astype(dtype))


@_device
def normalise_block(vectors, start, units):
    """Unit vectors and reciprocal lengths of the vectors ``start .. start + 7`` (device function).

    Parameters
    ----------
    vectors : array (n_vectors, 3)
    start : int
        First vector; lanes beyond the last vector get (0, 0, 1).
    units : array (4, 8)
        Output rows x, y, z, 1 / r.

    Returns
    -------
    bool
        False if a length is zero or not finite; then those lanes get (0, 0, 1) too.
    """
    valid = True
    for lane in range(LANES):
        units[0, lane], units[1, lane], units[2, lane], units[3, lane] = 0, 0, 1, 1
        if start + lane < vectors.shape[0]:
            x, y, z = vectors[start + lane, 0], vectors[start + lane, 1], vectors[start + lane, 2]
            inverse = 1 / np.sqrt(x * x + y * y + z * z)
            if 0 < inverse < np.inf:
                units[0, lane], units[1, lane], units[2, lane] = x * inverse, y * inverse, z * inverse
                units[3, lane] = inverse
            else:
                valid = False
    return valid


@_device
def harmonics_block(units, max_angular, tables, values):
    """Spherical harmonics of eight unit vectors (device function).

    Parameters
    ----------
    units : array (4, 8)
        Rows x, y, z of unit vectors; the fourth is not used.
    max_angular : int
    tables : HarmonicsTables
    values : array (n, 8)
        Output, row ``l^2 + l + m``; n is at least ``(max_angular + 1)^2``.
    """
    recursion = tables.recursion
    x, y, z = load(units, 0), load(units, 1), load(units, 2)
    values[0, :] = 0.28209479177387814  # 1 / sqrt(4 pi)
    if max_angular == 0:
        return
    first = load(values, 0)
    store(values, 1, recursion[1, 0] * y * first)
    store(values, 2, recursion[2, 0] * z * first)
    store(values, 3, recursion[3, 0] * x * first)
    for angular in range(2, max_angular + 1):
        below, before = (angular - 1) * (angular - 1), (angular - 2) * (angular - 2)
        row = angular * angular
        cosine, sine = load(values, below + 2 * angular - 2), load(values, below)
        store(values, row, recursion[row, 0] * (x * sine + y * cosine))
        store(values, row + 2 * angular, recursion[row, 0] * (x * cosine - y * sine))
        store(values, row + 1, recursion[row + 1, 0] * z * sine)
        store(values, row + 2 * angular - 1, recursion[row + 1, 0] * z * cosine)
        for k in range(2, 2 * angular - 1):
            up = recursion[row + k, 0] * z * load(values, below + k - 1)
            store(values, row + k, up - recursion[row + k, 1] * load(values, before + k - 2))


@_device
def solid_gradient(solid, row, tables):
    """Derivatives d/dx, d/dy, d/dz of one solid harmonic, from all of them (device function).

    ``solid`` (n, 8) may hold any fixed combination of derivatives of the solid harmonics instead.
    """
    rows, derivatives = tables.rows, tables.derivatives
    dx = derivatives[row, 0] * load(solid, rows[row, 0]) + derivatives[row, 1] * load(solid, rows[row, 1])
    dy = derivatives[row, 2] * load(solid, rows[row, 2]) + derivatives[row, 3] * load(solid, rows[row, 3])
    return dx, dy, derivatives[row, 4] * load(solid, rows[row, 4])


@_device
def harmonics_gradients_block(units, max_angular, tables, values, gradients):
    """Gradients of ``Y_lm(r / |r|)`` by the Cartesian vector r, eight vectors at a time (device function).

    Parameters
    ----------
    units : array (4, 8)
        Rows x, y, z of the unit vectors and 1 / |r|.
    max_angular : int
    tables : HarmonicsTables
    values : array (n, 8)
        Input: the result of ``harmonics_block``.
    gradients : array (3, n, 8)
        Output, per unit of length, orthogonal to r.
    """
    x, y, z, inverse = load(units, 0), load(units, 1), load(units, 2), load(units, 3)
    by_x, by_y, by_z = gradients[0], gradients[1], gradients[2]
    for angular in range(max_angular + 1):
        radial_x, radial_y, radial_z = angular * inverse * x, angular * inverse * y, angular * inverse * z
        for row in range(angular * angular, (angular + 1) * (angular + 1)):
            value = load(values, row)
            dx, dy, dz = solid_gradient(values, row, tables)
            store(by_x, row, inverse * dx - radial_x * value)
            store(by_y, row, inverse * dy - radial_y * value)
            store(by_z, row, inverse * dz - radial_z * value)


@_device
def directional_block(solid, max_angular, tables, along, directional):
    """``along . grad S`` of all solid harmonics S, for one constant vector per lane (device function).

    ``along`` (3, 8); ``solid`` and ``directional`` (n, 8).
    """
    along_x, along_y, along_z = load(along, 0), load(along, 1), load(along, 2)
    for row in range((max_angular + 1) * (max_angular + 1)):
        dx, dy, dz = solid_gradient(solid, row, tables)
        store(directional, row, along_x * dx + along_y * dy + along_z * dz)


@_device
def read_block(source, start, block):
    """The rows from ``start`` on of an array (n_vectors, n) as a block (n, 8), zeros beyond its end (device)."""
    n = block.shape[0]
    done = 0
    if start + LANES <= source.shape[0]:
        done = n - n % LANES
        for row in range(0, done, LANES):
            transpose_tile(source, start, row, block, row, 0)
    for lane in range(LANES):
        for row in range(done, n):
            block[row, lane] = source[start + lane, row] if start + lane < source.shape[0] else 0


@_device
def write_block(block, start, out, column):
    """A block (n, 8) to columns ``column .. column + n - 1`` of the rows from ``start`` on (device function)."""
    n = block.shape[0]
    done = 0
    if start + LANES <= out.shape[0]:
        done = n - n % LANES
        for row in range(0, done, LANES):
            transpose_tile(block, row, 0, out, start, column + row)
    for sample in range(start, min(start + LANES, out.shape[0])):
        for row in range(done, n):
            out[sample, column + row] = block[row, sample - start]


@_threaded
def values_kernel(vectors, max_angular, tables, values):
    """Values (n_vectors, n); returns whether every vector has a direction."""
    n_vectors, n = values.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        block = np.empty((n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, block)
            write_block(block, start, values, 0)
    return invalid == 0


@_threaded
def gradients_kernel(vectors, max_angular, tables, values, gradients):
    """Values (n_vectors, n) and gradients (n_vectors, 3 n); returns whether every vector has a direction."""
    n_vectors, n = values.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        block, slopes = np.empty((n, LANES), vectors.dtype), np.empty((3, n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, block)
            harmonics_gradients_block(units, max_angular, tables, block, slopes)
            write_block(block, start, values, 0)
            for axis in range(3):
                write_block(slopes[axis], start, gradients, axis * n)
    return invalid == 0


@_threaded
def hessians_kernel(vectors, max_angular, tables, hessians):
    """Second derivatives (n_vectors, 9 n); returns whether every vector has a direction."""
    n_vectors, n = len(vectors), (max_angular + 1) ** 2
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        values, block = np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype)
        slopes = np.empty((3, n, LANES), vectors.dtype)
        identity = np.zeros((2, LANES), vectors.dtype)
        identity[1] = 1
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, values)
            for row in range(n):
                dx, dy, dz = solid_gradient(values, row, tables)
                store(slopes[0], row, dx)
                store(slopes[1], row, dy)
                store(slopes[2], row, dz)
            inverse = load(units, 3)
            for a in range(3):
                for b in range(a + 1):
                    unit_a, unit_b = load(units, a), load(units, b)
                    for angular in range(max_angular + 1):
                        radial = (angular + 2) * (unit_a * unit_b) - load(identity, int(a == b))
                        for row in range(angular * angular, (angular + 1) * (angular + 1)):
                            second = solid_gradient(slopes[a], row, tables)[b]
                            mixed = unit_a * load(slopes[b], row) + unit_b * load(slopes[a], row)
                            second = second - angular * (mixed - radial * load(values, row))
                            store(block, row, inverse * inverse * second)
                    write_block(block, start, hessians, (3 * a + b) * n)
                    write_block(block, start, hessians, (3 * b + a) * n)
    return invalid == 0


@_threaded
def vjp_kernel(vectors, weights, max_angular, tables, result):
    """``sum_lm weights_lm grad Y_lm`` (n_vectors, 3); returns whether every vector has a direction."""
    n_vectors, n = weights.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        total = np.empty((3, LANES), vectors.dtype)
        values, weight = np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, values)
            read_block(weights, start, weight)
            x, y, z, inverse = load(units, 0), load(units, 1), load(units, 2), load(units, 3)
            sum_x = sum_y = sum_z = radial = 0 * x
            for angular in range(1, max_angular + 1):
                for row in range(angular * angular, (angular + 1) * (angular + 1)):
                    w = load(weight, row)
                    dx, dy, dz = solid_gradient(values, row, tables)
                    sum_x, sum_y, sum_z = sum_x + w * dx, sum_y + w * dy, sum_z + w * dz
                    radial = radial + angular * (w * load(values, row))
            store(total, 0, inverse * (sum_x - radial * x))
            store(total, 1, inverse * (sum_y - radial * y))
            store(total, 2, inverse * (sum_z - radial * z))
            write_block(total, start, result, 0)
    return invalid == 0


@_threaded
def jvp_kernel(vectors, directions, max_angular, tables, result):
    """``directions . grad Y_lm`` (n_vectors, n); returns whether every vector has a direction."""
    n_vectors, n = result.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units, along = np.empty((4, LANES), vectors.dtype), np.empty((3, LANES), vectors.dtype)
        values, slopes = np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, values)
            read_block(directions, start, along)
            directional_block(values, max_angular, tables, along, slopes)
            inverse = load(units, 3)
            radial = load(units, 0) * load(along, 0) + load(units, 1) * load(along, 1) + load(units, 2) * load(along, 2)
            for angular in range(max_angular + 1):
                for row in range(angular * angular, (angular + 1) * (angular + 1)):
                    store(slopes, row, inverse * (load(slopes, row) - angular * radial * load(values, row)))
            write_block(slopes, start, result, 0)
    return invalid == 0


@_threaded
def hvp_kernel(vectors, weights, directions, max_angular, tables, result):
    """``sum_lm weights_lm Hessian(Y_lm) directions`` (n_vectors, 3); returns whether every vector has a direction."""
    n_vectors, n = weights.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units, along = np.empty((4, LANES), vectors.dtype), np.empty((3, LANES), vectors.dtype)
        total, sums = np.empty((3, LANES), vectors.dtype), np.empty((3, LANES), vectors.dtype)
        values, weight = np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype)
        slopes = np.empty((n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, values)
            read_block(weights, start, weight)
            read_block(directions, start, along)
            directional_block(values, max_angular, tables, along, slopes)
            inverse = load(units, 3)
            radial = load(units, 0) * load(along, 0) + load(units, 1) * load(along, 1) + load(units, 2) * load(along, 2)
            for axis in range(3):  # second derivatives of S, and the terms with one derivative of S
                store(sums, axis, 0 * inverse)
            first = value_sum = curvature = 0 * inverse
            for angular in range(1, max_angular + 1):
                for row in range(angular * angular, (angular + 1) * (angular + 1)):
                    w = load(weight, row)
                    second = solid_gradient(slopes, row, tables)
                    slope = solid_gradient(values, row, tables)
                    for axis in range(3):
                        store(sums, axis, load(sums, axis) + w * (second[axis] - angular * radial * slope[axis]))
                    scaled = angular * (w * load(values, row))
                    first = first + angular * (w * load(slopes, row))
                    value_sum = value_sum + scaled
                    curvature = curvature + (angular + 2) * scaled
            for axis in range(3):
                parallel = (curvature * radial - first) * load(units, axis)
                result_axis = load(sums, axis) + parallel - value_sum * load(along, axis)
                store(total, axis, inverse * inverse * result_axis)
            write_block(total, start, result, 0)
    return invalid == 0
