"""Structure factors from eigenvectors: sum rules, the resolvent, perfect crystals, and widths of modes."""

import ase.build
import numpy as np
import pytest

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.modes import UnstableModesError, vibrational_modes
from matterscape.transport.lattice.spectral.plane_waves import BRANCHES, commensurate_wavevectors, plane_waves
from matterscape.transport.lattice.spectral.structure_factor import damped_lines, structure_factor_of_modes

pytestmark = pytest.mark.unit


def dynamical_matrix(modes) -> np.ndarray:
    roots = np.repeat(np.sqrt(modes.masses), 3)
    return SQUARED_FREQUENCY * modes.force_constants.dense() / np.outer(roots, roots)


@pytest.mark.parametrize("branch", BRANCHES)
def test_equals_the_resolvent(alloy_modes, branch):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.3)
    omega, broadening = np.array([0.0, 7.0, 31.0, 88.0]), 0.8
    found = structure_factor_of_modes(alloy_modes, wavevectors, branch, omega, broadening)
    waves = plane_waves(alloy_modes.structures, wavevectors, branch, masses=alloy_modes.masses)
    columns = waves.reshape(len(waves), -1)
    for place, frequency in enumerate(omega):
        resolvent = (frequency + 1j * broadening) ** 2 * np.eye(len(waves)) - dynamical_matrix(alloy_modes)
        values = np.einsum("iq,iq->q", columns.conj(), np.linalg.solve(resolvent, columns))
        expected = (-2 * frequency / np.pi * values.imag).reshape(len(wavevectors), -1).mean(axis=1)
        np.testing.assert_allclose(found.values[:, place], expected, rtol=1e-7, atol=1e-12)


def test_area_and_first_moment(alloy_modes):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.2)
    omega = np.linspace(0, 600, 60_001)
    widths = np.random.default_rng(0).uniform(0.2, 0.6, alloy_modes.angular_frequencies.shape)
    for given in (None, widths):
        found = structure_factor_of_modes(alloy_modes, wavevectors[:2], "longitudinal", omega, 0.3, half_widths=given)
        tail = 4 * 0.9 / (np.pi * omega[-1])  # the lines fall off as 4 g / (pi omega^2)
        np.testing.assert_allclose(np.trapezoid(found.values, omega, axis=1), 1, atol=tail)
    # <omega^2> of sharp lines is <Q|D|Q>
    waves = plane_waves(alloy_modes.structures, wavevectors[:2], "longitudinal", masses=alloy_modes.masses)[:, :, 0]
    moments = np.einsum("iq,ij,jq->q", waves.conj(), dynamical_matrix(alloy_modes), waves).real
    weights = np.abs(alloy_modes.eigenvectors[0].T @ waves) ** 2
    np.testing.assert_allclose(weights.T @ alloy_modes.angular_frequencies[0] ** 2, moments, rtol=1e-9)


def test_half_widths_broaden_each_line_by_their_own(alloy_modes):
    """A narrow line at its own frequency has the height 1 / (pi g) times its weight."""
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 0.7)[:1]
    waves = plane_waves(alloy_modes.structures, wavevectors, "longitudinal", masses=alloy_modes.masses)[:, 0, 0]
    weights = np.abs(alloy_modes.eigenvectors[0].T @ waves) ** 2
    strongest = int(weights.argmax())
    widths = np.full(alloy_modes.angular_frequencies.shape, 1e-6)
    widths[0, strongest] = 2e-3
    at = alloy_modes.angular_frequencies[0, strongest : strongest + 1]
    found = structure_factor_of_modes(alloy_modes, wavevectors, "longitudinal", at, 1e-3, half_widths=widths)
    assert found.values[0, 0] == pytest.approx(weights[strongest] / (np.pi * 3e-3), rel=0.01)
    assert found.broadening == 1e-3


def test_perfect_crystal_has_one_line():
    """Along a cube's axis long waves are modes of a crystal, but for the motion of its two sublattices against
    each other, and their frequencies are those of sound."""
    crystal = ase.build.bulk("Si", a=5.43, cubic=True).repeat((3, 1, 1))
    modes = vibrational_modes(StillingerWeber.silicon().hessian(Structures.from_ase(crystal)))
    wavevector = np.array([[2 * np.pi / (3 * 5.43), 0, 0]])
    speeds = []
    for branch in BRANCHES:
        waves = plane_waves(modes.structures, wavevector, branch)[:, 0]
        weights = (np.abs(modes.eigenvectors[0].T @ waves) ** 2).sum(axis=1) / waves.shape[1]
        frequency = np.sqrt(weights @ modes.angular_frequencies[0] ** 2)
        omega = np.linspace(0.5 * frequency, 1.5 * frequency, 2001)
        found = structure_factor_of_modes(modes, wavevector, branch, omega, 0.05)
        peak = omega[found.values[0].argmax()]
        within = np.abs(modes.angular_frequencies[0] - peak) < 0.2
        assert weights[within].sum() > 0.95
        speeds.append(peak / wavevector[0, 0])
    # sound of silicon in this potential along [100]: sqrt(c11/rho), sqrt(c44/rho), less dispersion
    assert 75 < speeds[0] < 84 and 45 < speeds[1] < 56


def test_shell_means(alloy_modes):
    wavevectors = commensurate_wavevectors(alloy_modes.structures, 1.3)
    omega = np.linspace(0, 100, 11)
    found = structure_factor_of_modes(alloy_modes, wavevectors, "transverse", omega, 1.0)
    lengths, means = found.shell_means()
    np.testing.assert_allclose(lengths, 2 * np.pi / 10.86 * np.sqrt([1, 2, 3, 4, 5]), rtol=1e-12)
    np.testing.assert_allclose(means[0], found.values[:3].mean(axis=0), rtol=1e-12)
    assert means.shape == (5, 11)


def test_lines_of_translations_have_their_area():
    omega = np.linspace(0, 3000, 600_001)
    lines = damped_lines(omega, np.array([0.0, 4.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(np.trapezoid(lines, omega, axis=1) + 4 * 0.5 / (np.pi * omega[-1]), 1, atol=1e-6)


def test_refused(alloy_modes):
    wavevectors, omega = commensurate_wavevectors(alloy_modes.structures, 1.0), np.linspace(0, 10, 5)
    with pytest.raises(ValueError, match="broadening is 0"):
        structure_factor_of_modes(alloy_modes, wavevectors, "longitudinal", omega, 0)
    with pytest.raises(ValueError, match="lowest is -1"):
        structure_factor_of_modes(alloy_modes, wavevectors, "longitudinal", omega - 1, 1.0)
    with pytest.raises(ValueError, match=r"positive numbers \(1, 192\)"):
        structure_factor_of_modes(alloy_modes, wavevectors, "longitudinal", omega, 1.0, half_widths=np.ones(192))
    crystal = StillingerWeber.silicon().hessian(Structures.from_ase(ase.build.bulk("Si", a=5.43)))
    with pytest.raises(ValueError, match=r"mesh \(2, 1, 1\)"):
        structure_factor_of_modes(vibrational_modes(crystal, (2, 1, 1)), wavevectors, "longitudinal", omega, 1.0)
    unstable = vibrational_modes(-1.0 * alloy_modes.force_constants)
    with pytest.raises(UnstableModesError):
        structure_factor_of_modes(unstable, wavevectors, "longitudinal", omega, 1.0)
