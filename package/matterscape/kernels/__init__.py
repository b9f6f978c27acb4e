"""How a hot loop becomes one torch operator, and how many threads it may use."""

from matterscape.kernels.memory import memory_limit
from matterscape.kernels.operators import Operator, launch, parameters_only
from matterscape.kernels.threads import container_quota, default_threads, get_threads, set_threads

__all__ = [
    "Operator",
    "container_quota",
    "default_threads",
    "get_threads",
    "launch",
    "memory_limit",
    "parameters_only",
    "set_threads",
]
