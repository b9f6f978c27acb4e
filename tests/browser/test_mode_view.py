"""ModeView in JupyterLab: the atoms move by themselves, a click changes how, keys step, the picture can be saved."""

import io

import numpy as np
import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    check_themes_and_widths,
    close_page,
    colours,
    execute,
    new_page,
    open_notebook,
    python,
    readout_number,
    study,
    wait_python,
)
from PIL import Image  # noqa: E402

pytestmark = pytest.mark.browser

CELLS = [
    """
import numpy as np
from ase.build import bulk
from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.mode_shapes import ModeShapes
from matterscape_widgets.mode_view import ModeView

silicon = bulk("Si", "diamond", a=5.432)
def modes_of(atoms, mesh, masses=None):
    return vibrational_modes(force_constants(Tersoff.silicon(), Structures.from_ase(atoms)), mesh, masses=masses)

cell = bulk("Si", "diamond", a=5.432, cubic=True) * 3
heavy = np.random.default_rng(0).choice([20.0, 40.0, 80.0], len(cell))  # disorder of the masses
alloy = modes_of(cell, (1, 1, 1), heavy)
shares = (alloy.eigenvectors[0] ** 2).reshape(len(cell), 3, -1).sum(axis=1)
view = ModeView(alloy, properties={"participation ratio": 1 / (len(cell) * (shares**2).sum(axis=0))})
view
""",
    """
crystal = modes_of(silicon, (4, 4, 4))
speeds = np.linalg.norm(crystal.group_velocities(), axis=2)
lattice = ModeView(crystal, properties={"group velocity (Å/ps)": speeds}, title="Modes of a crystal")
lattice
""",
    """
from matterscape_widgets import LiveAtoms
many = bulk("Si", "diamond", a=5.432, cubic=True) * (7, 6, 6)
large = LiveAtoms(many, colour=np.arange(len(many)) % 7)
large.update(vibration=np.random.default_rng(1).normal(size=(len(many), 3)))
large
""",
]
ALLOY, CRYSTAL = 0, 1


@pytest.fixture(scope="module")
def notebook(browser, lab):
    page = new_page(browser)
    page.set_default_timeout(120_000)
    assert open_notebook(page, lab, lab.add("mode_view.ipynb", CELLS)) == []
    page.wait_for_function(
        "() => document.querySelectorAll('.matterscape-atoms[data-draws]').length === 3", timeout=60_000
    )
    page.set_default_timeout(30_000)
    yield page
    close_page(page)


def _atoms(page, which):
    return study(page, which).locator(".matterscape-atoms")


def _picture(page, which):
    stage = _atoms(page, which).locator(".matterscape-stage")
    stage.scroll_into_view_if_needed()
    return np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), dtype=float)


def _changed(one, other):
    """Share of the pixels that differ visibly."""
    return (np.abs(one - other).max(axis=2) > 24).mean()


def _pause(page, which, playing=False):
    name = ("view", "lattice")[which]
    execute(page, f"{name}.atoms.playing = {playing}")
    page.wait_for_function(
        "([k, p]) => document.querySelectorAll('.matterscape-atoms')[k].dataset.playing === p",
        arg=[which, str(playing).lower()],
    )
    page.wait_for_timeout(300)


def test_everything_is_drawn(notebook, pictures):
    for which, name in ((ALLOY, "alloy"), (CRYSTAL, "crystal")):
        study(notebook, which)
        notebook.wait_for_timeout(600)
        study(notebook, which).screenshot(path=pictures / f"mode-view-{name}.png")
        assert colours(_atoms(notebook, which)) > 150
        assert colours(study(notebook, which).locator(".matterscape-map")) > 60


def test_atoms_move_without_the_kernel(notebook):
    execute(notebook, "view.chosen = (0, 300)\nsent = []\nview.atoms.send_state = lambda *a, **k: sent.append(a)")
    _pause(notebook, ALLOY, True)
    seen = []
    for _ in range(4):
        seen.append(_picture(notebook, ALLOY))
        notebook.wait_for_timeout(170)
    assert max(_changed(one, seen[0]) for one in seen[1:]) > 0.02
    assert python(notebook, "len(sent)") <= 1  # the assignment of `playing` itself
    execute(notebook, "del view.atoms.send_state")
    _pause(notebook, ALLOY)
    assert _changed(_picture(notebook, ALLOY), _picture(notebook, ALLOY)) == 0


def test_a_still_amplitude_is_still(notebook):
    execute(notebook, "view.controls['amplitude'].value = 0.05")
    _pause(notebook, ALLOY, True)
    first = _picture(notebook, ALLOY)
    notebook.wait_for_timeout(450)
    small = _changed(first, _picture(notebook, ALLOY))
    execute(notebook, "view.controls['amplitude'].value = 1.5")
    notebook.wait_for_timeout(300)
    first = _picture(notebook, ALLOY)
    notebook.wait_for_timeout(450)
    assert _changed(first, _picture(notebook, ALLOY)) > 3 * small
    execute(notebook, "view.controls['amplitude'].value = 0.6")


def test_a_click_on_the_map_changes_the_motion(notebook, pictures):
    _pause(notebook, ALLOY)
    before = _picture(notebook, ALLOY)
    last = python(notebook, "len(view.points) - 1")
    map_ = study(notebook, ALLOY).locator(".matterscape-map")
    x, y = map_.evaluate("(node, k) => node.pointPosition(k)", last)
    notebook.mouse.click(x, y)
    wait_python(notebook, f"view.chosen == tuple(view.points[{last}])")
    notebook.wait_for_timeout(500)
    assert _changed(before, _picture(notebook, ALLOY)) > 0.02
    frequency = python(notebook, f"float(alloy.frequencies_THz[0, view.points[{last}][1]])")
    assert readout_number(notebook, ALLOY, "frequency") == pytest.approx(frequency, rel=1e-3)
    study(notebook, ALLOY).screenshot(path=pictures / "mode-view-localised.png")


def test_keys_step_play_and_show_arrows(notebook, pictures):
    execute(notebook, "view.chosen = (0, 100)")
    _pause(notebook, ALLOY)
    stage = _atoms(notebook, ALLOY).locator(".matterscape-stage")
    stage.press("PageDown")
    wait_python(notebook, "view.chosen == (0, 101)")
    stage.press("PageUp")
    stage.press("PageUp")
    wait_python(notebook, "view.chosen == (0, 99)")
    plain = _picture(notebook, ALLOY)
    stage.press("a")
    wait_python(notebook, "view.atoms.arrows")
    notebook.wait_for_timeout(300)
    assert _changed(plain, _picture(notebook, ALLOY)) > 0.01
    study(notebook, ALLOY).screenshot(path=pictures / "mode-view-arrows.png")
    stage.press("a")
    stage.press(" ")
    wait_python(notebook, "view.atoms.playing and not view.atoms.arrows")
    notebook.get_by_role("button", name="Play or pause (space)").first.click()
    wait_python(notebook, "not view.atoms.playing")


def test_the_picture_is_saved(notebook):
    execute(notebook, "view.chosen = (0, 200)")
    notebook.wait_for_timeout(300)
    with notebook.expect_download() as started:
        study(notebook, ALLOY).get_by_role("button", name="Save the picture (S)").click()
    assert started.value.suggested_filename == python(notebook, "view.atoms.picture_name")
    image = np.asarray(Image.open(started.value.path()).convert("RGB"))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_a_running_wave_of_a_crystal(notebook, pictures):
    execute(
        notebook,
        "along = np.flatnonzero((crystal.wavevectors == [0.25, 0.25, 0]).all(axis=1))[0]\n"
        "lattice.chosen = (int(along), 2)\n"
        "lattice.atoms.arrows = True",
    )
    _pause(notebook, CRYSTAL, True)
    assert "a running wave" in python(notebook, "lattice.message")
    first = _picture(notebook, CRYSTAL)
    notebook.wait_for_timeout(450)
    assert _changed(first, _picture(notebook, CRYSTAL)) > 0.01
    _pause(notebook, CRYSTAL)
    study(notebook, CRYSTAL).screenshot(path=pictures / "mode-view-running.png")


def test_axes_follow_their_menus(notebook):
    execute(
        notebook,
        "lattice.controls['x'].value = 'group velocity (Å/ps)'\nlattice.controls['colour'].value = 'frequency (THz)'",
    )
    assert python(notebook, "(lattice.map.x_label, lattice.map.colour_label)") == (
        "group velocity (Å/ps)",
        "frequency (THz)",
    )
    execute(notebook, "lattice.controls['log'].value = True")
    assert python(notebook, "lattice.map.y_label").startswith("log10 of")


def test_two_thousand_atoms_keep_moving(notebook):
    atoms = notebook.locator(".matterscape-atoms").nth(2)
    atoms.scroll_into_view_if_needed()
    notebook.wait_for_timeout(500)
    before = int(atoms.get_attribute("data-draws"))
    notebook.wait_for_timeout(3000)
    drawn = int(atoms.get_attribute("data-draws")) - before
    print(f"{python(notebook, 'len(many)')} atoms without a graphics card: {drawn / 3:.0f} frames a second")
    assert drawn >= 6


def test_nothing_moves_out_of_sight(notebook):
    atoms = notebook.locator(".matterscape-atoms").nth(2)
    study(notebook, ALLOY)
    notebook.wait_for_timeout(800)
    before = atoms.get_attribute("data-draws")
    notebook.wait_for_timeout(800)
    assert atoms.get_attribute("data-draws") == before


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, ("alloy", "crystal"), "mode-view")
