"""``matterscape bench``: our kernels beside the compiled libraries of the field."""

import json
from typing import Annotated

import typer

_COLUMNS = {
    "task": "{}",
    "ours_s": "{:.4g}",
    "peer": "{}",
    "peer_s": "{:.4g}",
    "ratio": "{:.2f}",
    "ratio_low": "{:.2f}",
    "ratio_high": "{:.2f}",
    "ours_mb": "{:.1f}",
    "peer_mb": "{:.1f}",
}
_WIDTH = 12


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Tasks; all of them if none.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON when all are done.")] = False,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too, in new processes.")] = True,
) -> None:
    """Measure our kernels and their peers on this machine; ratio is peer_s / ours_s."""
    from matterscape import benchmarks

    rows = benchmarks.run(names or [], memory=memory)
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1))
        return
    width = max(map(len, benchmarks.TASKS))
    for index, row in enumerate(rows):
        if index == 0:  # only now: an unknown name shows at the first row
            typer.echo(_line(list(_COLUMNS), width))
        typer.echo(
            _line(["-" if row.get(key) is None else style.format(row[key]) for key, style in _COLUMNS.items()], width)
        )


def _line(cells: list[str], width: int) -> str:
    return cells[0].ljust(width) + "".join(cell.rjust(_WIDTH) for cell in cells[1:])
