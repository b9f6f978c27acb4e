"""Numba loop over the pairs of neighbours of each atom."""

import math

import numba


@numba.njit(nogil=True, cache=True)
def fill_angles(vectors, offsets, second, degrees, centres, ends):
    """Angle at every atom between each two of its neighbours, in the order of atoms; arrays have the right length."""
    n = 0
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            for q in range(offsets[i], p):
                scalar = square_p = square_q = 0.0
                for x in range(3):
                    scalar += vectors[p, x] * vectors[q, x]
                    square_p += vectors[p, x] * vectors[p, x]
                    square_q += vectors[q, x] * vectors[q, x]
                cosine = scalar / math.sqrt(square_p * square_q)
                degrees[n] = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
                centres[n] = i
                ends[n, 0], ends[n, 1] = second[q], second[p]
                n += 1
