"""A potential evaluated over and over on the same atoms, without torch in the loop."""

import numpy as np

from matterscape.kernels import launch
from matterscape.potentials.base import Potential
from matterscape.structures import NeighbourLists, Structures


class Evaluator:
    """Energies, forces and flux tensors along a trajectory.

    Parameters
    ----------
    potential : Potential
    structures : Structures
        Fixes atoms, structures and periodic directions.
    skin : float
        Neighbour lists reach this much further than the potential, in Å, and are kept until atoms may have crossed it.

    Attributes
    ----------
    energies (n_atoms,), forces (n_atoms, 3), flux_tensors (n_atoms, 3, 3) : ndarray, float64
        Of the last call, in eV and Å; the flux tensors of the last call that asked for them. Overwritten in place.

    Raises
    ------
    ValueError
        If the potential has no parameters for a species, or the skin is negative.
    """

    def __init__(self, potential: Potential, structures: Structures, skin: float = 1.0):
        potential.check(structures)
        self.potential = potential
        self.lists = NeighbourLists(structures, skin)
        self.bound = potential.bind(structures, self.lists)
        n_atoms = structures.n_atoms
        self.energies = np.zeros(n_atoms)
        self.forces = np.zeros((n_atoms, 3))
        self.flux_tensors = np.zeros((n_atoms, 3, 3))
        self._used: set[bool] = set()  # values of pieces whose kernels are compiled

    def __call__(self, positions: np.ndarray, cells: np.ndarray, *, pieces: bool = False) -> None:
        """Evaluate at new positions and cells.

        Parameters
        ----------
        positions : ndarray (n_atoms, 3), float64
            In Å, not necessarily wrapped into the cells.
        cells : ndarray (n_structures, 3, 3), float64
        pieces : bool
            Also compute the flux tensors, which hold the virial.
        """
        with launch(None if pieces in self._used else str(self.potential)):
            self.lists.update(positions, cells)
            self.energies.fill(0.0)
            self.forces.fill(0.0)
            if pieces:
                self.flux_tensors.fill(0.0)
            self.bound.add(positions, cells, self.energies, self.forces, self.flux_tensors if pieces else None)
        self._used.add(pieces)

    @property
    def n_rebuilds(self) -> int:
        """How often the neighbour lists were searched."""
        return self.lists.n_rebuilds
