"""From the name of a data set to structures or arrays."""

import json
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms

from matterscape.datasets.cache import fetch
from matterscape.datasets.readers import MixedPropertiesWarning, read_structures
from matterscape.datasets.registry import Dataset, describe
from matterscape.transport.currents import Currents
from matterscape.transport.readers import CurrentsFileWarning, read_currents


def load(name: str) -> list[Atoms] | np.ndarray | dict | Currents:
    """Load a data set of the registry, downloading it on first use.

    Parameters
    ----------
    name : str
        One of ``names()``.

    Returns
    -------
    list of ase.Atoms, numpy.ndarray, dict or Currents
        By the row's ``kind``: structures with unified keys (``info["energy"]`` in eV, ``arrays["forces"]`` in eV/Å,
        ``info["stress"]`` in eV/Å^3 where the file has them); an array; the content of a JSON file; a table as a
        dict of columns, where ``flux[1] flux[2] flux[3]`` becomes one column ``flux`` of shape (rows, 3); or currents.

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
        case "currents":
            return _read_row_of_currents(path, row)
    raise ValueError(f"kind of {name} is {row.kind!r}; accepted are structures, array, json, currents")


def _read_row_of_currents(path: Path, row: Dataset) -> Currents:
    with warnings.catch_warnings():  # nothing is guessed here but that the mean of the temperature is meant
        warnings.simplefilter("ignore", CurrentsFileWarning)
        return read_currents(
            path,
            {name: current["columns"] for name, current in row.currents.items()},
            factors={name: current["factor"] for name, current in row.currents.items()},
            units="metal",
            timestep_fs=row.constants["time_step_fs"],
            volume=row.constants["volume"],
        )


def _read_json(path: Path) -> dict:
    content = json.loads(path.read_text(encoding="utf-8"))
    return json.loads(content) if isinstance(content, str) else content  # one of the public files is encoded twice
