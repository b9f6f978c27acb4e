"""Arrays filled row by row, or summed part by part, over a long time, that survive an interruption in a file."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from matterscape.models.files import atomic_path

SAVE_SECONDS = 20.0


class UnfinishedRows:
    """An array whose rows come one after another, kept in a file now and then and when the ``with`` block ends.

    Parameters
    ----------
    shape : tuple of int
    file : path or None
        ``.npz`` file; with None nothing is kept.
    of : str
        What decides about the values: a file of something else is refused.

    Attributes
    ----------
    values : ndarray of that shape, float64
    done : int
        Rows, or parts of the sum, that are there.

    Raises
    ------
    ValueError
        If the file is of something else.
    """

    _others = "another structure, potential or step"

    def __init__(self, shape: tuple[int, ...], file: str | os.PathLike | None, of: str):
        self.values, self.done = np.zeros(shape), 0
        self._file = None if file is None else Path(file)
        self._fingerprint = hashlib.sha256(of.encode()).hexdigest()
        self._saved = time.monotonic()
        if self._file is not None and self._file.exists():
            with np.load(self._file, allow_pickle=False) as kept:
                if str(kept["fingerprint"]) != self._fingerprint:
                    raise ValueError(
                        f"file is {str(file)!r}, unfinished work on {self._others}; accepted is a new name"
                    )
                self.done = int(kept["done"])
                self._kept()[:] = kept["values"]

    def __enter__(self) -> "UnfinishedRows":
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def append(self, row: np.ndarray) -> None:
        """The next row."""
        self.values[self.done] = row
        self._count()

    def _kept(self) -> np.ndarray:
        """The part of the values that is worth keeping."""
        return self.values[: self.done]

    def _count(self) -> None:
        self.done += 1
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        with atomic_path(self._file) as partial, partial.open("wb") as stream:
            np.savez(stream, fingerprint=self._fingerprint, done=self.done, values=self._kept())
        self._saved = time.monotonic()


class UnfinishedSum(UnfinishedRows):
    """The same for a sum whose parts come one after another; ``values`` is what they make so far."""

    _others = "other modes, third order, temperatures or broadening"

    def append(self, part: np.ndarray) -> None:
        """Add the next part."""
        self.values += part
        self._count()

    def _kept(self) -> np.ndarray:
        return self.values
