"""The quadratic form: bodies against each other, derivatives against finite differences, forces of uncertainties."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from matterscape.descriptors import RadialSpectrum
from matterscape.structures import Structures
from matterscape.uq import Rigidity, gram
from matterscape.uq import quadratic as operators
from matterscape.uq.last_layer import last_layer_features
from matterscape.uq.quadratic import inverse_product, quadratic_form

pytestmark = pytest.mark.unit


@pytest.fixture
def curvature():
    rows = np.random.default_rng(0).normal(size=(40, 7))
    return rows.T @ rows + 0.3 * np.eye(7)


@pytest.fixture
def inverse_factor(curvature):
    return torch.tensor(np.linalg.inv(np.linalg.cholesky(curvature)))


def rows(n, seed=1):
    return torch.randn(n, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_values(curvature, inverse_factor):
    f = rows(9000)  # more than one block
    inverse = np.linalg.inv(curvature)
    np.testing.assert_allclose(quadratic_form(inverse_factor, f), np.einsum("nd,de,ne->n", f, inverse, f), rtol=1e-11)
    np.testing.assert_allclose(inverse_product(inverse_factor, f), f @ inverse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("operator", [operators._quadratic_form, operators._inverse_product], ids=lambda o: o.name)
def test_the_body_is_the_reference(inverse_factor, operator):
    f = rows(5000)
    torch.testing.assert_close(
        operator(inverse_factor, f), operator.reference(inverse_factor, f), rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("operator", [operators._quadratic_form, operators._inverse_product], ids=lambda o: o.name)
def test_the_operators_keep_torchs_rules(inverse_factor, operator):
    torch.library.opcheck(operator.torch_operator, (inverse_factor, rows(5).requires_grad_()))


def test_derivatives_of_first_and_second_order(inverse_factor):
    f = rows(4).requires_grad_()
    for function in (quadratic_form, inverse_product):
        assert torch.autograd.gradcheck(lambda x, function=function: function(inverse_factor, x), f)
        assert torch.autograd.gradgradcheck(lambda x, function=function: function(inverse_factor, x), f)


def test_the_gradient_of_the_variance_against_finite_differences(curvature):
    """d sigma^2 / d f = 2 alpha^2 C^-1 f by torch, by formula and by central differences."""
    model = Rigidity(curvature, 0.0, variance_scale=1.7)
    f = rows(3).requires_grad_()
    (gradient,) = torch.autograd.grad(model.variance(f).sum(), f)
    np.testing.assert_allclose(gradient, 2 * 1.7 * np.linalg.solve(curvature, f.detach().numpy().T).T, rtol=1e-10)
    x, step = f.detach().numpy(), 1e-4
    for i, c in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[i, c] = step
        difference = (model.variance(x + shift) - model.variance(x - shift))[i] / (2 * step)
        assert gradient[i, c].item() == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_the_second_derivative_is_twice_the_inverse(curvature):
    model = Rigidity(curvature, 0.0, variance_scale=1.7)
    hessian = torch.autograd.functional.hessian(lambda x: model.variance(x[None])[0], rows(1)[0])
    np.testing.assert_allclose(hessian, 2 * 1.7 * np.linalg.inv(curvature), rtol=1e-10, atol=1e-14)
    x = rows(1)[0].numpy()
    step, axes = 1e-3, np.eye(7)
    for i, j in ((0, 0), (2, 5)):
        corners = [
            si * sj * model.variance((x + step * (si * axes[i] + sj * axes[j]))[None])[0]
            for si in (1, -1)
            for sj in (1, -1)
        ]
        assert hessian[i, j].item() == pytest.approx(sum(corners) / (4 * step**2), rel=1e-6)


def test_uncertainties_have_forces():
    """-d sigma / d r of a small network on descriptors, against central differences of the positions."""
    torch.manual_seed(0)
    frames = [bulk("Si", cubic=True) for _ in range(12)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.15, seed=seed)
    spectrum = RadialSpectrum([14], cutoff=4.0, max_radial=5)
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1)).double()

    def rows_of(structures):
        return last_layer_features(net, spectrum(structures)).sum(dim=0, keepdim=True)

    train = torch.cat([rows_of(Structures.from_ase(atoms)) for atoms in frames[1:]])
    model = Rigidity(gram(train), 1e-3, variance_scale=0.5)
    structures = Structures.from_ase(frames[0]).with_gradients()
    sigma = model.variance(rows_of(structures)).sqrt()
    (gradient,) = torch.autograd.grad(sigma, structures.leaf_positions)

    def at(atom, axis, shift):
        moved = frames[0].copy()
        moved.positions[atom, axis] += shift
        return float(model.variance(rows_of(Structures.from_ase(moved)))[0]) ** 0.5

    for atom, axis in ((0, 0), (3, 2), (7, 1)):
        near, far = (at(atom, axis, step) - at(atom, axis, -step) for step in (5e-4, 1e-3))
        difference = (8 * near - far) / 6e-3  # of fourth order
        assert gradient[atom, axis].item() == pytest.approx(difference, rel=1e-6)


def test_the_factor_is_a_constant(inverse_factor):
    factor = inverse_factor.clone().requires_grad_()
    assert not quadratic_form(factor, rows(2)).requires_grad


@pytest.mark.parametrize(
    "f, kind, message",
    [
        (torch.ones(2, 6), ValueError, "rows must have 7 columns, got 6"),
        (torch.ones(7), ValueError, "rows must be a non-empty matrix"),
        (np.ones((2, 7)), TypeError, "rows must be a tensor, got ndarray"),
        (torch.empty(0, 7), ValueError, "rows must be a non-empty matrix"),
        (torch.tensor([[1.0] * 7, [torch.nan] * 7]), ValueError, "rows must be finite, got NaN or infinity in row 1"),
        (torch.ones(2, 7, dtype=torch.bool), TypeError, "rows must hold real numbers, got dtype torch.bool"),
    ],
)
def test_bad_input(inverse_factor, f, kind, message):
    for function in (quadratic_form, inverse_product):
        with pytest.raises(ValueError, match="inverse_factor must be a square matrix"):
            function(inverse_factor[:, :3], rows(2))
        with pytest.raises(kind, match=message):
            function(inverse_factor, f)
