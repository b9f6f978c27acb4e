import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from sympy.physics.quantum.cg import CG

from matterscape.basis.coupling import ClebschGordan, clebsch_gordan, complex_clebsch_gordan
from matterscape.basis.harmonics import spherical_harmonics
from matterscape.basis.wigner import wigner_matrices

pytestmark = pytest.mark.unit

YZX = [1, 2, 0]


def test_products_of_vectors():
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    couple = lambda total: np.einsum("abM,a,b->M", clebsch_gordan(1, 1, total), a[YZX], b[YZX])  # noqa: E731
    np.testing.assert_allclose(couple(0), [-(a @ b) / np.sqrt(3)], atol=1e-14)
    np.testing.assert_allclose(couple(1), np.cross(a, b)[YZX] / np.sqrt(2), atol=1e-14)
    # the symmetric traceless part: its norm follows from the identity of Lagrange
    norm = (a @ a) * (b @ b) - (a @ b) ** 2 / 3 - np.cross(a, b) @ np.cross(a, b) / 2
    assert couple(2) @ couple(2) == pytest.approx(norm, rel=1e-13)


@pytest.mark.parametrize("quantum_numbers", [(1, 2, 2, 1, -1), (3, 2, 4, -2, 1), (5, 5, 7, 3, -4), (2, 3, 1, 0, 0)])
def test_complex_coefficients_equal_sympy(quantum_numbers):
    l1, l2, total, m1, m2 = quantum_numbers
    expected = float(CG(l1, m1, l2, m2, total, m1 + m2).doit())
    value = complex_clebsch_gordan(l1, l2, total)[l1 + m1, l2 + m2, total + m1 + m2]
    assert value == pytest.approx(expected, abs=1e-15)


def test_orthogonality():
    """Over all L the coefficients of one (l1, l2) are an orthogonal matrix."""
    for l1, l2 in [*itertools.combinations_with_replacement(range(9), 2), (4, 2), (12, 9), (3, 20)]:
        matrix = np.concatenate([clebsch_gordan(l1, l2, total) for total in range(abs(l1 - l2), l1 + l2 + 1)], axis=2)
        matrix = matrix.reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), atol=1e-12)


def test_exchange_of_the_factors():
    for l1, l2, total in [(2, 3, 1), (2, 3, 2), (4, 1, 4), (3, 3, 5)]:
        sign = (-1) ** (l1 + l2 + total)
        exchanged = clebsch_gordan(l2, l1, total).transpose(1, 0, 2)
        np.testing.assert_allclose(clebsch_gordan(l1, l2, total), sign * exchanged, atol=1e-14)


def test_integral_of_three_harmonics():
    z, weights = np.polynomial.legendre.leggauss(10)
    phi = 2 * np.pi * np.arange(20) / 20
    s = np.sqrt(1 - z**2)
    grid = np.stack([np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(z, np.ones(20))], -1).reshape(-1, 3)
    values = spherical_harmonics(torch.from_numpy(grid), 5).numpy()
    measure = np.repeat(weights, 20) * 2 * np.pi / 20
    for l1, l2, total in ClebschGordan(5):
        y1, y2, y3 = (values[:, j**2 : (j + 1) ** 2] for j in (l1, l2, total))
        integral = np.einsum("pa,pb,pc->abc", y1 * measure[:, None], y2, y3, optimize=True)
        factor = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) / (4 * np.pi * (2 * total + 1)))
        at_zero = complex_clebsch_gordan(l1, l2, total)[l1, l2, total]
        np.testing.assert_allclose(integral, factor * at_zero * clebsch_gordan(l1, l2, total), atol=1e-12)


def test_equivariance():
    rotations = Rotation.random(3, rng=1).as_matrix() * np.array([1, -1, 1])[:, None, None]
    matrices = wigner_matrices(rotations, 12)
    for l1, l2, total in [(1, 1, 1), (2, 3, 4), (3, 3, 5), (6, 6, 12), (12, 12, 11)]:
        coupling = clebsch_gordan(l1, l2, total)
        rotated = np.einsum("abM,zap,zbq->zpqM", coupling, matrices[l1], matrices[l2], optimize=True)
        parity = np.linalg.det(rotations) ** (l1 + l2 + total)
        expected = np.einsum("abN,zMN->zabM", coupling, matrices[total]) * parity[:, None, None, None]
        np.testing.assert_allclose(rotated, expected, atol=1e-12)


def test_sparse_tables():
    coefficients = ClebschGordan(4)
    triples = list(coefficients)
    assert len(triples) == sum(
        abs(a - b) <= c <= a + b for a, b, c in itertools.product(range(5), repeat=3)
    ) and triples == sorted(triples)
    for l1, l2, total in triples:
        table, dense = coefficients[l1, l2, total], clebsch_gordan(l1, l2, total)
        rebuilt = np.zeros_like(dense)
        rebuilt[table.first, table.second, table.total] = table.values
        np.testing.assert_array_equal(rebuilt, dense)
        assert (np.abs(table.values) > 1e-10).all()
        assert len(table.starts) == 2 * total + 2 and table.starts[-1] == len(table.values)
        for component in range(2 * total + 1):
            assert (table.total[table.starts[component] : table.starts[component + 1]] == component).all()
    assert not clebsch_gordan(2, 2, 2).flags.writeable


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clebsch_gordan(1, 1, 3), r"total is 3; accepted is from \|l1 - l2\| = 0 to l1 \+ l2 = 2"),
        (lambda: clebsch_gordan(-1, 1, 1), "l1 is -1"),
        (lambda: clebsch_gordan(1, 1.5, 1), "l2 is 1.5"),
        (lambda: ClebschGordan(-2), "max_angular is -2"),
        (lambda: ClebschGordan(2)[3, 1, 2], r"\(l1, l2, L\) is \(3, 1, 2\); accepted are numbers up to 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
