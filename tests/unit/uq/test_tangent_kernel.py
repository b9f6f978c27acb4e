"""Variances with all parameters: primal against kernel form, against explicit Jacobians, against the last layer."""

import numpy as np
import pytest
import torch

from matterscape.uq import Rigidity, gram
from matterscape.uq.last_layer import last_layer_features
from matterscape.uq.tangent_kernel import full_rigidity_variance

pytestmark = pytest.mark.unit


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.SiLU(), torch.nn.Linear(6, 1)).double()


def inputs(n, seed=0):
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def jacobian(network, x):
    """One backward pass per sample."""
    rows = []
    for sample in x:
        gradients = torch.autograd.grad(network(sample[None]).sum(), list(network.parameters()))
        rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("form", ["primal", "kernel", None])
@pytest.mark.parametrize("n_train", [5, 80])  # fewer and more than the 31 parameters
def test_both_forms_equal_explicit_jacobians(network, form, n_train):
    train, x = inputs(n_train), inputs(11, seed=1)
    expected = 1.7 * Rigidity(gram(jacobian(network, train)), 1e-2).leverages(jacobian(network, x))
    variance = full_rigidity_variance(network, train, x, 1e-2, variance_scale=1.7, form=form, batch_size=4)
    np.testing.assert_allclose(variance, expected, rtol=1e-9)


@pytest.mark.parametrize("regularisation", [10.0, 1e-3, 1e-6])
@pytest.mark.parametrize("n_train", [5, 80])
def test_the_kernel_form_is_the_primal_form(network, regularisation, n_train):
    primal, kernel = (
        full_rigidity_variance(network, inputs(n_train), inputs(11, seed=1), regularisation, form=form)
        for form in ("primal", "kernel")
    )
    np.testing.assert_allclose(kernel, primal, rtol=1e-8)


def test_the_kernel_form_does_not_cancel(network):
    """Close to training data at a small regularisation the textbook difference of two large numbers has no digits."""
    train, small = inputs(80), 1e-10
    variance = full_rigidity_variance(network, train, train, small, form="kernel")
    g = jacobian(network, train)
    kernel = g @ g.T
    textbook = np.diag(kernel - kernel @ np.linalg.solve(kernel + small * np.eye(80), kernel)) / small
    left, singular, _ = np.linalg.svd(g, full_matrices=False)  # of the Jacobian itself: nothing is squared
    exact = np.square(left) @ (singular**2 / (singular**2 + small))
    assert np.abs(textbook - exact).max() > 10 * np.abs(variance - exact).max()
    assert (variance > 0).all()


def test_only_parameters_that_require_gradients_count(network):
    """With the body frozen the answer is that of the last layer."""
    for parameter in network[0].parameters():
        parameter.requires_grad_(False)
    train, x = inputs(40), inputs(7, seed=1)
    expected = Rigidity(gram(last_layer_features(network, train)), 0.1).variance(
        last_layer_features(network, x).numpy()
    )
    for form in ("primal", "kernel"):
        np.testing.assert_allclose(full_rigidity_variance(network, train, x, 0.1, form=form), expected, rtol=1e-10)


def test_all_parameters_know_less_than_the_last_layer(network):
    """More parameters leave more freedom: a variance with all of them is never smaller."""
    train, x = inputs(40), inputs(50, seed=1)
    last = Rigidity(gram(last_layer_features(network, train)), 1e-2).variance(last_layer_features(network, x).numpy())
    assert (full_rigidity_variance(network, train, x, 1e-2) >= last).all()


def test_evaluation_mode_and_single_precision(network):
    train, x = inputs(40), inputs(7, seed=1)
    expected = full_rigidity_variance(network, train, x, 0.1)
    with_dropout = torch.nn.Sequential(network[0], network[1], torch.nn.Dropout(0.5), network[2]).train()
    np.testing.assert_allclose(full_rigidity_variance(with_dropout, train, x, 0.1), expected, rtol=1e-12)
    assert with_dropout.training
    single = full_rigidity_variance(network.float(), train.float(), x.float(), 0.1)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"regularisation": 0.0}, "regularisation is 0.0"),
        ({"variance_scale": -1.0}, "variance_scale is -1.0"),
        ({"form": "dual"}, "form must be 'primal' or 'kernel', got 'dual'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"inputs": torch.empty(0, 3)}, "inputs must be a tensor with at least one sample"),
        ({"train_inputs": np.ones((2, 3))}, "train_inputs must be a tensor"),
        ({"module": torch.nn.ReLU()}, "module must have parameters that require gradients, got none"),
        ({"module": torch.nn.Linear(3, 2).double()}, "module must give one number per sample"),
        ({"inputs": torch.full((2, 3), torch.nan).double()}, "module must have finite derivatives"),
    ],
)
@pytest.mark.parametrize("form", ["primal", "kernel"])
def test_bad_input(network, form, change, message):
    arguments = {"module": network, "train_inputs": inputs(4), "inputs": inputs(4), "regularisation": 1.0, "form": form}
    with pytest.raises(ValueError, match=message):
        full_rigidity_variance(**{**arguments, **change})
    with pytest.raises(TypeError, match="module must be a torch.nn.Module, got builtin_function"):
        full_rigidity_variance(**{**arguments, "module": abs})
