"""Every notebook is stored clean and runs top to bottom in a fresh kernel, within the memory of a small machine."""

import re
import threading
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.notebooks

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path for path in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
SECONDS_PER_CELL = 300
PEAK_LIMIT_MB = 1500


def _name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)


class PeakMemory(threading.Thread):
    """Largest resident memory (MB) of a kernel and its children, looked at ten times a second."""

    def __init__(self, client: NotebookClient):
        super().__init__(daemon=True)
        self.peak = 0.0
        self._client = client
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(0.1):
            provisioner = getattr(self._client.km, "provisioner", None)
            if provisioner is None or provisioner.pid is None:
                continue
            try:
                kernel = psutil.Process(provisioner.pid)
                used = sum(process.memory_info().rss for process in [kernel, *kernel.children(recursive=True)])
            except psutil.NoSuchProcess:  # a child that ended between the two calls, or the kernel at its end
                continue
            self.peak = max(self.peak, used / 1e6)

    def __enter__(self) -> "PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()
        self.join()


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


@each_notebook
def test_stored_clean(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5), "cell ids need nbformat 4.5"
    ids = [cell.get("id", "") for cell in notebook.cells]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", cell_id) for cell_id in ids)
    assert len(set(ids)) == len(ids)
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.get("outputs"), f"cell {cell.id} has outputs"
        assert cell.get("execution_count") is None, f"cell {cell.id} has an execution count"
        assert "execution" not in cell.metadata, f"cell {cell.id} carries execution times"


@each_notebook
def test_described_for_the_gallery(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    if path.name == "start.ipynb":  # the gallery does not list itself
        return
    row = notebook.metadata.matterscape
    assert isinstance(row.title, str) and row.title.strip()
    assert isinstance(row.claim, str) and row.claim.strip()
    assert isinstance(row.minutes, int | float) and row.minutes > 0


@each_notebook
def test_parameters_cell(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if "parameters" in _tags(cell)]
    if path.parent.name == "studies":
        assert len(cells) == 1
        assert re.search(r'^scale\s*=\s*"live"', cells[0].source, re.MULTILINE)
    assert len(cells) <= 1
    assert all(cell.cell_type == "code" for cell in cells)


@each_notebook
def test_runs(path, record_property):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    start = time.perf_counter()
    with PeakMemory(client) as memory:
        client.execute()
    record_property("notebook", _name(path))
    record_property("seconds", round(time.perf_counter() - start, 1))
    record_property("peak_mb", round(memory.peak))
    assert 0 < memory.peak < PEAK_LIMIT_MB


def test_peak_memory_is_measured():
    cell = nbformat.v4.new_code_cell("import time; block = bytearray(b'x') * 300_000_000; time.sleep(0.5)")
    client = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3", store_widget_state=False)
    with PeakMemory(client) as memory:
        client.execute()
    assert 300 < memory.peak < 800
