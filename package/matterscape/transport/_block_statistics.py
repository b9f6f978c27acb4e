"""Slopes of displacement curves in blocks and directions, and the errors that these tell."""

from collections.abc import Callable

import numpy as np

from matterscape.checks import is_number

# A window is refused if the curve bends in it by this many standard errors and by this share of its slope.
_BEND_ERRORS, _BEND_SHARE = 4.0, 0.25
_FEWEST_LAGS = 4


def window_lags(window_ps: tuple[float, float], timestep_fs: float, n_lags: int) -> slice:
    """Lags of a window of times; ``ValueError`` if it is empty, too short, or longer than half a block."""
    longest = (n_lags - 1) * timestep_fs * 1e-3
    try:
        start, stop = window_ps
    except (TypeError, ValueError):
        start = stop = None
    if not is_number(start) or not is_number(stop) or not 0 < start < stop <= longest * (1 + 1e-9):
        raise ValueError(
            f"window_ps is {window_ps!r}; accepted are two times from above 0 to half a block, {longest:.4g} ps"
        )
    first, last = (round(time * 1e3 / timestep_fs) for time in (start, stop))
    if last - first + 1 < _FEWEST_LAGS or first < 1:
        raise ValueError(
            f"window_ps is {window_ps!r}, which holds {max(last - first + 1, 0)} lags of {timestep_fs:g} fs; accepted "
            f"are at least {_FEWEST_LAGS}, above 0"
        )
    return slice(first, last + 1)


def slopes(curves: np.ndarray, lags: slice, timestep_fs: float) -> np.ndarray:
    """Slope of the least-squares line through curves (B, n_lags, ...) between two lags, per ps: (B, ...)."""
    times = np.arange(lags.start, lags.stop) * timestep_fs * 1e-3
    weights = times - times.mean()
    weights /= weights @ weights
    return np.tensordot(curves[:, lags], weights, axes=(1, 0))


def jackknife(rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A function of the mean over blocks and directions, and its standard error.

    Each direction is a stratum of its own, so that anisotropy does not count as noise: leaving out block b in direction
    x gives theta_xb, and

        error^2 = sum_x (B - 1) / B sum_b (theta_xb - mean_b theta_xb)^2

    The value is corrected for the bias of a function that is not linear, by (B - 1) sum_x (theta - mean_b theta_xb).

    Parameters
    ----------
    rows : array (B, 3, ...)
    function : callable
        Of an array (...), giving a number or an array.

    Source: B. Efron, C. Stein, Ann. Stat. 9, 586 (1981), for the jackknife.
    """
    n_blocks, n_directions = rows.shape[:2]
    means = rows.mean(axis=0)  # (3, ...)
    total = means.mean(axis=0)
    without = (n_blocks * means - rows) / (n_blocks - 1)  # (B, 3, ...)
    shifted = total + (without - means) / n_directions
    theta = np.array([[function(one) for one in row] for row in shifted])  # (B, 3, ...)
    plain = np.asarray(function(total))
    value = plain + (n_blocks - 1) * (plain - theta.mean(axis=0)).sum(axis=0)
    variance = (n_blocks - 1) / n_blocks * ((theta - theta.mean(axis=0)) ** 2).sum(axis=(0, 1))
    return value, np.sqrt(variance)


def refuse_bend(curves: np.ndarray, lags: slice, timestep_fs: float, window_ps: tuple[float, float], what: str) -> None:
    """Raise ``ValueError`` if curves (B, n_lags, 3) are no straight line in the window: it begins within the cage."""
    middle = (lags.start + lags.stop) // 2
    early = slopes(curves, slice(lags.start, middle), timestep_fs)
    late = slopes(curves, slice(middle, lags.stop), timestep_fs)
    bend, error = jackknife(early - late, lambda mean: mean)
    slope = abs(slopes(curves, lags, timestep_fs).mean())
    if abs(bend) > _BEND_ERRORS * error and abs(bend) > _BEND_SHARE * slope:
        raise ValueError(
            f"window_ps is {window_ps!r}, where the slope of {what} goes from {early.mean():.3g} to {late.mean():.3g} "
            "Å^2/ps: it begins before diffusion does (in the cage, or in free flight); accepted is a later start"
        )
