"""Force constants of phonopy and phono3py, read by these codes themselves.

phonopy's own loader understands its yaml, text and HDF5 files, sets of forces included; here its arrays over the
supercell become force constants of the primitive cell, resolved by image.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.files.supercell_arrays import SupercellMap
from matterscape.transport.lattice.triplets import TripletForceConstants


def from_phonopy(phonon: Any) -> ForceConstants:
    """Force constants of the primitive cell of a ``Phonopy`` object, charges and their non-analytic term left out.

    Parameters
    ----------
    phonon : phonopy.Phonopy
        With force constants.

    Raises
    ------
    ValueError
        If it has none.
    """
    if phonon.force_constants is None:
        raise ValueError("phonon has no force constants; accepted is a Phonopy object after produce_force_constants()")
    return _second_order(phonon.force_constants, phonon.primitive, phonon.supercell, *_factors(phonon))


def from_phono3py(phonon: Any) -> tuple[ForceConstants, TripletForceConstants]:
    """Second and third order of the primitive cell of a ``Phono3py`` object.

    Parameters
    ----------
    phonon : phono3py.Phono3py
        With both force constants.

    Raises
    ------
    ValueError
        If it lacks one of them.
    """
    if phonon.fc2 is None or phonon.fc3 is None:
        raise ValueError("phonon lacks fc2 or fc3; accepted is a Phono3py object after produce_fc2() and produce_fc3()")
    length, force = _factors(phonon)
    second = _second_order(phonon.fc2, phonon.phonon_primitive, phonon.phonon_supercell, length, force)
    cells, first = _cells(phonon.primitive, phonon.supercell, length)
    values = np.asarray(phonon.fc3)
    values = values[first] if len(values) == len(cells.supercell) else values
    triplets = np.argwhere(np.abs(values).max(axis=(3, 4, 5)) > 0)
    third = cells.third_order(triplets, force / length**2 * values[tuple(triplets.T)], first)
    return second, third


def load_phonopy(folder: Path) -> ForceConstants:
    """Force constants of a folder with phonopy's files.

    Raises
    ------
    ModuleNotFoundError
        If phonopy is not installed.
    """
    found = [folder / name for name in ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")]
    yaml = next(path for path in found if path.exists())
    options = {}
    for name, keyword in (
        ("FORCE_CONSTANTS", "force_constants_filename"),
        ("force_constants.hdf5", "force_constants_filename"),
        ("FORCE_SETS", "force_sets_filename"),
    ):
        if (folder / name).exists() and not options:
            options[keyword] = str(folder / name)
    phonopy = _imported("phonopy")
    return from_phonopy(phonopy.load(str(yaml), is_nac=False, log_level=0, **options))


def load_phono3py(folder: Path) -> tuple[ForceConstants, TripletForceConstants]:
    """Second and third order of a folder with phono3py's yaml file, ``fc2.hdf5`` and ``fc3.hdf5``.

    Raises
    ------
    ModuleNotFoundError
        If phono3py is not installed.
    """
    found = [folder / name for name in ("phono3py_params.yaml", "phono3py.yaml", "phono3py_disp.yaml")]
    yaml = next(path for path in found if path.exists())
    names = {keyword: folder / name for keyword, name in (("fc2_filename", "fc2.hdf5"), ("fc3_filename", "fc3.hdf5"))}
    options = {keyword: str(path) for keyword, path in names.items() if path.exists()}
    phono3py = _imported("phono3py")
    return from_phono3py(phono3py.load(str(yaml), is_nac=False, log_level=0, **options))


def read_text(path: Path, atoms: Atoms, repeats: tuple[int, int, int]) -> ForceConstants:
    """Force constants from a text file ``FORCE_CONSTANTS`` of a supercell in phonopy's order of atoms.

    In that order, all translations of the first atom come first, the first repeat fastest.

    Parameters
    ----------
    path : path
    atoms : ase.Atoms
        The unit cell.
    repeats : three ints

    Raises
    ------
    ValueError
        If the file is of another supercell.
    """
    numbers = path.read_text().split()
    n_atoms, n_cells = len(atoms), int(np.prod(repeats))
    header = 2 if (len(numbers) - 2) % 11 == 0 else 1
    n_first = int(numbers[0])
    n_all = int(numbers[header - 1])
    if n_all != n_atoms * n_cells or n_first not in (n_atoms, n_all) or len(numbers) != header + 11 * n_first * n_all:
        raise ValueError(
            f"{path} holds force constants between {n_first} and {n_all} atoms; accepted are those of {n_atoms} atoms, "
            f"or all, and the {n_atoms * n_cells} of the supercell {repeats}"
        )
    table = np.array(numbers[header:], dtype=np.float64).reshape(n_first, n_all, 11)
    values = table[:, :, 2:].reshape(n_first, n_all, 3, 3)
    cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).transpose(2, 1, 0, 3).reshape(-1, 3)
    positions = atoms.positions[:, None] + cells @ atoms.cell.array
    supercell = Atoms(
        np.repeat(atoms.numbers, n_cells),
        positions.reshape(-1, 3),
        cell=atoms.cell.array * np.array(repeats)[:, None],
        pbc=True,
    )
    first = n_cells * np.arange(n_atoms)
    return SupercellMap.found(atoms, supercell).second_order(values[first] if n_first == n_all else values, first)


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} reads its own files and is not installed: pip install {name}") from error


def _factors(phonon: Any) -> tuple[float, float]:
    """Unit of length in Å and of force in eV/Å of the object's calculator."""
    if phonon.calculator is None:
        return 1.0, 1.0
    found = import_module("phonopy.interface.calculator").get_calculator_physical_units(phonon.calculator)
    return found.distance_to_A, found.force_to_eVperA


def _cells(primitive: Any, supercell: Any, length: float) -> tuple[SupercellMap, np.ndarray]:
    cells = SupercellMap.found(_atoms(primitive, length), _atoms(supercell, length))
    return cells, np.asarray(primitive.p2s_map)


def _second_order(values: np.ndarray, primitive: Any, supercell: Any, length: float, force: float) -> ForceConstants:
    cells, first = _cells(primitive, supercell, length)
    values = np.asarray(values)
    values = values[first] if len(values) == len(cells.supercell) else values
    return cells.second_order(force / length * values, first)


def _atoms(cell: Any, length: float) -> Atoms:
    atoms = Atoms(cell.symbols, cell=length * cell.cell, scaled_positions=cell.scaled_positions, pbc=True)
    atoms.set_masses(cell.masses)
    return atoms
