"""Views whose front end comes late, as on a slow or busy machine: nothing that the kernel sent before is lost."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import colours, execute, open_notebook  # noqa: E402

pytestmark = pytest.mark.browser

# Longer than the two seconds after which anywidget gives up a model.
LATE = "await new Promise((done) => setTimeout(done, 3500));\n"
CANVASES = [
    f"""
import numpy as np
from ipywidgets import VBox

from matterscape_widgets.curve import Curve
from matterscape_widgets.explorer.details import PointCard
from matterscape_widgets.live_map import LiveMap
from matterscape_widgets.study import Readout


def late(view):
    return type(view.__name__, (view,), {{"_esm": {LATE!r} + str(view._esm)}})


t = np.linspace(0, 1, 50)
points, curve = late(LiveMap)(t, t), late(Curve)({{"line": (t, t**2)}})
readout, card = late(Readout)("time", unit="ps"), late(PointCard)()
readout.show(1.5)
card.title = "Point 3"
VBox([points, curve, readout, card])
"""
]


def test_a_late_front_end_catches_up_and_follows(lab, page):
    assert open_notebook(page, lab, lab.add("late.ipynb", CANVASES)) == []
    page.locator(".matterscape-map[data-points='50']").wait_for(timeout=20_000)
    page.locator(".matterscape-curve[data-series='1']").wait_for()
    page.locator(".readout-value", has_text="1.5 ps").wait_for()
    page.locator(".matterscape-card-title", has_text="Point 3").wait_for()
    execute(page, "points.update(t[:20], t[:20]); readout.show(2.5); curve.update({}); card.title = 'Point 4'")
    page.locator(".matterscape-map[data-points='20']").wait_for(timeout=10_000)
    page.locator(".matterscape-curve[data-series='0']").wait_for()
    page.locator(".readout-value", has_text="2.5 ps").wait_for()
    page.locator(".matterscape-card-title", has_text="Point 4").wait_for()


VIEWER = [
    f"""
from ase.build import molecule
from chemiscope.widget import StructureWidget

from matterscape_widgets.structure_pane import StructurePane

front_end = StructureWidget._esm
StructureWidget._esm = {LATE!r} + str(front_end)
pane = StructurePane([molecule(name) for name in ("H2O", "C6H6", "CH3CH2OH")])
pane.show(1)
pane
"""
]


def test_a_late_viewer_of_structures_catches_up_and_follows(lab, page):
    assert open_notebook(page, lab, lab.add("late-viewer.ipynb", VIEWER)) == []
    page.locator(".chemiscope-structure canvas").first.wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(2500)
    viewer = page.locator(".chemiscope-structure").first
    shown = viewer.screenshot()
    assert colours(viewer) > 60
    execute(page, "pane.show(2)")
    page.wait_for_timeout(2500)
    assert viewer.screenshot() != shown
