"""Restart files: everything that a run needs to go on bit for bit, in one ``.npz`` without pickled objects."""

import hashlib
import json
import os
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import matterscape
from matterscape.dynamics.integrators import Integrator, make_integrator
from matterscape.dynamics.state import State
from matterscape.potentials import Evaluator, Potential
from matterscape.structures import Structures

if TYPE_CHECKING:
    from matterscape.dynamics.simulation import Simulation

FORMAT = "matterscape restart 1"
_FIXED_ARRAYS = ("species", "structure_index", "pbc", "masses", "keys", "fixed_momenta")
_MOVING_ARRAYS = ("positions", "velocities", "cells", "kinetic")


def fingerprint(potential: Any) -> str:
    """Hash of a potential's class and of everything public that it holds: numbers, text, arrays, other potentials."""
    digest = hashlib.sha256()
    _feed(digest, potential)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    digest.update(type(value).__qualname__.encode())
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif value is None or isinstance(value, str | bytes | bool | int | float | complex | np.generic):
        digest.update(repr(value).encode())
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            digest.update(repr(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, set | frozenset):
        _feed(digest, sorted(value, key=repr))
    elif isinstance(value, list | tuple):
        for item in value:
            _feed(digest, item)
    else:
        if isinstance(value, torch.nn.Module):
            _feed(digest, dict(value.state_dict()))
        slots = {key: item for key, item in getattr(value, "__dict__", {}).items() if not key.startswith("_")}
        kept = (Potential, torch.nn.Module)  # callable, but not without parameters
        _feed(digest, {key: item for key, item in slots.items() if not callable(item) or isinstance(item, kept)})


def provenance(potential: Potential) -> dict[str, Any]:
    """Which potential and which versions made a file."""
    return {
        "potential": f"{type(potential).__name__}: {potential}",
        "fingerprint": fingerprint(potential),
        "versions": {"matterscape": matterscape.__version__, **{name: version(name) for name in ("numpy", "numba")}},
    }


def write_npz(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Write arrays and metadata (as JSON text, under ``metadata``) so that the file appears at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, metadata=np.array(json.dumps(metadata)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def pack(simulation: "Simulation") -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and plain data that describe a simulation at this step completely, but for its potential and records."""
    state = simulation.state
    simulation.integrator.follow_changes(state)
    arrays = {name: getattr(state, name) for name in (*_FIXED_ARRAYS, *_MOVING_ARRAYS)}
    arrays["energies"], arrays["forces"] = state.evaluator.energies, state.forces
    arrays["bound.positions"], arrays["bound.cells"] = state.bound_at
    for index, (positions, cells) in enumerate(state.evaluator.lists.state()):
        arrays[f"list{index}.positions"], arrays[f"list{index}.cells"] = positions, cells
    for name, array in simulation.integrator.arrays().items():
        arrays[f"bath.{name}"] = array
    if simulation.charges is not None:
        arrays["charges"] = simulation.charges
    metadata = {
        "format": FORMAT,
        **simulation.progress_made(),
        "integrator": simulation.integrator.description(),
        "limits": {name: getattr(state, name) for name in ("skin", "max_displacement", "max_temperature_K")},
        "step": state.step,
        "n_rebuilds": state.n_rebuilds,
    }
    return arrays, metadata


def unpack(
    kind: type["Simulation"],
    arrays: dict[str, np.ndarray],
    metadata: dict[str, Any],
    potential: Potential,
    integrator: Integrator,
    folder: str | PathLike | None = None,
) -> "Simulation":
    """The simulation that :func:`pack` described."""
    fixed = (arrays[name] for name in ("masses", "keys", "fixed_momenta"))
    state = State(_structures(arrays, "positions", "cells"), arrays["velocities"], *fixed, **metadata["limits"])
    evaluator = Evaluator(potential, _structures(arrays, "bound.positions", "bound.cells"), skin=state.skin)
    state.adopt(potential, evaluator, (arrays["bound.positions"], arrays["bound.cells"]))
    integrator.attach(state)
    simulation = kind.__new__(kind)
    simulation._begin(state, integrator, metadata["timestep_fs"], arrays.get("charges"), folder)
    restore(simulation, arrays, metadata)
    return simulation


def restore(simulation: "Simulation", arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    """Bring a simulation with the same potential to the point that :func:`pack` described."""
    state = simulation.state
    for name in _MOVING_ARRAYS:
        np.copyto(getattr(state, name), arrays[name])
    n_lists = sum(name.startswith("list") and name.endswith(".cells") for name in arrays)
    state.evaluator.lists.restore([(arrays[f"list{k}.positions"], arrays[f"list{k}.cells"]) for k in range(n_lists)])
    state.count_rebuilds_from(metadata["n_rebuilds"])
    state.evaluate()
    np.copyto(state.evaluator.energies, arrays["energies"])
    np.copyto(state.forces, arrays["forces"])
    state.step = metadata["step"]
    for name, array in simulation.integrator.arrays().items():
        np.copyto(array, arrays[f"bath.{name}"])
    simulation.take_up(metadata)


def save(simulation: "Simulation", path: Path) -> None:
    """Write the restart file of a simulation; see :meth:`~matterscape.dynamics.Simulation.save`."""
    arrays, metadata = pack(simulation)
    write_npz(path, arrays, {**metadata, **provenance(simulation.potential)})


def load(
    kind: type["Simulation"],
    path: Path,
    potential: Potential,
    *,
    integrator: Integrator | None,
    folder: str | PathLike | None,
) -> "Simulation":
    """Make a simulation from its restart file; see :meth:`~matterscape.dynamics.Simulation.restart`."""
    arrays, metadata = _read(path)
    if metadata["fingerprint"] != fingerprint(potential):
        raise ValueError(
            f"potential is {type(potential).__name__}: {potential}, but {path} was written with another one or with "
            f"other parameters ({metadata['potential']})"
        )
    described = metadata["integrator"]
    if integrator is None:
        integrator = make_integrator(described)
    elif type(integrator).__name__ != described["type"]:
        raise ValueError(f"integrator is a {type(integrator).__name__}; {path} was written by a {described['type']}")
    return unpack(kind, arrays, metadata, potential, integrator, folder)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        metadata = json.loads(str(arrays.pop("metadata")))
    except (KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"path {path} is no restart file ({error})") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"path {path} is no restart file: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    return arrays, metadata


def _structures(arrays: dict[str, np.ndarray], positions: str, cells: str) -> Structures:
    names = (positions, "species", "structure_index", cells, "pbc")
    return Structures(*(torch.from_numpy(arrays[name]) for name in names))
