"""What LAMMPS writes: the thermodynamic output in its logs, and the files of ``fix ave/time``.

Formats as in the manual of LAMMPS (``thermo_style``, ``thermo_modify line``, ``fix ave/time``).
"""

import re
from dataclasses import replace

import numpy as np

from matterscape.transport.readers.table import (
    Contents,
    CurrentsFileError,
    Table,
    parse_rows,
    unique_titles,
    without_cut_line,
)

_BEGIN = re.compile(rb"^(?:Per MPI rank memory|Memory usage per processor).*\n", re.MULTILINE)
_END = re.compile(rb"^Loop time of", re.MULTILINE)
_STEP_BANNER = re.compile(rb"^-{4,} *Step +(\d+) -+ *CPU *= *([-+.\deE]+).*$", re.MULTILINE)
_PAIR = re.compile(rb"(\S+) *= *(\S+)")
_KEYWORDS = re.compile(rb"^keywords: *\[(.*)\] *\n", re.MULTILINE)
_TITLE = re.compile(r"['\"]([^'\"]*)['\"]")
_UNITS = re.compile(rb"^(?:units +|Unit style *: *)(\w+) *$", re.MULTILINE)
_TIMESTEP = re.compile(rb"^(?:timestep +|Time step *: *)([-+.\deE]+) *(?:#.*)?$", re.MULTILINE)
#: Time unit of each style in fs, and the time step that is used if none is set (manual, ``units``).
_TIME_FS = {"metal": 1000.0, "real": 1.0, "si": 1e15, "cgs": 1e15}
_DEFAULT_TIMESTEP = {"metal": 0.001, "real": 1.0, "si": 1e-8, "cgs": 1e-8}


def is_log(text: bytes) -> bool:
    """Whether a text is a log of LAMMPS."""
    return text.startswith(b"LAMMPS (") or _BEGIN.search(text) is not None


def read_log(text: bytes, name: str) -> Contents:
    """Read the thermodynamic output of every run in a log.

    Parameters
    ----------
    text : bytes
        Content of a log, also of a run that has not ended.
    name : str
        Of the file, for errors.

    Returns
    -------
    Contents
        One table for each run, in any of the styles ``one``, ``multi``, ``yaml`` or ``custom``; units and time step
        from the commands ``units`` and ``timestep``, if the log has them.

    Raises
    ------
    CurrentsFileError
        If there is no thermodynamic output, or a row of it is broken.
    """
    tables, notes = [], []
    style = _UNITS.search(text)
    style = style[1].decode() if style else None
    for match in _BEGIN.finditer(text):
        end = _END.search(text, match.end())
        cut = end is None
        block = text[match.end() : len(text) if cut else end.start()]
        table, new_notes = _thermo_table(block, name, 1 + text.count(b"\n", 0, match.end()), cut)
        if table is None:
            continue
        tables.append(replace(table, step_fs=_step_fs(text, match.end(), style)))
        notes += new_notes
    if not tables:
        raise CurrentsFileError(f"{name} is a log of LAMMPS without thermodynamic output; accepted is at least one run")
    return Contents("LAMMPS log", tuple(tables), style, notes=tuple(notes))


def _step_fs(text: bytes, end: int, style: str | None) -> float | None:
    """The time step that was set last before a place in the log."""
    if style not in _TIME_FS:
        return None
    given = _TIMESTEP.findall(text, 0, end)
    return (float(given[-1]) if given else _DEFAULT_TIMESTEP[style]) * _TIME_FS[style]


def _thermo_table(block: bytes, name: str, first_line: int, cut: bool) -> tuple[Table | None, list[str]]:
    """The table of one run, None if it printed no row; what was left out."""
    if _KEYWORDS.search(block):
        return _yaml_table(block, name, first_line), []
    if _STEP_BANNER.search(block):
        return _multi_table(block, name, first_line), []
    header, _, body = block.partition(b"\n")
    titles = unique_titles(header.decode(errors="replace").split(), name)
    notes: tuple[str, ...] = ()
    if cut:
        body, notes = without_cut_line(body, len(titles))
    if not body.strip():
        return None, []
    return Table(titles, *_rows_among_messages(body, name, first_line + 1, len(titles))), list(notes)


def _rows_among_messages(body: bytes, name: str, first_line: int, n_columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows between which LAMMPS may have written warnings and the like."""
    try:
        return parse_rows(body, name, first_line=first_line, n_columns=n_columns)
    except CurrentsFileError:
        # a message keeps its line as a comment, so that the numbers of the lines stay right
        numeric = re.compile(rb"\s*[-+.\d]|\s*(?:nan|inf)", re.IGNORECASE)
        lines = [line if numeric.match(line) else b"#" for line in body.split(b"\n")]
        return parse_rows(b"\n".join(lines), name, first_line=first_line, n_columns=n_columns)


def _yaml_table(block: bytes, name: str, first_line: int) -> Table | None:
    keywords = _KEYWORDS.search(block)
    titles = unique_titles(_TITLE.findall(keywords[1].decode(errors="replace")), name)
    begin = first_line + block.count(b"\n", 0, keywords.end())
    body = block[keywords.end() :].split(b"\n...")[0]
    rows = []
    for line in body.split(b"\n"):
        stripped = line.strip()
        complete = stripped.startswith(b"- [") and stripped.endswith(b"]")
        rows.append(stripped[3:-1].rstrip().rstrip(b",") if complete else b"#")
    if all(row == b"#" for row in rows):
        return None
    return Table(titles, *parse_rows(b"\n".join(rows), name, first_line=begin, n_columns=len(titles), separator=","))


def _multi_table(block: bytes, name: str, first_line: int) -> Table:
    """Blocks of ``title = value`` under a banner with step and CPU time."""
    banners = list(_STEP_BANNER.finditer(block))
    ends = [banner.start() for banner in banners[1:]] + [len(block)]
    titles, rows, lines = None, [], []
    for banner, end in zip(banners, ends):
        line = first_line + block.count(b"\n", 0, banner.start())
        pairs = [(title.decode(errors="replace"), value) for title, value in _PAIR.findall(block, banner.end(), end)]
        given = {title for title, _ in pairs}  # a custom style may repeat what the banner says
        pairs = [(title, value) for title, value in zip(("Step", "CPU"), banner.groups()) if title not in given] + pairs
        found = [title for title, _ in pairs]
        if titles is None:
            titles = found
        if found != titles:
            if banner is banners[-1]:
                break  # a run that has not ended
            raise CurrentsFileError(f"{name}, line {line} begins a step with other values than the steps before it")
        try:
            rows.append([float(value) for _, value in pairs])
        except ValueError:
            raise CurrentsFileError(f"{name}, line {line} begins a step with a value that is no number") from None
        lines.append(line)
    return Table(unique_titles(titles, name), np.array(rows), np.array(lines))


# -- fix ave/time ------------------------------------------------------------------------------------------------------


def is_averages(text: bytes) -> bool:
    """Whether a text is a file of ``fix ave/time``."""
    head = text[:4000]
    return head.startswith(b"# Time-averaged data for fix") or re.match(rb"#.*\n# TimeStep ", head) is not None


def read_averages(text: bytes, name: str) -> Contents:
    """Read a file of ``fix ave/time``: scalars or vectors (``mode vector``), as text or YAML.

    Parameters
    ----------
    text : bytes
    name : str
        Of the file, for errors.

    Returns
    -------
    Contents
        One table; entry k of a vector ``c_flux`` becomes the column ``c_flux[k]``.

    Raises
    ------
    CurrentsFileError
        If the file is broken or holds no values.
    """
    head = re.match(rb"(?:#.*\n)*", text)[0]
    comments = [line[1:].split() for line in head.decode(errors="replace").splitlines()]
    first_line = 1 + len(comments)
    body = text[len(head) :]
    if _KEYWORDS.search(body):
        table = _yaml_table(body, name, first_line)
        if table is None:
            raise CurrentsFileError(f"{name} holds no row of numbers; accepted is at least one")
        return Contents("fix ave/time of LAMMPS", (table,))
    if len(comments) > 2 and comments[1][1:] == ["Number-of-rows"]:
        table = _vector_table(body, name, first_line, comments[2][1:])
        return Contents("fix ave/time of LAMMPS, mode vector", (table,))
    if len(comments) < 2:
        raise CurrentsFileError(
            f"{name} has no line with the names of its columns; accepted is '# TimeStep c_flux[1] ...'"
        )
    titles = unique_titles(comments[1], name)
    body, notes = without_cut_line(body, len(titles))
    table = Table(titles, *parse_rows(body, name, first_line=first_line, n_columns=len(titles)))
    return Contents("fix ave/time of LAMMPS", (table,), notes=notes)


def _vector_table(body: bytes, name: str, first_line: int, titles: list[str]) -> Table:
    """Blocks of a line ``step n_rows`` and n_rows lines ``row value ...``, as one row for each block."""
    lines = [line for line in body.rstrip().split(b"\n")]
    head = lines[0].split() if lines else []
    if len(head) != 2 or not head[1].isdigit() or int(head[1]) == 0:
        raise CurrentsFileError(f"{name}, line {first_line} must hold a step and a number of rows")
    n_rows = int(head[1])
    n_blocks = len(lines) // (n_rows + 1)
    starts = np.arange(n_blocks) * (n_rows + 1)
    begins = [lines[start].split() for start in starts]
    for start, begin in zip(starts, begins):
        if len(begin) != 2 or begin[1] != head[1]:
            raise CurrentsFileError(
                f"{name}, line {first_line + start} must hold a step and the number of rows {n_rows}, as the first"
            )
    inner = np.ones(n_blocks * (n_rows + 1), bool)
    inner[starts] = False
    rows = b"\n".join(line if keep else b"#" for line, keep in zip(lines, inner))
    values, _ = parse_rows(rows, name, first_line=first_line, n_columns=len(titles) + 1)
    vectors = values[:, 1:].reshape(n_blocks, n_rows, len(titles)).transpose(0, 2, 1)  # (blocks, titles, entries)
    steps = np.array([float(begin[0]) for begin in begins])
    names = [f"{title}[{entry}]" for title in titles for entry in range(1, n_rows + 1)]
    return Table(
        unique_titles(["TimeStep", *names], name),
        np.column_stack([steps, vectors.reshape(n_blocks, -1)]),
        first_line + starts,
    )
