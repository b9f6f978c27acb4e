"""Explorer: somebody's own structures as an interactive map, with a model that says where it knows nothing."""

from .app import Explorer
from .engine import Exploration, Outcome, Settings

__all__ = ["Exploration", "Explorer", "Outcome", "Settings"]
