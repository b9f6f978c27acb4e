"""Our kernels beside the field's compiled libraries, on the same input, machine and threads, in one run.

A task makes its input once and names two callables, ours and the peer's. ``run`` times them alternately and measures
the peak memory of each in a process of its own. ``matterscape bench`` prints the rows.
"""

from matterscape.benchmarks.measure import run
from matterscape.benchmarks.task import Task
from matterscape.benchmarks.tasks import TASKS, get_task

__all__ = ["TASKS", "Task", "get_task", "run"]
