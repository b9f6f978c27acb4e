"""The study of glasses with learnt potentials in JupyterLab: every view drawn, sliders answered, map and structure."""

from pathlib import Path

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    close_page,
    colours,
    open_tutorial,
    python,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "studies/2402.06479-glasses-ml-potentials.ipynb"
REFERENCE = Path(__file__).resolve().parents[2] / "notebooks" / "reference"
ALLOYS = any(REFERENCE.glob("2402.06479-silicate-*.npz")) or any(REFERENCE.glob("2402.06479-lithium-*.npz"))
STUDIES = ("flux", "runs", "learning", "size", *["alloy"] * ALLOYS, "atoms")  # in their order
FLUX, RUNS, LEARNING, SIZE, ATOMS = 0, 1, 2, 3, len(STUDIES) - 1
RIGHT = {
    "exercise-1-answer": """
def my_gauge(current, bounded, timestep):
    return current[:-1] + (bounded[1:] - bounded[:-1]) / timestep
exercise_1(my_gauge)""",
    "exercise-2-answer": """
def my_capacity(frequency_THz, temperature):
    x = units._hplanck * 1e12 * frequency_THz / (units._k * temperature)
    return x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
exercise_2(my_capacity)""",
    "exercise-3-answer": """
def my_error(n_runs, n_coefficients, cutoff_THz, run_ps):
    return (polygamma(1, 3 * n_runs) * (2 * n_coefficients + 1) / (cutoff_THz * run_ps)) ** 0.5
exercise_3(my_error)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda j, p, dt: j[:-1] + np.diff(p))", "Not yet"),
    "exercise-2-answer": ("exercise_2(lambda frequency_THz, temperature: 1.0)", "Not yet: value"),
    "exercise-3-answer": ("exercise_3(lambda n, k, f, t: polygamma(1, n) / (f * t))", "Not yet"),
}


@pytest.fixture(scope="module")
def notebook(browser, lab):
    """The study after a run of all cells."""
    page = open_tutorial(browser, lab, NAME)
    yield page
    close_page(page)


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 1
    check_drawn(notebook, ".matterscape-curve", 40)
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".chemiscope-structure")) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2402-06479-{name}.png")


def test_filters_and_lengths_of_runs_answer(notebook):
    assert python(notebook, "'Recomputed' in runs_study.message")
    before = python(notebook, "runs_study.readouts['cepstral'].text")
    step_slider(slider(notebook, RUNS, "f* (THz)"), 3)
    wait_python(notebook, "runs_study.controls['cutoff'].value > 0.75")
    wait_python(notebook, f"runs_study.readouts['cepstral'].text != {before!r}")
    step_slider(slider(notebook, RUNS, "K (0: auto)"), 3)
    wait_python(notebook, "runs_study.readouts['K'].text == '3' and 'Recomputed' in runs_study.message")
    study(notebook, RUNS).locator("select").nth(1).select_option("raw")
    wait_python(notebook, "runs_study.controls['gauge'].value == 'raw' and 'Recomputed' in runs_study.message")


def test_flux_modes_and_sizes_answer(notebook):
    study(notebook, FLUX).locator("select").first.select_option("z")
    step_slider(slider(notebook, FLUX, "shown (ps)"), 2)
    wait_python(notebook, "flux_study.controls['shown_ps'].value == 3.0 and len(flux_plot.series['raw'].x) == 300")
    study(notebook, LEARNING).locator("select").first.select_option("density of states (1/THz)")
    wait_python(notebook, "states_plot.y_label == 'density of states (1/THz)'")
    study(notebook, SIZE).locator("select").first.select_option("1000")
    wait_python(notebook, "size_study.controls['temperature'].value == 1000 and 'Recomputed' in size_study.message")


def test_map_and_structure_follow_each_other(notebook, pictures):
    notebook.locator(".matterscape-map").scroll_into_view_if_needed()
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", 77)
    notebook.mouse.click(x, y)
    wait_python(notebook, "atoms_map.active is not None and atoms_pane.point == atoms_map.active")
    study(notebook, ATOMS).locator("select").nth(1).select_option("error of the force (eV/Å)")
    wait_python(notebook, "atoms_map.y_label == 'error of the force (eV/Å)'")
    notebook.wait_for_timeout(800)
    study(notebook, ATOMS).screenshot(path=pictures / "study-2402-06479-atoms-error.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2402-06479")
