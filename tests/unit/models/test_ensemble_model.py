"""Ensembles of networks: they learn the noise, keep sums over atoms coherent, and leak nothing across folds."""

import numpy as np
import pytest

from matterscape.models.ensemble_model import EnsembleModel
from matterscape.models.validation import learning_curve
from matterscape.uq import Rigidity, gram

pytestmark = pytest.mark.unit

SMALL = dict(hidden=(8, 8), n_members=6, epochs=3, folds=None)


def noise_of(x):
    """Standard deviation of the noise: quiet on the left, loud on the right."""
    return np.where(x < 3, 0.05, 0.4)


def noisy_sine(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 6, size=n)
    return x[:, None], np.sin(x) + noise_of(x) * rng.normal(size=n)


@pytest.fixture(scope="module")
def trained():
    """Models of the noisy sine that were never recalibrated, by name."""
    x, y = noisy_sine(600, seed=0)
    common = dict(hidden=(32, 32), batch_size=40, learning_rate=5e-3, folds=None)
    return {
        "likelihood": EnsembleModel(n_members=16, epochs=50, **common).fit(x, y),
        "ranked probability": EnsembleModel(n_members=16, epochs=50, loss="ranked probability", **common).fit(x, y),
        "deep": EnsembleModel(n_members=4, epochs=25, loss="squared", shared=False, **common).fit(x, y),
    }


def mean_squared_ratio(model, x, y):
    """alpha^2 = <error^2 / variance>, one where the variance is right."""
    return np.mean((model.predict(x) - y) ** 2 / model.predict_uncertainty(x) ** 2)


def loudness_ratio(model, x):
    """Root mean square deviation on the right over that on the left; 8 is the noise's own."""
    variance, loud = model.predict_uncertainty(x) ** 2, x[:, 0] >= 3
    return np.sqrt(variance[loud].mean() / variance[~loud].mean())


@pytest.mark.parametrize("loss", ["likelihood", "ranked probability"])
def test_proper_scores_teach_the_spread_of_the_members_the_noise(trained, loss):
    model = trained[loss]
    x, y = noisy_sine(4000, seed=1)
    # The ratio of 4000 Gaussian errors scatters by (2 / 4000)^1/2 = 2 %; that 600 samples determine the noise of either
    # half adds (2 / 300)^1/2 = 8 %, and an overfitted mean as much again.
    assert 0.75 < mean_squared_ratio(model, x, y) < 1.4
    assert 3.5 < loudness_ratio(model, x) < 9  # a smooth network rounds the step off
    assert np.sqrt(np.mean((model.predict(x) - np.sin(x[:, 0])) ** 2)) < 0.1


def test_deep_ensemble_of_squared_errors_does_not_see_the_noise(trained):
    model = trained["deep"]
    x, y = noisy_sine(4000, seed=1)
    assert np.sqrt(np.mean((model.predict(x) - np.sin(x[:, 0])) ** 2)) < 0.1  # as good a mean
    assert mean_squared_ratio(model, x, y) > 10
    model.calibrate(x, y)
    assert mean_squared_ratio(model, x, y) == pytest.approx(1.0)
    assert loudness_ratio(model, x) < 3  # one factor does not tell loud from quiet
    model.variance_scale = 1.0


def test_members_are_stretched_about_their_mean(trained):
    model = trained["likelihood"]
    x, y = noisy_sine(300, seed=2)
    before, mean = model.predict_members(x), model.predict(x)
    try:
        scale = model.calibrate(x, y)
        after = model.predict_members(x)
        assert scale == model.variance_scale != 1.0
        np.testing.assert_allclose(after.mean(axis=1), mean, atol=1e-13)
        np.testing.assert_allclose(model.predict(x), mean, atol=0)
        np.testing.assert_allclose(after, mean[:, None] + np.sqrt(scale) * (before - mean[:, None]), atol=1e-13)
        np.testing.assert_allclose(after.std(axis=1, ddof=1), model.predict_uncertainty(x), rtol=1e-12)
        # any linear quantity is stretched with them, here an average and a difference
        for weights in (np.full(300, 1 / 300), np.eye(300)[0] - np.eye(300)[1]):
            ratio = (weights @ after).std(ddof=1) / (weights @ before).std(ddof=1)
            assert ratio == pytest.approx(np.sqrt(scale), rel=1e-9)
        assert mean_squared_ratio(model, x, y) == pytest.approx(1.0, rel=1e-10)
    finally:
        model.variance_scale = 1.0


# ---- atoms and structures ---------------------------------------------------------------------------------------


def atoms(n_structures=20, seed=0):
    """Features of atoms, their structures, one-hot species, and energies of thousands of eV."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, 7, size=n_structures)
    index = np.repeat(np.arange(n_structures), counts)
    species = np.eye(2)[rng.integers(2, size=len(index))]
    rows = rng.normal(size=(len(index), 4)) + species @ rng.normal(size=(2, 4))
    local = np.sin(rows[:, 0]) + species @ np.array([-1000.0, -300.0])
    composition = np.zeros((n_structures, 2))
    np.add.at(composition, index, species)
    return rows, index, species, composition, np.bincount(index, local)


def test_members_of_a_structure_are_sums_over_its_atoms():
    rows, index, species, composition, energies = atoms()
    model = EnsembleModel(**SMALL).fit(rows, energies, structure_index=index, composition=composition)
    model.variance_scale = 2.3
    whole = model.predict_members(rows, structure_index=index, composition=composition)
    local = model.predict_members(rows, n_atoms=np.ones(len(rows)), composition=species)
    summed = np.zeros_like(whole)
    np.add.at(summed, index, local)
    np.testing.assert_allclose(whole, summed, rtol=1e-12)
    shuffled = np.random.default_rng(1).permutation(len(rows))
    same = model.predict_members(rows[shuffled], structure_index=index[shuffled], composition=composition)
    np.testing.assert_allclose(same, whole, rtol=1e-13)


def test_uncertainty_of_equal_atoms_grows_like_their_number():
    rows, index, _, composition, energies = atoms()
    model = EnsembleModel(**SMALL).fit(rows, energies, structure_index=index, composition=composition)
    one = model.predict_uncertainty(rows[:1], structure_index=[0], composition=[[1, 0]])
    nine = model.predict_uncertainty(rows[[0] * 9], structure_index=[0] * 9, composition=[[9, 0]])
    assert nine[0] == pytest.approx(9 * one[0], rel=1e-10)  # a sum of variances would give 3
    sums = model.predict_uncertainty(9 * rows[:1], n_atoms=[9], composition=[[9, 0]])
    assert sums[0] == pytest.approx(nine[0], rel=1e-10)


def test_baseline_is_added_to_every_member():
    rows, index, _, composition, energies = atoms()
    shift = composition @ np.array([-500.0, 70.0])
    arguments = dict(structure_index=index, composition=composition)
    plain = EnsembleModel(**SMALL).fit(rows, energies, **arguments)
    shifted = EnsembleModel(**SMALL).fit(rows, energies + shift, **arguments)
    moved = shifted.predict_members(rows, **arguments) - plain.predict_members(rows, **arguments)
    np.testing.assert_allclose(moved, np.repeat(shift[:, None], 6, axis=1), atol=1e-7)


def test_energies_of_thousands_of_electronvolts_are_learnt_to_their_small_differences():
    rows, index, _, composition, energies = atoms(120)
    settings = dict(hidden=(32, 32), n_members=1, loss="squared", batch_size=8, epochs=60, learning_rate=2e-2)
    model = EnsembleModel(folds=None, **settings)
    model.fit(rows, energies, structure_index=index, composition=composition)
    errors = (model.predict(rows, structure_index=index, composition=composition) - energies) / np.bincount(index)
    assert np.sqrt(np.mean(errors**2)) < 0.15  # half the spread about the baseline, of energies of -650 eV per atom


# ---- the last layer ---------------------------------------------------------------------------------------------


def test_one_network_gives_both_kinds_of_uncertainty():
    rows, index, _, composition, energies = atoms()
    arguments = dict(structure_index=index, composition=composition)
    model = EnsembleModel(**SMALL).fit(rows, energies, **arguments)
    model.variance_scale = 1.7
    features = model.last_layer_features(rows, **arguments)
    assert features.shape == (20, 9)
    np.testing.assert_allclose(features[:, -1], np.bincount(index))
    baseline = model.predict(rows, **arguments) - features @ model.coefficients
    members = baseline[:, None] + model.last_layer().members(features)
    np.testing.assert_allclose(members, model.predict_members(rows, **arguments), rtol=1e-12)
    expected = np.linalg.lstsq(composition, baseline)[0]
    np.testing.assert_allclose(baseline, composition @ expected, rtol=1e-12)  # nothing but the composition

    per_atom = features / np.bincount(index)[:, None]
    spectrum = model.spectrum()
    np.testing.assert_allclose(spectrum.gram, per_atom.T @ per_atom, atol=1e-12)
    inverse = spectrum.rows(features).inverse_rigidity(0.1)
    np.testing.assert_allclose(inverse, Rigidity(gram(per_atom), 0.1).variance(features), rtol=1e-9)


def test_single_member_has_a_rigidity_but_no_spread():
    x, y = noisy_sine(50, seed=0)
    model = EnsembleModel(**SMALL | dict(n_members=1, loss="squared")).fit(x, y)
    assert model.predict_members(x).shape == (50, 1)
    assert (model.spectrum().rows(model.last_layer_features(x)).inverse_rigidity(1.0) > 0).all()
    with pytest.raises(ValueError, match="single member has no spread"):
        model.predict_uncertainty(x)
    with pytest.raises(ValueError, match="no variance to calibrate"):
        model.calibrate(x, y)


def test_deep_ensemble_shares_no_layer():
    x, y = noisy_sine(50, seed=0)
    model = EnsembleModel(**SMALL | dict(shared=False, loss="squared")).fit(x, y)
    members = model.predict_members(x)
    assert np.abs(members[:, :, None] - members[:, None, :])[:, ~np.eye(6, dtype=bool)].max(axis=0).min() > 1e-3
    with pytest.raises(ValueError, match="no last layer in common"):
        model.spectrum()


# ---- held-out samples -------------------------------------------------------------------------------------------


def test_folds_hold_out_and_calibrate():
    x, y = noisy_sine(60, seed=0)
    model = EnsembleModel(**SMALL | dict(folds=3)).fit(x, y)
    errors, deviations = model.held_out_predictions - y, model.held_out_uncertainties
    assert np.mean(errors**2 / deviations**2) == pytest.approx(1.0, rel=1e-10)
    assert np.abs(model.held_out_predictions - model.predict(x)).max() > 1e-3
    # The last layers stretch with the scale that the folds gave.
    plain = EnsembleModel(**SMALL).fit(x, y)
    ratio = model.predict_uncertainty(x) / plain.predict_uncertainty(x)
    np.testing.assert_allclose(ratio, np.sqrt(model.variance_scale), rtol=1e-10)


def test_no_target_leaks_into_its_own_held_out_prediction():
    x, y = noisy_sine(30, seed=0)
    settings = SMALL | dict(folds=3, n_components=1)
    first = EnsembleModel(**settings).fit(x, y)
    changed = y.copy()
    changed[7] += 100.0
    second = EnsembleModel(**settings).fit(x, changed)
    same = first.held_out_predictions == second.held_out_predictions
    assert same[7]
    assert same.sum() == 10  # its fold; everybody else was trained on the changed target


def test_validation_samples_choose_the_epoch_and_calibrate():
    x, y = noisy_sine(80, seed=0)
    held_out = np.arange(60, 80)
    model = EnsembleModel(**SMALL | dict(folds=5)).fit(x, y, validation=held_out)
    assert model.held_out_predictions is None  # no folds beside them
    assert model.history.validation.argmin() + 1 == model.history.kept_epoch
    assert mean_squared_ratio(model, x[60:], y[60:]) == pytest.approx(1.0, rel=1e-10)
    np.testing.assert_allclose(model.spectrum().gram, gram(model.last_layer_features(x[:60])), rtol=1e-12)


def test_wide_rows_are_reduced_and_constant_columns_do_no_harm():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(60, 3))
    wide = latent @ rng.normal(size=(3, 400)) + 5.0
    wide[:, 7] = 0.1  # constant, not exact in binary
    y = np.sin(latent[:, 0])
    model = EnsembleModel(**SMALL | dict(n_components=3)).fit(wide, y)
    # The rows lie in a plane of three dimensions, so that nothing is lost by three components.
    plane = EnsembleModel(**SMALL | dict(n_components=3)).fit(np.delete(wide, 7, axis=1), y)
    np.testing.assert_allclose(model.predict(wide), plane.predict(np.delete(wide, 7, axis=1)), atol=1e-8)
    assert np.isfinite(EnsembleModel(**SMALL).fit(wide, y).predict_members(wide)).all()
    few = EnsembleModel(**SMALL | dict(n_components=50, folds=2)).fit(wide, y)  # more than the 30 rows of a fold
    assert np.isfinite(few.held_out_uncertainties).all()
    one_scale = EnsembleModel(**SMALL | dict(scaling="global")).fit(wide, y)
    np.testing.assert_allclose(
        EnsembleModel(**SMALL | dict(scaling="global")).fit(1000 * wide, y).predict(1000 * wide),
        one_scale.predict(wide),
        atol=1e-8,
    )


def test_targets_without_any_spread_are_met():
    x, _ = noisy_sine(30, seed=0)
    model = EnsembleModel(**SMALL | dict(folds=3)).fit(x, np.full(30, 7.0))
    assert np.isfinite(model.predict_members(x)).all()


def test_progress_runs_to_one_and_a_cancel_leaves_a_usable_model():
    x, y = noisy_sine(40, seed=0)
    told = []
    EnsembleModel(**SMALL | dict(folds=3)).fit(x, y, progress=lambda *a: told.append(a))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert len(fractions) == 4 * 3
    assert told[-1][1] == "fold 3 of 3, epoch 3 of 3"
    for n_epochs in (2, 5):  # in the training itself, and in the second epoch of the first fold
        told.clear()
        model = EnsembleModel(**SMALL | dict(folds=3))
        model.fit(x, y, progress=lambda *a: told.append(a), cancelled=lambda n=n_epochs: len(told) >= n)
        assert len(told) == n_epochs
        assert model.held_out_predictions is None
        assert model.predict_uncertainty(x).shape == (40,)


def test_learning_curves_take_the_model():
    x, y = noisy_sine(60, seed=0)
    curve = learning_curve(x, y, [10, 40], n_seeds=2, make_model=lambda: EnsembleModel(**SMALL))
    assert np.isfinite(curve.rmse).all()


# ---- files and bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, dict(shared=False, loss="squared"), dict(n_components=2)])
def test_a_saved_model_is_the_same_model(tmp_path, kind):
    rows, index, _, composition, energies = atoms()
    arguments = dict(structure_index=index, composition=composition)
    model = EnsembleModel(**SMALL | kind).fit(rows, energies, **arguments)
    model.calibrate(rows, energies + 0.1, **arguments)
    model.save(tmp_path / "model.npz")
    again = EnsembleModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_members(rows, **arguments), model.predict_members(rows, **arguments))
    assert again.variance_scale == model.variance_scale
    if model.shared:
        np.testing.assert_array_equal(again.spectrum().gram, model.spectrum().gram)
    with pytest.raises(ValueError, match="none of its entries centre"):
        EnsembleModel.from_state_dict({k: v for k, v in model.state_dict().items() if k != "centre"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(hidden=()), "hidden must name at least one layer"),
        (dict(hidden=(4, 0)), "hidden is 0"),
        (dict(n_members=0), "n_members is 0"),
        (dict(loss="l1"), "loss is 'l1'; accepted are likelihood, ranked probability, squared"),
        (dict(n_members=1), "a single member is trained with loss='squared'"),
        (dict(shared=False), "a deep ensemble is trained with loss='squared'"),
        (dict(activation="sine"), "activation is 'sine'"),
        (dict(scaling="row"), "scaling is 'row'"),
        (dict(folds=1), "folds is 1"),
        (dict(epochs=0), "epochs is 0"),
        (dict(clip=-1.0), "clip is -1.0"),
        (dict(n_components=0), "n_components is 0"),
    ],
)
def test_settings_out_of_range_meet_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        EnsembleModel(**settings)


def test_bad_data_meet_a_sentence():
    x, y = noisy_sine(20, seed=0)
    model = EnsembleModel(**SMALL)
    with pytest.raises(ValueError, match="must be fitted before it is asked for predictions"):
        model.predict(x)
    with pytest.raises(ValueError, match="must be fitted before its last layer"):
        model.spectrum()
    with pytest.raises(ValueError, match="must be fitted before it is saved"):
        model.state_dict()
    with pytest.raises(ValueError, match="features must be finite, got NaN or infinity in row 3"):
        model.fit(np.where(np.arange(20)[:, None] == 3, np.nan, x), y)
    with pytest.raises(ValueError, match=r"targets must have one number for each of the 20 samples, got shape \(19,\)"):
        model.fit(x, y[1:])
    with pytest.raises(ValueError, match="structure_index and n_atoms exclude each other"):
        model.fit(x, y, structure_index=np.arange(20), n_atoms=np.ones(20))
    with pytest.raises(ValueError, match="structure_index must name every structure, got no atom of 1"):
        model.fit(x, y, structure_index=np.arange(20) * 2)
    with pytest.raises(ValueError, match="n_atoms must be at least 1, got 0"):
        model.fit(x, y, n_atoms=np.zeros(20))
    with pytest.raises(ValueError, match="composition must have one row for each of the 20 samples, got 1"):
        model.fit(x, y, composition=[[1.0]])
    with pytest.raises(ValueError, match="validation must hold indices of some of the 20 samples, from 0 to 19"):
        model.fit(x, y, validation=[20])
    with pytest.raises(ValueError, match="validation must hold indices"):
        model.fit(x, y, validation=np.array([], dtype=int))
    with pytest.raises(ValueError, match="validation must hold indices"):
        model.fit(x, y, validation=[0.5, None])
    with pytest.raises(ValueError, match="folds must not exceed the number of samples 20, got 21"):
        EnsembleModel(folds=21).fit(x, y)
    model.fit(x, y)
    with pytest.raises(ValueError, match="features must have 1 columns, got 2"):
        model.predict(np.ones((3, 2)))
    with pytest.raises(ValueError, match="needs? neither n_atoms nor structure_index"):
        model.predict(x, n_atoms=np.ones(20))
    with pytest.raises(ValueError, match="composition must have 1 columns, got 2"):
        model.predict(x, composition=np.ones((20, 2)))
