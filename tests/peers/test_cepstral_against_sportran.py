"""Resampling, periodograms and cepstral analysis number by number against SporTran."""

import numpy as np
import pytest
from scipy.signal import lfilter

from matterscape.benchmarks.sportran_peer import heat_current, import_sportran
from matterscape.transport.cepstral import cepstral_analysis
from matterscape.transport.currents import Currents
from matterscape.transport.onsager import thermal_conductivity
from matterscape.transport.spectra import cross_periodogram, moving_average, resampled

pytestmark = pytest.mark.peers

try:
    import_sportran()
except ImportError as error:
    pytest.skip(f"SporTran is not there: {error}", allow_module_level=True)

PER_FS = 1000.0  # fs in a ps
KIND = ("energy", "charge", "number")


def synthetic(n_currents, n_segments=1, n_samples=20_000):
    rng = np.random.default_rng(4)
    values = rng.normal(size=(n_currents, n_segments, 3, n_samples)) * 30
    values[0] += 0.8 * values[1:].sum(axis=0)
    values = lfilter([1.0, 0.3], [1.0, -1.2, 0.5], values)
    return Currents(values, KIND[:n_currents], timestep_fs=4.0, temperature_K=800.0, volume=9e3)


def check_against_sportran(currents, cutoff_THz, numbers=(None, 0, 1, 6, 40)):
    """The whole chain, and the cepstral analysis with K chosen by either or fixed."""
    theirs = heat_current(currents).resample(fstar_THz=cutoff_THz, verbose=False)
    ours = resampled(currents, cutoff_THz)
    assert ours.nyquist_THz == pytest.approx(theirs.Nyquist_f_THz, rel=1e-14)
    np.testing.assert_allclose(ours["energy"].reshape(-1, ours.n_samples), theirs.traj.T, rtol=0, atol=1e-10)
    reduced = cross_periodogram(ours).reduced()
    assert reduced.degrees_of_freedom == theirs.ndf_chi
    np.testing.assert_allclose(reduced.frequencies_THz, theirs.freqs_THz, rtol=1e-12)
    np.testing.assert_allclose(reduced.values * PER_FS, theirs.psd, rtol=1e-8)
    np.testing.assert_allclose(np.log(reduced.values * PER_FS).mean(), theirs.logpsd.mean(), rtol=1e-12)
    for number in numbers:
        theirs.cepstral_analysis(manual_cutoffK=number)
        found = cepstral_analysis(reduced, number)
        assert found.n_coefficients == theirs.cepf.cutoffK
        assert found.best_n_coefficients == theirs.cepf.aic_Kmin
        np.testing.assert_allclose(found.information_criterion, theirs.cepf.aic, rtol=1e-10)
        shifted = found.coefficients + np.log(PER_FS) * (np.arange(len(found.coefficients)) == 0)
        np.testing.assert_allclose(shifted, theirs.cepf.logpsdK, atol=1e-11)
        assert found.zero_frequency * PER_FS == pytest.approx(theirs.cepf.psd[0], rel=1e-10)
        assert found.log_error == pytest.approx(theirs.cepf.logtau_std_cutoffK, rel=1e-10)
        np.testing.assert_allclose(found.spectrum() * PER_FS, theirs.cepf.psd, rtol=1e-10)
        np.testing.assert_allclose(found.scan()[1], theirs.cepf.logtau_THEORY_std, rtol=1e-10)
        if found.n_coefficients == 0:  # SporTran takes C_0 twice here, though not in its spectrum
            assert 2 * np.log(found.zero_frequency * PER_FS) == pytest.approx(np.log(theirs.cepf.tau_cutoffK))
            continue
        assert found.zero_frequency * PER_FS == pytest.approx(theirs.cepf.tau_cutoffK, rel=1e-10)
        conductivity = thermal_conductivity(currents, cutoff_THz, n_coefficients=number)
        # their constants have seven digits
        assert conductivity.value == pytest.approx(theirs.kappa, rel=3e-6)
        assert conductivity.error == pytest.approx(theirs.kappa_std, rel=3e-6)


@pytest.mark.parametrize("n_currents", [1, 2, 3])
@pytest.mark.parametrize("cutoff_THz", [125.0, 30.0, 14.7])
def test_synthetic_currents(n_currents, cutoff_THz):
    check_against_sportran(synthetic(n_currents), cutoff_THz)


def test_runs_as_components():
    check_against_sportran(synthetic(2, n_segments=3, n_samples=6_000), 30.0)


@pytest.mark.filterwarnings("ignore:20001 samples are an odd number")
@pytest.mark.parametrize("cutoff_THz", [125.0, 42.0])
def test_odd_numbers_of_samples(cutoff_THz):
    check_against_sportran(synthetic(2, n_samples=20_001), cutoff_THz)


@pytest.mark.parametrize("n_currents", [1, 2])
@pytest.mark.parametrize("cutoff_THz", [100.0, 20.0, 14.0])
def test_published_currents_of_molten_salt(dataset, n_currents, cutoff_THz):
    check_against_sportran(dataset("nacl-currents").select(*("energy", "charge")[:n_currents]), cutoff_THz)


def test_moving_average():
    theirs = heat_current(synthetic(1))
    theirs.compute_psd(PSD_FILTER_W=1.0)
    reduced = cross_periodogram(synthetic(1)).reduced()
    width = theirs.PSD_FILTER_WF + 1 - theirs.PSD_FILTER_WF % 2  # of frequencies
    step = reduced.frequencies_THz[1]
    ours = moving_average(reduced.frequencies_THz, reduced.values, (width - 1) * step)
    np.testing.assert_allclose(ours * PER_FS, theirs.fpsd, rtol=1e-9)
