"""Many simulations, one after another or on the workers of a dask cluster, with the same results."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from matterscape.dynamics import restart
from matterscape.dynamics.integrators import Integrator
from matterscape.dynamics.records import Record
from matterscape.dynamics.simulation import Simulation
from matterscape.dynamics.state import ExplosionError
from matterscape.kernels import get_threads, set_threads
from matterscape.potentials import Potential
from matterscape.progress import progress

if TYPE_CHECKING:
    from distributed import Client


def run_many(simulations: Sequence[Simulation], steps: int, client: "Client | None" = None) -> None:
    """Make steps with each of many simulations.

    On a cluster every simulation travels to a worker as its restart data, runs there, and comes back with its records;
    a worker that dies costs nothing but time, since dask runs what it was doing somewhere else. With the same number of
    threads per simulation the results equal those of a serial run bit for bit.

    Parameters
    ----------
    simulations : sequence of Simulation
    steps : int
        For each of them.
    client : distributed.Client, optional
        Without it they run here, one after another.

    Raises
    ------
    ExplosionError
        The first one that occurred, after all other simulations have finished.
    ValueError
        With a client, if a simulation has callbacks or trajectory files, which a worker could not serve.
    """
    if client is not None:
        _refuse_watchers(simulations)
    failures: list[ExplosionError] = []
    finished = _in_turn(simulations, steps) if client is None else _on_cluster(simulations, steps, client)
    for failure in progress(finished, "simulations", total=len(simulations)):
        if failure is not None:
            failures.append(failure)
    if failures:
        raise failures[0]


def _in_turn(simulations: Sequence[Simulation], steps: int) -> Iterator[ExplosionError | None]:
    for simulation in simulations:
        try:
            simulation.run(steps, show_progress=False)
        except ExplosionError as error:
            yield error
        else:
            yield None


def _on_cluster(simulations: Sequence[Simulation], steps: int, client: "Client") -> Iterator[ExplosionError | None]:
    from distributed import as_completed

    for simulation in simulations:
        simulation.run(0)  # records the present step here
    futures = {client.submit(_run_there, *_parcel(one), steps, pure=False): one for one in simulations}
    try:
        for future in as_completed(futures):
            arrays, metadata, rows, error = future.result()
            simulation = futures[future]
            restart.restore(simulation, arrays, metadata)
            simulation.recorder.extend(rows, simulation)
            yield error
    finally:
        client.cancel(list(futures))


def _parcel(simulation: Simulation) -> tuple:
    """What a worker needs to run a simulation."""
    arrays, metadata = restart.pack(simulation)
    watched = [(record.name, record.every, record.function, record.pieces) for record in simulation.records.values()]
    kind = type(simulation.integrator), simulation.integrator.parameters()
    copies = {name: array.copy() for name, array in arrays.items()}
    return copies, metadata, simulation.potential, kind, watched, get_threads()


def _run_there(
    arrays: dict[str, np.ndarray],
    metadata: dict[str, Any],
    potential: Potential,
    kind: tuple[type[Integrator], dict[str, Any]],
    watched: list[tuple],
    threads: int,
    steps: int,
) -> tuple:
    """Run a parcel; its new state, the new rows of its records, and the explosion that ended it, if any."""
    set_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    simulation = restart.unpack(Simulation, arrays, metadata, potential, kind[0](**kind[1]))
    for name, every, function, pieces in watched:
        simulation.records[name] = Record(name, "", every, function, pieces)
    error = None
    try:
        simulation.run(steps, show_progress=False)
    except ExplosionError as caught:
        error = caught
    rows = {name: (np.array(record.values), record.first_step) for name, record in simulation.records.items()}
    return (*restart.pack(simulation), rows, error)


def _refuse_watchers(simulations: Sequence[Simulation]) -> None:
    for index, simulation in enumerate(simulations):
        if not simulation.recorder.only_records:
            raise ValueError(
                f"simulation {index} has callbacks or trajectory files, which do not travel to the workers of client; "
                "use records, or run without a client"
            )
