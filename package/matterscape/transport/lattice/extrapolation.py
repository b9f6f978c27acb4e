"""Thermal conductivity of an infinite glass from a small model: sound below a frequency, vibrational modes above it.

A periodic model of edge L has no vibration slower than about 2 pi c / L. What is missing is sound ("propagons"), which
needs no model but only two speeds and two attenuations:

    kappa_P = sum_b (1/3) int_0^omega_P C(omega, T) G_b(omega) c_b^2 / (2 Gamma_b(omega, T)) d omega,
    G_b = w_b omega^2 / (2 pi^2 c_b^3),    w = 1 (longitudinal), 2 (transverse),

with the heat capacity C of a mode and the half width Gamma_b = A_b omega^2 + B_b omega^4 + g(omega, T). Faster modes
("diffusons") come from the model, kappa_D: those with omega_n > omega_P and no others, or sound would count twice.

Source: A. Fiorentino, P. Pegolo and S. Baroni, npj Comput. Mater. 9, 157 (2023); for smearing and box limits
A. Fiorentino, E. Drigo, S. Baroni and P. Pegolo, Phys. Rev. B 109, 224202 (2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from ase.cell import Cell

from matterscape.checks import check_number, check_whole, real_array
from matterscape.transport.lattice.attenuation import AnharmonicWidths, Attenuation, fit_attenuation, ioffe_regel
from matterscape.transport.lattice.constants import CONDUCTIVITY
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.occupations import STATISTICS, heat_capacities
from matterscape.transport.lattice.qhgk import LatticeConductivity
from matterscape.transport.lattice.sound import LINEAR_BELOW, SoundWaves

#: Bins of a :class:`ConductivityTable` by default.
N_BINS = 400
#: Heat capacity in k_B below which what a bin conducts is interpolated as it is.
LEAST_CAPACITY = 1e-3
#: ln(omega_P / omega) where integrals from zero begin; integrands fall at least as omega on this scale.
LOWEST_LOGARITHM = 27.0
BRANCHES = ("longitudinal", "transverse")


@dataclass(frozen=True)
class SoundBranch:
    """One polarisation of sound in a glass.

    Parameters
    ----------
    speed : float
        In Å/ps.
    attenuation : Attenuation
        By disorder.
    multiplicity : int
        1 for longitudinal, 2 for transverse waves.
    """

    speed: float
    attenuation: Attenuation
    multiplicity: int

    def __post_init__(self):
        check_number("speed", self.speed, "Å/ps", positive=True)
        check_whole("multiplicity", self.multiplicity, 1)

    def density_of_states(self, angular_frequencies: np.ndarray) -> np.ndarray:
        """G(omega) after Debye, in modes per Å^3 and rad/ps."""
        return self.multiplicity * np.square(angular_frequencies) / (2 * np.pi**2 * self.speed**3)


@dataclass(frozen=True)
class Propagons:
    """Sound in a glass: a longitudinal and a transverse branch, and the anharmonic width that both have.

    Parameters
    ----------
    longitudinal, transverse : SoundBranch
    anharmonic : AnharmonicWidths, optional
        None for a harmonic glass.
    """

    longitudinal: SoundBranch
    transverse: SoundBranch
    anharmonic: AnharmonicWidths | None = None

    @classmethod
    def from_waves(
        cls,
        longitudinal: SoundWaves,
        transverse: SoundWaves,
        anharmonic: AnharmonicWidths | None = None,
        *,
        linear_below: float = LINEAR_BELOW,
    ) -> "Propagons":
        """Speeds from the shells with Q below a limit, attenuation from those that propagate, two at least.

        Longitudinal waves beyond the Ioffe-Regel limit of the transverse ones do not count for the attenuation: omega_P
        is never above it, and there they decay otherwise.

        Parameters
        ----------
        longitudinal, transverse : SoundWaves
        anharmonic : AnharmonicWidths, optional
        linear_below : float
            In 1/Å.

        Raises
        ------
        ValueError
            If no shell lies below the limit.
        """
        slow = transverse.slowest(np.inf)
        branches = [SoundBranch(transverse.speed(linear_below), fit_attenuation(slow.frequencies, slow.half_widths), 2)]
        slow = longitudinal.slowest(ioffe_regel(branches[0].attenuation))
        attenuation = fit_attenuation(slow.frequencies, slow.half_widths)
        branches.append(SoundBranch(longitudinal.speed(linear_below), attenuation, 1))
        return cls(branches[1], branches[0], anharmonic)

    @property
    def branches(self) -> tuple[SoundBranch, SoundBranch]:
        """Longitudinal and transverse."""
        return self.longitudinal, self.transverse

    def highest_limit(self, temperature_K: float | None = None) -> float:
        """The smaller of both Ioffe-Regel frequencies in rad/ps, from disorder alone if no temperature is given."""
        anharmonic = []
        if temperature_K is not None and self.anharmonic is not None:
            anharmonic = [Attenuation(float(self.anharmonic.coefficient(temperature_K)), 0.0)]
        return min(ioffe_regel(branch.attenuation, *anharmonic) for branch in self.branches)

    def half_widths(
        self, branch: SoundBranch, angular_frequencies: np.ndarray, temperatures_K: np.ndarray | float
    ) -> np.ndarray:
        """Gamma(omega, T) of one branch in rad/ps, disorder and anharmonicity together."""
        widths = branch.attenuation(angular_frequencies)
        if self.anharmonic is not None:
            widths = widths + self.anharmonic(angular_frequencies, temperatures_K)
        return widths

    def conductivities(
        self,
        temperatures_K: np.ndarray | float,
        limits: np.ndarray | float,
        *,
        statistics: str = "quantum",
        smearing: np.ndarray | float = 0.0,
        longest_edge: float | None = None,
    ) -> np.ndarray:
        """kappa_P of both branches in W/(m K).

        Parameters
        ----------
        temperatures_K, limits, smearing : ndarray or float
            Temperatures, omega_P in rad/ps, and a half width in rad/ps that every vibration has besides (eta of Allen
            and Feldman); broadcast against each other.
        statistics : "quantum" or "classical"
        longest_edge : float, optional
            In Å: of waves only those with omega >= 2 pi c_b / L count, if given.

        Returns
        -------
        ndarray (2, ...)
            Longitudinal and transverse.

        Raises
        ------
        ValueError
            If nothing makes the integral converge, or an argument is out of range.
        """
        temperatures, limits, smearing = np.broadcast_arrays(
            *(np.asarray(values, float) for values in (temperatures_K, limits, smearing))
        )
        _check_positive("temperatures_K", temperatures, "K")
        _check_positive("limits", limits, "rad/ps")
        _check_smearing(smearing)
        if longest_edge is not None:
            check_number("longest_edge", longest_edge, "Å", positive=True)
        parts = []
        for branch in self.branches:
            self._check_convergence(branch, smearing, longest_edge)
            ratio = np.full(limits.shape, LOWEST_LOGARITHM)
            if longest_edge is not None:
                ratio = np.log(np.maximum(limits * longest_edge / (2 * np.pi * branch.speed), 1.0))
            nodes, weights = _LOGARITHMS
            omega = limits * np.exp(-ratio * nodes.reshape(-1, *(1,) * limits.ndim))
            widths = self.half_widths(branch, omega, temperatures) + smearing
            capacities = _capacities(omega, temperatures, statistics)
            integrand = capacities * branch.density_of_states(omega) * branch.speed**2 / (6 * widths) * omega
            parts.append(CONDUCTIVITY * ratio * np.tensordot(weights, integrand, axes=1))
        return np.stack(parts)

    def conductivities_in_box(
        self,
        cell: np.ndarray | float,
        temperatures_K: np.ndarray | float,
        limit: float,
        *,
        statistics: str = "quantum",
        smearing: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """What replaces kappa_P in a finite periodic cell, where only its own wavevectors carry sound.

            (1/V) sum over Q != 0 with c_b |Q| < omega_P of C c_b^2 / (6 Gamma_b) at omega = c_b |Q|.

        Parameters
        ----------
        cell : ndarray (3, 3) or float
            Cell vectors in Å as rows, or the edge of a cube.
        temperatures_K, smearing : ndarray or float
            As of :meth:`conductivities`, broadcast against each other.
        limit : float
            omega_P in rad/ps.
        statistics : "quantum" or "classical"

        Returns
        -------
        ndarray (2, ...)
            Longitudinal and transverse, in W/(m K).
        """
        check_number("limit", limit, "rad/ps", positive=True)
        temperatures, smearing = np.broadcast_arrays(np.asarray(temperatures_K, float), np.asarray(smearing, float))
        _check_positive("temperatures_K", temperatures, "K")
        _check_smearing(smearing)
        vectors = np.eye(3) * cell if np.ndim(cell) == 0 else np.asarray(cell, float)
        volume = abs(np.linalg.det(vectors)) if vectors.shape == (3, 3) else 0.0
        if not volume > 0:
            raise ValueError(
                f"cell is {np.asarray(vectors).tolist()}; accepted are three independent vectors, or an edge"
            )
        lengths, counts = _box_shells(cell, limit / min(branch.speed for branch in self.branches))
        parts = []
        for branch in self.branches:
            inside = lengths * branch.speed < limit
            omega = (lengths[inside] * branch.speed).reshape(-1, *(1,) * temperatures.ndim)
            widths = self.half_widths(branch, omega, temperatures) + smearing
            terms = _capacities(omega, temperatures, statistics) * branch.speed**2 / (6 * widths)
            parts.append(CONDUCTIVITY * branch.multiplicity / volume * np.tensordot(counts[inside], terms, axes=1))
        return np.stack(parts)

    def divergence(self, smearing: np.ndarray | float) -> np.ndarray:
        """Leading term in W/(m K) of the harmonic conductivity as the smearing eta of all widths goes to zero.

            k_B / (12 sqrt(2) pi) [1 / (c_T B_T^(3/4)) + 1 / (2 c_L B_L^(3/4))] eta^(-1/4),

        for attenuation by Rayleigh's law alone; where the quadratic part is not zero it is left out here.
        """
        _check_positive("smearing", np.asarray(smearing, float), "rad/ps")
        for branch in self.branches:
            check_number("quartic", branch.attenuation.quartic, "(ps/rad)^3", positive=True)
        sums = sum(b.multiplicity / (2 * b.speed * b.attenuation.quartic**0.75) for b in self.branches)
        return CONDUCTIVITY / (12 * np.sqrt(2) * np.pi) * sums * np.asarray(smearing, float) ** -0.25

    def _check_convergence(self, branch: SoundBranch, smearing: np.ndarray, longest_edge: float | None) -> None:
        if self.anharmonic is None and longest_edge is None and not branch.attenuation.quadratic and not smearing.all():
            raise ValueError(
                "anharmonic is None and sound decays as omega^4 only, with which the integral diverges; accepted is a "
                "smearing, a longest_edge, or anharmonic widths besides"
            )


@dataclass(frozen=True, eq=False)
class ConductivityTable:
    """What the modes of a model conduct, in bins of frequency: all that an extrapolation needs, at any omega_P.

    Attributes
    ----------
    edges : ndarray (B + 1,)
        Of the bins, in rad/ps, from 0.
    centres : ndarray (B,)
        Mean frequency of the modes of each bin.
    temperatures_K : ndarray (T,)
        Ascending. In between, what a bin conducts by its heat capacity is interpolated linearly in ln T.
    shares : ndarray (T, B)
        Of the conductivity, in W/(m K).
    statistics : str
        Of the widths and of the conductivity.
    """

    edges: np.ndarray
    centres: np.ndarray
    temperatures_K: np.ndarray
    shares: np.ndarray
    statistics: str

    @classmethod
    def from_conductivities(
        cls, modes: VibrationalModes, conductivities: Sequence[LatticeConductivity], *, n_bins: int = N_BINS
    ) -> "ConductivityTable":
        """Bin what every mode contributes to conductivities at several temperatures, ascending, of one statistics."""
        check_whole("n_bins", n_bins, 1)
        statistics = {one.statistics for one in conductivities}
        temperatures = np.array([one.temperature_K for one in conductivities])
        if len(statistics) != 1 or not (np.diff(temperatures) > 0).all():
            raise ValueError(
                f"conductivities have statistics {sorted(statistics)} at {temperatures.tolist()} K; accepted is one "
                "kind, at temperatures that ascend"
            )
        vibrating = modes.vibrating
        omega = modes.angular_frequencies[vibrating]
        edges = np.linspace(0, omega.max() * (1 + 1e-9), n_bins + 1)
        place = np.searchsorted(edges, omega, side="right") - 1
        counts = np.bincount(place, minlength=n_bins)
        middles = (edges[:-1] + edges[1:]) / 2
        centres = np.where(counts > 0, np.bincount(place, omega, n_bins) / np.maximum(counts, 1), middles)
        shares = [np.trace(one.mode_tensors, axis1=2, axis2=3)[vibrating] / 3 for one in conductivities]
        return cls(
            edges,
            centres,
            temperatures,
            np.stack([np.bincount(place, row, n_bins) for row in shares]),
            statistics.pop(),
        )

    def conductivity(self, temperatures_K: np.ndarray | float, above: np.ndarray | float = 0.0) -> np.ndarray:
        """kappa_D in W/(m K): modes faster than omega_P ``above`` (rad/ps), which is broadcast against temperatures.

        The bin that holds omega_P counts for the part of it above.
        """
        temperatures, above = np.broadcast_arrays(np.asarray(temperatures_K, float), np.asarray(above, float))
        _check_positive("temperatures_K", temperatures, "K")
        kept = np.clip((self.edges[1:] - above[..., None]) / np.diff(self.edges), 0, 1)
        return (self._ratios_at(temperatures) * self._capacities(temperatures[..., None]) * kept).sum(axis=-1)

    def _capacities(self, temperatures: np.ndarray) -> np.ndarray:
        # modes that are frozen out still conduct a little in pairs with slower ones
        return np.maximum(_capacities(self.centres, temperatures, self.statistics), LEAST_CAPACITY)

    def _ratios_at(self, temperatures: np.ndarray) -> np.ndarray:
        ratios = self.shares / self._capacities(self.temperatures_K[:, None])
        nodes = np.log(self.temperatures_K)
        if len(nodes) == 1:
            return ratios[0]
        x = np.clip(np.log(temperatures), nodes[0], nodes[-1])
        place = np.clip(np.searchsorted(nodes, x) - 1, 0, len(nodes) - 2)
        part = ((x - nodes[place]) / (nodes[place + 1] - nodes[place]))[..., None]
        return (1 - part) * ratios[place] + part * ratios[place + 1]


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """Conductivity of the bulk glass in its parts, all in W/(m K) and of the shape of the temperatures.

    Attributes
    ----------
    temperatures_K : ndarray
    limit : float
        omega_P in rad/ps.
    statistics : str
    longitudinal, transverse : ndarray
        Parts of kappa_P.
    diffusons : ndarray
        kappa_D.
    box_propagons : ndarray or None
        What replaces kappa_P in the cell of the model, if one was given.
    """

    temperatures_K: np.ndarray
    limit: float
    statistics: str
    longitudinal: np.ndarray
    transverse: np.ndarray
    diffusons: np.ndarray
    box_propagons: np.ndarray | None

    @property
    def propagons(self) -> np.ndarray:
        """kappa_P."""
        return self.longitudinal + self.transverse

    @property
    def total(self) -> np.ndarray:
        """kappa_P + kappa_D, the conductivity of the bulk."""
        return self.propagons + self.diffusons

    @property
    def propagon_share(self) -> np.ndarray:
        """kappa_P / (kappa_P + kappa_D)."""
        return self.propagons / self.total

    @property
    def finite_box(self) -> np.ndarray:
        """Prediction of what the finite model itself conducts.

        Raises
        ------
        ValueError
            If no cell was given.
        """
        if self.box_propagons is None:
            raise ValueError("box_propagons are None; accepted is an extrapolation with a cell")
        return self.box_propagons + self.diffusons


def extrapolate(
    propagons: Propagons,
    diffusons: ConductivityTable,
    temperatures_K: np.ndarray | float,
    *,
    limit: float,
    cell: np.ndarray | float | None = None,
) -> Extrapolation:
    """Conductivity of the bulk from sound below omega_P and the modes of a finite model above it.

    Parameters
    ----------
    propagons : Propagons
    diffusons : ConductivityTable
        Its statistics, quantum or classical, are those of the result.
    temperatures_K : ndarray or float
    limit : float
        omega_P in rad/ps, at most :meth:`Propagons.highest_limit`, above which there are no propagating waves.
    cell : ndarray (3, 3) or float, optional
        Cell vectors or cubic edge in Å of a model, whose own conductivity is predicted besides.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_number("limit", limit, "rad/ps", positive=True)
    temperatures = np.asarray(temperatures_K, float)
    longitudinal, transverse = propagons.conductivities(temperatures, limit, statistics=diffusons.statistics)
    box = None
    if cell is not None:
        box = propagons.conductivities_in_box(cell, temperatures, limit, statistics=diffusons.statistics).sum(axis=0)
    return Extrapolation(
        temperatures,
        float(limit),
        diffusons.statistics,
        longitudinal,
        transverse,
        diffusons.conductivity(temperatures, limit),
        box,
    )


def plateau(
    propagons: Propagons,
    diffusons: ConductivityTable,
    temperature_K: float,
    fractions: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """kappa_P + kappa_D in W/(m K) with omega_P at fractions of the Ioffe-Regel limit: it should be constant."""
    fractions = real_array("fractions", fractions)
    _check_positive("fractions", fractions, "")
    limits = fractions * propagons.highest_limit()
    sound = propagons.conductivities(temperature_K, limits, statistics=diffusons.statistics).sum(axis=0)
    return sound + diffusons.conductivity(temperature_K, limits)


def bulk_allen_feldman(
    propagons: Propagons,
    diffusons: np.ndarray | float,
    temperature_K: float,
    smearing: np.ndarray,
    *,
    limit: float,
    statistics: str = "quantum",
) -> np.ndarray:
    """Conductivity of the bulk in W/(m K) where every vibration has the same half width eta, by disorder besides.

    Without anharmonic widths it grows as eta^(-1/4), see :meth:`Propagons.divergence`: disorder alone leaves sound
    with so long free paths that a harmonic glass conducts without bound.

    Parameters
    ----------
    propagons : Propagons
    diffusons : ndarray (E,) or float
        kappa_D in W/(m K) of a finite model, above the limit and with the same smearing.
    temperature_K : float
    smearing : ndarray (E,)
        eta in rad/ps.
    limit : float
        omega_P in rad/ps.
    statistics : "quantum" or "classical"
    """
    sound = propagons.conductivities(temperature_K, limit, statistics=statistics, smearing=smearing)
    return sound.sum(axis=0) + diffusons


@dataclass(frozen=True, eq=False)
class GlassSample:
    """What one model of a glass tells: its sound waves and what its modes conduct."""

    longitudinal: SoundWaves
    transverse: SoundWaves
    diffusons: ConductivityTable


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Draws of an extrapolation, each from other samples, other shells of wavevectors and another omega_P.

    Attributes
    ----------
    temperatures_K : ndarray (T,)
    limits : ndarray (D,)
        omega_P in rad/ps.
    highest_limits : ndarray (D,)
        The Ioffe-Regel frequencies below which they were drawn.
    speeds : ndarray (D, 2)
        Longitudinal and transverse, in Å/ps.
    attenuations : ndarray (D, 2, 2)
        A and B of both.
    propagons, diffusons : ndarray (D, T)
        In W/(m K).
    """

    temperatures_K: np.ndarray
    limits: np.ndarray
    highest_limits: np.ndarray
    speeds: np.ndarray
    attenuations: np.ndarray
    propagons: np.ndarray
    diffusons: np.ndarray

    @property
    def totals(self) -> np.ndarray:
        """kappa (D, T) in W/(m K)."""
        return self.propagons + self.diffusons

    @property
    def propagon_shares(self) -> np.ndarray:
        """(D, T)."""
        return self.propagons / self.totals


def bootstrap(
    samples: Sequence[GlassSample],
    anharmonic: AnharmonicWidths,
    temperatures_K: np.ndarray,
    *,
    n_draws: int = 200,
    fractions: tuple[float, float] = (0.5, 1.0),
    linear_below: float = LINEAR_BELOW,
    seed: int | np.random.Generator = 0,
) -> Bootstrap:
    """Spread of the extrapolated conductivity over samples, shells of wavevectors, and omega_P.

    Parameters
    ----------
    samples : sequence of GlassSample
        Models of one glass, drawn with replacement; shells are drawn from all shells of the samples drawn.
    anharmonic : AnharmonicWidths
    temperatures_K : ndarray (T,)
    n_draws : int
    fractions : tuple of float (2,)
        omega_P is drawn uniformly between these fractions of the Ioffe-Regel limit.
    linear_below : float
        In 1/Å; shells for the sound speed.
    seed : int or numpy.random.Generator

    Raises
    ------
    ValueError
        If there is no sample, or numbers are out of range.
    """
    check_whole("n_draws", n_draws, 1)
    lowest, highest = fractions
    if not samples:
        raise ValueError("samples are empty; accepted is at least one GlassSample")
    if not 0 < lowest <= highest <= 1:
        raise ValueError(f"fractions are {fractions}; accepted are two that ascend, above 0 and up to 1")
    temperatures = np.atleast_1d(np.asarray(temperatures_K, float))
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n_draws):
        drawn = [samples[place] for place in rng.integers(len(samples), size=len(samples))]
        waves = [_drawn_shells([getattr(one, name) for one in drawn], linear_below, rng) for name in BRANCHES]
        sound = Propagons.from_waves(*waves, anharmonic, linear_below=linear_below)
        highest_limit = sound.highest_limit()
        limit = rng.uniform(lowest, highest) * highest_limit
        parts = [extrapolate(sound, one.diffusons, temperatures, limit=limit) for one in drawn]
        rows.append(
            (
                limit,
                highest_limit,
                [branch.speed for branch in sound.branches],
                [(branch.attenuation.quadratic, branch.attenuation.quartic) for branch in sound.branches],
                parts[0].propagons,
                np.mean([part.diffusons for part in parts], axis=0),
            )
        )
    return Bootstrap(temperatures, *(np.array(column) for column in zip(*rows)))


def _drawn_shells(waves: Sequence[SoundWaves], linear_below: float, rng: np.random.Generator) -> SoundWaves:
    """Shells of several samples, drawn anew until they tell of a speed and of an attenuation."""
    joined = waves[0].joined(*waves[1:])

    def tells(shells: SoundWaves) -> bool:
        return (shells.wavenumbers < linear_below).any() and (shells.slowest(np.inf).half_widths > 0).any()

    if not tells(joined):
        raise ValueError(
            f"samples hold no shell below linear_below = {linear_below} 1/Å, or none with a positive width; "
            "accepted are larger models"
        )
    while not tells(drawn := joined.resampled(rng)):
        pass
    return drawn


def box_wavenumbers(cell: np.ndarray, below: float) -> np.ndarray:
    """Lengths in 1/Å of all wavevectors of a periodic cell that are shorter than a limit, zero left out.

    Parameters
    ----------
    cell : ndarray (3, 3)
        Cell vectors in Å as rows.
    below : float
        In 1/Å.
    """
    reciprocal = 2 * np.pi * Cell(cell).reciprocal()
    reach = np.floor(below * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    grids = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
    lengths = np.linalg.norm(np.stack(grids, axis=-1).reshape(-1, 3) @ reciprocal, axis=1)
    return np.sort(lengths[(lengths > 0) & (lengths < below)])


def _box_shells(cell: np.ndarray | float, below: float) -> tuple[np.ndarray, np.ndarray]:
    """Lengths (S,) of the wavevectors of :func:`box_wavenumbers` that differ, and how many have each."""
    if np.ndim(cell) != 0:
        parts, counts = np.unique(np.round(box_wavenumbers(cell, below) / below, 12), return_counts=True)
        return parts * below, counts
    unit = 2 * np.pi / abs(float(cell))
    largest = int((below / unit) ** 2)
    counts = _sums_of_three_squares(2 ** largest.bit_length())[1 : largest + 1]
    there = np.flatnonzero(counts)
    lengths = unit * np.sqrt(there + 1)
    return lengths[lengths < below], counts[there][lengths < below]


@lru_cache
def _sums_of_three_squares(largest: int) -> np.ndarray:
    """In how many ways each whole number from 0 to the largest is i^2 + j^2 + k^2 of whole numbers."""
    one = np.zeros(largest + 1)
    np.add.at(one, np.arange(-int(largest**0.5), int(largest**0.5) + 1) ** 2, 1)
    two = np.convolve(one, one)[: largest + 1]
    return np.round(np.convolve(two, one)[: largest + 1]).astype(int)


def _panels(n_panels: int, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of composite Gauss-Legendre quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    nodes = (np.arange(n_panels)[:, None] + (nodes + 1) / 2) / n_panels
    return nodes.ravel(), np.tile(weights / (2 * n_panels), n_panels)


#: Quadrature in ln omega: panels of 1.5, narrow beside the poles of 1 / (eta + B omega^4).
_LOGARITHMS = _panels(18, 12)


def _capacities(omega: np.ndarray, temperatures: np.ndarray, statistics: str) -> np.ndarray:
    """Heat capacities in k_B; frequencies and temperatures are broadcast against each other."""
    if statistics not in STATISTICS:
        raise ValueError(f"statistics is {statistics!r}; accepted are {', '.join(map(repr, STATISTICS))}")
    if statistics == "classical":
        return np.ones(np.broadcast_shapes(np.shape(omega), np.shape(temperatures)))
    # the capacity depends on omega / T alone
    return heat_capacities(np.asarray(omega) / temperatures, 1.0)


def _check_smearing(smearing: np.ndarray) -> None:
    if not (np.isfinite(smearing).all() and (smearing >= 0).all()):
        raise ValueError(f"smearing is {smearing.min()}; accepted are non-negative numbers of rad/ps")


def _check_positive(name: str, values: np.ndarray, unit: str) -> None:
    if not (np.isfinite(values).all() and (values > 0).all()):
        of = f" of {unit}" if unit else ""
        raise ValueError(f"{name} hold {np.min(values)}; accepted are positive, finite numbers{of}")
