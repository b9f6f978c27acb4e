"""Generated sets with labels: their rules, the samples that come with the package, and readers of public files."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import write

from matterscape.datasets import boron_pairs, methane, molecular_tensors
from matterscape.datasets.boron_pairs import label_boron_pairs, load_boron_pairs, read_boron_pairs
from matterscape.datasets.degenerate import cluster_distance, ring_pairs
from matterscape.datasets.electronic_labels import gfn2_labels, read_arrays, rhf_response
from matterscape.datasets.labels import read_labels
from matterscape.datasets.methane import label_methane, labelled_methane, load_methane, random_methane
from matterscape.datasets.molecular_tensors import (
    PARENTS,
    distorted_molecules,
    read_molecular_tensors,
    read_small_molecules,
    small_molecule_tensors,
)
from matterscape.datasets.rock_salt import antisite_rocksalt, point_charge_energies

pytestmark = pytest.mark.unit

MADELUNG = 1.747564594633  # of rock salt, per pair of ions and nearest distance


def test_random_methane_keeps_its_rules():
    frames = random_methane(2000, seed=1)
    positions = np.array([atoms.positions for atoms in frames])
    assert (frames[0].get_chemical_symbols() == list("CHHHH")) and (positions[:, 0] == 0).all()
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    i, j = np.triu_indices(5, 1)
    assert distances[:, i, j].min() > 0.5 and distances[:, 0].max() <= 3.0
    # a ball: the cubes of the radii are uniform, but for the few that were too close
    cubes = np.sort((distances[:, 0, 1:] / 3).ravel() ** 3)
    assert np.abs(cubes - np.linspace(0, 1, len(cubes))).max() < 0.03
    np.testing.assert_allclose(positions[:, 1:].mean(axis=(0, 1)), 0, atol=0.06)
    np.testing.assert_array_equal(positions, positions.astype(np.float32))
    np.testing.assert_array_equal(random_methane(3, seed=1)[2].positions.shape, (5, 3))


def test_methane_of_the_package_is_what_the_seed_and_the_method_give():
    frames = labelled_methane()
    assert len(frames) == 1000
    np.testing.assert_array_equal(frames[7].positions, random_methane(1000, seed=0)[7].positions)
    energies = np.array([atoms.info["energy"] for atoms in frames])
    assert 3.0 < energies.std() < 3.7 and -115 < energies.min() < -100
    _, provenance = read_labels(methane.SHIPPED)
    assert provenance["method"] == "GFN2-xTB" and provenance["failed"] == 0 and provenance["frames"] == 1000
    assert methane.SHIPPED.stat().st_size < 150_000


@pytest.mark.parametrize("index", [0, 500, 999])
def test_labels_of_the_package_are_reproduced(index):
    pytest.importorskip("tblite")
    for atoms in (labelled_methane()[index], read_boron_pairs()[index % 300]):
        labels = gfn2_labels(atoms)
        assert atoms.info["energy"] == pytest.approx(float(labels["energy"]), abs=1e-5)
        np.testing.assert_allclose(atoms.arrays["forces"], labels["forces"], atol=1e-4)


def test_boron_pairs_of_the_package():
    frames = read_boron_pairs()
    assert len(frames) == 300 and boron_pairs.SHIPPED.stat().st_size < 150_000
    for up, down in zip(frames[:10:2], frames[1:10:2]):
        assert (up.info["pair"], up.info["sign"], down.info["sign"]) == (down.info["pair"], 1, -1)
        assert cluster_distance(up, down, 3) < 1e-12  # positions to all digits
    energies = np.array([atoms.info["energy"] for atoms in frames]).reshape(-1, 2)
    assert 3.4 < energies.std() < 4.8 and 0.12 < (energies[:, 0] - energies[:, 1]).std() < 0.22
    assert frames[0].arrays["forces"].shape == (8, 3)


def test_first_pair_of_the_reference_seed():
    pytest.importorskip("tblite")
    positions, _ = ring_pairs(1, 12345)
    energies = [float(gfn2_labels(Atoms("B8", p))["energy"]) for p in positions]
    np.testing.assert_allclose(energies, [-250.57744, -250.31788], atol=2e-5)


def test_labelling_functions_resume_and_write_what_they_read(tmp_path):
    pytest.importorskip("tblite")
    made = label_methane(tmp_path / "a", 4, seed=3, file=tmp_path / "methane.npz")
    again = read_labels(tmp_path / "methane.npz")[0]
    for one, other in zip(made, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.info["energy"] == other.info["energy"]
    pairs = label_boron_pairs(tmp_path / "b", 2, seed=3, file=tmp_path / "boron.npz")
    for one, other in zip(pairs, read_boron_pairs(tmp_path / "boron.npz"), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.info == other.info
        np.testing.assert_allclose(one.arrays["forces"], other.arrays["forces"], atol=1e-5)
    _, provenance = read_arrays(tmp_path / "boron.npz", ("energies",))
    assert provenance["frames"] == 4 and provenance["failed"] == 0


def test_distorted_molecules():
    frames = distorted_molecules(50, seed=2)
    assert [atoms.info["parent"] for atoms in frames[:25]] == list(PARENTS)
    for first, second in zip(frames[:25], frames[25:]):
        parent = molecule(first.info["parent"])
        assert (first.numbers == parent.numbers).all() and not np.allclose(first.positions, second.positions)
        np.testing.assert_allclose(first.positions.mean(axis=0), 0, atol=1e-6)
    undistorted = distorted_molecules(25, seed=2, displacement=0.0)
    for atoms in undistorted:
        difference = atoms.get_all_distances() - molecule(atoms.info["parent"]).get_all_distances()
        assert np.abs(difference).max() < 1e-6
    changes = [
        a.get_all_distances()[0, 1] - b.get_all_distances()[0, 1] for a, b in zip(distorted_molecules(25), undistorted)
    ]
    assert 0.05 < np.std(changes) < 0.16  # sqrt(2) times 0.07 Å along a bond


def test_molecules_of_the_package():
    frames = read_small_molecules()
    assert len(frames) == 100 and molecular_tensors.SHIPPED.stat().st_size < 150_000
    alphas = np.array([atoms.info["polarisability"] for atoms in frames])
    dipoles = np.array([atoms.info["dipole"] for atoms in frames])
    np.testing.assert_allclose(alphas, alphas.transpose(0, 2, 1), atol=1e-12)
    assert np.linalg.eigvalsh(alphas).min() > 0
    trace = np.trace(alphas, axis1=1, axis2=2) / np.sqrt(3)
    assert np.sqrt((trace**2).mean()) == pytest.approx(35.0, rel=0.05)
    assert np.sqrt((dipoles**2).sum(axis=1).mean()) == pytest.approx(0.986, rel=0.1)
    anisotropic = alphas - trace[:, None, None] / np.sqrt(3) * np.eye(3)
    assert np.sqrt((anisotropic**2).sum(axis=(1, 2)).mean()) == pytest.approx(15.2, rel=0.1)


def test_tensors_of_the_package_are_reproduced(tmp_path):
    pytest.importorskip("pyscf")
    atoms = next(atoms for atoms in read_small_molecules() if atoms.info["parent"] == "H2O")
    found = rhf_response(atoms)
    assert atoms.info["energy"] == pytest.approx(float(found["energy"]), abs=1e-6)
    for name in ("dipole", "polarisability"):
        np.testing.assert_allclose(atoms.info[name], found[name], atol=1e-5)


def test_molecules_are_written_as_they_are_read(tmp_path, monkeypatch):
    pytest.importorskip("pyscf")
    monkeypatch.setattr(molecular_tensors, "PARENTS", ("H2O", "HCN"))
    made = small_molecule_tensors(tmp_path / "a", 3, seed=1, file=tmp_path / "molecules.npz")
    for one, other in zip(made, read_small_molecules(tmp_path / "molecules.npz"), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.info["parent"] == other.info["parent"] and one.info["energy"] == other.info["energy"]
        np.testing.assert_array_equal(one.info["polarisability"], other.info["polarisability"])


def test_energy_of_perfect_rock_salt_is_madelungs():
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    (energy,) = point_charge_energies([crystal])
    assert energy / 4 == pytest.approx(-14.399645 * MADELUNG / 2.82, rel=1e-6)
    (undisturbed,) = antisite_rocksalt(1, n_repeat=1, antisites=(0, 0), displacement=0.0)
    assert undisturbed.info["energy"] == pytest.approx(energy, abs=1e-5)


def test_antisites():
    frames = antisite_rocksalt(30, seed=4)
    for atoms in frames:
        perfect = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(2)
        assert (atoms.numbers == 11).sum() == (atoms.numbers == 17).sum() == 32
        assert (atoms.numbers != perfect.numbers).sum() == 2 * atoms.info["antisites"]
        assert 2 <= atoms.info["antisites"] <= 23
        assert atoms.info["energy_per_atom"] == atoms.info["energy"] / 64
    energies = np.array([atoms.info["energy_per_atom"] for atoms in frames])
    assert 0.45 < energies.std() < 1.0 and energies.min() > -4.47  # no order is better than the perfect one
    everything = antisite_rocksalt(1, antisites=(32, 32), displacement=0.0)[0]  # the same crystal again
    assert everything.info["energy_per_atom"] == pytest.approx(-14.399645 * MADELUNG / 5.64, rel=1e-6)


def test_published_methane_is_read_in_its_units(tmp_path):
    frames = random_methane(2)
    for atoms, energy in zip(frames, (-40.1, -40.2)):
        atoms.info["energy"] = energy
        atoms.arrays["forces"] = np.full((5, 3), 0.01)
    write(tmp_path / "methane.extxyz.gz", frames, format="extxyz")
    found = load_methane(tmp_path / "methane.extxyz.gz", force_unit="Hartree/bohr")
    assert [atoms.info["energy"] for atoms in found] == [-40.1 * units.Hartree, -40.2 * units.Hartree]
    np.testing.assert_allclose(found[0].arrays["forces"], 0.514220674763, rtol=1e-8)
    with pytest.raises(ValueError, match="force_unit is 'Ry'; accepted are 'eV/Å'"):
        load_methane(tmp_path / "methane.extxyz.gz", force_unit="Ry")
    write(tmp_path / "other.xyz", molecule("CH3OH"), format="extxyz")
    with pytest.raises(ValueError, match="frame 0 of .* is COH4; accepted are C, H, H, H, H with an energy"):
        load_methane(tmp_path / "other.xyz")


def published_pairs(n_pairs=2):
    positions, parameters = ring_pairs(n_pairs, 1)
    frames = []
    for number, atoms in enumerate(Atoms("B8", p) for p in positions):
        sign = 1 - 2 * (number % 2)
        atoms.info = {"energy_ha": -9.0 - number, "pars": str((number, sign, *map(float, parameters[number // 2])))}
        atoms.arrays["gradient_habohr"] = np.full((8, 3), 0.02)
        frames.append(atoms)
    return frames, parameters


def test_published_boron_pairs_are_read(tmp_path):
    frames, parameters = published_pairs()
    write(tmp_path / "boron.xyz", frames, format="extxyz")
    found = load_boron_pairs(tmp_path / "boron.xyz")
    assert [atoms.info["sign"] for atoms in found] == [1, -1, 1, -1]
    assert [found[2].info[name] for name in boron_pairs.PARAMETERS] == pytest.approx(list(parameters[1]), rel=1e-12)
    assert found[1].info["energy"] == -10.0 * units.Hartree
    np.testing.assert_allclose(found[0].arrays["forces"], -0.02 * units.Hartree / units.Bohr, rtol=1e-10)


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        (lambda frames: frames[:3], "has 3 frames; accepted is an even number"),
        (lambda frames: [frames[k] for k in (0, 3, 2, 1)], "frames 0 and 1 of .* are no partners"),
        (lambda frames: [frames[0], frames[0]], "are no partners"),
        (lambda frames: [Atoms("B8", frames[0].positions)] * 2, "frame 0 of .* lacks energy_ha, pars"),
        (lambda frames: frames[0].info.update(pars="(1, 2)") or frames, "frame 0 of .* has 2 numbers in pars"),
    ],
)
def test_files_of_other_pairs_are_refused(break_, message, tmp_path):
    write(tmp_path / "boron.xyz", break_(published_pairs()[0]), format="extxyz")
    with pytest.raises(ValueError, match=message):
        load_boron_pairs(tmp_path / "boron.xyz")


@pytest.mark.parametrize(("name", "n_molecules"), [("qm7x-tensors-100", 100), ("water-structures", 1000)])
def test_public_tensors_have_common_names(name, n_molecules, dataset):
    given = dataset(name)
    frames = read_molecular_tensors(given)
    assert len(frames) == n_molecules and "mu" in given[0].info  # which are left as they were
    for atoms, before in zip(frames[:5], given):
        np.testing.assert_array_equal(atoms.info["dipole"], before.info["mu"])
        np.testing.assert_array_equal(atoms.info["polarisability"].ravel(), np.ravel(before.info["alpha"]))
        assert np.linalg.eigvalsh(atoms.info["polarisability"]).min() > 0 and not atoms.pbc.any()
    other = read_molecular_tensors(given, dipole_unit="e Å")
    np.testing.assert_allclose(other[0].info["dipole"], frames[0].info["dipole"] / 0.529177, rtol=1e-6)


def test_molecules_without_tensors_are_refused():
    water = molecule("H2O")
    with pytest.raises(ValueError, match="molecule 0 lacks mu with 3 or alpha with 9 numbers"):
        read_molecular_tensors([water])
    water.info = {"mu": np.ones(3), "alpha": np.arange(9.0)}
    with pytest.raises(ValueError, match="alpha of molecule 0 differs from its transpose by 4 bohr"):
        read_molecular_tensors([water])
    with pytest.raises(ValueError, match="dipole_unit is 'C m'; accepted are 'e bohr', 'e Å', 'debye'"):
        read_molecular_tensors([water], dipole_unit="C m")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_methane(0), "n is 0; accepted is a whole number, at least 1"),
        (lambda: distorted_molecules(0), "n is 0"),
        (lambda: distorted_molecules(1, displacement=-1.0), "displacement is -1.0"),
        (lambda: antisite_rocksalt(1, antisites=(5, 40)), r"antisites are \(5, 40\); accepted is from 0 to 32"),
        (lambda: point_charge_energies([bulk("NaF", "rocksalt", a=4.6)]), "F"),
        (lambda: point_charge_energies([bulk("Na", cubic=True)]), "periodic and has the net charge 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
