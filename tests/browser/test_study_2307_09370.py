"""The study of the harmonic divergence in JupyterLab: every view drawn, sliders answered, a mode chosen on the map."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    close_page,
    colours,
    new_page,
    open_notebook,
    python,
    readout_number,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

NAME = "studies/2307.09370-harmonic-divergence.ipynb"
STUDIES = ("plateau", "haydock", "glasses", "law", "main", "limits", "anharmonic", "modes", "sites")  # in their order
PLATEAU, HAYDOCK, GLASSES, LAW, MAIN, LIMITS, ANHARMONIC, MODES, SITES = range(len(STUDIES))
RIGHT = {
    "exercise-1-answer": """
def my_integral(eta, quartic):
    return np.pi / (2 * np.sqrt(2)) / (eta * quartic**3) ** 0.25
exercise_1(my_integral)""",
    "exercise-2-answer": """
def my_capacity(omega, temperature):
    x = REDUCED_PLANCK / BOLTZMANN * omega / temperature
    return x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
exercise_2(my_capacity)""",
    "exercise-3-answer": """
def my_smearing(kappa, speed, quartic):
    return CONDUCTIVITY**4 / (12 * np.sqrt(2) * np.pi * speed * kappa) ** 4 / quartic**3
exercise_3(my_smearing)""",
}
WRONG = {
    "exercise-1-answer": ("exercise_1(lambda eta, quartic: eta**-0.25 * quartic**-0.75)", "Not yet"),
    "exercise-2-answer": ("exercise_2(lambda omega, temperature: 1.0)", "Not yet"),
    "exercise-3-answer": ("exercise_3(lambda kappa, speed, quartic: 1.0)", "Not yet"),
}


@pytest.fixture(scope="module")
def notebook(browser, lab):
    """The study after a run of all cells."""
    page = new_page(browser)
    page.set_default_timeout(240_000)  # of the run of all cells on a busy machine
    assert not open_notebook(page, lab, NAME)
    page.set_default_timeout(30_000)
    page.wait_for_function("() => !document.querySelector('.matterscape-curve:not([data-draws])')", timeout=60_000)
    page.wait_for_timeout(2500)
    yield page
    close_page(page)


def test_everything_is_drawn(notebook, pictures):
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    check_drawn(notebook, ".matterscape-curve", 40)
    for which in range(2):
        assert colours(notebook.locator(".matterscape-map").nth(which)) > 60
    notebook.wait_for_selector(".chemiscope-structure canvas", state="attached", timeout=120_000)
    assert colours(notebook.locator(".matterscape-atoms")) > 60
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"study-2307-09370-{name}.png")


def test_the_plateau_collapses_below_the_levels(notebook):
    python(notebook, "setattr(plateau_study.controls['eta'], 'value', 1e-3)")
    wait_python(notebook, "float(plateau_study.readouts['smallest model'].text) < 0.1")
    study(notebook, PLATEAU).locator("select").first.select_option("a-SiO2")
    wait_python(notebook, "'648 atoms' in plateau_plot.series and 'Recomputed' in plateau_study.message")


def test_the_fraction_grows(notebook, pictures):
    python(notebook, "setattr(haydock_study.controls['terminator'], 'value', 'none')")
    python(notebook, "setattr(haydock_levels, 'value', 10)")
    wait_python(notebook, "float(haydock_study.readouts['largest error of the shorter chain'].text) > 0.1")
    python(notebook, "setattr(haydock_study.controls['terminator'], 'value', 'square-root')")
    python(notebook, "setattr(haydock_levels, 'value', 300)")
    wait_python(notebook, "float(haydock_study.readouts['largest error of the shorter chain'].text) < 0.02")
    study(notebook, HAYDOCK).locator("select").first.select_option("0.5")
    wait_python(notebook, "'Recomputed' in haydock_study.message and haydock_study.controls['sample'].value == '0.5'")
    study(notebook, HAYDOCK).screenshot(path=pictures / "study-2307-09370-haydock-weaker.png")


def test_springs_and_silicon(notebook, pictures):
    study(notebook, LAW).locator("select").first.select_option("springs")
    exponent = "float(law_study.readouts['p, transverse'].text.split()[0])"
    wait_python(notebook, f"'reduced' in law_plot.x_label and {exponent} < 4.25")
    study(notebook, LAW).screenshot(path=pictures / "study-2307-09370-law-springs.png")
    study(notebook, LAW).locator("select").nth(1).select_option("local exponent")
    wait_python(notebook, "ratio_plot.y_label == 'local exponent'")
    notebook.wait_for_timeout(500)
    study(notebook, LAW).screenshot(path=pictures / "study-2307-09370-law-exponents.png")


def test_anharmonicity_makes_it_finite(notebook, pictures):
    assert python(notebook, "main_study.readouts['eta = 0'].text") == "infinite"
    python(notebook, "setattr(main_study.controls['coefficient'], 'value', 5.0)")
    wait_python(notebook, "float(main_study.readouts['eta = 0'].text) < 10")
    study(notebook, MAIN).screenshot(path=pictures / "study-2307-09370-main-anharmonic.png")
    python(notebook, "setattr(limits_study.controls['eta'], 'value', 1e-3)")
    wait_python(notebook, "float(limits_study.readouts['kappa'].text) < 0.5")
    before = readout_number(notebook, ANHARMONIC, "sound with this a")
    python(notebook, "setattr(anharmonic_study.controls['strength'], 'value', 10.0)")
    wait_python(notebook, f"float(anharmonic_study.readouts['sound with this a'].text) < 0.6 * {before}")


def test_a_point_of_the_map_is_a_mode(notebook):
    points = notebook.locator(".matterscape-map").first
    points.scroll_into_view_if_needed()
    before = python(notebook, "modes_view.chosen")
    x, y = points.evaluate("(node, k) => node.pointPosition(k)", 900)
    notebook.mouse.click(x, y)
    wait_python(notebook, f"modes_view.chosen != {before}")


def test_a_point_of_the_other_map_is_a_site(notebook):
    points = study(notebook, SITES).locator(".matterscape-map")
    points.scroll_into_view_if_needed()
    x, y = points.evaluate("(node, k) => node.pointPosition(k)", 123)
    notebook.mouse.click(x, y)
    wait_python(notebook, "site_map.active is not None and site_pane.atom == site_map.active")


def test_coefficients_of_glasses_do_not_settle(notebook):
    for name in ("a-Si", "a-SiO2"):
        assert float(python(notebook, f"glasses_study.readouts['coefficients scatter by, {name}'].text")) > 0.1
    study(notebook, GLASSES).locator("select").nth(1).select_option("square-root")
    wait_python(notebook, "glasses_study.controls['terminator'].value == 'square-root' and not glass_plot.error")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "study-2307-09370")
