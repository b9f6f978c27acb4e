"""Interactive views for Jupyter: maps, curves, structures, studies, background runs and self-checking exercises.

Every widget takes plain numpy arrays and ASE frames and works in any notebook.
"""

import importlib

from .check import Check, CheckResult, Checks, Invariance, Limit
from .curve import Curve, Series
from .instructive_check import InstructiveCheck
from .live_atoms import LiveAtoms
from .live_map import LiveMap
from .run import Run
from .structure_pane import StructurePane, link
from .study import Readout, Study

__all__ = [
    "ActiveLearning",
    "Check",
    "CheckResult",
    "Checks",
    "ConductivityView",
    "CurrentsUpload",
    "Curve",
    "EnvironmentMap",
    "ErrorPlot",
    "Explorer",
    "InstructiveCheck",
    "Invariance",
    "Knob",
    "Limit",
    "LiveAtoms",
    "LiveMap",
    "LiveSimulation",
    "ModeView",
    "Readout",
    "ReliabilityPlot",
    "Run",
    "Series",
    "StructurePane",
    "Study",
    "System",
    "link",
    "ready_systems",
]

# What brings kernels and models along, which the other widgets do without.
_LATER = {
    "ActiveLearning": "active_learning",
    "ConductivityView": "conductivity_view",
    "CurrentsUpload": "currents_upload",
    "EnvironmentMap": "environment_map",
    "ErrorPlot": "calibration_plots",
    "Explorer": "explorer",
    "Knob": "simulated_systems",
    "LiveSimulation": "live_simulation",
    "ModeView": "mode_view",
    "ReliabilityPlot": "calibration_plots",
    "System": "simulated_systems",
    "ready_systems": "simulated_systems",
}


def __getattr__(name: str):
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
