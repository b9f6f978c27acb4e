"""The study of coloured disorder in JupyterLab: every view drawn, sliders answered, map and structure linked."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    colours,
    python,
    readout_number,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "studies/2408.05155-coloured-disorder-sige.ipynb"
STUDIES = ("paint", "sound", "kappa", "merit", "map", "atoms", "modes")  # in their order
PAINT, SOUND, KAPPA, MERIT, MAP, ATOMS, MODES = range(len(STUDIES))
RIGHT = {
    "exercise-1-answer": """
def my_exponent(p):
    return 2 + 2 - p
exercise_1(my_exponent)""",
    "exercise-2-answer": """
def my_size(frequency_THz, speed):
    return 1 / (2 * np.pi * frequency_THz / speed)
exercise_2(my_size)""",
    "exercise-3-answer": """
def my_gain(electrons, before, after):
    return 1 / ((after + electrons) / (before + electrons))
exercise_3(my_gain)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda p: 4 + p)", "Not yet"),
    "exercise-2-answer": ("exercise_2(lambda f, c: c / f)", "Not yet"),
    "exercise-3-answer": ("exercise_3(lambda e, b, a: b / a)", "Not yet"),
}


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 2
    check_drawn(notebook, ".matterscape-curve", 30)
    assert colours(notebook.locator(".matterscape-map").first) > 50
    assert colours(notebook.locator(".matterscape-atoms")) > 100
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2408-05155-{name}.png")


def test_painting_keeps_the_composition_and_moves_the_disorder(notebook, pictures):
    before = readout_number(notebook, PAINT, "S at the longest waves / g₂")
    step_slider(slider(notebook, PAINT, "ξ (Å)"), 8, "ArrowLeft")
    wait_python(notebook, f"float(paint_study.readouts['S at the longest waves / g₂'].text) < 0.6 * {before}")
    menu = study(notebook, PAINT).locator("select").first
    for kind in ("power", "order", "white", "exp"):
        menu.select_option(kind)
        wait_python(notebook, f"painted['kind'] == '{kind}' and 'Recomputed' in paint_study.message")
        assert python(notebook, "paint_study.readouts['germanium'].text") == "2048 of 4096"
        assert abs(readout_number(notebook, PAINT, "mean S / g₂") - 1) < 1e-3
    step_slider(slider(notebook, PAINT, "x"), 2)
    wait_python(notebook, "paint_study.readouts['germanium'].text == '2458 of 4096'")
    study(notebook, PAINT).screenshot(path=pictures / "study-2408-05155-paint-exp.png")


def test_a_painted_alloy_is_struck(notebook):
    python(notebook, "setattr(strike_words, 'value', '')")
    notebook.get_by_role("button", name="Strike it").click()
    wait_python(notebook, "'shuffled' in strike_words.value and 'exp' in strike_plot.series")


def test_sound_and_conductivity_answer(notebook):
    study(notebook, SOUND).locator("select").nth(0).select_option("power 2")
    study(notebook, SOUND).locator("select").nth(1).select_option("longitudinal")
    wait_python(notebook, "'Born, power 2' in sound_plot.series and 'Recomputed' in sound_study.message")
    before = readout_number(notebook, KAPPA, "random")
    step_slider(slider(notebook, KAPPA, "grains (nm)"), 4)
    wait_python(notebook, f"float(kappa_study.readouts['random'].text) < 0.8 * {before}")
    gain = readout_number(notebook, MERIT, "gain")
    step_slider(slider(notebook, MERIT, "log n (cm⁻³)"), 5)
    wait_python(notebook, f"float(merit_study.readouts['gain'].text) < 0.9 * {gain}")


def test_map_and_structure_follow_each_other(notebook, pictures):
    disorder = notebook.locator(".matterscape-map").first
    disorder.scroll_into_view_if_needed()
    x, y = disorder.evaluate("(node, k) => node.pointPosition(k)", 11)
    notebook.mouse.click(x, y)
    wait_python(notebook, "disorder_map.active == 11 and disorder_pane.structure == 11")
    wait_python(notebook, "disorder_study.readouts['alloy'].text.startswith('gauss')")
    study(notebook, MAP).locator("select").first.select_option("kind")
    wait_python(notebook, "disorder_map.colour_label == 'kind'")
    atoms = notebook.locator(".matterscape-map").nth(1)
    atoms.scroll_into_view_if_needed()
    x, y = atoms.evaluate("(node, k) => node.pointPosition(k)", 100)
    notebook.mouse.click(x, y)
    wait_python(notebook, "atoms_map.active is not None and atoms_pane.point == atoms_map.active")
    study(notebook, ATOMS).locator("select").first.select_option("share of slow modes")
    wait_python(notebook, "atoms_map.colour_label == 'share of slow modes'")
    notebook.wait_for_timeout(800)
    study(notebook, MAP).screenshot(path=pictures / "study-2408-05155-map-kind.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2408-05155")
