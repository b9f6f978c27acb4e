"""The lattice of random springs: the perfect crystal in closed form, stability, and scattering by weak disorder."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.density_of_states import density_of_states
from matterscape.transport.lattice.spectral.spring_lattices import CUBIC_EDGE, spring_lattice
from matterscape.transport.lattice.spectral.structure_factor import damped_lines
from matterscape.transport.lattice.spectral.wave_chains import wave_chains

pytestmark = pytest.mark.unit


def fitted_line(chains, broadening: float, around: float, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and half widths (Q,) of the one line of each wave, the broadening taken off."""
    omega = np.linspace(max(0.01, around - reach), around + reach, 400)
    values = chains.structure_factor(omega, broadening).values

    def line(omega, square, width, weight):
        return weight * damped_lines(omega, np.array([square]), np.array([width]))[0]

    fits = [
        curve_fit(line, omega, own, (omega[own.argmax()] ** 2, 2 * broadening, 1.0), bounds=(0, np.inf))[0]
        for own in values
    ]
    return np.sqrt([fit[0] for fit in fits]), np.array([fit[1] for fit in fits]) - broadening


@pytest.mark.parametrize(
    ("branch", "direction", "stiffness", "phase"),
    [("longitudinal", [1, 0, 0], 8, 1), ("transverse", [1, 0, 0], 4, 1), ("longitudinal", [1, 1, 1], 8, 2)],
)
def test_perfect_lattice_in_closed_form(branch, direction, stiffness, phase):
    """omega^2 = K sum over neighbours of (e.n)^2 (1 - cos Q.n), sharp."""
    lattice, n_cells = spring_lattice(6, 0.0), 6
    wavevector = 2 * np.pi / (n_cells * CUBIC_EDGE) * np.array([direction], float)
    chains = wave_chains(lattice.matrix, lattice.structures, wavevector, branch, 50, masses=lattice.masses)
    expected = np.sqrt(stiffness * np.sin(phase * np.pi / n_cells / 2) ** 2)
    frequency, width = fitted_line(chains, 0.01, expected, 0.1)
    assert frequency[0] == pytest.approx(expected, rel=1e-4)
    assert abs(width[0]) < 1e-4
    assert (chains.chains.n_levels <= 3).all()  # an exact mode, to rounding


@pytest.mark.parametrize(("branch", "speed"), [("longitudinal", 1.0), ("transverse", np.sqrt(0.5))])
def test_speeds_of_sound_of_the_perfect_lattice(branch, speed):
    lattice = spring_lattice(20, 0.0)
    wavevector = np.array([[2 * np.pi / (20 * CUBIC_EDGE), 0, 0]])
    chains = wave_chains(lattice.matrix, lattice.structures, wavevector, branch, 5, masses=lattice.masses)
    # <omega^2> of an exact mode
    assert np.sqrt(chains.chains.a[0, 0]) / wavevector[0, 0] == pytest.approx(speed, rel=2e-3)


def test_springs_are_stable_random_and_free_to_move():
    lattice = spring_lattice(3, 0.9, seed=1)
    squares = np.linalg.eigvalsh(lattice.matrix.to_bsr().toarray())
    assert np.abs(squares[:3]).max() < 1e-12 < 0.01 < squares[3]
    assert lattice.matrix.acoustic_residual(lattice.masses) < 1e-14
    assert lattice.stiffness.mean() == pytest.approx(1, abs=0.1) and lattice.stiffness.std() > 0.1
    distances = lattice.structures.to_ase()[0].get_all_distances(mic=True)
    np.testing.assert_allclose(np.sort(distances + 9 * np.eye(108), axis=1)[:, :12], 1, rtol=1e-9)
    again = spring_lattice(3, 0.9, seed=1)
    np.testing.assert_array_equal(again.matrix.blocks, lattice.matrix.blocks)


def test_weak_disorder_of_the_masses_scatters_as_born_says():
    """FWHM = (pi/2) g2 omega^2 rho(omega), rho the lattice's density of states per degree of freedom at omega.

    The mean of |e_n.e|^2 over the modes of a frequency is one third in a cubic crystal.
    """
    n_cells, variance, found, born = 12, 0.02, [], []
    lattice = spring_lattice(n_cells, 0.0)
    wavevectors = 2 * np.pi / (n_cells * CUBIC_EDGE) * np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4.0]])
    omega = np.linspace(0.1, 2.8, 541)
    # the perfect lattice's own degenerate shells are smeared out over the Gaussians' width
    density = density_of_states(lattice.matrix, omega, 150, n_vectors=4)
    for seed in range(2):
        signs = np.random.default_rng(seed).permutation(np.repeat([-1.0, 1.0], 2 * n_cells**3))
        masses = 1 + np.sqrt(variance) * signs
        roots = np.sqrt(masses)
        matrix = lattice.matrix.to_bsr()
        rows = np.repeat(np.arange(len(roots)), np.diff(matrix.indptr))
        matrix.data = matrix.data / (roots[rows] * roots[matrix.indices])[:, None, None]
        chains = wave_chains(
            BlockMatrix.from_sparse(matrix), lattice.structures, wavevectors, "longitudinal", 500, masses=masses
        )
        frequencies, widths = fitted_line(chains, 0.01, np.sqrt(8) * np.sin(np.pi / 6), 0.12)
        found.append(widths)
        born.append(
            np.pi / 4 * variance * frequencies**2 * np.interp(frequencies, omega, density.values) / (12 * n_cells**3)
        )
    assert np.mean(found) == pytest.approx(np.mean(born), rel=0.15)


def test_refused():
    with pytest.raises(ValueError, match="n_cells is 1"):
        spring_lattice(1, 0.5)
    with pytest.raises(ValueError, match="disorder is 1.1"):
        spring_lattice(3, 1.1)
