"""Tables for the terminal, and files that are either complete or absent."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns under their titles."""
    widths = [max(len(line[column]) for line in (titles, *rows)) for column in range(len(titles))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (titles, *rows)
    )


def check_writable(path: Path) -> None:
    """Raise ``ValueError`` if a file can't be made at ``path``, before any long work begins."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise ValueError(f"{path} can't be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"{path} can't be written: the folder {path.parent} is read-only")


def write_atomically(path: Path, content: str) -> None:
    """Write text to a temporary file beside ``path`` and rename it, so that no one ever sees a part of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
