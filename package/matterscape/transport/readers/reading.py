"""The one way in: a file in, currents out."""

import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from matterscape.transport.currents import Currents
from matterscape.transport.readers import ipi, lammps, plain
from matterscape.transport.readers.currents_file import Column, CurrentsFile
from matterscape.transport.readers.sources import content_of
from matterscape.transport.readers.table import CurrentsFileError
from matterscape.transport.readers.trajectory import is_trajectory, read_frames, trajectory_currents

Source = str | PathLike | Mapping[str, Any] | Any


class CurrentsFileWarning(UserWarning):
    """What was guessed or assumed of a file of currents."""


def open_currents(source: Source) -> CurrentsFile | Currents:
    """Read the numbers of a file without settling what they are.

    Parameters
    ----------
    source : path, upload or open file
        As for :func:`read_currents`, but one file, and no trajectory.

    Returns
    -------
    CurrentsFile or Currents
        ``str`` of a file says what was found, guessed, and is missing; its method ``read`` makes currents. A file of
        :meth:`Currents.save` leaves nothing to settle.

    Raises
    ------
    FileNotFoundError, CurrentsFileError, TypeError
        As :func:`read_currents`.
    """
    name, content = content_of(source)
    if is_trajectory(name, content):
        raise CurrentsFileError(f"{name} is a trajectory; read_currents makes currents of it")
    return _saved(content) or _opened(name, content)


def _opened(name: str, content: bytes) -> CurrentsFile:
    if content.startswith(b"\x93NUMPY"):
        return CurrentsFile(name, plain.read_array(content, name))
    if content.startswith(b"PK"):
        return CurrentsFile(name, plain.read_archive(content, name))
    if b"\0" in content[:4096]:
        raise CurrentsFileError(
            f"{name} is no text; accepted are logs and fix ave/time files of LAMMPS, properties of i-PI, tables of "
            "columns, .npy and .npz files"
        )
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    for belongs, read in (
        (ipi.is_properties, ipi.read_properties),
        (lammps.is_averages, lammps.read_averages),
        (lammps.is_log, lammps.read_log),
    ):
        if belongs(text):
            return CurrentsFile(name, read(text, name))
    return CurrentsFile(name, plain.read_columns(text, name))


def read_currents(
    source: Source | Sequence[Source],
    columns: Mapping[str, Column | Sequence[Column]] | None = None,
    *,
    kinds: Mapping[str, str] | None = None,
    factors: Mapping[str, float] | None = None,
    units: str | None = None,
    timestep_fs: float | None = None,
    every: int | None = None,
    temperature_K: float | None = None,
    volume: float | None = None,
    runs: int | Sequence[int] | str | None = None,
    **trajectory: Any,
) -> Currents:
    """Read currents from a file of almost any kind. A mean is never subtracted.

    Parameters
    ----------
    source : str, path, mapping or binary file object, or a sequence of them
        A log of LAMMPS, a file of ``fix ave/time``, properties of i-PI, columns of numbers with or without titles, an
        ``.npy`` or ``.npz`` file, currents saved by :meth:`Currents.save`, or a trajectory; an upload is a mapping with
        ``"name"`` and ``"content"``. Several files are segments: independent runs of one system, cut to the shortest.
    columns : mapping of str to columns, optional
        Name of each current and its components: the name of a vector (``"c_flux"`` for ``c_flux[1]``, ``c_flux[2]``,
        ``c_flux[3]``; ``"J"`` for ``Jx``, ``Jy``, ``Jz``), a title, a number counted from 0, or a list of these. By
        default guessed from the usual titles.
    kinds : mapping of str to str, optional
        "energy", "charge", "number" or "mass" of each current; by default what its name or title says.
    factors : mapping of str to float, optional
        What the numbers of a current are multiplied with after the conversion of units, such as the volume where the
        file has a density, or the number of atoms where it has a velocity of a centre of mass.
    units : {"metal", "real", "si", "cgs", "ase", "atomic"}, optional
        Units of the file; by default what it says itself, else "metal" (eV, Å, ps).
    timestep_fs : float, optional
        Time in fs of one step of the simulation (of one row, if the file does not count steps); by default from the
        file.
    every : int, optional
        Steps between two rows, where the file has no column of steps.
    temperature_K, volume : float, optional
        In K and Å^3; by default from the file: single numbers, or means of a column.
    runs : int, sequence of int or "all", optional
        Which runs of a log, counted from 0 and leaving out those with a single row; several become segments, cut to the
        shortest. By default the last.
    **trajectory
        For trajectories: ``currents``, ``charges``, ``potential`` of
        :func:`matterscape.transport.readers.trajectory_currents`.

    Returns
    -------
    Currents

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CurrentsFileError
        If the file is broken (naming the line), does not hold what is asked for, or does not say the time step,
        temperature or volume and neither does the caller.
    ValueError, TypeError
        If an argument is unfit.

    Warns
    -----
    CurrentsFileWarning
        What was guessed, assumed or left out.
    """
    choices = {
        "columns": columns,
        "kinds": kinds,
        "factors": factors,
        "units": units,
        "timestep_fs": timestep_fs,
        "every": every,
        "temperature_K": temperature_K,
        "volume": volume,
        "runs": runs,
    }
    several = isinstance(source, Sequence) and not isinstance(source, str | bytes) and not _are_frames(source)
    read = [_read_one(one, choices, trajectory) for one in (source if several else [source])]
    if not read:
        raise ValueError("source is empty; accepted is at least one file")
    remarks = list(dict.fromkeys(remark for _, remarks in read for remark in remarks))
    lengths = [currents.n_samples for currents, _ in read]
    if len(set(lengths)) > 1:
        remarks.append(f"files of {', '.join(map(str, lengths))} rows, cut to the shortest")
    if remarks:
        warnings.warn("; ".join(remarks), CurrentsFileWarning, stacklevel=2)
    if not several:
        return read[0][0]
    shortest = min(lengths) * read[0][0].timestep_fs * 1e-3
    return Currents.join([currents.window(0.0, shortest) for currents, _ in read])


def _read_one(source: Source, choices: Mapping[str, Any], trajectory: Mapping[str, Any]) -> tuple[Currents, list[str]]:
    given = {name: value for name, value in choices.items() if value is not None}
    if _are_frames(source):
        return trajectory_currents(source, **given, **trajectory), []
    name, content = content_of(source)
    if is_trajectory(name, content):
        return trajectory_currents(read_frames(name, content), **given, **trajectory), []
    if trajectory:
        raise ValueError(f"{', '.join(trajectory)} can be given for trajectories only, and {name} is none")
    if (saved := _saved(content)) is not None:
        if given:
            raise ValueError(f"{name} holds currents with all that belongs to them; {', '.join(given)} can't be given")
        return saved, []
    reading = _opened(name, content).read(**given)
    return reading.currents, [f"{name}: {remark}" for remark in reading.remarks]


def _are_frames(source: Any) -> bool:
    from ase import Atoms

    return isinstance(source, Sequence) and len(source) > 0 and all(isinstance(one, Atoms) for one in source)


def _saved(content: bytes) -> Currents | None:
    """Currents of a file that they were saved to, None if it is another."""
    if not content.startswith(b"PK"):
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if not {"values", "names", "kinds"} <= set(file.files):
                return None
    except Exception:  # the reader of archives says what is wrong with it
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "currents.npz"
        path.write_bytes(content)
        return Currents.load(path)
