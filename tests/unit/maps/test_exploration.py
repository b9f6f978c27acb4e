"""From frames to a map: samples, features, properties, models, stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matterscape.datasets.generators import random_molecules
from matterscape.descriptors import PowerSpectrum
from matterscape.maps.exploration import Exploration, Settings
from matterscape.maps.samples import Cancelled, choose_samples, compute_features
from matterscape.maps.shown_properties import (
    baseline_of,
    composition,
    coordination_numbers,
    properties_of_points,
    targets_of_frames,
)
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SMALL = {"cutoff": 3.5, "max_radial": 3, "max_angular": 2, "smearing": 0.3}
SETTINGS = Settings(**SMALL)


def labelled_molecules(n: int = 40, seed: int = 0) -> list[Atoms]:
    """Molecules whose energy is a sum of pair terms, so that a model can learn it, plus constants of the elements."""
    frames = random_molecules(n, 6, seed=seed)
    for atoms in frames:
        distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        atoms.info["energy"] = float(np.exp(-distances).sum() - 10.0 * atoms.numbers.sum())
        atoms.set_array("charge", np.tanh(np.exp(-atoms.get_all_distances()).sum(axis=1)))
    return frames


@pytest.fixture(scope="module")
def frames():
    return labelled_molecules()


@pytest.fixture(scope="module")
def exploration(frames):
    return Exploration(frames)


@pytest.fixture(scope="module")
def outcome(exploration):
    return exploration.run(replace(SETTINGS, target="energy per atom"))


@pytest.fixture(scope="module")
def local(exploration):
    return exploration.run(replace(SETTINGS, per="atom", target="energy per atom"))


# ---- samples ---------------------------------------------------------------------------------------------------------


def test_all_structures_and_all_environments(frames):
    whole = choose_samples(frames, "structure")
    assert len(whole) == len(frames) and whole.environments is None and whole.remark == ""
    atoms = choose_samples(frames, "atom")
    assert len(atoms) == sum(map(len, frames))
    expected = np.concatenate([frame.numbers for frame in frames])
    assert (atoms.numbers_of_atoms == expected).all()


@pytest.mark.parametrize("per", ["structure", "atom"])
def test_a_sample_is_reproducible_sorted_and_announced(frames, per):
    first, second = (choose_samples(frames, per, max_points=17, seed=3) for _ in range(2))
    assert len(first) == 17
    assert (first.numbers == second.numbers).all()
    assert (np.diff(first.rows) > 0).all()
    assert "17 were drawn at random (seed 3)" in first.remark
    assert [frames[i] for i in first.numbers] == first.frames


def test_sampled_environments_point_at_their_atoms(frames):
    samples = choose_samples(frames, "atom", max_points=25)
    everything = choose_samples(frames, "atom")
    places = {(everything.numbers[f], a) for f, a in everything.environments}
    chosen = [(samples.numbers[f], a) for f, a in samples.environments]
    assert set(chosen) <= places
    numbers = [frames[structure].numbers[atom] for structure, atom in chosen]
    assert (samples.numbers_of_atoms == numbers).all()


def test_wrong_samples():
    with pytest.raises(ValueError, match="per is 'bond'; accepted are 'structure' and 'atom'"):
        choose_samples([bulk("Si")], "bond")
    with pytest.raises(ValueError, match="frames is empty"):
        choose_samples([], "atom")


# ---- features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 1e4, 1e9])
def test_blocks_do_not_change_features(frames, monkeypatch, block_bytes):
    from matterscape.maps import samples as module

    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    structures = Structures.from_ase(frames)
    soap = PowerSpectrum(structures.unique_species, normalise=True, **SMALL)
    with torch.no_grad():
        means, rows = soap(structures, pooling="mean").numpy(), soap(structures).numpy()
    of_structures = compute_features(choose_samples(frames, "structure"), SMALL)
    np.testing.assert_allclose(of_structures.rows, means, rtol=0, atol=1e-13)
    assert of_structures.rows is of_structures.means
    samples = choose_samples(frames, "atom", max_points=31)
    of_atoms = compute_features(samples, SMALL)
    everything = np.concatenate([np.flatnonzero(structures.structure_index == i) for i in samples.numbers])
    np.testing.assert_allclose(of_atoms.rows, rows[everything[samples.rows]], rtol=0, atol=1e-13)
    np.testing.assert_allclose(of_atoms.means, means[samples.numbers], rtol=0, atol=1e-13)
    assert len(of_atoms.labels) == soap.n_features == of_atoms.n_raw
    assert of_atoms.labels[0] == "l=0 H n=0 H n=0"


def test_compression_keeps_within_the_budget_and_distances(frames):
    samples = choose_samples(frames, "atom")
    full = compute_features(samples, SMALL)
    n_rows = len(samples) + len(frames)
    small = compute_features(samples, SMALL, memory_budget=4 * n_rows * 150)
    assert small.rows.shape == (len(samples), 150) and small.n_raw == full.n_raw
    assert any("compressed to 150" in remark for remark in small.remarks)
    before, after = (
        np.linalg.norm(f.rows[::7, None] - f.rows[None, ::7], axis=2)[np.triu_indices(len(f.rows[::7]), 1)]
        for f in (full, small)
    )
    assert np.corrcoef(before, after)[0, 1] > 0.95
    # the projection is linear: means of the atoms are means after it, too
    index = samples.environments[:, 0]
    means = np.array([small.rows[index == k].mean(axis=0) for k in range(len(frames))])
    np.testing.assert_allclose(small.means, means, atol=1e-12)


def test_large_features_are_kept_in_single_precision(frames, monkeypatch):
    from matterscape.maps import samples as module

    samples = choose_samples(frames, "structure")
    assert compute_features(samples, SMALL).rows.dtype == np.float64
    monkeypatch.setattr(module, "DOUBLE_BELOW", 1)
    assert compute_features(samples, SMALL).rows.dtype == np.float32


def test_many_elements_share_pseudo_species():
    frames = [Atoms([a, b], [[0, 0, 0], [0, 0, 2.0]]) for a, b in zip(range(1, 21), range(2, 22))]
    features = compute_features(choose_samples(frames, "structure"), SMALL)
    assert "21 elements share 4 pseudo-species" in features.remarks[0]
    assert features.n_raw == 3 * (12 * 13) // 2
    assert features.labels[0] == "l=0 c0 n=0 c0 n=0"


def test_a_chosen_number_of_pseudo_species(frames):
    features = compute_features(choose_samples(frames, "structure"), {**SMALL, "species_channels": 2})
    assert features.n_raw == 3 * (6 * 7) // 2 and "share 2 pseudo-species" in features.remarks[0]
    outcome = Exploration(frames).run(replace(SETTINGS, species_channels=2))
    np.testing.assert_array_equal(outcome.features.rows, features.rows)
    with pytest.raises(ValueError, match="species_channels must lie between 1 and the number of species"):
        Exploration(frames).run(replace(SETTINGS, species_channels=9))


def test_cancelling_between_blocks(frames, monkeypatch):
    from matterscape.maps import samples as module

    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    seen = []
    with pytest.raises(Cancelled):
        compute_features(
            choose_samples(frames, "structure"),
            SMALL,
            progress=lambda fraction, message: seen.append(fraction),
            cancelled=lambda: len(seen) >= 3,
        )
    assert len(seen) == 3 and seen == sorted(seen) and seen[-1] < 1


# ---- properties ------------------------------------------------------------------------------------------------------


def test_coordination_numbers():
    frames = [bulk("Si", cubic=True), bulk("NaCl", "rocksalt", a=5.64), molecule("CH4")]
    expected = [4] * 8 + [6, 6] + [4, 1, 1, 1, 1]
    assert coordination_numbers(Structures.from_ase(frames)).tolist() == expected


def test_baseline_needs_enough_structures():
    few, many = labelled_molecules(12), labelled_molecules(40)
    assert composition(choose_samples(few, "structure"), "structure").shape[1] == 1
    samples = choose_samples(many, "structure")
    columns = composition(samples, "structure")
    np.testing.assert_allclose(columns.sum(axis=1), 1.0)
    # what is a constant per element is taken out entirely
    constants = columns @ np.array([-1.0, 2.0, 5.0, 0.3])[: columns.shape[1]]
    np.testing.assert_allclose(baseline_of(constants, columns), constants, atol=1e-12)


def test_properties_of_structures_and_of_environments(frames):
    of_structures = properties_of_points(choose_samples(frames, "structure"))
    assert next(iter(of_structures)) == "energy above baseline"
    per_atom = [atoms.info["energy"] / len(atoms) for atoms in frames]
    np.testing.assert_allclose(of_structures["energy per atom"].values, per_atom)
    assert "energy" not in of_structures and "number of atoms" not in of_structures  # extensive; the same everywhere
    np.testing.assert_allclose(of_structures["mean charge"].values, [a.arrays["charge"].mean() for a in frames])

    samples = choose_samples(frames, "atom", max_points=50)
    of_atoms = properties_of_points(samples)
    assert of_atoms["element"].values.tolist() == [samples.frames[f].symbols[a] for f, a in samples.environments]
    charges = [samples.frames[f].arrays["charge"][a] for f, a in samples.environments]
    np.testing.assert_array_equal(of_atoms["charge"].values, charges)
    assert all(prop.values.shape == (50,) for prop in of_atoms.values())


def test_vectors_and_tensors_become_numbers():
    frames = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5)]
    for k, atoms in enumerate(frames):
        atoms.info.update(stress=0.01 * (k + 1) * np.array([1, 2, 3, 0, 0, 0]), dipole=np.array([3.0 * k, 4.0 * k, 0]))
        atoms.info["polarisability"] = np.diag([1.0, 2.0, 3.0 + k])
        atoms.set_array("forces", np.full((len(atoms), 3), float(k)))
    found = properties_of_points(choose_samples(frames, "structure"))
    np.testing.assert_allclose(found["pressure"].values, -np.array([2, 4, 6]) * 1.602176634, rtol=1e-6)
    np.testing.assert_allclose(found["|dipole|"].values, [0, 5, 10])
    np.testing.assert_allclose(found["mean polarisability"].values, [2.0, 7 / 3, 8 / 3])
    np.testing.assert_allclose(found["largest |force|"].values, np.sqrt(3) * np.arange(3))
    np.testing.assert_allclose(
        found["density"].values, [8 * 28.085 * 1.66053907 / a**3 for a in (5.3, 5.4, 5.5)], rtol=1e-5
    )


def test_targets_are_finite_and_vary(frames):
    copies = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(copies):
        atoms.info |= {"hole": np.nan if k == 3 else float(k), "flat": 1.0, "word": "a" if k % 2 else "b"}
    targets = Exploration(copies).targets("structure")
    assert list(targets) == ["energy per atom"]
    assert list(Exploration(copies).targets("atom")) == ["energy per atom", "charge"]
    shown = properties_of_points(choose_samples(copies, "structure"))
    assert {"hole", "word"} <= set(shown) and "flat" not in shown


def test_without_any_property_there_is_a_map_and_no_model():
    exploration = Exploration(random_molecules(12, 5))
    settings = exploration.suggested_settings()
    assert settings.target is None
    outcome = exploration.run(replace(settings, **SMALL))
    assert outcome.fit is None and outcome.projection.coordinates.shape == (12, 2)
    with pytest.raises(ValueError, match="a learning curve needs a target"):
        exploration.learning_curve(outcome)


# ---- stages ----------------------------------------------------------------------------------------------------------


def test_only_what_has_changed_is_computed_again(frames):
    exploration = Exploration(frames)
    settings = replace(SETTINGS, target="energy per atom")
    first = exploration.run(settings)
    assert set(first.seconds) == {"features", "map", "model"}
    assert exploration.run(settings).seconds == {}
    assert set(exploration.run(replace(settings, method="pcovr")).seconds) == {"map"}
    other = exploration.run(replace(settings, target=None))
    assert set(other.seconds) == {"map"} and other.fit is None and other.features is first.features
    assert set(exploration.run(replace(settings, cutoff=4.0)).seconds) == {"features", "map", "model"}


def test_same_seed_same_outcome(frames, outcome):
    again = Exploration(frames).run(outcome.settings)
    np.testing.assert_array_equal(again.projection.coordinates, outcome.projection.coordinates)
    np.testing.assert_array_equal(again.fit.prediction, outcome.fit.prediction)


def test_a_rotated_set_gives_the_same_map_and_model(frames, outcome):
    turned = []
    for k, atoms in enumerate(frames):
        copy = atoms.copy()
        copy.rotate(40.0 * k, (1, 2, 3))
        copy.translate((1.0, -2.0, 0.5))
        turned.append(copy)
    again = Exploration(turned).run(outcome.settings)
    np.testing.assert_allclose(again.projection.coordinates, outcome.projection.coordinates, atol=1e-8)
    np.testing.assert_allclose(again.fit.prediction, outcome.fit.prediction, atol=1e-6)


def test_the_model_beats_its_baseline_and_knows_its_errors(outcome):
    fit = outcome.fit
    assert fit.rmse < 0.7 * fit.spread
    told = outcome.properties
    np.testing.assert_array_equal(told["error"].values, told["prediction"].values - fit.target.values)
    scaled = told["error"].values / told["uncertainty"].values
    assert 0.5 < np.sqrt(np.mean(scaled**2)) < 2
    expected = np.log10(fit.model.variance_scale / told["uncertainty"].values ** 2)
    np.testing.assert_allclose(told["log10 rigidity"].values, expected)


def test_local_predictions_add_up(local):
    """Over a structure, local predictions and means of the elements give the prediction for the structure."""
    model, samples, features = local.fit.model, local.samples, local.features
    numbers = samples.numbers_of_atoms
    relative = local.properties["local prediction"].values
    frame = samples.environments[:, 0]
    means = np.array([features.rows[numbers == number].mean(axis=0) for number in numbers])
    absolute = relative + means @ model.coefficients + composition(samples, "atom") @ model.baseline_coefficients
    summed = np.bincount(frame, absolute) / samples.n_atoms
    expected = model.predict(features.means, composition=local.fit.composition)
    np.testing.assert_allclose(summed, expected, atol=1e-8)
    for number in np.unique(numbers):
        assert abs(relative[numbers == number].mean()) < 1e-9


@pytest.mark.parametrize(("which", "colour"), [("outcome", "energy per atom"), ("local", "local prediction")])
def test_the_finished_map(request, exploration, which, colour):
    outcome = request.getfixturevalue(which)
    result = outcome.map_result()
    assert result.level == outcome.samples.level and result.properties == outcome.properties
    assert result.colour == colour and result.model is outcome.fit.model
    assert result.settings["target"] == "energy per atom" and result.settings["seed"] == 0
    assert any(f"{outcome.fit.rmse:.3g} eV/atom, spread" in remark for remark in result.remarks)
    assert outcome.map_result("uncertainty").colour == "uncertainty"
    with pytest.raises(ValueError, match="colour must be one of .*, got 'beauty'"):
        outcome.map_result("beauty")


def test_a_map_says_which_properties_were_left_out():
    frames = random_molecules(12, 5)
    frames[3].info["charge"] = 1.0
    result = Exploration(frames).run(SETTINGS).map_result()
    assert result.model is None and result.settings["target"] is None
    assert any("charge (absent or different in 11)" in remark for remark in result.remarks)


def test_samples_of_the_model_and_points_of_the_map(outcome, local):
    assert outcome.point_of_sample(7) == outcome.sample_of_point(7) == 7
    point = local.point_of_sample(7)
    assert local.samples.environments[point].tolist() == [7, 0]
    assert local.sample_of_point(point) == 7


def test_nearest_neighbours(outcome):
    rows = outcome.features.rows
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = unit @ unit[5]
    similarity[5] = -1
    best = np.argsort(-similarity)[:4]
    found = outcome.neighbours(5, 4)
    assert [index for index, _ in found] == best.tolist()
    np.testing.assert_allclose([value for _, value in found], similarity[best])


def test_learning_curve_in_parts_is_the_learning_curve(exploration, outcome):
    from matterscape.models import learning_curve

    shown = []
    curve = exploration.learning_curve(outcome, 4, 3, progress=lambda *given: shown.append(given))
    fit = outcome.fit
    whole = learning_curve(fit.rows, fit.target.values, curve.sizes, composition=fit.composition, n_seeds=3)
    np.testing.assert_allclose(curve.rmse, whole.rmse)
    assert len(shown) == len(curve.sizes) and shown[-1][0] == 1.0 and len(shown[0][2].sizes) == 1
    stopped = exploration.learning_curve(outcome, 4, 3, cancelled=lambda: True)
    assert len(stopped.sizes) == 1


# ---- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": "colour"}, "target is 'colour'; accepted are energy per atom"),
        ({"method": "pcovr", "target": None}, "method is 'pcovr', which needs a target"),
        ({"cutoff": -1.0}, "cutoff is -1.0; accepted is a finite number greater than 0"),
        ({"max_angular": 99}, "max_angular is 99; accepted is a whole number from 0 to 20"),
        ({"per": "bond"}, "per is 'bond'; accepted are"),
    ],
)
def test_wrong_settings(exploration, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        exploration.run(replace(SETTINGS, **changes))


def test_too_few_points():
    with pytest.raises(ValueError, match="at least 3 structures, got 1, choose environments instead"):
        Exploration([bulk("Si", cubic=True)]).run(SETTINGS)
    with pytest.raises(ValueError, match="at least 3 environments, got 2"):
        Exploration([molecule("H2")]).run(replace(SETTINGS, per="atom"))
    small = labelled_molecules(4)
    with pytest.raises(ValueError, match="a model of energy per atom needs at least 5 structures, got 4"):
        Exploration(small).run(replace(SETTINGS, target="energy per atom"))


def test_a_structure_too_large_for_the_memory(frames, monkeypatch):
    from matterscape.maps import samples as module

    monkeypatch.setattr(module, "LARGEST_STRUCTURE", 1e4)
    with pytest.raises(
        ValueError, match=r"structure 0 has 6 atoms, too many for 234 features each; accepted are \d atoms"
    ):
        compute_features(choose_samples(frames, "atom"), SMALL)


def test_frames_are_validated():
    broken = bulk("Si", cubic=True)
    broken.positions[1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        Exploration([bulk("Si"), broken])
    with pytest.raises(TypeError, match=r"frames\[0\] is a str"):
        Exploration(["Si"])


def test_suggestions_suit_the_data(frames):
    assert Exploration(frames).suggested_settings().per == "structure"
    single = Exploration([bulk("Si", cubic=True).repeat(2)]).suggested_settings()
    assert single.per == "atom" and single.target is None
    assert targets_of_frames(choose_samples(frames, "structure"), {}) == {}
