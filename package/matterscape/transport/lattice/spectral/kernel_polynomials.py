"""Kernel polynomial method: <x| f(D) |x> from Chebyshev moments, with Jackson's kernel against oscillations.

    D~ = 2 D / lambda - 1,   mu_m = <x| T_m(D~) |x>,   two of them from each product,
    rho(omega) = (4 omega / lambda) [g_0 mu_0 + 2 sum_m g_m mu_m T_m(X)] / (pi sqrt(1 - X^2)),
    X = 2 omega^2 / lambda - 1.

A line becomes a Gaussian with the standard deviation (pi sqrt(lambda) / 2 M) sqrt(1 - omega^2 / lambda) for M moments.

Source: A. Weisse, G. Wellein, A. Alvermann and H. Fehske, Rev. Mod. Phys. 78, 275 (2006).
"""

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal

from matterscape.checks import check_number, check_whole, real_array
from matterscape.kernels import launch
from matterscape.progress import progress
from matterscape.structures import Structures
from matterscape.transport.lattice.spectral._block_kernels import chebyshev_step, n_chunks
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.haydock import lanczos
from matterscape.transport.lattice.spectral.plane_waves import standing_waves
from matterscape.transport.lattice.spectral.structure_factor import StructureFactor, checked_frequencies

_LEVELS_OF_BOUND = 60
_MARGIN = 1.02
#: By how much a moment may exceed the zeroth one before the bound is called too low.
_EXCESS = {"d": 1e-6, "f": 1e-3}


def spectral_bound(matrix: BlockMatrix, seed: int | np.random.Generator = 0) -> float:
    """Number above the largest eigenvalue, in the unit of the matrix: 1.02 times the bound of a short recursion.

    Parameters
    ----------
    matrix : BlockMatrix
    seed : int or numpy.random.Generator
        Of the random starting vector.
    """
    start = np.random.default_rng(seed).normal(size=(3 * matrix.n_atoms, 1))
    chains = lanczos(matrix, start, _LEVELS_OF_BOUND)
    n_levels = int(chains.n_levels[0])
    beside = np.sqrt(chains.b2[0, 1:n_levels])
    values, vectors = eigh_tridiagonal(chains.a[0, :n_levels], beside)
    # an eigenvalue lies within the residual of each Ritz value
    residual = beside[-1] * abs(vectors[-1, -1]) if n_levels == _LEVELS_OF_BOUND else 0.0
    return _MARGIN * float(values[-1] + residual)


def chebyshev_moments(matrix: BlockMatrix, vectors: np.ndarray, n_moments: int, bound: float) -> np.ndarray:
    """Moments mu_m = <x| T_m(2 D / lambda - 1) |x> of the columns of a block of vectors.

    Parameters
    ----------
    matrix : BlockMatrix
        With no eigenvalue below zero.
    vectors : ndarray (3 n, R)
    n_moments : int
        At least 2; half as many products are made.
    bound : float
        lambda, not below the largest eigenvalue.

    Returns
    -------
    moments : ndarray (R, M), float64

    Raises
    ------
    ValueError
        If |mu_m| exceeds mu_0, which it cannot unless an eigenvalue lies outside (0, lambda).
    """
    check_whole("n_moments", n_moments, 2)
    check_number("bound", bound, "(rad/ps)^2", positive=True)
    recursion = ChebyshevRecursion(matrix, matrix.packed(vectors), bound)
    zeroth = np.einsum("iasl,iasl->sl", recursion.vectors, recursion.vectors, dtype=np.float64)
    moments = [zeroth]
    for _ in progress(range(n_moments // 2), "Chebyshev moments"):
        squares, dots = recursion.advance()
        moments.append(dots if len(moments) == 1 else 2 * dots - moments[1])
        moments.append(2 * squares - zeroth)
        largest = np.abs(moments[-1] / np.maximum(zeroth, np.finfo(float).tiny)).max()
        if not largest <= 1 + _EXCESS[matrix.dtype.char]:
            raise ValueError(
                f"bound is {bound:.6g}, but moment {len(moments) - 1} is {largest:.3g} times the zeroth; accepted is a "
                "bound above the largest eigenvalue, and a matrix without negative ones"
            )
    return np.stack(moments[:n_moments], axis=-1).reshape(-1, n_moments)[: np.asarray(vectors).shape[1]]


class ChebyshevRecursion:
    """T_m(2 D / lambda - 1) x for m = 0, 1, 2 ... of a block of vectors.

    Attributes
    ----------
    vectors : ndarray (n, 3, S, 8)
        Of the present m, as packed by the matrix; overwritten two steps later.
    """

    def __init__(self, matrix: BlockMatrix, packed: np.ndarray, bound: float):
        self.vectors = packed
        self._matrix, self._bound, self._begun = matrix, bound, False
        self._before = np.zeros_like(packed)
        self._squares = np.empty((n_chunks(matrix.n_atoms), *packed.shape[2:]), matrix.dtype)
        self._dots = np.empty_like(self._squares)

    def advance(self) -> tuple[np.ndarray, np.ndarray]:
        """Go to m + 1; squared norms (S, 8) of the new vectors and their dot products with those of m."""
        matrix, number = self._matrix, self._matrix.dtype.type
        # T_1 = D~ T_0, then T_(m+1) = 2 D~ T_m - T_(m-1)
        scale, shift = (4 / self._bound, 2) if self._begun else (2 / self._bound, 1)
        self._squares[:], self._dots[:] = 0, 0
        with launch("Chebyshev recursion"):
            chebyshev_step(
                matrix.row_starts,
                matrix.columns,
                matrix.blocks,
                self.vectors,
                self._before,
                number(scale),
                number(shift),
                self._squares,
                self._dots,
            )
        self.vectors, self._before, self._begun = self._before, self.vectors, True
        return self._squares.sum(axis=0, dtype=np.float64), self._dots.sum(axis=0, dtype=np.float64)


def jackson_kernel(n_moments: int) -> np.ndarray:
    """Factors g_m (M,) that turn each line into nearly a Gaussian, never negative.

    Source: Weisse et al., Rev. Mod. Phys. 78, 275 (2006), eq. 71.
    """
    check_whole("n_moments", n_moments, 2)
    angle, m = math.pi / (n_moments + 1), np.arange(n_moments)
    return ((n_moments - m + 1) * np.cos(angle * m) + np.sin(angle * m) / math.tan(angle)) / (n_moments + 1)


def reconstruct(moments: np.ndarray, bound: float, angular_frequencies: np.ndarray) -> np.ndarray:
    """Density (..., W) over angular frequency from moments (..., M); its integral is mu_0.

    Parameters
    ----------
    moments : ndarray (..., M)
        Of the matrix of squared frequencies.
    bound : float
        lambda of the moments.
    angular_frequencies : ndarray (W,)
        In the square root of the unit of lambda. The density is zero beyond sqrt(lambda).
    """
    omega = checked_frequencies(angular_frequencies)
    moments = real_array("moments", moments)
    weights = np.where(np.arange(moments.shape[-1]) == 0, 1.0, 2.0) * jackson_kernel(moments.shape[-1])
    inside = (omega > 0) & (omega**2 < bound)
    place = 2 * omega[inside] ** 2 / bound - 1
    sums = np.polynomial.chebyshev.chebval(place, np.moveaxis(weights * moments, -1, 0))
    density = np.zeros((*moments.shape[:-1], len(omega)))
    density[..., inside] = sums * (4 * omega[inside] / bound / (math.pi * np.sqrt(1 - place**2)))
    return density


def gaussian_width(n_moments: int, bound: float, angular_frequency: float = 0.0) -> float:
    """Standard deviation in rad/ps of the Gaussian that a line at a frequency becomes."""
    return math.pi * math.sqrt(max(bound - angular_frequency**2, 0.0)) / (2 * n_moments)


def structure_factor_of_moments(
    matrix: BlockMatrix,
    structures: Structures,
    wavevectors: np.ndarray,
    branch: str,
    angular_frequencies: np.ndarray,
    n_moments: int,
    *,
    masses: np.ndarray | None = None,
) -> StructureFactor:
    """Structure factor of one branch by kernel polynomials, with lines broadened to Gaussians.

    Parameters
    ----------
    matrix : BlockMatrix
        Dynamical matrix of the cell in (rad/ps)^2.
    structures : Structures
        Its n atoms.
    wavevectors : ndarray (Q, 3)
        In 1/Å, whole multiples of the cell's reciprocal vectors.
    branch : "longitudinal" or "transverse"
    angular_frequencies : ndarray (W,)
        In rad/ps, not negative.
    n_moments : int
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.
    """
    if matrix.n_atoms != structures.n_atoms:
        raise ValueError(f"matrix belongs to {matrix.n_atoms} atoms; accepted are the {structures.n_atoms} atoms here")
    columns, owners = standing_waves(structures, wavevectors, branch, masses=masses)
    bound = spectral_bound(matrix)
    moments = np.zeros((len(wavevectors), n_moments))
    np.add.at(moments, owners, chebyshev_moments(matrix, columns, n_moments, bound))
    moments /= 1 if branch == "longitudinal" else 2  # polarisations
    values = reconstruct(moments, bound, angular_frequencies)
    half_width = math.sqrt(2 * math.log(2)) * gaussian_width(n_moments, bound)
    wavevectors = np.array(wavevectors, dtype=np.float64)
    return StructureFactor(
        wavevectors, branch, checked_frequencies(angular_frequencies), values, half_width, "gaussian"
    )
