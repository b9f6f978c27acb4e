"""Plain columns of numbers with or without titles, and numpy's own files."""

import re
import zipfile
from io import BytesIO

import numpy as np

from matterscape.transport.readers.table import (
    Contents,
    CurrentsFileError,
    Table,
    is_number,
    parse_rows,
    unique_titles,
    without_cut_line,
)

_COMMENT = re.compile(rb"[#%@]|//")
#: Names of single numbers in an .npz file, and what they are; times are those between two rows.
_CONSTANTS = {
    "temperature": "temperature_K",
    "temp": "temperature_K",
    "temperature_k": "temperature_K",
    "volume": "volume",
    "timestep_fs": "step_fs",
    "time_step_fs": "step_fs",
    "dt_fs": "step_fs",
}


def read_columns(text: bytes, name: str) -> Contents:
    """Read columns of numbers, separated by blanks, tabs, commas or semicolons.

    Lines that begin with #, %, @ or // are comments. Titles are the first line if it holds no number, else the last
    comment before the numbers if it has as many words as there are columns; without either the columns are called
    ``column 0``, ``column 1`` ...

    Parameters
    ----------
    text : bytes
    name : str
        Of the file, for errors.

    Returns
    -------
    Contents
        One table.

    Raises
    ------
    CurrentsFileError
        If there are no numbers, or a row is broken.
    """
    begin, first_line, comment = 0, 1, b""
    header: bytes | None = None
    first = b""
    for line in text.splitlines(keepends=True):
        stripped = line.strip()
        if stripped and not _COMMENT.match(stripped):
            if header is not None or any(map(is_number, _fields(stripped))):
                first = stripped
                break
            header = stripped
        elif stripped:
            comment = _COMMENT.sub(b"", stripped, count=1)
        begin += len(line)
        first_line += 1
    if not first:
        raise CurrentsFileError(f"{name} holds no row of numbers; accepted is a table of them")
    separator = _separator(first)
    n_columns = len(_fields(first))
    found = _fields(header) if header is not None else _fields(comment)
    if header is not None and len(found) != n_columns:
        raise CurrentsFileError(
            f"{name} has {len(found)} titles and {n_columns} columns in line {first_line}; accepted are equally many"
        )
    if len(found) != n_columns or any(map(is_number, found)):
        found = [f"column {index}".encode() for index in range(n_columns)]
    titles = unique_titles([title.decode(errors="replace").strip("\"'") for title in found], name)
    body, notes = without_cut_line(text[begin:], n_columns, separator)
    table = Table(titles, *parse_rows(body, name, first_line=first_line, n_columns=n_columns, separator=separator))
    return Contents("table of columns", (table,), notes=notes)


def _separator(line: bytes) -> str | None:
    return next((sign.decode() for sign in (b";", b",") if sign in line), None)


def _fields(line: bytes) -> list[bytes]:
    separator = _separator(line)
    return line.split() if separator is None else [part.strip() for part in line.split(separator.encode())]


def read_array(content: bytes, name: str) -> Contents:
    """Read an ``.npy`` file: an array (rows, columns).

    Raises
    ------
    CurrentsFileError
        If it is something else; a pickled object in particular is never opened, since that could run code.
    """
    array = _load(content, name)
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise CurrentsFileError(
            f"{name} holds an array {array.shape} of {array.dtype}; accepted are real numbers (rows, columns), or an "
            ".npz file with an array (rows, 3) for each current"
        )
    values = array.reshape(len(array), -1).astype(np.float64)
    titles = tuple(f"column {index}" for index in range(values.shape[1]))
    return Contents("numpy array", (Table(titles, values),))


def read_archive(content: bytes, name: str) -> Contents:
    """Read an ``.npz`` file: an array (rows, 3) for each current, and single numbers such as ``Volume``.

    An array (3, rows) is turned round. Arrays of other lengths than the longest are left out.

    Raises
    ------
    CurrentsFileError
        If it is something else.
    """
    try:
        archive = _load(content, name)
        arrays = {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise _refusal(name, error) from None
    constants: dict[str, float] = {}
    columns: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        if array.dtype.kind not in "iuf":
            continue
        if array.size == 1 and key.lower() in _CONSTANTS:
            constants[_CONSTANTS[key.lower()]] = float(array.item())
        elif array.ndim == 1 and array.size > 1:
            columns[key] = array
        elif array.ndim == 2:
            upright = array.T if len(array) <= 3 < array.shape[1] else array
            columns |= {f"{key}[{k + 1}]": column for k, column in enumerate(upright.T)}
    if not columns:
        raise CurrentsFileError(
            f"{name} holds {', '.join(arrays) or 'nothing'}; accepted is an array (rows, 3) for each current"
        )
    length = max(map(len, columns.values()))
    kept = {title: column for title, column in columns.items() if len(column) == length}
    notes = [f"{title} was left out, since it has {len(columns[title])} rows" for title in columns.keys() - kept.keys()]
    values = np.column_stack([column.astype(np.float64) for column in kept.values()])
    table = Table(tuple(kept), values, step_fs=constants.pop("step_fs", None))
    return Contents("numpy archive", (table,), constants=constants, notes=tuple(sorted(notes)))


def _load(content: bytes, name: str):
    try:
        return np.load(BytesIO(content), allow_pickle=False)
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise _refusal(name, error) from None


def _refusal(name: str, error: Exception) -> CurrentsFileError:
    if isinstance(error, CurrentsFileError):
        return error
    if "allow_pickle" in str(error) or "Object arrays" in str(error):
        return CurrentsFileError(
            f"{name} holds a pickled Python object, which could run code when it is opened; convert it where it comes "
            "from with content = numpy.load(file, allow_pickle=True).item(); numpy.savez('currents.npz', **content)"
        )
    return CurrentsFileError(
        f"{name} can't be read as a file of numpy: {' '.join(str(error).split()) or 'it is cut off'}"
    )
