"""From the name of a data set to structures or arrays."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms

from matterscape.datasets.cache import fetch
from matterscape.datasets.readers import MixedPropertiesWarning, read_structures
from matterscape.datasets.registry import describe


def load(name: str) -> list[Atoms] | np.ndarray | dict:
    """Load a data set of the registry, downloading it on first use.

    Parameters
    ----------
    name : str
        One of ``names()``.

    Returns
    -------
    list of ase.Atoms, numpy.ndarray or dict
        By the row's ``kind``: structures with unified keys (``info["energy"]`` in eV, ``arrays["forces"]`` in eV/Å,
        ``info["stress"]`` in eV/Å^3 where the file has them); an array; the content of a JSON file; or a table as a
        dict of columns, where ``flux[1] flux[2] flux[3]`` becomes one column ``flux`` of shape (rows, 3).

    Raises
    ------
    UnknownDataset, DatasetUnavailable, DatasetCorrupted, CacheNotWritable
        As ``fetch``.
    """
    row = describe(name)
    path = fetch(name)
    match row.kind:
        case "structures":
            with warnings.catch_warnings():  # the registry's files are known; the warning is for a user's own
                warnings.simplefilter("ignore", MixedPropertiesWarning)
                return read_structures(path)
        case "array":
            return np.load(path, allow_pickle=False)
        case "json":
            return _read_json(path)
        case "table":
            return {**_read_table(path), **row.constants}
    raise ValueError(f"kind of {name} is {row.kind!r}; accepted are structures, array, json, table")


def _read_json(path: Path) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    return json.loads(content) if isinstance(content, str) else content  # one of the public files is encoded twice


def _read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a text table: comments, a line of names, numbers; components ``[1] [2] [3]`` make one column."""
    with path.open(encoding="utf-8") as handle:
        header = next(line for line in handle if not line.startswith("#")).split()
        values = np.loadtxt(handle, ndmin=2)
    columns: dict[str, list[np.ndarray]] = {}
    for title, column in zip(header, values.T, strict=True):
        columns.setdefault(re.sub(r"\[\d+\]$", "", title), []).append(column)
    return {title: np.stack(parts, axis=1) if len(parts) > 1 else parts[0] for title, parts in columns.items()}
