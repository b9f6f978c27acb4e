"""Numba loops over bonded pairs and angles: energies, gradients, flux tensors and second derivatives in one pass.

Pair terms are U(r) = k2 x^2 + k3 x^3 + k4 x^4 + q/r + A exp(-r/rho) - C/r^6 - u0 with x = r - r0; columns of the
parameters: r0, k2, k3, k4, q, A, rho, C, u0. Angle terms are k (theta - theta0)^2; columns: k, theta0.
The energy of a pair belongs half and half to its atoms, that of an angle to its centre or in thirds to its atoms.
The loops run in one thread: they take a few hundredths of the time of the non-bonded pairs.
"""

import math

import numba
import numpy as np

PAIR_COLUMNS = 9
ANGLE_COLUMNS = 2
SHORTEST_PAIR = 1e-3  # Å
SMALLEST_SINE = 1e-6  # the direction of an angle's force is undefined on a straight line


@numba.njit(nogil=True, cache=True, inline="always")
def _pair_term(r, row):
    """Energy and its derivative in the distance; also for complex r."""
    x = r - row[0]
    energy = x * x * (row[1] + x * (row[2] + x * row[3])) + row[4] / r - row[8]
    slope = x * (2 * row[1] + x * (3 * row[2] + x * 4 * row[3])) - row[4] / (r * r)
    if row[5] != 0.0:
        repulsion = row[5] * np.exp(-r / row[6])
        energy += repulsion
        slope -= repulsion / row[6]
    if row[7] != 0.0:
        dispersion = row[7] / (r * r * r * r * r * r)
        energy -= dispersion
        slope += 6 * dispersion / r
    return energy, slope


@numba.njit(nogil=True, cache=True, inline="always")
def _angle_term(ax, ay, az, bx, by, bz, row):
    """Energy of the angle between the arms a and b, and its gradients on them; also for complex arms."""
    aa = ax * ax + ay * ay + az * az
    bb = bx * bx + by * by + bz * bz
    inverse = 1.0 / np.sqrt(aa * bb)
    cosine = (ax * bx + ay * by + az * bz) * inverse
    sine = np.sqrt(1.0 - cosine * cosine)
    excess = np.arccos(cosine) - row[1]
    energy = row[0] * excess * excess
    factor = -2.0 * row[0] * excess / sine  # dU/d(cosine)
    on_a, on_b = factor * cosine / aa, factor * cosine / bb
    factor = factor * inverse
    return (
        energy,
        factor * bx - on_a * ax,
        factor * by - on_a * ay,
        factor * bz - on_a * az,
        factor * ax - on_b * bx,
        factor * ay - on_b * by,
        factor * az - on_b * bz,
    )


@numba.njit(nogil=True, cache=True)
def _straight(ax, ay, az, bx, by, bz):
    """Whether the arms lie on one line, or one of them has no length."""
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    lengths = (ax * ax + ay * ay + az * az) * (bx * bx + by * by + bz * bz)
    return x * x + y * y + z * z <= SMALLEST_SINE**2 * lengths


@numba.njit(nogil=True, cache=True)
def accumulate(
    positions,
    weights,
    pairs,
    pair_rows,
    pair_parameters,
    angles,
    angle_rows,
    angle_parameters,
    thirds,
    with_pieces,
    energies,
    gradient,
    pieces,
):
    """Add energies, d(sum_i w_i U_i)/dx and the flux tensors of the weighted sum, all in extended atoms.

    ``weights`` of length zero mean all one. Returns the index of the first term that has no force, a pair of coinciding
    atoms or (counted on from the number of pairs) a straight angle, else -1.
    """
    weighted = len(weights) > 0
    wi = wj = wk = 1.0
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        dx = positions[j, 0] - positions[i, 0]
        dy = positions[j, 1] - positions[i, 1]
        dz = positions[j, 2] - positions[i, 2]
        r = math.sqrt(dx * dx + dy * dy + dz * dz)
        if not r > SHORTEST_PAIR:
            return p
        energy, slope = _pair_term(r, pair_parameters[pair_rows[p]])
        energies[i] += 0.5 * energy
        energies[j] += 0.5 * energy
        if weighted:
            wi, wj = weights[i], weights[j]
        slope = 0.5 * slope / r
        d = (dx, dy, dz)
        for x in range(3):
            g = slope * d[x]
            gradient[j, x] += (wi + wj) * g
            gradient[i, x] -= (wi + wj) * g
            if with_pieces:
                for a in range(3):
                    pieces[i, a, x] -= wj * d[a] * g
                    pieces[j, a, x] -= wi * d[a] * g
    for p in range(len(angles)):
        i, j, k = angles[p, 0], angles[p, 1], angles[p, 2]
        ax = positions[i, 0] - positions[j, 0]
        ay = positions[i, 1] - positions[j, 1]
        az = positions[i, 2] - positions[j, 2]
        bx = positions[k, 0] - positions[j, 0]
        by = positions[k, 1] - positions[j, 1]
        bz = positions[k, 2] - positions[j, 2]
        if _straight(ax, ay, az, bx, by, bz):
            return len(pairs) + p
        energy, gax, gay, gaz, gbx, gby, gbz = _angle_term(ax, ay, az, bx, by, bz, angle_parameters[angle_rows[p]])
        if weighted:
            wi, wj, wk = weights[i], weights[j], weights[k]
        if thirds:
            third = energy / 3.0
            energies[i] += third
            energies[j] += third
            energies[k] += third
            # place of the energy relative to the centre, times the weight that sits there
            weight = (wi + wj + wk) / 3.0
            mx, my, mz = (wi * ax + wk * bx) / 3.0, (wi * ay + wk * by) / 3.0, (wi * az + wk * bz) / 3.0
        else:
            energies[j] += energy
            weight = wj
            mx = my = mz = 0.0 * energy
        ga, gb = (gax, gay, gaz), (gbx, gby, gbz)
        a, b, m = (ax, ay, az), (bx, by, bz), (mx, my, mz)
        for x in range(3):
            gradient[i, x] += weight * ga[x]
            gradient[k, x] += weight * gb[x]
            gradient[j, x] -= weight * (ga[x] + gb[x])
            if with_pieces:
                for y in range(3):
                    pieces[i, y, x] -= (weight * a[y] - m[y]) * ga[x]
                    pieces[k, y, x] -= (weight * b[y] - m[y]) * gb[x]
                    pieces[j, y, x] -= m[y] * (ga[x] + gb[x])
    return -1


@numba.njit(nogil=True, cache=True)
def extend(positions, cells, structure_index, owners, shifts, extended):
    """Write the positions of the extended atoms."""
    for e in range(len(owners)):
        i = owners[e]
        cell = cells[structure_index[i]]
        for x in range(3):
            value = positions[i, x]
            for k in range(3):
                value += shifts[e, k] * cell[k, x]
            extended[e, x] = value


@numba.njit(nogil=True, cache=True)
def second_derivatives(positions, pairs, pair_rows, pair_parameters, angles, angle_rows, angle_parameters, blocks):
    """Second derivatives of every term between its atoms by complex steps.

    ``blocks`` (4 n_pairs + 9 n_angles, 3, 3): for each pair (i, j) the blocks ii, ij, ji, jj, then for each angle
    (i, j, k) the blocks ii, ij, ik, ji, ... kk.
    """
    step = 1e-30
    for p in range(len(pairs)):
        row = pair_parameters[pair_rows[p]]
        d = positions[pairs[p, 1]] - positions[pairs[p, 0]]
        for y in range(3):
            e = np.zeros(3, np.complex128)
            for x in range(3):
                e[x] = d[x]
            e[y] += 1j * step
            r = np.sqrt(e[0] * e[0] + e[1] * e[1] + e[2] * e[2])
            _, slope = _pair_term(r, row)
            for x in range(3):
                value = (slope * e[x] / r).imag / step
                blocks[4 * p, x, y] = blocks[4 * p + 3, x, y] = value
                blocks[4 * p + 1, x, y] = blocks[4 * p + 2, x, y] = -value
    start = 4 * len(pairs)
    for p in range(len(angles)):
        row = angle_parameters[angle_rows[p]]
        i, j, k = angles[p, 0], angles[p, 1], angles[p, 2]
        for t in range(3):
            for y in range(3):
                a = np.zeros(3, np.complex128)
                b = np.zeros(3, np.complex128)
                for x in range(3):
                    a[x] = positions[i, x] - positions[j, x]
                    b[x] = positions[k, x] - positions[j, x]
                if t == 0:
                    a[y] += 1j * step
                elif t == 1:
                    a[y] -= 1j * step
                    b[y] -= 1j * step
                else:
                    b[y] += 1j * step
                terms = _angle_term(a[0], a[1], a[2], b[0], b[1], b[2], row)
                for x in range(3):
                    on_a, on_b = terms[1 + x].imag / step, terms[4 + x].imag / step
                    blocks[start + 9 * p + t, x, y] = on_a
                    blocks[start + 9 * p + 3 + t, x, y] = -on_a - on_b
                    blocks[start + 9 * p + 6 + t, x, y] = on_b
