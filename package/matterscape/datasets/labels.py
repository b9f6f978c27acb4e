"""Energies, forces and stresses of many structures: computed one by one with resume, kept in one small file."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, CalculatorError

from matterscape.models.files import atomic_path
from matterscape.progress import progress

#: Energy, length and stress that a file of labels may be asked for in, as multiples of eV, Å and eV/Å^3.
UNITS = {"energy": {"eV": 1.0, "Hartree": units.Hartree}, "stress": {"eV/Å^3": 1.0, "GPa": units.GPa}}


def label_in_folder(
    folder: str | os.PathLike,
    frames: Sequence[Atoms],
    calculator: Callable[[], Calculator],
    *,
    show_progress: bool = True,
) -> list[Atoms]:
    """Energy, forces and stress of every frame by an ASE calculator; what an earlier call left in the folder is read.

    A calculation that does not converge (``CalculatorError``, or a ``RuntimeError`` of the program behind it) is
    remembered as failed, and its frame is missing in the result.

    Parameters
    ----------
    folder : path
        Of these frames alone: one file for each.
    frames : sequence of ase.Atoms
    calculator : callable
        ``calculator()`` makes a new one; called for every frame, so that no result depends on the frames before.
    show_progress : bool

    Returns
    -------
    list of ase.Atoms
        With ``info["energy"]`` (eV), ``arrays["forces"]`` (eV/Å), ``info["stress"]`` (6, eV/Å^3, ASE's order) and
        ``info["frame"]``, the number among ``frames``.

    Raises
    ------
    ValueError
        If the folder holds labels of other frames.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    labelled = []
    for number, atoms in enumerate(progress(frames, "labels") if show_progress else frames):
        file = folder / f"{number:05d}.npz"
        if not file.exists():
            _compute(file, atoms, calculator())
        with np.load(file, allow_pickle=False) as kept:
            same = len(kept["positions"]) == len(atoms) and np.array_equal(kept["numbers"], atoms.numbers)
            if not same or np.abs(kept["positions"] - atoms.positions).max() > 1e-8:
                raise ValueError(f"{file} holds labels of another structure than frame {number}; give a new folder")
            if bool(kept["failed"]):
                continue
            made = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=dict(atoms.info))
            made.info.update(energy=float(kept["energy"]), stress=kept["stress"], frame=number)
            made.arrays["forces"] = kept["forces"]
        labelled.append(made)
    return labelled


def _compute(file: Path, atoms: Atoms, calculator: Calculator) -> None:
    results = {"energy": np.nan, "forces": np.empty((0, 3)), "stress": np.empty(0)}
    try:
        atoms = atoms.copy()
        atoms.calc = calculator
        results["energy"] = atoms.get_potential_energy()
        results["forces"] = atoms.get_forces()
        results["stress"] = atoms.get_stress() if atoms.cell.rank == 3 else np.full(6, np.nan)
        failed = not np.isfinite(results["energy"])
    except (CalculatorError, RuntimeError):
        failed = True
    with atomic_path(file) as partial, open(partial, "wb") as out:
        np.savez(out, numbers=atoms.numbers, positions=atoms.positions, failed=failed, **results)


def write_labels(path: str | os.PathLike, frames: Sequence[Atoms], provenance: dict) -> None:
    """Write frames with labels to one compressed ``.npz`` file: energies in double, the rest in single precision.

    Parameters
    ----------
    path : path
    frames : sequence of ase.Atoms
        With ``info["energy"]``, ``arrays["forces"]`` and, all or none, ``info["stress"]``; ``info["group"]``, a short
        text, is kept where it is given.
    provenance : dict
        What made the labels, such as method and versions; must be fit for JSON.

    Raises
    ------
    ValueError
        If there is no frame, or a frame lacks a label.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty; accepted is at least one")
    for number, atoms in enumerate(frames):
        if "energy" not in atoms.info or "forces" not in atoms.arrays:
            raise ValueError(f'frame {number} lacks info["energy"] or arrays["forces"]; accepted are frames with both')
    with_stress = {"stress" in atoms.info for atoms in frames}
    if len(with_stress) > 1:
        raise ValueError('only some frames have info["stress"]; accepted are all or none')
    arrays = {
        "counts": np.array([len(atoms) for atoms in frames]),
        "numbers": np.concatenate([atoms.numbers for atoms in frames]).astype(np.uint8),
        "positions": np.concatenate([atoms.positions for atoms in frames]).astype(np.float32),
        "cells": np.array([atoms.cell[:] for atoms in frames]),
        "pbc": np.array([atoms.pbc for atoms in frames]),
        "energies": np.array([atoms.info["energy"] for atoms in frames], dtype=float),
        "forces": np.concatenate([atoms.arrays["forces"] for atoms in frames]).astype(np.float32),
        "groups": np.array([str(atoms.info.get("group", "")) for atoms in frames]),
        "units": json.dumps({"positions": "Å", "energies": "eV", "forces": "eV/Å", "stresses": "eV/Å^3"}),
        "provenance": json.dumps(provenance),
    }
    if with_stress == {True}:
        arrays["stresses"] = np.array([atoms.info["stress"] for atoms in frames], dtype=np.float32)
    with atomic_path(Path(path)) as partial, open(partial, "wb") as out:
        np.savez_compressed(out, **arrays)


def read_labels(
    path: str | os.PathLike, *, energy_unit: str = "eV", stress_unit: str = "eV/Å^3"
) -> tuple[list[Atoms], dict]:
    """Frames of a file of :func:`write_labels`, and what made them.

    Parameters
    ----------
    path : path
    energy_unit : "eV" or "Hartree"
        Of ``info["energy"]``; forces are in this unit per Å.
    stress_unit : "eV/Å^3" or "GPa"
        Of ``info["stress"]``.

    Returns
    -------
    frames : list of ase.Atoms
        As :class:`matterscape.models.training_sets.TrainingSet` wants them in the default units.
    provenance : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no file of labels, or a unit is unknown.
    """
    factors = {}
    for what, unit in (("energy", energy_unit), ("stress", stress_unit)):
        if unit not in UNITS[what]:
            raise ValueError(f"{what}_unit is {unit!r}; accepted are {', '.join(map(repr, UNITS[what]))}")
        factors[what] = UNITS[what][unit]
    with np.load(path, allow_pickle=False) as file:
        missing = {"counts", "numbers", "positions", "cells", "pbc", "energies", "forces", "provenance"} - set(file)
        if missing:
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; accepted are files of write_labels")
        kept = {name: file[name] for name in file}
    frames, ends = [], np.cumsum(kept["counts"])
    for number, (start, end) in enumerate(zip(ends - kept["counts"], ends)):
        atoms = Atoms(
            kept["numbers"][start:end],
            kept["positions"][start:end].astype(float),
            cell=kept["cells"][number],
            pbc=kept["pbc"][number],
        )
        atoms.info = {
            "energy": float(kept["energies"][number]) / factors["energy"],
            "group": str(kept["groups"][number]),
        }
        if "stresses" in kept:
            atoms.info["stress"] = kept["stresses"][number].astype(float) / factors["stress"]
        atoms.arrays["forces"] = kept["forces"][start:end].astype(float) / factors["energy"]
        frames.append(atoms)
    return frames, json.loads(str(kept["provenance"]))
