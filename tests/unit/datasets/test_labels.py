"""Labels of structures: units, resume, what fails and what is refused."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, CalculatorSetupError
from ase.calculators.emt import EMT

from matterscape.datasets.labels import label_in_folder, read_labels, write_labels
from matterscape.models.training_sets import TrainingSet

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def frames():
    made = []
    for seed, scale in enumerate((0.97, 1.0, 1.04)):
        atoms = bulk("Cu", a=3.6 * scale, cubic=True) * (1, 1, 1 + seed)
        atoms.rattle(0.1, seed=seed)
        atoms.info["group"] = f"scale {scale}"
        made.append(atoms)
    return made


class Broken(Calculator):
    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, *arguments, **keywords):
        raise CalculatorSetupError("does not converge")


def test_labels_are_the_calculators(frames, tmp_path):
    made = label_in_folder(tmp_path / "a", frames, EMT, show_progress=False)
    for atoms, label in zip(frames, made, strict=True):
        atoms = atoms.copy()
        atoms.calc = EMT()
        assert label.info["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-14)
        np.testing.assert_allclose(label.arrays["forces"], atoms.get_forces(), atol=1e-13)
        np.testing.assert_allclose(label.info["stress"], atoms.get_stress(), atol=1e-14)


def test_what_was_computed_is_not_computed_again(frames, tmp_path):
    label_in_folder(tmp_path, frames[:2], EMT, show_progress=False)
    calls = []

    def counted():
        calls.append(1)
        return EMT()

    again = label_in_folder(tmp_path, frames, counted, show_progress=False)
    assert len(again) == 3 and len(calls) == 1
    with pytest.raises(ValueError, match="another structure than frame 0; give a new folder"):
        label_in_folder(tmp_path, frames[1:], EMT, show_progress=False)


def test_failures_are_left_out_and_remembered(frames, tmp_path):
    order = iter([EMT, Broken, EMT])
    made = label_in_folder(tmp_path, frames, lambda: next(order)(), show_progress=False)
    assert [atoms.info["frame"] for atoms in made] == [0, 2]
    assert [atoms.info["frame"] for atoms in label_in_folder(tmp_path, frames, Broken, show_progress=False)] == [0, 2]


def test_files_keep_labels_in_their_units(frames, tmp_path):
    made = label_in_folder(tmp_path / "a", frames, EMT, show_progress=False)
    write_labels(tmp_path / "labels.npz", made, {"method": "EMT"})
    again, provenance = read_labels(tmp_path / "labels.npz")
    assert provenance == {"method": "EMT"}
    for before, after in zip(made, again, strict=True):
        assert after.info["energy"] == before.info["energy"]
        assert after.info["group"] == before.info["group"]
        np.testing.assert_allclose(after.positions, before.positions, atol=1e-6)
        np.testing.assert_allclose(after.arrays["forces"], before.arrays["forces"], atol=1e-6)
        np.testing.assert_allclose(after.info["stress"], before.info["stress"], atol=1e-8)
    assert len(TrainingSet.from_ase(again)) == 3
    atomic, _ = read_labels(tmp_path / "labels.npz", energy_unit="Hartree", stress_unit="GPa")
    assert atomic[1].info["energy"] == pytest.approx(made[1].info["energy"] / 27.211386, rel=1e-6)
    np.testing.assert_allclose(atomic[1].arrays["forces"], again[1].arrays["forces"] / units.Hartree)
    np.testing.assert_allclose(atomic[1].info["stress"], again[1].info["stress"] * 160.21766, rtol=1e-6)


def test_forces_of_a_file_are_the_slope_of_its_energies(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    step = 1e-2  # positions are kept to 1e-7 Å
    moved = [atoms.copy() for _ in range(3)]
    moved[0].positions[0, 0] -= step
    moved[2].positions[0, 0] += step
    write_labels(tmp_path / "labels.npz", label_in_folder(tmp_path / "a", moved, EMT, show_progress=False), {})
    low, middle, high = read_labels(tmp_path / "labels.npz")[0]
    slope = (high.info["energy"] - low.info["energy"]) / (2 * step)
    assert middle.arrays["forces"][0, 0] == pytest.approx(-slope, abs=2e-3)


def test_what_is_refused(frames, tmp_path):
    with pytest.raises(ValueError, match="frames is empty"):
        write_labels(tmp_path / "none.npz", [], {})
    with pytest.raises(ValueError, match=r'frame 0 lacks info\["energy"\]'):
        write_labels(tmp_path / "none.npz", frames, {})
    made = label_in_folder(tmp_path / "a", frames, EMT, show_progress=False)
    del made[1].info["stress"]
    with pytest.raises(ValueError, match="only some frames"):
        write_labels(tmp_path / "none.npz", made, {})
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match="lacks cells, counts"):
        read_labels(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="energy_unit is 'kcal'; accepted are 'eV', 'Hartree'"):
        read_labels(tmp_path / "other.npz", energy_unit="kcal")
