"""Tables of numbers as files hold them: quick where all is well, and exact about the line where it is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np

_COMMENTS = (b"#", b"%", b"//", b"@")


class CurrentsFileError(ValueError):
    """A file of currents that can't be used; the sentence says why and where."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of numbers under titles: one run.

    Attributes
    ----------
    titles : tuple of str
        Of the columns; the components of a vector are called ``name[1]``, ``name[2]``, ``name[3]``.
    values : array (rows, columns), float64
    lines : array (rows,) of int, or None
        Line of the file that each row stands in, counted from 1; None where there are no lines.
    step_fs : float, optional
        Time that a step of the column of steps takes (a row, where there is no such column), where the file says so.
    """

    titles: tuple[str, ...]
    values: np.ndarray
    lines: np.ndarray | None = None
    step_fs: float | None = None

    def where(self, row: int) -> str:
        """How a sentence names a row."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"


@dataclass(frozen=True, eq=False)
class Contents:
    """What a reader of one format found in a file.

    Attributes
    ----------
    format : str
        Name of the format, for people.
    tables : tuple of Table
        One for each run, in their order.
    unit_style : str, optional
        Units of the numbers, where the file says so.
    constants : dict of str to float
        ``temperature_K`` and ``volume``, where the file has them as numbers of their own (in K and Å^3).
    notes : tuple of str
        What else a person should know.
    """

    format: str
    tables: tuple[Table, ...]
    unit_style: str | None = None
    constants: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def parse_rows(
    block: bytes, name: str, *, first_line: int = 1, n_columns: int | None = None, separator: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of a block of text, every line of which is a row, a comment, or empty.

    Parameters
    ----------
    block : bytes
    name : str
        Of the file, for errors.
    first_line : int
        Number of the block's first line in the file.
    n_columns : int, optional
        That a row must have; by default as many as the first one has.
    separator : str, optional
        ``","`` or ``";"``; blanks and tabs by default.

    Returns
    -------
    values : array (rows, columns), float64
        A literal ``nan`` stays one.
    lines : array (rows,) of int

    Raises
    ------
    CurrentsFileError
        Where a row is too short or too long, or holds something that is no number.
    """
    import pandas

    block = block.rstrip()
    n_lines = block.count(b"\n") + 1 if block else 0
    if not n_lines:
        raise CurrentsFileError(f"{name} holds no row of numbers; accepted is at least one")
    try:
        frame = pandas.read_csv(BytesIO(block), sep=separator or r"\s+", header=None, dtype=np.float64, engine="c")
        values = frame.to_numpy()
    except (pandas.errors.ParserError, ValueError):
        values = None
    # Short rows are filled with nan, and empty lines are skipped: both need a closer look.
    if values is not None and len(values) == n_lines and n_columns in (None, values.shape[1]):
        if not np.isnan(values).any():
            return values, np.arange(first_line, first_line + n_lines)
    return _parse_line_by_line(block, name, first_line, n_columns, separator)


def _parse_line_by_line(
    block: bytes, name: str, first_line: int, n_columns: int | None, separator: str | None
) -> tuple[np.ndarray, np.ndarray]:
    rows, lines = [], []
    for number, line in enumerate(block.split(b"\n"), start=first_line):
        text = line.split(b"#")[0].strip()
        if not text or text.startswith(_COMMENTS):
            continue
        fields = text.split(separator.encode() if separator else None)
        n_columns = len(fields) if n_columns is None else n_columns
        if len(fields) != n_columns:
            raise CurrentsFileError(f"{name}, line {number} has {len(fields)} columns; the others have {n_columns}")
        try:
            rows.append([float(field) for field in fields])
        except ValueError:
            wrong = next(field for field in fields if not is_number(field))
            shown = wrong.decode(errors="replace").strip()
            raise CurrentsFileError(f"{name}, line {number} has {shown[:40]!r}; accepted are numbers") from None
        lines.append(number)
    if not rows:
        raise CurrentsFileError(f"{name} holds no row of numbers; accepted is at least one")
    return np.array(rows), np.array(lines)


def is_number(text: bytes | str) -> bool:
    """Whether a field of a table is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def unique_titles(titles: Sequence[str], name: str) -> tuple[str, ...]:
    """The titles, if all differ; ``CurrentsFileError`` otherwise."""
    for index, title in enumerate(titles):
        if title in titles[:index]:
            raise CurrentsFileError(f"{name} has two columns of the name {title!r}; accepted are different names")
    return tuple(titles)


def without_cut_line(text: bytes, n_columns: int, separator: str | None = None) -> tuple[bytes, tuple[str, ...]]:
    """A table without a last line that a stopped program left unfinished, and a note if there was one."""
    if text.endswith(b"\n") or b"\n" not in text:
        return text, ()
    complete, _, last = text.rpartition(b"\n")
    fields = last.split(separator.encode() if separator else None)
    if len(fields) >= n_columns:
        return text, ()
    return complete + b"\n", ("the last line is cut off and was left out",)
