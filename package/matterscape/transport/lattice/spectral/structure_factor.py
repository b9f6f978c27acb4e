"""Vibrational dynamical structure factor: how much of a plane wave each frequency holds.

    S_b(Q, omega) = sum_n |<n|Q,b>|^2 delta(omega - omega_n),   integral over positive omega = 1.

A delta function of half width g is the line of a damped oscillator,

    -(2 omega / pi) Im 1 / [(omega + i g)^2 - omega_n^2]
        = (4 omega^2 g / pi) / [(omega^2 - omega_n^2 - g^2)^2 + 4 omega^2 g^2],

which is a Lorentzian of half width at half maximum g where g << omega_n, has the area one for any g, and is what
the resolvent of the dynamical matrix has at the complex frequency omega + i g.
"""

from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number, real_array
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.spectral.plane_waves import plane_waves, shells

SHAPES = ("lorentzian", "gaussian")
_FREQUENCIES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class StructureFactor:
    """Structure factor of one branch at Q wavevectors and W frequencies.

    Attributes
    ----------
    wavevectors : ndarray (Q, 3), float64
        In 1/Å.
    branch : "longitudinal" or "transverse"
    angular_frequencies : ndarray (W,), float64
        In rad/ps.
    values : ndarray (Q, W), float64
        In ps; the mean over the two polarisations of a transverse wave.
    broadening : float
        Half width at half maximum in rad/ps that every line has got from the method. For Lorentzian lines the width
        of a line is the physical one plus this.
    shape : "lorentzian" or "gaussian"
        Of the lines that the method adds.
    """

    wavevectors: np.ndarray
    branch: str
    angular_frequencies: np.ndarray
    values: np.ndarray
    broadening: float
    shape: str = "lorentzian"

    @property
    def magnitudes(self) -> np.ndarray:
        """Lengths (Q,) of the wavevectors in 1/Å."""
        return np.linalg.norm(self.wavevectors, axis=1)

    def shell_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Lengths (K,) in 1/Å that occur, and the mean (K, W) of the values over the wavevectors of each."""
        groups = shells(self.wavevectors)
        lengths = self.magnitudes
        return (
            np.array([lengths[group].mean() for group in groups]),
            np.stack([self.values[group].mean(axis=0) for group in groups]),
        )


def structure_factor_of_modes(
    modes: VibrationalModes,
    wavevectors: np.ndarray,
    branch: str,
    angular_frequencies: np.ndarray,
    broadening: float,
    *,
    half_widths: np.ndarray | None = None,
) -> StructureFactor:
    """Structure factor from all eigenvectors of a cell, harmonic or with the widths of its modes.

    Parameters
    ----------
    modes : VibrationalModes
        At zero wavevector of a cell: of a glass, or of a supercell.
    wavevectors : ndarray (Q, 3)
        In 1/Å, whole multiples of the cell's reciprocal vectors.
    branch : "longitudinal" or "transverse"
    angular_frequencies : ndarray (W,)
        Where to evaluate it, in rad/ps, not negative.
    broadening : float
        Half width at half maximum of every line in rad/ps.
    half_widths : ndarray (1, 3 n), optional
        Of each mode in rad/ps, added to the broadening: the structure factor of the anharmonic solid.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If the modes are those of a mesh, or another argument is out of range.

    Source: A. Fiorentino, P. Pegolo and S. Baroni, npj Comput. Mater. 9, 157 (2023).
    """
    if len(modes.wavevectors) != 1 or modes.wavevectors.any():
        raise ValueError(f"modes are of a mesh {modes.mesh}; accepted are those of zero wavevector of a cell")
    modes.check_stable()
    omega = checked_frequencies(angular_frequencies)
    check_number("broadening", broadening, "rad/ps", positive=half_widths is None)
    widths = broadening + _checked_widths(modes, half_widths)
    waves = plane_waves(modes.structures, wavevectors, branch, masses=modes.masses)
    shape = waves.shape[1:]
    overlaps = modes.eigenvectors[0].conj().T @ waves.reshape(len(waves), -1)
    weights = (np.abs(overlaps) ** 2).reshape(-1, *shape).mean(axis=2)  # (3 n, Q)
    squares = np.where(modes.vibrating[0], modes.angular_frequencies[0] ** 2, 0.0)
    values = np.empty((shape[0], len(omega)))
    for start in range(0, len(omega), _FREQUENCIES_AT_ONCE):
        part = slice(start, start + _FREQUENCIES_AT_ONCE)
        values[:, part] = weights.T @ damped_lines(omega[part], squares, widths)
    return StructureFactor(np.array(wavevectors, dtype=np.float64), branch, omega, values, float(broadening))


def damped_lines(angular_frequencies: np.ndarray, squares: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """Lines (M, W) in ps of damped oscillators with squared frequencies (M,) and half widths (M,) or one, at (W,)."""
    omega = np.asarray(angular_frequencies)
    half_widths = np.broadcast_to(half_widths, np.shape(squares))[:, None]
    numerator = 4 / np.pi * omega**2 * half_widths
    # omega = 0 of a translation is the limit 0 of the line
    denominator = (omega**2 - squares[:, None] - half_widths**2) ** 2 + 4 * omega**2 * half_widths**2
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)


def checked_frequencies(angular_frequencies: np.ndarray) -> np.ndarray:
    """Angular frequencies (W,) in rad/ps; ``ValueError`` unless they are finite, not negative and at least one."""
    omega = real_array("angular_frequencies", angular_frequencies)
    if omega.ndim != 1 or not len(omega) or not np.isfinite(omega).all() or omega.min() < 0:
        raise ValueError(
            f"angular_frequencies have shape {omega.shape} and the lowest is {omega.min(initial=np.inf)}; accepted is "
            "an array (W,) of finite, non-negative numbers"
        )
    return omega


def _checked_widths(modes: VibrationalModes, half_widths: np.ndarray | None) -> np.ndarray:
    shape = modes.angular_frequencies.shape
    if half_widths is None:
        return np.zeros(shape[1])
    half_widths = real_array("half_widths", half_widths)
    if half_widths.shape != shape or not (half_widths[modes.vibrating] > 0).all():
        raise ValueError(
            f"half_widths have shape {half_widths.shape} and the smallest is {half_widths.min(initial=np.inf)}; "
            f"accepted are positive numbers {shape} of rad/ps"
        )
    return np.where(modes.vibrating, half_widths, 0.0)[0]
