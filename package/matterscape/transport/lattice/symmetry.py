"""Space-group symmetry of force constants: how far they break it, and their mean over it."""

from dataclasses import dataclass

import numpy as np
import spglib

from matterscape.checks import check_number
from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.supercells import check_force_constants
from matterscape.transport.lattice.triplets import TripletForceConstants

TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """Operations of a crystal's space group, and what they do to its atoms.

    Attributes
    ----------
    symbol : str
        International (Hermann-Mauguin) symbol.
    rotations : ndarray (G, 3, 3), int64
        In fractional coordinates, x -> W x + w.
    cartesian : ndarray (G, 3, 3), float64
    images : ndarray (G, n), int64
        Atom that each operation takes each atom to.
    lattice : ndarray (G, n, 3), int64
        Whole cell vectors from there to where it takes it.
    """

    symbol: str
    rotations: np.ndarray
    cartesian: np.ndarray
    images: np.ndarray
    lattice: np.ndarray

    @classmethod
    def of(cls, structures: Structures, tolerance: float = TOLERANCE) -> "SpaceGroup":
        """The space group that spglib finds.

        Parameters
        ----------
        structures : Structures
            One crystal's cell.
        tolerance : float
            How far in Å an atom may be from where an operation takes another.

        Raises
        ------
        ValueError
            If spglib finds none.
        """
        check_number("tolerance", tolerance, "Å", positive=True)
        atoms = structures.to_ase()[0]
        cell, positions = atoms.cell.array, atoms.get_scaled_positions(wrap=False)
        found = spglib.get_symmetry_dataset((cell, positions, atoms.numbers), symprec=tolerance)
        if found is None:
            raise ValueError(f"structures have no space group within {tolerance:g} Å; accepted are crystals")
        moved = np.einsum("gab,nb->gna", found.rotations, positions) + found.translations[:, None]
        steps = moved[:, :, None] - positions  # (G, n, n, 3)
        distances = np.linalg.norm((steps - np.round(steps)) @ cell, axis=3)
        distances[:, atoms.numbers[:, None] != atoms.numbers] = np.inf
        images = distances.argmin(axis=2)
        lattice = np.take_along_axis(np.round(steps), images[:, :, None, None], axis=2)[:, :, 0]
        cartesian = cell.T @ found.rotations @ np.linalg.inv(cell.T)
        return cls(found.international, found.rotations.astype(np.int64), cartesian, images, lattice.astype(np.int64))


def space_group_mean(
    force_constants: ForceConstants | TripletForceConstants, tolerance: float = TOLERANCE
) -> ForceConstants | TripletForceConstants:
    """The nearest force constants of second or third order that the crystal's space group leaves unchanged.

    Parameters
    ----------
    force_constants : ForceConstants or TripletForceConstants
        Of one crystal's cell, resolved by image.
    tolerance : float
        Of the symmetry of the positions in Å.

    Raises
    ------
    ValueError
        If there is more than one structure, or one without a space group.
    """
    if isinstance(force_constants, TripletForceConstants):
        others = [("second", "second_shifts"), ("third", "third_shifts")]
        turn = "gax,gby,gcz,txyz->tabc"
    else:
        check_force_constants(force_constants)
        others = [("second", "shifts")]
        turn = "gax,gby,txy->tab"
    group = SpaceGroup.of(force_constants.structures, tolerance)
    n_operations = len(group.rotations)
    first, total = force_constants.first, None
    for g in range(n_operations):
        matrix = group.cartesian[g : g + 1]
        blocks = np.einsum(turn, *[matrix] * (1 + len(others)), force_constants.blocks, optimize=True)
        atoms, shifts = [], []
        for name, shift_name in others:
            atom, shift = getattr(force_constants, name), getattr(force_constants, shift_name)
            atoms.append(group.images[g, atom])
            shifts.append(shift @ group.rotations[g].T + group.lattice[g, atom] - group.lattice[g, first])
        image = type(force_constants).from_terms(
            group.images[g, first], *atoms, *shifts, blocks / n_operations, force_constants.structures
        )
        total = image if total is None else total + image
    return total


def symmetry_residual(force_constants: ForceConstants | TripletForceConstants, tolerance: float = TOLERANCE) -> float:
    """Largest difference between force constants and their :func:`space_group_mean`, in their own unit."""
    difference = force_constants + -1.0 * space_group_mean(force_constants, tolerance)
    return float(np.abs(difference.blocks).max(initial=0.0))
