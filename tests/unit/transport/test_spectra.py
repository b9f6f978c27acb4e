"""Periodograms: their definition, their statistics, filtering and decimation, what is refused."""

import warnings

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import polygamma, psi

from matterscape.transport.currents import Currents
from matterscape.transport.spectra import (
    CrossPeriodogram,
    ReducedPeriodogram,
    SpectrumWarning,
    binned_spectrum,
    cross_periodogram,
    moving_average,
    resampled,
    suggested_cutoff,
)

pytestmark = pytest.mark.unit

NAMES = ("energy", "charge", "number", "mass", "other")


def currents_of(values, timestep_fs=2.0, **options):
    values = np.asarray(values)
    names = NAMES[: len(values)]
    kinds = ["number" if name == "other" else name for name in names]
    return Currents(values, names, kinds=kinds, timestep_fs=timestep_fs, temperature_K=300.0, volume=1e3, **options)


def correlated(n_currents, n_segments, n_components, n_samples, seed=0):
    """White noise mixed at random between currents, then coloured."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_currents, n_segments, n_components, n_samples))
    mixed = np.einsum("ab,brln->arln", rng.normal(size=(n_currents, n_currents)), noise)
    return lfilter([1.0], [1.0, -0.6], mixed)


def test_matrix_is_that_of_the_definition():
    values = correlated(3, 2, 3, 64)
    found = cross_periodogram(currents_of(values))
    transforms = np.fft.fft(values, axis=-1)[..., :33]
    expected = 0.002 / (64 * 6) * np.einsum("arlk,brlk->kab", transforms, transforms.conj())
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.frequencies_THz, np.arange(33) / (64 * 0.002), rtol=1e-14)
    assert (found.n_equivalent, found.n_samples, found.names) == (6, 64, NAMES[:3])


def test_power_is_the_mean_square():
    """Parseval: the two-sided spectrum integrates to the mean square of the samples."""
    values = correlated(1, 1, 3, 500)
    found = cross_periodogram(currents_of(values))
    weights = np.full(251, 2.0)
    weights[[0, -1]] = 1
    step = found.frequencies_THz[1]
    assert step * weights @ found.spectrum("energy") == pytest.approx(np.mean(values**2), rel=1e-12)


def test_single_precision_is_transformed_in_double():
    values = correlated(2, 1, 3, 2000).astype(np.float32)
    single, double = (cross_periodogram(currents_of(kind)).matrix for kind in (values, values.astype(np.float64)))
    np.testing.assert_array_equal(single, double)
    averaged = resampled(currents_of(values), 125.0)
    np.testing.assert_array_equal(averaged.values, resampled(currents_of(values.astype(np.float64)), 125.0).values)


def test_segments_are_further_components():
    values = correlated(2, 4, 3, 200)
    stacked = values.reshape(2, 1, 12, 200)
    runs, components = (cross_periodogram(currents_of(kind)) for kind in (values, stacked))
    np.testing.assert_allclose(runs.matrix, components.matrix, rtol=1e-12)
    assert runs.reduced().degrees_of_freedom == components.reduced().degrees_of_freedom == 11


@pytest.mark.parametrize("n_currents", [1, 2, 3])
@pytest.mark.parametrize("name_index", [0, -1])
def test_reduced_spectrum_is_the_inverse_element(n_currents, name_index):
    found = cross_periodogram(currents_of(correlated(n_currents, 2, 3, 400)))
    name = found.names[name_index]
    reduced = found.reduced(name)
    nu = 6 - n_currents + 1
    inner = slice(1, -1)
    inverse = np.linalg.inv(found.matrix[inner])[:, found.index(name), found.index(name)].real
    np.testing.assert_allclose(reduced.values[inner], 6 / nu / inverse, rtol=1e-10)
    assert reduced.degrees_of_freedom == nu
    assert reduced.n_samples == 400
    assert reduced.nyquist_THz == pytest.approx(250.0)


@pytest.mark.parametrize("n_currents", [1, 2, 3])
def test_bias_and_variance_of_the_logarithm(n_currents):
    """<ln p> = ln S + psi(nu) - ln nu, var ln p = psi'(nu), nu = l - M + 1, over 10^6 independent frequencies."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(n_currents, 1, 3, 2_000_000))
    noise[0] += 0.7 * noise[1:].sum(axis=0)  # what the others carry is taken away
    reduced = cross_periodogram(currents_of(noise)).reduced()
    nu = 3 - n_currents + 1
    logarithms = np.log(reduced.values[1:-1] / 0.002)
    assert logarithms.mean() == pytest.approx(psi(nu) - np.log(nu), rel=0.005, abs=0.002)
    assert logarithms.var() == pytest.approx(polygamma(1, nu), rel=0.005)
    # those of another nu would be far off
    assert abs(logarithms.var() / polygamma(1, nu + 1) - 1) > 0.3


@pytest.mark.parametrize("n_currents", [1, 2, 3])
def test_half_as_many_degrees_of_freedom_at_the_ends(n_currents):
    """Transforms are real at k = 0 and N/2: psi(nu / 2) - ln(nu / 2)."""
    transforms = np.random.default_rng(1).normal(size=(400_000, n_currents, 4))
    matrix = (transforms @ transforms.transpose(0, 2, 1) / 4).astype(complex)
    found = CrossPeriodogram(np.arange(400_000.0), matrix, NAMES[:n_currents], 4, 799_998).reduced()
    half = (4 - n_currents + 1) / 2
    logarithms = np.log(found.values)
    assert logarithms.mean() == pytest.approx(psi(half) - np.log(half), abs=0.006)
    assert logarithms.var() == pytest.approx(polygamma(1, half), rel=0.01)


def test_shifts_by_other_currents_change_nothing():
    currents = currents_of(correlated(3, 1, 6, 1000))
    expected = cross_periodogram(currents).reduced().values
    for other, coefficient in (("charge", 2.7), ("number", -11.0)):
        found = cross_periodogram(currents.shifted("energy", other, coefficient)).reduced().values
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    alone = cross_periodogram(currents.shifted("energy", "charge", 2.7).select("energy")).reduced().values
    assert np.median(np.abs(alone / cross_periodogram(currents.select("energy")).reduced().values - 1)) > 0.1


def test_four_currents_need_more_than_three_components():
    currents = currents_of(correlated(4, 1, 3, 500))
    with pytest.raises(ValueError, match=r"4 currents with 3 equivalent components leave 0 degrees of freedom; acc"):
        cross_periodogram(currents).reduced()
    assert cross_periodogram(currents.split(2)).reduced().degrees_of_freedom == 3


def test_dependent_currents_are_refused():
    values = correlated(2, 1, 3, 500)
    dependent = currents_of([*values, 2 * values[0] - 0.3 * values[1]])
    with pytest.raises(ValueError, match="energy, charge, number are linearly dependent"):
        cross_periodogram(dependent).reduced()


def test_unknown_currents_are_named():
    found = cross_periodogram(currents_of(correlated(2, 1, 3, 100)))
    for call in (found.reduced, found.spectrum, lambda name: found.coherence("energy", name)):
        with pytest.raises(ValueError, match="no current 'heat'; accepted are energy, charge"):
            call("heat")


def test_imaginary_part_of_the_cross_spectrum():
    """It vanishes within noise for currents that reverse in time; a delay makes it appear."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(1, 3, 40_000))
    second = 0.5 * first + rng.normal(size=first.shape)
    found = cross_periodogram(currents_of([first, second]))
    middle, rho = found.coherence("energy", "charge", n_bins=50)
    frequencies_per_bin = 20_001 / 50
    noise = 1 / np.sqrt(2 * 3 * frequencies_per_bin)
    assert np.abs(rho.imag).max() < 4 * noise
    assert rho.imag.mean() == pytest.approx(0, abs=4 * noise / np.sqrt(50))
    assert rho.real.mean() == pytest.approx(0.5 / np.sqrt(1.25), abs=0.01)
    assert middle[0] < middle[-1] < 250.0

    late = cross_periodogram(currents_of([first, np.roll(second, 3, axis=-1)]))
    assert np.abs(late.coherence("energy", "charge", n_bins=50)[1].imag).max() > 20 * noise


def test_coherence_of_a_current_with_its_multiple_is_one():
    values = correlated(1, 1, 3, 500)
    _, rho = cross_periodogram(currents_of([values[0], -2 * values[0]])).coherence("energy", "charge", 10)
    np.testing.assert_allclose(rho, -1, rtol=1e-12)


def test_odd_numbers_of_samples():
    values = correlated(2, 2, 3, 301)
    with pytest.warns(SpectrumWarning, match="301 samples are an odd number; the last one is left out"):
        found = cross_periodogram(currents_of(values))
    np.testing.assert_allclose(found.matrix, cross_periodogram(currents_of(values[..., :-1])).matrix, rtol=1e-13)


def test_resampling_averages_over_the_new_interval():
    currents = currents_of(correlated(2, 2, 3, 7_007))
    filtered = resampled(currents, 22.0)  # 250 THz / 11
    n_samples = 636  # of 637
    means = currents.values[..., : n_samples * 11].reshape(2, 2, 3, n_samples, 11).mean(axis=-1)
    np.testing.assert_allclose(filtered.values, means, rtol=0, atol=1e-12)
    assert filtered.nyquist_THz == pytest.approx(250 / 11)
    assert (filtered.temperature_K, filtered.volume, filtered.kinds) == (300.0, 1e3, ("energy", "charge"))
    # a window is not contiguous in memory
    np.testing.assert_array_equal(
        resampled(currents.window(0.2), 22.0).values, resampled(currents_of(currents.values[..., 100:]), 22.0).values
    )


def test_resampling_keeps_the_zero_frequency():
    currents = currents_of(correlated(2, 1, 3, 8_000))
    whole, filtered = (cross_periodogram(c).matrix[0] for c in (currents, resampled(currents, 25.0)))
    np.testing.assert_allclose(filtered, whole, rtol=1e-10)


def test_resampling_up_to_the_nyquist_frequency():
    currents = currents_of(correlated(1, 1, 3, 1_000))
    np.testing.assert_array_equal(resampled(currents, 250.0).values, currents.values)
    with pytest.raises(ValueError, match=r"cutoff_THz is 260; accepted is at most the Nyquist frequency 250 THz"):
        resampled(currents, 260.0)
    for wrong in (0.0, -1.0, np.nan, "ten"):
        with pytest.raises(ValueError, match="cutoff_THz is .*; accepted is a positive number of THz"):
            resampled(currents, wrong)


def test_few_samples():
    currents = currents_of(correlated(1, 1, 3, 5_000))
    with pytest.warns(SpectrumWarning, match="leaves 250 samples of 10 ps; a spectrum wants at least 500"):
        assert resampled(currents, 12.5).n_samples == 250
    with pytest.raises(ValueError, match=r"leaves 50 samples of 10 ps; accepted .* at least 100 \(about 5 THz\)"):
        resampled(currents, 2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resampled(currents, 25.0)


def test_a_subtracted_mean_is_refused():
    """Its periodogram at zero frequency is rounding; no spectrum is made of it by any way."""
    values = correlated(1, 1, 3, 2_000)
    values -= values.mean(axis=-1, keepdims=True)
    with pytest.raises(ValueError, match="time mean of current 'energy' has been subtracted"):
        currents_of(values)
    spectrum = np.mean(np.abs(np.fft.rfft(values[0, 0])) ** 2, axis=0)
    spectrum[0] = 0.0
    with pytest.raises(ValueError, match="periodogram is 0 at 0 THz; .*has a time mean been subtracted"):
        ReducedPeriodogram(np.linspace(0, 250, 1_001), spectrum, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones((3, 3))}, r"values have shape \(3, 3\)"),
        ({"values": np.ones(2), "frequencies_THz": np.arange(2.0)}, "at least 3"),
        ({"frequencies_THz": np.arange(4.0)}, r"frequencies_THz \(4,\)"),
        ({"values": np.array([1.0, np.inf, 1.0, 1.0, 1.0])}, "periodogram is inf at 1 THz"),
        ({"degrees_of_freedom": 0}, "degrees_of_freedom is 0; accepted is a whole number, at least 1"),
    ],
)
def test_periodograms_are_checked(change, message):
    arguments = {"frequencies_THz": np.arange(5.0), "values": np.ones(5), "degrees_of_freedom": 3} | change
    with pytest.raises(ValueError, match=message):
        ReducedPeriodogram(**arguments)


def test_bins():
    frequencies = np.linspace(0, 10, 103)
    middle, means = binned_spectrum(frequencies, np.stack([3 * frequencies, 1j * frequencies], axis=1), 10)
    assert len(middle) == 10
    np.testing.assert_allclose(means, np.stack([3 * middle, 1j * middle], axis=1), rtol=1e-12)
    assert middle[0] == pytest.approx(frequencies[:11].mean())
    assert middle[-1] == pytest.approx(frequencies[99:].mean())  # the last bin holds what is left
    np.testing.assert_array_equal(binned_spectrum(frequencies, frequencies, 1000)[1], frequencies)
    with pytest.raises(ValueError, match="n_bins is 0; accepted"):
        binned_spectrum(frequencies, frequencies, 0)


def test_moving_average():
    frequencies = np.linspace(0, 10, 101)
    values = np.random.default_rng(0).random(101)
    found = moving_average(frequencies, values, 1.0)  # five frequencies to either side
    assert found[50] == pytest.approx(values[45:56].mean())
    assert found[0] == pytest.approx((values[0] + 2 * values[1:6].sum()) / 11)  # a spectrum is even
    np.testing.assert_allclose(moving_average(frequencies, np.full(101, 2.5), 3.3), 2.5)
    np.testing.assert_array_equal(moving_average(frequencies, values, 1e-9), values)
    with pytest.raises(ValueError, match="width_THz is 0; accepted is a positive number of THz"):
        moving_average(frequencies, values, 0)


def test_suggested_cutoff_follows_the_power():
    """White noise filtered at 10 THz has no power above."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(1, 3, 100_000))
    spectrum = np.fft.rfft(noise)
    spectrum[..., np.fft.rfftfreq(100_000, 0.002) > 10.0] *= 1e-3
    currents = currents_of(np.fft.irfft(spectrum))
    assert suggested_cutoff(currents, power=0.95) == pytest.approx(9.5, abs=0.4)
    assert suggested_cutoff(currents, power=0.5) == pytest.approx(5.0, abs=0.3)
    assert 250 / suggested_cutoff(currents) == pytest.approx(round(250 / suggested_cutoff(currents)))
    # enough samples are left of a short run
    assert resampled(currents.window(0, 10.0), suggested_cutoff(currents.window(0, 10.0))).n_samples >= 500
    for power in (0, 1.0, None):
        with pytest.raises(ValueError, match="power is .*; accepted is a number between 0 and 1"):
            suggested_cutoff(currents, power=power)
