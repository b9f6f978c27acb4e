"""Law of an off-diagonal periodogram, and the regression of the coherence under it."""

import math

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.special import gammaln, kve

from matterscape.transport.coherence import (
    regress_coherence,
    sample_coherence,
    variance_gamma_log_density,
    variance_gamma_score,
)

pytestmark = pytest.mark.unit

ORDERS = [1, 2, 3, 6, 24]


def integral(function, m, rho):
    """Over all z, in two halves because of the kink at zero."""
    mean, width = 2 * m * rho, math.sqrt(2 * m * (1 + rho**2))
    options = {"epsabs": 1e-13, "epsrel": 1e-12, "limit": 400}
    below = quad(function, min(mean, 0) - 60 * width, 0, points=[min(mean, -1e-3)], **options)[0]
    return below + quad(function, 0, max(mean, 0) + 60 * width, points=[max(mean, 1e-3)], **options)[0]


def density(z, rho, m):
    return float(np.exp(variance_gamma_log_density(np.array([z]), rho, m)[0]))


def draw(rho, m, seed):
    """z of independent bins with coherence rho (F,)."""
    generator = np.random.default_rng(seed)
    first, own = generator.normal(size=(2, 2 * m, len(rho)))
    return (first * (rho * first + np.sqrt(1 - rho**2) * own)).sum(axis=0)


def smooth(n_bins):
    """A coherence with a peak at zero frequency and a minimum at a tenth of the highest."""
    x = np.arange(1, n_bins + 1) / (n_bins + 1)
    return x, 0.7 * np.exp(-((x / 0.25) ** 2)) - 0.3 * np.sin(math.pi * x) ** 2


@pytest.mark.parametrize("rho", [0.0, 0.3, -0.7, 0.95])
@pytest.mark.parametrize("m", ORDERS)
def test_density_is_normalised_and_has_the_known_moments(m, rho):
    assert integral(lambda z: density(z, rho, m), m, rho) == pytest.approx(1, abs=1e-10)
    mean = integral(lambda z: z * density(z, rho, m), m, rho)
    assert mean == pytest.approx(2 * m * rho, abs=1e-9)
    variance = integral(lambda z: (z - mean) ** 2 * density(z, rho, m), m, rho)
    assert variance == pytest.approx(2 * m * (1 + rho**2), rel=1e-9)


@pytest.mark.parametrize("m", ORDERS)
def test_density_equals_its_closed_forms(m):
    z = np.linspace(-40, 60, 201)
    for rho in (0.0, -0.4, 0.9):
        a = 1 / (1 - rho**2)
        size = np.abs(z)
        bessel = m * np.log(a) + (m - 0.5) * np.log(np.where(size > 0, size, 1)) + np.log(kve(m - 0.5, a * size))
        bessel += rho * a * z - a * size - 0.5 * np.log(np.pi) - gammaln(m) - (m - 0.5) * np.log(2 * a)
        found = variance_gamma_log_density(z, rho, m)
        assert np.abs(found - bessel)[size > 0].max() < 1e-12 * (1 + np.abs(bessel[size > 0]).max())
        terms = [
            math.factorial(m - 1 + j) / math.factorial(j) / math.factorial(m - 1 - j) * (2 * a * size) ** (m - 1 - j)
            for j in range(m)
        ]
        prefactor = m * np.log(a) - (2 * m - 1) * np.log(2 * a) - gammaln(m)
        exact_sum = prefactor - a * size + rho * a * z + np.log(np.sum(terms, axis=0))
        assert np.abs(found - exact_sum).max() < 1e-12 * (1 + np.abs(exact_sum).max())


def test_density_of_one_component_is_an_asymmetric_laplace_law():
    z = np.array([-2.0, 0.0, 3.0])
    expected = math.log(0.5) + np.where(z > 0, -z / 1.5, z / 0.5)
    assert np.allclose(variance_gamma_log_density(z, 0.5, 1), expected, atol=1e-14)


def test_density_far_out_and_for_many_components_is_finite():
    for m in (100, 1000):
        found = variance_gamma_log_density(np.array([-1e4, 0.0, 2.0 * m * 0.9, 1e5]), 0.9, m)
        assert np.isfinite(found).all()
        assert found[2] == pytest.approx(-0.5 * math.log(2 * math.pi * 2 * m * 1.81), abs=5 / math.sqrt(m))


@pytest.mark.parametrize(("m", "rho"), [(1, 0.5), (3, 0.0), (3, -0.8), (6, 0.95)])
def test_products_of_normal_variables_have_this_law(m, rho):
    z = draw(np.full(4000, rho), m, seed=m)
    grid = np.linspace(2 * m * rho - 40 * m, 2 * m * rho + 40 * m, 400_001)
    cumulative = np.cumsum(np.exp(variance_gamma_log_density(grid, rho, m))) * (grid[1] - grid[0])
    assert stats.kstest(z, lambda values: np.interp(values, grid, cumulative)).pvalue > 0.01
    wrong = np.cumsum(np.exp(variance_gamma_log_density(grid, rho - 0.15, m))) * (grid[1] - grid[0])
    assert stats.kstest(z, lambda values: np.interp(values, grid, wrong)).pvalue < 0.01


@pytest.mark.parametrize("m", ORDERS)
def test_score_is_the_derivative(m):
    z, step = np.linspace(-30, 40, 141), 1e-5
    for rho in (-0.9, 0.0, 0.5, 0.95):
        values = [variance_gamma_log_density(z, rho + k * step, m) for k in (-2, -1, 1, 2)]
        difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert np.abs(variance_gamma_score(z, rho, m) - difference).max() < 1e-6 * (1 + np.abs(difference).max())


def test_what_one_bin_tells_about_its_coherence():
    """Known values: nothing is lost at rho = 0, where the whole spectral matrix tells 6 as well."""
    for rho, expected in ((0.0, 6.0), (0.3, 5.98), (0.6, 5.86), (0.9, 5.3), (0.95, 5.0)):

        def squared_score(z, rho=rho):
            return variance_gamma_score(np.array([z]), rho, 3)[0] ** 2 * density(z, rho, 3)

        assert integral(squared_score, 3, rho) == pytest.approx(expected, abs=0.15)


def test_splines_are_even_and_their_curvature_is_the_likelihoods():
    x, rho = smooth(300)
    z = draw(rho, 3, seed=1)
    result = regress_coherence(z, 3, n_knots=5)
    (fit,) = result.fits
    assert np.allclose(fit.knots, (np.arange(5) / 4) ** 1.7)
    for steps in (fit.rho[:2] - fit.values[0], fit.rho[:-3:-1] - fit.values[-1]):
        assert steps[1] == pytest.approx(4 * steps[0], rel=0.1)  # quadratic: no slope at either end

    def loss(values):
        curve = CubicSpline(fit.knots, values, bc_type="clamped")(x)
        return -variance_gamma_log_density(z, curve, 3).sum()

    found = optimize.minimize(loss, np.zeros(5), method="Nelder-Mead", options={"xatol": 1e-7, "maxfev": 4000})
    assert np.allclose(found.x, fit.values, atol=1e-4)
    assert -found.fun == pytest.approx(fit.log_likelihood, abs=1e-6)
    step = 1e-4
    unit = step * np.eye(5)
    hessian = np.array(
        [
            [
                (
                    loss(fit.values + a + b)
                    - loss(fit.values + a - b)
                    - loss(fit.values - a + b)
                    + loss(fit.values - a - b)
                )
                / (4 * step**2)
                for b in unit
            ]
            for a in unit
        ]
    )
    assert np.allclose(np.linalg.inv(hessian), fit.covariance, rtol=2e-3, atol=1e-7)
    assert fit.information_criterion == pytest.approx(10 + 2 * loss(fit.values))


@pytest.mark.parametrize("m", [1, 3])
def test_error_bars_cover_and_shrink_with_the_root_of_the_number_of_bins(m):
    spread = {}
    for n_bins in (300, 1200):
        _, rho = smooth(n_bins)
        results = [regress_coherence(draw(rho, m, seed), m, n_knots=(5, 6)) for seed in range(100)]
        deviations = np.array([result.zero_frequency for result in results]) - 0.7
        errors = np.array([result.error for result in results])
        assert abs(deviations.mean()) < 3 * deviations.std() / math.sqrt(100)
        assert 0.58 < np.mean(np.abs(deviations) < errors) < 0.80
        assert 0.90 < np.mean(np.abs(deviations) < 2 * errors)
        spread[n_bins] = deviations.std()
    assert spread[300] / spread[1200] == pytest.approx(2, abs=0.4)


def test_a_normal_law_has_wrong_error_bars():
    """With one component the law is far from normal: its mean and variance in a normal likelihood are not enough."""
    true, inside = 0.8, 0
    for seed in range(300):
        z = draw(np.full(200, true), 1, seed)

        def loss(rho, z=z):
            variance = 2 * (1 + rho**2)
            return 0.5 * np.sum((z - 2 * rho) ** 2 / variance + np.log(variance))

        found = optimize.minimize_scalar(loss, bounds=(-1, 1), method="bounded").x
        step = 1e-3
        curvature = (loss(found + step) - 2 * loss(found) + loss(found - step)) / step**2
        inside += abs(found - true) < curvature**-0.5
    assert inside / 300 < 0.58


def test_average_over_numbers_of_knots():
    _, rho = smooth(500)
    z = draw(rho, 3, seed=3)
    result = regress_coherence(z, 3, n_knots=(3, 5, 8))
    assert result.n_knots == (3, 5, 8)
    criteria = np.array([fit.information_criterion for fit in result.fits])
    assert np.allclose(np.log(result.weights / result.weights[0]), -0.5 * (criteria - criteria[0]))
    assert result.weights.sum() == pytest.approx(1)
    values = np.array([fit.values[0] for fit in result.fits])
    variances = np.array([fit.covariance[0, 0] for fit in result.fits])
    assert result.zero_frequency == pytest.approx(result.weights @ values)
    between = result.weights @ (values - result.zero_frequency) ** 2
    assert result.error**2 == pytest.approx(result.weights @ variances + between)
    assert result.best is result.fits[int(np.argmin(criteria))]
    assert np.all(result.rho_error >= 0)
    assert result.rho.shape == z.shape


def test_a_change_of_sign_of_one_current_changes_the_sign():
    _, rho = smooth(300)
    z = draw(rho, 3, seed=4)
    plus, minus = regress_coherence(z, 3), regress_coherence(-z, 3)
    assert minus.zero_frequency == pytest.approx(-plus.zero_frequency, abs=1e-8)
    assert minus.error == pytest.approx(plus.error, rel=1e-6)


def test_coherence_that_is_complete_stops_at_the_bound():
    z = draw(np.full(300, 0.9999), 3, seed=5)
    result = regress_coherence(z * 1.1, 3, n_knots=4)
    assert result.zero_frequency == pytest.approx(0.98)
    assert 0 < result.error < 0.2


@pytest.mark.parametrize(("m", "n_bins", "seed"), [(3, 400, 0), (1, 800, 1)])
def test_posterior_is_what_laplace_says(m, n_bins, seed):
    _, rho = smooth(n_bins)
    z = draw(0.6 * rho, m, seed)  # far from the bound, where the posterior is skewed
    (fit,) = regress_coherence(z, m, n_knots=4).fits
    chain = sample_coherence(z, m, 4, n_walkers=40, n_steps=400, seed=7)
    assert chain.shape == (400, 40, 4)
    samples = chain.reshape(-1, 4)
    errors = np.sqrt(np.diag(fit.covariance))
    assert np.all(np.abs(samples.mean(axis=0) - fit.values) < 0.3 * errors)
    assert np.allclose(samples.std(axis=0), errors, rtol=0.15)
    again = sample_coherence(z, m, 4, n_walkers=40, n_steps=400, seed=7)
    assert np.array_equal(chain, again)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: variance_gamma_log_density(z, 1.0, 3), "rho is .*1.0.*between -1 and 1"),
        (lambda z: variance_gamma_log_density(z, 0.0, 0), "m is 0"),
        (lambda z: variance_gamma_score(np.array([np.nan]), 0.0, 3), "z holds nan"),
        (lambda z: regress_coherence(z[None], 3), "z has shape"),
        (lambda z: regress_coherence(z[:5], 3), "at least 6 bins"),
        (lambda z: regress_coherence(z, 2.5), "m is 2.5"),
        (lambda z: regress_coherence(z, 3, n_knots=1), "n_knots is 1"),
        (lambda z: regress_coherence(z, 3, n_knots=()), "n_knots is empty"),
        (lambda z: regress_coherence(z, 3, spacing=0.0), "spacing is 0.0"),
        (lambda z: sample_coherence(z, 3, 6, n_walkers=12), "n_walkers is 12"),
        (lambda z: sample_coherence(z, 3, 6, n_walkers=13), "accepted are even numbers"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.linspace(-3, 3, 50))
