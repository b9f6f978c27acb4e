"""The tutorial on vibrations in JupyterLab: modes move and follow clicks, sliders answer, exercises are judged."""

import io

import numpy as np
import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    answer,
    check_drawn,
    check_themes_and_widths,
    execute,
    python,
    readout_number,
    slider,
    step_slider,
    study,
    wait_python,
)
from PIL import Image  # noqa: E402

pytestmark = pytest.mark.browser

NAME = "tutorials/05-vibrations-and-heat.ipynb"
STUDIES = ("chain", "crystal", "glass", "heat", "carriers", "lives", "atoms", "size")  # as on the page
CHAIN, CRYSTAL, GLASS, HEAT, CARRIERS, LIVES, ATOMS, SIZE = range(8)
RIGHT = {
    "exercise-1-answer": """
def my_frequencies(K, m1, m2, ka):
    corner = -K * (1 + np.exp(1j * ka)) / np.sqrt(m1 * m2)
    D = np.array([[2 * K / m1, np.conj(corner)], [corner, 2 * K / m2]])
    return np.sqrt(np.abs(np.linalg.eigvalsh(SQUARED_FREQUENCY * D))) / (2 * np.pi)
exercise_1(my_frequencies)""",
    "exercise-2-answer": """
def my_participation(e):
    share = np.linalg.norm(e, axis=1) ** 2
    return 1 / np.mean(len(e) ** 2 * share**2)
exercise_2(my_participation)""",
    "exercise-3-answer": """
def my_diffusivities(v, omega, eta):
    gap = np.subtract.outer(omega, omega)
    return np.einsum("anm,anm,nm->n", v, v, 2 * eta / (4 * eta**2 + gap**2)) / 3
exercise_3(my_diffusivities)""",
    "exercise-4-answer": """
def my_heat_capacity(f, T):
    half = np.pi * f * REDUCED_PLANCK / (BOLTZMANN * T)
    return (half / np.sinh(half)) ** 2
exercise_4(my_heat_capacity)""",
    "exercise-5-answer": """
def my_atoms(f, c, density):
    wavelength = c / f
    return wavelength**3 * density
exercise_5(my_atoms)""",
    "exercise-6-answer": """
def my_propagons(omega, C, gamma, c, branches):
    G = branches * omega**2 / (2 * np.pi**2 * c**3)
    tau = 1 / (2 * gamma)
    return CONDUCTIVITY * np.trapezoid(C * G * c**2 * tau, omega) / 3
exercise_6(my_propagons)""",
}
WRONG = {
    "exercise-1-answer": (
        "exercise_1(lambda K, m1, m2, ka: 2 * np.pi * chain_frequencies(K, m1, m2, ka))",
        "These are angular frequencies",
    ),
    "exercise-2-answer": ("exercise_2(lambda e: 1 / (len(e) * (e**4).sum()))", "P depends on the axes"),
    "exercise-3-answer": ("exercise_3(lambda v, w, eta: diffusivities(v, w, eta / 2))", "half width 2η"),
    "exercise-4-answer": ("exercise_4(lambda f, T: heat_capacity(f / (2 * np.pi), T))", "this has used f"),
    "exercise-5-answer": ("exercise_5(lambda f, c, density: density * (c / (2 * f)) ** 3)", "a periodic box has none"),
    "exercise-6-answer": (
        "exercise_6(lambda w, C, g, c, n: 2 * propagon_part(w, C, g, c, n))",
        "decays twice as fast as the amplitude",
    ),
}


def _picture(page, which):
    stage = study(page, which).locator(".matterscape-atoms .matterscape-stage")
    stage.scroll_into_view_if_needed()
    return np.asarray(Image.open(io.BytesIO(stage.screenshot())).convert("RGB"), dtype=float)


def _changed(one, other):
    """Share of the pixels that differ visibly."""
    return (np.abs(one - other).max(axis=2) > 24).mean()


def _moves(page, which):
    first = _picture(page, which)
    later = []
    for _ in range(3):
        page.wait_for_timeout(220)
        later.append(_picture(page, which))
    return max(_changed(first, one) for one in later)


def test_everything_is_drawn(notebook, pictures):
    filled = "() => [...document.querySelectorAll('.matterscape-curve')].every((n) => Number(n.dataset.points) > 0)"
    notebook.wait_for_function(filled)
    check_drawn(notebook, ".matterscape-curve", 40)
    check_drawn(notebook, ".matterscape-map", 60)
    check_drawn(notebook, ".matterscape-atoms", 60)
    check_drawn(notebook, ".chemiscope-structure", 60)
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"tutorial-05-{name}.png")


@pytest.mark.parametrize("which", [CHAIN, CRYSTAL, GLASS])
def test_vibrations_move(notebook, which):
    assert _moves(notebook, which) > 0.003


def test_the_chain_answers(notebook):
    gap = readout_number(notebook, CHAIN, "gap")
    step_slider(slider(notebook, CHAIN, "m₂ / m₁"), 4)
    wait_python(notebook, "chain_study.controls['ratio'].value == 3.0")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CHAIN, "gap") > gap
    execute(notebook, "chain_study.controls['ratio'].value = 1.0")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CHAIN, "gap") == pytest.approx(0, abs=1e-9)


def test_a_click_shows_a_localised_mode(notebook, pictures):
    execute(notebook, "glass_view.atoms.playing = False")
    notebook.wait_for_timeout(400)
    before = _picture(notebook, GLASS)
    last = python(notebook, "int(participation.argmin())")
    x, y = study(notebook, GLASS).locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", last)
    notebook.mouse.click(x, y)
    wait_python(notebook, "glass_view.readouts['participation ratio'].text == f'{participation.min():.4g}'")
    notebook.wait_for_timeout(500)
    assert _changed(before, _picture(notebook, GLASS)) > 0.02
    assert readout_number(notebook, GLASS, "participation ratio") < 0.03
    study(notebook, GLASS).screenshot(path=pictures / "tutorial-05-glass-locon.png")
    execute(notebook, "glass_view.atoms.playing = True")


def test_nothing_is_left_below_the_level_spacing(notebook):
    before = readout_number(notebook, HEAT, "κ")
    execute(notebook, "heat_study.controls['eta'].value = 0.001")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, HEAT, "κ") < 0.2 * before
    execute(notebook, "heat_study.controls['eta'].value = 0.2\nheat_study.controls['T'].value = 50")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, HEAT, "κ") < 0.4 * before


def test_wider_levels_hardly_matter(notebook):
    step_slider(slider(notebook, LIVES, "widths times"), 6)
    wait_python(notebook, "abs(life_study.controls['factor'].value - 2) < 0.01")
    notebook.wait_for_timeout(500)
    twice = readout_number(notebook, LIVES, "κ")
    execute(notebook, "life_study.controls['factor'].value = 10")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, LIVES, "κ") == pytest.approx(twice, rel=0.3)


def test_a_larger_box_holds_propagons(notebook, pictures):
    assert readout_number(notebook, SIZE, "propagons, this box") == 0
    execute(notebook, "size_study.controls['edge'].value = 100")
    notebook.wait_for_timeout(1500)
    assert readout_number(notebook, SIZE, "propagons, this box") > 0.1
    study(notebook, SIZE).screenshot(path=pictures / "tutorial-05-size-large.png")


def test_a_click_on_an_atom_shows_it(notebook, pictures):
    chosen = python(notebook, "int(mean_bond.argmin())")
    study(notebook, ATOMS)
    x, y = study(notebook, ATOMS).locator(".matterscape-map").evaluate("(node, k) => node.pointPosition(k)", chosen)
    notebook.mouse.click(x, y)
    wait_python(notebook, f"atom_map.active == {chosen} and atom_pane.atom == {chosen}")
    assert readout_number(notebook, ATOMS, "correlation") < -0.8
    notebook.wait_for_timeout(800)
    study(notebook, ATOMS).screenshot(path=pictures / "tutorial-05-atoms-clicked.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "tutorial-05")
