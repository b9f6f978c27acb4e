"""Dynamical matrices of large models: sparse, symmetric, of 3 x 3 blocks, multiplying many vectors at a time."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from scipy.sparse import bsr_array, issparse, load_npz

from matterscape.basis._lanes import LANES
from matterscape.kernels import launch
from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.spectral._block_kernels import multiply
from matterscape.transport.lattice.spectral.plane_waves import atomic_masses
from matterscape.transport.lattice.supercells import check_force_constants

#: Asymmetry that is taken for rounding, in parts of the largest element.
ROUNDING = 1e-8
DTYPES = (np.float64, np.float32)


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """Symmetric sparse matrix (3 n, 3 n) of 3 x 3 blocks.

    Made by one of the class methods, which check what they are given.

    Attributes
    ----------
    row_starts : ndarray (n + 1,), int32
        Where the blocks of each row of blocks begin.
    columns : ndarray (B,), int32
        Column of blocks that each block stands in, ascending in a row.
    blocks : ndarray (B, 3, 3), float64 or float32
        In (rad/ps)^2 for a dynamical matrix.
    """

    row_starts: np.ndarray
    columns: np.ndarray
    blocks: np.ndarray

    @classmethod
    def from_force_constants(
        cls, force_constants: ForceConstants, masses: np.ndarray | None = None, dtype: type = np.float64
    ) -> "BlockMatrix":
        """Dynamical matrix Phi_ij / sqrt(M_i M_j) at zero wavevector in (rad/ps)^2.

        Parameters
        ----------
        force_constants : ForceConstants
            Of one periodic cell.
        masses : ndarray (n,), optional
            In amu; those of the structure if not given.
        dtype : float64 or float32
            Of the blocks, and of the vectors that they multiply.

        Raises
        ------
        ValueError
            If the blocks are not finite or not symmetric, or the masses not positive.
        """
        check_force_constants(force_constants)
        roots = np.sqrt(atomic_masses(force_constants.structures, masses))
        matrix = force_constants.to_bsr()
        rows = np.repeat(np.arange(len(roots)), np.diff(matrix.indptr))
        matrix.data *= (SQUARED_FREQUENCY / (roots[rows] * roots[matrix.indices]))[:, None, None]
        return cls.from_sparse(matrix, dtype=dtype)

    @classmethod
    def from_sparse(cls, matrix: object, dtype: type = np.float64) -> "BlockMatrix":
        """Any sparse matrix or array of SciPy, or a dense array, (3 n, 3 n).

        Raises
        ------
        ValueError
            If it is not square, of whole 3 x 3 blocks, finite and symmetric.
        """
        if np.dtype(dtype) not in [np.dtype(accepted) for accepted in DTYPES]:
            raise ValueError(f"dtype is {dtype}; accepted are float64 and float32")
        if not issparse(matrix):
            matrix = np.asarray(matrix)
        shape, kind = matrix.shape, np.dtype(matrix.dtype).kind
        if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 3 or not shape[0] or kind not in "iuf":
            raise ValueError(
                f"matrix has shape {shape} and dtype {matrix.dtype}; accepted is a real one (3 n, 3 n), n at least 1"
            )
        matrix = bsr_array(matrix, blocksize=(3, 3), dtype=np.float64)
        if not np.isfinite(matrix.data).all():
            raise ValueError("matrix holds numbers that are not finite; accepted are finite ones")
        matrix.sum_duplicates()
        transposed = bsr_array(matrix.T, blocksize=(3, 3))
        asymmetry, largest = abs(matrix - transposed).max(), np.abs(matrix.data).max(initial=0.0)
        if asymmetry > ROUNDING * largest:
            raise ValueError(
                f"matrix differs from its transpose by {asymmetry:.3g}, its largest element is {largest:.3g}; accepted "
                f"is a symmetric one, to {ROUNDING:g} of the largest element"
            )
        if asymmetry:
            matrix = bsr_array(0.5 * (matrix + transposed), blocksize=(3, 3))
        matrix.sort_indices()
        return cls(
            matrix.indptr.astype(np.int32),
            matrix.indices.astype(np.int32),
            np.ascontiguousarray(matrix.data, dtype=dtype),
        )

    @property
    def n_atoms(self) -> int:
        """Rows of blocks."""
        return len(self.row_starts) - 1

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers, float64 or float32."""
        return self.blocks.dtype

    def astype(self, dtype: type) -> "BlockMatrix":
        """The same matrix in another precision."""
        return replace(self, blocks=self.blocks.astype(dtype))

    def to_bsr(self) -> bsr_array:
        """The same matrix as SciPy's."""
        size = 3 * self.n_atoms
        return bsr_array((self.blocks, self.columns, self.row_starts), shape=(size, size))

    def __matmul__(self, vectors: np.ndarray) -> np.ndarray:
        """Product (3 n,) or (3 n, R) with real vectors, in the precision of the matrix."""
        vectors = np.asarray(vectors)
        packed = self.packed(vectors.reshape(len(vectors), -1))
        product = np.empty_like(packed)
        with launch("products of block matrices"):
            multiply(self.row_starts, self.columns, self.blocks, packed, product)
        n_vectors = 1 if vectors.ndim == 1 else vectors.shape[1]
        return product.reshape(len(vectors), -1)[:, :n_vectors].reshape(vectors.shape)

    def packed(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (3 n, R) as a new array (n, 3, S, 8) for the kernels, filled up with zeros to whole registers.

        Raises
        ------
        ValueError
            If there is none, or they are not real and finite vectors of this length.
        """
        vectors = np.asarray(vectors)
        good = vectors.ndim == 2 and vectors.shape[0] == 3 * self.n_atoms and vectors.shape[1]
        if not good or vectors.dtype.kind not in "iuf" or not np.isfinite(vectors).all():
            raise ValueError(
                f"vectors have shape {vectors.shape} and dtype {vectors.dtype}; accepted are finite real ones "
                f"({3 * self.n_atoms}, R) with R at least 1"
            )
        packed = np.zeros((len(vectors), -(-vectors.shape[1] // LANES) * LANES), self.dtype)
        packed[:, : vectors.shape[1]] = vectors
        return packed.reshape(self.n_atoms, 3, -1, LANES)

    def acoustic_residual(self, masses: np.ndarray) -> float:
        """Largest |sum_j D_ij sqrt(M_j)| over the largest |D| and sqrt(M): zero if nothing holds the atoms in space.

        Parameters
        ----------
        masses : ndarray (n,)
            In any unit.
        """
        roots = np.sqrt(np.asarray(masses, dtype=np.float64))
        translations = np.einsum("i,ab->iab", roots, np.eye(3)).reshape(-1, 3)
        return float(np.abs(self @ translations).max() / (np.abs(self.blocks).max() * roots.max()))


def read_dynamical_matrix(matrix_file: str | Path, structure_file: str | Path) -> tuple[BlockMatrix, Structures]:
    """Dynamical matrix and structure of an archive with a sparse matrix of SciPy and a file of atoms.

    Parameters
    ----------
    matrix_file : path
        As written by ``scipy.sparse.save_npz``, in (rad/ps)^2.
    structure_file : path
        Any format of ASE, with the cell.

    Raises
    ------
    ValueError
        If the matrix is not symmetric and finite, belongs to another number of atoms, or does not leave translations
        at rest, to 1e-3 of its largest element.

    Source: the files ``dynmat.npz`` and ``replicated_atoms.xyz`` of https://github.com/afiorent/hydro_glasses.
    """
    atoms = read(structure_file)
    if not isinstance(atoms, Atoms) or not atoms.pbc.all():
        raise ValueError(f"{structure_file} holds no structure with a periodic cell; accepted is one with it")
    matrix = BlockMatrix.from_sparse(load_npz(matrix_file))
    if matrix.n_atoms != len(atoms):
        raise ValueError(
            f"{matrix_file} belongs to {matrix.n_atoms} atoms, {structure_file} holds {len(atoms)}; accepted are files "
            "of one model"
        )
    residual = matrix.acoustic_residual(atoms.get_masses())
    if residual > 1e-3:
        raise ValueError(
            f"{matrix_file} times a translation is {residual:.2g} of its largest element; accepted is at most 1e-3, as "
            "of a solid that nothing holds in space"
        )
    return matrix, Structures.from_ase(atoms)
