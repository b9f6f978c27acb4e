"""Potentials with an ensemble of last layers: identities of the members, derivatives, training, files, mistakes."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.models.ensemble_potential import EnsemblePotential
from matterscape.potentials import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SMALL = dict(cutoff=3.5, radial_functions=4, max_radial=2, max_angular=2, hidden=(6, 5), n_members=4)


def rattled(n_frames, seed=0):
    """Cells of 8 silicon atoms, displaced and strained."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.15 * rng.normal(size=(8, 3))
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def silicon():
    """Structures of silicon with the energies and forces of Stillinger and Weber."""
    structures = Structures.from_ase(rattled(60))
    truth = StillingerWeber.silicon()(structures)
    return structures, truth.energy.numpy(), truth.forces.numpy()


@pytest.fixture(scope="module")
def trained(silicon):
    structures, energies, forces = silicon
    return EnsemblePotential(["Si"], **SMALL).fit(structures, energies, forces, epochs=30, batch_size=10)


@pytest.fixture(scope="module")
def salty():
    """A potential of three species with random weights and a baseline, and structures for it."""
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, seed=3)
    potential.baseline[:] = -1.0, -20.0, -30.0
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.1, seed=1)
    return potential, Structures.from_ase([molecule("CH3CH2OH"), crystal, molecule("H2O")])


def test_the_potential_is_the_mean_of_its_members(salty):
    potential, structures = salty
    result = potential(structures)
    assert torch.allclose(potential.member_energies(structures).mean(1), result.energy, rtol=0, atol=1e-12)
    assert torch.allclose(potential.local_member_energies(structures).mean(1), result.energies, rtol=0, atol=1e-12)
    assert torch.allclose(potential.member_forces(structures).mean(0), result.forces, rtol=0, atol=1e-12)
    assert torch.allclose(potential.member_virials(structures).mean(0), result.virials, rtol=0, atol=1e-12)


def test_members_are_a_linear_last_layer(salty):
    potential, structures = salty
    features = potential.last_layer_features(structures)
    assert features.shape == (3, 6)
    assert torch.equal(features[:, -1], structures.atoms_per_structure.double())
    per_atom = potential.last_layer_features(structures, per="atom")
    assert torch.allclose(per_atom[structures.structure_index == 1].sum(0), features[1], rtol=1e-14)
    energies = potential.last_layer.members(features) + potential.baseline_energies(structures)[:, None]
    assert torch.allclose(energies, potential.member_energies(structures), rtol=1e-14)


def test_the_baseline_belongs_to_every_member(salty):
    potential, structures = salty
    lifted = potential.stretched(1.0)
    lifted.baseline = potential.baseline + np.array([1.0, 10.0, 100.0])
    difference = lifted.member_energies(structures) - potential.member_energies(structures)
    expected = torch.tensor([6.0 + 20.0 + 100.0, 20.0, 2.0 + 100.0], dtype=torch.float64)
    assert torch.allclose(difference, expected[:, None].expand(3, 4), rtol=0, atol=1e-10)


def test_forces_of_each_member_are_those_of_a_backward_pass_of_its_own(salty):
    potential, structures = salty
    batch = structures.with_gradients()
    energies = potential.member_energies(batch)
    forces, rows = potential.member_forces(structures), potential.force_rows(structures)
    weights = torch.from_numpy(potential.last_layer.weights)
    assert torch.allclose((rows @ weights).T.reshape(forces.shape), forces, rtol=0, atol=1e-12)
    for k in range(potential.n_members):
        (slope,) = torch.autograd.grad(energies[:, k].sum(), batch.leaf_positions, retain_graph=True)
        assert torch.allclose(forces[k], -slope, rtol=0, atol=1e-10)


def test_forces_and_virials_of_members_are_derivatives(salty):
    potential, structures = salty
    forces, virials = potential.member_forces(structures), potential.member_virials(structures)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=(structures.n_atoms, 3)))
    crystal = slice(9, 11)
    strain = torch.tensor([[0.2, 0.1, 0.0], [0.1, -0.3, 0.05], [0.0, 0.05, 0.1]], dtype=torch.float64)

    def moved(step):
        frames = structures.to_ase()
        for atoms, part in zip(frames, (step * direction).numpy()[[slice(0, 9), crystal, slice(11, 14)][0]][None]):
            atoms.positions += part
        return potential.member_energies(Structures.from_ase(frames))

    slope = (moved(1e-4) - moved(-1e-4))[0] / 2e-4
    assert torch.allclose(slope, -(forces[:, :9] * direction[:9]).sum((1, 2)), rtol=0, atol=1e-7)

    def strained(step):
        atoms = structures.to_ase()[1]
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + step * strain.numpy()), scale_atoms=True)
        return potential.member_energies(Structures.from_ase(atoms))[0]

    slope = (strained(1e-4) - strained(-1e-4)) / 2e-4
    assert torch.allclose(slope, -(virials[:, 1] * strain).sum((1, 2)), rtol=0, atol=1e-6)
