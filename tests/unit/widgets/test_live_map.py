"""LiveMap without a browser: what is sent, what is refused, how selections behave."""

import numpy as np
import pytest

from matterscape_widgets import LiveMap

pytestmark = pytest.mark.unit


@pytest.fixture
def live_map():
    return LiveMap([0.0, 1, 2, 3], [3.0, 2, 1, 0], colour=[0.1, 0.2, np.nan, 0.4], labels=list("abcd"), x_label="x (Å)")


def test_selection_is_sorted_unique_and_of_any_kind(live_map):
    for given in ([2, 0, 2], {0, 2}, np.array([2, 0]), (0, 2)):
        live_map.selected = given
        assert live_map.selected == (0, 2)
        assert all(type(index) is int for index in live_map.selected)
    live_map.selected = range(0)
    assert live_map.selected == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [([4], "selected contains 4, but the points are 0 to 3"), ([-1], "selected contains -1"), ([0.5], "whole numbers")],
)
def test_selection_outside_the_points_is_refused(live_map, value, message):
    with pytest.raises(ValueError, match=message):
        live_map.selected = value
    assert live_map.selected == ()


def test_active_outside_the_points_is_refused(live_map):
    with pytest.raises(ValueError, match="active contains 9, but the points are 0 to 3"):
        live_map.active = 9
    live_map.active = None
    assert live_map.active is None


def test_update_sends_everything_at_once(live_map):
    sent = []
    live_map.send_state = lambda key=None: sent.append(set(key) if key is not None else None)
    live_map.update(x=[0.0, 1, 4, 9], y=[1.0, 2, 3, 4], colour=[1.0, 2, 3, 4], colour_label="energy (eV)")
    assert len(sent) == 1
    assert {"_x", "_y", "_colour", "_frames", "colour_label"} <= sent[0]
    assert "labels" not in sent[0]


def test_update_of_one_column_keeps_the_others(live_map):
    before = live_map._x
    live_map.selected, live_map.active = [1], 2
    live_map.update(y=[5.0, 6, 7, 8])
    assert live_map._x == before
    assert (live_map.selected, live_map.active) == ((1,), 2)
    assert live_map.labels == list("abcd")


def test_update_with_another_number_of_points_forgets_what_belonged_to_the_old_ones(live_map):
    live_map.selected, live_map.active = [1, 3], 1
    live_map.update(x=np.arange(6.0), y=np.arange(6.0))
    assert live_map.n_points == 6
    assert (live_map.selected, live_map.active, live_map.labels, live_map._colour) == ((), None, [], b"")


def test_a_failed_update_shows_a_sentence_and_keeps_the_data(live_map):
    state = live_map.get_state(["_x", "_y", "_colour", "_frames"])
    with pytest.raises(ValueError, match="y has 3 values, but 4 are needed"):
        live_map.update(x=[9.0, 9, 9, 9], y=[1.0, 2, 3])
    assert live_map.error == "y has 3 values, but 4 are needed, one for each point."
    assert live_map.get_state(["_x", "_y", "_colour", "_frames"]) == state
    live_map.update(y=[1.0, 2, 3, 4])
    assert live_map.error == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [1.0, 2, 3]}, "give both to change the number of points"),
        ({"x": [[1.0, 2]], "y": [1.0]}, "x must be one-dimensional"),
        ({"y": [1.0, 2, 3, np.inf]}, r"y\[3\] is inf"),
        ({"colour": [1.0, 2]}, "colour has 2 values, but 4 are needed"),
        ({"size": ["a", "b", "c", "d"]}, "size must hold real numbers"),
        ({"labels": ["one"]}, "labels has 1 entries, but 4 are needed"),
    ],
)
def test_bad_data_is_refused(live_map, change, message):
    with pytest.raises(ValueError, match=message):
        live_map.update(**change)


def test_an_unknown_keyword_is_refused(live_map):
    with pytest.raises(TypeError, match="'color', which is neither data nor a label"):
        live_map.update(color="red")


def test_colours_by_category_and_back(live_map):
    live_map.update(colour=["cubic", "hexagonal", "cubic", "cubic"])
    assert live_map.categories == ["cubic", "hexagonal"]
    live_map.update(colour=[0.5, 1.5, 2.5, 3.5])
    assert live_map.categories == []
    live_map.update(colour=None)
    assert live_map._colour == b""


def test_an_empty_map_is_allowed():
    assert LiveMap([], []).n_points == 0


def test_a_hundred_thousand_points_are_two_columns_of_bytes():
    live_map = LiveMap(np.zeros(100_000), np.arange(100_000.0))
    assert len(live_map._x) == len(live_map._y) == 400_000
