"""Check: exercises that tell which property of an answer is wrong, without giving the answer away."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

FREEDOMS = ("sign", "order", "rotation")


@dataclass(frozen=True)
class CheckResult:
    """The verdict on one answer; true if it passed, shown as a coloured sentence in a notebook.

    Attributes
    ----------
    name : str
        The exercise.
    passed : bool
        Whether every property holds.
    failed : str
        The first property that does not hold: "shape", "finite", "value", "symmetry", "limit", ...; empty if passed.
    message : str
        One sentence for the student.
    hint : str
        The hint of the exercise, shown with a failure.
    """

    name: str
    passed: bool
    failed: str
    message: str
    hint: str = ""

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        hint = f" Hint: {self.hint}" if self.hint else ""
        return f"{'✓' if self.passed else '✗'} {self.name}: {self.message}{hint}"

    def _repr_html_(self) -> str:
        colour = "#2e7d32" if self.passed else "#c62828"
        verdict = "Correct" if self.passed else f"Not yet: {self.failed}"
        hint = f'<div style="opacity:.75;margin-top:2px">Hint: {html.escape(self.hint)}</div>' if self.hint else ""
        return (
            f'<div class="matterscape-check" data-passed="{str(self.passed).lower()}" role="status" style="'
            f"font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5;"
            f"color:var(--jp-ui-font-color1,inherit);border-left:4px solid {colour};border-radius:3px;"
            f'background:{colour}17;padding:7px 12px;margin:4px 0;max-width:52em">'
            f"<b>{html.escape(self.name)}</b> · <b>{verdict}</b>. {html.escape(self.message)}{hint}</div>"
        )


class Property(Protocol):
    """What an exercise may ask for besides the value: a name and a complaint about a wrong answer."""

    name: str

    def complaint(self, answer: Any, tolerance: float) -> str | None:
        """One sentence if the answer lacks the property, None if it has it."""


@dataclass(frozen=True)
class Invariance:
    """The answer, a function, must not change when its input is transformed.

    Parameters
    ----------
    what : str
        The symmetry in words, for instance "a rotation of the positions".
    transform : callable
        From an input to the transformed input.
    inputs : sequence
        Inputs to try; a tuple is unpacked into several arguments.
    """

    what: str
    transform: Callable[[Any], Any]
    inputs: Sequence[Any]
    name: str = "symmetry"

    def complaint(self, answer: Callable, tolerance: float) -> str | None:
        """One sentence if the answer lacks the property, None if it has it."""
        for given in self.inputs:
            before, after = (_numbers(_call(answer, point)) for point in (given, self.transform(given)))
            if before.shape != after.shape:
                return f"The result changes its shape under {self.what}: {before.shape} becomes {after.shape}."
            if not _close(before, after, tolerance):
                return f"The result changes under {self.what}, by up to {np.abs(before - after).max():.2g}."
        return None


@dataclass(frozen=True)
class Limit:
    """The answer, a function, must take a known value at a limit.

    Parameters
    ----------
    what : str
        The limit in words, for instance "at the cutoff".
    at : object
        The input; a tuple is unpacked into several arguments.
    value : array_like
        What the function must return there.
    """

    what: str
    at: Any
    value: Any
    name: str = "limit"

    def complaint(self, answer: Callable, tolerance: float) -> str | None:
        """One sentence if the answer lacks the property, None if it has it."""
        found, expected = _numbers(_call(answer, self.at)), _numbers(self.value)
        if found.shape != expected.shape:
            return f"The result {self.what} has shape {found.shape}, not {expected.shape}."
        if not _close(found, expected, tolerance):
            return f"The limit is not right: {self.what} the result is off by {np.abs(found - expected).max():.2g}."
        return None


class Check:
    """A self-checking exercise.

    ``check(answer)`` compares an answer with the reference, property by property: kind of answer, shape, finiteness,
    value, then the properties given, and returns a `CheckResult` that names the first one that fails.

    Parameters
    ----------
    name : str
        The exercise.
    reference : array_like or callable
        The right answer; with `inputs`, a function to which the student's function is compared.
    inputs : sequence, optional
        Where functions are compared; a tuple is unpacked into several arguments. Given, the answer must be a function.
    properties : sequence of Invariance, Limit or the like
        What a function must fulfil besides.
    up_to : {"sign", "order", "rotation"} or callable, optional
        What is free in the answer: the sign (or phase) of each column, as of eigenvectors; the order of the entries
        (of the rows of a matrix); an orthogonal transformation of the columns, compared through the matrix of the
        scalar products of the rows. A callable maps an answer to what is compared instead of it.
    tolerance : float
        Largest difference allowed, relative to the largest entry of the reference (absolute if that is zero).
    hint : str
        Shown with a failure.

    Attributes
    ----------
    passed : bool
        Whether the exercise has been solved, now or by an earlier answer.
    attempts : int
        How many answers were checked.

    Raises
    ------
    ValueError
        If `up_to` is none of the above, the tolerance is not positive, or there is nothing to check.
    """

    def __init__(
        self,
        name: str,
        reference: Any = None,
        *,
        inputs: Sequence[Any] | None = None,
        properties: Iterable[Property] = (),
        up_to: str | Callable[[np.ndarray], np.ndarray] | None = None,
        tolerance: float = 1e-6,
        hint: str = "",
    ):
        if up_to is not None and up_to not in FREEDOMS and not callable(up_to):
            raise ValueError(f"up_to is {up_to!r}, but must be one of {', '.join(FREEDOMS)} or a function.")
        if not tolerance > 0:
            raise ValueError(f"tolerance is {tolerance}, but must be positive.")
        self.properties = tuple(properties)
        if reference is None and not self.properties:
            raise ValueError(f"Check {name!r} has neither a reference nor properties; there is nothing to check.")
        if inputs is not None and not callable(reference):
            raise ValueError("inputs are given, but reference is not a function that could be evaluated there.")
        self.name, self.reference, self.inputs = name, reference, inputs
        self.up_to, self.tolerance, self.hint = up_to, float(tolerance), hint
        self.passed = False
        self.attempts = 0

    def __call__(self, answer: Any) -> CheckResult:
        """Check an answer: a number, an array, a tensor, or a function if the exercise asks for one."""
        self.attempts += 1
        try:
            problem = self._problem(answer)
        except _Unusable as error:
            problem = ("kind of answer", str(error))
        if problem is not None:
            return CheckResult(self.name, False, *problem, self.hint)
        self.passed = True
        return CheckResult(self.name, True, "", self._praise())

    def _problem(self, answer: Any) -> tuple[str, str] | None:
        if answer is None or answer is Ellipsis:
            raise _Unusable("There is no answer yet.")
        if (self.inputs is not None or self.properties) and not callable(answer):
            raise _Unusable(f"A function is asked for, but the answer is of type {type(answer).__name__}.")
        if self.inputs is not None:
            for given in self.inputs:
                problem = self._compare(_call(answer, given), _call(self.reference, given))
                if problem is not None:
                    return problem
        elif self.reference is not None:
            if callable(answer):
                raise _Unusable("Numbers are asked for, but the answer is a function; call it and give its result.")
            problem = self._compare(answer, self.reference)
            if problem is not None:
                return problem
        for one in self.properties:
            complaint = one.complaint(answer, self.tolerance)
            if complaint is not None:
                return one.name, complaint
        return None

    def _compare(self, answer: Any, reference: Any) -> tuple[str, str] | None:
        found, expected = _numbers(answer), _numbers(reference)
        # An orthogonal transformation may embed into more columns; only the rows are fixed.
        free_columns = self.up_to == "rotation" and found.ndim == expected.ndim == 2
        if found.shape != expected.shape and not (free_columns and len(found) == len(expected)):
            turned = " It looks transposed." if found.ndim > 1 and found.shape == expected.shape[::-1] else ""
            return "shape", f"The shape is {found.shape}, but {expected.shape} is expected.{turned}"
        if not np.isfinite(found).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
            return "finite", f"The entry at {where} is not a finite number." if where else "It is not a finite number."
        if callable(self.up_to):
            found, expected = _numbers(self.up_to(found)), _numbers(self.up_to(expected))
        elif self.up_to == "rotation":
            found, expected = found @ found.conj().T, expected @ expected.conj().T
        elif self.up_to == "sign":
            found = _align_signs(found, expected)
        elif self.up_to == "order":
            found = _align_order(found, expected)
        return (
            None if _close(found, expected, self.tolerance) else ("value", _describe(found, expected, self.tolerance))
        )

    def _praise(self) -> str:
        done = [] if self.reference is None else ["shape and values"]
        done += list(dict.fromkeys(one.name for one in self.properties))
        what = done[0] if len(done) == 1 else f"{', '.join(done[:-1])} and {done[-1]}"
        return f"{what[0].upper()}{what[1:]} are right."


class Checks:
    """The exercises of a notebook and how many are solved; shown as a line with one mark per exercise.

    Parameters
    ----------
    checks : Check
        The exercises in their order.
    """

    def __init__(self, *checks: Check):
        self.checks = checks

    @property
    def n_passed(self) -> int:
        """How many of the exercises are solved."""
        return sum(check.passed for check in self.checks)

    def __repr__(self) -> str:
        marks = ", ".join(f"{'✓' if check.passed else '○'} {check.name}" for check in self.checks)
        return f"{self.n_passed} of {len(self.checks)} exercises solved: {marks}"

    def _repr_html_(self) -> str:
        marks = "".join(
            f'<span style="color:{"#2e7d32" if check.passed else "inherit"};margin-right:14px">'
            f"{'✓' if check.passed else '○'} {html.escape(check.name)}</span>"
            for check in self.checks
        )
        return (
            '<div class="matterscape-checks" style="font-family:var(--jp-ui-font-family,system-ui,sans-serif);'
            f'font-size:13px;margin:4px 0"><b>{self.n_passed} of {len(self.checks)} solved</b> &nbsp; {marks}</div>'
        )


class _Unusable(Exception):
    """An answer that cannot be compared at all; the message tells why."""


def _call(function: Callable, given: Any) -> Any:
    try:
        return function(*given) if isinstance(given, tuple) else function(given)
    except Exception as error:
        raise _Unusable(f"The function stopped with {type(error).__name__}: {error}") from error


def _numbers(values: Any) -> np.ndarray:
    if values is None or values is ...:
        raise _Unusable("There is no answer yet.")
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    except (TypeError, ValueError):
        raise _Unusable(f"Numbers are asked for, but the answer is of type {type(values).__name__}.") from None


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return False
    return bool(np.abs(found - expected).max(initial=0) <= _allowed(expected, tolerance))


def _allowed(expected: np.ndarray, tolerance: float) -> float:
    """Largest difference allowed; next to a reference of zeros the tolerance is absolute."""
    return tolerance * (np.abs(expected).max(initial=0) or 1.0)


def _align_signs(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Give every column the sign (complex: the phase) that brings it closest to the reference."""
    overlap = np.atleast_1d(found.conj() * expected).sum(axis=0)
    size = np.abs(overlap)
    return found * np.where(size > 0, overlap / np.where(size > 0, size, 1), 1)


def _align_order(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Reorder the entries (rows) so that they come as close to the reference as they can."""
    from scipy.optimize import linear_sum_assignment

    rows, wanted = (array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1) for array in (found, expected))
    cost = np.abs(wanted[:, None] - rows[None]).sum(axis=-1)
    return rows[linear_sum_assignment(cost)[1]].reshape(expected.shape)


def _describe(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str:
    """What is wrong with the values, as a teacher would put it."""
    if found.shape != expected.shape:
        return f"What is compared has shape {found.shape}, but {expected.shape} is expected."
    scale = np.vdot(expected, found).real / max(np.vdot(expected, expected).real, 1e-300)
    if _close(found, -expected, tolerance):
        return "The values have the opposite sign."
    if abs(scale) > 1e-12 and _close(found, scale * expected, tolerance):
        return f"All values are {scale:.4g} times what they should be."
    difference = np.abs(found - expected)
    wrong = difference > _allowed(expected, tolerance)
    if not found.ndim or found.size == 1:
        return f"The value is off by {difference.max():.2g}."
    where = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    place = where[0] if len(where) == 1 else where
    return f"{int(wrong.sum())} of {wrong.size} values differ, by up to {difference.max():.2g} (at {place})."
