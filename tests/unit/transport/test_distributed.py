"""Many trajectories on a cluster give what they give here, also when a worker dies."""

import os
import signal

import numpy as np
import pytest

from matterscape.transport.diffusion import measure_displacements, self_diffusion
from matterscape.transport.many import analyse_many
from matterscape.transport.trajectories import UnwrappedTrajectory
from walkers import salt

pytestmark = pytest.mark.unit


def of_files(folder, count=3):
    trajectories = []
    for number in range(count):
        walkers = salt(240, 6, 0.05, seed=number)
        np.save(folder / f"{number}.npy", walkers.positions.astype(np.float32))
        trajectories.append(
            UnwrappedTrajectory(
                folder / f"{number}.npy", walkers.species, walkers.cell, timestep_fs=100, temperature_K=1000
            )
        )
    return trajectories


def same(one, other):
    for name in ("single", "collective", "spread"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_a_cluster_gives_what_a_serial_run_gives(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    runs = of_files(tmp_path) + [salt(240, 6, 0.05, seed=9)]
    serial = measure_displacements(runs, n_blocks=3)
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        spread = measure_displacements(runs, n_blocks=3, client=client)
        with pytest.raises(ValueError, match="accepted are unwrapped positions"):
            wrapped = UnwrappedTrajectory(
                salt(240, 6, 5.0, seed=1).positions % 9.0, ["Na"] * 12, [9.0] * 3, timestep_fs=100, temperature_K=1000
            )
            measure_displacements([wrapped], client=client)
    same(serial, spread)
    assert self_diffusion(serial, "Na", (0.5, 3.0)) == self_diffusion(spread, "Na", (0.5, 3.0))


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'distributed' is not installed")
    flag, home, runs = tmp_path / "killed", os.getpid(), of_files(tmp_path)

    def once_deadly(trajectory):
        if os.getpid() != home and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return measure_displacements(trajectory)

    serial = analyse_many(once_deadly, runs)
    with distributed.Client(processes=True, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        spread = analyse_many(once_deadly, runs, client=client)
    assert flag.exists()
    for one, other in zip(serial, spread, strict=True):
        same(one, other)
