"""Rigidities against the constrained fit that defines them, and their exact identities."""

import numpy as np
import pytest
import torch

from matterscape.uq import Rigidity, gram, local_prediction_rigidity, variance_scale

pytestmark = pytest.mark.unit


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(60, 9))


def test_gram_is_streamed_and_accumulated_in_float64(rows):
    expected = rows.T @ rows
    np.testing.assert_allclose(gram(rows), expected, rtol=1e-13)
    np.testing.assert_allclose(gram(block for block in np.array_split(rows, 7)), expected, rtol=1e-12)
    np.testing.assert_allclose(gram(torch.tensor(rows)), expected, rtol=1e-13)
    single = (1e3 + rows).astype(np.float32)
    exact = single.astype(np.float64).T @ single.astype(np.float64)
    np.testing.assert_allclose(gram(single), exact, rtol=1e-13)  # float32 accumulation would miss by 1e-7
    long = np.repeat(rows, 200, axis=0)  # more than one block
    np.testing.assert_allclose(gram(long), 200 * expected, rtol=1e-12)


def test_gram_with_weights_counts_samples(rows):
    counts = np.arange(60) % 4
    np.testing.assert_allclose(gram(rows, counts), gram(np.repeat(rows, counts, axis=0)), rtol=1e-12)


def test_rigidity_is_the_curvature_of_the_constrained_loss(rows):
    """Forcing one prediction to move by delta raises the regularised loss by R delta^2 / 2, exactly."""
    rng = np.random.default_rng(0)
    y, test, penalty, delta = rng.normal(size=60), rng.normal(size=9), 0.3, 0.7
    curvature = rows.T @ rows + penalty * np.eye(9)
    free = np.linalg.solve(curvature, rows.T @ y)
    step = np.linalg.solve(curvature, test)
    moved = free + delta * step / (test @ step)

    def loss(w):
        return 0.5 * np.sum((rows @ w - y) ** 2) + 0.5 * penalty * w @ w

    rigidity = Rigidity(gram(rows), penalty).rigidity(test[None])[0]
    assert loss(moved) - loss(free) == pytest.approx(0.5 * rigidity * delta**2, rel=1e-10)
    assert moved @ test == pytest.approx(free @ test + delta)


def test_leverages_sum_to_the_degrees_of_freedom(rows):
    model = Rigidity(gram(rows), 0.5)
    eigenvalues = np.linalg.eigvalsh(gram(rows))
    assert model.variance(rows).sum() == pytest.approx(model.degrees_of_freedom(), rel=1e-12)
    assert model.degrees_of_freedom() == pytest.approx(np.sum(eigenvalues / (eigenvalues + 0.5)), rel=1e-12)


def test_covariance_holds_the_variances_and_those_of_differences(rows):
    model = Rigidity(gram(rows), 0.5, variance_scale=2.5)
    a, b = rows[:4], rows[4:8]
    np.testing.assert_allclose(np.diag(model.covariance(a, a)), model.variance(a), rtol=1e-12)
    difference = model.variance(a) + model.variance(b) - 2 * np.diag(model.covariance(a, b))
    np.testing.assert_allclose(difference, model.variance(a - b), rtol=1e-11)


def test_identical_atoms_err_together(rows):
    """N copies of one atom have an energy whose standard deviation grows as N, not as its root."""
    model = Rigidity(gram(rows), 0.5)
    np.testing.assert_allclose(model.variance(12 * rows[:5]), 144 * model.variance(rows[:5]), rtol=1e-12)


def test_more_data_never_lowers_a_rigidity_and_rotations_change_nothing(rows):
    test = np.random.default_rng(1).normal(size=(20, 9))
    before = Rigidity(gram(rows), 0.1).rigidity(test)
    after = Rigidity(gram(np.concatenate([rows, test[:1]])), 0.1).rigidity(test)
    assert (after >= before * (1 - 1e-12)).all()
    assert after[0] == pytest.approx(before[0] + 1, rel=1e-12)  # Sherman-Morrison
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(9, 9)))[0]
    np.testing.assert_allclose(Rigidity(gram(rows @ rotation), 0.1).rigidity(test @ rotation), before, rtol=1e-11)


def test_calibration_maximises_the_likelihood(rows):
    errors = np.random.default_rng(5).normal(size=60) * 0.2
    model = Rigidity(gram(rows), 0.5)
    calibrated = model.calibrated(rows, errors)

    def negative_log_likelihood(scale):
        variance = scale * model.variance(rows)
        return np.mean(np.log(variance) + errors**2 / variance)

    best = negative_log_likelihood(calibrated.variance_scale)
    assert best < negative_log_likelihood(1.001 * calibrated.variance_scale)
    assert best < negative_log_likelihood(0.999 * calibrated.variance_scale)
    assert np.mean(errors**2 / calibrated.variance(rows)) == pytest.approx(1)


def test_local_rigidity_conventions():
    rng = np.random.default_rng(4)
    train = [rng.normal(size=(n, 5)) for n in (3, 4, 6)]
    test = [rng.normal(size=(n, 5)) for n in (2, 5)]
    scale = np.sqrt(np.mean([np.sum(row**2) for block in train for row in block]))
    for pooling in ("mean", "sum"):
        pooled = np.stack([getattr(np, pooling)(block, axis=0) for block in train]) / scale
        inverse = np.linalg.inv(pooled.T @ pooled + 1e-3 * np.eye(5))
        local = local_prediction_rigidity(train, test, 1e-3, pooling=pooling)
        assert [len(block) for block in local] == [2, 5]
        x = test[1][3] / scale
        assert local[1][3] == pytest.approx(1 / (x @ inverse @ x), rel=1e-10)
        whole = local_prediction_rigidity(train, test, 1e-3, per="structure", pooling=pooling)
        x = getattr(np, pooling)(test[0], axis=0) / scale
        assert whole[0] == pytest.approx(1 / (x @ inverse @ x), rel=1e-10)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: gram([]), "feature_blocks must hold at least one block"),
        (lambda x: gram([x, x[:, :3]]), "must have 9 columns, got 3"),
        (lambda x: gram(np.where(x > 1, np.nan, x)), "must be finite, got NaN"),
        (lambda x: gram(x, -np.ones(60)), "weights must not be negative"),
        (lambda x: gram(x[0]), "non-empty matrix"),
        (lambda x: Rigidity(gram(x), -1.0), "regularisation must be a number >= 0, got -1"),
        (lambda x: Rigidity(x, 1.0), "gram must be a symmetric square matrix"),
        (lambda x: Rigidity(gram(x[:3]), 0.0), "leaves the Gram matrix singular"),
        (lambda x: Rigidity(gram(x), 1.0).variance(x[:, :4]), "must have 9 columns, got 4"),
        (lambda x: Rigidity(gram(x), 1.0).calibrated(x, np.zeros(60)), "errors must not all be zero"),
        (lambda x: variance_scale([], []), "at least one held-out error"),
        (lambda x: local_prediction_rigidity([], [x], 1.0), "train must hold at least one structure"),
        (
            lambda x: local_prediction_rigidity([x], [x], 1.0, per="bond"),
            "per must be 'atom' or 'structure', got 'bond'",
        ),
        (lambda x: local_prediction_rigidity([x], [x], 1.0, pooling="max"), "pooling must be 'mean' or 'sum'"),
        (lambda x: local_prediction_rigidity([x], [x[:, :2]], 1.0), r"test\[0\] must have 9 columns, got 2"),
    ],
)
def test_bad_input(rows, call, message):
    with pytest.raises(ValueError, match=message):
        call(rows)


def test_features_must_be_real_numbers():
    with pytest.raises(TypeError, match="must hold real numbers, got dtype <U1"):
        gram(np.array([["a", "b"]]))
