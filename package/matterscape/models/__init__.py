"""Regression models on features, with uncertainties."""

import importlib

_NAMES = {
    "DeltaPotential": "delta",
    "EnsembleModel": "ensemble_model",
    "EnsemblePotential": "ensemble_potential",
    "KernelRidgeModel": "kernel_ridge",
    "LearningCurve": "validation",
    "RegularisationPath": "normal_equations",
    "RidgeModel": "ridge",
    "StructureRows": "structure_rows",
    "TrainingHistory": "network",
    "TrainingSet": "training_sets",
    "learning_curve": "validation",
    "multilayer_perceptron": "network",
    "train": "network",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
