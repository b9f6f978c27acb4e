"""Ensembles of heads: variances by hand, members that differ, gradients of the mean."""

import numpy as np
import pytest
import torch
from torch import nn

from matterscape.uq.ensembles import DeepEnsemble, ShallowEnsemble, mean_and_variance

pytestmark = pytest.mark.unit


def body(n_inputs=5, n_features=7, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(n_inputs, 9), nn.Tanh(), nn.Linear(9, n_features), nn.SiLU()).double()


def inputs(n=6, n_inputs=5, seed=1):
    return torch.randn(n, n_inputs, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_variance_of_two_members_by_hand():
    # (1 - 2)^2 + (3 - 2)^2 = 2, divided by 2 - 1; the population variance would be 1
    mean, variance = mean_and_variance(torch.tensor([[1.0, 3.0]]))
    assert mean.item() == 2.0
    assert variance.item() == 2.0


def test_members_are_linear_in_the_shared_features():
    ensemble, x = ShallowEnsemble(body(), 7, 4), inputs()
    members = ensemble(x)
    assert members.shape == (6, 4)
    for k in range(4):
        head = ensemble.features(x) @ ensemble.head.weight[k] + ensemble.head.bias[k]
        torch.testing.assert_close(members[:, k], head, rtol=0, atol=1e-14)
    mean, variance = ensemble.mean_and_variance(x)
    expected = members.detach().numpy()
    np.testing.assert_allclose(mean.detach(), expected.mean(axis=1), atol=1e-14)
    np.testing.assert_allclose(variance.detach(), expected.var(axis=1, ddof=1), atol=1e-14)


def test_every_head_starts_elsewhere_and_the_seed_says_where():
    weights = ShallowEnsemble(body(), 7, 64, seed=3).head.weight.detach()
    distances = torch.cdist(weights, weights) + 10 * torch.eye(64)
    assert distances.min() > 0.1
    torch.testing.assert_close(weights, ShallowEnsemble(body(), 7, 64, seed=3).head.weight.detach(), rtol=0, atol=0)
    assert not torch.equal(weights, ShallowEnsemble(body(), 7, 64, seed=4).head.weight)


def test_initialisation_leaves_the_generator_of_the_user_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ShallowEnsemble(nn.Identity(), 7, 4)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_any_body_will_do():
    class Pair(nn.Module):
        def forward(self, first, second):
            return first * second

    ensemble = ShallowEnsemble(Pair(), 5, 3, bias=False)
    assert ensemble.head.bias is None
    assert ensemble(inputs(), inputs(seed=2)).shape == (6, 3)
    single = ShallowEnsemble(body().float(), 7, 3)
    assert single(inputs().float()).dtype == torch.float32


def test_gradient_of_the_mean_equals_the_mean_of_the_gradients_of_the_members():
    ensemble, x = ShallowEnsemble(body(), 7, 8), inputs()
    members, gradient = ensemble.with_gradient(x)
    torch.testing.assert_close(members, ensemble(x).detach(), rtol=0, atol=0)
    assert not members.requires_grad
    leaf = x.clone().requires_grad_()
    separate = [torch.autograd.grad(ensemble(leaf)[:, k].sum(), leaf)[0] for k in range(8)]
    torch.testing.assert_close(gradient, torch.stack(separate).mean(dim=0), rtol=0, atol=1e-13)
    assert all(parameter.grad is None for parameter in ensemble.parameters())


def test_last_layer_gives_the_same_members():
    ensemble, x = ShallowEnsemble(body(), 7, 8), inputs()
    shared = ensemble.last_layer()
    rows = torch.cat([ensemble.features(x), torch.ones(6, 1, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(torch.as_tensor(shared.members(rows)), ensemble(x), rtol=0, atol=1e-13)
    _, variance = ensemble.mean_and_variance(x)
    torch.testing.assert_close(torch.as_tensor(shared.variance(rows)), variance, rtol=1e-12, atol=1e-14)


def test_deep_ensemble_holds_networks_side_by_side():
    networks = [nn.Linear(5, 1).double() for _ in range(3)]
    members = DeepEnsemble(networks)(inputs())
    for k, network in enumerate(networks):
        torch.testing.assert_close(members[:, k : k + 1], network(inputs()), rtol=0, atol=0)


def test_bad_input_meets_a_sentence():
    with pytest.raises(ValueError, match="n_members is 0; accepted is a whole number, at least 1"):
        ShallowEnsemble(body(), 7, 0)
    with pytest.raises(TypeError, match="body must be a torch.nn.Module, got ndarray"):
        ShallowEnsemble(np.ones(3), 7, 4)
    with pytest.raises(TypeError, match=r"networks\[1\] must be a torch.nn.Module, got str"):
        DeepEnsemble([nn.Linear(2, 1), "network"])
    with pytest.raises(ValueError, match="networks must hold at least one network"):
        DeepEnsemble([])
    with pytest.raises(TypeError, match="members must be a tensor"):
        mean_and_variance(np.ones((3, 2)))
    with pytest.raises(ValueError, match="seed is 'first'; accepted is a whole number"):
        ShallowEnsemble(body(), 7, 4, seed="first")
    with pytest.raises(ValueError, match="n_features is 2.5"):
        ShallowEnsemble(body(), 2.5, 4)
    with pytest.raises(ValueError, match="at least 2, because their spread is the variance, got 1"):
        ShallowEnsemble(body(), 7, 1).mean_and_variance(inputs())
