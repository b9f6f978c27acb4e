"""A crystal's supercell: which atom is which atom of the primitive cell, in which cell."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from matterscape.checks import check_number, check_whole
from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures

TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Supercell:
    """A cell that consists of whole primitive cells, its atoms in any order.

    Attributes
    ----------
    structures : Structures
        The supercell, one structure.
    primitive : Structures
        The primitive cell.
    repeats : tuple of int (3,)
        Primitive cells along each cell vector.
    atoms : ndarray (n_atoms,), int64
        Atom of the primitive cell that an atom of the supercell is a copy of.
    lattice : ndarray (n_atoms, 3), int64
        Whole primitive cell vectors from that atom to this one.
    """

    structures: Structures
    primitive: Structures
    repeats: tuple[int, int, int]
    atoms: np.ndarray
    lattice: np.ndarray

    @classmethod
    def repeated(cls, primitive: Structures | Atoms, repeats: Sequence[int]) -> "Supercell":
        """Supercell made of a primitive cell, ordered as by ASE's ``repeat``.

        Raises
        ------
        ValueError
            If there is more than one structure, one that is not periodic, or the repeats are no three whole numbers.
        """
        primitive, repeats = _crystal("primitive", primitive), _checked_repeats(repeats)
        unit = primitive.to_ase()[0]
        lattice = np.array(list(itertools.product(*map(range, repeats))))
        return cls(
            Structures.from_ase(unit.repeat(repeats)),
            primitive,
            repeats,
            np.tile(np.arange(len(unit)), len(lattice)),
            np.repeat(lattice, len(unit), axis=0),
        )

    @classmethod
    def found(cls, structures: Structures | Atoms, repeats: Sequence[int], tolerance: float = TOLERANCE) -> "Supercell":
        """The primitive cell inside a given supercell.

        Its atoms stand at the mean of their copies, each near the first of them.

        Parameters
        ----------
        structures : Structures or ase.Atoms
        repeats : three ints
        tolerance : float
            How far in Å an atom may be from where the translations of the primitive cell take another.

        Raises
        ------
        ValueError
            If a translation does not take every atom to one of its species.
        """
        structures, repeats = _crystal("structures", structures), _checked_repeats(repeats)
        check_number("tolerance", tolerance, "Å", positive=True)
        translations = list(itertools.product(*map(range, repeats)))
        copies = np.empty((len(translations), structures.n_atoms), np.int64)
        for row, translation in enumerate(translations):
            copies[row], distance = _translated(structures, np.array(translation) / repeats)
            if not distance <= tolerance or len(set(copies[row])) < structures.n_atoms:
                raise ValueError(
                    f"repeats is {repeats}, but the translation by {translation} of these parts of the cell takes an "
                    f"atom {distance:.2g} Å away from the next of its species; accepted are symmetries to "
                    f"{tolerance:g} Å"
                )
        leaders, atoms = np.unique(copies.min(axis=0), return_inverse=True)
        supercell = structures.to_ase()[0]
        unit = supercell[leaders]
        unit.set_cell(supercell.cell / np.array(repeats)[:, None])
        steps = np.linalg.solve(unit.cell.T, (supercell.positions - unit.positions[atoms]).T).T
        lattice = np.round(steps).astype(np.int64)
        offsets = (steps - lattice) @ unit.cell.array
        unit.positions += np.stack([np.bincount(atoms, offsets[:, a]) for a in range(3)], axis=1) / len(translations)
        return cls(structures, Structures.from_ase(unit), repeats, atoms, lattice)

    @property
    def n_cells(self) -> int:
        """Number of primitive cells."""
        return math.prod(self.repeats)

    @property
    def order(self) -> np.ndarray:
        """Atom of the supercell (n_cells, n_primitive) at each translation modulo the supercell and primitive atom."""
        cells = np.ravel_multi_index(tuple((self.lattice % self.repeats).T), self.repeats)
        order = np.empty((self.n_cells, self.primitive.n_atoms), np.int64)
        order[cells, self.atoms] = np.arange(len(self.atoms))
        return order

    def with_primitive(self, primitive: Structures) -> "Supercell":
        """The same atoms in the same order, in the cells and at the places of a primitive cell that has changed.

        Raises
        ------
        ValueError
            If it does not hold the same species in the same order.
        """
        if not np.array_equal(primitive.species.numpy(), self.primitive.species.numpy()):
            raise ValueError(
                f"primitive holds {primitive.to_ase()[0].get_chemical_formula()}; accepted are the species of this "
                f"one's primitive cell, {self.primitive.to_ase()[0].get_chemical_formula()}, in the same order"
            )
        unit, supercell = primitive.to_ase()[0], self.structures.to_ase()[0]
        supercell.set_cell(unit.cell * np.array(self.repeats)[:, None])
        supercell.positions[:] = unit.positions[self.atoms] + self.lattice @ unit.cell.array
        return replace(self, structures=Structures.from_ase(supercell), primitive=primitive)

    def fold(self, force_constants: ForceConstants) -> ForceConstants:
        """Force constants of the primitive cell: those of the supercell averaged over the translations.

        Parameters
        ----------
        force_constants : ForceConstants
            Of ``structures``. Their images count: those of waves must have been given by
            :func:`~matterscape.transport.lattice.harmonic.nearest_images`.

        Raises
        ------
        ValueError
            If they belong to another number of atoms.
        """
        check_force_constants(force_constants, self.structures.n_atoms)
        first, second = force_constants.first, force_constants.second
        shifts = self.lattice[second] - self.lattice[first] + force_constants.shifts * self.repeats
        return ForceConstants.from_terms(
            self.atoms[first], self.atoms[second], shifts, force_constants.blocks / self.n_cells, self.primitive
        )

    def unfold(self, force_constants: ForceConstants) -> ForceConstants:
        """Force constants of the supercell from those of the primitive cell, which every translation repeats.

        Parameters
        ----------
        force_constants : ForceConstants
            Of ``primitive``, resolved by image: they may reach farther than the supercell.

        Raises
        ------
        ValueError
            If they belong to another number of atoms.
        """
        check_force_constants(force_constants, self.primitive.n_atoms)
        order, lattice = self.order, self.lattice
        first = order[:, force_constants.first]  # (n_cells, P)
        targets = lattice[first] + force_constants.shifts
        cells = np.ravel_multi_index(tuple(np.moveaxis(targets % self.repeats, -1, 0)), self.repeats)
        second = order[cells, force_constants.second]
        shifts = (targets - lattice[second]) // self.repeats
        blocks = np.broadcast_to(force_constants.blocks, (self.n_cells, *force_constants.blocks.shape))
        return ForceConstants.from_terms(
            first.ravel(), second.ravel(), shifts.reshape(-1, 3), blocks.reshape(-1, 3, 3), self.structures
        )


def remaining_repeats(
    structures: Structures | Atoms, repeats: Sequence[int], tolerance: float = TOLERANCE
) -> tuple[int, int, int]:
    """The largest divisors of the repeats whose translations are still symmetries of a distorted supercell.

    Parameters
    ----------
    structures : Structures or ase.Atoms
        One supercell.
    repeats : three ints
        Of the undistorted crystal.
    tolerance : float
        In Å.

    Raises
    ------
    ValueError
        If there is more than one structure, one that is not periodic, or the repeats are no three whole numbers.
    """
    structures, repeats = _crystal("structures", structures), _checked_repeats(repeats)
    found = []
    for axis, most in enumerate(repeats):
        for number in range(most, 0, -1):
            step = np.zeros(3)
            step[axis] = 1 / number
            if most % number == 0 and _translated(structures, step)[1] <= tolerance:
                found.append(number)
                break
    return tuple(found)


def check_force_constants(force_constants: ForceConstants, n_atoms: int | None = None) -> None:
    """Raise unless these are force constants of one cell that is periodic in three directions."""
    if not isinstance(force_constants, ForceConstants):
        raise TypeError(f"force_constants is a {type(force_constants).__name__}; accepted are ForceConstants")
    _crystal("force_constants.structures", force_constants.structures)
    found = force_constants.structures.n_atoms
    if n_atoms is not None and found != n_atoms:
        raise ValueError(f"force_constants belong to {found} atoms; accepted are those of the {n_atoms} atoms here")


def _translated(structures: Structures, step: np.ndarray) -> tuple[np.ndarray, float]:
    """Atom (n_atoms,) of the same species nearest to where a step in parts of the cell takes each, and how near."""
    atoms = structures.to_ase()[0]
    fractions = atoms.get_scaled_positions(wrap=False)
    # a nearest neighbour in the cell's fractional coordinates, box of 1, is one in Å where distances are small
    nearest, distance = np.empty(len(atoms), np.int64), 0.0
    for number in np.unique(atoms.numbers):
        own = np.flatnonzero(atoms.numbers == number)
        targets = (fractions[own] + step) % 1.0 % 1.0
        tree = cKDTree(fractions[own] % 1.0 % 1.0, boxsize=1.0)
        nearest[own] = own[tree.query(targets)[1]]
        difference = fractions[nearest[own]] - fractions[own] - step
        difference -= np.round(difference)
        distance = max(distance, float(np.linalg.norm(difference @ atoms.cell.array, axis=1).max()))
    return nearest, distance


def _crystal(name: str, structures: Structures | Atoms) -> Structures:
    if isinstance(structures, Atoms):
        structures = Structures.from_ase(structures)
    if not isinstance(structures, Structures):
        raise TypeError(f"{name} is a {type(structures).__name__}; accepted is Structures or ase.Atoms")
    if structures.n_structures != 1 or not bool(structures.pbc.all()):
        raise ValueError(
            f"{name} are {structures.n_structures} structures, periodic along {structures.pbc.tolist()}; accepted is "
            "one structure that is periodic in all three directions"
        )
    return structures


def _checked_repeats(repeats: Sequence[int]) -> tuple[int, int, int]:
    repeats = tuple(repeats)
    if len(repeats) != 3:
        raise ValueError(f"repeats is {repeats}; accepted are three whole numbers")
    for number in repeats:
        check_whole("a repeat", number, 1)
    return tuple(int(number) for number in repeats)
