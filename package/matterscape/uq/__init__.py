"""Uncertainties of predictions: rigidities of the last layer, shallow ensembles, calibration, propagation."""

import importlib

_NAMES = {
    "Calibration": "calibration",
    "LastLayerEnsemble": "last_layer",
    "Reliability": "scores",
    "Rigidity": "rigidity",
    "RigiditySpectrum": "spectrum",
    "ShallowEnsemble": "ensembles",
    "calibrate": "calibration",
    "component_prediction_rigidity": "local_rigidity",
    "continuous_ranked_probability_score": "calibration",
    "coverage": "scores",
    "ensemble_variance_scale": "calibration",
    "error_lines": "scores",
    "gaussian_negative_log_likelihood": "losses",
    "gaussian_ranked_probability": "losses",
    "gram": "rigidity",
    "isotonic_calibration": "calibration",
    "last_layer_features": "last_layer",
    "likelihood_coefficient": "scores",
    "local_prediction_rigidity": "local_rigidity",
    "mean_and_variance": "ensembles",
    "miscalibration_area": "scores",
    "negative_log_likelihood": "calibration",
    "quadratic_form": "quadratic",
    "quantile_lines": "scores",
    "reliability": "scores",
    "variance_scale": "rigidity",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
