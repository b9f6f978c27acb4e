"""Silicon after Tersoff for phono3py."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures

#: Cells of the supercell along each vector; they hold the potential's force constants.
REPEATS = (3, 3, 3)


def silicon(size: int, broadening_THz: float) -> Any:
    """A ``Phono3py`` with our force constants, a mesh of ``size`` cubed, and the broadening s / 2 pi that we call so.

    Raises
    ------
    ModuleNotFoundError
        If phono3py is not installed.
    """
    from phono3py import Phono3py
    from phonopy.structure.atoms import PhonopyAtoms

    unit = bulk("Si", a=5.432)
    cell = PhonopyAtoms(
        symbols=unit.get_chemical_symbols(),
        cell=unit.cell.array,
        scaled_positions=unit.get_scaled_positions(),
        masses=unit.get_masses(),
    )
    crystal = Phono3py(cell, np.diag(REPEATS), log_level=0)
    found = crystal.supercell
    supercell = Structures.from_ase(
        Atoms(found.symbols, cell=found.cell, scaled_positions=found.scaled_positions, pbc=True)
    )
    n_atoms, potential = supercell.n_atoms, Tersoff.silicon()
    second = potential.hessian(supercell).dense().reshape((n_atoms, 3) * 2)
    third = potential.third_order(supercell).dense().reshape((n_atoms, 3) * 3)
    crystal.fc2 = np.ascontiguousarray(second.transpose(0, 2, 1, 3))
    crystal.fc3 = np.ascontiguousarray(third.transpose(0, 2, 4, 1, 3, 5))
    crystal.mesh_numbers = [size] * 3
    # a standard deviation, of a Gaussian that ends where ours does
    crystal.sigmas = [broadening_THz / np.sqrt(2)]
    crystal.sigma_cutoff = 2 * np.sqrt(2)
    crystal.init_phph_interaction()
    return crystal
