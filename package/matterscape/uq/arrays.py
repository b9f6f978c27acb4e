"""Checks of feature matrices and targets, made once before any linear algebra."""

from collections.abc import Iterator

import numpy as np

ROWS_PER_BLOCK = 4096


def as_array(values) -> np.ndarray:
    """Numpy view of a numpy array, a list or a torch tensor (detached, brought to the CPU)."""
    if hasattr(values, "detach"):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError:  # rows of different lengths, which the checks of the type refuse
        return np.empty(len(values), dtype=object)


def feature_pair(first, second, n_features: int) -> tuple:
    """Two feature matrices, of which either none or both are tensors, on one device.

    Parameters
    ----------
    first, second : array or tensor (n_samples, n_features)
    n_features : int

    Returns
    -------
    two arrays, checked; or two tensors, of which only what was an array is checked

    Raises
    ------
    TypeError, ValueError
        As :func:`feature_matrix`.
    """
    pair = [
        values if hasattr(values, "detach") else feature_matrix(values, name, n_features)
        for name, values in (("first", first), ("second", second))
    ]
    devices = [values.device for values in pair if hasattr(values, "detach")]
    if len(devices) == 1:
        import torch

        pair = [torch.as_tensor(values, device=devices[0]) for values in pair]
    return tuple(pair)


def feature_matrix(features, name: str = "features", n_features: int | None = None) -> np.ndarray:
    """Feature matrix as a floating-point numpy array; float32 stays float32.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
    name : str
        What the caller calls this argument; error messages use it.
    n_features : int, optional
        Number of columns that the matrix must have.

    Returns
    -------
    array (n_samples, n_features), float32 or float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the matrix is not two-dimensional, is empty, holds a non-finite number or has the wrong number of columns.
    """
    matrix = as_array(features)
    if matrix.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {matrix.dtype}")
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a non-empty matrix (samples, features), got shape {matrix.shape}")
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64, copy=False)
    if n_features is not None and matrix.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {matrix.shape[1]}")
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(matrix.sum())  # cheaper than a look at every entry; an overflow is not an error
    if suspicious and not (finite := np.isfinite(matrix).all(axis=1)).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity in row {int(np.argmin(finite))}")
    return matrix


def target_vector(targets, n_samples: int, name: str = "targets") -> np.ndarray:
    """Targets as a finite float64 vector with one number per sample.

    Parameters
    ----------
    targets : array or tensor (n_samples,) or (n_samples, 1)
    n_samples : int
    name : str
        What the caller calls this argument.

    Returns
    -------
    array (n_samples,), float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the length is wrong or an entry is not finite.
    """
    vector = as_array(targets)
    if vector.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {vector.dtype}")
    if vector.shape not in {(n_samples,), (n_samples, 1)}:
        raise ValueError(f"{name} must have one number for each of the {n_samples} samples, got shape {vector.shape}")
    vector = vector.reshape(-1).astype(np.float64)
    if not np.isfinite(vector).all():
        first = int(np.argmin(np.isfinite(vector)))
        raise ValueError(f"{name} must be finite, got {vector[first]} for sample {first}")
    return vector


def error_vector(errors, name: str = "errors") -> np.ndarray:
    """Errors as a finite float64 vector that is not empty.

    Parameters
    ----------
    errors : array or tensor (n_samples,) or (n_samples, 1)
    name : str
        What the caller calls this argument.

    Returns
    -------
    array (n_samples,), float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there is none, the shape is not that of a vector, or an entry is not finite.
    """
    values = as_array(errors)
    if values.size == 0:
        raise ValueError(f"{name} must hold at least one number, got none")
    return target_vector(values, values.size, name)


def positive_vector(values, n_samples: int, name: str) -> np.ndarray:
    """Finite, positive numbers, one per sample, as a float64 vector.

    Parameters
    ----------
    values : array or tensor (n_samples,) or (n_samples, 1)
    n_samples : int
    name : str
        What the caller calls this argument.

    Returns
    -------
    array (n_samples,), float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the length is wrong or an entry is not finite or not positive.
    """
    vector = target_vector(values, n_samples, name)
    if (vector <= 0).any():
        first = int(np.argmax(vector <= 0))
        raise ValueError(f"{name} must be positive, got {vector[first]:g} for sample {first}")
    return vector


def structure_sums(rows: np.ndarray, structure_index: np.ndarray, n_structures: int) -> np.ndarray:
    """Sum of the rows of every structure, in float64.

    Parameters
    ----------
    rows : array (n_atoms, n_features)
    structure_index : array (n_atoms,), integer
    n_structures : int

    Returns
    -------
    array (n_structures, n_features), float64
    """
    from scipy.sparse import csr_matrix

    n_atoms = len(rows)
    gather = csr_matrix((np.ones(n_atoms), (structure_index, np.arange(n_atoms))), shape=(n_structures, n_atoms))
    return gather @ rows


def row_blocks(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive row blocks of a matrix in float64, so that a float32 matrix is never converted whole."""
    for start in range(0, len(matrix), ROWS_PER_BLOCK):
        yield matrix[start : start + ROWS_PER_BLOCK].astype(np.float64, copy=False)
