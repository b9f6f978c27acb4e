"""Diffusivities and Allen-Feldman conductivities of large models without eigenvectors, by double kernel polynomials.

    G(omega) D(omega) = (pi / 3) sum_a Tr[S_a^T delta(omega^2 - D) S_a delta(omega^2 - D)],
    (S_a)_ij = (r_i - r_j)_a D_ij,   kappa = (1/V) int C(omega) G(omega) D(omega) d omega,

with both delta functions expanded in Chebyshev polynomials and the trace taken over random vectors. Their width plays
the part of the broadening of Allen and Feldman.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from matterscape.checks import check_number, check_whole
from matterscape.kernels import launch, memory_limit
from matterscape.potentials.force_constants import ForceConstants
from matterscape.progress import progress
from matterscape.transport.lattice.constants import CONDUCTIVITY, SQUARED_FREQUENCY
from matterscape.transport.lattice.occupations import heat_capacities
from matterscape.transport.lattice.spectral._block_kernels import LANES, multiply
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.kernel_polynomials import (
    ChebyshevRecursion,
    gaussian_width,
    jackson_kernel,
    spectral_bound,
)
from matterscape.transport.lattice.spectral.plane_waves import atomic_masses
from matterscape.transport.lattice.spectral.structure_factor import checked_frequencies


@dataclass(frozen=True, eq=False)
class SpectralDiffusivity:
    """Product of the density of states and the diffusivity of a model, as Chebyshev moments.

    Attributes
    ----------
    moments : ndarray (M, M), float64
        sum_a Tr[T_m S_a^T T_n S_a] / 3, symmetric up to the noise of the trace.
    bound : float
        lambda of the polynomials in (rad/ps)^2.
    volume : float
        Of the cell in Å^3.
    n_atoms : int
    """

    moments: np.ndarray
    bound: float
    volume: float
    n_atoms: int

    @property
    def gaussian_width(self) -> float:
        """Standard deviation in rad/ps, at low frequency, of the Gaussian that either delta function becomes."""
        return gaussian_width(len(self.moments), self.bound)

    def values(self, angular_frequencies: np.ndarray) -> np.ndarray:
        """G(omega) D(omega) (W,) in Å^2, the diffusivity of all modes together per rad/ps.

        Parameters
        ----------
        angular_frequencies : ndarray (W,)
            In rad/ps, not negative.
        """
        omega = checked_frequencies(angular_frequencies)
        n_moments = len(self.moments)
        factors = np.where(np.arange(n_moments) == 0, 1.0, 2.0) * jackson_kernel(n_moments)
        inside = (omega > 0) & (omega**2 < self.bound)
        place = 2 * omega[inside] ** 2 / self.bound - 1
        polynomials = factors * np.cos(np.arange(n_moments) * np.arccos(place)[:, None])
        sums = np.einsum("wm,wm->w", polynomials @ self.moments, polynomials)
        values = np.zeros(len(omega))
        values[inside] = np.pi * sums * (2 / self.bound) ** 2 / (np.pi**2 * (1 - place**2))
        return values

    def conductivity(self, temperature_K: float, *, statistics: str = "quantum", n_points: int = 2000) -> float:
        """Conductivity in W/(m K) of all modes with the heat capacity of their frequency.

        Parameters
        ----------
        temperature_K : float
        statistics : "quantum" or "classical"
        n_points : int
            Of the integral over frequency, at least 2.
        """
        check_whole("n_points", n_points, 2)
        # midpoints in theta, X = cos(theta), make the integral of polynomials exact
        theta = np.pi * (np.arange(n_points) + 0.5) / n_points
        omega = np.sqrt(self.bound * (1 + np.cos(theta)) / 2)
        steps = np.pi / n_points * np.sin(theta) * self.bound / (4 * omega)
        capacities = heat_capacities(omega, temperature_K, statistics)
        return float(CONDUCTIVITY / self.volume * (capacities * self.values(omega) * steps).sum())


def spectral_diffusivity(
    force_constants: ForceConstants,
    n_moments: int,
    *,
    masses: np.ndarray | None = None,
    n_vectors: int | None = 4,
    seed: int | np.random.Generator = 0,
    memory: float | None = None,
) -> SpectralDiffusivity:
    """Double Chebyshev moments of a model's dynamical matrix and its velocity operators.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell of n atoms, resolved by image.
    n_moments : int
        M, at least 2; the work grows as n M^2.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.
    n_vectors : int or None
        Random vectors of signs; None for the exact trace over all 3 n unit vectors, for small models.
    seed : int or numpy.random.Generator
    memory : float, optional
        Bytes that vectors may take, a quarter of the machine's if not given. Where the vectors of all moments do not
        fit, one of the two recursions is repeated.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_whole("n_moments", n_moments, 2)
    matrix = BlockMatrix.from_force_constants(force_constants, masses)
    bound = spectral_bound(matrix)
    velocities = _velocity_blocks(force_constants, atomic_masses(force_constants.structures, masses))
    memory = memory_limit() / 4 if memory is None else memory
    check_number("memory", memory, "bytes", positive=True)
    size = 3 * matrix.n_atoms
    if n_vectors is not None:
        check_whole("n_vectors", n_vectors, 1)
        starts = np.random.default_rng(seed).choice([-1.0, 1.0], (n_vectors, size))
    else:
        starts = np.eye(size)
    moments = np.zeros((n_moments, n_moments))
    for group in progress(np.array_split(starts, -(-len(starts) // LANES)), "velocity moments"):
        first = matrix.packed(group.T)
        right = ChebyshevRecursion(matrix, first.copy(), bound)
        # three directions for each vector, in double precision, on both sides
        at_once = int(min(n_moments, max(1, memory // (2 * 3 * first.nbytes))))
        for begin in range(0, n_moments, at_once):
            rows = slice(begin, min(n_moments, begin + at_once))
            rights = _advanced(right, rows, lambda vectors: _moved(matrix, velocities, vectors))
            left = ChebyshevRecursion(matrix, _moved(matrix, velocities, first), bound)
            for other in range(0, n_moments, at_once):
                columns = slice(other, min(n_moments, other + at_once))
                moments[rows, columns] += rights @ _advanced(left, columns, np.copy).T
    moments /= 3 if n_vectors is None else 3 * n_vectors
    volume = float(force_constants.structures.volumes[0])
    return SpectralDiffusivity(moments, bound, volume, matrix.n_atoms)


def _advanced(recursion: ChebyshevRecursion, those: slice, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a function makes of the vectors of some moments, one row each; the recursion ends at the next of them."""
    rows = None
    for number in range(those.stop - those.start):
        found = of(recursion.vectors).reshape(-1)
        rows = np.empty((those.stop - those.start, len(found))) if rows is None else rows
        rows[number] = found
        recursion.advance()
    return rows


def _moved(matrix: BlockMatrix, velocities: list[np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """S_a x (n, 3, 3 S, 8) for the three directions of vectors (n, 3, S, 8)."""
    products = []
    for blocks in velocities:
        products.append(np.empty_like(vectors))
        with launch("velocity operators"):
            multiply(matrix.row_starts, matrix.columns, blocks, vectors, products[-1])
    return np.concatenate(products, axis=2)


def _velocity_blocks(force_constants: ForceConstants, masses: np.ndarray) -> list[np.ndarray]:
    """Blocks (B, 3, 3) of (r_i - r_j)_a D_ij in (rad/ps)^2 Å for each direction, in the pattern of D."""
    roots = np.sqrt(masses)
    weights = SQUARED_FREQUENCY / (roots[force_constants.first] * roots[force_constants.second])
    found = []
    for axis in range(3):
        factors = -force_constants.vectors[:, axis] * weights
        found.append(replace(force_constants, blocks=factors[:, None, None] * force_constants.blocks).to_bsr().data)
    return found
