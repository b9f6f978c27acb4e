"""Calibration against brute-force scans, definitions by quadrature, and simulated ensembles."""

import warnings

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from matterscape.uq import Rigidity, RigiditySpectrum, gram, variance_scale
from matterscape.uq.calibration import (
    calibrate,
    continuous_ranked_probability_score,
    ensemble_variance_scale,
    isotonic_calibration,
    negative_log_likelihood,
)

pytestmark = pytest.mark.unit


class Rows:
    """Rows whose inverse rigidities come from dense linear algebra, one regularisation at a time."""

    def __init__(self, train, test):
        self.gram, self.test = gram(train), test

    def inverse_rigidity(self, regularisations):
        return np.stack([Rigidity(self.gram, value).variance(self.test) for value in regularisations])


@pytest.fixture(scope="module")
def linear_problem():
    """Weights from a Gaussian prior, so that the Bayesian noise and prior variances are the true answer."""
    rng = np.random.default_rng(0)
    n_features, prior, noise = 40, 0.5, 0.2
    train, test = rng.normal(size=(30, n_features)), rng.normal(size=(4000, n_features))
    weights = prior * rng.normal(size=n_features)
    targets = train @ weights + noise * rng.normal(size=len(train))
    regularisation = noise**2 / prior**2
    fitted = np.linalg.solve(gram(train) + regularisation * np.eye(n_features), train.T @ targets)
    return train, test, test @ (fitted - weights), train @ fitted - targets


def test_likelihood_is_the_mean_logarithm_of_the_density():
    errors, variances = np.array([0.3, -1.2, 2.0]), np.array([0.5, 1.5, 0.7])
    expected = -norm(scale=np.sqrt(variances)).logpdf(errors).mean()
    assert negative_log_likelihood(errors, variances) == pytest.approx(expected, rel=1e-14)
    assert negative_log_likelihood(torch.tensor(errors), torch.tensor(variances)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("error", "variance"), [(0.0, 1.0), (0.7, 0.3), (-2.5, 1.7), (30.0, 1.0)])
def test_ranked_probability_is_the_integral_that_defines_it(error, variance):
    """The score is the integral of (F(x) - step(x - y))^2 over x."""
    deviation = np.sqrt(variance)
    below, _ = quad(lambda x: norm.cdf(x / deviation) ** 2, -40, -error, limit=500, epsabs=1e-12)
    above, _ = quad(lambda x: norm.sf(x / deviation) ** 2, -error, 40, limit=500, epsabs=1e-12)
    score = continuous_ranked_probability_score([error], [variance])
    assert score == pytest.approx(below + above, rel=1e-8)


def test_ranked_probability_against_draws():
    """E|X - y| - E|X - X'| / 2 estimates the score without any formula for Gaussians."""
    rng = np.random.default_rng(1)
    draws, others = 0.8 * rng.normal(size=(2, 10**6))
    estimate = np.abs(draws - 0.5).mean() - 0.5 * np.abs(draws - others).mean()
    assert continuous_ranked_probability_score([0.5], [0.64]) == pytest.approx(estimate, abs=1e-3)


def test_closed_form_scale_minimises_the_likelihood_scan():
    rng = np.random.default_rng(2)
    inverse_rigidities = rng.lognormal(size=300)
    errors = 1.7 * np.sqrt(inverse_rigidities) * rng.normal(size=300)
    fitted = calibrate(inverse_rigidities, errors)
    scan = minimize_scalar(
        lambda log_scale: negative_log_likelihood(errors, np.exp(log_scale) * inverse_rigidities),
        bounds=(-5, 5),
        options={"xatol": 1e-10},
        method="bounded",
    )
    assert fitted.variance_scale == pytest.approx(np.exp(scan.x), rel=1e-7)
    assert fitted.value == pytest.approx(scan.fun, rel=1e-12)
    assert fitted.variance_scale == pytest.approx(variance_scale(1.0 / inverse_rigidities, errors), rel=1e-14)
    assert fitted.regularisation is None and fitted.regularisations is None and not fitted.at_edge


def test_path_is_the_likelihood_at_every_regularisation(linear_problem):
    train, test, errors, _ = linear_problem
    grid = 10.0 ** np.arange(-4.0, 4.5, 0.5)
    fitted = calibrate(Rows(train, test), errors, regularisations=grid)
    for value, scale, regularisation in zip(fitted.values, fitted.variance_scales, grid, strict=True):
        variances = Rigidity(gram(train), regularisation, variance_scale=scale).variance(test)
        assert value == pytest.approx(negative_log_likelihood(errors, variances), rel=1e-10)
        for factor in (0.99, 1.01):
            assert negative_log_likelihood(errors, factor * variances) > value
    best = np.argmin(fitted.values)
    assert fitted.value == fitted.values[best]
    assert fitted.regularisation == grid[best]
    assert fitted.variance_scale == fitted.variance_scales[best]
    assert not fitted.at_edge
    # The best likelihood of the grid is at least that of the true noise and prior.
    assert fitted.value <= negative_log_likelihood(errors, 0.04 * Rows(train, test).inverse_rigidity([0.16])[0]) + 0.01


def test_default_grid_is_that_of_the_authors():
    asked = []

    class Spy:
        def inverse_rigidity(self, regularisations):
            asked.append(regularisations)
            return np.ones((len(regularisations), 5)) + (np.log10(regularisations)[:, None] - 1) ** 2 * np.arange(5)

    fitted = calibrate(Spy(), np.ones(5))
    np.testing.assert_allclose(np.log10(np.sqrt(asked[0])), np.arange(-5, 5, 0.25), atol=1e-12)
    assert fitted.regularisation == pytest.approx(10.0)  # where all variances are one, as the errors are


def test_rows_of_a_spectrum_give_the_same_path(linear_problem):
    train, test, errors, _ = linear_problem
    grid = 10.0 ** np.arange(-4.0, 4.5, 0.5)
    fast = calibrate(RigiditySpectrum(gram(train)).rows(test), errors, regularisations=grid)
    dense = calibrate(Rows(train, test), errors, regularisations=grid)
    np.testing.assert_allclose(fast.values, dense.values, rtol=1e-9)
    np.testing.assert_allclose(fast.variance_scales, dense.variance_scales, rtol=1e-7)
    assert fast.regularisation == dense.regularisation


@pytest.mark.filterwarnings("ignore:the best regularisation")
def test_binned_objective_is_smallest_at_its_closed_form_scale(linear_problem):
    train, test, errors, _ = linear_problem
    grid = np.array([1e-2, 1.0, 1e2])
    fitted = calibrate(Rows(train, test), errors, objective="binned", regularisations=grid)
    for scale, value, row in zip(fitted.variance_scales, fitted.values, Rows(train, test).inverse_rigidity(grid)):
        order = np.argsort(row)
        parts = [order[100 * b : 100 * (b + 1)] for b in range(40)]

        def objective(candidate, row=row, parts=parts):
            ratios = [np.log(np.mean(errors[b] ** 2) / np.mean(candidate * row[b])) for b in parts]
            return np.sum(np.square(ratios))

        assert value == pytest.approx(objective(scale), rel=1e-10)
        assert objective(0.99 * scale) > value < objective(1.01 * scale)


def test_binned_objective_leaves_out_the_incomplete_last_bin():
    rng = np.random.default_rng(4)
    inverse_rigidities = np.sort(rng.lognormal(size=260))
    errors = np.sqrt(inverse_rigidities) * rng.normal(size=260)
    changed = errors.copy()
    changed[200:] *= 1e3  # the largest variances fill no bin
    whole = calibrate(inverse_rigidities, changed, objective="binned")
    complete = calibrate(inverse_rigidities[:200], errors[:200], objective="binned")
    assert (whole.variance_scale, whole.value) == (complete.variance_scale, complete.value)


def test_scale_of_both_objectives_is_the_true_one_for_gaussian_errors():
    rng = np.random.default_rng(5)
    inverse_rigidities = rng.lognormal(size=20_000)
    errors = np.sqrt(2.5 * inverse_rigidities) * rng.normal(size=20_000)
    for objective in ("likelihood", "binned"):
        assert calibrate(inverse_rigidities, errors, objective=objective).variance_scale == pytest.approx(2.5, rel=0.04)


def test_scale_of_the_training_set_collapses(linear_problem):
    """Thirty samples for forty features are nearly interpolated; calibrated on them, the variances would be tiny."""
    train, test, held_out, training = linear_problem
    honest = calibrate(Rows(train, test).inverse_rigidity([0.16])[0], held_out).variance_scale
    collapsed = calibrate(Rows(train, train).inverse_rigidity([0.16])[0], training).variance_scale
    assert honest == pytest.approx(0.04, rel=0.5)  # the variance of the noise
    assert collapsed < 0.1 * honest


def test_a_regularisation_at_the_edge_is_told(linear_problem):
    train, test, errors, _ = linear_problem
    with pytest.warns(UserWarning, match="edge of the grid, 100 to 1e[+]03"):
        fitted = calibrate(Rows(train, test), errors, regularisations=[1e2, 1e3])
    assert fitted.at_edge
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not calibrate(Rows(train, test), errors, regularisations=[1e2]).at_edge  # chosen by the caller


def simulated_ensembles(kind, n_members=8, n_samples=200_000, true_scale=1.9):
    """Errors and sample variances of ensembles whose spread is s^2 and whose truth scatters by true_scale s^2."""
    rng = np.random.default_rng(6)
    spread = rng.lognormal(size=n_samples)
    members = spread[:, None] * rng.normal(size=(n_samples, n_members))
    truth = np.sqrt(true_scale) * spread * rng.normal(size=n_samples)
    if kind == "trained together":  # mean and variance are what was trained, not estimates of something else
        members -= members.mean(axis=1, keepdims=True)
        members *= (spread / members.std(axis=1, ddof=1))[:, None]
    return members.mean(axis=1) - truth, members.var(axis=1, ddof=1)


def test_independent_members_need_the_finite_ensemble_correction():
    errors, variances = simulated_ensembles("independent")
    plain = ensemble_variance_scale(errors, variances)
    corrected = ensemble_variance_scale(errors, variances, n_members=8)
    assert corrected == pytest.approx(1.9, rel=0.02)
    assert plain == pytest.approx((1.9 + 1 / 8) * 7 / 5, rel=0.02)  # overestimates by half
    # The error of the mean of eight members has the variance (alpha^2 + 1/M) s^2.
    assert np.mean(errors**2) / np.mean(variances) == pytest.approx(corrected + 1 / 8, rel=0.03)


def test_members_trained_together_need_no_correction():
    errors, variances = simulated_ensembles("trained together")
    assert ensemble_variance_scale(errors, variances) == pytest.approx(1.9, rel=0.02)
    assert ensemble_variance_scale(errors, variances, n_members=8) < 1.9 * 0.7


def test_the_correction_vanishes_for_many_members():
    errors, variances = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 0.3])
    plain = ensemble_variance_scale(errors, variances)
    assert ensemble_variance_scale(errors, variances, 10**7) == pytest.approx(plain, rel=1e-6)


def test_isotonic_calibration_is_the_most_likely_monotone_map():
    rng = np.random.default_rng(7)
    variances = rng.lognormal(size=2000)
    errors = variances * rng.normal(size=2000)  # the true variance is the square of the predicted one
    calibrated = isotonic_calibration(errors, variances)
    fitted = calibrated(variances)
    assert (np.diff(fitted[np.argsort(variances)]) >= 0).all() and fitted.min() > 0
    best = negative_log_likelihood(errors, fitted)
    for other in (variances**2, calibrate(variances, errors).variance_scale * variances):
        assert best < negative_log_likelihood(errors, other)
    for seed in range(20):  # any other monotone map is less likely
        shake = np.sort(0.1 * np.random.default_rng(seed).normal(size=2000))[np.argsort(np.argsort(variances))]
        assert best < negative_log_likelihood(errors, fitted * np.exp(shake))
    fresh = rng.lognormal(size=2000)
    unseen = fresh * rng.normal(size=2000)
    assert negative_log_likelihood(unseen, calibrated(fresh)) < negative_log_likelihood(
        unseen, calibrate(variances, errors).variance_scale * fresh
    )
    np.testing.assert_allclose(calibrated([1e9]), fitted.max())  # constant beyond the range


BAD_PAIRS = [
    ([], [], "errors must hold at least one number, got none"),
    ([0.1, np.nan], [1.0, 1.0], "errors must be finite, got nan for sample 1"),
    ([0.1, 0.2], [1.0], "must have one number for each of the 2 samples"),
    ([0.1, 0.2], [1.0, 0.0], "must be positive, got 0 for sample 1"),
    ([0.1, 0.2], [1.0, -3.0], "must be positive, got -3 for sample 1"),
    ([0.1, 0.2], [1.0, np.inf], "must be finite, got inf for sample 1"),
]


@pytest.mark.parametrize(("errors", "variances", "message"), BAD_PAIRS)
def test_bad_pairs_meet_a_sentence(errors, variances, message):
    calls = (
        lambda: negative_log_likelihood(errors, variances),
        lambda: continuous_ranked_probability_score(errors, variances),
        lambda: calibrate(np.array(variances), errors),
        lambda: ensemble_variance_scale(errors, variances),
        lambda: isotonic_calibration(errors, variances),
    )
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibrate(np.ones(3), np.ones(3), objective="sharpness"), "'likelihood' or 'binned', got 'sharpness'"),
        (
            lambda: calibrate(np.ones(99), np.ones(99), objective="binned"),
            "at least 100 for objective 'binned', got 99",
        ),
        (lambda: calibrate(np.ones(3), np.zeros(3)), "errors must not all be zero"),
        (lambda: calibrate(np.ones(3), np.ones(3), regularisations=[1.0]), "need rows of a RigiditySpectrum"),
        (lambda: calibrate(Rows(np.eye(3), np.eye(3)), np.ones(3), regularisations=[1.0, 0.1]), "must ascend"),
        (lambda: calibrate(Rows(np.eye(3), np.eye(3)), np.ones(3), regularisations=[0.0]), "must be positive, got 0"),
        (lambda: calibrate(Rows(np.eye(3), np.eye(3)), np.ones(4)), "for each of the 4 samples|must have 4 columns"),
        (
            lambda: calibrate(Rows(np.eye(3), np.zeros((3, 3))), np.ones(3)),
            "inverse rigidities of rows must be positive",
        ),
        (
            lambda: ensemble_variance_scale(np.ones(3), np.ones(3), 3),
            "n_members is 3; accepted is a whole number .* at least 4",
        ),
        (lambda: ensemble_variance_scale(np.full(3, 0.1), np.ones(3), 5), "errors must exceed the noise of the mean"),
        (lambda: isotonic_calibration(np.ones(3), np.ones(3))([0.0]), "predicted variances must be positive"),
    ],
)
def test_bad_input_meets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    with pytest.raises(TypeError, match="errors must hold real numbers"):
        calibrate(np.ones(2), ["a", "b"])
