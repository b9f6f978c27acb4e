"""What the plot below the map shows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from matterscape.maps import EnsembleFit, Fit, Outcome
from matterscape.models import LearningCurve

from ..calibration_plots import guide_bands
from ..curve import Series

PLOTS = ("parity", "uncertainty", "learning curve", "regularisation")
RIDGE = "ridge, held out"
ENSEMBLE = "ensemble, held out"
SELECTED = {RIDGE: "selected, ridge", ENSEMBLE: "selected, ensemble"}  # of the samples of each model
SMALLEST = 1e-3  # of the rms error: what is smaller is drawn here, so that one lucky hit does not stretch the plot


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
        return _parity(_judged(outcome), fit.target.values, samples, f"{fit.target.name}{unit}", unit)
    if kind == "uncertainty":
        return _uncertainty(_judged(outcome), SMALLEST * fit.rmse, samples, unit)
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


def _judged(outcome: Outcome) -> dict[str, Fit | EnsembleFit]:
    """The models whose held-out predictions are shown, the ridge on top of the ensemble."""
    ensemble = {} if outcome.ensemble is None else {ENSEMBLE: outcome.ensemble}
    return {**ensemble, RIDGE: outcome.fit}


def _clouds(points: dict[str, tuple[np.ndarray, np.ndarray]], samples: np.ndarray) -> dict[str, Series]:
    """Points of each model, and on top of them those of the selected samples."""
    series = {name: Series(x, y, style="points") for name, (x, y) in points.items()}
    if len(samples):
        series |= {SELECTED[name]: Series(x[samples], y[samples], style="points") for name, (x, y) in points.items()}
    return series


def _parity(
    judged: dict[str, Fit | EnsembleFit], reference: np.ndarray, samples: np.ndarray, x_label: str, unit: str
) -> Plot:
    every = np.concatenate([reference, *(fit.prediction for fit in judged.values())])
    ends = [every.min(), every.max()]
    points = {name: (reference, fit.prediction) for name, fit in judged.items()}
    labels = {"x_label": x_label, "y_label": f"prediction{unit}"}
    return Plot({"ideal": Series(ends, ends), **_clouds(points, samples)}, labels)


def _uncertainty(judged: dict[str, Fit | EnsembleFit], smallest: float, samples: np.ndarray, unit: str) -> Plot:
    smallest = max(smallest, np.finfo(float).tiny)
    points = {
        name: (np.maximum(fit.uncertainty, smallest), np.maximum(np.abs(fit.error), smallest))
        for name, fit in judged.items()
    }
    every = np.concatenate([x for x, _ in points.values()])
    series = {**guide_bands(every.min(), every.max()), **_clouds(points, samples)}
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
