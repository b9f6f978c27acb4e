"""Scores against their definitions, and guide lines against draws."""

import numpy as np
import pytest
from scipy.stats import halfnorm, norm

from matterscape.uq.calibration import negative_log_likelihood
from matterscape.uq.scores import (
    coverage,
    error_lines,
    likelihood_coefficient,
    miscalibration_area,
    quantile_lines,
    reliability,
)

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def draws():
    return np.abs(np.random.default_rng(0).normal(size=10**6))


def enclosed(draws, low, high):
    return np.mean((draws > low) & (draws < high))


@pytest.mark.parametrize(
    ("n_sigma", "probability", "low", "high"),
    [(1, 0.6827, 0.33126, 1.89751), (2, 0.9545, 0.051272, 2.83313), (3, 0.9973, 0.0031729, 3.76250)],
)
def test_error_lines_enclose_as_much_as_standard_deviations_do(draws, n_sigma, probability, low, high):
    assert error_lines(n_sigma) == pytest.approx((low, high), rel=1e-4)
    assert enclosed(draws, *error_lines(n_sigma)) == pytest.approx(probability, abs=0.002)


@pytest.mark.parametrize("wrong", [(0.43098, 1.71796), (0.10257, 2.53478), (0.00915, 3.44390)])
def test_the_constants_in_circulation_enclose_too_little(draws, wrong):
    """They weight the density of the errors with |e| once more, and then the levels come out as expected."""
    probability = {0.43098: 0.6827, 0.10257: 0.9545, 0.00915: 0.9973}[wrong[0]]
    assert enclosed(draws, *wrong) < probability - 0.002
    assert np.exp(-(wrong[0] ** 2) / 2) - np.exp(-(wrong[1] ** 2) / 2) == pytest.approx(probability, abs=1e-4)


@pytest.mark.parametrize("n_sigma", [1e-3, 0.3, 1.0, 4.0, 8.0])
def test_error_lines_have_equal_density_and_surround_the_mode(n_sigma):
    low, high = error_lines(n_sigma)
    assert low < 1.0 < high
    assert np.log(low) - low**2 / 2 == pytest.approx(np.log(high) - high**2 / 2, rel=1e-9)
    outside = halfnorm.cdf(low) + halfnorm.sf(high)
    assert outside == pytest.approx(2 * norm.sf(n_sigma), rel=1e-6)


def test_quantile_lines_are_those_of_the_folded_normal(draws):
    expected = {0.15: (0.18912, 1.43953), 0.05: (0.062707, 1.95996), 0.005: (0.0062666, 2.80703)}
    for quantile, lines in expected.items():
        assert quantile_lines(quantile) == pytest.approx(lines, rel=1e-4)
        assert enclosed(draws, *quantile_lines(quantile)) == pytest.approx(1 - 2 * quantile, abs=0.002)
        assert np.mean(draws < quantile_lines(quantile)[0]) == pytest.approx(quantile, abs=0.002)


def test_coverage_counts_errors_inside_the_intervals():
    errors, deviations = np.array([0.5, -1.5, 2.5, 0.0]), np.array([1.0, 1.0, 1.0, 1.0])
    levels = norm.cdf([0.0, 0.6, 2.0, 3.0]) * 2 - 1
    np.testing.assert_allclose(coverage(errors, deviations, levels), [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(coverage(3 * errors, 3 * deviations, levels), [0.25, 0.5, 0.75, 1.0])


def test_miscalibration_area_is_the_integral_over_coverage():
    rng = np.random.default_rng(1)
    errors, deviations = rng.normal(size=57), 0.4 * rng.lognormal(size=57)
    levels = (np.arange(200_000) + 0.5) / 200_000
    expected = np.mean(np.abs(coverage(errors, deviations, levels) - levels))
    assert miscalibration_area(errors, deviations) == pytest.approx(expected, abs=1e-6)


def test_miscalibration_area_of_known_cases():
    exact = norm.ppf(0.5 + (np.arange(1000) + 0.5) / 2000)
    assert miscalibration_area(exact, np.ones(1000)) == pytest.approx(1 / 4000, rel=1e-6)  # steps of 1/1000
    assert miscalibration_area(np.zeros(10), np.ones(10)) == pytest.approx(0.5)  # much too cautious
    assert miscalibration_area(np.full(10, 1e9), np.ones(10)) == pytest.approx(0.5)  # much too bold


def test_likelihood_coefficient_runs_from_a_constant_to_the_oracle():
    rng = np.random.default_rng(2)
    deviations = rng.lognormal(size=5000)
    errors = deviations * rng.normal(size=5000)
    squares = errors**2
    assert likelihood_coefficient(errors, np.full(5000, squares.mean())) == pytest.approx(0.0, abs=1e-9)
    assert likelihood_coefficient(errors, squares) == pytest.approx(100.0)
    assert 0 < likelihood_coefficient(errors, deviations**2) < 100
    assert likelihood_coefficient(errors, deviations**2 / 100) < 0  # worse than a constant
    scores = [negative_log_likelihood(errors, v) for v in (deviations**2, np.full(5000, squares.mean()), squares)]
    expected = 100 * (scores[0] - scores[1]) / (scores[2] - scores[1])
    assert likelihood_coefficient(errors, deviations**2) == pytest.approx(expected, rel=1e-12)


def test_reliability_bins_by_variance():
    rng = np.random.default_rng(3)
    variances = rng.lognormal(sigma=1.5, size=30_000)
    errors = np.sqrt(variances) * rng.normal(size=30_000)
    curve = reliability(errors, variances, 6)
    np.testing.assert_array_equal(curve.counts, 5000)
    assert (np.diff(curve.deviations) > 0).all()
    np.testing.assert_allclose(curve.ratios, 1.0, atol=0.05)
    order = np.argsort(variances)[:5000]
    assert curve.deviations[0] == pytest.approx(np.sqrt(variances[order].mean()), rel=1e-12)
    assert curve.errors[0] == pytest.approx(np.sqrt(np.mean(errors[order] ** 2)), rel=1e-12)
    assert np.sum(curve.errors**2 * curve.counts) == pytest.approx(np.sum(errors**2), rel=1e-12)


def test_reliability_warns_of_thin_bins():
    with pytest.warns(UserWarning, match="as few as 14 samples; below 30"):
        curve = reliability(np.ones(44), np.arange(1.0, 45.0), 3)
    np.testing.assert_array_equal(curve.counts, [15, 15, 14])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coverage([1.0], [1.0], [1.2]), "levels must be probabilities from 0 to 1"),
        (lambda: coverage([1.0], [0.0], [0.5]), "deviations must be positive, got 0 for sample 0"),
        (lambda: miscalibration_area([], []), "errors must hold at least one number, got none"),
        (lambda: miscalibration_area([1.0, np.nan], [1.0, 1.0]), "errors must be finite"),
        (lambda: miscalibration_area([1.0, 2.0], [1.0]), "for each of the 2 samples"),
        (lambda: likelihood_coefficient([1.0, 0.0], [1.0, 1.0]), "errors must not be zero, got one for sample 1"),
        (lambda: likelihood_coefficient([1.0, -1.0], [1.0, 1.0]), "errors must differ in size"),
        (lambda: reliability(np.ones(3), np.ones(3), 4), "n_bins must not exceed the number of samples 3, got 4"),
        (lambda: reliability(np.ones(3), np.ones(3), 0), "n_bins is 0; accepted is a whole number"),
        (lambda: reliability(np.ones(3), np.zeros(3), 1), "variances must be positive"),
        (lambda: error_lines(0.0), "n_sigma is 0.0; accepted is a positive number"),
        (lambda: error_lines(np.nan), "n_sigma is nan"),
        (lambda: error_lines(21), "n_sigma must be at most 20, got 21"),
        (lambda: quantile_lines(0.5), "quantile must be a number between 0 and 0.5, got 0.5"),
        (lambda: quantile_lines(-0.1), "quantile must be a number between 0 and 0.5"),
    ],
)
def test_bad_input_meets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
