"""Force constants in the form of LAMMPS' ``dynamical_matrix`` and ``third_order`` with style ``eskm``.

``Dyn.form`` holds the dynamical matrix in 10 J/(mol Å^2 amu), three columns of each row of blocks in turn; ``THIRD``
holds lines ``i a j b k`` (from 1) and three components along c in 10 J/(mol Å^3), second derivatives of forces: the
opposite of the energy's third ones.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms, units

from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import nearest_images
from matterscape.transport.lattice.images import ordered_images, shortest_triangles
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.triplets import TripletForceConstants

UNIT = 10 * units.J / units.mol  # eV


def read_dynamical_matrix(path: Path | str, atoms: Atoms) -> ForceConstants:
    """Force constants from ``Dyn.form``, images summed and given to the nearest.

    Parameters
    ----------
    path : path
    atoms : ase.Atoms
        The cell, with the masses of the calculation.

    Raises
    ------
    ValueError
        If the file does not hold (3 n)^2 numbers.
    """
    values = pd.read_csv(path, header=None, sep=r"\s+").to_numpy(dtype=np.float64).ravel()
    n_atoms = len(atoms)
    if values.size != 9 * n_atoms**2:
        raise ValueError(
            f"{path} holds {values.size} numbers; accepted are the {9 * n_atoms**2} of the dynamical matrix of "
            f"{n_atoms} atoms"
        )
    roots = np.sqrt(atoms.get_masses())
    matrix = UNIT * values.reshape(n_atoms, 3, n_atoms, 3) * roots[:, None, None, None] * roots[:, None]
    matrix = (matrix + matrix.transpose(2, 3, 0, 1)) / 2
    first, second = np.indices((n_atoms, n_atoms)).reshape(2, -1)
    return nearest_images(
        ForceConstants.from_terms(
            first, second, np.zeros((len(first), 3), np.int64), matrix[first, :, second], Structures.from_ase(atoms)
        )
    )


def read_third_order(path: Path | str, atoms: Atoms) -> TripletForceConstants:
    """Third-order force constants from ``THIRD``, each given to the images that make its triangle shortest.

    Parameters
    ----------
    path, atoms
        As for :func:`read_dynamical_matrix`.

    Raises
    ------
    ValueError
        If a line does not hold eight numbers, or an atom beyond those of the cell.
    """
    table = pd.read_csv(path, header=None, sep=r"\s+").to_numpy(dtype=np.float64)
    if table.shape[1] != 8:
        raise ValueError(
            f"{path} has lines of {table.shape[1]} numbers; accepted are eight: i a j b k and three values"
        )
    places = table[:, :5].astype(np.int64) - 1
    atoms_named = places[:, [0, 2, 4]]
    if atoms_named.min() < 0 or atoms_named.max() >= len(atoms) or not np.isin(places[:, [1, 3]], (0, 1, 2)).all():
        raise ValueError(
            f"{path} names atoms up to {atoms_named.max() + 1}; accepted are those of the {len(atoms)} atoms"
        )
    triplets, inverse = np.unique(atoms_named, axis=0, return_inverse=True)
    blocks = np.zeros((len(triplets), 3, 3, 3))
    np.add.at(blocks, (inverse.reshape(-1), places[:, 1], places[:, 3]), -UNIT * table[:, 5:])
    shifts, vectors, distances = ordered_images(atoms.positions, atoms.positions, atoms.cell.array, reach=2.0)
    numbers, images, shares = shortest_triangles(triplets, vectors, distances, 1e-3)
    first, second, third = triplets[numbers].T
    return TripletForceConstants.from_terms(
        first,
        second,
        third,
        shifts[first, second, images[:, 0]],
        shifts[first, third, images[:, 1]],
        blocks[numbers] * shares[:, None, None, None],
        Structures.from_ase(atoms),
    )


def fold_triplets(supercell: Supercell, triplets: TripletForceConstants) -> TripletForceConstants:
    """Those of the primitive cell, from triplets of a supercell averaged over the copies of the first atom."""
    lattice, repeats = supercell.lattice, np.array(supercell.repeats)
    first, second, third = triplets.first, triplets.second, triplets.third
    copies = np.bincount(supercell.atoms[np.unique(first)], minlength=supercell.primitive.n_atoms)
    return TripletForceConstants.from_terms(
        supercell.atoms[first],
        supercell.atoms[second],
        supercell.atoms[third],
        lattice[second] - lattice[first] + triplets.second_shifts * repeats,
        lattice[third] - lattice[first] + triplets.third_shifts * repeats,
        triplets.blocks / copies[supercell.atoms[first], None, None, None],
        supercell.primitive,
    )
