"""The study of heat in Li3PS4 in JupyterLab: every view drawn, sliders answered, map and structure linked."""

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

NAME = "studies/2401.12936-li3ps4-thermal-conductivity.ipynb"
STUDIES = ("phases", "anatomy", "conductivity", "temperature", "lattice", "atoms")  # in their order
PHASES, ANATOMY, CONDUCTIVITY, TEMPERATURE, LATTICE, ATOMS = range(len(STUDIES))
KAPPA = "conductivity_view.conductivity.value"
RIGHT = {
    "exercise-1-answer": """
def my_kappa(onsager, temperature):
    rest = onsager[1:, 0] @ np.linalg.solve(onsager[1:, 1:], onsager[1:, 0])
    return (onsager[0, 0] - rest) / temperature**2
exercise_1(my_kappa)""",
    "exercise-2-answer": """
def my_error(n_runs, n_currents, n_coefficients, n_samples):
    return (polygamma(1, 3 * n_runs + 1 - n_currents) * (4 * n_coefficients + 2) / n_samples) ** 0.5
exercise_2(my_error)""",
    "exercise-3-answer": """
def my_capacity(frequency_THz, temperature):
    x = units._hplanck * 1e12 * frequency_THz / (units._k * temperature)
    return x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
exercise_3(my_capacity)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda onsager, temperature: onsager[0, 0] / temperature**2)", "Not yet"),
    "exercise-2-answer": ("exercise_2(lambda r, m, k, n: polygamma(1, 3 * r - m + 1) * (4 * k + 2) / n)", "Not yet"),
    "exercise-3-answer": ("exercise_3(lambda frequency_THz, temperature: 1.0)", "Not yet: value"),
}


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 1
    check_drawn(notebook, ".matterscape-curve", 40)
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".matterscape-atoms")) > 100
    assert colours(notebook.locator(".chemiscope-structure")) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2401-12936-{name}.png")


def test_one_current_overestimates_and_depends_on_a_convention(notebook, pictures):
    view = study(notebook, CONDUCTIVITY)
    two = python(notebook, KAPPA)
    view.get_by_role("button", name="Li", exact=True).click()
    wait_python(notebook, f"{KAPPA} > 1.15 * {two}")
    one = python(notebook, KAPPA)
    step_slider(slider(notebook, CONDUCTIVITY, "+ c Li, c"), 10)
    wait_python(notebook, f"abs({KAPPA} / {one} - 1) > 0.2")
    view.screenshot(path=pictures / "study-2401-12936-conductivity-one-current.png")
    view.get_by_role("button", name="Li", exact=True).click()
    wait_python(notebook, f"abs({KAPPA} / {two} - 1) < 1e-8")
    view.get_by_role("button", name="P", exact=True).click()
    wait_python(notebook, "conductivity_view.part.names == ('energy', 'Li', 'P')")


def test_filter_coefficients_and_runs_answer(notebook):
    cutoff = python(notebook, "conductivity_view.conductivity.cutoff_THz")
    step_slider(slider(notebook, CONDUCTIVITY, "filter f*"), 1, "ArrowLeft")
    wait_python(notebook, f"conductivity_view.conductivity.cutoff_THz < {cutoff}")
    kept = python(notebook, "conductivity_view.conductivity.n_coefficients")
    step_slider(slider(notebook, CONDUCTIVITY, "K = P* − 1"), 3)
    wait_python(notebook, f"conductivity_view.conductivity.n_coefficients == {kept} + 3")
    python(notebook, "setattr(which_point, 'value', 'gamma 300 K')")
    wait_python(
        notebook, "conductivity_view.currents.temperature_K < 350 and set(conductivity_view.taking_part) == {'Li', 'P'}"
    )


def test_phases_terms_temperatures_and_modes_answer(notebook):
    study(notebook, PHASES).locator("select").first.select_option("alpha")
    wait_python(notebook, "phases_study.readouts['atoms'].text == '192 = 3 × 1 × 2 cells'")
    menus = study(notebook, ANATOMY).locator("select")
    menus.nth(0).select_option("gamma 300 K")
    menus.nth(1).select_option("waves")
    wait_python(notebook, "'waves' in anatomy_plot.series and 'Recomputed' in anatomy_study.message")
    study(notebook, TEMPERATURE).locator("select").nth(1).select_option("gamma 300 K")
    wait_python(notebook, "float(temperature_study.readouts['MSD of Li, last'].text) < 2")
    before = readout_number(notebook, LATTICE, "of which gas of phonons")
    step_slider(slider(notebook, LATTICE, "T (K)"), 4)
    wait_python(notebook, f"float(lattice_study.readouts['of which gas of phonons'].text) < 0.6 * {before}")


def test_map_and_structure_follow_each_other(notebook, pictures):
    notebook.locator(".matterscape-map").scroll_into_view_if_needed()
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", 800)
    notebook.mouse.click(x, y)
    wait_python(notebook, "li_map.active is not None and li_pane.point == li_map.active")
    wait_python(notebook, "atoms_study.controls['frame'].value == li_pane.structure")
    box = slider(notebook, ATOMS, "frame (ps)").locator(".widget-readout")
    box.fill("30")
    box.press("Enter")
    wait_python(notebook, "li_pane.structure == 30 and li_environments[li_map.active][0] == 30")
    study(notebook, ATOMS).locator("select").first.select_option("energy of the atom (eV)")
    wait_python(notebook, "li_map.colour_label == 'energy of the atom (eV)'")
    notebook.wait_for_timeout(800)
    study(notebook, ATOMS).screenshot(path=pictures / "study-2401-12936-atoms-energy.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2401-12936")
