"""Periodograms of currents: sampled spectral matrices, their statistics, filtering to a cutoff frequency, display.

Conventions. Spectra are two-sided, S_ab(f) = int <J_a(t) J_b(0)> exp(2 pi i f t) dt, in (unit of a)(unit of b) ps. With
l equivalent components (Cartesian components of all segments) of N samples at intervals dt,

    S_ab(f_k) = dt / (N l) sum_c F_a^c(k) F_b^c(k)*

is a complex Wishart matrix of l degrees of freedom around the true spectrum for 0 < k < N/2, and a real one at k = 0
and N/2. No mean is ever subtracted.
"""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from matterscape.checks import check_number, check_whole, is_number
from matterscape.kernels import get_threads, launch
from matterscape.transport._spectra_kernels import DEPENDENT, add_products, box_average, schur_complements
from matterscape.transport.currents import Currents

FEWEST_SAMPLES = 100  # of a segment, below which there is no spectrum to speak of
FEW_SAMPLES = 500


_used: set[Callable] = set()


def _launched(kernel: Callable) -> AbstractContextManager[None]:
    """The package's threads for a kernel; its first use says so if it has to be compiled."""
    first = kernel not in _used
    _used.add(kernel)
    return launch(kernel.__name__ if first else None)


class SpectrumWarning(UserWarning):
    """A spectrum that is computed, but from fewer samples than one would wish or with other than asked."""


@dataclass(frozen=True, eq=False)
class ReducedPeriodogram:
    """Sampled spectrum of one current where the others vanish, with the law of its fluctuations.

    Each value is the true spectrum times a random number of the law Gamma(nu, 1) / nu, at the first and last frequency
    Gamma(nu / 2, 1) / (nu / 2).

    Parameters
    ----------
    frequencies_THz : array (F,)
        0 to the Nyquist frequency in THz, equidistant.
    values : array (F,)
        1 / (S^-1)_aa l / nu, positive, in (unit of the current)^2 ps.
    degrees_of_freedom : int
        nu = l - M + 1 of l equivalent components and M currents.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not a positive number, or there are no degrees of freedom.
    """

    frequencies_THz: np.ndarray
    values: np.ndarray
    degrees_of_freedom: int

    def __post_init__(self):
        check_whole("degrees_of_freedom", self.degrees_of_freedom, 1)
        shape = np.shape(self.values)
        if len(shape) != 1 or shape[0] < 3 or np.shape(self.frequencies_THz) != shape:
            raise ValueError(
                f"values have shape {shape}, frequencies_THz {np.shape(self.frequencies_THz)}; accepted are two "
                "arrays of one length, at least 3"
            )
        if not (self.values > 0).all() or not np.isfinite(self.values).all():
            k = int(np.argmin((self.values > 0) & np.isfinite(self.values)))
            raise ValueError(
                f"the periodogram is {self.values[k]:g} at {self.frequencies_THz[k]:g} THz; accepted are positive "
                "numbers, since its logarithm is averaged (has a time mean been subtracted?)"
            )

    @property
    def n_samples(self) -> int:
        """Number of samples N of the series behind it, even."""
        return 2 * (len(self.values) - 1)

    @property
    def nyquist_THz(self) -> float:
        """Largest frequency in THz."""
        return float(self.frequencies_THz[-1])


@dataclass(frozen=True, eq=False)
class CrossPeriodogram:
    """Sampled spectral matrix of several currents.

    Attributes
    ----------
    frequencies_THz : array (F,)
        0 to the Nyquist frequency in THz.
    matrix : array (F, M, M), complex
        Hermitian, averaged over the equivalent components, in (unit of a)(unit of b) ps.
    names : tuple of str
        Of the M currents.
    n_equivalent : int
        Number of equivalent components l: segments times Cartesian components.
    n_samples : int
        Number of samples N of a segment, even.
    """

    frequencies_THz: np.ndarray
    matrix: np.ndarray
    names: tuple[str, ...]
    n_equivalent: int
    n_samples: int

    def index(self, name: str) -> int:
        """Position of a current among ``names``; ``ValueError`` if there is none of that name."""
        if name not in self.names:
            raise ValueError(f"there is no current {name!r}; accepted are {', '.join(self.names)}")
        return self.names.index(name)

    def reduced(self, name: str = "energy") -> ReducedPeriodogram:
        """Spectrum of a current at vanishing other currents, p_k = (l / nu) / (S^-1)_aa with nu = l - M + 1.

        For M = 1 the periodogram itself. Bertossa, Grasselli, Ercole, Baroni, Phys. Rev. Lett. 122, 255901 (2019).

        Parameters
        ----------
        name : str
            Of the current that is kept.

        Returns
        -------
        ReducedPeriodogram

        Raises
        ------
        ValueError
            If there is no such current, there are more currents than equivalent components, or the currents are
            linearly dependent.
        """
        index, n_currents = self.index(name), len(self.names)
        degrees_of_freedom = self.n_equivalent - n_currents + 1
        if degrees_of_freedom < 1:
            raise ValueError(
                f"{n_currents} currents with {self.n_equivalent} equivalent components leave "
                f"{degrees_of_freedom} degrees of freedom; accepted are at most {self.n_equivalent} currents, or more "
                "independent segments"
            )
        order = np.array([*(i for i in range(n_currents) if i != index), index])
        values = np.empty(len(self.matrix))
        with _launched(schur_complements):
            best_pivot = schur_complements(self.matrix, order, values)
        if best_pivot < DEPENDENT:
            raise ValueError(
                f"currents {', '.join(self.names)} are linearly dependent; accepted are independent ones (conserved "
                "momentum ties the currents of all species together: leave one out)"
            )
        return ReducedPeriodogram(
            self.frequencies_THz, values * (self.n_equivalent / degrees_of_freedom), degrees_of_freedom
        )

    def spectrum(self, name: str) -> np.ndarray:
        """Diagonal element (F,), real: the spectrum of a current whatever the others do."""
        index = self.index(name)
        return self.matrix[:, index, index].real

    def coherence(self, first: str, second: str, n_bins: int = 100) -> tuple[np.ndarray, np.ndarray]:
        """Coherence of two currents, S_12 / sqrt(S_11 S_22), from spectra averaged over bins of frequencies.

        One frequency alone would show little but noise: with l components its modulus is of order 1 / sqrt(l) where
        the truth is zero, with bins of n frequencies 1 / sqrt(l n).

        Parameters
        ----------
        first, second : str
            Names of two currents.
        n_bins : int

        Returns
        -------
        tuple of arrays (n,)
            Middle of each bin in THz, and the complex coherence.
        """
        a, b = self.index(first), self.index(second)
        elements = np.stack([self.matrix[:, a, b], self.matrix[:, a, a], self.matrix[:, b, b]], axis=1)
        middle, means = binned_spectrum(self.frequencies_THz, elements, n_bins)
        return middle, means[:, 0] / np.sqrt(means[:, 1].real * means[:, 2].real)


def cross_periodogram(currents: Currents) -> CrossPeriodogram:
    """Sampled spectral matrix of currents, averaged over their segments and Cartesian components.

    Parameters
    ----------
    currents : Currents
        Single precision is transformed in double. One segment is transformed at a time.

    Returns
    -------
    CrossPeriodogram

    Warns
    -----
    SpectrumWarning
        If the number of samples is odd, so that the last one is left out.
    """
    values = currents.values
    n_currents, n_segments, n_components, n_samples = values.shape
    if n_samples % 2:
        warnings.warn(f"{n_samples} samples are an odd number; the last one is left out", SpectrumWarning, stacklevel=2)
        n_samples -= 1
    if n_samples < 4:
        raise ValueError(f"currents have {n_samples} samples; accepted are at least 4")
    timestep_ps = currents.timestep_fs * 1e-3
    factor = timestep_ps / (n_samples * n_segments * n_components)
    matrix = np.zeros((n_samples // 2 + 1, n_currents, n_currents), dtype=np.complex128)
    for segment in range(n_segments):
        samples = values[:, segment, :, :n_samples].astype(np.float64, copy=False)
        transforms = fft.rfft(samples, workers=get_threads())
        with _launched(add_products):
            add_products(transforms, factor, matrix)
    return CrossPeriodogram(
        np.fft.rfftfreq(n_samples, timestep_ps), matrix, currents.names, n_segments * n_components, n_samples
    )


def resampled(currents: Currents, cutoff_THz: float) -> Currents:
    """Currents filtered by averaging over the new sampling interval, and sampled with the cutoff as Nyquist frequency.

    The spectrum at zero frequency is kept, what lies above the cutoff is damped before it folds back. The interval is a
    whole number of time steps, so that the true cutoff, ``resampled(...).nyquist_THz``, is the Nyquist frequency
    divided by the integer that comes closest. An odd sample at the end is left out. Ercole, Marcolongo, Baroni, Sci.
    Rep. 7, 15835 (2017).

    Parameters
    ----------
    currents : Currents
    cutoff_THz : float
        f* in THz, above the features of the spectrum that matter at low frequency, at most the Nyquist frequency.

    Returns
    -------
    Currents
        In double precision.

    Raises
    ------
    ValueError
        If the cutoff is above the Nyquist frequency, or leaves fewer than 100 samples.

    Warns
    -----
    SpectrumWarning
        If fewer than 500 samples are left.
    """
    check_number("cutoff_THz", cutoff_THz, "THz", positive=True)
    nyquist = currents.nyquist_THz
    if cutoff_THz > nyquist * (1 + 1e-9):
        raise ValueError(f"cutoff_THz is {cutoff_THz:g}; accepted is at most the Nyquist frequency {nyquist:g} THz")
    width = round(nyquist / cutoff_THz)
    n_samples = currents.n_samples // width
    n_samples -= n_samples % 2
    if n_samples < FEW_SAMPLES:
        said = f"cutoff_THz is {cutoff_THz:g}, which leaves {n_samples} samples of {currents.duration_ps:g} ps"
        if n_samples < FEWEST_SAMPLES:
            lowest = nyquist / max(1, currents.n_samples // FEWEST_SAMPLES)
            raise ValueError(
                f"{said}; accepted is a cutoff that leaves at least {FEWEST_SAMPLES} (about {lowest:.3g} THz), or a "
                "longer run"
            )
        warnings.warn(f"{said}; a spectrum wants at least {FEW_SAMPLES}", SpectrumWarning, stacklevel=2)
    shape = currents.values.shape[:3]
    rows = np.ascontiguousarray(currents.values).reshape(-1, currents.n_samples)
    means = np.empty((len(rows), n_samples))
    with _launched(box_average):
        box_average(rows, width, means)
    return Currents(
        means.reshape(*shape, n_samples),
        currents.names,
        kinds=currents.kinds,
        timestep_fs=currents.timestep_fs * width,
        temperature_K=currents.temperature_K,
        volume=currents.volume,
    )


def suggested_cutoff(currents: Currents, name: str = "energy", power: float = 0.95) -> float:
    """A cutoff frequency to begin with: that below which most of the power of a current lies.

    The other currents enter as in :meth:`CrossPeriodogram.reduced`. For liquids and soft solids it lies above the last
    feature of low frequency; with stiff molecules, whose vibrations hold much of the power, a lower one may do. Look at
    the spectrum, and at :func:`matterscape.transport.onsager.scan_cutoff`.

    Parameters
    ----------
    currents : Currents
    name : str
        Of the current.
    power : float
        Fraction of the power, between 0 and 1.

    Returns
    -------
    float
        In THz, the Nyquist frequency divided by an integer; at least 500 samples are left where there are as many.
    """
    if not is_number(power) or not 0 < power < 1:
        raise ValueError(f"power is {power!r}; accepted is a number between 0 and 1")
    reduced = cross_periodogram(currents).reduced(name)
    cumulative = np.cumsum(reduced.values)
    frequency = reduced.frequencies_THz[np.searchsorted(cumulative, power * cumulative[-1])]
    widest = max(1, currents.n_samples // FEW_SAMPLES)
    width = currents.nyquist_THz // frequency if frequency > 0 else widest
    return currents.nyquist_THz / min(max(width, 1), widest)


def binned_spectrum(
    frequencies_THz: np.ndarray, values: np.ndarray, n_bins: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """A spectrum averaged over bins of equally many frequencies, for display.

    Parameters
    ----------
    frequencies_THz : array (F,)
    values : array (F, ...)
        Real or complex.
    n_bins : int
        At most so many bins; fewer where there are fewer frequencies.

    Returns
    -------
    tuple of arrays (n,) and (n, ...)
        Mean frequency of each bin in THz, and mean values.
    """
    check_whole("n_bins", n_bins, 1)
    width = -(-len(frequencies_THz) // int(n_bins))
    starts = np.arange(0, len(frequencies_THz), width)
    counts = np.diff([*starts, len(frequencies_THz)])
    sums = np.add.reduceat(values, starts, axis=0)
    middle = np.add.reduceat(frequencies_THz, starts) / counts
    return middle, sums / counts.reshape(-1, *[1] * (np.ndim(values) - 1))


def moving_average(frequencies_THz: np.ndarray, values: np.ndarray, width_THz: float) -> np.ndarray:
    """A spectrum averaged over a window around each frequency, mirrored at both ends as a spectrum is.

    Parameters
    ----------
    frequencies_THz : array (F,)
        Equidistant, in THz.
    values : array (F,)
        Real.
    width_THz : float
        Full width of the window in THz; at least one frequency is in it.

    Returns
    -------
    array (F,)
    """
    check_number("width_THz", width_THz, "THz", positive=True)
    half = round(0.5 * width_THz / (frequencies_THz[1] - frequencies_THz[0]))
    return ndimage.uniform_filter1d(values, 2 * min(half, len(values) - 1) + 1, mode="mirror")
