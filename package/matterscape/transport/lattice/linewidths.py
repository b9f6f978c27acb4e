"""Anharmonic widths of vibrational modes: Fermi's golden rule with third-order force constants.

    FWHM_n = (pi hbar / 4) sum_ml |Psi_nml|^2 / (omega_n omega_m omega_l)
             {(1 + N_m + N_l) delta(omega_n - omega_m - omega_l) / 2 + (N_m - N_l) delta(omega_n + omega_m - omega_l)}

over ordered pairs m, l, where Psi_nml = sum Phi3 e_n e_m e_l / sqrt(M M M) is the coupling of three modes, which in a
crystal vanishes unless their wavevectors add up to one of the reciprocal lattice. The half width is g = FWHM / 2, the
lifetime of the mode's energy 1 / FWHM. In classical statistics N = k_B T / hbar omega and there is no "1 +".

Source: A. A. Maradudin and A. E. Fein, Phys. Rev. 128, 2589 (1962); L. Isaeva et al., Nat. Commun. 10, 3853 (2019).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matterscape.checks import check_number, check_whole
from matterscape.kernels import launch, memory_limit
from matterscape.progress import progress
from matterscape.transport.lattice._linewidth_kernels import GAUSS, LORENTZ, TRIANGLE, add_decays
from matterscape.transport.lattice.constants import ANGULAR, REDUCED_PLANCK, SQUARED_FREQUENCY
from matterscape.transport.lattice.cubic import CubicForceConstants
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.occupations import occupations
from matterscape.transport.lattice.sum_rules import rotational_residual
from matterscape.transport.lattice.windowed_widths import WindowedSum

if TYPE_CHECKING:
    from distributed import Client

SHAPES = {"gauss": GAUSS, "triangle": TRIANGLE, "lorentz": LORENTZ}
#: Modes whose frequencies in THz differ by less are given their mean width.
DEGENERATE_THZ = 1e-5
#: Full width in rad/ps per |Psi|^2 / (omega omega omega) delta with Psi in eV/(Å^3 amu^1.5), the rest in rad/ps.
FULL_WIDTH = np.pi * REDUCED_PLANCK / 4 * SQUARED_FREQUENCY**2
#: Largest violation of the sum rule of rotations by third derivatives of the modes' own potential.
ROTATIONAL_TOLERANCE = 0.02
#: Most modes whose pairs are counted for the warning of a narrow broadening.
SAMPLED_MODES = 256


@dataclass(frozen=True, eq=False)
class Decays:
    """Strengths of the couplings of some modes of one wavevector to pairs of modes of two others.

    Attributes
    ----------
    wavevector, first, second : int
        Places of the three wavevectors, which add up to a reciprocal lattice vector.
    modes : slice
        The modes of ``wavevector``.
    strengths : ndarray (n_modes, 3 n, 3 n), float64
        (pi hbar / 4 Q) |Psi|^2 / (omega_n omega_m omega_l) in (rad/ps)^2; zero with translations.
    """

    wavevector: int
    modes: slice
    first: int
    second: int
    strengths: np.ndarray


class ModeCouplings:
    """Couplings of the modes of a crystal or a glass, three by three.

    Parameters
    ----------
    modes : VibrationalModes
    third_order : CubicForceConstants, or an object with ``structures`` and ``contract``
        Of the supercell whose repeats are the modes' mesh; or, for the modes of a glass at zero wavevector, anything
        whose ``contract(vector)`` gives Phi3 . e as :class:`ForceConstants`: the
        :class:`~matterscape.potentials.third_order.ThirdOrder` of a star potential, or
        :class:`~matterscape.transport.lattice.directional.DirectionalThirdOrder` of any potential.
    keep : bool
        Compute the couplings of a crystal once and keep them, so that widths at other temperatures follow at once;
        else compute them anew for every call of :func:`linewidths`, with little memory. Those of a glass are never
        kept: ask for several temperatures in one call.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If modes and force constants do not belong together, or the couplings to be kept would not fit into memory. Of
        a glass whose cell is longer than twice the range of its force constants, the sum rule of rotations tells
        whether second and third derivatives are of one potential at one structure.
    """

    def __init__(self, modes: VibrationalModes, third_order: CubicForceConstants | Any, *, keep: bool = True):
        modes.check_stable()
        self.modes, self.third_order = modes, third_order
        self._opposite = _opposites(modes)
        self._kept = None
        if isinstance(third_order, CubicForceConstants):
            _check_supercell(modes, third_order)
        elif hasattr(third_order, "contract") and hasattr(third_order, "structures"):
            _check_glass(modes, third_order)
            return
        else:
            raise TypeError(
                f"third_order is a {type(third_order).__name__}; accepted are CubicForceConstants and objects with "
                "'structures' and 'contract', as ThirdOrder"
            )
        if keep:
            n_bytes = 8 * modes.angular_frequencies.shape[1] ** 3 * sum(1 for _ in self._triples())
            if n_bytes > 0.5 * memory_limit():
                raise ValueError(
                    f"the couplings would take {n_bytes / 1e9:.1f} GB of {memory_limit() / 1e9:.1f} GB; use keep=False"
                )
            self._kept = list(self._compute())

    @property
    def of_glass(self) -> bool:
        """Whether the modes are those of zero wavevector alone, with third derivatives of the same cell."""
        return not isinstance(self.third_order, CubicForceConstants)

    def __iter__(self) -> Iterator[Decays]:
        """Those of a crystal in portions: wavevectors distinct under time reversal, (first, second) in one order."""
        return self._compute() if self._kept is None else iter(self._kept)

    @property
    def opposite(self) -> np.ndarray:
        """Place (Q,) of the opposite of each wavevector, whose modes have the same widths."""
        return self._opposite

    def _triples(self) -> Iterator[tuple[int, int, int]]:
        """Wavevectors that add up to a reciprocal lattice vector; the first ones distinct, the others unordered."""
        mesh = self.modes.mesh
        steps = np.round(self.modes.wavevectors * mesh).astype(int)
        for own, opposite in enumerate(self._opposite):
            if opposite < own:
                continue
            for first in range(len(steps)):
                second = int(np.ravel_multi_index(tuple((-steps[own] - steps[first]) % mesh), mesh))
                if second >= first:
                    yield own, first, second

    def _compute(self) -> Iterator[Decays]:
        omega = np.where(self.modes.vibrating, self.modes.angular_frequencies, np.inf)
        unit = FULL_WIDTH / len(omega)
        for own, modes, first, second, couplings in self._of_crystal():
            squares = couplings.real**2 + couplings.imag**2
            squares *= (unit / omega[own][modes])[:, None, None]
            squares /= omega[first][:, None]
            squares /= omega[second]
            yield Decays(own, modes, first, second, squares)

    def _of_crystal(self) -> Iterator[tuple[int, slice, int, int, np.ndarray]]:
        """Couplings (3 n, 3 n, 3 n) of triples of wavevectors; Bloch sums over both translations come first."""
        modes, values = self.modes, self.third_order.values
        supercell = self.third_order.supercell
        cells = np.array(np.unravel_index(np.arange(supercell.n_cells), supercell.repeats)).T
        lattice_phases = np.exp(2j * np.pi * modes.wavevectors @ cells.T)  # (Q, n_cells)
        fractions = modes.structures.to_ase()[0].get_scaled_positions(wrap=False)
        own_phases = np.repeat(np.exp(2j * np.pi * modes.wavevectors @ fractions.T), 3, axis=1)  # (Q, 3 n)
        vectors = modes.eigenvectors * own_phases[:, :, None] / np.repeat(np.sqrt(modes.masses), 3)[:, None]
        size = vectors.shape[1]
        triples = sorted(self._triples(), key=lambda triple: triple[2])
        summed, done = None, None
        for own, first, second in progress(triples, "Couplings of modes"):
            if second != done:  # (3 n, Q, 3 n, modes), the last atom summed over its cells
                summed = sum(phase * values[:, :, :, cell] for cell, phase in enumerate(lattice_phases[second]))
                summed, done = summed @ vectors[second], second
            partial = np.einsum("irjl,r->jil", summed, lattice_phases[first]).reshape(size, -1)
            partial = (vectors[first].T @ partial).reshape(size, size, size)  # (m, i, l)
            partial = partial.transpose(1, 0, 2).reshape(size, -1)
            yield own, slice(0, size), first, second, (vectors[own].T @ partial).reshape(size, size, size)


def linewidths(
    couplings: ModeCouplings,
    temperatures_K: Sequence[float] | float,
    *,
    broadening_THz: float,
    shape: str = "gauss",
    statistics: str = "quantum",
    modes: Sequence[int] | None = None,
    single_precision: bool = False,
    device: str = "cpu",
    client: "Client | None" = None,
    file: Path | str | None = None,
) -> np.ndarray:
    """Half widths at half maximum of all or some modes.

    The arguments from ``modes`` on are for glasses. At one broadening the cost of all widths grows with the fourth
    power of the number of atoms, that of one mode with the third.

    Parameters
    ----------
    couplings : ModeCouplings
    temperatures_K : float or sequence of T floats
        All in one pass.
    broadening_THz : float
        Width s / 2 pi of the peak that stands for the delta function. Narrower than the spacing of the levels of pairs
        it makes widths noisy, wider than a frequency it blurs what a mode can decay to.
    shape : "gauss", "triangle" or "lorentz"
        exp(-x^2/s^2) / (sqrt(pi) s) up to 2 s, (1 - |x|/s) / s, or (s/2) / pi / (x^2 + s^2/4).
    statistics : "quantum" or "classical"
    modes : sequence of K ints, optional
        Places of the modes wanted. All of them cost as much as about a third of them chosen.
    single_precision : bool
        Compute couplings in float32, which is faster; widths then agree to some 1e-6.
    device : str
        "cuda" for a GPU.
    client : distributed.Client, optional
        Share the work with the workers of a dask cluster; the numbers are those found here with as many threads.
    file : path, optional
        Where unfinished sums over all modes are kept, every 20 s and when interrupted, and from where they go on.

    Returns
    -------
    ndarray (T, Q, 3 n), or (T, K) of chosen modes, without T for one number
        In rad/ps; those of translations are zero, those of degenerate modes their mean, which no choice of
        eigenvectors changes.

    Warns
    -----
    UserWarning
        If the broadening is wider than the frequency of a mode, or narrower than the spacing of the levels of pairs.

    Raises
    ------
    ValueError
        If an argument is not one of those accepted, or the file is of another computation.
    """
    check_number("broadening_THz", broadening_THz, "THz", positive=True)
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    omega, vibrating = couplings.modes.angular_frequencies, couplings.modes.vibrating
    temperatures = np.atleast_1d(temperatures_K).tolist()
    quanta = np.zeros((len(temperatures), *omega.shape))
    for row, temperature in enumerate(temperatures):
        quanta[row][vibrating] = occupations(omega[vibrating], temperature, statistics)
    zero_point, width = float(statistics == "quantum"), ANGULAR * broadening_THz
    if couplings.of_glass:
        wanted = None if modes is None else _checked_places(modes, omega.shape[1])
        asked = vibrating[0] if modes is None else wanted[vibrating[0, wanted]]
        warn_of_broadening(omega[0, asked], width, omega[vibrating])
        own = slice(omega.shape[1] - vibrating.sum(), None)  # translations come first
        vectors = couplings.modes.eigenvectors[0][:, own]
        sums = WindowedSum(
            couplings.third_order,
            vectors.astype(np.float32) if single_precision else vectors,
            omega[0, own],
            couplings.modes.masses,
            np.ascontiguousarray(quanta[:, 0, own]),
            zero_point,
            width,
            SHAPES[shape],
            device,
            _compiled(device),
        )
        full_widths = _of_glass(sums, own.start, omega, wanted, client, file)
    else:
        for name, value in (("modes", modes), ("client", client), ("file", file)):
            if value is not None:
                raise ValueError(f"{name} is {value!r}; accepted is None for the modes of a crystal's mesh")
        warn_of_broadening(omega[vibrating], width)
        full_widths = _of_crystal(couplings, quanta, zero_point, width, SHAPES[shape])
    half_widths = 0.5 * _degenerate_means(omega, full_widths)
    if modes is not None:
        half_widths = half_widths[:, 0, wanted]
    return half_widths[0] if np.ndim(temperatures_K) == 0 else half_widths


def warn_of_broadening(omega: np.ndarray, width: float, levels: np.ndarray | None = None) -> None:
    """Warn of modes slower than a broadening, and of a broadening below the spacing of the levels of pairs.

    Parameters
    ----------
    omega : ndarray (K,)
        Of the modes whose widths are wanted, in rad/ps.
    width : float
        s of the peaks in rad/ps.
    levels : ndarray (M,), optional
        All vibrations of a glass, where every pair couples: the spacing is that of sums and differences of two of them.
    """
    slow = int((omega < width).sum())
    if slow:
        warnings.warn(
            f"the broadening of {width / ANGULAR:.3g} THz is wider than the frequency of {slow} modes, whose widths it "
            "biases",
            stacklevel=3,
        )
    if levels is None:
        return
    sorted_levels = np.sort(levels)
    sparse = 0
    for own in omega[:: max(1, len(omega) // SAMPLED_MODES)]:
        n_pairs = sum(
            (np.searchsorted(sorted_levels, x + width) - np.searchsorted(sorted_levels, x - width)).sum()
            for x in (own + sorted_levels, own - sorted_levels[sorted_levels < own / 2])
        )
        sparse += n_pairs < 2
    if sparse:
        warnings.warn(
            f"the broadening of {width / ANGULAR:.3g} THz is narrower than the spacing of the levels of pairs for "
            f"{sparse} of {min(len(omega), SAMPLED_MODES)} modes looked at, whose widths are noise",
            stacklevel=3,
        )


def _compiled(device: str) -> bool:
    return torch.device(device).type == "cpu"


def _of_crystal(
    couplings: ModeCouplings, quanta: np.ndarray, zero_point: float, width: float, shape: int
) -> np.ndarray:
    """Full widths (T, Q, 3 n) from the couplings of wavevectors distinct under time reversal."""
    omega = couplings.modes.angular_frequencies
    full_widths = np.zeros(quanta.shape)
    for part in couplings:
        found = np.zeros((len(quanta), len(part.strengths)))
        with launch("linewidths"):
            add_decays(
                part.strengths,
                omega[part.wavevector, part.modes],
                omega[part.first],
                omega[part.second],
                quanta[:, part.first],
                quanta[:, part.second],
                zero_point,
                0.5 if part.first == part.second else 1.0,
                width,
                shape,
                found,
            )
        full_widths[:, part.wavevector, part.modes] += found
    opposite = couplings.opposite
    copied = np.flatnonzero(opposite < np.arange(len(opposite)))
    full_widths[:, copied] = full_widths[:, opposite[copied]]
    return full_widths


def _of_glass(
    sums: WindowedSum,
    n_translations: int,
    omega: np.ndarray,
    wanted: np.ndarray | None,
    client: "Client | None",
    file: Path | str | None,
) -> np.ndarray:
    """Full widths (T, 1, 3 n); with wanted modes, zero but for those and the modes of their frequencies."""
    full_widths = np.zeros((len(sums.quanta), *omega.shape))
    if wanted is None:
        full_widths[:, 0, n_translations:] = sums.every(client, None if file is None else Path(file))
    else:
        if file is not None:
            raise ValueError(f"file is {str(file)!r}; accepted is None for chosen modes, whose widths need no sums")
        groups = _levels(omega[0])
        own = np.flatnonzero(np.isin(groups, groups[wanted]))
        own = own[own >= n_translations]
        full_widths[:, 0, own] = sums.chosen(own - n_translations, client)
    return FULL_WIDTH * full_widths


def _levels(frequencies: np.ndarray) -> np.ndarray:
    """Number (M,) of the level that each mode belongs to."""
    return np.concatenate([[0], np.cumsum(np.diff(frequencies) > ANGULAR * DEGENERATE_THZ)])


def _degenerate_means(omega: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Widths (T, Q, M) averaged over modes of one wavevector that have the same frequency."""
    means = np.empty_like(widths)
    for q, frequencies in enumerate(omega):
        groups = _levels(frequencies)
        sizes = np.bincount(groups)
        for t in range(len(widths)):
            means[t, q] = (np.bincount(groups, widths[t, q]) / sizes)[groups]
    return means


def _opposites(modes: VibrationalModes) -> np.ndarray:
    steps = np.round(modes.wavevectors * modes.mesh).astype(int)
    return np.ravel_multi_index(tuple((-steps % modes.mesh).T), modes.mesh)


def _check_supercell(modes: VibrationalModes, third_order: CubicForceConstants) -> None:
    supercell = third_order.supercell
    if supercell.repeats != modes.mesh or supercell.primitive.n_atoms != modes.structures.n_atoms:
        raise ValueError(
            f"modes are those of {modes.structures.n_atoms} atoms on the mesh {modes.mesh}; accepted are those of the "
            f"{supercell.primitive.n_atoms} atoms of third_order on the mesh {supercell.repeats}"
        )


def _check_glass(modes: VibrationalModes, third_order: Any) -> None:
    own, other = modes.structures, third_order.structures
    if len(modes.wavevectors) != 1 or other.n_atoms != own.n_atoms:
        raise ValueError(
            f"modes are those of {own.n_atoms} atoms at {len(modes.wavevectors)} wavevectors; accepted are those of "
            f"the {other.n_atoms} atoms of third_order at zero"
        )
    for name in ("species", "positions", "cells"):
        if not np.allclose(getattr(own, name).detach().cpu(), getattr(other, name).detach().cpu(), rtol=0, atol=1e-6):
            raise ValueError(f"third_order belongs to other {name} than the modes; accepted are those of one structure")
    residual = rotational_residual(modes.force_constants, third_order)
    if residual is not None and residual > ROTATIONAL_TOLERANCE:
        raise ValueError(
            f"third_order breaks the sum rule of rotations with the modes' force constants by {residual:.2g} of them, "
            f"as another potential's or those of the other sign would; accepted is {ROTATIONAL_TOLERANCE:g}, third "
            "derivatives of the same energy"
        )


def _checked_places(modes: Sequence[int], n_modes: int) -> np.ndarray:
    for place in modes:
        check_whole("a place of modes", place, 0)
    places = np.asarray(modes, dtype=np.int64)
    if places.ndim != 1 or len(places) == 0 or places.max() >= n_modes:
        raise ValueError(f"modes are {modes!r}; accepted are places below {n_modes}, at least one")
    return places
