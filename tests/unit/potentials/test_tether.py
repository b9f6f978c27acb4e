"""Springs to fixed places: energies, forces, dynamics in which held atoms stay and the others are free."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk

from matterscape.dynamics import Simulation, StochasticVelocityRescaling, VelocityVerlet
from matterscape.dynamics.restart import fingerprint
from matterscape.potentials import Evaluator, LennardJones
from matterscape.potentials.tether import Tether
from matterscape.structures import Structures

pytestmark = pytest.mark.unit


def cluster():
    atoms = Atoms("Ar4", positions=[[0, 0, 0], [3.8, 0, 0], [0, 3.8, 0.3], [0.2, 0, 3.8]])
    atoms.rattle(0.1, seed=1)
    return atoms


def test_energies_and_forces():
    atoms = cluster()
    places = np.array([[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    result = Tether([0, 2], places, 0.3)(Structures.from_ase(atoms))
    away = atoms.positions[[0, 2]] - places
    np.testing.assert_allclose(result.energies, [0.15 * away[0] @ away[0], 0, 0.15 * away[1] @ away[1], 0], rtol=1e-12)
    np.testing.assert_allclose(result.forces[[0, 2]], -0.3 * away, rtol=1e-12)
    assert not result.forces[[1, 3]].any()
    assert not result.flux_tensors.any()


def test_forces_are_the_derivative():
    structures = Structures.from_ase(cluster())
    structures.positions.requires_grad_()
    result = Tether([1, 3], np.ones((2, 3)), 0.7)(structures)
    (gradient,) = torch.autograd.grad(result.energies.sum(), structures.positions)
    np.testing.assert_allclose(result.forces.detach(), -gradient, atol=1e-14)


def test_dynamics_sees_the_same_and_a_new_stiffness():
    structures = Structures.from_ase(cluster())
    tether = Tether([3, 1], np.ones((2, 3)), 0.7)
    potential = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=8.0) + tether
    evaluator = Evaluator(potential, structures)
    for stiffness in (0.7, 0.2):
        tether.stiffness = stiffness
        expected = potential(structures)
        evaluator(structures.positions.numpy(), structures.cells.numpy())
        np.testing.assert_allclose(evaluator.forces, expected.forces, atol=1e-12)
        np.testing.assert_allclose(evaluator.energies, expected.energies, atol=1e-12)


def test_a_tethered_atom_oscillates_with_its_frequency():
    atoms = Atoms("Ar", positions=[[0.5, 0, 0]], cell=[20] * 3, pbc=True)
    simulation = Simulation(
        atoms, Tether([0], np.zeros((1, 3)), 0.3), integrator=VelocityVerlet(), timestep_fs=1.0, remove_momentum=False,
        velocities=np.zeros((1, 3)),
    )  # fmt: skip
    record = simulation.record("positions", every=1)
    energy = simulation.total_energy[0]
    simulation.run(2000)
    frequency = np.sqrt(0.3 / atoms.get_masses()[0])
    times = np.arange(len(record.values)) * units.fs
    np.testing.assert_allclose(record.values[:, 0, 0], 0.5 * np.cos(frequency * times), atol=2e-3)
    assert simulation.total_energy[0] == pytest.approx(energy, rel=1e-4)


def test_held_atoms_keep_their_places_in_a_melt():
    atoms = bulk("Ar", cubic=True, a=5.6).repeat(3)
    held = np.arange(0, len(atoms), 2)
    potential = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=8.0) + Tether(held, atoms.positions[held], 2.0)
    simulation = Simulation(
        atoms,
        potential,
        integrator=StochasticVelocityRescaling(150.0),
        timestep_fs=5.0,
        seed=0,
        initial_temperature_K=150.0,
    )
    simulation.run(1000)
    moved = np.linalg.norm(simulation.positions - atoms.positions, axis=1)
    width = np.sqrt(3 * units.kB * 150.0 / 2.0)
    assert np.sqrt(np.mean(moved[held] ** 2)) < 1.5 * width
    assert np.sqrt(np.mean(moved[1::2] ** 2)) > 3 * width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], np.zeros((0, 3)), 1.0), "atoms is .*at least one atom"),
        (([0, 0], np.zeros((2, 3)), 1.0), "different numbers"),
        (([-1], np.zeros((1, 3)), 1.0), "different numbers"),
        (([0, 1], np.zeros((1, 3)), 1.0), "places has shape"),
        (([0], np.full((1, 3), np.nan), 1.0), "finite rows"),
        (([0], np.zeros((1, 3)), -1.0), "stiffness is -1.0"),
    ],
)
def test_bad_springs(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tether(*arguments)


def test_a_missing_atom():
    with pytest.raises(ValueError, match="holds atom 7; the structures have 4 atoms"):
        Tether([7], np.zeros((1, 3)), 1.0)(Structures.from_ase(cluster()))


def test_restart_files_know_the_stiffness():
    soft, stiff = (Tether([0, 1], np.zeros((2, 3)), stiffness) for stiffness in (0.3, 1.0))
    assert fingerprint(soft) != fingerprint(stiff)
    soft.stiffness = 1.0
    assert fingerprint(soft) == fingerprint(stiff)
