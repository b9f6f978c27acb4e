"""The study of prediction rigidities in JupyterLab: every view drawn, sliders answered, map and structure linked."""

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

NAME = "studies/2403.02251-prediction-rigidity.ipynb"
CONSTRAINT, TOY, LIFE, SILICON, SHIELDINGS = range(5)  # the studies in their order on the page
STUDIES = ("constraint", "toy", "life", "silicon", "shieldings")
RIGHT = {
    "exercise-1-answer": """
def my_inverse_rigidity(r):
    return 1 / (1 + 1 / r) if r else 0.0
exercise_1(my_inverse_rigidity)""",
    "exercise-2-answer": """
def my_leverage_and_scale(d, n, s2):
    leverage = d / n
    return np.array([leverage, s2 / leverage])
exercise_2(my_leverage_and_scale)""",
    "exercise-3-answer": """
def my_deviation(atoms, rigidity):
    return np.sqrt(rigidity.covariance(atoms, atoms).sum())
exercise_3(my_deviation)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda r: r / 2)", "Not yet: value"),
    "exercise-2-answer": ("exercise_2(lambda d, n, s2: (d / n, s2))", "Not yet: value"),
    "exercise-3-answer": ("exercise_3(quadrature)", "Not yet: value"),
}


def test_everything_is_drawn(notebook, pictures):
    check_drawn(notebook, ".matterscape-curve", 40)
    assert notebook.locator(".matterscape-map").count() == 2
    check_drawn(notebook, ".matterscape-map", 100)
    assert notebook.locator(".chemiscope-structure").count() == 1
    assert colours(notebook.locator(".chemiscope-structure").first) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2403.02251-{name}.png")
    cells = notebook.locator(".jp-Notebook .jp-Cell").filter(has=notebook.locator(".matterscape-curve"))
    for k in range(cells.count()):
        cells.nth(k).scroll_into_view_if_needed()
        cells.nth(k).screenshot(path=pictures / f"study-2403.02251-cell-{k}.png")


def test_a_harder_push_costs_its_square(notebook):
    before = readout_number(notebook, CONSTRAINT, "rise of the loss")  # for a shift of 0.3
    box = slider(notebook, CONSTRAINT, "shift").locator(".widget-readout")
    box.fill("0.1")
    box.press("Enter")
    wait_python(notebook, "abs(constraint_study.controls['shift'].value - 0.1) < 1e-6")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CONSTRAINT, "rise of the loss") == pytest.approx(before / 9, rel=0.01)
    rigidity = readout_number(notebook, CONSTRAINT, "rigidity R")
    step_slider(slider(notebook, CONSTRAINT, "where"), 13)  # out to the end
    wait_python(notebook, "abs(constraint_study.controls['where'].value - 1) < 1e-6")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CONSTRAINT, "rigidity R") < 0.5 * rigidity


def test_a_strong_prior_closes_the_bars(notebook):
    bands = "[panel.series['fit ± 2σ'] for panel in panels.values()]"
    widest = f"max(np.max(band.high - band.low) for band in {bands})"
    before = python(notebook, f"float({widest})")
    step_slider(slider(notebook, TOY, "log₁₀ ς²"), 12)
    wait_python(notebook, "abs(toy_study.controls['log_regularisation'].value + 1) < 1e-6")
    notebook.wait_for_timeout(500)
    assert python(notebook, f"float({widest})") < 0.6 * before


def test_the_penalty_is_heard_far_away(notebook, pictures):
    before = readout_number(notebook, LIFE, "likelihood score, out of domain")
    box = slider(notebook, LIFE, "log₁₀ ς²").locator(".widget-readout")
    box.fill("4")
    box.press("Enter")
    wait_python(notebook, "abs(life_study.controls['log_regularisation'].value - 4) < 1e-6")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, LIFE, "likelihood score, out of domain") > before + 0.3
    study(notebook, LIFE).locator("select").select_option("likelihood")
    wait_python(notebook, "life_study.controls['log_regularisation'].value < 0 and 'Recomputed' in life_study.message")
    study(notebook, LIFE).screenshot(path=pictures / "study-2403.02251-life-likelihood.png")


def test_liquid_frames_recolour_the_map(notebook, pictures):
    before = readout_number(notebook, SILICON, "4 neighbours")
    study(notebook, SILICON).get_by_role("button", name="add 10 liquid frames").click()
    wait_python(notebook, "silicon_study.controls['ten_more'].value")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, SILICON, "4 neighbours") > before + 1.2
    study(notebook, SILICON).locator("select").nth(1).select_option("neighbours and LPR")
    study(notebook, SILICON).locator("select").nth(2).select_option("gain (decades)")
    wait_python(notebook, "silicon_map.y_label == 'log₁₀ LPR' and silicon_map.colour_label == 'gain (decades)'")
    notebook.wait_for_timeout(800)
    study(notebook, SILICON).screenshot(path=pictures / "study-2403.02251-silicon-gain.png")


def test_an_atom_of_the_map_is_shown(notebook):
    wanted = python(notebook, "int(np.flatnonzero(is_liquid & (shown_neighbours == 2))[0])")
    lab_browser.execute(notebook, f"silicon_map.active = {wanted}")
    wait_python(notebook, f"(pane.structure, pane.atom) == environments[{wanted}]")
    lab_browser.execute(notebook, "pane.show(3, 5)")
    wait_python(notebook, "silicon_map.active == 3 * 64 + 5")
    node = study(notebook, SILICON).locator(".matterscape-map").first
    node.scroll_into_view_if_needed()
    x, y = node.evaluate("(node, k) => node.pointPosition(k)", wanted)
    notebook.mouse.click(x, y)
    wait_python(notebook, "silicon_map.active is not None and silicon_map.active != 3 * 64 + 5")
    assert python(notebook, "environments[silicon_map.active] == (pane.structure, pane.atom)")


def test_leverages_sum_to_the_degrees_of_freedom(notebook):
    step_slider(slider(notebook, SHIELDINGS, "log₁₀ ς²"), 8)
    wait_python(notebook, "abs(csd_study.controls['log_regularisation'].value - 1) < 1e-6")
    notebook.wait_for_timeout(500)
    freedom = readout_number(notebook, SHIELDINGS, "degrees of freedom")
    assert readout_number(notebook, SHIELDINGS, "sum of leverages") == pytest.approx(freedom, rel=1e-3)
    assert freedom < 40


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2403.02251")
