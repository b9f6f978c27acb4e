"""The study of the ionic Seebeck coefficient in JupyterLab: views drawn, sliders answered, ions and plots linked."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    colours,
    python,
    readout,
    readout_number,
    slider,
    step_slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "studies/2402.04873-ionic-seebeck.ipynb"
STUDIES = ("drag", "logarithms", "cepstral", "law", "synthetic", "fluoride", "sharing")  # in their order
DRAG, LOGARITHMS, CEPSTRAL, LAW, SYNTHETIC, FLUORIDE, SHARING = range(len(STUDIES))
RIGHT = {
    "exercise-1-answer": "exercise_1(lambda rho, m: 2 * m + 2 * m * rho * rho)",
    "exercise-2-answer": "exercise_2(lambda L: 1 / np.linalg.inv(L)[0, 0])",
    "exercise-3-answer": "exercise_3(lambda a, b, m, n: a - (a + b) * m / (m + n))",
    "exercise-4-answer": "exercise_4(lambda p, m: np.tanh(0.5 * np.log(p / m)) if p * m else np.sign(p - m))",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda rho, m: 2 * m * (1 - rho**2))", "The sign is wrong"),
    "exercise-2-answer": ("exercise_2(lambda L: L[0, 0])", "charge moves as it likes"),
    "exercise-3-answer": ("exercise_3(lambda a, b, m, n: (a - b) / 2)", "equal masses only"),
    "exercise-4-answer": ("exercise_4(lambda p, m: (p - m) / 4)", "divide by the sum"),
}


def milliseconds(page, name):
    """How long the study of that name took to answer."""
    return int(python(page, f"{name}.message").removeprefix("Recomputed in ").removesuffix(" ms."))


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    assert notebook.locator(".chemiscope-structure").count() == 1
    check_drawn(notebook, ".matterscape-curve", 40)
    assert colours(notebook.locator(".matterscape-map")) > 100
    assert colours(notebook.locator(".chemiscope-structure").first) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2402-04873-{name}.png")


def test_subtracting_charge_takes_the_correlation_away(notebook):
    assert readout_number(notebook, DRAG, "correlation") > 0.8
    box = slider(notebook, DRAG, "c (V)").locator(".widget-readout")
    box.fill("2.7")
    box.press("Enter")
    wait_python(notebook, "abs(float(drag_study.readouts['correlation'].text)) < 0.3")
    study(notebook, LOGARITHMS).locator("select").nth(1).select_option("energy at no charge current")
    wait_python(notebook, "log_study.readouts['nu'].text.startswith('2')")


def test_one_current_is_fooled_and_two_are_not(notebook, pictures):
    two, one = (readout_number(notebook, CEPSTRAL, f"kappa, {what}") for what in ("two currents", "energy alone"))
    assert one > 4 * two
    step_slider(slider(notebook, CEPSTRAL, "c (V)"), 10)
    wait_python(notebook, "abs(cepstral_study.controls['c'].value - 1) < 1e-6")
    wait_python(notebook, "'Recomputed' in cepstral_study.message")
    assert readout_number(notebook, CEPSTRAL, "kappa, two currents") == two
    assert readout_number(notebook, CEPSTRAL, "kappa, energy alone") > 1.2 * one
    study(notebook, CEPSTRAL).locator("input[type=checkbox]").first.uncheck()
    step_slider(slider(notebook, CEPSTRAL, "K"), 5)
    wait_python(notebook, "cepstral_study.controls['n_coefficients'].value == 15")
    study(notebook, CEPSTRAL).screenshot(path=pictures / "study-2402-04873-cepstral-15.png")


def test_regressions_answer(notebook):
    step_slider(slider(notebook, LAW, "m"), 2)
    wait_python(notebook, "law_study.controls['m'].value == 5 and 'Recomputed' in law_study.message")
    step_slider(slider(notebook, SYNTHETIC, "rho(0)"), 4)
    wait_python(notebook, "abs(synthetic_study.controls['peak'].value - 0.9) < 1e-6")
    assert readout_number(notebook, SYNTHETIC, "slope, true") > 1.5
    before = readout_number(notebook, FLUORIDE, "Pi_E")
    step_slider(slider(notebook, FLUORIDE, "c (V)"), 10, "ArrowLeft")
    wait_python(notebook, "abs(fluoride_study.controls['c'].value + 1) < 1e-6")
    wait_python(notebook, f"abs(float(fluoride_study.readouts['Pi_E'].text.split()[0]) + 1 - {before}) < 0.02")
    study(notebook, FLUORIDE).locator("select").first.select_option("LiCl")
    wait_python(notebook, "float(fluoride_study.readouts['Pi_E'].text.split()[0]) < -3.5")
    for name in ("law_study", "synthetic_study", "fluoride_study"):
        assert milliseconds(notebook, name) < 1000  # a busy machine; some tens on a quiet one


def test_ions_and_plots_follow_each_other(notebook, pictures):
    notebook.locator(".matterscape-map").scroll_into_view_if_needed()
    ion = python(notebook, "int(np.argmax(ion_energies))")
    x, y = notebook.locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", ion)
    notebook.mouse.click(x, y)
    wait_python(notebook, f"ion_map.active == {ion} and ion_pane.point == {ion}")
    wait_python(notebook, f"abs(energy_plot.series['chosen ion'].x[0] - ion_energies[{ion}]) < 1e-6")
    peltier = readout_number(notebook, SHARING, "Pi_E")
    value = readout_number(notebook, SHARING, "S")
    step_slider(slider(notebook, SHARING, "share of Cs"), 10)
    wait_python(notebook, "share_study.controls['share'].value == 1 and 'Recomputed' in share_study.message")
    assert readout_number(notebook, SHARING, "S") > value + 0.4
    assert abs(readout_number(notebook, SHARING, "Pi_E") - peltier) < 0.1
    study(notebook, SHARING).locator("select").first.select_option("mean distance of the neighbours (Å)")
    wait_python(notebook, "ion_map.colour_label.startswith('mean distance')")
    notebook.wait_for_timeout(800)
    study(notebook, SHARING).screenshot(path=pictures / "study-2402-04873-sharing-1.png")
    assert "±" in readout(notebook, SHARING, "h* / e")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2402-04873")
