"""What the plot below the map shows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from matterscape.maps import Fit, Outcome
from matterscape.models import LearningCurve

from ..curve import Series

PLOTS = ("parity", "uncertainty", "learning curve", "regularisation")
SAMPLES = "held out"
SELECTED = "selected"


@dataclass(frozen=True)
class Plot:
    """Arguments of `Curve.update`."""

    series: dict[str, Series]
    labels: dict[str, str]
    scales: dict[str, str] = field(default_factory=lambda: {"x_scale": "linear", "y_scale": "linear"})

    def arguments(self) -> dict[str, Any]:
        """All of them."""
        return {"series": self.series, **self.scales, **self.labels}


def make_plot(kind: str, outcome: Outcome, samples: np.ndarray, curve: LearningCurve | None) -> Plot:
    """The plot of one kind.

    Parameters
    ----------
    kind : str
        One of `PLOTS`.
    outcome : Outcome
    samples : integer array
        Selected samples of the model.
    curve : LearningCurve or None
        None as long as it has not been computed.

    Returns
    -------
    Plot
        Without series where there is nothing to show.
    """
    fit = outcome.fit
    if fit is None:
        return Plot({}, {"x_label": "", "y_label": ""})
    unit = f" ({fit.target.unit})" if fit.target.unit else ""
    if kind == "parity":
        return _parity(fit, samples, unit)
    if kind == "uncertainty":
        return _uncertainty(fit, samples, unit)
    if kind == "learning curve":
        return _learning(fit, curve, unit)
    path = fit.model.regularisation_path
    best = path.regularisations[path.best]
    series = {
        "held-out error": Series(path.regularisations, path.rmse, *_band(path.fold_rmse), style="line"),
        "chosen": Series([best], [path.rmse[path.best]], style="points"),
    }
    labels = {"x_label": "regularisation", "y_label": f"error of {fit.target.name}{unit}"}
    return Plot(series, labels, {"x_scale": "log", "y_scale": "log"})


def _parity(fit: Fit, samples: np.ndarray, unit: str) -> Plot:
    reference = fit.target.values
    ends = [min(reference.min(), fit.prediction.min()), max(reference.max(), fit.prediction.max())]
    series = {"ideal": Series(ends, ends), SAMPLES: Series(reference, fit.prediction, style="points")}
    if len(samples):
        series[SELECTED] = Series(reference[samples], fit.prediction[samples], style="points")
    return Plot(series, {"x_label": f"{fit.target.name}{unit}", "y_label": f"prediction{unit}"})


def _uncertainty(fit: Fit, samples: np.ndarray, unit: str) -> Plot:
    smallest = 1e-3 * max(fit.rmse, np.finfo(float).tiny)
    error = np.maximum(np.abs(fit.prediction - fit.target.values), smallest)
    expected = np.maximum(fit.uncertainty, smallest)
    ends = np.array([expected.min(), expected.max()])
    series = {"one standard deviation": Series(ends, ends), SAMPLES: Series(expected, error, style="points")}
    if len(samples):
        series[SELECTED] = Series(expected[samples], error[samples], style="points")
    labels = {"x_label": f"predicted uncertainty{unit}", "y_label": f"|error|{unit}"}
    return Plot(series, labels, {"x_scale": "log", "y_scale": "log"})


def _learning(fit: Fit, curve: LearningCurve | None, unit: str) -> Plot:
    labels = {"x_label": "training samples", "y_label": f"test error of {fit.target.name}{unit}"}
    if curve is None:
        return Plot({}, labels)
    series = {
        "mean of the shuffles": Series(curve.sizes.astype(float), curve.mean, *_band(curve.rmse.T), style="both"),
        "baseline": Series([float(curve.sizes[0]), float(curve.sizes[-1])], [fit.spread, fit.spread]),
    }
    return Plot(series, labels, {"x_scale": "log", "y_scale": "log"})


def _band(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Range of several curves (n_curves, n_points)."""
    return rows.min(axis=0), rows.max(axis=0)
