"""``matterscape driver``: the forces of a potential for i-PI, or ASE, through a socket."""

from pathlib import Path
from typing import Annotated

import typer


def driver(
    potential: Annotated[str | None, typer.Option(help="Name of the potential; --list shows them.")] = None,
    structure: Annotated[
        Path | None, typer.Option(help="File that ASE can read, for species, periodicity and charges.")
    ] = None,
    unix: Annotated[str | None, typer.Option(help="Name of a unix socket (/tmp/ipi_NAME), or a path.")] = None,
    host: Annotated[str, typer.Option(help="Host of an internet socket.")] = "localhost",
    port: Annotated[int | None, typer.Option(help="Port of an internet socket.")] = None,
    extras: Annotated[
        str, typer.Option(help="Sent along as JSON: energies, flux_tensors, dipole; separated by commas.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="How long to wait for the server, in s.")] = 60.0,
    list_potentials: Annotated[bool, typer.Option("--list", help="List the potentials and exit.")] = False,
) -> None:
    """Serve the forces of a potential to an i-PI server, until it says exit."""
    from matterscape.cli.output import table
    from matterscape.potentials.library import LIBRARY, named_potential

    if list_potentials:
        typer.echo(table(["name", "description"], [[entry.name, entry.description] for entry in LIBRARY.values()]))
        return
    if potential is None or structure is None:
        raise ValueError("driver needs --potential and --structure; matterscape driver --list shows the potentials")

    import ase.io

    from matterscape.dynamics.driver import Driver, connect

    if not structure.is_file():
        raise ValueError(f"structure is {str(structure)!r}, which is no file")
    try:
        atoms = ase.io.read(structure)
    except Exception as error:  # readers of many formats raise as many kinds of errors
        raise ValueError(f"structure {str(structure)!r} can't be read: {error or type(error).__name__}") from error
    client = Driver(
        named_potential(potential, atoms), atoms, extras=[name.strip() for name in extras.split(",") if name.strip()]
    )
    with connect(unix=unix, host=host, port=port, timeout=timeout) as connection:
        typer.echo(f"serving {client.potential} for {len(atoms)} atoms")
        client.serve(connection)
    typer.echo(f"{client.n_evaluations} structures evaluated")
