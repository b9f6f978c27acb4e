"""Times and peak memory of a task and its peer."""

import contextlib
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from matterscape.benchmarks.task import Task
from matterscape.benchmarks.tasks import TASKS, get_task

ROUNDS = 25
SECONDS = 8.0  # per task: slow ones get fewer rounds, at least two
SHORT = 0.005  # s: shorter calls are repeated within a round


def run(names: Sequence[str] = (), *, memory: bool = True) -> Iterator[dict[str, Any]]:
    """Measure tasks and yield one row each.

    Parameters
    ----------
    names : sequence of str
        Tasks to run; all of them if empty.
    memory : bool
        Also measure peak memory, which repeats every call in a new process.

    Yields
    ------
    dict
        ``task``, ``ours_s`` and ``peer_s`` (medians in seconds), ``peer``, ``ratio`` (peer_s / ours_s),
        ``ratio_low`` and ``ratio_high`` (first and last decile of the rounds), ``ours_mb`` and ``peer_mb`` (peak memory
        of the call above the prepared input, MiB), ``first_s`` (our first call, compilation or cache loading included),
        ``threads``.
        Where the peer is not installed its numbers are None.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    tasks = [get_task(name) for name in names] or list(TASKS.values())
    for task in tasks:
        yield _row(task, memory)


def _row(task: Task, memory: bool) -> dict[str, Any]:
    from matterscape.kernels import get_threads, set_threads

    set_threads(get_threads())  # torch and the peers follow
    ours, peer = task.prepare()
    start = time.perf_counter()
    ours()
    first = time.perf_counter() - start
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    if peer is not None:
        peer()
    begin = time.perf_counter()
    while len(times["ours"]) < ROUNDS and (len(times["ours"]) < 2 or time.perf_counter() - begin < SECONDS):
        times["ours"].append(_timed(ours))
        if peer is not None:
            times["peer"].append(_timed(peer))
    ours_s = statistics.median(times["ours"])
    row: dict[str, Any] = {
        "task": task.name,
        "ours_s": ours_s,
        "peer": task.peer,
        "peer_s": None,
        "ratio": None,
        "ratio_low": None,
        "ratio_high": None,
        "ours_mb": _peak_in_new_process(task.name, "ours") if memory else None,
        "peer_mb": None,
        "first_s": first,
        "threads": get_threads(),
    }
    if peer is not None:
        peer_s = statistics.median(times["peer"])
        ratios = sorted(p / o for o, p in zip(times["ours"], times["peer"]))
        edge = len(ratios) // 10
        low, high = ratios[edge], ratios[-1 - edge]
        row |= {"peer_s": peer_s, "ratio": peer_s / ours_s, "ratio_low": low, "ratio_high": high}
        row["peer_mb"] = _peak_in_new_process(task.name, "peer") if memory else None
    return row


def _timed(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    _trim_heap()
    count, start = 0, time.perf_counter()
    while True:
        call()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed > SHORT:
            return elapsed / count


def _trim_heap() -> None:
    """Give freed memory back, so that neither side is served warm pages that the other has left behind."""
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _peak_in_new_process(task: str, side: str) -> float | None:
    code = f"from matterscape.benchmarks.measure import report_peak; report_peak({task!r}, {side!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode != 0:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def report_peak(task: str, side: str) -> None:
    """Print the peak memory in MiB that one call adds to a process that has prepared the input."""
    calls = dict(zip(("ours", "peer"), get_task(task).prepare()))
    small = dict(zip(("ours", "peer"), get_task(task).prepare_small()))
    small[side]()  # libraries, thread pools and compiled code are loaded before the count begins
    before = _memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak restarts from here
    result = calls[side]()
    peak = _memory_mib("VmHWM") - before
    del result
    print(json.dumps(peak))


def _memory_mib(key: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) / 1024
