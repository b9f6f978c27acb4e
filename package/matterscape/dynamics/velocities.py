"""Velocities of thermal equilibrium."""

from itertools import pairwise

import numpy as np
from ase import units

from matterscape.dynamics._random import VELOCITIES, fill_normals

# relative size below which a principal moment of inertia is that of a straight molecule
_LINEAR = 1e-8


def maxwell_boltzmann(
    masses: np.ndarray, offsets: np.ndarray, temperatures_K: np.ndarray, keys: np.ndarray
) -> np.ndarray:
    """Velocities drawn from the Maxwell-Boltzmann distribution, structure by structure.

    Parameters
    ----------
    masses : array (N,), float64
        amu.
    offsets : array (B + 1,), int64
        First atom of each structure, and the end.
    temperatures_K : array (B,), float64
    keys : array (B, 2), uint64
        Random stream of each structure.

    Returns
    -------
    array (N, 3), float64
        Å / ASE time. Total momenta are not zero; see :func:`remove_momentum`.
    """
    velocities = np.empty((len(masses), 3))
    fill_normals(np.uint64(0), VELOCITIES, keys, offsets, velocities)
    thermal = np.repeat(units.kB * np.asarray(temperatures_K, dtype=np.float64), np.diff(offsets))
    return velocities * np.sqrt(thermal / masses)[:, None]


def remove_momentum(velocities: np.ndarray, masses: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Take the total momentum out of each structure, in place.

    What remains of a Maxwell-Boltzmann sample is exactly distributed as one under the condition of zero momentum.

    Returns
    -------
    array (B,), int64
        Degrees of freedom that this takes: three each.
    """
    momenta = np.add.reduceat(masses[:, None] * velocities, offsets[:-1], axis=0)
    velocities -= np.repeat(momenta / np.add.reduceat(masses, offsets[:-1])[:, None], np.diff(offsets), axis=0)
    return np.full(len(offsets) - 1, 3)


def remove_rotation(
    velocities: np.ndarray, positions: np.ndarray, masses: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Take the angular momentum about its centre of mass out of each molecule, in place.

    Returns
    -------
    array (B,), int64
        Degrees of freedom that this takes: three, two for a straight molecule, none for an atom.
    """
    taken = np.zeros(len(offsets) - 1, dtype=np.int64)
    for structure, (start, stop) in enumerate(pairwise(offsets)):
        mass = masses[start:stop, None]
        arms = positions[start:stop] - (mass * positions[start:stop]).sum(axis=0) / mass.sum()
        inertia = np.einsum("i,iab->ab", mass[:, 0], _inertia_of_points(arms))
        moments, axes = np.linalg.eigh(inertia)
        turning = moments > _LINEAR * max(moments[-1], 1e-300)
        angular_momentum = (mass * np.cross(arms, velocities[start:stop])).sum(axis=0)
        spin = axes[:, turning] @ ((axes[:, turning].T @ angular_momentum) / moments[turning])
        velocities[start:stop] -= np.cross(spin, arms)
        taken[structure] = turning.sum()
    return taken


def _inertia_of_points(arms: np.ndarray) -> np.ndarray:
    """|r|^2 - r r of each point of unit mass, (n, 3, 3)."""
    return np.square(arms).sum(axis=1)[:, None, None] * np.eye(3) - arms[:, :, None] * arms[:, None, :]
