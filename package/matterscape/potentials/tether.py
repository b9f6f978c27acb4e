"""Springs that hold chosen atoms to fixed places, to ask what becomes of the others if these cannot move away."""

from typing import Any

import numpy as np
import torch

from matterscape.checks import check_number, real_array
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.structures import NeighbourLists, Structures


class Tether(Potential):
    """Harmonic springs from atoms to fixed places, U_i = k/2 |r_i - s_i|^2.

    An outer field: it belongs to an atom alone, so it carries no energy from one to another and its flux tensors are
    zero, and it takes up momentum (``remove_momentum=False`` in a Simulation where all atoms are tethered).

    Parameters
    ----------
    atoms : sequence of int
        Atoms of the batch that are held.
    places : array (n, 3)
        Where, in Å. Positions are taken as they are, not wrapped, and a change of the cell does not move the places.
    stiffness : float
        k in eV/Å^2; may be changed while a simulation runs.

    Raises
    ------
    ValueError
        If shapes do not fit, an atom is named twice, or a number is out of range.
    """

    def __init__(self, atoms: Any, places: np.ndarray, stiffness: float):
        self.atoms, self.places = np.asarray(atoms), real_array("places", places)
        if self.atoms.ndim != 1 or not len(self.atoms) or not np.issubdtype(self.atoms.dtype, np.integer):
            raise ValueError(f"atoms is {atoms!r}; accepted are the numbers of at least one atom")
        if self.atoms.min() < 0 or len(np.unique(self.atoms)) < len(self.atoms):
            raise ValueError(f"atoms is {atoms!r}; accepted are different numbers from 0 on")
        if self.places.shape != (len(self.atoms), 3) or not np.isfinite(self.places).all():
            raise ValueError(
                f"places has shape {self.places.shape}; accepted are {len(self.atoms)} finite rows of 3, one per atom"
            )
        self.stiffness = stiffness

    @property
    def stiffness(self) -> float:
        """Stiffness k of the springs in eV/Å^2."""
        return self.__dict__["stiffness"]

    @stiffness.setter
    def stiffness(self, value: float) -> None:
        check_number("stiffness", value, "eV/Å^2")
        self.__dict__["stiffness"] = float(value)  # under its public name, so that restart files tell it apart

    def check(self, structures: Structures) -> None:
        """See :meth:`Potential.check`; also raises ``ValueError`` if the batch lacks a tethered atom."""
        super().check(structures)
        if self.atoms.max() >= structures.n_atoms:
            raise ValueError(
                f"the tether holds atom {self.atoms.max()}; the structures have {structures.n_atoms} atoms"
            )

    def __call__(self, structures: Structures) -> Evaluation:
        """See :meth:`Potential.__call__`."""
        self.check(structures)
        positions = structures.positions
        atoms = torch.from_numpy(self.atoms).to(positions.device)
        away = positions[atoms] - torch.from_numpy(self.places).to(positions)
        energies = positions.new_zeros(len(positions)).index_add(0, atoms, 0.5 * self.stiffness * (away**2).sum(1))
        forces = torch.zeros_like(positions).index_add(0, atoms, -self.stiffness * away)
        return Evaluation(energies, forces, positions.new_zeros(len(positions), 3, 3), structures)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`; a later change of the stiffness applies."""
        self.check(structures)
        return _BoundTether(self)


class _BoundTether(Bound):
    def __init__(self, tether: Tether):
        self.tether = tether

    def add(self, positions, cells, energies, forces, pieces):
        atoms, stiffness = self.tether.atoms, self.tether.stiffness
        away = positions[atoms] - self.tether.places
        energies[atoms] += 0.5 * stiffness * (away**2).sum(axis=1)
        forces[atoms] -= stiffness * away
