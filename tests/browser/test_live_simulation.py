"""LiveSimulation in JupyterLab: it runs while the kernel answers, is steered, explodes, and maps its environments."""

import re
import statistics

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    close_page,
    colours,
    new_page,
    open_notebook,
    python,
    set_theme,
    step_slider,
    wait_python,
)

pytestmark = pytest.mark.browser

CELLS = ["from matterscape_widgets import LiveSimulation\nlive = LiveSimulation()\nlive"]
STUDY = ".matterscape-live-simulation"
# the time from a key press on a slider to the status line that answers it
RESPONSE = """([label]) => new Promise((resolve) => {
  const study = document.querySelector(".matterscape-live-simulation");
  const row = [...study.querySelectorAll(".widget-hslider")].find((e) => e.textContent.includes(label));
  const line = [...study.querySelectorAll(".matterscape-status")].at(-1), before = line.textContent;
  const handle = row.querySelector(".noUi-handle"), began = performance.now();
  const watch = new MutationObserver(() => {
    if (line.textContent !== before) { watch.disconnect(); resolve(performance.now() - began); }
  });
  watch.observe(line, {subtree: true, childList: true, characterData: true});
  handle.focus();
  handle.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
})"""


@pytest.fixture(scope="module")
def notebook(browser, lab):
    page = new_page(browser)
    assert open_notebook(page, lab, lab.add("live_simulation.ipynb", CELLS)) == []
    page.locator(f"{STUDY} .matterscape-atoms[data-draws]").wait_for(timeout=120_000)
    yield page
    close_page(page)


def _press(page, name):
    page.locator(STUDY).get_by_role("button", name=name, exact=True).click()


def _slider(page, label):
    return page.locator(f"{STUDY} .widget-hslider").filter(has_text=label)


def _readout(page, label):
    row = page.locator(f"{STUDY} .readout").filter(has=page.get_by_text(label, exact=True)).first
    return float(re.match(r"[-+\d.,e]+", row.locator(".readout-value").inner_text())[0].replace(",", ""))


def test_it_runs_while_the_kernel_answers(notebook, pictures):
    atoms = notebook.locator(f"{STUDY} .matterscape-atoms")
    before = int(atoms.get_attribute("data-draws"))
    _press(notebook, "Start")
    wait_python(notebook, "live.running and live.simulation.step > 300")
    first = _readout(notebook, "Time")
    notebook.wait_for_timeout(3000)
    assert _readout(notebook, "Time") > first
    assert int(atoms.get_attribute("data-draws")) > before + 5
    # python() is what another cell does: it asks the kernel while the simulation runs
    waits = notebook.evaluate(
        """async () => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel, waits = [];
           for (let k = 0; k < 10; k++) {
             const began = performance.now();
             await kernel.requestExecute({code: "1 + 1", store_history: false}).done;
             waits.push(performance.now() - began); await new Promise((r) => setTimeout(r, 100)); }
           return waits; }"""
    )
    print(f"another cell answers after {statistics.median(waits):.0f} ms (median), {max(waits):.0f} ms at most")
    assert statistics.median(waits) < 500
    notebook.locator(STUDY).screenshot(path=pictures / "live-simulation.png")
    assert colours(atoms) > 200
    assert colours(notebook.locator(f"{STUDY} .matterscape-curve").nth(2)) > 60


def test_sliders_steer(notebook):
    assert python(notebook, "live.running")
    waits = [notebook.evaluate(RESPONSE, [label]) for label in ("Target", "Time step", "ε") for _ in range(3)]
    print(f"a slider is answered after {statistics.median(waits):.0f} ms (median), {max(waits):.0f} ms at most")
    before = python(notebook, "live.temperature.value")
    step_slider(_slider(notebook, "Target"), 40)
    wait_python(notebook, f"abs(live.temperature.value - {before} - 40) < 1e-6")
    wait_python(notebook, "live.simulation.integrator.temperature_K == live.temperature.value")
    notebook.wait_for_timeout(4000)
    assert _readout(notebook, "Temperature") > before + 10
    notebook.locator(STUDY).locator("select").nth(1).select_option("Langevin")
    wait_python(notebook, "type(live.simulation.integrator).__name__ == 'Langevin' and live.running")
    notebook.locator(STUDY).get_by_text("Constant pressure").click()
    wait_python(notebook, "type(live.simulation.integrator).__name__ == 'StochasticCellRescaling' and live.running")


def test_the_map_is_linked(notebook, pictures):
    _press(notebook, "Stop")
    wait_python(notebook, "not live.running")
    _press(notebook, "Map the environments")
    chart = notebook.locator(".matterscape-environment-map .matterscape-map")
    chart.wait_for(timeout=60_000)
    notebook.locator(".matterscape-environment-map .chemiscope-structure canvas").first.wait_for(
        state="attached", timeout=120_000
    )
    notebook.wait_for_timeout(3000)
    curve = notebook.locator(".matterscape-environment-map .matterscape-curve").first
    curve.scroll_into_view_if_needed()
    x, y = curve.evaluate("(node) => node.pointPosition('order', 2)")
    notebook.mouse.click(x, y)
    wait_python(notebook, "len(live.environments.map.selected) == len(live.environments.atoms)")
    selected = python(notebook, "live.environments._frame_of_point[list(live.environments.map.selected)].tolist()")
    assert set(selected) == {2}
    notebook.locator(".matterscape-environment-map").screenshot(path=pictures / "live-simulation-map.png")
    assert colours(chart) > 100


def test_an_explosion_is_a_sentence_and_is_overcome(notebook, pictures):
    step_slider(_slider(notebook, "Target"), 200)
    box = _slider(notebook, "Time step").locator(".widget-readout")
    box.fill("120")
    box.press("Enter")
    _press(notebook, "Start")
    status = notebook.locator(f"{STUDY} .matterscape-status").filter(has_text="exploded")
    status.wait_for(timeout=30_000)
    assert re.match(
        r"Step [\d,]+ exploded, first at atom \d+, at [\d,]+ K\. The last good frame stays", status.inner_text()
    )
    notebook.locator(STUDY).screenshot(path=pictures / "live-simulation-exploded.png")
    time = python(notebook, "live.history['time_ps'][-1]")
    box.fill("2")
    box.press("Enter")
    _press(notebook, "Start")
    wait_python(notebook, f"live.running and live.history['time_ps'][-1] > {time}")
    _press(notebook, "Begin anew")
    wait_python(notebook, f"live.history['time_ps'][-1] < {time}")


def test_another_system(notebook, pictures):
    notebook.locator(STUDY).locator("select").first.select_option("Silicon (SW)")
    wait_python(notebook, "live.simulation.state.n_atoms == 216 and not live.running")
    _press(notebook, "Start")
    step_slider(_slider(notebook, "three-body"), 5, key="ArrowLeft")
    wait_python(notebook, "abs(live.knobs['strength'].value - 20.5) < 1e-9 and live.running")
    wait_python(notebook, "abs(live.simulation.potential.table[..., 3].item() - 20.5) < 1e-9", timeout=10)


def test_dark_and_narrow(notebook, pictures):
    set_theme(notebook, "JupyterLab Dark")
    try:
        notebook.wait_for_timeout(1500)
        notebook.locator(STUDY).screenshot(path=pictures / "live-simulation-dark.png")
    finally:
        set_theme(notebook, "JupyterLab Light")
    notebook.set_viewport_size({"width": 720, "height": 1000})
    notebook.wait_for_timeout(1500)
    notebook.locator(STUDY).screenshot(path=pictures / "live-simulation-narrow.png")
    notebook.set_viewport_size({"width": 1400, "height": 1000})


def test_running_the_cell_again_stops_what_is_not_seen(notebook):
    wait_python(notebook, "live.running")
    notebook.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    notebook.locator(f"{STUDY} .matterscape-atoms[data-draws]").wait_for(timeout=60_000)
    wait_python(notebook, "sum(t.name.endswith('(_work)') for t in __import__('threading').enumerate()) == 0")
