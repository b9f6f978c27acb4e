"""Neighbour lists with a skin, for many evaluations along a trajectory."""

import numpy as np
import torch

from matterscape.structures import _cell_list
from matterscape.structures.batch import Structures
from matterscape.structures.extended import find_extended_pairs
from matterscape.structures.neighbours import check_cutoff, check_pair_memory
from matterscape.structures.validation import completed_cells


class VerletList:
    """Pairs closer than ``cutoff + skin``, found anew only when some atom may have come closer than ``cutoff``.

    Parameters
    ----------
    structures : Structures
        Fixes the number of atoms, the structures they belong to, and the periodic directions.
    cutoff, skin : float
        In Å.
    half : bool
        Each pair once instead of in both orders.

    Attributes
    ----------
    extended : ndarray (M, 3), float64
        Positions of atoms and images as of the last :meth:`update`.
    owners (M,), shifts (M, 3), second (P,), offsets (N + 1,) : ndarray
        See :class:`~matterscape.structures.extended.ExtendedPairs`.
    n_rebuilds : int
        How often the pairs were searched.

    Source: L. Verlet, Phys. Rev. 159, 98 (1967).
    """

    def __init__(self, structures: Structures, cutoff: float, skin: float, half: bool):
        check_cutoff(cutoff)
        if not skin >= 0:
            raise ValueError(f"skin is {skin!r}; accepted is a number of Å that is not negative")
        check_pair_memory(structures, cutoff + skin)
        self.cutoff, self.skin, self.half = float(cutoff), float(skin), half
        self.n_rebuilds = 0
        self._pbc = structures.pbc.cpu()
        self._atom_offsets = structures.offsets.cpu().numpy()
        self._structure_index = structures.structure_index.cpu().numpy()
        self._reference: np.ndarray | None = None

    def update(self, positions: np.ndarray, cells: np.ndarray) -> bool:
        """Bring ``extended`` up to date; returns whether the pairs were searched again.

        Parameters
        ----------
        positions : ndarray (N, 3), float64
            In Å, not necessarily wrapped into the cells.
        cells : ndarray (B, 3, 3), float64
        """
        if self._reference is not None and _cell_list.equal(cells, self._reference_cells):
            if not _cell_list.equal(cells, self._cells):
                self._place_translations(cells)
            # an unlisted pair was cutoff + skin apart, and each of its atoms has moved by half the skin at most
            if _cell_list.follow(
                positions, self._reference, 0.25 * self.skin**2, self._translations, self.owners, self.extended
            ):
                return False
            rebuild = True
        else:
            rebuild = self._reference is None or not self._still_valid(positions, cells)
        if rebuild:
            self._search(positions, cells)
        elif not _cell_list.equal(cells, self._cells):
            self._place_translations(cells)
        _cell_list.place_extended(positions, self._translations, self.owners, self.extended)
        return rebuild

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and cells of the last search: with them a later run repeats the same searches."""
        return self._reference.copy(), self._reference_cells.copy()

    def restore(self, positions: np.ndarray, cells: np.ndarray) -> None:
        """Search with the positions and cells of an earlier :meth:`state`, which gives that list again."""
        self._search(positions, cells)

    def _still_valid(self, positions: np.ndarray, cells: np.ndarray) -> bool:
        """Whether the list is complete although the cells have changed."""
        maps = np.linalg.solve(self._with_fillers(self._reference_cells), self._with_fillers(cells))
        smallest = np.linalg.svd(maps, compute_uv=False).min(axis=1)
        largest = np.empty(len(cells))
        _cell_list.largest_displacements(positions, self._reference, maps, self._atom_offsets, largest)
        # an unlisted pair was cutoff + skin apart; the cell's change shrinks that at most by the smallest stretch
        margin = (self.cutoff + self.skin) * smallest - self.cutoff
        return bool(np.all((margin >= 0) & (4 * largest <= margin * margin)))

    def _with_fillers(self, cells: np.ndarray) -> np.ndarray:
        return np.where(self._pbc.numpy()[:, :, None], cells, self._fillers)

    def _search(self, positions: np.ndarray, cells: np.ndarray) -> None:
        self._fillers = completed_cells(torch.from_numpy(cells), self._pbc).numpy()
        found = find_extended_pairs(
            positions, torch.from_numpy(cells), self._pbc, self._atom_offsets, self.cutoff + self.skin, self.half
        )
        self.owners, self.shifts = found.owners.numpy(), found.shifts.numpy()
        self.second, self.offsets = found.second.numpy(), found.offsets.numpy()
        self.extended = np.empty((len(self.owners), 3))
        self._translations = np.empty((len(self.owners), 3))
        self._reference, self._reference_cells = positions.copy(), cells.copy()
        self._place_translations(cells)
        self.n_rebuilds += 1

    def _place_translations(self, cells: np.ndarray) -> None:
        self._cells = cells.copy()
        _cell_list.whole_cells(self.shifts, cells, self._structure_index, self.owners, self._translations)


class NeighbourLists:
    """The Verlet lists of several potentials on the same atoms; equal requests share one list.

    Parameters
    ----------
    structures : Structures
    skin : float
        In Å; zero finds the pairs anew whenever anything has moved.
    """

    def __init__(self, structures: Structures, skin: float):
        self.structures, self.skin = structures, skin
        self._lists: dict[tuple[float, bool], VerletList] = {}

    def request(self, cutoff: float, *, half: bool) -> VerletList:
        """The list for this cutoff in Å."""
        key = (float(cutoff), half)
        if key not in self._lists:
            self._lists[key] = VerletList(self.structures, cutoff, self.skin, half)
        return self._lists[key]

    def update(self, positions: np.ndarray, cells: np.ndarray) -> None:
        """Bring every list up to date."""
        for verlet in self._lists.values():
            verlet.update(positions, cells)

    @property
    def n_rebuilds(self) -> int:
        """How often the list that was rebuilt most was searched."""
        return max((verlet.n_rebuilds for verlet in self._lists.values()), default=0)

    def state(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """See :meth:`VerletList.state`, list by list in the order of the requests."""
        return [verlet.state() for verlet in self._lists.values()]

    def restore(self, state: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Undo what happened since :meth:`state`."""
        for verlet, (positions, cells) in zip(self._lists.values(), state, strict=True):
            verlet.restore(positions, cells)
