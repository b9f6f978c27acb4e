"""Curve, Run and Check in JupyterLab."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import close_page, colours, execute, new_page, open_notebook, python, set_theme, wait_python  # noqa: E402

pytestmark = pytest.mark.browser

CELLS = [
    """
import ipywidgets, numpy as np, time
from matterscape_widgets import Check, Checks, Curve, Run, Series, Study
n = np.array([10.0, 30, 100, 300, 1000, 3000])
rmse = 200 * n**-0.45
curve = Curve({"SOAP": Series(n, rmse, 0.8 * rmse, 1.2 * rmse, style="both"), "Two-body": (n, 2 * rmse**0.9)},
              x_label="Training structures", y_label="RMSE (meV/atom)", x_scale="log", y_scale="log")
phi = np.linspace(-3, 3, 61)
heat = Curve({"Path": (phi[::4], np.sin(phi[::4]))}, matrix=np.cos(phi)[:, None] * np.sin(phi), extent=(-3, 3, -3, 3),
             x_label="ϕ (rad)", y_label="ψ (rad)", colour_label="Free energy (eV)")
ipywidgets.HBox([curve, heat])
""",
    """
def work(progress, cancelled, steps=200):
    for step in range(steps):
        if cancelled():
            return step
        time.sleep(0.05)
        progress((step + 1) / steps, f"step {step + 1} of {steps}", partial=step)
    return steps

def fails(progress, cancelled):
    raise ValueError("cutoff is -1, but must be positive.")

train, fit = Run(work, "Train"), Run(fails, "Fit")
ended = []
train.on_done(lambda run: ended.append(run.state))
Study([train, fit], [], title="Background work")
""",
    """
check = Check("Radial basis", np.eye(3), hint="Divide by the norm.")
display(check(2 * np.eye(3)), check(np.eye(2)), check(np.eye(3)), Checks(check, Check("SOAP", 1.0)))
""",
]


@pytest.fixture(scope="module")
def notebook(browser, lab):
    page = new_page(browser, height=1500)
    assert open_notebook(page, lab, lab.add("plots.ipynb", CELLS)) == []
    page.wait_for_function(
        "() => document.querySelectorAll('.matterscape-curve[data-draws]').length === 2", timeout=60_000
    )
    yield page
    close_page(page)


def place(page, nth, name, index):
    root = page.locator(".matterscape-curve").nth(nth)
    root.scroll_into_view_if_needed()
    return root.evaluate("(root, [name, i]) => root.pointPosition(name, i)", [name, index])


def test_curves_are_drawn_and_read_out(notebook):
    for nth in (0, 1):
        assert colours(notebook.locator(".matterscape-curve").nth(nth)) > 100
    notebook.mouse.move(*place(notebook, 0, "SOAP", 2))
    tip = notebook.locator(".matterscape-curve .matterscape-tip").first
    tip.wait_for(state="visible")
    assert tip.inner_text().split()[:4] == ["SOAP", "Training", "structures", "100"]
    assert "25.179" in tip.inner_text()


def test_logarithmic_axes_space_decades_evenly(notebook):
    (x0, y0), (x2, y2), (x4, y4) = (place(notebook, 0, "SOAP", k) for k in (0, 2, 4))
    assert x4 - x2 == pytest.approx(x2 - x0, abs=0.5)
    assert y4 - y2 == pytest.approx(y2 - y0, abs=0.5)
    error = notebook.locator(".matterscape-curve .matterscape-error").first
    execute(notebook, "try:\n    curve.update({'bad': (n, n - 10)})\nexcept ValueError:\n    pass")
    error.wait_for(state="visible")
    assert error.inner_text() == "y of series 'bad' contains 0, but a logarithmic axis needs positive numbers."
    execute(notebook, "curve.update(y_label='RMSE (meV/atom)')")
    error.wait_for(state="hidden")


def test_click_and_arrows_make_a_point_active(notebook):
    notebook.mouse.click(*place(notebook, 0, "Two-body", 4))
    wait_python(notebook, "curve.active == ('Two-body', 4)")
    notebook.keyboard.press("ArrowLeft")
    wait_python(notebook, "curve.active == ('Two-body', 3)")
    notebook.keyboard.press("ArrowUp")
    wait_python(notebook, "curve.active == ('SOAP', 3)")


def test_heat_map_is_read_out(notebook):
    x, y = place(notebook, 1, "Path", 8)
    notebook.mouse.move(x + 60, y - 60)
    tip = notebook.locator(".matterscape-curve .matterscape-tip").nth(1)
    tip.wait_for(state="visible")
    title = tip.locator(".matterscape-tip-title").inner_text().replace("−", "-")
    phi, psi = (float(v.replace("−", "-")) for v in tip.locator(".matterscape-tip-value").all_inner_texts())
    name, value = title.split(": ")
    assert name == "Free energy (eV)"
    assert float(value) == pytest.approx(python(notebook, f"float(np.cos({psi}) * np.sin({phi}))"), abs=0.1)


def test_run_shows_progress_while_the_kernel_is_free_and_can_be_cancelled(notebook):
    box = notebook.locator(".matterscape-run").first
    box.get_by_text("Train", exact=True).click()
    notebook.wait_for_function(
        r"() => /step\s\d+\sof\s200\s·\s\d+\s%/.test(document.querySelector('.matterscape-run').textContent)"
    )
    assert python(notebook, "(train.state, train.partial < 199)") == ("running", True)  # the kernel answers meanwhile
    box.get_by_text("Cancel", exact=True).click()
    wait_python(notebook, "train.state == 'cancelled'")
    assert python(notebook, "train.result == train.partial + 1 and ended == ['cancelled']")
    notebook.wait_for_function("() => document.querySelector('.matterscape-run').textContent.includes('Cancelled')")


def test_run_shows_an_error_as_a_sentence(notebook):
    box = notebook.locator(".matterscape-run").nth(1)
    box.get_by_text("Fit", exact=True).click()
    box.get_by_role("alert").wait_for()
    assert box.get_by_role("alert").inner_text() == "cutoff is -1, but must be positive."
    assert python(notebook, "fit.state") == "failed"


def test_check_messages(notebook, pictures):
    texts = notebook.locator(".matterscape-check").all_inner_texts()
    assert len(texts) == 3
    assert "All values are 2 times what they should be." in texts[0]
    assert "Hint: Divide by the norm." in texts[0]
    assert "Not yet: shape" in texts[1]
    assert "Correct" in texts[2]
    assert notebook.locator(".matterscape-checks").inner_text().startswith("1 of 2 solved")
    notebook.mouse.move(2, 2)
    notebook.screenshot(path=pictures / "plots-light.png")
    set_theme(notebook, "JupyterLab Dark")
    notebook.wait_for_timeout(800)
    notebook.screenshot(path=pictures / "plots-dark.png")
    set_theme(notebook, "JupyterLab Light")
