"""One thread setting for every kernel of the package."""

import math
import os
from pathlib import Path

import numba
import torch

_threads: int | None = None


def container_quota() -> float:
    """CPU quota of the container in cores; infinite when there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def default_threads() -> int:
    """Number of threads before anybody has chosen one.

    ``NUMBA_NUM_THREADS`` or ``OMP_NUM_THREADS`` where set, else the smaller of the CPU affinity and the container's
    CPU quota (rounded up).
    """
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "")
        if value.isdigit() and int(value) > 0:
            return min(int(value), numba.config.NUMBA_NUM_THREADS)
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(affinity, math.ceil(min(container_quota(), 1e6)), numba.config.NUMBA_NUM_THREADS))


def get_threads() -> int:
    """Number of threads that the kernels use."""
    global _threads
    if _threads is None:
        _threads = default_threads()
    return _threads


def set_threads(threads: int) -> None:
    """Set the number of threads of all kernels and of torch.

    Parameters
    ----------
    threads : int
        From 1 to the number that numba started with (``numba.config.NUMBA_NUM_THREADS``).

    Raises
    ------
    ValueError
        If ``threads`` is outside that range.
    """
    global _threads
    limit = numba.config.NUMBA_NUM_THREADS
    if isinstance(threads, bool) or int(threads) != threads or not 1 <= threads <= limit:
        raise ValueError(f"threads is {threads!r}; accepted is a whole number from 1 to {limit}")
    _threads = int(threads)
    torch.set_num_threads(_threads)
