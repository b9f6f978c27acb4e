"""Molecular force fields against LAMMPS: Li3PS4 and flexible TIP4P water."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule

from matterscape.benchmarks.lammps_peer import ANGSTROM_PER_PS, new_lammps
from matterscape.potentials import li3ps4, water
from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
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
            f"{i + 1} 1 {types[symbol]} {CHARGE_SCALE * charges[symbol]:.17g} {x:.17g} {y:.17g} {z:.17g}"
            for i, (symbol, (x, y, z)) in enumerate(zip(symbols, atoms.positions))
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


FIELD_ERROR = 1e-7  # eV/Å


def test_lithium_thiophosphate(tmp_path):
    atoms, lammps = lithium_thiophosphate(tmp_path)
    result = li3ps4.LPSForceField(force_error=FIELD_ERROR)(Structures.from_ase(atoms))
    assert float(result.energy) / len(atoms) == pytest.approx(lammps.get_thermo("pe") / len(atoms), abs=1e-6)
    np.testing.assert_allclose(result.forces, forces_of(lammps), atol=1e-5)
    np.testing.assert_allclose(voigt(result.stress[0]), stress_of(lammps), atol=1e-7)


def test_heat_flux_of_lithium_thiophosphate(tmp_path):
    """Pairs, bonds and waves from LAMMPS's stress/atom, angles from its centroid/stress/atom."""
    velocities = np.random.default_rng(0).normal(scale=3.0, size=(432, 3))  # Å/ps
    virials = {"rest": "stress/atom NULL pair bond kspace", "angles": "centroid/stress/atom NULL angle"}
    extra = ["compute kinetic all ke/atom", "compute potential all pe/atom", "compute equal all stress/atom NULL angle"]
    extra += [f"compute {name} all {style}" for name, style in virials.items()]
    extra += [f"compute flux_{name} all heat/flux kinetic potential {name}" for name in (*virials, "equal")]
    extra += ["thermo_style custom c_flux_rest[1] c_flux_angles[1] c_flux_equal[1]"]
    atoms, lammps = lithium_thiophosphate(tmp_path, velocities, extra)
    flux = {name: np.array(lammps.numpy.extract_compute(f"flux_{name}", 0, 1)) for name in (*virials, "equal")}
    # components 1 to 3: everything, 4 to 6: convection alone
    angles, equal = (flux[name][:3] - flux[name][3:] for name in ("angles", "equal"))
    expected = (flux["rest"][:3] + angles) / ANGSTROM_PER_PS
    result = li3ps4.LPSForceField("thirds", force_error=FIELD_ERROR)(Structures.from_ase(atoms))
    ours = result.heat_flux(torch.from_numpy(velocities / ANGSTROM_PER_PS), torch.from_numpy(atoms.get_masses()))[0]
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=1e-5 * scale)
    # an angle's virial in three equal parts is not its heat flux, nor is a sum that lacks the waves' or the exclusions'
    assert np.abs(ours.numpy() - expected - (equal - angles) / ANGSTROM_PER_PS).max() > 1e-3 * scale
    for lacking in terms_of_lithium_thiophosphate(atoms):
        part = torch.einsum("nab,nb->a", lacking, torch.from_numpy(velocities / ANGSTROM_PER_PS)).numpy()
        assert np.abs(ours.numpy() - part - expected).max() > 1e-3 * scale


def terms_of_lithium_thiophosphate(atoms):
    """Flux tensors of the waves, and of the pairs of one PS4 that the field excludes."""
    field, structures = li3ps4.LPSForceField(force_error=FIELD_ERROR), Structures.from_ase(atoms)
    parameters = field.ionic.coulomb.parameters_for(structures)
    screened = field.ionic.pairs.with_coulomb(alpha=parameters.alpha, cutoff=parameters.cutoff)
    bonded = field.terms[-1](structures).flux_tensors
    no_pair, no_angle = PairTerm(), AngleTerm(0.0, li3ps4.ANGLE.angle_deg)
    kept = [
        Bonded(li3ps4.thiophosphates, [li3ps4.BOND, no_pair], [no_angle]),
        Bonded(li3ps4.thiophosphates, [no_pair, no_pair], [li3ps4.ANGLE]),
    ]
    return [
        field.ionic(structures).flux_tensors - screened(structures).flux_tensors,
        bonded - sum(term(structures).flux_tensors for term in kept),
    ]


def waters(n_cells, cell=None):
    """Molecules in random directions at the places of a simple cubic lattice."""
    generator = np.random.default_rng(7)
    atoms = Atoms(cell=cell, pbc=cell is not None)
    for place in np.ndindex(n_cells, n_cells, n_cells):
        one = molecule("H2O")
        one.rotate(generator.uniform(0, 360), generator.normal(size=3))
        one.positions += 3.2 * np.array(place)
        atoms += one
    atoms.rattle(0.05, seed=8)
    return atoms


def lammps_water(atoms, folder, pair_style, before=(), after=()):
    """LAMMPS with q-TIP4P/F: its TIP4P takes M at a fixed fraction of the two O-H vectors, too."""
    bond, angle = water.BOND, water.ANGLE
    to_site = (1 - water.OXYGEN_WEIGHT) * bond.length * math.cos(math.radians(angle.angle_deg) / 2)
    head = [
        *before,
        f"pair_style {pair_style[0]} 1 2 1 1 {to_site:.17g} {pair_style[1]}",
        "bond_style class2",
        "angle_style harmonic",
        "special_bonds lj/coul 0 0 0",
    ]
    tail = [
        "pair_coeff * * 0 1",
        "pair_coeff 1 1 {:.17g} {:.17g}".format(*water.OXYGEN_OXYGEN),
        f"bond_coeff 1 {bond.length:.17g} {bond.quadratic:.17g} {bond.cubic:.17g} {bond.quartic:.17g}",
        f"angle_coeff 1 {angle.stiffness:.17g} {angle.angle_deg:.17g}",
        *after,
    ]
    molecules = water.water_molecules(Structures.from_ase(atoms))
    return lammps_of(atoms, molecules, water.CHARGES, head, tail, folder)


def test_a_cluster_of_water(tmp_path):
    atoms = waters(2)
    atoms.positions += 10.0
    boxed = atoms.copy()
    boxed.set_cell([30.0, 30.0, 30.0])
    lammps = lammps_water(boxed, tmp_path, ("lj/cut/tip4p/cut", "25.0 25.0"), before=["boundary f f f"])
    result = water.QTIP4PF(cutoff=25.0, shift=False)(Structures.from_ase(atoms))
    assert float(result.energy) == pytest.approx(lammps.get_thermo("pe"), rel=1e-10)
    np.testing.assert_allclose(result.forces, forces_of(lammps), atol=1e-9)


def test_liquid_water(tmp_path):
    atoms = waters(6, cell=[19.2, 19.2, 19.2])
    before = ["kspace_style pppm/tip4p 1e-7", "kspace_modify order 7"]
    lammps = lammps_water(
        atoms, tmp_path, ("lj/cut/tip4p/long", "8.0 8.5"), before, after=["pair_modify shift yes table 0"]
    )
    result = water.QTIP4PF(cutoff=8.0, force_error=FIELD_ERROR)(Structures.from_ase(atoms))
    assert float(result.energy) / len(atoms) == pytest.approx(lammps.get_thermo("pe") / len(atoms), abs=2e-6)
    np.testing.assert_allclose(result.forces, forces_of(lammps), atol=1e-5)
    np.testing.assert_allclose(voigt(result.stress[0]), stress_of(lammps), atol=1e-6)
