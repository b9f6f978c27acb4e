"""Fits of sound peaks: exact recovery, what the broadening adds, averages over shells, speeds."""

import numpy as np
import pytest

from matterscape.transport.lattice.sound import (
    SHAPES,
    damped_oscillator,
    fit_sound_peak,
    fit_sound_waves,
    lorentzian,
)
from matterscape.transport.lattice.spectral.structure_factor import StructureFactor

pytestmark = pytest.mark.unit

OMEGA = np.linspace(0, 60, 1201)
BROADENING = 0.3


def structure_factor(lengths: list[float], frequencies: list[float], widths: list[float]) -> StructureFactor:
    """Wavevectors of several lengths in different directions, with the spectra of damped oscillators."""
    directions = np.random.default_rng(1).normal(size=(len(lengths), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spectra = np.stack([damped_oscillator(OMEGA, f, g + BROADENING) for f, g in zip(frequencies, widths)])
    return StructureFactor(np.array(lengths)[:, None] * directions, "transverse", OMEGA, spectra, BROADENING)


def test_spectra_integrate_to_one():
    fine = np.linspace(0, 5000, 2_000_001)
    assert np.trapezoid(damped_oscillator(fine, 12.0, 1.5), fine) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(lorentzian(fine, 500.0, 0.5), fine) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fit_finds_what_made_the_spectrum(shape):
    spectrum = 0.8 * SHAPES[shape](OMEGA, 14.0, 1.7 + BROADENING)
    peak = fit_sound_peak(OMEGA, spectrum, broadening=BROADENING, shape=shape)
    assert peak.frequency == pytest.approx(14.0, rel=1e-6)
    assert peak.half_width == pytest.approx(1.7, rel=1e-6)
    assert peak.area == pytest.approx(0.8, rel=1e-6)
    assert peak.residual < 1e-6


def test_a_broadening_that_is_not_subtracted_stays_in_the_width():
    spectrum = damped_oscillator(OMEGA, 14.0, 0.4 + BROADENING)
    wrong = fit_sound_peak(OMEGA, spectrum, broadening=0.0)
    right = fit_sound_peak(OMEGA, spectrum, broadening=BROADENING)
    assert wrong.half_width - right.half_width == pytest.approx(BROADENING, rel=1e-6)
    assert abs(wrong.half_width / 0.4 - 1) > 0.5 > 1e-5 > abs(right.half_width / 0.4 - 1)


def test_the_broadening_of_a_resolvent_adds_to_the_half_width():
    # S = -(2 omega / pi) Im 1 / [(omega + i eta)^2 - Omega^2 + i omega W]
    for broadening in (0.1, 0.3):
        response = 1 / ((OMEGA + 1j * broadening) ** 2 - 14.0**2 + 1j * OMEGA * 2 * 0.5)
        peak = fit_sound_peak(OMEGA, -2 * OMEGA / np.pi * response.imag, broadening=broadening)
        assert peak.half_width == pytest.approx(0.5, rel=1e-3)


def test_shells_are_averaged_before_the_fit():
    lengths = [0.2, 0.3, 0.2, 0.3, 0.2]
    factor = structure_factor(lengths, [40 * q for q in lengths], [0.4, 0.7, 0.6, 0.8, 0.5])
    waves = fit_sound_waves(factor)
    assert waves.wavenumbers == pytest.approx([0.2, 0.3], rel=1e-9)
    assert waves.members.tolist() == [3, 2]
    own = fit_sound_peak(OMEGA, factor.values[[0, 2, 4]].mean(axis=0), broadening=BROADENING)
    assert waves.half_widths[0] == pytest.approx(own.half_width, rel=1e-9)
    # the jackknife's error of a mean of three is near the scatter over root three
    assert waves.width_errors[0] == pytest.approx(np.std([0.4, 0.5, 0.6], ddof=1) / np.sqrt(3), rel=0.1)
    assert (waves.frequency_errors < 0.02).all()


def test_one_wavevector_tells_nothing_of_its_error():
    waves = fit_sound_waves(structure_factor([0.2], [8.0], [1.0]))
    assert np.isinf(waves.frequency_errors).all() and np.isinf(waves.width_errors).all()


def test_speed_of_the_linear_part():
    waves = fit_sound_waves(structure_factor([0.1, 0.2, 0.3, 0.5], [4.0, 8.0, 12.0, 17.0], [0.5] * 4))
    assert waves.speed() == pytest.approx(40.0, rel=1e-6)
    assert waves.speed(0.6) < 39.0
    assert waves.speed(0.15) == pytest.approx(40.0, rel=1e-6)
    with pytest.raises(ValueError, match=r"below is 0\.05 1/Å and the shortest wavevector 0\.1"):
        waves.speed(0.05)


def test_error_of_the_speed():
    rng = np.random.default_rng(2)
    lengths = np.repeat([0.2, 0.3], 30)
    waves = fit_sound_waves(structure_factor(lengths, 40 * lengths * (1 + 0.05 * rng.normal(size=60)), [1.0] * 60))
    # 60 directions, 5 % each
    assert waves.speed_error() == pytest.approx(40 * 0.05 / np.sqrt(60), rel=0.3)
    assert abs(waves.speed() - 40) < 4 * waves.speed_error()


def test_waves_beyond_the_ioffe_regel_limit_do_not_propagate():
    waves = fit_sound_waves(structure_factor([0.15, 0.3], [6.3, 12.6], [0.9, 2.1]))
    assert waves.propagating.tolist() == [True, False]
    assert waves.slowest(np.inf, fewest=1).frequencies == pytest.approx([6.3], rel=1e-5)
    assert len(waves.slowest(np.inf)) == 2 and len(waves.slowest(1.0, fewest=0)) == 0


def test_joined_and_resampled():
    waves = fit_sound_waves(structure_factor([0.2, 0.4], [8.0, 16.0], [1.0, 1.0]))
    other = fit_sound_waves(structure_factor([0.3], [8.0], [1.0]))
    joined = waves.joined(other)
    assert joined.wavenumbers == pytest.approx([0.2, 0.3, 0.4])
    assert joined.frequencies == pytest.approx([8, 8, 16], rel=1e-5)
    draws = [tuple(joined.resampled(seed).frequencies) for seed in range(20)]
    assert draws[3] == tuple(joined.resampled(3).frequencies)
    assert len(set(draws)) > 3 and all(len(draw) == 3 for draw in draws)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"broadening": -1.0}, r"broadening is -1\.0"),
        ({"shape": "gauss"}, "shape is 'gauss'; accepted are 'oscillator', 'lorentzian'"),
        ({"spectrum": np.zeros(len(OMEGA))}, "with a peak"),
        ({"spectrum": np.ones(3)}, r"spectrum has shape \(3,\)"),
        ({"angular_frequencies": OMEGA[::-1]}, "ascend"),
    ],
)
def test_wrong_input(changes, message):
    arguments = {"angular_frequencies": OMEGA, "spectrum": damped_oscillator(OMEGA, 9.0, 1.0), "broadening": 0.1}
    with pytest.raises(ValueError, match=message):
        fit_sound_peak(**(arguments | changes))
