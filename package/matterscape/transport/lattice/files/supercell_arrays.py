"""Arrays of force constants over a supercell, as other codes keep them, resolved by image for the primitive cell."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from matterscape.checks import check_number
from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.images import ordered_images, shortest_triangles
from matterscape.transport.lattice.triplets import TripletForceConstants

TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class SupercellMap:
    """Which atom of a primitive cell, translated by which of its vectors, each atom of a supercell is.

    The supercell's vectors may be any whole combinations of the primitive ones.

    Attributes
    ----------
    primitive, supercell : ase.Atoms
    atoms : ndarray (N,), int64
        Atom of the primitive cell.
    lattice : ndarray (N, 3), int64
        Whole primitive vectors from it.
    matrix : ndarray (3, 3), int64
        Rows are the supercell's vectors in primitive ones.
    """

    primitive: Atoms
    supercell: Atoms
    atoms: np.ndarray
    lattice: np.ndarray
    matrix: np.ndarray

    @classmethod
    def found(cls, primitive: Atoms, supercell: Atoms, tolerance: float = TOLERANCE) -> "SupercellMap":
        """The map of two cells that belong to one crystal in one orientation.

        Raises
        ------
        ValueError
            If an atom of the supercell is no translated atom of the primitive cell to within ``tolerance`` Å.
        """
        check_number("tolerance", tolerance, "Å", positive=True)
        unit = primitive.cell.array
        matrix = supercell.cell.array @ np.linalg.inv(unit)
        whole = np.round(matrix)
        distance = np.abs((matrix - whole) @ unit).max()
        if distance > tolerance:
            raise ValueError(
                f"the vectors of the supercell are {distance:.2g} Å off whole sums of those of the primitive cell; "
                f"accepted are {tolerance:g} Å"
            )
        steps = (supercell.positions[:, None] - primitive.positions) @ np.linalg.inv(unit)  # (N, n, 3)
        lattice = np.round(steps)
        distances = np.linalg.norm((steps - lattice) @ unit, axis=2)
        distances[supercell.numbers[:, None] != primitive.numbers] = np.inf
        atoms = distances.argmin(axis=1)
        worst = distances.min(axis=1)
        if not worst.max() <= tolerance:
            raise ValueError(
                f"atom {worst.argmax()} of the supercell is {worst.max():.2g} Å off every translated atom of the "
                f"primitive cell of its species; accepted are {tolerance:g} Å"
            )
        own = np.arange(len(supercell))
        return cls(primitive, supercell, atoms, lattice[own, atoms].astype(np.int64), whole.astype(np.int64))

    @property
    def leaders(self) -> np.ndarray:
        """First atom (n,) of the supercell that is a copy of each atom of the primitive cell."""
        return np.array([np.flatnonzero(self.atoms == atom)[0] for atom in range(len(self.primitive))])

    def second_order(self, values: np.ndarray, first: np.ndarray, tolerance: float = 1e-3) -> ForceConstants:
        """Force constants of the primitive cell, each sum over images given to the nearest ones in equal shares.

        Parameters
        ----------
        values : ndarray (n, N, 3, 3)
            In eV/Å^2, of n atoms of the supercell, one for each of the primitive cell in its order, and all N.
        first : ndarray (n,)
            Which atoms of the supercell they are.
        tolerance : float
            Images whose distances agree to this many Å share equally.
        """
        shifts, _, distances = self._images(first)
        chosen = distances <= distances[:, :, :1] + tolerance
        i, j, image = np.nonzero(chosen)
        blocks = values[i, j] / chosen.sum(axis=2)[i, j, None, None]
        structures = Structures.from_ase(self.primitive)
        return ForceConstants.from_terms(i, self.atoms[j], shifts[i, j, image], blocks, structures)

    def third_order(
        self, triplets: np.ndarray, blocks: np.ndarray, first: np.ndarray, tolerance: float = 1e-3
    ) -> TripletForceConstants:
        """Third-order force constants, each sum over images given to the triangles of least perimeter.

        Parameters
        ----------
        triplets : ndarray (T, 3)
            Numbers of the first atom in ``first``, and of the second and third in the supercell, no triplet twice.
        blocks : ndarray (T, 3, 3, 3)
            In eV/Å^3.
        first, tolerance
            As of :meth:`second_order`.
        """
        shifts, vectors, distances = self._images(first, reach=2.0)
        numbers, places, shares = shortest_triangles(triplets, vectors, distances, tolerance)
        i, j, k = triplets[numbers].T
        return TripletForceConstants.from_terms(
            i,
            self.atoms[j],
            self.atoms[k],
            shifts[i, j, places[:, 0]],
            shifts[i, k, places[:, 1]],
            blocks[numbers] * shares[:, None, None, None],
            Structures.from_ase(self.primitive),
        )

    def _images(self, first: np.ndarray, reach: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shifts (n, N, I, 3) in primitive vectors, vectors and distances of images, nearest first.

        All that are nearer than ``reach`` times the longest vector of the supercell's Wigner-Seitz cell are among them.
        """
        unit = self.primitive.cell.array
        ideal = self.primitive.positions[self.atoms] + self.lattice @ unit
        boxes, vectors, distances = ordered_images(ideal[first], ideal, self.matrix @ unit, reach)
        steps = self.lattice[None] - self.lattice[first][:, None]
        return steps[:, :, None] + boxes @ self.matrix, vectors, distances
