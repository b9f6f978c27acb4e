"""Live and row without a browser."""

import ipywidgets
import pytest

from matterscape_widgets.tutorial_views import Live, row

pytestmark = pytest.mark.unit


def square_root(value, shift):
    if value < 0:
        raise ValueError("value is negative; accepted is 0 or more.")
    return {"root": value**0.5 + shift}


@pytest.fixture
def live():
    controls = {"value": ipywidgets.FloatSlider(4, min=-10, max=10), "shift": ipywidgets.IntSlider(1)}
    return Live(square_root, controls, [ipywidgets.Label("view")], readouts={"root": "Å"}, title="Roots")


def test_responds_at_once_and_to_every_control(live):
    assert live.readouts["root"].text == "3"
    live.controls["value"].value = 9.0
    assert live.readouts["root"].text == "4"
    live.controls["shift"].value = 0
    assert live.readouts["root"].text == "3"
    assert live.message.startswith("Recomputed in ") and live.message.endswith(" ms.")


def test_a_failure_is_a_sentence_and_is_overcome(live):
    live.controls["value"].value = -1.0
    assert live.message == "value is negative; accepted is 0 or more."
    assert live.readouts["root"].text == "3"
    live.controls["value"].value = 1.0
    assert live.readouts["root"].text == "2"
    assert live.message.startswith("Recomputed")


def test_readouts_are_optional_and_controls_are_not():
    seen = []
    Live(lambda a: seen.append(a), {"a": ipywidgets.Checkbox(True)})
    assert seen == [True]
    with pytest.raises(ValueError, match="controls is empty; a Live study needs at least one widget"):
        Live(dict, {})


def test_row_shares_what_fixed_widths_leave():
    left, right = ipywidgets.Label(), ipywidgets.Label(layout={"width": "100%"})
    box = row(left, right, widths=["345px", None])
    assert box.children == (left, right)
    assert (left.layout.width, left.layout.flex) == ("345px", "0 1 auto")
    assert (right.layout.width, right.layout.flex) == (None, "1 1 300px")
    with pytest.raises(ValueError, match="widths has 1 entries, but there are 2 views"):
        row(left, right, widths=["345px"])
