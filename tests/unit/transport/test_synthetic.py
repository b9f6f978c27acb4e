"""Synthetic currents have the spectral matrix that they were asked for, with the law that belongs to it."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma, psi

from matterscape.transport.spectra import cross_periodogram
from matterscape.transport.synthetic import spectral_matrix, synthetic_currents

pytestmark = pytest.mark.unit

CONDITIONS = {"n_samples": 4000, "timestep_fs": 5.0}


def first(f):
    return 40 / (1 + (f / 3) ** 2) + 5


def second(f):
    return 2 * np.exp(-0.5 * ((f - 8) / 4) ** 2) + 0.1


def coherence(f):
    return 0.7 * np.cos(f / 10)


matrix = spectral_matrix(first, second, coherence)


def test_mean_periodogram_is_the_matrix():
    currents = synthetic_currents(matrix, ("energy", "charge"), n_segments=200, seed=1, **CONDITIONS)
    found = cross_periodogram(currents)
    truth = matrix(found.frequencies_THz)
    scale = np.sqrt(np.einsum("faa,fbb->fab", truth, truth))
    deviation = (found.matrix - truth) / scale  # of order 1/sqrt(600) at each frequency
    assert np.abs(deviation.mean(axis=0)).max() < 4 / np.sqrt(600 * 2001)
    assert np.abs(deviation).max() < 6 / np.sqrt(600)
    assert np.abs(found.matrix[1:-1, 0, 1].imag).max() > 1e-3  # noise has an imaginary part, its mean has none
    assert currents.names == currents.kinds == ("energy", "charge")


def test_each_periodogram_follows_the_gamma_law():
    currents = synthetic_currents(matrix, ("energy", "charge"), seed=2, n_samples=40000, timestep_fs=5.0)
    periodogram = cross_periodogram(currents)
    f = periodogram.frequencies_THz[1:-1]
    for values, truth, nu in (
        (periodogram.spectrum("energy")[1:-1], first(f), 3),
        (periodogram.reduced("energy").values[1:-1], first(f) * (1 - coherence(f) ** 2), 2),
    ):
        ratio = values / truth
        assert stats.kstest(nu * ratio, stats.gamma(nu).cdf).pvalue > 1e-3
        logs = np.log(ratio)
        assert logs.mean() == pytest.approx(psi(nu) - np.log(nu), abs=4 * np.sqrt(polygamma(1, nu) / len(f)))


def test_one_current_and_its_variance():
    currents = synthetic_currents(first, n_segments=50, seed=3, **CONDITIONS)
    f = np.fft.fftfreq(4000, 0.005)
    variance = first(np.abs(f)).sum() / (4000 * 0.005)  # Parseval
    assert currents["energy"].var() == pytest.approx(variance, rel=0.02)


def test_seeds():
    a, b, c = (synthetic_currents(first, seed=seed, **CONDITIONS).values for seed in (4, 4, 5))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1
    rng = np.random.default_rng(4)
    np.testing.assert_array_equal(a, synthetic_currents(first, seed=rng, **CONDITIONS).values)


def test_what_is_refused():
    with pytest.raises(ValueError, match="n_samples is 5; accepted is an even number"):
        synthetic_currents(first, n_samples=5, timestep_fs=1.0)
    with pytest.raises(ValueError, match=r"spectrum gives an array \(2001,\); accepted is \(2001, 2, 2\)"):
        synthetic_currents(first, ("energy", "charge"), **CONDITIONS)
    with pytest.raises(ValueError, match="spectrum is not positive definite at 10 THz"):
        synthetic_currents(lambda f: np.where(np.abs(f - 10) < 1e-6, -1.0, 1.0), **CONDITIONS)
    excessive = spectral_matrix(first, second, lambda f: 1.0 + 0 * f)
    with pytest.raises(ValueError, match="not positive definite at .* coherences between -1 and 1"):
        synthetic_currents(excessive, ("energy", "charge"), **CONDITIONS)
    with pytest.raises(ValueError, match="timestep_fs is 0"):
        synthetic_currents(first, n_samples=100, timestep_fs=0)
