"""Sound waves of a glass, read off its vibrational dynamical structure factor S(Q, omega): frequencies and widths.

The spectrum of a damped wave is that of an oscillator with frequency Omega and full width W,

    S(omega) = (2 / pi) omega^2 W / [(omega^2 - Omega^2)^2 + omega^2 W^2],

or a Lorentzian for weak damping. The broadening eta (half width) with which a spectrum was computed adds to the half
width of the wave, so that Gamma = W / 2 - eta.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from matterscape.checks import check_number, real_array
from matterscape.transport.lattice.spectral.plane_waves import shells
from matterscape.transport.lattice.spectral.structure_factor import StructureFactor

#: 1/Å; shells below this many are taken for linear dispersion.
LINEAR_BELOW = 0.4


def damped_oscillator(angular_frequencies: np.ndarray, frequency: float, half_width: float) -> np.ndarray:
    """Spectrum in ps of a damped oscillator, with an integral of 1 over positive frequencies.

    Parameters
    ----------
    angular_frequencies : ndarray
        In rad/ps.
    frequency, half_width : float
        Omega and Gamma = W / 2 in rad/ps.
    """
    squares = np.square(angular_frequencies)
    width = 2 * half_width
    return (2 / np.pi) * squares * width / ((squares - frequency**2) ** 2 + squares * width**2)


def lorentzian(angular_frequencies: np.ndarray, frequency: float, half_width: float) -> np.ndarray:
    """Lorentzian in ps about one frequency, with an integral of 1 over all frequencies.

    Parameters as of :func:`damped_oscillator`.
    """
    return half_width / np.pi / ((np.asarray(angular_frequencies) - frequency) ** 2 + half_width**2)


SHAPES = {"oscillator": damped_oscillator, "lorentzian": lorentzian}


@dataclass(frozen=True)
class SoundPeak:
    """The peak of one spectrum.

    Attributes
    ----------
    frequency : float
        Omega in rad/ps.
    half_width : float
        Gamma in rad/ps, the broadening subtracted; negative where the broadening hides it.
    area : float
        Part of the spectrum that belongs to the peak.
    residual : float
        Root mean square of the misfit over that of the spectrum.
    """

    frequency: float
    half_width: float
    area: float
    residual: float


def fit_sound_peak(
    angular_frequencies: np.ndarray, spectrum: np.ndarray, *, broadening: float, shape: str = "oscillator"
) -> SoundPeak:
    """Fit the frequency, half width and area of one peak by least squares.

    Parameters
    ----------
    angular_frequencies : ndarray (W,)
        In rad/ps, ascending, not negative.
    spectrum : ndarray (W,)
        In ps.
    broadening : float
        Half width in rad/ps with which the spectrum was computed.
    shape : "oscillator" or "lorentzian"

    Raises
    ------
    ValueError
        If the spectrum has no peak, the fit does not converge, or an argument is out of range.
    """
    omega = _checked_grid(angular_frequencies)
    spectrum = real_array("spectrum", spectrum)
    check_number("broadening", broadening, "rad/ps")
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    if spectrum.shape != omega.shape or not np.isfinite(spectrum).all() or not spectrum.max() > 0:
        raise ValueError(f"spectrum has shape {spectrum.shape}; accepted are {len(omega)} finite numbers with a peak")
    profile, top = SHAPES[shape], int(np.argmax(spectrum))
    area = np.trapezoid(spectrum, omega)
    start = (np.log(max(omega[top], omega[1])), np.log(max(area / (np.pi * spectrum[top]), broadening)), area)
    scale = spectrum.max()

    def model(x: np.ndarray, log_frequency: float, log_width: float, area: float) -> np.ndarray:
        return area / scale * profile(x, np.exp(log_frequency), np.exp(log_width))

    try:
        with np.errstate(over="ignore"):
            found, _ = curve_fit(model, omega, spectrum / scale, p0=start, maxfev=2000)
    except (RuntimeError, OptimizeWarning) as error:
        raise ValueError(f"spectrum peaks at {omega[top]:.4g} rad/ps and does not fit a {shape}: {error}") from error
    misfit = spectrum / scale - model(omega, *found)
    residual = np.sqrt((misfit**2).sum() / ((spectrum / scale) ** 2).sum())
    return SoundPeak(float(np.exp(found[0])), float(np.exp(found[1]) - broadening), float(found[2]), float(residual))


@dataclass(frozen=True, eq=False)
class SoundWaves:
    """Sound waves of one polarisation, one for each shell of wavevectors of equal length.

    Attributes
    ----------
    wavenumbers : ndarray (S,)
        |Q| in 1/Å, ascending.
    frequencies : ndarray (S,)
        Omega in rad/ps.
    half_widths : ndarray (S,)
        Gamma in rad/ps, the broadening subtracted.
    frequency_errors, width_errors : ndarray (S,)
        Standard errors in rad/ps from the scatter among the wavevectors of a shell (jackknife); infinite for one alone.
    members : ndarray (S,), int64
        How many spectra were averaged.
    """

    wavenumbers: np.ndarray
    frequencies: np.ndarray
    half_widths: np.ndarray
    frequency_errors: np.ndarray
    width_errors: np.ndarray
    members: np.ndarray

    def __len__(self) -> int:
        return len(self.wavenumbers)

    def __getitem__(self, chosen: np.ndarray | slice) -> "SoundWaves":
        """Some of the shells, by a slice, a mask or places (which may repeat)."""
        return SoundWaves(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})

    @property
    def propagating(self) -> np.ndarray:
        """Mask of waves that live longer than one period, 2 pi Gamma < Omega: below the Ioffe-Regel limit."""
        return 2 * np.pi * self.half_widths < self.frequencies

    def slowest(self, limit: float, fewest: int = 2) -> "SoundWaves":
        """Shells that propagate with Omega up to a limit in rad/ps, and the ``fewest`` slowest in any case."""
        kept = self.propagating & (self.frequencies <= limit)
        kept[np.argsort(self.frequencies)[:fewest]] = True
        return self[kept]

    def joined(self, *others: "SoundWaves") -> "SoundWaves":
        """All shells of these and other waves, for instance those of other samples, in order of their wavenumbers."""
        names = self.__dataclass_fields__
        joined = SoundWaves(**{n: np.concatenate([getattr(w, n) for w in (self, *others)]) for n in names})
        return joined[np.argsort(joined.wavenumbers, kind="stable")]

    def resampled(self, seed: int | np.random.Generator) -> "SoundWaves":
        """As many shells drawn with replacement: one draw of a bootstrap."""
        draws = np.random.default_rng(seed).integers(len(self), size=len(self))
        return self[np.sort(draws)]

    def speed(self, below: float = LINEAR_BELOW) -> float:
        """Sound speed c in Å/ps, the mean of Omega / Q over the shells with Q below a limit.

        Parameters
        ----------
        below : float
            In 1/Å.

        Raises
        ------
        ValueError
            If there is no such shell.
        """
        check_number("below", below, "1/Å", positive=True)
        chosen = self.wavenumbers < below
        if not chosen.any():
            raise ValueError(
                f"below is {below} 1/Å and the shortest wavevector {self.wavenumbers.min():.4g}; accepted is a limit "
                "above it"
            )
        return float((self.frequencies[chosen] / self.wavenumbers[chosen]).mean())

    def speed_error(self, below: float = LINEAR_BELOW) -> float:
        """Standard error of :meth:`speed` in Å/ps, from the errors of the frequencies."""
        self.speed(below)
        chosen = self.wavenumbers < below
        errors = self.frequency_errors[chosen] / self.wavenumbers[chosen]
        return float(np.sqrt((errors**2).sum()) / len(errors))


def fit_sound_waves(structure_factor: StructureFactor, *, shape: str = "oscillator") -> SoundWaves:
    """Average the spectra of wavevectors of equal length and fit a peak to each average.

    Parameters
    ----------
    structure_factor : StructureFactor
        Of one branch; its broadening is subtracted from the widths.
    shape : "oscillator" or "lorentzian"

    Raises
    ------
    ValueError
        If a peak cannot be fitted, or the shape is neither of the two.
    """
    omega, broadening = structure_factor.angular_frequencies, structure_factor.broadening
    columns = []
    for members in shells(structure_factor.wavevectors):
        peak = _peak_of_mean(omega, structure_factor.values[members], broadening, shape)
        columns.append((structure_factor.magnitudes[members].mean(), *peak, len(members)))
    return SoundWaves(*(np.array(column) for column in zip(*columns)))


def _peak_of_mean(omega: np.ndarray, spectra: np.ndarray, broadening: float, shape: str) -> tuple[float, ...]:
    """Frequency and half width of the mean spectrum, and their errors by leaving out one spectrum at a time."""

    def fit(mean: np.ndarray) -> np.ndarray:
        peak = fit_sound_peak(omega, mean, broadening=broadening, shape=shape)
        return np.array([peak.frequency, peak.half_width])

    total, number = spectra.sum(axis=0), len(spectra)
    errors = np.full(2, np.inf)
    if number > 1:
        values = np.stack([fit((total - spectrum) / (number - 1)) for spectrum in spectra])
        errors = np.sqrt((number - 1) * values.var(axis=0))
    return (*fit(total / number), *errors)


def _checked_grid(angular_frequencies: np.ndarray) -> np.ndarray:
    omega = real_array("angular_frequencies", angular_frequencies)
    if (
        omega.ndim != 1
        or len(omega) < 5
        or not (np.isfinite(omega).all() and omega[0] >= 0 and (np.diff(omega) > 0).all())
    ):
        raise ValueError(
            f"angular_frequencies have shape {omega.shape}; accepted are five or more that ascend from 0 or more"
        )
    return omega
