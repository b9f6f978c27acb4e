"""Calibration of predicted variances on held-out errors.

An uncertainty says how large errors are, so it is judged, and scaled, by errors that the model could not learn from:
those of a validation set. On its own training set a flexible model has errors that are too small, and every scale
fitted there collapses.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from matterscape.checks import check_whole
from matterscape.uq.arrays import error_vector, feature_matrix, positive_vector

#: Grid of the authors' code: varsigma from 1e-5 to below 1e5 in quarter decades, squared.
DEFAULT_REGULARISATIONS = 10.0 ** np.arange(-10.0, 10.0, 0.5)
BIN_SIZE = 100


def negative_log_likelihood(errors, variances) -> float:
    """Mean negative logarithm of the Gaussian density of the errors, < ln(2 pi sigma^2) + e^2 / sigma^2 > / 2.

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    variances : array (n_samples,)
        Predicted variances, in squared units of the errors.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no sample, the lengths differ, a number is not finite, or a variance is not positive.
    """
    errors = error_vector(errors)
    variances = positive_vector(variances, len(errors), "variances")
    return float(0.5 * np.mean(np.log(2.0 * np.pi * variances) + errors**2 / variances))


def continuous_ranked_probability_score(errors, variances) -> float:
    """Mean continuous ranked probability score of Gaussian predictions, in units of the errors.

    The score of one prediction is sigma [z (2 Phi(z) - 1) + 2 phi(z) - pi^(-1/2)] with z = e / sigma (Gneiting and
    Raftery, J. Am. Stat. Assoc. 102, 359 (2007), Eq. 21, with the opposite sign: small is good).

    Parameters
    ----------
    errors, variances : array (n_samples,)
        As for :func:`negative_log_likelihood`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As :func:`negative_log_likelihood`.
    """
    errors = error_vector(errors)
    deviations = np.sqrt(positive_vector(variances, len(errors), "variances"))
    z = errors / deviations
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return float(np.mean(deviations * (z * (2.0 * ndtr(z) - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi))))


@dataclass(frozen=True)
class Calibration:
    """Best variance scale alpha^2 and regularisation varsigma^2, with the path along the grid.

    Attributes
    ----------
    variance_scale : float
    regularisation : float or None
        None if the inverse rigidities were given for one regularisation.
    value : float
        Objective at the best point; the smaller, the better.
    regularisations : array (n_grid,) or None
    variance_scales : array (n_grid,)
        Best variance scale for each regularisation.
    values : array (n_grid,)
        Objective there.
    """

    variance_scale: float
    regularisation: float | None
    value: float
    regularisations: np.ndarray | None
    variance_scales: np.ndarray
    values: np.ndarray

    @property
    def at_edge(self) -> bool:
        """Whether the best regularisation ends the grid, so that a wider grid would give a better one."""
        return len(self.values) > 1 and int(np.argmin(self.values)) in (0, len(self.values) - 1)


def calibrate(rows, errors, *, objective: str = "likelihood", regularisations=None) -> Calibration:
    """Variance scale and regularisation that describe held-out errors best.

    Variances are alpha^2 r(varsigma^2) with r = f^T (F^T F + varsigma^2)^-1 f. For one regularisation the likelihood
    is largest at alpha^2 = <e^2 / r>, so that only the regularisation needs a scan. The binned objective compares, in
    bins of 100 samples of similar variance, sum_b [ln(<e^2>_b / <sigma^2>_b)]^2; there ln alpha^2 is the mean of
    ln(<e^2>_b / <r>_b), and samples that fill no bin, those of the largest variances, are left out.

    Parameters
    ----------
    rows : SpectralRows, or array (n_samples,)
        Validation rows seen through :class:`~matterscape.uq.spectrum.RigiditySpectrum`; or inverse rigidities r for
        one regularisation, if only the scale is wanted.
    errors : array (n_samples,)
        Prediction minus target for these rows. The model must not have been trained on them: training errors are too
        small, and so would be every variance.
    objective : "likelihood" or "binned"
    regularisations : array (n_grid,), optional
        Values of varsigma^2 to try, ascending; 1e-10 to 3e9 in half decades by default.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If there is no sample, there are fewer than 100 for ``"binned"``, lengths differ, all errors are zero, a
        variance is zero, a number is not finite, or an option is not one of the above.

    Warns
    -----
    UserWarning
        If the best regularisation is at an edge of the grid.

    References
    ----------
    Bigi, Chong, Ceriotti, Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024); the binned objective and the grid
    are those of the authors' code, https://github.com/frostedoyster/llpr.
    """
    if objective not in ("likelihood", "binned"):
        raise ValueError(f"objective must be 'likelihood' or 'binned', got {objective!r}")
    squares = _squared(errors)
    grid = None
    if hasattr(rows, "inverse_rigidity"):
        grid = _regularisation_grid(DEFAULT_REGULARISATIONS if regularisations is None else regularisations)
        inverse_rigidities = feature_matrix(rows.inverse_rigidity(grid), "rows", len(squares))
        positive_vector(inverse_rigidities.min(axis=0), len(squares), "inverse rigidities of rows")
    elif regularisations is not None:
        raise ValueError("regularisations need rows of a RigiditySpectrum, got inverse rigidities for one of them")
    else:
        inverse_rigidities = positive_vector(rows, len(squares), "rows")[None]

    if objective == "likelihood":
        scales = np.mean(squares / inverse_rigidities, axis=1)
        values = 0.5 * (np.log(2.0 * np.pi * scales) + np.log(inverse_rigidities).mean(axis=1) + 1.0)
    else:
        scales, values = np.transpose([_binned_optimum(row, squares) for row in inverse_rigidities])

    best = int(np.argmin(values))
    calibration = Calibration(
        variance_scale=float(scales[best]),
        regularisation=None if grid is None else float(grid[best]),
        value=float(values[best]),
        regularisations=grid,
        variance_scales=scales,
        values=values,
    )
    if calibration.at_edge:
        warnings.warn(
            f"the best regularisation {grid[best]:.3g} is at the edge of the grid, {grid[0]:.3g} to {grid[-1]:.3g}; "
            "a wider grid would find a better one",
            stacklevel=2,
        )
    return calibration


def _squared(errors) -> np.ndarray:
    squares = error_vector(errors) ** 2
    if not squares.any():
        raise ValueError("errors must not all be zero: they are the errors on data that the model has not seen")
    return squares


def _regularisation_grid(values) -> np.ndarray:
    grid = error_vector(values, "regularisations")
    grid = positive_vector(grid, len(grid), "regularisations")
    if (np.diff(grid) <= 0).any():
        raise ValueError("regularisations must ascend")
    return grid


def _binned_optimum(inverse_rigidities: np.ndarray, squares: np.ndarray) -> tuple[float, float]:
    n_bins = len(squares) // BIN_SIZE
    if n_bins == 0:
        raise ValueError(
            f"errors must be at least {BIN_SIZE} for objective 'binned', got {len(squares)}; use 'likelihood'"
        )
    bins = np.argsort(inverse_rigidities, kind="stable")[: n_bins * BIN_SIZE].reshape(n_bins, BIN_SIZE)
    mean_squares = squares[bins].mean(axis=1)
    if not mean_squares.all():
        raise ValueError("errors must not all be zero in a bin, because the binned objective takes their logarithm")
    log_ratios = np.log(mean_squares / inverse_rigidities[bins].mean(axis=1))
    centre = log_ratios.mean()
    return float(np.exp(centre)), float(np.sum((log_ratios - centre) ** 2))


def ensemble_variance_scale(errors, variances, n_members: int | None = None) -> float:
    """Factor alpha^2 by which the variances of an ensemble should be multiplied.

    Without ``n_members`` it is <e^2 / sigma^2>, which maximises the likelihood of the errors. This is right for heads
    that were trained together, because their loss has already seen the spread of these very members.

    For M independent members (a committee) the spread sigma^2 is itself an estimate from M draws, and the mean of the
    members errs like a draw. If members follow N(mu, s^2) and the truth N(mu, alpha^2 s^2), then e = mean - truth has
    variance (alpha^2 + 1/M) s^2, and <1 / sigma^2> is (M-1)/(M-3) / s^2 (the mean of an inverse chi-squared), so that
    alpha^2 = (M-3)/(M-1) <e^2 / sigma^2> - 1/M  makes the stretched members draws like the truth (Imbalzano et al.,
    J. Chem. Phys. 154, 074102 (2021)). The mean square error of the finite ensemble's mean is then
    (alpha^2 + 1/M) <sigma^2>. Members drawn from a known posterior around an exact mean (:meth:`Rigidity.sample`) are
    neither case; calibrate the variance that they were drawn with.

    Parameters
    ----------
    errors : array (n_samples,)
        Mean of the members minus target, on data that the ensemble was not trained on.
    variances : array (n_samples,)
        Variance of the members (ddof = 1).
    n_members : int, optional
        Number of independent members, more than 3; None for heads trained together.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, a variance or all errors are zero, there are too
        few members, or the errors are smaller than the noise of the members' mean.
    """
    squares = _squared(errors)
    scale = float(np.mean(squares / positive_vector(variances, len(squares), "variances")))
    if n_members is None:
        return scale
    check_whole("n_members", n_members, 4, "number of members")
    corrected = (n_members - 3) / (n_members - 1) * scale - 1.0 / n_members
    if corrected <= 0:
        raise ValueError(
            f"errors must exceed the noise of the mean of {n_members} members, got <error^2/variance> = {scale:.3g}; "
            "the members are not independent, leave out n_members"
        )
    return corrected


def isotonic_calibration(errors, variances) -> Callable[[np.ndarray], np.ndarray]:
    """Monotone map from predicted to calibrated variances, fitted to held-out squared errors.

    Among all non-decreasing maps this one has the largest Gaussian likelihood on the given errors (the pooled means of
    e^2 are the maximum-likelihood variances of each block). It is flexible: hundreds of samples are needed, and beyond
    their range it continues as a constant, so it must not be trusted out of domain.

    Parameters
    ----------
    errors : array (n_samples,)
        Prediction minus target.
    variances : array (n_samples,)

    Returns
    -------
    callable
        array (n,) of predicted variances -> array (n,) of calibrated variances, positive.

    Raises
    ------
    ValueError
        If there is no sample, lengths differ, a number is not finite, or a variance or all errors are zero.
    """
    from sklearn.isotonic import IsotonicRegression

    squares = _squared(errors)
    variances = positive_vector(variances, len(squares), "variances")
    # A block whose errors all vanish would get the variance zero.
    regression = IsotonicRegression(y_min=squares[squares > 0].min(), out_of_bounds="clip").fit(variances, squares)

    def calibrated(predicted) -> np.ndarray:
        predicted = error_vector(predicted, "predicted variances")
        return regression.predict(positive_vector(predicted, len(predicted), "predicted variances"))

    return calibrated
