"""The uniform lattice that waves on random springs see: effective springs, and how they damp sound, without parameters.

In the coherent-potential approximation for bonds every spring K is replaced by K_m(omega), complex, such that a bond
with its own spring in it scatters nothing on average,

    < (K - K_m) / [1 - (K - K_m) g] > = 0,   g = sum_kn lambda_kn / (z^2 - K_m lambda_kn) / n_bonds,

z = omega + i eta and lambda_kn the squared frequencies of the lattice with springs of one. Waves of wavevector Q have
z^2 = K_m(z) f_b(Q), hence all the same half width at the same frequency, longitudinal or transverse.

Source: S. Feng, M. F. Thorpe and E. Garboczi, Phys. Rev. B 31, 276 (1985), for omega = 0; R. J. Elliott,
J. A. Krumhansl and P. L. Leath, Rev. Mod. Phys. 46, 465 (1974).
"""

from functools import lru_cache

import numpy as np

from matterscape.checks import check_fraction, check_number, real_array
from matterscape.transport.lattice.spectral.structure_factor import checked_frequencies

#: Cubic cells along the edge of the lattice whose waves are summed over, and intervals of their frequencies.
_CELLS, _INTERVALS = 120, 3000
_MOST_STEPS, _CONVERGED = 500, 1e-11
_BONDS_PER_SITE = 6


@lru_cache(maxsize=1)
def _perfect_lattice() -> tuple[np.ndarray, np.ndarray]:
    """Squared frequencies (B,) of the perfect lattice in narrow intervals, and modes per site (B,) in each; sum 3."""
    steps = np.arange(_CELLS + 1)
    # one wedge of the cube |Q_a| <= 2 pi / edge, which is twice the Brillouin zone
    one, two, three = (axis.ravel() for axis in np.meshgrid(steps, steps, steps, indexing="ij"))
    wedge = (one >= two) & (two >= three)
    multiples = np.stack([one, two, three], axis=1)[wedge]
    at_faces = np.where((multiples == 0) | (multiples == _CELLS), 1.0, 2.0).prod(axis=1)
    equal = (np.diff(multiples, axis=1) == 0).sum(axis=1)
    weights = at_faces * np.array([6.0, 3.0, 1.0])[equal] / (8 * _CELLS**3)
    cosines, sines = np.cos(np.pi / _CELLS * multiples), np.sin(np.pi / _CELLS * multiples)
    matrices = np.empty((len(multiples), 3, 3))
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        matrices[:, a, a] = 2 * (2 - cosines[:, a] * (cosines[:, b] + cosines[:, c]))
        matrices[:, a, b] = matrices[:, b, a] = 2 * sines[:, a] * sines[:, b]
    squares = np.maximum(np.linalg.eigvalsh(matrices), 0).reshape(-1)
    weights = np.repeat(weights, 3)
    place = np.minimum((np.sqrt(squares / squares.max()) * _INTERVALS).astype(int), _INTERVALS - 1)
    counts, sums = np.bincount(place, weights, _INTERVALS), np.bincount(place, weights * squares, _INTERVALS)
    there = counts > 0
    return sums[there] / counts[there], counts[there]


def effective_springs(angular_frequencies: np.ndarray, disorder: float, broadening: float) -> np.ndarray:
    """K_m (W,), complex, of the lattice of :func:`~.spring_lattices.spring_lattice` without end.

    Parameters
    ----------
    angular_frequencies : ndarray (W,)
        Reduced, not negative.
    disorder : float
        delta from 0 to 1.
    broadening : float
        eta. Above about 0.002, the distance of the waves that are summed over.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_fraction("disorder", disorder)
    check_number("broadening", broadening, "in reduced units", positive=True)
    z2 = (checked_frequencies(angular_frequencies) + 1j * broadening) ** 2
    springs = np.ones(len(z2), np.complex128)
    if disorder == 0:
        return springs
    squares, counts = _perfect_lattice()
    for _ in range(_MOST_STEPS):
        g = (counts * squares / (z2[:, None] - springs[:, None] * squares)).sum(axis=1) / _BONDS_PER_SITE
        low, high = 1 - disorder - springs, 1 + disorder - springs
        # the mean over springs between low and high, -x / g - ln(1 - x g) / g^2 at both ends
        mean = (np.log((1 - low * g) / (1 - high * g)) / g**2 - (high - low) / g) / (high - low)
        change = mean / (1 + mean * g)
        springs = springs + change
        if np.abs(change).max() < _CONVERGED:
            return springs
    raise ArithmeticError(f"effective springs still change by {np.abs(change).max():.2g} after {_MOST_STEPS} steps")


def effective_half_widths(angular_frequencies: np.ndarray, disorder: float, broadening: float = 0.004) -> np.ndarray:
    """Half widths (W,) of sound of either branch, the broadening taken off.

    Parameters
    ----------
    angular_frequencies : ndarray (W,)
        Reduced, ascending and close to each other, as the medium is differentiated along them; two or more.
    disorder, broadening : float
        As of :func:`effective_springs`.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    omega = real_array("angular_frequencies", angular_frequencies)
    if omega.ndim != 1 or len(omega) < 2 or not (omega > 0).all() or not (np.diff(omega) > 0).all():
        raise ValueError(
            f"angular_frequencies have shape {omega.shape}; accepted are two or more positive numbers that ascend"
        )
    springs = effective_springs(omega, disorder, broadening)
    z = omega + 1j * broadening
    # f_b(Q) and so this root are real where a wave of real Q is: one step of Newton's method, down from z
    root = z / np.sqrt(springs)
    return root.imag / np.gradient(root.real, omega) - broadening
