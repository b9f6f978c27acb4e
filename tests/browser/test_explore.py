"""explore.ipynb in JupyterLab: the page as a person meets it."""

import numpy as np
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(lab, browser):
    """The notebook, run; one page for all tests of this module, in their order."""
    from lab_browser import new_page, open_notebook

    page = new_page(browser, 1500, 1500)
    errors = open_notebook(page, lab, "explore.ipynb")
    page.wait_for_selector(".matterscape-explorer .chemiscope-structure canvas", state="attached", timeout=120_000)
    yield page, errors, lab
    page.close()


@pytest.fixture
def page(opened):
    return opened[0]


@pytest.fixture
def app(page):
    return page.locator(".matterscape-explorer")


def wait_idle(page):
    from lab_browser import wait_python

    wait_python(page, "not app.busy", 120)


def status(app) -> str:
    return app.locator("> .matterscape-status, > * > .matterscape-status").last.inner_text()


def choose(app, description: str, label: str) -> None:
    app.locator(".widget-dropdown", has_text=description).locator("select").select_option(label=label)


def test_no_errors_and_everything_drawn(page, opened, app, pictures):
    from lab_browser import colours

    assert opened[1] == []
    page.wait_for_timeout(3000)
    views = app.locator(".matterscape-view")
    assert views.count() == 2
    for index in range(2):
        views.nth(index).scroll_into_view_if_needed()
        assert colours(views.nth(index)) > 50
    assert colours(app.locator(".chemiscope-structure").first) > 100
    assert "structures" in status(app) and "cross-validated error" in status(app)
    app.screenshot(path=pictures / "explore.png")


def test_the_cell_that_compares_both_kinds(page, pictures):
    from lab_browser import colours

    plot = page.locator(".matterscape-view").nth(1)  # after the map of section 3
    assert all(name in plot.inner_text() for name in ("rigidity of the ridge", "ensemble", "68 % of errors"))
    plot.scroll_into_view_if_needed()
    assert colours(plot) > 50
    plot.screenshot(path=pictures / "explore-both-kinds.png")


def test_nothing_overflows(app):
    wide = app.evaluate(
        """root => [...root.querySelectorAll('.matterscape-controls, .matterscape-views, .matterscape-card')]
             .filter(node => node.scrollWidth > node.clientWidth + 1)
             .map(node => `${node.className}: ${node.scrollWidth} in ${node.clientWidth}`)"""
    )
    assert wide == []


def test_the_cutoff_slider_moves_the_map(page, app):
    from lab_browser import python, step_slider, wait_python

    before = python(page, "(app.settings.cutoff, app.map._x[:64])")
    step_slider(app, times=2)
    wait_python(page, f"abs(app.outcome.settings.cutoff - {before[0] + 0.2}) < 1e-6", 60)
    wait_idle(page)
    assert python(page, "app.map._x[:64]") != before[1]
    assert "last step" in status(app)


def test_colours_follow_the_menu(page, app):
    from lab_browser import wait_python

    choose(app, "colour", "log10 rigidity")
    wait_python(page, "app.map.colour_label == 'log10 rigidity'")


def test_a_click_on_the_map_moves_structure_table_and_plot(page, app):
    from lab_browser import python

    stage = app.locator(".matterscape-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    before = python(page, "app.map.active")
    for x, y in np.random.default_rng(0).uniform(0.15, 0.7, (60, 2)):  # until a point is hit
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(150)
        if python(page, "app.map.active") not in (None, before):
            break
    point = python(page, "app.map.active")
    assert point != before
    page.wait_for_function("point => document.querySelector('.matterscape-card').dataset.point == point", arg=point)
    assert app.locator(".matterscape-card-title").inner_text().startswith(f"Structure {point} ")
    assert python(page, "(app.pane.structure, app.curve.active)") == (point, ("ridge, held out", point))


def test_a_neighbour_button_jumps(page, app):
    from lab_browser import wait_python

    button = app.locator(".matterscape-card-neighbour").first
    label = button.inner_text().split()[1]
    button.click()
    wait_python(page, f"app.map.active == {label} == app.pane.structure")


def test_rectangle_selection(page, app):
    from lab_browser import python

    stage = app.locator(".matterscape-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    stage.focus()
    page.keyboard.press("r")
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.8 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('.matterscape-explorer').innerText.includes('are selected')")
    n = python(page, "len(app.map.selected)")
    assert n > 10 and f"{n} of" in status(app)
    assert python(page, "len(app.curve.series['selected, ridge'].x)") == n
    page.keyboard.press("Escape")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file"),
        ("", "is empty"),
        ("4\n\nSi 0 0 0\nSi 2 0 0\n", "is truncated"),
        ("something else\n", "is it an XYZ file"),
    ],
)
def test_a_wrong_file_is_explained(page, app, opened, content, sentence, pictures):
    name = "mine.xyz" if content is not None else "nowhere.xyz"
    if content is not None:
        (opened[2].root / name).write_text(content)
    box = app.locator(".matterscape-path input")
    box.fill(name)
    box.press("Enter")
    page.wait_for_function(
        "text => [...document.querySelectorAll('.matterscape-explorer .matterscape-status[data-kind=error]')]"
        ".some(node => node.textContent.includes(text))",
        arg=sentence,
        timeout=30_000,
    )
    wait_idle(page)
    assert name in status(app)
    app.screenshot(path=pictures / "explore-error.png")


def test_learning_curve(page, app, pictures):
    app.get_by_role("button", name="Compute learning curve").click()
    page.wait_for_function(
        "() => document.querySelector('.matterscape-explorer').innerText.includes('Learning curve: test error')",
        timeout=120_000,
    )
    assert "mean of the shuffles" in app.locator(".matterscape-view").nth(1).inner_text()
    app.screenshot(path=pictures / "explore-learning-curve.png")


def test_train_ensemble(page, app, pictures):
    """Button, progress, status, plot, menu and card: both kinds of uncertainty; gone with other features."""
    from lab_browser import colours, python, set_theme, step_slider, wait_python

    app.get_by_role("button", name="Train ensemble").click()
    wait_python(page, "app.outcome.ensemble is not None", 240)
    wait_idle(page)
    assert status(app).startswith("Ensemble of 32 networks: cross-validated error")
    assert python(page, "app.controls.plot.value") == "uncertainty"
    plot = app.locator(".matterscape-view").nth(1)
    legend = plot.inner_text()
    assert all(name in legend for name in ("ridge, held out", "ensemble, held out", "68 % of errors"))
    choose(app, "colour", "ensemble uncertainty (eV/atom)")
    choose(app, "size", "uncertainty (eV/atom)")
    wait_python(page, "app.map.colour_label == 'ensemble uncertainty (eV/atom)'")
    card = app.locator(".matterscape-card").inner_text()
    assert "by the ensemble" in card and "log10 rigidity of the network" in card
    page.wait_for_timeout(1500)
    assert colours(plot) > 50
    app.screenshot(path=pictures / "explore-ensemble.png")
    set_theme(page, "JupyterLab Dark")
    page.wait_for_timeout(2500)
    app.screenshot(path=pictures / "explore-ensemble-dark.png")
    set_theme(page, "JupyterLab Light")
    app.get_by_role("button", name="parity").click()
    page.wait_for_timeout(1000)
    assert "ensemble, held out" in plot.inner_text()
    app.screenshot(path=pictures / "explore-ensemble-parity.png")

    step_slider(app, times=1)
    wait_python(page, "app.outcome.ensemble is None", 60)
    wait_idle(page)
    assert "train it again" in status(app)
    assert (
        "ensemble" not in plot.inner_text() and "by the ensemble" not in app.locator(".matterscape-card").inner_text()
    )
    assert "ensemble uncertainty" not in app.locator(".widget-dropdown", has_text="colour").inner_text()


def test_export_writes_files(page, app, opened):
    from lab_browser import python

    name = python(page, "app.source.name")
    for kind, file in {"map, HTML page": f"{name}-map.html", "predictions, CSV": f"{name}-predictions.csv"}.items():
        app.locator("select", has_text="predictions, CSV").select_option(label=kind)
        app.get_by_role("button", name="Export").click()
        page.wait_for_selector(f"a[download='{file}']", timeout=60_000)
        wait_idle(page)
        assert (opened[2].root / file).stat().st_size > 1000
    with page.expect_download() as download:
        page.locator(f"a[download='{name}-predictions.csv']").click()
    assert download.value.suggested_filename == f"{name}-predictions.csv"


def test_environments(page, app, pictures):
    from lab_browser import colours, python, wait_python

    app.get_by_role("button", name="environments").click()
    wait_python(page, "app.outcome.samples.level == 'atom'", 120)
    wait_idle(page)
    page.wait_for_selector(".matterscape-explorer .chemiscope-structure canvas", state="attached", timeout=60_000)
    page.wait_for_timeout(3000)
    assert python(page, "app.map.n_points") == python(page, "sum(map(len, frames))")
    assert colours(app.locator(".matterscape-view").first) > 50
    assert "relative to its element" in app.locator(".matterscape-card").inner_text()
    app.screenshot(path=pictures / "explore-environments.png")


def test_an_ensemble_of_environments(page, app, pictures):
    from lab_browser import wait_python

    app.get_by_role("button", name="Train ensemble").click()
    wait_python(page, "app.outcome.ensemble is not None", 400)
    wait_idle(page)
    choose(app, "colour", "ensemble uncertainty (eV/atom)")
    wait_python(page, "app.map.colour_label == 'ensemble uncertainty (eV/atom)'")
    assert "local energy per atom by the ensemble" in app.locator(".matterscape-card").inner_text()
    page.wait_for_timeout(1500)
    app.screenshot(path=pictures / "explore-ensemble-environments.png")


def test_the_full_chemiscope_map_and_back(page, app):
    app.get_by_role("button", name="Full chemiscope map").click()
    page.wait_for_selector(".matterscape-explorer .chemiscope-map", timeout=60_000)
    app.get_by_role("button", name="Back to the structure").click()
    page.wait_for_selector(".matterscape-explorer .chemiscope-map", state="detached", timeout=60_000)


def test_the_kernel_stays_responsive_and_a_run_can_be_cancelled(page, app):
    from lab_browser import execute, python, wait_python

    execute(page, "app.controls.max_angular.value = 8; app.controls.max_radial.value = 10")
    if python(page, "app.busy"):
        assert python(page, "1 + 1") == 2
        execute(page, "app.run.cancel()")
    wait_idle(page)
    wait_python(page, "app.settings == app.outcome.settings", 60)


def test_generated_data(page, app, pictures):
    from lab_browser import wait_python

    choose(app, "set", "generated: silicon and carbon")
    wait_python(page, "app.source.name == 'generated'", 120)
    wait_idle(page)
    assert "Generated data" in app.locator(".matterscape-note").first.inner_text()
    page.wait_for_timeout(3000)
    app.screenshot(path=pictures / "explore-generated.png")


def test_an_upload(page, app, tmp_path, pictures):
    from ase.build import bulk
    from ase.io import write
    from lab_browser import wait_python

    frames = [bulk("Cu", cubic=True) for _ in range(24)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.02 * k, seed=k)
    write(tmp_path / "copper.extxyz", frames)
    with page.expect_file_chooser() as chooser:
        app.get_by_role("button", name="Upload").click()
    chooser.value.set_files(tmp_path / "copper.extxyz")
    wait_python(page, "app.source.name == 'copper'", 60)
    wait_idle(page)
    assert "Your file copper.extxyz" in app.locator(".matterscape-note").first.inner_text()
    assert "a map and no model" in app.inner_text()
    page.wait_for_timeout(2000)
    app.screenshot(path=pictures / "explore-upload.png")
