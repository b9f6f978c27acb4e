"""Plots that put predicted error bars to the test: errors against standard deviations, and reliability curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matterscape.uq.scores import error_lines, quantile_lines, reliability

from .canvas import column
from .curve import Curve, Series

ERRORS_BELOW = 1e-3  # of the rms error: smaller ones are drawn here, so that one lucky hit does not stretch the plot
DENSITY_LINES = {"68 % of errors": 1.0, "95 %": 2.0, "99.7 %": 3.0}  # standard deviations of a normal distribution
QUANTILE_LINES = {"15 to 85 %": 0.15, "5 to 95 %": 0.05, "0.5 to 99.5 %": 0.005}  # of the errors below
LINES = ("density", "quantile")


class ErrorPlot(Curve):
    """Absolute errors against predicted standard deviations, on logarithmic axes, with the bands where they belong.

    If the standard deviations are right, ln |error| at given sigma is densest at |error| = sigma, and the bands hold
    the shares of the errors that their names tell, at every sigma.

    Parameters
    ----------
    samples : dict of str to (errors, deviations)
        Errors and predicted standard deviations, arrays (n,) in the same unit, by the name in the legend.
    lines : {"density", "quantile"}
        Bands between lines of equal density of ln |error| (the shortest on the logarithmic axis that hold 68, 95 and
        99.7 % of the errors), or between quantiles of |error|.
    unit : str
        Unit of the errors, for the labels.
    height : int
        Height in CSS pixels.

    Raises
    ------
    ValueError
        If lengths differ, a number is not finite, a deviation is not positive, or `lines` is another one.
    """

    def __init__(
        self,
        samples: Mapping[str, tuple] | None = None,
        *,
        lines: str = "density",
        unit: str = "",
        height: int = 340,
    ):
        if lines not in LINES:
            raise ValueError(f"lines is {lines!r}, but must be one of {', '.join(LINES)}.")
        self.lines = lines
        super().__init__(
            x_label=_with_unit("predicted standard deviation", unit),
            y_label=_with_unit("|error|", unit),
            x_scale="log",
            y_scale="log",
            height=height,
        )
        self.show(samples or {})

    def show(self, samples: Mapping[str, tuple]) -> None:
        """Draw other samples, as for the constructor."""
        pairs = _checked(self, samples)
        points = {
            name: Series(deviations, np.maximum(np.abs(errors), _floor(errors)), style="points")
            for name, (errors, deviations) in pairs.items()
        }
        every = np.concatenate([deviations for _, deviations in pairs.values()]) if pairs else np.empty(0)
        self.update(points | (guide_bands(every.min(), every.max(), lines=self.lines) if every.size else {}))


class ReliabilityPlot(Curve):
    """Root mean square error against root mean square standard deviation, in bins of rising deviation.

    Honest error bars lie on the diagonal; above it they are too small.

    Parameters
    ----------
    samples : dict of str to (errors, deviations)
        Errors and predicted standard deviations, arrays (n,) in the same unit, by the name in the legend.
    n_bins : int
        Bins with equal numbers of samples.
    unit : str
        Unit of the errors, for the labels.
    height : int
        Height in CSS pixels.

    Raises
    ------
    ValueError
        If lengths differ, a number is not finite, or a deviation is not positive.
    """

    def __init__(
        self,
        samples: Mapping[str, tuple] | None = None,
        *,
        n_bins: int = 10,
        unit: str = "",
        height: int = 340,
    ):
        self.n_bins = n_bins
        super().__init__(
            x_label=_with_unit("predicted, rms of bin", unit),
            y_label=_with_unit("rms error of bin", unit),
            x_scale="log",
            y_scale="log",
            height=height,
        )
        self.show(samples or {})

    def show(self, samples: Mapping[str, tuple]) -> None:
        """Draw other samples, as for the constructor."""
        pairs = _checked(self, samples)
        series = {name: reliability_series(*pair, self.n_bins) for name, pair in pairs.items()}
        if series:
            ends = np.concatenate([np.concatenate([one.x, one.low, one.high]) for one in series.values()])
            ends = np.array([ends.min(), ends.max()])
            series["honest"] = Series(ends, ends)
        self.update(series)


def reliability_series(errors, deviations, n_bins: int = 10) -> Series:
    """Reliability curve of a sample: rms error of every bin against its rms deviation, with its sampling error.

    Parameters
    ----------
    errors, deviations : array_like, shape (n,)
        Errors and predicted standard deviations in the same unit.
    n_bins : int
        Bins with equal numbers of samples.

    Returns
    -------
    Series
        With error bars of one standard error of an rms of normal errors, a share 1 / sqrt(2 n) of it.
    """
    bins = reliability(errors, np.square(deviations), n_bins)
    spread = bins.errors / np.sqrt(2 * bins.counts)
    return Series(bins.deviations, bins.errors, bins.errors - spread, bins.errors + spread, style="both")


def guide_bands(lowest: float, highest: float, *, lines: str = "density") -> dict[str, Series]:
    """Bands of |error| against sigma for a plot with logarithmic axes.

    Parameters
    ----------
    lowest, highest : float
        Smallest and largest sigma of the plot, positive.
    lines : {"density", "quantile"}
        As for `ErrorPlot`.

    Returns
    -------
    dict of str to Series
        Named bands, each with the line |error| = sigma.

    Raises
    ------
    ValueError
        If the range is not positive or `lines` is another one.
    """
    if not 0 < lowest <= highest < np.inf:
        raise ValueError(f"lowest and highest are {lowest:g} and {highest:g}, but must be positive and in order.")
    if lines not in LINES:
        raise ValueError(f"lines is {lines!r}, but must be one of {', '.join(LINES)}.")
    sigma = np.array([lowest / 1.1, highest * 1.1])
    names, constants = (DENSITY_LINES, error_lines) if lines == "density" else (QUANTILE_LINES, quantile_lines)
    bands = {name: constants(value) for name, value in names.items()}
    return {name: Series(sigma, sigma, low * sigma, high * sigma) for name, (low, high) in bands.items()}


def _checked(plot: Curve, samples: Mapping[str, tuple]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Samples as finite arrays with positive deviations; a failure is shown on the plot, too."""
    pairs = {}
    try:
        for name, (errors, deviations) in samples.items():
            errors = column(f"errors of {name!r}", errors)
            deviations = column(f"deviations of {name!r}", deviations, len(errors))
            if not np.isfinite(errors).all():
                raise ValueError(f"errors of {name!r} contain nan, but every error must be a number.")
            if not (deviations > 0).all():
                raise ValueError(f"deviations of {name!r} contain {deviations.min():g}, but must be positive.")
            pairs[name] = (errors, deviations)
    except ValueError as error:
        plot.error = str(error)
        raise
    return pairs


def _floor(errors: np.ndarray) -> float:
    return max(ERRORS_BELOW * float(np.sqrt(np.mean(np.square(errors)))), np.finfo(float).tiny)


def _with_unit(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name
