"""Numba loops of the reciprocal-space Ewald sum.

Waves k = 2 pi (n1 b1 + n2 b2 + n3 b3) cover a half space in *rows*: one row is a pair (n1, n2) with n3 from -m to m, so
that e^{ik.r} = e1^n1 e2^n2 e3^n3 needs one product of tabulated powers per row and atom, and the waves +n3 and -n3
share their four real products. Atoms go through in blocks of eight of one structure, one vector register each; a sum
over atoms belongs to one row and a sum over waves to one block, so results do not depend on the number of threads.
"""

import numba
import numpy as np

from matterscape.basis._lanes import LANES, load, store

ROW = 5  # columns of a row: structure, n1, n2, number of n3 values (0, 1, ...; even), first wave


@numba.njit(nogil=True, cache=True)
def _row_length(inverse_metric, n1, n2, squared_cutoff):
    """Number of n3 = 0, 1, ... for which the wave with n3 or -n3, k^2 = n G n^T, is inside the cut-off."""
    a = inverse_metric[2, 2]
    b = abs(n1 * inverse_metric[0, 2] + n2 * inverse_metric[1, 2])
    c = n1 * n1 * inverse_metric[0, 0] + 2 * n1 * n2 * inverse_metric[0, 1] + n2 * n2 * inverse_metric[1, 1]
    discriminant = b * b - a * (c - squared_cutoff)
    if discriminant < 0:
        return 0
    largest = int(np.floor((b + np.sqrt(discriminant)) / a + 1e-9))
    return 0 if largest < 0 else largest + 1


@numba.njit(nogil=True, cache=True)
def wave_rows(inverse_metrics, cutoff, rows):
    """Write the rows of all waves shorter than ``cutoff`` (and few longer ones); returns their number.

    ``inverse_metrics`` (B, 3, 3) are the scalar products of the reciprocal vectors, 2 pi included. Call it with
    ``rows`` of length 0 to count.
    """
    count = first = 0
    for structure in range(len(inverse_metrics)):
        metric = np.linalg.inv(inverse_metrics[structure])
        limit_1 = int(np.floor(cutoff * np.sqrt(metric[0, 0]) + 1e-9))
        limit_2 = int(np.floor(cutoff * np.sqrt(metric[1, 1]) + 1e-9))
        for n1 in range(limit_1 + 1):
            for n2 in range(-limit_2 if n1 > 0 else 0, limit_2 + 1):
                length = _row_length(inverse_metrics[structure], n1, n2, cutoff * cutoff)
                if n1 == 0 and n2 == 0:
                    length = max(length, 1)  # the wave k = 0
                length += length % 2
                if length == 0:
                    continue
                if count < len(rows):
                    rows[count, 0], rows[count, 1], rows[count, 2] = structure, n1, n2
                    rows[count, 3], rows[count, 4] = length, first
                count += 1
                first += length
    return count


@numba.njit(nogil=True, cache=True)
def _powers(positions, reciprocal, atom, stop, axis, n_powers, tables, row):
    """Rows 2n and 2n + 1 of ``tables`` from ``row`` on: cos and sin of n times the phase of eight atoms."""
    for lane in range(LANES):
        phase = 0.0
        if atom + lane < stop:
            for x in range(3):
                phase += positions[atom + lane, x] * reciprocal[axis, x]
        cosine, sine = np.cos(phase), np.sin(phase)
        real, imaginary = 1.0, 0.0
        for n in range(n_powers):
            if n % 16 == 0:  # a fresh start keeps the recurrence at rounding level
                real, imaginary = np.cos(n * phase), np.sin(n * phase)
            tables[row + 2 * n, lane], tables[row + 2 * n + 1, lane] = real, imaginary
            real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine


@numba.njit(nogil=True, cache=True, parallel=True)
def phase_tables(positions, reciprocals, blocks, n_powers, tables):
    """Powers of the three phases of every atom: ``tables`` (blocks * stride, 8), stride = 2 sum(n_powers).

    ``reciprocals`` (B, 3, 3) as rows, 2 pi included; ``blocks`` (n, 3): structure, first atom, end of the structure.
    """
    stride = 2 * (n_powers[0] + n_powers[1] + n_powers[2])
    for block in numba.prange(len(blocks)):
        structure, atom, stop = blocks[block]
        row = block * stride
        for axis in range(3):
            _powers(positions, reciprocals[structure], atom, stop, axis, n_powers[axis], tables, row)
            row += 2 * n_powers[axis]


@numba.njit(nogil=True, cache=True)
def _row_factor(tables, first_row, n_powers, n1, n2):
    """Lanes e1^n1 e2^n2 (real, imaginary) of the block whose tables start at ``first_row``; n1 >= 0."""
    a = first_row + 2 * n1
    b = first_row + 2 * (n_powers[0] + abs(n2))
    sign = 1.0 if n2 >= 0 else -1.0
    real, imaginary = load(tables, b), load(tables, b + 1) * sign
    real_1, imaginary_1 = load(tables, a), load(tables, a + 1)
    return real_1 * real - imaginary_1 * imaginary, real_1 * imaginary + imaginary_1 * real


@numba.njit(nogil=True, cache=True)
def _sum(tile, row):
    total = 0.0
    for lane in range(LANES):
        total += tile[row, lane]
    return total


@numba.njit(nogil=True, cache=True, parallel=True)
def structure_factors(charges, tables, n_powers, rows, block_offsets, factors):
    """``factors`` (waves, 4) = Re, Im of S(+n3) and Re, Im of S(-n3), with S(k) = sum_j q_j e^{ik.r_j}.

    ``charges`` (blocks, 8), zero where a block has no atom; ``block_offsets`` (B + 1,) blocks of each structure.
    """
    stride = 2 * (n_powers[0] + n_powers[1] + n_powers[2])
    third = 2 * (n_powers[0] + n_powers[1])
    for r in numba.prange(len(rows)):
        structure, n1, n2, length, wave = rows[r]
        start, stop = block_offsets[structure], block_offsets[structure + 1]
        row_factors = np.empty((2 * (stop - start), LANES))
        for block in range(start, stop):
            real, imaginary = _row_factor(tables, block * stride, n_powers, n1, n2)
            charge = load(charges, block)
            store(row_factors, 2 * (block - start), charge * real)
            store(row_factors, 2 * (block - start) + 1, charge * imaginary)
        tile = np.zeros((9, LANES))
        for n3 in range(0, length, 2):
            rr = ii = ri = ir = load(tile, 8)
            rr_next = ii_next = ri_next = ir_next = rr
            for block in range(start, stop):
                real, imaginary = load(row_factors, 2 * (block - start)), load(row_factors, 2 * (block - start) + 1)
                at = block * stride + third + 2 * n3
                cosine, sine = load(tables, at), load(tables, at + 1)
                rr, ii = rr + real * cosine, ii + imaginary * sine
                ri, ir = ri + real * sine, ir + imaginary * cosine
                cosine, sine = load(tables, at + 2), load(tables, at + 3)
                rr_next, ii_next = rr_next + real * cosine, ii_next + imaginary * sine
                ri_next, ir_next = ri_next + real * sine, ir_next + imaginary * cosine
            store(tile, 0, rr), store(tile, 1, ii), store(tile, 2, ri), store(tile, 3, ir)
            store(tile, 4, rr_next), store(tile, 5, ii_next), store(tile, 6, ri_next), store(tile, 7, ir_next)
            for following in range(2):
                rr_sum, ii_sum = _sum(tile, 4 * following), _sum(tile, 4 * following + 1)
                ri_sum, ir_sum = _sum(tile, 4 * following + 2), _sum(tile, 4 * following + 3)
                out = factors[wave + n3 + following]
                out[0], out[1] = rr_sum - ii_sum, ri_sum + ir_sum
                out[2], out[3] = rr_sum + ii_sum, ir_sum - ri_sum


@numba.njit(nogil=True, cache=True, parallel=True)
def site_coefficients(factors, strengths, slopes, rows, coefficients):
    """What multiplies cos and sin of n3 phases in the sums over waves; ``coefficients`` (waves, 8 or 20).

    ``strengths`` and ``slopes`` (waves, 2) for +n3 and -n3: a wave adds 2 Re[e^{ik.r} conj(S)] (strength delta_ab +
    slope k_a k_b) to the tensor. Columns, four each: potential, its n3 moment; slope with n3^0, n3^1, n3^2.
    """
    for r in numba.prange(len(rows)):
        length, wave = rows[r, 3], rows[r, 4]
        for n3 in range(length):
            plus_r, plus_i, minus_r, minus_i = factors[wave + n3]
            out = coefficients[wave + n3]
            for part in range(len(out) // 4):
                values = strengths if part < 2 else slopes
                power = part if part < 2 else part - 2
                weight = 2.0 * n3**power
                plus = weight * values[wave + n3, 0]
                minus = weight * values[wave + n3, 1] * (-1.0 if power == 1 else 1.0)
                out[4 * part] = plus * plus_r + minus * minus_r  # cos, real
                out[4 * part + 1] = plus * plus_i - minus * minus_i  # sin, real
                out[4 * part + 2] = -plus * plus_i - minus * minus_i  # cos, imaginary
                out[4 * part + 3] = plus * plus_r - minus * minus_r  # sin, imaginary


@numba.njit(nogil=True, cache=True)
def _row_sums(tables, at, coefficients, wave, length, part, zero):
    """Lanes sum_n3 (cos, sin combination) (real, imaginary) of one part of the coefficients."""
    real = imaginary = zero
    for n3 in range(length):
        cosine, sine = load(tables, at + 2 * n3), load(tables, at + 2 * n3 + 1)
        c = coefficients[wave + n3]
        real = real + cosine * c[part] + sine * c[part + 1]
        imaginary = imaginary + cosine * c[part + 2] + sine * c[part + 3]
    return real, imaginary


@numba.njit(nogil=True, cache=True, parallel=True)
def site_sums(tables, n_powers, rows, row_offsets, blocks, coefficients, tensors, potentials, derivatives, moments):
    """Sums over the waves at the sites of the atoms.

    ``potentials`` (blocks, 8): potential; ``derivatives`` (3 blocks, 8): its derivative in phase 1, 2, 3; and, if
    ``tensors`` is (0,) and not (), ``moments`` (6 blocks, 8): sums of slope n_c n_d, cd = 11, 22, 33, 23, 13, 12.
    """
    stride = 2 * (n_powers[0] + n_powers[1] + n_powers[2])
    third = 2 * (n_powers[0] + n_powers[1])
    for block in numba.prange(len(blocks)):
        structure = blocks[block, 0]
        zero = load(np.zeros((1, LANES)), 0)
        value = d1 = d2 = d3 = zero
        m11 = m22 = m33 = m23 = m13 = m12 = zero
        at = block * stride + third
        for r in range(row_offsets[structure], row_offsets[structure + 1]):
            n1, n2, length, wave = float(rows[r, 1]), float(rows[r, 2]), rows[r, 3], rows[r, 4]
            real, imaginary = _row_factor(tables, block * stride, n_powers, rows[r, 1], rows[r, 2])
            sum_r = sum_i = moment_r = moment_i = zero
            for n3 in range(length):
                cosine, sine = load(tables, at + 2 * n3), load(tables, at + 2 * n3 + 1)
                c = coefficients[wave + n3]
                sum_r = sum_r + cosine * c[0] + sine * c[1]
                sum_i = sum_i + cosine * c[2] + sine * c[3]
                moment_r = moment_r + cosine * c[4] + sine * c[5]
                moment_i = moment_i + cosine * c[6] + sine * c[7]
            across = real * sum_i + imaginary * sum_r
            value = value + real * sum_r - imaginary * sum_i
            d1, d2 = d1 - across * n1, d2 - across * n2
            d3 = d3 - real * moment_i - imaginary * moment_r
            if len(tensors) == 1:
                sum_r, sum_i = _row_sums(tables, at, coefficients, wave, length, 8, zero)
                along = real * sum_r - imaginary * sum_i
                m11, m22, m12 = m11 + along * (n1 * n1), m22 + along * (n2 * n2), m12 + along * (n1 * n2)
                sum_r, sum_i = _row_sums(tables, at, coefficients, wave, length, 12, zero)
                along = real * sum_r - imaginary * sum_i
                m13, m23 = m13 + along * n1, m23 + along * n2
                sum_r, sum_i = _row_sums(tables, at, coefficients, wave, length, 16, zero)
                m33 = m33 + real * sum_r - imaginary * sum_i
        store(potentials, block, value)
        store(derivatives, 3 * block, d1), store(derivatives, 3 * block + 1, d2), store(derivatives, 3 * block + 2, d3)
        if len(tensors) == 1:
            store(moments, 6 * block, m11), store(moments, 6 * block + 1, m22), store(moments, 6 * block + 2, m33)
            store(moments, 6 * block + 3, m23), store(moments, 6 * block + 4, m13), store(moments, 6 * block + 5, m12)
