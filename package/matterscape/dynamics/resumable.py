"""Long runs that live in a folder: an interrupted one goes on, a finished one is read."""

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import platformdirs

from matterscape.checks import check_whole
from matterscape.dynamics.simulation import Simulation
from matterscape.potentials import Potential

RESTART_FILE = "restart.npz"


def runs_folder(name: str) -> Path:
    """Where the long runs of a notebook are kept: ``name`` under ``$MATTERSCAPE_RUNS``, or in the user's cache.

    Parameters
    ----------
    name : str
        Such as the arXiv identifier of a study.
    """
    chosen = os.environ.get("MATTERSCAPE_RUNS")
    return (Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("matterscape")) / "runs") / name


def run_in_folder(
    folder: str | PathLike,
    start: Callable[[Path], Simulation],
    potential: Potential,
    steps: int,
    *,
    watch: Callable[[Simulation], None],
    save_every: int = 10_000,
    show_progress: bool = True,
) -> Simulation:
    """Bring a simulation to its step number ``steps``, from the start or from where an earlier call left it.

    Records and restart file lie in the folder. An interrupt (Ctrl-C, a notebook's stop button) loses nothing; a process
    that is killed loses the steps since the restart file was last written. The result equals that of one uninterrupted
    run bit for bit, and a call for a run that is long enough already only reads it.

    Parameters
    ----------
    folder : path
        Of this run alone.
    start : callable
        ``start(folder)`` makes the simulation, with ``folder=folder``; called once in the life of the folder.
    potential : Potential
        The simulation's.
    steps : int
        Step to end at.
    watch : callable
        ``watch(simulation)`` asks for the records; called after the start and after every restart.
    save_every : int
        Steps between restart files.
    show_progress : bool
        Show a bar if it takes longer than a second.

    Returns
    -------
    Simulation
        With its ``records``.

    Raises
    ------
    ExplosionError
        If a step fails; the folder keeps the state of the last restart file.
    ValueError
        If the folder holds a run with another potential or other strides of records, or a number is out of range.
    """
    check_whole("steps", steps, 0)
    check_whole("save_every", save_every, 1)
    folder = Path(folder)
    file = folder / RESTART_FILE
    if file.exists():
        simulation = Simulation.restart(file, potential, folder=folder)
    else:
        simulation = start(folder)
        simulation.save(file)
    watch(simulation)
    simulation.call(lambda running: running.save(file), every=save_every)
    if simulation.step < steps:
        try:
            simulation.run(steps - simulation.step, show_progress=show_progress)
        except KeyboardInterrupt:
            simulation.save(file)
            raise
        simulation.save(file)
    return simulation
