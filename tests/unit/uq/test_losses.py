"""Losses of a mean and a variance: gradients in closed form and by differences, scores by sampling."""

import math

import pytest
import torch

from matterscape.uq.losses import gaussian_negative_log_likelihood, gaussian_ranked_probability

pytestmark = pytest.mark.unit

LOSSES = [gaussian_negative_log_likelihood, gaussian_ranked_probability]
each_loss = pytest.mark.parametrize("loss", LOSSES)


def samples(n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, target = torch.randn(2, n, dtype=torch.float64, generator=generator)
    variance = 0.05 + 2 * torch.rand(n, dtype=torch.float64, generator=generator)
    return mean, variance, target


def automatic_gradients(loss, mean, variance, target):
    mean, variance = mean.clone().requires_grad_(), variance.clone().requires_grad_()
    return torch.autograd.grad(loss(mean, variance, target).sum(), (mean, variance))


def test_likelihood_is_that_of_a_normal_distribution():
    mean, variance, target = samples()
    expected = -torch.distributions.Normal(mean, variance.sqrt()).log_prob(target)
    torch.testing.assert_close(gaussian_negative_log_likelihood(mean, variance, target), expected, rtol=0, atol=1e-13)


def test_likelihood_has_the_gradients_of_the_formula():
    mean, variance, target = samples()
    error = target - mean
    of_mean, of_variance = automatic_gradients(gaussian_negative_log_likelihood, mean, variance, target)
    torch.testing.assert_close(of_mean, -error / variance, rtol=0, atol=1e-12)
    torch.testing.assert_close(of_variance, 0.5 * (1 / variance - error**2 / variance**2), rtol=0, atol=1e-11)


def test_ranked_probability_has_the_gradients_of_the_formula():
    mean, variance, target = samples()
    sigma = variance.sqrt()
    normal = torch.distributions.Normal(0.0, 1.0)
    z = (target - mean) / sigma
    of_mean, of_variance = automatic_gradients(gaussian_ranked_probability, mean, variance, target)
    torch.testing.assert_close(of_mean, 1 - 2 * normal.cdf(z), rtol=0, atol=1e-12)
    density = torch.exp(normal.log_prob(z))
    of_sigma = 2 * density - 1 / math.sqrt(math.pi)
    torch.testing.assert_close(of_variance, of_sigma / (2 * sigma), rtol=0, atol=1e-12)


@each_loss
def test_gradients_equal_finite_differences(loss):
    mean, variance, target = samples()
    of_mean, of_variance = automatic_gradients(loss, mean, variance, target)
    # Central differences of five points: truncation h^4 and rounding 1e-16 / h both lie below the tolerance.
    h = 1e-3 * variance.min()
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    by_mean = sum(w * loss(mean + k * h, variance, target) for k, w in weights.items()) / h
    by_variance = sum(w * loss(mean, variance + k * h, target) for k, w in weights.items()) / h
    torch.testing.assert_close(of_mean, by_mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(of_variance, by_variance, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("mean", "sigma", "target"), [(0.3, 0.5, 0.1), (-1.0, 0.2, -0.4), (0.0, 1.0, 2.5)])
def test_ranked_probability_is_that_of_a_sample(mean, sigma, target):
    # E|X - y| - E|X - X'| / 2 of 10^6 antithetic draws; over all pairs the second mean is a sum over the sorted draws.
    n = 10**6
    half = torch.randn(n // 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    draws = (mean + sigma * torch.cat([half, -half])).sort().values
    of_pairs = 2 * ((2 * torch.arange(1, n + 1) - n - 1) * draws).sum() / n**2
    estimate = (draws - target).abs().mean() - 0.5 * of_pairs
    given = [torch.tensor([value], dtype=torch.float64) for value in (mean, sigma**2, target)]
    assert abs(gaussian_ranked_probability(*given).item() - estimate.item()) < 1e-3


@each_loss
def test_score_is_proper(loss):
    """The right mean and variance have the smallest average score."""
    target = torch.randn(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 0.7 + 0.2

    def average(mean, sigma):
        return loss(torch.full_like(target, mean), torch.full_like(target, sigma**2), target).mean()

    best = average(0.2, 0.7)
    assert all(average(*wrong) > best for wrong in [(0.3, 0.7), (0.1, 0.7), (0.2, 0.6), (0.2, 0.8)])


@each_loss
def test_collapsed_variance_is_lifted_to_the_floor_and_can_open(loss):
    mean, target = torch.zeros(2, dtype=torch.float64), torch.full((2,), 0.1, dtype=torch.float64)
    variance = torch.tensor([0.0, 1e-4], dtype=torch.float64, requires_grad=True)
    value = loss(mean, variance, target, floor=1e-4)
    value.sum().backward()
    assert value[0] == value[1]
    assert variance.grad[0] == variance.grad[1] < 0


def test_ranked_probability_has_bounded_gradients_where_the_likelihood_has_not():
    mean, variance, target = torch.zeros(1), torch.full((1,), 1e-8), torch.ones(1)
    (of_mean, _) = automatic_gradients(gaussian_ranked_probability, mean, variance, target)
    assert of_mean.item() == pytest.approx(-1.0)
    (of_mean, _) = automatic_gradients(gaussian_negative_log_likelihood, mean, variance, target)
    assert of_mean.item() == pytest.approx(-1e8)


@each_loss
def test_bad_input_meets_a_sentence(loss):
    mean, variance, target = samples(3)
    with pytest.raises(ValueError, match=r"one shape, got \(3,\), \(3,\), \(3, 1\)"):
        loss(mean, variance, target[:, None])
    with pytest.raises(TypeError, match="variance must be a tensor, got ndarray"):
        loss(mean, variance.detach().numpy(), target)
    with pytest.raises(ValueError, match="variance must not be negative, got -"):
        loss(mean, -variance, target)
    with pytest.raises(ValueError, match="floor is 0.0; accepted is a positive number"):
        loss(mean, variance, target, floor=0.0)
