"""The study of shallow ensembles in JupyterLab: every view drawn, sliders answered, map and structure linked."""

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

NAME = "studies/2402.16621-shallow-ensembles.ipynb"
STUDIES = (  # in their order
    *("toy", "calibration", "size", "forces", "domain"),
    *("laboratory", "liquid", "capacity", "materials", "learning"),
)
TOY, CALIBRATION, SIZE, FORCES, DOMAIN, LABORATORY, LIQUID, CAPACITY, MATERIALS, LEARNING = range(len(STUDIES))
RIGHT = {
    "exercise-1-answer": """
def my_split(member_energies):
    away = member_energies - member_energies.mean(axis=1)[:, None]
    shared, rest = away.mean(axis=0), away - away.mean(axis=0)
    members = member_energies.shape[1]
    return np.sqrt((shared**2).sum() / (members - 1)), np.sqrt((rest**2).sum(axis=1).mean() / (members - 1))
exercise_1(my_split)""",
    "exercise-2-answer": """
def my_difference_deviation(first, second):
    return np.std(first.mean(axis=0) - second.mean(axis=0), ddof=1)
exercise_2(my_difference_deviation)""",
    "exercise-3-answer": """
def my_expansion(a, h):
    return a.mean() - np.cov(a, h, ddof=0)[0, 1]
exercise_3(my_expansion)""",
}
WRONG = {
    "exercise-1-answer": (
        "exercise_1(lambda energies: [energies.mean(axis=0).std(), energies.std(axis=1).mean()])",
        "Not yet: value",
    ),
    "exercise-2-answer": (
        "exercise_2(lambda first, second: np.hypot(first.mean(0).std(ddof=1), second.mean(0).std(ddof=1)))",
        "Not yet: value",
    ),
    "exercise-3-answer": ("exercise_3(lambda a, h: a.mean() - (a * h).mean())", "Not yet: value"),
}


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 1
    check_drawn(notebook, ".matterscape-curve", 40)
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".chemiscope-structure").first) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2402-16621-{name}.png")


def test_heads_and_alpha_change_the_scores(notebook):
    before = readout_number(notebook, CALIBRATION, "negative log-likelihood")
    step_slider(slider(notebook, CALIBRATION, "alpha"), 10, "ArrowLeft")
    wait_python(notebook, "abs(calibration_study.controls['alpha'].value - 10**-0.2) < 0.01")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CALIBRATION, "negative log-likelihood") > before
    step_slider(slider(notebook, CALIBRATION, "heads used"), 28, "ArrowLeft")
    wait_python(notebook, "calibration_study.readouts['heads used'].text == '4'")
    study(notebook, CALIBRATION).locator("select").select_option("separate networks")
    wait_python(notebook, "float(calibration_study.readouts['best alpha'].text) > 1.5")
    assert python(notebook, "calibration_study.message").startswith("Recomputed")


def test_other_models_and_sizes(notebook):
    study(notebook, TOY).locator("select").select_option("shallow, ranked probability")
    wait_python(notebook, "float(toy_study.readouts['held-out rms error'].text) < 0.15")
    study(notebook, SIZE).locator("select").select_option("ranked probability")
    step_slider(slider(notebook, SIZE, "atoms"), 3)
    wait_python(notebook, "size_study.controls['size'].value == 512 and 'Recomputed' in size_study.message")
    step_slider(slider(notebook, FORCES, "tenth"), 5)
    wait_python(notebook, "force_study.controls['tenth'].value == 10 and 'Recomputed' in force_study.message")
    sigma = readout_number(notebook, FORCES, "sigma")
    step_slider(slider(notebook, FORCES, "tenth"), 9, "ArrowLeft")
    wait_python(notebook, f"float(force_study.readouts['sigma'].text) < {0.7 * sigma}")


def test_map_and_structure_follow_each_other(notebook, pictures):
    atoms = python(notebook, "[int(k) for k in np.flatnonzero(classes[frame_of_atom] == 'slab')]")
    notebook.locator(".matterscape-map").scroll_into_view_if_needed()
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", atoms[0])
    notebook.mouse.click(x, y)
    wait_python(notebook, "atom_map.active is not None and pane.point == atom_map.active")
    wait_python(notebook, "domain_study.controls['structure'].value == pane.structure")
    wait_python(notebook, "domain_study.readouts['class'].text == classes[pane.structure]")
    last = python(notebook, "len(map_data.frames) - 1")
    box = slider(notebook, DOMAIN, "structure").locator(".widget-readout")
    box.fill(str(last))
    box.press("Enter")
    wait_python(notebook, f"pane.structure == {last} and frame_of_atom[atom_map.active] == {last}")
    study(notebook, DOMAIN).locator("select").first.select_option("sigma of the force (eV/Å)")
    wait_python(notebook, "atom_map.colour_label == 'sigma of the force (eV/Å)'")
    notebook.wait_for_timeout(800)
    study(notebook, DOMAIN).screenshot(path=pictures / "study-2402-16621-domain-forces.png")


def test_laboratory_answers(notebook, pictures):
    assert readout_number(notebook, LABORATORY, "effective sample") < 40
    step_slider(slider(notebook, LABORATORY, "oscillators"), 6, "ArrowLeft")
    wait_python(notebook, "laboratory_study.controls['size'].value == 64")
    wait_python(notebook, "float(laboratory_study.readouts['effective sample'].text) > 60")
    step_slider(slider(notebook, LABORATORY, "spread"), 5)
    wait_python(notebook, "abs(laboratory_study.controls['spread'].value - 1.5) < 1e-6")
    wait_python(notebook, "float(laboratory_study.readouts['spread, exact'].text) > 0.06")
    study(notebook, LABORATORY).screenshot(path=pictures / "study-2402-16621-laboratory-64.png")


def test_liquid_and_capacity_answer(notebook, pictures):
    step_slider(slider(notebook, LIQUID, "member"), 2)
    step_slider(slider(notebook, LIQUID, "T/2500"), 10)
    wait_python(notebook, "liquid_study.controls['percent'].value == 110 and 'Recomputed' in liquid_study.message")
    assert python(notebook, "liquid_study.controls['member'].value") == 2
    study(notebook, LIQUID).screenshot(path=pictures / "study-2402-16621-liquid-hot.png")
    before = python(notebook, "capacity_study.readouts['CEA'].text")
    step_slider(slider(notebook, CAPACITY, "oscillators"), 1)
    wait_python(notebook, f"capacity_study.readouts['CEA'].text != {before!r}")
    wait_python(notebook, "float(capacity_study.readouts['CEA'].text.split()[0]) < 0")


def test_materials_answer(notebook, pictures):
    menus = study(notebook, MATERIALS).locator("select")
    menus.nth(0).select_option("Li3PS4")
    wait_python(notebook, "materials_study.readouts['structures'].text == '84'")
    before = readout_number(notebook, MATERIALS, "NLL")
    step_slider(slider(notebook, MATERIALS, "live: structures"), 3, "ArrowLeft")
    wait_python(notebook, "materials_study.readouts['structures'].text == '10'")
    assert readout_number(notebook, MATERIALS, "NLL") > before
    menus.nth(1).select_option("forces")
    wait_python(notebook, "materials_study.controls['quantity'].value == 'forces'")
    menus.nth(2).select_option("network: rigidity of the last layer")
    wait_python(notebook, "'Recomputed' in materials_study.message")
    study(notebook, MATERIALS).screenshot(path=pictures / "study-2402-16621-materials-forces.png")
    study(notebook, LEARNING).locator("select").select_option("water")
    wait_python(notebook, "set(curve_plots['forces'].series) == {'linear', 'network'}")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2402-16621")
