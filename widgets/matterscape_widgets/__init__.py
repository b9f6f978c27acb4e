"""Interactive views for Jupyter: maps, curves, structures, studies, background runs and self-checking exercises.

Every widget takes plain numpy arrays and ASE frames and works in any notebook.
"""

from .live_map import LiveMap
from .structure_pane import StructurePane, link
from .study import Readout, Study

__all__ = ["LiveMap", "Readout", "StructurePane", "Study", "link"]
