import importlib

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from matterscape.basis.harmonics import (
    spherical_harmonics,
    spherical_harmonics_with_gradients,
    spherical_harmonics_with_hessians,
)

pytestmark = pytest.mark.unit

module = importlib.import_module("matterscape.basis.harmonics")


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def arguments(name, n_vectors, max_angular, dtype=torch.float64):
    """Arguments of one of the operators."""
    n = (max_angular + 1) ** 2
    vectors, directions, weights = (
        random(n_vectors, size, seed=seed, dtype=dtype) for seed, size in enumerate((3, 3, n))
    )
    extra = {"_vjp": [weights], "_jvp": [directions], "_hvp": [weights, directions]}.get(name, [])
    return [vectors, *extra, max_angular]


OPERATORS = ["_values", "harmonics_and_gradients", "_hessians", "_vjp", "_jvp", "_hvp"]


@pytest.mark.parametrize("max_angular", [12, 50])
def test_equal_to_the_complex_harmonics(max_angular):
    vectors = random(40, 3)
    x, y, z = vectors.numpy().T
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    values = spherical_harmonics(vectors, max_angular).numpy()
    for angular in range(max_angular + 1):
        for m in range(angular + 1):
            # the complex ones carry the Condon-Shortley phase
            expected = (-1) ** m * sph_harm_y(angular, m, theta, phi) * (np.sqrt(2) if m else 1)
            row = angular * angular + angular
            np.testing.assert_allclose(values[:, row + m], expected.real, atol=2e-12)
            if m:
                np.testing.assert_allclose(values[:, row - m], expected.imag, atol=2e-12)


def test_first_order_is_y_z_x():
    np.testing.assert_allclose(
        spherical_harmonics(torch.tensor([[3.0, 4.0, 12.0]], dtype=torch.float64), 1)[0],
        np.sqrt([1 / (4 * np.pi), *(3 / (4 * np.pi) * np.square([4 / 13, 12 / 13, 3 / 13]))]),
        rtol=1e-14,
    )


def test_orthonormal_on_the_sphere():
    z, weights = np.polynomial.legendre.leggauss(16)
    phi = 2 * np.pi * np.arange(32) / 32
    s = np.sqrt(1 - z**2)
    grid = np.stack([np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(z, np.ones(32))], -1).reshape(-1, 3)
    values = spherical_harmonics(torch.from_numpy(grid), 12).numpy()
    overlap = (values.T * np.repeat(weights, 32) * 2 * np.pi / 32) @ values
    np.testing.assert_allclose(overlap, np.eye(169), atol=1e-12)


def test_addition_theorem_and_parity():
    vectors = random(20, 3)
    values = spherical_harmonics(vectors, 20)
    flipped = spherical_harmonics(-3.7 * vectors, 20)
    for angular in range(21):
        shell = slice(angular**2, (angular + 1) ** 2)
        np.testing.assert_allclose((values[:, shell] ** 2).sum(1), (2 * angular + 1) / (4 * np.pi), rtol=1e-12)
        np.testing.assert_allclose(flipped[:, shell], (-1) ** angular * values[:, shell], atol=1e-12)


@pytest.mark.parametrize("vector", [[0, 0, 2.0], [0, 0, -2.0], [1e-9, 0, 1.0], [1.0, 0, 0], [0, -1.0, 0]])
def test_poles_and_axes_are_regular(vector):
    vectors = torch.tensor([vector], dtype=torch.float64)
    tensors = spherical_harmonics_with_hessians(vectors, 8)
    shifted = [spherical_harmonics(vectors + s * torch.eye(3, dtype=torch.float64), 8) for s in (-1e-5, 1e-5)]
    np.testing.assert_allclose(tensors[1][0], (shifted[1] - shifted[0]) / 2e-5, atol=1e-7)
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_derivatives_have_the_right_degree():
    """Y depends on the direction alone: r . grad Y = 0, Hessian r = -grad Y, trace = -l (l + 1) Y / r^2."""
    vectors = random(30, 3)
    values, gradients, hessians = spherical_harmonics_with_hessians(vectors, 12)
    angular = torch.repeat_interleave(torch.arange(13.0), 2 * torch.arange(13) + 1)
    r = vectors.norm(dim=1)
    np.testing.assert_allclose(torch.einsum("ia,ian->in", vectors, gradients), 0 * values, atol=1e-11)
    np.testing.assert_allclose(torch.einsum("ia,iabn->ibn", vectors, hessians), -gradients, atol=1e-9)
    laplacian = torch.einsum("iaan->in", hessians) * (r**2)[:, None]
    np.testing.assert_allclose(laplacian, -angular * (angular + 1) * values, atol=1e-9)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-4)])
@pytest.mark.parametrize("max_angular", [0, 1, 7])
def test_compiled_body_equals_torch_body(name, dtype, tolerance, max_angular):
    operator = getattr(module, name)
    for n_vectors in (0, 1, 8, 21):
        given = arguments(name, n_vectors, max_angular, dtype)
        given[0] = given[0] / given[0].norm(dim=1, keepdim=True) * 1.3
        results, expected = operator(*given), operator.reference(*given)
        for result, reference in zip(*(r if isinstance(r, tuple) else (r,) for r in (results, expected))):
            assert result.dtype == dtype and result.shape == reference.shape
            scale = max(1.0, float(reference.abs().max())) if reference.numel() else 1.0
            np.testing.assert_allclose(result, reference, atol=tolerance * scale)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_registered_correctly(name):
    given = arguments(name, 5, 3)
    if name not in ("_hessians", "_hvp"):
        given = [a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in given]
    torch.library.opcheck(getattr(module, name).torch_operator, tuple(given))


def test_first_and_second_derivatives_by_finite_differences():
    vectors = random(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: spherical_harmonics(v, 4), vectors)
    assert torch.autograd.gradgradcheck(lambda v: spherical_harmonics(v, 3), vectors)
    assert torch.autograd.gradcheck(lambda v: spherical_harmonics_with_gradients(v, 3), vectors)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: spherical_harmonics_with_gradients(v, 4)[1].sum(0), vectors
    )  # (3, n, vector, 3)
    hessians = spherical_harmonics_with_hessians(vectors.detach(), 4)[2]
    np.testing.assert_allclose(jacobian.permute(2, 0, 3, 1), hessians, atol=1e-11)


def test_training_on_forces_reaches_the_weights():
    """Gradient, by a weight inside, of a function of the gradient."""
    vectors, weights = random(6, 3), random(16, seed=5).requires_grad_()

    def loss(weights):
        positions = vectors.clone().requires_grad_()
        energy = torch.tanh(spherical_harmonics(positions, 3) @ weights).sum()
        (forces,) = torch.autograd.grad(energy, positions, create_graph=True)
        return (forces**2).sum()

    assert torch.autograd.gradcheck(loss, weights)


def test_non_contiguous_and_empty():
    vectors = random(3, 11).T
    assert not vectors.is_contiguous()
    for result, expected in zip(
        spherical_harmonics_with_hessians(vectors, 3), spherical_harmonics_with_hessians(vectors.contiguous(), 3)
    ):
        assert torch.equal(result, expected)
    shapes = [tuple(t.shape) for t in spherical_harmonics_with_hessians(torch.zeros(0, 3), 2)]
    assert shapes == [(0, 9), (0, 3, 9), (0, 3, 3, 9)]


def test_same_bits_whatever_the_position_in_the_batch():
    vectors = random(1500, 3)
    values = spherical_harmonics(vectors, 6)
    assert torch.equal(values, spherical_harmonics(vectors, 6))
    assert torch.equal(values[701:702], spherical_harmonics(vectors[701:702], 6))


@pytest.mark.parametrize(
    ("vectors", "max_angular", "error", "message"),
    [
        (torch.zeros(3), 2, ValueError, r"vectors have shape \(3,\)"),
        (torch.ones(2, 4), 2, ValueError, r"vectors have shape \(2, 4\)"),
        (torch.ones(2, 3), -1, ValueError, "max_angular is -1; accepted is a whole number from 0 to 50"),
        (torch.ones(2, 3), 51, ValueError, "max_angular is 51"),
        (torch.ones(2, 3), 2.0, ValueError, "max_angular is 2.0"),
        (torch.ones(2, 3).half(), 2, TypeError, "float16"),
        (torch.tensor([[1.0, 0, 0], [0, 0, 0]]), 2, ValueError, "vector 1 has length 0.0"),
        (torch.tensor([[np.nan, 0, 0]]), 2, ValueError, "vector 0 has length nan"),
        (torch.tensor([[1.0, 0, 0], [np.inf, 0, 0]]), 2, ValueError, "vector 1 has length inf"),
    ],
)
def test_bad_input(vectors, max_angular, error, message):
    with pytest.raises(error, match=message):
        spherical_harmonics(vectors, max_angular)
    if "vector " in message:
        with pytest.raises(error, match=message):
            module._values.reference(vectors, max_angular)
