"""Conductivity of a crystal from the linearised Boltzmann equation of its phonons, or in relaxation times.

In relaxation times every phonon has the lifetime 1 / (2 g) of its half width g,

    kappa_ab = (1 / V Q) sum_qn C_n v^a_n v^b_n / (2 g_n).

The Boltzmann equation also counts that a scattered phonon may still go along (see
:mod:`~matterscape.transport.lattice.crystals.scattering` for its matrix A): with y = (FWHM + A)^-1 b and
b = hbar omega s v / (k_B T^2),

    kappa_ab = (k_B T^2 / V Q) sum_n b^a_n y^b_n.

Degenerate modes, whose velocities depend on the choice of eigenvectors, count with the trace of the products of their
velocity matrix in relaxation times; what the Boltzmann equation adds to that comes from their mean velocity.
"""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, cg

from matterscape.transport.lattice.constants import CONDUCTIVITY
from matterscape.transport.lattice.crystals.scattering import (
    ThreePhononScattering,
    mean_velocities,
    velocity_tensors,
)
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.occupations import heat_capacities

METHODS = ("relaxation-time", "direct", "iterative")
#: Relative residual at which the iteration ends, and the most iterations.
ITERATIVE_TOLERANCE, MOST_ITERATIONS = 1e-10, 500
#: Conjugate gradients take a matrix that is symmetric to this part of its largest entry.
LARGEST_ASYMMETRY = 1e-6


class NotConvergedError(RuntimeError):
    """An iterative solution of the Boltzmann equation did not converge."""


@dataclass(frozen=True, eq=False)
class BoltzmannConductivity:
    """Conductivity of a crystal at one temperature with what each mode contributes.

    Attributes
    ----------
    tensor : ndarray (3, 3)
        In W/(m K), symmetric.
    populations : ndarray (3, 3)
        Its part from the mean velocities of degenerate modes, in W/(m K): what the Boltzmann equation of particles
        gives. The rest, in relaxation times, comes from the coherence of degenerate modes.
    mode_tensors : ndarray (Q, 3 n, 3, 3)
        Share of each mode; their sum is ``tensor``.
    mean_free_paths : ndarray (Q, 3 n)
        Along the group velocity, in Å; |v| / (2 g) in relaxation times.
    half_widths : ndarray (Q, 3 n)
        All scattering together, in rad/ps.
    modes : VibrationalModes
    temperature_K : float
    statistics : str
    method : str
    n_iterations : int
        Of the iterative solution, else 0.
    """

    tensor: np.ndarray
    populations: np.ndarray
    mode_tensors: np.ndarray
    mean_free_paths: np.ndarray
    half_widths: np.ndarray
    modes: VibrationalModes
    temperature_K: float
    statistics: str
    method: str
    n_iterations: int

    @property
    def value(self) -> float:
        """Mean over the three directions in W/(m K)."""
        return float(np.trace(self.tensor) / 3)

    def cumulative(self, quantity: str, at: np.ndarray) -> np.ndarray:
        """Conductivity of the modes up to some frequency or mean free path.

        Parameters
        ----------
        quantity : "frequency_THz" or "mean_free_path"
        at : ndarray (K,)
            In THz or Å.

        Returns
        -------
        ndarray (K,)
            Mean over the three directions in W/(m K); the last reaches ``value`` if ``at`` passes all modes.
        """
        choices = {"frequency_THz": self.modes.frequencies_THz, "mean_free_path": self.mean_free_paths}
        if quantity not in choices:
            raise ValueError(f"quantity is {quantity!r}; accepted are {', '.join(map(repr, choices))}")
        values, shares = choices[quantity].reshape(-1), np.einsum("qnaa->qn", self.mode_tensors).reshape(-1) / 3
        order = np.argsort(values, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(shares[order])])
        return sums[np.searchsorted(values[order], np.asarray(at, dtype=np.float64), side="right")]


def boltzmann_conductivity(
    scattering: ThreePhononScattering,
    *,
    method: str = "relaxation-time",
    other_half_widths: np.ndarray | None = None,
    grain_size: float | None = None,
) -> list[BoltzmannConductivity]:
    """Conductivity of a crystal at every temperature of its scattering.

    Parameters
    ----------
    scattering : ThreePhononScattering
        With its collision matrix for the two methods that solve the Boltzmann equation.
    method : "relaxation-time", "direct" or "iterative"
        "direct" solves for all modes at once, "iterative" by conjugate gradients that start from relaxation times.
    other_half_widths : ndarray (Q, 3 n), optional
        Of further scattering, as by disorder of masses, in rad/ps; it takes phonons out of their modes to where their
        mean velocity is zero.
    grain_size : float, optional
        In Å; adds |v| / (2 L) to the half widths for scattering at boundaries.

    Raises
    ------
    ValueError
        If the method is unknown or needs a collision matrix that is not there, "iterative" is asked of an adaptive
        broadening, whose matrix is not symmetric, half widths are negative or all zero, or the grain size is not
        positive.
    NotConvergedError
        If the iterative solution does not converge.

    Source: L. Chaput, Phys. Rev. Lett. 110, 265506 (2013); J. M. Ziman, Electrons and Phonons, Oxford (1960), ch. 8.
    """
    if not isinstance(scattering, ThreePhononScattering):
        raise TypeError(f"scattering is a {type(scattering).__name__}; accepted is ThreePhononScattering")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; accepted are {', '.join(map(repr, METHODS))}")
    if method != "relaxation-time" and scattering.collision_matrix is None:
        raise ValueError(
            f"method is {method!r} without a collision matrix; accepted is scattering with collisions=True"
        )
    modes, mesh = scattering.modes, scattering.mesh
    velocities, tensors = mean_velocities(modes, mesh), velocity_tensors(modes, mesh)
    speeds = np.sqrt(np.einsum("inaa->in", tensors))
    chosen = mesh.irreducible
    further = _checked_widths(modes, other_half_widths)[chosen]
    if grain_size is not None:
        if not (np.isscalar(grain_size) and np.isfinite(grain_size) and grain_size > 0):
            raise ValueError(f"grain_size is {grain_size!r}; accepted is a positive number of Å")
        further = further + speeds / (2 * grain_size)
    vibrating = modes.vibrating[chosen]
    omega = np.where(vibrating, modes.angular_frequencies[chosen], 1.0)
    unit = CONDUCTIVITY / (modes.volume * mesh.n_wavevectors)
    results = []
    for row, temperature in enumerate(scattering.temperatures_K.tolist()):
        full_widths = 2 * (scattering.half_widths[row, chosen] + further)
        if not (full_widths[vibrating] > 0).all():
            raise ValueError(
                f"half widths of {(full_widths[vibrating] <= 0).sum()} vibrating modes are zero at {temperature:g} K; "
                "accepted are positive ones: use a larger broadening, a finer mesh or a grain size"
            )
        full_widths = np.where(vibrating, full_widths, 1.0)
        capacities = np.where(vibrating, heat_capacities(omega, temperature, scattering.statistics), 0.0)
        sources = np.sqrt(capacities)[..., None] * velocities
        solution, n_iterations = sources / full_widths[..., None], 0
        shares = capacities[..., None, None] * tensors / full_widths[..., None, None]
        coherences = shares - _products(sources, solution)
        if method != "relaxation-time":
            matrix = _with_weights(scattering.collision_matrix[row], mesh.weights)
            solution, n_iterations = _solve(matrix, full_widths, sources, mesh.weights, method)
        populations = _products(sources, solution)
        # the mean free path of F = y / sqrt(C) along v, where the trace of degenerate velocities stands for v^2
        lengths = np.einsum("inaa->in", populations + coherences)
        scale = capacities * speeds
        paths = np.divide(lengths, scale, out=np.zeros(scale.shape), where=scale > 0)
        mode_tensors = unit * mesh.expand_tensors(populations + coherences)
        results.append(
            BoltzmannConductivity(
                mode_tensors.sum(axis=(0, 1)),
                unit * mesh.expand_tensors(populations).sum(axis=(0, 1)),
                mode_tensors,
                mesh.expand(paths),
                mesh.expand(np.where(vibrating, full_widths / 2, 0.0)),
                modes,
                temperature,
                scattering.statistics,
                method,
                n_iterations,
            )
        )
    return results


def _products(sources: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """Symmetric parts (I, 3 n, 3, 3) of products of vectors."""
    products = sources[..., :, None] * solution[..., None, :]
    return 0.5 * (products + products.swapaxes(2, 3))


def _checked_widths(modes: VibrationalModes, half_widths: np.ndarray | None) -> np.ndarray:
    """Half widths (Q, 3 n) that are not negative, zero if none are given; ``ValueError`` for anything else."""
    shape = modes.angular_frequencies.shape
    if half_widths is None:
        return np.zeros(shape)
    half_widths = np.asarray(half_widths, dtype=np.float64)
    if half_widths.shape != shape or not (np.isfinite(half_widths).all() and half_widths.min() >= 0):
        raise ValueError(
            f"other_half_widths have shape {half_widths.shape} and the smallest is {half_widths.min(initial=np.inf)}; "
            f"accepted are {shape} finite numbers that are not negative"
        )
    return half_widths


def _with_weights(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Collision matrix (3 n I 3, 3 n I 3) between irreducible wavevectors times the roots of their weights."""
    roots = np.sqrt(weights)
    balanced = matrix * (roots[:, None] / roots)[:, None, :, None, None, None]
    size = matrix.shape[0] * matrix.shape[1] * 3
    return np.ascontiguousarray(balanced.transpose(0, 1, 4, 2, 3, 5)).reshape(size, size)


def _solve(
    matrix: np.ndarray, full_widths: np.ndarray, sources: np.ndarray, weights: np.ndarray, method: str
) -> tuple[np.ndarray, int]:
    """y = (FWHM + A)^-1 b of shape (I, 3 n, 3), and the number of iterations."""
    roots = np.sqrt(weights)[:, None, None]
    diagonal = np.broadcast_to(full_widths[..., None], sources.shape).reshape(-1)
    right = (roots * sources).reshape(-1)
    if method == "direct":
        found = scipy.linalg.solve(matrix + np.diag(diagonal), right)
        return found.reshape(sources.shape) / roots, 0
    asymmetry = np.abs(matrix - matrix.T).max() / np.abs(matrix).max()
    if asymmetry > LARGEST_ASYMMETRY:
        raise ValueError(
            f"method is 'iterative', but the collision matrix differs from its transpose by {asymmetry:.1e} of its "
            "largest entry; accepted with it is one broadening for all processes: else use 'direct'"
        )
    count = 0

    def counted(_: np.ndarray) -> None:
        nonlocal count
        count += 1

    scale = 1 / np.sqrt(diagonal)
    operator = LinearOperator(matrix.shape, lambda x: x + scale * (matrix @ (scale * x)), dtype=np.float64)
    found, failure = cg(
        operator,
        scale * right,
        x0=scale * right,
        rtol=ITERATIVE_TOLERANCE,
        maxiter=MOST_ITERATIONS,
        callback=counted,
    )
    if failure:
        raise NotConvergedError(
            f"the Boltzmann equation did not converge to {ITERATIVE_TOLERANCE:g} in {count} iterations; use "
            "method='direct'"
        )
    return (scale * found).reshape(sources.shape) / roots, count
