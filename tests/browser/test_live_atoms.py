"""LiveAtoms in JupyterLab: drawing, turning, picking, and the rate at which it follows its data."""

import statistics

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import close_page, colours, execute, new_page, open_notebook, python, wait_python  # noqa: E402

pytestmark = pytest.mark.browser

CELLS = [
    """
import numpy as np
from ase.build import bulk, molecule
from matterscape_widgets import LiveAtoms
salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 5
salt.rattle(0.1, seed=0)
view = LiveAtoms(salt)
view
""",
    """
ethanol = molecule("CH3CH2OH")
single = LiveAtoms(ethanol, colour=ethanol.positions[:, 0], colour_range=(-2, 2), colour_label="x (Å)", height=260)
single
""",
]
SALT, ETHANOL = ".matterscape-atoms >> nth=0", ".matterscape-atoms >> nth=1"


@pytest.fixture(scope="module")
def notebook(browser, lab):
    page = new_page(browser, device_scale_factor=2)
    assert open_notebook(page, lab, lab.add("live_atoms.ipynb", CELLS)) == []
    page.wait_for_function(
        "() => document.querySelectorAll('.matterscape-atoms[data-draws]').length === 2", timeout=60_000
    )
    yield page
    close_page(page)


def _draws(page, name):
    return int(page.locator(name).get_attribute("data-draws"))


def test_atoms_are_drawn_in_colours(notebook, pictures):
    for index, name in enumerate((SALT, ETHANOL)):
        notebook.locator(name).screenshot(path=pictures / f"live_atoms_{index}.png")
        assert colours(notebook.locator(name)) > 200
    assert notebook.locator(SALT).get_attribute("data-atoms") == "1000"


def test_dragging_turns_and_a_click_picks(notebook):
    stage = notebook.locator(ETHANOL).locator(".matterscape-stage")
    stage.scroll_into_view_if_needed()
    before = stage.screenshot()
    frame = stage.bounding_box()
    notebook.mouse.move(frame["x"] + 60, frame["y"] + 60)
    notebook.mouse.down()
    notebook.mouse.move(frame["x"] + 160, frame["y"] + 100, steps=5)
    notebook.mouse.up()
    assert stage.screenshot() != before
    x, y = notebook.evaluate("() => document.querySelectorAll('.matterscape-atoms')[1].atomPosition(2)")
    notebook.mouse.click(x, y)
    wait_python(notebook, "single.active is not None")
    picked = python(notebook, "single.active")
    assert notebook.locator(ETHANOL).get_attribute("data-active") == str(picked)
    stage.press("0")


def test_it_follows_a_simulation(notebook):
    execute(
        notebook,
        "import asyncio, time\n"
        "gaps = []\n"
        "async def shake():\n"
        "    for step in range(30):\n"
        "        start = time.perf_counter()\n"
        "        view.update(salt.positions + 0.3 * np.random.default_rng(step).normal(size=(1000, 3)))\n"
        "        gaps.append(time.perf_counter() - start)\n"
        "        await asyncio.sleep(0.05)\n"
        "task = asyncio.ensure_future(shake())",
    )
    before = _draws(notebook, SALT)
    wait_python(notebook, "len(gaps) == 30")
    notebook.wait_for_timeout(300)
    drawn = _draws(notebook, SALT) - before
    print(f"30 frames of 1000 atoms sent at 20 a second: {drawn} drawn")
    assert drawn >= 10
    assert statistics.median(python(notebook, "gaps")) < 0.05
