"""Properties collected from frames, and what is said about those that do not fit."""

import numpy as np
import pytest
from ase.build import molecule

from matterscape.structures.properties import collect_properties

pytestmark = pytest.mark.unit


@pytest.fixture
def frames():
    frames = [molecule("H2O"), molecule("CH4")]
    for k, atoms in enumerate(frames):
        atoms.info.update(energy=-3.0 - k, stress=np.full(6, 0.1 * k), origin="md" if k else "relaxed", charged=bool(k))
        atoms.info["history"] = {"step": 1}
        atoms.arrays["forces"] = np.full((len(atoms), 3), 2.0 * k)
        atoms.arrays["label"] = np.array(["x"] * len(atoms))
    return frames


def test_numbers_and_labels_of_structures_and_atoms(frames):
    found = collect_properties(frames)
    assert set(found) == {"energy", "energy_per_atom", "stress", "origin", "charged", "forces", "label"}
    assert found["energy"].level == "structure" and found["energy"].unit == "eV"
    np.testing.assert_allclose(found["energy_per_atom"].values, [-1.0, -0.8])
    assert found["forces"].values.shape == (8, 3) and found["forces"].level == "atom"
    assert found["forces"].unit == "eV/Å" and not found["forces"].scalar
    norm = found["forces"].norm()
    assert norm.name == "|forces|" and norm.scalar
    np.testing.assert_allclose(norm.values, np.repeat([0, np.sqrt(12)], [3, 5]))
    assert found["stress"].values.shape == (2, 6)
    assert found["origin"].categorical and list(found["origin"].values) == ["relaxed", "md"]
    np.testing.assert_array_equal(found["charged"].values, [0.0, 1.0])
    assert found.missing == {} and found.missing_sentence == ""


def test_what_is_missing_or_differs_is_counted(frames):
    frames.append(molecule("CO2"))
    frames[2].info.update(energy=1.0, stress=np.zeros((3, 3)), only_here=4.0)
    frames[2].arrays["forces"] = np.zeros((3, 3))
    found = collect_properties(frames)
    assert set(found) == {"energy", "energy_per_atom", "forces"}
    assert found.missing == {"stress": 1, "origin": 1, "charged": 1, "only_here": 2, "label": 1}
    assert found.missing_sentence.startswith("Left out because not all 3 frames hold them in the same form: stress")
    with pytest.raises(ValueError, match="target 'stress' is absent or of another form in 1 of 3 frames"):
        found.target("stress")


def test_a_target_must_be_a_finite_number_for_each(frames):
    frames[1].info["energy"] = np.nan
    found = collect_properties(frames)
    assert np.isnan(found["energy"].values[1])  # allowed for colouring
    with pytest.raises(ValueError, match="target 'energy' must be finite, got nan for 1 of 2 structures"):
        found.target("energy")
    with pytest.raises(ValueError, match="must be a property with one number each .*energy.*, got 'origin'"):
        found.target("origin")
    with pytest.raises(ValueError, match="got 'forces'"):
        found.target("forces")
    with pytest.raises(ValueError, match="got 'volume'"):
        found.target("volume")
    assert found.target("charged").values[1] == 1.0


def test_the_same_name_for_atoms_and_structures_is_kept_apart():
    atoms = molecule("H2O")
    atoms.info["charges"] = 0.0
    atoms.arrays["charges"] = np.array([-0.8, 0.4, 0.4])
    found = collect_properties([atoms])
    assert found["charges"].level == "structure" and found["charges (atom)"].level == "atom"


def test_bad_input():
    with pytest.raises(ValueError, match="frames must hold at least one structure, got none"):
        collect_properties([])
    with pytest.raises(TypeError, match="frames must hold ase.Atoms, got str at index 0"):
        collect_properties("frames.xyz")
