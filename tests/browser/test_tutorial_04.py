"""The tutorial on conductivity in JupyterLab: every view drawn, sliders answered, exercises judged, the map linked."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    python,
    readout_number,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "tutorials/04-fluctuations-and-conductivity.ipynb"
STUDIES = ("toy", "fan", "law", "cepstrum", "salt", "charges", "coverage", "ions")  # as on the page
TOY, FAN, LAW, CEPSTRUM, SALT, CHARGES, COVERAGE, IONS = range(8)
RIGHT = {
    "exercise-1-answer": """
def my_mean_square(r, lag):
    moves = r[lag:] - r[: len(r) - lag]
    return (moves**2).sum() / moves[..., 0].size
exercise_1(my_mean_square)""",
    "exercise-2-answer": """
def my_periodogram(J, dt):
    F = np.fft.rfft(J, axis=1)
    return (F * F.conj()).real.mean(axis=0) * dt / J.shape[1]
exercise_2(my_periodogram)""",
    "exercise-3-answer": """
def my_level(p, components):
    return components * np.exp(np.mean(np.log(p)) - psi(components))
exercise_3(my_level)""",
    "exercise-4-answer": """
def my_duration(error, cutoff, n_kept, nu):
    samples = polygamma(1, nu) * (4 * n_kept - 2) / error**2
    return samples / (2 * cutoff)
exercise_4(my_duration)""",
    "exercise-5-answer": """
def my_kappa(L, T):
    others = np.linalg.solve(L[1:, 1:], L[1:, 0])
    return (L[0, 0] - L[0, 1:] @ others) / T**2
exercise_5(my_kappa)""",
    "exercise-6-answer": """
def my_haven_ratio(moves):
    together = moves.sum(axis=1)
    return (moves**2).sum() / (together**2).sum()
exercise_6(my_haven_ratio)""",
}
WRONG = {
    "exercise-1-answer": (
        "exercise_1(lambda r, lag: ((r[lag] - r[0]) ** 2).sum(axis=1).mean())",
        "starts the clock at the first row only",
    ),
    "exercise-2-answer": (
        "exercise_2(lambda J, dt: periodogram(J - J.mean(axis=1, keepdims=True), dt))",
        "time mean has been subtracted",
    ),
    "exercise-3-answer": ("exercise_3(lambda p, l: np.exp(np.log(p).mean()))", "The shift is missing"),
    "exercise-4-answer": (
        "exercise_4(lambda e, f, p, nu: polygamma(1, nu) * (4 * p - 2) / (f * e**2))",
        "two samples for each period",
    ),
    "exercise-5-answer": ("exercise_5(lambda L, T: L[0, 0] / T**2)", "charge flowing freely"),
    "exercise-6-answer": (
        "exercise_6(lambda m: (m.sum(axis=1) ** 2).sum() / (m**2).sum())",
        "H is below one where ions help each other",
    ),
}


def test_everything_is_drawn(notebook, pictures):
    check_drawn(notebook, ".matterscape-curve", 40)
    check_drawn(notebook, ".matterscape-map", 60)
    check_drawn(notebook, ".chemiscope-structure", 60)
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"tutorial-04-{name}.png")


def test_longer_runs_settle(notebook):
    exact = readout_number(notebook, TOY, "exact")
    step_slider(slider(notebook, TOY, "run (ps)"), 6)
    wait_python(notebook, "toy_study.controls['length'].value == 400")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, TOY, "Einstein") == pytest.approx(exact, rel=0.35)


def test_the_integral_wanders_off(notebook):
    box = slider(notebook, FAN, "t (ps)").locator(".widget-readout")
    scatter = []
    for time in ("1", "9"):
        box.fill(time)
        box.press("Enter")
        wait_python(notebook, f"abs(fan_study.controls['until'].value - {time}) < 0.02")
        notebook.wait_for_timeout(500)
        scatter.append(readout_number(notebook, FAN, "scatter"))
    assert scatter[1] > 1.5 * scatter[0]


def test_the_logarithm_obeys_its_law(notebook, pictures):
    step_slider(slider(notebook, LAW, "components"), 2, "ArrowLeft")
    wait_python(notebook, "law_study.controls['components'].value == 1")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, LAW, "variance") == pytest.approx(1.645, abs=0.12)
    assert readout_number(notebook, LAW, "mean") == pytest.approx(-0.577, abs=0.06)
    study(notebook, LAW).screenshot(path=pictures / "tutorial-04-law-one.png")


def test_heat_needs_two_currents(notebook, pictures):
    two = python(notebook, "salt_view.conductivity.value")
    study(notebook, SALT).get_by_role("button", name="charge").first.click()
    wait_python(notebook, "salt_view.conductivity.degrees_of_freedom == 3")
    one = python(notebook, "salt_view.conductivity.value")
    assert python(notebook, "public") is False or one > 1.1 * two
    study(notebook, SALT).screenshot(path=pictures / "tutorial-04-salt-one.png")


def test_whole_charges_agree_and_scaled_ones_do_not(notebook, pictures):
    before = readout_number(notebook, CHARGES, "σ")
    step_slider(slider(notebook, CHARGES, "charge of P"), 2, "ArrowLeft")
    wait_python(notebook, "charge_study.controls['phosphorus'].value == -3")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CHARGES, "σ") == pytest.approx(before, rel=0.03)
    step_slider(slider(notebook, CHARGES, "all times"), 4, "ArrowLeft")
    wait_python(notebook, "charge_study.controls['factor'].value < 0.65")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CHARGES, "σ") == pytest.approx(0.36 * before, rel=0.05)
    study(notebook, CHARGES).locator("select").select_option("100 %")
    wait_python(notebook, "charge_study.controls['share'].value == 1")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CHARGES, "Haven ratio") == pytest.approx(0.5, abs=0.2)
    study(notebook, CHARGES).screenshot(path=pictures / "tutorial-04-charges-pairs.png")


def test_more_runs_are_drawn_and_judged(notebook, pictures):
    assert readout_number(notebook, COVERAGE, "holds") < 40
    study(notebook, COVERAGE).locator("select").select_option("blocks")
    wait_python(notebook, "coverage_study.controls['method'].value == 'blocks'")
    notebook.get_by_role("button", name="Draw forty more runs").click()
    wait_python(notebook, "more_runs.state == 'done' and len(coverage_runs) == 80", timeout=120)
    notebook.wait_for_timeout(800)
    assert 45 < readout_number(notebook, COVERAGE, "holds") < 90
    study(notebook, COVERAGE).screenshot(path=pictures / "tutorial-04-coverage-blocks.png")


def test_a_click_on_an_ion_shows_it(notebook, pictures):
    best = python(notebook, "int(helped.argmax())")
    study(notebook, IONS)
    x, y = notebook.locator(".matterscape-map").first.evaluate("(node, k) => node.pointPosition(k)", best)
    notebook.mouse.click(x, y)
    wait_python(notebook, "ion_map.active is not None and ion_pane.point == ion_map.active")
    assert python(notebook, "ion_pane.environments[ion_map.active] == (ion_pane.structure, ion_pane.atom)")
    notebook.wait_for_timeout(800)
    study(notebook, IONS).screenshot(path=pictures / "tutorial-04-ions-clicked.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "tutorial-04")
