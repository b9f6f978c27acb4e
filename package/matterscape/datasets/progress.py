"""A progress bar that shows only where somebody can see it."""

import sys


def _watched() -> bool:
    """True on a terminal and in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel") or sys.stderr.isatty()


def progress(iterable=None, **options):
    """``tqdm.auto.tqdm`` with the same arguments, silent when not on a terminal or in a notebook."""
    from tqdm.auto import tqdm

    return tqdm(iterable, disable=not _watched(), **options)
