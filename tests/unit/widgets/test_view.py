"""What all views share, without a browser."""

import pytest
from ase.build import molecule

from matterscape_widgets.curve import Curve
from matterscape_widgets.explorer.details import PointCard
from matterscape_widgets.live_atoms import LiveAtoms
from matterscape_widgets.live_map import LiveMap
from matterscape_widgets.structure_pane import StructurePane
from matterscape_widgets.study import Line, Readout
from matterscape_widgets.view import View

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("view", [LiveMap, Curve, LiveAtoms, Line, PointCard])
def test_front_end_is_one_small_module_that_listens(view):
    assert issubclass(view, View)
    module = str(view._esm)
    assert module.count("export default { initialize, render };") == module.count("export default") == 1
    assert module.count("function initialize(") == module.count("function render(") == 1
    assert len(module) < 50_000


def test_a_view_looks_after_itself_and_others():
    first, second = Readout("a"), Readout("b")
    assert first.model_id != second.model_id
    assert first.get_state()["_listening"] == [first.model_id]
    first.look_after(second)
    assert first.get_state()["_listening"] == [first.model_id, second.model_id]


def test_a_structure_pane_looks_after_each_of_its_viewers():
    pane = StructurePane([molecule("H2O")], properties={"energy": [1.0], "volume": [2.0]})
    assert pane._note._listening[1:] == [pane._widget.model_id]
    pane.full_map()
    assert pane._note._listening[2:] == [pane._widget.model_id]
