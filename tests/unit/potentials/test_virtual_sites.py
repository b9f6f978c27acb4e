"""Potentials on sites beside the atoms, with a sum over all pairs of molecules as the potential."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from energy_moment import energy_moment_rate
from matterscape.potentials import Evaluator
from matterscape.potentials.bonded import Bonded, PairTerm
from matterscape.potentials.topology import Topology, find_molecules
from matterscape.potentials.virtual_sites import OnSites
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

WEIGHT = 0.7


def waters(structures):
    """The molecules of a batch of water."""
    return find_molecules(structures, "O", "H", 2, 1.6)


def direct_sum(molecules):
    """Coulomb energy between all sites of different molecules, each molecule in the image of its oxygen."""
    n_atoms, oxygens = molecules.n_atoms, molecules.centres
    label, shifts = np.empty(n_atoms, int), np.zeros((n_atoms, 3), int)
    label[oxygens] = np.arange(len(oxygens))
    label[molecules.ligands], shifts[molecules.ligands] = label[oxygens][:, None], molecules.shifts
    pairs = np.array([(i, j) for j in range(n_atoms) for i in range(j) if label[i] != label[j]])
    rows = np.isin(pairs, oxygens).sum(axis=1)  # 0, 1 or 2 negative charges
    topology = Topology.build(n_atoms, pairs, pair_shifts=shifts[pairs], pair_rows=rows)
    return Bonded(topology, [PairTerm(coulomb=q) for q in (3, -6, 12)])


POTENTIAL = OnSites(waters, direct_sum, WEIGHT)


def trimer():
    atoms = Atoms()
    for angle, place in ((0, (0, 0, 0)), (40, (2.3, 1.2, -0.7)), (110, (-1.1, 2.4, 1.3))):
        one = molecule("H2O")
        one.rotate(angle, (1, 2, 3))
        one.positions += place
        atoms += one
    atoms.rattle(0.05, seed=1)
    return atoms


def split_trimer():
    """The trimer in a cell, with atoms moved to other images so that bonds cross the faces."""
    atoms = trimer()
    atoms.set_cell([[7.0, 0, 0], [1.0, 8, 0], [0, -1.0, 7.5]])
    atoms.pbc = True
    atoms.positions[[1, 5, 7]] += atoms.cell[:][[0, 1, 2]]
    return atoms


def test_the_sites():
    structures = Structures.from_ase(trimer())
    sites = POTENTIAL.sites(structures).positions.numpy()
    positions = trimer().positions
    expected = WEIGHT * positions[3] + (1 - WEIGHT) / 2 * (positions[4] + positions[5])
    np.testing.assert_allclose(sites[3], expected, atol=1e-14)
    np.testing.assert_array_equal(sites[[4, 5]], positions[[4, 5]])


def test_results_follow_from_the_energy():
    for atoms in (trimer(), split_trimer()):
        structures = Structures.from_ase(atoms).with_gradients(strain=True)
        result = POTENTIAL(structures)
        forces, strain = torch.autograd.grad(result.energy.sum(), (structures.leaf_positions, structures.strain))
        torch.testing.assert_close(result.forces, -forces)
        torch.testing.assert_close(result.virials, -0.5 * (strain + strain.transpose(1, 2)))


def test_energy_is_that_of_the_charges():
    structures = Structures.from_ase(trimer())
    sites = POTENTIAL.sites(structures).positions.numpy()
    charges = np.where(structures.species.numpy() == 8, -2, 1) * np.sqrt(3.0)
    energy = 0.0
    for i in range(9):
        for j in range(i):
            if i // 3 != j // 3:
                energy += charges[i] * charges[j] / np.linalg.norm(sites[i] - sites[j])
    assert float(POTENTIAL(structures).energy) == pytest.approx(energy, rel=1e-12)


def test_heat_flux_is_the_rate_of_the_energy_moment():
    atoms = trimer()
    velocities = np.random.default_rng(2).normal(size=(9, 3))
    result = POTENTIAL(Structures.from_ase(atoms))
    rate = energy_moment_rate(POTENTIAL, atoms, velocities)
    np.testing.assert_allclose(result.heat_flux(torch.from_numpy(velocities))[0], rate, atol=1e-6)


def test_a_molecule_split_over_images_is_the_same_molecule():
    results = [POTENTIAL(Structures.from_ase(atoms)) for atoms in (trimer(), split_trimer())]
    for name in ("energies", "forces", "flux_tensors"):
        torch.testing.assert_close(*(getattr(result, name) for result in results), atol=1e-10, rtol=0)


def test_the_evaluator_agrees():
    structures = Structures.from_ase(split_trimer())
    evaluator = Evaluator(POTENTIAL, structures)
    for scale in (1.0, 1.02):
        moved = split_trimer()
        moved.set_cell(scale * moved.cell[:], scale_atoms=True)
        evaluator(moved.positions, moved.cell[:][None], pieces=True)
        expected = POTENTIAL(Structures.from_ase(moved))
        for name in ("energies", "forces", "flux_tensors"):
            np.testing.assert_allclose(getattr(evaluator, name), getattr(expected, name), atol=1e-11)


def test_force_constants():
    structures = Structures.from_ase(split_trimer())
    found = POTENTIAL.hessian(structures)
    h = 1e-5
    numerical = np.empty((27, 27))
    for row in range(27):
        forces = []
        for step in (-h, h):
            moved = split_trimer()
            moved.positions.ravel()[row] += step
            forces.append(POTENTIAL(Structures.from_ase(moved)).forces.numpy().ravel())
        numerical[row] = (forces[0] - forces[1]) / (2 * h)
    np.testing.assert_allclose(found.dense(), numerical, atol=1e-6)
    assert found.asymmetry() < 1e-12
    assert found.acoustic_residual() < 1e-12


def test_bad_input():
    with pytest.raises(ValueError, match="centre_weight is nan"):
        OnSites(waters, direct_sum, float("nan"))
    with pytest.raises(ValueError, match=r"atom 0 \(O\) of structure 0 has 1 H within 1.6 Å"):
        POTENTIAL(Structures.from_ase(molecule("OH")))
