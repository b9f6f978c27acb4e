"""Clebsch-Gordan products of chosen pairs of channels as torch operators, closed under differentiation."""

from functools import cache

import numpy as np
import torch

from matterscape.basis.coupling import clebsch_gordan
from matterscape.descriptors import _selected_kernels as kernels
from matterscape.kernels import Operator


def _angular(block: torch.Tensor) -> int:
    return (block.shape[1] - 1) // 2


def _contracted(table: np.ndarray, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Sum over the orders of y and z (n, 2 l + 1, pairs) with coefficients (y, z, order of the result)."""
    parts = []
    for by_order in table.transpose(2, 0, 1):
        rows, columns = np.nonzero(by_order)
        values = torch.tensor(by_order[rows, columns], dtype=y.dtype, device=y.device)
        parts.append(torch.einsum("ntp,ntp,t->np", y[:, rows], z[:, columns], values))
    return torch.stack(parts, dim=1)


def _products_reference(first: torch.Tensor, second: torch.Tensor, pairs: torch.Tensor, angular: int) -> torch.Tensor:
    """Products (n, 2 L + 1, P) of the channels pairs (P, 2) of two blocks (n, 2 l + 1, channels)."""
    table = clebsch_gordan(_angular(first), _angular(second), angular)
    return _contracted(table, first[:, :, pairs[:, 0]], second[:, :, pairs[:, 1]])


def _gradients_reference(
    gradient: torch.Tensor, first: torch.Tensor, second: torch.Tensor, pairs: torch.Tensor, angular: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of both blocks from that of the products."""
    table = clebsch_gordan(_angular(first), _angular(second), angular)
    on_first = _contracted(table.transpose(1, 2, 0), second[:, :, pairs[:, 1]], gradient)
    on_second = _contracted(table.transpose(0, 2, 1), first[:, :, pairs[:, 0]], gradient)
    return (
        torch.zeros_like(first).index_add(2, pairs[:, 0], on_first),
        torch.zeros_like(second).index_add(2, pairs[:, 1], on_second),
    )


@cache
def _terms(l1: int, l2: int, angular: int, axes: tuple[int, int, int], dtype: str) -> kernels.Terms:
    """Coefficients with the orders of (m1, m2, M) in the sequence of ``axes``, sorted by the first of them."""
    table = clebsch_gordan(l1, l2, angular).transpose(axes)
    order, y, z = (np.ascontiguousarray(index) for index in np.nonzero(table))
    starts = np.searchsorted(order, np.arange(len(table) + 1))
    return kernels.Terms(starts, y, z, table[order, y, z].astype(dtype))


def _sizes(first, second, angular):
    return (first.shape[1], second.shape[1], 2 * angular + 1), (first.shape[2], second.shape[2]), len(first)


def _sides(pairs):
    """Channels of the first and of the second factor."""
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _products_body(first, second, pairs, angular):
    out = np.empty((len(first), 2 * angular + 1, len(pairs)), first.dtype)
    terms = _terms(_angular(first), _angular(second), angular, (2, 0, 1), first.dtype.name)
    flat = first.reshape(-1), second.reshape(-1)
    kernels.products(*flat, *_sides(pairs), terms, *_sizes(first, second, angular), out.reshape(-1))
    return out


def _gradients_body(gradient, first, second, pairs, angular):
    triple = _angular(first), _angular(second), angular
    by_first, by_second = (_terms(*triple, axes, first.dtype.name) for axes in ((0, 1, 2), (1, 0, 2)))
    on_first, on_second = np.zeros_like(first), np.zeros_like(second)
    flat = (array.reshape(-1) for array in (gradient, first, second))
    outputs = on_first.reshape(-1), on_second.reshape(-1)
    kernels.gradients(*flat, *_sides(pairs), by_first, by_second, *_sizes(first, second, angular), *outputs)
    return on_first, on_second


def _products_derivative(inputs, gradients):
    return *selected_gradients(gradients[0], *inputs), None, None


def _gradients_derivative(inputs, gradients):
    gradient, first, second, pairs, angular = inputs
    on_first, on_second = gradients
    on_gradient = selected_products(on_first, second, pairs, angular) + selected_products(
        first, on_second, pairs, angular
    )
    return on_gradient, *selected_gradients(gradient, on_first, on_second, pairs, angular), None, None


selected_products = Operator(
    "selected_products",
    reference=_products_reference,
    body=_products_body,
    fake=lambda first, second, pairs, angular: first.new_empty(first.shape[0], 2 * angular + 1, pairs.shape[0]),
    derivative=_products_derivative,
)
selected_gradients = Operator(
    "selected_product_gradients",
    reference=_gradients_reference,
    body=_gradients_body,
    fake=lambda gradient, first, second, pairs, angular: (torch.empty_like(first), torch.empty_like(second)),
    derivative=_gradients_derivative,
)
