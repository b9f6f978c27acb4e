"""Third-order force constants in ShengBTE's form, ``FORCE_CONSTANTS_3RD``, as thirdorder.py writes them.

Blocks of: a number; the Cartesian lattice vectors in Å of the second and third atom's cells; the three atoms of the
unit cell, from 1; 27 lines with three axes from 1 and a value in eV/Å^3.
"""

from pathlib import Path

import numpy as np
from ase import Atoms

from matterscape.structures import Structures
from matterscape.transport.lattice.triplets import TripletForceConstants

_LINES = 1 + 2 + 1 + 27
TOLERANCE = 0.01


def read_third_order(path: Path | str, atoms: Atoms) -> TripletForceConstants:
    """Triplets of the unit cell from ``FORCE_CONSTANTS_3RD``; their images stand in the file.

    Parameters
    ----------
    path : path
    atoms : ase.Atoms
        The unit cell.

    Raises
    ------
    ValueError
        If the file is cut short, names atoms that the cell doesn't have or vectors that aren't of its lattice.
    """
    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    n_triplets = int(lines[0].split()[0]) if lines else 0
    if len(lines) != 1 + n_triplets * _LINES or not n_triplets:
        raise ValueError(
            f"{path} holds {len(lines)} lines for {n_triplets} triplets; accepted are {_LINES} for each and one before"
        )
    vectors, atoms_named, blocks = np.empty((n_triplets, 2, 3)), np.empty((n_triplets, 3), np.int64), []
    for number in range(n_triplets):
        part = lines[1 + number * _LINES : 1 + (number + 1) * _LINES]
        vectors[number] = [line.split() for line in part[1:3]]
        atoms_named[number] = np.array(part[3].split(), dtype=np.int64) - 1
        table = np.array([line.split() for line in part[4:]], dtype=np.float64)
        block = np.empty((3, 3, 3))
        block[tuple(table[:, :3].astype(np.int64).T - 1)] = table[:, 3]
        blocks.append(block)
    if atoms_named.min() < 0 or atoms_named.max() >= len(atoms):
        raise ValueError(f"{path} names atom {atoms_named.max() + 1}; accepted are those of the {len(atoms)} atoms")
    steps = vectors @ np.linalg.inv(atoms.cell.array)
    shifts = np.round(steps).astype(np.int64)
    distance = np.abs((steps - shifts) @ atoms.cell.array).max()
    if distance > TOLERANCE:
        raise ValueError(
            f"{path} holds vectors {distance:.2g} Å off the lattice of the cell; accepted are {TOLERANCE} Å"
        )
    return TripletForceConstants.from_terms(
        *atoms_named.T, shifts[:, 0], shifts[:, 1], np.stack(blocks), Structures.from_ase(atoms)
    )
