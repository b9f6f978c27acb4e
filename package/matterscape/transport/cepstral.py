"""Cepstral analysis: the spectrum at zero frequency, and its error, from one periodogram.

The logarithm of a periodogram is the logarithm of the spectrum plus noise of known mean psi(nu) - ln nu and variance
psi'(nu), independent at different frequencies. The Fourier coefficients C_n of the logarithm (the cepstrum) hence all
have the same known variance, while those of a smooth spectrum fall off: a few are kept, an information criterion says
how many. Ercole, Marcolongo, Baroni, Sci. Rep. 7, 15835 (2017).
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import chebyshev
from scipy import fft
from scipy.special import polygamma, psi

from matterscape.checks import is_number
from matterscape.kernels import get_threads
from matterscape.transport.spectra import ReducedPeriodogram, SpectrumWarning


@dataclass(frozen=True, eq=False)
class Cepstral:
    """A spectrum described by its first cepstral coefficients.

        ln S(f) = C_0 + 2 sum_{n=1}^{K} C_n cos(pi n f / f*),   var C_n = psi'(nu) / N,   var C_0 = 2 psi'(nu) / N

    Attributes
    ----------
    coefficients : array (N/2 + 1,)
        C_0 to C_{N/2}, noise included.
    n_coefficients : int
        K, the last coefficient that is kept.
    information_criterion : array (N/2 + 1,)
        AIC(K) = sum_{n>K} C_n^2 / var C_n + 2 (K + 1) for every K.
    degrees_of_freedom : int
        nu of the periodogram.
    nyquist_THz : float
        f* in THz.
    """

    coefficients: np.ndarray
    n_coefficients: int
    information_criterion: np.ndarray
    degrees_of_freedom: int
    nyquist_THz: float

    @property
    def n_samples(self) -> int:
        """Number of samples N of the series behind it."""
        return 2 * (len(self.coefficients) - 1)

    @property
    def best_n_coefficients(self) -> int:
        """K that minimises the information criterion."""
        return int(np.argmin(self.information_criterion))

    @property
    def log_zero_frequency(self) -> float:
        """ln S(0) = C_0 + 2 sum_{n=1}^{K} C_n."""
        kept = self.coefficients[: self.n_coefficients + 1]
        last = kept[-1] if self.n_coefficients == self.n_samples // 2 else 0.0  # N/2 has no partner -N/2
        return float(2 * kept.sum() - kept[0] - last)

    @property
    def log_error(self) -> float:
        """Standard deviation of ln S(0), the relative error of S(0): sqrt(psi'(nu) (4 K + 2) / N).

        Knows nothing of the choice of K from the same data. With the K that the information criterion prefers,
        deviations are 1.2 to 1.4 such errors, and ln S(0) of a spectrum that falls from f = 0 on is too low by up to
        one. With half as many coefficients again (:meth:`with_coefficients`) little is left of either.
        """
        return float(np.sqrt(self._variance * min(4 * self.n_coefficients + 2, 2 * self.n_samples)))

    @property
    def zero_frequency(self) -> float:
        """S(0), in the unit of the periodogram."""
        return float(np.exp(self.log_zero_frequency))

    @property
    def zero_frequency_error(self) -> float:
        """Standard deviation of S(0)."""
        return self.zero_frequency * self.log_error

    @property
    def _variance(self) -> float:
        return float(polygamma(1, self.degrees_of_freedom)) / self.n_samples

    def with_coefficients(self, n_coefficients: int) -> "Cepstral":
        """The same with another number K of coefficients; takes no time.

        Raises
        ------
        ValueError
            If it is not a whole number from 0 to N/2.
        """
        return replace(self, n_coefficients=_checked_number(n_coefficients, len(self.coefficients) - 1))

    def scan(self, largest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """ln S(0) and its error for every K from 0 to ``largest`` (by default N/2): two arrays (largest + 1,)."""
        last = self.n_samples // 2
        largest = last if largest is None else _checked_number(largest, last, "largest")
        numbers = np.arange(largest + 1)
        kept = 2 * np.cumsum(self.coefficients[: largest + 1]) - self.coefficients[0]
        if largest == last:
            kept[-1] -= self.coefficients[-1]
        return kept, np.sqrt(self._variance * np.minimum(4 * numbers + 2, 2 * self.n_samples))

    def spectrum(self, frequencies_THz: np.ndarray | None = None) -> np.ndarray:
        """The smooth spectrum that K coefficients describe.

        Parameters
        ----------
        frequencies_THz : array (n,), optional
            From 0 to f* in THz; by default those of the periodogram, N/2 + 1 of them.

        Returns
        -------
        array (n,)
            In the unit of the periodogram.
        """
        if frequencies_THz is None:
            kept = np.zeros_like(self.coefficients)
            kept[: self.n_coefficients + 1] = self.coefficients[: self.n_coefficients + 1]
            return np.exp(fft.dct(kept, type=1, workers=get_threads()))
        series = 2 * self.coefficients[: self.n_coefficients + 1]
        series[0] /= 2
        if self.n_coefficients == self.n_samples // 2:
            series[-1] /= 2
        return np.exp(chebyshev.chebval(np.cos(self._angles(frequencies_THz)), series))  # cos(n x) = T_n(cos x)

    def spectrum_log_error(self, frequencies_THz: np.ndarray) -> np.ndarray:
        """Standard deviation of ln S(f) at frequencies (n,) in THz.

        sqrt(psi'(nu) / N (2 + 4 sum_{n=1}^{K} cos^2(n x))) with x = pi f / f*; at f = 0 this is :attr:`log_error`.
        """
        angles, number = self._angles(frequencies_THz), 2 * self.n_coefficients + 1
        sines = np.sin(angles)
        ends = np.abs(sines) < 1e-9
        kernel = np.where(ends, number, np.sin(number * angles) / np.where(ends, 1.0, sines))
        return np.sqrt(self._variance * np.minimum(number + kernel, 2 * self.n_samples))

    def _angles(self, frequencies_THz: np.ndarray) -> np.ndarray:
        return np.pi / self.nyquist_THz * np.asarray(frequencies_THz, dtype=np.float64)


def cepstral_analysis(reduced: ReducedPeriodogram, n_coefficients: int | None = None) -> Cepstral:
    """Cepstral analysis of a periodogram.

    C_n = (1/N) sum_{k=0}^{N-1} (ln p_k - bias_k) cos(2 pi k n / N), where the bias is psi(nu) - ln nu, with nu/2 in the
    place of nu at k = 0 and N/2.

    Parameters
    ----------
    reduced : ReducedPeriodogram
    n_coefficients : int, optional
        K, the last coefficient that is kept; by default the one that minimises Akaike's information criterion.

    Returns
    -------
    Cepstral

    Raises
    ------
    ValueError
        If ``n_coefficients`` is not a whole number from 0 to N/2.

    Warns
    -----
    SpectrumWarning
        If the criterion keeps more than half of the coefficients: the series is too short for what it holds.
    """
    nu = reduced.degrees_of_freedom
    n_samples = reduced.n_samples
    logarithms = np.log(reduced.values) - (psi(nu) - np.log(nu))
    logarithms[[0, -1]] += (psi(nu) - np.log(nu)) - (psi(nu / 2) - np.log(nu / 2))
    coefficients = fft.dct(logarithms, type=1, workers=get_threads()) / n_samples

    misfits = coefficients**2 * (n_samples / polygamma(1, nu))
    misfits[[0, -1]] /= 2
    criterion = np.zeros_like(misfits)
    criterion[:-1] = np.cumsum(misfits[:0:-1])[::-1]  # sum over n > K
    criterion += 2 * np.arange(1, len(criterion) + 1)

    if n_coefficients is None:
        n_coefficients = int(np.argmin(criterion))
        if n_coefficients > n_samples // 4:
            warnings.warn(
                f"the information criterion keeps {n_coefficients} of {n_samples // 2} coefficients; a longer run or "
                "another cutoff frequency is needed to resolve this spectrum",
                SpectrumWarning,
                stacklevel=2,
            )
    n_coefficients = _checked_number(n_coefficients, n_samples // 2)
    return Cepstral(coefficients, n_coefficients, criterion, nu, reduced.nyquist_THz)


def _checked_number(value: int, largest: int, name: str = "n_coefficients") -> int:
    if not is_number(value) or value != int(value) or not 0 <= value <= largest:
        raise ValueError(f"{name} is {value!r}; accepted is a whole number from 0 to {largest}")
    return int(value)
