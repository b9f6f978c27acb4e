"""Coherence of two currents: the law of an off-diagonal periodogram, and a spline regressed under it.

The real part of an off-diagonal element of a periodogram has either sign, so the logarithm that the cepstral analysis
takes of a diagonal one does not exist. Its law is known, though: if S_11 and S_22 are the spectra of two currents and
rho their coherence, the real part of S_12 / sqrt(S_11 S_22), then

    z = 2 m Re S^_12 / sqrt(S_11 S_22)

is the sum of 2 m products of two normal variables with correlation rho, m being the number of independent segments
times that of Cartesian components. The regression finds the even cubic spline rho(f) of greatest likelihood.

Source: E. Drigo, S. Baroni, P. Pegolo, arXiv:2402.04873 (2024), for the idea, in the authors' public code with a
Markov chain in place of Newton's method; the law is the distribution of an off-diagonal Wishart element.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from matterscape.checks import check_number, check_whole
from matterscape.kernels import launch
from matterscape.transport._coherence_kernels import variance_gamma

#: Knots closer to zero frequency than to the limit: exponent of their places.
SPACING = 1.7
#: Numbers of knots that are averaged over: fewer are biased, more are noisier than they need be.
KNOTS = (5, 6)
_LARGEST = 0.98  # of |rho|, as in the authors' code: the density is singular at 1
_MOST_STEPS = 100


def variance_gamma_log_density(z: np.ndarray, rho: np.ndarray | float, m: int) -> np.ndarray:
    """Log density of the sum z of 2 m products of two standard normal variables with correlation rho.

        p(z) = a^m / [(2a)^(2m-1) (m-1)!] e^(-a|z| + rho a z) sum_j (m-1+j)! / [j! (m-1-j)!] (2a|z|)^(m-1-j)

    with a = 1 / (1 - rho^2) and j from 0 to m - 1; for m = 1 it is an asymmetric Laplace law. Mean 2 m rho, variance
    2 m (1 + rho^2).

    Parameters
    ----------
    z : array (F,)
    rho : float or array (F,)
        Between -1 and 1.
    m : int
        Half the number of products.

    Returns
    -------
    array (F,)

    Raises
    ------
    ValueError
        If a number is not finite, rho is not inside -1 to 1, or m is no positive whole number.

    Source: off-diagonal element of a Wishart matrix; the sum is that of a Bessel function of half-integer order.
    """
    return _law(z, rho, m)[0]


def variance_gamma_score(z: np.ndarray, rho: np.ndarray | float, m: int) -> np.ndarray:
    """Derivative in rho of :func:`variance_gamma_log_density`; parameters and errors as there."""
    return _law(z, rho, m)[1]


def _law(z, rho, m) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    check_whole("m", m, 1)
    z = _finite("z", z)
    rho = np.broadcast_to(np.asarray(rho, dtype=np.float64), z.shape)
    outside = ~(np.abs(rho) < 1)
    if outside.any():
        raise ValueError(f"rho is {rho[outside][0]!r}; accepted are numbers between -1 and 1")
    return _evaluate(z, rho, int(m))


def _evaluate(z: np.ndarray, rho: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    results = tuple(np.empty(z.size) for _ in range(3))
    with launch(None if variance_gamma.signatures else "variance-gamma law"):
        variance_gamma(np.ravel(z), np.ravel(rho), m, *results)
    return tuple(values.reshape(z.shape) for values in results)


def _finite(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds {values[~np.isfinite(values)][0]}; accepted are finite numbers")
    return values


@dataclass(frozen=True, eq=False)
class SplineFit:
    """The even cubic spline of greatest likelihood for one number of knots.

    Attributes
    ----------
    knots : array (P,)
        Frequencies in units of the highest one, from 0 to 1.
    values : array (P,)
        rho at the knots.
    covariance : array (P, P)
        Of the values, by Laplace's approximation.
    log_likelihood : float
    rho, rho_error : array (F,)
        The spline at the bins, and its standard error.
    """

    knots: np.ndarray
    values: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    rho: np.ndarray
    rho_error: np.ndarray

    @property
    def information_criterion(self) -> float:
        """Akaike's: -2 ln L + 2 P."""
        return 2 * len(self.knots) - 2 * self.log_likelihood


@dataclass(frozen=True, eq=False)
class Coherence:
    """Coherence rho(f) averaged over fits with several numbers of knots, weighted by Akaike's criterion.

    Attributes
    ----------
    zero_frequency, error : float
        rho(0) and its standard error, which includes the spread between the fits.
    rho, rho_error : array (F,)
        At the bins.
    fits : tuple of SplineFit
    weights : array
        Of the fits, proportional to exp(-criterion / 2).
    """

    zero_frequency: float
    error: float
    rho: np.ndarray
    rho_error: np.ndarray
    fits: tuple[SplineFit, ...]
    weights: np.ndarray

    @property
    def n_knots(self) -> tuple[int, ...]:
        """Number of knots of each fit."""
        return tuple(len(fit.knots) for fit in self.fits)

    @property
    def best(self) -> SplineFit:
        """The fit of the greatest weight."""
        return self.fits[int(np.argmax(self.weights))]


def regress_coherence(
    z: np.ndarray, m: int, *, n_knots: int | Iterable[int] = KNOTS, spacing: float = SPACING
) -> Coherence:
    """Coherence of two currents from their normalised cross-periodogram, by greatest likelihood.

    rho(f) is a cubic spline that is even about zero and about the highest frequency, so that P knots at
    (p / (P - 1))^spacing have P free values. The prior is uniform, |rho| at most 0.98. Newton's method finds the
    maximum, the second derivatives there its covariance; fits with different P are averaged with weights
    exp(-AIC / 2), and their spread is added to the variance.

    Parameters
    ----------
    z : array (F,)
        2 m Re S^_12 / sqrt(S_11 S_22) at frequencies k f / (F + 1), k = 1 ... F: the first one and the highest one
        have another law and are left out.
    m : int
        Independent segments times Cartesian components.
    n_knots : int or several
        P.
    spacing : float
        1 gives knots at equal distances, more than 1 more of them at low frequencies.

    Returns
    -------
    Coherence

    Raises
    ------
    ValueError
        If z is not one row of finite numbers, m or the spacing is not positive, or there are fewer than two knots or
        more knots than bins.

    Source: see :mod:`matterscape.transport.coherence`; likelihood, spline and criterion as there, the spacing is ours.
    """
    z = _finite("z", z)
    counts = _checked_counts(z, m, n_knots, spacing)
    fits = tuple(_fit(z, int(m), count, float(spacing)) for count in counts)
    criteria = np.array([fit.information_criterion for fit in fits])
    weights = np.exp(-0.5 * (criteria - criteria.min()))
    weights /= weights.sum()
    rho, rho_error = _averaged(weights, [fit.rho for fit in fits], [fit.rho_error for fit in fits])
    zero, error = _averaged(weights, [fit.values[0] for fit in fits], [fit.covariance[0, 0] ** 0.5 for fit in fits])
    return Coherence(float(zero), float(error), rho, rho_error, fits, weights)


def _checked_counts(z: np.ndarray, m: int, n_knots: int | Iterable[int], spacing: float) -> list[int]:
    check_whole("m", m, 1)
    check_number("spacing", spacing, positive=True)
    counts = list(n_knots) if isinstance(n_knots, Iterable) else [n_knots]
    if not counts:
        raise ValueError("n_knots is empty; accepted is at least one whole number")
    for count in counts:
        check_whole("n_knots", count, 2)
    if z.ndim != 1 or len(z) < max(counts):
        raise ValueError(
            f"z has shape {z.shape}; accepted is one row of at least {max(counts)} bins, one for each knot"
        )
    return [int(count) for count in counts]


def _averaged(weights: np.ndarray, values: list, errors: list) -> tuple[np.ndarray, np.ndarray]:
    """Mean over models, and its error with the spread between them."""
    values, errors = np.asarray(values), np.asarray(errors)
    mean = np.tensordot(weights, values, 1)
    return mean, np.sqrt(np.tensordot(weights, errors**2 + (values - mean) ** 2, 1))


@lru_cache(maxsize=64)
def _basis(n_bins: int, n_knots: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Knots (P,), and the spline that is 1 at one knot and 0 at the others, for each of them, at the bins (F, P)."""
    knots = (np.arange(n_knots) / (n_knots - 1)) ** spacing
    splines = CubicSpline(knots, np.eye(n_knots), bc_type="clamped")
    basis = splines(np.arange(1, n_bins + 1) / (n_bins + 1))
    basis.flags.writeable = False
    return knots, basis


def _fit(z: np.ndarray, m: int, n_knots: int, spacing: float) -> SplineFit:
    knots, basis = _basis(len(z), n_knots, spacing)

    def look(values):
        curve = basis @ values
        clipped = np.clip(curve, -_LARGEST, _LARGEST)
        log_density, first, second = _evaluate(z, clipped, m)
        return log_density.sum(), first, second, np.abs(curve) < _LARGEST

    values = np.clip(np.linalg.lstsq(basis, z / (2 * m), rcond=None)[0], -0.9, 0.9)
    value, first, second, inside = look(values)
    damping = 0.0
    for _ in range(_MOST_STEPS):
        gradient = basis.T @ (first * inside)
        curvature = -(basis.T * (second * inside)) @ basis
        # a value at its bound stays there while the likelihood drives it outwards
        free = (np.abs(values) < _LARGEST) | (gradient * values < 0)
        if not free.any():
            break
        block = curvature[np.ix_(free, free)]
        lowest = np.linalg.eigvalsh(block)[0]
        scale = np.abs(block).max()
        regular = block + (damping * scale + max(0.0, 1e-6 * scale - lowest)) * np.eye(len(block))
        step = np.zeros_like(values)
        step[free] = np.linalg.solve(regular, gradient[free])
        trial = np.clip(values + step, -_LARGEST, _LARGEST)
        found = look(trial)
        if found[0] >= value:
            gained = found[0] - value
            values, (value, first, second, inside) = trial, found
            damping = 0.0 if damping < 1e-3 else 0.1 * damping
            if gained < 1e-10 * (1 + abs(value)) and np.abs(step).max() < 1e-7:
                break
        else:
            damping = max(1e-2, 10 * damping)
            if damping > 1e8:  # no direction leads up
                break
    covariance = _covariance(basis, first, second, inside & (np.abs(basis @ values) < _LARGEST))
    errors = np.sqrt(np.einsum("fp,pq,fq->f", basis, covariance, basis))
    return SplineFit(knots, values, covariance, float(value), np.clip(basis @ values, -_LARGEST, _LARGEST), errors)


def _covariance(basis: np.ndarray, first: np.ndarray, second: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Inverse of minus the second derivatives; of the sum of squared first ones where the maximum is at a bound."""
    information = -(basis.T * (second * inside)) @ basis
    if not inside.all() or np.linalg.eigvalsh(information)[0] <= 0:
        information = (basis.T * np.square(first)) @ basis
    return np.linalg.pinv(information, hermitian=True)


def sample_coherence(
    z: np.ndarray,
    m: int,
    n_knots: int,
    *,
    spacing: float = SPACING,
    n_walkers: int = 40,
    n_steps: int = 500,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """Sample the posterior of the values at the knots, to judge the approximation of :func:`regress_coherence`.

    Walkers of an affine-invariant ensemble start around the fit; each half is stretched along lines to the other half.

    Parameters
    ----------
    z, m, spacing
        As of :func:`regress_coherence`.
    n_knots : int
        P.
    n_walkers : int
        Even, and more than 2 P.
    n_steps : int
        Steps that are kept; a quarter as many come before.
    seed : int or numpy.random.Generator

    Returns
    -------
    array (n_steps, n_walkers, P)

    Raises
    ------
    ValueError
        As :func:`regress_coherence`, or for an unsuitable number of walkers.

    Source: J. Goodman, J. Weare, Commun. Appl. Math. Comput. Sci. 5, 65 (2010), stretch move with a = 2.
    """
    z = _finite("z", z)
    (n_knots,) = _checked_counts(z, m, n_knots, spacing)
    check_whole("n_steps", n_steps, 1)
    check_whole("n_walkers", n_walkers, 2 * n_knots + 1)
    if n_walkers % 2:
        raise ValueError(f"n_walkers is {n_walkers}; accepted are even numbers")
    generator = np.random.default_rng(seed)
    basis = _basis(len(z), n_knots, float(spacing))[1]
    best = _fit(z, int(m), n_knots, float(spacing))

    def log_posterior(walkers):
        rho = np.clip(walkers @ basis.T, -_LARGEST, _LARGEST)
        values = _evaluate(np.broadcast_to(z, rho.shape), rho, int(m))[0].sum(axis=1)
        return np.where((np.abs(walkers) < 1).all(axis=1), values, -np.inf)

    start = generator.multivariate_normal(best.values, best.covariance, size=n_walkers)
    walkers = np.clip(start, -_LARGEST, _LARGEST)
    current = log_posterior(walkers)
    chain = np.empty((n_steps, n_walkers, n_knots))
    half = n_walkers // 2
    burn_in = n_steps // 4
    for step in range(burn_in + n_steps):
        for moving, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
            anchors = walkers[other][generator.integers(half, size=half)]
            stretch = (generator.random(half) + 1) ** 2 / 2  # density 1 / sqrt(s) on 1/2 to 2
            proposal = anchors + stretch[:, None] * (walkers[moving] - anchors)
            proposed = log_posterior(proposal)
            gain = (n_knots - 1) * np.log(stretch) + proposed - current[moving]
            accepted = np.log(generator.random(half)) < gain
            walkers[moving] = np.where(accepted[:, None], proposal, walkers[moving])
            current[moving] = np.where(accepted, proposed, current[moving])
        if step >= burn_in:
            chain[step - burn_in] = walkers
    return chain
