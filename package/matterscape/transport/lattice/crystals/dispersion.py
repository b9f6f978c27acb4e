"""Phonons of a crystal at any wavevectors, many at a time.

The long-range part of the force constants of polar crystals, which splits longitudinal from transverse optical modes
next to the zone centre, is not added.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from matterscape.checks import real_array
from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.constants import ANGULAR, SQUARED_FREQUENCY
from matterscape.transport.lattice.qhgk import DEGENERATE_THZ
from matterscape.transport.lattice.supercells import check_force_constants

#: Wavevectors whose dynamical matrices are made together take at most this many bytes.
CHUNK_BYTES = 32_000_000


@dataclass(frozen=True, eq=False)
class Dispersion:
    """Frequencies and eigenvectors of a cell with n atoms at K wavevectors.

    Attributes
    ----------
    wavevectors : ndarray (K, 3), float64
        In units of the reciprocal cell vectors.
    angular_frequencies : ndarray (K, 3 n), float64
        In rad/ps, ascending; those of unstable modes are negative, -sqrt(-omega^2).
    eigenvectors : ndarray (K, 3 n, 3 n), complex128
        Orthonormal columns, as of :class:`~matterscape.transport.lattice.modes.VibrationalModes`.
    velocities : ndarray (K, 3 n, 3), float64
        Group velocities d omega/dk in Å/ps. Degenerate modes are those that stay apart along the direction asked for;
        zero for modes that do not vibrate.
    masses : ndarray (n,), float64
        In amu.
    force_constants : ForceConstants
    """

    wavevectors: np.ndarray
    angular_frequencies: np.ndarray
    eigenvectors: np.ndarray
    velocities: np.ndarray
    masses: np.ndarray
    force_constants: ForceConstants

    @property
    def frequencies_THz(self) -> np.ndarray:
        """Frequencies (K, 3 n) in THz; those of unstable modes are negative."""
        return self.angular_frequencies / ANGULAR

    @property
    def cartesian_wavevectors(self) -> np.ndarray:
        """Wavevectors (K, 3) in rad/Å."""
        cell = self.force_constants.structures.to_ase()[0].cell.array
        return ANGULAR * np.linalg.solve(cell, self.wavevectors.T).T


def dispersion(
    force_constants: ForceConstants,
    wavevectors: np.ndarray,
    *,
    masses: np.ndarray | None = None,
    directions: np.ndarray | None = None,
) -> Dispersion:
    """Phonons at any wavevectors.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell, resolved by image.
    wavevectors : array (K, 3)
        In units of the reciprocal cell vectors.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.
    directions : array (K, 3), optional
        Cartesian directions along which degenerate modes are told apart by their slopes; (1, 2, 3), along no axis of
        symmetry, if not given.

    Raises
    ------
    ValueError
        If there is more than one structure, one that is not periodic, or an array has another shape.
    """
    check_force_constants(force_constants)
    atoms = force_constants.structures.to_ase()[0]
    wavevectors = real_array("wavevectors", wavevectors)
    if wavevectors.ndim != 2 or wavevectors.shape[1] != 3 or not np.isfinite(wavevectors).all():
        raise ValueError(f"wavevectors have shape {wavevectors.shape}; accepted are finite numbers of shape (K, 3)")
    masses = atoms.get_masses() if masses is None else real_array("masses", masses)
    if masses.shape != (len(atoms),) or not (masses > 0).all():
        raise ValueError(f"masses have shape {masses.shape}; accepted are {len(atoms)} positive numbers")
    directions = np.array([[1.0, 2.0, 3.0]]) if directions is None else real_array("directions", directions)
    if directions.shape not in ((1, 3), wavevectors.shape):
        raise ValueError(f"directions have shape {directions.shape}; accepted is {wavevectors.shape}")
    directions = np.broadcast_to(directions, wavevectors.shape)
    sums = _BlochSums(force_constants, masses)
    size = 3 * len(atoms)
    omega = np.empty((len(wavevectors), size))
    eigenvectors = np.empty((len(wavevectors), size, size), np.complex128)
    velocities = np.empty((len(wavevectors), size, 3))
    waves = ANGULAR * np.linalg.solve(atoms.cell.array, wavevectors.T).T
    chunk = max(1, CHUNK_BYTES // (16 * (4 * size**2 + len(sums.vectors))))
    for start in range(0, len(wavevectors), chunk):
        own = slice(start, start + chunk)
        matrices, slopes = sums.at(waves[own])
        squares, vectors = np.linalg.eigh(matrices)
        omega[own] = np.copysign(np.sqrt(np.abs(squares)), squares)
        along = np.einsum("kx,kxab->kab", directions[own], slopes)
        _separate(omega[own], vectors, along)
        eigenvectors[own] = vectors
        projected = np.einsum("kam,kxab,kbm->kmx", vectors.conj(), slopes, vectors, optimize=True).real
        still = omega[own] < ANGULAR * 1e-3
        velocities[own] = np.where(still[..., None], 0.0, projected / (2 * np.where(still, 1.0, omega[own]))[..., None])
    return Dispersion(wavevectors, omega, eigenvectors, velocities, masses, force_constants)


class _BlochSums:
    """Dynamical matrices and their slopes as products of a sparse matrix with phases of pairs."""

    def __init__(self, force_constants: ForceConstants, masses: np.ndarray):
        first, second = force_constants.first, force_constants.second
        self._size = size = 3 * len(masses)
        rows = 3 * first[:, None, None] + np.arange(3)[:, None]
        columns = 3 * second[:, None, None] + np.arange(3)
        weights = SQUARED_FREQUENCY / np.sqrt(masses[first] * masses[second])
        entries = weights[:, None, None] * force_constants.blocks
        places, pairs = rows * size + columns, np.broadcast_to(np.arange(len(first))[:, None, None], entries.shape)
        self._spread = csr_array(
            (entries.reshape(-1), (places.reshape(-1), pairs.reshape(-1))), shape=(size**2, len(first))
        )
        self.vectors = force_constants.vectors

    def at(self, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """D (K, 3 n, 3 n) in (rad/ps)^2 and dD/dk (K, 3, 3 n, 3 n) in (rad/ps)^2 Å at wavevectors in rad/Å."""
        phases = np.exp(1j * self.vectors @ waves.T)  # (P, K)
        stacked = [phases, *(1j * self.vectors[:, axis, None] * phases for axis in range(3))]
        shape = (len(waves), self._size, self._size)
        found = [(self._spread @ factors).T.reshape(shape) for factors in stacked]
        hermitian = [0.5 * (matrix + matrix.conj().swapaxes(1, 2)) for matrix in found]
        return hermitian[0], np.stack(hermitian[1:], axis=1)


def _separate(omega: np.ndarray, vectors: np.ndarray, along: np.ndarray) -> None:
    """Replace degenerate eigenvectors by combinations of them that have definite slopes, in place."""
    equal = np.diff(omega, axis=1) < ANGULAR * DEGENERATE_THZ
    for k in np.flatnonzero(equal.any(axis=1)):
        ends = np.flatnonzero(~equal[k]) + 1
        for start, stop in zip([0, *ends], [*ends, omega.shape[1]], strict=True):
            if stop - start > 1:
                subspace = vectors[k, :, start:stop]
                turn = np.linalg.eigh(subspace.conj().T @ along[k] @ subspace)[1]
                vectors[k, :, start:stop] = subspace @ turn
