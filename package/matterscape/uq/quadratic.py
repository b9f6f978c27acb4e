"""The quadratic form |L^-1 f|^2 of many rows as a differentiable torch operator.

With C = L L^T its value is f^T C^-1 f and its derivative 2 C^-1 f, which is linear in f: these two operators are closed
under differentiation to any order. Rows pass in blocks, so that nothing of their size is kept beside them.
"""

import numpy as np
import torch
from scipy.linalg.blas import dtrmm

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
        If it is no tensor, or its entries are not real numbers.
    ValueError
        If the matrix is not two-dimensional, is empty, holds a non-finite number or has the wrong number of columns.
    """
    if not isinstance(features, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(features).__name__}")
    if features.is_complex() or features.dtype == torch.bool:
        raise TypeError(f"{name} must hold real numbers, got dtype {features.dtype}")
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"{name} must be a non-empty matrix (samples, features), got shape {tuple(features.shape)}")
    if n_features is not None and features.shape[1] != n_features:
        raise ValueError(f"{name} must have {n_features} columns, got {features.shape[1]}")
    result = features.to(torch.float64)
    if not bool(torch.isfinite(result.detach().sum())):  # cheaper than a look at every entry
        finite = torch.isfinite(result.detach()).all(dim=1)
        if not bool(finite.all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity in row {int(finite.int().argmin())}")
    return result


def quadratic_form(inverse_factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Squared norm |L^-1 f|^2 of every row f.

    Parameters
    ----------
    inverse_factor : tensor (n_features, n_features), float64
        Lower triangular L^-1 of C = L L^T, on the device of the rows; a constant for differentiation.
    rows : tensor (n_samples, n_features)

    Returns
    -------
    tensor (n_samples,), float64
        Twice differentiable with respect to the rows, and beyond.

    Raises
    ------
    TypeError
        If an argument is no tensor of real numbers.
    ValueError
        If the factor is no square matrix, or the rows are not a finite matrix of the right width.
    """
    inverse_factor = _factor(inverse_factor)
    return _quadratic_form(inverse_factor, feature_tensor(rows, "rows", len(inverse_factor)))


def inverse_product(inverse_factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """C^-1 f of every row f.

    Parameters
    ----------
    inverse_factor, rows
        As in :func:`quadratic_form`.

    Returns
    -------
    tensor (n_samples, n_features), float64
        Differentiable with respect to the rows, as often as needed.

    Raises
    ------
    TypeError
        If an argument is no tensor of real numbers.
    ValueError
        If the factor is no square matrix, or the rows are not a finite matrix of the right width.
    """
    inverse_factor = _factor(inverse_factor)
    return _inverse_product(inverse_factor, feature_tensor(rows, "rows", len(inverse_factor)))


def _factor(inverse_factor: torch.Tensor) -> torch.Tensor:
    factor = feature_tensor(inverse_factor, "inverse_factor").detach()
    if factor.shape[0] != factor.shape[1]:
        raise ValueError(f"inverse_factor must be a square matrix, got shape {tuple(factor.shape)}")
    return factor


def _square_reference(inverse_factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """|L^-1 f|^2 of rows (n_samples, n_features): (n_samples,)."""
    return torch.cat([(block @ inverse_factor.mT).square().sum(dim=1) for block in rows.split(ROWS_PER_BLOCK)])


def _product_reference(inverse_factor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """C^-1 f of rows (n_samples, n_features), as rows."""
    return torch.cat([block @ inverse_factor.mT @ inverse_factor for block in rows.split(ROWS_PER_BLOCK)])


def _square_body(inverse_factor, rows):
    return np.concatenate([np.einsum("nd,nd->n", white, white) for white in whitened_blocks(inverse_factor, rows)])


def _product_body(inverse_factor, rows):
    blocks = whitened_blocks(inverse_factor, rows)
    products = [dtrmm(1.0, inverse_factor, white.T, lower=1, trans_a=1).T for white in blocks]
    return np.concatenate(products, out=np.empty(rows.shape))


def _square_derivative(inputs, gradients):
    inverse_factor, rows = inputs
    return None, 2.0 * gradients[0][:, None] * _inverse_product(inverse_factor, rows)


def _product_derivative(inputs, gradients):
    return None, _inverse_product(inputs[0], gradients[0])


_quadratic_form = Operator(
    "quadratic_form",
    reference=_square_reference,
    body=_square_body,
    fake=lambda inverse_factor, rows: rows.new_empty(rows.shape[0]),
    derivative=_square_derivative,
)
_inverse_product = Operator(
    "inverse_product",
    reference=_product_reference,
    body=_product_body,
    fake=lambda inverse_factor, rows: torch.empty_like(rows),
    derivative=_product_derivative,
)
