"""Slope of a mean-square displacement by generalised least squares, with the covariance of overlapping origins."""

import numpy as np
from scipy import linalg

from matterscape.transport._displacement_kernels import fill_overlap_covariance

MOST_LAGS = 24  # neighbouring lags of one curve say almost the same


def overlap_covariance(first: np.ndarray, second: np.ndarray, variogram: np.ndarray, n_times: int) -> np.ndarray:
    """Covariance of the mean-square displacements of one Gaussian walker in one dimension, at pairs of lags.

    MSD(n) averages over all n_times - n origins, which overlap. For Gaussian displacements D_n(i) = x(i + n) - x(i)
    with the variogram g(n) = <D_n^2>,

        cov[MSD(n), MSD(m)] = 2 / (K_n K_m) sum_s k(s) c(s)^2
        c(s) = <D_n(i) D_m(i + s)> = [g(n - s) + g(m + s) - g(s) - g(m + s - n)] / 2

    with K_n = n_times - n, and k(s) the number of pairs of origins that are s apart.

    Parameters
    ----------
    first, second : array (n_pairs,), int
        The lags n and m of each pair.
    variogram : array (n_times,)
        g at lags 0, 1, ...; a straight line from some lag on.
    n_times : int

    Source: Isserlis' theorem for the squares; the sum over origins as in H. Qian, M. P. Sheetz, E. L. Elson,
    Biophys. J. 60, 910 (1991), who give it for free diffusion.
    """
    variogram = np.ascontiguousarray(variogram, dtype=np.float64)
    bends = np.flatnonzero(np.abs(np.diff(variogram, 2)) > 1e-10 * np.abs(variogram).max())
    straight = int(bends[-1]) + 2 if len(bends) else 1  # beyond, the covariance of two displacements vanishes
    result = np.empty(len(first))
    fill_overlap_covariance(np.asarray(first), np.asarray(second), variogram, straight, n_times, result)
    return result


def line_and_variance(curve: np.ndarray, lags: slice, n_times: int, scale: float) -> tuple[float, float, np.ndarray]:
    """Slope per lag of a curve by generalised least squares, and the variance of that slope as a function of the slope.

    Parameters
    ----------
    curve : array (n_lags,)
        Mean-square displacement at lags 0, 1, ...
    lags : slice
        Where it is a straight line.
    n_times : int
        Rows of a block.
    scale : float
        Covariance of the curve, in units of that of one walker in one dimension.

    Returns
    -------
    slope, error : float
    variance : array (3,)
        v0, v1, v2 of the variance v0 + v1 slope + v2 slope^2.
    """
    chosen = np.unique(np.linspace(lags.start, lags.stop - 1, MOST_LAGS).astype(np.int64))
    design = np.stack([np.ones(len(chosen)), chosen], axis=1)
    rows, columns = np.triu_indices(len(chosen))

    def covariance(slope: float, intercept: float) -> np.ndarray:
        variogram = slope * np.arange(n_times) + intercept * _approach(curve[1], slope, intercept, n_times)
        matrix = np.empty((len(chosen), len(chosen)))
        matrix[rows, columns] = overlap_covariance(chosen[rows], chosen[columns], variogram, n_times)
        matrix[columns, rows] = matrix[rows, columns]
        return scale * matrix

    weights = np.linalg.pinv(design).T
    for _ in range(3):
        intercept, slope = curve[chosen] @ weights
        slope = max(slope, 0.0)  # the walk of a covariance moves forwards
        matrix = covariance(slope, max(intercept, -slope * lags.start))
        matrix[np.diag_indices_from(matrix)] *= 1.0 + 1e-9
        weighted = linalg.cho_solve(linalg.cho_factor(matrix), design)
        weights = weighted @ np.linalg.inv(design.T @ weighted)  # (n, 2): intercept and slope from the curve
    intercept, slope = curve[chosen] @ weights
    level = intercept + slope * lags.start  # what the curve reached before, whatever its slope
    trial = np.array([0.0, 0.5, 1.0]) * max(abs(slope), 1e-12)
    variances = [weights[:, 1] @ covariance(one, level - one * lags.start) @ weights[:, 1] for one in trial]
    v2, v1, v0 = np.polyfit(trial, variances, 2)
    return float(slope), float(np.sqrt(variances[-1])), np.array([v0, v1, v2])


def _approach(first: float, slope: float, intercept: float, n_times: int) -> np.ndarray:
    """How a variogram goes from zero at no lag to its line: 1 - exp(-m / tau), with tau from its value at lag 1.

    An Ornstein-Uhlenbeck process about a free walk does this exactly, an atom in a cage; with a negative intercept,
    which is that of an atom whose velocity persists, tau cannot be shorter than -intercept / slope.
    """
    share = (first - slope) / intercept if intercept else 1.0
    rate = -np.log1p(-min(max(share, 1e-3), 1.0 - 1e-9))
    if intercept < 0:
        rate = min(rate, slope / -intercept)
    return -np.expm1(-rate * np.arange(n_times))


def posterior_of_slope(slope: float, error: float, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each non-negative slope, given the fitted one.

    The fitted slope is normal about the true one b with the variance v(b), which grows with b since displacements do.
    The prior is Jeffreys' for that family, 1 / sqrt(v(b)): uniform in b where v is constant, in log b where
    v = const b^2.

    Returns
    -------
    values, density : array (n,)
        With integral 1.
    """
    values = np.linspace(0.0, max(slope, 0.0) + 25.0 * error, 20001)[1:]
    spread = np.maximum(np.polyval(variance[::-1], values), 1e-6 * error**2)
    logarithm = -np.log(spread) - 0.5 * (slope - values) ** 2 / spread
    density = np.exp(logarithm - logarithm.max())
    return values, density / (density.sum() * (values[1] - values[0]))
