"""Runs that live in a folder: interrupted and resumed ones equal uninterrupted ones, finished ones are only read."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from matterscape.dynamics import Langevin, Simulation
from matterscape.dynamics.resumable import run_in_folder, runs_folder
from matterscape.potentials import LennardJones

pytestmark = pytest.mark.unit

ARGON = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=6.0)
ATOMS = bulk("Ar", "fcc", a=5.3, cubic=True) * 2


def start(folder: Path) -> Simulation:
    thermostat = Langevin(60.0, friction_per_ps=1.0)
    return Simulation(ATOMS, ARGON, integrator=thermostat, timestep_fs=2.0, seed=3, folder=folder)


def watch(simulation: Simulation) -> None:
    simulation.record("heat_flux", every=3)
    simulation.record("positions", every=10)


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    whole = run_in_folder(tmp_path / "whole", start, ARGON, 60, watch=watch)

    def interrupt(simulation: Simulation) -> None:
        watch(simulation)

        def strike(running: Simulation) -> None:
            if running.step == 25:
                raise KeyboardInterrupt

        simulation.call(strike)

    with pytest.raises(KeyboardInterrupt):
        run_in_folder(tmp_path / "parts", start, ARGON, 60, watch=interrupt, save_every=20)
    resumed = run_in_folder(tmp_path / "parts", start, ARGON, 60, watch=watch, save_every=20)
    assert resumed.step == 60
    for name in ("heat_flux", "positions"):
        assert np.array_equal(resumed.records[name].steps, whole.records[name].steps)
        assert np.array_equal(resumed.records[name].values, whole.records[name].values)


def test_a_killed_process_loses_only_the_steps_after_the_last_save(tmp_path):
    whole = run_in_folder(tmp_path / "whole", start, ARGON, 50, watch=watch)

    def fail(simulation: Simulation) -> None:
        watch(simulation)

        def strike(running: Simulation) -> None:
            if running.step == 37:
                raise SystemExit

        simulation.call(strike)

    with pytest.raises(SystemExit):
        run_in_folder(tmp_path / "parts", start, ARGON, 50, watch=fail, save_every=20)
    resumed = run_in_folder(tmp_path / "parts", start, ARGON, 50, watch=watch)
    assert np.array_equal(resumed.records["heat_flux"].values, whole.records["heat_flux"].values)


def test_a_finished_run_is_read_and_can_be_made_longer(tmp_path):
    first = run_in_folder(tmp_path, start, ARGON, 30, watch=watch)

    def never(folder: Path) -> Simulation:
        raise AssertionError("a finished run was started again")

    again = run_in_folder(tmp_path, never, ARGON, 30, watch=watch)
    assert again.step == 30 and np.array_equal(again.records["positions"].values, first.records["positions"].values)
    longer = run_in_folder(tmp_path, never, ARGON, 40, watch=watch)
    assert len(longer.records["positions"].values) == 5


def test_another_potential_is_refused(tmp_path):
    run_in_folder(tmp_path, start, ARGON, 5, watch=watch)
    with pytest.raises(ValueError, match="potential"):
        run_in_folder(tmp_path, start, 0.5 * ARGON, 10, watch=watch)


@pytest.mark.parametrize("argument", ["steps", "save_every"])
def test_bad_numbers_are_named(tmp_path, argument):
    numbers = {"steps": 10, "save_every": 5} | {argument: 2.5}
    with pytest.raises(ValueError, match=rf"{argument} is 2.5; accepted is a whole number"):
        run_in_folder(tmp_path, start, ARGON, watch=watch, **numbers)


def test_the_folder_of_runs_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MATTERSCAPE_RUNS", str(tmp_path))
    assert runs_folder("study") == tmp_path / "study"
    monkeypatch.delenv("MATTERSCAPE_RUNS")
    assert runs_folder("study").parts[-2:] == ("runs", "study")
