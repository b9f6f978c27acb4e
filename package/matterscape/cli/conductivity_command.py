"""``matterscape conductivity``: from a file of currents to conductivities with their errors."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matterscape.cli.output import table

if TYPE_CHECKING:
    from matterscape.transport import Currents


def conductivity(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Log or fix ave/time file of LAMMPS, i-PI properties, columns, .npz, trajectory; or a data set.",
        ),
    ],
    current: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMNS",
            help="Which columns are which current, such as energy=c_flux or charge=3,4,5; once for each.",
        ),
    ] = None,
    factor: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="What the numbers of a current are multiplied with.")
    ] = None,
    units: Annotated[str | None, typer.Option(help="Of the file: metal, real, si, cgs, ase, atomic.")] = None,
    timestep: Annotated[float | None, typer.Option(help="Time of one step (or row) in fs.")] = None,
    every: Annotated[int | None, typer.Option(help="Steps between two rows.")] = None,
    temperature: Annotated[float | None, typer.Option(help="In K.")] = None,
    volume: Annotated[float | None, typer.Option(help="Of the cell in Å^3.")] = None,
    run: Annotated[str | None, typer.Option(help="Which run of a log, counted from 0, or all as segments.")] = None,
    start: Annotated[float, typer.Option(help="Begin of the stretch that is used, in ps.")] = 0.0,
    stop: Annotated[float | None, typer.Option(help="End of the stretch that is used, in ps.")] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="Filter frequency f* in THz; chosen from the power if absent.")
    ] = None,
    coefficients: Annotated[int | None, typer.Option(help="Cepstral coefficients K; by Akaike if absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers as JSON.")] = False,
) -> None:
    """Compute thermal and electrical conductivities by cepstral analysis."""
    if run not in (None, "all"):
        try:
            run = int(run)
        except ValueError:
            raise ValueError(f"--run is {run!r}; accepted is a whole number, or all") from None
    choices = {
        "columns": {name: _columns(given) for name, given in _pairs("--current", current)} or None,
        "factors": {name: _number(given) for name, given in _pairs("--factor", factor)} or None,
        "units": units,
        "timestep_fs": timestep,
        "every": every,
        "temperature_K": temperature,
        "volume": volume,
        "runs": run,
    }
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UserWarning)
        currents = _currents(file, {name: value for name, value in choices.items() if value is not None})
        if start or stop is not None:
            currents = currents.window(start, stop)
        rows = _rows(currents, cutoff, coefficients)
    for note in dict.fromkeys(str(note.message) for note in notes):
        typer.echo(f"note: {note}", err=True)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    typer.echo(repr(currents).strip("<>"))
    typer.echo(
        table(
            ["", "value", "error", "unit", "f* / THz", "K*", "nu"],
            [[row["quantity"], f"{row['value']:.4g}", f"{row['error']:.2g}", row["unit"], f"{row['cutoff_THz']:.4g}",
              str(row["n_coefficients"]), str(row["degrees_of_freedom"])] for row in rows],
        )
    )  # fmt: skip


def _currents(file: str, choices: dict) -> "Currents":
    from matterscape import datasets
    from matterscape.transport.readers import read_currents

    if not Path(file).expanduser().exists() and file in datasets.names():
        row = datasets.describe(file)
        if row.kind != "currents":
            raise ValueError(f"{file} is a data set of the kind {row.kind!r}; accepted is one of currents")
        if choices:
            raise ValueError(f"{file} is a data set, which says everything itself; {', '.join(choices)} can't be given")
        return datasets.load(file)
    return read_currents(file, **choices)


def _rows(currents: "Currents", cutoff: float | None, coefficients: int | None) -> list[dict]:
    """A line for each conductivity: of heat at vanishing other currents, of heat whatever the others do, of charge."""
    from matterscape.transport.onsager import electrical_conductivity, thermal_conductivity
    from matterscape.transport.spectra import suggested_cutoff

    wanted = []
    for name, kind in zip(currents.names, currents.kinds):
        if kind == "energy":
            others = [other for other, its in zip(currents.names, currents.kinds) if other != name and its != "energy"]
            if others:
                wanted.append((f"kappa, no {', '.join(others)} current", "energy", name, [name, *others]))
            wanted.append((f"kappa, {name} current alone", "energy", name, [name]))
        elif kind == "charge":
            wanted.append(("sigma", "charge", name, [name]))
    if not wanted:
        raise ValueError(f"currents are {', '.join(currents.kinds)}; a conductivity needs one of energy or of charge")
    rows = []
    for label, kind, name, taking_part in wanted:
        compute = thermal_conductivity if kind == "energy" else electrical_conductivity
        part = currents.select(*taking_part)
        frequency = suggested_cutoff(part, name) if cutoff is None else cutoff
        found = compute(part, frequency, **{kind: name}, n_coefficients=coefficients)
        rows.append({"quantity": label, "currents": taking_part} | {
            what: getattr(found, what)
            for what in ("value", "error", "unit", "cutoff_THz", "n_coefficients", "degrees_of_freedom")
        })  # fmt: skip
    return rows


def _pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for text in given or []:
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ValueError(f"{option} is {text!r}; accepted is NAME=..., such as energy=c_flux")
        pairs.append((name, value))
    return pairs


def _columns(text: str) -> str | list[str | int]:
    parts = [int(part) if part.isdigit() else part for part in text.split(",")]
    return text if parts == [text] else parts


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--factor is {text!r}; accepted is a number") from None
