"""Structure factors of large models by Haydock's recursion from plane waves, without eigenvectors."""

from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number
from matterscape.structures import Structures
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.haydock import Chains, haydock_green, lanczos
from matterscape.transport.lattice.spectral.plane_waves import BRANCHES, standing_waves
from matterscape.transport.lattice.spectral.structure_factor import StructureFactor, checked_frequencies

_VECTORS_AT_ONCE = 16
#: Values of a structure factor below minus this, in ps, are a fault and no rounding.
NEGATIVE = 1e-12


@dataclass(frozen=True, eq=False)
class WaveChains:
    """Chains of the plane waves of one branch, from which structure factors of any broadening follow at once.

    Attributes
    ----------
    wavevectors : ndarray (Q, 3), float64
        In 1/Å.
    branch : "longitudinal" or "transverse"
    chains : Chains
        R of them, with coefficients in (rad/ps)^2.
    owners : ndarray (R,), int64
        Wavevector that each chain belongs to.
    """

    wavevectors: np.ndarray
    branch: str
    chains: Chains
    owners: np.ndarray

    def __getitem__(self, wave: int) -> "WaveChains":
        """Those of one wavevector."""
        own = np.flatnonzero(self.owners == range(len(self.wavevectors))[wave])
        chains = Chains(self.chains.a[own], self.chains.b2[own])
        return WaveChains(self.wavevectors[[wave]], self.branch, chains, np.zeros(len(own), np.int64))

    def structure_factor(
        self,
        angular_frequencies: np.ndarray,
        broadening: float,
        *,
        n_levels: int | None = None,
        terminator: str = "square-root",
    ) -> StructureFactor:
        """S(Q, omega) = -(2 omega / pi) Im <Q| [(omega + i eta)^2 - D]^-1 |Q>.

        Parameters
        ----------
        angular_frequencies : ndarray (W,)
            In rad/ps, not negative.
        broadening : float
            eta, the half width at half maximum of every line in rad/ps.
        n_levels : int, optional
            Levels of the chains to use; all if not given.
        terminator : "square-root" or "none"
            As of :func:`~matterscape.transport.lattice.spectral.haydock.haydock_green`.

        Raises
        ------
        ValueError
            If an argument is out of range.
        """
        omega = checked_frequencies(angular_frequencies)
        check_number("broadening", broadening, "rad/ps", positive=True)
        chains = self.chains if n_levels is None else self.chains.shortened(n_levels)
        green = haydock_green(chains, (omega + 1j * broadening) ** 2, terminator)
        values = np.zeros((len(self.wavevectors), len(omega)))
        np.add.at(values, self.owners, -2 * omega / np.pi * green.imag)
        if values.min() < -NEGATIVE:
            raise ArithmeticError(f"the structure factor is {values.min():.3g} ps somewhere; it cannot be negative")
        values /= 1 if self.branch == "longitudinal" else 2  # polarisations
        return StructureFactor(self.wavevectors, self.branch, omega, values, float(broadening))


def wave_chains(
    matrix: BlockMatrix,
    structures: Structures,
    wavevectors: np.ndarray,
    branch: str,
    n_levels: int,
    *,
    masses: np.ndarray | None = None,
    cosines_only: bool = False,
) -> WaveChains:
    """Recursion from the plane waves of one branch.

    Parameters
    ----------
    matrix : BlockMatrix
        Dynamical matrix of the cell in (rad/ps)^2.
    structures : Structures
        Its n atoms.
    wavevectors : ndarray (Q, 3)
        In 1/Å, whole multiples of the cell's reciprocal vectors.
    branch : "longitudinal" or "transverse"
    n_levels : int
        As of :func:`~matterscape.transport.lattice.spectral.haydock.lanczos`.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.
    cosines_only : bool
        Run the real part of each wave alone, half the work, where many wavevectors or samples are averaged.

    Raises
    ------
    ValueError
        If the matrix belongs to another number of atoms, or a wavevector does not fit into the cell.
    """
    if matrix.n_atoms != structures.n_atoms:
        raise ValueError(f"matrix belongs to {matrix.n_atoms} atoms; accepted are the {structures.n_atoms} atoms here")
    wavevectors = np.atleast_2d(np.asarray(wavevectors, dtype=np.float64))
    per_wave = (1 if cosines_only else 2) * (2 if branch == BRANCHES[1] else 1)
    at_once = max(1, _VECTORS_AT_ONCE // per_wave)
    a, b2, owners = [], [], []
    for start in range(0, max(1, len(wavevectors)), at_once):
        columns, own = standing_waves(
            structures, wavevectors[start : start + at_once], branch, masses=masses, cosines_only=cosines_only
        )
        chains = lanczos(matrix, columns, n_levels)
        a.append(chains.a)
        b2.append(chains.b2)
        owners.append(start + own)
    return WaveChains(wavevectors, branch, Chains(np.concatenate(a), np.concatenate(b2)), np.concatenate(owners))
