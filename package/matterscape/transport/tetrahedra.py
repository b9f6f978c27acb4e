"""Orientations of tetrahedral ions such as PS4 along a trajectory.

The ligands of a tetrahedron keep their labels, so that a turn by 120 degrees about a bond, which leaves the ion as it
was, is a turn all the same. Topologies come from :func:`matterscape.potentials.topology.find_molecules` at the first
frame, and positions are never wrapped afterwards.
"""

import numpy as np

from matterscape.checks import is_number, real_array
from matterscape.dynamics.analysis import velocity_autocorrelation
from matterscape.potentials.topology import Molecules

LONGEST_STRETCH = 1.5  # of a bond, in units of the longest one of the first frame
#: Every other corner of a cube: unit vectors as rows.
IDEAL_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def ligand_vectors(positions: np.ndarray, molecules: Molecules, cell: np.ndarray) -> np.ndarray:
    """Vectors from the centres of molecules to their ligands, along a trajectory.

    Parameters
    ----------
    positions : array (n_times, n_atoms, 3)
        Unwrapped, in Å; they continue those of the structure that the molecules were found in.
    molecules : Molecules
    cell : array (3, 3)
        Cell vectors as rows in Å, constant.

    Returns
    -------
    array (n_times, n_molecules, n_ligands, 3)
        In Å.

    Raises
    ------
    ValueError
        If shapes do not fit, or a ligand is farther away than 1.5 times the longest bond of the first frame: a bond
        broke, or positions were wrapped.
    """
    positions = np.asarray(positions)
    if positions.ndim != 3 or positions.shape[1:] != (molecules.n_atoms, 3):
        raise ValueError(f"positions has shape {positions.shape}; accepted is (n_times, {molecules.n_atoms}, 3)")
    cell = real_array("cell", cell)
    if cell.shape != (3, 3):
        raise ValueError(f"cell has shape {cell.shape}; accepted is (3, 3), the cell vectors as rows")
    ligands = positions[:, molecules.ligands] + molecules.shifts @ cell
    vectors = (ligands - positions[:, molecules.centres, None]).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=-1)
    gone = ~(lengths <= LONGEST_STRETCH * lengths[0].max())
    if gone.any():
        time, molecule, ligand = np.argwhere(gone)[0]
        raise ValueError(
            f"atom {molecules.ligands[molecule, ligand]} is {lengths[time, molecule, ligand]:.2f} Å away from atom "
            f"{molecules.centres[molecule]} at frame {time}; accepted are unwrapped positions of molecules that stay "
            "whole"
        )
    return vectors


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """Proper rotations with the largest tr(R^T A), by singular value decomposition.

    For A = sum_s v_s u_s^T it is the rotation that takes the vectors u_s closest to the v_s.

    Parameters
    ----------
    matrices : array (..., 3, 3)

    Returns
    -------
    array (..., 3, 3)

    Source: W. Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    left, _, right = np.linalg.svd(matrices)
    left[..., 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))[..., None]  # the least important axis
    return left @ right


def tetrahedron_rotations(vectors: np.ndarray) -> np.ndarray:
    """Rotation of every tetrahedron that takes the ideal tetrahedron to its labelled ligands.

    Parameters
    ----------
    vectors : array (n_times, n_tetrahedra, 4, 3)
        From the centres to the ligands, see :func:`ligand_vectors`.

    Returns
    -------
    array (n_times, n_tetrahedra, 3, 3)
        Proper rotations R: ligand s points along R u_s, u the corners of :data:`IDEAL_TETRAHEDRON`. Where the labels
        run the other way round, the last two corners are exchanged.

    Raises
    ------
    ValueError
        If shapes do not fit, or a tetrahedron turns inside out on the way: it is no longer the same ion.

    Source: W. Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    vectors = _checked_vectors(vectors)
    handedness = np.linalg.det(vectors[:, :, 1:] - vectors[:, :, :1])  # (times, tetrahedra), six volumes
    inverted = handedness * handedness[0] <= 0
    if inverted.any():
        time, tetrahedron = np.argwhere(inverted)[0]
        raise ValueError(
            f"tetrahedron {tetrahedron} is flat or turned inside out at frame {time}; accepted are tetrahedra whose "
            "ligands keep their order"
        )
    mirrored = IDEAL_TETRAHEDRON[[0, 1, 3, 2]]
    ideal_handedness = np.linalg.det(IDEAL_TETRAHEDRON[1:] - IDEAL_TETRAHEDRON[0])
    same = handedness[0] * ideal_handedness > 0
    corners = np.where(same[:, None, None], IDEAL_TETRAHEDRON, mirrored)  # (tetrahedra, 4, 3)
    return nearest_rotations(np.einsum("tmsx,msy->tmxy", vectors, corners, optimize=True))


def rotation_angles(rotations: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Angles between rotations.

    Parameters
    ----------
    rotations, reference : arrays (..., 3, 3)
        Of shapes that fit each other; ``rotations[:1]`` is the reference for turns since the first frame.

    Returns
    -------
    array (...)
        In degrees, from 0 to 180.
    """
    difference = np.asarray(rotations) - np.asarray(reference)
    # |R - S|^2 = 4 (1 - cos) = 8 sin^2(angle / 2), exact at small angles too
    half = np.sqrt((difference**2).sum(axis=(-2, -1)) / 8)
    return np.degrees(2 * np.arcsin(np.minimum(half, 1.0)))


def orientation_autocorrelation(vectors: np.ndarray) -> np.ndarray:
    """C1(t) = <n(t) . n(0)> of the unit vectors n along the bonds, over all bonds and time origins.

    Parameters
    ----------
    vectors : array (n_times, n_molecules, n_ligands, 3)
        From the centres to the ligands, see :func:`ligand_vectors`.

    Returns
    -------
    array (n_times,)
        At lags 0, 1, ...; 1 at lag 0.

    Raises
    ------
    ValueError
        If the shape does not fit.
    """
    vectors = _checked_vectors(vectors, n_ligands=None)
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return velocity_autocorrelation(units.reshape(len(units), -1, 3))


def apex_labels(vectors: np.ndarray, axis: np.ndarray, tolerance_deg: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """Where the corners of tetrahedra point: one of them along an axis, against it, or none of them either way.

    Parameters
    ----------
    vectors : array (..., 4, 3)
        From the centres to the ligands.
    axis : array (3,)
        Direction, such as the c vector of a cell.
    tolerance_deg : float
        Largest angle between corner and axis, below 35.26 degrees, where two directions could apply at once.

    Returns
    -------
    labels : array (...), int64
        +1 where a corner points along the axis, -1 against it, 0 oblique.
    corners : array (...), int64
        The ligand that does, 0 to 3; of oblique ones the ligand that comes closest to the axis' line.

    Raises
    ------
    ValueError
        If shapes do not fit, the axis is zero or the tolerance out of range.
    """
    vectors, axis = np.asarray(vectors, np.float64), real_array("axis", axis)
    if vectors.ndim < 2 or vectors.shape[-2:] != (4, 3):
        raise ValueError(
            f"vectors has shape {vectors.shape}; accepted is (..., 4, 3), four ligands of each tetrahedron"
        )
    if axis.shape != (3,) or not np.linalg.norm(axis) > 0:
        raise ValueError(f"axis is {axis}; accepted are three numbers, not all zero")
    if not is_number(tolerance_deg) or not 0 < tolerance_deg < 35.26:
        raise ValueError(f"tolerance_deg is {tolerance_deg!r}; accepted is between 0 and 35.26 degrees")
    cosines = vectors @ (axis / np.linalg.norm(axis)) / np.linalg.norm(vectors, axis=-1)
    corners = np.abs(cosines).argmax(axis=-1)
    closest = np.take_along_axis(cosines, corners[..., None], axis=-1)[..., 0]
    labels = np.where(np.abs(closest) >= np.cos(np.radians(tolerance_deg)), np.sign(closest), 0)
    return labels.astype(np.int64), corners


def _checked_vectors(vectors: np.ndarray, n_ligands: int | None = 4) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 4 or vectors.shape[3] != 3 or 0 in vectors.shape or n_ligands not in (None, vectors.shape[2]):
        wanted = "n_ligands" if n_ligands is None else n_ligands
        raise ValueError(f"vectors has shape {vectors.shape}; accepted is (n_times, n_molecules, {wanted}, 3)")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite")
    return vectors
