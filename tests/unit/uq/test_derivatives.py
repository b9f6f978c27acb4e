"""Gradients of members and rows of forces against separate backward passes."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from matterscape.descriptors import PowerSpectrum, RadialSpectrum, forces
from matterscape.structures import Structures
from matterscape.uq import Rigidity, gram
from matterscape.uq.derivatives import feature_jacobian_rows, member_gradients
from matterscape.uq.last_layer import LastLayerEnsemble, last_layer_features

pytestmark = pytest.mark.unit

N_HIDDEN = 6
SOAP = PowerSpectrum([14], cutoff=3.5, max_radial=3, max_angular=2)
RADIAL = RadialSpectrum([14], cutoff=3.5, max_radial=4)


class Heads(torch.nn.Module):
    """Descriptors of this package, a small body, several heads: the members' energies of atoms."""

    def __init__(self, n_members):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(SOAP.n_features + RADIAL.n_features, N_HIDDEN), torch.nn.SiLU())
        self.heads = torch.nn.Linear(N_HIDDEN, n_members)

    def forward(self, structures):
        descriptors = torch.cat([RADIAL(structures), SOAP(structures)], dim=1)
        return self.heads(self.body(10 * descriptors))


def silicon(seed):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture
def structures():
    return Structures.from_ase([silicon(0), silicon(1)[:5]]).with_gradients()


def features_of(model, structures):
    """Differentiable features of atoms; a hook cannot know that structures carry gradients."""
    descriptors = torch.cat([RADIAL(structures), SOAP(structures)], dim=1)
    return last_layer_features(torch.nn.Sequential(model.body, model.heads), 10 * descriptors)


@pytest.mark.parametrize("n_members", [3, 20])  # fewer and more members than features
def test_forces_of_members_equal_separate_backward_passes(structures, n_members):
    torch.manual_seed(0)
    model = Heads(n_members).double()
    ensemble = LastLayerEnsemble.from_linear(model.heads)
    gradients = member_gradients(features_of(model, structures), ensemble.weights, structures.leaf_positions)
    assert gradients.shape == (n_members, 13, 3) and not gradients.requires_grad
    scale = float(gradients.abs().max())
    for member in range(n_members):
        energy = model(structures)[:, member].sum()
        torch.testing.assert_close(-gradients[member], forces(energy, structures), rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("n_members", [3, 20])
def test_the_mean_of_the_forces_is_the_force_of_the_mean(structures, n_members):
    torch.manual_seed(0)
    model = Heads(n_members).double()
    features = features_of(model, structures)
    ensemble = LastLayerEnsemble.from_linear(model.heads)
    of_members = -member_gradients(features, ensemble.weights, structures.leaf_positions)
    of_mean = forces(ensemble.mean(features).sum(), structures)
    torch.testing.assert_close(of_members.mean(dim=0), of_mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_members", [2, 8, 50])
def test_no_more_passes_than_features(n_members):
    """The backward passes are counted where they leave the network."""
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    body = torch.nn.Linear(3, 8).double()
    passes = []
    x.register_hook(lambda gradient: passes.append(1))
    inner = x * 1.0
    inner.register_hook(lambda gradient: passes.append(1))
    member_gradients(torch.tanh(body(inner)), np.ones((8, n_members)), inner)
    assert len(passes) == min(8, n_members)


def test_rows_of_forces(structures):
    """F = rows @ w for any weights; the constant feature has no forces."""
    torch.manual_seed(0)
    model = Heads(3).double()
    features = features_of(model, structures)
    rows = feature_jacobian_rows(features, structures.leaf_positions)
    assert rows.shape == (39, N_HIDDEN + 1)
    assert (rows[:, -1] == 0).all()
    weights = LastLayerEnsemble.from_linear(model.heads).weights[:, 1]
    force = forces((features @ torch.tensor(weights)).sum(), structures)
    np.testing.assert_allclose((rows.numpy() @ weights).reshape(-1, 3), force, rtol=1e-11, atol=1e-14)


def test_rows_of_descriptors_are_their_jacobian(structures):
    rows = feature_jacobian_rows(SOAP(structures), structures.leaf_positions)
    expected = -torch.cat(list(SOAP.pooled_jacobian(structures)))
    torch.testing.assert_close(rows, expected, rtol=1e-9, atol=1e-12)


def test_variances_of_forces_are_those_of_the_members(structures):
    """A force is linear in the weights, so its variance is that of its row; and forces pin down energies."""
    torch.manual_seed(0)
    model = Heads(3).double()
    features = features_of(model, structures)
    rows = feature_jacobian_rows(features, structures.leaf_positions).numpy()
    energies = features.detach().numpy()[:4].sum(axis=0, keepdims=True)
    train = gram(energies)
    alone = Rigidity(train, 1e-2)
    members = alone.sample(np.zeros(7), 5000, seed=0)
    gradients = member_gradients(features, members.weights, structures.leaf_positions).numpy()
    np.testing.assert_allclose(gradients.var(axis=0, ddof=1).reshape(-1), members.variance(rows), rtol=1e-8, atol=1e-20)
    moving = alone.variance(rows) > 1e-12
    np.testing.assert_allclose(members.variance(rows)[moving], alone.variance(rows)[moving], rtol=3 * np.sqrt(2 / 4999))
    with_forces = Rigidity(gram(rows, np.full(39, 0.01**2), out=train.copy()), 1e-2)
    test = features.detach().numpy()[8:]
    assert (with_forces.variance(test) < alone.variance(test)).all()


def test_the_graph_is_kept_and_the_dtype_is_that_of_the_inputs():
    x = torch.randn(4, 3, requires_grad=True)
    features = torch.cat([torch.sin(x), x.new_ones(4, 1)], dim=1)
    weights = np.random.default_rng(0).normal(size=(4, 9))
    first, second = (member_gradients(features, weights, x) for _ in range(2))
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    expected = torch.cos(x.detach())[None] * torch.tensor(weights[:3].T, dtype=torch.float32)[:, None]
    torch.testing.assert_close(first, expected)
    features.sum().backward()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weights": np.ones((4, 2))}, "weights must have a row for each of the 3 features, got 4"),
        ({"weights": np.full((3, 2), np.nan)}, "weights must be finite"),
        ({"inputs": torch.ones(2, 3)}, "inputs must be a tensor that requires gradients"),
        ({"inputs": torch.ones(2, 3, requires_grad=True)}, "features must be computed from inputs, got features whose"),
        ({"features": torch.ones(2, 3)}, "got features without a graph"),
        ({"features": [[1.0], [2.0, 3.0]]}, "must be a non-empty tensor .* got list"),
        ({"features": torch.ones(3, requires_grad=True)}, r"non-empty tensor \(samples, features\), got shape \(3,\)"),
    ],
)
def test_bad_input(change, message):
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError, match=message):
        member_gradients(**({"features": 2 * x, "weights": np.ones((3, 2)), "inputs": x} | change))
