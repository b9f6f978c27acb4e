"""Loop over pairs of Gay-Berne ellipsoids: energies, gradients in positions and shapes, flux pieces.

A particle is a point with two symmetric matrices, its *shape* ``R S^2 R^T`` and its *wells* ``R E R^T``, each packed as
xx, yy, zz, yz, xz, xy. Orientations enter through these alone, so a torque is a contraction of the gradient in them.
A pair is computed in float64 whatever the arrays hold: flat discs make badly conditioned sums of shapes.
"""

import numba
import numpy as np

HARD_CORE = 0.1  # in units of sigma: below this the radial energy continues as a straight line


@numba.njit(nogil=True, cache=True)
def _inverse(m, k):
    """Inverse (packed) and determinant of the symmetric matrix m[k:k + 6]."""
    xx, yy, zz, yz, xz, xy = m[k], m[k + 1], m[k + 2], m[k + 3], m[k + 4], m[k + 5]
    a, b, c = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    determinant = xx * a + xy * b + xz * c
    inv = 1 / determinant
    return (
        (a * inv, (xx * zz - xz * xz) * inv, (xx * yy - xy * xy) * inv,
         (xy * xz - xx * yz) * inv, c * inv, b * inv),
        determinant,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True)
def _times(m, x, y, z):
    """Product of a packed symmetric matrix with a vector."""
    return (
        m[0] * x + m[5] * y + m[4] * z,
        m[5] * x + m[1] * y + m[3] * z,
        m[4] * x + m[3] * y + m[2] * z,
    )


@numba.njit(nogil=True, cache=True)
def _radial(gap, sigma, epsilon):
    """4 eps (rho^12 - rho^6) with rho = sigma / gap, and its derivative in the gap; a straight line below the core."""
    inside = max(gap, HARD_CORE * sigma)
    rho = sigma / inside
    rho6 = (rho * rho * rho) ** 2
    slope = -24.0 * epsilon * rho6 * (2.0 * rho6 - 1.0) / inside
    return 4.0 * epsilon * rho6 * (rho6 - 1.0) + slope * (gap - inside), slope


@numba.njit(nogil=True, cache=True)
def _switch(distance, cutoff, width):
    """Quintic from 1 at cutoff - width to 0 at the cutoff, and its derivative."""
    if distance <= cutoff - width:
        return 1.0, 0.0
    left = (cutoff - distance) / width
    t = 1.0 - left
    return left * left * left * (1.0 + t * (3.0 + 6.0 * t)), -30.0 * t * t * left * left / width


@numba.njit(nogil=True, cache=True)
def _add_torque(target, m, k, gradient, factor, x, y, z):
    """target[a, b] += factor r_a (dU/dtheta)_b of a body with the packed matrix m[k:k + 6] and gradient in it."""
    rows = (
        (m[k], m[k + 5], m[k + 4]),
        (m[k + 5], m[k + 1], m[k + 3]),
        (m[k + 4], m[k + 3], m[k + 2]),
    )
    p0, p1, p2 = gradient[k], gradient[k + 1], gradient[k + 2]
    p3, p4, p5 = 0.5 * gradient[k + 3], 0.5 * gradient[k + 4], 0.5 * gradient[k + 5]
    columns = ((p0, p5, p4), (p5, p1, p3), (p4, p3, p2))
    r = (x, y, z)
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        product = rows[b][0] * columns[c][0] + rows[b][1] * columns[c][1] + rows[b][2] * columns[c][2]
        swapped = rows[c][0] * columns[b][0] + rows[c][1] * columns[b][1] + rows[c][2] * columns[b][2]
        for a in range(3):
            target[a, axis] += 2 * factor * r[a] * (product - swapped)


@numba.njit(nogil=True, cache=True)
def _centres(
    start, stop, positions, weights, shapes, types, second, offsets, pairs, form, with_pieces,
    energies, gradient, shape_gradient, pieces, rotation_pieces,
):  # fmt: skip
    n_types = int(np.sqrt(len(pairs)) + 0.5)
    gamma, mu, nu = np.float64(form[0]), np.float64(form[1]), np.float64(form[2])
    cutoff, width = np.float64(form[3]), np.float64(form[4])
    total, on_shape = np.empty(12), np.empty(12)
    w_i = w_j = 1.0
    for i in range(start, stop):
        for p in range(offsets[i], offsets[i + 1]):
            j = second[p]
            x = np.float64(positions[j, 0]) - positions[i, 0]
            y = np.float64(positions[j, 1]) - positions[i, 1]
            z = np.float64(positions[j, 2]) - positions[i, 2]
            square = x * x + y * y + z * z
            if square >= cutoff * cutoff:
                continue
            distance = np.sqrt(square)
            ux, uy, uz = x / distance, y / distance, z / distance
            kind = types[i] * n_types + types[j]
            epsilon, sigma = np.float64(pairs[kind, 0]), np.float64(pairs[kind, 1])

            for k in range(12):
                total[k] = shapes[i, k] + shapes[j, k]
            g, determinant = _inverse(total, 0)
            b, _ = _inverse(total, 6)
            gx, gy, gz = _times(g, ux, uy, uz)
            bx, by, bz = _times(b, ux, uy, uz)
            g_square, b_square = ux * gx + uy * gy + uz * gz, ux * bx + uy * by + uz * bz
            contact = 1 / np.sqrt(0.5 * g_square)
            factor, slope = _switch(distance, cutoff, width)
            anisotropy = (pairs[kind, 2] / determinant) ** (0.5 * nu) * (2 * b_square) ** mu
            radial, radial_slope = _radial(distance - contact + gamma * sigma, sigma, epsilon)
            energy = radial * anisotropy * factor
            by_gap = radial_slope * anisotropy * factor
            by_g = by_gap * contact * contact * contact * 0.25  # dU / d(u G^-1 u)
            by_b = energy * mu / b_square
            along = by_gap + radial * anisotropy * slope - 2 * (by_g * g_square + by_b * b_square) / distance
            by_g_r, by_b_r = 2 * by_g / distance, 2 * by_b / distance
            dx = along * ux + by_g_r * gx + by_b_r * bx
            dy = along * uy + by_g_r * gy + by_b_r * by
            dz = along * uz + by_g_r * gz + by_b_r * bz
            by_determinant = 0.5 * nu * energy
            on_shape[0] = -by_g * gx * gx - by_determinant * g[0]
            on_shape[1] = -by_g * gy * gy - by_determinant * g[1]
            on_shape[2] = -by_g * gz * gz - by_determinant * g[2]
            on_shape[3] = -2 * (by_g * gy * gz + by_determinant * g[3])
            on_shape[4] = -2 * (by_g * gx * gz + by_determinant * g[4])
            on_shape[5] = -2 * (by_g * gx * gy + by_determinant * g[5])
            on_shape[6] = -by_b * bx * bx
            on_shape[7] = -by_b * by * by
            on_shape[8] = -by_b * bz * bz
            on_shape[9] = -2 * by_b * by * bz
            on_shape[10] = -2 * by_b * bx * bz
            on_shape[11] = -2 * by_b * bx * by

            if len(weights) > 0:
                w_i, w_j = np.float64(weights[i]), np.float64(weights[j])
            weight = 0.5 * (w_i + w_j)
            energies[i] += 0.5 * energy
            energies[j] += 0.5 * energy
            gradient[j, 0] += weight * dx
            gradient[j, 1] += weight * dy
            gradient[j, 2] += weight * dz
            gradient[i, 0] -= weight * dx
            gradient[i, 1] -= weight * dy
            gradient[i, 2] -= weight * dz
            for k in range(12):
                shape_gradient[i, k] += weight * on_shape[k]
                shape_gradient[j, k] += weight * on_shape[k]
            if with_pieces:
                r, d = (x, y, z), (dx, dy, dz)
                for row in range(3):
                    for column in range(3):
                        product = 0.5 * r[row] * d[column]
                        pieces[j, row, column] -= w_i * product
                        pieces[i, row, column] -= w_j * product
                for k in (0, 6):
                    _add_torque(rotation_pieces[j], shapes[j], k, on_shape, -0.5 * w_i, x, y, z)
                    _add_torque(rotation_pieces[i], shapes[i], k, on_shape, 0.5 * w_j, x, y, z)


@numba.njit(nogil=True, cache=True, parallel=True)
def _parallel(
    positions, weights, shapes, types, second, offsets, pairs, form, with_pieces,
    energies, gradient, shape_gradient, pieces, rotation_pieces,
):  # fmt: skip
    n_chunks, n_centres = energies.shape[0], len(offsets) - 1
    for chunk in numba.prange(n_chunks):
        _centres(
            chunk * n_centres // n_chunks, (chunk + 1) * n_centres // n_chunks,
            positions, weights, shapes, types, second, offsets, pairs, form, with_pieces,
            energies[chunk], gradient[chunk], shape_gradient[chunk], pieces[chunk], rotation_pieces[chunk],
        )  # fmt: skip


def accumulate(positions, weights, shapes, types, second, offsets, pairs, form, with_pieces):
    """Energies (M,), gradient (M, 3), shape gradient (M, 12), flux pieces and rotational pieces (M or 0, 3, 3).

    Parameters
    ----------
    positions : array (M, 3), float32 or float64
        Extended atoms; all floating-point arrays have this dtype.
    weights : array (M,) or (0,)
        Of the atomic energies whose sum is differentiated; empty means one each.
    shapes : array (M, 12)
        Packed shape and well matrices of the extended atoms.
    types : array (M,), int64
    second, offsets : arrays (P,) int32, (N + 1,) int64
        Half list of pairs.
    pairs : array (T * T, 3)
        Well depth, range and 2 s_i s_j of every pair of types.
    form : array (5,)
        gamma, mu, nu, cutoff, width of the switch.
    with_pieces : bool
        Whether the flux pieces are wanted; they are empty otherwise.
    """
    n_chunks, n_atoms = numba.get_num_threads(), len(positions)
    n_pieces = n_atoms if with_pieces else 0
    shapes_of_outputs = ((n_atoms,), (n_atoms, 3), (n_atoms, 12), (n_pieces, 3, 3), (n_pieces, 3, 3))
    outputs = [np.zeros((n_chunks, *shape), positions.dtype) for shape in shapes_of_outputs]
    arguments = (positions, weights, shapes, types, second, offsets, pairs, form, with_pieces)
    if n_chunks == 1:
        outputs = [output[0] for output in outputs]
        _centres(0, len(offsets) - 1, *arguments, *outputs)
        return tuple(outputs)
    _parallel(*arguments, *outputs)
    return tuple(output.sum(axis=0) for output in outputs)
