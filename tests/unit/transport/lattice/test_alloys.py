"""Sound in alloys: Born's approximation for any colour, measured attenuation, weak disorder."""

import math

import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.structures.disorder import mass_field
from matterscape.transport.lattice.alloys import MeasuredAttenuation, isotropic_born_half_widths
from matterscape.transport.lattice.crystals.mass_disorder import tamura_half_widths
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.sound import fit_sound_peak
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.wave_chains import wave_chains
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit

SPEEDS = {"longitudinal_speed": 70.0, "transverse_speed": 42.0, "volume_per_atom": 21.0}
OMEGA = np.array([1.0, 4.0, 9.0])


def test_white_disorder_scatters_all_waves_alike():
    found = isotropic_born_half_widths(OMEGA, lambda k: np.full(k.shape, 0.2), **SPEEDS)
    mean = (70.0**-3 + 2 * 42.0**-3) / 3
    for widths in found:
        np.testing.assert_allclose(widths, 0.5 * 21.0 * 0.2 * OMEGA**4 * mean / (4 * math.pi), rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_exponent_of_coloured_disorder(exponent):
    """Gamma ~ omega^(4 - p), with a prefactor that direct integration over angles confirms."""
    longitudinal, transverse = isotropic_born_half_widths(OMEGA, lambda k: 1e-3 * k**-exponent, **SPEEDS)
    for widths in (longitudinal, transverse):
        np.testing.assert_allclose(widths / widths[0], OMEGA ** (4 - exponent), rtol=1e-9)
    cosine = np.concatenate([np.linspace(-1, 0.9, 100_000)[:-1], 1 - np.geomspace(0.1, 1e-12, 200_000)])
    k = OMEGA[0] / np.array([70.0, 42.0])
    total = 0.0
    for speed, wave, share in ((70.0, k[0], 0.5 * (1 - cosine**2)), (42.0, k[1], 0.5 * (1 + cosine**2))):
        transfer = np.sqrt(k[1] ** 2 + wave**2 - 2 * k[1] * wave * cosine)
        total += np.trapezoid(1e-3 * transfer**-exponent * share, cosine) / 2 / speed**3
    assert transverse[0] == pytest.approx(0.5 * 21.0 * OMEGA[0] ** 4 * total / (4 * math.pi), rel=2e-3)


def test_a_steep_colour_scatters_forward_without_bound():
    """S ~ k^-2 leaves an integral over angles that grows as the logarithm of its shortest wavevector."""
    longest = np.array([1e2, 1e3, 1e4])
    found = [
        isotropic_born_half_widths(OMEGA[2:], lambda k, cut=cut: (k**2 + cut**-2) ** -1, **SPEEDS)[1][0]
        for cut in longest
    ]
    steps = np.diff(found)
    assert steps[1] == pytest.approx(steps[0], rel=0.02) and steps[0] > 0.2 * found[0]


def test_a_correlation_length_enhances_long_waves_only():
    size = 5.0
    white = isotropic_born_half_widths(OMEGA, lambda k: np.full(k.shape, 1.0), **SPEEDS)[1]
    long, _, short = isotropic_born_half_widths(
        np.array([0.01, 4.0, 60.0]), lambda k: 8.0 * np.exp(-0.5 * (k * size) ** 2), **SPEEDS
    )[1]
    assert long == pytest.approx(8.0 * white[0] * 0.01**4, rel=1e-3)
    assert short < 0.2 * white[0] * 60.0**4


def test_born_refuses():
    with pytest.raises(ValueError, match="transverse_speed is -1; accepted is a positive number of Å/ps"):
        isotropic_born_half_widths(OMEGA, np.ones_like, **(SPEEDS | {"transverse_speed": -1}))
    with pytest.raises(ValueError, match="structure_factor gives -0.1; accepted are numbers from 0 on"):
        isotropic_born_half_widths(OMEGA, lambda k: np.full(k.shape, -0.1), **SPEEDS)


def test_measured_attenuation():
    omega = np.array([2.0, 5.0, 8.0])
    found = MeasuredAttenuation(omega, 1e-3 * omega**3, exponent=4.0)
    np.testing.assert_allclose(found(omega), 1e-3 * omega**3, rtol=1e-12)
    np.testing.assert_allclose(found(np.array([3.0, 12.0])), 1e-3 * np.array([27.0, 1728.0]), rtol=1e-9)
    np.testing.assert_allclose(found(np.array([1.0, 0.2])), 8e-3 * np.array([0.5, 0.1]) ** 4, rtol=1e-12)
    # 2 pi 1e-3 omega^3 = omega
    assert found.ioffe_regel() == pytest.approx((2e-3 * math.pi) ** -0.5, rel=1e-3)
    with pytest.raises(ValueError, match="half_widths stay below omega / 2 pi up to 16 rad/ps"):
        MeasuredAttenuation(omega, 1e-9 * omega).ioffe_regel()


@pytest.mark.parametrize(
    "omega, widths, message",
    [
        ([1.0], [1.0], "accepted are two or more numbers in each"),
        ([2.0, 1.0], [1.0, 1.0], "angular_frequencies are .* accepted are positive numbers that ascend"),
        ([1.0, 2.0], [1.0, -0.1], "half_widths hold -0.1; accepted are positive, finite numbers"),
    ],
)
def test_attenuation_refuses(omega, widths, message):
    with pytest.raises(ValueError, match=message):
        MeasuredAttenuation(omega, widths)


def test_weak_disorder_broadens_waves_as_tamura_says():
    """Spectra of 4032 atoms with g_2 = 0.02 against perturbation theory with the crystal's own density of states."""
    variance, broadening = 0.02, 0.3
    unit, primitive = bulk("Si", a=5.432, cubic=True), bulk("Si", a=5.432)
    for atoms in (unit, primitive):
        atoms.set_masses([50.0] * len(atoms))
    primitive = Structures.from_ase(primitive)
    modes = vibrational_modes(Tersoff.silicon().hessian(primitive), (12, 12, 12))
    expected = tamura_half_widths(modes, variance, broadening_THz=0.3)
    supercell = Supercell.repeated(unit, (7, 8, 9))
    constants = supercell.unfold(Tersoff.silicon().hessian(supercell.primitive))
    sites = supercell.structures.positions.numpy(), supercell.structures.cells[0].numpy()
    numbers = mass_field(*sites, 0.5, "white", seed=0)[1]
    masses = np.where(numbers == 14, 1 - math.sqrt(variance), 1 + math.sqrt(variance)) * 50
    matrix = BlockMatrix.from_force_constants(constants, masses, np.float32)
    wavevectors = 3 * np.diag(2 * np.pi / np.diag(sites[1]))
    omega = np.linspace(0, 60, 1500)
    found, tamura = 0.0, 0.0
    for branch in ("longitudinal", "transverse"):
        chains = wave_chains(matrix, supercell.structures, wavevectors, branch, 500, masses=masses)
        for spectrum in chains.structure_factor(omega, broadening).values:
            peak = fit_sound_peak(omega, spectrum, broadening=broadening)
            found += peak.half_width
            tamura += expected[np.abs(modes.angular_frequencies - peak.frequency) < 1.5].mean()
    assert found == pytest.approx(tamura, rel=0.15)
    assert tamura > 0.5
