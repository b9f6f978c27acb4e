"""Third-order force constants of a crystal's supercell."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from matterscape.checks import check_number
from matterscape.potentials.base import Potential, check_potential
from matterscape.potentials.star import StarPotential
from matterscape.progress import progress
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants, work_description
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.unfinished import UnfinishedRows

STEP = 5e-3


@dataclass(frozen=True, eq=False)
class CubicForceConstants:
    """Phi3 of a supercell, its first index an atom of the primitive cell.

    Attributes
    ----------
    values : ndarray (3 n, Q, 3 n, Q, 3 n), float64
        d^3 U / du_ia du_jRb du_kSc in eV/Å^3 for atoms i, j, k of the n in the primitive cell and the Q translations
        R, S, in the order of :attr:`Supercell.order`; images summed; symmetric in the three displacements.
    supercell : Supercell
    index_asymmetry : float
        Largest difference in eV/Å^3 between entries that should be equal, before they were averaged: a measure of the
        error of finite differences.
    """

    values: np.ndarray
    supercell: Supercell
    index_asymmetry: float

    def acoustic_residual(self) -> float:
        """Largest violation of the acoustic sum rule, max |sum_kS Phi_{ia,jRb,kSc}|, in eV/Å^3."""
        size, n_cells = self.values.shape[:2]
        return float(np.abs(self.values.reshape(size, n_cells, size, n_cells, -1, 3).sum(axis=(3, 4))).max())


def cubic_force_constants(
    potential: Potential,
    supercell: Supercell,
    *,
    step: float | None = None,
    file: str | os.PathLike | None = None,
) -> CubicForceConstants:
    """Third-order force constants by displacing the atoms of the primitive cell; translations give the rest.

    Parameters
    ----------
    potential : Potential
    supercell : Supercell
        At a minimum of the energy.
    step : float, optional
        Displacement in Å of a central difference of second derivatives, whose error falls as its square. If not given,
        the third derivatives of a star potential are its own, and those of others differences with 0.005 Å. Second
        derivatives are the potential's own, or differences of forces with the same step where it has none.
    file : path, optional
        Where unfinished work is kept, every 20 s and when interrupted, and goes on from.

    Raises
    ------
    ValueError
        If the step is not a positive number, or the file is of something else.
    """
    check_potential("potential", potential)
    if step is not None:
        check_number("step", step, "Å", positive=True)
    slope = _slopes(potential, supercell.structures, step)
    order = supercell.order
    n_cells, n_atoms = order.shape
    size = 3 * n_atoms
    places = (3 * order[:, :, None] + np.arange(3)).reshape(-1)
    displaced = list(itertools.product(order[0], range(3)))
    work = work_description(potential, supercell.structures, step or 0.0)
    with UnfinishedRows((size, n_cells * size, n_cells * size), file, work) as rows:
        for atom, axis in progress(displaced[rows.done :], "Third-order force constants"):
            matrix = slope(atom, axis)
            rows.append((0.5 * (matrix + matrix.T))[np.ix_(places, places)])
    values = rows.values
    values, asymmetry = _symmetrised(values.reshape(size, n_cells, size, n_cells, size), supercell.repeats)
    return CubicForceConstants(values, supercell, asymmetry)


def _slopes(potential: Potential, structures: Structures, step: float | None) -> Callable[[int, int], np.ndarray]:
    """A function of atom and axis: how the dense force constants change per Å that the atom moves along the axis."""
    if step is None and isinstance(potential, StarPotential):
        third_order = potential.third_order(structures)

        def exact(atom: int, axis: int) -> np.ndarray:
            direction = np.zeros((structures.n_atoms, 3))
            direction[atom, axis] = 1.0
            return third_order.contract(direction).dense()

        return exact
    step = STEP if step is None else step

    def difference(atom: int, axis: int) -> np.ndarray:
        ends = []
        for sign in (1, -1):
            positions = structures.positions.detach().double().clone()
            positions[atom, axis] += sign * step
            moved = replace(structures, positions=positions, strain=None, _leaf_positions=None, _topologies={})
            try:
                ends.append(force_constants(potential, moved).dense())
            except NotImplementedError:
                ends.append(force_constants(potential, moved, step=step).dense())
        return (ends[0] - ends[1]) / (2 * step)

    return difference


def _symmetrised(values: np.ndarray, repeats: tuple[int, int, int]) -> tuple[np.ndarray, float]:
    """Mean over the orders of the three displacements, and the largest difference between two of them.

    Entry (i, jR, kS) is that of (j, i -R, k S-R), and of (k, j R-S, i -S); the last two indices are symmetric already.
    """
    cells = np.array(list(itertools.product(*map(range, repeats))))

    def number(cell: np.ndarray) -> int:
        return int(np.ravel_multi_index(tuple(cell % repeats), repeats))

    result, asymmetry = np.empty_like(values), 0.0
    for (r, first), (s, second) in itertools.product(enumerate(cells), enumerate(cells)):
        block = values[:, r, :, s, :]
        by_second = values[:, number(-first), :, number(second - first), :].transpose(1, 0, 2)
        by_third = values[:, number(first - second), :, number(-second), :].transpose(2, 1, 0)
        asymmetry = max(asymmetry, np.abs(by_second - block).max(), np.abs(by_third - block).max())
        result[:, r, :, s, :] = (block + by_second + by_third) / 3
    return result, float(asymmetry)
