"""Second derivatives of the energy, resolved by periodic image."""

from dataclasses import dataclass, replace

import numba
import numpy as np
from scipy.sparse import bsr_array

from matterscape.structures import Structures


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Phi = d^2 U / (dx_first dx_(second + shift)) of the pairs of atoms where it does not vanish.

    The blocks between an atom and itself belong to it, as do those between an atom and its own images, so that the
    sum of an atom's blocks over everything else is zero (acoustic sum rule).

    Attributes
    ----------
    first, second : ndarray (P,), int64
        Atoms of the batch; pairs are sorted by first, second, shift, and every pair occurs once.
    shifts : ndarray (P, 3), int64
        Whole cell vectors added to the second atom's position, positions as in ``structures``.
    blocks : ndarray (P, 3, 3), float64
        In eV/Å^2; rows belong to the first atom.
    structures : Structures
    """

    first: np.ndarray
    second: np.ndarray
    shifts: np.ndarray
    blocks: np.ndarray
    structures: Structures

    @classmethod
    def from_terms(
        cls, first: np.ndarray, second: np.ndarray, shifts: np.ndarray, blocks: np.ndarray, structures: Structures
    ) -> "ForceConstants":
        """Sum of terms in any order, with any pair any number of times; shapes as of the attributes."""
        order, starts = group_pairs(first, second, shifts, structures.n_atoms)
        leaders = order[starts[:-1]]
        return cls(first[leaders], second[leaders], shifts[leaders], sum_groups(blocks, order, starts), structures)

    @property
    def vectors(self) -> np.ndarray:
        """Vectors (P, 3) from the first to the second atom's image in Å."""
        positions = self.structures.positions.detach().cpu().double().numpy()
        cells = self.structures.cells.detach().cpu().double().numpy()
        own_cells = cells[self.structures.structure_index.cpu().numpy()[self.first]]
        return positions[self.second] - positions[self.first] + np.einsum("pk,pkx->px", self.shifts, own_cells)

    def to_bsr(self) -> bsr_array:
        """Matrix (3 n_atoms, 3 n_atoms) with 3 x 3 blocks, images summed: the force constants at zero wavevector."""
        n_atoms = self.structures.n_atoms
        no_shift = np.zeros_like(self.shifts)
        order, starts = group_pairs(self.first, self.second, no_shift, n_atoms)
        leaders = order[starts[:-1]]
        row_ends = np.cumsum(np.bincount(self.first[leaders], minlength=n_atoms))
        return bsr_array(
            (sum_groups(self.blocks, order, starts), self.second[leaders], np.concatenate([[0], row_ends])),
            shape=(3 * n_atoms, 3 * n_atoms),
        )

    def dense(self) -> np.ndarray:
        """Matrix (3 n_atoms, 3 n_atoms) in eV/Å^2, images summed; row 3 i + a is atom i along a."""
        return self.to_bsr().toarray()

    def transposed(self) -> "ForceConstants":
        """The same with the two derivatives exchanged; equal up to rounding."""
        return self.from_terms(
            self.second, self.first, -self.shifts, np.ascontiguousarray(self.blocks.swapaxes(1, 2)), self.structures
        )

    def asymmetry(self) -> float:
        """Largest |Phi - Phi^T| in eV/Å^2, a measure of the rounding errors."""
        return float(np.abs((self + -1.0 * self.transposed()).blocks).max(initial=0.0))

    def acoustic_residual(self) -> float:
        """Largest violation of the acoustic sum rule, max |sum_j Phi_ij|, in eV/Å^2."""
        sums = np.zeros((self.structures.n_atoms, 3, 3))
        np.add.at(sums, self.first, self.blocks)
        return float(np.abs(sums).max())

    def __add__(self, other: "ForceConstants") -> "ForceConstants":
        if not isinstance(other, ForceConstants):
            return NotImplemented
        _check_same(self.structures, other.structures)
        if all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("first", "second", "shifts")):
            return replace(self, blocks=self.blocks + other.blocks)
        return self.from_terms(
            *(np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("first", "second", "shifts", "blocks")),
            self.structures,
        )

    def __mul__(self, factor: float) -> "ForceConstants":
        return replace(self, blocks=factor * self.blocks)

    __rmul__ = __mul__


def group_pairs(
    first: np.ndarray, second: np.ndarray, shifts: np.ndarray, n_atoms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Order (P,) that brings equal pairs together, and where their groups start (n_groups + 1,)."""
    key = first * n_atoms + second
    if len(key):
        lowest = shifts.min(axis=0)
        for axis, span in enumerate(shifts.max(axis=0) - lowest + 1):
            key = key * span + (shifts[:, axis] - lowest[axis])
    order = np.argsort(key, kind="stable")
    changes = np.flatnonzero(np.diff(key[order], prepend=-1))
    return order, np.append(changes, len(key))


@numba.njit(nogil=True, cache=True)
def _sum_groups(blocks, order, starts, sums):
    for group in range(len(sums)):
        for term in range(starts[group], starts[group + 1]):
            for a in range(3):
                for b in range(3):
                    sums[group, a, b] += blocks[order[term], a, b]


def sum_groups(blocks: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sums (n_groups, 3, 3) of the blocks (P, 3, 3) of each group of :func:`group_pairs`."""
    sums = np.zeros((len(starts) - 1, 3, 3))
    _sum_groups(np.ascontiguousarray(blocks, dtype=np.float64), order, starts, sums)
    return sums


def _check_same(first: Structures, second: Structures) -> None:
    if first is second:
        return
    if first.positions.shape != second.positions.shape or first.cells.shape != second.cells.shape:
        raise ValueError(
            f"other belongs to {second.n_atoms} atoms in {second.n_structures} structures, these force constants to "
            f"{first.n_atoms} in {first.n_structures}; accepted are force constants of the same structures"
        )
    for name in ("species", "positions", "cells", "structure_index"):
        if not bool((getattr(first, name) == getattr(second, name)).all()):
            raise ValueError(f"other belongs to structures with other {name}; accepted are the same structures")
