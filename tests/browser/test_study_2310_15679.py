"""The study of charge transport in JupyterLab: views drawn, a simulation steered, map, structure and history linked."""

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

NAME = "studies/2310.15679-li3ps4-charge-transport.ipynb"
VARIABLES = {  # studies in their order, those of public data only where these are at hand
    "field": "field_study",
    "laboratory": "laboratory",
    "arrhenius": "arrhenius_study",
    "run": "run_study",
    "spectrum": "spectrum_study",
    "gauge": "gauge_study",
    "delta": "delta_study",
    "map": "map_study",
}
RIGHT = {
    "exercise-1-answer": "exercise_1(lambda sulphur_charge: -3 - 4 * sulphur_charge)",
    "exercise-2-answer": "exercise_2(lambda n, fraction: (1 / n, 1 / (1 + fraction)))",
    "exercise-3-answer": "exercise_3(lambda rate, diffusion: 1e8 * (6 * diffusion / rate) ** 0.5)",
}
WRONG = {
    "exercise-1-answer": "exercise_1(lambda sulphur_charge: 5.0)",
    "exercise-2-answer": "exercise_2(lambda n, fraction: (1 / n**2, 1 - fraction / 2))",
    "exercise-3-answer": "exercise_3(lambda rate, diffusion: 1e8 * (2 * diffusion / rate) ** 0.5)",
}


@pytest.fixture(scope="module")
def places(notebook):
    """Which study of the page is which."""
    shown = [name for name, variable in VARIABLES.items() if python(notebook, f"{variable!r} in globals()")]
    return {name: which for which, name in enumerate(shown)}


def test_everything_is_drawn(notebook, places, pictures):
    assert set(places) >= set(VARIABLES) - {"field", "delta"}
    assert notebook.locator(".matterscape-study").count() == len(places)
    assert notebook.locator(".chemiscope-structure").count() == 2
    # the laboratory's curves are empty before its first run
    assert python(notebook, "square_plot.series == {} and turning_plot.series == {}")
    check_drawn(notebook, ".matterscape-curve", 3)
    assert colours(notebook.locator(".matterscape-map")) > 100
    for k in range(2):
        assert colours(notebook.locator(".chemiscope-structure").nth(k)) > 60
    for name, which in places.items():
        study(notebook, which).screenshot(path=pictures / f"study-2310-15679-{name}.png")


def test_a_simulation_is_steered_while_it_runs(notebook, places, pictures):
    which = places["laboratory"]
    study(notebook, which).locator("button", has_text="Simulate 20 ps").click()
    wait_python(notebook, "lab_run.state == 'running' and 'MSD' in square_plot.series", timeout=120)
    step_slider(slider(notebook, which, "T (K)"), 5)
    wait_python(notebook, "lab.simulation.integrator.temperature_K == 800.0")
    step_slider(slider(notebook, which, "springs"), 3)
    wait_python(notebook, "abs(lab.tether.stiffness - 0.3) < 1e-9")
    grown = python(notebook, "len(lab.rows)")
    wait_python(notebook, f"len(lab.rows) > {grown}", timeout=60)
    wait_python(notebook, "len(lab.rows) >= 30", timeout=180)
    study(notebook, which).locator("button", has_text="Cancel").click()
    wait_python(notebook, "lab_run.state == 'cancelled'", timeout=60)
    wait_python(notebook, "set(turning_plot.series) == {'C1'} and square_plot.series['MSD'].y[-1] > 0")
    study(notebook, which).screenshot(path=pictures / "study-2310-15679-laboratory-run.png")


def test_arrhenius_and_windows_answer(notebook, places):
    study(notebook, places["arrhenius"]).locator("select").select_option("flips per PS4 (1/s)")
    wait_python(notebook, "arrhenius_plot.y_label == 'flips per PS4 (1/s)'")
    study(notebook, places["arrhenius"]).locator("select").select_option("D of lithium (cm²/s)")
    wait_python(notebook, "float(arrhenius_study.readouts['E_a above'].text.split()[0]) < 0.3")
    before = python(notebook, "run_study.readouts['D'].text")
    study(notebook, places["run"]).locator("select").select_option("heating, 400 K")
    wait_python(notebook, f"run_study.readouts['D'].text != {before!r}")
    # where nothing diffuses the window is refused, in a sentence
    study(notebook, places["run"]).locator("select").select_option("heating, 300 K")
    wait_python(notebook, "'accepted is a later start' in run_study.message")


def test_whole_charges_agree_and_others_do_not(notebook, places, pictures):
    which = places["gauge"]
    charges = study(notebook, which).locator("select").nth(1)
    values = {}
    for name in python(notebook, "list(charge_sets)"):
        charges.select_option(name)
        wait_python(notebook, f"gauge_study.controls['charges'].value == {name!r}")
        wait_python(notebook, f"list(dipole_square.series) == [{name!r}]")
        values[name] = readout_number(notebook, which, "σ")
    *whole, own = values.values()
    assert max(whole) - min(whole) < 0.02 * whole[0]
    assert own < 0.5 * whole[0]
    milliseconds = python(notebook, "float(gauge_study.message.split()[2])")
    assert milliseconds < 1000  # 50 on a quiet machine
    study(notebook, which).locator("select").nth(2).select_option("folded (10 ps)")
    wait_python(notebook, "'x, folded' in dipole_plot.series")
    study(notebook, which).screenshot(path=pictures / "study-2310-15679-gauge-folded.png")


def test_map_structure_and_history_follow_each_other(notebook, places, pictures):
    which = places["map"]
    notebook.locator(".matterscape-map").scroll_into_view_if_needed()
    point = python(notebook, "int(np.flatnonzero(is_tetrahedron)[-1])")
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", point)
    notebook.mouse.click(x, y)
    wait_python(notebook, "ion_map.active is not None and pane.point == ion_map.active")
    wait_python(notebook, "list(history_plot.series)[0] == 'turned by (°)'")
    study(notebook, which).locator("select").first.select_option("lithium by shell")
    wait_python(notebook, "ion_map.x_label == 'to nearest P (Å)'")
    notebook.wait_for_timeout(800)
    point = python(notebook, "int(np.flatnonzero(~is_tetrahedron)[-1])")
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", point)
    notebook.mouse.click(x, y)
    wait_python(notebook, "list(history_plot.series)[0] == 'away from its start (Å)'")
    wait_python(notebook, "map_study.readouts['ion'].text.startswith('Li')")
    study(notebook, which).locator("select").nth(1).select_option("mean rest (ps)")
    wait_python(notebook, "ion_map.colour_label == 'mean rest (ps)'")
    notebook.wait_for_timeout(800)
    study(notebook, which).screenshot(path=pictures / "study-2310-15679-map-lithium.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    assert "Not yet: value" in answer(notebook, cell, WRONG[cell])
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, places, pictures):
    check_themes_and_widths(notebook, pictures, list(places), "study-2310-15679")
