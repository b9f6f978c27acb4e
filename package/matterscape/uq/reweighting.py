"""Thermodynamic averages of every member of an ensemble of potentials, from one trajectory on their mean.

Frames are sampled with the mean potential V. Member k would weight each of them by exp(-h_k), h_k = beta (V_k - V).
Direct reweighting does just that and breaks down once h fluctuates by more than one or two, because few frames carry
all the weight. The cumulant expansion keeps the first order, <a>_k = <a> - cov(a, h_k), which is exact for jointly
Gaussian a and h and has much smaller statistical noise (Ceriotti, Brain, Riordan, Manolopoulos, Proc. R. Soc. A 468, 2
(2012); for ensembles Imbalzano et al., J. Chem. Phys. 154, 074102 (2021)). A constant added to a potential changes
nothing.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.special import softmax

from matterscape.checks import check_number, check_whole
from matterscape.uq.arrays import as_array, feature_matrix

LARGEST_CUMULANT_SPREAD = 3.0
LARGEST_DIRECT_SPREAD = 1.0
SMALLEST_SAMPLE_FRACTION = 0.1
CORRELATION_TIMES_PER_BLOCK = 10  # the variance is then low by about a tenth, its root by a twentieth
FEWEST_BLOCKS = 10


class ReweightingWarning(UserWarning):
    """A reweighted average that the frames cannot support."""


def reduced_differences(potentials, *, temperature_K: float | None = None, beta: float | None = None) -> np.ndarray:
    """Deviations h_k = (V_k - mean over members) / k_B T of each member, with their averages over frames removed.

    Parameters
    ----------
    potentials : array (n_frames, n_members)
        Potential energies in eV (or in 1/beta), of frames sampled with the mean of the members.
    temperature_K : float
        Temperature of the sampling in K, for energies in eV.
    beta : float
        Instead of it, 1 / k_B T in the inverse unit of the potentials.

    Returns
    -------
    array (n_frames, n_members)

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there are fewer than two frames or members, a number is not finite, not exactly one of ``temperature_K`` and
        ``beta`` is given, or it is not positive.

    Warns
    -----
    ReweightingWarning
        If the temperature is below 1 K, as k_B T in eV would be.
    """
    factor = _inverse_temperature(temperature_K, beta)
    potentials = feature_matrix(potentials, "potentials").astype(np.float64)
    if min(potentials.shape) < 2:
        raise ValueError(f"potentials must have at least two frames and two members, got shape {potentials.shape}")
    potentials -= potentials.mean(axis=0)  # first, so that large offsets cost no digits
    return factor * (potentials - potentials.mean(axis=1, keepdims=True))


def _inverse_temperature(temperature_K: float | None, beta: float | None) -> float:
    if (temperature_K is None) == (beta is None):
        raise ValueError(f"exactly one of temperature_K and beta must be given, got {temperature_K} and {beta}")
    if beta is not None:
        check_number("beta", beta, positive=True)
        return float(beta)
    check_number("temperature_K", temperature_K, "K", positive=True)
    if temperature_K < 1.0:
        warnings.warn(
            f"temperature_K is {temperature_K:g} K; if it is k_B T in eV, give beta={1.0 / temperature_K:.4g} instead",
            ReweightingWarning,
            stacklevel=4,
        )
    return 1.0 / (units.kB * temperature_K)


def _observable_rows(observables, n_frames: int) -> np.ndarray:
    values = as_array(observables)
    rows = feature_matrix(values[:, None] if values.ndim == 1 else values, "observables").astype(np.float64)
    if len(rows) != n_frames:
        raise ValueError(f"observables must have one row for each of the {n_frames} frames, got {len(rows)}")
    return rows


def _like(averages: np.ndarray, observables) -> np.ndarray:
    """Averages (n_members, n_observables), without the second axis if the observable was a plain series."""
    return averages[:, 0] if as_array(observables).ndim == 1 else averages


def cumulant_expansion(
    potentials, observables, *, temperature_K: float | None = None, beta: float | None = None
) -> np.ndarray:
    """Average of each observable in the ensemble of each member, <a> - cov(a, h_k).

    The error is of second order in h; the noise grows like the standard deviation of h, not like its exponential. It
    fails for quantities that the potential itself dominates in large systems, such as heat capacities. An observable
    that each member predicts for itself (its own energy) has its averages on the diagonal of the result.

    Parameters
    ----------
    potentials : array (n_frames, n_members)
        Potential energies in eV (or in 1/beta), of frames sampled with the mean of the members.
    observables : array (n_frames, n_observables) or (n_frames,)
    temperature_K : float
        Temperature of the sampling in K, for energies in eV.
    beta : float
        Instead of it, 1 / k_B T in the inverse unit of the potentials.

    Returns
    -------
    array (n_members, n_observables) or (n_members,)

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If lengths differ, there are fewer than two frames or members, a number is not finite, not exactly one of
        ``temperature_K`` and ``beta`` is given, or it is not positive.

    Warns
    -----
    ReweightingWarning
        If a member's h has a standard deviation above 3.

    References
    ----------
    Imbalzano et al., J. Chem. Phys. 154, 074102 (2021).
    """
    differences = reduced_differences(potentials, temperature_K=temperature_K, beta=beta)
    rows = _observable_rows(observables, len(differences))
    _warn_of_spread(differences, LARGEST_CUMULANT_SPREAD, "higher cumulants than the first matter")
    means = rows.mean(axis=0)
    return _like(means - differences.T @ (rows - means) / len(rows), observables)


def direct_reweighting(
    potentials, observables, *, temperature_K: float | None = None, beta: float | None = None
) -> np.ndarray:
    """Average of each observable in the ensemble of each member, <a exp(-h_k)> / <exp(-h_k)>.

    Exact for infinitely many frames, and safe against overflow; with finitely many it underestimates the differences
    between members as soon as the effective sample is small.

    Parameters
    ----------
    potentials, observables, temperature_K, beta
        As for :func:`cumulant_expansion`.

    Returns
    -------
    array (n_members, n_observables) or (n_members,)

    Raises
    ------
    TypeError, ValueError
        As :func:`cumulant_expansion`.

    Warns
    -----
    ReweightingWarning
        If a member's h has a standard deviation above 1, or its effective sample is below a tenth of the frames.

    References
    ----------
    Torrie and Valleau, J. Comput. Phys. 23, 187 (1977).
    """
    differences = reduced_differences(potentials, temperature_K=temperature_K, beta=beta)
    rows = _observable_rows(observables, len(differences))
    _warn_of_spread(
        differences, LARGEST_DIRECT_SPREAD, "few frames carry most of the weight, cumulant_expansion is safer"
    )
    weights = softmax(-differences, axis=0)
    fraction = _sample_fraction(weights).min()
    if fraction < SMALLEST_SAMPLE_FRACTION:
        warnings.warn(
            f"the effective sample of a member is {100 * fraction:.2g} % of the frames; its averages are unreliable",
            ReweightingWarning,
            stacklevel=2,
        )
    return _like(weights.T @ rows, observables)


def _warn_of_spread(differences: np.ndarray, largest: float, consequence: str) -> None:
    spread = differences.std(axis=0).max()
    if spread > largest:
        warnings.warn(
            f"beta (V_k - V) has a standard deviation of {spread:.2g}, more than {largest:g}; {consequence}",
            ReweightingWarning,
            stacklevel=3,
        )


def _sample_fraction(weights: np.ndarray) -> np.ndarray:
    return 1.0 / (len(weights) * np.square(weights).sum(axis=0))


def effective_sample_fraction(
    potentials, *, temperature_K: float | None = None, beta: float | None = None
) -> np.ndarray:
    """Fraction of the frames that direct reweighting to each member uses, (sum w)^2 / (n sum w^2).

    For Gaussian h it is exp(-var h), as Kish's effective sample size of log-normal weights.

    Parameters
    ----------
    potentials, temperature_K, beta
        As for :func:`cumulant_expansion`.

    Returns
    -------
    array (n_members,)
        From 1 / n_frames to 1.

    Raises
    ------
    TypeError, ValueError
        As :func:`reduced_differences`.
    """
    differences = reduced_differences(potentials, temperature_K=temperature_K, beta=beta)
    return _sample_fraction(softmax(-differences, axis=0))


@dataclass(frozen=True)
class SeveralObservables:
    """Average of an observable that several models predict, in ensembles of several potentials.

    Attributes
    ----------
    mean : float
        Over all pairs of observable model and potential.
    variance : float
        Sample variance of the averages of all pairs (ddof = 1).
    observable_variance : float
        Between the models of the observable.
    potential_variance : float
        Between the potentials, for one model of the observable.
    """

    mean: float
    variance: float
    observable_variance: float
    potential_variance: float


def several_observables(
    potentials, observables, *, temperature_K: float | None = None, beta: float | None = None
) -> SeveralObservables:
    """Uncertainty of an average due to the models of the observable and due to the potentials, by cumulant expansion.

    The M_V potentials and M_a models of the observable are independent ensembles, so every pair (j, k) is a possible
    average A_jk. The sum of squares over all pairs splits exactly into that between and that within models j,

        (M_V M_a - 1) variance = M_V (M_a - 1) observable_variance + M_a (M_V - 1) potential_variance,

    where the average over potentials of A_jk is plainly <a_j>, because the h_k sum to zero. The pairs are not
    independent draws, which is why the variance falls short of observable_variance + potential_variance; for few
    models that sum is the unbiased estimate, if the two sources add up.

    Parameters
    ----------
    potentials : array (n_frames, M_V)
        As for :func:`cumulant_expansion`.
    observables : array (n_frames, M_a)
        One column per model of the observable, at least two.
    temperature_K, beta : float
        As for :func:`cumulant_expansion`.

    Returns
    -------
    SeveralObservables

    Raises
    ------
    TypeError, ValueError
        As :func:`cumulant_expansion`; or if there are fewer than two models of the observable.

    References
    ----------
    Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), Eqs. 26-28.
    """
    if as_array(observables).ndim != 2 or as_array(observables).shape[1] < 2:
        raise ValueError(
            f"observables must have a column for each of at least two models, got shape {as_array(observables).shape}"
        )
    averages = cumulant_expansion(potentials, observables, temperature_K=temperature_K, beta=beta)
    n_potentials, n_models = averages.shape
    between = averages.mean(axis=0).var(ddof=1)
    within = averages.var(axis=0, ddof=1).mean()
    squares = n_potentials * (n_models - 1) * between + n_models * (n_potentials - 1) * within
    return SeveralObservables(
        mean=float(averages.mean()),
        variance=float(squares / (n_potentials * n_models - 1)),
        observable_variance=float(between),
        potential_variance=float(within),
    )


def integrated_correlation_time(series) -> np.ndarray:
    """Integrated correlation time 1/2 + sum_t rho(t) of each column, in frames; n frames are worth n / (2 tau).

    The sum ends at the first t of at least 5 tau (Sokal, in Functional Integration, NATO ASI B 361, 131 (1997)), so
    that the noise of the tail stays out.

    Parameters
    ----------
    series : array (n_frames, n_columns) or (n_frames,)

    Returns
    -------
    array (n_columns,) or float
        At least 0.5, which is the value of independent frames; also for a constant column.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there are fewer than two frames, or a number is not finite.
    """
    values = as_array(series)
    rows = feature_matrix(values[:, None] if values.ndim == 1 else values, "series").astype(np.float64)
    n_frames = len(rows)
    if n_frames < 2:
        raise ValueError(f"series must hold at least two frames, got {n_frames}")
    times = np.array([_correlation_time(column) for column in rows.T])
    return float(times[0]) if values.ndim == 1 else times


def _correlation_time(column: np.ndarray) -> float:
    n_frames = len(column)
    spectrum = np.fft.rfft(column - column.mean(), 2 * n_frames)
    products = np.fft.irfft(np.abs(spectrum) ** 2)[:n_frames]
    if products[0] <= n_frames * (np.finfo(float).eps * np.abs(column).max()) ** 2:  # constant
        return 0.5
    sums = np.cumsum(products / products[0]) - 0.5  # the last one is zero, so that the window always ends
    return max(0.5, float(sums[np.argmax(np.arange(n_frames) >= 5.0 * sums)]))


def block_bootstrap(
    estimate: Callable,
    *series,
    block_length: int | None = None,
    n_resamples: int = 200,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Standard error of an estimate from correlated frames, by resampling whole blocks of them.

    Blocks that may start anywhere are drawn until there are as many frames as before (Künsch, Ann. Stat. 17, 1217
    (1989)); frames inside a block keep their correlations, and all series keep theirs with each other. Example:
    ``block_bootstrap(partial(cumulant_expansion, temperature_K=300), potentials, observables)``.

    Parameters
    ----------
    estimate : callable
        Called with the resampled series; returns a number or an array.
    *series : arrays (n_frames, ...)
    block_length : int, optional
        Frames per block; by default ten times the longest integrated correlation time of the columns of all series,
        each series with two or more columns also without the mean over its columns (the differences of potentials
        may be slower than the potentials).
    n_resamples : int
    seed : int or numpy.random.Generator

    Returns
    -------
    array, like the result of ``estimate``

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there is no series, their lengths differ, a number is not finite, or blocks are longer than the series.

    Warns
    -----
    ReweightingWarning
        If fewer than ten blocks fit into the series.
    """
    if not series:
        raise ValueError("series must hold at least one array, got none")
    arrays = [as_array(values) for values in series]
    if any(values.ndim == 0 for values in arrays):
        raise ValueError("series must have one entry for each frame, got a single number")
    n_frames = len(arrays[0])
    if any(len(values) != n_frames for values in arrays):
        raise ValueError(f"series must have the same number of frames, got {[len(values) for values in arrays]}")
    check_whole("n_resamples", n_resamples, 2)
    if block_length is None:
        slowest = max(_slowest_time(values.reshape(n_frames, -1)) for values in arrays)
        block_length = min(math.ceil(CORRELATION_TIMES_PER_BLOCK * slowest), n_frames)
    check_whole("block_length", block_length, 1)
    block_length = int(block_length)
    if block_length > n_frames:
        raise ValueError(f"block_length must not exceed the {n_frames} frames, got {block_length}")
    n_blocks = -(-n_frames // block_length)
    if n_blocks < FEWEST_BLOCKS:
        warnings.warn(
            f"only {n_blocks} blocks of {block_length} correlated frames fit into {n_frames}; the error is itself "
            "uncertain, and more likely too small",
            ReweightingWarning,
            stacklevel=2,
        )

    generator = np.random.default_rng(seed)
    estimates = []
    with warnings.catch_warnings():  # what the estimate has to say, it says on the frames themselves
        warnings.simplefilter("ignore", ReweightingWarning)
        for _ in range(n_resamples):
            starts = generator.integers(n_frames - block_length + 1, size=n_blocks)
            frames = (starts[:, None] + np.arange(block_length)).reshape(-1)[:n_frames]
            estimates.append(estimate(*(values[frames] for values in arrays)))
    return np.std(estimates, axis=0, ddof=1)


def _slowest_time(columns: np.ndarray) -> float:
    times = integrated_correlation_time(columns)
    if columns.shape[1] > 1:
        times = np.append(times, integrated_correlation_time(columns - columns.mean(axis=1, keepdims=True)))
    return float(times.max())
