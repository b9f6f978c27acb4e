"""Structures with the energies and forces that a model learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from matterscape.structures import Structures
from matterscape.uq.arrays import as_array, target_vector

SAME_POSITION = 1e-6  # Å; frames that are closer than this in every coordinate are one frame


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Structures and their reference energies and forces.

    Parameters
    ----------
    structures : Structures
    energies : array (n_structures,)
        Total energies in eV.
    forces : array (n_atoms, 3)
        In eV/Å, in the order of the structures.

    Raises
    ------
    ValueError, TypeError
        If a shape is wrong or a number is not finite.
    """

    structures: Structures
    energies: np.ndarray
    forces: np.ndarray

    def __post_init__(self) -> None:
        if not isinstance(self.structures, Structures):
            raise TypeError(f"structures must be Structures, got {type(self.structures).__name__}; see from_ase")
        energies = target_vector(self.energies, len(self.structures), "energies")
        forces = as_array(self.forces)
        if forces.shape != (self.structures.n_atoms, 3):
            raise ValueError(f"forces must have shape ({self.structures.n_atoms}, 3), got {forces.shape}")
        forces = target_vector(forces.reshape(-1), forces.size, "forces").reshape(-1, 3)
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "forces", forces)

    @classmethod
    def from_ase(cls, frames: Sequence[Atoms]) -> "TrainingSet":
        """Training set from frames with ``info["energy"]`` (eV) and ``arrays["forces"]`` (eV/Å).

        That is what :func:`matterscape.datasets.load` returns, whatever a file calls its columns.

        Raises
        ------
        ValueError
            If a frame lacks one of them.
        """
        frames = list(frames)
        for index, atoms in enumerate(frames):
            for holder, name, key in ((atoms.info, "info", "energy"), (atoms.arrays, "arrays", "forces")):
                if key not in holder:
                    raise ValueError(f'frames[{index}] has no {name}["{key}"]; a training set needs it of every frame')
        structures = Structures.from_ase(frames)
        return cls(
            structures,
            np.array([atoms.info["energy"] for atoms in frames]),
            np.concatenate([atoms.arrays["forces"] for atoms in frames]),
        )

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> "TrainingSet":
        """The chosen structures, in the order asked for."""
        chosen = np.arange(len(self))[index].reshape(-1)
        rows = np.concatenate([self.atom_rows(k) for k in chosen]) if len(chosen) else np.empty(0, dtype=int)
        return TrainingSet(self.structures[chosen], self.energies[chosen], self.forces[rows])

    def atom_rows(self, structure: int) -> np.ndarray:
        """Rows of ``forces`` that belong to one structure."""
        return np.arange(self._offsets[structure], self._offsets[structure + 1])

    @cached_property
    def _offsets(self) -> np.ndarray:
        return self.structures.offsets.numpy()

    @property
    def n_atoms(self) -> np.ndarray:
        """Atoms of each structure (n_structures,)."""
        return self.structures.atoms_per_structure.numpy()

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return self.structures.unique_species

    @property
    def composition(self) -> np.ndarray:
        """Atoms of each species in each structure (n_structures, n_species)."""
        counts = np.zeros((len(self), len(self.species)))
        columns = np.searchsorted(self.species, self.structures.species.numpy())
        np.add.at(counts, (self.structures.structure_index.numpy(), columns), 1.0)
        return counts

    def without_repeats(self, *others: "TrainingSet") -> "TrainingSet":
        """The first copy of every frame that none of the other sets holds.

        Public splits of trajectories repeat frames, within one file and across files; a test frame that is also a
        training frame makes every score look better than it is.

        Parameters
        ----------
        *others : TrainingSet
            Frames in any of these are left out as well.

        Returns
        -------
        TrainingSet

        Raises
        ------
        ValueError
            If nothing is left.
        """
        seen = {key for other in others for key in other._frame_keys()}
        keep = []
        for index, key in enumerate(self._frame_keys()):
            if key not in seen:
                seen.add(key)
                keep.append(index)
        return self[keep]

    def _frame_keys(self) -> list[tuple[bytes, bytes, bytes]]:
        """Species, rounded positions and rounded cell of each frame."""
        positions = np.round(self.structures.positions.detach().numpy() / SAME_POSITION).astype(np.int64)
        cells = np.round(self.structures.cells.detach().numpy() / SAME_POSITION).astype(np.int64)
        species = self.structures.species.numpy()
        rows = [self.atom_rows(k) for k in range(len(self))]
        return [(species[r].tobytes(), positions[r].tobytes(), cells[k].tobytes()) for k, r in enumerate(rows)]
