"""Crystalline silicon as kaldo is tested with it, for kaldo and for us."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.cubic import CubicForceConstants
from matterscape.transport.lattice.harmonic import nearest_images
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.triplets import TripletForceConstants

#: Cells of the supercell along each vector.
REPEATS = (3, 3, 3)


def silicon() -> tuple[Any, ForceConstants, TripletForceConstants]:
    """kaldo's object of the force constants, and ours of the primitive cell made from its arrays.

    Raises
    ------
    ModuleNotFoundError
        If kaldo is not installed.
    FileNotFoundError
        If it is installed without the data of its tests.
    """
    import kaldo
    from kaldo.forceconstants import ForceConstants as PeerConstants

    logging.getLogger("kaldo").setLevel(logging.WARNING)
    folder = Path(kaldo.__file__).parent / "tests" / "si-crystal"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing; accepted is an installation of kaldo with the data of its tests")
    peer = PeerConstants.from_folder(folder=str(folder), supercell=list(REPEATS), format="eskm")
    supercell = Supercell.repeated(peer.atoms, REPEATS)
    order = Supercell.found(peer.second.replicated_atoms, REPEATS).order.reshape(-1)
    return peer, _second(peer, supercell, order), _third(peer, supercell, order)


def _second(peer: Any, supercell: Supercell, order: np.ndarray) -> ForceConstants:
    n_cells, size = supercell.n_cells, supercell.structures.n_atoms
    n_atoms = size // n_cells
    rows = peer.second.value.reshape(n_atoms, 3, size, 3)[:, :, order].reshape(n_atoms, 3, n_cells, n_atoms, 3)
    cells = np.array(np.unravel_index(np.arange(n_cells), REPEATS))
    between = np.ravel_multi_index(
        tuple((cells[:, None] - cells[:, :, None]) % np.array(REPEATS)[:, None, None]), REPEATS
    )
    blocks = rows[:, :, between].transpose(2, 0, 3, 4, 1, 5).reshape(-1, 3, 3)
    first, second = np.indices((size, size)).reshape(2, -1)
    shifts = np.zeros((len(first), 3), np.int64)
    constants = ForceConstants.from_terms(first, second, shifts, blocks, supercell.structures)
    return supercell.fold(nearest_images(constants))


def _third(peer: Any, supercell: Supercell, order: np.ndarray) -> TripletForceConstants:
    n_cells, size = supercell.n_cells, supercell.structures.n_atoms
    n_atoms = size // n_cells
    values = np.asarray(peer.third.value.todense()).reshape(n_atoms, 3, size, 3, size, 3)
    values = values[:, :, order][:, :, :, :, order]
    shape = (3 * n_atoms, n_cells, 3 * n_atoms, n_cells, 3 * n_atoms)
    return TripletForceConstants.from_supercell(CubicForceConstants(values.reshape(shape), supercell, 0.0))
