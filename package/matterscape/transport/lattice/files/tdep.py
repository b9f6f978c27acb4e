"""Force constants of the temperature-dependent effective potential code TDEP: ``infile.forceconstant`` and others.

Both files hold, for each atom of the unit cell, its pairs or triplets with the indices of the atoms in the unit cell,
lattice vectors in units of the cell's, and a block in eV/Å^2 or eV/Å^3; words after the numbers are comments.
"""

from pathlib import Path

import numpy as np
from ase import Atoms

from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.triplets import TripletForceConstants


def read_second_order(path: Path | str, atoms: Atoms) -> ForceConstants:
    """Force constants of the unit cell from ``infile.forceconstant``.

    Raises
    ------
    ValueError
        If the file is cut short or of another number of atoms.
    """
    rows = _Numbers(path, len(atoms))
    first, second, shifts, blocks = [], [], [], []
    for atom in range(len(atoms)):
        for _ in range(rows.whole()):
            first.append(atom)
            second.append(rows.whole() - 1)
            shifts.append(rows.floats(3))
            blocks.append(rows.floats(9))
    return ForceConstants.from_terms(
        np.array(first),
        rows.checked(second),
        _whole_vectors(path, shifts),
        np.reshape(blocks, (-1, 3, 3)),
        Structures.from_ase(atoms),
    )


def read_third_order(path: Path | str, atoms: Atoms) -> TripletForceConstants:
    """Triplets of the unit cell from ``infile.forceconstant_thirdorder``.

    Raises
    ------
    ValueError
        If the file is cut short or of another number of atoms.
    """
    rows = _Numbers(path, len(atoms))
    members, shifts, blocks = [], [], []
    for _ in range(len(atoms)):
        for _ in range(rows.whole()):
            members.append([rows.whole() - 1 for _ in range(3)])
            shifts.append(rows.floats(9))
            blocks.append(rows.floats(27))
    members = rows.checked(members)
    shifts = _whole_vectors(path, shifts).reshape(-1, 3, 3)
    return TripletForceConstants.from_terms(
        *members.T,
        shifts[:, 1] - shifts[:, 0],
        shifts[:, 2] - shifts[:, 0],
        np.reshape(blocks, (-1, 3, 3, 3)),
        Structures.from_ase(atoms),
    )


class _Numbers:
    """Leading numbers of a file's lines, taken one after another."""

    def __init__(self, path: Path | str, n_atoms: int):
        self.path, self.n_atoms = path, n_atoms
        self._lines = iter(Path(path).read_text().splitlines())
        found = self.whole()
        if found != n_atoms:
            raise ValueError(f"{path} is of a cell of {found} atoms; accepted is that of {n_atoms}")
        self._next()  # the cutoff

    def _next(self) -> list[str]:
        line = next(self._lines, None)
        if line is None:
            raise ValueError(f"{self.path} ends too early; accepted are whole files")
        return line.split()

    def whole(self) -> int:
        return int(self._next()[0])

    def floats(self, number: int) -> list[float]:
        values: list[float] = []
        while len(values) < number:
            values += map(float, self._next()[:3])
        return values

    def checked(self, members: list) -> np.ndarray:
        members = np.array(members)
        if members.size and not (0 <= members.min() and members.max() < self.n_atoms):
            raise ValueError(
                f"{self.path} names atom {members.max() + 1}; accepted are those of the {self.n_atoms} atoms"
            )
        return members


def _whole_vectors(path: Path | str, vectors: list) -> np.ndarray:
    whole = np.round(vectors)
    if not np.allclose(vectors, whole, rtol=0, atol=1e-4):
        raise ValueError(f"{path} holds lattice vectors that are not whole; accepted are those in units of the cell's")
    return whole.astype(np.int64)
