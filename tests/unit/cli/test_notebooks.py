"""Gallery and headless runs of notebooks."""

import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from matterscape.cli import gallery, main
from matterscape.cli.studies_command import execute

pytestmark = pytest.mark.unit


def make_notebook(path, code="print(scale)", parameters=True, **described):
    cells = [new_markdown_cell("A test.")]
    if parameters:
        cells.append(new_code_cell('scale = "live"', metadata={"tags": ["parameters"]}))
    notebook = new_notebook(cells=[*cells, new_code_cell(code)])
    if described:
        notebook.metadata["matterscape"] = described
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def folder(tmp_path):
    """A gallery of three notebooks, with one that does not describe itself and a checkpoint."""
    root = tmp_path / "notebooks"
    study = {"title": "Rigidity", "claim": "It tells.", "minutes": 1.5, "arxiv": "2403.02251", "picture": "map.png"}
    make_notebook(root / "studies" / "2403.02251-prediction-rigidity.ipynb", **study)
    make_notebook(root / "tutorials" / "01-soap.ipynb", title="Derive SOAP", claim="From scratch.", minutes=1)
    make_notebook(root / "explore.ipynb", title="Explore", claim="Your own structures.", minutes=2)
    make_notebook(root / "scratch.ipynb")
    make_notebook(root / "studies" / ".ipynb_checkpoints" / "old.ipynb", title="Old", claim="No.", minutes=1)
    return root


def fail(capfd, *arguments) -> str:
    status = main([str(argument) for argument in arguments])
    output = capfd.readouterr()
    assert status == 1 and output.out == "" and output.err.count("\n") == 1 and output.err.startswith("matterscape: ")
    return output.err


def start(*arguments) -> subprocess.Popen:
    """The command in a process of its own, as a person starts it."""
    code = "import sys; from matterscape.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_entries(folder):
    found = gallery.entries(folder)
    assert [(entry["path"], entry["kind"]) for entry in found] == [
        ("explore.ipynb", "tool"),
        ("studies/2403.02251-prediction-rigidity.ipynb", "study"),
        ("tutorials/01-soap.ipynb", "tutorial"),
    ]
    assert found[1]["picture"] == "map.png" and found[1]["name"] == "2403.02251-prediction-rigidity"


def test_broken_notebooks_are_named(folder):
    (folder / "broken.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"broken.ipynb is no notebook that can be read"):
        gallery.entries(folder)
    (folder / "broken.ipynb").write_text('{"metadata": {"matterscape": {"title": "Half"}}}')
    with pytest.raises(ValueError, match=r"metadata 'matterscape' of .*broken.ipynb lack claim, minutes"):
        gallery.entries(folder)
    with pytest.raises(ValueError, match="folder is .*does not exist"):
        gallery.entries(folder / "nowhere")


@pytest.mark.parametrize("name", ["2403.02251", "2403.02251-prediction-rigidity", "prediction-rigidity"])
def test_names_of_a_study(folder, name):
    assert gallery.find(name, folder) == folder / "studies" / "2403.02251-prediction-rigidity.ipynb"


def test_names_that_mean_nothing_or_too_much(folder):
    with pytest.raises(ValueError, match=r"STUDY is 'explor', which is no notebook.*for instance, explore"):
        gallery.find("explor", folder)
    make_notebook(folder / "tutorials" / "02-soap.ipynb", title="More", claim="More.", minutes=1)
    with pytest.raises(ValueError, match=r"'soap', which means several notebooks.* 01-soap, 02-soap"):
        gallery.find("soap", folder)
    with pytest.raises(FileNotFoundError, match=r"there is no notebook nowhere.ipynb"):
        gallery.find("nowhere.ipynb", folder)


def test_notebooks_folder(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(gallery, "__file__", str(tmp_path / "a" / "b" / "c" / "gallery.py"))  # as when installed
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="no folder 'notebooks' was found .*--folder"):
        gallery.notebooks_folder()
    make_notebook(folder / "start.ipynb")
    assert gallery.notebooks_folder() == folder


def test_studies_command(folder, capfd):
    assert main(["studies", "--folder", str(folder)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "arXiv", "time", "title"]
    assert lines[2].split() == ["2403.02251-prediction-rigidity", "study", "2403.02251", "1.5", "min", "Rigidity"]
    make_notebook(folder / "brief.ipynb", title="Brief", claim="Short.", minutes=0.2)
    assert main(["studies", "--folder", str(folder)]) == 0
    assert "brief                           tool      -           12 s     Brief" in capfd.readouterr().out
    assert main(["studies", "--folder", str(folder), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == gallery.entries(folder)


def test_run_at_production_scale(folder, tmp_path, capfd):
    output = tmp_path / "executed.ipynb"
    arguments = ["run", "explore", "--scale", "production", "--folder", str(folder), "-o", str(output)]
    assert main(arguments) == 0
    assert "explore.ipynb passed in" in capfd.readouterr().out
    cells = nbformat.read(output, as_version=4).cells
    assert [cell.source for cell in cells[1:3]] == ['scale = "live"', 'scale = "production"']
    assert cells[2].metadata.tags == ["injected-parameters"] and cells[3].outputs[0].text == "production\n"
    assert 'scale = "production"' not in (folder / "explore.ipynb").read_text()


def test_run_reports_the_cell_that_fails(tmp_path):
    path = make_notebook(tmp_path / "bad.ipynb", code="values = [1]\nvalues[2]")
    process = start("run", path, "-o", tmp_path / "out.ipynb")
    message = "matterscape: cell 3 (values = [1]) of bad.ipynb failed with IndexError: list index out of range\n"
    assert process.communicate(timeout=120) == ("", message) and process.returncode == 1
    assert sorted(os.listdir(tmp_path)) == ["bad.ipynb"]


def test_run_mistakes(tmp_path, capfd):
    path = make_notebook(tmp_path / "plain.ipynb", parameters=False, code="1")
    assert "no cell tagged 'parameters'" in fail(capfd, "run", path, "--scale", "production")
    assert "there is no folder" in fail(capfd, "run", path, "-o", tmp_path / "nowhere" / "out.ipynb")
    assert "there is no notebook" in fail(capfd, "run", tmp_path / "nowhere.ipynb")
    (tmp_path / "text.ipynb").write_text("not a notebook")
    assert "is no notebook that can be read" in fail(capfd, "run", tmp_path / "text.ipynb")


def test_run_without_the_notebook_tools(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbclient", None)
    with pytest.raises(ImportError, match=r"nbclient is not installed; pip install 'matterscape\[lab\]'"):
        execute(make_notebook(tmp_path / "any.ipynb"), "live")


def test_interrupted_run_leaves_nothing(tmp_path):
    path = make_notebook(tmp_path / "slow.ipynb", code="open('started', 'w'); import time; time.sleep(300)")
    process = start("run", path, "-o", tmp_path / "out.ipynb")
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        message = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 130
    assert message == "matterscape: interrupted; nothing half-written was left behind\n"
    assert sorted(os.listdir(tmp_path)) == ["slow.ipynb", "started"]
