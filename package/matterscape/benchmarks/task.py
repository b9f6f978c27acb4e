"""What one benchmark is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Calls = tuple[Callable[[], Any], Callable[[], Any] | None]


@dataclass(frozen=True)
class Task:
    """One comparison: ``prepare(size)`` returns our call and the peer's (None where the peer is missing)."""

    name: str
    what: str
    peer: str
    make: Callable[[Any], Calls]
    full: Any
    small: Any

    def prepare(self) -> Calls:
        """The two calls at the size that is reported."""
        return self.make(self.full)

    def prepare_small(self) -> Calls:
        """The two calls at a size that only loads libraries and compiled code."""
        return self.make(self.small)
