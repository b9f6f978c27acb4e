"""What can be read from a simulation, and recorded by name, at any step."""

from typing import ClassVar

import numpy as np
from ase import units

from matterscape.dynamics import _kernels
from matterscape.dynamics.integrators import Integrator
from matterscape.dynamics.state import State

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class Observables:
    """Energies, temperature, pressure and fluxes of the present step.

    Every property named in :attr:`units` can be recorded by its name. Arrays of atoms are the engine's own: copy them
    to keep them. ASE units, unless the name says otherwise.

    Attributes
    ----------
    units : dict of str to str
        Unit of each observable.
    """

    units: ClassVar[dict[str, str]] = {
        "time_ps": "ps",
        "temperature_K": "K",
        "potential_energy": "eV",
        "kinetic_energy": "eV",
        "total_energy": "eV",
        "conserved_energy": "eV",
        "pressure_GPa": "GPa",
        "stress_GPa": "GPa",
        "volume": "Å^3",
        "cells": "Å",
        "positions": "Å",
        "velocities": "Å / ASE time",
        "forces": "eV/Å",
        "energies": "eV",
        "member_energies": "eV",
        "heat_flux": "eV Å / ASE time",
        "species_flux": "Å / ASE time",
        "charge_flux": "e Å / ASE time",
    }
    #: Observables that need the flux tensors, which cost extra and are computed on the steps that record them only.
    needing_pieces: ClassVar[frozenset[str]] = frozenset({"pressure_GPa", "stress_GPa", "heat_flux"})

    state: State
    integrator: Integrator
    charges: np.ndarray | None

    @property
    def step(self) -> int:
        """Number of steps made."""
        return self.state.step

    @property
    def temperature_K(self) -> np.ndarray:
        """Temperature of each structure (B,) in K."""
        return self.state.temperature_K

    @property
    def potential_energy(self) -> np.ndarray:
        """Potential energy of each structure (B,) in eV."""
        return self.state.potential_energy

    @property
    def kinetic_energy(self) -> np.ndarray:
        """Kinetic energy of each structure (B,) in eV."""
        return self.state.kinetic.copy()

    @property
    def total_energy(self) -> np.ndarray:
        """Kinetic plus potential energy of each structure (B,) in eV."""
        return self.state.kinetic + self.potential_energy

    @property
    def conserved_energy(self) -> np.ndarray:
        """Energy of each structure with its bath (B,) in eV, which an exact integration would keep."""
        return self.total_energy + self.integrator.bath_energy(self.state)

    @property
    def stress_GPa(self) -> np.ndarray:
        """Stress (B, 6) in GPa, ASE's Voigt order, positive under tension, kinetic part included."""
        tensors = -self.state.pressure_times_volume() / self._volume_or_error("stress_GPa")[:, None, None]
        symmetric = 0.5 * (tensors + tensors.transpose(0, 2, 1))
        return np.stack([symmetric[:, a, b] for a, b in _VOIGT], axis=1) / units.GPa

    @property
    def pressure_GPa(self) -> np.ndarray:
        """Pressure (B,) in GPa, kinetic part included."""
        traces = np.trace(self.state.pressure_times_volume(), axis1=1, axis2=2)
        return traces / (3.0 * self._volume_or_error("pressure_GPa") * units.GPa)

    @property
    def volume(self) -> np.ndarray:
        """Volume of each cell (B,) in Å^3."""
        return self.state.volume

    @property
    def cells(self) -> np.ndarray:
        """Cell vectors as rows (B, 3, 3) in Å."""
        return self.state.cells

    @property
    def positions(self) -> np.ndarray:
        """Positions (N, 3) in Å, never wrapped into the cells."""
        return self.state.positions

    @property
    def velocities(self) -> np.ndarray:
        """Velocities (N, 3) in Å / ASE time."""
        return self.state.velocities

    @property
    def masses(self) -> np.ndarray:
        """Masses (N,) in amu."""
        return self.state.masses

    @property
    def forces(self) -> np.ndarray:
        """Forces (N, 3) in eV/Å."""
        return self.state.forces

    @property
    def energies(self) -> np.ndarray:
        """Potential energy of each atom (N,) in eV."""
        return self.state.evaluator.energies

    @property
    def member_energies(self) -> np.ndarray:
        """Potential energy of each structure by each member of an ensemble potential (B, n_members) in eV.

        Raises
        ------
        ValueError
            If the potential has no members.
        """
        members = getattr(self.state.evaluator.bound, "member_energies", None)
        if members is None:
            raise ValueError(
                f"potential is {self.state.potential}, which has no members; member_energies needs an EnsemblePotential"
            )
        return members

    @property
    def flux_tensors(self) -> np.ndarray:
        """Flux tensors (N, 3, 3) in eV, whose sums are the virials; evaluated now if the step came without them."""
        self.state.require_pieces()
        return self.state.evaluator.flux_tensors

    @property
    def heat_flux(self) -> np.ndarray:
        """Heat flux J = sum e_i v_i + W_i v_i of each structure (B, 3) in eV Å / ASE time, extensive.

        e_i is the potential plus the kinetic energy of an atom, W_i its flux tensor.
        """
        state, out = self.state, np.empty((self.state.n_structures, 3))
        _kernels.heat_fluxes(state.velocities, state.masses, self.energies, self.flux_tensors, state.offsets, out)
        return out

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending: the order of :attr:`species_flux`."""
        return tuple(np.unique(self.state.species).tolist())

    @property
    def species_flux(self) -> np.ndarray:
        """Sum of the velocities of each species in each structure (B, S, 3) in Å / ASE time."""
        return np.stack([self._summed((self.state.species == number).astype(float)) for number in self.species], axis=1)

    @property
    def charge_flux(self) -> np.ndarray:
        """Charge flux sum q_i v_i of each structure (B, 3) in e Å / ASE time.

        Raises
        ------
        ValueError
            If the simulation was given no charges.
        """
        if self.charges is None:
            raise ValueError("charges is None; charge_flux needs the charges (N,) of the atoms")
        return self._summed(self.charges)

    def _summed(self, weights: np.ndarray) -> np.ndarray:
        return np.add.reduceat(weights[:, None] * self.state.velocities, self.state.offsets[:-1], axis=0)

    def _volume_or_error(self, name: str) -> np.ndarray:
        volume = self.state.volume
        if not volume.all():
            raise ValueError(f"structure {int(np.argmin(volume))} has no cell, so its {name} is not defined")
        return volume
