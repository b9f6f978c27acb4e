"""Uncertainties of predictions: rigidities of the last layer, shallow ensembles, calibration, propagation."""

import importlib

_NAMES = {
    "Calibration": "calibration",
    "DeepEnsemble": "ensembles",
    "LastLayerEnsemble": "last_layer",
    "Propagated": "propagation",
    "Reliability": "scores",
    "ReweightingWarning": "reweighting",
    "Rigidity": "rigidity",
    "RigiditySpectrum": "spectrum",
    "SeveralObservables": "reweighting",
    "ShallowEnsemble": "ensembles",
    "SizeDecomposition": "propagation",
    "SpectralRows": "spectrum",
    "block_bootstrap": "reweighting",
    "calibrate": "calibration",
    "component_prediction_rigidity": "local_rigidity",
    "continuous_ranked_probability_score": "calibration",
    "coverage": "scores",
    "cumulant_expansion": "reweighting",
    "decompose_size": "propagation",
    "direct_reweighting": "reweighting",
    "effective_sample_fraction": "reweighting",
    "ensemble_variance_scale": "calibration",
    "error_lines": "scores",
    "feature_jacobian_rows": "derivatives",
    "full_rigidity_variance": "tangent_kernel",
    "gaussian_negative_log_likelihood": "losses",
    "gaussian_ranked_probability": "losses",
    "gram": "rigidity",
    "integrated_correlation_time": "reweighting",
    "isotonic_calibration": "calibration",
    "last_layer_features": "last_layer",
    "likelihood_coefficient": "scores",
    "local_prediction_rigidity": "local_rigidity",
    "mean_and_variance": "ensembles",
    "member_gradients": "derivatives",
    "miscalibration_area": "scores",
    "negative_log_likelihood": "calibration",
    "propagate": "propagation",
    "quadratic_form": "quadratic",
    "quantile_lines": "scores",
    "reliability": "scores",
    "several_observables": "reweighting",
    "stretched": "propagation",
    "variance_scale": "rigidity",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
