"""``matterscape studies`` and ``matterscape run``: the gallery without a browser."""

import asyncio
import json
import signal
import subprocess
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matterscape.cli.output import check_writable, table

Folder = Annotated[Path | None, typer.Option(help="Folder of notebooks.", show_default="that of the source tree")]


INJECTED = "injected-parameters"  # papermill's tag


class CellFailed(ValueError):
    """A cell of a notebook raised an exception, or its kernel died."""


class Scale(StrEnum):
    """Size of a run: a minute, or what the claim needs."""

    live = "live"
    production = "production"


def studies(
    folder: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the notebooks' metadata as JSON.")] = False,
) -> None:
    """List the notebooks: tools, tutorials and studies."""
    from matterscape.cli import gallery

    found = gallery.entries(folder or gallery.notebooks_folder())
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    rows = [
        [entry["name"], entry["kind"], str(entry.get("arxiv", "-")), _duration(entry["minutes"]), entry["title"]]
        for entry in found
    ]
    typer.echo(table(["name", "kind", "arXiv", "time", "title"], rows) if rows else "no notebooks yet")


def _duration(minutes: float) -> str:
    return f"{minutes:g} min" if minutes >= 1 else f"{60 * minutes:.0f} s"


def run(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Path, name or arXiv id of a notebook.")],
    scale: Annotated[Scale, typer.Option(help="Value of the notebook's parameter 'scale'.")] = Scale.live,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write the executed notebook.")] = None,
    folder: Folder = None,
) -> None:
    """Execute a notebook from top to bottom and say whether it passed."""
    from matterscape.cli import gallery
    from matterscape.models.files import atomic_path

    path = gallery.find(study, folder)
    if output is not None:
        check_writable(output)
    start = time.monotonic()
    executed = execute(path, scale.value)
    if output is not None:
        with atomic_path(output) as partial:
            partial.write_text(executed, encoding="utf-8")
    typer.echo(f"{path.name} passed in {time.monotonic() - start:.0f} s" + (f"; {output}" if output else ""))


def execute(path: Path, scale: str) -> str:
    """Run a notebook in a fresh kernel, in its own folder, with ``scale`` set after its cell of parameters.

    Parameters
    ----------
    path : pathlib.Path
        The notebook; its first cell tagged ``parameters`` holds the default of ``scale``.
    scale : str
        ``"live"`` or ``"production"``.

    Returns
    -------
    str
        The executed notebook.

    Raises
    ------
    ImportError
        If the notebook tools are not installed.
    ValueError
        If the file is no notebook or has no cell tagged ``parameters``.
    CellFailed
        If a cell raises, which the sentence names, or the kernel dies.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, DeadKernelError
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed; pip install 'matterscape[lab]' brings it") from error
    from matterscape.progress import progress

    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, KeyError) as error:
        raise ValueError(f"{path} is no notebook that can be read") from error
    _inject(notebook, path, scale)

    bar = progress((), path.stem, total=len(notebook.cells))
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name=notebook.metadata.get("kernelspec", {}).get("name", "python3"),
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_notebook_start=_leave_interrupts_to_python,
        on_cell_complete=lambda **_: bar.update(),
    )
    try:
        with bar:
            asyncio.run(_execute(client, DeadKernelError))
    except CellExecutionError as error:
        raise CellFailed(f"{_where(notebook)} of {path.name} failed with {error.ename}: {error.evalue}") from error
    except DeadKernelError as error:
        raise CellFailed(f"the kernel of {path.name} died; it may have run out of memory") from error
    return nbformat.writes(notebook)


async def _execute(client, dead_kernel: type[Exception]) -> None:
    try:
        await client.async_execute(stderr=subprocess.DEVNULL)  # what cells raise comes as messages
    except dead_kernel:
        if not asyncio.current_task().cancelling():  # after an interrupt it is dead because it was shut down
            raise


def _leave_interrupts_to_python(**_) -> None:
    """Undo nbclient's handler of Ctrl-C, which ends in an assertion; asyncio shuts the kernel down by itself."""
    asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)


def _where(notebook) -> str:
    """Number (as in the file) and first line of the cell that raised."""
    cells = [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])]
    for number, cell in enumerate(cells, start=1):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return f"cell {number} ({cell.source.strip().splitlines()[0]})"
    return "a cell"


def _inject(notebook, path: Path, scale: str) -> None:
    """Insert a cell that sets ``scale`` after the first one tagged ``parameters``, as papermill does."""
    from nbformat.v4 import new_code_cell

    for position, cell in enumerate(notebook.cells):
        if "parameters" in cell.metadata.get("tags", []):
            injected = new_code_cell(f'scale = "{scale}"', metadata={"tags": [INJECTED]})
            notebook.cells.insert(position + 1, injected)
            return
    if scale != Scale.live:
        raise ValueError(f"{path.name} has no cell tagged 'parameters', so it has no scale but live")
