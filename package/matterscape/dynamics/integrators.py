"""Integrators without a collective bath: velocity Verlet and Langevin dynamics; what all integrators share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units

from matterscape.checks import is_number, real_array
from matterscape.dynamics import _kernels
from matterscape.dynamics.state import State


class Integrator(ABC):
    """One way of making a step. An integrator serves one simulation and keeps that simulation's bath variables.

    Attributes
    ----------
    conserves_momentum : bool
        Whether the total momentum of a free system stays what it is, and hence takes no part in the temperature.
    """

    conserves_momentum = True

    def __init__(self) -> None:
        self.heat = np.zeros(0)

    def attach(self, state: State) -> None:
        """Get ready for a simulation.

        Raises
        ------
        ValueError
            If the integrator serves another simulation already, or its parameters do not fit the structures.
        """
        if len(self.heat):
            raise ValueError(f"integrator {type(self).__name__} serves another simulation already; make a new one")
        self.heat = np.zeros(state.n_structures)

    @abstractmethod
    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep`` (ASE time); with the flux tensors of the new positions if ``pieces``."""

    def follow_changes(self, state: State) -> None:
        """Take over parameters that were changed since the last step, and book what that does to the energy."""
        return None

    def pieces_at(self, step: int) -> bool:
        """Whether the integrator itself needs the flux tensors that belong to this step."""
        return False

    def bath_energy(self, state: State) -> np.ndarray:
        """What has to be added to the energy of each structure to get the conserved quantity, (B,) in eV."""
        return -self.heat

    def arrays(self) -> dict[str, np.ndarray]:
        """The live variables of the bath, by name."""
        return {"heat": self.heat}

    def description(self) -> dict[str, Any]:
        """Class and parameters, for restart files."""
        return {"type": type(self).__name__, "parameters": self.parameters()}

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Keyword arguments that make this integrator again, of plain numbers, strings, lists and dictionaries."""


class VelocityVerlet(Integrator):
    """Velocity Verlet at constant energy: half a kick, a drift, half a kick.

    Time-reversible, symplectic, second order in the time step.
    W. C. Swope, H. C. Andersen, P. H. Berens, K. R. Wilson, J. Chem. Phys. 76, 637 (1982).
    """

    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep``."""
        verlet_step(state, timestep, pieces)

    def parameters(self) -> dict[str, Any]:
        """No parameters."""
        return {}


def verlet_step(state: State, timestep: float, pieces: bool) -> None:
    """Half a kick, a drift, new forces, half a kick; the kinetic energies are up to date afterwards."""
    atom = _kernels.kick_and_drift(
        state.positions,
        state.velocities,
        state.forces,
        state.inverse_masses,
        0.5 * timestep,
        timestep,
        state.max_displacement,
    )
    if atom >= 0:
        state.refuse_move(atom)
    state.evaluate(pieces)
    _kernels.kick_and_measure(
        state.velocities, state.forces, state.masses, state.offsets, 0.5 * timestep, state.kinetic
    )


class Thermostat(Integrator):
    """An integrator with a temperature, which may be changed at any time, also from another thread.

    Parameters
    ----------
    temperature_K : float or sequence of float
        One for all structures, or one for each.
    """

    lowest_temperature_K = 0.0

    def __init__(self, temperature_K: float | Sequence[float]):
        super().__init__()
        self.temperature_K = temperature_K

    @property
    def temperature_K(self) -> float | np.ndarray:
        """Target temperature, one number or one for each structure."""
        return self._temperature if self._temperature.ndim else float(self._temperature)

    @temperature_K.setter
    def temperature_K(self, value: float | Sequence[float]) -> None:
        temperature = real_array("temperature_K", value)
        lowest = self.lowest_temperature_K
        if temperature.ndim > 1 or not np.all(np.isfinite(temperature)) or np.any(temperature < lowest):
            accepted = f"one finite number >= {lowest:g}, or one for each structure"
            raise ValueError(f"temperature_K is {value!r}; accepted is {accepted}")
        if len(self.heat):
            _check_length("temperature_K", temperature, len(self.heat))
        self._temperature = temperature

    def attach(self, state: State) -> None:
        """Get ready for a simulation."""
        _check_length("temperature_K", self._temperature, state.n_structures)
        super().attach(state)

    def thermal_energies(self) -> np.ndarray:
        """k_B T of each structure, (B,) in eV."""
        return np.multiply(units.kB, self._temperature) + np.zeros(len(self.heat))


class Langevin(Thermostat):
    """Langevin dynamics in the BAOAB splitting, for the canonical ensemble.

    Half a kick, half a drift, friction and noise exactly, half a drift, half a kick: the positions of a harmonic
    oscillator are sampled without any error of the time step. B. Leimkuhler, C. Matthews, Appl. Math. Res. Express
    2013, 34 (2013); J. Chem. Phys. 138, 174102 (2013).

    Parameters
    ----------
    temperature_K : float or sequence of float
        One for all structures, or one for each; zero cools.
    friction_per_ps : float
        Rate at which velocities are forgotten.
    """

    conserves_momentum = False

    def __init__(self, temperature_K: float | Sequence[float], *, friction_per_ps: float = 1.0):
        super().__init__(temperature_K)
        self.friction_per_ps = friction_per_ps

    @property
    def friction_per_ps(self) -> float:
        """Friction in 1/ps; may be changed while running."""
        return self._friction

    @friction_per_ps.setter
    def friction_per_ps(self, value: float) -> None:
        self._friction = checked_number("friction_per_ps", value, lowest=0.0)

    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep``."""
        atom = _kernels.langevin_kick_and_drift(
            state.positions,
            state.velocities,
            state.forces,
            state.masses,
            state.offsets,
            state.keys,
            np.uint64(state.step),
            0.5 * timestep,
            timestep,
            math.exp(-self._friction / (1000.0 * units.fs) * timestep),
            self.thermal_energies(),
            state.max_displacement,
            self.heat,
        )
        if atom >= 0:
            state.refuse_move(atom)
        state.evaluate(pieces)
        _kernels.kick_and_measure(
            state.velocities, state.forces, state.masses, state.offsets, 0.5 * timestep, state.kinetic
        )

    def parameters(self) -> dict[str, Any]:
        """Temperature and friction."""
        return {"temperature_K": self._temperature.tolist(), "friction_per_ps": self._friction}


def make_integrator(description: dict[str, Any]) -> Integrator:
    """The integrator that gave this :meth:`Integrator.description`, without its bath variables.

    Raises
    ------
    ValueError
        If it is none of matterscape's own integrators.
    """
    kinds = {kind.__name__: kind for kind in _subclasses(Integrator) if kind.__module__.startswith("matterscape.")}
    if description["type"] not in kinds:
        raise ValueError(f"integrator {description['type']} is none of matterscape's own; give a new one of that class")
    return kinds[description["type"]](**description["parameters"])


def _subclasses(kind: type) -> list[type]:
    return [found for child in kind.__subclasses__() for found in (child, *_subclasses(child))]


def checked_number(name: str, value: float, lowest: float = 0.0, *, inclusive: bool = True) -> float:
    """A finite number not below (or above, if not ``inclusive``) ``lowest``; ValueError otherwise."""
    if not is_number(value) or value < lowest or (value == lowest and not inclusive):
        raise ValueError(f"{name} is {value!r}; accepted is a finite number {'>=' if inclusive else '>'} {lowest:g}")
    return float(value)


def _check_length(name: str, values: np.ndarray, n_structures: int) -> None:
    if values.ndim and len(values) != n_structures:
        raise ValueError(f"{name} has {len(values)} values; accepted is one number, or one for each of {n_structures}")
