"""Functional forms of pair potentials, evaluated for eight pairs at once (numba device functions).

The parameters of two types are one row of a table: a header, then a block of columns for each form. A form returns its
energy phi and phi'(r) / r; several of them may act between the same two types.
"""

import math

import numba

from matterscape.basis._lanes import load, store
from matterscape.potentials._lane_functions import (
    FAST,
    any_below,
    at_least,
    at_most,
    exponential,
    scaled_erfc,
    square_root,
    where_below,
)

# header of a row; an unswitched Lennard-Jones interaction by itself needs no distances, only their squares
CUTOFF_SQUARED, CLOSEST_SQUARED, NEEDS_DISTANCES = 0, 1, 2
# every block starts with its cutoff (0: absent), where it starts to be switched off, and what is subtracted
CUTOFF, SWITCH, SHIFT, FIRST = 0, 1, 2, 3
# first column of the blocks
LENNARD_JONES = 3  # A, B: A / r^12 - B / r^6
MORSE = 8  # D, a, r0, C: D ([1 - exp(-a (r - r0))]^2 - 1) + C / r^12
BORN_MAYER = 15  # A, 1 / rho, C, D: A exp(-r / rho) - C / r^6 - D / r^8
NUCLEI = 22  # z z e^2, 1 / a, start, c3, c4: z z e^2 screening(r / a) / r + c3 (r - start)^3 + c4 (r - start)^4
COULOMB = 30  # q q e^2, alpha, c0, c1: q q e^2 (erfc(alpha r) / r + c0 + c1 r)
N_COLUMNS = 37

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
# Universal screening function of J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter
# (Pergamon, 1985), with the digits of LAMMPS' documentation.
SCREENING_WEIGHTS = (0.18175, 0.50986, 0.28022, 0.02817)
SCREENING_RATES = (3.19980, 0.94229, 0.40290, 0.20162)

# arrays are handed to no inlined function: their reference counting would survive in the loop
_inline = numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy", forceinline=True)


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def radial(parameters, row, tiles, begin, end, values, slopes):
    """Halves of the energies phi, and phi'(r) / r, of pairs of the same two types.

    Parameters
    ----------
    parameters : array (R, N_COLUMNS), float64
    row : int
        Row of these two types.
    tiles : array (n, 8), float64
        Squared distances; rows ``begin`` to ``end`` are read.
    values, slopes : arrays (n, 8), float64
        Outputs, the same rows.

    Returns
    -------
    bool
        Is a pair closer than its parameters allow?
    """
    too_close = False
    if parameters[row, NEEDS_DISTANCES] == 0.0:
        a, b = parameters[row, LENNARD_JONES + FIRST], parameters[row, LENNARD_JONES + FIRST + 1]
        limit, shift = parameters[row, CUTOFF_SQUARED], parameters[row, LENNARD_JONES + SHIFT]
        closest = parameters[row, CLOSEST_SQUARED]
        for tile in range(begin, end):
            squares = load(tiles, tile)
            too_close |= any_below(squares, closest)
            value, slope = _lennard_jones(squares, a, b)
            store(values, tile, 0.5 * where_below(squares, limit, value - shift))
            store(slopes, tile, where_below(squares, limit, slope))
        return too_close
    for tile in range(begin, end):
        squares = load(tiles, tile)
        too_close |= any_below(squares, parameters[row, CLOSEST_SQUARED])
        r = square_root(squares)
        inverse = 1.0 / r
        value = slope = 0.0 * squares
        if parameters[row, LENNARD_JONES + CUTOFF] > 0.0:
            p = LENNARD_JONES
            phi, change = _lennard_jones(squares, parameters[row, p + 3], parameters[row, p + 4])
            phi, change = _ended(
                squares, r, inverse, phi, change, parameters[row, p], parameters[row, p + 1], parameters[row, p + 2]
            )
            value, slope = value + phi, slope + change
        if parameters[row, MORSE + CUTOFF] > 0.0:
            p = MORSE
            phi, change = _morse(
                r, inverse, parameters[row, p + 3], parameters[row, p + 4], parameters[row, p + 5],
                parameters[row, p + 6],
            )  # fmt: skip
            phi, change = _ended(
                squares, r, inverse, phi, change, parameters[row, p], parameters[row, p + 1], parameters[row, p + 2]
            )
            value, slope = value + phi, slope + change
        if parameters[row, BORN_MAYER + CUTOFF] > 0.0:
            p = BORN_MAYER
            phi, change = _born_mayer(
                r, inverse, parameters[row, p + 3], parameters[row, p + 4], parameters[row, p + 5],
                parameters[row, p + 6],
            )  # fmt: skip
            phi, change = _ended(
                squares, r, inverse, phi, change, parameters[row, p], parameters[row, p + 1], parameters[row, p + 2]
            )
            value, slope = value + phi, slope + change
        if parameters[row, NUCLEI + CUTOFF] > 0.0:
            p = NUCLEI
            phi, change = _nuclei(
                r, inverse, parameters[row, p + 3], parameters[row, p + 4], parameters[row, p + 5],
                parameters[row, p + 6], parameters[row, p + 7],
            )  # fmt: skip
            phi, change = _ended(
                squares, r, inverse, phi, change, parameters[row, p], parameters[row, p + 1], parameters[row, p + 2]
            )
            value, slope = value + phi, slope + change
        if parameters[row, COULOMB + CUTOFF] > 0.0:
            p = COULOMB
            phi, change = _coulomb(
                squares, r, inverse, parameters[row, p + 3], parameters[row, p + 4], parameters[row, p + 5],
                parameters[row, p + 6],
            )  # fmt: skip
            phi, change = _ended(
                squares, r, inverse, phi, change, parameters[row, p], parameters[row, p + 1], parameters[row, p + 2]
            )
            value, slope = value + phi, slope + change
        store(values, tile, 0.5 * value)
        store(slopes, tile, slope)
    return too_close


@_inline
def _ended(squares, r, inverse, phi, change, cutoff, start, shift):
    """A form that is shifted, switched off smoothly if asked for, and zero beyond its cutoff."""
    phi = phi - shift
    if start < cutoff:
        t = at_most(at_least((r - start) * (1.0 / (cutoff - start)), 0.0), 1.0)
        u = 1.0 - t
        factor = u * u * u * (1.0 + t * (3.0 + 6.0 * t))
        steepness = (t * u) * (t * u) * (-30.0 / (cutoff - start))
        change = change * factor + phi * steepness * inverse
        phi = phi * factor
    return where_below(squares, cutoff * cutoff, phi), where_below(squares, cutoff * cutoff, change)


@_inline
def _lennard_jones(squares, a, b):
    i2 = 1.0 / squares
    i6 = i2 * i2 * i2
    return i6 * (a * i6 - b), i6 * i2 * (6.0 * b - (12.0 * a) * i6)


@_inline
def _morse(r, inverse, depth, rate, r0, c):
    x = exponential((r0 - r) * rate)
    i2 = inverse * inverse
    i6 = i2 * i2 * i2
    wall = c * i6 * i6
    return depth * x * (x - 2.0) + wall, (2.0 * rate * depth) * x * (1.0 - x) * inverse - 12.0 * wall * i2


@_inline
def _born_mayer(r, inverse, a, rate, c, d):
    wall = a * exponential((-rate) * r)
    i2 = inverse * inverse
    i6 = i2 * i2 * i2
    sixth, eighth = c * i6, d * i6 * i2
    return wall - sixth - eighth, (6.0 * sixth + 8.0 * eighth) * i2 - rate * wall * inverse


@_inline
def _nuclei(r, inverse, charge, rate, start, c3, c4):
    screening = change = 0.0 * r
    for k in range(4):
        part = SCREENING_WEIGHTS[k] * exponential((-SCREENING_RATES[k] * rate) * r)
        screening = screening + part
        change = change - (SCREENING_RATES[k] * rate) * part
    bare = charge * inverse
    t = at_least(r - start, 0.0)
    slope = bare * (change - screening * inverse) + t * t * (3.0 * c3 + (4.0 * c4) * t)
    return bare * screening + t * t * t * (c3 + c4 * t), slope * inverse


@_inline
def _coulomb(squares, r, inverse, charge, alpha, c0, c1):
    gaussian = exponential((-alpha * alpha) * squares)
    damped = scaled_erfc(alpha * r) * gaussian * inverse
    slope = c1 - inverse * (damped + (_TWO_OVER_SQRT_PI * alpha) * gaussian)
    return charge * (damped + c0 + c1 * r), charge * inverse * slope
