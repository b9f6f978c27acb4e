"""``matterscape doctor``: what a person who helps with a problem would ask first."""

import json
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

LIBRARIES = (
    "numpy", "scipy", "ase", "torch", "numba", "vesin", "scikit-learn", "skmatter", "chemiscope", "pooch",
    "jupyterlab", "ipywidgets", "anywidget", "nbclient", "featomic", "sphericart",
)  # fmt: skip
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def report() -> dict[str, Any]:
    """State of the environment, as plain data that JSON can hold.

    Returns
    -------
    dict
        ``matterscape``, ``python``, ``platform`` (text); ``libraries`` (name to version, None where not installed);
        ``threads`` (``cores``, ``affinity``, ``quota`` in cores or None, ``kernels``, ``layer`` of numba);
        ``memory_gb`` (of the machine or the container); ``numba_cache`` (``folder``, ``writable``); ``gpu`` (names);
        ``data`` (``folder``, ``present``, ``missing``); ``chromium`` (path or None).
    """
    from matterscape import __version__

    return {
        "matterscape": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": f"{platform.platform()}, {platform.machine()}",
        "libraries": {name: _version(name) for name in LIBRARIES},
        "threads": _threads(),
        "memory_gb": _memory_gb(),
        "numba_cache": _numba_cache(),
        "gpu": _gpus(),
        "data": _data(),
        "chromium": next(filter(None, map(shutil.which, BROWSERS)), None),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _threads() -> dict[str, Any]:
    import math

    import numba

    from matterscape.kernels.threads import container_quota, get_threads

    quota = container_quota()
    numba.get_num_threads()  # chooses the threading layer, which is unknown before
    return {
        "cores": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "quota": None if math.isinf(quota) else quota,
        "kernels": get_threads(),
        "layer": numba.threading_layer(),
    }


def _memory_gb() -> float:
    from matterscape.kernels import memory_limit

    return round(memory_limit() / 1e9, 1)


def _numba_cache() -> dict[str, Any]:
    """Where numba keeps compiled kernels: its own folder where set, else beside the modules."""
    import numba

    import matterscape.kernels

    beside = Path(matterscape.kernels.__file__).parent / "__pycache__"
    folder = Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else beside
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {"folder": str(folder), "writable": os.access(existing, os.W_OK)}


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _data() -> dict[str, Any]:
    from matterscape import datasets

    present = [name for name in datasets.names() if datasets.is_available(name)]
    return {
        "folder": str(datasets.cache_folder()),
        "present": present,
        "missing": [name for name in datasets.names() if name not in present],
    }


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Report versions, threads, GPU, caches and browser."""
    found = report()
    typer.echo(json.dumps(found, indent=1) if as_json else describe(found))


def describe(found: dict[str, Any]) -> str:
    """The report as lines for a person."""
    threads, cache, data = found["threads"], found["numba_cache"], found["data"]
    libraries = [f"{name} {number}" for name, number in found["libraries"].items() if number]
    absent = [name for name, number in found["libraries"].items() if not number]
    quota = "no quota" if threads["quota"] is None else f"quota {threads['quota']:g} cores"
    lines = {
        "matterscape": found["matterscape"],
        "Python": found["python"],
        "platform": found["platform"],
        "libraries": ", ".join(libraries),
        "not installed": ", ".join(absent) or "-",
        "threads": f"{threads['kernels']} ({threads['cores']} cores, {threads['affinity']} usable, {quota}; "
        f"numba layer {threads['layer']})",
        "memory": f"{found['memory_gb']:g} GB",
        "compiled kernels": f"{cache['folder']} ({'writable' if cache['writable'] else 'not writable'})",
        "GPU": ", ".join(found["gpu"]) or "none",
        "data cache": f"{data['folder']} ({len(data['present'])} of {len(data['present']) + len(data['missing'])} "
        "data sets)",
        "browser for tests": found["chromium"] or "no Chromium found",
    }
    return "\n".join(f"{title:<18} {text}" for title, text in lines.items())
