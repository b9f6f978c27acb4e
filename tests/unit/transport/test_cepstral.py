"""Cepstral analysis: its definitions, known spectra with honest errors, what is refused."""

import warnings

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import polygamma, psi

from matterscape.transport.cepstral import cepstral_analysis
from matterscape.transport.currents import Currents
from matterscape.transport.spectra import ReducedPeriodogram, SpectrumWarning, cross_periodogram

pytestmark = pytest.mark.unit


def periodogram_of(spectrum, nu=3, seed=0, nyquist_THz=50.0):
    """One draw of a periodogram around a spectrum given at N/2 + 1 frequencies."""
    rng = np.random.default_rng(seed)
    shape = np.full(len(spectrum), float(nu))
    shape[[0, -1]] /= 2
    values = spectrum * rng.gamma(shape) / shape
    return ReducedPeriodogram(np.linspace(0, nyquist_THz, len(spectrum)), values, nu)


def smooth_spectrum(n):
    x = np.linspace(0, np.pi, n)
    return np.exp(1.3 + 0.9 * np.cos(x) - 0.4 * np.cos(2 * x) + 0.1 * np.cos(5 * x))


def test_coefficients_and_criterion_are_those_of_the_definition():
    reduced = periodogram_of(smooth_spectrum(65), nu=2)
    found = cepstral_analysis(reduced)
    n_samples = 128
    bias = np.full(65, psi(2) - np.log(2))
    bias[[0, -1]] = psi(1)
    logarithms = np.log(reduced.values) - bias
    both = np.concatenate([logarithms, logarithms[-2:0:-1]])
    n = np.arange(65)
    expected = np.cos(2 * np.pi * np.outer(n, np.arange(n_samples)) / n_samples) @ both / n_samples
    np.testing.assert_allclose(found.coefficients, expected, atol=1e-13)

    variance = np.full(65, polygamma(1, 2) / n_samples)
    variance[[0, -1]] *= 2
    criterion = [np.sum(expected[k + 1 :] ** 2 / variance[k + 1 :]) + 2 * (k + 1) for k in n]
    np.testing.assert_allclose(found.information_criterion, criterion, rtol=1e-11)
    assert found.n_coefficients == found.best_n_coefficients == np.argmin(criterion)
    assert found.n_samples == n_samples


@pytest.mark.parametrize("number", [0, 1, 7, 63, 64])
def test_zero_frequency_from_some_coefficients(number):
    found = cepstral_analysis(periodogram_of(smooth_spectrum(65)), number)
    c = found.coefficients
    expected = c[0] + 2 * c[1 : number + 1].sum() - (c[64] if number == 64 else 0)
    assert found.log_zero_frequency == pytest.approx(expected, rel=1e-12)
    assert found.zero_frequency == pytest.approx(np.exp(expected))
    if number < 64:
        assert found.log_error == pytest.approx(np.sqrt(polygamma(1, 3) * (4 * number + 2) / 128), rel=1e-14)
    assert found.zero_frequency_error == pytest.approx(found.zero_frequency * found.log_error)

    logarithms, errors = found.scan()
    assert (logarithms[number], errors[number]) == pytest.approx((expected, found.log_error), rel=1e-12)
    np.testing.assert_allclose(found.scan(number), [logarithms[: number + 1], errors[: number + 1]], rtol=1e-14)
    assert found.spectrum()[0] == pytest.approx(found.zero_frequency, rel=1e-12)


def test_all_coefficients_give_the_periodogram_back():
    reduced = periodogram_of(smooth_spectrum(65))
    bias = np.full(65, np.exp(psi(3)) / 3)
    bias[[0, -1]] = np.exp(psi(1.5)) / 1.5
    np.testing.assert_allclose(cepstral_analysis(reduced, 64).spectrum() * bias, reduced.values, rtol=1e-12)


@pytest.mark.parametrize("number", [0, 5, 500])
def test_smooth_spectrum_at_chosen_frequencies(number):
    reduced = periodogram_of(smooth_spectrum(501))
    found = cepstral_analysis(reduced, number)
    np.testing.assert_allclose(found.spectrum(reduced.frequencies_THz), found.spectrum(), rtol=1e-11)
    between = np.interp(12.34, reduced.frequencies_THz, found.spectrum())
    assert number == 500 or found.spectrum(np.array([12.34])) == pytest.approx(between, rel=1e-4)


@pytest.mark.parametrize("number", [0, 3, 40])
def test_error_of_the_smooth_spectrum(number):
    """Against the plain sum of variances, and its limits at zero and at the cutoff frequency."""
    found = cepstral_analysis(periodogram_of(smooth_spectrum(501)), number)
    frequencies = np.array([0.0, 1e-3, 7.0, 25.0, 49.0, 50.0])
    cosines = np.cos(np.pi * np.outer(np.arange(1, number + 1), frequencies / 50.0))
    expected = np.sqrt(polygamma(1, 3) / 1000 * (2 + 4 * (cosines**2).sum(axis=0)))
    np.testing.assert_allclose(found.spectrum_log_error(frequencies), expected, rtol=1e-9)
    assert found.spectrum_log_error(np.array([0.0])) == pytest.approx(found.log_error)


def test_another_number_of_coefficients():
    reduced = periodogram_of(smooth_spectrum(501))
    found = cepstral_analysis(reduced)
    other = found.with_coefficients(9)
    assert other.coefficients is found.coefficients
    assert other.log_zero_frequency == cepstral_analysis(reduced, 9).log_zero_frequency
    assert other.with_coefficients(found.best_n_coefficients).zero_frequency == found.zero_frequency


def test_a_scale_and_a_shift_of_units():
    """The cepstrum of c S is that of S with ln c added to C_0."""
    reduced = periodogram_of(smooth_spectrum(501))
    scaled = ReducedPeriodogram(reduced.frequencies_THz, 7.0 * reduced.values, 3)
    one, other = cepstral_analysis(reduced), cepstral_analysis(scaled)
    np.testing.assert_allclose(other.coefficients[1:], one.coefficients[1:], atol=1e-14)
    assert other.n_coefficients == one.n_coefficients
    assert other.zero_frequency == pytest.approx(7.0 * one.zero_frequency)


@pytest.mark.parametrize("nu", [1, 2, 3, 12])
def test_a_smooth_spectrum_is_found_with_honest_errors(nu):
    """Fixed K that holds the spectrum: unbiased, and deviations divided by the errors are standard normal."""
    truth = smooth_spectrum(2_001)
    scores = []
    for seed in range(600):
        found = cepstral_analysis(periodogram_of(truth, nu, seed), 5)
        scores.append((found.log_zero_frequency - np.log(truth[0])) / found.log_error)
    assert np.mean(scores) == pytest.approx(0, abs=3.5 / np.sqrt(600))
    assert np.std(scores) == pytest.approx(1, abs=0.1)
    assert np.mean(np.abs(scores) < 1) == pytest.approx(0.683, abs=0.06)
    assert np.mean(np.abs(scores) < 2) == pytest.approx(0.954, abs=0.03)


@pytest.mark.parametrize("memory", [0.0, 0.6, -0.4])
def test_series_with_a_known_spectrum(memory):
    """x_t = a x_{t-1} + noise has S(0) = s^2 dt / (1 - a)^2; K by the information criterion, from time series.

    The choice of K from the same data makes errors too small and, for a spectrum that falls from f = 0 on, S(0) too
    low; half as many coefficients again mend most of both.
    """
    rng = np.random.default_rng(11)
    chosen, more = [], []
    for _ in range(300):
        series = lfilter([1.0], [1.0, -memory], rng.normal(size=(1, 3, 4_200)))[..., 200:]
        currents = Currents(series, "energy", timestep_fs=10.0, temperature_K=300.0, volume=1e3)
        found = cepstral_analysis(cross_periodogram(currents).reduced())
        larger = found.with_coefficients(-(-3 * found.n_coefficients // 2))
        for scores, result in ((chosen, found), (more, larger)):
            scores.append((result.log_zero_frequency - np.log(0.01 / (1 - memory) ** 2)) / result.log_error)
    assert np.mean(chosen) == pytest.approx(0, abs=0.7)
    assert 1.0 < np.std(chosen) < 1.4
    assert 0.42 < np.mean(np.abs(chosen) < 1) < 0.66
    assert np.mean(more) == pytest.approx(0, abs=0.3)
    assert 0.57 < np.mean(np.abs(more) < 1) < 0.76
    assert 0.88 < np.mean(np.abs(more) < 2) <= 0.99


def test_without_the_bias_the_result_is_off():
    """Negative control: three degrees of freedom read as thirty shift ln S(0) by the difference of the biases."""
    reduced = periodogram_of(smooth_spectrum(2_001))
    wrong = ReducedPeriodogram(reduced.frequencies_THz, reduced.values, 30)
    difference = cepstral_analysis(reduced, 5).log_zero_frequency - cepstral_analysis(wrong, 5).log_zero_frequency
    assert difference == pytest.approx(psi(30) - np.log(30) - psi(3) + np.log(3), abs=0.02)
    assert difference > 2 * cepstral_analysis(reduced, 5).log_error


def test_errors_shrink_with_the_root_of_the_length():
    short, long = (cepstral_analysis(periodogram_of(smooth_spectrum(n)), 5) for n in (501, 2_001))
    assert short.log_error / long.log_error == pytest.approx(2.0)


def test_a_spectrum_that_too_many_coefficients_describe():
    spectrum = smooth_spectrum(201) * np.exp(3 * np.cos(150 * np.linspace(0, np.pi, 201)))
    reduced = periodogram_of(spectrum, nu=12)
    with pytest.warns(SpectrumWarning, match=r"criterion keeps 15\d of 200 coefficients; a longer run"):
        cepstral_analysis(reduced)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cepstral_analysis(reduced, 199)  # asked for
        cepstral_analysis(periodogram_of(smooth_spectrum(201)))


@pytest.mark.parametrize("wrong", [-1, 65, 2.5, True, np.nan, "3", None])
def test_numbers_of_coefficients_are_checked(wrong):
    reduced = periodogram_of(smooth_spectrum(65))
    found = cepstral_analysis(reduced)
    if wrong is not None:
        with pytest.raises(ValueError, match="n_coefficients is .*; accepted is a whole number from 0 to 64"):
            cepstral_analysis(reduced, wrong)
        with pytest.raises(ValueError, match="largest is .*; accepted is a whole number from 0 to 64"):
            found.scan(wrong)
    with pytest.raises(ValueError, match="n_coefficients is .*; accepted is a whole number from 0 to 64"):
        found.with_coefficients(wrong)
