"""Stochastic cell rescaling: constant pressure by random, pressure-driven strains of the cell.

A strain S (symmetric) takes cell vectors and positions (rows) to h exp(S) and r exp(S), and velocities to v exp(-S),
which keeps the volume of phase space. The measure is d^9h / V^2, which gives the volume the isothermal-isobaric weight
exp(-P V / kT). The volume moves through lambda = sqrt(V), whose noise does not depend on it (M. Bernetti, G. Bussi,
J. Chem. Phys. 153, 114107 (2020)),

    d lambda = (beta lambda / (2 tau)) [tr P_int / 3 - P + (1/2 + f/3) kT / V] dt + sqrt(kT beta / (2 tau)) dW,

and the shape through the traceless part of S, along each allowed direction E with E:E = 1 (V. Del Tatto, P. Raiteri,
M. Bernetti, G. Bussi, Appl. Sci. 12, 1139 (2022), here without rotations of the cell),

    d(S:E) = (beta / (3 tau)) P_int : E dt + sqrt(2 kT beta / (3 V tau)) dW.

P_int is the internal pressure tensor from the present velocities, and f the number of components of the total momentum
that are kept at zero, whose share of the pressure, f kT / (3 V), is missing in P_int. A finite move takes V in the last
term as the geometric mean of before and after: its noise is then the same forth and back.
"""

from typing import Any

import numpy as np
from ase import units

from matterscape.checks import check_whole
from matterscape.dynamics import _kernels
from matterscape.dynamics._random import CELL, fill_normals
from matterscape.dynamics.integrators import Integrator, Thermostat, checked_number, make_integrator
from matterscape.dynamics.state import State

_SHEARS = [(np.outer(a, b) + np.outer(b, a)) / np.sqrt(2.0) for a, b in zip(np.eye(3), np.roll(np.eye(3), 1, axis=0))]
_STRETCHES = [np.diag([1.0, -1.0, 0.0]) / np.sqrt(2.0), np.diag([1.0, 1.0, -2.0]) / np.sqrt(6.0)]
# changes of shape that a coupling allows, orthonormal and traceless, (n, 3, 3)
_SHAPES = {
    "isotropic": np.zeros((0, 3, 3)),
    "orthorhombic": np.array(_STRETCHES),
    "anisotropic": np.array(_STRETCHES + _SHEARS),
}
_LARGEST_STRAIN = 0.5


class StochasticCellRescaling(Integrator):
    """A thermostat with a stochastic barostat, for the isothermal-isobaric ensemble.

    Every ``stride`` steps the cell and everything in it is strained, between two evaluations of the forces; the steps
    between are the thermostat's. The conserved energy is the enthalpy minus the heat from the thermostat and minus what
    the moves of the cell gained beyond detailed balance, so its drift measures the error of both (effective energy of
    Bernetti and Bussi).

    Parameters
    ----------
    thermostat : Thermostat
        Langevin, StochasticVelocityRescaling or NoseHooverChain; its temperature drives the barostat too.
    pressure_GPa : float
        Target pressure.
    compressibility_per_GPa : float
        Estimate of the isothermal compressibility (water 0.45, silicon 0.01). Only its ratio to the time constant
        matters, for how fast the cell follows, not for what is sampled.
    time_constant_ps : float
        Time in ps in which the volume relaxes if the compressibility is right.
    coupling : str
        "isotropic": the shape of the cell stays; "orthorhombic": each Cartesian axis on its own, right angles stay;
        "anisotropic": all six strains, for crystals under hydrostatic pressure.
    stride : int
        Steps between moves of the cell; each costs one more evaluation of the forces.

    Raises
    ------
    ValueError
        When a simulation begins, if a structure is not periodic in all directions.
    """

    def __init__(
        self,
        thermostat: Thermostat,
        *,
        pressure_GPa: float,
        compressibility_per_GPa: float,
        time_constant_ps: float = 1.0,
        coupling: str = "isotropic",
        stride: int = 10,
    ):
        super().__init__()
        if isinstance(thermostat, dict):  # from a restart file
            thermostat = make_integrator(thermostat)
        if not isinstance(thermostat, Thermostat):
            raise TypeError(
                f"thermostat is a {type(thermostat).__name__}; accepted is a Thermostat, e.g. Langevin(300.0)"
            )
        if coupling not in _SHAPES:
            raise ValueError(f"coupling is {coupling!r}; accepted are {', '.join(_SHAPES)}")
        check_whole("stride", stride, 1, "number of steps")
        self.thermostat = thermostat
        self.conserves_momentum = thermostat.conserves_momentum
        self.pressure_GPa = pressure_GPa
        self._compressibility = checked_number("compressibility_per_GPa", compressibility_per_GPa, inclusive=False)
        self._time_constant = checked_number("time_constant_ps", time_constant_ps, inclusive=False)
        self.coupling, self.stride = coupling, int(stride)

    @property
    def temperature_K(self) -> float | np.ndarray:
        """The thermostat's temperature."""
        return self.thermostat.temperature_K

    @temperature_K.setter
    def temperature_K(self, value: float) -> None:
        self.thermostat.temperature_K = value

    @property
    def pressure_GPa(self) -> float:
        """Target pressure; may be changed while running."""
        return self._pressure

    @pressure_GPa.setter
    def pressure_GPa(self, value: float) -> None:
        self._pressure = checked_number("pressure_GPa", value, lowest=-np.inf)

    def attach(self, state: State) -> None:
        """Get ready for a simulation."""
        if not state.pbc.all():
            structure = int(np.argmin(state.pbc.all(axis=1)))
            raise ValueError(
                f"structure {structure} is not periodic in all directions, so it has no pressure to control"
            )
        super().attach(state)
        self.thermostat.attach(state)
        self._applied_pressure = self._pressure

    def pieces_at(self, step: int) -> bool:
        """Before each move of the cell."""
        return step % self.stride == 0

    def follow_changes(self, state: State) -> None:
        """Take over a changed pressure, and book the change of P V."""
        self.thermostat.follow_changes(state)
        if self._pressure != self._applied_pressure:
            self.heat += (self._pressure - self._applied_pressure) * units.GPa * state.volume
            self._applied_pressure = self._pressure

    def step(self, state: State, timestep: float, pieces: bool) -> None:
        """Advance by ``timestep``, after a move of the cell if it is time for one."""
        self.follow_changes(state)
        if state.step % self.stride == 0:
            self._move_cell(state, self.stride * timestep)
        self.thermostat.step(state, timestep, pieces)

    def _move_cell(self, state: State, time: float) -> None:
        """Strain the cells, and book as heat what a reversible move would not have changed."""
        shapes = _SHAPES[self.coupling]
        thermal = self.thermostat.thermal_energies()
        time_constant = self._time_constant * 1000.0 * units.fs
        speed = self._compressibility / units.GPa / time_constant * time  # beta dt / tau
        normals = np.empty((2 * state.n_structures, 3))
        fill_normals(np.uint64(state.step), CELL, state.keys, 2 * np.arange(state.n_structures + 1), normals)
        noise = normals.reshape(-1, 6)

        size = np.sqrt(state.volume)
        size_mean, shape_mean = self._means(state, size, thermal, speed)
        new_size = size + size_mean + np.sqrt(0.5 * thermal * speed) * noise[:, 0]
        self._refuse_large(np.log(np.maximum(new_size / size, 1e-300)))
        product = size * new_size
        width = np.sqrt(2.0 / 3.0 * thermal * speed / product)
        shape = shape_mean + width[:, None] * noise[:, 1 : 1 + len(shapes)]
        growth = 2.0 * np.log(new_size / size)  # of the volume's logarithm
        strains = np.einsum("bs,sij->bij", shape, shapes) + growth[:, None, None] / 3.0 * np.eye(3)
        self._refuse_large(np.abs(strains).max(axis=(1, 2)))
        stretches, axes = np.linalg.eigh(strains)
        deformations, inverses = (
            np.ascontiguousarray((axes * np.exp(sign * stretches)[:, None, :]) @ axes.transpose(0, 2, 1))
            for sign in (1.0, -1.0)
        )
        _kernels.strain(state.positions, state.velocities, state.offsets, deformations, inverses)
        state.cells[:] = state.cells @ deformations
        state.measure()
        state.evaluate(pieces=True)

        # kT ln of (weight after x probability of the move back) / (weight before x probability of the move forth),
        # less the enthalpy's part; in lambda and shapes the weight is V^(1/2 + f/3) exp(-(H + P V) / kT)
        size_back, shape_back = self._means(state, new_size, thermal, speed)
        change = new_size - size
        self.heat += (
            thermal * (0.5 + state.fixed_momenta / 3.0) * growth
            + (np.square(change - size_mean) - np.square(change + size_back)) / speed
            + 0.75 * product * (np.square(shape - shape_mean) - np.square(shape + shape_back)).sum(axis=1) / speed
        )

    def _means(
        self, state: State, size: np.ndarray, thermal: np.ndarray, speed: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means of the changes of lambda (B,) and of the shape (B, n)."""
        volume = size**2
        tensors = state.pressure_times_volume() / volume[:, None, None]
        excess = np.trace(tensors, axis1=1, axis2=2) / 3.0 - self._applied_pressure * units.GPa
        excess += (0.5 + state.fixed_momenta / 3.0) * thermal / volume
        return 0.5 * speed * size * excess, speed / 3.0 * np.einsum("bij,sij->bs", tensors, _SHAPES[self.coupling])

    def _refuse_large(self, strains: np.ndarray) -> None:
        bad = ~(np.abs(strains) <= _LARGEST_STRAIN)
        if bad.any():
            raise ValueError(
                f"the cell of structure {int(np.argmax(bad))} would be strained by more than {_LARGEST_STRAIN:g} at "
                "once; use a larger time_constant_ps or a smaller compressibility_per_GPa"
            )

    def bath_energy(self, state: State) -> np.ndarray:
        """P V plus the thermostat's part, less the heat booked by the moves of the cell, (B,) in eV."""
        work = self._applied_pressure * units.GPa * state.volume
        return work + self.thermostat.bath_energy(state) - self.heat

    def arrays(self) -> dict[str, np.ndarray]:
        """The thermostat's variables too."""
        own = {f"thermostat.{name}": array for name, array in self.thermostat.arrays().items()}
        return {**super().arrays(), **own}

    def parameters(self) -> dict[str, Any]:
        """Thermostat, pressure, compressibility, time constant, coupling and stride."""
        return {
            "thermostat": self.thermostat.description(),
            "pressure_GPa": self._pressure,
            "compressibility_per_GPa": self._compressibility,
            "time_constant_ps": self._time_constant,
            "coupling": self.coupling,
            "stride": self.stride,
        }
