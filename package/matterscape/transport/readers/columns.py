"""Which columns of a table are which current: vectors among the titles, and guesses from the usual names."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

_INDEXED = re.compile(r"^(.+)\[([1-3])\]$")
_LETTERED = re.compile(r"^(.*?)[_ .]?([xyz])(_?\d*)$", re.IGNORECASE)
_PREFIX = re.compile(r"^[cvf]_")  # compute, variable and fix of LAMMPS
#: Usual names of currents, without prefixes, capitals and underscores.
_USUAL = {
    "energy": "flux heatflux hflux qflux j jq je jh jheat jenergy energyflux energycurrent heatcurrent energy heat",
    "charge": "eleflux eflux chargeflux chargecurrent electriccurrent elecurrent jc jel jz jcharge current charge",
    "number": "vcm vcom numberflux number",
    "mass": "massflux jm momentum mass",
}
_KIND_OF = {name: kind for kind, names in _USUAL.items() for name in names.split()}
_NOT_PLAIN = re.compile(r"[^a-z]")
_TEMPERATURE = ("temp", "temperature", "temperature_k")
_VOLUME = ("volume", "vol")
_STEP = ("step", "timestep")
_TIME_FS = {"time": None, "time_ps": 1000.0, "time_fs": 1.0, "t_ps": 1000.0, "t_fs": 1.0}
# Normalised currents whose Gram matrix has a smaller eigenvalue than this are linearly dependent.
_DEPENDENT = 1e-8


def vectors(titles: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Columns that are the components of one vector.

    Parameters
    ----------
    titles : sequence of str
        ``c_flux[1] c_flux[2] c_flux[3]``, ``Jx Jy Jz``, ``J_x J_y J_z``, ``v_jx v_jy v_jz`` and the like.

    Returns
    -------
    dict of str to tuple of int
        Name of each vector (``c_flux``, ``J``, ``v_j``) and its three columns, in the order of the components.
    """
    indexed: dict[str, dict[int, int]] = {}
    lettered: dict[str, dict[int, int]] = {}
    for column, title in enumerate(titles):
        if match := _INDEXED.match(title):
            indexed.setdefault(match[1], {})[int(match[2])] = column
        elif match := _LETTERED.match(title):
            letter = "xyz".index(match[2].lower()) + 1
            lettered.setdefault(match[1] + match[3], {}).setdefault(letter, column)
    found = {name or "xyz": parts for group in (indexed, lettered) for name, parts in group.items() if len(parts) == 3}
    return {name: tuple(parts[k] for k in (1, 2, 3)) for name, parts in found.items()}


def kind_of_name(name: str) -> str | None:
    """The kind of current that usually has this name, None if it says nothing: ``c_flux`` is an energy current."""
    plain = _NOT_PLAIN.sub("", re.sub(r"\[\d+\]$", "", _PREFIX.sub("", name.lower())))
    return _KIND_OF.get(plain)


def guess(titles: Sequence[str]) -> dict[str, tuple[str, str]]:
    """What the usual names say.

    Parameters
    ----------
    titles : sequence of str

    Returns
    -------
    dict of str to (str, str)
        Vector and kind of each current that was recognised, energy first.
    """
    recognised = [(name, kind) for name in vectors(titles) if (kind := kind_of_name(name)) is not None]
    recognised.sort(key=lambda pair: list(_USUAL).index(pair[1]))
    guessed: dict[str, tuple[str, str]] = {}
    for name, kind in recognised:
        count = sum(kind == other for _, other in guessed.values())
        guessed[kind if not count else f"{kind} {count + 1}"] = (name, kind)
    return guessed


def independent(samples: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the currents that are no linear combination of those before them.

    Parameters
    ----------
    samples : mapping of str to array (l, N)

    Returns
    -------
    list of str
        Velocities of the centres of mass of all species, for instance, are dependent where the total momentum vanishes.
    """
    kept: list[str] = []
    rows: list[np.ndarray] = []
    for name, values in samples.items():
        row = values.ravel() / (np.linalg.norm(values) or 1.0)
        gram = np.array([[a @ b for a in (*rows, row)] for b in (*rows, row)])
        if np.linalg.eigvalsh(gram)[0] > _DEPENDENT:
            kept.append(name)
            rows.append(row)
    return kept


def temperature_column(titles: Sequence[str]) -> int | None:
    """The column of the temperature, if its title says so."""
    return _named(titles, _TEMPERATURE)


def volume_column(titles: Sequence[str]) -> int | None:
    """The column of the volume, if its title says so."""
    return _named(titles, _VOLUME)


def step_column(titles: Sequence[str]) -> int | None:
    """The column of step numbers, if its title says so."""
    return _named(titles, _STEP)


def time_column(titles: Sequence[str]) -> tuple[int, float | None] | None:
    """The column of times and its unit in fs (None: that of the file), if its title says so."""
    column = _named(titles, tuple(_TIME_FS))
    return None if column is None else (column, _TIME_FS[_plain(titles[column])])


def _plain(title: str) -> str:
    return re.sub(r"[/ (\[{]+", "_", _PREFIX.sub("", title.lower())).rstrip(")]}_")


def _named(titles: Sequence[str], names: Sequence[str]) -> int | None:
    return next((column for column, title in enumerate(titles) if _plain(title) in names), None)
