"""Irreducible parts of Cartesian tensors, and which of them the symmetry of a site allows.

Components are m = -l .. l as in the real spherical harmonics, so that a vector is (y, z, x).
"""

from itertools import permutations
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from matterscape.basis.coupling import clebsch_gordan
from matterscape.basis.wigner import wigner_matrices
from matterscape.descriptors.tensor_basis import MAX_LAMBDA, maximally_coupled

Array = TypeVar("Array", np.ndarray, torch.Tensor)

_YZX, _XYZ = [1, 2, 0], [2, 0, 1]
_ASYMMETRY = 1e-6  # antisymmetric part over the tensor's norm that counts as rounding
# an axis of infinite order looks like this one to all tensors up to twice the largest lambda
_AXIS_ORDER = 2 * MAX_LAMBDA + 1


def vector_to_spherical(vectors: Array) -> Array:
    """Components (y, z, x) of vectors (..., 3) given as (x, y, z)."""
    return vectors[..., _YZX]


def spherical_to_vector(components: Array) -> Array:
    """Vectors (..., 3) as (x, y, z) from their components (y, z, x)."""
    return components[..., _XYZ]


def _coupling(angular: int, like: Array) -> Array:
    """Matrix (9, 2 l + 1) from Cartesian (row, column), in the order x, y, z, to the component of order l."""
    table = clebsch_gordan(1, 1, angular)[_XYZ][:, _XYZ].reshape(9, -1)
    return torch.as_tensor(table, dtype=like.dtype, device=like.device) if isinstance(like, torch.Tensor) else table


def cartesian_to_spherical(tensors: Array, *, symmetric: bool = True) -> dict[int, Array]:
    """Irreducible parts of Cartesian tensors of rank 2, such as polarisabilities.

    The trace becomes ``-trace / sqrt(3)``: a positive polarisability has a negative part of order 0. The sum of the
    squares of all parts is that of the tensor.

    Parameters
    ----------
    tensors : numpy.ndarray or torch.Tensor, (..., 3, 3)
        In the order x, y, z.
    symmetric : bool
        Whether the tensors are symmetric and have no part of order 1, which is a pseudovector.

    Returns
    -------
    dict of int to array
        ``{0: (..., 1), 2: (..., 5)}``, and ``1: (..., 3)`` unless symmetric.

    Raises
    ------
    ValueError
        If the shape is another one, or a tensor should be symmetric and is not.
    """
    if tensors.ndim < 2 or tuple(tensors.shape[-2:]) != (3, 3):
        raise ValueError(f"tensors have shape {tuple(tensors.shape)}; accepted is (..., 3, 3)")
    if symmetric:
        difference = abs(tensors - tensors.swapaxes(-1, -2)).reshape(-1, 9).sum(-1)
        size = abs(tensors).reshape(-1, 9).sum(-1)
        if bool((difference > _ASYMMETRY * size).any()):
            raise ValueError(
                f"tensors differ from their transposes by up to {float(difference.max()):.3g}; accepted are symmetric "
                "tensors, or symmetric=False"
            )
    flat = tensors.reshape(*tensors.shape[:-2], 9)
    return {l: flat @ _coupling(l, flat) for l in ((0, 2) if symmetric else (0, 1, 2))}


def spherical_to_cartesian(parts: dict[int, Array]) -> Array:
    """Cartesian tensors (..., 3, 3) from their irreducible parts, the inverse of :func:`cartesian_to_spherical`.

    Parameters
    ----------
    parts : dict of int to array
        Orders 0, 1, 2 or some of them, (..., 2 l + 1) each; those that are missing are zero.

    Raises
    ------
    ValueError
        If there are no parts, or those of other orders.
    """
    if not parts or set(parts) - {0, 1, 2}:
        raise ValueError(f"parts have the orders {sorted(parts)}; accepted are 0, 1, 2, at least one of them")
    flat = sum(part @ _coupling(l, part).T for l, part in parts.items())
    return flat.reshape(*flat.shape[:-1], 3, 3)


def site_operations(atoms: Atoms, centre: int, *, tolerance: float = 1e-3) -> np.ndarray:
    """Rotations and reflections about an atom that map a molecule onto itself.

    Parameters
    ----------
    atoms : ase.Atoms
        Not periodic.
    centre : int
    tolerance : float
        How far an atom may be from the one that it is mapped to, in Å.

    Returns
    -------
    numpy.ndarray, (n_operations, 3, 3)
        Orthogonal matrices that act on columns (x, y, z); of a linear molecule, those of an axis of order 17, which no
        tensor up to order 8 can tell from the infinite one.

    Raises
    ------
    ValueError
        If the atoms are periodic or there is but one.
    IndexError
        If there is no such atom.
    """
    if atoms.pbc.any():
        raise ValueError(f"atoms are periodic along {atoms.pbc.tolist()}; accepted are molecules")
    if not -len(atoms) <= centre < len(atoms):
        raise IndexError(f"centre is {centre}; there are {len(atoms)} atoms")
    others = np.delete(np.arange(len(atoms)), centre)
    if not len(others):
        raise ValueError("atoms are one atom; accepted are two or more")
    vectors, numbers = atoms.positions[others] - atoms.positions[centre], atoms.numbers[others]
    chosen = _independent(vectors, tolerance)
    frame = _completed(vectors[chosen])
    found: list[np.ndarray] = []
    for images in permutations(range(len(vectors)), len(chosen)):
        images = list(images)
        if (numbers[images] != numbers[chosen]).any():
            continue
        if np.abs(vectors[images] @ vectors[images].T - vectors[chosen] @ vectors[chosen].T).max() > 10 * tolerance:
            continue
        for image in _completions(vectors[images]):
            matrix = _nearest_orthogonal(image.T @ np.linalg.inv(frame.T))
            if _maps(matrix, vectors, numbers, tolerance) and not any(np.abs(matrix - k).max() < 1e-2 for k in found):
                found.append(matrix)
    return np.array(found)


def _independent(vectors: np.ndarray, tolerance: float) -> list[int]:
    """Indices of as many independent vectors as there are, up to three, each the farthest from the span of the last."""
    chosen: list[int] = []
    rest = vectors.copy()
    while len(chosen) < 3:
        lengths = np.linalg.norm(rest, axis=1)
        if lengths.max() < 10 * tolerance:
            break
        chosen.append(int(lengths.argmax()))
        direction = rest[chosen[-1]] / lengths.max()
        rest = rest - np.outer(rest @ direction, direction)
    return chosen


def _completed(rows: np.ndarray) -> np.ndarray:
    """Three independent rows: those given, and unit vectors at right angles to them."""
    if len(rows) == 1:
        other = np.cross(rows[0], np.eye(3)[np.abs(rows[0]).argmin()])
        rows = np.stack([rows[0], other / np.linalg.norm(other)])
    if len(rows) == 2:
        third = np.cross(rows[0], rows[1])
        rows = np.stack([*rows, third / np.linalg.norm(third)])
    return rows


def _completions(rows: np.ndarray) -> list[np.ndarray]:
    """All the ways in which the image of a completed frame may look, given those of its vectors."""
    completed = _completed(rows)
    if len(rows) == 3:
        return [completed]
    if len(rows) == 2:
        return [completed, completed * np.array([[1], [1], [-1]])]
    axis = rows[0] / np.linalg.norm(rows[0])
    turns = Rotation.from_rotvec(2 * np.pi / _AXIS_ORDER * np.arange(_AXIS_ORDER)[:, None] * axis).as_matrix()
    mirrored = completed * np.array([[1], [1], [-1]])
    return [frame @ turn.T for frame in (completed, mirrored) for turn in turns]


def _nearest_orthogonal(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _maps(matrix: np.ndarray, vectors: np.ndarray, numbers: np.ndarray, tolerance: float) -> bool:
    distances = np.linalg.norm((vectors @ matrix.T)[:, None] - vectors, axis=2)
    nearest = distances.argmin(axis=1)
    return bool((distances.min(axis=1) < tolerance).all() and (numbers[nearest] == numbers).all())


def site_projector(operations: np.ndarray, lambda_: int, *, parity: int = 1) -> np.ndarray:
    """Projector on the tensors of one order and parity that the operations of a site leave as they are.

    Parameters
    ----------
    operations : numpy.ndarray, (n_operations, 3, 3)
        A whole group of rotations and reflections.
    lambda_ : int
    parity : 1 or -1
        1 for tensors that change by (-1)^lambda under inversion, -1 for pseudotensors.

    Returns
    -------
    numpy.ndarray, (2 lambda + 1, 2 lambda + 1)
        Its trace is the number of independent components.

    Raises
    ------
    ValueError
        If the parity is another one, or the operations are no group.
    """
    if parity not in (1, -1):
        raise ValueError(f"parity is {parity!r}; accepted are 1 and -1")
    operations = np.asarray(operations, dtype=float)
    matrices = wigner_matrices(operations, lambda_)[lambda_]
    if parity == -1:
        matrices = matrices * np.linalg.det(operations)[:, None, None]
    projector = matrices.mean(axis=0)
    if np.abs(projector @ projector - projector).max() > 1e-2:
        raise ValueError("operations do not form a group; accepted are all operations of a site")
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)  # 0 and 1 but for a slightly distorted site
    kept = vectors[:, values > 0.5]
    return kept @ kept.T


class SymmetryAudit(NamedTuple):
    """Independent components that a site allows, and how many of them a basis of three local vectors reaches."""

    allowed: int
    reached: int


def symmetry_audit(operations: np.ndarray, lambda_: int, *, parity: int = 1) -> SymmetryAudit:
    """What :func:`~matterscape.descriptors.tensor_basis.maximally_coupled` can and can't express at a site.

    The vectors are generic ones among those that the site allows; for pseudotensors so is a second triple.

    Parameters and errors as in :func:`site_projector`.

    Returns
    -------
    SymmetryAudit
    """
    allowed = round(np.trace(site_projector(operations, lambda_, parity=parity)))
    vectors = site_projector(operations, 1) @ np.random.default_rng(0).normal(size=(2, 3, 3))  # (triples, yzx, vectors)
    basis = maximally_coupled(torch.from_numpy(vectors[:1]), lambda_)[0].numpy()
    if parity == -1:
        basis = basis * np.linalg.det(vectors[1])
    return SymmetryAudit(allowed, int(np.linalg.matrix_rank(basis, tol=1e-8)))
