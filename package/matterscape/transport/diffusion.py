"""Diffusion from displacements: mean squares of single atoms and of whole species, with errors that hold.

One pass over the trajectories keeps the curves of every block (:func:`measure_displacements`). Coefficients are then
linear functions of them, so another window, frame charge or species costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from matterscape.checks import check_number, check_whole, real_array
from matterscape.transport._block_statistics import jackknife, refuse_bend, slopes, window_lags
from matterscape.transport._displacement_curves import displacement_curves
from matterscape.transport._slope_posterior import line_and_variance, overlap_covariance, posterior_of_slope
from matterscape.transport.many import analyse_many
from matterscape.transport.trajectories import UnwrappedTrajectory

if TYPE_CHECKING:
    from distributed import Client

FRAMES = ("laboratory", "barycentric", "host")
CM2_PER_S = 1e-4  # one Å^2/ps
_FEWEST_BLOCKS = 6


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes
    ----------
    value, error : float
    unit : str
    components : tuple of float
        Along x, y and z; the value is their mean. Empty where that has no meaning.
    component_errors : tuple of float
    """

    value: float
    error: float
    unit: str
    components: tuple[float, ...] = ()
    component_errors: tuple[float, ...] = ()

    def times(self, factor: float, unit: str) -> "Estimate":
        """The same in another unit."""
        scaled = (tuple(factor * one for one in values) for values in (self.components, self.component_errors))
        return Estimate(factor * self.value, abs(factor) * self.error, unit, *scaled)

    def __str__(self) -> str:
        return f"{self.value:.4g} +- {self.error:.2g} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class Displacements:
    """Displacements of single atoms and of whole species in blocks of one or several runs of one system.

    Attributes
    ----------
    elements : tuple of str
        The species, in the order of their atomic numbers.
    counts : array (S,), int64
        Atoms of each.
    single : array (n_blocks, n_lags, S, 3)
        Mean-square displacement of the atoms of a species along each axis, in Å^2, at lags up to half a block.
    collective : array (n_blocks, n_lags, S, S, 3)
        Mean product of the summed displacements of two species along each axis, in Å^2.
    spread_lags, spread : array (n,), array (n, S, 3)
        Variance over origins of the mean-square displacement of a species, at some lags, in Å^4.
    block_length, run_length : int
        Rows of a block, and of all blocks of one run.
    timestep_fs, temperature_K, volume : float
    frame : str
        What positions are relative to: "laboratory", "barycentric" or "host".
    """

    elements: tuple[str, ...]
    counts: np.ndarray
    single: np.ndarray
    collective: np.ndarray
    spread_lags: np.ndarray
    spread: np.ndarray
    block_length: int
    run_length: int
    timestep_fs: float
    temperature_K: float
    volume: float
    frame: str

    @property
    def n_blocks(self) -> int:
        """Number of blocks of all runs."""
        return len(self.single)

    @property
    def lags_ps(self) -> np.ndarray:
        """Times of the curves in ps, (n_lags,)."""
        return np.arange(self.single.shape[1]) * self.timestep_fs * 1e-3

    def index(self, element: str) -> int:
        """Position of a species among ``elements``; ``ValueError`` if there is none of that name."""
        if element not in self.elements:
            raise ValueError(f"there is no species {element!r}; accepted are {', '.join(self.elements)}")
        return self.elements.index(element)

    def mean_square(self, element: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean-square displacement of the atoms of a species over the lags, with its error, in Å^2: two (n_lags,)."""
        return _curve(self.single[:, :, self.index(element)])

    def collective_square(self, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Mean square of a weighted sum of the species' displacements over the lags, with its error: two (n_lags,).

        Parameters
        ----------
        weights : sequence of float (S,)
            Of the summed displacement of each species; charges make the square that of the charge displacement.
        """
        return _curve(self.weighted(weights))

    def weighted(self, weights: Sequence[float]) -> np.ndarray:
        """Curves of a weighted sum of the species' displacements, in each block along each axis: (B, n_lags, 3)."""
        weights = real_array("weights", weights)
        return np.einsum("a,blacx,c->blx", weights, self.collective, weights, optimize=True)


def _curve(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum over the axes of curves (B, n_lags, 3), and its error."""
    value, error = jackknife(curves.transpose(0, 2, 1), lambda mean: 3.0 * mean)
    return value, error


def measure_displacements(
    trajectories: UnwrappedTrajectory | Sequence[UnwrappedTrajectory],
    *,
    n_blocks: int = 6,
    frame: str = "barycentric",
    host: Sequence[str] = (),
    client: "Client | None" = None,
) -> Displacements:
    """Displacement curves of every block of one or several runs, by fast Fourier transform.

    Parameters
    ----------
    trajectories : UnwrappedTrajectory or sequence of them
        Runs of one system, equally long.
    n_blocks : int
        Parts that each run is cut into; at least six in all runs together.
    frame : str
        Displacements are relative to the fixed axes ("laboratory"), the centre of mass of all atoms ("barycentric"),
        or that of the species ``host`` ("host"). A mean-square displacement depends on it by a share of about
        1 / n_atoms, the conductivity of a neutral set of charges not at all.
    host : sequence of str
        Species that are the host, for its frame.
    client : distributed.Client, optional
        Runs are analysed on its workers, with the same result.

    Raises
    ------
    ValueError
        If a trajectory is wrapped or not finite, runs differ, blocks are too few or shorter than eight rows, or a
        species is unknown.

    References
    ----------
    V. Calandrini et al., Collection SFN 12, 201 (2011), for mean squares by Fourier transform.
    """
    runs = [trajectories] if isinstance(trajectories, UnwrappedTrajectory) else list(trajectories)
    first = _equal_runs(runs)
    check_whole("n_blocks", n_blocks, 1)
    if n_blocks * len(runs) < _FEWEST_BLOCKS:
        raise ValueError(
            f"n_blocks is {n_blocks} in each of {len(runs)} runs; accepted are at least {_FEWEST_BLOCKS} blocks "
            "together, since the error is read from their scatter"
        )
    block_length = first.n_times // n_blocks
    if block_length < 8:
        raise ValueError(
            f"n_blocks is {n_blocks}, which makes blocks of {block_length} rows; accepted are at most "
            f"{first.n_times // 8} blocks, of eight rows"
        )
    weights = _frame_weights(first, frame, host)
    curves = analyse_many(displacement_curves, runs, weights, n_blocks, block_length, client=client)
    return Displacements(
        first.elements,
        np.bincount(first.labels),
        np.concatenate([one.single for one in curves]),
        np.concatenate([one.collective for one in curves]),
        curves[0].spread_lags,
        np.mean([one.spread for one in curves], axis=0),
        block_length,
        n_blocks * block_length,
        first.timestep_fs,
        float(np.mean([run.temperature_K for run in runs])),
        first.volume,
        frame,
    )


def _equal_runs(runs: list[UnwrappedTrajectory]) -> UnwrappedTrajectory:
    if not runs:
        raise ValueError("trajectories are empty; accepted is at least one")
    for number, run in enumerate(runs):
        if not isinstance(run, UnwrappedTrajectory):
            raise TypeError(f"trajectory {number} is a {type(run).__name__}; accepted is an UnwrappedTrajectory")
        for what in ("species", "n_times", "timestep_fs"):
            if getattr(run, what) != getattr(runs[0], what):
                raise ValueError(f"trajectory {number} differs from trajectory 0 in {what}; accepted are equal ones")
        if not np.allclose(run.cell, runs[0].cell, rtol=1e-6, atol=0):
            raise ValueError(f"trajectory {number} differs from trajectory 0 in its cell; accepted are equal ones")
    return runs[0]


def _frame_weights(trajectory: UnwrappedTrajectory, frame: str, host: Sequence[str]) -> np.ndarray | None:
    host = (host,) if isinstance(host, str) else tuple(host)
    if frame not in FRAMES:
        raise ValueError(f"frame is {frame!r}; accepted are {', '.join(FRAMES)}")
    if (frame == "host") != bool(host) or not set(host) <= set(trajectory.elements):
        raise ValueError(
            f"host is {host!r} in the frame {frame!r}; accepted are some of {', '.join(trajectory.elements)} in the "
            "frame 'host', and none in the others"
        )
    if frame == "laboratory":
        return None
    belongs = [frame == "barycentric" or symbol in host for symbol in trajectory.species]
    return np.where(belongs, trajectory.masses, 0.0)


def self_diffusion(displacements: Displacements, element: str, window_ps: tuple[float, float]) -> Estimate:
    """Diffusion coefficient of the atoms of a species, in Å^2/ps, with the error that blocks and directions tell.

        D = (1/6) d/dt <|r_i(t) - r_i(0)|^2>

    The slope is that of the least-squares line between two times in each block along each axis; the error is the
    scatter of these, never that of the overlapping origins within a block. Multiply by ``CM2_PER_S`` for cm^2/s.

    Parameters
    ----------
    displacements : Displacements
    element : str
        The species.
    window_ps : (float, float)
        Times between which the line is drawn: after the motion in the cage, and up to half a block.

    Raises
    ------
    ValueError
        If the window is out of range, or the curve bends in it.
    """
    curves = displacements.single[:, :, displacements.index(element)]
    return slope_estimate(displacements, curves, window_ps, f"the mean-square displacement of {element}", "Å^2/ps")


def slope_estimate(
    displacements: Displacements, curves: np.ndarray, window_ps: tuple[float, float], what: str, unit: str
) -> Estimate:
    """Half the slope of curves (B, n_lags, 3) in a window, averaged over blocks and axes.

    Parameters
    ----------
    displacements : Displacements
        That the curves belong to.
    curves : array (B, n_lags, 3)
        In Å^2, or times charges squared.
    window_ps : (float, float)
    what, unit : str
        How the error message names the curve, and the unit of the result.

    Raises
    ------
    ValueError
        If the window is out of range, or the curve bends in it.
    """
    lags = window_lags(window_ps, displacements.timestep_fs, curves.shape[1])
    refuse_bend(curves, lags, displacements.timestep_fs, window_ps, what)
    rows = 0.5 * slopes(curves, lags, displacements.timestep_fs)
    return estimate_of(rows, unit)


def estimate_of(rows: np.ndarray, unit: str) -> Estimate:
    """Mean of the values of each block along each axis (B, 3), and what their scatter says of its error."""
    value, error = jackknife(rows, lambda mean: mean)
    along = rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    return Estimate(float(value), float(error), unit, *(tuple(map(float, one)) for one in along))


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a mean-square displacement tells about its slope: a probability density of the coefficient.

    Where the error exceeds a third of the coefficient, the density falls off slowly to large values: quote an interval.

    Attributes
    ----------
    values, density : array (n,)
        The coefficient, and its probability density with integral 1.
    unit : str
    n_walkers : float
        How many independent walkers in one dimension would scatter as much.
    """

    values: np.ndarray
    density: np.ndarray
    unit: str
    n_walkers: float

    @property
    def mean(self) -> float:
        """Mean of the coefficient."""
        return float(self.density @ self.values / self.density.sum())

    @property
    def error(self) -> float:
        """Standard deviation of the coefficient."""
        return float(np.sqrt(self.density @ (self.values - self.mean) ** 2 / self.density.sum()))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The coefficient lies in it with this probability, and with equal ones below and above it."""
        if not 0 < level < 1:
            raise ValueError(f"level is {level!r}; accepted is a number between 0 and 1")
        cumulative = np.cumsum(self.density)
        ends = np.interp([0.5 - level / 2, 0.5 + level / 2], cumulative / cumulative[-1], self.values)
        return float(ends[0]), float(ends[1])


def self_diffusion_posterior(displacements: Displacements, element: str, window_ps: tuple[float, float]) -> Posterior:
    """Probability density of the diffusion coefficient of a species in Å^2/ps, by generalised least squares.

    The line through the mean-square displacement is fitted with the covariance that overlapping origins give it, so
    that short lags, which many origins determine, count as much as they should. This uses the data better than blocks
    do. The covariance is that of Gaussian walkers; how many independent ones the atoms are worth is measured, from the
    scatter of their mean-square displacement over the origins.

    Parameters
    ----------
    displacements : Displacements
    element : str
    window_ps : (float, float)
        As in :func:`self_diffusion`.

    References
    ----------
    A. R. McCluskey, S. W. Coles, B. J. Morgan, J. Chem. Theory Comput. 21, 79 (2025), for the regression; here with
    the covariance of Gaussian displacements, see ``overlap_covariance`` in ``_slope_posterior``.
    """
    species, what = displacements.index(element), f"the mean-square displacement of {element}"
    curves = displacements.single[:, :, species]
    _refuse_rest(curves.sum(axis=(0, 2)), what)
    lags = displacements.spread_lags
    n_rows = displacements.run_length
    free = np.arange(n_rows, dtype=np.float64)
    seen = 1.0 - overlap_covariance(lags, lags, free, n_rows) / (2.0 * free[lags] ** 2)  # variance about the own mean
    one_walker = 2.0 * curves.mean(axis=0)[lags] ** 2 * seen[:, None]
    near = (lags >= window_lags(window_ps, displacements.timestep_fs, curves.shape[1]).start / 2) & (seen > 0.5)
    near = near if near.any() else seen == seen.max()
    spread = displacements.spread[near, species]
    share = np.divide(spread, one_walker[near], out=np.ones_like(spread), where=spread > 0).mean(axis=0)
    return slope_posterior(displacements, curves, window_ps, what, "Å^2/ps", share)


def _refuse_rest(curve: np.ndarray, what: str) -> None:
    """Raise ``ValueError`` if a curve (n_lags,) is zero at a lag other than the first."""
    if not curve[1:].all():
        raise ValueError(f"{what} is zero at lag {1 + int(np.argmin(curve[1:]))}; accepted are atoms that move")


def slope_posterior(
    displacements: Displacements,
    curves: np.ndarray,
    window_ps: tuple[float, float],
    what: str,
    unit: str,
    share: Sequence[float] = (1.0, 1.0, 1.0),
) -> Posterior:
    """Probability density of half the slope of curves (B, n_lags, 3) in a window, averaged over the axes.

    Parameters
    ----------
    displacements, curves, window_ps, what, unit
        As in :func:`slope_estimate`.
    share : sequence of three floats
        Covariance of the curves along each axis, in units of that of one Gaussian walker.
    """
    lags = window_lags(window_ps, displacements.timestep_fs, curves.shape[1])
    refuse_bend(curves, lags, displacements.timestep_fs, window_ps, what)
    along = curves.mean(axis=0)
    total = along.sum(axis=1)
    _refuse_rest(total, what)
    weights = along[lags].sum(axis=0) / total[lags].sum()
    scale = float(np.sum(share * weights**2))
    slope, error, variance = line_and_variance(total, lags, displacements.block_length, scale / len(curves))
    values, density = posterior_of_slope(slope, error, variance)
    per_lag = 6.0 * displacements.timestep_fs * 1e-3
    return Posterior(values / per_lag, density * per_lag, unit, 1.0 / scale)


@dataclass(frozen=True, eq=False)
class Arrhenius:
    """Coefficients k = A exp(-E_a / (k_B T)) over a range of temperatures.

    Attributes
    ----------
    activation_energy, activation_energy_error : float
        E_a in eV.
    log_prefactor : float
        ln A, in the logarithm of the coefficients' unit.
    covariance : array (2, 2)
        Of ln A and E_a.
    chi_squared : float
        Sum of squared deviations in units of the errors.
    degrees_of_freedom : int
    """

    activation_energy: float
    activation_energy_error: float
    log_prefactor: float
    covariance: np.ndarray
    chi_squared: float
    degrees_of_freedom: int

    def at(self, temperature_K: float) -> Estimate:
        """The coefficient at a temperature, also outside the range, with the error of the fit."""
        check_number("temperature_K", temperature_K, "K", positive=True)
        row = _arrhenius_row(temperature_K)
        value = np.exp(row @ [self.log_prefactor, self.activation_energy])
        return Estimate(float(value), float(value * np.sqrt(row @ self.covariance @ row)), "")


def _arrhenius_row(temperature_K: float) -> np.ndarray:
    return np.array([1.0, -1.0 / (units.kB * temperature_K)])


def arrhenius_fit(
    temperatures_K: Sequence[float],
    values: Sequence[float],
    errors: Sequence[float],
    between_K: tuple[float, float] = (0.0, np.inf),
) -> Arrhenius:
    """Activation energy from a weighted straight line through ln k over 1 / (k_B T).

    Parameters
    ----------
    temperatures_K, values, errors : sequences of float
        Coefficients with their standard errors, at two temperatures at least. For conductivities, give sigma T.
    between_K : (float, float)
        Use only temperatures from the first to the second.

    Raises
    ------
    ValueError
        If lengths differ, numbers are not positive, or fewer than two temperatures are left.
    """
    rows = [
        real_array(name, one)
        for name, one in (("temperatures_K", temperatures_K), ("values", values), ("errors", errors))
    ]
    for name, row in zip(("temperatures_K", "values", "errors"), rows):
        if row.ndim != 1 or len(row) != len(rows[0]) or not (np.isfinite(row) & (row > 0)).all():
            raise ValueError(f"{name} are {row.tolist()}; accepted are {len(rows[0])} positive numbers")
    used = (rows[0] >= between_K[0]) & (rows[0] <= between_K[1])
    temperatures, values, errors = (row[used] for row in rows)
    if len(np.unique(temperatures)) < 2:
        raise ValueError(
            f"between_K is {between_K!r}, which leaves the temperatures {temperatures.tolist()}; accepted is a range "
            "with at least two"
        )
    weights = values / errors  # inverse error of the logarithm
    design = np.stack([_arrhenius_row(one) for one in temperatures]) * weights[:, None]
    covariance = np.linalg.inv(design.T @ design)
    found = covariance @ design.T @ (np.log(values) * weights)
    residuals = design @ found - np.log(values) * weights
    return Arrhenius(
        float(found[1]),
        float(np.sqrt(covariance[1, 1])),
        float(found[0]),
        covariance,
        float(residuals @ residuals),
        len(values) - 2,
    )


def arrhenius_jump(below: Arrhenius, above: Arrhenius, temperature_K: float) -> Estimate:
    """Ratio of the coefficients that two fits give at one temperature: above over below.

    Parameters
    ----------
    below, above : Arrhenius
        Fits on both sides of a transition, to different data.
    temperature_K : float
        Of the transition.
    """
    low, high = below.at(temperature_K), above.at(temperature_K)
    ratio = high.value / low.value
    return Estimate(ratio, ratio * float(np.hypot(low.error / low.value, high.error / high.value)), "")
