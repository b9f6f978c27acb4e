"""The command line: ``matterscape map``, ``studies``, ``run``, ``data``, ``bench`` and ``doctor``."""

from matterscape.cli.app import main

__all__ = ["main"]
