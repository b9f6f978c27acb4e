"""Spectra without eigenvectors of the amorphous silicon of 216 atoms that kaldo's tests carry, against its modes."""

import importlib.util
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.harmonic import nearest_images
from matterscape.transport.lattice.modes import VibrationalModes, vibrational_modes
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.kernel_polynomials import (
    chebyshev_moments,
    gaussian_width,
    spectral_bound,
    structure_factor_of_moments,
)
from matterscape.transport.lattice.spectral.kubo_greenwood import spectral_diffusivity
from matterscape.transport.lattice.spectral.plane_waves import BRANCHES, commensurate_wavevectors, standing_waves
from matterscape.transport.lattice.spectral.structure_factor import structure_factor_of_modes
from matterscape.transport.lattice.spectral.wave_chains import wave_chains

# found without importing kaldo, which would load a deep-learning framework
_SPEC = importlib.util.find_spec("kaldo")
FOLDER = Path(_SPEC.origin).parent / "tests" / "si-amorphous" if _SPEC else Path("kaldo is not installed")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not (FOLDER / "Dyn.form").exists(), reason="kaldo's test data are not installed"),
]

OMEGA = np.linspace(0.5, 110, 1200)


@pytest.fixture(scope="module")
def modes() -> VibrationalModes:
    atoms = Atoms(ase.io.read(FOLDER / "CONFIG", format="dlp4"), pbc=True)
    atoms.set_chemical_symbols(["Si"] * 216)
    squares = np.loadtxt(FOLDER / "Dyn.form").reshape(216, 3, 216, 3).transpose(0, 2, 1, 3).reshape(-1, 3, 3)
    squares = squares.reshape(216, 216, 3, 3)
    squares = 0.5 * (squares + squares.transpose(1, 0, 3, 2))
    first, second = np.nonzero(np.abs(squares).max(axis=(2, 3)))
    masses = atoms.get_masses()
    constants = ForceConstants.from_terms(
        first,
        second,
        np.zeros((len(first), 3), np.int64),
        squares[first, second] * np.sqrt(masses[first] * masses[second])[:, None, None] / SQUARED_FREQUENCY,
        Structures.from_ase(atoms),
    )
    return vibrational_modes(nearest_images(constants))


@pytest.fixture(scope="module")
def matrix(modes) -> BlockMatrix:
    return BlockMatrix.from_force_constants(modes.force_constants, modes.masses)


@pytest.mark.parametrize("branch", BRANCHES)
def test_recursion_converges_to_the_sum_over_modes(modes, matrix, branch):
    wavevectors = commensurate_wavevectors(modes.structures, 1.2)[::7]
    exact = structure_factor_of_modes(modes, wavevectors, branch, OMEGA, 1.0).values
    chains = wave_chains(matrix, modes.structures, wavevectors, branch, 200)

    def error(n_levels, terminator):
        found = chains.structure_factor(OMEGA, 1.0, n_levels=n_levels, terminator=terminator).values
        return (np.abs(found - exact).max(axis=1) / exact.max(axis=1)).mean()

    assert error(200, "none") < 1e-3
    assert error(200, "square-root") < 1e-3
    assert error(50, "square-root") < 0.25 * error(50, "none")


def test_moments_and_their_structure_factor(modes, matrix):
    wavevectors = commensurate_wavevectors(modes.structures, 0.6)[:2]
    columns, _ = standing_waves(modes.structures, wavevectors, "transverse")
    bound = spectral_bound(matrix)
    weights = (modes.eigenvectors[0].T @ columns) ** 2
    # the file's rounding leaves translations with eigenvalues about zero, beyond the reach of the cosine form
    squares = np.copysign(modes.angular_frequencies[0] ** 2, modes.angular_frequencies[0])
    polynomials = np.polynomial.chebyshev.chebvander(2 * squares / bound - 1, 799)
    np.testing.assert_allclose(chebyshev_moments(matrix, columns, 800, bound), weights.T @ polynomials, atol=1e-9)
    found = structure_factor_of_moments(matrix, modes.structures, wavevectors, "transverse", OMEGA, 800)
    own = modes.angular_frequencies[0][:, None]
    widths = np.array([gaussian_width(800, bound, w) for w in own[:, 0]])[:, None]
    lines = np.exp(-((OMEGA - own) ** 2) / (2 * widths**2)) / (np.sqrt(2 * np.pi) * widths)
    expected = np.stack([weights[:, 4 * q : 4 * q + 4].sum(axis=1) / 2 @ lines for q in range(2)])
    assert np.abs(found.values - expected).max() < 0.05 * expected.max()


def test_diffusivity_is_the_sum_over_pairs_of_modes(modes):
    found = spectral_diffusivity(modes.force_constants, 48, n_vectors=None)
    omega = np.linspace(20, 95, 151)
    own, vibrating = modes.angular_frequencies[0], modes.vibrating[0]
    widths = found.gaussian_width * np.sqrt(1 - omega**2 / found.bound)
    lines = np.exp(-((omega - own[:, None]) ** 2) / (2 * widths**2)) / (np.sqrt(2 * np.pi) * widths)
    lines[~vibrating] = 0
    squares = (modes.velocity_operator(0) ** 2).sum(axis=0)
    expected = np.pi / 3 * np.einsum("nw,nm,mw->w", lines, squares, lines, optimize=True)
    assert np.abs(found.values(omega) / expected - 1).max() < 0.05
