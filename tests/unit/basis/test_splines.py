import numpy as np
import pytest
import torch

from matterscape.basis.splines import Spline, evaluate_spline

pytestmark = pytest.mark.unit

WIDTHS = 0.4 + 0.2 * np.arange(5)


def gaussians(r):
    return r[:, None] * np.exp(-(r[:, None] ** 2) / (2 * WIDTHS**2))


def gaussian_slopes(r):
    return (1 - r[:, None] ** 2 / WIDTHS**2) * np.exp(-(r[:, None] ** 2) / (2 * WIDTHS**2))


@pytest.fixture(scope="module")
def spline():
    return Spline.fit(gaussians, upper=5.0, tolerance=1e-10)


def test_values_and_derivatives_within_the_stated_errors(spline):
    r = np.linspace(0, 5, 3217)
    scale = np.abs(gaussians(r)).max()
    assert spline.error < 1e-10 * scale
    assert np.abs(spline.evaluate(r) - gaussians(r)).max() < 1.5 * spline.error
    assert np.abs(spline.derivative(r) - gaussian_slopes(r)).max() < 1.5 * spline.derivative_error
    assert spline.derivative_error < 1e-7
    assert spline.n_intervals <= 250


def test_quintic_polynomial_is_exact():
    powers = np.arange(6)
    spline = Spline.fit(lambda r: r[:, None] ** powers, upper=2.0, tolerance=1e-13)
    r = np.linspace(0, 2, 101)
    np.testing.assert_allclose(spline.evaluate(r), r[:, None] ** powers, atol=1e-12)
    np.testing.assert_allclose(spline.derivative(r, order=5)[:, 5], 120.0, rtol=1e-6)
    np.testing.assert_allclose(spline.derivative(r, order=2)[:, 3], 6 * r, atol=1e-9)


def test_device_function_equals_numpy(spline):
    values, slopes = np.empty(5), np.empty(5)
    for r in (0.0, 0.123, 2.5, 4.999999, 5.0):
        evaluate_spline(r, spline.inverse_step, spline.coefficients, values, slopes)
        np.testing.assert_allclose(values, spline.evaluate(np.array([r]))[0], rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(slopes, spline.derivative(np.array([r]))[0], rtol=1e-13, atol=1e-14)


def test_torch_method_is_differentiable(spline):
    r = torch.tensor([0.0, 0.7, 3.3, 5.0], dtype=torch.float64, requires_grad=True)
    np.testing.assert_allclose(spline(r).detach(), spline.evaluate(r.detach().numpy()), rtol=1e-13)
    slopes = torch.autograd.functional.jacobian(lambda d: spline(d).sum(0), r)  # (5, M)
    np.testing.assert_allclose(slopes.T, spline.derivative(r.detach().numpy()), rtol=1e-12, atol=1e-14)
    inner = torch.tensor([0.7, 3.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(spline, inner)
    assert spline(inner.float()).dtype == torch.float32
    assert spline(torch.zeros(0)).shape == (0, 5)


def test_tolerance_sets_the_size():
    loose, tight = (Spline.fit(gaussians, 5.0, tolerance) for tolerance in (1e-4, 1e-8))
    assert loose.n_intervals < tight.n_intervals


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (gaussians, {"upper": -1.0}, "upper is -1.0"),
        (gaussians, {"upper": np.nan}, "upper is nan"),
        (gaussians, {"tolerance": 0.0}, "tolerance is 0.0"),
        (gaussians, {"max_intervals": 2}, "max_intervals is 2"),
        (lambda r: 1 / (r[:, None] - 1.25), {"upper": 2.5}, "not finite at distance 1.25"),
        (lambda r: r, {}, "accepted is"),
        (lambda r: np.abs(r[:, None] - 1.2345), {"max_intervals": 64}, "the relative error is"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input_to_fit(function, options, message):
    with pytest.raises(ValueError, match=message):
        Spline.fit(function, **({"upper": 5.0} | options))


def test_bad_input_to_derivative(spline):
    with pytest.raises(ValueError, match="range from 1 to 6"):
        spline.evaluate(np.array([1.0, 6.0]))
    with pytest.raises(ValueError, match="distances range"):
        spline.evaluate(np.array([np.nan]))
    with pytest.raises(ValueError, match="order is 6"):
        spline.derivative(np.array([1.0]), order=6)
