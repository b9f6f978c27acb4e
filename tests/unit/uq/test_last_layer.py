"""Ensembles on a last layer, by hand and against the covariance formula; features read from networks by a hook."""

import numpy as np
import pytest
import torch

from matterscape.uq import Rigidity, gram
from matterscape.uq.last_layer import LastLayerEnsemble, last_layer_features

pytestmark = pytest.mark.unit


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(40, 6))


@pytest.fixture
def ensemble():
    return LastLayerEnsemble(np.random.default_rng(1).normal(size=(6, 11)) + 3.0)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.SiLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 5)
    ).double()


def inputs(n=30, seed=0):
    return torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# ---- the ensemble ----------------------------------------------------------------------------------------------------


def test_two_members_by_hand():
    """Members 1 and 4 have the mean 2.5 and the variance 4.5, not 2.25."""
    two = LastLayerEnsemble([[1.0, 4.0]])
    row = [[1.0]]
    np.testing.assert_array_equal(two.members(row), [[1.0, 4.0]])
    assert two.mean(row)[0] == 2.5
    assert two.variance(row)[0] == pytest.approx(4.5, rel=1e-15)
    assert two.covariance(row, [[2.0]])[0, 0] == pytest.approx(9.0, rel=1e-15)
    assert two.variance(row)[0] != pytest.approx(np.var([1.0, 4.0]))  # the population variance


def test_statistics_are_those_of_the_members(ensemble, features):
    members = ensemble.members(features)
    np.testing.assert_allclose(members, features @ ensemble.weights, rtol=1e-13)
    np.testing.assert_allclose(ensemble.mean(features), members.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(ensemble.variance(features), members.var(axis=1, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(ensemble.standard_deviation(features), members.std(axis=1, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(ensemble.covariance(features, features), np.cov(members, ddof=1), rtol=1e-11)


def test_differences_of_members_have_the_variance_of_the_covariance_formula(ensemble, features):
    a, b = features[:20], features[20:]
    of_members = (ensemble.members(a) - ensemble.members(b)).var(axis=1, ddof=1)
    of_formula = ensemble.variance(a) + ensemble.variance(b) - 2 * np.diag(ensemble.covariance(a, b))
    np.testing.assert_allclose(of_members, of_formula, rtol=1e-12)
    np.testing.assert_allclose(ensemble.difference_variance(a, b), of_members, rtol=1e-12)
    in_quadrature = ensemble.variance(a) + ensemble.variance(b)
    assert not np.allclose(in_quadrature, of_members, rtol=0.1)


def test_a_huge_common_energy_costs_no_digits(ensemble, features):
    """A baseline that all members share cancels before anything is squared."""
    with_baseline = LastLayerEnsemble(np.vstack([ensemble.weights, np.full((1, 11), -2.5e4)]))
    rows = np.hstack([features, np.ones((40, 1))])
    np.testing.assert_allclose(with_baseline.variance(rows), ensemble.variance(features), rtol=1e-9)


def test_stretching_multiplies_every_deviation_of_a_linear_quantity(ensemble, features):
    stretched = ensemble.stretched(1.7)
    np.testing.assert_allclose(stretched.mean(features), ensemble.mean(features), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        stretched.standard_deviation(features), 1.7 * ensemble.standard_deviation(features), rtol=1e-12
    )
    combination = np.random.default_rng(2).normal(size=(3, 40)) @ features  # differences, sums, slopes
    np.testing.assert_allclose(
        stretched.standard_deviation(combination), 1.7 * ensemble.standard_deviation(combination), rtol=1e-12
    )
    np.testing.assert_allclose(
        stretched.difference_variance(features[:9], features[9:18]),
        1.7**2 * ensemble.difference_variance(features[:9], features[9:18]),
        rtol=1e-12,
    )


def test_subsets(ensemble, features):
    members = ensemble.members(features)
    np.testing.assert_array_equal(ensemble.subset(4).members(features), members[:, :4])
    np.testing.assert_array_equal(ensemble.subset([7, 2]).weights, ensemble.weights[:, [7, 2]])
    np.testing.assert_array_equal(ensemble.subset(slice(None, None, 2)).weights, ensemble.weights[:, ::2])
    assert ensemble.subset(np.arange(11) > 5).n_members == 5


def test_tensors_are_differentiable_and_single_precision_is_computed_in_double(ensemble, features):
    tensor = torch.tensor(features, requires_grad=True)
    for name in ("members", "mean", "variance", "standard_deviation"):
        of_tensor = getattr(ensemble, name)(tensor)
        np.testing.assert_allclose(of_tensor.detach(), getattr(ensemble, name)(features), rtol=1e-12)
    assert torch.autograd.gradcheck(ensemble.standard_deviation, tensor[:5])
    assert torch.autograd.gradcheck(ensemble.covariance, (tensor[:3].detach().requires_grad_(), tensor[3:5]))
    single = features.astype(np.float32)
    exact = single.astype(np.float64) @ ensemble.weights
    np.testing.assert_allclose(ensemble.members(single), exact, rtol=1e-13)
    np.testing.assert_allclose(ensemble.members(torch.tensor(single)), exact, rtol=1e-13)


def test_long_matrices_pass_in_blocks(ensemble):
    rows = np.random.default_rng(3).normal(size=(9000, 6))
    np.testing.assert_allclose(ensemble.variance(rows), (rows @ ensemble.weights).var(axis=1, ddof=1), rtol=1e-11)


def test_a_tensor_and_an_array_make_a_tensor(ensemble, features):
    """Mixed, nothing is detached: the result can be differentiated by what was a tensor."""
    x = torch.tensor(features[:3], requires_grad=True)
    for method in (ensemble.covariance, ensemble.difference_variance):
        expected = method(features[:3], features[3:6])
        for result in (method(x, features[3:6]), method(x, torch.tensor(features[3:6]))):
            np.testing.assert_allclose(result.detach(), expected, rtol=1e-12)
            assert torch.autograd.grad(result.sum(), x)[0].abs().max() > 0
        np.testing.assert_allclose(method(features[:3], torch.tensor(features[3:6])), expected, rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_heads_of_a_linear_layer(bias):
    layer = torch.nn.Linear(4, 7, bias=bias, dtype=torch.float64)
    x = torch.randn(5, 4, dtype=torch.float64)
    rows = torch.cat([x, x.new_ones(5, 1)], dim=1) if bias else x
    ensemble = LastLayerEnsemble.from_linear(layer)
    assert (ensemble.n_features, ensemble.n_members) == (4 + bias, 7)
    torch.testing.assert_close(ensemble.members(rows), layer(x).detach(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda e, x: LastLayerEnsemble(np.ones((3, 1))), ValueError, "at least 2 members, got 1"),
        (lambda e, x: LastLayerEnsemble([[1.0, np.nan]]), ValueError, "weights must be finite"),
        (lambda e, x: LastLayerEnsemble.from_linear(torch.nn.ReLU()), TypeError, "torch.nn.Linear, got ReLU"),
        (lambda e, x: LastLayerEnsemble.from_linear(torch.nn.Linear(3, 1)), ValueError, "at least 2 members, got 1"),
        (lambda e, x: e.members(x[:, :5]), ValueError, "features must have 6 columns, got 5"),
        (lambda e, x: e.members(torch.tensor(x[:, :5])), ValueError, "features must have 6 columns, got 5"),
        (lambda e, x: e.variance(np.where(x > 1, np.nan, x)), ValueError, "features must be finite"),
        (lambda e, x: e.variance(torch.full((3, 6), torch.inf)), ValueError, "infinity in row 0"),
        (lambda e, x: e.mean(torch.ones(6)), ValueError, "non-empty matrix"),
        (lambda e, x: e.mean(torch.ones(2, 6, dtype=torch.complex64)), TypeError, "must hold real numbers"),
        (lambda e, x: e.covariance(x, x[:, :5]), ValueError, "second must have 6 columns, got 5"),
        (
            lambda e, x: e.difference_variance(x, x[:3]),
            ValueError,
            "first and second must have the same number of rows",
        ),
        (lambda e, x: e.stretched(0.0), ValueError, "factor is 0.0"),
        (lambda e, x: e.subset(1), ValueError, "members is 1; accepted is a number from 2 to 11"),
        (lambda e, x: e.subset(12), ValueError, "members is 12; accepted is a number from 2 to 11"),
        (lambda e, x: e.subset([3]), ValueError, "at least 2 members, got 1"),
        (lambda e, x: e.subset([0, 11]), ValueError, r"members is \[0, 11\]; accepted is a number from 2 to 11"),
        (lambda e, x: e.subset("all"), ValueError, "members is 'all'; accepted"),
        (lambda e, x: e.subset([True, False]), ValueError, "members is .* or truth values that name members"),
        (lambda e, x: e.members([[1.0], [2.0, 3.0]]), TypeError, "features must hold real numbers, got dtype object"),
    ],
)
def test_bad_input_of_the_ensemble(ensemble, features, call, kind, message):
    with pytest.raises(kind, match=message):
        call(ensemble, features)


# ---- features of a network -------------------------------------------------------------------------------------------


def test_the_features_reproduce_the_output(network):
    x = inputs()
    rows = last_layer_features(network, x)
    assert rows.shape == (30, 9) and not rows.requires_grad
    assert (rows[:, -1] == 1).all()  # the bias
    network.eval()
    outputs = LastLayerEnsemble.from_linear(network[-1]).members(rows)
    torch.testing.assert_close(outputs, network(x).detach(), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(last_layer_features(network, x, batch_size=7), rows, rtol=1e-13, atol=1e-14)


def test_without_the_constant_feature_the_bias_is_forgotten(network):
    """The variance misses the uncertainty of the bias: at vanishing features it would be zero."""
    rows = last_layer_features(network, inputs()).numpy()
    with_bias, without = Rigidity(gram(rows), 1e-3), Rigidity(gram(rows[:, :-1]), 1e-3)
    nothing = np.append(np.zeros((1, 8)), [[1.0]], axis=1)
    assert with_bias.variance(nothing)[0] > 1 / 31
    assert without.variance(nothing[:, :-1])[0] == 0
    layer = torch.nn.Linear(3, 1, bias=False)
    assert last_layer_features(layer, torch.ones(4, 3)).shape == (4, 3)


def test_the_mode_is_evaluation_inside_and_as_before_afterwards(network):
    network.train()
    network[1].eval()  # a part that somebody has frozen
    modes = [part.training for part in network.modules()]
    x = inputs()
    first, second = last_layer_features(network, x), last_layer_features(network, x)
    torch.testing.assert_close(first, second, rtol=0, atol=0)  # no dropout
    assert [part.training for part in network.modules()] == modes
    with pytest.raises(RuntimeError):
        last_layer_features(network, torch.ones(2, 4, dtype=torch.float64))
    assert [part.training for part in network.modules()] == modes
    assert not any(part._forward_hooks for part in network.modules())


def test_features_are_differentiable_if_the_input_is(network):
    x = inputs(4).requires_grad_()
    rows = last_layer_features(network, x)
    model = Rigidity(gram(rows), 0.1)

    def variance(x):
        return model.variance(last_layer_features(network, x))

    assert torch.autograd.gradcheck(variance, x)
    with torch.no_grad():
        assert not last_layer_features(network, x).requires_grad


class Atomistic(torch.nn.Module):
    """Energies as sums over atoms, so that the output is not that of the last layer, but linear in it."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh())
        self.head = torch.nn.Linear(8, 1)
        self.spare = torch.nn.Linear(8, 1)

    def forward(self, atoms, structure):
        energies = self.head(self.body(atoms))[:, 0]
        return energies.new_zeros(int(structure.max()) + 1).index_add(0, structure, energies)


def test_sums_over_atoms_need_the_name_of_the_layer():
    torch.manual_seed(0)
    model = Atomistic().double()
    atoms, structure = inputs(6), torch.tensor([0, 0, 1, 1, 1, 1])
    for layer in ("head", model.head):
        rows = last_layer_features(model, atoms, structure, layer=layer)
        pooled = rows.new_zeros(2, 9).index_add(0, structure, rows)
        np.testing.assert_array_equal(pooled[:, -1], [2, 4])  # the constant column counts atoms
        weights = torch.cat([model.head.weight[0], model.head.bias])
        torch.testing.assert_close(pooled @ weights, model(atoms, structure), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="not that of its last linear layer 'head'; name the layer"):
        last_layer_features(model, atoms, structure)
    with pytest.raises(ValueError, match="layer 'spare' is not called"):
        last_layer_features(model, atoms, structure, layer="spare")


class Interface(torch.nn.Module):
    """A residual network whose last layer is called by keyword, and whose output others have to unpack."""

    def __init__(self, packed):
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 6), torch.nn.Linear(6, 6)
        self.head, self.packed = torch.nn.Linear(6, 1, bias=False), packed

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.packed(self.head(input=hidden + torch.tanh(self.second(hidden))))


@pytest.mark.parametrize(
    "packed, unpacked, named",
    [
        (lambda y: y, lambda y: y, False),
        (lambda y: y[:, 0], lambda y: y[:, None], False),
        (lambda y: (y, y.square()), lambda y: y[0], True),
        (lambda y: {"energy": y}, lambda y: y["energy"], True),
    ],
    ids=["matrix", "vector", "tuple", "dict"],
)
def test_networks_of_all_kinds_of_interface(packed, unpacked, named):
    torch.manual_seed(0)
    module, x = Interface(packed), inputs(7).float()
    rows = last_layer_features(module, x, layer="head" if named else None, batch_size=3)
    assert rows.dtype == torch.float32 and rows.shape == (7, 6)
    torch.testing.assert_close(rows @ module.head.weight.T, unpacked(module(x)))
    if named:
        with pytest.raises(ValueError, match="not that of its last linear layer 'head'; name the layer"):
            last_layer_features(module, x)


def test_convolutions_and_transformers():
    torch.manual_seed(0)
    conv = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    block = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    transformer = torch.nn.Sequential(torch.nn.TransformerEncoder(block, 1), torch.nn.Linear(8, 1)).eval()
    for module, x in ((conv, torch.randn(5, 2, 6)), (transformer, torch.randn(5, 4, 8))):
        rows = last_layer_features(module, x)
        weights = torch.cat([module[-1].weight.T, module[-1].bias[None]])
        expected = module(x).detach()
        torch.testing.assert_close(rows @ weights, expected.reshape(-1, expected.shape[-1]))


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(self.layer(x))


def sequence(*parts):
    return torch.nn.Sequential(torch.nn.Linear(3, 4), *parts).double()


@pytest.mark.parametrize(
    "module, options, kind, message",
    [
        (sequence(torch.nn.ReLU()), {}, ValueError, "not that of its last linear layer '0'"),
        (sequence(torch.nn.ReLU()), {"layer": "1"}, TypeError, "layer must be a torch.nn.Linear, got ReLU"),
        (sequence(), {"layer": "head"}, ValueError, "layer 'head' is not in the module, which has 0"),
        (sequence(), {"layer": torch.nn.Linear(2, 2)}, ValueError, "layer must be part of the module"),
        (torch.nn.ReLU(), {}, ValueError, "module has no torch.nn.Linear"),
        (Twice().double(), {}, ValueError, "layer 'layer' is called 2 times"),
        (sequence(), {"batch_size": 0}, ValueError, "batch_size is 0"),
        (np.tanh, {}, TypeError, "module must be a torch.nn.Module, got ufunc"),
    ],
)
def test_bad_input_of_the_features(module, options, kind, message):
    with pytest.raises(kind, match=message):
        last_layer_features(module, inputs(), **options)


def test_batches_need_one_sample_per_row():
    with pytest.raises(ValueError, match="tensors with the same number of rows"):
        last_layer_features(Atomistic(), inputs(6).float(), torch.zeros(5, dtype=torch.int64), batch_size=2)


@pytest.mark.parametrize("activation, grows", [(torch.nn.ReLU, False), (torch.nn.SiLU, True)])
def test_dead_features_do_not_know_that_they_are_far_away(activation, grows):
    """Where every ReLU is off, the features are those of one point, and sigma stays; those of SiLU have tails."""
    net = torch.nn.Sequential(torch.nn.Linear(1, 16), activation(), torch.nn.Linear(16, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.linspace(1, 4, 16)[:, None])
        net[0].bias.copy_(net[0].weight[:, 0] * torch.linspace(0.25, -1, 16))  # kinks from -0.25 to 1
    inside, outside = (torch.linspace(*ends, 40, dtype=torch.float64)[:, None] for ends in ((-1, 1), (-1.5, -2.5)))
    model = Rigidity(gram(last_layer_features(net, inside)), 1e-3)
    near, far = (model.variance(last_layer_features(net, x)).numpy() for x in (inside, outside))
    if grows:
        assert (np.diff(far) > 0).all() and far[-1] > 5 * near.max()
    else:
        np.testing.assert_allclose(far, far[0], rtol=1e-12)
        assert far[0] < near.max()
