"""InstructiveCheck: an exercise that recognises well-known mistakes and says what they would mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .check import Check, CheckResult


class InstructiveCheck(Check):
    """A self-checking exercise whose verdict on a wrong value names the mistake, if it is one of those foreseen.

    Parameters
    ----------
    name, reference, inputs, **options
        As for `Check`, of functions.
    mistakes : dict of str to callable
        A sentence for the student, and a function that makes that mistake, called like the reference.

    Raises
    ------
    ValueError
        As `Check`, or if a mistake gives the same values as the reference at every input, which would make it none.
    """

    def __init__(
        self,
        name: str,
        reference: Callable,
        *,
        inputs: list,
        mistakes: Mapping[str, Callable],
        **options: Any,
    ):
        super().__init__(name, reference, inputs=inputs, **options)
        self.mistakes = dict(mistakes)
        for sentence, mistake in self.mistakes.items():
            if self._agree(mistake, reference):
                raise ValueError(f"mistakes[{sentence!r}] gives the values of the reference, so it is no mistake.")

    def __call__(self, answer: Any) -> CheckResult:
        """Check an answer, a function; its `CheckResult` names a foreseen mistake."""
        result = super().__call__(answer)
        if result.failed in ("value", "shape"):
            for sentence, mistake in self.mistakes.items():
                if self._agree(answer, mistake):
                    return replace(result, message=sentence, hint="")
        return result

    def _agree(self, first: Callable, second: Callable) -> bool:
        """Whether two functions give the same at every input."""
        for given in self.inputs:
            arguments = given if isinstance(given, tuple) else (given,)
            one, other = (np.asarray(function(*arguments), dtype=float) for function in (first, second))
            if one.shape != other.shape or not np.allclose(one, other, rtol=1e-6, atol=1e-9 * np.abs(other).max()):
                return False
        return True
