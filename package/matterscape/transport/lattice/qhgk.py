"""Thermal conductivity from vibrational modes: quasi-harmonic Green-Kubo, Allen-Feldman and Wigner forms.

    kappa_ab = (1/V Q) sum_q sum_nm C_nm Re[v^a_nm v^b_nm*] tau_nm,
    tau_nm = (g_n + g_m) / [(g_n + g_m)^2 + (omega_n - omega_m)^2],
    C_nm = (hbar omega_n omega_m / T) (N_n - N_m) / (omega_m - omega_n),

with the half widths g of the modes. C_nm is the mode's heat capacity where the frequencies are equal, and k_B in
classical statistics. One half width for all modes gives the theory of Allen and Feldman.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.kernels import launch
from matterscape.transport.lattice._qhgk_kernels import (
    CHUNKS,
    COLUMNS,
    FULL,
    GAUSS,
    LORENTZ,
    QHGK,
    WIGNER,
    sum_pairs,
)
from matterscape.transport.lattice.constants import ANGULAR, CONDUCTIVITY
from matterscape.transport.lattice.modes import VelocityTile, VibrationalModes
from matterscape.transport.lattice.occupations import heat_capacities, reduced_frequencies

SHAPES = {"lorentz": LORENTZ, "gauss": GAUSS}
KINDS = {"qhgk": QHGK, "full": FULL, "wigner": WIGNER}
#: Modes whose frequencies in THz differ by no more than this count as one in the diagonal part.
DEGENERATE_THZ = 1e-5


@dataclass(frozen=True, eq=False)
class LatticeConductivity:
    """Conductivity of a solid with what each mode contributes.

    Attributes
    ----------
    tensor : ndarray (3, 3)
        In W/(m K), symmetric.
    diagonal : ndarray (3, 3)
        Its part from pairs of modes of equal frequency, in W/(m K): the conductivity of phonons as a gas of particles
        with group velocities and lifetimes. What is left is tunnelling between modes.
    mode_tensors : ndarray (Q, 3 n, 3, 3)
        Share of each mode; their sum is ``tensor``.
    diffusivities : ndarray (Q, 3 n)
        D_n = (1/3) sum_a sum_m |v^a_nm|^2 tau_nm in Å^2/ps.
    temperature_K : float
    statistics : str
    kind : str
    shape : str
    """

    tensor: np.ndarray
    diagonal: np.ndarray
    mode_tensors: np.ndarray
    diffusivities: np.ndarray
    temperature_K: float
    statistics: str
    kind: str
    shape: str = "lorentz"

    @property
    def value(self) -> float:
        """Mean over the three directions in W/(m K)."""
        return float(np.trace(self.tensor) / 3)


def qhgk(
    modes: VibrationalModes,
    half_widths: np.ndarray | float,
    temperature_K: float,
    *,
    statistics: str = "quantum",
    kind: str = "qhgk",
    shape: str = "lorentz",
    antiresonant: bool = False,
    velocities: Sequence[Sequence[VelocityTile]] | None = None,
) -> LatticeConductivity:
    """Quasi-harmonic Green-Kubo conductivity.

    Parameters
    ----------
    modes : VibrationalModes
    half_widths : ndarray (Q, 3 n) or float
        Half widths at half maximum of the modes (decay rates of their amplitudes) in rad/ps; those of translations are
        not used. One number is the broadening of Allen and Feldman, whose Lorentzian then has twice this half width.
    temperature_K : float
    statistics : "quantum" or "classical"
    kind : "qhgk", "full" or "wigner"
        "full" also counts pairs of quanta created and annihilated together, the exact autocorrelation of the harmonic
        flux with damped modes, in classical statistics only: tau = L(omega_n - omega_m) (omega_n + omega_m)^2 /
        (4 omega_n omega_m) + L(omega_n + omega_m) (omega_n - omega_m)^2 / (4 omega_n omega_m), L(x) = G / (G^2 + x^2),
        G = g_n + g_m. "wigner" weighs by (omega_n + omega_m) (C_n / omega_n + C_m / omega_m) / 4 and takes velocities
        times 2 sqrt(omega_n omega_m) / (omega_n + omega_m). All agree where frequencies do.
    shape : "lorentz" or "gauss"
        L as above, or sqrt(pi) exp(-x^2/s^2) / s with s = 2 G, a shape that kALDo offers.
    antiresonant : bool
        Add L(omega_n + omega_m) to the lifetime of kind "qhgk", as kALDo offers; "full" has the weight that is right.
    velocities : sequence of Q sequences of VelocityTile, optional
        The tiles of each wavevector, ``list(modes.velocity_tiles(q))``, kept for more conductivities;
        computed tile by tile and not kept if not given, in little memory.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If half widths of vibrating modes are not positive, or another argument is none of those accepted.

    Source: L. Isaeva et al., Nat. Commun. 10, 3853 (2019); M. Simoncelli, N. Marzari and F. Mauri, Nat. Phys. 15, 809
    (2019) for "wigner"; P. B. Allen and J. L. Feldman, Phys. Rev. B 48, 12581 (1993).
    """
    modes.check_stable()
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; accepted are {', '.join(map(repr, KINDS))}")
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    if kind == "full" and statistics != "classical":
        raise ValueError(f"statistics is {statistics!r} and kind 'full'; accepted with it is 'classical'")
    if antiresonant and kind != "qhgk":
        raise ValueError(f"antiresonant is True and kind {kind!r}; accepted with it is 'qhgk'")
    check_velocities(modes, velocities)
    half_widths = _checked_widths(modes, half_widths)
    sums = np.zeros((*modes.angular_frequencies.shape, COLUMNS))
    for q, vibrating in enumerate(modes.vibrating):
        omega = modes.angular_frequencies[q][vibrating]
        capacities = heat_capacities(omega, temperature_K, statistics)
        weights = exchange_weights(omega, temperature_K, statistics)
        chunks = np.zeros((CHUNKS, len(omega), COLUMNS))
        for start, velocity in modes.velocity_tiles(q) if velocities is None else velocities[q]:
            with launch(None if sum_pairs.signatures else "QHGK"):
                sum_pairs(
                    start,
                    omega,
                    half_widths[q][vibrating],
                    capacities,
                    *weights,
                    velocity,
                    KINDS[kind],
                    SHAPES[shape],
                    antiresonant,
                    ANGULAR * DEGENERATE_THZ,
                    chunks,
                )
        sums[q, vibrating] = chunks.sum(axis=0)
    unit = CONDUCTIVITY / (modes.volume * len(modes.wavevectors))
    shares = unit * full_tensors(sums[..., :6])
    return LatticeConductivity(
        shares.sum(axis=(0, 1)),
        unit * full_tensors(sums[..., 6:12].sum(axis=(0, 1))),
        shares,
        sums[..., 12],
        float(temperature_K),
        statistics,
        kind,
        shape,
    )


def check_velocities(modes: VibrationalModes, velocities: Sequence[Sequence[VelocityTile]] | None) -> None:
    """Raise unless tiles, where given, hold all rows between the vibrating modes of every wavevector."""
    if velocities is None:
        return
    found = [sum(tile.values.shape[1] for tile in tiles) for tiles in velocities]
    expected = modes.vibrating.sum(axis=1).tolist()
    if found != expected:
        raise ValueError(f"velocities are tiles of {found} rows; accepted are {expected}, as of modes.velocity_tiles")


def exchange_weights(omega: np.ndarray, temperature_K: float, statistics: str) -> tuple[np.ndarray, ...]:
    """hbar omega / k_B T = x, e^-x and 1 / (1 - e^-x) of each mode; empty in classical statistics.

    Parameters and errors as of :func:`~matterscape.transport.lattice.occupations.occupations`.
    """
    x = reduced_frequencies(omega, temperature_K, statistics)
    return (np.empty(0),) * 3 if statistics == "classical" else (x, np.exp(-x), -1 / np.expm1(-x))


def full_tensors(packed: np.ndarray) -> np.ndarray:
    """Tensors (..., 3, 3) from xx, yy, zz, yz, xz, xy in the last axis."""
    return packed[..., [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def _checked_widths(modes: VibrationalModes, half_widths: np.ndarray | float) -> np.ndarray:
    shape = modes.angular_frequencies.shape
    half_widths = np.asarray(half_widths, dtype=np.float64)
    if half_widths.shape not in ((), shape):
        raise ValueError(f"half_widths have shape {half_widths.shape}; accepted is {shape}, or one number")
    half_widths = np.ascontiguousarray(np.broadcast_to(half_widths, shape))
    narrowest = half_widths[modes.vibrating].min()
    if not (np.isfinite(half_widths[modes.vibrating]).all() and narrowest > 0):
        raise ValueError(f"half_widths hold {narrowest}; accepted are positive, finite numbers of rad/ps")
    return half_widths
