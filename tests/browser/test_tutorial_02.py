"""The tutorial on molecular dynamics in JupyterLab: every view drawn, sliders answered, the live run steered."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    colours,
    python,
    readout_number,
    set_theme,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "tutorials/02-molecular-dynamics.ipynb"
DRIFT, BATH, LIVE, MAP = range(4)  # the studies in their order on the page
RIGHT = {
    "exercise-1-answer": """
def my_step(r, v, forces, dt):
    new = r + dt * v + 0.5 * dt**2 * forces(r) / mass
    return new, v + 0.5 * dt * (forces(r) + forces(new)) / mass
exercise_1(my_step)""",
    "exercise-2-answer": """
def my_thermostat(v, kT, dt, rng):
    g, c, noise = v.size, np.exp(-dt / 0.3), rng.normal(size=v.size)
    ratio = 0.5 * g * kT / (g * 0.5 * mass * (v**2).sum())
    return v * np.sqrt(c + ratio * (1 - c) * (noise**2).sum() + 2 * noise[0] * np.sqrt(ratio * c * (1 - c)))
exercise_2(my_thermostat)""",
    "exercise-3-answer": """
def my_melting_temperature(temperatures, share):
    for k in range(1, len(share)):
        if share[k] < 0.5:
            done = (share[k - 1] - 0.5) / (share[k - 1] - share[k])
            return temperatures[k - 1] + done * (temperatures[k] - temperatures[k - 1])
    return np.inf
exercise_3(my_melting_temperature)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(euler_step)", "Not yet: value"),
    "exercise-2-answer": (
        "exercise_2(lambda v, kT, dt, rng: v * np.sqrt(1 + 0.2 * (kT * v.size / (mass * (v**2).sum()) - 1)))",
        "The mean is right, but the variance is",
    ),
    "exercise-3-answer": ("exercise_3(lambda temperatures, share: temperatures[np.argmax(share < 0.5)])", "Not yet"),
}


def test_everything_is_drawn(notebook, pictures):
    curves = notebook.locator(".matterscape-curve")
    for k in range(curves.count()):
        curves.nth(k).scroll_into_view_if_needed()
        assert colours(curves.nth(k)) > 40
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".chemiscope-structure").first) > 60
    for which, name in enumerate(("drift", "bath", "live", "map")):
        study(notebook, which).screenshot(path=pictures / f"tutorial-02-{name}.png")
    outputs = notebook.locator(".jp-Notebook .jp-Cell").filter(has=notebook.locator(".matterscape-curve"))
    for k in range(outputs.count()):
        outputs.nth(k).scroll_into_view_if_needed()
        outputs.nth(k).screenshot(path=pictures / f"tutorial-02-cell-{k}.png")


def test_larger_steps_have_larger_errors(notebook):
    before = readout_number(notebook, DRIFT, "rms error")
    step_slider(slider(notebook, DRIFT, "dt"), 5)
    wait_python(notebook, "abs(drift_study.controls['timestep'].value - 20) < 1e-6")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, DRIFT, "rms error") == pytest.approx(4 * before, rel=0.1)
    study(notebook, DRIFT).locator("select").select_option("Euler")
    wait_python(notebook, "'Recomputed' in drift_study.message and float(drift_study.readouts['rms error'].text) > 1")


def test_the_baths_differ_in_the_variance(notebook, pictures):
    assert readout_number(notebook, BATH, "variance") < 0.5
    study(notebook, BATH).locator("select").select_option("velocity rescaling")
    wait_python(notebook, "float(bath_study.readouts['variance'].text) > 0.7")
    study(notebook, BATH).screenshot(path=pictures / "tutorial-02-bath-canonical.png")


def test_argon_melts_under_the_hands(notebook, pictures):
    live = study(notebook, LIVE)
    live.get_by_text("Constant pressure").click()
    box = slider(notebook, LIVE, "Target").locator(".widget-readout")
    box.fill("150")
    box.press("Enter")
    live.get_by_role("button", name="Start", exact=True).click()
    wait_python(notebook, "live.running and abs(live.temperature.value - 150) < 1e-6")
    wait_python(notebook, "live.simulation.volume[0] / 256 > 48", timeout=90)
    live.screenshot(path=pictures / "tutorial-02-live-molten.png")
    live.get_by_role("button", name="Stop", exact=True).click()
    wait_python(notebook, "not live.running")
    assert readout_number(notebook, LIVE, "Volume") > 45


def test_a_time_selects_its_environments(notebook, pictures):
    curve = study(notebook, MAP).locator(".matterscape-curve").first
    curve.scroll_into_view_if_needed()
    molten = python(notebook, "int(environments.crystalline.argmin())")
    x, y = curve.evaluate("(node, k) => node.pointPosition('order', k)", molten)
    notebook.mouse.click(x, y)
    wait_python(notebook, "len(environments.map.selected) == len(environments.atoms)")
    assert python(notebook, f"set(environments._frame_of_point[list(environments.map.selected)]) == {{{molten}}}")
    study(notebook, MAP).screenshot(path=pictures / "tutorial-02-map-selected.png")
    study(notebook, MAP).locator("select").first.select_option("averaged SOAP")
    wait_python(notebook, "environments.map.x_label == 'SOAP 1'", timeout=60)
    notebook.wait_for_timeout(800)
    study(notebook, MAP).screenshot(path=pictures / "tutorial-02-map-soap.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme(notebook, pictures):
    set_theme(notebook, "JupyterLab Dark")
    try:
        notebook.wait_for_timeout(1000)
        for which, name in ((DRIFT, "drift"), (BATH, "bath"), (MAP, "map")):
            assert colours(study(notebook, which)) > 100
            study(notebook, which).screenshot(path=pictures / f"tutorial-02-{name}-dark.png")
    finally:
        set_theme(notebook, "JupyterLab Light")
