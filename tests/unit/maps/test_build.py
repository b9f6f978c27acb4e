"""The whole way from frames to a map, on structures whose energy is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

pytest.importorskip("matterscape.descriptors", exc_type=ImportError)

from matterscape.maps import Exploration, Settings, build_map

pytestmark = pytest.mark.unit

FAST = dict(cutoff=4.0, max_radial=3, max_angular=2)


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    frames = []
    for k in range(60):
        atoms = bulk("Cu", a=rng.uniform(3.4, 4.0), cubic=True)
        atoms.numbers[: k % 3] = 47
        atoms.rattle(0.1, seed=k)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.info.update(energy=energy, silver=float(k % 3), copies=4)
        atoms.arrays.update(forces=forces, stretch=forces[:, 0])
        frames.append(atoms)
    return frames


def test_a_map_of_structures_with_a_model(frames):
    result = build_map(frames, target="energy", **FAST)
    assert result.coordinates.shape == (60, 2) and result.environments is None
    assert result.settings["cutoff"] == 4.0 and 0.25 < result.settings["smearing"] < 0.36
    truth = np.array([atoms.info["energy"] / len(atoms) for atoms in frames])
    np.testing.assert_allclose(result.properties["energy per atom"].values, truth)
    error = result.properties["error"].values
    assert np.sqrt(np.mean(error**2)) < 0.2 * truth.std()
    predicted = result.properties["prediction"].values
    np.testing.assert_allclose(predicted - truth, error)
    sigma = result.properties["uncertainty"].values
    assert np.mean((error / sigma) ** 2) == pytest.approx(1.0)
    assert result.colour == "energy per atom" and {"formula", "silver", "largest |force|"} <= set(result.properties)
    assert any("5-fold cross-validated error of energy per atom" in remark for remark in result.remarks)


def test_an_outlier_has_the_lowest_rigidity(frames):
    stranger = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.2]], info={"energy": 6.0, "silver": 0.0})
    result = build_map([*frames, stranger], target="energy", **FAST)
    assert np.argmin(result.properties["log10 rigidity"].values) == 60


@pytest.mark.parametrize("target", ["energy", "energy_per_atom", "energy per atom"])
def test_the_map_is_that_of_an_exploration(frames, target):
    result = build_map(frames, target=target, smearing=0.3, projection="pcovr", mixing=0.3, seed=4, **FAST)
    settings = Settings(**FAST, smearing=0.3, method="pcovr", mixing=0.3, target="energy per atom")
    expected = Exploration(frames, seed=4).run(settings).map_result()
    np.testing.assert_array_equal(result.coordinates, expected.coordinates)
    np.testing.assert_array_equal(result.properties["prediction"].values, expected.properties["prediction"].values)
    assert result.settings == expected.settings and result.remarks == expected.remarks


def test_a_map_of_environments_with_local_contributions(frames):
    calls = []
    result = build_map(
        frames, per="atom", target="energy", max_environments=100, on_progress=lambda *call: calls.append(call), **FAST
    )
    assert result.environments.shape == (100, 2) and result.level == "atom" and result.cutoff == 4.0
    symbols = [frames[a].symbols[i] for a, i in result.environments]
    np.testing.assert_array_equal(result.properties["element"].values, symbols)
    norms = [np.linalg.norm(frames[a].arrays["forces"][i]) for a, i in result.environments]
    np.testing.assert_allclose(result.properties["|force|"].values, norms)
    np.testing.assert_array_equal(result.properties["structure's silver"].values, result.environments[:, 0] % 3)
    assert result.colour == "local prediction" and "log10 rigidity" in result.properties
    assert any("Of 240 environments 100 were drawn at random" in remark for remark in result.remarks)
    fractions = [fraction for fraction, _ in calls]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_a_target_of_atoms(frames):
    marked = [atoms.copy() for atoms in frames]
    for atoms in marked:
        distances = atoms.get_all_distances(mic=True) + 10 * np.eye(len(atoms))
        atoms.arrays["nearest"] = distances.min(axis=1)
    result = build_map(marked, per="atom", target="nearest", projection="pcovr", mixing=0.1, **FAST)
    error = result.properties["error"].values
    assert len(error) == 240 and np.std(error) < 0.7 * np.std(result.properties["nearest"].values)


def test_same_seed_same_map(frames):
    first, second = (build_map(frames, per="atom", max_environments=50, seed=5, **FAST) for _ in range(2))
    np.testing.assert_array_equal(first.environments, second.environments)
    np.testing.assert_array_equal(first.coordinates, second.coordinates)


def test_pseudo_species(frames):
    assert build_map(frames, species_channels=1, **FAST).features.shape == (60, 3 * 3 * 4 // 2)


def test_work_ends_when_progress_says_so(frames):
    def stop(fraction, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_map(frames, on_progress=stop, **FAST)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(per="bond"), "per is 'bond'; accepted are 'structure' and 'atom'"),
        (dict(projection="umap"), "projection must be one of pca, kpca, pcovr, kpcovr, got 'umap'"),
        (dict(projection="pcovr"), "target must be given for projection 'pcovr'"),
        (dict(target="mass"), "target must be a property with one number each"),
        (dict(target="forces"), "got 'forces'"),
        (dict(target="|force|"), "got '|force|'"),
        (dict(target="stretch"), "target 'stretch' belongs to atoms"),
        (
            dict(target="copies"),
            "target is 'copies', which is constant, extensive or only a tag; accepted are energy per atom",
        ),
        (dict(per="atom", max_environments=2), "max_environments must be at least 3, got 2"),
        (dict(cutoff=-1.0), "cutoff"),
        (dict(frames=[]), "at least one structure is needed"),
        (dict(frames=[molecule("H2O")]), "at least 3 structures, got 1"),
    ],
)
def test_bad_input(frames, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_map(**{"frames": frames, **FAST, **arguments})


def test_a_target_that_is_not_finite(frames):
    broken = [atoms.copy() for atoms in frames]
    broken[4].info["energy"] = np.nan
    with pytest.raises(ValueError, match="target 'energy_per_atom' must be finite, got nan for 1 of 60 structures"):
        build_map(broken, target="energy", **FAST)
    assert np.isnan(build_map(broken, **FAST).properties["energy per atom"].values[4])
