"""Recorded observables: one row per recorded step, in memory or in ``.npy`` files that grow."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_HEADER_BYTES = 256
_BUFFER_BYTES = 1 << 18
METADATA_FILE = "records.json"


class GrowingArray:
    """Rows of equal shape in memory, added one at a time.

    Parameters
    ----------
    shape : tuple of int
        Of one row.
    dtype : numpy dtype
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self._rows = np.empty((16, *shape), dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, row: np.ndarray) -> None:
        """Add one row."""
        if self._length == len(self._rows):
            larger = np.empty((2 * self._length, *self._rows.shape[1:]), self._rows.dtype)
            larger[: self._length] = self._rows
            self._rows = larger
        self._rows[self._length] = row
        self._length += 1

    def flush(self) -> None:
        """Nothing to do: the rows are where they stay."""

    @property
    def values(self) -> np.ndarray:
        """The rows so far, (n, ...), not to be written to."""
        view = self._rows[: self._length]
        view.flags.writeable = False
        return view


class GrowingFile:
    """Rows of equal shape in a ``.npy`` file, which is a valid file after every flush.

    Rows are appended behind the header first, then the header is given the new length: a process that dies in between
    leaves a file that lacks its last rows and nothing else.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Of one row.
    dtype : numpy dtype
    keep : int
        Rows of an existing file to go on from; the others are cut off. Zero starts a new file.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, keep: int = 0):
        self.path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._written = keep
        row_bytes = max(1, self._dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        self._buffer = np.empty((max(1, _BUFFER_BYTES // row_bytes), *shape), self._dtype)
        self._waiting = 0
        with open(path, "r+b" if keep else "wb") as file:
            file.truncate(_HEADER_BYTES + keep * row_bytes)
            self._write_header(file)

    def __len__(self) -> int:
        return self._written + self._waiting

    def append(self, row: np.ndarray) -> None:
        """Add one row; it reaches the file when the buffer is full, or at the next flush."""
        self._buffer[self._waiting] = row
        self._waiting += 1
        if self._waiting == len(self._buffer):
            self.flush()

    def flush(self) -> None:
        """Bring all rows into the file."""
        if not self._waiting:
            return
        with open(self.path, "r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(self._buffer[: self._waiting].tobytes())
            file.flush()
            self._written += self._waiting
            self._waiting = 0
            self._write_header(file)

    @property
    def values(self) -> np.ndarray:
        """The rows so far, (n, ...), a read-only memory map of the file."""
        self.flush()
        if not self._written:  # an empty file cannot be mapped
            return np.empty((0, *self._shape), self._dtype)
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def _write_header(self, file: Any) -> None:
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._written, *self._shape)}
        text = repr(description).encode("latin1")
        start = np.lib.format.magic(1, 0) + (_HEADER_BYTES - 10).to_bytes(2, "little")
        file.seek(0)
        file.write(start + text.ljust(_HEADER_BYTES - 11) + b"\n")


@dataclass
class Record:
    """One observable along a run.

    Attributes
    ----------
    name, unit : str
    every : int
        Steps between rows.
    function : callable
        ``function(simulation)`` gives a row.
    pieces : bool
        Whether it needs flux tensors (virial, heat flux).
    first_step : int or None
        Step of the first row, once there is one.
    """

    name: str
    unit: str
    every: int
    function: Callable[[Any], Any]
    pieces: bool
    first_step: int | None = None
    store: GrowingArray | GrowingFile | None = None

    @property
    def values(self) -> np.ndarray:
        """Rows so far, (n, ...)."""
        return np.empty(0) if self.store is None else self.store.values

    @property
    def steps(self) -> np.ndarray:
        """Step of each row, (n,) int64."""
        length = 0 if self.store is None else len(self.store)
        return (self.first_step or 0) + self.every * np.arange(length)

    def take(self, simulation: Any, folder: Path | None) -> None:
        """Add the row of the present step, unless it is there already."""
        step = simulation.step
        if self.store is not None and len(self.store) and step <= int(self.steps[-1]):
            return
        row = np.asarray(self.function(simulation))
        if self.store is None:
            self._open(row, step, folder)
        self.store.append(row)

    def extend(self, rows: np.ndarray, first_step: int | None, folder: Path | None) -> None:
        """Add rows that were made elsewhere, the first of them at ``first_step``."""
        if self.store is None and len(rows):
            self._open(rows[0], first_step, folder)
        for row in rows:
            self.store.append(row)

    def _open(self, row: np.ndarray, step: int, folder: Path | None) -> None:
        if row.dtype.kind not in "biufc":
            raise TypeError(f"record {self.name!r} gave data of type {row.dtype}; accepted are numbers")
        self.first_step = step
        if folder is None:
            self.store = GrowingArray(row.shape, row.dtype)
        else:
            self.store = GrowingFile(folder / f"{self.name}.npy", row.shape, row.dtype)

    def metadata(self) -> dict[str, Any]:
        """What a reader has to know besides the array."""
        return {"unit": self.unit, "every": self.every, "first_step": self.first_step}

    def resume(self, folder: Path, known: dict[str, Any], step: int) -> None:
        """Go on with the file of an earlier run: rows after ``step`` are cut off.

        Raises
        ------
        ValueError
            If the earlier record had another stride or unit.
        """
        for key, mine in (("every", self.every), ("unit", self.unit)):
            if known[key] != mine:
                raise ValueError(f"record {self.name!r} in {folder} has {key} = {known[key]!r}, not {mine!r}")
        if known["first_step"] is None or known["first_step"] > step:
            return
        path = folder / f"{self.name}.npy"
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        keep = (step - known["first_step"]) // self.every + 1
        if len(stored) < keep:
            raise ValueError(f"{path} has {len(stored)} rows; step {step} of the restart needs {keep}")
        shape, dtype = stored.shape[1:], stored.dtype
        del stored
        self.first_step = known["first_step"]
        self.store = GrowingFile(path, shape, dtype, keep=keep)


def write_metadata(folder: Path, metadata: dict[str, Any]) -> None:
    """Write the description of a folder of records, atomically."""
    temporary = folder / f"{METADATA_FILE}.part"
    temporary.write_text(json.dumps(metadata, indent=1))
    os.replace(temporary, folder / METADATA_FILE)


def read_metadata(folder: Path) -> dict[str, Any] | None:
    """The description of a folder of records, or None where there are no records."""
    file = folder / METADATA_FILE
    return json.loads(file.read_text()) if file.exists() else None
