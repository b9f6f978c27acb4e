"""Currents from trajectories with velocities: of matter, mass and charge, and of energy where a potential is given."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers, chemical_symbols

from matterscape.checks import check_number, check_whole, is_number
from matterscape.progress import progress
from matterscape.transport.currents import Currents
from matterscape.transport.readers.table import CurrentsFileError

if TYPE_CHECKING:
    from matterscape.potentials import Potential

_SUFFIXES = (".xyz", ".extxyz", ".traj", ".dump", ".lammpstrj", ".nc")
_PER_PS = 1000.0 * units.fs  # a velocity in Å / ASE time, times this, is in Å/ps


def is_trajectory(name: str, content: bytes) -> bool:
    """Whether a file is a trajectory, by its name or first lines."""
    second_line = content[:4000].split(b"\n", 2)[1:2]
    extended = bool(second_line) and (b"Properties=" in second_line[0] or b"Lattice=" in second_line[0])
    return content.startswith((b"- of Ulm", b"ITEM:")) or extended or name.lower().endswith(_SUFFIXES)


def read_frames(name: str, content: bytes) -> list[Atoms]:
    """All frames of a trajectory, in any format that ASE reads.

    Raises
    ------
    CurrentsFileError
        If ASE can't read it.
    """
    import ase.io

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return ase.io.read(path, index=":", do_not_split_by_at_sign=True)
        except Exception as error:  # the parsers of many formats raise anything
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise CurrentsFileError(f"{name} can't be read as a trajectory: {said}") from error


def trajectory_currents(
    frames: Sequence[Atoms],
    currents: Sequence[str] | None = None,
    *,
    charges: Mapping[str, float] | None = None,
    potential: "Potential | None" = None,
    timestep_fs: float | None = None,
    every: int = 1,
    temperature_K: float | None = None,
    volume: float | None = None,
) -> Currents:
    """Currents of the frames of a trajectory.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        One run, at equal intervals, with velocities and one fixed cell.
    currents : sequence of str, optional
        Any of ``"energy"`` (sum of e_i v_i + W_i v_i, needs a potential), ``"charge"`` (sum of q_i v_i), ``"mass"``
        (sum of m_i v_i) and chemical symbols (summed velocities of an element). By default energy and charge as far as
        there is a potential and charges, else all elements.
    charges : mapping of str to float, optional
        In e, by chemical symbol; by default the ``initial_charges`` of each frame.
    potential : Potential, optional
        That the trajectory was made with.
    timestep_fs : float, optional
        Time in fs of one step; by default ``info["time_ps"]`` of the frames says what lies between them.
    every : int
        Steps between two frames.
    temperature_K, volume : float, optional
        By default the mean kinetic temperature with the momentum conserved (3 N - 3 degrees of freedom), and the volume
        of the cell.

    Returns
    -------
    Currents

    Raises
    ------
    CurrentsFileError
        If frames lack velocities, differ in their atoms or cells, or do not say what is needed.
    ValueError
        If an argument is unfit.
    """
    frames = list(frames)
    _check_frames(frames)
    first = frames[0]
    charges_of = _charges(frames, charges)
    if currents is None:
        present = [name for name, known in (("energy", potential), ("charge", charges_of)) if known is not None]
        currents = present or sorted(set(first.get_chemical_symbols()), key=lambda symbol: atomic_numbers[symbol])
    kinds = [_kind(name, first, potential, charges_of) for name in currents]
    interval_fs = _interval_fs(frames, timestep_fs, every)

    evaluator = _evaluator(potential, frames[0]) if "energy" in kinds else None
    masses, numbers = first.get_masses(), first.numbers
    values = np.empty((len(kinds), 3, len(frames)))
    kinetic = np.empty(len(frames))
    for frame, atoms in enumerate(progress(frames, "currents")):
        velocities = atoms.get_velocities()
        kinetic[frame] = 0.5 * masses @ (velocities**2).sum(axis=1)
        for current, (name, kind) in enumerate(zip(currents, kinds)):
            if kind == "energy":
                values[current, :, frame] = _energy_current(evaluator, atoms, velocities, masses)
                continue
            weights = {"charge": charges_of, "mass": masses}.get(kind)
            if weights is None:
                weights = (numbers == atomic_numbers[name]).astype(np.float64)
            values[current, :, frame] = weights @ velocities
    if temperature_K is None:
        freedom = 3 * len(first) - 3
        if freedom < 1:
            raise CurrentsFileError("a single atom has no temperature of its own; give temperature_K")
        temperature_K = float(2 * kinetic.mean() / (freedom * units.kB))
    try:
        return Currents(
            values * _PER_PS,
            tuple(currents),
            kinds=kinds,
            timestep_fs=interval_fs,
            temperature_K=temperature_K,
            volume=first.get_volume() if volume is None and first.cell.rank == 3 else _given_volume(volume),
        )
    except ValueError as error:
        raise CurrentsFileError(f"trajectory: {error}") from None


def _check_frames(frames: list[Atoms]) -> None:
    if len(frames) < 2:
        raise CurrentsFileError(f"trajectory has {len(frames)} frames; accepted are at least two")
    first = frames[0]
    for index, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise CurrentsFileError(f"frame {index} has other atoms than frame 0; accepted are frames of one run")
        if not atoms.has("momenta"):
            raise CurrentsFileError(f"frame {index} has no velocities; accepted are frames with velocities or momenta")
        if not np.allclose(atoms.cell.array, first.cell.array, rtol=1e-6, atol=1e-8):
            raise CurrentsFileError(
                f"frame {index} has another cell than frame 0; accepted are runs at constant volume"
            )


def _charges(frames: list[Atoms], charges: Mapping[str, float] | None) -> np.ndarray | None:
    if charges is None:
        return frames[0].get_initial_charges() if frames[0].has("initial_charges") else None
    symbols = set(frames[0].get_chemical_symbols())
    for symbol in symbols:
        if not is_number(charges.get(symbol)):
            raise ValueError(
                f"charges have {charges.get(symbol)!r} for {symbol}; accepted is a number of e for each element"
            )
    return np.array([charges[symbol] for symbol in frames[0].get_chemical_symbols()], dtype=np.float64)


def _kind(name: str, atoms: Atoms, potential: "Potential | None", charges: np.ndarray | None) -> str:
    if name == "energy" and potential is None:
        raise ValueError("potential is None; the current of energy needs the potential of the trajectory")
    if name == "charge" and charges is None:
        raise ValueError("charges are None and the frames hold none; the current of charge needs them")
    if name in ("energy", "charge", "mass"):
        return name
    elements = sorted({chemical_symbols[number] for number in atoms.numbers})
    if name not in elements:
        raise ValueError(f"current is {name!r}; accepted are energy, charge, mass, {', '.join(elements)}")
    return "number"


def _interval_fs(frames: list[Atoms], timestep_fs: float | None, every: int) -> float:
    check_whole("every", every, 1)
    if timestep_fs is not None:
        check_number("timestep_fs", timestep_fs, "fs", positive=True)
        return timestep_fs * every
    times = [atoms.info.get("time_ps") for atoms in frames]
    if not all(is_number(time) for time in times):
        raise CurrentsFileError(
            "the frames do not say how much time lies between them; give timestep_fs, the time in fs of one step, and "
            "every, the steps between two frames"
        )
    steps = np.diff(np.array(times, dtype=np.float64))
    if not (np.abs(steps - steps.mean()) < 0.1 * steps.mean()).all():
        frame = int(np.argmax(np.abs(steps - np.median(steps)))) + 1
        raise CurrentsFileError(
            f"frame {frame} is {steps[frame - 1]:g} ps after the one before; accepted are equal intervals, "
            f"{np.median(steps):g} ps between most frames"
        )
    return float(1000.0 * steps.mean())


def _evaluator(potential: "Potential", atoms: Atoms):
    from matterscape.potentials import Evaluator
    from matterscape.structures import Structures

    return Evaluator(potential, Structures.from_ase([atoms]))


def _energy_current(evaluator, atoms: Atoms, velocities: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """sum e_i v_i + W_i v_i (3,) in eV Å / ASE time."""
    evaluator(np.ascontiguousarray(atoms.positions), atoms.cell.array[None], pieces=True)
    energies = evaluator.energies + 0.5 * masses * (velocities**2).sum(axis=1)
    return energies @ velocities + np.einsum("nab,nb->a", evaluator.flux_tensors, velocities)


def _given_volume(volume: float | None) -> float:
    if volume is None:
        raise CurrentsFileError("the frames have no cell; give volume, in Å^3")
    return volume
