"""Curve without a browser."""

import numpy as np
import pytest

from matterscape_widgets import Curve, Series

pytestmark = pytest.mark.unit
N = np.array([10.0, 100, 1000])


def columns(curve):
    """What the front end will read: {series: {column: values}}."""
    stored, start, found = np.frombuffer(curve._data, dtype="<f4").astype(float), 0, {}
    for spec in curve._series:
        found[spec["name"]] = {}
        for part, (offset, scale) in spec["frames"]:
            found[spec["name"]][part] = offset + scale * stored[start : start + spec["n"]]
            start += spec["n"]
    assert start == len(stored)
    return found


def test_columns_arrive_in_order():
    curve = Curve({"a": ([0, 1], [5, 6]), "b": Series(N, N**2, N, N**3, style="points")})
    found = columns(curve)
    assert found["a"]["y"].tolist() == [5, 6]
    assert list(found["b"]) == ["x", "y", "low", "high"]
    assert np.allclose(found["b"]["high"], N**3, rtol=0, atol=1e-7 * N[-1] ** 3)
    assert [spec["style"] for spec in curve._series] == ["line", "points"]


def test_log_axes_send_logarithms_with_full_resolution():
    curve = Curve({"a": (N, [1e-12, 1e-6, 1.0])}, x_scale="log", y_scale="log")
    assert np.allclose(columns(curve)["a"]["x"], [1, 2, 3], atol=1e-6)
    assert np.allclose(columns(curve)["a"]["y"], [-12, -6, 0], atol=1e-6)
    curve.update(x_scale="linear")
    assert np.allclose(columns(curve)["a"]["x"], N, rtol=1e-6)
    assert (curve.x_scale, curve.y_scale) == ("linear", "log")


def test_a_log_axis_refuses_zero_and_keeps_the_plot():
    curve = Curve({"loss": (N, N)}, y_scale="log")
    data = curve._data
    with pytest.raises(ValueError, match="y of series 'loss' contains 0, but a logarithmic axis needs positive"):
        curve.update({"loss": (N, [1.0, 0.0, 2.0])})
    assert "logarithmic axis" in curve.error
    assert curve._data == data
    assert curve.series["loss"].y is N
    curve.update({"loss": (N, [1.0, np.nan, 2.0])})
    assert curve.error == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": {"s": (N, [1.0])}}, "Series 's': y has 1 values, but 3 are needed"),
        ({"series": {"s": Series(N, N, low=N)}}, "Series 's': high is missing"),
        ({"series": {"s": Series(N, N, style="dots")}}, "style is 'dots', but must be one of line"),
        ({"x_scale": "cubic"}, "x_scale is 'cubic'"),
        ({"matrix": [1.0, 2.0]}, r"matrix must have rows and columns, but its shape is \(2,\)"),
        ({"matrix": np.eye(2), "extent": (1, 0, 0, 1)}, "extent is .* in rising order"),
        ({"matrix": np.eye(2), "y_scale": "log"}, "must be 'linear' with a heat map"),
        ({"matrix": [[np.inf, 1.0]]}, r"matrix\[0\] is inf"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Curve(**arguments)


def test_heat_map():
    curve = Curve(matrix=np.arange(6.0).reshape(2, 3), colour_label="E (eV)")
    assert (curve._heat["rows"], curve._heat["columns"], curve._heat["extent"]) == (2, 3, [-0.5, 2.5, -0.5, 1.5])
    offset, scale = curve._heat["frame"]
    assert np.allclose(offset + scale * np.frombuffer(curve._matrix, "<f4"), np.arange(6), atol=1e-6)
    curve.update(matrix=None)
    assert curve._heat == {}


def test_active_is_forgotten_with_its_point():
    curve = Curve({"a": (N, N), "b": (N, N)})
    curve.active = ("b", 2)
    curve.update({"a": (N, N), "b": (N, 2 * N)})
    assert curve.active == ("b", 2)
    curve.update({"a": (N, N)})
    assert curve.active is None


def test_update_sends_one_message():
    curve, sent = Curve({"a": (N, N)}), []
    curve.send_state = lambda key=None: sent.append(key)
    curve.update({"a": (N, 2 * N), "b": (N, 3 * N)}, y_label="energy (eV)")
    assert len(sent) == 1
    with pytest.raises(TypeError, match="'title', which is neither"):
        curve.update(title="no")
