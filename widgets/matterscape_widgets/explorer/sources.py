"""Where the structures of an exploration come from: the registry, a file of one's own, or a generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from matterscape import datasets

GENERATED = "generated"
GENERATED_SIZE = 135
PREFERRED = ("li3ps4-dft-test", "mad-sample")
TITLES = {
    GENERATED: "generated: silicon and carbon",
    "batio3-dft-val": "BaTiO3, small",
    "batio3-dft-test": "BaTiO3",
    "li3ps4-dft-val": "Li3PS4, small",
    "li3ps4-dft-test": "Li3PS4",
    "water-dft-val": "liquid water, small",
    "water-dft-test": "liquid water",
    "hea25-dft-bulk": "high-entropy alloys (HEA25)",
    "mad-sample": "across the periodic table (MAD)",
    "li3ps4-sample-train": "Li3PS4, r2SCAN",
    "charged-dimers": "charged dimers",
    "qm7x-tensors-100": "organic molecules (QM7-X)",
    "ethanol-structures": "ethanol",
    "water-structures": "water molecules",
}


@dataclass(frozen=True)
class Source:
    """Structures and the sentence that says what they are.

    Attributes
    ----------
    name : str
        Short name, fit for a file name.
    frames : list of ase.Atoms
    remark : str
        Which data this is and where it comes from.
    """

    name: str
    frames: list[Atoms]
    remark: str


def offered() -> list[tuple[str, str]]:
    """What a menu offers: (label, name) of every set of structures, those at hand first.

    Returns
    -------
    list of (str, str)
        Names that `load_source` takes; the label says what has to be downloaded and how much that is.
    """
    rows = [datasets.describe(name) for name in datasets.names()]
    rows = [row for row in rows if row.kind == "structures" and row.name in TITLES]
    at_hand = {row.name for row in rows if datasets.is_available(row.name)}
    cached = [(TITLES[row.name], row.name) for row in rows if row.name in at_hand]
    remote = [
        (f"{TITLES[row.name]} (download {row.bytes / 1e6:.1f} MB)", row.name) for row in rows if row.name not in at_hand
    ]
    return [*cached, (TITLES[GENERATED], GENERATED), *remote]


def load_source(name: str) -> Source:
    """Structures of the registry, or the generated set.

    Parameters
    ----------
    name : str
        A data set of `matterscape.datasets`, downloaded on first use, or ``"generated"``.

    Returns
    -------
    Source

    Raises
    ------
    ValueError
        If there is no such data set, or it holds no structures.
    OSError
        If it is neither in the cache nor within reach; the sentence says what to do.
    """
    if name == GENERATED:
        frames = datasets.generators.labelled_structures(GENERATED_SIZE)
        remark = (
            f"Generated data: {len(frames)} structures of silicon, carbon and silicon carbide, "
            "energies from the Tersoff potential"
        )
        return Source(GENERATED, frames, remark)
    row = datasets.describe(name)
    if row.kind != "structures":
        raise ValueError(f"dataset is {name!r}, which holds no structures; accepted are {', '.join(dict(_names()))}")
    frames = datasets.load(name)
    return Source(name, frames, f"Public data: {row.content} (github.com/{row.repository}, {row.licence})")


def load_preferred(names: Sequence[str] = PREFERRED) -> Source:
    """The first set that is cached or within reach, else the generated one, with a remark that says so.

    Parameters
    ----------
    names : sequence of str
        Data sets of the registry in the order of preference.

    Returns
    -------
    Source
    """
    problems = []
    for name in names:
        try:
            return load_source(name)
        except OSError as error:
            problems.append(f"{name}: {error}")
    generated = load_source(GENERATED)
    reason = f"none of {', '.join(names)} is cached or within reach ({problems[0]})" if problems else "as asked for"
    return Source(GENERATED, generated.frames, f"{generated.remark}, because {reason}")


def read_source(file: str | Path | Mapping[str, Any]) -> Source:
    """Structures of somebody's own file.

    Parameters
    ----------
    file : str, pathlib.Path or mapping
        A path, or an upload with ``name`` and ``content``; any format that ASE reads.

    Returns
    -------
    Source

    Raises
    ------
    ValueError, OSError
        If the file is missing, empty, truncated, or not understood; one sentence says which.
    """
    if isinstance(file, str) and not file.strip():
        raise ValueError("the path is empty; give the path of a file of structures, such as structures.xyz")
    file = file.strip() if isinstance(file, str) else file
    name = Path(str(file["name"] if isinstance(file, Mapping) else file)).name
    frames = datasets.read_structures(file)
    return Source(name.split(".")[0] or "structures", frames, f"Your file {name}: {len(frames)} structures")


def _names() -> list[tuple[str, str]]:
    return [(name, label) for label, name in offered()]
