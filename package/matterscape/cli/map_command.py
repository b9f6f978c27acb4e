"""``matterscape map``: a structure-property map from a file, without a notebook."""

import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matterscape.cli.output import check_writable

SUFFIXES = (".html", ".json", ".json.gz")


class Level(StrEnum):
    """What one point of the map stands for."""

    structure = "structure"
    atom = "atom"


class Projection(StrEnum):
    """How features become two or three coordinates."""

    pca = "pca"
    kpca = "kpca"
    pcovr = "pcovr"
    kpcovr = "kpcovr"


def map_file(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Structures in any format that ASE reads, or the name of a data set.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="What to write: .html, .json or .json.gz.")] = Path(
        "map.html"
    ),
    index: Annotated[str, typer.Option(help="Which structures, as in ASE: ':', '::10', ':100'.")] = ":",
    per: Annotated[Level | None, typer.Option(help="One point per structure or per atom.")] = None,
    projection: Annotated[
        Projection | None, typer.Option(help="How features become coordinates; pcovr and kpcovr need a target.")
    ] = None,
    mixing: Annotated[float | None, typer.Option(help="1 for the variance alone, 0 for the target alone.")] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "--property", metavar="NAME", help="Property that is fitted and colours the map."),
    ] = None,
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Train networks on the target, too: error bars of a second kind, in seconds."),
    ] = False,
    cutoff: Annotated[float | None, typer.Option(help="Radius of the environments, in Å.")] = None,
    max_radial: Annotated[int | None, typer.Option(help="Number of radial functions.")] = None,
    max_angular: Annotated[int | None, typer.Option(help="Largest angular momentum.")] = None,
    smearing: Annotated[float | None, typer.Option(help="Width of the atomic density, in Å.")] = None,
    species_channels: Annotated[int | None, typer.Option(help="Number of pseudo-species, for many elements.")] = None,
    max_environments: Annotated[int | None, typer.Option(help="Atoms at most on a map per atom.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:
    """Compute SOAP features, project them, and write a chemiscope map (standalone HTML, or JSON)."""
    if not output.name.endswith(SUFFIXES):
        raise ValueError(f"--output is {str(output)!r}; accepted are names that end in {', '.join(SUFFIXES)}")
    check_writable(output)
    frames = _frames(file, index)

    from matterscape import maps
    from matterscape.progress import progress

    chosen = {
        "cutoff": cutoff,
        "max_radial": max_radial,
        "max_angular": max_angular,
        "smearing": smearing,
        "per": per and per.value,
        "species_channels": species_channels,
        "projection": projection and projection.value,
        "mixing": mixing,
        "target": target,
        "ensemble": ensemble or None,
        "max_environments": max_environments,
    }
    given = {key: value for key, value in chosen.items() if value is not None}  # build_map knows sensible values
    with progress((), file, total=100) as bar:

        def show(fraction: float, what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.update(round(100 * fraction) - bar.n)

        result = maps.build_map(frames, seed=seed, on_progress=show, **given)
    result.write(output)
    typer.echo(f"{output}: {len(frames)} structures of {file}")
    for remark in result.remarks:
        typer.echo(f"  {remark}")


def _frames(file: str, index: str) -> list:
    """Structures of a file or data set; what the reader warns of goes to stderr as a note."""
    from matterscape import datasets

    source: str | Path = file
    if not Path(file).expanduser().exists() and file in datasets.names():
        row = datasets.describe(file)
        if row.kind != "structures":
            raise ValueError(f"{file} is a data set of the kind {row.kind!r}; a map needs one of structures")
        source = datasets.fetch(file)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", datasets.MixedPropertiesWarning)
        frames = datasets.read_structures(source, index)
    for note in notes:
        typer.echo(f"note: {note.message}", err=True)
    return frames
