"""The quadratic form |L^-1 f|^2 of many rows as a differentiable torch operator.

With C = L L^T its value is f^T C^-1 f, its derivative 2 C^-1 f, and that is linear in f: two operators, each other's
derivatives, are closed under differentiation to any order. Rows pass in blocks, so that nothing of their size is
kept beside them.
"""

import numpy as np
import torch
from scipy.linalg import solve_triangular

from matterscape.kernels import Operator
from matterscape.uq.arrays import ROWS_PER_BLOCK
from matterscape.uq.rigidity import whitened_blocks


def feature_tensor(features: torch.Tensor, name: str = "features", n_features: int | None = None) -> torch.Tensor:
    """Feature matrix as a float64 tensor on its device, with its graph.

    Parameters
    ----------
    features : tensor (n_samples, n_features)
    name : str
        What the caller calls this argument; error messages use it.
    n_features : int, optional
        Number of columns that the matrix must have.

    Returns
    -------
    tensor (n_samples, n_features), float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If the matrix is not two-dimensional, is empty, holds a non-finite number or has the wrong number of columns.
    """
    if features.is_complex() or features.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got dtype {features.dtype}")
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"{name} must be a non-empty matrix (samples, features), got shape {tuple(features.shape)}")
    if n_features is not None and features.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {features.shape[1]}")
    finite = torch.isfinite(features.detach()).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity in row {int(finite.int().argmin())}")
    return features.to(torch.float64)


def quadratic_form(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Squared norm |L^-1 f|^2 of every row f.

    Parameters
    ----------
    factor : tensor (n_features, n_features), float64
        Lower triangular factor L of C = L L^T, on the device of the rows; a constant for differentiation.
    rows : tensor (n_samples, n_features)

    Returns
    -------
    tensor (n_samples,), float64
        Twice differentiable with respect to the rows, and beyond.

    Raises
    ------
    ValueError
        If the rows are not a finite matrix of the right width.
    """
    return _quadratic_form(factor.detach(), feature_tensor(rows, "rows", len(factor)))


def inverse_product(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """C^-1 f of every row f.

    Parameters
    ----------
    factor, rows
        As in :func:`quadratic_form`.

    Returns
    -------
    tensor (n_samples, n_features), float64
        Differentiable with respect to the rows, as often as needed.

    Raises
    ------
    ValueError
        If the rows are not a finite matrix of the right width.
    """
    return _inverse_product(factor.detach(), feature_tensor(rows, "rows", len(factor)))


def _square_reference(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """|L^-1 f|^2 of rows (n_samples, n_features): (n_samples,)."""
    white = (
        torch.linalg.solve_triangular(factor.mT, block, upper=True, left=False) for block in rows.split(ROWS_PER_BLOCK)
    )
    return torch.cat([(block * block).sum(dim=1) for block in white])


def _solution_reference(factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """C^-1 f of rows (n_samples, n_features), as rows."""
    return torch.cat([torch.cholesky_solve(block.mT, factor).mT for block in rows.split(ROWS_PER_BLOCK)])


def _square_body(factor, rows):
    return np.concatenate([np.einsum("nd,nd->n", white, white) for white in whitened_blocks(factor, rows)])


def _solution_body(factor, rows):
    result = np.empty(rows.shape)
    start = 0
    for white in whitened_blocks(factor, rows):
        solution = solve_triangular(factor, white.T, lower=True, trans="T", check_finite=False)
        result[start : start + len(white)] = solution.T
        start += len(white)
    return result


def _square_derivative(inputs, gradients):
    factor, rows = inputs
    return None, 2.0 * gradients[0][:, None] * _inverse_product(factor, rows)


def _solution_derivative(inputs, gradients):
    return None, _inverse_product(inputs[0], gradients[0])


_quadratic_form = Operator(
    "quadratic_form",
    reference=_square_reference,
    body=_square_body,
    fake=lambda factor, rows: rows.new_empty(rows.shape[0]),
    derivative=_square_derivative,
)
_inverse_product = Operator(
    "inverse_product",
    reference=_solution_reference,
    body=_solution_body,
    fake=lambda factor, rows: torch.empty_like(rows),
    derivative=_solution_derivative,
)
