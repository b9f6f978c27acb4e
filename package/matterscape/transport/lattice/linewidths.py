"""Anharmonic widths of vibrational modes: Fermi's golden rule with third-order force constants.

    FWHM_n = (pi hbar / 4) sum_ml |Psi_nml|^2 / (omega_n omega_m omega_l)
             {(1 + N_m + N_l) delta(omega_n - omega_m - omega_l) / 2 + (N_m - N_l) delta(omega_n + omega_m - omega_l)}

over ordered pairs m, l, where Psi_nml = sum Phi3 e_n e_m e_l / sqrt(M M M) is the coupling of three modes, which in a
crystal vanishes unless their wavevectors add up to one of the reciprocal lattice. The half width is g = FWHM / 2, the
lifetime of the mode's energy 1 / FWHM. In classical statistics N = k_B T / hbar omega and there is no "1 +".

Source: A. A. Maradudin and A. E. Fein, Phys. Rev. 128, 2589 (1962); L. Isaeva et al., Nat. Commun. 10, 3853 (2019).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number
from matterscape.kernels import launch, memory_limit
from matterscape.potentials.third_order import ThirdOrder
from matterscape.progress import progress
from matterscape.transport.lattice._linewidth_kernels import GAUSS, LORENTZ, TRIANGLE, add_decays
from matterscape.transport.lattice.constants import ANGULAR, REDUCED_PLANCK, SQUARED_FREQUENCY
from matterscape.transport.lattice.cubic import CubicForceConstants
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.occupations import occupations

SHAPES = {"gauss": GAUSS, "triangle": TRIANGLE, "lorentz": LORENTZ}
#: Modes of the zero wavevector of a glass whose couplings are computed together.
MODES_PER_BLOCK = 16
#: Modes whose frequencies in THz differ by less are given their mean width.
DEGENERATE_THZ = 1e-5


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
    third_order : CubicForceConstants or ThirdOrder
        Of the supercell whose repeats are the modes' mesh; or of a star potential, for the modes of one cell at zero
        wavevector.
    keep : bool
        Compute the couplings once and keep them, so that widths at other temperatures follow at once; else compute
        them anew for every call of :func:`linewidths`, with little memory.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If modes and force constants do not belong together, or the couplings to be kept would not fit into memory.
    """

    def __init__(self, modes: VibrationalModes, third_order: CubicForceConstants | ThirdOrder, *, keep: bool = True):
        modes.check_stable()
        self.modes, self.third_order = modes, third_order
        self._opposite = _opposites(modes)
        if isinstance(third_order, CubicForceConstants):
            _check_supercell(modes, third_order)
        elif isinstance(third_order, ThirdOrder):
            if len(modes.wavevectors) != 1 or third_order.structures.n_atoms != modes.structures.n_atoms:
                raise ValueError(
                    f"modes are those of {modes.structures.n_atoms} atoms at {len(modes.wavevectors)} wavevectors; "
                    f"accepted are those of the {third_order.structures.n_atoms} atoms of third_order at zero"
                )
        else:
            raise TypeError(
                f"third_order is a {type(third_order).__name__}; accepted are CubicForceConstants and ThirdOrder"
            )
        self._kept = None
        if keep:
            n_bytes = 8 * modes.angular_frequencies.shape[1] ** 3 * sum(1 for _ in self._triples())
            if n_bytes > 0.5 * memory_limit():
                raise ValueError(
                    f"the couplings would take {n_bytes / 1e9:.1f} GB of {memory_limit() / 1e9:.1f} GB; use keep=False"
                )
            self._kept = list(self._compute())

    def __iter__(self) -> Iterator[Decays]:
        """The couplings in portions: wavevectors distinct under time reversal, pairs (first, second) in one order."""
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
        compute = self._of_crystal if isinstance(self.third_order, CubicForceConstants) else self._of_star_potential
        omega = np.where(self.modes.vibrating, self.modes.angular_frequencies, np.inf)
        unit = np.pi * REDUCED_PLANCK / 4 * SQUARED_FREQUENCY**2 / len(omega)
        for own, modes, first, second, couplings in compute():
            squares = couplings.real**2 + couplings.imag**2 if np.iscomplexobj(couplings) else couplings**2
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

    def _of_star_potential(self) -> Iterator[tuple[int, slice, int, int, np.ndarray]]:
        vectors = self.modes.eigenvectors[0] / np.repeat(np.sqrt(self.modes.masses), 3)[:, None]
        size = len(vectors)
        starts = range(0, size, MODES_PER_BLOCK)
        for start in progress(starts, "Couplings of modes"):
            chosen = slice(start, min(start + MODES_PER_BLOCK, size))
            couplings = [vectors.T @ (self.third_order.contract(e).to_bsr() @ vectors) for e in vectors.T[chosen]]
            yield 0, chosen, 0, 0, np.stack(couplings)


def linewidths(
    couplings: ModeCouplings,
    temperatures_K: Sequence[float] | float,
    *,
    broadening_THz: float,
    shape: str = "gauss",
    statistics: str = "quantum",
) -> np.ndarray:
    """Half widths at half maximum of all modes.

    Parameters
    ----------
    couplings : ModeCouplings
    temperatures_K : float or sequence of T floats
    broadening_THz : float
        Width s / 2 pi of the peak that stands for the delta function. Narrower than the spacing of the levels of pairs
        it makes widths noisy, wider than a frequency it blurs what a mode can decay to.
    shape : "gauss", "triangle" or "lorentz"
        exp(-x^2/s^2) / (sqrt(pi) s) up to 2 s, (1 - |x|/s) / s, or (s/2) / pi / (x^2 + s^2/4).
    statistics : "quantum" or "classical"

    Returns
    -------
    ndarray (T, Q, 3 n), or (Q, 3 n) for one number
        In rad/ps; those of translations are zero, those of degenerate modes their mean, which no choice of
        eigenvectors changes.

    Raises
    ------
    ValueError
        If an argument is not one of those accepted.
    """
    check_number("broadening_THz", broadening_THz, "THz", positive=True)
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    modes = couplings.modes
    omega, vibrating = modes.angular_frequencies, modes.vibrating
    temperatures = np.atleast_1d(temperatures_K).tolist()
    quanta = np.zeros((len(temperatures), *omega.shape))
    for row, temperature in enumerate(temperatures):
        quanta[row][vibrating] = occupations(omega[vibrating], temperature, statistics)
    full_widths = np.zeros(quanta.shape)
    for part in couplings:
        found = np.zeros((len(temperatures), len(part.strengths)))
        with launch("linewidths"):
            add_decays(
                part.strengths,
                omega[part.wavevector, part.modes],
                omega[part.first],
                omega[part.second],
                quanta[:, part.first],
                quanta[:, part.second],
                float(statistics == "quantum"),
                0.5 if part.first == part.second else 1.0,
                ANGULAR * broadening_THz,
                SHAPES[shape],
                found,
            )
        full_widths[:, part.wavevector, part.modes] += found
    opposite = couplings.opposite
    copied = np.flatnonzero(opposite < np.arange(len(opposite)))
    full_widths[:, copied] = full_widths[:, opposite[copied]]
    half_widths = 0.5 * _degenerate_means(omega, full_widths)
    return half_widths[0] if np.ndim(temperatures_K) == 0 else half_widths


def _degenerate_means(omega: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Widths (T, Q, M) averaged over modes of one wavevector that have the same frequency."""
    means = np.empty_like(widths)
    for q, frequencies in enumerate(omega):
        groups = np.concatenate([[0], np.cumsum(np.diff(frequencies) > ANGULAR * DEGENERATE_THZ)])
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
