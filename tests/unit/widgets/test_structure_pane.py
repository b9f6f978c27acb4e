"""StructurePane and its link with a map, without a browser."""

import json

import numpy as np
import pytest
from ase.build import bulk, molecule

from matterscape_widgets import LiveMap, StructurePane, link

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:chemiscope.show")]


@pytest.fixture
def frames():
    return [molecule("H2O"), bulk("Cu", cubic=True), molecule("CH4")]


def click(pane, structure, atom=None):
    """What chemiscope sends when the user picks something."""
    pane._widget.selected_ids = {"structure": structure} | ({} if atom is None else {"atom": atom})


def test_show_and_follow(frames):
    pane = StructurePane(frames)
    pane.show(2)
    assert (pane.structure, pane.atom, pane.point, pane._widget.selected_ids) == (2, None, 2, {"structure": 2})
    click(pane, 1)
    assert (pane.structure, pane.point) == (1, 1)


def test_environments_in_any_order(frames):
    environments = [(2, 0), (0, 2), (0, 0)]
    pane = StructurePane(frames, environments)
    assert (pane.structure, pane.atom, pane.point) == (2, 0, 0)
    pane.show_point(1)
    assert (pane.structure, pane.atom) == (0, 2)
    pane.show(0)
    assert pane.atom == 2  # the first environment of that structure
    click(pane, 0, 0)
    assert pane.point == 2
    sent = json.loads(pane._widget.value)["environments"]
    assert [(e["structure"], e["center"]) for e in sent] == sorted(environments)


def test_link_runs_both_ways_without_loops(frames):
    pane, live_map = StructurePane(frames), LiveMap([0.0, 1, 2], [0.0, 1, 2])
    untie = link(live_map, pane)
    assert live_map.active == 0
    moves = []
    live_map.observe(lambda change: moves.append(("map", change["new"])), "active")
    pane.observe(lambda change: moves.append(("pane", change["new"])), "structure")
    live_map.active = 2
    assert sorted(moves) == [("map", 2), ("pane", 2)]
    click(pane, 1)
    assert sorted(moves[2:]) == [("map", 1), ("pane", 1)]
    untie()
    live_map.active = 0
    assert pane.structure == 1


def test_link_of_environments(frames):
    pane, live_map = StructurePane(frames, [(0, 1), (2, 3)]), LiveMap([0.0, 1], [0.0, 1])
    live_map.active = 1
    link(live_map, pane)
    assert (pane.structure, pane.atom) == (2, 3)
    click(pane, 0, 1)
    assert live_map.active == 0


def test_link_needs_one_point_each(frames):
    with pytest.raises(ValueError, match="the map has 2 points, but the pane stands for 3"):
        link(LiveMap([0.0, 1], [0.0, 1]), StructurePane(frames))


def test_the_full_map_comes_on_request_and_replaces_the_viewer(frames):
    pane = StructurePane(frames, properties=lambda: {"pca": np.arange(6.0).reshape(3, 2)})
    viewer = pane._widget
    pane.show(2)
    pane.full_map()
    assert pane._widget.mode == "default"
    assert viewer.comm is None  # closed: one chemiscope widget at a time
    assert json.loads(pane._widget.value)["settings"]["pinned"] == [2]
    assert {"pca[1]", "pca[2]"} <= set(json.loads(pane._widget.value)["properties"])
    click(pane, 1)
    assert pane.structure == 1
    pane.structure_only()
    assert pane._widget.mode == "structure"


def test_full_map_properties_follow_the_environments(frames):
    pane = StructurePane(frames, [(2, 0), (0, 1)])
    pane.full_map({"a": [20.0, 1.0], "b": [5.0, 6.0], "energy": [1.0, 2.0, 3.0]})
    properties = json.loads(pane._widget.value)["properties"]
    assert (properties["a"]["values"], properties["a"]["target"]) == ([1.0, 20.0], "atom")
    assert properties["energy"]["target"] == "structure"


def test_full_map_takes_categories_and_missing_values(frames):
    pane = StructurePane(frames)
    pane.full_map({"stable": [True, False, True], "phase": ["a", "b", "a"], "energy": [1.0, np.nan, 2.0]})
    properties = json.loads(pane._widget.value)["properties"]
    assert properties["stable"]["values"] == ["True", "False", "True"]
    assert np.isnan(properties["energy"]["values"][1])


def test_the_button_reports_what_is_missing(frames):
    pane = StructurePane(frames)
    pane._button.click()
    assert pane.error == "properties holds fewer than two columns, but a map needs two axes."
    assert (pane._note.text, pane._note.layout.display) == (pane.error, "")
    pane.properties = {"a": np.arange(3), "b": np.arange(3)}
    pane._button.click()
    assert (pane.error, pane._note.layout.display, pane._widget.mode) == ("", "none", "default")


def test_a_single_frame_is_fine():
    pane = StructurePane([molecule("H2O")])
    pane.show(0)
    assert pane.point == 0


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda f: StructurePane([]), "frames is empty"),
        (lambda f: StructurePane(f, cutoff=0), "cutoff is 0, but the radius"),
        (lambda f: StructurePane(f, [(0, 3)]), r"environments contains \(0, 3\)"),
        (lambda f: StructurePane(f, [0, 1]), "environments must be pairs"),
        (lambda f: StructurePane(f).show(3), "structure is 3, but the frames are 0 to 2"),
        (lambda f: StructurePane(f, [(0, 0)]).show(0, 1), "atom 1 of structure 0 is none of the 1 environments"),
        (lambda f: StructurePane(f, [(0, 0)]).show_point(1), "index is 1, but the environments are 0 to 0"),
        (
            lambda f: StructurePane(f).full_map({"a": [1, 2, np.inf], "b": [1, 2, 3]}),
            r"properties\['a'\] contains an inf",
        ),
        (lambda f: StructurePane(f).full_map({"a": [1, 2], "b": [1, 2, 3]}), r"properties\['a'\] has 2 rows, but 3"),
    ],
)
def test_bad_input_is_refused(frames, action, message):
    with pytest.raises(ValueError, match=message):
        action(frames)
