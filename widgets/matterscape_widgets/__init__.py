"""Interactive views for Jupyter: maps, curves, structures, studies, background runs and self-checking exercises.

Every widget takes plain numpy arrays and ASE frames and works in any notebook.
"""

from .check import Check, CheckResult, Checks, Invariance, Limit
from .curve import Curve, Series
from .live_atoms import LiveAtoms
from .live_map import LiveMap
from .run import Run
from .structure_pane import StructurePane, link
from .study import Readout, Study

__all__ = [
    "Check",
    "CheckResult",
    "Checks",
    "Curve",
    "Explorer",
    "Invariance",
    "Limit",
    "LiveAtoms",
    "LiveMap",
    "Readout",
    "Run",
    "Series",
    "StructurePane",
    "Study",
    "link",
]


def __getattr__(name: str):
    if name == "Explorer":  # brings the kernels and models along, which the other widgets do without
        from .explorer import Explorer

        return Explorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
