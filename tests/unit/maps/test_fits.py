"""Ensembles of networks beside the ridge model of a map: held-out numbers, local contributions, what keeps them."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matterscape.datasets.generators import random_molecules
from matterscape.maps import Cancelled, Exploration, Settings, build_map, fits
from matterscape.maps.fits import STEPS, fit_ensemble
from matterscape.maps.shown_properties import minus_element_means

pytestmark = pytest.mark.unit

SETTINGS = Settings(cutoff=3.5, max_radial=3, max_angular=2, target="energy per atom")
NAMES = ["ensemble prediction", "ensemble |error|", "ensemble uncertainty", "log10 rigidity of the network"]
LOCAL = [
    "ensemble local prediction",
    "ensemble uncertainty",
    "structure's ensemble |error|",
    "log10 rigidity of the network",
]


def molecules(n: int = 40) -> list[Atoms]:
    frames = random_molecules(n, 6, seed=0)
    for atoms in frames:
        distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        atoms.info["energy"] = float(np.exp(-distances).sum() - 10.0 * atoms.numbers.sum())
        atoms.set_array("charge", np.tanh(np.exp(-atoms.get_all_distances()).sum(axis=1)))
    return frames


@pytest.fixture(scope="module", autouse=True)
def short_training():
    """What is tested here does not depend on how well the networks are trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "STEPS", 100)
        yield


@pytest.fixture(scope="module")
def exploration():
    return Exploration(molecules())


@pytest.fixture(scope="module")
def outcome(exploration):
    return exploration.ensemble(exploration.run(SETTINGS))


@pytest.fixture(scope="module")
def local(exploration):
    return exploration.ensemble(exploration.run(replace(SETTINGS, per="atom")))


def test_what_the_points_are_told(outcome):
    fit, told = outcome.ensemble, outcome.properties
    assert list(fit.points) == NAMES == list(told)[-4:]
    np.testing.assert_array_equal(told["ensemble prediction"].values, fit.model.held_out_predictions)
    np.testing.assert_array_equal(told["ensemble uncertainty"].values, fit.model.held_out_uncertainties)
    np.testing.assert_array_equal(told["ensemble |error|"].values, np.abs(fit.prediction - fit.target.values))
    assert {told[name].unit for name in NAMES[:3]} == {"eV/atom"} and told[NAMES[3]].unit == ""
    # calibrated on these errors: by the likelihood, the mean square of error / uncertainty is one
    assert np.mean((fit.error / fit.uncertainty) ** 2) == pytest.approx(1.0)
    assert 0 < fit.miscalibration_area < 0.3


def test_a_training_of_full_length_beats_the_baseline(exploration, monkeypatch):
    monkeypatch.setattr(fits, "STEPS", STEPS)
    plain = exploration.run(SETTINGS)
    fit = fit_ensemble(plain.samples, plain.features, plain.fit.target)
    assert fit.rmse < 0.8 * plain.fit.spread


def test_the_rigidity_of_the_network_leaves_its_sample_out(outcome, exploration):
    fit = outcome.ensemble
    data = fits._TrainingData.of(outcome.samples, outcome.features, fit.target, 0)
    rows, arguments = data.take(np.arange(40))
    features = fit.model.last_layer_features(rows, **arguments)
    inverse, regularisation = fits._inverse_rigidities(data, fit.model, fit.error, np.arange(40))
    others = np.delete(features, 7, axis=0)
    left_out = others.T @ others + regularisation * np.eye(features.shape[1])
    assert inverse[7] == pytest.approx(features[7] @ np.linalg.solve(left_out, features[7]), rel=1e-6)
    np.testing.assert_allclose(fit.points[NAMES[3]].values, -np.log10(inverse))


def test_the_same_seed_gives_the_same_ensemble(outcome):
    exploration = Exploration(molecules())
    again = exploration.ensemble(exploration.run(SETTINGS)).ensemble
    np.testing.assert_array_equal(again.prediction, outcome.ensemble.prediction)
    np.testing.assert_array_equal(again.uncertainty, outcome.ensemble.uncertainty)


# ---- environments ----------------------------------------------------------------------------------------------------


def test_local_contributions_add_up_to_the_structures(local):
    """Member by member: contributions of the atoms, with the baseline, have the prediction as their mean."""
    fit, samples = local.ensemble, local.samples
    assert list(fit.points) == LOCAL
    data = fits._TrainingData.of(samples, local.features, fit.target, 0)
    ones = {"n_atoms": np.ones(len(samples)), "composition": np.zeros((len(samples), data.columns.shape[1]))}
    atoms = fit.model.predict_members(data.rows, **ones)
    rows, arguments = data.take(np.arange(40))
    whole = fit.model.predict_members(rows, **arguments)
    frame = samples.environments[:, 0]
    summed = np.array([atoms[frame == k].sum(axis=0) for k in range(40)])
    np.testing.assert_allclose(summed - summed.mean(axis=1, keepdims=True), whole - whole.mean(axis=1, keepdims=True))

    relative = minus_element_means(atoms, samples)
    np.testing.assert_allclose(fit.points[LOCAL[0]].values, relative.mean(axis=1))
    np.testing.assert_allclose(fit.points[LOCAL[1]].values, relative.std(axis=1, ddof=1))
    for number in np.unique(samples.numbers_of_atoms):
        same = samples.numbers_of_atoms == number
        assert abs(fit.points[LOCAL[0]].values[same].mean()) < 1e-9
    error = np.abs(fit.prediction - local.fit.target.values)
    np.testing.assert_array_equal(fit.points[LOCAL[2]].values, error[frame])


def test_where_atoms_are_missing_they_show_their_structure():
    exploration = Exploration(molecules(), max_points=120)
    outcome = exploration.ensemble(exploration.run(replace(SETTINGS, per="atom")))
    fit, frame = outcome.ensemble, outcome.samples.environments[:, 0]
    assert list(fit.points) == [f"structure's {name}" for name in NAMES]
    np.testing.assert_array_equal(fit.points["structure's ensemble uncertainty"].values, fit.uncertainty[frame])
    remark = next(remark for remark in outcome.remarks if "each atom shows the value of its structure" in remark)
    assert remark.startswith("The map shows 120 of the ")
    assert remark in outcome.map_result().remarks


def test_properties_of_atoms(exploration):
    outcome = exploration.ensemble(exploration.run(replace(SETTINGS, per="atom", target="charge")))
    assert list(outcome.ensemble.points) == NAMES and len(outcome.ensemble.prediction) == 240
    assert np.isfinite(outcome.ensemble.prediction).all()


# ---- many and few samples --------------------------------------------------------------------------------------------


def test_many_samples_are_thinned_and_the_rest_predicted(exploration, monkeypatch):
    monkeypatch.setattr(fits, "MOST_FOR_ENSEMBLE", 30)
    plain = exploration.run(SETTINGS)
    fit = fit_ensemble(plain.samples, plain.features, plain.fit.target)
    assert len(fit.trained_on) == 30 and fit.remarks == ("The ensemble was trained on 30 of 40 structures (seed 0)",)
    rest = np.setdiff1d(np.arange(40), fit.trained_on)
    data = fits._TrainingData.of(plain.samples, plain.features, fit.target, 0)
    rows, arguments = data.take(rest)
    np.testing.assert_allclose(fit.prediction[rest], fit.model.predict(rows, **arguments))
    np.testing.assert_allclose(fit.uncertainty[rest], fit.model.predict_uncertainty(rows, **arguments))
    np.testing.assert_array_equal(fit.prediction[fit.trained_on], fit.model.held_out_predictions)
    # whole structures are left out where the network sums over atoms
    of_atoms = exploration.run(replace(SETTINGS, per="atom"))
    fit = fit_ensemble(of_atoms.samples, of_atoms.features, of_atoms.fit.target)
    assert np.isfinite(fit.prediction).all() and (fit.uncertainty > 0).all()
    assert fit.points[LOCAL[0]].values.shape == (240,)


@pytest.mark.parametrize("n_samples", [20, 135, 300, 2000])
def test_a_training_takes_as_many_steps_for_few_samples_as_for_many(n_samples):
    model = fits._untrained(n_samples, 0)
    steps = model.epochs * np.ceil(n_samples / model.batch_size)
    assert fits.STEPS <= steps < 1.25 * fits.STEPS


def test_too_few_samples_and_no_target(exploration):
    few = Exploration(molecules(19))
    with pytest.raises(ValueError, match="an ensemble needs at least 20 structures, got 19"):
        few.ensemble(few.run(SETTINGS))
    with pytest.raises(ValueError, match="an ensemble needs a target"):
        exploration.ensemble(exploration.run(replace(SETTINGS, target=None)))


# ---- what keeps it ---------------------------------------------------------------------------------------------------


def test_it_is_kept_until_features_or_target_change():
    exploration = Exploration(molecules())
    trained = exploration.ensemble(exploration.run(SETTINGS))
    assert set(trained.seconds) == {"ensemble"}
    again = exploration.ensemble(trained)
    assert again.seconds == {} and again.ensemble is trained.ensemble
    assert list(again.properties) == list(trained.properties)
    other_map = exploration.run(replace(SETTINGS, method="kpca"))
    assert other_map.ensemble is trained.ensemble and NAMES[0] in other_map.properties
    assert other_map.remarks == trained.remarks
    for changes in ({"cutoff": 4.0}, {"target": None}, {"per": "atom"}, {"per": "atom", "target": "charge"}):
        dropped = exploration.run(replace(SETTINGS, **changes))
        assert dropped.ensemble is None and not any("ensemble" in name for name in dropped.properties)
    back = exploration.run(SETTINGS)
    assert back.ensemble is trained.ensemble  # of exactly these features and this target
    assert exploration.run(SETTINGS).fit.target is trained.ensemble.target


def test_cancelling_leaves_nothing_behind():
    exploration = Exploration(molecules())
    plain = exploration.run(SETTINGS)
    seen = []
    with pytest.raises(Cancelled):
        exploration.ensemble(
            plain, progress=lambda fraction, what: seen.append(fraction), cancelled=lambda: len(seen) > 9
        )
    assert len(seen) == 10 and seen == sorted(seen) and seen[-1] < 0.5
    assert exploration.run(SETTINGS).ensemble is None


# ---- finished maps ---------------------------------------------------------------------------------------------------


def test_a_finished_map_carries_both_kinds(outcome):
    result = outcome.map_result("ensemble uncertainty")
    assert set(NAMES) < set(result.properties) and result.colour == "ensemble uncertainty"
    assert result.model is outcome.fit.model
    assert any("error of an ensemble of 32 networks" in remark and "area of" in remark for remark in result.remarks)
    written = result.chemiscope_input()["properties"]
    assert written["ensemble uncertainty"]["units"] == "eV/atom"


@pytest.mark.parametrize("per", ["structure", "atom"])
def test_in_one_call(per):
    options = {"cutoff": 3.5, "max_radial": 2, "max_angular": 1, "per": per}
    fractions = []
    result = build_map(
        molecules(30), target="energy", ensemble=True, on_progress=lambda f, _: fractions.append(f), **options
    )
    assert set(NAMES if per == "structure" else LOCAL) < set(result.properties)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    plain = build_map(molecules(30), target="energy", **options)
    assert not any("ensemble" in name for name in plain.properties)
    assert set(plain.properties) < set(result.properties)
    with pytest.raises(ValueError, match="target must be given for an ensemble"):
        build_map([bulk("Si")] * 3, ensemble=True)
