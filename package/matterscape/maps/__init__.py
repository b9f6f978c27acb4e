"""Structure-property maps: selections, projections, neighbours, and the whole way from frames to a chemiscope file."""

import importlib

_NAMES = {
    "MapResult": "chemiscope_data",
    "Neighbours": "neighbours",
    "Projection": "projection",
    "build_map": "build",
    "cluster": "neighbours",
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
