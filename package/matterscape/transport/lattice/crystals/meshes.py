"""Uniform meshes of wavevectors and the part of them that symmetry leaves independent."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import spglib

from matterscape.checks import check_number, check_whole
from matterscape.structures import Structures

#: Frequencies in rad/ps at wavevectors that symmetry takes into each other agree to this, relative to the largest.
SYMMETRIC_FREQUENCIES = 1e-4


@dataclass(frozen=True, eq=False)
class SymmetricMesh:
    """A uniform mesh of Q wavevectors, Gamma among them, and the G operations that map it onto itself.

    Wavevector number q stands at step (q_1, q_2, q_3) / mesh of the reciprocal cell, counted as by
    ``numpy.ravel_multi_index``, in the order of :class:`~matterscape.transport.lattice.modes.VibrationalModes`. The
    operations are rotations of the crystal and their products with the reversal of time, which turns every wavevector
    and velocity round; there are two where the crystal has no symmetry.

    Attributes
    ----------
    mesh : tuple of int (3,)
        Wavevectors along each reciprocal vector.
    rotations : ndarray (G, 3, 3), float64
        What each operation does to a polar vector in Cartesian coordinates.
    images : ndarray (G, Q), int64
        Place of the wavevector that each operation takes each one to.
    irreducible : ndarray (I,), int64
        Places of the independent wavevectors.
    weights : ndarray (I,), int64
        How many of the Q are equivalent to each of them.
    representatives : ndarray (Q,), int64
        Which of the I each wavevector is equivalent to.
    operations : ndarray (Q,), int64
        An operation that takes that one to this wavevector.
    """

    mesh: tuple[int, int, int]
    rotations: np.ndarray
    images: np.ndarray
    irreducible: np.ndarray
    weights: np.ndarray
    representatives: np.ndarray
    operations: np.ndarray

    @property
    def n_wavevectors(self) -> int:
        """Q, the number of wavevectors of the whole mesh."""
        return len(self.representatives)

    @cached_property
    def little_groups(self) -> np.ndarray:
        """Mask (I, G): the operations that leave each irreducible wavevector where it is."""
        return (self.images[:, self.irreducible] == self.irreducible).T

    @cached_property
    def projectors(self) -> np.ndarray:
        """Matrices (I, 3, 3) onto the vectors that the little group of each irreducible wavevector leaves alone."""
        groups = self.little_groups.astype(float)
        return np.einsum("ig,gab->iab", groups, self.rotations) / groups.sum(axis=1)[:, None, None]

    def expand(self, values: np.ndarray, axis: int = 0) -> np.ndarray:
        """Scalars of the irreducible wavevectors, along one axis, as those of all Q."""
        return np.take(values, self.representatives, axis=axis)

    def expand_vectors(self, vectors: np.ndarray) -> np.ndarray:
        """Polar vectors (I, ..., 3) of the irreducible wavevectors as those (Q, ..., 3) of all."""
        turns = self.rotations[self.operations]
        return np.einsum("qab,q...b->q...a", turns, vectors[self.representatives])

    def expand_tensors(self, tensors: np.ndarray) -> np.ndarray:
        """Tensors (I, ..., 3, 3) of the irreducible wavevectors as those (Q, ..., 3, 3) of all."""
        turns = self.rotations[self.operations]
        return np.einsum("qab,q...bc,qdc->q...ad", turns, tensors[self.representatives], turns)

    def pair_weights(self) -> np.ndarray:
        """For each irreducible q1 and each third wavevector q3 (I, Q), how often the pair of q3 and -q1-q3 counts.

        Pairs that the little group of q1, or an exchange of the two, takes into each other count once, for all of them;
        the others have weight 0. The sum over q3 is Q / 2: every unordered pair of two different ones counts one, a
        pair of equal ones 1/2.
        """
        steps = np.stack(np.unravel_index(np.arange(self.n_wavevectors), self.mesh), axis=-1)
        weights = np.zeros((len(self.irreducible), self.n_wavevectors))
        for row, own in enumerate(self.irreducible):
            other = np.ravel_multi_index(tuple((-steps[own] - steps).T % np.array(self.mesh)[:, None]), self.mesh)
            images = self.images[self.little_groups[row]]
            leaders = np.minimum(images.min(axis=0), images[:, other].min(axis=0))
            weights[row] = 0.5 * np.bincount(leaders, minlength=self.n_wavevectors)
        return weights


def symmetric_mesh(
    structures: Structures,
    mesh: Sequence[int],
    *,
    masses: np.ndarray | None = None,
    symmetry: bool = True,
    tolerance: float = 1e-5,
) -> SymmetricMesh:
    """The irreducible part of a uniform mesh of wavevectors of a crystal.

    Operations of the crystal that do not map the mesh onto itself are left out.

    Parameters
    ----------
    structures : Structures
        One primitive cell.
    mesh : three ints
    masses : ndarray (n,), optional
        In amu; atoms of one species but different masses are not equivalent.
    symmetry : bool
        Whether to use the crystal's rotations, found by spglib; reversal of time is used in any case.
    tolerance : float
        How far in Å an atom may be from where an operation takes another.

    Raises
    ------
    ValueError
        If there is more than one structure, or the mesh is no three whole numbers.
    """
    mesh = checked_mesh(mesh)
    check_number("tolerance", tolerance, "Å", positive=True)
    if structures.n_structures != 1 or not bool(structures.pbc.all()):
        raise ValueError(
            f"structures are {structures.n_structures}, periodic along {structures.pbc.tolist()}; accepted is one "
            "structure that is periodic in all three directions"
        )
    atoms = structures.to_ase()[0]
    rotations = np.eye(3, dtype=np.int64)[None]
    if symmetry:
        kinds = np.column_stack([atoms.numbers, atoms.get_masses() if masses is None else masses])
        kinds = np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1)
        found = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), kinds + 1), symprec=tolerance)
        if found is not None:
            rotations = np.unique(found["rotations"].astype(np.int64), axis=0)
    sizes = np.array(mesh)
    # fractional coordinates turn with W, components of wavevectors with the inverse of its transpose
    turns = np.round(np.linalg.inv(rotations).swapaxes(1, 2)).astype(np.int64)
    on_mesh = (turns * sizes[:, None] % sizes == 0).all(axis=(1, 2))
    turns, rotations = turns[on_mesh], rotations[on_mesh]
    cell = atoms.cell.array.T
    cartesian = cell @ rotations @ np.linalg.inv(cell)
    turns, chosen = np.unique(np.concatenate([turns, -turns]), axis=0, return_index=True)
    cartesian = np.concatenate([cartesian, -cartesian])[chosen]
    steps = np.stack(np.unravel_index(np.arange(sizes.prod()), mesh))
    taken = turns * sizes[:, None] // sizes
    images = np.stack([np.ravel_multi_index(tuple((turn @ steps) % sizes[:, None]), mesh) for turn in taken])
    irreducible, representatives, weights = np.unique(images.min(axis=0), return_inverse=True, return_counts=True)
    operations = (images[:, irreducible[representatives]] == np.arange(sizes.prod())).argmax(axis=0)
    return SymmetricMesh(mesh, cartesian, images, irreducible, weights, representatives, operations)


def check_symmetric(mesh: SymmetricMesh, angular_frequencies: np.ndarray) -> None:
    """Raise ``ValueError`` unless frequencies (Q, 3 n) have the symmetry of the mesh."""
    expected = mesh.expand(angular_frequencies[mesh.irreducible])
    largest = np.abs(angular_frequencies).max()
    difference = np.abs(angular_frequencies - expected).max()
    if difference > SYMMETRIC_FREQUENCIES * largest:
        raise ValueError(
            f"frequencies at equivalent wavevectors differ by {difference / largest:.1e} of the largest; accepted are "
            f"force constants with the symmetry of the structure, to {SYMMETRIC_FREQUENCIES:g}; use symmetry=False"
        )


def checked_mesh(mesh: Sequence[int]) -> tuple[int, int, int]:
    """Three whole numbers, at least 1 each; raise ``ValueError`` for anything else."""
    mesh = tuple(mesh)
    if len(mesh) != 3:
        raise ValueError(f"mesh is {mesh}; accepted are three whole numbers")
    for number in mesh:
        check_whole("a number of the mesh", number, 1)
    return tuple(int(number) for number in mesh)
