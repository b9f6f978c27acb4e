"""The command line: ``matterscape map``, ``studies``, ``run``, ``data``, ``driver``, ``bench`` and ``doctor``."""

from matterscape.cli.app import main

__all__ = ["main"]
