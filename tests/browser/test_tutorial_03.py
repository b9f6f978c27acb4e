"""The tutorial on error bars in JupyterLab: every view drawn, sliders answered, exercises judged, the maps linked."""

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

NAME = "tutorials/03-error-bars.ipynb"
STUDIES = ("forecaster", "pull", "calibration", "crowd", "networks", "size", "map", "learning")  # as on the page
FORECASTER, PULL, CALIBRATION, CROWD, NETWORKS, SIZE, MAP, LEARNING = range(8)
RIGHT = {
    "exercise-1-answer": """
from matterscape.uq.calibration import continuous_ranked_probability_score
def my_score(errors, sigma):
    return continuous_ranked_probability_score(errors, sigma**2)
exercise_1(my_score)""",
    "exercise-2-answer": """
def my_variance(F, f, regularisation):
    C = F.T @ F + regularisation * np.eye(F.shape[1])
    return (f.T * np.linalg.solve(C, f.T)).sum(axis=0)
exercise_2(my_variance)""",
    "exercise-3-answer": """
def my_held_out_errors(F, y, regularisation):
    hat = F @ np.linalg.solve(F.T @ F + regularisation * np.eye(F.shape[1]), F.T)
    return (hat @ y - y) / (1 - np.diag(hat))
exercise_3(my_held_out_errors)""",
    "exercise-4-answer": """
def my_factor(F, y, regularisation):
    h = variance(F, F, regularisation)
    e = (F @ fit(F, y, regularisation) - y) / (1 - h)
    return np.mean(e**2 / (h / (1 - h)))
exercise_4(my_factor)""",
    "exercise-5-answer": """
def my_difference_sigma(first, second):
    both = np.cov(first, second)
    return np.sqrt(both[0, 0] + both[1, 1] - 2 * both[0, 1])
exercise_5(my_difference_sigma)""",
}
WRONG = {
    "exercise-1-answer": (
        "exercise_1(lambda errors, sigma: np.abs(errors / sigma).mean())",
        "Whoever makes all error bars ten times larger does as well as the honest forecaster",
    ),
    "exercise-2-answer": (
        "exercise_2(lambda F, f, s: ((f @ np.linalg.inv(F.T @ F / len(F) + s * np.eye(F.shape[1]))) * f).sum(axis=1))",
        "the mean loss",
    ),
    "exercise-3-answer": ("exercise_3(lambda F, y, s: F @ fit(F, y, s) - y)", "points that the fit has seen"),
    "exercise-4-answer": (
        "exercise_4(lambda F, y, s: ((F @ fit(F, y, s) - y) ** 2 / variance(F, F, s)).mean())",
        "Training residuals over leverages",
    ),
    "exercise-5-answer": (
        "exercise_5(lambda first, second: np.sqrt(first.var(ddof=1) + second.var(ddof=1)))",
        "In quadrature",
    ),
}


def test_everything_is_drawn(notebook, pictures):
    check_drawn(notebook, ".matterscape-curve", 40)
    assert notebook.locator(".matterscape-map").count() == 2
    check_drawn(notebook, ".matterscape-map", 80)
    check_drawn(notebook, ".chemiscope-structure", 60)
    assert notebook.locator(".matterscape-study").count() == len(STUDIES)
    for which, name in enumerate(STUDIES):
        study(notebook, which).screenshot(path=pictures / f"tutorial-03-{name}.png")
    outputs = notebook.locator(".jp-Notebook .jp-Cell").filter(has=notebook.locator(".matterscape-curve"))
    for k in range(outputs.count()):
        outputs.nth(k).scroll_into_view_if_needed()
        outputs.nth(k).screenshot(path=pictures / f"tutorial-03-cell-{k}.png")


def test_an_honest_stretch_keeps_the_promise(notebook):
    assert readout_number(notebook, FORECASTER, "within σ") < 40
    box = slider(notebook, FORECASTER, "stretch").locator(".widget-readout")
    box.fill("1")
    box.press("Enter")
    wait_python(notebook, "abs(forecaster_study.controls['stretch'].value - 1) < 0.02")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, FORECASTER, "within σ") == pytest.approx(68.3, abs=3)
    assert readout_number(notebook, FORECASTER, "score") == pytest.approx(
        readout_number(notebook, FORECASTER, "honest score"), abs=0.01
    )


def test_measuring_makes_it_stiff(notebook, pictures):
    before = readout_number(notebook, PULL, "σ there")
    study(notebook, PULL).get_by_text("measure there too").click()
    wait_python(notebook, "pull_study.controls['measure'].value")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, PULL, "σ there") < before / 2
    study(notebook, PULL).screenshot(path=pictures / "tutorial-03-pull-measured.png")


def test_training_errors_make_a_model_sure_of_itself(notebook, pictures):
    honest = readout_number(notebook, CALIBRATION, "rms σ")
    study(notebook, CALIBRATION).locator("select").select_option("training errors")
    wait_python(notebook, "calibration_study.controls['source'].value == 'training errors'")
    notebook.wait_for_timeout(500)
    proud = readout_number(notebook, CALIBRATION, "rms σ")
    assert proud < honest / 1.5
    # Error bars vanish with the penalty's root; a decade above this end they may still grow, by the trajectories' luck.
    step_slider(slider(notebook, CALIBRATION, "penalty"), 12, "ArrowLeft")
    wait_python(notebook, "calibration_study.controls['regularisation'].value < 1.1e-7")
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, CALIBRATION, "rms σ") < 0.75 * proud
    study(notebook, CALIBRATION).screenshot(path=pictures / "tutorial-03-calibration-training.png")


def test_members_and_sizes_follow_their_controls(notebook):
    step_slider(slider(notebook, CROWD, "members"), 2)
    wait_python(notebook, "crowd_study.controls['n_members'].value == 64")
    study(notebook, SIZE).locator("select").select_option("liquid")
    wait_python(notebook, "size_study.controls['what'].value == 'liquid'")
    notebook.wait_for_timeout(500)
    assert 0.4 < readout_number(notebook, SIZE, "total: N to the") < 0.95


def test_heads_are_trained_again(notebook):
    step_slider(slider(notebook, NETWORKS, "heads"), 4, "ArrowLeft")
    wait_python(notebook, "network_study.controls['n_members'].value == 2")
    before = readout_number(notebook, NETWORKS, "α, heads")
    notebook.get_by_role("button", name="Train the heads again").click()
    wait_python(notebook, "training.state == 'done'", timeout=120)
    notebook.wait_for_timeout(500)
    assert readout_number(notebook, NETWORKS, "α, heads") > before


def test_more_frames_light_up_the_map(notebook, pictures):
    before = readout_number(notebook, MAP, "liquid")
    step_slider(slider(notebook, MAP, "+ liquid"), 10)
    wait_python(notebook, "map_study.controls['liquid'].value == 10")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, MAP, "liquid") > before + 0.5
    study(notebook, MAP).screenshot(path=pictures / "tutorial-03-map-liquid.png")
    soft = python(notebook, "int(on_display['log10 rigidity'].argmin())")
    x, y = notebook.locator(".matterscape-map").first.evaluate("(node, k) => node.pointPosition(k)", soft)
    notebook.mouse.click(x, y)
    wait_python(notebook, "environment_map.active is not None and pane.point == environment_map.active")
    assert python(notebook, "pane.environments[environment_map.active] == (pane.structure, pane.atom)")


def test_labels_by_hand_and_by_the_error_bar(notebook, pictures):
    labelling = study(notebook, LEARNING)
    candidate = python(notebook, "int(np.argmax(learning.deviations))")
    x, y = notebook.locator(".matterscape-map").nth(1).evaluate("(node, k) => node.pointPosition(k)", candidate)
    notebook.mouse.click(x, y)
    wait_python(notebook, "learning.map.active is not None and learning.pane.structure == learning.map.active")
    labelling.get_by_role("button", name="Label this one").click()
    wait_python(notebook, "len(learning.labelled) == 3 and learning.labelled[-1] == learning.map.active")
    labelling.get_by_role("button", name="Label the most uncertain").click()
    wait_python(notebook, "len(learning.labelled) == 4")
    for _ in range(3):
        labelling.get_by_role("button", name="… and five times more").click()
    wait_python(notebook, "len(learning.labelled) == 19")
    notebook.wait_for_timeout(800)
    assert readout_number(notebook, LEARNING, "Labels") == 19
    assert readout_number(notebook, LEARNING, "Test error") < 60
    labelling.screenshot(path=pictures / "tutorial-03-learning-done.png")


@pytest.mark.parametrize("cell", RIGHT)
def test_exercises_judge_answers(notebook, cell):
    source, complaint = WRONG[cell]
    assert complaint in answer(notebook, cell, source)
    assert 'data-passed="true"' in answer(notebook, cell, RIGHT[cell])


def test_dark_theme_and_narrow_window(notebook, pictures):
    check_themes_and_widths(notebook, pictures, STUDIES, "tutorial-03")
