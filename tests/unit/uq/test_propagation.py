"""Propagation member by member against covariances, stretching, and the sizes of shared and random parts."""

import numpy as np
import pytest
import torch

from matterscape.uq.propagation import decompose_size, propagate, stretched

pytestmark = pytest.mark.unit


@pytest.fixture
def members():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 32)) + rng.normal(size=(6, 1)) + rng.normal(size=32)


def test_two_members_by_hand():
    """The variance of the numbers 1 and 3 is 2 with ddof = 1; the population variance would be 1."""
    result = propagate(lambda y: y, np.array([[1.0, 3.0]]))
    np.testing.assert_allclose(result.mean, [2.0])
    np.testing.assert_allclose(result.standard_deviation, [np.sqrt(2.0)])


def test_differences_follow_the_covariance_formula(members):
    difference = propagate(lambda y: y[0] - y[1], members)
    covariance = np.cov(members)
    expected = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert difference.standard_deviation**2 == pytest.approx(expected, rel=1e-12)
    assert difference.standard_deviation**2 < 0.7 * (covariance[0, 0] + covariance[1, 1])  # quadrature is wrong


def test_any_function_of_several_inputs(members):
    other = members[:, ::-1].copy()
    result = propagate(lambda a, b: np.array([np.exp(a).sum(), a[0] * b[1]]), members, torch.tensor(other))
    assert result.members.shape == (2, 32)
    np.testing.assert_allclose(result.members, [np.exp(members).sum(axis=0), members[0] * other[1]])
    np.testing.assert_allclose(result.mean, result.members.mean(axis=1))
    np.testing.assert_allclose(result.standard_deviation, result.members.std(axis=1, ddof=1))
    scalar = propagate(lambda a: a.reshape(2, 3).max(), members)
    assert scalar.mean.shape == () and scalar.members.shape == (32,)


def test_stretching_multiplies_deviations_of_linear_quantities(members):
    def linear(y):
        return np.array([y.sum(), 3.0 * y[0] - y[4] + 7.0])

    before, after = propagate(linear, members), propagate(linear, stretched(members, 2.6))
    np.testing.assert_allclose(after.standard_deviation, 2.6 * before.standard_deviation, rtol=1e-12)
    np.testing.assert_allclose(after.mean, before.mean, rtol=1e-12)
    # Not so for others: stretching must come before the function, not after.
    nonlinear = propagate(lambda y: np.exp(y[0]), stretched(members, 2.6))
    assert nonlinear.standard_deviation > 2.9 * propagate(lambda y: np.exp(y[0]), members).standard_deviation


def atomistic_ensemble(n_atoms, n_frames=400, n_members=200):
    """E_k = sum_i (e_i + a_k + x_ki): one offset per atom for each member, and independent deviations of atoms."""
    rng = np.random.default_rng(n_atoms)
    offsets = 0.1 * rng.normal(size=n_members)
    random = 0.8 * np.sqrt(n_atoms) * rng.normal(size=(n_frames, n_members))
    return 10.0 * rng.normal(size=(n_frames, 1)) - 4.0 * n_atoms + n_atoms * offsets + random


def test_shared_part_grows_like_the_atoms_and_random_part_like_their_root():
    sizes = np.array([16, 64, 256, 1024])
    parts = [decompose_size(atomistic_ensemble(n)) for n in sizes]
    shared, random, total = (np.array([getattr(p, name) for p in parts]) for name in ("shared", "random", "total"))
    np.testing.assert_allclose(total**2, shared**2 + random**2, rtol=1e-12)
    np.testing.assert_allclose(shared / sizes, 0.1, rtol=0.15)
    np.testing.assert_allclose(random / np.sqrt(sizes), 0.8, rtol=0.05)


def test_decomposition_equals_its_definition():
    energies = np.random.default_rng(3).normal(size=(5, 4)) - 1e3
    deviations = energies - energies.mean(axis=1, keepdims=True)
    offsets = deviations.mean(axis=0)
    parts = decompose_size(torch.tensor(energies))
    assert parts.shared == pytest.approx(np.sqrt(np.sum(offsets**2) / 3), rel=1e-12)
    assert parts.random == pytest.approx(np.sqrt(np.sum((deviations - offsets) ** 2) / 15), rel=1e-12)
    assert parts.total == pytest.approx(np.sqrt(np.sum(deviations**2) / 15), rel=1e-12)


def test_equal_offsets_in_all_frames_are_all_shared():
    frames, members = np.arange(7.0)[:, None], np.array([1.0, 2.0, 4.0])
    parts = decompose_size(frames + members)
    assert parts.random == pytest.approx(0.0, abs=1e-14)
    assert parts.shared == pytest.approx(np.std(members, ddof=1), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: propagate(np.sum), "members must hold at least one array"),
        (lambda: propagate(np.sum, np.ones((3, 1))), "members\\[0\\] must have at least two members"),
        (lambda: propagate(np.sum, 3.0), "at least two members along its last axis, got shape \\(\\)"),
        (lambda: propagate(np.add, np.ones((3, 4)), np.ones((3, 5))), "members\\[1\\] must have 4 members"),
        (lambda: propagate(np.sum, np.array([1.0, np.nan])), "members\\[0\\] must be finite"),
        (lambda: propagate(lambda y: y[0] * np.inf, np.eye(2) + 1), "function must return finite numbers"),
        (lambda: stretched(np.ones((3, 4)), 0.0), "factor is 0.0; accepted is a positive number"),
        (lambda: decompose_size(np.ones((1, 4))), "at least two frames, got 1"),
        (lambda: decompose_size(np.ones((4, 1))), "at least two members"),
        (lambda: decompose_size(np.ones(4)), "member_energies must be a non-empty matrix"),
    ],
)
def test_bad_input_meets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    with pytest.raises(TypeError, match="members\\[0\\] must hold real numbers"):
        propagate(np.sum, np.array(["a", "b"]))
