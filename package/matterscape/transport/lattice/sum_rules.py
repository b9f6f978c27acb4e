"""The sum rule of rotations, which ties third derivatives of the energy to its second ones.

A rotation by an infinitesimal Omega (antisymmetric, u = Omega r) turns the force constants with the structure:

    sum_kc Phi3_{ia,jb,kc} (Omega (r_k - r_i))_c = (Omega Phi_ij - Phi_ij Omega)_ab,

whatever the forces. Third derivatives of another potential, or at other positions, break it.

Source: M. Born and K. Huang, Dynamical Theory of Crystal Lattices, Oxford (1954), section 23; A. A. Maradudin et al.,
Theory of Lattice Dynamics in the Harmonic Approximation, Academic Press (1971), eq. 2.1.35.
"""

from typing import Any

import numpy as np

from matterscape.potentials.force_constants import ForceConstants

#: Force constants below this share of the largest do not count for their range.
NEGLIGIBLE = 1e-4


def force_constant_range(force_constants: ForceConstants) -> float:
    """Largest distance in Å between atoms with a force constant above 1e-4 of the largest."""
    norms = np.abs(force_constants.blocks).max(axis=(1, 2))
    distances = np.linalg.norm(force_constants.vectors, axis=1)
    return float(distances[norms > NEGLIGIBLE * norms.max()].max(initial=0.0))


def shortest_height(cell: np.ndarray) -> float:
    """Smallest distance in Å between opposite faces of a cell whose rows are its vectors."""
    return float(1 / np.linalg.norm(np.linalg.inv(cell), axis=0).max())


def rotational_residual(force_constants: ForceConstants, third_order: Any, *, atom: int = 0) -> float | None:
    """Largest violation of the sum rule in one atom's row, as a share of the row's largest change.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one cell, resolved by image.
    third_order : object
        With ``contract(vector)``, of the same structure.
    atom : int

    Returns
    -------
    float or None
        None where the cell is shorter than twice the range of the force constants: the turned neighbourhood would then
        overlap with its own images.
    """
    cell = force_constants.structures.cells[0].detach().cpu().double().numpy()
    reach = force_constant_range(force_constants)
    if shortest_height(cell) <= 2 * reach:
        return None
    positions = force_constants.structures.positions.detach().cpu().double().numpy()
    fractions = np.linalg.solve(cell.T, (positions - positions[atom]).T).T
    vectors = (fractions - np.round(fractions)) @ cell
    axial = np.random.default_rng(0).normal(size=3)
    vectors[np.linalg.norm(vectors, axis=1) > reach * (1 + 1e-9)] = 0.0
    generator = np.cross(np.eye(3), axial)
    found = _row(third_order.contract(vectors @ generator.T), atom)
    row = _row(force_constants, atom)
    expected = generator @ row - row @ generator
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _row(force_constants: ForceConstants, atom: int) -> np.ndarray:
    """Blocks (n, 3, 3) of one atom with all others, images summed."""
    own = force_constants.first == atom
    row = np.zeros((force_constants.structures.n_atoms, 3, 3))
    np.add.at(row, force_constants.second[own], force_constants.blocks[own])
    return row
