"""The table of public data sets: what each file is, where it comes from and whom to cite."""

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files


class UnknownDataset(ValueError):
    """A name that is not in the registry."""


@dataclass(frozen=True)
class Dataset:
    """One public file.

    ``kind`` says what ``load`` returns: ``"structures"`` (list of ``ase.Atoms``), ``"array"`` (numpy array), ``"json"``
    (dict) or ``"currents"`` (``Currents``). ``units`` maps the name of a property to its unit, as far as the source
    states it; lengths are Å throughout. ``bytes`` is the size of the file. ``currents`` maps the name of a current to
    its ``columns`` in the file and the ``factor`` that gives it its unit; ``constants`` are numbers that belong to the
    data and are not in the file.
    """

    name: str
    file: str
    kind: str
    content: str
    repository: str
    commit: str
    path: str
    sha256: str
    bytes: int
    licence: str
    papers: tuple[str, ...]
    citations: tuple[str, ...]
    units: dict[str, str] = field(hash=False)
    constants: dict[str, float] = field(default_factory=dict, hash=False)
    currents: dict[str, dict] = field(default_factory=dict, hash=False)

    @property
    def url(self) -> str:
        """Public address of the file, at the fixed commit."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"


@cache
def _table() -> dict[str, Dataset]:
    content = json.loads(files("matterscape.datasets").joinpath("registry.json").read_text(encoding="utf-8"))
    papers = content["papers"]
    return {
        row["name"]: Dataset(
            **{**row, "papers": tuple(row["papers"])},
            citations=tuple(f"{papers[paper]}, arXiv:{paper}" for paper in row["papers"]),
        )
        for row in content["datasets"]
    }


def names() -> list[str]:
    """Names of all data sets, in the order of the registry."""
    return list(_table())


def describe(name: str) -> Dataset:
    """The registry's row of one data set.

    Raises
    ------
    UnknownDataset
        If there is no such name; the sentence offers the closest ones.
    """
    try:
        return _table()[name]
    except KeyError:
        close = get_close_matches(str(name), names(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"accepted are {', '.join(names())}"
        raise UnknownDataset(f"name is {name!r}, which is not a data set of the registry; {hint}") from None
