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
