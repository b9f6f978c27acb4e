"""Densities of states: their integral, the histogram of the modes, the law of the noise."""

import itertools

import numpy as np
import pytest

from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.density_of_states import density_of_states
from matterscape.transport.lattice.spectral.kernel_polynomials import spectral_bound
from matterscape.transport.lattice.spectral.spring_lattices import spring_lattice

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def matrix(alloy_modes) -> BlockMatrix:
    return BlockMatrix.from_force_constants(alloy_modes.force_constants, alloy_modes.masses)


def chebyshev_points(bound: float, n_points: int) -> tuple[np.ndarray, np.ndarray]:
    theta = np.pi * (np.arange(n_points) + 0.5) / n_points
    omega = np.sqrt(bound * (1 + np.cos(theta)) / 2)
    return omega, np.pi / n_points * np.sin(theta) * bound / (4 * omega)


@pytest.mark.parametrize("n_vectors", [None, 3])
def test_integral_is_the_number_of_modes(matrix, n_vectors):
    omega, steps = chebyshev_points(spectral_bound(matrix), 2000)
    found = density_of_states(matrix, omega, 300, n_vectors=n_vectors)
    assert found.values @ steps == pytest.approx(192, rel=1e-10)


def test_exact_trace_is_the_sum_of_gaussians(matrix, alloy_modes):
    omega = np.linspace(15, 105, 300)
    found = density_of_states(matrix, omega, 200, n_vectors=None)
    own, bound = alloy_modes.angular_frequencies[0], spectral_bound(matrix)
    widths = found.gaussian_width * np.sqrt(1 - own[:, None] ** 2 / bound)
    expected = (np.exp(-((omega - own[:, None]) ** 2) / (2 * widths**2)) / (np.sqrt(2 * np.pi) * widths)).sum(axis=0)
    assert np.abs(found.values - expected).max() < 0.05 * expected.max()
    assert not found.errors.any()


def test_random_vectors_give_the_counts_of_the_modes_within_their_errors():
    lattice = spring_lattice(4, 0.9, seed=3)
    omega = np.sqrt(np.abs(np.linalg.eigvalsh(lattice.matrix.to_bsr().toarray())))
    points, steps = chebyshev_points(spectral_bound(lattice.matrix), 3000)
    found = density_of_states(lattice.matrix, points, 600, n_vectors=24, seed=1)
    edges = np.linspace(0.8, 2.8, 9)
    inside = (points >= edges[:-1, None]) & (points < edges[1:, None])
    counted = np.array([((omega >= low) & (omega < high)).sum() for low, high in itertools.pairwise(edges)])
    errors = np.array([np.sqrt(2 * count / 24) for count in counted])  # variance of a trace over random signs, at most
    deviations = (inside @ (found.values * steps) - counted) / errors
    assert np.abs(deviations).max() < 3
    assert (found.errors > 0).all()


def test_refused(matrix):
    with pytest.raises(ValueError, match="n_vectors is 1"):
        density_of_states(matrix, np.ones(3), 100, n_vectors=1)
