"""Fixtures of the browser tests: one server and one browser for the whole run, pages opened one after another.

`lab`      a `Lab` that serves a throw-away copy of the repository's `notebooks` folder: ``open_notebook(page, lab,
           "start.ipynb")``; ``lab.add(name, cells)`` adds a notebook made by the test.
`browser`  the Chromium; ``new_page(browser)`` and ``close_page(page)`` where a module keeps one page for all its tests.
`page`     a fresh page for one test.
`notebook` one page for all tests of a module: the study or tutorial that the module calls NAME, all of its cells run.
`pictures` where screenshots go: the folder named by MATTERSCAPE_PICTURES, else a temporary one.

Without Chromium or JupyterLab every test here is skipped and says so.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def lab():
    """JupyterLab on a copy of the notebooks."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed (extra: lab)")
    pytest.importorskip("playwright", reason="playwright is not installed (extra: test)")
    from lab_browser import jupyter_lab

    with jupyter_lab(NOTEBOOKS if NOTEBOOKS.is_dir() else None) as server:
        yield server


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium."""
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("Chromium is not installed (Debian, Ubuntu: apt-get install chromium)")
    pytest.importorskip("playwright", reason="playwright is not installed (extra: test)")
    from lab_browser import chromium

    with chromium() as instance:
        yield instance


@pytest.fixture
def page(browser):
    """A fresh page, closed afterwards so that kernel and WebGL contexts are given back."""
    from lab_browser import close_page, new_page

    instance = new_page(browser)
    yield instance
    close_page(instance)


@pytest.fixture(scope="module")
def notebook(browser, lab, request):
    """The notebook that the module of a test is about, after a run of all cells."""
    from lab_browser import close_page, open_tutorial

    instance = open_tutorial(browser, lab, request.module.NAME)
    yield instance
    close_page(instance)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Folder for screenshots."""
    folder = os.environ.get("MATTERSCAPE_PICTURES")
    if folder is None:
        return tmp_path_factory.mktemp("pictures")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
