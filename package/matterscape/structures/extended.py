"""Atoms with their periodic images as points of their own: the geometry that the potentials work on.

With the images written out, the vector of a pair is a plain difference of two points, small cells need no special
case, and derivatives with respect to the cell follow from those with respect to the images.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from matterscape.kernels import get_threads, launch
from matterscape.structures import _cell_list
from matterscape.structures.batch import Structures
from matterscape.structures.neighbours import COINCIDENT, check_cutoff, check_pair_memory
from matterscape.structures.validation import completed_cells

_BIN_SIZES = np.array([0.5, 0.5, 0.25])  # in cutoffs


@dataclass(frozen=True)
class ExtendedPairs:
    """Neighbour pairs of atoms with extended atoms, the latter being atoms (first) and images of atoms (after them).

    Attributes
    ----------
    owners : tensor (M,), int64
        The atom that an extended atom is an image of; 0 to N - 1 for the first N.
    shifts : tensor (M, 3), int64
        Whole cell vectors added to the owner's position; for the first N those that wrap it into the cell.
    second : tensor (P,), int32
        Extended atoms near each centre.
    offsets : tensor (N + 1,), int64
        Pairs ``offsets[i]`` to ``offsets[i + 1]`` belong to centre ``i``.
    """

    owners: torch.Tensor
    shifts: torch.Tensor
    second: torch.Tensor
    offsets: torch.Tensor

    def to(self, device: str | torch.device | None) -> "ExtendedPairs":
        """The same pairs on another device."""
        return ExtendedPairs(*(t.to(device) for t in (self.owners, self.shifts, self.second, self.offsets)))

    def positions(self, structures: Structures) -> torch.Tensor:
        """Positions (M, 3) of the extended atoms in Å, differentiable in the positions and the strain."""
        cells = structures.cells[structures.structure_index[self.owners]]
        return structures.positions[self.owners] + torch.einsum("mk,mkx->mx", self.shifts.to(cells.dtype), cells)


def extended_pairs(structures: Structures, cutoff: float, *, half: bool = False) -> ExtendedPairs:
    """Neighbour pairs closer than ``cutoff``; found once and kept with the structures.

    Parameters
    ----------
    structures : Structures
    cutoff : float
        In Å; cells smaller than it are handled by repeated images.
    half : bool
        Keep each pair once instead of in both orders.

    Raises
    ------
    ValueError
        If the cutoff is not positive and finite, the pairs would not fit into memory, or two atoms coincide.
    """
    check_cutoff(cutoff)
    key = ("extended", float(cutoff), half)
    found = structures._topologies.get(key)
    if found is None:
        check_pair_memory(structures, cutoff)
        found = find_extended_pairs(
            structures.positions.detach().cpu().double().numpy(),
            structures.cells.detach().cpu().double(),
            structures.pbc.cpu(),
            structures.offsets.cpu().numpy(),
            cutoff,
            half,
        ).to(structures.positions.device)
        structures._topologies[key] = found
    return found


def find_extended_pairs(
    positions: np.ndarray, cells: torch.Tensor, pbc: torch.Tensor, offsets: np.ndarray, cutoff: float, half: bool
) -> ExtendedPairs:
    """The search behind :func:`extended_pairs`, on plain arrays."""
    full = completed_cells(cells, pbc).numpy()
    periodic = pbc.numpy()
    n_atoms = len(positions)
    owners, shifts, seconds, lengths = [np.arange(n_atoms)], [np.zeros((n_atoms, 3), np.int64)], [], []
    n_extended = n_atoms
    for structure, (start, stop) in enumerate(itertools.pairwise(offsets)):
        size = stop - start
        # atoms of this structure are numbered from its start, its images from the end of those already there
        numbered = structure, start, n_extended - size
        own, moved, found, length = _one_structure(
            positions[start:stop], full[structure], periodic[structure], cutoff, half, *numbered
        )
        shifts[0][start:stop] = moved[:size]
        owners.append(own[size:] + start)
        shifts.append(moved[size:])
        seconds += found
        lengths.append(length)
        n_extended += len(own) - size
    ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return ExtendedPairs(
        *(torch.from_numpy(np.concatenate(parts)) for parts in (owners, shifts, seconds)), torch.from_numpy(ends)
    )


def _one_structure(positions, cell, pbc, cutoff, half, structure, first_atom, first_image):
    """Owners and shifts of the points of one structure, their neighbours in parts, and how many each atom has.

    ``first_atom`` is added to the numbers of atoms among the neighbours, ``first_image`` to those of images.
    """
    n_atoms = len(positions)
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    margins = np.where(pbc, cutoff / heights, 0.0)
    fractions, wraps = np.empty((n_atoms, 3)), np.empty((n_atoms, 3), np.int64)
    positions = np.ascontiguousarray(positions)
    n_images = _cell_list.wrap_and_count_images(positions, inverse, pbc, margins, half, fractions, wraps)
    n_extended = n_atoms + n_images
    owners, shifts = np.empty(n_extended, np.int64), np.empty((n_extended, 3), np.int64)
    fractions, points = (np.concatenate([known, np.empty((n_images, 3))]) for known in (fractions, positions))
    owners[:n_atoms], shifts[:n_atoms] = np.arange(n_atoms), wraps
    points[:n_atoms] += wraps @ np.where(pbc[:, None], cell, 0.0)
    _cell_list.add_images(n_atoms, pbc, margins, half, cell, fractions, owners, shifts, points)

    lower = np.where(pbc, -margins, fractions[:n_atoms].min(axis=0))
    upper = np.where(pbc, 1 + margins, fractions[:n_atoms].max(axis=0))
    if half and pbc[0]:
        lower[0] = 0.0
    extent = np.maximum(upper - lower, 1e-9)
    # bins of half the cutoff, finer along the axis of which whole ranges are scanned; fewer where that would make more
    # bins than points
    n_bins = np.clip(extent * heights / (cutoff * _BIN_SIZES), 1, 1e6)
    crowding = max(1.0, n_bins.prod() / (8 * n_extended + 64))
    n_bins = np.maximum(1, n_bins / crowding ** (1 / 3)).astype(np.int64)
    reaches = np.ceil(cutoff * n_bins / (extent * heights) - 1e-12).astype(np.int64)
    bins, starts = np.empty((n_extended, 3), np.int64), np.empty(n_bins.prod() + 1, np.int64)
    order = np.empty(n_extended, np.int64)
    _cell_list.sort_into_bins(fractions, lower, n_bins / extent, n_bins, bins, starts, order)
    labels = np.arange(n_extended, dtype=np.int32)
    labels[:n_atoms] += np.int32(first_atom)
    labels[n_atoms:] += np.int32(first_image)

    n_chunks = min(get_threads(), n_atoms)
    guess = 4.2 * cutoff**3 * n_extended / max((extent * heights).prod(), cutoff**3) * (0.5 if half else 1.0)
    capacity = int((1.3 * guess + 16) * (n_atoms / n_chunks + 1))
    counts, used = np.empty(n_atoms, np.int64), np.empty(n_chunks, np.int64)
    closest = np.empty(n_chunks)
    in_order = points[order], fractions[order], labels[order]
    while True:
        buffers = np.empty((n_chunks, capacity + 1), np.int32)  # with a place for rejected candidates
        with launch():
            _cell_list.search(
                points, fractions, bins, *in_order, labels[:n_atoms], n_bins, reaches, starts, float(cutoff), half,
                counts, buffers, used, closest,
            )  # fmt: skip
        if used.max() <= capacity:
            break
        capacity = int(used.max())
    found = [buffer[:n] for buffer, n in zip(buffers, used)]
    if closest.min() < COINCIDENT**2:
        first, second = np.repeat(np.arange(n_atoms), counts), np.concatenate(found)
        second = np.where(second < first_atom + n_atoms, second - first_atom, second - first_image)
        pair = np.square(points[second] - points[first]).sum(axis=1).argmin()
        raise ValueError(
            f"atoms {int(first[pair])} and {int(owners[second[pair]])} of structure {structure} coincide "
            f"(distance {math.sqrt(closest.min()):.2g} Å); atoms must be at least {COINCIDENT:g} Å apart"
        )
    return owners, shifts, found, counts
