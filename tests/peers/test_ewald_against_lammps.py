"""Long-ranged sums against LAMMPS, number by number.

Waves agree to rounding. Totals are limited by LAMMPS: its real-space loops take erfc from a polynomial (Abramowitz and
Stegun 7.1.26) whose error is 1.5e-7. Its own value of e^2 / (4 pi eps0) in metal units is put in place of ours.
"""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matterscape import Structures
from matterscape.benchmarks.lammps_peer import ANGSTROM_PER_PS, lammps_system
from matterscape.potentials import Evaluation, Evaluator
from matterscape.potentials._long_range_bound import BoundReciprocal
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Coulomb, Ionic
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.short_range import BornMayerHuggins

pytestmark = pytest.mark.peers

LAMMPS_COULOMB = 14.399645  # eV Å
BAR = 1 / 1.6021765e6  # eV/Å^3, its value
CHARGES = {"Na": 1.0, "Cl": -1.0}
# B (eV), rho, s (Å), C (eV Å^6), D (eV Å^8) of NaCl
TABLE = {
    ("Na", "Na"): (0.263704, 0.317, 2.340, 1.04857, 0.49932),
    ("Na", "Cl"): (0.210963, 0.317, 2.755, 6.99049, 8.67570),
    ("Cl", "Cl"): (0.158222, 0.317, 3.170, 72.4015, 145.4272),
}
ALPHA = 0.35
TIGHT = f"kspace_modify gewald {ALPHA} kmax/ewald 22 22 22"
EWALD = Parameters("ewald", ALPHA, cutoff=9.0, wave_cutoff=4.5)


def melt() -> Atoms:
    """A perturbed, orthorhombic cell of 216 ions with velocities."""
    atoms = bulk("NaCl", "rocksalt", a=6.2, cubic=True).repeat(3)
    rng = np.random.default_rng(0)
    atoms.set_velocities(0.05 * rng.normal(size=(216, 3)))
    atoms.set_cell(atoms.cell[:] * np.array([[1.0], [1.03], [0.97]]), scale_atoms=True)
    atoms.rattle(0.25, seed=1)
    return atoms


def in_lammps_units(**options) -> InversePower:
    """Our charges with the constant of LAMMPS."""
    return InversePower(CHARGES, 1, prefactor=LAMMPS_COULOMB, **options)


class Lammps:
    """Results of LAMMPS in the order of our atoms."""

    def __init__(self, atoms: Atoms, commands: list[str]):
        self.n_atoms = len(atoms)
        computes = [
            "compute ke all ke/atom",
            "compute pe all pe/atom",
            "compute st all stress/atom NULL virial",
            "compute J all heat/flux ke pe st",
            "thermo_style custom step pe elong c_J[1]",
        ]
        self.lammps = lammps_system(atoms, commands + computes, charges=CHARGES)
        self.run()

    def run(self) -> None:
        self.lammps.command("run 0 post no")
        ids = np.array(self.lammps.numpy.extract_atom("id")[: self.n_atoms]) - 1
        order = np.argsort(ids)
        self.forces = np.array(self.lammps.numpy.extract_atom("f")[: self.n_atoms])[order]
        self.energies = np.array(self.lammps.numpy.extract_compute("pe", 1, 1)[: self.n_atoms])[order]
        stress = np.array(self.lammps.numpy.extract_compute("st", 1, 2)[: self.n_atoms])[order]
        self.flux_tensors = -BAR * stress[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
        self.heat_flux = np.array(self.lammps.numpy.extract_compute("J", 0, 1))[:3] / ANGSTROM_PER_PS
        self.long_range_energy = self.lammps.get_thermo("elong")


def charges_in_lammps(atoms: Atoms, kspace: list[str]) -> Lammps:
    pairs = ["pair_style coul/long 9.0", "pair_coeff * *", "pair_modify table 0"]
    return Lammps(atoms, pairs + kspace)


def salt_in_lammps(atoms: Atoms, kspace: list[str]) -> Lammps:
    names = ("Na", "Cl")
    lines = ["pair_style born/coul/long 9.0", "pair_modify table 0"]
    for (a, b), (energy, rho, size, c, d) in TABLE.items():  # there +D / r^8
        i, j = sorted((names.index(a) + 1, names.index(b) + 1))
        lines.append(f"pair_coeff {i} {j} {energy} {rho} {size} {c} {-d}")
    return Lammps(atoms, lines + kspace)


def test_waves():
    """Energy, forces and flux tensors of the reciprocal part alone, to rounding."""
    atoms = melt()
    lammps = charges_in_lammps(atoms, ["kspace_style ewald 1e-12", TIGHT])
    total, energy = (lammps.forces, lammps.flux_tensors), lammps.long_range_energy
    lammps.lammps.command("kspace_modify compute no")
    lammps.run()
    forces, tensors = total[0] - lammps.forces, total[1] - lammps.flux_tensors
    structures = Structures.from_ase(atoms)
    own = np.zeros(216), np.zeros((216, 3)), np.zeros((216, 3, 3))
    bound = BoundReciprocal(in_lammps_units(), structures, EWALD)
    bound.add(structures.positions.numpy(), structures.cells.numpy(), *own)
    assert own[0].sum() == pytest.approx(energy, rel=1e-11)
    assert np.abs(own[1] - forces).max() < 1e-12 * np.abs(forces).max() + 1e-13
    assert np.abs(own[2] - tensors).max() < 1e-10 * np.abs(tensors).max()


def test_charges():
    """Energies, forces, flux tensors of every atom, and the heat flux, to the error of the peer's erfc."""
    atoms = melt()
    lammps = charges_in_lammps(atoms, ["kspace_style ewald 1e-12", TIGHT])
    result = in_lammps_units(parameters=EWALD)(Structures.from_ase(atoms))
    assert np.abs(result.forces.numpy() - lammps.forces).max() < 2e-6
    assert np.abs(result.energies.numpy() - lammps.energies).max() < 1e-5
    assert np.abs(result.flux_tensors.numpy() - lammps.flux_tensors).max() < 5e-6
    flux = result.heat_flux(torch.from_numpy(atoms.get_velocities()), torch.from_numpy(atoms.get_masses()))
    assert np.abs(flux[0].numpy() - lammps.heat_flux).max() < 2e-6 * np.abs(lammps.heat_flux).max()


def test_heat_flux_of_a_salt_and_that_waves_matter():
    atoms = melt()
    lammps = salt_in_lammps(atoms, ["kspace_style ewald 1e-12", TIGHT])
    scale = np.sqrt(LAMMPS_COULOMB / COULOMB)
    charges = {symbol: scale * charge for symbol, charge in CHARGES.items()}
    structures = Structures.from_ase(atoms)
    salt = Ionic(BornMayerHuggins(TABLE, 9.0), charges, parameters=EWALD)
    velocities = torch.from_numpy(atoms.get_velocities())
    masses = torch.from_numpy(atoms.get_masses())
    evaluator = Evaluator(salt, structures)
    evaluator(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
    assert np.abs(evaluator.forces - lammps.forces).max() < 2e-6
    parts = (torch.from_numpy(a) for a in (evaluator.energies, evaluator.forces, evaluator.flux_tensors))
    flux = Evaluation(*parts, structures).heat_flux(velocities, masses)[0].numpy()
    error = 2e-6 * np.abs(lammps.heat_flux).max()
    assert np.abs(flux - lammps.heat_flux).max() < error

    waves = np.zeros(216), np.zeros((216, 3)), np.zeros((216, 3, 3))
    bound = BoundReciprocal(salt.coulomb, structures, EWALD)
    bound.add(structures.positions.numpy(), structures.cells.numpy(), *waves)
    without = flux - np.einsum("nab,nb->a", waves[2], atoms.get_velocities())
    assert np.abs(without - lammps.heat_flux).max() > 1000 * error


def test_particle_mesh():
    """Both approximate the same forces: each is as far from the Ewald sum as it says."""
    atoms = melt()
    structures = Structures.from_ase(atoms)
    exact = in_lammps_units(force_error=1e-8, method="ewald")(structures)
    for accuracy in (1e-4, 1e-6):
        lammps = charges_in_lammps(atoms, [f"kspace_style pppm {accuracy}"])
        theirs = np.sqrt(((lammps.forces - exact.forces.numpy()) ** 2).sum(1).mean())
        ours = in_lammps_units(force_error=accuracy * LAMMPS_COULOMB, method="mesh", cutoff=9.0)(structures)
        mine = float(((ours.forces - exact.forces) ** 2).sum(1).mean().sqrt())
        assert theirs < 3 * accuracy * LAMMPS_COULOMB
        assert mine < 2 * accuracy * LAMMPS_COULOMB
        assert float((ours.energy - exact.energy).abs()) / 216 < 20 * accuracy


def test_slab():
    atoms = melt()
    atoms.center(vacuum=8.0, axis=2)
    commands = ["kspace_style ewald 1e-10", f"kspace_modify gewald {ALPHA} kmax/ewald 22 22 90 slab 3.0"]
    box = atoms.copy()
    from matterscape.benchmarks.lammps_peer import new_lammps

    lammps = new_lammps()
    lengths = box.cell.lengths()
    lammps.commands_list(
        [
            "units metal",
            "atom_style charge",
            "atom_modify map array",
            "boundary p p f",
            "region cell block " + " ".join(f"0 {length:.16g}" for length in lengths),
            "create_box 2 cell",
        ]
    )
    types = np.where(box.numbers == 11, 1, 2)
    box.positions[:, :2] %= lengths[:2]
    lammps.create_atoms(216, list(range(1, 217)), types.tolist(), box.positions.ravel().tolist())
    lammps.commands_list(["mass * 1", "set type 1 charge 1", "set type 2 charge -1"])
    lammps.commands_list(["pair_style coul/long 9.0", "pair_coeff * *", "pair_modify table 0", *commands])
    lammps.command("run 0 post no")
    order = np.argsort(np.array(lammps.numpy.extract_atom("id")[:216]))
    forces = np.array(lammps.numpy.extract_atom("f")[:216])[order]
    atoms.pbc = (True, True, False)
    result = in_lammps_units(force_error=1e-7, parameters=EWALD)(Structures.from_ase(atoms))
    assert np.abs(result.forces.numpy() - forces).max() < 3e-6
    assert float(result.energy) == pytest.approx(lammps.get_thermo("pe"), abs=2e-3)


def test_charged_cell():
    """LAMMPS neutralises with the same background."""
    atoms = melt()
    atoms.symbols[5] = "Na" if atoms.symbols[5] == "Cl" else "Cl"
    lammps = charges_in_lammps(atoms, ["kspace_style ewald 1e-12", TIGHT])
    result = in_lammps_units(parameters=EWALD, net_charge="background")(Structures.from_ase(atoms))
    assert np.abs(result.forces.numpy() - lammps.forces).max() < 2e-6
    assert float(result.energy) == pytest.approx(float(lammps.energies.sum()), abs=2e-3)


def test_coulomb_class_differs_by_the_constant_alone():
    atoms = melt()
    structures = Structures.from_ase(atoms)
    ratio = Coulomb(CHARGES, parameters=EWALD)(structures).energy / in_lammps_units(parameters=EWALD)(structures).energy
    assert float(ratio) == pytest.approx(COULOMB / LAMMPS_COULOMB, rel=1e-14)
