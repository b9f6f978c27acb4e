"""Tables for the terminal, and the check that comes before long work whose result is to be written."""

import os
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
