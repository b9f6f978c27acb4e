"""Each thermostat against the canonical distribution, and its conserved quantity."""

import numpy as np
import pytest
from ase import Atoms, units
from scipy import stats

from matterscape.dynamics import Langevin, NoseHooverChain, Simulation, StochasticVelocityRescaling, VelocityVerlet
from model_potentials import FreeParticles, HarmonicWells, Quartic

pytestmark = pytest.mark.unit

KT = units.kB * 300.0
THERMOSTATS = {
    "langevin": lambda temperature=300.0: Langevin(temperature, friction_per_ps=10.0),
    "rescaling": lambda temperature=300.0: StochasticVelocityRescaling(temperature, time_constant_ps=0.05),
    "chain": lambda temperature=300.0: NoseHooverChain(temperature, time_constant_ps=0.05, chain_length=4),
}
each_thermostat = pytest.mark.parametrize("name", THERMOSTATS)


def replicas(count, n, seed=0, width=0.16):
    """Replicas at different places in the same wells."""
    generator = np.random.default_rng(seed)
    return [Atoms(f"Ar{n}", positions=generator.normal(scale=width, size=(n, 3))) for _ in range(count)]


def simulation(integrator, frames, potential=None, timestep_fs=4.0, **options):
    options = {"remove_momentum": False, "max_displacement": 20.0, **options}
    potential = Quartic() if potential is None else potential
    return Simulation(frames, potential, integrator=integrator, timestep_fs=timestep_fs, **options)


@each_thermostat
def test_kinetic_and_potential_energies_are_canonical(name):
    """From twice the temperature to exp(-H/kT): kinetic energy chi-squared, potential energy of x^4 a gamma number."""
    run = simulation(THERMOSTATS[name](), replicas(1000, 2), initial_temperature_K=600.0, seed=2)
    run.run(300)
    kinetic = 2.0 * run.kinetic_energy / KT
    assert stats.kstest(kinetic, "chi2", args=(6,)).pvalue > 1e-3
    assert stats.kstest(run.potential_energy / KT, "gamma", args=(6 / 4,)).pvalue > 1e-3
    assert abs(np.corrcoef(run.kinetic_energy, run.potential_energy)[0, 1]) < 4 / np.sqrt(1000)


@pytest.mark.parametrize("name", ["langevin", "rescaling"])  # chains are not ergodic for equal harmonic oscillators
def test_total_energy_of_harmonic_oscillators_is_canonical(name):
    run = simulation(
        THERMOSTATS[name](), replicas(1000, 3), HarmonicWells(1.0), timestep_fs=2.0, initial_temperature_K=100.0, seed=1
    )
    run.run(600)
    assert stats.kstest(run.total_energy / KT, "gamma", args=(9,)).pvalue > 1e-3


@pytest.mark.parametrize("freedoms", [1, 2])
def test_rescaling_of_small_structures_without_momentum(freedoms):
    """Two atoms at zero momentum have three degrees of freedom, two at zero momentum and rotation have one."""
    frames = [Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.0]])] * 1500
    run = simulation(
        StochasticVelocityRescaling(300.0, time_constant_ps=0.01),
        frames,
        FreeParticles(),
        remove_momentum=True,
        remove_rotation=freedoms == 1,
        initial_temperature_K=900.0,
    )
    freedoms = 1 if freedoms == 1 else 3
    assert np.all(run.state.degrees_of_freedom == freedoms)
    run.run(20)
    assert stats.kstest(2 * run.kinetic_energy / KT, "chi2", args=(freedoms,)).pvalue > 1e-3
    momenta = np.add.reduceat(run.masses[:, None] * run.velocities, run.state.offsets[:-1], axis=0)
    assert np.abs(momenta).max() < 1e-11  # a structure that comes nearly to rest is scaled up with its rounding


@each_thermostat
def test_temperature_of_each_structure(name):
    temperatures = np.array([100.0, 400.0])
    run = simulation(THERMOSTATS[name](temperatures), replicas(2, 600), initial_temperature_K=250.0)
    record = run.record("temperature_K", every=5)
    run.run(500)
    assert np.all(np.abs(record.values[40:].mean(axis=0) / temperatures - 1) < 0.05)


@each_thermostat
def test_conserved_energy_has_an_error_of_second_order(name):
    errors = []
    for timestep in (4.0, 2.0, 1.0):
        run = simulation(THERMOSTATS[name](), replicas(1, 200), timestep_fs=timestep, initial_temperature_K=600.0)
        conserved, total = run.record("conserved_energy"), run.record("total_energy")
        run.run(int(800 / timestep))
        errors.append(np.ptp(conserved.values))
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0
    assert errors[2] < 2e-3 * np.ptp(total.values)


def test_chains_are_reversible():
    run = simulation(NoseHooverChain(300.0), replicas(1, 5), initial_temperature_K=500.0)
    start = run.positions.copy()
    run.run(50)
    run.state.velocities *= -1
    run.integrator.chains[:, 1] *= -1
    run.run(50)
    assert np.abs(run.positions - start).max() < 1e-11


def test_chains_and_rescaling_become_verlet_when_the_bath_is_slow():
    def ends(integrator):
        run = simulation(integrator, replicas(1, 5), initial_temperature_K=300.0)
        run.run(20)
        return run.positions.copy()

    exact = ends(VelocityVerlet())
    assert np.abs(ends(NoseHooverChain(300.0, time_constant_ps=1e9)) - exact).max() < 1e-10
    assert np.abs(ends(StochasticVelocityRescaling(300.0, time_constant_ps=1e15)) - exact).max() < 1e-6


@each_thermostat
def test_a_change_of_temperature_takes_effect_and_keeps_the_books(name):
    run = simulation(THERMOSTATS[name](), replicas(1, 400), timestep_fs=1.0)
    run.run(50)
    before = run.conserved_energy
    run.integrator.temperature_K = 900.0
    run.run(600)
    assert run.temperature_K[0] > 600
    assert abs(run.conserved_energy - before)[0] < 0.02 * KT * 400


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, [[300.0]]])
@each_thermostat
def test_bad_temperatures_are_refused(name, value):
    with pytest.raises(ValueError, match="temperature_K is"):
        THERMOSTATS[name](value)


@each_thermostat
def test_the_number_of_temperatures_must_fit(name):
    with pytest.raises(ValueError, match="temperature_K has 3 values; accepted is one number, or one for each of 2"):
        simulation(THERMOSTATS[name]([100.0, 200.0, 300.0]), replicas(2, 3), initial_temperature_K=1.0)
    run = simulation(THERMOSTATS[name]([100.0, 200.0]), replicas(2, 3))
    with pytest.raises(ValueError, match="temperature_K has 3 values"):
        run.integrator.temperature_K = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Langevin(300, friction_per_ps=-1), "friction_per_ps is -1; accepted is a finite number >= 0"),
        (
            lambda: StochasticVelocityRescaling(300, time_constant_ps=0),
            "time_constant_ps is 0; accepted is a finite number > 0",
        ),
        (lambda: NoseHooverChain(300, chain_length=0), "chain_length is 0"),
        (lambda: NoseHooverChain(0.0), "temperature_K is 0.0"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
