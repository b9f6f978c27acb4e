"""The conductivity of Allen and Feldman as a function of the half width that it gives to all modes.

    kappa_ab(eta) = (1/V) sum_nm C_nm v^a_nm v^b_nm 2 eta / [(2 eta)^2 + (omega_n - omega_m)^2],

with the heat capacities and velocities of :mod:`~matterscape.transport.lattice.qhgk`. In a finite glass it vanishes
with eta, because no two levels coincide and a mode has no velocity of its own; only half widths above the spacing of
the levels stand for a bulk.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.kernels import launch
from matterscape.transport.lattice._qhgk_kernels import CHUNKS, scan_pairs
from matterscape.transport.lattice.constants import CONDUCTIVITY
from matterscape.transport.lattice.mode_properties import level_spacing
from matterscape.transport.lattice.modes import VelocityTile, VibrationalModes
from matterscape.transport.lattice.qhgk import check_velocities, exchange_weights, full_tensors


@dataclass(frozen=True, eq=False)
class AllenFeldmanScan:
    """Conductivities of Allen and Feldman at E half widths.

    Attributes
    ----------
    half_widths : ndarray (E,)
        eta in rad/ps; the Lorentzian between two modes has the half width 2 eta.
    tensors : ndarray (E, 3, 3)
        In W/(m K).
    diffusivities : ndarray (E, Q, 3 n)
        Of each mode in Å^2/ps.
    level_spacing : float
        Mean distance of neighbouring levels in rad/ps.
    temperature_K : float
    statistics : str
    """

    half_widths: np.ndarray
    tensors: np.ndarray
    diffusivities: np.ndarray
    level_spacing: float
    temperature_K: float
    statistics: str

    @property
    def values(self) -> np.ndarray:
        """Means (E,) over the three directions in W/(m K)."""
        return np.trace(self.tensors, axis1=1, axis2=2) / 3

    @property
    def resolved(self) -> np.ndarray:
        """Mask (E,) of the half widths that reach the spacing of the levels."""
        return self.half_widths >= self.level_spacing


def allen_feldman_scan(
    modes: VibrationalModes,
    half_widths: Sequence[float] | np.ndarray,
    temperature_K: float,
    *,
    statistics: str = "quantum",
    velocities: Sequence[Sequence[VelocityTile]] | None = None,
) -> AllenFeldmanScan:
    """Conductivities of Allen and Feldman at many half widths, from one pass over the pairs of modes.

    Parameters
    ----------
    modes : VibrationalModes
    half_widths : sequence of E floats
        eta in rad/ps, given to every mode.
    temperature_K : float
    statistics : "quantum" or "classical"
    velocities : sequence of Q sequences of VelocityTile, optional
        The tiles of each wavevector, ``list(modes.velocity_tiles(q))``, kept for more conductivities;
        computed tile by tile and not kept if not given, in little memory.

    Warns
    -----
    UserWarning
        If a half width is below the mean spacing of the levels of a finite cell: what it gives vanishes with it,
        whatever the bulk does.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If a half width is not a positive, finite number, or another argument is out of range.

    Source: P. B. Allen and J. L. Feldman, Phys. Rev. B 48, 12581 (1993), eqs. 5 and 6.
    """
    modes.check_stable()
    half_widths = np.array(half_widths, dtype=np.float64)
    if half_widths.ndim != 1 or len(half_widths) == 0 or not (np.isfinite(half_widths) & (half_widths > 0)).all():
        raise ValueError(f"half_widths are {half_widths}; accepted are positive numbers of rad/ps, at least one")
    check_velocities(modes, velocities)
    spacing = level_spacing(modes)
    below = half_widths < spacing
    if below.any():
        warnings.warn(
            f"{below.sum()} half widths, the smallest {half_widths.min():.2g} rad/ps, are below the spacing of the "
            f"levels, {spacing:.2g} rad/ps: there the conductivity of a finite cell vanishes with them, that of the "
            "bulk does not",
            stacklevel=2,
        )
    tensors = np.zeros((CHUNKS, 6, len(half_widths)))
    diffusivities = np.zeros((len(half_widths), *modes.angular_frequencies.shape))
    for q, vibrating in enumerate(modes.vibrating):
        omega = modes.angular_frequencies[q][vibrating]
        weights = exchange_weights(omega, temperature_K, statistics)
        chunks = np.zeros((CHUNKS, len(omega), len(half_widths)))
        for start, velocity in modes.velocity_tiles(q) if velocities is None else velocities[q]:
            with launch(None if scan_pairs.signatures else "Allen-Feldman scan"):
                scan_pairs(start, omega, half_widths, *weights, velocity, tensors, chunks)
        diffusivities[:, q, vibrating] = chunks.sum(axis=0).T
    unit = CONDUCTIVITY / (modes.volume * len(modes.wavevectors))
    return AllenFeldmanScan(
        half_widths,
        unit * full_tensors(tensors.sum(axis=0).T),
        diffusivities,
        spacing,
        float(temperature_K),
        statistics,
    )
