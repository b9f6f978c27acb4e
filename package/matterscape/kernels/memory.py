"""How much memory this process may use."""

import os
from pathlib import Path

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int:
    """Bytes: the smaller of the machine's memory and the container's limit."""
    limit = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _CGROUP_LIMITS:
        try:
            limit = min(limit, int(Path(file).read_text()))
        except (OSError, ValueError):  # no such file, or the word "max"
            continue
    return limit
