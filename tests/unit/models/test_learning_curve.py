"""Learning curves: reproducible, nested, and falling at the rate that theory gives."""

import numpy as np
import pytest

from matterscape.models import RidgeModel, learning_curve

pytestmark = pytest.mark.unit


def problem(noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8))
    return x, x @ rng.normal(size=8) + noise * rng.normal(size=600)


def test_error_falls_to_the_noise():
    x, y = problem(noise=0.3)
    curve = learning_curve(x, y, [20, 60, 400], n_seeds=4)
    assert curve.rmse.shape == (3, 4) and len(curve.test_indices) == 120
    assert (np.diff(curve.mean) < 0).all()
    assert curve.mean[-1] == pytest.approx(0.3, rel=0.15)
    assert (np.diff(curve.spread) < 0).all()


def test_same_seed_same_curve_and_per_atom_errors():
    x, y = problem(noise=0.3)
    n = np.full(600, 4)
    first = learning_curve(x, y, [50, 100], n_seeds=2, n_atoms=n, make_model=lambda: RidgeModel(regularisation=1e-6))
    again = learning_curve(x, y, [50, 100], n_seeds=2, n_atoms=n, make_model=lambda: RidgeModel(regularisation=1e-6))
    np.testing.assert_array_equal(first.rmse, again.rmse)
    whole = learning_curve(x, y, [50, 100], n_seeds=2, make_model=lambda: RidgeModel(regularisation=1e-6))
    np.testing.assert_allclose(first.rmse, whole.rmse / 4, rtol=1e-6)
    assert learning_curve(x, y, [50], n_seeds=1).spread[0] == 0


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(sizes=[500]), "sizes must lie between 2 and the 480 samples"),
        (dict(sizes=[]), "sizes must lie between 2"),
        (dict(test_fraction=1.5), "test_fraction must lie between 0 and 1, got 1.5"),
        (dict(n_seeds=0), "n_seeds must be at least 1, got 0"),
    ],
)
def test_bad_input(changes, message):
    x, y = problem(noise=0.0)
    with pytest.raises(ValueError, match=message):
        learning_curve(x, y, **{"sizes": [10], **changes})


@pytest.fixture(scope="module")
def springs():
    """Energies that are linear in three features with known derivatives."""
    rng = np.random.default_rng(4)
    positions = rng.normal(size=(40, 6))  # two atoms, three coordinates each
    weights = np.array([0.7, -0.3, 0.2])
    features = np.stack([(positions**2).sum(1), (positions**3).sum(1), np.sin(positions).sum(1)], axis=1)
    jacobians = np.stack([2 * positions, 3 * positions**2, np.cos(positions)], axis=2)  # (structure, coordinate, f)
    forces = -(jacobians @ weights).reshape(-1, 3)
    return features, features @ weights, dict(n_atoms=np.full(40, 2), forces=forces, jacobians=list(jacobians))


def test_forces_are_learned_and_scored(springs):
    features, energies, extra = springs
    noisy = extra | {"forces": extra["forces"] + 0.1 * np.random.default_rng(0).normal(size=(80, 3))}
    curve = learning_curve(features, energies, [4, 32], n_seeds=3, make_model=lambda: RidgeModel(folds=2), **noisy)
    assert curve.force_rmse.shape == curve.rmse.shape == (2, 3)
    assert (curve.force_rmse > 0.05).all() and curve.force_rmse[-1] == pytest.approx(0.1, rel=0.25)
    exact = learning_curve(features, energies, [4, 32], n_seeds=2, make_model=lambda: RidgeModel(folds=2), **extra)
    assert exact.force_rmse[-1].max() < 1e-3 and exact.rmse[-1].max() < 1e-3
    assert learning_curve(features, energies, [8], n_seeds=1).force_rmse is None


def test_a_given_test_set_is_the_one_that_scores(springs):
    features, energies, extra = springs
    broken = energies.copy()
    broken[[3, 5]] += 100.0  # only in the test set: no model sees them
    curve = learning_curve(
        features, broken, [8, 38], n_seeds=2, test_indices=[5, 3], make_model=lambda: RidgeModel(folds=2), **extra
    )
    np.testing.assert_array_equal(curve.test_indices, [3, 5])
    np.testing.assert_allclose(curve.rmse, 50.0, rtol=1e-3)
    assert curve.force_rmse[-1].max() < 1e-3


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(forces=None), "forces and jacobians must be given together"),
        (dict(n_atoms=None), "forces need n_atoms"),
        (dict(jacobians=iter(())), "jacobians must be a sequence with one matrix for each of the 40 samples"),
        (dict(forces=np.zeros((3, 3))), "forces must have one number for each of the 240 samples"),
        (dict(test_indices=[1, 1]), "test_indices must hold different integers"),
        (dict(test_indices=[40]), "test_indices must lie between 0 and 39, got 40 to 40"),
    ],
)
def test_bad_forces_and_test_sets(springs, changes, message):
    features, energies, extra = springs
    with pytest.raises(ValueError, match=message):
        learning_curve(features, energies, [8], **{**extra, **changes})
