"""Ensemble potentials in dynamics: the compiled path against torch, member energies along a run, stability."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.dynamics import Simulation, VelocityVerlet
from matterscape.models.ensemble_potential import EnsemblePotential
from matterscape.potentials import Evaluator, StillingerWeber, verify
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

CHANNELS = np.array([[1.0, 0.2], [0.3, 1.0], [-0.5, 0.7]])
SMALL = dict(cutoff=3.5, radial_functions=4, max_radial=3, max_angular=3, hidden=(8, 6), n_members=5)
QUICK = ("forces", "stress", "flux sum", "heat flux", "evaluator", "batch", "float32", "repeat", "images")


@pytest.fixture(scope="module")
def silicon():
    """Trained a little, on frames of 8 atoms."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(40):
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.12 * rng.normal(size=(8, 3))
        frames.append(atoms)
    structures = Structures.from_ase(frames)
    truth = StillingerWeber.silicon()(structures)
    potential = EnsemblePotential(["Si"], **{**SMALL, "cutoff": 3.9})
    energies, forces = truth.energy.numpy(), truth.forces.numpy()
    return potential.fit(structures, energies, forces, force_weight=30, epochs=25, batch_size=6, learning_rate=5e-3)


@pytest.fixture
def crystal():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def organic(channels=None):
    """Three species, random weights and standardisation."""
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, species_channels=channels, seed=2)
    potential.baseline[:] = -1.0, -20.0, -30.0
    rng = np.random.default_rng(1)
    body = potential.network.body
    body.centres.copy_(torch.from_numpy(0.1 * rng.normal(size=body.centres.shape)))
    body.inverse_widths.copy_(torch.from_numpy(rng.uniform(1.0, 3.0, size=body.centres.shape)))
    return potential


def mixture():
    """Molecules and a small, skewed cell with several images of its atoms in reach."""
    carbon = bulk("C", "diamond", a=3.4)
    carbon.rattle(0.1, seed=1)
    return Structures.from_ase([molecule("CH3CH2OH"), carbon, molecule("H2O"), molecule("H")])


def evaluated(potential, structures):
    evaluator = Evaluator(potential, structures)
    evaluator(structures.positions.numpy().copy(), structures.cells.numpy().copy(), pieces=True)
    return evaluator


@pytest.mark.parametrize("channels", [None, CHANNELS], ids=["species", "pseudo-species"])
@pytest.mark.parametrize("atoms_in_block", [512, 3])
def test_the_compiled_path_is_the_torch_call(channels, atoms_in_block, monkeypatch):
    monkeypatch.setattr("matterscape.models._ensemble_bound.ATOMS_IN_BLOCK", atoms_in_block)
    potential, structures = organic(channels), mixture()
    evaluator, result = evaluated(potential, structures), potential(structures)
    assert np.allclose(evaluator.energies, result.energies, rtol=0, atol=1e-11)
    assert np.allclose(evaluator.forces, result.forces, rtol=0, atol=1e-11)
    assert np.allclose(evaluator.flux_tensors, result.flux_tensors, rtol=0, atol=1e-11)
    members = potential.member_energies(structures)
    assert np.allclose(evaluator.bound.member_energies, members, rtol=0, atol=1e-10)


def test_a_single_hidden_layer():
    potential = EnsemblePotential(["H", "C", "O"], **{**SMALL, "hidden": (7,)})
    structures = mixture()
    assert np.allclose(evaluated(potential, structures).forces, potential(structures).forces, rtol=0, atol=1e-11)


def test_it_keeps_what_potentials_promise(silicon, crystal):
    report = verify(silicon, [crystal, crystal[:2]], checks=QUICK)
    assert report.passed, str(report)


def test_second_derivatives_of_torch(silicon, crystal):
    report = verify(silicon, [crystal], checks=["double backward"])
    assert report.passed, str(report)


def test_energy_is_conserved(silicon, crystal):
    run = Simulation(
        crystal * (2, 1, 1), silicon, integrator=VelocityVerlet(), timestep_fs=0.5, initial_temperature_K=600
    )
    energies = run.record("total_energy")
    run.run(300, show_progress=False)
    kinetic = run.kinetic_energy[0]
    assert np.ptp(energies.values) < 2e-3 * kinetic


def test_member_energies_along_a_run(silicon, crystal):
    run = Simulation(
        [crystal, crystal * (2, 1, 1)],
        silicon,
        integrator=VelocityVerlet(),
        timestep_fs=1.0,
        initial_temperature_K=600,
    )
    members, energies = run.record("member_energies", every=5), run.record("potential_energy", every=5)
    run.run(20, show_progress=False)
    assert members.values.shape == (5, 2, 5) and members.unit == "eV"
    assert np.allclose(members.values.mean(axis=-1), energies.values, rtol=1e-13)
    assert np.allclose(members.values[-1], silicon.member_energies(run.structures()), rtol=1e-12)
    _ = run.pressure_GPa  # evaluates once more, with flux tensors
    assert np.allclose(run.member_energies, members.values[-1], rtol=1e-14)


def test_other_potentials_have_no_members(crystal):
    run = Simulation(crystal, StillingerWeber.silicon(), integrator=VelocityVerlet(), timestep_fs=1.0)
    with pytest.raises(ValueError, match="StillingerWeber, which has no members; member_energies needs"):
        run.record("member_energies")


def test_a_restart_needs_the_same_weights(silicon, crystal, tmp_path):
    run = Simulation(crystal, silicon, integrator=VelocityVerlet(), timestep_fs=1.0, initial_temperature_K=300)
    run.run(3, show_progress=False)
    run.save(tmp_path / "run.npz")
    silicon.save(tmp_path / "potential.npz")
    loaded = EnsemblePotential.load(tmp_path / "potential.npz")
    continued = Simulation.restart(tmp_path / "run.npz", loaded)
    for simulation in (run, continued):
        simulation.run(3, show_progress=False)
    assert np.array_equal(run.positions, continued.positions)
    assert np.array_equal(run.member_energies, continued.member_energies)
    with pytest.raises(ValueError, match="was written with another one or with other parameters"):
        Simulation.restart(tmp_path / "run.npz", silicon.stretched(1.1))


def test_the_calculator_gives_the_mean_and_the_members(silicon, crystal):
    crystal.calc = silicon.calculator()
    structures = Structures.from_ase(crystal)
    assert crystal.get_potential_energy() == pytest.approx(float(silicon(structures).energy), rel=1e-13)
    members = crystal.calc.results["member_energies"]
    assert np.allclose(members, silicon.member_energies(structures)[0], rtol=1e-12)
    assert Structures.from_ase(crystal).to_ase()[0].get_potential_energy() == crystal.get_potential_energy()
