"""Rows per species of the central atom: against sums by hand, finite differences and forces by one backward pass."""

import numpy as np
import pytest
import torch
from ase import Atoms

from matterscape.descriptors import PowerSpectrum, RadialSpectrum, forces
from matterscape.models import RidgeModel
from matterscape.models.structure_rows import structure_rows
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SPECIES = (1, 8)


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(3)
    numbers = ([1, 8, 1], [8, 1, 1, 8])
    return [
        Atoms(z, positions=1.1 * np.arange(len(z))[:, None] + 0.2 * rng.normal(size=(len(z), 3)), cell=[6, 6, 6], pbc=p)
        for z, p in zip(numbers, (True, False))
    ]


@pytest.fixture(scope="module")
def descriptors():
    settings = dict(cutoff=3.0, max_radial=3, smearing=0.4)
    return [RadialSpectrum(SPECIES, **settings), PowerSpectrum(SPECIES, max_angular=2, **settings)]


def test_sums_over_the_atoms_of_each_species(frames, descriptors):
    structures = Structures.from_ase(frames)
    rows = structure_rows(structures, descriptors, jacobians=False)
    assert rows.jacobians is None
    of_atoms = torch.cat([descriptor(structures) for descriptor in descriptors], dim=1).numpy()
    for k, atoms in enumerate(frames):
        mine = of_atoms[structures.structure_index.numpy() == k]
        expected = np.concatenate([mine[atoms.numbers == z].sum(axis=0) for z in SPECIES])
        np.testing.assert_allclose(rows.features[k], expected, atol=1e-13)


def test_derivatives_by_finite_differences(frames, descriptors):
    rows = structure_rows(Structures.from_ase(frames), descriptors, dtype=np.float64)
    step = 1e-5
    for k, atoms in enumerate(frames):
        assert rows.jacobians[k].shape == (3 * len(atoms), rows.features.shape[1])
        for row, (atom, x) in enumerate(np.ndindex(len(atoms), 3)):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, x] += sign * step
                ends.append(structure_rows(Structures.from_ase(moved), descriptors, jacobians=False).features[0])
            np.testing.assert_allclose(rows.jacobians[k][row], (ends[0] - ends[1]) / (2 * step), atol=1e-7)


def test_forces_of_the_linear_model_are_minus_the_gradient(frames, descriptors):
    structures = Structures.from_ase(frames)
    rows = structure_rows(structures, descriptors)
    rng = np.random.default_rng(0)
    model = RidgeModel(regularisation=1e-6, baseline=False).fit(
        rows.features,
        rng.normal(size=2),
        n_atoms=structures.atoms_per_structure,
        forces=rng.normal(size=(structures.n_atoms, 3)),
        jacobians=iter(rows.jacobians),
    )
    moving = structures.with_gradients()
    weights = torch.from_numpy(model.coefficients).reshape(len(SPECIES), -1)
    of_atoms = torch.cat([descriptor(moving) for descriptor in descriptors], dim=1)
    centre = torch.searchsorted(torch.tensor(SPECIES), moving.species)
    energies = (of_atoms * weights[centre]).sum(dim=1)
    by_rows = np.concatenate(model.predict_forces(rows.jacobians))
    np.testing.assert_allclose(forces(energies, moving), by_rows, rtol=1e-4, atol=1e-6)  # rows are float32


def test_subset_keeps_the_order_asked_for(frames, descriptors):
    rows = structure_rows(Structures.from_ase(frames), descriptors)
    turned = rows[[1, 0]]
    np.testing.assert_array_equal(turned.features, rows.features[::-1])
    assert turned.jacobians[0] is rows.jacobians[1] and len(rows[:1]) == 1


@pytest.mark.parametrize(
    "chosen, message",
    [
        (lambda d: [], "descriptors must hold at least one descriptor, got none"),
        (lambda d: [d[0], RadialSpectrum((1, 8, 14), cutoff=3.0)], r"same species, got \(1, 8, 14\) and \(1, 8\)"),
    ],
)
def test_bad_descriptors(frames, descriptors, chosen, message):
    with pytest.raises(TypeError, match="structures must be Structures, got list"):
        structure_rows(frames, descriptors)
    with pytest.raises(
        TypeError, match="descriptors must be a list of descriptors, got RadialSpectrum|got PowerSpectrum"
    ):
        structure_rows(Structures.from_ase(frames), descriptors[0])
    with pytest.raises(ValueError, match=message):
        structure_rows(Structures.from_ase(frames), chosen(descriptors))
