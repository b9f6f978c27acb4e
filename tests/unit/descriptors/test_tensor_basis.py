"""Tensors from three vectors: known values, determinants, ranks, rotations, completeness, derivatives."""

import importlib
import math

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation

from matterscape.basis.harmonics import spherical_harmonics
from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.descriptors.irreps import vector_to_spherical
from matterscape.descriptors.tensor_basis import contract_channels, maximally_coupled, pseudoscalar
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

module = importlib.import_module("matterscape.descriptors.tensor_basis")
OPERATORS = ["_values", "_jvp", "_vjp", "_hvp"]
DETERMINANTS = {1: 1.0, 2: 1 / math.sqrt(24), 3: 7.027283689e-3, 4: 3.811315719e-5}


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def stacked(*vectors):
    """One sample of three vectors (x, y, z)."""
    return torch.tensor(np.array([vectors])[..., [1, 2, 0]].transpose(0, 2, 1).copy(), dtype=torch.float64)


def turned(vectors, rotations):
    """Samples of vectors after rotations (n, 3, 3) that act on (x, y, z)."""
    order = [1, 2, 0]
    matrices = torch.as_tensor(np.asarray(rotations)[:, order][:, :, order].copy())
    return matrices @ vectors


def harmonic_rotations(rotations, max_angular):
    """Matrices of the real harmonics by least squares over directions, without any coupling coefficients."""
    directions = random(200, 3, seed=9)
    before = spherical_harmonics(directions, max_angular).numpy()
    found = []
    for rotation in rotations:
        after = spherical_harmonics(directions @ torch.from_numpy(rotation.copy()).T, max_angular).numpy()
        shells = [slice(l * l, (l + 1) ** 2) for l in range(max_angular + 1)]
        found.append([np.linalg.lstsq(before[:, s], after[:, s], rcond=None)[0].T for s in shells])
    return found


def test_known_values():
    basis = maximally_coupled(stacked((1, 0.2, -0.3), (0.4, 1.1, 0.5), (-0.2, 0.3, 0.9)), 2)[0]
    expected = [
        (0.622253967, 0.777817459, -0.355176013, 0.282842712, -0.742462120),
        (0.834386002, -0.162634560, -0.375588427, 0.268700577, 0.127279220),
        (0.282842712, -0.084852814, -0.351093530, -0.424264069, 0.678822510),
        (-0.070710678, 0.806101731, 0.265361389, 0.183847763, -0.289913780),
        (0.183847763, 0.063639610, -0.163299316, 0.678822510, -0.183847763),
    ]
    np.testing.assert_allclose(basis.T, expected, atol=1e-9)
    assert abs(float(torch.linalg.det(basis))) == pytest.approx(0.137121122303, abs=1e-12)


def test_orders_zero_and_one():
    vectors = random(5, 3, 3)
    assert (maximally_coupled(vectors, 0) == 1).all() and maximally_coupled(vectors, 0).shape == (5, 1, 1)
    np.testing.assert_array_equal(maximally_coupled(vectors, 1), vectors[:, :, [1, 0, 2]])


@pytest.mark.parametrize("lambda_", range(2, 7))
def test_powers_are_solid_harmonics(lambda_):
    vectors = random(20, 3, 3)
    xyz = vectors[:, [2, 0, 1], 0]
    lengths = xyz.norm(dim=1, keepdim=True)
    double_factorial = math.prod(range(2 * lambda_ + 1, 0, -2))
    scale = math.sqrt(4 * math.pi * math.factorial(lambda_) / double_factorial)
    expected = scale * lengths**lambda_ * spherical_harmonics(xyz, lambda_)[:, lambda_**2 :]
    power = maximally_coupled(vectors, lambda_)[:, :, lambda_]
    np.testing.assert_allclose(power / lengths**lambda_, expected / lengths**lambda_, atol=1e-14)
    norms = math.factorial(lambda_) * (2 * lambda_ + 1) / double_factorial * lengths[:, 0] ** (2 * lambda_)
    np.testing.assert_allclose((power**2).sum(dim=1), norms, rtol=1e-13)


@pytest.mark.parametrize("lambda_", [1, 2, 3, 4])
def test_determinant(lambda_):
    vectors = random(100, 3, 3, seed=1)
    first, second, third = vectors.unbind(dim=2)
    triple = (first * torch.linalg.cross(second, third)).sum(dim=1).abs()
    area = torch.linalg.cross(first, second).norm(dim=1)
    triad = torch.linalg.det(maximally_coupled(stacked(*np.eye(3)), lambda_)).abs()[0]
    assert float(triad) == pytest.approx(DETERMINANTS[lambda_], rel=1e-9)
    found = torch.linalg.det(maximally_coupled(vectors, lambda_)).abs()
    np.testing.assert_allclose(found, triad * triple**lambda_ * area ** (lambda_ * (lambda_ - 1)), rtol=1e-10)


@pytest.mark.parametrize("lambda_", range(1, 7))
def test_ranks(lambda_):
    generator = np.random.default_rng(2)
    first, second, third = generator.normal(size=(3, 3))
    cases = {
        2 * lambda_ + 1: (first, second, third),
        lambda_ + 1: (first, second, 0.3 * first - 0.8 * second),
        1: (first, -0.7 * first, 1.4 * first),
        2: (first, 0.6 * first, third),
    }
    if lambda_ == 1:
        del cases[2]  # is the coplanar case
    for rank, vectors in cases.items():
        singular = np.linalg.svd(maximally_coupled(stacked(*vectors), lambda_)[0].numpy(), compute_uv=False)
        assert (singular > 1e-10 * singular[0]).sum() == rank


@pytest.mark.parametrize(("lambda_", "expected"), zip(range(1, 7), (1, 1.73, 2.11, 3.41, 4.59, 7.23)))
def test_condition_of_an_orthonormal_triad(lambda_, expected):
    assert np.linalg.cond(maximally_coupled(stacked(*np.eye(3)), lambda_)[0]) == pytest.approx(expected, abs=0.006)


def test_turns_like_harmonics_and_inverts():
    rotations = Rotation.random(20, random_state=3).as_matrix()
    vectors = random(20, 3, 3, seed=4)
    matrices = harmonic_rotations(rotations, 6)
    for lambda_ in range(1, 7):
        basis = maximally_coupled(vectors, lambda_)
        expected = np.array([d[lambda_] for d in matrices]) @ basis.numpy()
        size = float(basis.abs().max())
        np.testing.assert_allclose(maximally_coupled(turned(vectors, rotations), lambda_), expected, atol=1e-13 * size)
        np.testing.assert_array_equal(maximally_coupled(-vectors, lambda_), (-1) ** lambda_ * basis)


def test_vectors_in_the_wrong_order_do_not_turn_like_harmonics():
    """Negative control: x, y, z where y, z, x are expected."""
    rotation = Rotation.random(random_state=5).as_matrix()
    wrong = stacked(*np.random.default_rng(0).normal(size=(3, 3)))[:, [2, 0, 1]]
    after = torch.as_tensor(rotation) @ wrong
    expected = harmonic_rotations([rotation], 2)[0][2] @ maximally_coupled(wrong, 2)[0].numpy()
    assert np.abs(maximally_coupled(after, 2)[0].numpy() - expected).max() > 0.1


def test_pseudoscalar():
    vectors = random(7, 3, 3)
    xyz = vectors[:, [2, 0, 1]].transpose(1, 2)
    np.testing.assert_allclose(pseudoscalar(vectors), -torch.linalg.det(xyz) / math.sqrt(6), atol=1e-13)
    np.testing.assert_allclose(pseudoscalar(-vectors), -pseudoscalar(vectors), atol=1e-15)
    rotation = Rotation.random(7, random_state=1).as_matrix()
    np.testing.assert_allclose(pseudoscalar(turned(vectors, rotation)), pseudoscalar(vectors), atol=1e-13)


@pytest.mark.parametrize("lambda_", [1, 2, 3, 4])
def test_complete_with_invariant_coefficients(lambda_):
    vectors = stacked(*(np.eye(3) + 0.2 * np.random.default_rng(1).normal(size=(3, 3))))
    target = random(2 * lambda_ + 1, seed=6).numpy()
    basis = maximally_coupled(vectors, lambda_)[0].numpy()
    coefficients = np.linalg.solve(basis, target)
    np.testing.assert_allclose(basis @ coefficients, target, atol=1e-12)
    rotation = Rotation.random(1, random_state=7).as_matrix()
    after = maximally_coupled(turned(vectors, rotation), lambda_)[0].numpy()
    turned_target = harmonic_rotations(rotation, lambda_)[0][lambda_] @ target
    np.testing.assert_allclose(np.linalg.solve(after, turned_target), coefficients, atol=1e-10)


@pytest.mark.parametrize("lambda_", [2, 3, 4])
def test_without_the_third_vector_the_basis_is_incomplete(lambda_):
    """Negative control: only the couplings of two vectors."""
    basis = maximally_coupled(stacked(*np.eye(3)), lambda_)[0, :, : lambda_ + 1].numpy()
    assert np.linalg.matrix_rank(basis) == lambda_ + 1
    target = random(2 * lambda_ + 1, seed=6).numpy()
    assert np.abs(basis @ np.linalg.lstsq(basis, target, rcond=None)[0] - target).max() > 0.1


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-5)])
@pytest.mark.parametrize("lambda_", [1, 2, 5, 8])
def test_compiled_body_equals_torch_body(name, dtype, tolerance, lambda_):
    operator = getattr(module, name)
    for n_samples in (0, 1, 8, 21):
        result, expected = (
            call(*arguments(name, n_samples, lambda_, dtype)) for call in (operator, operator.reference)
        )
        assert result.dtype == dtype and result.shape == expected.shape
        scale = float(expected.abs().max()) + 1e-30 if expected.numel() else 1.0
        np.testing.assert_allclose(result, expected, atol=tolerance * scale)


def arguments(name, n_samples, lambda_, dtype=torch.float64):
    size = 2 * lambda_ + 1
    vectors, directions = (random(n_samples, 3, 3, seed=seed, dtype=dtype) for seed in (0, 1))
    weights = random(n_samples, size, size, seed=2, dtype=dtype)
    extra = {"_jvp": [directions], "_vjp": [weights], "_hvp": [weights, directions]}.get(name, [])
    return [vectors, *extra, lambda_]


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_registered_correctly(name):
    given = arguments(name, 5, 3)
    if name != "_hvp":
        given = [a.requires_grad_() if isinstance(a, torch.Tensor) else a for a in given]
    torch.library.opcheck(getattr(module, name).torch_operator, tuple(given))


@pytest.mark.parametrize("lambda_", [1, 2, 4])
def test_first_and_second_derivatives_by_finite_differences(lambda_):
    vectors = random(1, 3, 3).requires_grad_()
    weights = random(1, 2 * lambda_ + 1, 2 * lambda_ + 1, seed=8)

    def total(v):
        return (weights * maximally_coupled(v, lambda_) ** 2).sum() + pseudoscalar(v).sum() ** 3

    assert torch.autograd.gradcheck(total, vectors, rtol=1e-7, atol=1e-7)
    assert torch.autograd.gradgradcheck(total, vectors)


@pytest.mark.parametrize("lambda_", [2, 3, 5])
def test_derivatives_stay_finite_where_vectors_vanish_or_agree(lambda_):
    vectors = random(4, 3, 3)
    vectors[0, :, 2], vectors[1, :, 1], vectors[2], vectors[3, :, 1:] = 0, vectors[1, :, 0], 0, 0
    vectors.requires_grad_()
    basis = maximally_coupled(vectors, lambda_)
    (first,) = torch.autograd.grad((basis**2 + basis).sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad((first * random(4, 3, 3, seed=3)).sum(), vectors)
    assert all(bool(torch.isfinite(t).all()) for t in (basis, first, second))
    assert (basis[2] == 0).all()


def molecule_tensor(structures):
    """Sum over atoms of invariant functions times the basis, and times contractions of the density of order 2."""
    expansion = SphericalExpansion((1, 6, 8), cutoff=3.0, max_radial=3, max_angular=2, centre_weight=0.0)
    density = expansion(structures)
    centres = torch.searchsorted(torch.tensor([1, 6, 8]), structures.species)
    vectors = contract_channels(density[:, 1:4], random(3, expansion.n_channels, 3, seed=11), centres)
    local = contract_channels(density[:, 4:9], random(3, expansion.n_channels, 5, seed=12), centres)
    invariants = (density[:, 0] ** 2).sum(dim=1)[:, None, None] + torch.arange(5)[:, None]  # (atoms, 5, 1)
    tensors = maximally_coupled(vectors, 2) @ torch.tanh(invariants) + local @ torch.cos(invariants)
    return tensors.sum(dim=(0, 2))


def test_tensor_of_a_molecule_has_the_right_gradient():
    atoms = molecule("CH3CHO")
    atoms.rattle(0.1, seed=0)
    given = Structures.from_ase(atoms).with_gradients()
    target = random(5, seed=1)
    (gradient,) = torch.autograd.grad(molecule_tensor(given) @ target, given.leaf_positions)
    step = 1e-5
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        moved = []
        for sign in (1, -1):
            shifted = atoms.copy()
            shifted.positions[atom, axis] += sign * step
            moved.append(float(molecule_tensor(Structures.from_ase(shifted)) @ target))
        assert float(gradient[atom, axis]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-7, abs=1e-8)


def test_tensor_of_a_molecule_turns_with_it():
    atoms = molecule("CH3CHO")
    rotation = Rotation.random(random_state=2).as_matrix()
    before = molecule_tensor(Structures.from_ase(atoms)).numpy()
    atoms.positions = atoms.positions @ rotation.T
    after = molecule_tensor(Structures.from_ase(atoms)).numpy()
    np.testing.assert_allclose(after, harmonic_rotations([rotation], 2)[0][2] @ before, atol=1e-11)
    assert np.abs(after - before).max() > 1e-3


def test_three_vectors_miss_what_a_symmetric_site_allows():
    """Carbon in CO2 has no local vector but an axial tensor of order 2."""
    centre = Structures.from_ase(molecule("CO2"))
    expansion = SphericalExpansion((6, 8), cutoff=2.0, max_radial=2, max_angular=2, centre_weight=0.0)
    density = expansion(centre)[:1]
    vectors = contract_channels(density[:, 1:4], random(1, expansion.n_channels, 3), torch.zeros(1, dtype=torch.int64))
    assert float(maximally_coupled(vectors, 2).abs().max()) < 1e-12 < 1e-3 < float(density[:, 4:].abs().max())


def test_channels_are_contracted_by_species():
    features, weights = random(4, 5, 6), random(2, 6, 3, seed=1)
    centres = torch.tensor([1, 0, 0, 1])
    result = contract_channels(features, weights, centres)
    for sample in range(4):
        np.testing.assert_allclose(result[sample], features[sample] @ weights[centres[sample]], atol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: maximally_coupled(random(2, 3), 2), ValueError, r"vectors have shape \(2, 3\); accepted is"),
        (lambda: maximally_coupled(random(2, 3, 3), 9), ValueError, "lambda_ is 9; accepted is a whole number from 0"),
        (lambda: maximally_coupled(random(2, 3, 3), 2.0), ValueError, "lambda_ is 2.0"),
        (lambda: maximally_coupled(random(2, 3, 3) / 0, 2), ValueError, "vectors of sample 0 are not finite"),
        (lambda: pseudoscalar(torch.full((2, 3, 3), torch.nan)), ValueError, "vectors of sample 0 are not finite"),
        (lambda: maximally_coupled(random(2, 3, 3).half(), 2), TypeError, "accepted are float32 and float64"),
        (
            lambda: contract_channels(random(2, 3, 4), random(2, 5, 3), torch.tensor([0, 1])),
            ValueError,
            r"features have shape \(2, 3, 4\) and weights \(2, 5, 3\)",
        ),
        (
            lambda: contract_channels(random(2, 3, 4), random(2, 4, 3), torch.tensor([0])),
            ValueError,
            r"centres have shape \(1,\); accepted is \(2,\)",
        ),
        (
            lambda: contract_channels(random(2, 3, 4), random(2, 4, 3), torch.tensor([0, 2])),
            ValueError,
            "centres have the index 2; accepted is from 0 to 1",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_large_finite_vectors_are_accepted():
    big = torch.full((2, 3, 3), 1e308, dtype=torch.float64)  # their sum is not finite
    assert maximally_coupled(big, 1).shape == (2, 3, 3)


def test_order_of_components():
    np.testing.assert_array_equal(vector_to_spherical(np.array([1.0, 2.0, 3.0])), [2.0, 3.0, 1.0])
