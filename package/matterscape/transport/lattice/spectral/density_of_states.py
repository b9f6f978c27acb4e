"""Densities of vibrational states of large models by the stochastic trace of kernel polynomials."""

from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_whole
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
from matterscape.transport.lattice.spectral.kernel_polynomials import (
    chebyshev_moments,
    gaussian_width,
    reconstruct,
    spectral_bound,
)
from matterscape.transport.lattice.spectral.structure_factor import checked_frequencies


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """Number of modes per angular frequency of a whole model.

    Attributes
    ----------
    angular_frequencies : ndarray (W,), float64
        In rad/ps.
    values : ndarray (W,), float64
        In ps; their integral is 3 n.
    errors : ndarray (W,), float64
        Standard errors from the spread of the random vectors; zero for an exact trace.
    gaussian_width : float
        Standard deviation in rad/ps, at low frequency, of the Gaussian that each mode is spread over.
    """

    angular_frequencies: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    gaussian_width: float


def density_of_states(
    matrix: BlockMatrix,
    angular_frequencies: np.ndarray,
    n_moments: int,
    *,
    n_vectors: int | None = 16,
    seed: int | np.random.Generator = 0,
    bound: float | None = None,
) -> DensityOfStates:
    """Density of states from random vectors of signs, or from all unit vectors.

    The relative error within d omega is about sqrt(2 / (3 n R rho d omega)), rho the density per atom and direction.

    Parameters
    ----------
    matrix : BlockMatrix
        Dynamical matrix in (rad/ps)^2.
    angular_frequencies : ndarray (W,)
        In rad/ps, not negative.
    n_moments : int
        The width of the Gaussians is pi omega_max / (2 n_moments).
    n_vectors : int or None
        Random vectors, at least 2; None for the exact trace over all 3 n unit vectors, for small models.
    seed : int or numpy.random.Generator
    bound : float, optional
        Above the largest eigenvalue; found if not given.

    Raises
    ------
    ValueError
        If there are fewer than 2 vectors, or an argument is out of range.
    """
    omega = checked_frequencies(angular_frequencies)
    bound = spectral_bound(matrix) if bound is None else bound
    size = 3 * matrix.n_atoms
    if n_vectors is None:
        moments = chebyshev_moments(matrix, np.eye(size), n_moments, bound)
        values, errors = reconstruct(moments.sum(axis=0), bound, omega), np.zeros(len(omega))
    else:
        check_whole("n_vectors", n_vectors, 2)
        vectors = np.random.default_rng(seed).choice([-1.0, 1.0], (size, n_vectors))
        samples = reconstruct(chebyshev_moments(matrix, vectors, n_moments, bound), bound, omega)
        values, errors = samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(n_vectors)
    return DensityOfStates(omega, values, errors, gaussian_width(n_moments, bound))
