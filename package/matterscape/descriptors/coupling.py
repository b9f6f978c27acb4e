"""Clebsch-Gordan products of equivariant features.

An equivariant feature of degree l is a tensor (samples, 2 l + 1, channels) whose second axis transforms like the real
spherical harmonics of degree l. Two of them couple to features of every L from ``|l1 - l2|`` to ``l1 + l2``.
"""

from collections.abc import Sequence

import numpy as np
import torch

from matterscape.checks import check_whole
from matterscape.descriptors._coupling_operators import products
from matterscape.descriptors._selected_operators import selected_products


def couple(
    first: torch.Tensor,
    second: torch.Tensor,
    angular: int,
    *,
    first_index: torch.Tensor | None = None,
    second_index: torch.Tensor | None = None,
    target_index: torch.Tensor | None = None,
    n_targets: int | None = None,
) -> torch.Tensor:
    r"""Clebsch-Gordan product of all pairs of channels, of any rows, summed into any targets.

    .. math:: x_t^{M q_1 q_2} = \sum_{s: t(s) = t} \sum_{m_1 m_2} C^{LM}_{l_1 m_1 l_2 m_2}\,
              a_{i(s)}^{m_1 q_1} b_{j(s)}^{m_2 q_2}

    with the real coefficients of :func:`matterscape.basis.clebsch_gordan`. Twice differentiable and more; the products
    of single rows are never stored.

    Parameters
    ----------
    first, second : tensor (n1, 2 l1 + 1, q1) and (n2, 2 l2 + 1, q2), float64 or float32
    angular : int
        Degree L of the result, from ``|l1 - l2|`` to ``l1 + l2``.
    first_index, second_index : tensor (rows,), int64, optional
        Rows i(s), j(s) of the factors that are combined. Row s with row s if not given.
    target_index : tensor (rows,), int64, optional
        Row t(s) of the result that product s is added to. Row s if not given.
    n_targets : int, optional
        Number of rows of the result, where ``target_index`` is given: one more than the largest target if not given.

    Returns
    -------
    tensor (rows or n_targets, 2 L + 1, q1 * q2)
        Channel ``q1 * (channels of second) + q2``; zeros for targets without rows.

    Raises
    ------
    ValueError, TypeError
        If shapes, dtypes, indices or L do not fit together; the message names the argument.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020), eq. 5 (without prefactors).
    """
    l1, l2 = (check_block(name, block) for name, block in (("first", first), ("second", second)))
    check_same_kind("second", second, first)
    check_triangle(angular, l1, l2)
    indices, n_rows = checked_rows(len(first), len(second), first_index, second_index, target_index, n_targets)
    q1, q2 = first.shape[2], second.shape[2]
    coupling = [0, q1, l1, q1, 0, q2, l2, angular, 0, q1 * q2]
    columns = (2 * angular + 1) * q1 * q2
    result = products(first.flatten(1), second.flatten(1), *indices, coupling, n_rows, columns)
    return result.unflatten(1, (2 * angular + 1, q1 * q2))


def couple_selected(
    first: torch.Tensor, second: torch.Tensor, pairs: torch.Tensor | np.ndarray | Sequence, angular: int
) -> torch.Tensor:
    """Clebsch-Gordan product of chosen pairs of channels only.

    Parameters
    ----------
    first, second : tensor (n, 2 l1 + 1, q1) and (n, 2 l2 + 1, q2), float64 or float32
    pairs : int (P, 2)
        Channels of first and second that are combined.
    angular : int
        Degree L of the result, from ``|l1 - l2|`` to ``l1 + l2``.

    Returns
    -------
    tensor (n, 2 L + 1, P)
        Twice differentiable and more.

    Raises
    ------
    ValueError, TypeError
        If shapes, dtypes, channels or L do not fit together; the message names the argument.
    """
    l1, l2 = (check_block(name, block) for name, block in (("first", first), ("second", second)))
    check_same_kind("second", second, first)
    check_triangle(angular, l1, l2)
    if len(first) != len(second):
        raise ValueError(f"second has {len(second)} samples; accepted are as many as first has, {len(first)}")
    pairs = torch.as_tensor(pairs, device=first.device)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.is_floating_point() or pairs.dtype == torch.bool:
        raise ValueError(f"pairs have shape {tuple(pairs.shape)} and {pairs.dtype}; accepted are whole numbers (P, 2)")
    for side, block in enumerate((first, second)):
        check_index(f"pairs[:, {side}]", pairs[:, side], block.shape[2])
    return selected_products(first, second, pairs.long(), angular)


def check_block(name: str, block: torch.Tensor) -> int:
    """Degree l of an equivariant feature (samples, 2 l + 1, channels); raises if it is none."""
    if not isinstance(block, torch.Tensor):
        raise TypeError(f"{name} is a {type(block).__name__}; accepted is a tensor")
    if block.ndim != 3 or block.shape[1] % 2 == 0:
        raise ValueError(f"{name} has shape {tuple(block.shape)}; accepted is (samples, 2 l + 1, channels)")
    return (block.shape[1] - 1) // 2


def check_same_kind(name: str, block: torch.Tensor, other: torch.Tensor) -> None:
    """Raise unless two tensors have one dtype and lie on one device."""
    if (block.dtype, block.device) != (other.dtype, other.device):
        raise TypeError(
            f"{name} is {block.dtype} on {block.device}; accepted is {other.dtype} on {other.device}, "
            "as for the other factor"
        )


def check_triangle(angular: int, l1: int, l2: int) -> None:
    """Raise unless l1 and l2 couple to ``angular``."""
    check_whole("angular", angular, 0)
    if not abs(l1 - l2) <= angular <= l1 + l2:
        raise ValueError(f"angular is {angular}; accepted is from |l1 - l2| = {abs(l1 - l2)} to l1 + l2 = {l1 + l2}")


def check_index(name: str, index: torch.Tensor, size: int) -> None:
    """Raise unless an index is a flat tensor of whole numbers below ``size``."""
    if not isinstance(index, torch.Tensor) or index.ndim != 1 or index.is_floating_point():
        raise ValueError(f"{name} is {index!r}; accepted is a flat tensor of whole numbers")
    if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise ValueError(
            f"{name} is from {int(index.min())} to {int(index.max())}; accepted are whole numbers from 0 to {size - 1}"
        )


def checked_rows(
    n_first: int,
    n_second: int,
    first_index: torch.Tensor | None,
    second_index: torch.Tensor | None,
    target_index: torch.Tensor | None,
    n_targets: int | None,
) -> tuple[tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None], int]:
    """The three indices of :func:`couple` and the number of rows of its result; raises if they do not fit."""
    lengths = {}
    for name, index, size in (("first", first_index, n_first), ("second", second_index, n_second)):
        if index is not None:
            check_index(f"{name}_index", index, size)
        lengths[f"{name}_index" if index is not None else name] = size if index is None else len(index)
    if target_index is None:
        if n_targets is not None:
            raise ValueError(f"n_targets is {n_targets}; accepted is None, as there is no target_index")
    else:
        if n_targets is None:
            n_targets = int(target_index.max()) + 1 if len(target_index) else 0
        check_whole("n_targets", n_targets, 0)
        check_index("target_index", target_index, n_targets)
        lengths["target_index"] = len(target_index)
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(
            f"first, second and their indices have different numbers of rows ({described}); accepted is one"
        )
    indices = tuple(None if index is None else index.long() for index in (first_index, second_index, target_index))
    return indices, int(next(iter(lengths.values())) if target_index is None else n_targets)
