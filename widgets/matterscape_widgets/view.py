"""View: a widget with a front end of our own that misses nothing of what the kernel sends."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import anywidget
import traitlets

HERE = Path(__file__).parent


def front_end(*names: str) -> str:
    """The JavaScript module of a view: what all views share, followed by the named files of this folder.

    Parameters
    ----------
    *names : str
        Files without their ending, for instance ``"canvas", "curve"``.

    Returns
    -------
    str
    """
    return "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in ("view", *names))


class View(anywidget.AnyWidget):
    """Base of all widgets that draw themselves; its front end listens however late it was loaded (view.js)."""

    _listening = traitlets.List(traitlets.Unicode()).tag(sync=True)  # keys of the models that the front end looks after

    def __init__(self, **traits: Any):
        key = uuid.uuid4().hex
        super().__init__(model_id=key, _listening=[key], **traits)

    def look_after(self, other: anywidget.AnyWidget) -> None:
        """Have another widget, whose front end is not ours, listen however late that was loaded.

        Parameters
        ----------
        other : anywidget.AnyWidget
            For instance a chemiscope, whose front end is large.
        """
        self._listening = [*self._listening, other.model_id]
