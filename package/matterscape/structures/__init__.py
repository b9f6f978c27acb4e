"""Batches of atomic structures, their neighbour pairs and their properties."""

from matterscape.structures.batch import Structures
from matterscape.structures.extended import ExtendedPairs, extended_pairs
from matterscape.structures.neighbours import Pairs
from matterscape.structures.verlet import NeighbourLists, VerletList

__all__ = ["ExtendedPairs", "NeighbourLists", "Pairs", "Structures", "VerletList", "extended_pairs"]
