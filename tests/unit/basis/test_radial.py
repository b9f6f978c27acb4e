import numpy as np
import pytest

from matterscape.basis.radial import (
    CustomRadialBasis,
    GaussianTypeOrbitals,
    LaplacianEigenstates,
    centre_overlap,
    radial_integrals,
)

pytestmark = pytest.mark.unit


def quadrature(stop, n=400):
    x, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * stop * (x + 1), 0.5 * stop * weights


@pytest.mark.parametrize("max_radial", [1, 4, 8, 12])
def test_gaussian_type_orbitals_are_orthonormal(max_radial):
    basis = GaussianTypeOrbitals(max_radial, 4.0)
    x, weights = quadrature(basis.extent)
    functions = basis.evaluate(x, 0)[:, 0]
    np.testing.assert_allclose((functions.T * weights * x**2) @ functions, np.eye(max_radial), atol=2e-12)


def test_gaussian_type_orbitals_span_the_primitives():
    basis = GaussianTypeOrbitals(6, 4.0)
    x, weights = quadrature(basis.extent)
    functions = basis.evaluate(x, 0)[:, 0]
    n = np.arange(6)
    primitives = x[:, None] ** n * np.exp(-(x[:, None] ** 2) / (2 * (4.0 * np.maximum(np.sqrt(n), 1) / 6) ** 2))
    projected = functions @ (functions.T @ (primitives * (weights * x**2)[:, None]))
    np.testing.assert_allclose(projected, primitives, atol=1e-9 * primitives.max())
    # Loewdin's orthonormalisation is the symmetric one: overlap with the normalised primitives is a symmetric matrix
    primitives /= np.sqrt((primitives**2 * (weights * x**2)[:, None]).sum(0))
    overlap = functions.T @ (primitives * (weights * x**2)[:, None])
    np.testing.assert_allclose(overlap, overlap.T, atol=1e-12)
    assert (np.linalg.eigvalsh(overlap) > 0).all()


@pytest.mark.parametrize("angular", [0, 1, 5])
def test_laplacian_eigenstates(angular):
    basis = LaplacianEigenstates(6, 3.0)
    x, weights = quadrature(3.0)
    functions = basis.evaluate(x, 6)[:, angular]
    np.testing.assert_allclose((functions.T * weights * x**2) @ functions, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(basis.evaluate(np.array([3.0]), 6)[0, angular], 0, atol=1e-12)
    # radial Schroedinger equation: u = x R has u'' - l (l + 1) u / x^2 = -k^2 u
    x, h = np.linspace(0.7, 2.5, 20), 1e-3
    left, middle, right = (basis.evaluate(x + s, 6)[:, angular] * (x + s)[:, None] for s in (-h, 0, h))
    curvature = (left - 2 * middle + right) / h**2 - angular * (angular + 1) / x[:, None] ** 2 * middle
    momentum = np.sqrt(np.median(-curvature / middle, axis=0))
    np.testing.assert_allclose(curvature, -(momentum**2) * middle, atol=1e-4 * momentum.max() ** 2)
    assert (np.diff(momentum) > 0.9 * np.pi / 3).all()


def test_laplacian_nodes():
    # state n of one l has its first node at (first zero) / (zero n) of the cutoff; tabulated zeros of j_1 and j_2
    zeros = {1: [4.493409457909064, 7.725251836937707], 2: [5.763459196894550, 9.095011330476355]}
    for angular, (first, second) in zeros.items():
        assert abs(LaplacianEigenstates(2, 1.0).evaluate(np.array([first / second]), 2)[0, angular, 1]) < 1e-13


@pytest.mark.parametrize("basis", [GaussianTypeOrbitals(5, 4.0), LaplacianEigenstates(5, 4.0)], ids=repr)
def test_smeared_density_against_integration_in_space(basis):
    """Overlap of R_nl Y_lm with the Gaussian, the angle integrated numerically too."""
    smearing, r = 0.6, 1.3
    spline = radial_integrals(basis, 3, smearing)
    x, weights = quadrature(basis.extent, 300)
    cosine, cosine_weights = np.polynomial.legendre.leggauss(120)
    squared = x[:, None] ** 2 + r**2 - 2 * x[:, None] * r * cosine
    gaussian = (np.pi * smearing**2) ** -0.75 * np.exp(-squared / (2 * smearing**2))
    functions = basis.evaluate(x, 3)
    expected = []
    for angular in range(4):
        legendre = np.polynomial.legendre.Legendre.basis(angular)(cosine)
        profile = 2 * np.pi * gaussian @ (cosine_weights * legendre)
        expected.append((weights * x**2 * profile) @ functions[:, angular])
    np.testing.assert_allclose(spline.evaluate(np.array([r]))[0], np.concatenate(expected), atol=1e-9)


def test_narrow_gaussians_tend_to_the_sharp_density():
    basis = GaussianTypeOrbitals(4, 4.0)
    r = np.linspace(1.0, 3.9, 30)
    sharp = radial_integrals(basis, 2).evaluate(r)
    deviations = []
    for smearing in (0.1, 0.05):
        mass = (4 * np.pi * smearing**2) ** 0.75  # integral of the Gaussian of unit L2 norm
        smeared = radial_integrals(basis, 2, smearing, tolerance=1e-6).evaluate(r)
        deviations.append(np.abs(smeared / mass - sharp).max())
    assert deviations[0] / deviations[1] == pytest.approx(4, rel=0.1)  # the error is second order in the width


def test_centre_overlap():
    basis = GaussianTypeOrbitals(5, 4.0)
    spline = radial_integrals(basis, 0, 0.5)
    np.testing.assert_allclose(
        centre_overlap(basis, 0.5), spline.evaluate(np.zeros(1))[0] / np.sqrt(4 * np.pi), atol=1e-10
    )
    np.testing.assert_allclose(centre_overlap(basis), basis.evaluate(np.zeros(1), 0)[0, 0] / np.sqrt(4 * np.pi))


def test_higher_angular_momenta_vanish_at_the_centre():
    at_zero = radial_integrals(GaussianTypeOrbitals(5, 4.0), 4, 0.5).evaluate(np.zeros(1)).reshape(5, 5)
    assert np.abs(at_zero[1:]).max() < 1e-10 < np.abs(at_zero[0]).min()


def test_custom_basis_equals_the_same_built_in_one():
    built_in = LaplacianEigenstates(4, 4.0)
    custom = CustomRadialBasis(lambda r: built_in.evaluate(r, 3), 4.0, finest_length=built_in.finest_length)
    assert custom.max_radial == 4
    for smearing in (None, 0.4):
        pair = [radial_integrals(basis, 2, smearing, tolerance=1e-8) for basis in (built_in, custom)]
        np.testing.assert_allclose(pair[0].coefficients, pair[1].coefficients, atol=1e-13)
    shared = CustomRadialBasis(lambda r: np.exp(-r[:, None] * [0.5, 1.0]), 4.0)
    values = shared.evaluate(np.array([1.0, 2.0]), 1)
    assert values.shape == (2, 2, 2)
    np.testing.assert_allclose(values[:, 1], values[:, 0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianTypeOrbitals(0, 4.0), "max_radial is 0"),
        (lambda: GaussianTypeOrbitals(2.5, 4.0), "max_radial is 2.5"),
        (lambda: GaussianTypeOrbitals(40, 4.0), "max_radial is 40; accepted are sizes whose"),
        (lambda: LaplacianEigenstates(3, -1.0), "cutoff is -1.0"),
        (lambda: CustomRadialBasis(lambda r: r, 4.0), r"function returned shape \(3,\)"),
        (lambda: CustomRadialBasis(lambda r: r[:, None], 4.0, -1.0), "finest_length is -1.0"),
        (lambda: CustomRadialBasis(lambda r: np.ones((len(r), 2, 3)), 4.0).evaluate(np.ones(2), 2), "max_angular is 2"),
        (lambda: radial_integrals(GaussianTypeOrbitals(3, 4.0), -1), "max_angular is -1"),
        (lambda: radial_integrals(GaussianTypeOrbitals(3, 4.0), 2, 0.0), "smearing is 0.0"),
        (lambda: radial_integrals(CustomRadialBasis(lambda r: 1 / r[:, None], 4.0, 0.1), 0), "not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()
