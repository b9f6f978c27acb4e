"""What a lesson needs again and again: a study that answers its own controls, and views in a row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from .study import Readout, Study


class Live(Study):
    """A study that calls a function with the values of its controls whenever one of them changes.

    The status line tells how long the function took; if it fails, it shows the error's sentence and the readouts keep
    their values.

    Parameters
    ----------
    respond : callable
        Called with the value of every control by name. It updates the views and returns the readouts that it knows, as
        a dict of label to value, or None.
    controls : dict of str to widget
        Widgets with a `value`.
    views : sequence of widgets
        What `respond` draws on.
    structure : widget, optional
        A StructurePane.
    readouts : dict of str to str
        Label and unit of each readout.
    title : str
        A heading.

    Attributes
    ----------
    controls : dict of str to widget
    readouts : dict of str to Readout

    Raises
    ------
    ValueError
        If there are no controls.
    """

    def __init__(
        self,
        respond: Callable[..., Mapping[str, Any] | None],
        controls: Mapping[str, ipywidgets.Widget],
        views: Sequence[ipywidgets.Widget] = (),
        structure: ipywidgets.Widget | None = None,
        *,
        readouts: Mapping[str, str] | None = None,
        title: str = "",
    ):
        if not controls:
            raise ValueError("controls is empty; a Live study needs at least one widget with a value.")
        self._respond = respond
        self.controls = dict(controls)
        self.readouts = {label: Readout(label, unit=unit) for label, unit in (readouts or {}).items()}
        super().__init__([*self.controls.values(), *self.readouts.values()], views, structure, title)
        for control in self.controls.values():
            control.layout.width = "auto"
            control.style.description_width = "100px"
            control.observe(self._changed, "value")
        self.recompute()

    def recompute(self) -> None:
        """Call the function with the present values, as if a control had moved."""
        start = time.perf_counter()
        with self.reporting(lambda: f"Recomputed in {1e3 * (time.perf_counter() - start):.0f} ms."):
            values = {name: control.value for name, control in self.controls.items()}
            for label, value in (self._respond(**values) or {}).items():
                self.readouts[label].show(value)

    def _changed(self, _: dict) -> None:
        self.recompute()


def row(*views: ipywidgets.Widget, widths: Sequence[str | None] | None = None) -> ipywidgets.Box:
    """Views side by side, wrapped where there is no room.

    Parameters
    ----------
    *views : widgets
        In their order.
    widths : sequence of str or None, optional
        CSS width of each view; those with None share what is left of the row, as do all without `widths`.

    Returns
    -------
    ipywidgets.Box

    Raises
    ------
    ValueError
        If there is not one width for each view.
    """
    widths = [None] * len(views) if widths is None else list(widths)
    if len(widths) != len(views):
        raise ValueError(f"widths has {len(widths)} entries, but there are {len(views)} views.")
    for view, width in zip(views, widths):
        view.layout.width = width
        view.layout.flex = "0 1 auto" if width else "1 1 300px"
    return ipywidgets.Box(views, layout=ipywidgets.Layout(flex_flow="row wrap", width="100%"))
