"""What the canvas widgets have in common: their traits, columns of numbers, and checks of what a caller gives."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import traitlets

from .view import HERE, View


class CanvasWidget(View):
    """Base of the canvas widgets.

    Attributes
    ----------
    height : int
        Height of the drawing in CSS pixels; the width follows the cell.
    error : str
        A sentence shown above the drawing; empty when all is well.
    """

    _css = HERE / "canvas.css"

    height = traitlets.Int(380, min=120, max=4000).tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)

    @traitlets.default("layout")
    def _fill_the_row(self) -> ipywidgets.Layout:
        return ipywidgets.Layout(width="100%", min_width="0")


def column(name: str, values: Sequence[float] | np.ndarray, length: int | None = None) -> np.ndarray:
    """One column of numbers as a float64 array of shape (n,), checked.

    Parameters
    ----------
    name : str
        What the error message calls the column.
    values : array_like, shape (n,)
        Numbers; nan marks a missing value.
    length : int, optional
        The number of values that is required.

    Returns
    -------
    numpy.ndarray, shape (n,), float64

    Raises
    ------
    ValueError
        If the values are not numbers, not one-dimensional, infinite, or not `length` many.
    """
    if hasattr(values, "detach"):  # a tensor that may require a gradient or live elsewhere
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, but its type is {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, but its shape is {array.shape}.")
    if length is not None and len(array) != length:
        raise ValueError(f"{name} has {len(array)} values, but {length} are needed, one for each point.")
    array = array.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(array))
    if len(infinite):
        raise ValueError(f"{name}[{infinite[0]}] is {array[infinite[0]]}; use nan for a missing value.")
    return array


def pack(values: np.ndarray) -> tuple[bytes, list[float]]:
    """Numbers as little-endian float32 bytes with the frame that restores them.

    Each value is ``offset + scale * stored`` with the stored numbers in [-1, 1], so that single precision resolves
    the spread of the data (energies near -10^4 eV that differ by meV), not its magnitude.

    Parameters
    ----------
    values : numpy.ndarray, float64
        Finite numbers and nan.

    Returns
    -------
    bytes
        The stored numbers, in the order of the memory.
    list of two floats
        Offset and scale.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.full(values.shape, np.nan, dtype="<f4").tobytes(), [0.0, 1.0]
    low, high = float(finite.min()), float(finite.max())
    offset = low / 2 + high / 2
    scale = (high / 2 - low / 2) or 1.0
    return ((values - offset) / scale).astype("<f4").tobytes(), [offset, scale]


def categories_of(values: Sequence, limit: int = 12) -> tuple[np.ndarray, list[str]] | None:
    """Codes and names if `values` are categories (strings, booleans, a few whole numbers), None if they are numbers.

    Parameters
    ----------
    values : array_like, shape (n,)
        Strings, booleans or numbers.
    limit : int
        The largest number of categories that colours can tell apart.

    Returns
    -------
    tuple of (numpy.ndarray, shape (n,), float64) and list of str, or None
        Codes 0, 1, ... in the order of the sorted names.

    Raises
    ------
    ValueError
        If there are more than `limit` different strings.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuUSO":
        return None
    if array.dtype.kind == "O":
        if not all(isinstance(value, str) for value in array):
            return None
        array = array.astype(str)
    names, codes = np.unique(array, return_inverse=True)
    if len(names) <= limit:
        return codes.astype(np.float64), [str(name) for name in names.tolist()]
    if array.dtype.kind in "US":
        raise ValueError(f"colour has {len(names)} different strings, but at most {limit} colours can be told apart.")
    return None
