"""Cepstral analysis beside SporTran: with resampling, of a resampled series, and as a slider asks for it; and the
mean-square displacement of a trajectory larger than one would keep in memory, for that memory.
"""

import functools
import importlib.util
import tempfile

import numpy as np

from matterscape.benchmarks.task import Calls, Task

TIMESTEP_FS = 1.0
CUTOFF_THZ = 50.0  # averages over ten samples


def _currents(n_currents: int, n_samples: int):
    """Currents with a spectrum that falls off within some 30 THz."""
    from scipy.signal import lfilter

    from matterscape.transport.currents import Currents

    noise = np.random.default_rng(0).normal(size=(n_currents, 3, n_samples))
    return Currents(
        lfilter([1.0], [1.0, -1.9, 0.92], noise),
        ("energy", "charge")[:n_currents],
        timestep_fs=TIMESTEP_FS,
        temperature_K=1000.0,
        volume=1e4,
    )


def _analysis(n_currents: int, n_samples: int) -> Calls:
    """From the samples to the conductivity; SporTran computes the spectrum of all samples first."""
    from matterscape.transport.onsager import thermal_conductivity

    currents = _currents(n_currents, n_samples)

    def ours():
        return thermal_conductivity(currents, CUTOFF_THZ)

    if importlib.util.find_spec("sportran") is None:
        return ours, None
    from matterscape.benchmarks.sportran_peer import heat_current

    def peer():
        analysed = heat_current(currents).resample(fstar_THz=CUTOFF_THZ, verbose=False)
        analysed.cepstral_analysis()
        return analysed

    return ours, peer


def _without_resampling(n_currents: int, n_samples: int) -> Calls:
    """Periodogram, cepstrum and information criterion of samples as they are."""
    from matterscape.transport.cepstral import cepstral_analysis
    from matterscape.transport.spectra import cross_periodogram

    currents = _currents(n_currents, n_samples)

    def ours():
        return cepstral_analysis(cross_periodogram(currents).reduced())

    if importlib.util.find_spec("sportran") is None:
        return ours, None
    from matterscape.benchmarks.sportran_peer import heat_current

    def peer():
        analysed = heat_current(currents)
        analysed.cepstral_analysis()
        return analysed

    return ours, peer


def _another_number(n_samples: int) -> Calls:
    """Conductivity and smooth spectrum at 500 frequencies for another K, as a slider asks for them."""
    from matterscape.transport.onsager import thermal_conductivity

    currents = _currents(1, n_samples)
    found = thermal_conductivity(currents, CUTOFF_THZ)
    shown = np.linspace(0, CUTOFF_THZ, 500)

    def ours():
        changed = found.with_coefficients(37)
        return changed.value, changed.error, changed.cepstral.spectrum(shown)

    if importlib.util.find_spec("sportran") is None:
        return ours, None
    from matterscape.benchmarks.sportran_peer import heat_current

    analysed = heat_current(currents).resample(fstar_THz=CUTOFF_THZ, verbose=False)
    analysed.cepstral_analysis()
    return ours, lambda: analysed.cepf.scan_filter_tau(cutoffK=37)


def _mean_square_displacement(size: int) -> Calls:
    """``size`` random walkers over as many times, in single precision in a file that is mapped into memory."""
    from matterscape.dynamics.analysis import mean_square_displacement

    file = tempfile.TemporaryFile()
    rng = np.random.default_rng(0)
    now = np.zeros((size, 3), dtype=np.float32)
    for _ in range(size):
        now += rng.normal(scale=0.1, size=now.shape).astype(np.float32)
        file.write(now.tobytes())
    file.flush()
    positions = np.memmap(file, np.float32, "r", shape=(size, size, 3))
    return (lambda: mean_square_displacement(positions)), None


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cepstral-million",
            "conductivity from 10^6 samples x 3 of one current, filtered to a tenth",
            "sportran",
            functools.partial(_analysis, 1),
            1_000_000,
            20_000,
        ),
        Task(
            "cepstral-two",
            "conductivity from 20 000 samples x 3 of two currents, filtered to a tenth",
            "sportran",
            functools.partial(_analysis, 2),
            20_000,
            20_000,
        ),
        Task(
            "cepstral-resampled",
            "cepstral analysis of 10^5 samples x 3 of one current",
            "sportran",
            functools.partial(_without_resampling, 1),
            100_000,
            20_000,
        ),
        Task(
            "cepstral-resampled-two",
            "cepstral analysis of 20 000 samples x 3 of two currents",
            "sportran",
            functools.partial(_without_resampling, 2),
            20_000,
            2_000,
        ),
        Task(
            "cepstral-slider",
            "another number of coefficients, 10^5 samples",
            "sportran",
            _another_number,
            1_000_000,
            20_000,
        ),
        Task(
            "mean-square-displacement",
            "mean-square displacement of 10^4 atoms at 10^4 times, 1.2 GB in a file",
            "none",
            _mean_square_displacement,
            10_000,
            200,
        ),
    )
}
