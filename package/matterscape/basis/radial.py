"""Radial bases, and their overlap with the density of one neighbour as a spline of its distance.

A neighbour at distance r contributes ``R_nl(r) Y_lm(direction)`` to the coefficients of its density; this module makes
``R_nl(r)``, without cutoff function and radial scaling. A basis is an object with ``max_radial`` (number of functions),
``cutoff``, ``extent`` (the radius beyond which its functions are negligible), ``finest_length`` (the width of its
narrowest feature) and ``evaluate(distances, max_angular) -> (M, max_angular + 1, max_radial)``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.optimize import brentq
from scipy.special import gamma, spherical_jn

from matterscape.basis.splines import Spline

# exp(-x**2 / 2) is below double precision from 9 on
_GAUSSIAN_REACH = 9.0
_DISTANCES_AT_ONCE = 64


class RadialBasis(Protocol):
    """What a radial basis offers."""

    max_radial: int
    cutoff: float

    @property
    def extent(self) -> float:
        """Radius beyond which the functions are negligible, in Å."""

    @property
    def finest_length(self) -> float:
        """Width of the narrowest feature, in Å."""

    def evaluate(self, distances: np.ndarray, max_angular: int) -> np.ndarray:
        """Values (M, max_angular + 1, max_radial) at distances (M,)."""


def _check_sizes(max_radial: int, cutoff: float) -> None:
    if isinstance(max_radial, bool) or not isinstance(max_radial, int | np.integer) or max_radial < 1:
        raise ValueError(f"max_radial is {max_radial!r}; accepted is a whole number from 1 on")
    if not (isinstance(cutoff, int | float) and math.isfinite(cutoff) and cutoff > 0):
        raise ValueError(f"cutoff is {cutoff!r}; accepted is a positive, finite number")


@dataclass(frozen=True)
class GaussianTypeOrbitals:
    """Orthonormalised Gaussian-type orbitals ``x^n exp(-x^2 / 2 s_n^2)``, the same for every l.

    ``s_n = cutoff max(sqrt(n), 1) / max_radial`` for ``n = 0 .. max_radial - 1``, orthonormalised symmetrically
    (Loewdin) with the weight x^2 on [0, infinity).

    Parameters
    ----------
    max_radial : int
        Number of functions (featomic's ``Gto`` calls this ``max_radial + 1``).
    cutoff : float
        In Angstrom.

    Raises
    ------
    ValueError
        If ``max_radial`` is not a positive whole number, ``cutoff`` not a positive number, or the functions are
        linearly dependent in double precision.

    References
    ----------
    Musil et al., J. Chem. Phys. 154, 114109 (2021), doi 10.1063/5.0044689.
    """

    max_radial: int
    cutoff: float

    def __post_init__(self) -> None:
        _check_sizes(self.max_radial, self.cutoff)
        smallest = self._decomposition[0].min()
        if smallest < 1e-8:
            raise ValueError(
                f"max_radial is {self.max_radial}; accepted are sizes whose Gaussian-type orbitals are linearly "
                f"independent in double precision (smallest singular value: {smallest:.0e}, needed: 1e-08)"
            )

    @property
    def widths(self) -> np.ndarray:
        """Widths s_n (max_radial,) in Angstrom."""
        return self.cutoff * np.sqrt(np.maximum(np.arange(self.max_radial), 1)) / self.max_radial

    @property
    def extent(self) -> float:
        """Radius beyond which the functions are negligible, in Angstrom."""
        # x^n exp(-x^2 / 2 s^2) peaks at s sqrt(n) and falls at least as fast as a Gaussian of width s from there
        return float(np.max(self.widths * (np.sqrt(np.arange(self.max_radial)) + _GAUSSIAN_REACH)))

    @property
    def finest_length(self) -> float:
        """Width of the narrowest function, in Angstrom."""
        return float(self.widths.min())

    def evaluate(self, distances: np.ndarray, max_angular: int) -> np.ndarray:
        """Values (M, max_angular + 1, max_radial) at distances (M,), in Angstrom^(-3/2)."""
        singular, vectors = self._decomposition
        functions = self._primitives(np.asarray(distances, dtype=np.float64)) @ ((vectors / singular) @ vectors.T)
        return np.repeat(functions[:, None, :], max_angular + 1, axis=1)

    def _primitives(self, distances: np.ndarray) -> np.ndarray:
        """Normalised ``x^n exp(-x^2 / 2 s_n^2)`` as (M, max_radial)."""
        powers = np.arange(self.max_radial)
        x = distances[:, None] / self.widths
        norms = np.sqrt(0.5 * self.widths**3 * gamma(powers + 1.5))
        return np.exp(-(x**2) / 2) * x**powers / norms

    @cached_property
    def _decomposition(self) -> tuple[np.ndarray, np.ndarray]:
        """Square roots of the eigenvalues of the overlap matrix, and its eigenvectors.

        They come from the singular values of the functions on a quadrature grid: the overlap matrix itself would square
        the condition number.
        """
        x, weights = _panels(self.extent, self.finest_length)
        _, singular, transposed = np.linalg.svd(
            self._primitives(x) * (x * np.sqrt(weights))[:, None], full_matrices=False
        )
        return singular, transposed.T


@dataclass(frozen=True)
class LaplacianEigenstates:
    """Spherical Bessel functions ``j_l(z_nl x / cutoff)`` that vanish at the cutoff, normalised on [0, cutoff].

    ``z_nl`` is the n-th positive zero of ``j_l``. They are the radial parts of the eigenstates of the Laplacian in a
    sphere: the smoothest orthonormal functions there.

    Parameters
    ----------
    max_radial : int
        Number of functions of each l.
    cutoff : float
        In Angstrom.

    Raises
    ------
    ValueError
        If ``max_radial`` is not a positive whole number or ``cutoff`` not a positive number.

    References
    ----------
    Bigi, Huguenin-Dumittan, Ceriotti, Manolopoulos, J. Chem. Phys. 157, 234101 (2022), doi 10.1063/5.0124363.
    """

    max_radial: int
    cutoff: float

    def __post_init__(self) -> None:
        _check_sizes(self.max_radial, self.cutoff)

    @property
    def extent(self) -> float:
        """Radius beyond which the functions are zero, in Angstrom."""
        return self.cutoff

    @property
    def finest_length(self) -> float:
        """Shortest distance between extrema and zeros, in Angstrom."""
        return self.cutoff / (2 * self.max_radial)

    def evaluate(self, distances: np.ndarray, max_angular: int) -> np.ndarray:
        """Values (M, max_angular + 1, max_radial) at distances (M,), in Angstrom^(-3/2)."""
        x = np.asarray(distances, dtype=np.float64)[:, None] / self.cutoff
        values = np.empty((len(x), max_angular + 1, self.max_radial))
        for angular, zeros in enumerate(_bessel_zeros(max_angular, self.max_radial)):
            norm = np.sqrt(self.cutoff**3 / 2) * np.abs(spherical_jn(angular + 1, zeros))
            values[:, angular] = spherical_jn(angular, x * zeros) / norm
        return values


@dataclass(frozen=True)
class CustomRadialBasis:
    """Radial functions given by the user; used as they are, neither normalised nor orthogonalised.

    Parameters
    ----------
    function : callable
        Maps distances (M,), numpy, in Angstrom, to values (M, max_radial), the same for every l, or
        (M, max_angular + 1, max_radial). It has to be smooth on [0, cutoff] and is taken as zero beyond.
    cutoff : float
        In Angstrom.
    finest_length : float, optional
        Width of the narrowest feature of the functions, in Angstrom; sets the resolution of the integrals of a
        smeared density. Default: a twentieth of the cutoff.

    Raises
    ------
    ValueError
        If the cutoff is not a positive number, or the function returns another shape or values that are not finite.
    """

    function: Callable[[np.ndarray], np.ndarray]
    cutoff: float
    finest_length: float = 0.0

    def __post_init__(self) -> None:
        _check_sizes(1, self.cutoff)
        if not (math.isfinite(self.finest_length) and self.finest_length >= 0):
            raise ValueError(f"finest_length is {self.finest_length!r}; accepted is a positive number")
        object.__setattr__(self, "finest_length", self.finest_length or self.cutoff / 20)
        shape = np.shape(self.function(np.linspace(0, self.cutoff, 3)))
        if len(shape) not in (2, 3) or shape[0] != 3 or 0 in shape:
            raise ValueError(
                f"function returned shape {shape} for 3 distances; accepted is (3, max_radial) or "
                "(3, max_angular + 1, max_radial)"
            )
        object.__setattr__(self, "_shape", shape[1:])

    @property
    def max_radial(self) -> int:
        """Number of functions of each l."""
        return self._shape[-1]

    @property
    def extent(self) -> float:
        """Radius beyond which the functions are taken as zero, in Angstrom."""
        return self.cutoff

    def evaluate(self, distances: np.ndarray, max_angular: int) -> np.ndarray:
        """Values (M, max_angular + 1, max_radial) at distances (M,)."""
        if len(self._shape) == 2 and self._shape[0] <= max_angular:
            raise ValueError(
                f"max_angular is {max_angular}; accepted is up to {self._shape[0] - 1}, as the function gives "
                f"{self._shape[0]} values of l"
            )
        values = np.asarray(self.function(np.asarray(distances, dtype=np.float64)), dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("function returned values that are not finite; accepted are finite values on [0, cutoff]")
        if values.ndim == 2:
            return np.repeat(values[:, None, :], max_angular + 1, axis=1)
        return values[:, : max_angular + 1]


def radial_integrals(
    basis: RadialBasis, max_angular: int, smearing: float | None = None, tolerance: float = 1e-10
) -> Spline:
    """Coefficients of one neighbour's density on a radial basis, as a spline of its distance.

    Sharp density: ``R_nl(r)`` itself. Smeared density: the overlap of ``R_nl Y_lm`` with a Gaussian of unit L2 norm,
    ``(pi sigma^2)^(-3/4) exp(-|x - r|^2 / 2 sigma^2)``, which is ``Y_lm`` of the direction times::

        4 pi (pi sigma^2)^(-3/4) int x^2 R_nl(x) exp(-(x - r)^2 / 2 sigma^2) [exp(-z) i_l(z)] dx,  z = x r / sigma^2

    with the modified spherical Bessel function i_l. Cutoff function and radial scaling are not included.

    Parameters
    ----------
    basis : RadialBasis
        E.g. ``GaussianTypeOrbitals(max_radial=8, cutoff=5.0)``.
    max_angular : int
        Largest l.
    smearing : float, optional
        Width sigma of the Gaussian, in Angstrom. None: sharp density.
    tolerance : float
        Relative error of the spline.

    Returns
    -------
    Spline
        ``(max_angular + 1) * max_radial`` functions on [0, cutoff], index ``l * max_radial + n``.

    Raises
    ------
    ValueError
        If ``max_angular`` is not a whole number from 0 on, the smearing is not a positive number, or the spline does
        not reach its tolerance.

    References
    ----------
    Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013); Musil et al., J. Chem. Phys. 154, 114109
    (2021).
    """
    integrals = _radial_integral_function(basis, max_angular, smearing)
    return Spline.fit(lambda r: integrals(r).reshape(len(r), -1), basis.cutoff, tolerance)


def centre_overlap(basis: RadialBasis, smearing: float | None = None) -> np.ndarray:
    """Coefficients (max_radial,) of the central atom's own density: l = 0, harmonic ``Y_00`` included.

    Raises
    ------
    ValueError
        If the smearing is not a positive number.
    """
    return _radial_integral_function(basis, 0, smearing)(np.zeros(1))[0, 0] / np.sqrt(4 * np.pi)


def _radial_integral_function(
    basis: RadialBasis, max_angular: int, smearing: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    """The function ``distances (M,) -> (M, max_angular + 1, max_radial)`` behind the spline."""
    if isinstance(max_angular, bool) or not isinstance(max_angular, int | np.integer) or max_angular < 0:
        raise ValueError(f"max_angular is {max_angular!r}; accepted is a whole number from 0 on")
    if smearing is None:
        return lambda distances: basis.evaluate(distances, max_angular)
    if not (isinstance(smearing, int | float) and math.isfinite(smearing) and smearing > 0):
        raise ValueError(f"smearing is {smearing!r}; accepted is a positive, finite number or None")
    x, weights = _panels(basis.extent, 3 * min(smearing, basis.finest_length))
    weighted = basis.evaluate(x, max_angular) * (weights * x**2)[:, None, None]
    prefactor = 4 * np.pi * (np.pi * smearing**2) ** -0.75

    def integrals(distances: np.ndarray) -> np.ndarray:
        result = np.empty((len(distances), max_angular + 1, basis.max_radial))
        for start in range(0, len(distances), _DISTANCES_AT_ONCE):
            r = distances[start : start + _DISTANCES_AT_ONCE]
            reach = _GAUSSIAN_REACH * smearing
            near = slice(*np.searchsorted(x, [r.min() - reach, r.max() + reach]))
            gaussian = np.exp(-((x[near] - r[:, None]) ** 2) / (2 * smearing**2))
            bessel = _scaled_bessel(max_angular, x[near] * r[:, None] / smearing**2)  # (l, r, x)
            for l in range(max_angular + 1):
                result[start : start + len(r), l] = (bessel[l] * gaussian) @ weighted[near, l]
        return prefactor * result

    return integrals


def _panels(stop: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, stop], in panels of about the given length."""
    edges = np.linspace(0, stop, math.ceil(stop / length) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half = edges[1] / 2
    return (edges[:-1, None] + half * (nodes + 1)).ravel(), np.tile(half * weights, len(edges) - 1)


def _scaled_bessel(max_angular: int, z: np.ndarray) -> np.ndarray:
    """Modified spherical Bessel functions ``exp(-z) i_l(z)`` as (max_angular + 1, *z.shape), for z from 0 on.

    By recursion in l: upwards where z is large, else downwards through the ratios i_l / i_(l-1), which converge from
    any start far above (Abramowitz and Stegun, 10.2.18; Gautschi, SIAM Rev. 9, 24 (1967)).
    """
    result = np.empty((max_angular + 1, *z.shape))
    large = z > max(30.0, max_angular**2)
    small = np.minimum(z, max(30.0, max_angular**2))
    ratio = np.zeros_like(z)
    ratios = [ratio] * (max_angular + 1)
    for l in range(max_angular + 25 + math.ceil(4 * math.sqrt(small.max(initial=0.0))), 0, -1):
        ratio = small / (2 * l + 1 + small * ratio)
        if l <= max_angular:
            ratios[l] = ratio
    with np.errstate(divide="ignore", invalid="ignore"):
        result[0] = np.where(z > 1e-8, -np.expm1(-2 * z) / (2 * z), 1 - z)
        for l in range(1, max_angular + 1):
            before = result[l - 2] if l > 1 else (1 + np.exp(-2 * z)) / (2 * z)
            result[l] = np.where(large, before - (2 * l - 1) / z * result[l - 1], ratios[l] * result[l - 1])
    return result


def _bessel_zeros(max_angular: int, n_zeros: int) -> list[np.ndarray]:
    """First positive zeros (n_zeros,) of the spherical Bessel functions of order 0 to ``max_angular``."""
    # the zeros of one order lie between those of the order below; those of order 0 are the multiples of pi
    zeros = np.pi * np.arange(1, n_zeros + max_angular + 1)
    table = [zeros[:n_zeros]]
    for order in range(1, max_angular + 1):
        bessel = partial(spherical_jn, order)
        zeros = np.array([brentq(bessel, low, high, xtol=1e-14, rtol=1e-15) for low, high in pairwise(zeros)])
        table.append(zeros[:n_zeros])
    return table
