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

from matterscape.basis._lanes import LANES, load, store

CHUNK = 64 * LANES  # vectors per task
_device = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})
_threaded = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"}, parallel=True)


class HarmonicsTables(NamedTuple):
    """Constants of the recursions up to one l, n = (l + 1)^2 rows.

    ``recursion`` (n, 2): A and B; rows with ``|m| = l`` have the sectoral factor first. ``rows`` (n, 5), ``derivatives``
    (n, 5): ``dS/dx = d0 S[r0] + d1 S[r1]``, ``dS/dy = d2 S[r2] + d3 S[r3]``, ``dS/dz = d4 S[r4]``. Absent terms point
    to row 0 with the coefficient 0.
    """

    recursion: np.ndarray
    rows: np.ndarray
    derivatives: np.ndarray


@lru_cache(maxsize=64)
def harmonics_tables(max_angular: int, dtype: str = "float64") -> HarmonicsTables:
    """The constants for ``l = 0 .. max_angular`` in one dtype."""
    n = (max_angular + 1) ** 2
    recursion, rows, derivatives = np.zeros((n, 2)), np.zeros((n, 5), dtype=np.int64), np.zeros((n, 5))
    for l in range(1, max_angular + 1):
        centre, below = l * l + l, (l - 1) ** 2 + (l - 1)  # rows of m = 0
        ratio = (2 * l + 1) / (2 * l - 1)
        for m in range(-l, l + 1):
            row, order = centre + m, abs(m)
            if order == l:
                recursion[row, 0] = math.sqrt((2 * l + 1) / (2 * l) * (2 if l == 1 else 1))
            else:
                scale = (2 * l + 1) / ((l - order) * (l + order))
                recursion[row, 0] = math.sqrt(scale * (2 * l - 1))
                if order < l - 1:
                    recursion[row, 1] = math.sqrt(scale * (l - 1 - order) * (l - 1 + order) / (2 * l - 3))
                rows[row, 4], derivatives[row, 4] = below + m, math.sqrt(ratio * (l - order) * (l + order))
            # d/dx and d/dy lower and raise the order m by one; cosines (m >= 0) and sines (m < 0) mix in d/dy
            sign = 1 if m >= 0 else -1
            lower = 0.5 * math.sqrt(ratio * (l + order) * (l + order - 1))
            raise_ = 0.5 * math.sqrt(ratio * (l - order) * (l - order - 1))
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
    for l in range(2, max_angular + 1):
        below, before = (l - 1) * (l - 1), (l - 2) * (l - 2)
        row = l * l
        cosine, sine = load(values, below + 2 * l - 2), load(values, below)
        store(values, row, recursion[row, 0] * (x * sine + y * cosine))
        store(values, row + 2 * l, recursion[row, 0] * (x * cosine - y * sine))
        store(values, row + 1, recursion[row + 1, 0] * z * sine)
        store(values, row + 2 * l - 1, recursion[row + 1, 0] * z * cosine)
        for k in range(2, 2 * l - 1):
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
def harmonics_gradients_block(units, max_angular, tables, values, gradient_x, gradient_y, gradient_z):
    """Gradients of ``Y_lm(r / |r|)`` by the Cartesian vector r, eight vectors at a time (device function).

    Parameters
    ----------
    units : array (4, 8)
        Rows x, y, z of the unit vectors and 1 / |r|.
    max_angular : int
    tables : HarmonicsTables
    values : array (n, 8)
        Input: the result of ``harmonics_block``.
    gradient_x, gradient_y, gradient_z : array (n, 8)
        Outputs, per unit of length. They are orthogonal to r.
    """
    x, y, z, inverse = load(units, 0), load(units, 1), load(units, 2), load(units, 3)
    for l in range(max_angular + 1):
        radial_x, radial_y, radial_z = l * inverse * x, l * inverse * y, l * inverse * z
        for row in range(l * l, (l + 1) * (l + 1)):
            value = load(values, row)
            dx, dy, dz = solid_gradient(values, row, tables)
            store(gradient_x, row, inverse * dx - radial_x * value)
            store(gradient_y, row, inverse * dy - radial_y * value)
            store(gradient_z, row, inverse * dz - radial_z * value)


@_device
def _write(block, start, stop, out):
    """Columns of a block (n, 8) to rows ``start .. stop - 1`` of an array (n_vectors, n)."""
    for sample in range(start, stop):
        for row in range(block.shape[0]):
            out[sample, row] = block[row, sample - start]


@_threaded
def values_kernel(vectors, max_angular, tables, values):
    """Values (n_vectors, n); returns whether every vector has a direction."""
    n_vectors, n = values.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        block = np.empty((n, LANES), vectors.dtype)
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            stop = min(start + LANES, n_vectors)
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, block)
            _write(block, start, stop, values)
    return invalid == 0


@_threaded
def gradients_kernel(vectors, max_angular, tables, values, gradients):
    """Values (n_vectors, n) and gradients (n_vectors, 3, n); returns whether every vector has a direction."""
    n_vectors, n = values.shape
    invalid = 0
    for chunk in numba.prange((n_vectors + CHUNK - 1) // CHUNK):
        units = np.empty((4, LANES), vectors.dtype)
        block, dx, dy, dz = (np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype), np.empty((n, LANES), vectors.dtype))
        for start in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n_vectors), LANES):
            stop = min(start + LANES, n_vectors)
            invalid += not normalise_block(vectors, start, units)
            harmonics_block(units, max_angular, tables, block)
            harmonics_gradients_block(units, max_angular, tables, block, dx, dy, dz)
            _write(block, start, stop, values)
            _write(dx, start, stop, gradients[:, 0])
            _write(dy, start, stop, gradients[:, 1])
            _write(dz, start, stop, gradients[:, 2])
    return invalid == 0
