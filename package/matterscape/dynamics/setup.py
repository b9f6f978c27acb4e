"""From what a user gives to the arrays that a simulation starts with; all arguments are checked here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms

from matterscape.checks import check_whole, real_array
from matterscape.dynamics import velocities as thermal
from matterscape.dynamics._random import stream_keys
from matterscape.dynamics.integrators import Integrator
from matterscape.structures import Structures


@dataclass(frozen=True)
class Start:
    """Initial conditions: see :class:`~matterscape.dynamics.Simulation` for the meaning of each."""

    structures: Structures
    velocities: np.ndarray
    masses: np.ndarray
    charges: np.ndarray | None
    keys: np.ndarray
    fixed_momenta: np.ndarray


def prepare(
    structures: Atoms | Iterable[Atoms] | Structures,
    integrator: Integrator,
    *,
    seed: int | np.random.Generator,
    initial_temperature_K: float | Sequence[float] | None,
    velocities: np.ndarray | None,
    masses: np.ndarray | None,
    charges: np.ndarray | None,
    streams: Sequence[int] | None,
    remove_momentum: bool | None,
    remove_rotation: bool,
) -> Start:
    """Checked initial conditions; parameters as in :class:`~matterscape.dynamics.Simulation`."""
    if not isinstance(integrator, Integrator):
        raise TypeError(f"integrator is a {type(integrator).__name__}; accepted is an Integrator, e.g. Langevin(300.0)")
    if not isinstance(structures, Structures):
        structures = Structures.from_ase(structures)
    structures = structures.to(dtype=torch.float64, device="cpu")
    frames = structures.to_ase()
    _refuse_constraints(frames)
    n_atoms, n_structures = structures.n_atoms, structures.n_structures
    offsets = structures.offsets.numpy()
    if masses is None:
        masses = np.concatenate([atoms.get_masses() for atoms in frames])
    masses = _checked_array("masses", masses, (n_atoms,))
    if not np.all(masses > 0):
        raise ValueError(f"masses[{int(np.argmin(masses))}] is {masses.min():g}; accepted are positive masses in amu")
    if charges is None and any(atoms.has("initial_charges") for atoms in frames):
        charges = np.concatenate([atoms.get_initial_charges() for atoms in frames])
    if charges is not None:
        charges = _checked_array("charges", charges, (n_atoms,))
    keys = _checked_keys(seed, streams, n_structures)

    drawn = velocities is None
    if drawn:
        temperatures = initial_temperature_K
        if temperatures is None and any(atoms.has("momenta") for atoms in frames):
            velocities, drawn = np.concatenate([atoms.get_momenta() for atoms in frames]) / masses[:, None], False
        else:
            if temperatures is None:
                temperatures = getattr(integrator, "temperature_K", 0.0)
            temperatures = _checked_temperatures(temperatures, n_structures)
            velocities = thermal.maxwell_boltzmann(masses, offsets, temperatures, keys)
    elif initial_temperature_K is not None:
        raise ValueError("velocities and initial_temperature_K are both given; give one of them")
    velocities = _checked_array("velocities", velocities, (n_atoms, 3))
    fixed = _fix_momenta(structures, velocities, masses, integrator, drawn, remove_momentum, remove_rotation)
    return Start(structures, velocities, masses, charges, keys, fixed)


def _fix_momenta(
    structures: Structures,
    velocities: np.ndarray,
    masses: np.ndarray,
    integrator: Integrator,
    drawn: bool,
    momentum: bool | None,
    rotation: bool,
) -> np.ndarray:
    """Take momenta out of the velocities where that is wanted; how many components stay zero (B,)."""
    offsets = structures.offsets.numpy()
    fixed = np.zeros(structures.n_structures, dtype=np.int64)
    wanted = integrator.conserves_momentum if momentum is None else momentum
    if wanted:
        # velocities that a user gave stay as they are, unless their change was asked for
        fixed += thermal.remove_momentum(velocities if drawn or momentum else velocities.copy(), masses, offsets)
    if rotation:
        periodic = structures.pbc.any(dim=1)
        if bool(periodic.any()):
            raise ValueError(
                f"remove_rotation is True but structure {int(periodic.nonzero()[0])} is periodic; accepted are "
                "molecules"
            )
        fixed += thermal.remove_rotation(velocities, structures.positions.numpy(), masses, offsets)
    if not integrator.conserves_momentum:
        fixed[:] = 0
    empty = 3 * np.diff(offsets) <= fixed
    if empty.any():
        raise ValueError(
            f"remove_momentum leaves structure {int(np.argmax(empty))} no degree of freedom; "
            "set remove_momentum=False (and remove_rotation=False) for it"
        )
    return fixed


def whole_stride(every: int) -> int:
    """A number of steps, at least one."""
    check_whole("every", every, 1, "number of steps")
    return int(every)


def _refuse_constraints(frames: list[Atoms]) -> None:
    for index, atoms in enumerate(frames):
        if atoms.constraints:
            kinds = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
            raise ValueError(
                f"structure {index} carries constraints ({kinds}), which dynamics does not apply; "
                "remove them with atoms.set_constraint()"
            )


def _checked_array(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = real_array(name, values)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; accepted here is {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has entries that are no finite numbers")
    return array


def _checked_temperatures(values: float | Sequence[float], n_structures: int) -> np.ndarray:
    temperatures = real_array("initial_temperature_K", values)
    if temperatures.ndim > 1 or (temperatures.ndim and len(temperatures) != n_structures):
        raise ValueError(
            f"initial_temperature_K has shape {temperatures.shape}; accepted is one number, or one for each of "
            f"{n_structures} structures"
        )
    if not np.all(np.isfinite(temperatures) & (temperatures >= 0)):
        raise ValueError(f"initial_temperature_K is {values!r}; accepted are finite numbers >= 0")
    return temperatures + np.zeros(n_structures)


def _checked_keys(seed: int | np.random.Generator, streams: Sequence[int] | None, n_structures: int) -> np.ndarray:
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed is {seed!r}; accepted is a whole number >= 0 or a numpy.random.Generator")
    numbers = np.arange(n_structures) if streams is None else np.asarray(streams)
    if numbers.shape != (n_structures,) or numbers.dtype.kind not in "iu" or np.any(numbers < 0):
        raise ValueError(
            f"streams is {streams!r}; accepted is one whole number >= 0 for each of {n_structures} structures"
        )
    return stream_keys(int(seed), numbers)
