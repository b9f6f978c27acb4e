"""Neighbour pairs of a batch (vesin) and their differentiable vectors."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch
from vesin import NeighborList

from matterscape.kernels import Operator, get_threads, memory_limit
from matterscape.structures.validation import completed_cells

if TYPE_CHECKING:
    from matterscape.structures.batch import Structures

COINCIDENT = 1e-3  # Å: atoms closer than this are one atom typed twice
BYTES_PER_PAIR = 120  # indices, shifts, vectors, their gradients and the copies in between


@dataclass(frozen=True)
class PairTopology:
    """Which atoms are neighbours: the part of a pair list that does not depend on small displacements."""

    first: torch.Tensor  # (P,)
    second: torch.Tensor  # (P,)
    shifts: torch.Tensor  # (P, 3) whole cells
    offsets: torch.Tensor  # (N + 1,) first pair of each atom

    def to(self, device: str | torch.device | None) -> "PairTopology":
        """The same pairs on another device."""
        return PairTopology(*(t.to(device) for t in (self.first, self.second, self.shifts, self.offsets)))


@dataclass(frozen=True)
class Pairs:
    """Ordered neighbour pairs, sorted by the first atom.

    Attributes
    ----------
    first, second : tensor (P,), int64
        Indices of the atoms in the batch; each pair occurs in both orders.
    shifts : tensor (P, 3), int64
        Whole cell vectors added to the second atom.
    vectors : tensor (P, 3)
        r_second + shift - r_first in Å, differentiable.
    offsets : tensor (n_atoms + 1,), int64
        Pairs ``offsets[i]`` to ``offsets[i + 1]`` belong to first atom ``i``.
    """

    first: torch.Tensor
    second: torch.Tensor
    shifts: torch.Tensor
    vectors: torch.Tensor
    offsets: torch.Tensor

    def __len__(self) -> int:
        return self.first.shape[0]


def find_pairs(structures: "Structures", cutoff: float) -> PairTopology:
    """Neighbour search for every structure of a batch.

    Parameters
    ----------
    structures : Structures
    cutoff : float
        In Å.

    Raises
    ------
    ValueError
        See :meth:`Structures.pairs`.
    """
    check_cutoff(cutoff)
    check_pair_memory(structures, cutoff)
    positions = structures.positions.detach().cpu().double().numpy()
    pbc = structures.pbc.cpu().numpy()
    cells = completed_cells(structures.cells.detach(), structures.pbc).cpu().double().numpy()
    offsets = structures.offsets.cpu().numpy()
    search = NeighborList(cutoff=float(cutoff), full_list=True, sorted=True, n_threads=get_threads())
    parts: list[tuple[np.ndarray, ...]] = []
    for structure in range(len(offsets) - 1):
        start, stop = offsets[structure], offsets[structure + 1]
        i, j, shifts, distances = search.compute(
            positions[start:stop], cells[structure], pbc[structure], quantities="ijSd"
        )
        if len(distances) and distances.min() < COINCIDENT:
            pair = int(distances.argmin())
            raise ValueError(
                f"atoms {int(i[pair])} and {int(j[pair])} of structure {structure} coincide "
                f"(distance {distances[pair]:.2g} Å, shift {shifts[pair].tolist()}); "
                f"atoms must be at least {COINCIDENT:g} Å apart"
            )
        parts.append((i.astype(np.int64) + start, j.astype(np.int64) + start, shifts.astype(np.int64)))
    first, second, shifts = (torch.from_numpy(np.concatenate(columns)) for columns in zip(*parts))
    counts = torch.bincount(first, minlength=structures.n_atoms)
    topology = PairTopology(first, second, shifts, torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
    return topology.to(structures.positions.device)


def check_cutoff(cutoff: float) -> None:
    """Refuse what is no positive, finite number."""
    if isinstance(cutoff, bool) or not isinstance(cutoff, Real) or not math.isfinite(cutoff) or cutoff <= 0:
        raise ValueError(f"cutoff is {cutoff!r}; accepted is a positive, finite number of Å")


def check_pair_memory(structures: "Structures", cutoff: float) -> None:
    """Refuse a cutoff whose pairs cannot fit, before the search allocates them."""
    counts = structures.atoms_per_structure.double()
    cells = completed_cells(structures.cells.detach(), structures.pbc).double()
    heights = 1.0 / torch.linalg.inv(cells).norm(dim=1)  # distance between opposite faces (B, 3)
    images = torch.where(structures.pbc, 2 * cutoff / heights + 1, torch.ones_like(heights)).prod(dim=1)
    by_images = counts**2 * images
    periodic = structures.pbc.all(dim=1)
    volumes = torch.linalg.det(cells).abs()
    by_density = counts**2 / volumes * (4 / 3 * math.pi) * cutoff**3
    estimate = float(torch.where(periodic, torch.minimum(by_images, by_density), by_images).sum())
    available = memory_limit()
    if not periodic.any() and estimate * BYTES_PER_PAIR > available:
        estimate = _sparse_estimate(structures, cutoff)
    if estimate * BYTES_PER_PAIR > 0.5 * available:
        raise ValueError(
            f"cutoff is {cutoff:g} Å, which gives about {estimate:.1e} neighbour pairs "
            f"({estimate * BYTES_PER_PAIR / 2**30:.0f} GiB); at most half of the "
            f"{available / 2**30:.0f} GiB of memory here is accepted: choose a smaller cutoff or fewer structures"
        )


def _sparse_estimate(structures: "Structures", cutoff: float) -> float:
    """Number of pairs of large clusters from the number of atoms in cubes of the cutoff's size."""
    cubes = torch.floor(structures.positions.detach() / cutoff).long()
    labels = torch.cat([structures.structure_index[:, None], cubes], dim=1)
    counts = torch.unique(labels, dim=0, return_counts=True)[1].double()
    return float((counts**2).sum() * (4 / 3 * math.pi))


def _vectors_reference(
    positions: torch.Tensor,
    cells: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    shifts: torch.Tensor,
    structure_index: torch.Tensor,
) -> torch.Tensor:
    """Vectors (P, 3) from first to second atom, with whole-cell shifts."""
    translation = torch.einsum("pk,pkx->px", shifts.to(cells.dtype), cells[structure_index[first]])
    return positions[second] - positions[first] + translation


@numba.njit(nogil=True, cache=True)
def _vectors_kernel(positions, cells, first, second, shifts, structure_index, vectors):
    for pair in range(len(first)):
        i, j = first[pair], second[pair]
        structure = structure_index[i]
        for x in range(3):
            value = positions[j, x] - positions[i, x]
            for k in range(3):
                value += shifts[pair, k] * cells[structure, k, x]
            vectors[pair, x] = value


def _vectors_body(positions, cells, first, second, shifts, structure_index):
    vectors = np.empty((len(first), 3), positions.dtype)
    _vectors_kernel(positions, cells, first, second, shifts, structure_index, vectors)
    return vectors


def _adjoint_reference(
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    shifts: torch.Tensor,
    structure_index: torch.Tensor,
    n_structures: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Transpose of the linear map from (positions, cells) to pair vectors."""
    on_positions = gradient.new_zeros(len(structure_index), 3)
    on_positions = on_positions.index_add(0, second, gradient).index_add(0, first, -gradient)
    outer = shifts.to(gradient.dtype)[:, :, None] * gradient[:, None, :]
    on_cells = gradient.new_zeros(n_structures, 3, 3).index_add(0, structure_index[first], outer)
    return on_positions, on_cells


@numba.njit(nogil=True, cache=True)
def _adjoint_kernel(gradient, first, second, shifts, structure_index, on_positions, on_cells):
    for pair in range(len(first)):
        i, j = first[pair], second[pair]
        structure = structure_index[i]
        for x in range(3):
            value = gradient[pair, x]
            on_positions[j, x] += value
            on_positions[i, x] -= value
            for k in range(3):
                if shifts[pair, k] != 0:
                    on_cells[structure, k, x] += shifts[pair, k] * value


def _adjoint_body(gradient, first, second, shifts, structure_index, n_structures):
    on_positions = np.zeros((len(structure_index), 3), gradient.dtype)
    on_cells = np.zeros((n_structures, 3, 3), gradient.dtype)
    _adjoint_kernel(gradient, first, second, shifts, structure_index, on_positions, on_cells)
    return on_positions, on_cells


def _vectors_derivative(inputs, gradients):
    _, cells, *topology = inputs
    return (*pair_vectors_adjoint(gradients[0], *topology, cells.shape[0]), None, None, None, None)


def _adjoint_derivative(inputs, gradients):
    _, *topology, _ = inputs
    return (pair_vectors(*gradients, *topology), None, None, None, None, None)


pair_vectors = Operator(
    "pair_vectors",
    reference=_vectors_reference,
    body=_vectors_body,
    fake=lambda positions, cells, first, *_: positions.new_empty(first.shape[0], 3),
    derivative=_vectors_derivative,
)
pair_vectors_adjoint = Operator(
    "pair_vectors_adjoint",
    reference=_adjoint_reference,
    body=_adjoint_body,
    fake=lambda gradient, first, second, shifts, structure_index, n_structures: (
        gradient.new_empty(structure_index.shape[0], 3),
        gradient.new_empty(n_structures, 3, 3),
    ),
    derivative=_adjoint_derivative,
)
