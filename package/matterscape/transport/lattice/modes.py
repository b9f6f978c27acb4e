"""Vibrational modes of a periodic cell on a mesh of wavevectors, and the operators of their velocity.

Every atom carries the phase of its own position, so that the dynamical matrix at wavevector k is

    D_{ia,jb}(k) = sum_R Phi_{ia,jRb} exp(i k.r_ijR) / sqrt(M_i M_j),   r_ijR = r_j + R - r_i,   D e = omega^2 e.

A crystal's primitive cell takes a mesh; a glass, or a supercell, its own zero wavevector, where all is real. The mesh
n1 x n2 x n3 of a primitive cell holds the same modes as zero wavevector does of its n1 x n2 x n3 supercell.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch

from matterscape.checks import check_whole
from matterscape.kernels import launch
from matterscape.potentials.force_constants import ForceConstants, group_pairs
from matterscape.structures import Structures
from matterscape.transport.lattice._panel_kernels import multiply_panel
from matterscape.transport.lattice.constants import ANGULAR, SQUARED_FREQUENCY
from matterscape.transport.lattice.sum_rules import NEGLIGIBLE
from matterscape.transport.lattice.supercells import check_force_constants

#: Frequencies in THz below this are those of no vibration about a stable minimum.
LOWEST_FREQUENCY_THZ = 1e-3
#: Rows of the velocity matrices that are computed together.
TILE = 128


class UnstableModesError(ValueError):
    """Vibrations were asked for about a structure that is no minimum of the energy."""


class VelocityTile(NamedTuple):
    """Rows of velocity matrices: ``values`` (3, W, L) in Å/ps, between vibrating modes n and m from ``start`` on."""

    start: int
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class VibrationalModes:
    """Frequencies and eigenvectors of a cell with n atoms at Q wavevectors.

    Attributes
    ----------
    wavevectors : ndarray (Q, 3), float64
        In units of the reciprocal cell vectors, each component in (-1/2, 1/2].
    mesh : tuple of int (3,)
        Wavevectors along each reciprocal vector; Q is their product.
    angular_frequencies : ndarray (Q, 3 n), float64
        In rad/ps, ascending; those of unstable modes are negative, -sqrt(-omega^2).
    eigenvectors : ndarray (Q, 3 n, 3 n), complex128, or float64 at the zero wavevector alone
        Orthonormal columns are modes; row 3 i + a is atom i along a, weighted by the root of its mass.
    masses : ndarray (n,), float64
        In amu.
    force_constants : ForceConstants
        Of this cell.
    """

    wavevectors: np.ndarray
    mesh: tuple[int, int, int]
    angular_frequencies: np.ndarray
    eigenvectors: np.ndarray
    masses: np.ndarray
    force_constants: ForceConstants

    @property
    def dtype(self) -> np.dtype:
        """float64 at the zero wavevector alone, or complex128."""
        return self.eigenvectors.dtype

    @property
    def structures(self) -> Structures:
        """The cell."""
        return self.force_constants.structures

    @property
    def volume(self) -> float:
        """Volume of the cell in Å^3."""
        return float(self.structures.volumes[0])

    @property
    def frequencies_THz(self) -> np.ndarray:
        """Frequencies (Q, 3 n) in THz; those of unstable modes are negative."""
        return self.angular_frequencies / ANGULAR

    @property
    def vibrating(self) -> np.ndarray:
        """Mask (Q, 3 n) of all modes but the three translations, the slowest at zero wavevector."""
        mask = np.ones(self.angular_frequencies.shape, bool)
        for centre in np.flatnonzero((self.wavevectors == 0).all(axis=1)):
            mask[centre, np.argsort(np.abs(self.angular_frequencies[centre]))[:3]] = False
        return mask

    @property
    def n_unstable(self) -> int:
        """Number of modes, translations aside, that are not stable vibrations."""
        return int((self.frequencies_THz[self.vibrating] < LOWEST_FREQUENCY_THZ).sum())

    def check_stable(self) -> None:
        """Raise :class:`UnstableModesError`, a ``ValueError``, unless every mode but the translations vibrates."""
        if self.n_unstable:
            lowest = float(self.frequencies_THz[self.vibrating].min())
            raise UnstableModesError(
                f"{self.n_unstable} of {self.vibrating.sum()} modes do not vibrate (lowest frequency {lowest:.4g} THz, "
                "negative for imaginary); accepted are structures at a minimum of the energy: displace the atoms along "
                "these modes and relax again"
            )

    def velocity_operator(self, wavevector: int) -> np.ndarray:
        """Velocity matrices (3, 3 n, 3 n) in Å/ps between the modes of one wavevector.

        v_nm = <n| dD/dk |m> / (2 sqrt(omega_n omega_m)), Hermitian, with group velocities on the diagonal. Where the
        modes are real it is imaginary, and what is returned is i times it, real and antisymmetric:
        sum_ij (r_i - r_j) <n|D_ij|m> / (2 sqrt(omega_n omega_m)). Rows and columns of translations are zero.

        Parameters
        ----------
        wavevector : int
            Its place in ``wavevectors``.

        Raises
        ------
        UnstableModesError
            If a mode does not vibrate.

        Source: P. B. Allen and J. L. Feldman, Phys. Rev. B 48, 12581 (1993), eq. 5; L. Isaeva et al., Nat. Commun. 10,
        3853 (2019).
        """
        vibrating = np.flatnonzero(self.vibrating[wavevector])
        matrices = np.zeros((3, len(self.eigenvectors[wavevector]), len(self.eigenvectors[wavevector])), self.dtype)
        for tile in self.velocity_tiles(wavevector):
            rows = vibrating[tile.start : tile.start + tile.values.shape[1]]
            columns = vibrating[tile.start :]
            mirrored = tile.values.conj().swapaxes(1, 2)
            matrices[:, columns[:, None], rows] = -mirrored if self.dtype.kind == "f" else mirrored
            matrices[:, rows[:, None], columns] = tile.values
        return matrices

    def velocity_tiles(self, wavevector: int) -> Iterator["VelocityTile"]:
        """The upper triangle of :meth:`velocity_operator` among the vibrating modes, some rows at a time.

        Raises
        ------
        UnstableModesError
            If a mode does not vibrate.
        ValueError
            If force constants reach beyond half the cell and are not resolved by image.
        """
        self.check_stable()
        sums = _BlochSums(self.force_constants, self.masses)
        own = self.vibrating[wavevector]
        first = len(own) - int(own.sum())  # translations are the slowest modes
        vectors = torch.from_numpy(self.eigenvectors[wavevector])[:, first:]
        roots = torch.from_numpy(self.angular_frequencies[wavevector][first:] ** -0.5)
        matrices = sums.slope_blocks(self.wavevectors[wavevector], self.dtype)
        for start in range(0, vectors.shape[1], TILE):
            panel = vectors[:, start : start + TILE].reshape(sums.n_atoms, 3, -1).contiguous()
            product = torch.empty((sums.n_atoms, 3, 3, panel.shape[2]), dtype=panel.dtype)
            with launch():
                multiply_panel(*matrices, panel.numpy(), product.numpy())
            # (S e_n)^+ e_m = e_n^+ S^+ e_m, where S is Hermitian, or real and antisymmetric
            values = product.view(vectors.shape[0], -1).mH @ vectors[:, start:]
            values = values.view(3, panel.shape[2], -1)
            values *= (0.5 if values.is_complex() else -0.5) * roots[start : start + TILE, None] * roots[start:]
            yield VelocityTile(start, values.numpy())

    def group_velocities(self) -> np.ndarray:
        """Group velocities d omega/dk (Q, 3 n, 3) in Å/ps; zero for translations and for real modes.

        Those of degenerate modes are the diagonal of the velocity matrices, which depends on the eigenvectors chosen.
        """
        if np.isrealobj(self.eigenvectors):
            self.check_stable()
            return np.zeros((*self.angular_frequencies.shape, 3))
        return np.stack([np.einsum("ann->na", self.velocity_operator(q)).real for q in range(len(self.wavevectors))])


def vibrational_modes(
    force_constants: ForceConstants, mesh: Sequence[int] = (1, 1, 1), *, masses: np.ndarray | None = None
) -> VibrationalModes:
    """Modes of a cell on a mesh of wavevectors that holds zero.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell, resolved by image.
    mesh : three ints
        Wavevectors along each reciprocal vector.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.

    Raises
    ------
    ValueError
        If there is more than one structure, one that is not periodic, or mesh or masses are out of range.
    """
    check_force_constants(force_constants)
    mesh = tuple(mesh)
    if len(mesh) != 3:
        raise ValueError(f"mesh is {mesh}; accepted are three whole numbers")
    for number in mesh:
        check_whole("a number of the mesh", number, 1)
    mesh = tuple(int(number) for number in mesh)
    masses = _checked_masses(force_constants.structures, masses)
    wavevectors = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij"), axis=-1).reshape(-1, 3)
    wavevectors[wavevectors > 0.5] -= 1.0
    sums = _BlochSums(force_constants, masses)
    dtype = np.float64 if len(wavevectors) == 1 else np.complex128
    size = 3 * len(masses)
    frequencies = np.empty((len(wavevectors), size))
    eigenvectors = np.empty((len(wavevectors), size, size), dtype)
    for index, wavevector in enumerate(wavevectors):
        squares, eigenvectors[index] = scipy.linalg.eigh(
            sums.dynamical_matrix(wavevector, dtype), overwrite_a=True, driver="evd"
        )
        frequencies[index] = np.copysign(np.sqrt(np.abs(squares)), squares)
    return VibrationalModes(wavevectors, mesh, frequencies, eigenvectors, masses, force_constants)


class _BlochSums:
    """Dynamical matrices of one cell and their slopes at any wavevector."""

    def __init__(self, force_constants: ForceConstants, masses: np.ndarray):
        kept = np.flatnonzero(force_constants.blocks.any(axis=(1, 2)))
        first, second = force_constants.first[kept], force_constants.second[kept]
        self.n_atoms = len(masses)
        self._cell = force_constants.structures.cells[0].detach().cpu().double().numpy()
        order, starts = group_pairs(first, second, np.zeros((len(kept), 3), np.int64), self.n_atoms)
        self._starts, leaders = starts[:-1], order[starts[:-1]]
        self._places = first[leaders], second[leaders]
        weights = SQUARED_FREQUENCY / np.sqrt(masses[first] * masses[second])
        self._blocks = (weights[:, None, None] * force_constants.blocks[kept])[order]
        self._vectors = force_constants.vectors[kept][order]
        self._shifted = bool(force_constants.shifts.any())

    def dynamical_matrix(self, wavevector: np.ndarray, dtype: type) -> np.ndarray:
        """D (3 n, 3 n) in (rad/ps)^2."""
        phases = self._phases(wavevector, dtype)
        blocks = np.add.reduceat(phases[:, None, None] * self._blocks, self._starts, axis=0)
        matrix = np.zeros((self.n_atoms, 3, self.n_atoms, 3), blocks.dtype)
        matrix[self._places[0], :, self._places[1], :] = blocks
        matrix = matrix.reshape(3 * self.n_atoms, -1)
        return 0.5 * (matrix + matrix.conj().T)

    def slope_blocks(self, wavevector: np.ndarray, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """dD/dk in (rad/ps)^2 Å, i times it, which is real, for a real dtype: row starts, columns, blocks (3, P, 3, 3).

        Exactly Hermitian, or antisymmetric: each block is the mean of its two places.
        """
        self._check_images()
        real = np.dtype(dtype).kind == "f"
        factors = self._phases(wavevector, dtype)[:, None] * (-self._vectors if real else 1j * self._vectors)
        blocks = np.add.reduceat(factors.T[:, :, None, None] * self._blocks, self._starts, axis=1)
        transposed = -blocks.swapaxes(2, 3) if real else blocks.swapaxes(2, 3).conj()
        first, second = (np.concatenate(pair) for pair in (self._places, self._places[::-1]))
        order, starts = group_pairs(first, second, np.zeros((len(first), 3), np.int64), self.n_atoms)
        leaders = order[starts[:-1]]
        blocks = np.add.reduceat(np.concatenate([blocks, transposed], axis=1)[:, order], starts[:-1], axis=1)
        return np.searchsorted(first[leaders], np.arange(self.n_atoms + 1)), second[leaders], 0.5 * blocks

    def _check_images(self) -> None:
        """Raise if blocks of pairs far apart stand at no shift at all, as finite differences leave them."""
        norms = np.abs(self._blocks).max(axis=(1, 2))
        counted = norms > NEGLIGIBLE * norms.max(initial=0.0)
        fractions = np.abs(np.linalg.solve(self._cell.T, self._vectors[counted].T))
        if not self._shifted and fractions.max(initial=0.0) > 0.5 + 1e-6:
            raise ValueError(
                f"force_constants reach over {fractions.max():.2f} of a cell edge, which is shorter than twice their "
                "range, and no pair is resolved by image; accepted are those of nearest_images or of a potential"
            )

    def _phases(self, wavevector: np.ndarray, dtype: type) -> np.ndarray:
        if np.dtype(dtype).kind == "f":
            return np.ones(len(self._vectors))
        return np.exp(1j * self._vectors @ (ANGULAR * np.linalg.solve(self._cell, wavevector)))


def _checked_masses(structures: Structures, masses: np.ndarray | None) -> np.ndarray:
    if masses is None:
        return structures.to_ase()[0].get_masses()
    masses = np.asarray(masses, dtype=np.float64)
    if masses.shape != (structures.n_atoms,) or not (masses > 0).all():
        raise ValueError(
            f"masses have shape {masses.shape} and the smallest is {masses.min(initial=np.inf)}; accepted are "
            f"{structures.n_atoms} positive numbers"
        )
    return masses
