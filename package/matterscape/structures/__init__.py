"""Batches of atomic structures, their neighbour pairs and their properties."""

from matterscape.structures.batch import Structures
from matterscape.structures.extended import ExtendedPairs, extended_pairs
from matterscape.structures.neighbours import Pairs
from matterscape.structures.networks import Network, decorate_bridges, network_statistics, www_network
from matterscape.structures.verlet import NeighbourLists, VerletList

__all__ = [
    "ExtendedPairs",
    "NeighbourLists",
    "Network",
    "Pairs",
    "Structures",
    "VerletList",
    "decorate_bridges",
    "extended_pairs",
    "network_statistics",
    "www_network",
]
