"""The ``matterscape`` command: its subcommands, and how an error becomes one sentence."""

import sys
from typing import Annotated

import typer

from matterscape.cli import (
    bench_command,
    conductivity_command,
    data_command,
    doctor,
    driver_command,
    map_command,
    studies_command,
)

app = typer.Typer(
    help="Atomistic machine learning and transport theory: maps, studies, conductivities, benchmarks.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("map")(map_command.map_file)
app.command("studies")(studies_command.studies)
app.command("run")(studies_command.run)
app.command("conductivity")(conductivity_command.conductivity)
app.add_typer(data_command.app, name="data")
app.command("driver")(driver_command.driver)
app.command("bench")(bench_command.bench)
app.command("doctor")(doctor.doctor)

INTERRUPTED = 130  # the exit status that shells expect


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=lambda v: _version(v)),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of the command itself; ``--debug`` is taken out by ``main``, wherever it stands."""


def _version(wanted: bool) -> None:
    if wanted:
        from matterscape import __version__

        typer.echo(__version__)
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        ``sys.argv[1:]`` if not given.

    Returns
    -------
    int
        The exit status: 0, or non-zero after one sentence on stderr.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = app(arguments, prog_name="matterscape", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:  # whatever goes wrong, a person reads one sentence
        if debug:
            raise
        typer.echo(f"matterscape: {_sentence(error)}", err=True)
        return getattr(error, "exit_code", 1)
    if status == INTERRUPTED:
        typer.echo("matterscape: interrupted; nothing half-written was left behind", err=True)
    return status if isinstance(status, int) else 0


def _sentence(error: Exception) -> str:
    if hasattr(error, "format_message"):  # a mistake in the arguments
        return " ".join(error.format_message().split())
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, ValueError | OSError | ImportError) and text:
        return text
    return f"unexpected {type(error).__name__}: {text or 'no message'} (run again with --debug for the traceback)"
