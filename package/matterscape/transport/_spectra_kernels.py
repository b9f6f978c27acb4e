"""Numba loops over samples and frequencies of currents."""

import numba
import numpy as np

# A pivot of the spectral matrix this small beside its diagonal element is the rounding of linearly dependent currents.
DEPENDENT = 1e-11


@numba.njit(nogil=True, cache=True, parallel=True)
def box_average(values, width, result):
    """Means of ``width`` successive samples of each row: (rows, N) -> (rows, n), summed in double precision."""
    rows, n = result.shape
    for row in range(rows):
        for j in numba.prange(n):
            total = 0.0
            for i in range(j * width, (j + 1) * width):
                total += values[row, i]
            result[row, j] = total / width


@numba.njit(nogil=True, cache=True, parallel=True)
def add_products(transforms, factor, matrix):
    """Add factor * sum_c F_a^c F_b^c* of transforms (M, l, F) to a matrix (F, M, M)."""
    n_currents, n_components, n_frequencies = transforms.shape
    for k in numba.prange(n_frequencies):
        for a in range(n_currents):
            for b in range(a + 1):
                real = imaginary = 0.0
                for c in range(n_components):
                    first, second = transforms[a, c, k], transforms[b, c, k]
                    real += first.real * second.real + first.imag * second.imag
                    imaginary += first.imag * second.real - first.real * second.imag
                product = factor * complex(real, imaginary)
                matrix[k, a, b] += product
                if a != b:
                    matrix[k, b, a] += product.conjugate()


@numba.njit(nogil=True, cache=True)
def schur_complements(matrix, order, result):
    """1 / (S^-1)_aa of Hermitian matrices (F, M, M), where a is the last of ``order``; returns the best pivot.

    In the order given, the last pivot of a Cholesky decomposition is the Schur complement wanted. The best pivot is the
    largest over the frequencies of the smallest ratio of a pivot to its diagonal element.
    """
    n_currents = len(order)
    lower = np.zeros((n_currents, n_currents), dtype=np.complex128)
    best = 0.0
    for k in range(len(matrix)):
        smallest = 1.0
        pivot = 0.0
        for j in range(n_currents):
            diagonal = matrix[k, order[j], order[j]].real
            pivot = diagonal
            for i in range(j):
                pivot -= lower[j, i].real ** 2 + lower[j, i].imag ** 2
            if not pivot > 0.0:
                pivot = 0.0
                smallest = 0.0
                break
            smallest = min(smallest, pivot / diagonal)
            root = np.sqrt(pivot)
            for m in range(j + 1, n_currents):
                element = matrix[k, order[m], order[j]]
                for i in range(j):
                    element -= lower[m, i] * lower[j, i].conjugate()
                lower[m, j] = element / root
        result[k] = pivot
        best = max(best, smallest)
    return best
