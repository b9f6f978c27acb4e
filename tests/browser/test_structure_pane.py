"""A LiveMap and a StructurePane drive each other in JupyterLab."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import colours, execute, open_notebook, python, wait_python  # noqa: E402

pytestmark = pytest.mark.browser

FRAMES = """
import numpy as np
from ase.build import bulk, molecule
from matterscape_widgets import LiveMap, StructurePane, Study, link
frames = [molecule(name) for name in ("H2O", "CH4", "NH3", "C6H6", "CH3CH2OH")]
frames.append(bulk("NaCl", "rocksalt", 5.64, cubic=True))
"""
STRUCTURES = [
    FRAMES
    + """
x, y = np.cos(np.arange(6)), np.sin(np.arange(6))
landscape = LiveMap(x, y, colour=np.arange(6) / 2, x_label="PC 1", y_label="PC 2", colour_label="Energy (eV)")
pane = StructurePane(frames, properties={"position": np.column_stack([x, y]), "energy": np.arange(6) / 2})
landscape.active = 3
link(landscape, pane)
study = Study([], [landscape], pane, title="Structures")
study
""",
]
ENVIRONMENTS = [
    FRAMES
    + """
environments = [(5, a) for a in range(8)] + [(4, 2), (0, 0), (1, 0)]
landscape = LiveMap(np.cos(np.arange(11)), np.sin(np.arange(11)), x_label="PC 1", y_label="PC 2")
pane = StructurePane(frames, environments, cutoff=3.0)
link(landscape, pane)
study = Study([], [landscape], pane, title="Environments")
study
""",
    """
single = StructurePane(frames[:1])
single
""",
]


def wait_for_structures(page, count=1):
    page.locator(".chemiscope-structure canvas").nth(count - 1).wait_for(state="attached", timeout=120_000)
    page.wait_for_timeout(2500)


def click_point(page, index):
    root = page.locator(".matterscape-study .matterscape-map")
    root.scroll_into_view_if_needed()
    page.mouse.click(*root.evaluate("(root, i) => root.pointPosition(i)", index))


def click_slider(page, kind, fraction):
    """Click on chemiscope's own slider for structures or atoms.

    The mouse, because JupyterLab takes the keys typed into a shadow root for its shortcuts.
    """
    slider = page.locator(f".matterscape-study .chemiscope-info .chsp-{kind}-slider")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + fraction * box["width"], box["y"] + box["height"] / 2)


def test_structures(page, lab, pictures):
    assert open_notebook(page, lab, lab.add("structures.ipynb", STRUCTURES)) == []
    wait_for_structures(page)
    viewer = page.locator(".chemiscope-structure").first
    assert colours(viewer) > 100
    # What was chosen before the viewer existed is what it shows.
    wait_python(page, "pane._widget.selected_ids.get('structure') == 3")
    before = viewer.screenshot()
    click_point(page, 5)
    wait_python(page, "(pane.structure, pane._widget.selected_ids['structure']) == (5, 5)")
    page.wait_for_timeout(1500)
    assert viewer.screenshot() != before
    page.screenshot(path=pictures / "structures.png")
    click_slider(page, "structure", 0.4)
    wait_python(page, "pane.structure != 5 and landscape.active == pane.structure")
    shown = python(page, "landscape.active")
    page.get_by_text("Full chemiscope map").click()
    page.locator(".chemiscope-map").wait_for(state="attached", timeout=60_000)
    wait_for_structures(page)
    assert python(page, "(pane.error, landscape.active)") == ("", shown)
    assert page.locator(".chemiscope-structure").count() == 1
    execute(page, "landscape.active = 4")
    wait_python(page, "pane._widget.selected_ids['structure'] == 4")
    page.screenshot(path=pictures / "full-map.png", full_page=True)
    page.get_by_text("Back to the structure").click()
    page.locator(".chemiscope-map").wait_for(state="detached", timeout=60_000)
    wait_for_structures(page)
    assert python(page, "(pane.structure, landscape.active)") == (4, 4)


def test_environments_and_a_single_frame(page, lab, pictures):
    assert open_notebook(page, lab, lab.add("environments.ipynb", ENVIRONMENTS)) == []
    wait_for_structures(page, 2)
    assert python(page, "(pane.structure, pane.atom, landscape.active)") == (5, 0, 0)
    click_point(page, 8)
    wait_python(page, "pane._widget.selected_ids == {'structure': 4, 'atom': 2}")
    click_point(page, 6)
    wait_python(page, "pane._widget.selected_ids == {'structure': 5, 'atom': 6}")
    page.wait_for_timeout(1500)
    page.screenshot(path=pictures / "environments.png")
    click_slider(page, "atom", 0.1)
    wait_python(page, "pane.atom not in (6, None) and environments[landscape.active] == (pane.structure, pane.atom)")
    assert colours(page.locator(".chemiscope-structure").last) > 50
