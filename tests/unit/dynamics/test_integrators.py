"""Velocity Verlet and BAOAB against exact results."""

import numpy as np
import pytest
from ase import Atoms, units
from scipy import stats

from matterscape.dynamics import Langevin, Simulation, VelocityVerlet
from model_potentials import FreeParticles, HarmonicWells

pytestmark = pytest.mark.unit

KT = units.kB * 300.0


def cloud(n=8, seed=0, symbol="Ar"):
    return Atoms(f"{symbol}{n}", positions=np.random.default_rng(seed).normal(scale=0.3, size=(n, 3)))


def simulation(integrator, potential=None, frames=None, timestep_fs=2.0, **options):
    options = {"initial_temperature_K": 300.0, "remove_momentum": False, "max_displacement": 50.0, **options}
    return Simulation(
        cloud() if frames is None else frames,
        HarmonicWells(1.0) if potential is None else potential,
        integrator=integrator,
        timestep_fs=timestep_fs,
        **options,
    )


def test_verlet_is_reversible():
    run = simulation(VelocityVerlet())
    start = run.positions.copy()
    run.run(200)
    run.state.velocities *= -1
    run.run(200)
    assert np.abs(run.positions - start).max() < 1e-12


def test_verlet_is_symplectic():
    """J^T S J = S for the Jacobian J of a step in (x, p) and the symplectic form S."""
    atom = Atoms("Ar", positions=[[0.1, 0.2, 0.3]])
    columns = []
    for k in range(6):
        unit = np.eye(6)[k]
        run = simulation(VelocityVerlet(), frames=atom, initial_temperature_K=None, velocities=unit[None, 3:])
        run.state.positions[:] = unit[:3]
        run.state.evaluate()
        run.run(7)
        columns.append(np.concatenate([run.positions[0], run.velocities[0]]))
    jacobian = np.array(columns).T  # linear dynamics: images of the unit vectors
    form = np.block([[np.zeros((3, 3)), np.eye(3)], [-np.eye(3), np.zeros((3, 3))]])
    assert np.abs(jacobian.T @ form @ jacobian - form).max() < 1e-12


def test_energy_error_of_verlet_is_of_second_order():
    errors = []
    for timestep in (8.0, 4.0, 2.0):
        run = simulation(VelocityVerlet(), timestep_fs=timestep)
        energy = run.record("total_energy")
        run.run(int(400 / timestep))
        errors.append(np.ptp(energy.values))
    ratios = np.array(errors[:-1]) / errors[1:]
    assert np.all(np.abs(ratios - 4) < 0.3)


def test_verlet_follows_its_exact_trajectory():
    """A harmonic oscillator under velocity Verlet turns by arccos(1 - (omega dt)^2 / 2) each step."""
    run = simulation(VelocityVerlet(), timestep_fs=20.0)
    start = run.positions.copy()
    speed = run.velocities.copy()
    run.run(50)
    omega, dt = np.sqrt(1.0 / run.masses[0]), 20.0 * units.fs
    angle = np.arccos(1 - (omega * dt) ** 2 / 2)
    exact = start * np.cos(50 * angle) + speed * dt / np.sin(angle) * np.sin(50 * angle)
    assert np.abs(run.positions - exact).max() < 1e-12


@pytest.mark.parametrize("timestep_fs", [5.0, 60.0])  # the stability limit is 129 fs
def test_baoab_samples_harmonic_positions_without_time_step_error(timestep_fs):
    frames = cloud(4000)
    run = simulation(Langevin(300.0, friction_per_ps=20.0), HarmonicWells(1.0), frames, timestep_fs, skin=0.0, seed=3)
    run.run(int(1500 / timestep_fs))
    draws = run.positions.ravel() / np.sqrt(KT)
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    run_variance = np.mean(draws**2)
    assert abs(run_variance - 1) < 4 * np.sqrt(2 / draws.size)


def test_velocities_of_baoab_have_their_known_time_step_error():
    """<v^2> = (kT/m) (1 - (omega dt)^2 / 4) at the end of a step: the kinetic energy, not the positions, errs."""
    run = simulation(Langevin(300.0, friction_per_ps=20.0), HarmonicWells(1.0), cloud(4000), 60.0, seed=4)
    run.run(40)
    reduced = np.mean(run.velocities**2) * run.masses[0] / KT
    expected = 1 - (60.0 * units.fs) ** 2 / run.masses[0] / 4
    assert abs(reduced - expected) < 4 * np.sqrt(2 / run.velocities.size)


def test_einstein_relation_of_free_langevin_particles():
    """MSD = 2 D [t - (1 - e^{-gamma t}) / gamma] per direction, D = kT / (m gamma); VACF = kT/m e^{-gamma t}."""
    gamma = 5.0  # 1/ps
    run = simulation(Langevin(300.0, friction_per_ps=gamma), FreeParticles(), cloud(4000), 5.0, seed=5)
    start, speeds = run.positions.copy(), run.velocities.copy()
    run.run(200)  # 1 ps
    rate, time = gamma / (1000 * units.fs), 1000 * units.fs
    thermal = KT / run.masses[0]
    displacement = run.positions - start
    expected = 2 * thermal / rate * (time - (1 - np.exp(-rate * time)) / rate)
    assert abs(np.mean(displacement**2) / expected - 1) < 4 * np.sqrt(2 / displacement.size)
    assert stats.kstest(displacement.ravel() / np.sqrt(expected), "norm").pvalue > 1e-3
    correlation = np.mean(run.velocities * speeds) / thermal
    assert abs(correlation - np.exp(-rate * time)) < 4 / np.sqrt(displacement.size)


def test_langevin_keeps_its_effective_energy():
    run = simulation(Langevin(300.0, friction_per_ps=5.0), timestep_fs=1.0)
    total, conserved = run.record("total_energy"), run.record("conserved_energy")
    run.run(1000)
    assert np.ptp(conserved.values) < 1e-3 * np.ptp(total.values)
    assert abs(run.energy_drift[0]) < 0.1


def test_zero_temperature_cools():
    run = simulation(Langevin(0.0, friction_per_ps=20.0))
    run.run(2000)
    assert run.temperature_K[0] < 1e-6
