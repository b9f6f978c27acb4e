"""Recursion: the spectrum of eigenvectors, terminators, ends of chains, precision, and structure factors from it."""

import numpy as np
import pytest
from scipy.sparse import diags_array

from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.haydock import Chains, band_tail, haydock_green, lanczos
from matterscape.transport.lattice.spectral.plane_waves import BRANCHES, commensurate_wavevectors, standing_waves
from matterscape.transport.lattice.spectral.structure_factor import structure_factor_of_modes
from matterscape.transport.lattice.spectral.wave_chains import WaveChains, wave_chains

pytestmark = pytest.mark.unit

OMEGA = np.linspace(0, 115, 401)


@pytest.fixture(scope="module")
def matrix(alloy_modes) -> BlockMatrix:
    return BlockMatrix.from_force_constants(alloy_modes.force_constants, alloy_modes.masses)


@pytest.fixture(scope="module")
def columns(alloy_modes) -> np.ndarray:
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.1)[[0, 4]]
    return standing_waves(alloy_modes.structures, wavevectors, "transverse", masses=alloy_modes.masses)[0]


def test_complete_recursion_is_the_sum_over_modes(alloy_modes, matrix, columns):
    chains = lanczos(matrix, columns, 192, reorthogonalise=True)
    z = (OMEGA + 0.4j) ** 2
    weights = (alloy_modes.eigenvectors[0].T @ columns) ** 2
    squares = np.where(alloy_modes.vibrating[0], alloy_modes.angular_frequencies[0] ** 2, 0)
    expected = np.einsum("nr,nw->rw", weights, 1 / (z - squares[:, None]))
    found = haydock_green(chains, z, "none")
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(chains.b2[:, 0], (columns**2).sum(axis=0), rtol=1e-12)


def test_first_levels_are_moments(alloy_modes, matrix, columns):
    weights = (alloy_modes.eigenvectors[0].T @ columns) ** 2
    weights /= weights.sum(axis=0)
    omega = alloy_modes.angular_frequencies[0]
    chains = lanczos(matrix, columns, 2)
    np.testing.assert_allclose(chains.a[:, 0], omega**2 @ weights, rtol=1e-10)
    np.testing.assert_allclose(chains.b2[:, 1], omega**4 @ weights - (omega**2 @ weights) ** 2, rtol=1e-8)


@pytest.mark.parametrize("branch", BRANCHES)
def test_structure_factor_is_that_of_the_modes(alloy_modes, matrix, branch):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.3)[[0, 3, 9, 11]]
    exact = structure_factor_of_modes(alloy_modes, wavevectors, branch, OMEGA, 1.0)
    recursion = wave_chains(matrix, alloy_modes.structures, wavevectors, branch, 150, masses=alloy_modes.masses)
    for terminator in ("none", "square-root"):
        found = recursion.structure_factor(OMEGA, 1.0, terminator=terminator)
        assert np.abs(found.values - exact.values).max() < 1e-3 * exact.values.max()
    one = recursion[2].structure_factor(OMEGA, 1.0)
    np.testing.assert_allclose(one.values[0], found.values[2], rtol=1e-12)
    np.testing.assert_array_equal(one.wavevectors, wavevectors[[2]])
    errors = [
        np.abs(recursion.structure_factor(OMEGA, 1.0, n_levels=40, terminator=t).values - exact.values).max()
        for t in ("none", "square-root")
    ]
    assert errors[1] < 0.5 * errors[0]
    assert (found.branch, found.broadening, found.shape) == (branch, 1.0, "lorentzian")


def test_cosines_alone_average_to_the_wave(alloy_modes, matrix):
    """The real part at +Q and shifted by a quarter of a wave differ; over all directions of a shell they agree."""
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 0.6)
    both = wave_chains(matrix, alloy_modes.structures, wavevectors, "longitudinal", 60, masses=alloy_modes.masses)
    cosines = wave_chains(
        matrix, alloy_modes.structures, wavevectors, "longitudinal", 60, masses=alloy_modes.masses, cosines_only=True
    )
    assert len(cosines.chains.a) == 3 and len(both.chains.a) == 6
    np.testing.assert_allclose(cosines.chains.b2[:, 0], 1, rtol=1e-12)
    areas = [np.trapezoid(c.structure_factor(OMEGA, 1.0).values, OMEGA, axis=1) for c in (both, cosines)]
    np.testing.assert_allclose(areas[0], areas[1], rtol=0.01)


def test_single_precision_keeps_the_structure_factor(alloy_modes, matrix):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.0)
    values = [
        wave_chains(m, alloy_modes.structures, wavevectors, "transverse", 60, masses=alloy_modes.masses)
        .structure_factor(OMEGA, 2.0)
        .values
        for m in (matrix, matrix.astype(np.float32))
    ]
    assert np.abs(values[1] - values[0]).max() < 0.01 * values[0].max()


def test_an_invariant_space_ends_the_chain():
    matrix = BlockMatrix.from_sparse(diags_array(np.repeat([1.0, 4.0, 9.0], 4)))
    vectors = np.zeros((12, 2))
    vectors[[0, 4], 0] = 1.0, 2.0  # two eigenvalues
    vectors[:, 1] = 1.0  # three
    chains = lanczos(matrix, vectors, 8)
    np.testing.assert_array_equal(chains.n_levels, [2, 3])
    assert not chains.b2[0, 2:].any()
    z = np.array([2.0 + 1j, -1.0])
    expected = np.stack([1 / (z - 1) + 4 / (z - 4), 4 / (z - 1) + 4 / (z - 4) + 4 / (z - 9)])
    for terminator in ("none", "square-root"):
        np.testing.assert_allclose(haydock_green(chains, z, terminator), expected, rtol=1e-12)


def test_terminator_of_a_band_is_its_green_function():
    """A chain of equal coefficients: any number of levels gives the semicircle, above, on and outside of the band."""
    chains = Chains(np.full((1, 6), 3.0), np.array([[1.0] + 5 * [0.25]]))
    z = np.array([3.0 + 0.01j, 2.5, 3.4, 5.0, 0.5, 10 + 1j])
    for n_levels in (2, 6):
        green = haydock_green(chains.shortened(n_levels), z)[0]
        inside = np.abs(z.real - 3) < 1
        density = np.where(inside, 2 / np.pi * np.sqrt(np.maximum(1 - (z.real - 3) ** 2, 0)), 0)
        exact = z.imag == 0
        np.testing.assert_allclose(-green.imag[exact] / np.pi, density[exact], atol=1e-12)
        np.testing.assert_allclose(green, 1 / (z - 3 - 0.25 * green), rtol=1e-10)
        assert np.abs(green[3]) < 2 and green[3].real > 0 > green[4].real


def test_the_other_branch_of_the_root_makes_spectra_negative(alloy_modes, matrix, columns):
    chains = lanczos(matrix, columns, 30)
    z = (OMEGA[1:] + 0.5j) ** 2
    a, b2 = chains.a[0, 15:].mean(), chains.b2[0, 15:].mean()
    tail = band_tail(z, a, b2)
    assert (tail.imag < 0).all() and (np.abs(tail) < np.sqrt(b2)).all()
    np.testing.assert_allclose(tail, b2 / (z - a - tail), rtol=1e-10)
    for chosen, negative in ((tail, False), (b2 / tail, True)):
        green = chosen
        for level in range(29, -1, -1):
            green = chains.b2[0, level] / (z - chains.a[0, level] - green)
        assert ((-OMEGA[1:] * green.imag).min() < -1e-12) == negative


def test_a_negative_structure_factor_is_an_error(alloy_modes, matrix, monkeypatch):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 0.6)
    chains = wave_chains(matrix, alloy_modes.structures, wavevectors, "longitudinal", 30, masses=alloy_modes.masses)
    module = "matterscape.transport.lattice.spectral.haydock.band_tail"
    monkeypatch.setattr(module, lambda z, a, b2: b2 / band_tail(z, a, b2))
    with pytest.raises(ArithmeticError, match="cannot be negative"):
        chains.structure_factor(OMEGA, 0.5)


def test_refused(alloy_modes, matrix, columns):
    with pytest.raises(ValueError, match="n_levels is 1"):
        lanczos(matrix, columns, 1)
    with pytest.raises(ValueError, match="column of zeros"):
        lanczos(matrix, np.zeros((192, 2)), 5)
    chains = lanczos(matrix, columns, 5)
    with pytest.raises(ValueError, match="below the real axis"):
        haydock_green(chains, np.array([1 - 1j]))
    with pytest.raises(ValueError, match="terminator is 'sqrt'"):
        haydock_green(chains, np.array([1j]), "sqrt")
    with pytest.raises(ValueError, match="at most the 5"):
        chains.shortened(6)
    with pytest.raises(ValueError, match="below zero"):
        Chains(np.ones((1, 3)), np.array([[1.0, -1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"equal ones \(R, k\)"):
        Chains(np.ones((1, 3)), np.ones((1, 2)))
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 0.6)
    waves = WaveChains(wavevectors, "longitudinal", chains, np.zeros(len(chains.a), int))
    with pytest.raises(ValueError, match="broadening is 0"):
        waves.structure_factor(OMEGA, 0)
    other = BlockMatrix.from_sparse(np.eye(9))
    with pytest.raises(ValueError, match="3 atoms.*64 atoms"):
        wave_chains(other, alloy_modes.structures, wavevectors, "longitudinal", 5)
    with pytest.raises(ValueError, match="at least one"):
        wave_chains(matrix, alloy_modes.structures, np.empty((0, 3)), "longitudinal", 5)
