"""The tutorial on symmetric descriptors in JupyterLab: every view drawn, every slider answered, exercises judged."""

import re

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    colours,
    execute,
    python,
    readout,
    readout_number,
    set_theme,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "tutorials/01-symmetric-descriptors.ipynb"
MOLECULE, DENSITY, MAP, RINGS = range(4)  # the studies in their order on the page
RIGHT = {
    "exercise-1-answer": """
def my_cutoff(r, cutoff=3.5, width=1.0):
    t = np.clip((r - (cutoff - width)) / width, 0, 1)
    return 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
exercise_1(my_cutoff)""",
    "exercise-2-answer": "exercise_2(lambda c1: np.einsum('nm,nm->n', c1, c1))",
    # every column negative, both triangles, n before l: another form of the same kernel
    "exercise-3-answer": """
def my_power_spectrum(c):
    parts = [-np.einsum('emn,emk->enk', c[:, b], c[:, b]) / np.sqrt(2 * l + 1) for l, b in enumerate(blocks)]
    return np.stack(parts, axis=-1).reshape(len(c), -1)
exercise_3(my_power_spectrum)""",
}
WRONG = {
    "exercise-1-answer": (
        "exercise_1(lambda r, cutoff=3.5, width=1.0: np.clip((cutoff - r) / width, 0, 1))",
        "tiny step across the cutoff",
    ),
    "exercise-2-answer": ("exercise_2(lambda c1: c1.sum(axis=1) ** 2)", "a rotation of the environment"),
    "exercise-3-answer": (
        "exercise_3(lambda c: np.einsum('emn,emk->enk', c, c).reshape(len(c), -1))",
        "values differ",
    ),
}


def wait_readout(page, which, label, accept, timeout=20_000):
    """Wait until the text of a readout satisfies a condition; returns its number."""
    for _ in range(timeout // 100):
        number = readout_number(page, which, label)
        if accept(number):
            return number
        page.wait_for_timeout(100)
    raise TimeoutError(f"{label!r} stayed at {number}")


def test_everything_is_drawn(notebook, pictures):
    curves = notebook.locator(".matterscape-curve")
    assert curves.count() == 8
    for k in range(8):
        curves.nth(k).scroll_into_view_if_needed()
        assert colours(curves.nth(k)) > 60
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".chemiscope-structure").first) > 60
    for which, name in enumerate(("molecule", "density", "map", "rings")):
        study(notebook, which).screenshot(path=pictures / f"tutorial-01-{name}.png")
    assert (
        python(notebook, "[s.message.split()[0] for s in (molecule_study, density_study, map_study, blind_study)]")
        == ["Recomputed"] * 4
    )


def test_solutions_and_widget_code_are_collapsed(notebook):
    hidden = python(
        notebook,
        "sum('source_hidden' in str(c['metadata']) for c in __import__('json')"
        ".load(open(__import__('os').path.basename('01-symmetric-descriptors.ipynb')))['cells'])",
    )
    assert notebook.locator(".jp-Notebook .jp-InputPlaceholder, .jp-Notebook .jp-Placeholder").count() >= hidden >= 10


def test_candidates_react_as_the_text_says(notebook):
    step_slider(slider(notebook, MOLECULE, "turn"), 5)
    wait_readout(notebook, MOLECULE, "coordinates", lambda v: v > 0.3)
    wait_readout(notebook, MOLECULE, "distances", lambda v: v < 1e-12)
    study(notebook, MOLECULE).locator("input[type=checkbox]").check()
    wait_readout(notebook, MOLECULE, "distances", lambda v: v == pytest.approx(0.15 * 2**0.5, abs=1e-3))
    wait_readout(notebook, MOLECULE, "sorted distances", lambda v: v < 1e-12)
    step_slider(slider(notebook, MOLECULE, "bond angle"), 5)
    wait_readout(notebook, MOLECULE, "sorted distances", lambda v: v > 0.03)


def test_sliders_sharpen_the_density(notebook, pictures):
    view = study(notebook, DENSITY).locator(".matterscape-curve").nth(1)
    before, blurred = readout(notebook, DENSITY, "captured"), view.screenshot()
    captured = float(before.split()[0].rstrip("%"))
    for label in ("l max", "n max"):
        step_slider(slider(notebook, DENSITY, label), 4)
        captured = wait_readout(notebook, DENSITY, "captured", lambda v, c=captured: v > c)
    wait_python(notebook, "density_study.controls['l'].value == density_study.controls['n'].value == 8")
    notebook.wait_for_timeout(500)
    assert view.screenshot() != blurred
    assert captured > 85
    study(notebook, DENSITY).screenshot(path=pictures / "tutorial-01-density-sharp.png")


def test_click_on_the_map_shows_the_environment(notebook):
    chart, viewer = study(notebook, MAP).locator(".matterscape-map"), notebook.locator(".chemiscope-structure").first
    before = viewer.screenshot()
    target = python(notebook, "int(np.argmax(shown[:, 0]))")
    notebook.mouse.click(*chart.evaluate("(root, i) => root.pointPosition(i)", target))
    wait_python(notebook, "chart.active is not None and np.allclose(shown[chart.active], shown[:, 0].max(), atol=9)")
    wait_python(
        notebook, "(pane.structure, pane.atom) == tuple(pane.environments[chart.active]) != pane.environments[0]"
    )
    notebook.wait_for_timeout(1500)
    assert viewer.screenshot() != before


def test_map_follows_its_sliders(notebook, pictures):
    chart = study(notebook, MAP).locator(".matterscape-map")
    start = python(notebook, "shown.tolist()")
    draws = int(chart.get_attribute("data-draws"))
    step_slider(slider(notebook, MAP, "cutoff"), 4)
    wait_python(notebook, f"np.abs(shown - np.array({start})).max() > 0.01")
    notebook.wait_for_function(
        "([n]) => Number(document.querySelector('.matterscape-map').dataset.draws) > n", arg=[draws]
    )
    features = int(readout(notebook, MAP, "features"))
    step_slider(slider(notebook, MAP, "l max"), 4, key="ArrowLeft")
    wait_readout(notebook, MAP, "features", lambda v: v == features / 5)
    study(notebook, MAP).locator("select").select_option("oxygen")
    wait_python(notebook, "chart.colour_label == 'bonded oxygens'")
    assert re.fullmatch(r"Recomputed in \d+ ms\.", python(notebook, "map_study.message"))
    study(notebook, MAP).screenshot(path=pictures / "tutorial-01-map-moved.png")
    execute(notebook, "pane.full_map(); pane.structure_only()")  # the button's work, with the properties of this map


def test_rings_are_told_apart_only_when_moved(notebook):
    assert float(readout(notebook, RINGS, "difference in SOAP")) < 1e-12
    assert float(readout(notebook, RINGS, "in the triangles").split()[0].rstrip("Å")) > 0.1
    step_slider(slider(notebook, RINGS, "moved"), 3)
    wait_readout(notebook, RINGS, "difference in SOAP", lambda v: v > 1e-3)


def test_unanswered_exercises_say_so_and_stop_nothing(notebook):
    verdicts = notebook.locator(".matterscape-check")
    assert [verdicts.nth(k).get_attribute("data-passed") for k in range(3)] == ["false"] * 3
    assert all("Replace the three dots" in text for text in verdicts.all_inner_texts())
    assert "0 of 3 solved" in notebook.locator(".matterscape-checks").inner_text()


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme(notebook, pictures):
    set_theme(notebook, "JupyterLab Dark")
    try:
        notebook.wait_for_timeout(1000)
        for which, name in ((MOLECULE, "molecule"), (DENSITY, "density")):
            assert colours(study(notebook, which)) > 100
            study(notebook, which).screenshot(path=pictures / f"tutorial-01-{name}-dark.png")
    finally:
        set_theme(notebook, "JupyterLab Light")
