"""The same analysis of many trajectories, here or on the workers of a dask cluster, with the same results."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from matterscape.progress import progress

if TYPE_CHECKING:
    from distributed import Client

Result = TypeVar("Result")


def analyse_many(
    function: Callable[..., Result], trajectories: Iterable[Any], *arguments: Any, client: "Client | None" = None
) -> list[Result]:
    """``function(trajectory, *arguments)`` of every trajectory, in their order.

    On a cluster each trajectory is a task of its own; a worker that dies costs nothing but time, since dask runs what
    it was doing somewhere else. An :class:`~matterscape.transport.trajectories.UnwrappedTrajectory` of a file travels
    as its path, so the workers must see the same files.

    Parameters
    ----------
    function : callable
        Pure, and importable on the workers.
    trajectories : iterable
        Trajectories, currents, paths, or whatever the function takes.
    *arguments
        Further arguments, the same for all.
    client : distributed.Client, optional
        Without it everything happens here, one after another.

    Returns
    -------
    list
        One result for each trajectory.
    """
    items = list(trajectories)
    if client is None:
        return [function(item, *arguments) for item in progress(items, "trajectories")]
    futures = [client.submit(function, item, *arguments, pure=False) for item in items]
    try:
        return [future.result() for future in progress(futures, "trajectories")]
    finally:
        client.cancel(futures)
