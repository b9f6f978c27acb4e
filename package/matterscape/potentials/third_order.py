"""Third derivatives of the energy of a star potential, packed star by star."""

from dataclasses import dataclass, field

import numpy as np

from matterscape.kernels import get_threads, launch
from matterscape.potentials._star_derivative_kernels import contract_stars
from matterscape.potentials.force_constants import ForceConstants, group_pairs, sum_groups
from matterscape.structures import Structures

MAX_DENSE_ATOMS = 128


def displacements(vector: np.ndarray, n_atoms: int) -> np.ndarray:
    """Displacements (n_atoms, 3), float64, of an array (n_atoms, 3) or (3 n_atoms,); ``ValueError`` for another."""
    vector = np.asarray(vector, dtype=np.float64)
    if vector.shape not in ((n_atoms, 3), (3 * n_atoms,)):
        raise ValueError(f"vector has shape {vector.shape}; accepted are {(n_atoms, 3)} and {(3 * n_atoms,)}")
    return vector.reshape(n_atoms, 3)


@dataclass(frozen=True, eq=False)
class ThirdOrder:
    """Phi3 = sum of the stars' d^3 U_i in the 3 n coordinates of the neighbours relative to the centre.

    Each star keeps the packed upper part of a symmetric tensor (2.9 kB for four neighbours, 13.8 kB in full), so
    that Phi3 is symmetric in its three indices and translation-invariant by construction.

    Attributes
    ----------
    offsets : ndarray (N + 1,), int64
        Neighbours ``offsets[i]`` to ``offsets[i + 1]`` belong to the star of atom i.
    atoms : ndarray (Q,), int64
        The neighbours.
    shifts : ndarray (Q, 3), int64
        Whole cell vectors from the centre's to the neighbour's cell, positions as in ``structures``.
    value_offsets : ndarray (N + 1,), int64
        Values ``value_offsets[i]`` to ``value_offsets[i + 1]`` belong to the star of atom i.
    values : ndarray (V,), float64
        In eV/Å^3. Entry (p, q, r) of a star, p <= q <= r, stands at r (r + 1) (r + 2) / 6 + q (q + 1) / 2 + p, where
        coordinate p = 3 m + a is neighbour m along a.
    structures : Structures
    index_asymmetry : float
        Largest difference in eV/Å^3 between entries that should be equal, before they were averaged: a measure of
        the error of the finite difference.
    """

    offsets: np.ndarray
    atoms: np.ndarray
    shifts: np.ndarray
    value_offsets: np.ndarray
    values: np.ndarray
    structures: Structures
    index_asymmetry: float
    _blocks: "StarBlocks" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n_centres = len(self.offsets) - 1
        object.__setattr__(self, "_blocks", StarBlocks(self.offsets, self.atoms, self.shifts, 0, n_centres))

    def star(self, centre: int) -> np.ndarray:
        """Third derivatives (3 n, 3 n, 3 n) of one star in its neighbours' coordinates, in eV/Å^3."""
        size = 3 * int(self.offsets[centre + 1] - self.offsets[centre])
        p, q, r = np.sort(np.indices((size, size, size)).reshape(3, -1), axis=0)
        packed = self.values[self.value_offsets[centre] : self.value_offsets[centre + 1]]
        return packed[r * (r + 1) * (r + 2) // 6 + q * (q + 1) // 2 + p].reshape(size, size, size)

    def contract(self, vector: np.ndarray) -> ForceConstants:
        """Phi3 . e: the change of the force constants per unit of a displacement that has the cells' period.

        Parameters
        ----------
        vector : ndarray (n_atoms, 3) or (3 n_atoms,)
            The displacement e.

        Returns
        -------
        ForceConstants
            sum_kc Phi3_{ia,jb,kc} e_kc, in eV/Å^3 times the unit of e.

        Raises
        ------
        ValueError
            If the vector has another shape.
        """
        vector = displacements(vector, self.structures.n_atoms)
        terms = np.empty((self._blocks.offsets[-1], 3, 3))
        with launch():
            contract_stars(
                np.ascontiguousarray(vector),
                self.offsets,
                self.atoms,
                self.value_offsets,
                self.values,
                4 * get_threads(),
                self._blocks.offsets,
                terms,
            )
        return self._blocks.collect(terms, self.structures)

    def dense(self) -> np.ndarray:
        """Tensor (3 n_atoms, 3 n_atoms, 3 n_atoms) in eV/Å^3, images summed.

        Raises
        ------
        ValueError
            If there are more than 128 atoms, whose tensor would take half a gigabyte.
        """
        n_atoms = self.structures.n_atoms
        if n_atoms > MAX_DENSE_ATOMS:
            raise ValueError(f"structures have {n_atoms} atoms; dense() accepts at most {MAX_DENSE_ATOMS}")
        total = np.zeros((n_atoms, 3) * 3)
        for centre in range(n_atoms):
            neighbours = self.atoms[self.offsets[centre] : self.offsets[centre + 1]]
            # relative coordinates: + the neighbour, - the centre
            members = np.append(neighbours, centre)
            to_relative = np.concatenate([np.eye(len(neighbours)), -np.ones((1, len(neighbours)))])
            star = self.star(centre).reshape((len(neighbours), 3) * 3)
            full = np.einsum("xm,yn,zo,manboc->xaybzc", to_relative, to_relative, to_relative, star, optimize=True)
            index = np.ix_(members, range(3), members, range(3), members, range(3))
            np.add.at(total, index, full)
        return total.reshape((3 * n_atoms,) * 3)


class StarBlocks:
    """Bookkeeping of the (n + 1)^2 blocks between the members of each of some stars, the centre first.

    Parameters
    ----------
    offsets, atoms, shifts : ndarray (N + 1,), (Q,), (Q, 3), int64
        Of all stars, as in :class:`ThirdOrder`.
    start, stop : int
        The range of centres.

    Attributes
    ----------
    offsets : ndarray (stop - start + 1,), int64
        Where the blocks of each star start among those of all of them.
    """

    def __init__(self, offsets: np.ndarray, atoms: np.ndarray, shifts: np.ndarray, start: int, stop: int):
        n_atoms, n_centres = len(offsets) - 1, stop - start
        offsets = offsets[start : stop + 1]
        own = slice(offsets[0], offsets[-1])
        places = offsets[:-1] - offsets[0]
        members = np.insert(atoms[own], places, np.arange(start, stop))
        member_shifts = np.insert(shifts[own], places, 0, axis=0)
        sizes = np.diff(offsets) + 1
        self.offsets = np.concatenate([[0], np.cumsum(sizes**2)])
        star = np.repeat(np.arange(n_centres), sizes**2)
        place = np.arange(self.offsets[-1]) - self.offsets[star]
        base = (np.cumsum(sizes) - sizes)[star]
        rows, columns = base + place // sizes[star], base + place % sizes[star]
        self.first, self.second = members[rows], members[columns]
        self.shifts = member_shifts[columns] - member_shifts[rows]
        self.order, self.starts = group_pairs(self.first, self.second, self.shifts, n_atoms)
        self.leaders = self.order[self.starts[:-1]]

    def collect(self, terms: np.ndarray, structures: Structures) -> ForceConstants:
        """Force constants from the blocks (self.offsets[-1], 3, 3) of all stars."""
        blocks = sum_groups(terms, self.order, self.starts)
        leaders = self.leaders
        return ForceConstants(self.first[leaders], self.second[leaders], self.shifts[leaders], blocks, structures)
