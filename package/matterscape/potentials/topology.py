"""Which atoms are bonded: pairs and angles resolved to periodic images, found once and kept for ever."""

from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols

from matterscape.structures import Structures


@dataclass(frozen=True, eq=False)
class Topology:
    """Bonded pairs and angles of a batch of structures, written in extended atoms.

    The extended atoms are the ``n_atoms`` atoms of the batch followed by the periodic images that take part in a term,
    at ``positions[owners] + shifts @ cell``. Positions must be those of the structure that the topology was made for,
    moved continuously: wrapping an atom into the cell changes the image that it is bonded to.

    Attributes
    ----------
    n_atoms : int
        Number of atoms of the batch.
    owners : array (n_extended,), int64
        Atom that each extended atom is an image of.
    shifts : array (n_extended, 3), int64
        Whole cell vectors added to it; zero for the first ``n_atoms``.
    pairs : array (n_pairs, 2), int64
        Extended atoms of each pair.
    pair_rows : array (n_pairs,), int64
        Which row of pair parameters applies.
    angles : array (n_angles, 3), int64
        Extended atoms of each angle, the centre in the middle.
    angle_rows : array (n_angles,), int64
        Which row of angle parameters applies.
    """

    n_atoms: int
    owners: np.ndarray
    shifts: np.ndarray
    pairs: np.ndarray
    pair_rows: np.ndarray
    angles: np.ndarray
    angle_rows: np.ndarray

    @classmethod
    def build(
        cls,
        n_atoms: int,
        pairs: np.ndarray | None = None,
        pair_shifts: np.ndarray | None = None,
        pair_rows: np.ndarray | None = None,
        angles: np.ndarray | None = None,
        angle_shifts: np.ndarray | None = None,
        angle_rows: np.ndarray | None = None,
    ) -> "Topology":
        """Topology from lists of atoms and whole-cell shifts.

        Parameters
        ----------
        n_atoms : int
            Number of atoms of the batch.
        pairs, angles : integer arrays (n_pairs, 2), (n_angles, 3), optional
            Atoms of each term; the centre of an angle stands in the middle.
        pair_shifts, angle_shifts : integer arrays (n_pairs, 2, 3), (n_angles, 3, 3), optional
            Whole cell vectors added to each of these atoms; none if not given.
        pair_rows, angle_rows : integer arrays (n_pairs,), (n_angles,), optional
            Row of the parameters that applies; row 0 if not given.

        Raises
        ------
        ValueError
            If shapes do not fit, an atom is outside the batch, or a term names the same image of an atom twice.
        """
        terms = [
            _checked_terms("pairs", 2, n_atoms, pairs, pair_shifts, pair_rows),
            _checked_terms("angles", 3, n_atoms, angles, angle_shifts, angle_rows),
        ]
        used = np.concatenate([np.column_stack([atoms.ravel(), shifts.reshape(-1, 3)]) for atoms, shifts, _ in terms])
        away = (used[:, 1:] != 0).any(axis=1)
        images, order = np.unique(used[away], axis=0, return_inverse=True)
        numbers = used[:, 0].copy()
        numbers[away] = n_atoms + order.ravel()
        n_first = terms[0][0].size
        return cls(
            n_atoms=n_atoms,
            owners=np.concatenate([np.arange(n_atoms), images[:, 0]]),
            shifts=np.concatenate([np.zeros((n_atoms, 3), np.int64), images[:, 1:]]),
            pairs=numbers[:n_first].reshape(-1, 2),
            pair_rows=terms[0][2],
            angles=numbers[n_first:].reshape(-1, 3),
            angle_rows=terms[1][2],
        )

    def extend(self, positions: torch.Tensor, cells: torch.Tensor, structure_index: torch.Tensor) -> torch.Tensor:
        """Positions (n_extended, 3) of the extended atoms, differentiable in positions and cells."""
        owners = torch.from_numpy(self.owners[self.n_atoms :]).to(positions.device)
        shifts = torch.from_numpy(self.shifts[self.n_atoms :]).to(positions)
        images = positions[owners] + torch.einsum("gk,gkx->gx", shifts, cells[structure_index[owners]])
        return torch.cat([positions, images])


def _checked_terms(
    name: str, width: int, n_atoms: int, atoms: np.ndarray | None, shifts: np.ndarray | None, rows: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Terms of one kind as int64 arrays of the right shapes."""
    atoms = np.zeros((0, width), np.int64) if atoms is None else np.asarray(atoms)
    n_terms = len(atoms)
    shifts = np.zeros((n_terms, width, 3), np.int64) if shifts is None else np.asarray(shifts)
    rows = np.zeros(n_terms, np.int64) if rows is None else np.asarray(rows)
    wanted = {name: (n_terms, width), f"{name[:-1]}_shifts": (n_terms, width, 3), f"{name[:-1]}_rows": (n_terms,)}
    for (label, shape), array in zip(wanted.items(), (atoms, shifts, rows)):
        if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{label} is {array.dtype} of shape {array.shape}; accepted are integers of shape {shape}")
    if n_terms and not 0 <= atoms.min() <= atoms.max() < n_atoms:
        raise ValueError(f"{name} name atoms {atoms.min()} to {atoms.max()}; accepted are 0 to {n_atoms - 1}")
    for a in range(width):
        for b in range(a):
            same = (atoms[:, a] == atoms[:, b]) & (shifts[:, a] == shifts[:, b]).all(axis=1)
            if same.any():
                term = int(same.argmax())
                raise ValueError(f"{name}[{term}] is {atoms[term].tolist()}; its atoms must be different ones")
    return atoms.astype(np.int64), shifts.astype(np.int64), rows.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Molecules:
    """Molecules or ions of one shape: a centre and its ligands, such as PS4 or H2O.

    Attributes
    ----------
    n_atoms : int
        Number of atoms of the batch, bonded or not.
    centres : array (n_molecules,), int64
        Atom in the middle of each.
    ligands : array (n_molecules, n_ligands), int64
        Atoms around it, ascending.
    shifts : array (n_molecules, n_ligands, 3), int64
        Whole cell vectors added to each ligand to bring it to the centre.
    """

    n_atoms: int
    centres: np.ndarray
    ligands: np.ndarray
    shifts: np.ndarray

    @property
    def n_ligands(self) -> int:
        """Ligands of each molecule."""
        return self.ligands.shape[1]

    def topology(
        self, *, bond_row: int | None, ligand_row: int | None = None, angle_row: int | None = None
    ) -> Topology:
        """Topology with all centre-ligand pairs, ligand-ligand pairs and ligand-centre-ligand angles.

        Parameters
        ----------
        bond_row, ligand_row, angle_row : int or None
            Row of parameters for centre-ligand pairs, ligand-ligand pairs and angles; None leaves these terms out.
        """
        atoms = np.column_stack([self.centres, self.ligands])  # (molecules, 1 + ligands)
        shifts = np.concatenate([np.zeros_like(self.shifts[:, :1]), self.shifts], axis=1)
        first, last = np.triu_indices(self.n_ligands, k=1)
        chosen = [
            (np.column_stack([np.zeros(self.n_ligands, np.int64), np.arange(1, self.n_ligands + 1)]), bond_row),
            (np.column_stack([first, last]) + 1, ligand_row),
        ]
        columns = np.concatenate([c for c, row in chosen if row is not None] or [np.zeros((0, 2), np.int64)])
        rows = np.concatenate([np.full(len(c), row) for c, row in chosen if row is not None] or [np.zeros(0, np.int64)])
        corners = np.column_stack([first + 1, np.zeros_like(first), last + 1])
        if angle_row is None:
            corners = corners[:0]
        n = len(atoms)
        return Topology.build(
            self.n_atoms,
            pairs=atoms[:, columns].reshape(-1, 2),
            pair_shifts=shifts[:, columns].reshape(-1, 2, 3),
            pair_rows=np.tile(rows, n),
            angles=atoms[:, corners].reshape(-1, 3),
            angle_shifts=shifts[:, corners].reshape(-1, 3, 3),
            angle_rows=np.full(n * len(corners), angle_row or 0),
        )


def find_molecules(structures: Structures, centre: str, ligand: str, n_ligands: int, max_distance: float) -> Molecules:
    """Molecules of a centre and its ligands: every ligand belongs to the nearest centre.

    Parameters
    ----------
    structures : Structures
        Batch; atoms may be wrapped or not, molecules may lie across cell boundaries.
    centre, ligand : str
        Chemical symbols, such as "P" and "S". Other species are left alone.
    n_ligands : int
        Ligands that every centre has.
    max_distance : float
        Longest bond in Å.

    Raises
    ------
    ValueError
        Naming structure and atom, where a ligand is farther than ``max_distance`` from every centre or a centre has
        another number of ligands.
    """
    first, second, shifts, lengths = _close_pairs(
        structures, atomic_numbers[centre], atomic_numbers[ligand], max_distance
    )
    species = structures.species.cpu().numpy()
    order = np.lexsort((lengths, second))
    first, second, shifts = first[order], second[order], shifts[order]
    owned, nearest = np.unique(second, return_index=True)
    ligand_atoms = np.flatnonzero(species == atomic_numbers[ligand])
    lonely = np.setdiff1d(ligand_atoms, owned)
    if len(lonely):
        raise ValueError(
            f"{_place(structures, lonely[0])} is not bonded: there is no {centre} within {max_distance:g} Å of it, and "
            f"every {ligand} must belong to a {centre} with {n_ligands} of them"
        )
    holders, shifts = first[nearest], shifts[nearest]  # the centre of each ligand, and the ligand's shift to it
    centres = np.flatnonzero(species == atomic_numbers[centre])
    counts = np.bincount(holders, minlength=len(species))[centres]
    if (counts != n_ligands).any():
        wrong = int((counts != n_ligands).argmax())
        raise ValueError(
            f"{_place(structures, centres[wrong])} has {counts[wrong]} {ligand} within {max_distance:g} Å that are "
            f"closer to it than to any other {centre}; accepted are exactly {n_ligands}"
        )
    order = np.argsort(holders, kind="stable")
    return Molecules(
        n_atoms=len(species),
        centres=centres,
        ligands=owned[order].reshape(-1, n_ligands),
        shifts=shifts[order].reshape(-1, n_ligands, 3),
    )


def _close_pairs(
    structures: Structures, centre: int, ligand: int, max_distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centre, ligand, shift of the ligand and distance of all pairs closer than ``max_distance``."""
    pairs = structures.pairs(max_distance)
    chosen = (structures.species[pairs.first] == centre) & (structures.species[pairs.second] == ligand)
    vectors = pairs.vectors.detach()[chosen].double().norm(dim=1)
    parts = (pairs.first[chosen], pairs.second[chosen], pairs.shifts[chosen], vectors)
    return tuple(part.cpu().numpy() for part in parts)


def _place(structures: Structures, atom: int) -> str:
    structure = int(structures.structure_index[atom])
    symbol = chemical_symbols[int(structures.species[atom])]
    return f"atom {atom - int(structures.offsets[structure])} ({symbol}) of structure {structure}"
