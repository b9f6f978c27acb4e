"""Explorer: somebody's own structures as an interactive map, with a model that says where it knows nothing."""

from matterscape.maps import Exploration, Outcome, Settings

from .app import Explorer
from .sources import Source, load_preferred, load_source, read_source

__all__ = [
    "Exploration",
    "Explorer",
    "Outcome",
    "Settings",
    "Source",
    "load_preferred",
    "load_source",
    "read_source",
]
