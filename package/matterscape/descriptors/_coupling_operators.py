"""Clebsch-Gordan products of equivariant features as torch operators, closed under differentiation.

With a trilinear form ``T(g, a, b) = sum g[M, q1, q2] C[m1, m2, M] a[m1, q1] b[m2, q2]`` the product is dT/dg and its
gradients are dT/da and dT/db, linear in two of the three arguments each. Two operators give all derivatives.

Factors and products are rows of packed blocks. A coupling is ten whole numbers: where in a row the block
(2 l1 + 1, q1) of the first factor begins, q1, l1, how far its rows m1 lie apart (more than q1 for a part of a block);
where the block of the second begins, q2, l2; L, where the product begins, and how far its rows M lie apart (more than
q1 q2 where several products share the channels of one block).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from matterscape.basis._lanes import LANES
from matterscape.basis.coupling import clebsch_gordan
from matterscape.descriptors import _coupling_kernels as kernels
from matterscape.kernels import Operator

# numbers in a temporary array of the torch body
_NUMBERS_AT_ONCE = 1 << 25


class Coupling(NamedTuple):
    """One product of two blocks, the ten numbers of the module's description."""

    first: int
    first_channels: int
    first_angular: int
    first_stride: int
    second: int
    second_channels: int
    second_angular: int
    angular: int
    result: int
    stride: int


def _lines(couplings: Sequence[int]) -> list[Coupling]:
    size = len(Coupling._fields)
    return [Coupling(*couplings[start : start + size]) for start in range(0, len(couplings), size)]


def _block(rows: torch.Tensor, begin: int, channels: int, angular: int, stride: int = 0) -> torch.Tensor:
    """View (n, 2 l + 1, channels) of a block of packed rows."""
    size = (len(rows), 2 * angular + 1, channels)
    strides = (rows.stride(0), stride or channels, 1)
    return rows.as_strided(size, strides, rows.storage_offset() + begin)


def _row_blocks(first_index, second_index, target_index, n_rows: int, numbers_per_row: int):
    """Ranges of rows whose temporary arrays fit, each with its indices (slices where there are none)."""
    size = max(1, _NUMBERS_AT_ONCE // max(1, numbers_per_row))
    for start in range(0, n_rows, size):
        rows = slice(start, min(start + size, n_rows))
        yield tuple(rows if index is None else index[rows] for index in (first_index, second_index, target_index))


def _n_rows(first: torch.Tensor, *indices: torch.Tensor | None) -> int:
    return next((len(index) for index in indices if index is not None), len(first))


def _coefficients(line: Coupling, like: torch.Tensor) -> torch.Tensor:
    table = clebsch_gordan(line.first_angular, line.second_angular, line.angular)
    return torch.tensor(table, dtype=like.dtype, device=like.device)


def _numbers_per_row(lines: list[Coupling]) -> int:
    """Size of the largest temporary array of one row in the torch bodies."""
    return max(
        ((2 * n.angular + 1) * n.first_channels * (n.second_channels + 2 * n.second_angular + 1) for n in lines),
        default=1,
    )


def _products_reference(
    first: torch.Tensor,
    second: torch.Tensor,
    first_index: torch.Tensor | None,
    second_index: torch.Tensor | None,
    target_index: torch.Tensor | None,
    couplings: list[int],
    n_targets: int,
    n_columns: int,
) -> torch.Tensor:
    """Rows (n_targets, n_columns) of all products of rows of two factors, (n1, columns) and (n2, columns)."""
    lines = _lines(couplings)
    out = first.new_zeros(n_targets, n_columns)
    n_rows = _n_rows(first, first_index, second_index, target_index)
    for rows1, rows2, targets in _row_blocks(first_index, second_index, target_index, n_rows, _numbers_per_row(lines)):
        for line in lines:
            a = _block(first, line.first, line.first_channels, line.first_angular, line.first_stride)[rows1]
            b = _block(second, line.second, line.second_channels, line.second_angular)[rows2]
            half = torch.einsum("mnM,snr->smMr", _coefficients(line, first), b).flatten(2)
            product = (a.transpose(1, 2) @ half).unflatten(2, (2 * line.angular + 1, -1)).transpose(1, 2).flatten(2)
            channels = line.first_channels * line.second_channels
            block = _block(out, line.result, channels, line.angular, line.stride)
            if isinstance(targets, slice):
                block[targets] = product
            else:
                block.index_add_(0, targets, product)
    return out


def _gradients_reference(
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    first_index: torch.Tensor | None,
    second_index: torch.Tensor | None,
    target_index: torch.Tensor | None,
    couplings: list[int],
    want_first: bool,
    want_second: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the factors from one of the products; without rows where it is not wanted."""
    lines = _lines(couplings)
    on_first = torch.zeros_like(first) if want_first else first.new_empty(0, first.shape[1])
    on_second = torch.zeros_like(second) if want_second else second.new_empty(0, second.shape[1])
    n_rows = _n_rows(first, first_index, second_index, target_index)
    for rows1, rows2, targets in _row_blocks(first_index, second_index, target_index, n_rows, _numbers_per_row(lines)):
        for line in lines:
            coefficients = _coefficients(line, first)
            channels = line.first_channels, line.second_channels
            given = _block(gradient, line.result, channels[0] * channels[1], line.angular, line.stride)[targets]
            given = given.unflatten(2, channels)
            if want_first:
                b = _block(second, line.second, line.second_channels, line.second_angular)[rows2]
                half = torch.einsum("mnM,snr->smMr", coefficients, b)
                block = _block(on_first, line.first, line.first_channels, line.first_angular, line.first_stride)
                _add(block, rows1, torch.einsum("sMqr,smMr->smq", given, half))
            if want_second:
                a = _block(first, line.first, line.first_channels, line.first_angular, line.first_stride)[rows1]
                half = torch.einsum("mnM,smq->snMq", coefficients, a)
                block = _block(on_second, line.second, line.second_channels, line.second_angular)
                _add(block, rows2, torch.einsum("sMqr,snMq->snr", given, half))
    return on_first, on_second


def _add(block: torch.Tensor, rows: torch.Tensor | slice, values: torch.Tensor) -> None:
    if isinstance(rows, slice):
        block[rows] += values
    else:
        block.index_add_(0, rows, values)


@lru_cache(maxsize=256)
def _plan(couplings: tuple[int, ...], dtype: str) -> tuple[np.ndarray, kernels.Halves, int]:
    """Lines and tables of the kernels, and the largest number of rows of lanes of a half product."""
    lines = _lines(couplings)
    plan = np.zeros(len(lines), kernels.LINE)
    parts = {name: [] for name in kernels.Halves._fields}
    counts = dict.fromkeys(("pairs", "by_total", "by_order"), 0)
    places: dict[tuple[int, int, int, bool], tuple[int, int]] = {}

    def place(l1: int, l2: int, total: int, swapped: bool) -> tuple[int, int]:
        """Positions of the tables of one coupling; they are appended when it occurs for the first time."""
        key = l1, l2, total, swapped
        if key in places:
            return places[key]
        by_total = clebsch_gordan(l1, l2, total).transpose((2, 1, 0) if swapped else (2, 0, 1))
        pairs = np.argwhere(by_total.any(axis=2))  # (M, m), sorted
        m = pairs[:, 1]
        other = np.zeros((len(pairs), 2), np.int64)
        values = np.zeros((len(pairs), 2))
        for row, pair in enumerate(pairs):
            terms = np.flatnonzero(by_total[tuple(pair)])  # real harmonics couple to one or two
            other[row, : len(terms)], values[row, : len(terms)] = terms, by_total[tuple(pair)][terms]
        places[key] = counts["by_total"], counts["by_order"]
        parts["order"].append(m)
        parts["total"].append(pairs[:, 0])
        parts["other"].append(other.ravel())
        parts["values"].append(values.ravel())
        parts["by_total"].append(counts["pairs"] + np.searchsorted(pairs[:, 0], np.arange(2 * total + 2)))
        by_order = np.argsort(m, kind="stable")
        parts["by_order"].append(counts["pairs"] + np.searchsorted(m[by_order], np.arange(by_total.shape[1] + 1)))
        parts["sorted_pairs"].append(counts["pairs"] + by_order)
        counts["pairs"] += len(pairs)
        counts["by_total"] += 2 * total + 2
        counts["by_order"] += by_total.shape[1] + 1
        return places[key]

    half_rows = 1
    for row, line in zip(plan, lines):
        for name, value in line._asdict().items():
            row[name] = value
        triple = line.first_angular, line.second_angular, line.angular
        row["first_by_total"], row["first_by_order"] = place(*triple, False)
        row["second_by_total"], row["second_by_order"] = place(*triple, True)
        pairs = (2 * line.angular + 1) * (2 * max(line.first_angular, line.second_angular) + 1)
        half_rows = max(half_rows, pairs * -(-max(line.first_channels, line.second_channels) // LANES))
    tables = {
        name: np.concatenate(arrays or [np.empty(0)]).astype(dtype if name == "values" else np.int64)
        for name, arrays in parts.items()
    }
    return plan, kernels.Halves(**tables), half_rows


def _rows(n_rows: int, *indices: np.ndarray | None) -> np.ndarray:
    """Row numbers (n_rows, 3) of first, second factor and target."""
    rows = np.empty((n_rows, 3), np.int64)
    for column, index in enumerate(indices):
        rows[:, column] = np.arange(n_rows) if index is None else index
    return rows


def _grouped(index: np.ndarray | None, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    if index is None:
        return np.arange(n_groups), np.arange(n_groups + 1)
    return kernels.grouped(index, n_groups)


def _products_body(first, second, first_index, second_index, target_index, couplings, n_targets, n_columns):
    plan, halves, half_rows = _plan(tuple(couplings), first.dtype.name)
    indices = first_index, second_index, target_index
    rows = _rows(_n_rows(first, *indices), *indices)
    out = (np.empty if target_index is None else np.zeros)((n_targets, n_columns), first.dtype)
    order, offsets = _grouped(target_index, n_targets)
    widths = first.shape[1], second.shape[1], n_columns
    kernels.products(
        first.reshape(-1), second.reshape(-1), rows, order, offsets, plan, halves, half_rows, out.reshape(-1), widths
    )
    return out


def _gradients_body(
    gradient, first, second, first_index, second_index, target_index, couplings, want_first, want_second
):
    plan, halves, half_rows = _plan(tuple(couplings), first.dtype.name)
    indices = first_index, second_index, target_index
    rows = _rows(_n_rows(first, *indices), *indices)
    widths = first.shape[1], second.shape[1], gradient.shape[1]
    on_first = np.zeros((len(first) if want_first else 0, widths[0]), first.dtype)
    on_second = np.zeros((len(second) if want_second else 0, widths[1]), second.dtype)
    a, b, given, out1, out2 = (array.reshape(-1) for array in (first, second, gradient, on_first, on_second))
    if want_first and want_second and all(index is None for index in indices):
        groups = _grouped(None, len(rows))
        kernels.gradients_of_both(a, b, given, rows, *groups, plan, halves, half_rows, out1, out2, widths)
        return on_first, on_second
    if want_first:
        groups = _grouped(first_index, len(first))
        kernels.gradients_of_one(b, 0, given, rows, *groups, plan, halves, half_rows, out1, widths)
    if want_second:
        groups = _grouped(second_index, len(second))
        kernels.gradients_of_one(a, 1, given, rows, *groups, plan, halves, half_rows, out2, widths)
    return on_first, on_second


def _gradients_fake(gradient, first, second, first_index, second_index, target_index, couplings, want1, want2):
    return (
        first.new_empty(first.shape[0] if want1 else 0, first.shape[1]),
        second.new_empty(second.shape[0] if want2 else 0, second.shape[1]),
    )


def _products_derivative(inputs, gradients):
    first, second, *indices, couplings, _, _ = inputs
    # inputs that were detached say nothing about which gradient is wanted
    neither = not (first.requires_grad or second.requires_grad)
    wanted = first.requires_grad or neither, second.requires_grad or neither
    return *product_gradients(gradients[0], first, second, *indices, couplings, *wanted), *[None] * 6


def _gradients_derivative(inputs, gradients):
    gradient, first, second, *indices, couplings, _, _ = inputs
    on_first, on_second = gradients
    size = gradient.shape[0], gradient.shape[1]
    parts = []
    if on_first is not None:
        parts.append(products(on_first, second, *indices, couplings, *size))
    if on_second is not None:
        parts.append(products(first, on_second, *indices, couplings, *size))
    wanted = on_second is not None and first.requires_grad, on_first is not None and second.requires_grad
    other_first = first if on_first is None else on_first
    other_second = second if on_second is None else on_second
    again = product_gradients(gradient, other_first, other_second, *indices, couplings, *wanted)
    factors = (result if want else None for result, want in zip(again, wanted))
    return sum(parts[1:], parts[0]) if parts else None, *factors, *[None] * 6


products = Operator(
    "coupling_products",
    reference=_products_reference,
    body=_products_body,
    fake=lambda first, second, i, j, k, couplings, n_targets, n_columns: first.new_empty(n_targets, n_columns),
    derivative=_products_derivative,
)
product_gradients = Operator(
    "coupling_product_gradients",
    reference=_gradients_reference,
    body=_gradients_body,
    fake=_gradients_fake,
    derivative=_gradients_derivative,
    fill_missing=False,
)
