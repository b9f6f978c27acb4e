"""Columns of numbers on their way to the front end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matterscape_widgets.canvas import categories_of, column, pack

pytestmark = pytest.mark.unit


def unpack(data, frame):
    return frame[0] + frame[1] * np.frombuffer(data, dtype="<f4").astype(np.float64)


@settings(deadline=None)  # a busy machine stops for longer than the default allows
@given(st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=30))
def test_packing_resolves_the_spread(values):
    values = np.array(values)
    restored = unpack(*pack(values))
    assert np.abs(restored - values).max() <= 1e-7 * np.ptp(values) + 1e-15 * np.abs(values).max()


def test_packing_resolves_small_differences_of_large_energies():
    energies = -12345.0 + 1e-4 * np.arange(50)
    assert np.allclose(unpack(*pack(energies)), energies, atol=1e-9, rtol=0)
    assert not np.allclose(energies.astype(np.float32), energies, atol=1e-5, rtol=0)  # what single precision would do


def test_packing_keeps_missing_values_in_place():
    restored = unpack(*pack(np.array([np.nan, 2.0, 5.0, np.nan])))
    assert np.isnan(restored).tolist() == [True, False, False, True]
    assert np.isnan(unpack(*pack(np.full(3, np.nan)))).all()
    assert pack(np.array([]))[0] == b""


def test_column_takes_tensors_lists_and_integers():
    torch = pytest.importorskip("torch")
    for values in (
        [1, 2, 3],
        range(1, 4),
        np.arange(1, 4, dtype=np.int8),
        torch.tensor([1.0, 2, 3], requires_grad=True),
    ):
        assert column("x", values).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b"], "x must hold real numbers"),
        ([1j, 2], "x must hold real numbers"),
        ([[1.0, 2.0]], r"x must be one-dimensional, but its shape is \(1, 2\)"),
        ([0.0, np.inf], r"x\[1\] is inf; use nan"),
        ([1.0], "x has 1 values, but 2 are needed"),
    ],
)
def test_column_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        column("x", values, 2 if len(values) == 1 and np.ndim(values) == 1 else None)


def test_categories():
    codes, names = categories_of(["liquid", "glass", "liquid"])
    assert codes.tolist() == [1, 0, 1]
    assert names == ["glass", "liquid"]
    assert categories_of(np.array([14, 6, 14]))[1] == ["6", "14"]
    assert categories_of([True, False])[1] == ["False", "True"]
    assert categories_of(np.array(["a", "b"], dtype=object))[1] == ["a", "b"]
    assert categories_of(np.arange(13)) is None
    assert categories_of([0.0, 1.0]) is None
    with pytest.raises(ValueError, match="13 different strings, but at most 12"):
        categories_of([chr(65 + k) for k in range(13)])
