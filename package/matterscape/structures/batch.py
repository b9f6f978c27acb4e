"""A batch of atomic structures as flat tensors."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from matterscape.structures import validation
from matterscape.structures.neighbours import Pairs, find_pairs, pair_vectors


@dataclass(frozen=True, eq=False)
class Structures:
    """Atomic structures, molecules and periodic cells mixed, as flat tensors on one device.

    Parameters
    ----------
    positions : tensor (n_atoms, 3), float32 or float64
        Cartesian positions in Å, the structures one after another.
    species : tensor (n_atoms,), int64
        Atomic numbers, 1 to 118.
    structure_index : tensor (n_atoms,), int64
        Which structure an atom belongs to, sorted.
    cells : tensor (n_structures, 3, 3), dtype of the positions
        Cell vectors as rows, in Å; zeros where there is none. Either handedness.
    pbc : tensor (n_structures, 3), bool
        Periodic along each cell vector?
    strain : tensor (n_structures, 3, 3), optional
        Set by :meth:`with_gradients`: derivatives with respect to it are virials.

    Raises
    ------
    TypeError, ValueError
        For anything that is not such a batch; the message names structure and atom.
    """

    positions: torch.Tensor
    species: torch.Tensor
    structure_index: torch.Tensor
    cells: torch.Tensor
    pbc: torch.Tensor
    strain: torch.Tensor | None = None
    _leaf_positions: torch.Tensor | None = field(default=None, repr=False)
    _frames: tuple[Atoms, ...] | None = field(default=None, repr=False)
    _topologies: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    _validated: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self._validated:
            return
        tensors = (self.positions, self.species, self.structure_index, self.cells, self.pbc)
        validation.check_tensors(*tensors)
        validation.check_content(*tensors)
        object.__setattr__(self, "_validated", True)

    @classmethod
    def from_ase(
        cls, frames: Atoms | Iterable[Atoms], *, dtype: torch.dtype = torch.float64, device: str = "cpu"
    ) -> "Structures":
        """Batch of one or many ``ase.Atoms``.

        Everything else that the frames carry (arrays, info, constraints, results of a calculator) is kept for
        :meth:`to_ase`.

        Raises
        ------
        TypeError
            If something in ``frames`` is not an ``ase.Atoms``.
        ValueError
            If the frames are not valid structures, or if there are none.
        """
        frames = (frames,) if isinstance(frames, Atoms) else tuple(frames)
        for index, atoms in enumerate(frames):
            if not isinstance(atoms, Atoms):
                raise TypeError(f"frames[{index}] is a {type(atoms).__name__}; accepted is ase.Atoms")
            if len(atoms) == 0:
                raise ValueError(f"structure {index} has no atoms; every structure needs at least one")
        if not frames:
            raise ValueError("structures is empty; at least one structure is needed")
        counts = [len(atoms) for atoms in frames]
        return cls(
            positions=torch.from_numpy(np.concatenate([atoms.positions for atoms in frames])).to(device, dtype),
            species=torch.from_numpy(np.concatenate([atoms.numbers for atoms in frames]).astype(np.int64)).to(device),
            structure_index=torch.repeat_interleave(torch.arange(len(frames)), torch.tensor(counts)).to(device),
            cells=torch.from_numpy(np.stack([np.asarray(atoms.cell) for atoms in frames])).to(device, dtype),
            pbc=torch.from_numpy(np.stack([atoms.pbc for atoms in frames])).to(device),
            _frames=tuple(_detached_copy(atoms) for atoms in frames),
        )

    def to_ase(self) -> list[Atoms]:
        """The structures as ``ase.Atoms``, with the arrays, info, constraints and results that they came with."""
        positions = self.positions.detach().cpu().double().numpy()
        cells = self.cells.detach().cpu().double().numpy()
        pbc, species = self.pbc.cpu().numpy(), self.species.cpu().numpy()
        frames = []
        for structure, (start, stop) in enumerate(zip(self.offsets[:-1].tolist(), self.offsets[1:].tolist())):
            if self._frames is None:
                atoms = Atoms(
                    species[start:stop], positions=positions[start:stop], cell=cells[structure], pbc=pbc[structure]
                )
            else:
                source = self._frames[structure]
                atoms = source.copy()
                tolerance = 0.0 if self.positions.dtype == torch.float64 else 1e-6
                unmoved = all(
                    np.allclose(old, new, rtol=tolerance, atol=10 * tolerance)
                    for old, new in (
                        (source.positions, positions[start:stop]),
                        (np.asarray(source.cell), cells[structure]),
                    )
                )
                if unmoved and source.calc is not None:
                    atoms.calc = SinglePointCalculator(atoms, **source.calc.results)
                elif not unmoved:
                    atoms.arrays["positions"][:] = positions[start:stop]  # past the constraints
                    atoms.cell[:] = cells[structure]
            frames.append(atoms)
        return frames

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the batch."""
        return self.positions.shape[0]

    @property
    def n_structures(self) -> int:
        """Number of structures in the batch."""
        return self.cells.shape[0]

    def __len__(self) -> int:
        return self.n_structures

    @property
    def atoms_per_structure(self) -> torch.Tensor:
        """Number of atoms of each structure (n_structures,), int64."""
        return torch.bincount(self.structure_index, minlength=self.n_structures)

    @property
    def offsets(self) -> torch.Tensor:
        """First atom of each structure and the end (n_structures + 1,), int64."""
        counts = self.atoms_per_structure
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    @property
    def unique_species(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(torch.unique(self.species).tolist())

    @property
    def volumes(self) -> torch.Tensor:
        """Cell volumes (n_structures,) in Å^3; zero without a cell."""
        return torch.linalg.det(self.cells).abs()

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> "Structures":
        """Batch of the chosen structures, in the order asked for."""
        chosen = torch.arange(self.n_structures, device=self.positions.device)[_as_index(index)].reshape(-1)
        if len(chosen) == 0:
            raise ValueError("index selects no structure; at least one is needed")
        offsets = self.offsets
        counts = self.atoms_per_structure[chosen]
        new_index = torch.repeat_interleave(torch.arange(len(chosen), device=chosen.device), counts)
        first = torch.repeat_interleave(offsets[:-1][chosen] - (counts.cumsum(0) - counts), counts)
        atoms = torch.arange(len(new_index), device=chosen.device) + first
        return Structures(
            positions=self.positions[atoms],
            species=self.species[atoms],
            structure_index=new_index,
            cells=self.cells[chosen],
            pbc=self.pbc[chosen],
            _frames=None if self._frames is None else tuple(self._frames[i] for i in chosen.tolist()),
            _validated=True,
        )

    def split(self, max_atoms: int) -> Iterable["Structures"]:
        """Consecutive sub-batches of at most ``max_atoms`` atoms each (one structure at least)."""
        counts = self.atoms_per_structure.tolist()
        start = total = 0
        for structure, count in enumerate(counts):
            if total and total + count > max_atoms:
                yield self[start:structure]
                start, total = structure, 0
            total += count
        yield self[start:]

    def to(self, *, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> "Structures":
        """The same batch in another dtype or on another device."""
        dtype = dtype or self.positions.dtype
        return replace(
            self,
            positions=self.positions.to(device, dtype),
            species=self.species.to(device),
            structure_index=self.structure_index.to(device),
            cells=self.cells.to(device, dtype),
            pbc=self.pbc.to(device),
            strain=None,
            _leaf_positions=None,
            _topologies={key: t.to(device) for key, t in self._topologies.items()},
            _validated=dtype in (torch.float32, torch.float64),
        )

    def with_gradients(self, *, positions: bool = True, strain: bool = False) -> "Structures":
        """A copy whose positions, and strain if asked for, are leaves of torch's graph.

        The strain e is applied as r -> r (1 + e), h -> h (1 + e) with rows as vectors; it is zero, so geometry and
        neighbour pairs stay as they are, and dE/de is the virial: stress = (1/V) dE/de.
        """
        new_positions = self.positions.detach().clone().requires_grad_(positions)
        cells = self.cells.detach()
        if not strain:
            return replace(self, positions=new_positions, cells=cells, strain=None, _leaf_positions=None)
        leaf = torch.zeros_like(cells, requires_grad=True)
        deformation = torch.eye(3, dtype=cells.dtype, device=cells.device) + leaf
        strained = torch.einsum("ni,nij->nj", new_positions, deformation[self.structure_index])
        return replace(self, positions=strained, cells=cells @ deformation, strain=leaf, _leaf_positions=new_positions)

    @property
    def leaf_positions(self) -> torch.Tensor:
        """The positions that gradients are taken with respect to."""
        return self.positions if self._leaf_positions is None else self._leaf_positions

    def pairs(self, cutoff: float) -> Pairs:
        """All ordered pairs of atoms closer than ``cutoff``, periodic images included.

        Parameters
        ----------
        cutoff : float
            Largest distance in Å, positive. Cells smaller than the cutoff are handled by repeated images.

        Returns
        -------
        Pairs
            Sorted by the first atom; its vectors are differentiable in positions and strain.

        Raises
        ------
        ValueError
            If the cutoff is not positive and finite, if the pairs would not fit into memory, or if two atoms coincide.
        """
        topology = self._topologies.get(cutoff)
        if topology is None:
            topology = self._topologies[cutoff] = find_pairs(self, cutoff)
        vectors = pair_vectors(
            self.positions,
            self.cells,
            topology.first,
            topology.second,
            topology.shifts,
            self.structure_index,
        )
        return Pairs(topology.first, topology.second, topology.shifts, vectors, topology.offsets)


def _detached_copy(atoms: Atoms) -> Atoms:
    """Copy of the frame with its calculator's stored results, without the calculator's machinery."""
    copy = atoms.copy()
    results = getattr(atoms.calc, "results", None)
    if results:
        known = {k: v for k, v in results.items() if v is not None and k in all_properties}  # ASE keeps no others
        copy.calc = SinglePointCalculator(copy, **known)
    return copy


def _as_index(index: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> int | slice | torch.Tensor:
    if isinstance(index, (int, slice, torch.Tensor)):
        return index
    index = np.asarray(index)
    return torch.from_numpy(index if index.size else index.astype(np.int64))
