"""Global thermostats: stochastic velocity rescaling and Nosé-Hoover chains."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units

from matterscape.checks import check_whole
from matterscape.dynamics import _kernels
from matterscape.dynamics._random import RESCALING
from matterscape.dynamics.integrators import Thermostat, checked_number, verlet_step
from matterscape.dynamics.state import State


class _GlobalThermostat(Thermostat):
    """A thermostat that multiplies all velocities of a structure by one factor."""

    def __init__(self, temperature_K: float | Sequence[float], time_constant_ps: float):
        super().__init__(temperature_K)
        self.time_constant_ps = time_constant_ps

    @property
    def time_constant_ps(self) -> float:
        """Time in ps in which the bath takes hold; may be changed while running."""
        return self._time_constant

    @time_constant_ps.setter
    def time_constant_ps(self, value: float) -> None:
        self._time_constant = checked_number("time_constant_ps", value, inclusive=False)

    def attach(self, state: State) -> None:
        """Get ready for a simulation."""
        super().attach(state)
        self._factors = np.ones(state.n_structures)

    def parameters(self) -> dict[str, Any]:
        """Temperature and time constant."""
        return {"temperature_K": self._temperature.tolist(), "time_constant_ps": self._time_constant}


class StochasticVelocityRescaling(_GlobalThermostat):
    """Velocity Verlet and stochastic velocity rescaling, for the canonical ensemble.

    The kinetic energy of each structure follows the exact solution of its stochastic equation, directions stay: rapid
    to equilibrate, and gentle on the dynamics. The conserved energy is the total one minus the heat from the bath.
    G. Bussi, D. Donadio, M. Parrinello, J. Chem. Phys. 126, 014101 (2007).

    Parameters
    ----------
    temperature_K : float or sequence of float
        One for all structures, or one for each.
    time_constant_ps : float
        Time in ps after which a deviation of the kinetic energy has shrunk to 1/e.
    """

    def __init__(self, temperature_K: float | Sequence[float], *, time_constant_ps: float = 0.1):
        super().__init__(temperature_K, time_constant_ps)

    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep``."""
        verlet_step(state, timestep, pieces)
        _kernels.stochastic_factors(
            state.kinetic,
            state.degrees_of_freedom,
            self.thermal_energies(),
            math.exp(-timestep / (self._time_constant * 1000.0 * units.fs)),
            np.uint64(state.step),
            RESCALING,
            state.keys,
            self.heat,
            self._factors,
        )
        _kernels.rescale(state.velocities, state.offsets, self._factors)


class NoseHooverChain(_GlobalThermostat):
    """Velocity Verlet with a chain of Nosé-Hoover thermostats, deterministic, for the canonical ensemble.

    G. J. Martyna, M. L. Klein, M. Tuckerman, J. Chem. Phys. 97, 2635 (1992); reversible integration as in G. J.
    Martyna, M. E. Tuckerman, D. J. Tobias, M. L. Klein, Mol. Phys. 87, 1117 (1996), with a fourth-order Suzuki-Yoshida
    splitting of each half step.

    Parameters
    ----------
    temperature_K : float or sequence of float
        Positive; one for all structures, or one for each.
    time_constant_ps : float
        tau in the thermostat masses g k_B T tau^2 (first) and k_B T tau^2 (others).
    chain_length : int
        Number of thermostats, at least 2 unless the plain Nosé-Hoover equations are wanted.
    """

    lowest_temperature_K = 1e-6

    def __init__(self, temperature_K: float | Sequence[float], *, time_constant_ps: float = 0.1, chain_length: int = 3):
        super().__init__(temperature_K, time_constant_ps)
        check_whole("chain_length", chain_length, 1)
        self.chain_length = int(chain_length)

    def attach(self, state: State) -> None:
        """Get ready for a simulation, with the thermostats at rest."""
        super().attach(state)
        self.chains = np.zeros((state.n_structures, 2, self.chain_length))
        self._coupling = self._present_coupling()

    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep``."""
        self.follow_changes(state)
        self._move_chains(state, 0.5 * timestep)
        verlet_step(state, timestep, pieces)
        self._move_chains(state, 0.5 * timestep)

    def _move_chains(self, state: State, time: float) -> None:
        thermal, time_constant = self._coupling
        _kernels.chain_factors(
            self.chains, state.kinetic, state.degrees_of_freedom, thermal, time_constant, time, self._factors
        )
        _kernels.rescale(state.velocities, state.offsets, self._factors)

    def _present_coupling(self) -> tuple[np.ndarray, float]:
        return self.thermal_energies(), self._time_constant * 1000.0 * units.fs

    def follow_changes(self, state: State) -> None:
        """Take over a changed temperature or time constant, and book what that does to the energy of the chains."""
        present = self._present_coupling()
        if present[1] != self._coupling[1] or not np.array_equal(present[0], self._coupling[0]):
            before = self._chain_energy(state)
            self._coupling = present
            self.heat += self._chain_energy(state) - before

    def _chain_energy(self, state: State) -> np.ndarray:
        thermal, time_constant = self._coupling
        freedoms = np.ones((state.n_structures, self.chain_length))
        freedoms[:, 0] = state.degrees_of_freedom
        places, speeds = self.chains[:, 0], self.chains[:, 1]
        return thermal * (freedoms * (places + 0.5 * (time_constant * speeds) ** 2)).sum(axis=1)

    def bath_energy(self, state: State) -> np.ndarray:
        """Energy of the chains, (B,) in eV."""
        return self._chain_energy(state) - self.heat

    def arrays(self) -> dict[str, np.ndarray]:
        """Chains (B, 2, M): positions and velocities of the thermostats."""
        return {**super().arrays(), "chains": self.chains}

    def parameters(self) -> dict[str, Any]:
        """Temperature, time constant and length of the chain."""
        return {**super().parameters(), "chain_length": self.chain_length}
