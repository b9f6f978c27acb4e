"""Wigner matrices in the basis of the real spherical harmonics."""

import numpy as np
from scipy.spatial.transform import Rotation

from matterscape.basis.coupling import clebsch_gordan

# a vector in the order of the real harmonics of l = 1
_YZX = [1, 2, 0]


def wigner_matrices(rotations: np.ndarray | Rotation, max_angular: int) -> list[np.ndarray]:
    """Matrices ``D^l`` with ``Y_l(R r) = D^l Y_l(r)``, for proper and improper rotations R.

    ``D^1`` is R itself; ``D^l`` is the part of ``D^1 x D^(l-1)`` that couples to l, which is unique and conserves
    parity, so a reflection needs no special case. Rounding grows linearly with l.

    Parameters
    ----------
    rotations : numpy.ndarray, (..., 3, 3), or scipy.spatial.transform.Rotation
        Orthogonal matrices that act on column vectors (x, y, z).
    max_angular : int
        Largest l.

    Returns
    -------
    list of numpy.ndarray, (..., 2 l + 1, 2 l + 1), float64
        One array for each ``l = 0 .. max_angular``; ``D(R1 R2) = D(R1) D(R2)``.

    Raises
    ------
    ValueError
        If the shape is another one, a matrix is not orthogonal, or ``max_angular`` is not a whole number from 0 on.
    """
    if isinstance(max_angular, bool) or not isinstance(max_angular, int | np.integer) or max_angular < 0:
        raise ValueError(f"max_angular is {max_angular!r}; accepted is a whole number from 0 on")
    matrices = rotations.as_matrix() if isinstance(rotations, Rotation) else np.asarray(rotations, dtype=np.float64)
    if matrices.shape[-2:] != (3, 3):
        raise ValueError(f"rotations have shape {matrices.shape}; accepted is (..., 3, 3)")
    deviation = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max(initial=0.0)
    if not deviation < 1e-8:
        raise ValueError(f"rotations deviate from orthogonality by {deviation:.1e}; accepted is up to 1e-08")
    vector = matrices[..., _YZX, :][..., _YZX]
    result = [np.ones((*matrices.shape[:-2], 1, 1)), vector][: max_angular + 1]
    for angular in range(2, max_angular + 1):
        coupling = clebsch_gordan(1, angular - 1, angular)
        half = np.einsum("abM,...ap->...pbM", coupling, vector)
        half = np.einsum("...pbM,...bq->...pqM", half, result[-1])
        result.append(np.einsum("...pqM,pqN->...MN", half, coupling))
    return result
