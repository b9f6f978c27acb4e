"""Property files of i-PI: columns described in a header, with their units in braces."""

import re

from ase import units

from matterscape.transport.readers.table import Contents, CurrentsFileError, Table, parse_rows, without_cut_line
from matterscape.transport.readers.unit_styles import STYLES

_COLUMN = re.compile(rb"^# *(?:column +(\d+)|cols\. +(\d+)-(\d+)) *--> *(\S+)", re.MULTILINE)
_UNIT = re.compile(r"\{([^{}]*)\}")
_PREFIXES = {"": 1.0, "kilo": 1e3, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12, "femto": 1e-15}
_ATOMIC, _ASE = STYLES["atomic"], STYLES["ase"]
#: What one unit is in ps, Å/ps, Å^3 or K, by property and name of the unit; the empty name is i-PI's default.
_UNITS = {
    "time": {"": _ATOMIC.time, "second": 1e12, "ase": _ASE.time},
    "vcom": {"": _ATOMIC.length / _ATOMIC.time, "m/s": 1e-2, "ase": _ASE.length / _ASE.time},
    "volume": {"": _ATOMIC.volume, "angstrom3": 1.0, "ase": 1.0},
    "temperature": {"": units.Hartree / units.kB, "kelvin": 1.0, "ase": 1.0 / units.kB},
}


def is_properties(text: bytes) -> bool:
    """Whether a text is a file of properties of i-PI."""
    return _COLUMN.search(text[:4000]) is not None


def read_properties(text: bytes, name: str) -> Contents:
    """Read a file of properties of i-PI.

    Parameters
    ----------
    text : bytes
    name : str
        Of the file, for errors.

    Returns
    -------
    Contents
        One table, its titles the properties without their units; ``time`` in ps, ``vcom`` in Å/ps, ``volume`` in Å^3
        and ``temperature`` in K, whatever units the file has them in. Other properties stay as they are.

    Raises
    ------
    CurrentsFileError
        If the header is incomplete, a unit of one of these four is unknown, or a row is broken.
    """
    titles: list[str] = []
    factors: list[float] = []
    for single, first, last, described in _COLUMN.findall(text):
        width = 1 if single else int(last) - int(first) + 1
        if int(single or first) != len(titles) + 1:
            raise CurrentsFileError(f"{name} describes column {int(single or first)} after column {len(titles)}")
        title, factor = _described(described.decode(errors="replace"), name)
        titles += [title] if width == 1 else [f"{title}[{component}]" for component in range(1, width + 1)]
        factors += [factor] * width
    begin = 0
    first_line = 1
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
        begin += len(line)
        first_line += 1
    body, notes = without_cut_line(text[begin:], len(titles))
    values, lines = parse_rows(body, name, first_line=first_line, n_columns=len(titles))
    return Contents("i-PI properties", (Table(tuple(titles), values * factors, lines),), "metal", notes=notes)


def _described(described: str, name: str) -> tuple[str, float]:
    """Title and factor of a property such as ``vcom(O){picometer}``."""
    unit = _UNIT.search(described)
    title = _UNIT.sub("", described)
    known = _UNITS.get(title.split("(")[0])
    if known is None:
        return title, 1.0
    given = unit[1].strip() if unit else ""
    given = "" if given in ("atomic_unit", "automatic") else given
    for prefix, scale in _PREFIXES.items():
        if given.startswith(prefix) and given[len(prefix) :] in known:
            return title, scale * known[given[len(prefix) :]]
    raise CurrentsFileError(f"{name} has the unit {given!r} for {title}; accepted are {', '.join(filter(None, known))}")
