"""Melt and quench: the thermal history, restarts that change nothing, ready-made glasses."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape.dynamics import quenching as module
from matterscape.dynamics.analysis import coordination_numbers
from matterscape.dynamics.quenching import (
    Segment,
    amorphous_silica,
    amorphous_silicon,
    amorphous_silicon_carbide,
    melt_quench,
    target_temperature,
)
from matterscape.dynamics.simulation import Simulation
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures.networks import www_network

pytestmark = pytest.mark.unit

PROTOCOL = {
    "melt_temperature_K": 3000.0,
    "quench_rate_K_per_ps": 5400.0,
    "final_temperature_K": 300.0,
    "melt_ps": 0.2,
    "hold_ps": 0.3,
    "timestep_fs": 2.0,
    "record_every_ps": 0.02,
}


@pytest.fixture(scope="module")
def silicon():
    return StillingerWeber.silicon()


@pytest.fixture(scope="module")
def crystal():
    return bulk("Si", cubic=True).repeat(2)


@pytest.fixture(scope="module")
def run(silicon, crystal):
    return melt_quench([crystal, crystal], silicon, seed=1, **PROTOCOL)


def test_the_thermal_history_is_piecewise_linear():
    history = (Segment(1200, 1200, 10), Segment(1200, 300, 10), Segment(300, 300, 5))
    times = [0, 5, 10, 12, 19.999, 20, 24, 100]
    expected = [1200, 1200, 1200, 1020, 300.09, 300, 300, 300]
    np.testing.assert_allclose([target_temperature(history, time) for time in times], expected)


def test_the_temperature_follows_its_target(run):
    assert run.complete
    np.testing.assert_allclose(run.times_ps, np.arange(51) * 0.02, atol=1e-9)
    np.testing.assert_allclose(run.targets_K[[0, 10, 20, 35, 50]], [3000, 3000, 1920, 300, 300], atol=1e-6)
    assert run.temperatures_K.shape == run.potential_energies.shape == run.volumes.shape == (51, 2)
    assert np.ptp(run.volumes) == 0
    assert 2000 < run.temperatures_K[5:11].mean() < 4000
    assert 100 < run.temperatures_K[-3:].mean() < 700
    assert run.potential_energies[10].mean() > run.potential_energies[-1].mean() > run.potential_energies[0].mean()
    assert not np.allclose(run.structures.positions[:64], run.structures.positions[64:])  # a random stream each


def test_an_interrupted_run_goes_on_bit_for_bit(run, silicon, crystal, tmp_path, monkeypatch):
    advance = Simulation._advance

    def interrupted(simulation):
        if simulation.state.step == 223:
            raise KeyboardInterrupt
        advance(simulation)

    options = {**PROTOCOL, "seed": 1, "folder": tmp_path}
    with monkeypatch.context() as patch, pytest.warns(UserWarning, match="interrupted at 0.446 ps"):
        patch.setattr(Simulation, "_advance", interrupted)
        stopped = melt_quench([crystal, crystal], silicon, **options)
    assert not stopped.complete and len(stopped.times_ps) == 23
    finished = melt_quench([crystal, crystal], silicon, **options)
    assert finished.complete
    np.testing.assert_array_equal(finished.structures.positions, run.structures.positions)
    np.testing.assert_array_equal(finished.times_ps, run.times_ps)
    np.testing.assert_array_equal(finished.potential_energies, run.potential_energies)
    with pytest.raises(ValueError, match="holds a run with another seed; name a new folder"):
        melt_quench([crystal, crystal], silicon, **{**options, "seed": 2})


def test_cells_follow_the_pressure_if_asked(silicon, crystal):
    options = {**PROTOCOL, "melt_ps": 0.1, "quench_rate_K_per_ps": 27000.0}
    found = melt_quench(crystal, silicon, pressure_GPa=0.0, compressibility_per_GPa=0.05, **options)
    assert np.ptp(found.volumes) > 1


def test_amorphous_silicon_is_a_stress_free_minimum(silicon):
    glass = amorphous_silicon(64, silicon, seed=3, schedule=((2.0, 10), (0.5, 15), (0.3, 15)))
    assert glass.converged.all() and glass.max_forces[0] < 1e-4
    assert abs(np.trace(glass.stresses_GPa[0])) / 3 < 0.01
    assert -4.3366 < glass.energies[0] / 64 < -3.9
    assert 4 <= coordination_numbers(glass.structures, 2.9).mean() < 4.8


def test_silica_starts_from_bridges_and_ends_at_rest(monkeypatch):
    asked = {}

    def short(structures, potential, **options):
        asked.update(options)
        return melt_quench(structures, potential, **{**options, "melt_ps": 0.02, "quench_rate_K_per_ps": 45000.0})

    monkeypatch.setattr(module, "melt_quench", short)
    glass = amorphous_silica(64, seed=3, schedule=((2.0, 10), (0.5, 15), (0.3, 15)), force_tolerance=1e-2)
    assert asked["melt_temperature_K"] == 1200 and asked["melt_ps"] == 10 and asked["quench_rate_K_per_ps"] == 90
    atoms = glass.to_ase()[0]
    assert atoms.get_chemical_formula() == "O128Si64"
    assert atoms.get_masses().sum() / atoms.get_volume() * 1.66053907 == pytest.approx(2.20, rel=1e-6)
    silicon = coordination_numbers(atoms, 2.0, "O")[:64]
    assert glass.converged.all() and (silicon == 4).mean() > 0.85


def test_silicon_carbide_alternates_at_the_density_asked_for(monkeypatch):
    def short(structures, potential, **options):
        assert options["melt_temperature_K"] == 2000 and options["melt_ps"] == 20
        return melt_quench(structures, potential, **{**options, "melt_ps": 0.02, "quench_rate_K_per_ps": 85000.0})

    monkeypatch.setattr(module, "melt_quench", short)
    network = www_network(64, 3, ((2.0, 10), (0.5, 15), (0.3, 15)))
    glass = amorphous_silicon_carbide(network=network, seed=3, force_tolerance=1e-2)
    atoms = glass.to_ase()[0]
    assert atoms.get_chemical_formula() == "C32Si32" and glass.converged.all()
    assert atoms.get_masses().sum() / atoms.get_volume() * 1.66053907 == pytest.approx(3.0, rel=1e-6)
    assert coordination_numbers(atoms, 2.3, "C")[atoms.numbers == 14].mean() > 2.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quench_rate_K_per_ps": 0}, "quench_rate_K_per_ps is 0; accepted is a positive"),
        ({"melt_temperature_K": np.inf}, "melt_temperature_K is inf"),
        ({"final_temperature_K": 4000.0}, "final_temperature_K is 4000.0, above melt_temperature_K = 3000.0"),
        ({"melt_ps": -1}, "melt_ps is -1; accepted is a non-negative number"),
        ({"record_every_ps": 0}, "record_every_ps is 0"),
    ],
)
def test_bad_arguments_are_named(silicon, crystal, changes, message):
    with pytest.raises(ValueError, match=message):
        melt_quench(crystal, silicon, **{**PROTOCOL, **changes})
