"""Chebyshev moments against eigenvectors, what Jackson's kernel makes of a line, and structure factors from them."""

import numpy as np
import pytest

from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.kernel_polynomials import (
    chebyshev_moments,
    gaussian_width,
    jackson_kernel,
    reconstruct,
    spectral_bound,
    structure_factor_of_moments,
)
from matterscape.transport.lattice.spectral.plane_waves import commensurate_wavevectors, plane_waves, standing_waves

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def matrix(alloy_modes) -> BlockMatrix:
    return BlockMatrix.from_force_constants(alloy_modes.force_constants, alloy_modes.masses)


def test_bound_is_above_and_near_the_largest_eigenvalue(matrix, alloy_modes):
    largest = alloy_modes.angular_frequencies.max() ** 2
    assert 1.02 * largest * (1 - 1e-9) <= spectral_bound(matrix) < 1.05 * largest


@pytest.mark.parametrize("n_moments", [2, 3, 600, 601])
def test_moments_are_those_of_the_modes(matrix, alloy_modes, n_moments):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.3)[::4]
    columns, _ = standing_waves(alloy_modes.structures, wavevectors, "transverse", masses=alloy_modes.masses)
    bound = spectral_bound(matrix)
    weights = (alloy_modes.eigenvectors[0].T @ columns) ** 2
    squares = np.where(alloy_modes.vibrating[0], alloy_modes.angular_frequencies[0] ** 2, 0)
    polynomials = np.cos(np.arange(n_moments) * np.arccos(2 * squares / bound - 1)[:, None])
    found = chebyshev_moments(matrix, columns, n_moments, bound)
    np.testing.assert_allclose(found, weights.T @ polynomials, atol=1e-9)


@pytest.mark.parametrize("position", [0.05, 0.4, 0.9])
def test_a_line_becomes_the_gaussian_that_is_promised(position):
    bound, n_moments = 100.0, 400
    omega0 = position * np.sqrt(bound)
    moments = np.cos(np.arange(n_moments) * np.arccos(2 * omega0**2 / bound - 1))
    width = gaussian_width(n_moments, bound, omega0)
    omega = np.linspace(max(0, omega0 - 6 * width), omega0 + 6 * width, 4001)
    density = reconstruct(moments, bound, omega)
    area = np.trapezoid(density, omega)
    mean = np.trapezoid(density * omega, omega) / area
    assert density.min() >= -1e-12
    assert mean == pytest.approx(omega0, abs=0.1 * width)
    half = omega[density > density.max() / 2]
    assert np.ptp(half) == pytest.approx(2 * np.sqrt(2 * np.log(2)) * width, rel=0.1)


def test_density_integrates_to_the_zeroth_moment():
    bound, theta = 50.0, np.pi * (np.arange(4000) + 0.5) / 4000
    moments = np.random.default_rng(0).normal(size=(3, 300))
    omega = np.sqrt(bound * (1 + np.cos(theta)) / 2)
    steps = np.pi / 4000 * np.sin(theta) * bound / (4 * omega)
    np.testing.assert_allclose(reconstruct(moments, bound, omega) @ steps, moments[:, 0], atol=1e-10)
    assert not reconstruct(moments, bound, np.array([0.0, 8.0, 100.0])).any()


def test_kernel_falls_from_one_to_zero():
    kernel = jackson_kernel(200)
    assert kernel[0] == pytest.approx(1) and 0 < kernel[-1] < 1e-3 and (np.diff(kernel) < 0).all()


@pytest.mark.parametrize("branch", ["longitudinal", "transverse"])
def test_structure_factor_is_that_of_the_modes_with_gaussian_lines(matrix, alloy_modes, branch):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.2)[[0, 5]]
    omega, n_moments = np.linspace(0, 110, 800), 200
    found = structure_factor_of_moments(
        matrix, alloy_modes.structures, wavevectors, branch, omega, n_moments, masses=alloy_modes.masses
    )
    waves = plane_waves(alloy_modes.structures, wavevectors, branch, masses=alloy_modes.masses)
    overlaps = np.abs(np.einsum("in,iqp->nqp", alloy_modes.eigenvectors[0], waves)) ** 2
    own = alloy_modes.angular_frequencies[0]
    widths = np.array([gaussian_width(n_moments, spectral_bound(matrix), frequency) for frequency in own])
    lines = np.exp(-((omega - own[:, None]) ** 2) / (2 * widths[:, None] ** 2)) / (np.sqrt(2 * np.pi) * widths[:, None])
    expected = overlaps.mean(axis=2).T @ lines
    assert np.abs(found.values - expected).max() < 0.05 * expected.max()
    assert found.shape == "gaussian"
    assert found.broadening == pytest.approx(np.sqrt(2 * np.log(2)) * widths[0], rel=0.01)


def test_a_bound_that_is_too_low_is_noticed(matrix, alloy_modes):
    start = np.random.default_rng(0).normal(size=(192, 1))
    with pytest.raises(ValueError, match="bound is .*accepted is a bound above the largest eigenvalue"):
        chebyshev_moments(matrix, start, 400, 0.8 * spectral_bound(matrix))
    unstable = BlockMatrix.from_force_constants(-1.0 * alloy_modes.force_constants, alloy_modes.masses)
    with pytest.raises(ValueError, match="without negative ones"):
        chebyshev_moments(unstable, start, 400, spectral_bound(matrix))


def test_refused(matrix):
    with pytest.raises(ValueError, match="n_moments is 1"):
        chebyshev_moments(matrix, np.ones((192, 1)), 1, 1e5)
    with pytest.raises(ValueError, match="bound is -1"):
        chebyshev_moments(matrix, np.ones((192, 1)), 10, -1)
    with pytest.raises(ValueError, match="lowest is -1"):
        reconstruct(np.ones(10), 1.0, np.array([-1.0]))
