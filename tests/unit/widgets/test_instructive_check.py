"""InstructiveCheck: foreseen mistakes are named, others are judged as before."""

import numpy as np
import pytest

from matterscape_widgets.instructive_check import InstructiveCheck

pytestmark = pytest.mark.unit

VALUES = np.array([1.0, 2.0, 4.0])


def _exercise():
    mistakes = {"That is the median.": np.median, "That is the sum, not the mean.": np.sum}
    return InstructiveCheck("Mean", np.mean, inputs=[VALUES, 3 * VALUES], mistakes=mistakes, hint="Add, divide.")


def test_a_foreseen_mistake_is_named():
    exercise = _exercise()
    verdict = exercise(lambda x: sorted(x)[1])
    assert not verdict and verdict.message == "That is the median." and verdict.failed == "value"
    assert exercise(lambda x: x @ np.ones(3)).message == "That is the sum, not the mean."
    assert not exercise.passed and exercise.attempts == 2


def test_a_mistake_of_another_shape_is_named():
    exercise = InstructiveCheck(
        "Squares", np.square, inputs=[VALUES], mistakes={"All pairs, not squares.": lambda x: np.outer(x, x)}
    )
    assert exercise(lambda x: x[:, None] * x).message == "All pairs, not squares."


def test_other_answers_are_judged_as_by_check():
    exercise = _exercise()
    verdict = exercise(lambda x: x.mean() + 1)
    assert "times what they should be" in verdict.message and verdict.hint == "Add, divide."
    assert exercise(...).message == "There is no answer yet."
    assert exercise(lambda x: x.mean())
    assert exercise.passed


def test_a_mistake_must_be_wrong():
    with pytest.raises(ValueError, match="so it is no mistake"):
        InstructiveCheck("Mean", np.mean, inputs=[VALUES], mistakes={"The average.": np.average})
