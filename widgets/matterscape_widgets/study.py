"""Study: the frame that holds controls, views and a structure side by side, with a status line; Readout: one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager

import ipywidgets
import traitlets

from .view import HERE, View, front_end


class Line(View):
    """A line of text in the style of a study: its title, its status or a readout."""

    _esm = front_end("study")
    _css = HERE / "study.css"

    kind = traitlets.Enum(["title", "status", "error", "readout"], "status").tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    unit = traitlets.Unicode("").tag(sync=True)


class Readout(Line):
    """A value with its name and unit.

    Parameters
    ----------
    label : str
        What the value is.
    value : object
        The value; numbers are shown with four significant digits.
    unit : str
        Its unit.
    """

    def __init__(self, label: str, value: object = "", unit: str = ""):
        super().__init__(kind="readout", label=label, unit=unit)
        self.show(value)

    def show(self, value: object) -> None:
        """Show another value."""
        self.text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)


class Study(ipywidgets.VBox):
    """Controls | maps and plots | structure, above a status line; the columns wrap on a narrow screen.

    Parameters
    ----------
    controls : sequence of widgets
        Sliders, menus, buttons, readouts: the left column.
    views : sequence of widgets
        Maps and curves: the middle.
    structure : widget, optional
        A StructurePane: the right column.
    title : str
        A heading.

    Attributes
    ----------
    message : str
        The text of the status line.
    """

    def __init__(
        self,
        controls: Sequence[ipywidgets.Widget] = (),
        views: Sequence[ipywidgets.Widget] = (),
        structure: ipywidgets.Widget | None = None,
        title: str = "",
    ):
        self._status = Line(kind="status", text="Ready.")
        columns = []
        for name, children in (
            ("controls", controls),
            ("views", views),
            ("structure", [structure] if structure else []),
        ):
            if children:
                columns.append(ipywidgets.VBox(list(children)))
                columns[-1].add_class(f"matterscape-{name}")
        row = ipywidgets.Box(columns)
        row.add_class("matterscape-columns")
        heading = [Line(kind="title", text=title)] if title else []
        super().__init__([*heading, row, self._status])
        self.add_class("matterscape-study")

    @property
    def message(self) -> str:
        """The text of the status line."""
        return self._status.text

    def status(self, text: str) -> None:
        """Say in the status line what is shown or what is being done."""
        with self._status.hold_sync():
            self._status.kind, self._status.text = "status", text

    def error(self, problem: str | Exception) -> None:
        """Say in the status line, marked as an error, what went wrong."""
        with self._status.hold_sync():
            self._status.kind, self._status.text = "error", sentence(problem)

    @contextmanager
    def reporting(self, done: str | Callable[[], str] = "Ready."):
        """Run a block; report its success with `done` and its failure with the error's sentence, without raising.

        For the handlers of sliders and buttons, whose exceptions would otherwise vanish in a log.
        """
        try:
            yield
        except Exception as error:
            self.error(error)
        else:
            self.status(done() if callable(done) else done)


def sentence(problem: str | BaseException) -> str:
    """An error as one sentence for people: its first line, its type only where the message alone says too little."""
    if isinstance(problem, str):
        return problem
    text = str(problem).strip().splitlines()
    if not text:
        return f"The computation stopped with {type(problem).__name__}."
    plain = isinstance(problem, (ValueError, TypeError, RuntimeError))
    return text[0] if plain else f"{type(problem).__name__}: {text[0]}"
