"""Many simulations on a cluster equal the serial ones, also when a worker dies."""

import os
import signal

import numpy as np
import pytest
from ase import Atoms

from matterscape.dynamics import ExplosionError, Langevin, NoseHooverChain, Simulation, run_many
from model_potentials import HarmonicWells, Quartic

pytestmark = pytest.mark.unit


def simulations(count=3, folder=None, hot=None, timestep_fs=2.0):
    made = []
    for index in range(count):
        atoms = Atoms("Ar5", positions=np.random.default_rng(index).normal(scale=0.3, size=(5, 3)))
        if index == hot:
            atoms.positions[2] = [3.0, 0.0, 0.0]
        integrator = Langevin(300.0) if index % 2 else NoseHooverChain(300.0)
        run = Simulation(
            atoms,
            HarmonicWells(1.0) if hot is None else Quartic(),
            integrator=integrator,
            timestep_fs=timestep_fs,
            seed=index,
            folder=None if folder is None else folder / str(index),
        )
        run.record("temperature_K", every=3)
        run.record(lambda one: one.positions.copy(), every=5, name="places")
        made.append(run)
    return made


def same(ours, theirs):
    for one, two in zip(ours, theirs):
        assert one.step == two.step and one.time_ps == two.time_ps
        for name in ("positions", "velocities", "conserved_energy", "energy_drift"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name
        for name, record in one.records.items():
            assert np.array_equal(record.values, two.records[name].values)
            assert np.array_equal(record.steps, two.records[name].steps)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as made:
        yield made


@pytest.mark.parametrize("in_files", [False, True])
def test_a_cluster_gives_what_a_serial_run_gives(client, tmp_path, in_files):
    serial, spread = simulations(), simulations(folder=tmp_path if in_files else None)
    for steps in (20, 13):
        run_many(serial, steps)
        run_many(spread, steps, client=client)
    same(serial, spread)
    if in_files:
        assert np.array_equal(np.load(tmp_path / "1" / "places.npy"), serial[1].records["places"].values)


@pytest.mark.parametrize("spread", [False, True])
def test_an_explosion_leaves_the_others_alone(client, spread):
    runs = simulations(hot=1, timestep_fs=20.0)
    with pytest.raises(ExplosionError, match="atom 2 of structure 0"):
        run_many(runs, 10, client=client if spread else None)
    assert [run.step for run in runs] == [10, 0, 10]


def test_callbacks_do_not_travel(client):
    runs = simulations()
    runs[2].call(lambda one: None)
    with pytest.raises(ValueError, match="simulation 2 has callbacks or trajectory files"):
        run_many(runs, 1, client=client)
    assert runs[0].step == 0


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    flag, home = tmp_path / "killed", os.getpid()

    def die_once(one):
        if one.step == 10 and os.getpid() != home and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return one.step

    serial, spread = simulations(), simulations()
    for run in (*serial, *spread):
        run.record(die_once, every=5, name="steps")
    run_many(serial, 20)
    with distributed.Client(processes=True, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        run_many(spread, 20, client=client)
    assert flag.exists()
    same(serial, spread)
