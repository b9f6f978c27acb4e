"""Molecular dynamics: integrators, thermostats, barostats, recorded observables, exact restarts."""

from matterscape.dynamics.integrators import Integrator, Langevin, Thermostat, VelocityVerlet
from matterscape.dynamics.records import Record
from matterscape.dynamics.simulation import Simulation
from matterscape.dynamics.state import ExplosionError, State

__all__ = [
    "ExplosionError",
    "Integrator",
    "Langevin",
    "Record",
    "Simulation",
    "State",
    "Thermostat",
    "VelocityVerlet",
]
