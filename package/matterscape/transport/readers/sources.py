"""Files in whatever form they are handed over: paths, uploads, open files."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from matterscape.transport.readers.table import CurrentsFileError

_PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}


def uploaded(source: Any) -> tuple[str, bytes]:
    """Name (without folders) and bytes of an uploaded or open file.

    Parameters
    ----------
    source : mapping or binary file object
        With ``"name"`` and ``"content"``, as in the value of ``ipywidgets.FileUpload``; or open, with a ``name``.

    Returns
    -------
    tuple of (str, bytes)

    Raises
    ------
    ValueError
        If a mapping lacks one of the two.
    """
    if isinstance(source, Mapping):
        if not {"name", "content"} <= source.keys():
            raise ValueError(f"source has the keys {sorted(source)}; an uploaded file needs 'name' and 'content'")
        name, content = source["name"], source["content"]
    else:
        name, content = getattr(source, "name", "upload"), source.read()
        content = content.encode() if isinstance(content, str) else content
    name = Path(str(name)).name
    return (name if name not in ("", "..") else "upload"), bytes(content)


def content_of(source: str | PathLike | Mapping[str, Any] | Any) -> tuple[str, bytes]:
    """Name and bytes of a file; compressed ones (.gz, .bz2, .xz) are unpacked.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CurrentsFileError
        If it is a folder, empty, or compressed and cut off.
    TypeError
        If the source is nothing of that kind.
    """
    if isinstance(source, Mapping) or hasattr(source, "read"):
        name, content = uploaded(source)
    elif isinstance(source, str | PathLike):
        path = Path(source).expanduser()
        name = path.name
        if path.is_dir():
            raise CurrentsFileError(f"{path} is a folder; accepted is a file of currents")
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; accepted is the path of a file of currents")
        content = path.read_bytes()
    else:
        raise TypeError(f"source is of type {type(source).__name__}; accepted are paths, uploads and open files")
    for magic, unpack in _PACKED.items():
        if content.startswith(magic):
            try:
                content = unpack(content)
            except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
                raise CurrentsFileError(f"{name} can't be unpacked: {error}") from None
    if not content.strip():
        raise CurrentsFileError(f"{name} is empty; accepted is a file of currents")
    return name, content
