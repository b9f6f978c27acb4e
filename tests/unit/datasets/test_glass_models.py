"""Glasses that come with the package, and how they are made."""

import numpy as np
import pytest

from matterscape.datasets.glass_models import (
    POTENTIALS,
    glass_model,
    glass_models,
    make_glass_model,
    save_glass_model,
)
from matterscape.potentials.evaluator import Evaluator
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit

MODELS = [(m, n, s) for m, sizes in glass_models().items() for n, samples in sizes.items() for s in range(samples)]
SHORT = ((2.0, 10), (0.5, 15), (0.3, 15))


@pytest.mark.parametrize(("material", "n_atoms", "sample"), MODELS)
def test_every_model_is_a_stress_free_minimum(material, n_atoms, sample):
    atoms = glass_model(material, n_atoms, sample)
    structures = Structures.from_ase(atoms)
    found = Evaluator(POTENTIALS[material](), structures)
    found(structures.positions.numpy(), structures.cells.numpy())
    assert len(atoms) == n_atoms and atoms.info["material"] == material
    assert np.abs(found.forces).max() < 5e-6
    assert found.energies.sum() / n_atoms == pytest.approx(atoms.info["energy_per_atom"], abs=1e-9)


@pytest.mark.parametrize("material", POTENTIALS)
def test_the_smallest_vibrate(material):
    n_atoms = min(glass_models()[material])
    structures = Structures.from_ase(glass_model(material, n_atoms))
    modes = vibrational_modes(force_constants(POTENTIALS[material](), structures))
    assert modes.n_unstable == 0 and np.sort(modes.frequencies_THz[modes.vibrating])[0] > 0.3


def test_samples_are_different_networks():
    first, second = glass_model("a-Si", 216, 0), glass_model("a-Si", 216, 1)
    assert first.info["seed"] != second.info["seed"] and np.abs(first.positions - second.positions).max() > 1
    first.positions[0] += 1.0
    assert not np.allclose(glass_model("a-Si", 216, 0).positions, first.positions)  # a copy each time


def test_a_new_model_is_kept_to_a_hundred_millionth(tmp_path, monkeypatch):
    made = make_glass_model("a-Si", 64, seed=4, schedule=SHORT)
    assert made.info["max_force"] < 1e-6 and 2.1 < made.info["density_g_cm3"] < 2.5
    monkeypatch.setattr("matterscape.datasets.glass_models.FOLDER", tmp_path)
    save_glass_model(made, tmp_path / "a-Si_64_0.npz")
    assert glass_models()["a-Si"] == {64: 1}
    kept = glass_model("a-Si", 64)
    difference = (kept.get_scaled_positions() - made.get_scaled_positions() + 0.5) % 1 - 0.5
    assert np.abs(difference @ made.cell.array).max() < 1e-8
    assert kept.info == made.info and (kept.numbers == made.numbers).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glass_model("a-Ge", 216), "material is 'a-Ge'; accepted are 'a-Si'"),
        (lambda: glass_model("a-Si", 217), "n_atoms is 217; accepted for a-Si are 64"),
        (lambda: glass_model("a-Si", 64, 5), "sample is 5; accepted are 0 to 0"),
        (lambda: glass_model("a-Si", 64, -1), "sample is -1"),
        (lambda: make_glass_model("a-SiO2", 64), "n_atoms is 64; accepted for a-SiO2 is 24 k"),
        (lambda: make_glass_model("a-Si", 65), "n_atoms is 65"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
