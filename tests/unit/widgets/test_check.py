"""Check: right answers pass in every form that is free, wrong ones hear which property fails."""

import re

import numpy as np
import pytest

from matterscape_widgets import Check, Checks, Invariance, Limit

pytestmark = pytest.mark.unit
rng = np.random.default_rng(3)
A = rng.normal(size=(4, 3))
ROTATION = np.linalg.qr(rng.normal(size=(3, 3)))[0]


@pytest.mark.parametrize(
    ("answer", "failed", "message"),
    [
        (A, "", "Shape and values are right"),
        (A + 1e-9, "", "right"),
        (A.tolist(), "", "right"),
        (A.T, "shape", r"shape is \(3, 4\), but \(4, 3\) is expected. It looks transposed"),
        (A[:3], "shape", "shape"),
        (np.where(A == A[1, 2], np.nan, A), "finite", r"entry at \(1, 2\) is not a finite"),
        (-A, "value", "opposite sign"),
        (2 * A, "value", "All values are 2 times"),
        (A + (np.arange(12).reshape(4, 3) == 5), "value", r"1 of 12 values differ, by up to 1 \(at \(1, 2\)\)"),
        ("text", "kind of answer", "Numbers are asked for, but the answer is of type str"),
        (None, "kind of answer", "no answer yet"),
        (..., "kind of answer", "no answer yet"),
        (np.sin, "kind of answer", "the answer is a function; call it"),
    ],
)
def test_the_property_that_fails_is_named(answer, failed, message):
    result = Check("Matrix", A)(answer)
    assert (result.failed, result.passed, bool(result)) == (failed, not failed, not failed)
    assert re.search(message, result.message)


def test_eigenvectors_up_to_sign_and_phase():
    vectors = np.linalg.eigh(A.T @ A)[1]
    check = Check("Eigenvectors", vectors, up_to="sign")
    assert check(vectors * [1, -1, -1])
    assert check(vectors[:, [1, 0, 2]]).failed == "value"
    assert check(1.01 * vectors).failed == "value"
    phases = np.exp(1j * np.array([0.3, 2.0, -1.0]))
    assert Check("Complex", vectors.astype(complex), up_to="sign")(vectors * phases)
    assert not Check("Plain", vectors)(-vectors)


def test_sets_up_to_order():
    levels = np.array([3.0, 1.0, 2.0, 2.0])
    check = Check("Levels", levels, up_to="order")
    assert check(np.sort(levels))
    assert check([3.0, 1.0, 1.0, 2.0]).failed == "value"
    assert Check("Positions", A, up_to="order")(A[[2, 0, 3, 1]])
    assert not Check("Positions", A, up_to="order")(A[[2, 0, 3, 3]])


def test_features_up_to_rotation():
    check = Check("Features", A, up_to="rotation")
    assert check(A @ ROTATION)
    assert check(np.hstack([A @ ROTATION, np.zeros((4, 2))]))
    assert not check(A @ np.diag([1, 1, 1.1]))
    assert check(A[:2]).failed == "shape"


def test_up_to_a_function():
    check = Check("Density", A, up_to=lambda m: np.linalg.eigvalsh(m.T @ m))
    assert check(A @ ROTATION)
    assert not check(2 * A)


def distances(positions):
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def test_functions_with_symmetry_and_limit():
    check = Check(
        "Distances",
        distances,
        inputs=[A],
        properties=[
            Invariance("a rotation of the positions", lambda r: r @ ROTATION, [A]),
            Limit("for coincident atoms", np.zeros((2, 3)), np.zeros((2, 2))),
        ],
    )
    result = check(distances)
    assert result
    assert result.message == "Shape and values, symmetry and limit are right."
    assert check(lambda r: distances(r)[0]).failed == "shape"
    assert check(A).message == "A function is asked for, but the answer is of type ndarray."
    assert "stopped with ZeroDivisionError" in check(lambda r: 1 / 0).message


def test_symmetry_and_limit_are_told_apart():
    symmetric = Invariance("a rotation of the positions", lambda r: r @ ROTATION, [A])
    limit = Limit("at the cutoff", 5.0, 0.0)
    result = Check("Symmetry", properties=[symmetric])(lambda r: r[:, 0])
    assert result.failed == "symmetry"
    assert "changes under a rotation of the positions" in result.message
    cutoff = Check("Cutoff", properties=[limit])
    assert cutoff(lambda r: np.cos(np.pi * r / 10))
    assert cutoff(lambda r: 0.1 * np.ones_like(r)).message.endswith("at the cutoff the result is off by 0.1.")


def test_several_arguments():
    check = Check("Sum", lambda a, b: a + b, inputs=[(1.0, 2.0), (3.0, 4.0)])
    assert check(lambda a, b: b + a)
    assert not check(lambda a, b: a * b)


def test_a_zero_reference_has_an_absolute_tolerance():
    check = Check("Net force", np.zeros(3), tolerance=1e-8)
    assert check(1e-9 * np.ones(3))
    assert check(1e-7 * np.ones(3)).failed == "value"


def test_tensors_are_numbers():
    torch = pytest.importorskip("torch")
    assert Check("Tensor", A)(torch.tensor(A, requires_grad=True))


def test_progress_and_display():
    first, second = Check("A < B", 1.0, hint="Think of <r|r>."), Check("Two", 2.0)
    assert first.attempts == 0
    wrong = first(3.0)
    assert (first.passed, first.attempts) == (False, 1)
    assert "A &lt; B" in wrong._repr_html_()
    assert "Think of &lt;r|r&gt;." in wrong._repr_html_()
    assert repr(wrong).startswith("✗ A < B: All values are 3 times")
    first(1.0)
    first(5.0)
    assert first.passed  # solved once is solved
    summary = Checks(first, second)
    assert summary.n_passed == 1
    assert repr(summary) == "1 of 2 exercises solved: ✓ A < B, ○ Two"
    assert "1 of 2 solved" in summary._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither a reference nor properties"),
        ({"reference": 1, "up_to": "scale"}, "up_to is 'scale', but must be one of sign, order, rotation"),
        ({"reference": 1, "tolerance": 0}, "tolerance is 0, but must be positive"),
        ({"reference": 1, "inputs": [1]}, "reference is not a function"),
    ],
)
def test_a_senseless_check_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Check("Bad", **arguments)
