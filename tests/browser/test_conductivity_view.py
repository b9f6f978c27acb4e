"""ConductivityView in JupyterLab: real currents, a million samples on every slider, files that are right and wrong."""

import os
import statistics

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import (  # noqa: E402
    check_drawn,
    check_themes_and_widths,
    close_page,
    execute,
    new_page,
    open_notebook,
    python,
    readout,
    slider,
    study,
    wait_python,
)

pytestmark = pytest.mark.browser

CELLS = [
    """
import numpy as np, time
from matterscape.transport.currents import Currents
from matterscape.transport.synthetic import spectral_matrix, synthetic_currents
from matterscape_widgets.conductivity_view import ConductivityView

matrix = spectral_matrix(
    lambda f: 40 / (1 + (f / 3) ** 2) ** 2 + 10 * np.exp(-(((f - 12) / 3) ** 2)) + 1e-3,
    lambda f: 2 * np.exp(-0.5 * ((f - 8) / 4) ** 2) + 0.5 * np.exp(-((f / 3) ** 2)) + 1e-4,
    lambda f: 0.8 / (1 + (f / 10) ** 2),
)
""",
    """
try:
    from matterscape import datasets
    salt = datasets.load("nacl-currents")
except OSError:
    salt = synthetic_currents(matrix, ("energy", "charge"), n_samples=20000, timestep_fs=5.0, temperature_K=1400)
salt_view = ConductivityView(salt, title="Molten NaCl")
salt_view
""",
    """
long = synthetic_currents(matrix, ("energy", "charge"), n_samples=10**6, timestep_fs=1.0)
long_view = ConductivityView(long, title="A nanosecond, made")
long_view
""",
    """
empty = ConductivityView(title="Your currents")
empty
""",
]
# processor time of one move of a slider to where it has not been, in ms; median of three
SPENT = """
def spent(view, name, value=None):
    control, times = view.controls[name], []
    for step in (1, 2, 3) if value is None else (0,):
        now = control.value
        if value is not None:
            new = float(value)
        elif name == "cutoff":
            places = [place for _, place in control.options]
            new = places[places.index(now) - 1]
        elif name == "used":
            new = (now[0] + control.step, now[1])
        else:
            new = now + control.step
        start = time.process_time()
        control.value = new
        times.append(1e3 * (time.process_time() - start))
    return sorted(times)[len(times) // 2]
"""
# the time from a key press on a slider until spectrum, criterion and conductivity are drawn anew; with a shift until
# the readout of one current has changed, since nothing else does
RESPONSE = """([which, label, key]) => new Promise((resolve, reject) => {
  const study = document.querySelectorAll(".matterscape-study")[which];
  const row = [...study.querySelectorAll(".widget-hslider")].find((e) => e.textContent.includes(label));
  const curves = [...study.querySelectorAll(".matterscape-curve")].slice(0, 3);
  const alone = [...study.querySelectorAll(".readout")].find((e) => e.textContent.includes("one current"));
  const state = () => (label === "+ c" ? [alone.textContent] : curves.map((curve) => curve.dataset.draws));
  const before = state(), handle = [...row.querySelectorAll(".noUi-handle")].at(-1), began = performance.now();
  const watch = new MutationObserver(() => {
    if (state().every((value, k) => value !== before[k])) { watch.disconnect(); resolve(performance.now() - began); }
  });
  watch.observe(study, {subtree: true, childList: true, characterData: true, attributeFilter: ["data-draws"]});
  setTimeout(() => reject(new Error(`nothing was drawn anew after ${key} on ${label}`)), 30000);
  handle.focus();
  handle.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
})"""


@pytest.fixture(scope="module")
def notebook(browser, lab):
    page = new_page(browser, height=1300)
    page.set_default_timeout(180_000)  # of the run of all cells on a busy machine
    assert open_notebook(page, lab, lab.add("conductivity.ipynb", CELLS)) == []
    page.set_default_timeout(30_000)
    page.wait_for_function(
        "() => document.querySelectorAll('.matterscape-curve[data-draws]').length === 12", timeout=120_000
    )
    yield page
    close_page(page)


def test_molten_salt_is_on_display(notebook, pictures):
    wait_python(notebook, "len(salt_view.numbers()['by_cutoff']['value']) > 5")
    notebook.wait_for_timeout(1500)
    check_drawn(notebook, ".matterscape-study:first-of-type .matterscape-curve", 60)
    value, error = python(notebook, "(salt_view.conductivity.value, salt_view.conductivity.error)")
    assert readout(notebook, 0, "Conductivity") == f"{value:.3f} ± {error:.3f} W/(m K)"
    study(notebook, 0).screenshot(path=pictures / "conductivity-salt.png")


def test_sliders_reach_the_kernel_and_the_numbers_follow(notebook):
    before = readout(notebook, 0, "Conductivity")
    alone = readout(notebook, 0, "… one current")
    handle = slider(notebook, 0, "+ c").locator(".noUi-handle").first
    for _ in range(5):
        handle.focus()
        handle.press("ArrowRight")
    wait_python(notebook, "salt_view.shift is not None")
    notebook.wait_for_timeout(800)
    assert readout(notebook, 0, "Conductivity") == before  # kappa does not care for the gauge
    assert readout(notebook, 0, "… one current") != alone
    handle = slider(notebook, 0, "K = P").locator(".noUi-handle").first
    handle.focus()
    handle.press("ArrowRight")
    wait_python(notebook, "not salt_view.controls['akaike'].value")
    assert python(notebook, "salt_view.conductivity.n_coefficients == salt_view.controls['n_coefficients'].value")
    study(notebook, 0).get_by_label("K by Akaike").check()
    wait_python(
        notebook, "salt_view.conductivity.n_coefficients == salt_view.conductivity.cepstral.best_n_coefficients"
    )


def test_a_click_on_a_curve_sets_what_it_shows(notebook):
    root = study(notebook, 0).locator(".matterscape-curve").nth(2)
    root.scroll_into_view_if_needed()
    notebook.mouse.click(*root.evaluate("root => root.pointPosition('κ', 12)"))
    wait_python(notebook, "salt_view.conductivity.n_coefficients == 12")
    root = study(notebook, 0).locator(".matterscape-curve").nth(3)
    root.scroll_into_view_if_needed()
    notebook.mouse.click(*root.evaluate("root => root.pointPosition('κ', 2)"))
    wait_python(notebook, "abs(salt_view.conductivity.cutoff_THz - salt_view._scan_cutoffs()[2]) < 1e-9")


def test_every_slider_answers_at_once_with_a_million_samples(notebook, pictures):
    execute(notebook, SPENT)
    longest = 0.0
    for currents, taking_part in (("one current", False), ("two currents", True)):
        execute(notebook, f"long_view.taking_part['charge'].value = {taking_part}")
        for label, name in (("filter", "cutoff"), ("K = P", "n_coefficients"), ("used", "used"), ("+ c", "shift")):
            key = "ArrowRight" if name == "n_coefficients" else "ArrowLeft"
            answers = [notebook.evaluate(RESPONSE, [1, label, key]) for _ in range(4)][1:]
            kernel = python(notebook, f"spent(long_view, {name!r})")
            longest = max(longest, statistics.median(answers))
            print(
                f"{currents}, {label}: {statistics.median(answers):.0f} ms from key to picture, "
                f"{kernel:.0f} ms of processor time in the kernel (load {os.getloadavg()[0]:.0f})"
            )
    whole = python(notebook, "spent(long_view, 'cutoff', long_view.analysis.cutoffs_THz[-1])")
    print(f"two currents, unfiltered: {whole:.0f} ms of processor time in the kernel")
    study(notebook, 1).screenshot(path=pictures / "conductivity-million.png")
    assert longest < 5000  # of a machine that may be busy: read what is printed


def _upload(page, name, content):
    box = study(page, 2)
    with page.expect_file_chooser() as chooser:
        box.get_by_role("button", name="Upload").click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def _said(page):
    return study(page, 2).locator(".matterscape-currents-upload .matterscape-status").last.inner_text()


def test_a_file_of_ones_own(notebook, pictures):
    rows = python(notebook, "salt.values[:, 0, :, :4000].reshape(6, -1).T.tolist()")
    text = "\n".join(" ".join(f"{value:.8g}" for value in row) for row in rows)
    _upload(notebook, "broken.dat", (text + "\n1 2 3\n").encode())
    alert = study(notebook, 2).get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "broken.dat, line 4001 has 3 columns; the others have 6"
    _upload(notebook, "picture.png", b"\x89PNG\0\0\0\0")
    notebook.wait_for_function("() => document.body.innerText.includes('picture.png is no text')")
    _upload(notebook, "currents.dat", ("c_flux[1] c_flux[2] c_flux[3] Jcx Jcy Jcz\n" + text).encode())
    notebook.wait_for_function("() => document.body.innerText.includes('not said: timestep_fs')")
    study(notebook, 2).screenshot(path=pictures / "conductivity-upload.png")
    box = study(notebook, 2)
    read = box.get_by_role("button", name="Read", exact=True)
    read.click()
    notebook.wait_for_function("() => document.body.innerText.includes('currents.dat does not say how much time')")
    for label, value in (("time step", "5"), ("temperature", "1400"), ("volume", "65013.3")):
        field = box.locator(".widget-text").filter(has_text=label).locator("input")
        field.fill(value)
        field.press("Enter")
    read.click()
    wait_python(notebook, "empty.conductivity is not None", timeout=30)
    assert python(notebook, "empty.currents.names") == ("energy", "charge")
    assert python(notebook, "bool(np.allclose(empty.currents.values, salt.values[..., :4000], rtol=1e-6))")
    box.get_by_role("button", name="Export numbers").click()
    link = box.locator("a[download]")
    link.wait_for()
    with notebook.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "conductivity.json"
    notebook.wait_for_timeout(1500)
    box.screenshot(path=pictures / "conductivity-own.png")


def test_themes_and_widths(notebook, pictures):
    check_themes_and_widths(notebook, pictures, ["salt", "million", "own"], "conductivity")
