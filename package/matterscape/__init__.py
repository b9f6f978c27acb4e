"""Kernels for atomistic machine learning and transport theory: descriptors, potentials, uncertainty, transport.

Subpackages load when they are first used, so ``import matterscape`` costs neither torch nor numba.
"""

import importlib
import os
from importlib.metadata import PackageNotFoundError, version

# torch's and numba's OpenMP threads are two pools on the same cores. By default each goes on spinning for milliseconds
# after its work is done and takes the cores from the other; this must be set before torch loads its OpenMP.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_SUBPACKAGES = (
    "basis",
    "cli",
    "datasets",
    "descriptors",
    "dynamics",
    "kernels",
    "maps",
    "models",
    "potentials",
    "structures",
    "uq",
)
_NAMES = {
    "Structures": "matterscape.structures",
    "set_threads": "matterscape.kernels",
    "get_threads": "matterscape.kernels",
}

try:
    __version__ = version("matterscape")
except PackageNotFoundError:  # used from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__", *_NAMES, *_SUBPACKAGES]


def __getattr__(name: str):
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'matterscape' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
