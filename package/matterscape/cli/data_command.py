"""``matterscape data``: the public data sets and where they lie."""

import json
from typing import Annotated

import typer

from matterscape.cli.output import table

app = typer.Typer(help="List, fetch and locate the public data sets.", invoke_without_command=True)


@app.callback()
def default(context: typer.Context) -> None:
    """List, fetch and locate the public data sets (without a subcommand: list)."""
    if context.invoked_subcommand is None:
        list_datasets()


@app.command("list")
def list_datasets(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known of each as JSON.")] = False,
) -> None:
    """List all data sets and say which are in the cache."""
    from dataclasses import asdict

    from matterscape import datasets

    rows = [(datasets.describe(name), datasets.is_available(name)) for name in datasets.names()]
    if as_json:
        typer.echo(json.dumps([{**asdict(row), "url": row.url, "cached": cached} for row, cached in rows], indent=1))
        return
    typer.echo(
        table(
            ["name", "cached", "MB", "licence", "content"],
            [[row.name, "yes" if cached else "no", f"{row.bytes / 1e6:.2f}", row.licence, row.content]
             for row, cached in rows],
        )
    )  # fmt: skip
    typer.echo(f"\ncache: {datasets.cache_folder()}")


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names of data sets.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch every data set.")] = False,
) -> None:
    """Download data sets into the cache, verified."""
    from matterscape import datasets

    if bool(names) == everything:
        raise ValueError("fetch needs names of data sets or --all; matterscape data list shows them")
    for row in [datasets.describe(name) for name in names or datasets.names()]:  # a wrong name stops it at the start
        typer.echo(str(datasets.fetch(row.name)))


@app.command()
def path(name: Annotated[str, typer.Argument(help="Name of a data set.")]) -> None:
    """Print where a data set lies in the cache."""
    from matterscape import datasets

    row = datasets.describe(name)
    if not datasets.is_available(name):
        raise ValueError(f"{name} is not in the cache {datasets.cache_folder()}; run matterscape data fetch {name}")
    typer.echo(str(datasets.cache_folder() / row.file))
