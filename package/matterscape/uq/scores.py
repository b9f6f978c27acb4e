"""Scores and guide lines that tell whether predicted standard deviations describe the errors."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, erfc, erfinv

from matterscape.checks import check_number, check_whole, is_number
from matterscape.uq.arrays import error_vector, positive_vector
from matterscape.uq.calibration import negative_log_likelihood

SMALLEST_BIN = 30
LARGEST_SIGMA = 20.0  # beyond, the smaller constant leaves the range of float64


def _central_probabilities(errors, deviations) -> np.ndarray:
    """Level of the central interval that just holds each error, ascending."""
    errors = error_vector(errors)
    deviations = positive_vector(deviations, len(errors), "deviations")
    return np.sort(erf(np.abs(errors) / (math.sqrt(2.0) * deviations)))


def coverage(errors, deviations, levels) -> np.ndarray:
    """Fraction of errors inside the central interval of each level, for Gaussian predictions.

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    deviations : array (n_samples,)
        Predicted standard deviations.
    levels : array (n_levels,)
        Probabilities of the intervals, from 0 to 1; a calibrated model covers as much as they say.

    Returns
    -------
    array (n_levels,)

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, a deviation is not positive, or a level is no
        probability.
    """
    levels = error_vector(levels, "levels")
    if (levels < 0).any() or (levels > 1).any():
        raise ValueError(f"levels must be probabilities from 0 to 1, got {levels.min():g} to {levels.max():g}")
    probabilities = _central_probabilities(errors, deviations)
    return np.searchsorted(probabilities, levels, side="right") / len(probabilities)


def miscalibration_area(errors, deviations) -> float:
    """Area between observed and expected coverage, the integral of |coverage(p) - p| over all levels p.

    Zero for perfect calibration and at most one half. The integral is exact, piece by piece between the errors'
    levels, with no grid.

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    deviations : array (n_samples,)
        Predicted standard deviations.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, or a deviation is not positive.

    References
    ----------
    Tran, Neiswanger, Yoon, Zhang, Xing, Ulissi, Mach. Learn.: Sci. Technol. 1, 025006 (2020).
    """
    probabilities = _central_probabilities(errors, deviations)
    edges = np.concatenate([[0.0], probabilities, [1.0]])
    covered = np.linspace(0.0, 1.0, len(probabilities) + 1)  # between consecutive edges
    above, below = edges[1:] - covered, edges[:-1] - covered
    return float(0.5 * np.sum(above * np.abs(above) - below * np.abs(below)))


def likelihood_coefficient(errors, variances) -> float:
    """Negative log-likelihood on a scale from a constant error bar (0) to an oracle (100).

    100 (L - L_constant) / (L_oracle - L_constant), where the constant variance is the mean square error and the oracle
    knows every e^2. Negative values are worse than a constant error bar (Kellner and Ceriotti, Mach. Learn.: Sci.
    Technol. 5, 035006 (2024), public code).

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    variances : array (n_samples,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, a variance is not positive, an error is zero, so
        that the oracle's likelihood is infinite, or all errors are of one size, so that constant and oracle agree.
    """
    errors = error_vector(errors)
    squares = errors**2
    if not squares.all():
        raise ValueError(f"errors must not be zero, got one for sample {int(np.argmin(squares))}")
    constant = negative_log_likelihood(errors, np.full_like(errors, squares.mean()))
    oracle = negative_log_likelihood(errors, squares)
    if math.isclose(constant, oracle, rel_tol=1e-12):
        raise ValueError("errors must differ in size, because otherwise a constant error bar is the oracle's")
    return 100.0 * (negative_log_likelihood(errors, variances) - constant) / (oracle - constant)


@dataclass(frozen=True)
class Reliability:
    """Errors against standard deviations in bins of equal counts.

    Attributes
    ----------
    deviations : array (n_bins,)
        Root mean predicted variance of each bin, ascending.
    errors : array (n_bins,)
        Root mean square error.
    counts : array (n_bins,), integer
    """

    deviations: np.ndarray
    errors: np.ndarray
    counts: np.ndarray

    @property
    def ratios(self) -> np.ndarray:
        """Root mean square error over deviation of each bin, one if calibrated."""
        return self.errors / self.deviations


def reliability(errors, variances, n_bins: int = 10) -> Reliability:
    """Root mean square error against predicted standard deviation, in bins of samples of similar variance.

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    variances : array (n_samples,)
    n_bins : int
        Bins of equal counts (to within one sample).

    Returns
    -------
    Reliability

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, a variance is not positive, or there are more
        bins than samples.

    Warns
    -----
    UserWarning
        If a bin holds fewer than 30 samples, because its error then scatters by more than 13 %.
    """
    errors = error_vector(errors)
    variances = positive_vector(variances, len(errors), "variances")
    check_whole("n_bins", n_bins, 1)
    if n_bins > len(errors):
        raise ValueError(f"n_bins must not exceed the number of samples {len(errors)}, got {n_bins}")
    bins = np.array_split(np.argsort(variances, kind="stable"), n_bins)
    counts = np.array([len(members) for members in bins])
    if counts.min() < SMALLEST_BIN:
        warnings.warn(
            f"bins hold as few as {counts.min()} samples; below {SMALLEST_BIN} their errors are mostly noise",
            stacklevel=2,
        )
    return Reliability(
        deviations=np.sqrt([variances[members].mean() for members in bins]),
        errors=np.sqrt([np.mean(errors[members] ** 2) for members in bins]),
        counts=counts,
    )


def error_lines(n_sigma: float) -> tuple[float, float]:
    """Constants c of the lines |e| = c sigma of equal density that enclose the probability of n standard deviations.

    For Gaussian errors ln|e| has the density (2/pi)^(1/2) x exp(-x^2/2) with x = |e| / sigma, largest at x = 1. The
    two lines have the same density and hold erf(n / 2^(1/2)) of the errors between them: 68.3 %, 95.4 %, 99.7 %. (The
    constants 0.43098 and 1.71796 in circulation weight errors by their size and hold 58.1 %.)

    Parameters
    ----------
    n_sigma : float
        Positive, at most 20.

    Returns
    -------
    (float, float)
        The constants below and above one; (0.33126, 1.89751) for ``n_sigma=1``.

    Raises
    ------
    ValueError
        If ``n_sigma`` is out of range.
    """
    check_number("n_sigma", n_sigma, positive=True)
    if n_sigma > LARGEST_SIGMA:
        raise ValueError(f"n_sigma must be at most {LARGEST_SIGMA:g}, got {n_sigma}")

    # Equal density of c and c exp(t) fixes c: t = c^2 (exp(2 t) - 1) / 2.
    def lines(t: float) -> tuple[float, float]:
        return math.sqrt(2.0 * t * math.exp(-2.0 * t) / -math.expm1(-2.0 * t)), math.sqrt(
            2.0 * t / -math.expm1(-2.0 * t)
        )

    def excess(t: float) -> float:  # in logarithms, because the probability outside becomes tiny
        low, high = np.array(lines(t)) / math.sqrt(2.0)
        return math.log((erf(low) + erfc(high)) / erfc(n_sigma / math.sqrt(2.0)))

    return lines(brentq(excess, 0.1 * min(n_sigma, 1.0), (n_sigma + 3.0) ** 2, xtol=1e-14))


def quantile_lines(quantile: float) -> tuple[float, float]:
    """Constants c of the lines |e| = c sigma below which a fraction, and all but a fraction, of the errors lie.

    These are quantiles of the folded normal distribution, 2^(1/2) erfinv(q).

    Parameters
    ----------
    quantile : float
        Fraction below the lower and above the upper line, between 0 and 0.5.

    Returns
    -------
    (float, float)
        (0.18912, 1.43953) for ``quantile=0.15``.

    Raises
    ------
    ValueError
        If ``quantile`` is out of range.
    """
    if not is_number(quantile) or not 0 < quantile < 0.5:
        raise ValueError(f"quantile must be a number between 0 and 0.5, got {quantile!r}")
    return tuple(float(math.sqrt(2.0) * erfinv(level)) for level in (quantile, 1.0 - quantile))
