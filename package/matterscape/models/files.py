"""Files that are either complete or not there, and models that are saved as plain arrays."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Temporary path beside ``path`` that takes its name when the block ends without an error.

    An interrupted write leaves whatever was at ``path`` untouched.

    Parameters
    ----------
    path : str or Path

    Yields
    ------
    Path
        An empty file to write to.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise type(error)(
            error.errno, f"path must lie in an existing folder that can be written to, got {str(path)!r}"
        ) from None
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


class ArrayFile:
    """Base of models that a ``.npz`` file can hold: those with ``state_dict`` and ``from_state_dict``."""

    def save(self, path: str | Path) -> None:
        """Write the fitted model to an ``.npz`` file, all or nothing.

        Parameters
        ----------
        path : str or Path
        """
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez(file, **self.state_dict())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model that :meth:`save` wrote; nothing is unpickled.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        A model of this class.
        """
        with np.load(path, allow_pickle=False) as state:
            return cls.from_state_dict(dict(state))

    @classmethod
    def _check_entries(cls, state: Mapping[str, np.ndarray], names: Iterable[str]) -> None:
        """Raise ``ValueError`` unless a state has all these entries."""
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
        missing = sorted(set(names) - set(state))
        if missing:
            raise ValueError(
                f"state must be that of a fitted {cls.__name__}, got none of its entries {', '.join(missing)}"
            )
