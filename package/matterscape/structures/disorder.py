"""Coloured disorder: two species on the sites of a lattice, with the correlations of a chosen random field.

A Gaussian random field with power spectrum P(k) is drawn on the grid of the sites; its x N lowest values become the
second species, so that every configuration has exactly the same composition. With deviations of the masses from their
mean, eps_i = 1 - M_i / <M>, what scatters waves is the structure factor S(k) = |sum_i eps_i exp(-i k . r_i)|^2 / N.
Its mean over all wavevectors of the grid is g_2 = <eps^2>, whatever the field: colour only moves it between them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.stats
from ase.data import atomic_masses, atomic_numbers

from matterscape.checks import check_fraction, check_number, check_whole, real_array
from matterscape.structures._disorder_kernels import swap_towards

KINDS = ("white", "gauss", "exp", "power", "montecarlo")
#: A correlation length may be this part of the smallest height of the cell, or the cell would be one domain.
LONGEST_CORRELATION = 1 / 6
#: Exponents from this one on have an infinite variance at long wavelengths.
STEEPEST_POWER = 3.0
#: How far a site may be from its grid point, in parts of the cell.
GRID_TOLERANCE = 1e-5
# search for a short-range order: rounds of 4 N attempts, pairs^2 accepted by chance at first, end at 2e-3 in alpha
_ROUNDS = 400
_FIRST_SCALE = 64.0
_ORDER_TOLERANCE = 2e-3


@dataclass(frozen=True, eq=False)
class SiteGrid:
    """The coarsest grid of a periodic cell that holds all sites.

    Attributes
    ----------
    shape : tuple of int (3,)
        Points along each cell vector; for diamond in cubic cells of edge a they are a/4 apart.
    places : ndarray (N, 3), int64
        Grid point of each site, relative to the first one's.
    cell : ndarray (3, 3)
        Cell vectors as rows in Å.
    """

    shape: tuple[int, int, int]
    places: np.ndarray
    cell: np.ndarray

    @classmethod
    def of(cls, positions: np.ndarray, cell: np.ndarray) -> "SiteGrid":
        """The grid of sites of an ideal lattice.

        Parameters
        ----------
        positions : array (N, 3)
            In Å.
        cell : array (3, 3)
            Cell vectors as rows in Å.

        Raises
        ------
        ValueError
            If the positions are on no grid, two of them on the same point, or the cell is singular.
        """
        positions, cell = real_array("positions", positions), real_array("cell", cell)
        if positions.ndim != 2 or positions.shape[1] != 3 or len(positions) == 0:
            raise ValueError(f"positions have shape {positions.shape}; accepted is (N, 3)")
        if cell.shape != (3, 3) or not abs(np.linalg.det(cell)) > 1e-12:
            raise ValueError(f"cell is {cell.tolist()}; accepted are three independent vectors as rows")
        fractions = (positions - positions[0]) @ np.linalg.inv(cell)
        fractions -= np.floor(fractions + GRID_TOLERANCE)
        shape = tuple(_intervals(axis, column) for axis, column in enumerate(fractions.T))
        places = np.rint(fractions * shape).astype(np.int64) % shape
        if len(np.unique(np.ravel_multi_index(tuple(places.T), shape))) < len(places):
            raise ValueError("positions hold two sites at the same place; accepted are distinct sites")
        return cls(shape, places, cell)

    @property
    def spacings(self) -> np.ndarray:
        """Steps (3, 3) of the grid along each cell vector, as rows in Å."""
        return self.cell / np.array(self.shape)[:, None]

    @cached_property
    def wavenumbers(self) -> np.ndarray:
        """Lengths |k| (shape) in 1/Å of the grid's wavevectors, each the representative of lowest indices."""
        return self._wavenumbers(scipy.fft.fftfreq(self.shape[2]))

    @property
    def half_wavenumbers(self) -> np.ndarray:
        """The same for the wavevectors of a real Fourier transform, half of them along the last axis."""
        return self._wavenumbers(scipy.fft.rfftfreq(self.shape[2]))

    def _wavenumbers(self, last: np.ndarray) -> np.ndarray:
        reciprocal = 2 * np.pi * np.linalg.inv(self.spacings)  # columns
        metric = reciprocal.T @ reciprocal
        x, y, z = np.ix_(*(scipy.fft.fftfreq(n) for n in self.shape[:2]), last)
        square = (metric[0, 0] * x + 2 * metric[0, 1] * y) * x + metric[1, 1] * y * y
        square = square + (metric[2, 2] * z + 2 * metric[0, 2] * x + 2 * metric[1, 2] * y) * z
        return np.sqrt(np.maximum(square, 0.0))

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Values (N,) of the sites on the grid (shape), zero elsewhere."""
        grid = np.zeros(self.shape)
        grid[tuple(self.places.T)] = values
        return grid


@dataclass(frozen=True, eq=False)
class StructureFactor:
    """Structure factor of the deviations of the masses on all wavevectors of the sites' grid.

    Attributes
    ----------
    values : ndarray (shape)
        S(k) = |sum_i eps_i exp(-i k . r_i)|^2 / N in the order of ``numpy.fft``; S(0) is zero.
    mass_variance : float
        g_2 = <eps^2>, the mean of ``values``.
    grid : SiteGrid
    """

    values: np.ndarray
    mass_variance: float
    grid: SiteGrid

    def radial(self, n_bins: int = 40, highest: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means over shells of |k| of equal thickness, without k = 0.

        Parameters
        ----------
        n_bins : int
        highest : float, optional
            End of the last shell in 1/Å; the largest length inside all faces of the grid's zone if not given.

        Returns
        -------
        ndarray (B,), ndarray (B,), ndarray (B,)
            Mean |k| in 1/Å, mean S and number of wavevectors of the shells that hold any.
        """
        check_whole("n_bins", n_bins, 1)
        lengths = self.grid.wavenumbers.ravel()
        if highest is None:
            highest = float(np.pi / np.linalg.norm(self.grid.spacings, axis=1).max())
        check_number("highest", highest, "1/Å", positive=True)
        inside = (lengths > 0) & (lengths < highest)
        shells = (lengths[inside] * (n_bins / highest)).astype(np.int64)
        counts = np.bincount(shells, minlength=n_bins)[:n_bins]
        held = counts > 0
        means = (np.bincount(shells, weights, minlength=n_bins)[:n_bins][held] / counts[held]
                 for weights in (lengths[inside], self.values.ravel()[inside]))  # fmt: skip
        return (*means, counts[held])

    def long_waves(self, n_shells: int = 2) -> float:
        """Mean S over the shells of shortest wavevectors that the cell holds, the nearest that it knows of S(0+)."""
        check_whole("n_shells", n_shells, 1)
        lengths = np.round(self.grid.wavenumbers, 9)
        shells = np.unique(lengths)[1 : n_shells + 1]
        return float(self.values[(lengths > 0) & (lengths <= shells[-1])].mean())

    @cached_property
    def correlation(self) -> np.ndarray:
        """<eps_i eps_j> / g_2 (shape) over all pairs of sites at each step of the grid; nan where there is no pair."""
        pairs = _pairs_at_each_step(self.grid)
        products = scipy.fft.ifftn(self.values).real * len(self.grid.places)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, products / pairs / self.mass_variance, np.nan)


def mass_field(
    positions: np.ndarray,
    cell: np.ndarray,
    x: float,
    kind: str = "white",
    *,
    seed: int | np.random.Generator,
    correlation_length: float | None = None,
    exponent: float | None = None,
    short_range_order: Sequence[float] | None = None,
    species: tuple[str, str] = ("Si", "Ge"),
) -> tuple[np.ndarray, np.ndarray]:
    """Two species on the sites of a lattice with correlated disorder and an exact composition.

    Parameters
    ----------
    positions : array (N, 3)
        Ideal sites of a lattice in Å.
    cell : array (3, 3)
        Cell vectors as rows in Å, periodic in all directions.
    x : float
        Fraction of the second species; x N must be whole.
    kind : str
        "white": sites independent of each other but for the composition. Thresholds of a Gaussian field with spectrum
        "gauss": exp(-k^2 xi^2 / 2), "exp": (1 + k^2 xi^2)^-2, "power": k^-p. "montecarlo": exchanges of atoms until the
        Warren-Cowley parameters of the first shells are those wanted, negative where unlike neighbours prevail.
    seed : int or numpy.random.Generator
    correlation_length : float
        xi in Å for "gauss" and "exp", at most a sixth of the smallest height of the cell.
    exponent : float
        p for "power", at least 0 and below 3.
    short_range_order : sequence of float
        alpha_1, alpha_2, ... for "montecarlo".
    species : two chemical symbols

    Returns
    -------
    masses : ndarray (N,), float64
        Standard atomic masses in amu.
    numbers : ndarray (N,), int64
        Atomic numbers.

    Raises
    ------
    ValueError
        If an argument is out of range, one that the kind needs is missing or one that it does not know is given, or
        the wanted short-range order is not reached.

    Source: thresholds ("level cuts") of Gaussian fields: N. F. Berk, Phys. Rev. Lett. 58, 2718 (1987).
    """
    check_fraction("x", x)
    options = _checked_options(kind, correlation_length, exponent, short_range_order)
    grid = SiteGrid.of(positions, cell)
    n_sites = len(grid.places)
    n_chosen = round(x * n_sites)
    if abs(x * n_sites - n_chosen) > 1e-6:
        raise ValueError(
            f"x is {x}, {x * n_sites:g} of {n_sites} sites; accepted are whole numbers of sites such as "
            f"{n_chosen}/{n_sites}"
        )
    for symbol in species:
        if symbol not in atomic_numbers or not atomic_numbers[symbol]:
            raise ValueError(f"species holds {symbol!r}; accepted are two chemical symbols")
    random = np.random.default_rng(seed)
    if kind in ("white", "montecarlo"):
        chosen = np.zeros(n_sites, dtype=bool)
        chosen[random.permutation(n_sites)[:n_chosen]] = True
        if kind == "montecarlo":
            _order(chosen, grid, options["short_range_order"], random)
    else:
        field = gaussian_field(grid, kind, random, correlation_length=correlation_length, exponent=exponent)
        chosen = np.zeros(n_sites, dtype=bool)
        if n_chosen:
            chosen[np.argpartition(field, n_chosen - 1)[:n_chosen]] = True
    pair = np.array([atomic_numbers[symbol] for symbol in species])
    numbers = pair[chosen.astype(np.int64)]
    return atomic_masses[numbers], numbers


def field_spectrum(
    wavenumbers: np.ndarray, kind: str, *, correlation_length: float | None = None, exponent: float | None = None
) -> np.ndarray:
    """Power spectrum of a random field at wavenumbers in 1/Å; zero at k = 0, which would only change its mean.

    Parameters and errors as of :func:`mass_field`; kinds are "white", "gauss", "exp" and "power".
    """
    if kind == KINDS[-1]:
        raise ValueError(f"kind is {kind!r}; accepted are {', '.join(map(repr, KINDS[:-1]))}, which have a spectrum")
    options = _checked_options(kind, correlation_length, exponent, None)
    k = np.asarray(wavenumbers, dtype=np.float64)
    if kind == "white":
        power = np.ones(k.shape)
    elif kind == "gauss":
        power = np.exp(-0.5 * (k * options["correlation_length"]) ** 2)
    elif kind == "exp":
        power = (1 + (k * options["correlation_length"]) ** 2) ** -2
    else:
        power = np.where(k > 0, k, 1.0) ** -options["exponent"]
    return np.where(k > 0, power, 0.0)


def gaussian_field(
    grid: SiteGrid,
    kind: str,
    seed: int | np.random.Generator,
    *,
    correlation_length: float | None = None,
    exponent: float | None = None,
) -> np.ndarray:
    """Values (N,) of a Gaussian random field on the sites of a grid, with mean 0 over the grid; its scale is free.

    Parameters and errors as of :func:`mass_field`; kinds as of :func:`field_spectrum`.
    """
    _check_length(grid, correlation_length)
    power = field_spectrum(grid.half_wavenumbers, kind, correlation_length=correlation_length, exponent=exponent)
    noise = np.random.default_rng(seed).standard_normal(grid.shape)
    waves = scipy.fft.rfftn(noise, overwrite_x=True)
    waves *= np.sqrt(power)
    return scipy.fft.irfftn(waves, grid.shape, overwrite_x=True)[tuple(grid.places.T)]


def field_correlation(
    grid: SiteGrid, kind: str, *, correlation_length: float | None = None, exponent: float | None = None
) -> np.ndarray:
    """Correlation rho (shape) of a random field at each step of the grid, over all its configurations.

    Parameters and errors as of :func:`mass_field`; kinds as of :func:`field_spectrum`.
    """
    _check_length(grid, correlation_length)
    power = field_spectrum(grid.half_wavenumbers, kind, correlation_length=correlation_length, exponent=exponent)
    rho = scipy.fft.irfftn(power, grid.shape)
    return rho / rho[0, 0, 0]


def species_correlation(field_correlation: np.ndarray, x: float) -> np.ndarray:
    """Correlation <eps_i eps_j> / g_2 of the species on sites whose fields are correlated by rho.

    The probability that both fields are below the threshold h, x of them being so, grows with their correlation as
    exp(-h^2 / (1 + rho)) / (2 pi sqrt(1 - rho^2)). At x = 1/2 that gives (2 / pi) arcsin rho.

    Parameters
    ----------
    field_correlation : array
        rho, from -1 to 1.
    x : float
        Fraction of the second species, between 0 and 1.

    Raises
    ------
    ValueError
        If x or a correlation is out of range.

    Source: R. L. Plackett, Biometrika 41, 351 (1954), for the slope of the bivariate normal distribution.
    """
    check_fraction("x", x)
    if not 0 < x < 1:
        raise ValueError(f"x is {x}; accepted is a number between 0 and 1, as one species alone has no correlations")
    rho = real_array("field_correlation", field_correlation)
    if not (np.abs(rho) <= 1 + 1e-9).all():
        raise ValueError(f"field_correlation holds {rho.flat[np.abs(rho).argmax()]}; accepted is -1 to 1")
    angle = np.arcsin(np.clip(rho, -1.0, 1.0))
    threshold = scipy.stats.norm.ppf(x)
    nodes, weights = np.polynomial.legendre.leggauss(48)
    integral = np.zeros(rho.shape)
    for node, weight in zip(0.5 * (nodes + 1), 0.5 * weights):
        # sin theta = -1 has no weight, unless the threshold is 0
        integral += weight * np.exp(-(threshold**2) / np.maximum(1 + np.sin(node * angle), 1e-300))
    return integral * angle / (2 * np.pi * x * (1 - x))


def mass_deviations(masses: np.ndarray) -> np.ndarray:
    """eps_i = 1 - M_i / <M> of masses (N,) in amu; the mean of their squares is g_2."""
    masses = real_array("masses", masses)
    if not (np.isfinite(masses).all() and (masses > 0).all()):
        raise ValueError(f"masses hold {masses.min(initial=np.inf)}; accepted are positive, finite numbers of amu")
    return 1 - masses / masses.mean()


def structure_factor(masses: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> StructureFactor:
    """Structure factor of the masses on the sites of a lattice.

    Parameters
    ----------
    masses : array (N,)
        In amu.
    positions : array (N, 3)
        Ideal sites in Å.
    cell : array (3, 3)
        Cell vectors as rows in Å.

    Raises
    ------
    ValueError
        If the positions are on no grid, or the masses are no N positive numbers.
    """
    grid = SiteGrid.of(positions, cell)
    deviations = _of_sites("masses", mass_deviations(masses), grid)
    waves = scipy.fft.fftn(grid.scatter(deviations))
    values = (waves.real**2 + waves.imag**2) / len(deviations)
    return StructureFactor(values, float(np.mean(deviations**2)), grid)


def sublattice_structure_factor(masses: np.ndarray) -> np.ndarray:
    """Structure factor of the masses of a supercell by sublattice.

    S_ss'(q) = (1 / N_c) sum_RR' eps_Rs eps_R's' exp(-i q . (R - R')) at the wavevectors q that the supercell of N_c
    cells holds. R are lattice vectors without the places of the atoms inside the cell, so that S is periodic in q.
    Waves whose phases are those of the atoms scatter by S_ss'(q - q') exp(-i (q - q') . (r_s - r_s')).

    Parameters
    ----------
    masses : array (n_1, n_2, n_3, n)
        In amu, by cell along each cell vector and by atom s of the primitive cell.

    Returns
    -------
    ndarray (n_1, n_2, n_3, n, n), complex128
        Hermitian in s and s', wavevectors in the order of ``numpy.fft``. The mean of its trace over all wavevectors
        and the n sublattices is g_2.

    Raises
    ------
    ValueError
        If the masses have another shape, or are not positive.
    """
    deviations = mass_deviations(masses)
    if deviations.ndim != 4:
        raise ValueError(
            f"masses have shape {deviations.shape}; accepted is (n_1, n_2, n_3, n), by cell and atom in it"
        )
    waves = scipy.fft.fftn(deviations, axes=(0, 1, 2))
    return waves[..., :, None] * waves[..., None, :].conj() / math.prod(deviations.shape[:3])


def warren_cowley(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, n_shells: int = 3) -> np.ndarray:
    """Warren-Cowley parameters of the first shells of neighbours of a binary alloy.

    alpha_m = 1 - P_m(unlike) / (2 x (1 - x)): 0 for independent sites, positive where equal atoms gather.

    Parameters
    ----------
    numbers : array (N,), int
        Atomic numbers, two different ones.
    positions : array (N, 3)
        Ideal sites in Å.
    cell : array (3, 3)
        Cell vectors as rows in Å, longer than the distances counted.
    n_shells : int

    Returns
    -------
    ndarray (n_shells,)

    Raises
    ------
    ValueError
        If there are not two species, or the cell holds fewer shells.

    Source: J. M. Cowley, Phys. Rev. 77, 669 (1950).
    """
    check_whole("n_shells", n_shells, 1)
    grid = SiteGrid.of(positions, cell)
    found = np.unique(numbers)
    if len(found) != 2:
        raise ValueError(f"numbers hold the species {found.tolist()}; accepted are two")
    chosen = _of_sites("numbers", np.asarray(numbers) == found[1], grid).astype(np.float64)
    deviations = grid.scatter(chosen - chosen.mean())
    products = scipy.fft.irfftn(np.abs(scipy.fft.rfftn(deviations)) ** 2, grid.shape)
    pairs = _pairs_at_each_step(grid)
    variance = chosen.mean() * (1 - chosen.mean())
    return np.array([products[steps].sum() / pairs[steps].sum() / variance for steps in _shells(grid, pairs, n_shells)])


def _intervals(axis: int, fractions: np.ndarray) -> int:
    values = np.unique(np.round(fractions, 7))
    gaps = np.diff(np.append(values, 1.0))
    count = round(1 / gaps[gaps > GRID_TOLERANCE].min()) if (gaps > GRID_TOLERANCE).any() else 1
    off = np.abs(fractions * count - np.rint(fractions * count)).max() / count
    if off > GRID_TOLERANCE:
        raise ValueError(
            f"positions are up to {off:.2g} of cell vector {axis} off a grid of {count} points; accepted are the ideal "
            "sites of a lattice, before any relaxation"
        )
    return count


def _of_sites(name: str, values: np.ndarray, grid: SiteGrid) -> np.ndarray:
    if values.shape != (len(grid.places),):
        raise ValueError(f"{name} have shape {values.shape}; accepted is one for each of {len(grid.places)} sites")
    return values


def _pairs_at_each_step(grid: SiteGrid) -> np.ndarray:
    """How many pairs of sites (shape) are apart by each step of the grid."""
    sites = scipy.fft.rfftn(grid.scatter(np.ones(len(grid.places))))
    return np.rint(scipy.fft.irfftn(np.abs(sites) ** 2, grid.shape))


def _shells(grid: SiteGrid, pairs: np.ndarray, n_shells: int) -> list[tuple[np.ndarray, ...]]:
    """Steps of the grid, as indices, that lead to the neighbours of each shell."""
    steps = np.argwhere(pairs > 0)
    signed = steps - np.array(grid.shape) * (2 * steps > grid.shape)
    distances = np.linalg.norm(signed @ grid.spacings, axis=1)
    half = 0.5 / np.linalg.norm(np.linalg.inv(grid.cell), axis=0).max()
    near = (distances > 0) & (distances < half)
    lengths = np.unique(np.round(distances[near], 5))
    if len(lengths) < n_shells:
        raise ValueError(
            f"n_shells is {n_shells}, but half the smallest height of the cell, {half:.2f} Å, holds {len(lengths)}; "
            "accepted are no more than that"
        )
    return [tuple(steps[near & (np.abs(distances - length) < 1e-4)].T) for length in lengths[:n_shells]]


def _order(chosen: np.ndarray, grid: SiteGrid, wanted: np.ndarray, random: np.random.Generator) -> None:
    """Exchange atoms, in place, until the Warren-Cowley parameters of the first shells are those wanted."""
    n_sites, n_chosen = len(chosen), int(chosen.sum())
    if n_chosen in (0, n_sites):
        raise ValueError(f"x is {n_chosen / n_sites}; accepted with 'montecarlo' are two species")
    x = n_chosen / n_sites
    lowest = 1 - 1 / max(x, 1 - x)
    if not ((wanted >= lowest - 1e-12) & (wanted <= 1)).all():
        raise ValueError(f"short_range_order is {wanted.tolist()}; accepted at x = {x:g} is {lowest:.3g} to 1")
    lookup = np.full(grid.shape, -1, np.int64)
    lookup[tuple(grid.places.T)] = np.arange(n_sites)
    shells = _shells(grid, _pairs_at_each_step(grid), len(wanted))
    neighbours = np.full((len(wanted), n_sites, max(len(steps[0]) for steps in shells)), -1, np.int64)
    for shell, steps in zip(neighbours, shells):
        for column, step in enumerate(np.array(steps).T):
            shell[:, column] = lookup[tuple(((grid.places + step) % grid.shape).T)]
    counts = (neighbours >= 0).sum(axis=(1, 2))
    targets = counts * x * (x + (1 - x) * wanted)  # ordered pairs of the second species
    like = np.array([(chosen[shell] & (shell >= 0))[chosen].sum() for shell in neighbours], dtype=np.float64)
    tolerance = np.maximum(_ORDER_TOLERANCE * counts * x * (1 - x), 4.0)
    scale = _FIRST_SCALE
    for _ in range(_ROUNDS):
        if (np.abs(like - targets) <= tolerance).all():
            return
        pairs = random.integers(n_sites, size=(4 * n_sites, 2))
        swap_towards(chosen, pairs, neighbours, like, targets, scale, random.standard_exponential(len(pairs)))
        scale *= 0.97
    reached = (like / counts / x - x) / (1 - x)
    raise ValueError(
        f"short_range_order is {wanted.tolist()}, but exchanges of atoms got to {np.round(reached, 3).tolist()}; "
        "accepted are values that the lattice can have together"
    )


def _checked_options(
    kind: str, correlation_length: float | None, exponent: float | None, short_range_order: Sequence[float] | None
) -> dict[str, float | np.ndarray]:
    """The option that a kind needs; ``ValueError`` if it is missing, out of range, or another one is given."""
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; accepted are {', '.join(map(repr, KINDS))}")
    given = {
        "correlation_length": correlation_length,
        "exponent": exponent,
        "short_range_order": short_range_order,
    }
    needed = {"gauss": "correlation_length", "exp": "correlation_length", "power": "exponent"}
    needed = needed.get(kind, "short_range_order" if kind == "montecarlo" else None)
    for name, value in given.items():
        if (value is not None) != (name == needed):
            wanted = f"{needed}" if needed else "none of correlation_length, exponent and short_range_order"
            raise ValueError(f"{name} is {value!r}; accepted with kind {kind!r} is {wanted}")
    if needed == "correlation_length":
        check_number(needed, correlation_length, "Å", positive=True)
    elif needed == "exponent":
        check_number(needed, exponent)
        if exponent >= STEEPEST_POWER:
            raise ValueError(f"exponent is {exponent}; accepted is at least 0 and below {STEEPEST_POWER:g}")
    elif needed == "short_range_order":
        wanted = real_array(needed, short_range_order)
        if wanted.ndim != 1 or len(wanted) == 0 or not np.isfinite(wanted).all():
            raise ValueError(f"short_range_order is {short_range_order!r}; accepted is one finite number per shell")
        return {needed: wanted}
    return {needed: given[needed]} if needed else {}


def _check_length(grid: SiteGrid, correlation_length: float | None) -> None:
    if correlation_length is None:
        return
    height = 1 / np.linalg.norm(np.linalg.inv(grid.cell), axis=0).max()
    longest = LONGEST_CORRELATION * height
    if correlation_length > longest * (1 + 1e-9):
        raise ValueError(
            f"correlation_length is {correlation_length:g} Å; accepted is at most {longest:.3g} Å, a sixth of the "
            "smallest height of the cell"
        )
