"""Sound in an alloy: scattering by coloured mass disorder in Born's approximation, and widths that were measured.

A wave of frequency omega scatters from wavevector k to k' on the same surface of constant frequency, as strongly as the
structure factor S(k - k') of the masses has waves there. In an isotropic solid with two speeds of sound,

    FWHM_b(omega) = (V_0 omega^4 / 4 pi) sum_b' (1 / c_b'^3) < S(|k - k'|) P_bb'(angle) >,

the mean taken over directions of k', P being the squared products of the polarisations: cos^2 between longitudinal
waves, sin^2 from longitudinal to both transverse ones, half of that back, (1 + cos^2) / 2 among transverse waves. White
disorder, S = g_2, leaves V_0 g_2 omega^4 <c^-3> / (4 pi) for every wave.
"""

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from matterscape.checks import check_number, real_array

_ANGLES = 64


def isotropic_born_half_widths(
    angular_frequencies: np.ndarray,
    structure_factor: Callable[[np.ndarray], np.ndarray],
    *,
    longitudinal_speed: float,
    transverse_speed: float,
    volume_per_atom: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Half widths of long sound waves by mass disorder of any colour, to the first order in its strength.

    Parameters
    ----------
    angular_frequencies : ndarray (W,)
        In rad/ps.
    structure_factor : callable
        S(k) of the deviations of the masses, for wavenumbers in 1/Å of any shape. Where it grows as k^-2 or faster to
        the longest waves, forward scattering diverges: then what the shortest k is decides.
    longitudinal_speed, transverse_speed : float
        In Å/ps.
    volume_per_atom : float
        V_0 in Å^3.

    Returns
    -------
    ndarray (W,), ndarray (W,)
        Longitudinal and transverse, in rad/ps.

    Raises
    ------
    ValueError
        If a number is not positive, or the structure factor negative somewhere.

    Source: S. Tamura, Phys. Rev. B 27, 858 (1983), with the structure factor of the masses in place of their variance.
    """
    omega = real_array("angular_frequencies", angular_frequencies)
    speeds = np.array([longitudinal_speed, transverse_speed])
    for name, value, unit in (
        ("longitudinal_speed", longitudinal_speed, "Å/ps"),
        ("transverse_speed", transverse_speed, "Å/ps"),
        ("volume_per_atom", volume_per_atom, "Å^3"),
    ):
        check_number(name, value, unit, positive=True)
    # the angle's cosine in terms of y^2, which takes the steep S of small angles apart
    y, weights = np.polynomial.legendre.leggauss(_ANGLES)
    y, weights = 0.5 * (y + 1), 0.5 * weights
    sine_square_half = y**4
    cosine = 1 - 2 * sine_square_half
    measure = 4 * y**3 * weights  # of d cos / 2
    shares = np.array([[cosine**2, 1 - cosine**2], [0.5 * (1 - cosine**2), 0.5 * (1 + cosine**2)]])
    widths = np.zeros((2, len(omega)))
    for own, other in np.ndindex(2, 2):
        first, second = omega[:, None] / speeds[own], omega[:, None] / speeds[other]
        transfer = np.sqrt((first - second) ** 2 + 4 * first * second * sine_square_half)
        strength = np.asarray(structure_factor(transfer))
        if not (strength >= 0).all():
            raise ValueError(f"structure_factor gives {strength.min()}; accepted are numbers from 0 on")
        widths[own] += strength @ (shares[own, other] * measure) / speeds[other] ** 3
    longitudinal, transverse = widths * (0.5 * volume_per_atom / (4 * np.pi)) * omega**4
    return longitudinal, transverse


class MeasuredAttenuation:
    """Half width of sound as it was measured at some frequencies, with a power law below the lowest of them.

    It stands in the place of an :class:`~matterscape.transport.lattice.attenuation.Attenuation` where attenuation is
    no sum of omega^2 and omega^4. Between the points, and with the last slope above them, ln Gamma follows ln omega by
    monotone cubic splines.

    Parameters
    ----------
    angular_frequencies : ndarray (P,)
        In rad/ps, ascending.
    half_widths : ndarray (P,)
        In rad/ps, positive.
    exponent : float
        Of the power law below the first point: 4 for disorder whose colour ends at some length, 4 - p where its
        structure factor grows as k^-p.

    Raises
    ------
    ValueError
        If there are fewer than two points, they do not ascend, or a number is not positive.
    """

    #: The conductivity of waves that decay no other way diverges, as if there was no omega^2.
    quadratic = 0.0

    def __init__(self, angular_frequencies: np.ndarray, half_widths: np.ndarray, *, exponent: float = 4.0):
        omega = real_array("angular_frequencies", angular_frequencies)
        widths = real_array("half_widths", half_widths)
        if omega.ndim != 1 or omega.shape != widths.shape or len(omega) < 2:
            raise ValueError(
                f"angular_frequencies have shape {omega.shape} and half_widths {widths.shape}; accepted are two or "
                "more numbers in each"
            )
        if not (omega[0] > 0 and (np.diff(omega) > 0).all()):
            raise ValueError(f"angular_frequencies are {omega.tolist()}; accepted are positive numbers that ascend")
        if not (np.isfinite(widths).all() and (widths > 0).all()):
            raise ValueError(f"half_widths hold {widths.min()}; accepted are positive, finite numbers")
        check_number("exponent", exponent, positive=True)
        self.angular_frequencies, self.half_widths, self.exponent = omega, widths, float(exponent)
        self._spline = PchipInterpolator(np.log(omega), np.log(widths))
        self._last_slope = float(self._spline.derivative()(np.log(omega[-1])))

    def __call__(self, angular_frequencies: np.ndarray) -> np.ndarray:
        """Half widths in rad/ps at angular frequencies in rad/ps."""
        x = np.log(np.maximum(np.asarray(angular_frequencies, dtype=np.float64), 1e-300))
        first, last = np.log(self.angular_frequencies[[0, -1]])
        inside = self._spline(np.clip(x, first, last))
        return np.exp(inside + self.exponent * np.minimum(x - first, 0) + self._last_slope * np.maximum(x - last, 0))

    def ioffe_regel(self) -> float:
        """Lowest angular frequency in rad/ps from which sound decays within one period: 2 pi Gamma(omega) = omega.

        Raises
        ------
        ValueError
            If it does not by twice the highest frequency measured.
        """
        omega = np.linspace(self.angular_frequencies[0] * 1e-2, 2 * self.angular_frequencies[-1], 20_000)
        beyond = 2 * np.pi * self(omega) >= omega
        if not beyond.any():
            raise ValueError(
                f"half_widths stay below omega / 2 pi up to {omega[-1]:.4g} rad/ps; accepted are some above"
            )
        return float(omega[np.argmax(beyond)])
