"""The study of sound in glasses in JupyterLab: every view drawn, sliders answered, maps and structures linked."""

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

NAME = "studies/2303.07010-hydrodynamic-extrapolation.ipynb"
STUDIES = ("count", "anatomy", "widths", "sound", "extrapolation", "atoms", "modes")  # in their order
COUNT, ANATOMY, WIDTHS, SOUND, EXTRAPOLATION, ATOMS, MODES = range(len(STUDIES))
RIGHT = {
    "exercise-1-answer": """
def my_lifetime(omega_n, omega_m, g_n, g_m):
    return 1 / (g_n + g_m + (omega_n - omega_m) ** 2 / (g_n + g_m))
exercise_1(my_lifetime)""",
    "exercise-2-answer": """
def my_sound(speed, n_waves, quadratic, quartic, limit):
    root = np.sqrt(quartic / quadratic)
    return 1.380649e-1 * n_waves / (12 * np.pi**2 * speed) * np.arctan(limit * root) / (root * quadratic)
exercise_2(my_sound)""",
    "exercise-3-answer": """
def my_atoms(frequency_THz, speed, density):
    return density * speed**3 / frequency_THz**3
exercise_3(my_atoms)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda n, m, g, h: 2 * (g + h) / (4 * (g + h) ** 2 + (n - m) ** 2))", "Not yet"),
    "exercise-2-answer": ("exercise_2(lambda c, w, a, b, limit: 3 * sound_solution(c, w, a, b, limit))", "Not yet"),
    "exercise-3-answer": ("exercise_3(lambda f, c, n: n * c / f)", "Not yet"),
}


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 1
    check_drawn(notebook, ".matterscape-curve", 30)
    check_drawn(notebook, ".matterscape-map", 60)
    study(notebook, MODES).get_by_text("1,526 points").wait_for()
    assert colours(notebook.locator(".matterscape-atoms")) > 60
    assert colours(notebook.locator(".chemiscope-structure")) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2303-07010-{name}.png")


def test_widths_decide_what_a_small_model_conducts(notebook):
    at_first = readout_number(notebook, ANATOMY, "kappa")
    step_slider(slider(notebook, ANATOMY, "g times"), 12, "ArrowLeft")
    wait_python(notebook, f"float(anatomy_study.readouts['kappa'].text) < 0.6 * {at_first}")
    study(notebook, ANATOMY).locator("select").first.select_option("the levels' distance at least")
    wait_python(notebook, f"float(anatomy_study.readouts['kappa'].text) > 1.2 * {at_first}")


def test_counts_and_widths_answer(notebook):
    before = python(notebook, "count_study.readouts['atoms that hold one wave'].text")
    step_slider(slider(notebook, COUNT, "a wave of (THz)"), 5)
    wait_python(notebook, f"count_study.readouts['atoms that hold one wave'].text != {before!r}")
    lifetime = readout_number(notebook, WIDTHS, "lifetime at 1 THz")
    step_slider(slider(notebook, WIDTHS, "T (K)"), 2)
    wait_python(notebook, f"float(widths_study.readouts['lifetime at 1 THz'].text) < 0.6 * {lifetime}")


def test_a_broadening_that_is_not_subtracted_stays(notebook):
    right = readout_number(notebook, SOUND, "Γ")
    study(notebook, SOUND).locator("input[type=checkbox]").first.click()
    wait_python(notebook, f"float(sound_study.readouts['Γ'].text) > {right} + 0.2")
    study(notebook, SOUND).locator("input[type=checkbox]").first.click()
    study(notebook, SOUND).locator("select").first.select_option("a-SiO2 1536 0")
    wait_python(notebook, f"float(sound_study.readouts['Γ'].text) > 2 * {right}")


def test_the_bulk_answers_every_slider(notebook, pictures):
    bulk = readout_number(notebook, EXTRAPOLATION, "bulk")
    assert bulk > 1.3 * readout_number(notebook, EXTRAPOLATION, "QHGK")
    step_slider(slider(notebook, EXTRAPOLATION, "ω_P / limit"), 3)
    wait_python(notebook, f"abs(float(extrapolation_study.readouts['bulk'].text) / {bulk} - 1) < 0.08")
    step_slider(slider(notebook, EXTRAPOLATION, "Γ by disorder"), 4)
    wait_python(notebook, f"float(extrapolation_study.readouts['bulk'].text) < 0.9 * {bulk}")
    study(notebook, EXTRAPOLATION).screenshot(path=pictures / "study-2303-07010-extrapolation-wrong.png")
    study(notebook, EXTRAPOLATION).locator("select").first.select_option("a-SiO2")
    wait_python(notebook, "float(extrapolation_study.readouts['share of propagons'].text) < 5")


def test_maps_and_structures_follow_each_other(notebook, pictures):
    atom_map = notebook.locator(".matterscape-map").first
    atom_map.scroll_into_view_if_needed()
    x, y = atom_map.evaluate("(node, k) => node.pointPosition(k)", 100)
    notebook.mouse.click(x, y)
    wait_python(notebook, "atom_map.active is not None and atom_pane.point == atom_map.active")
    study(notebook, ATOMS).locator("select").first.select_option("a-SiO2, 648 atoms")
    wait_python(notebook, "atom_pane.structure == 1 and 'Recomputed' in atoms_study.message")
    study(notebook, ATOMS).locator("select").nth(1).select_option("element")
    wait_python(notebook, "atom_map.colour_label == 'element'")
    notebook.wait_for_timeout(800)
    study(notebook, ATOMS).screenshot(path=pictures / "study-2303-07010-atoms-silica.png")
    chosen = python(notebook, "mode_view.chosen[1]")
    step_slider(slider(notebook, MODES, "mode"), 3)
    wait_python(notebook, f"mode_view.chosen[1] == {chosen} + 3")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2303-07010")
