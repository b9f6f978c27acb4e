"""The barostat against exact distributions of volume and shape."""

import numpy as np
import pytest
from ase import Atoms, units
from scipy import stats

from matterscape.dynamics import Langevin, Simulation, StochasticCellRescaling, StochasticVelocityRescaling
from model_potentials import CellSpring, FreeParticles

pytestmark = pytest.mark.unit

KT = units.kB * 300.0
PRESSURE = 0.1  # GPa
N = 12
REPLICAS = 400
COUPLINGS = ("isotropic", "orthorhombic", "anisotropic")


def gas(edges, seed=0, n=N):
    generator = np.random.default_rng(seed)
    return [
        Atoms(f"Ar{n}", positions=generator.uniform(0, edge, size=(n, 3)), cell=[edge] * 3, pbc=True) for edge in edges
    ]


def barostat(coupling="isotropic", pressure=PRESSURE, thermostat=None, compressibility=None, **options):
    return StochasticCellRescaling(
        thermostat or Langevin(300.0, friction_per_ps=1.0),
        pressure_GPa=pressure,
        compressibility_per_GPa=compressibility or 1.0 / PRESSURE,
        time_constant_ps=1.0,
        coupling=coupling,
        **options,
    )


def simulation(integrator, frames, potential=None, **options):
    options = {"timestep_fs": 25.0, "max_displacement": 50.0, "seed": 6, **options}
    return Simulation(frames, potential or FreeParticles(), integrator=integrator, **options)


EDGE = ((N + 1) * KT / (PRESSURE * units.GPa)) ** (1 / 3)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(
    "thermostat", [Langevin, StochasticVelocityRescaling], ids=["momentum moves", "momentum is zero"]
)
def test_volume_of_an_ideal_gas(coupling, thermostat):
    """P(V) is proportional to V^N exp(-P V / kT), whatever the coupling and whether the total momentum is fixed."""
    run = simulation(barostat(coupling, thermostat=thermostat(300.0), stride=1), gas([1.15 * EDGE] * REPLICAS))
    run.run(150)
    reduced = run.volume * PRESSURE * units.GPa / KT
    assert stats.kstest(reduced, "gamma", args=(N + 1,)).pvalue > 1e-3


def test_elastic_cell_isotropic():
    """k/2 sum h^2 = 3k/2 V^(2/3) at zero pressure: V^(2/3) is a gamma number of shape 3 (N + 1) / 2."""
    spring = CellSpring(0.02)
    run = simulation(barostat(pressure=0.0, compressibility=2.5, stride=1), gas([3.7] * REPLICAS), spring)
    run.run(150)
    reduced = 1.5 * spring.stiffness * run.volume ** (2 / 3) / KT
    assert stats.kstest(reduced, "gamma", args=(1.5 * (N + 1),)).pvalue > 1e-3


def test_elastic_cell_orthorhombic():
    """The squares of the edges are independent chi-squared numbers of N + 1 degrees of freedom."""
    spring = CellSpring(0.02)
    run = simulation(
        barostat("orthorhombic", pressure=0.0, compressibility=2.5, stride=1), gas([3.7] * REPLICAS), spring
    )
    run.run(150)
    assert np.abs(run.cells[:, ~np.eye(3, dtype=bool)]).max() == 0
    squares = np.diagonal(run.cells, axis1=1, axis2=2) ** 2 * spring.stiffness / KT
    assert stats.kstest(squares.ravel(), "chi2", args=(N + 1,)).pvalue > 1e-3
    assert np.abs(np.corrcoef(squares.T) - np.eye(3)).max() < 4 / np.sqrt(REPLICAS)


def test_elastic_cell_anisotropic():
    """The metric h h^T has a Wishart distribution with N + 1 degrees of freedom."""
    spring = CellSpring(0.02)
    run = simulation(
        barostat("anisotropic", pressure=0.0, compressibility=2.5, stride=1), gas([3.7] * REPLICAS), spring
    )
    run.run(150)
    metric = run.cells @ run.cells.transpose(0, 2, 1) * spring.stiffness / KT
    diagonal = np.diagonal(metric, axis1=1, axis2=2)
    for axis in range(3):
        assert stats.kstest(diagonal[:, axis], "chi2", args=(N + 1,)).pvalue > 1e-3
        correlation = metric[:, axis, axis - 1] / np.sqrt(diagonal[:, axis] * diagonal[:, axis - 1])
        student = correlation * np.sqrt(N / (1 - correlation**2))
        assert stats.kstest(student, "t", args=(N,)).pvalue > 1e-3
    logarithm = np.log(np.linalg.det(metric))
    draws = np.random.default_rng(0).chisquare([N + 1, N, N - 1], size=(20000, 3))
    assert stats.ks_2samp(logarithm, np.log(draws).sum(axis=1)).pvalue > 1e-3


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("fixed", [True, False], ids=["momentum is zero", "momentum moves"])
def test_the_effective_energy_obeys_the_fluctuation_theorem(coupling, fixed):
    """From equilibrium, <exp(-change of the conserved energy / kT)> = 1 for a move of any size."""
    count = 2000
    volumes = stats.gamma.rvs(N + 1, size=count, random_state=1) * KT / (PRESSURE * units.GPa)
    thermostat = StochasticVelocityRescaling(300.0, time_constant_ps=1e12) if fixed else Langevin(300.0)
    run = simulation(barostat(coupling, thermostat=thermostat, stride=1), gas(volumes ** (1 / 3)), timestep_fs=120.0)
    before = run.conserved_energy
    run.run(1)
    change = (run.conserved_energy - before) / KT
    weights = np.exp(-change)
    assert np.std(change) > 0.05
    assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(count)


def test_the_drift_of_the_effective_energy_falls_with_the_time_between_moves():
    spreads = []
    for timestep in (80.0, 20.0, 5.0):
        run = simulation(barostat(stride=1), gas([EDGE] * 200), timestep_fs=timestep)
        conserved = run.record("conserved_energy")
        run.run(int(800 / timestep))
        spreads.append(np.std(conserved.values[-1] - conserved.values[0]))
    assert spreads[0] > 2 * spreads[1] > 4 * spreads[2] > 0


def test_moves_come_every_stride_steps():
    run = simulation(barostat(stride=4), gas([EDGE] * 2))
    volume = run.record("volume")
    run.run(12)
    assert np.flatnonzero(np.diff(volume.values[:, 0])).tolist() == [0, 4, 8]


def test_pressure_follows_a_change_and_the_books_are_kept():
    pressure = 400 * KT / EDGE**3 / units.GPa
    run = simulation(barostat(pressure=pressure, compressibility=1 / pressure), gas([EDGE], n=400))
    run.run(1)
    before, volume = run.conserved_energy, run.volume
    run.integrator.pressure_GPa = 2 * pressure
    run.run(1)
    assert abs(run.conserved_energy - before)[0] < 1e-8 * abs(before[0])
    run.run(200)
    assert 0.4 < run.volume[0] / volume[0] < 0.6


def test_structures_without_a_full_cell_are_refused():
    frames = gas([EDGE] * 2)
    frames[1].pbc = [True, True, False]
    with pytest.raises(ValueError, match="structure 1 is not periodic in all directions"):
        simulation(barostat(), frames)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"coupling": "triclinic"}, ValueError, "coupling is 'triclinic'; accepted are isotropic"),
        ({"stride": 0}, ValueError, "stride is 0"),
        ({"pressure": np.nan}, ValueError, "pressure_GPa is nan"),
        ({"compressibility": -1.0}, ValueError, "compressibility_per_GPa is -1.0"),
        ({"thermostat": "langevin"}, TypeError, "thermostat is a str"),
    ],
)
def test_bad_parameters_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        barostat(**options)


def test_a_violent_pressure_stops_with_a_sentence():
    run = simulation(barostat(pressure=1e4), gas([EDGE]))
    with pytest.raises(ValueError, match="step 1 failed at .* strained by .* use a larger time_constant_ps"):
        run.run(1)
    assert run.step == 0 and run.volume[0] == pytest.approx(EDGE**3)
