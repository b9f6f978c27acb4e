"""Drive notebooks in JupyterLab with the system's Chromium.

A test opens a notebook with `open_notebook`, looks at the page with the usual playwright locators, and at the kernel
with `python`. Notebooks are opened from a throw-away copy, since JupyterLab saves what it runs.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbformat
import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Every cell is rendered, also below the window; no pop-up asks for anything.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
READY = """() => { const w = window.jupyterapp?.shell.currentWidget;
  return w?.context?.isReady && w.sessionContext?.session?.kernel?.status === "idle"; }"""
ERRORS = """() => { const cells = window.jupyterapp.shell.currentWidget.content.model.cells, found = [];
  for (let i = 0; i < cells.length; i++) for (const output of cells.get(i).toJSON().outputs ?? [])
    if (output.output_type === "error") found.push(`cell ${i}: ${output.ename}: ${output.evalue}`);
  return found; }"""
EXECUTE = """async ([code, expression]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const request = {code, user_expressions: expression ? {value: expression} : {}, store_history: false};
  return (await kernel.requestExecute(request).done).content; }"""


@dataclasses.dataclass
class Lab:
    """A running JupyterLab: its address and the folder that it serves."""

    url: str
    root: Path

    def add(self, name: str, cells: Sequence[str]) -> str:
        """Write a notebook with these code cells into the served folder; returns its name."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        nbformat.write(notebook, self.root / name)
        return name


@contextlib.contextmanager
def jupyter_lab(folder: Path | None = None, start_timeout: float = 120) -> Iterator[Lab]:
    """Serve a throw-away copy of `folder` (an empty folder without it) until the block ends."""
    scratch = Path(tempfile.mkdtemp(prefix="lab-"))
    root = scratch / "work"
    if folder is None:
        root.mkdir()
    else:
        shutil.copytree(folder, root)
    for plugin, values in SETTINGS.items():
        file = scratch / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    env = dict(
        os.environ,
        JUPYTER_CONFIG_DIR=str(scratch / "config"),
        IPYTHONDIR=str(scratch / "ipython"),
        JUPYTERLAB_SETTINGS_DIR=str(scratch / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(scratch / "workspaces"),
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={root}"]
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + start_timeout
    with (scratch / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            while not _answers(f"{url}/api/status"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"JupyterLab did not start:\n{(scratch / 'server.log').read_text()[-3000:]}")
                time.sleep(0.3)
            yield Lab(url, root)
        finally:
            server.terminate()  # the server stops its own kernels
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
            shutil.rmtree(scratch, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def chromium() -> Iterator:
    """A headless browser until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, chromium_sandbox=False, args=FLAGS
        )
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser, width: int = 1400, height: int = 1000, **options) -> Page:
    """A page that tells nobody outside what it shows (chemiscope counts its uses)."""
    page = browser.new_page(viewport={"width": width, "height": height}, **options)
    page.route("**/plausible.io/**", lambda route: route.abort())
    return page


def close_page(page: Page) -> None:
    """Stop the notebook's kernel, whose memory the next notebook needs, and close the page."""
    page.evaluate("async () => { await window.jupyterapp?.shell.currentWidget?.sessionContext?.shutdown(); }")
    page.close()


def open_notebook(page: Page, lab: Lab, name: str, timeout: float = 180) -> list[str]:
    """Open a notebook, run every cell and return the errors of its cells."""
    page.goto(f"{lab.url}/lab/tree/{name}?reset", timeout=timeout * 1000)
    page.wait_for_function(READY, timeout=timeout * 1000)
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    return page.evaluate(ERRORS)


def python(page: Page, expression: str):
    """The value of a Python expression (numbers, strings, lists, ... of them) in the notebook's kernel."""
    value = page.evaluate(EXECUTE, ["", f"__import__('builtins').repr({expression})"])["user_expressions"]["value"]
    if value["status"] != "ok":
        raise RuntimeError(f"{expression}: {value['ename']}: {value['evalue']}")
    return ast.literal_eval(ast.literal_eval(value["data"]["text/plain"]))


def execute(page: Page, code: str) -> None:
    """Run Python code in the notebook's kernel."""
    reply = page.evaluate(EXECUTE, [code, ""])
    if reply["status"] != "ok":
        raise RuntimeError(f"{reply['ename']}: {reply['evalue']}")


def wait_python(page: Page, expression: str, timeout: float = 20) -> None:
    """Wait until an expression is true in the kernel."""
    deadline = time.monotonic() + timeout
    while not python(page, f"bool({expression})"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{expression} did not become true in {timeout} s")
        page.wait_for_timeout(100)


def step_slider(scope: Locator, times: int = 1, key: str = "ArrowRight") -> None:
    """Move the first slider of a scope, one step for each key press."""
    handle = scope.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    for _ in range(times):
        handle.focus()
        handle.press(key)


def colours(locator: Locator) -> int:
    """Number of distinct colours on screen: about 1-5 for a blank box, hundreds for a drawing."""
    image = np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))
    return len(np.unique(image.reshape(-1, 3), axis=0))


def set_theme(page: Page, name: str) -> None:
    """Switch JupyterLab to "JupyterLab Light" or "JupyterLab Dark"."""
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    light = "false" if "Dark" in name else "true"
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)


# ---- tutorials: studies with sliders and readouts, exercises in cells ------------------------------------------------

RUN_CELL = """async ([id, source]) => {
  const panel = window.jupyterapp.shell.currentWidget, cells = panel.content.model.cells;
  const index = [...Array(cells.length).keys()].find((i) => cells.get(i).id === id);
  cells.get(index).sharedModel.setSource(source.trim());
  panel.content.deselectAll();
  panel.content.activeCellIndex = index;
  await window.jupyterapp.commands.execute('notebook:run-cell');
  return cells.get(index).outputs.toJSON().map((o) => o.data?.['text/html'] ?? JSON.stringify(o)).join(''); }"""


def open_tutorial(browser, lab: Lab, name: str) -> Page:
    """A page with a tutorial of the repository after a run of all its cells."""
    if not (lab.root / name).is_file():
        raise FileNotFoundError(f"{name} is not in the served folder")
    page = new_page(browser)
    page.set_default_timeout(240_000)  # of the run of all cells on a busy machine
    errors = open_notebook(page, lab, name)
    if errors:
        raise RuntimeError("\n".join(errors))
    page.set_default_timeout(30_000)
    page.locator(".chemiscope-structure canvas").first.wait_for(state="attached", timeout=120_000)
    page.wait_for_function("() => !document.querySelector('.matterscape-curve:not([data-draws])')", timeout=60_000)
    page.wait_for_timeout(2500)
    return page


def answer(page: Page, cell: str, source: str) -> str:
    """What the cell of that id shows after its code has been replaced and run."""
    return page.evaluate(RUN_CELL, [cell, source])


def study(page: Page, which: int) -> Locator:
    """A study of the page, by its place, scrolled into view."""
    found = page.locator(".matterscape-study").nth(which)
    found.scroll_into_view_if_needed()
    return found


def slider(page: Page, which: int, label: str) -> Locator:
    """A slider of a study."""
    return study(page, which).locator(".widget-hslider").filter(has_text=label)


def check_drawn(page: Page, selector: str, n_colours: int) -> None:
    """Scroll through all elements of a kind and count the colours of each."""
    found = page.locator(selector)
    for k in range(found.count()):
        found.nth(k).scroll_into_view_if_needed()
        assert colours(found.nth(k)) > n_colours, f"{selector} {k} looks empty"


def check_themes_and_widths(page: Page, pictures: Path, names: Sequence[str], prefix: str, width: int = 760) -> None:
    """Show every study of a page in the dark theme and in a narrow window, where nothing may overflow."""
    set_theme(page, "JupyterLab Dark")
    try:
        page.wait_for_timeout(1000)
        for which, name in enumerate(names):
            assert colours(study(page, which)) > 60, name
            study(page, which).screenshot(path=pictures / f"{prefix}-{name}-dark.png")
    finally:
        set_theme(page, "JupyterLab Light")
    page.set_viewport_size({"width": width, "height": 1000})
    try:
        page.wait_for_timeout(1500)
        for which, name in enumerate(names):
            narrow = study(page, which)
            assert narrow.evaluate("node => node.scrollWidth <= node.clientWidth + 2"), name
            narrow.screenshot(path=pictures / f"{prefix}-{name}-narrow.png")
    finally:
        page.set_viewport_size({"width": 1400, "height": 1000})


def readout(page: Page, which: int, label: str) -> str:
    """The text of a readout of a study."""
    row = study(page, which).locator(".readout").filter(has=page.get_by_text(label, exact=True)).first
    return row.locator(".readout-value").inner_text()


def readout_number(page: Page, which: int, label: str) -> float:
    """The number at the beginning of a readout."""
    return float(re.match(r"[-+\d.,e]+", readout(page, which, label))[0].replace(",", ""))
