"""What an exploration leaves behind: chemiscope files, and tables of features and predictions."""

import csv
from pathlib import Path

from matterscape.maps import Outcome
from matterscape.models.files import atomic_path

KINDS = {
    "map, HTML page": "map.html",
    "map, chemiscope JSON": "map.json.gz",
    "predictions, CSV": "predictions.csv",
    "features, CSV": "features.csv",
}


def export(outcome: Outcome, kind: str, folder: str | Path, name: str, colour: str | None = None) -> Path:
    """Write one file.

    Parameters
    ----------
    outcome : Outcome
    kind : str
        One of `KINDS`.
    folder : str or Path
    name : str
        First part of the file's name.
    colour : str, optional
        Property that colours the map at first; another name leaves the choice to the map.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If there is no such kind.
    OSError
        If the folder can't be written to.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; accepted are {', '.join(KINDS)}")
    path = Path(folder) / f"{name}-{KINDS[kind]}"
    if KINDS[kind].startswith("map"):
        return outcome.map_result(colour if colour in outcome.properties else None).write(path)
    if KINDS[kind].startswith("predictions"):
        columns = dict(zip(outcome.projection.labels, outcome.projection.coordinates.T))
        columns |= {_titled(prop): prop.values for prop in outcome.properties.values()}
        return _write_table(outcome, path, list(columns), zip(*columns.values()))
    return _write_table(outcome, path, outcome.features.labels, outcome.features.rows)


def _titled(prop) -> str:
    return f"{prop.name} ({prop.unit})" if prop.unit else prop.name


def _write_table(outcome: Outcome, path: Path, header: list[str], rows) -> Path:
    """One line per point: which structure (and atom) of the data it is, then the columns."""
    samples = outcome.samples
    if samples.environments is None:
        names = ["structure", "formula"]
        keys = ((number, atoms.get_chemical_formula()) for number, atoms in zip(samples.numbers, samples.frames))
    else:
        names = ["structure", "atom", "element"]
        keys = ((samples.numbers[f], a, samples.frames[f].symbols[a]) for f, a in samples.environments)
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *header])
        for key, row in zip(keys, rows):
            writer.writerow([*key, *(_short(value) for value in row)])
    return path


def _short(value) -> str:
    return value if isinstance(value, str) else format(float(value), ".8g")
