"""Molecular dynamics: integrators, thermostats, barostats, recorded observables, exact restarts."""

from matterscape.dynamics.barostats import StochasticCellRescaling
from matterscape.dynamics.integrators import Integrator, Langevin, Thermostat, VelocityVerlet
from matterscape.dynamics.many import run_many
from matterscape.dynamics.quenching import (
    MeltQuench,
    amorphous_silica,
    amorphous_silicon,
    amorphous_silicon_carbide,
    melt_quench,
)
from matterscape.dynamics.records import Record
from matterscape.dynamics.relaxation import Relaxation, relax
from matterscape.dynamics.resumable import run_in_folder, runs_folder
from matterscape.dynamics.simulation import Simulation
from matterscape.dynamics.state import ExplosionError, State
from matterscape.dynamics.thermostats import NoseHooverChain, StochasticVelocityRescaling

__all__ = [
    "ExplosionError",
    "Integrator",
    "Langevin",
    "MeltQuench",
    "NoseHooverChain",
    "Record",
    "Relaxation",
    "Simulation",
    "State",
    "StochasticCellRescaling",
    "StochasticVelocityRescaling",
    "Thermostat",
    "VelocityVerlet",
    "amorphous_silica",
    "amorphous_silicon",
    "amorphous_silicon_carbide",
    "melt_quench",
    "relax",
    "run_in_folder",
    "run_many",
    "runs_folder",
]
