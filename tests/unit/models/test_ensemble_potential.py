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
