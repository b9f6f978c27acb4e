"""The rigid-ion field of Li3PS4: cells, energies, exclusions by image, heat flux."""

import numpy as np
import pytest
import torch
from ase import Atoms

from energy_moment import energy_moment_rate
from matterscape.dynamics import Simulation, VelocityVerlet
from matterscape.potentials import Evaluator
from matterscape.potentials.bonded import Bonded, PairTerm
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.li3ps4 import CHARGES, LPSForceField, beta, gamma, thiophosphates
from matterscape.potentials.topology import Topology
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

# eV per formula unit of the relaxed gamma cell, computed with LAMMPS (Ewald error 1e-8)
GAMMA = {"total": -13.3731, "coulomb": -13.7587, "buckingham": 0.3480, "bonds": 0.0260, "angles": 0.0116}
FIELD = LPSForceField(force_error=1e-9)
sharings = pytest.mark.parametrize("sharing", ["centre", "thirds"])


def rattled(atoms, size=0.08, seed=0):
    """A copy with displaced atoms."""
    atoms = atoms.copy()
    atoms.rattle(size, seed=seed)
    return atoms


def cluster():
    """Two formula units in vacuum."""
    atoms = rattled(gamma(), 0.1, seed=2)
    found = thiophosphates(Structures.from_ase(atoms))
    for owner, shift in zip(found.owners[16:], found.shifts[16:]):  # make the PS4 whole
        atoms.positions[owner] += shift @ atoms.cell[:]
    return Atoms(atoms.numbers, atoms.positions)


def test_energies_of_the_phases():
    structures = Structures.from_ase([gamma(), beta()])
    terms = FIELD.energy_terms(structures)
    for name, expected in GAMMA.items():
        value = sum(terms.values()) if name == "total" else terms[name]
        assert float(value[0]) / 2 == pytest.approx(expected, abs=1e-3)
    result = FIELD(structures)
    torch.testing.assert_close(sum(terms.values()), result.energy, atol=1e-9, rtol=0)
    assert float(result.energy[1]) / 4 == pytest.approx(-13.3589, abs=1e-3)
    assert float(result.forces.norm(dim=1).max()) < 0.02


def test_cells():
    for atoms, n_units, volume in ((gamma(), 2, 151.605), (beta(), 4, 156.702)):
        assert atoms.symbols.formula.count() == {"Li": 3 * n_units, "P": n_units, "S": 4 * n_units}
        assert atoms.get_volume() / n_units == pytest.approx(volume, abs=1e-3)


def test_forces_and_virial_by_finite_difference():
    atoms = rattled(gamma())
    result = FIELD(Structures.from_ase(atoms))
    assert float(result.forces.sum(0).abs().max()) < 1e-9

    def slope(displacement, strain):
        values = []
        for k in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions += k * 2e-4 * displacement
            moved.set_cell(moved.cell[:] @ (np.eye(3) + k * 2e-4 * strain), scale_atoms=True)
            values.append(float(FIELD(Structures.from_ase(moved)).energy))
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 24e-4

    generator = np.random.default_rng(0)
    for _ in range(2):
        direction = generator.normal(size=(16, 3))
        direction /= np.linalg.norm(direction)
        expected = -slope(direction, np.zeros((3, 3)))
        assert (result.forces.numpy() * direction).sum() == pytest.approx(expected, abs=1e-6)
        strain = generator.normal(size=(3, 3))
        strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        expected = -slope(np.zeros((16, 3)), strain)
        assert (result.virials[0].numpy() * strain).sum() == pytest.approx(expected, abs=1e-6)


def test_second_derivatives_by_torch():
    atoms = rattled(gamma())
    structures = Structures.from_ase(atoms).with_gradients()
    (row,) = torch.autograd.grad(FIELD(structures).forces[3, 1], structures.positions)
    forces = []
    for step in (-1e-5, 1e-5):
        moved = atoms.copy()
        moved.positions[3, 1] += step
        forces.append(FIELD(Structures.from_ase(moved)).forces)
    torch.testing.assert_close(row, (forces[1] - forces[0]) / 2e-5, atol=1e-6, rtol=0)


def test_small_cell_and_supercell_agree():
    small = rattled(gamma())
    large = small * (2, 2, 2)
    energies = FIELD(Structures.from_ase([small, large])).energy
    assert float(energies[1]) / 16 == pytest.approx(float(energies[0]) / 2, abs=1e-8)
    # exclusion by the indices of the atoms takes the images of a PS4 out as well: wrong in the small cell alone
    by_index = []
    for atoms in (small, large):
        structures = Structures.from_ase(atoms)
        found = thiophosphates(structures)
        partners = {tuple(pair) for pair in np.sort(found.owners[found.pairs], axis=1).tolist()}
        near = structures.pairs(8.0)
        twice = [
            (i, j, shift)
            for i, j, shift, r in zip(near.first.tolist(), near.second.tolist(), near.shifts, near.vectors.norm(dim=1))
            if i < j and (i, j) in partners and r > 4.2
        ]
        pairs = np.array([(i, j) for i, j, _ in twice], int).reshape(-1, 2)
        shifts = np.array([[[0, 0, 0], shift.tolist()] for *_, shift in twice], int).reshape(-1, 2, 3)
        images = Bonded(Topology.build(len(atoms), pairs, shifts), [PairTerm(coulomb=-COULOMB * CHARGES["S"] ** 2)])
        by_index.append(float(images(structures).energy) / len(atoms))
    assert by_index[1] == 0.0
    assert abs(by_index[0]) > 0.01


@pytest.mark.parametrize("alpha", [0.30, 0.40])
def test_an_isolated_ion_does_not_know_the_separation_of_the_sum(alpha):
    ion = cluster()[thiophosphate_indices()]
    ion.set_cell([19.0, 19.0, 19.0])
    ion.pbc = True
    energies = []
    for value in (0.35, alpha):
        field = LPSForceField(parameters=Parameters("ewald", value, 6.2 / value, 12.4 * value), net_charge="background")
        energies.append(float(field(Structures.from_ase(ion)).energy))
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)


def thiophosphate_indices():
    """Atoms of one PS4 of the cluster."""
    found = thiophosphates(Structures.from_ase(cluster()))
    return np.unique(found.pairs[found.pairs[:, 0] == found.pairs[0, 0]])


@sharings
def test_heat_flux_is_the_rate_of_the_energy_moment(sharing):
    atoms = cluster()
    structures = Structures.from_ase(atoms)
    velocities = np.random.default_rng(1).normal(scale=0.1, size=(16, 3))
    field = LPSForceField(sharing)
    for potential in (field.ionic.pairs, field.ionic.coulomb, field.terms[-1], field):
        result = potential(structures)
        rate = energy_moment_rate(potential, atoms, velocities)
        flux = result.heat_flux(torch.from_numpy(velocities))[0].numpy()
        np.testing.assert_allclose(flux, rate, atol=1e-6)
    # without the tensors of the exclusions, or of the angles, it is not
    lean = field.ionic(structures)
    flux -= np.einsum("nab,nb->a", (result.flux_tensors - lean.flux_tensors).numpy(), velocities)
    assert np.abs(flux - rate).max() > 1e-3


@sharings
def test_the_evaluator_agrees_along_a_walk(sharing):
    field = LPSForceField(sharing, force_error=1e-6)
    structures = Structures.from_ase([rattled(gamma()), rattled(gamma(), seed=1)])
    evaluator = Evaluator(field, structures)
    positions, cells = structures.positions.numpy().copy(), structures.cells.numpy().copy()
    generator = np.random.default_rng(2)
    for _ in range(3):
        positions += 0.02 * generator.normal(size=positions.shape) + 0.7
        evaluator(positions, cells, pieces=True)
        now = Structures(
            torch.from_numpy(positions.copy()), structures.species, structures.structure_index, structures.cells,
            structures.pbc,
        )  # fmt: skip
        expected = field(now)
        for name in ("energies", "forces", "flux_tensors"):
            np.testing.assert_allclose(getattr(evaluator, name), getattr(expected, name), atol=1e-4)
        np.testing.assert_allclose(evaluator.forces, expected.forces, atol=1e-5)


class LateForces(VelocityVerlet):
    """Velocity Verlet whose second half of a kick takes one part in a thousand from the old forces."""

    def step(self, state, timestep, pieces):
        old = state.forces.copy()
        super().step(state, timestep, pieces)
        state.velocities -= 0.5e-3 * timestep * (state.forces - old) * state.inverse_masses[:, None]
        state.measure()


def test_energy_is_conserved():
    # The error of velocity Verlet oscillates, by 5e-6 eV/atom here, so a drift shows in the means over whole
    # picoseconds. A run that a test can afford resolves 3e-4 eV/atom/ns; the study's long one shows less than 1e-4.
    def drift(integrator, ps):
        crystal = gamma() * (2, 2, 2)
        field = LPSForceField(force_error=1e-4)
        simulation = Simulation(crystal, field, integrator=integrator, timestep_fs=1.0, initial_temperature_K=900.0)
        simulation.run(500, show_progress=False)
        energies = simulation.record("total_energy")
        simulation.run(1000 * ps, show_progress=False)
        means = energies.values[:, 0].reshape(ps, -1).mean(axis=1) / len(crystal)
        return (means[-1] - means[0]) / (1e-3 * (ps - 1))

    assert abs(drift(VelocityVerlet(), 4)) < 1.5e-3
    assert drift(LateForces(), 2) > 0.05


def test_reactive_frames_are_refused(dataset):
    refused = set()
    for atoms in dataset("li3ps4-sample-train"):
        try:
            thiophosphates(Structures.from_ase(atoms))
        except ValueError as error:
            assert "of structure 0" in str(error)
            refused.add(round(atoms.info["energy"], 5))
    assert len(refused) == 8


def test_forces_resemble_those_of_density_functional_theory(dataset):
    frames = []
    for atoms in dataset("li3ps4-dft-test")[:30]:
        try:
            thiophosphates(Structures.from_ase(atoms))
        except ValueError:
            continue
        frames.append(atoms)
    forces = np.concatenate([atoms.arrays["forces"] for atoms in frames])
    errors = LPSForceField(force_error=1e-3)(Structures.from_ase(frames)).forces.numpy() - forces
    assert np.sqrt((errors**2).mean()) < 0.6 * np.sqrt((forces**2).mean())


def test_bad_input():
    melted = gamma()
    melted.positions[melted.numbers == 15] += 1.5
    with pytest.raises(ValueError, match=r"atom \d+ \((P|S)\) of structure 0"):
        FIELD(Structures.from_ase(melted))
    with pytest.raises(ValueError, match=r"atom 0 of structure 0 is O"):
        FIELD(Structures.from_ase(Atoms("OPS4", positions=3 * np.eye(6)[:, :3])))
    with pytest.raises(ValueError, match="net charge"):
        del melted[0]
        FIELD(Structures.from_ase(melted))
    with pytest.raises(ValueError, match="sharing is 'equal'"):
        LPSForceField("equal")
