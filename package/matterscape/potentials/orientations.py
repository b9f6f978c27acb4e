"""Orientations of rigid bodies: unit quaternions in files, rotation matrices, rotated structures."""

from collections.abc import Iterable

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

ORIENTATION_KEYS = ("quaternions", "c_q")  # of ASE's LAMMPS reader and of AniSOAP; (w, x, y, z) in both
NORM_TOLERANCE = 1e-3


def read_quaternions(frames: Iterable[Atoms]) -> torch.Tensor:
    """Orientations that ASE structures carry as the array ``quaternions`` or ``c_q``.

    Parameters
    ----------
    frames : iterable of ase.Atoms

    Returns
    -------
    tensor (n_atoms, 4), float64
        Unit quaternions (w, x, y, z) that turn the body's axes into the laboratory's, all frames after each other.

    Raises
    ------
    ValueError
        If a frame has neither array, the shape is not (atoms, 4), or a norm differs from 1 by more than 1e-3.
    """
    parts = []
    for index, atoms in enumerate(frames):
        key = next((key for key in ORIENTATION_KEYS if key in atoms.arrays), None)
        if key is None:
            raise ValueError(
                f"structure {index} has no orientations; accepted is an array 'quaternions' or 'c_q' of shape "
                f"({len(atoms)}, 4) with unit quaternions (w, x, y, z)"
            )
        values = np.asarray(atoms.arrays[key], dtype=np.float64)
        if values.shape != (len(atoms), 4):
            raise ValueError(f"{key} of structure {index} has shape {values.shape}; accepted is ({len(atoms)}, 4)")
        check_norms(np.linalg.norm(values, axis=1), f"{key} of structure {index}")
        parts.append(values)
    return torch.from_numpy(np.concatenate(parts))


def check_norms(norms: np.ndarray, name: str) -> None:
    """Raise ``ValueError`` if a norm differs from 1 by more than 1e-3."""
    bad = ~(np.abs(norms - 1) <= NORM_TOLERANCE)
    if bad.any():
        atom = int(bad.argmax())
        raise ValueError(
            f"{name}: atom {atom} has norm {norms[atom]:.6g}; accepted are unit quaternions (w, x, y, z), norm 1 "
            f"within {NORM_TOLERANCE:g}"
        )


def rotation_matrices(quaternions: torch.Tensor) -> torch.Tensor:
    """Rotations (..., 3, 3) of quaternions (..., 4) in the order (w, x, y, z), normalised first.

    They turn column vectors from the body's frame to the laboratory's.
    """
    w, x, y, z = (quaternions / quaternions.norm(dim=-1, keepdim=True)).unbind(-1)
    entries = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def rotated(atoms: Atoms, rotation: np.ndarray) -> Atoms:
    """A copy whose positions, cell, momenta and orientations are rotated by the matrix (3, 3)."""
    copy = atoms.copy()
    copy.set_constraint()
    copy.cell = atoms.cell.array @ rotation.T
    copy.positions = atoms.positions @ rotation.T
    if copy.has("momenta"):
        copy.set_momenta(atoms.get_momenta() @ rotation.T)
    turn = np.roll(Rotation.from_matrix(rotation).as_quat(), 1)  # scipy has (x, y, z, w)
    for key in ORIENTATION_KEYS:
        if key in copy.arrays:
            copy.arrays[key] = _product(turn, atoms.arrays[key])
    return copy


def turned(atoms: Atoms, rotation_vectors: np.ndarray) -> Atoms:
    """A copy in which every body has turned by its rotation vector (n, 3), in radians about laboratory axes."""
    copy = atoms.copy()
    turns = np.roll(Rotation.from_rotvec(rotation_vectors).as_quat(), 1, axis=1)
    for key in ORIENTATION_KEYS:
        if key in copy.arrays:
            copy.arrays[key] = _product(turns, atoms.arrays[key])
    return copy


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quaternion products (n, 4): the rotation ``second`` followed by ``first``; (4,) broadcasts."""
    w, v, scalar, vector = first[..., :1], first[..., 1:], second[..., :1], second[..., 1:]
    scalars = w * scalar - (v * vector).sum(axis=-1, keepdims=True)
    return np.concatenate([scalars, w * vector + scalar * v + np.cross(v, vector)], axis=-1)
