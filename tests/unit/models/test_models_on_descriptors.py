"""Models and descriptors together: forces by Jacobian rows equal forces by one backward pass."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from matterscape.models import KernelRidgeModel, RidgeModel
from matterscape.structures import Structures

descriptors = pytest.importorskip("matterscape.descriptors", exc_type=ImportError)
pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def data():
    frames = []
    for k in range(12):
        atoms = bulk("Cu", cubic=True) if k % 2 else molecule("CH4")
        atoms.numbers[:] = 29
        if k % 2 == 0:
            atoms.positions *= 2.3
        atoms.rattle(0.15, seed=k)
        atoms.calc = EMT()
        atoms.info["energy"], atoms.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        frames.append(atoms)
    structures = Structures.from_ase(frames)
    return {
        "soap": descriptors.PowerSpectrum((29,), cutoff=4.5, max_radial=4, max_angular=3),
        "structures": structures,
        "energies": np.array([atoms.info["energy"] for atoms in frames]),
        "forces": np.concatenate([atoms.arrays["forces"] for atoms in frames]),
    }


def test_ridge_on_energies_and_forces(data):
    soap, structures = data["soap"], data["structures"]
    arguments = dict(n_atoms=structures.atoms_per_structure)
    features = soap(structures, pooling="sum")
    only = RidgeModel(folds=4).fit(features, data["energies"], **arguments)
    both = RidgeModel(folds=4, force_weight=0.1).fit(
        features, data["energies"], forces=data["forces"], jacobians=soap.pooled_jacobian(structures), **arguments
    )
    errors = []
    for model in (only, both):
        by_rows = np.concatenate(model.predict_forces(soap.pooled_jacobian(structures)))
        moving = structures.with_gradients()
        energy = soap(moving, pooling="sum") @ torch.from_numpy(model.coefficients)
        np.testing.assert_allclose(descriptors.forces(energy, moving), by_rows, atol=1e-9)
        errors.append(np.sqrt(np.mean((by_rows - data["forces"]) ** 2)))
    assert errors[1] < 0.5 * errors[0]


def test_kernel_model_on_forces(data):
    soap, structures = data["soap"], data["structures"]
    index = structures.structure_index.numpy()
    features = soap(structures)

    def jacobians():
        for a in range(len(structures)):
            block = soap.jacobian(structures[a]).to_dense()  # (atom, moved atom, x, feature)
            yield block.permute(1, 2, 0, 3).reshape(-1, block.shape[0], block.shape[3])

    model = KernelRidgeModel(n_active=30, regularisation=1e-8, force_weight=0.1).fit(
        features, data["energies"], structure_index=index, forces=data["forces"], jacobians=jacobians()
    )
    moving = structures.with_gradients()
    forces = descriptors.forces(model.energy(soap(moving)), moving)
    by_rows = np.concatenate(model.predict_forces(features, jacobians(), structure_index=index))
    np.testing.assert_allclose(forces, by_rows, atol=1e-8)
    assert np.std(forces.numpy() - data["forces"]) < 0.1 * np.std(data["forces"])
