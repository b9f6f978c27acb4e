"""Third-order force constants resolved by periodic image, triplet by triplet of atoms."""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np

from matterscape.checks import check_number
from matterscape.potentials.force_constants import ForceConstants, group_pairs
from matterscape.potentials.third_order import ThirdOrder, displacements
from matterscape.structures import Structures
from matterscape.transport.lattice.cubic import CubicForceConstants
from matterscape.transport.lattice.images import ordered_images, shortest_triangles


@dataclass(frozen=True, eq=False)
class TripletForceConstants:
    """Phi3 = d^3 U / (dx_first dx_(second + shift) dx_(third + shift)) of the triplets where it does not vanish.

    All orders of the three atoms are triplets of their own, with the first atom in the home cell, so that the sum of
    a pair's blocks over third atoms is zero (acoustic sum rule). Multiples of these and sums of those of one structure
    are made with * and +, as a virtual crystal needs.

    Attributes
    ----------
    first, second, third : ndarray (T,), int64
        Atoms of the structure; triplets are sorted by atoms and shifts, and every triplet occurs once.
    second_shifts, third_shifts : ndarray (T, 3), int64
        Whole cell vectors added to the second and third atoms' positions, positions as in ``structures``.
    blocks : ndarray (T, 3, 3, 3), float64
        In eV/Å^3; axes belong to the first, second and third atom.
    structures : Structures
    """

    first: np.ndarray
    second: np.ndarray
    third: np.ndarray
    second_shifts: np.ndarray
    third_shifts: np.ndarray
    blocks: np.ndarray
    structures: Structures
    _pairs: tuple[np.ndarray, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        pairs = group_pairs(self.first, self.second, self.second_shifts, self.structures.n_atoms)
        object.__setattr__(self, "_pairs", pairs)

    @classmethod
    def from_terms(
        cls,
        first: np.ndarray,
        second: np.ndarray,
        third: np.ndarray,
        second_shifts: np.ndarray,
        third_shifts: np.ndarray,
        blocks: np.ndarray,
        structures: Structures,
    ) -> "TripletForceConstants":
        """Sum of terms in any order, with any triplet any number of times; shapes as of the attributes."""
        keys = np.column_stack([first, second, third, second_shifts, third_shifts])
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        flat = np.asarray(blocks, dtype=np.float64).reshape(len(keys), 27)
        sums = np.stack([np.bincount(inverse, column, len(unique)) for column in flat.T], axis=1)
        return cls(
            *(np.ascontiguousarray(unique[:, c]) for c in range(3)),
            np.ascontiguousarray(unique[:, 3:6]),
            np.ascontiguousarray(unique[:, 6:]),
            sums.reshape(-1, 3, 3, 3),
            structures,
        )

    @classmethod
    def from_stars(cls, third_order: ThirdOrder) -> "TripletForceConstants":
        """Exactly those of a star potential, of any cell, however small.

        Parameters
        ----------
        third_order : ThirdOrder
            As :meth:`StarPotential.third_order <matterscape.potentials.star.StarPotential.third_order>` returns it.
        """
        if not isinstance(third_order, ThirdOrder):
            raise TypeError(f"third_order is a {type(third_order).__name__}; accepted is ThirdOrder")
        keys, blocks = [], []
        for centre in range(len(third_order.offsets) - 1):
            own = slice(third_order.offsets[centre], third_order.offsets[centre + 1])
            members = np.append(third_order.atoms[own], centre)
            shifts = np.concatenate([third_order.shifts[own], np.zeros((1, 3), np.int64)])
            size = len(members)
            # relative coordinates: + the neighbour, - the centre
            full = np.zeros((size, 3) * 3)
            full[:-1, :, :-1, :, :-1] = third_order.star(centre).reshape((size - 1, 3) * 3)
            for axis in (0, 2, 4):
                swapped = full.swapaxes(0, axis)
                swapped[-1] = -swapped[:-1].sum(axis=0)
            m, n, o = np.indices((size,) * 3).reshape(3, -1)
            keys.append(
                np.column_stack([members[m], members[n], members[o], shifts[n] - shifts[m], shifts[o] - shifts[m]])
            )
            blocks.append(full.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3, 3, 3))
        keys, blocks = np.concatenate(keys), np.concatenate(blocks)
        held = blocks.any(axis=(1, 2, 3))  # three neighbours of one atom need not have a term of their own
        keys, blocks = keys[held], blocks[held]
        return cls.from_terms(*keys[:, :3].T, keys[:, 3:6], keys[:, 6:], blocks, third_order.structures)

    @classmethod
    def from_supercell(cls, cubic: CubicForceConstants, tolerance: float = 1e-3) -> "TripletForceConstants":
        """Those of the primitive cell, from sums over the images of a supercell.

        Each sum is given to the images that make the triangle of the three atoms shortest in perimeter, in equal
        shares among equals, which keeps the three indices symmetric. That is right where force constants fall off
        inside half the supercell.

        Parameters
        ----------
        cubic : CubicForceConstants
        tolerance : float
            Perimeters that agree to this many Å share equally.
        """
        if not isinstance(cubic, CubicForceConstants):
            raise TypeError(f"cubic is a {type(cubic).__name__}; accepted is CubicForceConstants")
        check_number("tolerance", tolerance, "Å", positive=True)
        supercell = cubic.supercell
        unit = supercell.primitive.to_ase()[0]
        n_atoms, repeats = len(unit), np.array(supercell.repeats)
        cells = np.repeat(list(itertools.product(*map(range, supercell.repeats))), n_atoms, axis=0)  # (N, 3)
        places = unit.positions[np.arange(len(cells)) % n_atoms] + cells @ unit.cell.array
        box = unit.cell.array * repeats[:, None]
        shifts, vectors, distances = ordered_images(unit.positions, places, box, reach=2.0)
        shifts = cells[:, None] + shifts * repeats
        n_cells = supercell.n_cells
        values = cubic.values.reshape(n_atoms, 3, n_cells, n_atoms, 3, n_cells, n_atoms, 3)
        held = values.any(axis=(1, 4, 7)).reshape(n_atoms, len(cells), len(cells))
        triplets = np.argwhere(held)  # constants from a file may end at a cutoff
        numbers, images, shares = shortest_triangles(triplets, vectors, distances, tolerance)
        i, j, k = triplets[numbers].T
        return cls.from_terms(
            i,
            j % n_atoms,
            k % n_atoms,
            shifts[i, j, images[:, 0]],
            shifts[i, k, images[:, 1]],
            values[i, :, j // n_atoms, j % n_atoms, :, k // n_atoms, k % n_atoms] * shares[:, None, None, None],
            supercell.primitive,
        )

    def contract(self, vector: np.ndarray) -> ForceConstants:
        """Phi3 . e, as :meth:`matterscape.potentials.third_order.ThirdOrder.contract` of the same derivatives."""
        vector = displacements(vector, self.structures.n_atoms)
        return self._summed_over_third(np.einsum("tabc,tc->tab", self.blocks, vector[self.third]))

    def acoustic_residual(self) -> float:
        """Largest violation of the acoustic sum rule, max |sum_k Phi_ijk|, in eV/Å^3."""
        sums = (self._summed_over_third(self.blocks[..., c]).blocks for c in range(3))
        return max(float(np.abs(s).max(initial=0.0)) for s in sums)

    def index_asymmetry(self) -> float:
        """Largest difference in eV/Å^3 between blocks that should be equal but for the order of their atoms."""
        exchanged = self.from_terms(
            self.first,
            self.third,
            self.second,
            self.third_shifts,
            self.second_shifts,
            self.blocks.swapaxes(2, 3),
            self.structures,
        )
        moved = self.from_terms(
            self.second,
            self.first,
            self.third,
            -self.second_shifts,
            self.third_shifts - self.second_shifts,
            self.blocks.swapaxes(1, 2),
            self.structures,
        )
        return max(float(np.abs((self + -1.0 * other).blocks).max(initial=0.0)) for other in (exchanged, moved))

    def __add__(self, other: "TripletForceConstants") -> "TripletForceConstants":
        if not isinstance(other, TripletForceConstants):
            return NotImplemented
        if other.structures.n_atoms != self.structures.n_atoms:
            raise ValueError(
                f"other belongs to {other.structures.n_atoms} atoms; accepted are force constants of these "
                f"{self.structures.n_atoms}"
            )
        names = ("first", "second", "third", "second_shifts", "third_shifts", "blocks")
        return self.from_terms(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names), self.structures)

    def __mul__(self, factor: float) -> "TripletForceConstants":
        return replace(self, blocks=factor * self.blocks)

    __rmul__ = __mul__

    def _summed_over_third(self, blocks: np.ndarray) -> ForceConstants:
        order, starts = self._pairs
        leaders = order[starts[:-1]]
        return ForceConstants(
            self.first[leaders],
            self.second[leaders],
            self.second_shifts[leaders],
            np.add.reduceat(blocks[order], starts[:-1], axis=0),
            self.structures,
        )
