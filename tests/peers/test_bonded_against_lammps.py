"""Molecular force fields against LAMMPS: Li3PS4 and flexible TIP4P water."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule

from matterscape.benchmarks.lammps_peer import new_lammps
from matterscape.potentials import li3ps4, water
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.topology import find_molecules
from matterscape.structures import Structures

pytestmark = pytest.mark.peers

# LAMMPS rounds e^2 / (4 pi eps0) to 14.399645 eV Å; charges scaled by this give the same energies
CHARGE_SCALE = math.sqrt(COULOMB / 14.399645)


def lammps_of(atoms, molecules, charges, before, after, folder, velocities=None):
    """LAMMPS with these atoms and their bonds, after a run of no steps.

    ``before`` and ``after`` are commands around reading the data; types of atoms follow the order of ``charges``.
    """
    symbols, types = atoms.get_chemical_symbols(), {symbol: k + 1 for k, symbol in enumerate(charges)}
    masses = dict(zip(symbols, atoms.get_masses()))
    n_ligands = molecules.n_ligands
    bonds, angles = [], []
    for centre, ligands in zip(molecules.centres, molecules.ligands):
        bonds += [(centre, ligand) for ligand in ligands]
        angles += [(ligands[i], centre, ligands[j]) for j in range(n_ligands) for i in range(j)]
    box = [f"0 {atoms.cell[k, k]:.17g} {x}lo {x}hi" for k, x in enumerate("xyz")]
    sections = {
        "Masses": [f"{types[symbol]} {masses[symbol]:.17g}" for symbol in types],
        "Atoms": [
            f"{i + 1} 1 {types[symbol]} {CHARGE_SCALE * charges[symbol]:.17g} " + " ".join(f"{x:.17g}" for x in position)
            for i, (symbol, position) in enumerate(zip(symbols, atoms.positions))
        ],
        "Bonds": [f"{k + 1} 1 " + " ".join(str(i + 1) for i in bond) for k, bond in enumerate(bonds)],
        "Angles": [f"{k + 1} 1 " + " ".join(str(i + 1) for i in angle) for k, angle in enumerate(angles)],
    }
    if velocities is not None:
        sections["Velocities"] = [f"{i + 1} " + " ".join(f"{x:.17g}" for x in v) for i, v in enumerate(velocities)]
    head = [
        f"{len(atoms)} atoms", f"{len(bonds)} bonds", f"{len(angles)} angles",
        f"{len(types)} atom types", "1 bond types", "1 angle types", *box,
    ]  # fmt: skip
    text = "\n".join(["", "", *head, *(f"\n{name}\n\n" + "\n".join(rows) for name, rows in sections.items()), ""])
    (folder / "atoms.data").write_text(text)
    lammps = new_lammps()
    for command in ["units metal", "atom_style full", "atom_modify map array", *before]:
        lammps.command(command)
    lammps.command(f"read_data {folder / 'atoms.data'}")
    for command in [*after, "thermo_style custom pe pxx pyy pzz pyz pxz pxy", "run 0"]:
        lammps.command(command)
    return lammps


def forces_of(lammps):
    """Forces (N, 3) in eV/Å."""
    return np.array(lammps.gather_atoms("f", 1, 3)).reshape(-1, 3)


def stress_of(lammps):
    """Stress in eV/Å^3, Voigt order, without the kinetic part."""
    lammps.command("compute static all pressure NULL virial")
    lammps.command("run 0")
    pressure = np.array(lammps.numpy.extract_compute("static", 0, 1))
    return -pressure[[0, 1, 2, 5, 4, 3]] * 1e-4 * units.GPa


def voigt(tensor):
    """Six components of a symmetric tensor in ASE's order."""
    return tensor.numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def lithium_thiophosphate(folder, velocities=None, extra=()):
    atoms = li3ps4.gamma() * (3, 3, 3)
    atoms.rattle(0.05, seed=3)
    molecules = find_molecules(Structures.from_ase(atoms), "P", "S", 4, 2.9)
    bond, angle = li3ps4.BOND, li3ps4.ANGLE
    types = list(li3ps4.CHARGES)
    pairs = [
        "pair_coeff {} {} {} {} {}".format(*sorted(types.index(symbol) + 1 for symbol in pair), *values)
        for pair, values in li3ps4.BUCKINGHAM.items()
    ]
    before = [
        f"pair_style buck/coul/long {li3ps4.BUCKINGHAM_CUTOFF} 10.0",
        "pair_modify shift yes table 0",
        "bond_style class2",
        "angle_style harmonic",
        "special_bonds lj/coul 0 0 0",
        "kspace_style ewald 1e-9",
    ]
    after = [
        "pair_coeff * * 0 1 0",
        *pairs,
        f"bond_coeff 1 {bond.length} {bond.quadratic} {bond.cubic} {bond.quartic}",
        f"angle_coeff 1 {angle.stiffness} {angle.angle_deg}",
        *extra,
    ]
    return atoms, lammps_of(atoms, molecules, li3ps4.CHARGES, before, after, folder, velocities)
