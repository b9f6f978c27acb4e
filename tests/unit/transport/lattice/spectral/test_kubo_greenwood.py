"""Diffusivities without eigenvectors against those with them."""

import numpy as np
import pytest

from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.qhgk import qhgk
from matterscape.transport.lattice.spectral.kubo_greenwood import spectral_diffusivity

pytestmark = pytest.mark.unit

N_MOMENTS = 60


@pytest.fixture(scope="module")
def exact(alloy_modes):
    return spectral_diffusivity(alloy_modes.force_constants, N_MOMENTS, masses=alloy_modes.masses, n_vectors=None)


def test_moments_are_those_of_the_modes(alloy_modes, exact):
    """With the slopes of the dynamical matrix at zero wavevector, translations included."""
    constants, masses, vectors = alloy_modes.force_constants, alloy_modes.masses, alloy_modes.eigenvectors[0]
    n_atoms = len(masses)
    slopes = np.zeros((3, n_atoms, 3, n_atoms, 3))
    weights = SQUARED_FREQUENCY / np.sqrt(masses[constants.first] * masses[constants.second])
    terms = np.einsum("p,px,pab->pxab", weights, constants.vectors, constants.blocks)
    np.add.at(slopes, (slice(None), constants.first, slice(None), constants.second), terms)
    slopes = slopes.reshape(3, 3 * n_atoms, -1)
    weights = sum((vectors.T @ slope @ vectors) ** 2 for slope in slopes) / 3
    squares = np.where(alloy_modes.vibrating[0], alloy_modes.angular_frequencies[0] ** 2, 0)
    polynomials = np.cos(np.arange(N_MOMENTS) * np.arccos(2 * squares / exact.bound - 1)[:, None])
    np.testing.assert_allclose(exact.moments, polynomials.T @ weights @ polynomials, atol=1e-9 * exact.moments.max())


def test_values_are_the_sum_over_pairs_of_modes_with_gaussian_lines(alloy_modes, exact):
    omega = np.linspace(25, 95, 141)
    own, vibrating = alloy_modes.angular_frequencies[0], alloy_modes.vibrating[0]
    widths = exact.gaussian_width * np.sqrt(1 - omega**2 / exact.bound)
    lines = np.exp(-((omega - own[:, None]) ** 2) / (2 * widths**2)) / (np.sqrt(2 * np.pi) * widths)
    lines[~vibrating] = 0
    squares = (alloy_modes.velocity_operator(0) ** 2).sum(axis=0)
    expected = np.pi / 3 * np.einsum("nw,nm,mw->w", lines, squares, lines)
    # the levels of 64 atoms stand apart, and a line is a Gaussian but for its wings
    assert np.linalg.norm(exact.values(omega) - expected) < 0.07 * np.linalg.norm(expected)
    area = np.trapezoid(exact.values(omega), omega) / np.trapezoid(expected, omega)
    assert area == pytest.approx(1, abs=0.02)


def test_conductivity_is_near_that_of_allen_and_feldman(alloy_modes, exact):
    """A Gaussian of width s has the peak, and the norm, of a Lorentzian of half width s sqrt(2 / pi), or s 2 / sqrt(pi)
    for the product of two of them; twice eta in the theory of Allen and Feldman."""
    eta = exact.gaussian_width / np.sqrt(np.pi)
    expected = qhgk(alloy_modes, eta, 300.0).value
    assert exact.conductivity(300.0) == pytest.approx(expected, rel=0.15)
    assert exact.conductivity(300.0, statistics="classical") > exact.conductivity(100.0)


def test_vectors_that_do_not_fit_into_memory_are_made_again(alloy_modes):
    arguments = dict(masses=alloy_modes.masses, n_vectors=2, seed=4)
    whole = spectral_diffusivity(alloy_modes.force_constants, 30, **arguments)
    parts = spectral_diffusivity(alloy_modes.force_constants, 30, memory=7 * 6 * 192 * 64, **arguments)
    np.testing.assert_allclose(parts.moments, whole.moments, rtol=1e-9, atol=1e-9 * np.abs(whole.moments).max())


def test_random_vectors_scatter_about_the_exact_trace(alloy_modes, exact):
    samples = np.array(
        [
            spectral_diffusivity(
                alloy_modes.force_constants, N_MOMENTS, masses=alloy_modes.masses, n_vectors=8, seed=seed
            ).conductivity(300.0)
            for seed in range(6)
        ]
    )
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - exact.conductivity(300.0)) < 4 * error
    assert error < 0.1 * samples.mean()


def test_refused(alloy_modes):
    with pytest.raises(ValueError, match="n_moments is 1"):
        spectral_diffusivity(alloy_modes.force_constants, 1)
    with pytest.raises(ValueError, match="memory is 0"):
        spectral_diffusivity(alloy_modes.force_constants, 4, memory=0)
    with pytest.raises(ValueError, match="n_vectors is 0"):
        spectral_diffusivity(alloy_modes.force_constants, 4, n_vectors=0)
