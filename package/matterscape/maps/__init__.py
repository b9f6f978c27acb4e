"""Structure-property maps: the whole way from frames to features, map, model and chemiscope file, and its steps."""

import importlib

_NAMES = {
    "Cancelled": "samples",
    "EnsembleFit": "fits",
    "Exploration": "exploration",
    "Features": "samples",
    "Fit": "fits",
    "MapResult": "chemiscope_data",
    "Neighbours": "neighbours",
    "Outcome": "exploration",
    "Projection": "projection",
    "Samples": "samples",
    "Settings": "exploration",
    "build_map": "build",
    "cluster": "neighbours",
    "mode_map": "vibrations",
    "nearest": "neighbours",
    "project": "projection",
    "pseudo_species": "hyperparameters",
    "select": "selection",
    "suggest_hyperparameters": "hyperparameters",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
