"""Irreducible parts of Cartesian tensors and the symmetry of sites."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matterscape.basis.wigner import wigner_matrices
from matterscape.descriptors.irreps import (
    cartesian_to_spherical,
    site_operations,
    site_projector,
    spherical_to_cartesian,
    spherical_to_vector,
    symmetry_audit,
    vector_to_spherical,
)

pytestmark = pytest.mark.unit

# independent components that the site allows / rank of the basis of three vectors, lambda = 1 .. 4
AUDIT = {
    ("HCOOH", 1): ((2, 2), (3, 3), (4, 4), (5, 5)),
    ("H2O", 0): ((1, 1), (2, 1), (2, 1), (3, 1)),
    ("NH3", 0): ((1, 1), (1, 1), (2, 1), (2, 1)),
    ("BF3", 0): ((0, 0), (1, 0), (1, 0), (1, 0)),
}
ORDERS = {("HCOOH", 1): 2, ("H2O", 0): 4, ("NH3", 0): 6, ("BF3", 0): 12, ("CH4", 0): 24, ("H2O2", 0): 1}


def tensors(n=6, symmetric=True, seed=0):
    made = np.random.default_rng(seed).normal(size=(n, 3, 3))
    return made + made.transpose(0, 2, 1) if symmetric else made


def test_parts_of_known_tensors():
    parts = cartesian_to_spherical(np.eye(3))
    np.testing.assert_allclose(parts[0], [-np.sqrt(3)], atol=1e-15)
    np.testing.assert_allclose(parts[2], 0, atol=1e-15)
    axial = np.diag([-1.0, -1.0, 2.0])
    np.testing.assert_allclose(cartesian_to_spherical(axial)[2], [0, 0, np.sqrt(6), 0, 0], atol=1e-14)
    first, second = np.random.default_rng(1).normal(size=(2, 3))
    parts = cartesian_to_spherical(np.outer(first, second), symmetric=False)
    np.testing.assert_allclose(parts[0], [-first @ second / np.sqrt(3)], atol=1e-15)
    np.testing.assert_allclose(spherical_to_vector(parts[1]), np.cross(first, second) / np.sqrt(2), atol=1e-15)


def test_norm_and_round_trip():
    for symmetric in (True, False):
        given = tensors(symmetric=symmetric)
        parts = cartesian_to_spherical(given, symmetric=symmetric)
        assert set(parts) == ({0, 2} if symmetric else {0, 1, 2})
        squares = sum((part**2).sum(axis=-1) for part in parts.values())
        np.testing.assert_allclose(squares, (given**2).sum(axis=(1, 2)), rtol=1e-13)
        np.testing.assert_allclose(spherical_to_cartesian(parts), given, atol=1e-14)
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(spherical_to_vector(vector_to_spherical(vectors)), vectors)


def test_tensors_of_torch_keep_their_type_and_gradient():
    given = torch.from_numpy(tensors()).float().requires_grad_()
    parts = cartesian_to_spherical(given)
    assert parts[2].dtype == torch.float32
    np.testing.assert_allclose(parts[2].detach(), cartesian_to_spherical(tensors())[2], atol=1e-6)
    spherical_to_cartesian(parts).sum().backward()
    np.testing.assert_allclose(given.grad, np.ones((6, 3, 3)), atol=1e-6)


def test_parts_turn_by_wigner_matrices():
    given, rotation = tensors(symmetric=False), Rotation.random(random_state=1).as_matrix()
    before = cartesian_to_spherical(given, symmetric=False)
    after = cartesian_to_spherical(rotation @ given @ rotation.T, symmetric=False)
    matrices = wigner_matrices(rotation, 2)
    for l in (0, 1, 2):
        np.testing.assert_allclose(after[l], before[l] @ matrices[l].T, atol=1e-13)


@pytest.mark.parametrize(("site", "order"), ORDERS.items())
def test_orders_of_site_groups(site, order):
    operations = site_operations(molecule(site[0]), site[1])
    assert len(operations) == order
    products = np.einsum("aij,bjk->abik", operations, operations).reshape(-1, 3, 3)
    assert all(np.abs(operations - product).max(axis=(1, 2)).min() < 1e-3 for product in products)


@pytest.mark.parametrize(("site", "expected"), AUDIT.items())
def test_symmetry_audit(site, expected):
    operations = site_operations(molecule(site[0]), site[1])
    assert tuple(tuple(symmetry_audit(operations, lambda_)) for lambda_ in (1, 2, 3, 4)) == expected


def test_audit_of_sites_with_inversion_and_of_linear_molecules():
    inversion = np.array([np.eye(3), -np.eye(3)])
    for lambda_ in range(1, 7):
        even = 2 * lambda_ + 1 if lambda_ % 2 == 0 else 0
        assert tuple(symmetry_audit(inversion, lambda_)) == (even, 0)
        assert tuple(symmetry_audit(inversion, lambda_, parity=-1)) == (2 * lambda_ + 1 - even, 0)
    carbon, oxygen = (site_operations(molecule("CO2"), atom) for atom in (0, 1))
    assert len(carbon) == 2 * len(oxygen) == 68
    for lambda_ in range(1, 9):
        assert tuple(symmetry_audit(carbon, lambda_)) == ((lambda_ + 1) % 2, 0)
        assert tuple(symmetry_audit(oxygen, lambda_)) == (1, 1)


def test_a_general_site_has_everything_of_both_parities():
    operations = np.eye(3)[None]
    for lambda_ in range(5):
        for parity in (1, -1):
            assert tuple(symmetry_audit(operations, lambda_, parity=parity)) == (2 * lambda_ + 1,) * 2


def test_a_small_distortion_lifts_the_restriction():
    atoms = molecule("H2O")
    assert tuple(symmetry_audit(site_operations(atoms, 0), 2)) == (2, 1)
    atoms.positions[1] += [0.0, 0.02, 0.0]  # in the plane
    assert tuple(symmetry_audit(site_operations(atoms, 0), 2)) == (3, 3)
    assert tuple(symmetry_audit(site_operations(atoms, 0, tolerance=0.05), 2)) == (2, 1)


def test_projector_leaves_invariant_tensors():
    operations = site_operations(molecule("NH3"), 0)
    for lambda_ in (2, 3):
        projector = site_projector(operations, lambda_)
        np.testing.assert_allclose(projector @ projector, projector, atol=1e-12)
        for matrix in wigner_matrices(operations, lambda_)[lambda_]:
            np.testing.assert_allclose(matrix @ projector, projector, atol=1e-3)  # the molecule is symmetric to 1e-6 Å


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cartesian_to_spherical(np.zeros(9)), ValueError, r"tensors have shape \(9,\)"),
        (lambda: cartesian_to_spherical(tensors(symmetric=False)), ValueError, "differ from their transposes"),
        (lambda: spherical_to_cartesian({3: np.zeros(7)}), ValueError, r"parts have the orders \[3\]"),
        (lambda: spherical_to_cartesian({}), ValueError, r"parts have the orders \[\]"),
        (lambda: site_operations(bulk("Si"), 0), ValueError, "atoms are periodic"),
        (lambda: site_operations(Atoms("H"), 0), ValueError, "atoms are one atom"),
        (lambda: site_operations(molecule("H2O"), 3), IndexError, "centre is 3; there are 3 atoms"),
        (lambda: site_projector(np.eye(3)[None], 2, parity=0), ValueError, "parity is 0; accepted are 1 and -1"),
        (
            lambda: site_projector(np.array([np.eye(3), Rotation.from_euler("z", 1.0).as_matrix()]), 2),
            ValueError,
            "operations do not form a group",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
