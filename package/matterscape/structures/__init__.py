"""Batches of atomic structures, their neighbour pairs and their properties."""

from matterscape.structures.batch import Structures
from matterscape.structures.neighbours import Pairs

__all__ = ["Pairs", "Structures"]
