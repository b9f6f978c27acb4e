"""Longitudinal and transverse plane waves that fit into a periodic cell, as displacements of its atoms.

|Q,b> has the components eps_b exp(i Q.r_i) sqrt(M_i / sum_j M_j), of norm one: in the mass-weighted coordinates of the
dynamical matrix this is a displacement of every atom by the same amplitude.
"""

import itertools
import math

import numpy as np

from matterscape.checks import check_number, real_array
from matterscape.structures import Structures

#: Polarisations of a wave along its wavevector and across it.
BRANCHES = ("longitudinal", "transverse")
#: How far a wavevector may be from a whole multiple of the reciprocal vectors, in parts of them.
COMMENSURATE = 1e-6
#: Norm below which the real or imaginary part of a wave is zero but for rounding.
VANISHING = 1e-9
#: Wavevectors whose lengths agree to this part belong to one shell.
SAME_LENGTH = 1e-6


def commensurate_wavevectors(structures: Structures, longest: float) -> np.ndarray:
    """Wavevectors that fit into a cell, by length; of Q and -Q one, and not zero.

    Parameters
    ----------
    structures : Structures
        One cell, periodic in three directions.
    longest : float
        Length in 1/Å up to which all are given.

    Returns
    -------
    wavevectors : ndarray (Q, 3), float64
        In 1/Å, with the factor 2 pi.

    Raises
    ------
    ValueError
        If the longest wavevector is shorter than the shortest that fits.
    """
    check_number("longest", longest, "1/Å", positive=True)
    cell = periodic_cell(structures)
    reciprocal = 2 * math.pi * np.linalg.inv(cell).T
    # |n_a| = |Q.a| / 2 pi cannot exceed |Q| |a| / 2 pi
    bounds = np.floor(longest * np.linalg.norm(cell, axis=1) / (2 * math.pi)).astype(int)
    whole = np.array(list(itertools.product(*(range(-bound, bound + 1) for bound in bounds))))
    first = np.where(whole[:, 0] != 0, whole[:, 0], np.where(whole[:, 1] != 0, whole[:, 1], whole[:, 2]))
    wavevectors = whole[first > 0] @ reciprocal
    lengths = np.linalg.norm(wavevectors, axis=1)
    inside = lengths <= longest * (1 + SAME_LENGTH)
    if not inside.any():
        shortest = np.linalg.norm(reciprocal, axis=1).min()
        raise ValueError(f"longest is {longest:g}; accepted is at least the shortest that fits, {shortest:.4g} 1/Å")
    wavevectors, lengths = wavevectors[inside], lengths[inside]
    return wavevectors[np.argsort(np.round(lengths / longest, 9), kind="stable")]


def shells(wavevectors: np.ndarray) -> list[np.ndarray]:
    """Indices of the wavevectors (Q, 3) of equal length, one array per length, the shortest first."""
    lengths = np.linalg.norm(np.asarray(wavevectors), axis=1)
    order = np.argsort(lengths, kind="stable")
    steps = np.diff(lengths[order]) > SAME_LENGTH * lengths[order][1:]
    return np.split(order, np.flatnonzero(steps) + 1)


def polarisations(wavevectors: np.ndarray, branch: str) -> np.ndarray:
    """Unit vectors (Q, 1, 3) along the wavevectors (Q, 3), or (Q, 2, 3) across them and each other.

    Raises
    ------
    ValueError
        If there is no wavevector, one of them is zero, or the branch is neither of the two.
    """
    if branch not in BRANCHES:
        raise ValueError(f"branch is {branch!r}; accepted are {', '.join(map(repr, BRANCHES))}")
    wavevectors = _checked_wavevectors(wavevectors)
    along = wavevectors / np.linalg.norm(wavevectors, axis=1, keepdims=True)
    if branch == "longitudinal":
        return along[:, None]
    # the axis that the wave runs along least gives a direction across it
    axes = np.eye(3)[np.abs(along).argmin(axis=1)]
    across = np.cross(along, axes)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return np.stack([across, np.cross(along, across)], axis=1)


def plane_waves(
    structures: Structures, wavevectors: np.ndarray, branch: str, *, masses: np.ndarray | None = None
) -> np.ndarray:
    """Polarised plane waves of norm one as mass-weighted displacements.

    Parameters
    ----------
    structures : Structures
        One cell of n atoms, periodic in three directions.
    wavevectors : ndarray (Q, 3)
        In 1/Å, whole multiples of the cell's reciprocal vectors.
    branch : "longitudinal" or "transverse"
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.

    Returns
    -------
    waves : ndarray (3 n, Q, P), complex128
        With P = 1 or 2 polarisations; row 3 i + a is atom i along a.

    Raises
    ------
    ValueError
        If there is no wavevector, or one is zero or does not fit into the cell.

    Source: P. B. Allen, J. L. Feldman, J. Fabian and F. Wooten, Philos. Mag. B 79, 1715 (1999).
    """
    cell = periodic_cell(structures)
    directions = polarisations(wavevectors, branch)
    wavevectors = _checked_wavevectors(wavevectors)
    multiples = wavevectors @ cell.T / (2 * math.pi)
    misfit = np.abs(multiples - np.round(multiples)).max(axis=1)
    if misfit.max() > COMMENSURATE:
        worst = misfit.argmax()
        raise ValueError(
            f"wavevectors hold {wavevectors[worst].tolist()}, {multiples[worst].round(4).tolist()} reciprocal vectors "
            "of the cell; accepted are whole multiples of them"
        )
    weights = np.sqrt(atomic_masses(structures, masses))
    weights /= np.linalg.norm(weights)
    positions = structures.positions.detach().cpu().double().numpy()
    phases = np.exp(1j * (positions @ wavevectors.T)) * weights[:, None]
    return np.einsum("iq,qpa->iaqp", phases, directions).reshape(3 * len(positions), *directions.shape[:2])


def standing_waves(
    structures: Structures,
    wavevectors: np.ndarray,
    branch: str,
    *,
    masses: np.ndarray | None = None,
    cosines_only: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary parts of :func:`plane_waves`, whose expectation values of a real matrix add up to the wave's.

    Parameters
    ----------
    structures, wavevectors, branch, masses
        As of :func:`plane_waves`.
    cosines_only : bool
        Take the real parts alone, of norm one: half the work where many wavevectors or samples are averaged.

    Returns
    -------
    columns : ndarray (3 n, R), float64
        The squared norms of the columns of one polarisation add up to one.
    owners : ndarray (R,), int64
        Wavevector that each column belongs to.
    """
    waves = plane_waves(structures, wavevectors, branch, masses=masses)
    parts = waves.real[..., None] if cosines_only else np.stack([waves.real, waves.imag], axis=-1)
    owners = np.broadcast_to(np.arange(waves.shape[1])[:, None, None], parts.shape[1:]).reshape(-1)
    columns = parts.reshape(len(waves), -1)
    norms = np.linalg.norm(columns, axis=0)
    # at the edge of the zone of a crystal one of the two vanishes
    there = norms > VANISHING
    columns = columns[:, there] / norms[there] if cosines_only else columns[:, there]
    return columns, owners[there]


def periodic_cell(structures: Structures) -> np.ndarray:
    """Cell vectors (3, 3) in Å of one structure; ``ValueError`` unless it is one, periodic in three directions."""
    if not isinstance(structures, Structures):
        raise TypeError(f"structures is a {type(structures).__name__}; accepted is Structures")
    if structures.n_structures != 1 or not bool(structures.pbc.all()):
        raise ValueError(
            f"structures are {structures.n_structures}, periodic along {structures.pbc.tolist()}; accepted is one "
            "structure that is periodic in all three directions"
        )
    return structures.cells[0].detach().cpu().double().numpy()


def atomic_masses(structures: Structures, masses: np.ndarray | None) -> np.ndarray:
    """Masses (n,) in amu, those of the structure if none are given; ``ValueError`` unless all are positive."""
    if masses is None:
        return structures.to_ase()[0].get_masses()
    masses = real_array("masses", masses)
    if masses.shape != (structures.n_atoms,) or not (np.isfinite(masses) & (masses > 0)).all():
        raise ValueError(
            f"masses have shape {masses.shape} and the smallest is {masses.min(initial=np.inf)}; accepted are "
            f"{structures.n_atoms} positive, finite numbers"
        )
    return masses


def _checked_wavevectors(wavevectors: np.ndarray) -> np.ndarray:
    wavevectors = real_array("wavevectors", wavevectors)
    if wavevectors.ndim != 2 or wavevectors.shape[1] != 3 or not len(wavevectors):
        raise ValueError(f"wavevectors have shape {wavevectors.shape}; accepted is (Q, 3) with at least one")
    if not np.isfinite(wavevectors).all() or not wavevectors.any(axis=1).all():
        raise ValueError("wavevectors hold zero or a number that is not finite; accepted are finite wavevectors")
    return wavevectors
