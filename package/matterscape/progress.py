"""Progress bars that appear only where somebody can see them, and only for work that lasts."""

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Iterate with a bar that shows up after one second, on a terminal or in a notebook only.

    Parameters
    ----------
    items : iterable
    description : str
        What is being done.
    total : int, optional
        Number of items, where ``len(items)`` does not tell.
    """
    from tqdm.auto import tqdm

    visible = sys.stderr.isatty() or _in_notebook()
    return tqdm(items, desc=description, total=total, delay=1.0, disable=not visible, leave=False)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
