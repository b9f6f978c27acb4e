"""A face-centred cubic lattice of random springs: sound and its scattering by disorder in their simplest form.

Nearest neighbours, at distance one, are joined by central springs K = 1 + delta u, u uniform in [-1, 1], and all masses
are one. For delta < 1 all springs are positive and the lattice at rest is stable. Units are reduced; where arguments
and results elsewhere are in Å, ps and amu, they stand for those.
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array

from matterscape.checks import check_fraction, check_whole
from matterscape.structures import Structures
from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix

_SITES = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
#: One of each pair of opposite neighbours, in halves of the cubic cell's edge.
_NEIGHBOURS = np.array([[0, 1, 1], [0, 1, -1], [1, 0, 1], [1, 0, -1], [1, 1, 0], [1, -1, 0]])
#: Edge of the cubic cell for nearest neighbours at distance one.
CUBIC_EDGE = np.sqrt(2.0)


@dataclass(frozen=True, eq=False)
class SpringLattice:
    """Random springs on a face-centred cubic lattice.

    Attributes
    ----------
    structures : Structures
        The sites, periodic; their species means nothing.
    matrix : BlockMatrix
        Dynamical matrix.
    masses : ndarray (n,), float64
        All one.
    stiffness : ndarray (n,), float64
        Mean of the twelve springs of each site.
    disorder : float
        delta.
    """

    structures: Structures
    matrix: BlockMatrix
    masses: np.ndarray
    stiffness: np.ndarray
    disorder: float


def spring_lattice(
    n_cells: int, disorder: float, *, seed: int | np.random.Generator = 0, dtype: type = np.float64
) -> SpringLattice:
    """Cube of n_cells^3 cubic cells, 4 n_cells^3 sites.

    Parameters
    ----------
    n_cells : int
        At least 2.
    disorder : float
        delta from 0, the perfect lattice, to 1.
    seed : int or numpy.random.Generator
    dtype : float64 or float32
        Of the matrix.

    Raises
    ------
    ValueError
        If there are fewer than 2 cells along an edge, or the disorder is not from 0 to 1.
    """
    check_whole("n_cells", n_cells, 2)
    check_fraction("disorder", disorder)
    rng = np.random.default_rng(seed)
    edge = 2 * int(n_cells)
    cells = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    places = (2 * cells + _SITES).reshape(-1, 3)
    n_sites = len(places)
    index = np.empty((edge,) * 3, np.int32)
    index[tuple(places.T)] = np.arange(n_sites)
    first = np.tile(np.arange(n_sites, dtype=np.int32), len(_NEIGHBOURS))
    second = np.concatenate([index[tuple(((places + step) % edge).T)] for step in _NEIGHBOURS])
    springs = 1 + disorder * rng.uniform(-1, 1, len(first))
    directions = np.repeat(_NEIGHBOURS / np.sqrt(2), n_sites, axis=0)
    stiffness = (np.bincount(first, springs, n_sites) + np.bincount(second, springs, n_sites)) / 12
    matrix = BlockMatrix.from_sparse(_assembled(first, second, springs, directions, n_sites), dtype=dtype)
    atoms = Atoms(f"H{n_sites}", places * (CUBIC_EDGE / 2), cell=[n_cells * CUBIC_EDGE] * 3, pbc=True)
    return SpringLattice(Structures.from_ase(atoms), matrix, np.ones(n_sites), stiffness, float(disorder))


def _assembled(
    first: np.ndarray, second: np.ndarray, springs: np.ndarray, directions: np.ndarray, n_sites: int
) -> coo_array:
    """Matrix (3 n, 3 n) of the energy sum K (e.(u_j - u_i))^2 / 2 of central springs."""
    total = coo_array((3 * n_sites, 3 * n_sites)).tocsr()
    for a in range(3):
        for b in range(3):
            values = springs * directions[:, a] * directions[:, b]
            diagonal = np.bincount(first, values, n_sites) + np.bincount(second, values, n_sites)
            sites = np.arange(n_sites, dtype=np.int32)
            rows, columns = np.concatenate([first, second, sites]), np.concatenate([second, first, sites])
            data = np.concatenate([-values, -values, diagonal])
            # explicit zeros are dropped, blocks come back when the matrix is cut into them
            total = total + coo_array((data, (3 * rows + a, 3 * columns + b)), shape=total.shape).tocsr()
    return total
