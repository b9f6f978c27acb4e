"""Trajectories against LAMMPS, step by step.

LAMMPS' metal units carry their own constants: mvv2e = 1.0364269e-4 and boltz = 8.617343e-5. Masses and temperatures are
scaled here so that both programs solve the same equations.
"""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from matterscape.benchmarks.lammps_peer import ANGSTROM_PER_PS, lammps_system, potential_file
from matterscape.dynamics import NoseHooverChain, Simulation, VelocityVerlet
from matterscape.potentials import Potential
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.stillinger_weber import StillingerWeber

pytestmark = pytest.mark.peers

MASS_SCALE = 1.0364269e-4 * ANGSTROM_PER_PS**2
TEMPERATURE_SCALE = 8.617343e-5 / units.kB
ARGON = LennardJones({("Ar", "Ar"): (0.0103, 3.4)}, cutoff=8.5)
SYSTEMS = {
    "argon": (
        bulk("Ar", cubic=True).repeat(4),
        ARGON,
        ["pair_style lj/cut 8.5", "pair_coeff * * 0.0103 3.4"],
        4.0,
    ),
    "silicon": (
        bulk("Si", cubic=True).repeat(3),
        StillingerWeber.silicon(),
        ["pair_style sw", f"pair_coeff * * {potential_file('Si.sw')} Si"],
        1.0,
    ),
}
each_system = pytest.mark.parametrize("name", SYSTEMS)


def start(atoms: Atoms, temperature_K: float) -> Atoms:
    """A warm, disordered copy without total momentum."""
    atoms = atoms.copy()
    generator = np.random.default_rng(0)
    atoms.rattle(0.05, rng=generator)
    velocities = generator.normal(scale=np.sqrt(units.kB * temperature_K / atoms.get_masses()[0]), size=(len(atoms), 3))
    atoms.set_velocities(velocities - velocities.mean(axis=0))
    return atoms


def run_lammps(atoms: Atoms, commands: list[str], timestep_fs: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Unwrapped positions and velocities in ASE units after so many steps."""
    lammps = lammps_system(
        atoms,
        [*commands, "neighbor 1.0 bin", "neigh_modify every 1 delay 0 check yes", f"timestep {timestep_fs / 1000}",
         "compute unwrapped all property/atom xu yu zu", "run 0", f"run {steps}"],
    )  # fmt: skip
    velocities = np.array(lammps.gather_atoms("v", 1, 3)).reshape(-1, 3) / ANGSTROM_PER_PS
    positions = np.array(lammps.gather("c_unwrapped", 1, 3)).reshape(-1, 3)
    lammps.close()
    return positions, velocities


def run_own(atoms: Atoms, potential: Potential, integrator, timestep_fs: float, steps: int) -> Simulation:
    simulation = Simulation(
        atoms, potential, integrator=integrator, timestep_fs=timestep_fs, masses=atoms.get_masses() * MASS_SCALE,
        velocities=atoms.get_velocities(),
    )  # fmt: skip
    simulation.run(steps)
    return simulation


def differences(atoms: Atoms, simulation: Simulation, peer: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Largest differences of positions (up to cell vectors) and velocities, over the largest displacement and speed."""
    moved = simulation.positions - atoms.positions
    apart = simulation.positions - peer[0]
    apart -= np.round(apart / atoms.cell.lengths()) * atoms.cell.lengths()
    speeds = simulation.velocities
    return np.abs(apart).max() / np.abs(moved).max(), np.abs(speeds - peer[1]).max() / np.abs(speeds).max()


@each_system
def test_constant_energy_for_a_hundred_steps(name):
    atoms, potential, commands, timestep = SYSTEMS[name]
    atoms = start(atoms, 300.0 if name == "silicon" else 60.0)
    peer = run_lammps(atoms, [*commands, "fix move all nve"], timestep, 100)
    own = run_own(atoms, potential, VelocityVerlet(), timestep, 100)
    assert own.n_rebuilds >= 1
    assert max(differences(atoms, own, peer)) < 1e-8


@each_system
def test_nose_hoover_chains(name):
    """LAMMPS moves its chains in one piece, here in three: equal up to the error of its larger pieces."""
    atoms, potential, commands, timestep = SYSTEMS[name]
    atoms, target = start(atoms, 100.0), 200.0
    found = []
    for divisor in (1, 2):
        step = timestep / divisor
        fix = f"fix move all nvt temp {target} {target} 0.1 tchain 3"
        peer = run_lammps(atoms, [*commands, fix], step, 100 * divisor)
        chain = NoseHooverChain(target * TEMPERATURE_SCALE, time_constant_ps=0.1, chain_length=3)
        own = run_own(atoms, potential, chain, step, 100 * divisor)
        found.append(max(differences(atoms, own, peer)))
    assert found[0] < 1e-3 and found[1] < 0.3 * found[0]
