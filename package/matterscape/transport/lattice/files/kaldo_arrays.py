"""Force constants as kALDo keeps them: ``second.npy``, ``third.npz`` and ``replicated_atoms.xyz`` in one folder.

``second.npy`` is an array (1, n, 3, R, n, 3) in eV/Å^2 of n atoms of the unit cell and its R replicas, the last
repeat fastest; ``third.npz`` a sparse matrix of rows (n, 3, R, n, 3) and columns (R, n, 3) in eV/Å^3.
"""

from pathlib import Path

import ase.io
import numpy as np
from scipy.sparse import load_npz

from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.files.supercell_arrays import SupercellMap
from matterscape.transport.lattice.triplets import TripletForceConstants


def read_replicas(folder: Path, repeats: tuple[int, int, int], name: str = "replicated_atoms.xyz") -> SupercellMap:
    """The unit cell and its replicas, whose atoms come cell by cell.

    Raises
    ------
    ValueError
        If the atoms are no whole number of unit cells.
    """
    supercell = ase.io.read(folder / name)
    n_atoms, rest = divmod(len(supercell), int(np.prod(repeats)))
    if rest or not n_atoms:
        raise ValueError(f"repeats is {repeats} but {name} holds {len(supercell)} atoms; accepted are whole unit cells")
    unit = supercell[:n_atoms]
    unit.set_cell(supercell.cell.array / np.array(repeats)[:, None])
    unit.info, unit.calc = {}, None
    return SupercellMap.found(unit, supercell)


def read_second_order(path: Path, cells: SupercellMap) -> ForceConstants:
    """Force constants from ``second.npy``.

    Raises
    ------
    ValueError
        If its shape is not that of the cells.
    """
    values = np.load(path, allow_pickle=False)
    n_atoms, n_all = len(cells.primitive), len(cells.supercell)
    if values.size != 9 * n_atoms * n_all:
        raise ValueError(
            f"{path} has shape {values.shape}; accepted is {(1, n_atoms, 3, n_all // n_atoms, n_atoms, 3)}"
        )
    values = values.reshape(n_atoms, 3, n_all, 3).swapaxes(1, 2)
    return cells.second_order(values, np.arange(n_atoms))


def read_third_order(path: Path, cells: SupercellMap) -> TripletForceConstants:
    """Third-order force constants from ``third.npz``.

    Raises
    ------
    ValueError
        If its shape is not that of the cells.
    """
    matrix = load_npz(path).tocoo()
    n_atoms, n_all = len(cells.primitive), len(cells.supercell)
    if matrix.shape != (9 * n_atoms * n_all, 3 * n_all):
        raise ValueError(f"{path} has shape {matrix.shape}; accepted is {(9 * n_atoms * n_all, 3 * n_all)}")
    first, a, second, b = np.unravel_index(matrix.row, (n_atoms, 3, n_all, 3))
    third, c = np.divmod(matrix.col, 3)
    triplets, inverse = np.unique(np.column_stack([first, second, third]), axis=0, return_inverse=True)
    blocks = np.zeros((len(triplets), 3, 3, 3))
    np.add.at(blocks, (inverse.reshape(-1), a, b, c), matrix.data)
    return cells.third_order(triplets, blocks, np.arange(n_atoms))
