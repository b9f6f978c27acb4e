"""Labels by electronic structure: derivatives of energies, resume, and what is refused."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from matterscape.datasets.electronic_labels import (
    gfn2_labels,
    label_in_chunks,
    read_arrays,
    rhf_response,
    write_arrays,
)

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def frames():
    made = []
    for seed in range(7):
        atoms = molecule("NH3")
        atoms.rattle(0.05, seed=seed)
        made.append(atoms)
    return made


def counted(calls, failing=()):
    def label(atoms):
        calls.append(atoms)
        if len(calls) - 1 in failing:
            raise RuntimeError("does not converge")
        return {"energy": np.array(atoms.positions.sum()), "forces": atoms.positions**2}

    return label


def test_forces_of_gfn2_are_the_slope_of_its_energy():
    pytest.importorskip("tblite")
    atoms = Atoms("CH4", [[0, 0, 0], [1.1, 0.2, 0], [-0.6, 1.9, 0.3], [-0.4, -0.8, 2.1], [0.1, -0.9, -0.8]])
    forces = gfn2_labels(atoms)["forces"]
    for atom, axis in ((0, 0), (2, 1)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * 1e-3
            energies.append(float(gfn2_labels(moved)["energy"]))
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-3, abs=2e-4)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-8)
    colder = gfn2_labels(atoms, smearing_hartree=1e-4)["energy"]
    assert float(gfn2_labels(atoms)["energy"]) < float(colder) - 0.01  # entropy of the electrons in broken bonds


def test_response_is_that_to_a_finite_field():
    pytest.importorskip("pyscf")
    water = molecule("H2O")
    response = rhf_response(water)
    assert response["polarisability"][2, 2] == pytest.approx(4.5622, abs=1e-4)
    step = 1e-3
    plus, minus = (rhf_response(water, field=(0, 0, sign * step)) for sign in (1, -1))
    induced = (plus["dipole"] - minus["dipole"]) / (2 * step)
    np.testing.assert_allclose(response["polarisability"][2], induced, atol=3e-5)
    slope = -(plus["energy"] - minus["energy"]) / (2 * step) / 27.211386246
    assert response["dipole"][2] == pytest.approx(slope, abs=1e-5)


def test_response_turns_with_the_molecule():
    pytest.importorskip("pyscf")
    turned = molecule("H2O")
    before = rhf_response(turned)
    turned.positions = turned.positions[:, [2, 0, 1]] + [0.3, -1.0, 2.0]  # z, x, y: a turn by a third
    after = rhf_response(turned)
    np.testing.assert_allclose(after["dipole"], before["dipole"][[2, 0, 1]], atol=1e-6)
    expected = before["polarisability"][[2, 0, 1]][:, [2, 0, 1]]
    np.testing.assert_allclose(after["polarisability"], expected, atol=1e-6)


def test_what_was_computed_is_not_computed_again(frames, tmp_path):
    calls = []
    first = label_in_chunks(tmp_path, frames[:6], counted(calls), chunk=3, show_progress=False)
    assert len(calls) == 6 and first["energy"].shape == (6,) and first["forces"].shape == (6, 4, 3)
    np.testing.assert_array_equal(first["frame"], np.arange(6))
    again = label_in_chunks(tmp_path, frames, counted(calls), chunk=3, show_progress=False)
    assert len(calls) == 7
    np.testing.assert_array_equal(again["forces"][:6], first["forces"])
    with pytest.raises(ValueError, match="holds labels of other frames; give a new folder"):
        label_in_chunks(tmp_path, frames[1:], counted(calls), chunk=3, show_progress=False)


def test_an_interrupt_loses_one_chunk(frames, tmp_path):
    def interrupted(atoms):
        if atoms is frames[4]:
            raise KeyboardInterrupt
        return {"energy": np.array(1.0)}

    with pytest.raises(KeyboardInterrupt):
        label_in_chunks(tmp_path, frames, interrupted, chunk=2, show_progress=False)
    calls = []

    def label(atoms):
        calls.append(atoms)
        return {"energy": np.array(1.0)}

    label_in_chunks(tmp_path, frames, label, chunk=2, show_progress=False)
    assert len(calls) == 3


def test_failures_are_left_out_and_remembered(frames, tmp_path):
    calls = []
    made = label_in_chunks(tmp_path, frames, counted(calls, failing=(1, 5)), chunk=3, show_progress=False)
    np.testing.assert_array_equal(made["frame"], [0, 2, 3, 4, 6])
    np.testing.assert_allclose(made["energy"], [frames[k].positions.sum() for k in made["frame"]])
    assert len(label_in_chunks(tmp_path, frames, counted(calls), chunk=3, show_progress=False)["frame"]) == 5
    assert len(calls) == 7

    def not_finite(atoms):
        return {"energy": np.array(np.nan)}

    with pytest.raises(RuntimeError, match="no frame has labels"):
        label_in_chunks(tmp_path / "a", frames, not_finite, show_progress=False)


def test_files_keep_arrays_and_provenance(tmp_path):
    write_arrays(tmp_path / "a.npz", {"method": "none"}, x=np.arange(3.0), y=np.eye(2))
    arrays, provenance = read_arrays(tmp_path / "a.npz", ("x", "y"))
    assert provenance == {"method": "none"}
    np.testing.assert_array_equal(arrays["y"], np.eye(2))
    with pytest.raises(ValueError, match="lacks z; accepted are files with x, z"):
        read_arrays(tmp_path / "a.npz", ("x", "z"))
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "b.npz", ("x",))


@pytest.mark.parametrize(("package", "call"), [("tblite", gfn2_labels), ("pyscf", rhf_response)])
def test_missing_programs_are_named_with_their_extra(package, call, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is not installed; .* 'matterscape\[qm\]'"):
        call(molecule("H2O"))


def test_bad_input_is_named(tmp_path):
    with pytest.raises(ValueError, match="atoms have 9 electrons; accepted is an even number"):
        rhf_response(molecule("OH"))
    with pytest.raises(ValueError, match="smearing_hartree is 0"):
        gfn2_labels(molecule("H2O"), smearing_hartree=0)
    with pytest.raises(ValueError, match="chunk is 0; accepted is a whole number, at least 1"):
        label_in_chunks(tmp_path, [], gfn2_labels, chunk=0)
