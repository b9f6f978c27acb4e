"""How sound decays in a glass: scattering by disorder, anharmonic widths, Rayleigh's law and the Ioffe-Regel limit.

All widths are half widths at half maximum in rad/ps, the rates at which amplitudes decay; those of disorder and of
anharmonicity add up, Gamma(omega, T) = A omega^2 + B omega^4 + g(omega, T).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RegularGridInterpolator, make_smoothing_spline
from scipy.optimize import brentq, nnls

from matterscape.checks import check_number, real_array

#: Widths that are known to fewer rad/ps than this many broadenings are not resolved.
RESOLVED_BROADENINGS = 0.3
#: Points on which the smooth widths above the crossover are kept.
TABLE_POINTS = 200


@dataclass(frozen=True)
class Attenuation:
    """Half width of sound A omega^2 + B omega^4, in rad/ps.

    Parameters
    ----------
    quadratic : float
        A in ps/rad, not negative.
    quartic : float
        B in (ps/rad)^3, not negative.
    """

    quadratic: float
    quartic: float

    def __post_init__(self):
        check_number("quadratic", self.quadratic, "ps/rad")
        check_number("quartic", self.quartic, "(ps/rad)^3")

    def __call__(self, angular_frequencies: np.ndarray) -> np.ndarray:
        """Half widths in rad/ps at angular frequencies in rad/ps."""
        squares = np.square(angular_frequencies)
        return squares * (self.quadratic + self.quartic * squares)


def fit_attenuation(
    angular_frequencies: np.ndarray, half_widths: np.ndarray, weights: np.ndarray | None = None
) -> Attenuation:
    """A, B >= 0 that minimise sum_i weights_i [(Gamma_i - A omega_i^2 - B omega_i^4) / omega_i^2]^2.

    Parameters
    ----------
    angular_frequencies : ndarray (P,)
        In rad/ps, positive.
    half_widths : ndarray (P,)
        In rad/ps; negative ones, left where a broadening was subtracted that hides the width, count as they are.
    weights : ndarray (P,), optional
        How many waves each point stands for; equal if not given.

    Raises
    ------
    ValueError
        If there is no point, or the numbers are out of range.

    Source: A. Fiorentino, P. Pegolo and S. Baroni, npj Comput. Mater. 9, 157 (2023).
    """
    omega, half_widths = _checked_points(angular_frequencies, half_widths, 1)
    weights = np.ones(len(omega)) if weights is None else real_array("weights", weights)
    if weights.shape != omega.shape or not ((weights >= 0).all() and weights.any()):
        raise ValueError(
            f"weights have shape {weights.shape} and the smallest is {weights.min(initial=np.inf)}; accepted are "
            f"{len(omega)} numbers, none negative and not all zero"
        )
    roots = np.sqrt(weights)
    # frequencies of order one keep both columns alike
    scale = omega.max()
    columns = roots[:, None] * np.stack([np.ones(len(omega)), (omega / scale) ** 2], axis=1)
    quadratic, quartic = nnls(columns, roots * half_widths / omega**2)[0]
    return Attenuation(float(quadratic), float(quartic / scale**2))


def ioffe_regel(*attenuations: Attenuation) -> float:
    """Angular frequency in rad/ps above which sound decays within one period: 2 pi Gamma(omega) = omega.

    Parameters
    ----------
    attenuations : Attenuation
        Those of one wave, which add up; an anharmonic one is ``Attenuation(a, 0)``.

    Raises
    ------
    ValueError
        If there is none that attenuates.
    """
    linear = sum(one.quadratic for one in attenuations)
    cubic = sum(one.quartic for one in attenuations)
    if not linear and not cubic:
        raise ValueError("attenuations are all zero; accepted is at least one that attenuates")
    bounds = [1 / (2 * np.pi * linear)] if linear else []
    bounds += [(2 * np.pi * cubic) ** (-1 / 3)] if cubic else []
    highest = min(bounds)

    def excess(omega: float) -> float:
        return 2 * np.pi * (linear * omega + cubic * omega**3) - 1

    return float(brentq(excess, 0, highest * (1 + 1e-9), xtol=1e-14 * highest))


@dataclass(frozen=True)
class RayleighFit:
    """A power law of attenuation, Gamma = B omega^4 at best.

    Attributes
    ----------
    quartic : float
        B in (ps/rad)^3, with the exponent held at 4.
    exponent, exponent_error : float
        Free exponent of Gamma ~ omega^p and its standard error.
    resolved : ndarray (P,), bool
        Points that the fit uses.
    """

    quartic: float
    exponent: float
    exponent_error: float
    resolved: np.ndarray


def rayleigh_fit(
    angular_frequencies: np.ndarray,
    half_widths: np.ndarray,
    *,
    broadening: float,
    level_spacings: np.ndarray | float = 0.0,
    relative_errors: np.ndarray | None = None,
) -> RayleighFit:
    """Exponent and prefactor of the attenuation where it is resolved, by a weighted fit of logarithms.

    A point counts if its half width exceeds 0.3 of the broadening with which its spectrum was computed, and the
    spacing of the levels there.

    Parameters
    ----------
    angular_frequencies : ndarray (P,)
        In rad/ps.
    half_widths : ndarray (P,)
        In rad/ps, the broadening subtracted.
    broadening : float
        In rad/ps.
    level_spacings : ndarray (P,) or float
        Inverse of the density of modes, in rad/ps.
    relative_errors : ndarray (P,), optional
        Of the half widths; equal if not given. The error of the exponent follows from the scatter about the fit, and
        from these errors if that is more.

    Raises
    ------
    ValueError
        If fewer than three points are resolved, or the numbers are out of range.
    """
    omega, half_widths = _checked_points(angular_frequencies, half_widths, 3)
    check_number("broadening", broadening, "rad/ps")
    floor = np.maximum(RESOLVED_BROADENINGS * broadening, level_spacings)
    resolved = (half_widths > floor) & (half_widths > 0)
    if resolved.sum() < 3:
        raise ValueError(
            f"half_widths resolve {resolved.sum()} points of {len(omega)}; accepted are three or more above "
            f"{RESOLVED_BROADENINGS} of the broadening {broadening:.3g} rad/ps and above the spacing of the levels"
        )
    given = relative_errors is not None
    errors = real_array("relative_errors", relative_errors) if given else np.ones(len(omega))
    if errors.shape != omega.shape or not (errors > 0).all():
        raise ValueError(f"relative_errors have shape {errors.shape}; accepted are {len(omega)} positive numbers")
    x, y, weights = np.log(omega[resolved]), np.log(half_widths[resolved]), errors[resolved] ** -2
    mean = np.average(x, weights=weights)
    spread = (weights * (x - mean) ** 2).sum()
    if spread <= 1e-12 * weights.sum():
        raise ValueError("angular_frequencies that are resolved are all equal; accepted are different ones")
    exponent = (weights * (x - mean) * y).sum() / spread
    residuals = y - np.average(y, weights=weights) - exponent * (x - mean)
    scatter = (weights * residuals**2).sum() / (len(x) - 2)
    variance = max(scatter, 1.0) if given else scatter
    quartic = np.exp(np.average(y - 4 * x, weights=weights))
    return RayleighFit(float(quartic), float(exponent), float(np.sqrt(variance / spread)), resolved)


class AnharmonicWidths:
    """Anharmonic half widths g(omega, T): a(T) omega^2 for slow vibrations, a smooth curve through those of others.

    Parameters
    ----------
    angular_frequencies : ndarray (M,)
        Of modes, in rad/ps, positive.
    half_widths : ndarray (T, M)
        In rad/ps, not negative.
    temperatures_K : sequence of T floats
        Ascending. In between, logarithms of widths are interpolated linearly in ln T; beyond, the law goes on.
    crossover : float
        Angular frequency in rad/ps up to which g = a(T) omega^2, a(T) the mean of g / omega^2 over the modes below.

    Attributes
    ----------
    temperatures_K : ndarray (T,)
    coefficients : ndarray (T,)
        a(T) in ps/rad.
    crossover : float

    Raises
    ------
    ValueError
        If fewer than three modes lie below the crossover or fewer than five above, or the numbers are out of range.

    Source: A. Fiorentino, P. Pegolo and S. Baroni, npj Comput. Mater. 9, 157 (2023); the smooth curve is a cubic
    smoothing spline of ln g whose stiffness generalised cross-validation chooses.
    """

    def __init__(
        self,
        angular_frequencies: np.ndarray,
        half_widths: np.ndarray,
        temperatures_K: Sequence[float],
        *,
        crossover: float,
    ):
        omega = real_array("angular_frequencies", angular_frequencies)
        half_widths = real_array("half_widths", half_widths)
        temperatures = np.atleast_1d(real_array("temperatures_K", temperatures_K))
        if not ((temperatures > 0).all() and (np.diff(temperatures) > 0).all()):
            raise ValueError(f"temperatures_K are {temperatures.tolist()}; accepted are positive numbers that ascend")
        check_number("crossover", crossover, "rad/ps", positive=True)
        if omega.ndim != 1 or half_widths.shape != (len(temperatures), len(omega)):
            raise ValueError(
                f"half_widths have shape {half_widths.shape}; accepted is ({len(temperatures)}, {omega.size}), one row "
                "for each temperature, one column for each mode"
            )
        if not ((omega > 0).all() and np.isfinite(half_widths).all() and (half_widths >= 0).all()):
            raise ValueError(
                "angular_frequencies and half_widths hold numbers that are not; accepted are positive ones"
            )
        slow = omega <= crossover
        if slow.sum() < 3 or (~slow).sum() < 5:
            raise ValueError(
                f"crossover is {crossover:.4g} rad/ps, with {slow.sum()} modes below and {(~slow).sum()} above; "
                "accepted is one with at least three below and five above"
            )
        self.temperatures_K, self.crossover = temperatures, float(crossover)
        self.coefficients = np.maximum((half_widths[:, slow] / omega[slow] ** 2).mean(axis=1), 1e-30)
        order = np.argsort(omega)
        # modes of equal frequency are one point of a spline
        points, groups = np.unique(omega[order], return_inverse=True)
        logarithms = np.log(np.maximum(half_widths[:, order], 1e-30))
        counts = np.bincount(groups)
        means = np.stack([np.bincount(groups, row) / counts for row in logarithms])
        self._frequencies = np.linspace(min(crossover, points[-1]), points[-1], TABLE_POINTS)
        self._logarithms = np.stack(
            [make_smoothing_spline(points, row, w=counts.astype(float))(self._frequencies) for row in means]
        )

    def coefficient(self, temperatures_K: np.ndarray | float) -> np.ndarray:
        """a(T) in ps/rad."""
        return np.exp(_log_interpolated(temperatures_K, self.temperatures_K, np.log(self.coefficients)))

    def __call__(self, angular_frequencies: np.ndarray, temperatures_K: np.ndarray | float) -> np.ndarray:
        """Half widths in rad/ps; frequencies (rad/ps) and temperatures are broadcast against each other.

        Beyond the fastest mode the width is that of the fastest.
        """
        omega, temperatures = np.broadcast_arrays(np.asarray(angular_frequencies, float), temperatures_K)
        widths = self.coefficient(temperatures) * omega**2
        fast = omega > self.crossover
        if fast.any():
            widths = np.array(widths)
            widths[fast] = self._smooth(omega[fast], temperatures[fast])
        return widths

    def _smooth(self, omega: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
        omega = np.minimum(omega, self._frequencies[-1])
        if len(self.temperatures_K) == 1:
            return np.exp(np.interp(omega, self._frequencies, self._logarithms[0]))
        table = RegularGridInterpolator(
            (np.log(self.temperatures_K), self._frequencies), self._logarithms, bounds_error=False, fill_value=None
        )
        return np.exp(table((np.log(temperatures), omega)))


def _log_interpolated(temperatures: np.ndarray | float, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear in ln T between nodes and beyond them; a single node is a constant."""
    if len(nodes) == 1:
        return np.full(np.shape(temperatures), values[0])
    x, y = np.log(nodes), np.log(temperatures)
    place = np.clip(np.searchsorted(x, y) - 1, 0, len(x) - 2)
    return values[place] + (values[place + 1] - values[place]) * (y - x[place]) / (x[place + 1] - x[place])


def _checked_points(angular_frequencies: np.ndarray, half_widths: np.ndarray, fewest: int) -> tuple[np.ndarray, ...]:
    omega, half_widths = real_array("angular_frequencies", angular_frequencies), real_array("half_widths", half_widths)
    if omega.ndim != 1 or omega.shape != half_widths.shape or len(omega) < fewest:
        raise ValueError(
            f"angular_frequencies have shape {omega.shape} and half_widths {half_widths.shape}; accepted are "
            f"{fewest} or more numbers in each"
        )
    if not (np.isfinite(half_widths).all() and np.isfinite(omega).all() and (omega > 0).all()):
        raise ValueError(
            f"angular_frequencies start at {omega.min()} rad/ps; accepted are positive numbers, and finite half_widths"
        )
    return omega, half_widths
