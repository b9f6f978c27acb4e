"""Parameters of long-ranged sums from a requested error of the forces.

For sources at random places the three errors of an Ewald sum add up in squares, and each is an integral over what is
left out: with F = sum_i q_i^2 / sqrt(N V), the root-mean-square errors of a force component vector are

    real space        F [ int_{r_c}^inf 4 pi r^2 psi'(r)^2 dr ]^{1/2}
    truncated waves   F [ int_{k_c}^inf k^4 g(k)^2 dk / 2 pi^2 ]^{1/2}
    particle mesh     F [ int d^3k / (2 pi)^3 (sum over aliases of the mesh, see mesh_error) ]^{1/2}

which for charges are the estimates of Kolafa and Perram, Mol. Simul. 9, 351 (1992), and, for a mesh, of Deserno and
Holm, J. Chem. Phys. 109, 7694 (1998), Wang, Dommert and Holm, J. Chem. Phys. 133, 034117 (2010) and Ballenegger, Cerda
and Holm, J. Chem. Theory Comput. 8, 936 (2012).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import scipy.fft
from scipy.optimize import brentq
from scipy.special import gammaincc

from matterscape.potentials.ewald import wave_rows
from matterscape.potentials.inverse_power import gamma_ratio
from matterscape.potentials.particle_mesh import ORDERS

# costs in ns on one core, for the choice between methods only: a pair in the list, a wave at an atom, an atom on the
# mesh (constant and per line of points), a mesh point
PAIR, WAVE, ATOM, LINE, POINT = 4.0, 0.45, 60.0, 2.5, 18.0
_LOG_WIDTHS = np.log(np.geomspace(0.08, 2.0, 24))
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True)
class Parameters:
    """How a long-ranged sum is done.

    Attributes
    ----------
    method : str
        ``"ewald"``, ``"mesh"`` or ``"direct"`` (open boundaries: all pairs).
    alpha : float
        Inverse length that separates real and reciprocal space, 1/Å.
    cutoff : float
        Of the real-space part, Å.
    wave_cutoff : float
        Largest wave number of an Ewald sum, 1/Å.
    spacing : float
        Largest spacing of the mesh along the cell vectors, Å.
    order : int
        Order of the splines.
    """

    method: str
    alpha: float = 0.0
    cutoff: float = math.inf
    wave_cutoff: float = 0.0
    spacing: float = math.inf
    order: int = 0

    def geometry(self, cells: np.ndarray) -> np.ndarray:
        """Waves or meshes of the cells (B, 3, 3), as the operators take them."""
        if self.method == "ewald":
            return wave_rows(cells, self.wave_cutoff)
        return np.array([[*mesh_shape(cell, self.spacing, self.order), self.order] for cell in cells])


def mesh_shape(cell: np.ndarray, spacing: float, order: int) -> list[int]:
    """Mesh with at most ``spacing`` Å between points along the cell vectors, of sizes that transform fast."""
    lengths = np.linalg.norm(cell, axis=1)
    return [scipy.fft.next_fast_len(max(int(np.ceil(length / spacing)), order), real=True) for length in lengths]


def real_space_error(alpha: float, cutoff: float, exponent: int = 1) -> float:
    """Error of the forces from pairs beyond the cut-off, in units of F (see the module), Å^(3/2 - p - 1)."""
    # x = alpha r; the integrand falls as exp(-2 x^2), which sets the length of the interval
    start = alpha * cutoff
    length = 8.0 / (start + math.sqrt(start * start + 16.0))
    x = start + 0.5 * length * (_NODES + 1)
    slope = exponent * gammaincc(exponent / 2 + 1, x * x) / x ** (exponent + 1)
    integral = 4 * math.pi * np.sum(0.5 * length * _WEIGHTS * x**2 * slope**2)
    return math.sqrt(integral * alpha ** (2 * exponent - 1))


def wave_error(alpha: float, wave_cutoff: float, exponent: int = 1) -> float:
    """Error of the forces from waves beyond the cut-off, in units of F."""
    # x = k / 2 alpha; the integrand falls as exp(-2 x^2)
    start = wave_cutoff / (2 * alpha)
    length = 8.0 / (start + math.sqrt(start * start + 16.0))
    x = start + 0.5 * length * (_NODES + 1)
    strength = gamma_ratio((3 - exponent) / 2, x * x) * math.pi**1.5 / math.gamma(exponent / 2)
    integral = np.sum(0.5 * length * _WEIGHTS * x**4 * strength**2) * 32 / (2 * math.pi**2)
    return math.sqrt(integral * alpha ** (2 * exponent - 1))


def _unit_mesh_error(width: float, order: int, exponent: int) -> float:
    """:func:`mesh_error` for a mesh of spacing 1 and alpha = ``width``, by quadrature."""
    n, aliases = 14, np.array([0, -1, 1, -2, 2])
    wave = (np.arange(n) + 0.5) / n * min(math.pi, 12 * width)  # an octant of the Brillouin zone, or what matters of it
    shifted = wave[:, None] + 2 * math.pi * aliases
    window = np.sinc(shifted / (2 * math.pi)) ** (2 * order)  # U^2
    moments = shifted**2 * window

    def product(a, b, c):
        return a[:, None, None] * b[:, None] * c

    def strength(squared):
        scale = math.pi**1.5 * width ** (exponent - 3) / math.gamma(exponent / 2)
        return scale * gamma_ratio((3 - exponent) / 2, squared / (4 * width**2))

    def squares(a, b, c):
        return a[:, None, None] ** 2 + b[:, None] ** 2 + c**2

    # sums without the wave itself are kept apart from it: the error is a small difference
    own, others, total = window[:, 0], window[:, 1:].sum(1), window.sum(1)
    moment, other_moments = moments.sum(1), moments[:, 1:].sum(1)
    overlap, own_overlap = product(total, total, total), product(own, own, own)
    aliased = product(others, total, total) + product(own, others, total) + product(own, own, others)
    squared = squares(wave, wave, wave)
    exact = strength(squared)
    influence = exact * own_overlap / overlap**2
    own_slopes, slopes = squared * own_overlap, 0.0
    for axis in range(3):
        slopes = slopes + product(*(moment if c == axis else total for c in range(3)))
    aliased_slopes = squared * 0.0
    for axis in range(3):
        parts = [moments[:, 0] if c == axis else own for c in range(3)]
        whole = [moment if c == axis else total for c in range(3)]
        rest = [other_moments if c == axis else others for c in range(3)]
        aliased_slopes += product(rest[0], whole[1], whole[2]) + product(parts[0], rest[1], whole[2])
        aliased_slopes += product(parts[0], parts[1], rest[2])
    own_error = exact * aliased * (own_overlap + overlap) / overlap**2
    result = squared * own_error**2 + influence**2 * (own_slopes * aliased + aliased_slopes * overlap)
    for x, y, z in itertools.product(range(3), repeat=3):
        if x or y or z:
            squared = squares(shifted[:, x], shifted[:, y], shifted[:, z])
            exact = strength(squared)
            seen = product(window[:, x], window[:, y], window[:, z]) * influence
            result += squared * exact * (exact - 2 * seen)
    return math.sqrt(max(float(result.mean()), 0.0) * (wave[-1] + wave[0]) ** 3 / math.pi**3)


def mesh_error(alpha: float, spacing: float, order: int, exponent: int = 1) -> float:
    """Error of the forces from the mesh, in units of F, for splines of a given order.

    Mean square over positions and wave vectors of the difference to the exact force,

        int d^3k / (2 pi)^3 { sum_{m m'} k_m^2 G^2 U_m^2 U_m'^2 - 2 sum_m k_m^2 G U_m^2 g_m + sum_m k_m^2 g_m^2 },

    k_m = k + 2 pi m / h (Ballenegger et al. 2012, section 3, with analytic differentiation).

    Parameters
    ----------
    alpha : float, 1/Å
    spacing : float, Å
        0.08 to 2 over ``alpha``; taken as the nearer end outside.
    order, exponent : int
    """
    logarithm = np.interp(math.log(alpha * spacing), _LOG_WIDTHS, _mesh_error_table(order, exponent))
    return math.exp(logarithm) * spacing ** (0.5 - exponent)


@lru_cache
def _mesh_error_table(order: int, exponent: int) -> np.ndarray:
    """Logarithm of the error for the products alpha h of ``_LOG_WIDTHS``; smooth enough for linear interpolation."""
    return np.array([math.log(_unit_mesh_error(math.exp(x), order, exponent)) for x in _LOG_WIDTHS])


def choose_parameters(
    cells: np.ndarray,
    n_atoms: np.ndarray,
    squared_charges: np.ndarray,
    *,
    force_error: float,
    exponent: int = 1,
    method: str = "auto",
    cutoff: float | None = None,
) -> Parameters:
    """Cheapest parameters that keep the estimated error of the forces below a bound in every cell.

    Parameters
    ----------
    cells : array (B, 3, 3), Å
        Fully periodic.
    n_atoms : array (B,)
    squared_charges : array (B,)
        Sum of squared charges times the prefactor of the energy, eV Å^p.
    force_error : float
        Root-mean-square error of the force on an atom, eV/Å. Half of its square is left to real space, half to
        reciprocal space.
    exponent : int
    method : str
        ``"ewald"``, ``"mesh"``, or ``"auto"`` for the cheaper one.
    cutoff : float, optional
        Of the real-space part in Å, if it is not to be chosen.

    Raises
    ------
    ValueError
        If the error is too small for the method.
    """
    volumes = np.abs(np.linalg.det(cells))
    target = force_error / math.sqrt(2) / float(np.max(squared_charges / np.sqrt(n_atoms * volumes)))
    cutoffs = np.arange(3.0, 18.1, 0.5) if cutoff is None else [cutoff]
    candidates = [candidate for r in cutoffs for candidate in _at_cutoff(float(r), target, exponent, method)]
    if not candidates:
        raise ValueError(
            f"force_error is {force_error:g} eV/Å, which method {method!r} cannot reach"
            + ("" if cutoff is None else f" with the cutoff {cutoff:g} Å")
            + "; accepted is a larger error"
            + (", or method 'ewald'" if method == "mesh" else "")
        )
    return min(candidates, key=lambda candidate: _cost(candidate, cells, volumes, n_atoms))


def estimated_error(
    parameters: Parameters, cell: np.ndarray, n_atoms: int, squared_charges: float, exponent: int = 1
) -> float:
    """Estimated error of the forces in eV/Å of given parameters in one cell (3, 3).

    Other arguments as of :func:`choose_parameters`.
    """
    scale = squared_charges / math.sqrt(n_atoms * abs(np.linalg.det(cell)))
    alpha = parameters.alpha
    real = real_space_error(alpha, parameters.cutoff, exponent)
    if parameters.method == "ewald":
        reciprocal = wave_error(alpha, parameters.wave_cutoff, exponent)
    else:
        lengths = np.linalg.norm(cell, axis=1)
        shape = mesh_shape(cell, parameters.spacing, parameters.order)
        reciprocal = mesh_error(alpha, float(np.max(lengths / shape)), parameters.order, exponent)
    return scale * math.hypot(real, reciprocal)


def _solve(error: Callable[[float], float], target: float, start: float, stop: float) -> float | None:
    """Where from ``start`` to ``stop`` a rapidly falling error first is the target; None if it stays larger."""

    def excess(x: float) -> float:
        return math.log(max(error(math.exp(x)), 1e-300) / target)

    start, stop = math.log(start), math.log(stop)
    if excess(start) <= 0:
        return math.exp(start)
    if excess(stop) > 0:
        return None
    return math.exp(brentq(excess, start, stop, xtol=1e-4))


def _at_cutoff(cutoff: float, target: float, exponent: int, method: str) -> list[Parameters]:
    """What reaches the target with a given cut-off in real space."""
    alpha = _solve(lambda a: real_space_error(a, cutoff, exponent), target, 0.5 / cutoff, 7.0 / cutoff)
    if alpha is None:
        return []
    found = []
    if method in ("auto", "ewald"):
        wave_cutoff = _solve(lambda k: wave_error(alpha, k, exponent), target, 0.2 * alpha, 14.0 * alpha)
        if wave_cutoff is not None:
            found.append(Parameters("ewald", alpha, cutoff, wave_cutoff=wave_cutoff))
    if method in ("auto", "mesh"):
        for order in ORDERS:
            spacing = _solve(partial(_error_at_spacing, alpha, order, exponent), target, 2.0 / alpha, 0.08 / alpha)
            if spacing is not None:
                found.append(Parameters("mesh", alpha, cutoff, spacing=spacing, order=order))
    return found


def _error_at_spacing(alpha: float, order: int, exponent: int, spacing: float) -> float:
    return mesh_error(alpha, spacing, order, exponent)


def _cost(parameters: Parameters, cells: np.ndarray, volumes: np.ndarray, n_atoms: np.ndarray) -> float:
    """Estimated time of a step in ns."""
    pairs = float(np.sum(n_atoms**2 / volumes)) * 2 / 3 * math.pi * parameters.cutoff**3
    if parameters.method == "ewald":
        waves = volumes * parameters.wave_cutoff**3 / (6 * math.pi**2)
        return PAIR * pairs + WAVE * float(np.sum(waves * (n_atoms + 64)))
    points = sum(math.prod(mesh_shape(cell, parameters.spacing, parameters.order)) for cell in cells)
    return PAIR * pairs + (ATOM + LINE * parameters.order**2) * float(np.sum(n_atoms)) + POINT * points
