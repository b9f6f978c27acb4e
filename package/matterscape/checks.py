"""Numbers that users give, checked with one sentence that says what is accepted."""

import math
from numbers import Real
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number; texts and truth values are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_number(name: str, value: float, unit: str = "", *, positive: bool = False, signed: bool = False) -> None:
    """Raise ``ValueError`` unless a value is a finite number of the wanted sign: not negative, if nothing is said."""
    if not is_number(value) or (positive and value <= 0) or (not signed and value < 0):
        kind = "positive" if positive else "finite" if signed else "non-negative"
        raise ValueError(f"{name} is {value!r}; accepted is a {kind} number{f' of {unit}' if unit else ''}")


def check_fraction(name: str, value: float) -> None:
    """Raise ``ValueError`` unless a value is a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!r}; accepted is a number from 0 to 1")


def check_whole(name: str, value: int, lowest: int, what: str = "number") -> None:
    """Raise ``ValueError`` unless a value is a whole number, at least ``lowest``."""
    if not is_number(value) or value != int(value) or value < lowest:
        raise ValueError(f"{name} is {value!r}; accepted is a whole {what}, at least {lowest}")


def real_array(name: str, values: Any) -> np.ndarray:
    """Real numbers as a new array of float64; ``ValueError`` if they are something else."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is {values!r}; accepted are real numbers")
    return np.array(array, dtype=np.float64, order="C")
