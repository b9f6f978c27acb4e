"""Numba loops over atoms and time origins that count distances."""

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def count_displacements(positions, labels, origins, lag, scale, counts, moments):
    """Histogram of how far atoms moved within a lag, and the sums of its square and fourth power.

    counts (S, n_bins) and moments (S, 2) are added to; scale is bins per Å, what lies beyond is not counted.
    """
    n_bins = counts.shape[1]
    for origin in origins:
        for i in range(positions.shape[1]):
            square = 0.0
            for x in range(3):
                move = np.float64(positions[origin + lag, i, x]) - positions[origin, i, x]
                square += move * move
            s = labels[i]
            moments[s, 0] += square
            moments[s, 1] += square * square
            bin = int(math.sqrt(square) * scale)
            if bin < n_bins:
                counts[s, bin] += 1


@numba.njit(nogil=True, cache=True)
def count_pairs(positions, labels, origins, lag, cell, inverse, scale, counts):
    """Histogram of the distances, by the nearest image, from where an atom was to where others are after a lag.

    counts (S, S, n_bins) is added to: species of the first atom at the origin, of the second one later.
    """
    n_bins, n_atoms = counts.shape[2], positions.shape[1]
    largest = (n_bins / scale) ** 2
    fractional = np.empty(3)
    for origin in origins:
        for i in range(n_atoms):
            for j in range(n_atoms):
                if i == j:
                    continue
                for a in range(3):
                    fractional[a] = 0.0
                    for x in range(3):
                        way = np.float64(positions[origin + lag, j, x]) - positions[origin, i, x]
                        fractional[a] += way * inverse[x, a]
                    fractional[a] -= np.rint(fractional[a])
                square = 0.0
                for x in range(3):
                    way = fractional[0] * cell[0, x] + fractional[1] * cell[1, x] + fractional[2] * cell[2, x]
                    square += way * way
                if square < largest:
                    counts[labels[i], labels[j], min(int(math.sqrt(square) * scale), n_bins - 1)] += 1
