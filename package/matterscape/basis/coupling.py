"""Clebsch-Gordan coefficients that couple two real equivariant features to a third.

In the basis of the real spherical harmonics the coefficients of even ``l1 + l2 + L`` are real; those of odd sum are
imaginary and stand here as their positive imaginary part. Hence, for two vectors in the order (y, z, x),
``(1, 1 -> 0)`` is ``-a . b / sqrt(3)`` and ``(1, 1 -> 1)`` is ``+a x b / sqrt(2)``. Same as in featomic.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np


@cache
def complex_clebsch_gordan(l1: int, l2: int, total: int) -> np.ndarray:
    """Coefficients ``<l1 m1 l2 m2 | L M>`` for complex harmonics with the Condon-Shortley phase.

    Evaluated from Racah's sum in exact integers, rounded once at the end.

    Parameters
    ----------
    l1, l2, total : int
        The angular momenta l1, l2 and L.

    Returns
    -------
    numpy.ndarray, (2 l1 + 1, 2 l2 + 1, 2 L + 1), read-only
        Indices from ``-l`` to ``l``.

    Raises
    ------
    ValueError
        If one of them is not a whole number from 0 on or L is not from ``|l1 - l2|`` to ``l1 + l2``.

    References
    ----------
    Racah, Phys. Rev. 62, 438 (1942).
    """
    _check_triangle(l1, l2, total)
    a, b, c = l1 + l2 - total, l1 - l2 + total, -l1 + l2 + total
    denominator = math.factorial(a + b + c + 1) * math.factorial(a) * math.factorial(b) * math.factorial(c)
    over_a, over_b, over_c = ([math.comb(n, k) for k in range(n + 1)] for n in (a, b, c))
    over_a = [(-1) ** k * value for k, value in enumerate(over_a)]
    orders = [
        [math.factorial(angular + m) * math.factorial(angular - m) for m in range(-angular, angular + 1)]
        for angular in (l1, l2, total)
    ]
    result = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * total + 1))
    for m1 in range(l1 + 1):
        for m2 in range(max(-l2, -total - m1), min(l2, total - m1) + 1):
            low, high = max(0, l1 - m1 - b, l2 + m2 - c), min(a, l1 - m1, l2 + m2)
            racah = sum(over_a[k] * over_b[l1 - m1 - k] * over_c[l2 + m2 - k] for k in range(low, high + 1))
            norm = orders[0][l1 + m1] * orders[1][l2 + m2] * orders[2][total + m1 + m2]
            squared = (2 * total + 1) * racah**2 * norm / denominator
            value = math.copysign(math.sqrt(squared), racah)
            result[l1 + m1, l2 + m2, total + m1 + m2] = value
            result[l1 - m1, l2 - m2, total - m1 - m2] = (-1) ** a * value
    result.setflags(write=False)
    return result


@cache
def clebsch_gordan(l1: int, l2: int, total: int) -> np.ndarray:
    """Real coefficients C: ``sum C[m1, m2, M] a[m1] b[m2]`` transforms like the real harmonics of degree L.

    Parameters
    ----------
    l1, l2, total : int
        The angular momenta l1, l2 and L.

    Returns
    -------
    numpy.ndarray, (2 l1 + 1, 2 l2 + 1, 2 L + 1), float64, read-only
        Indices from ``-l`` to ``l``; orthonormal: ``sum_(m1 m2) C[m1, m2, M] C[m1, m2, M'] = delta_MM'``.

    Raises
    ------
    ValueError
        If one of them is not a whole number from 0 on or L is not from ``|l1 - l2|`` to ``l1 + l2``.
    """
    coefficients = complex_clebsch_gordan(l1, l2, total)
    factors_and_result = real_from_complex(l1).conj(), real_from_complex(l2).conj(), real_from_complex(total)
    for matrix in factors_and_result:
        # contracts the leading axis and appends the new one: after three turns the order is back
        coefficients = np.tensordot(coefficients, matrix, axes=(0, 1))
    result = np.ascontiguousarray(coefficients.real if (l1 + l2 + total) % 2 == 0 else coefficients.imag)
    result[np.abs(result) < 1e-14] = 0
    result.setflags(write=False)
    return result


def real_from_complex(angular: int) -> np.ndarray:
    """Unitary matrix U (2 l + 1, 2 l + 1) of ``Y_real = U Y_complex``, the latter with the Condon-Shortley phase."""
    matrix = np.zeros((2 * angular + 1, 2 * angular + 1), dtype=complex)
    matrix[angular, angular] = 1
    for m in range(1, angular + 1):
        sign = (-1) ** m / math.sqrt(2)
        matrix[angular + m, [angular + m, angular - m]] = sign, 1 / math.sqrt(2)
        matrix[angular - m, [angular + m, angular - m]] = -1j * sign, 1j / math.sqrt(2)
    return matrix


@dataclass(frozen=True, eq=False)
class SparseCoupling:
    """The coefficients of one ``(l1, l2 -> L)`` that are not zero, sorted by M, then m1, then m2.

    ``first``, ``second``, ``total`` (n,): indices ``m + l`` of m1, m2, M, from 0; ``values`` (n,) float64; the terms of
    component M are ``starts[M + L] .. starts[M + L + 1]``, ``starts`` (2 L + 2,).
    """

    first: np.ndarray
    second: np.ndarray
    total: np.ndarray
    values: np.ndarray
    starts: np.ndarray


class ClebschGordan:
    """Real Clebsch-Gordan coefficients of all l up to a largest one, sparse, each made when it is first used.

    ``coefficients[l1, l2, L]`` is a ``SparseCoupling``; iterating gives the allowed triples ``(l1, l2, L)`` in order.

    Parameters
    ----------
    max_angular : int
        Largest l of the factors and of the result.

    Raises
    ------
    ValueError
        If ``max_angular`` is not a whole number from 0 on, or a triple is not allowed.
    """

    def __init__(self, max_angular: int):
        _check_angular("max_angular", max_angular)
        self.max_angular = max_angular

    def __getitem__(self, triple: tuple[int, int, int]) -> SparseCoupling:
        if max(triple) > self.max_angular:
            raise ValueError(f"(l1, l2, L) is {tuple(triple)}; accepted are numbers up to {self.max_angular}")
        return _sparse(*triple)

    def __iter__(self):
        for l1 in range(self.max_angular + 1):
            for l2 in range(self.max_angular + 1):
                for total in range(abs(l1 - l2), min(l1 + l2, self.max_angular) + 1):
                    yield l1, l2, total


@cache
def _sparse(l1: int, l2: int, total: int) -> SparseCoupling:
    by_result = clebsch_gordan(l1, l2, total).transpose(2, 0, 1)
    result, first, second = np.nonzero(by_result)
    starts = np.searchsorted(result, np.arange(2 * total + 2))
    return SparseCoupling(first, second, result, by_result[result, first, second], starts)


def _check_angular(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} is {value!r}; accepted is a whole number from 0 on")


def _check_triangle(l1: int, l2: int, total: int) -> None:
    for name, value in (("l1", l1), ("l2", l2), ("total", total)):
        _check_angular(name, value)
    if not abs(l1 - l2) <= total <= l1 + l2:
        raise ValueError(f"total is {total}; accepted is from |l1 - l2| = {abs(l1 - l2)} to l1 + l2 = {l1 + l2}")
