"""CurrentsUpload: a file of currents, and menus for what it does not say itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

from matterscape.checks import is_number
from matterscape.transport.currents import Currents
from matterscape.transport.readers import CurrentsFile, CurrentsFileWarning, open_currents, read_currents
from matterscape.transport.readers.sources import content_of
from matterscape.transport.readers.trajectory import is_trajectory
from matterscape.transport.readers.unit_styles import STYLES

from .study import Line, sentence

KINDS = {"energy": "energy current", "charge": "charge current", "number": "current of matter"}
NUMBERS = {
    "timestep_fs": ("time step (fs)", "of one row, or of one step if the file counts steps"),
    "temperature_K": ("temperature (K)", "mean of its column, if the file has one"),
    "volume": ("volume (Å³)", "of the cell"),
}
NONE = "none"
FROM_FILE = "as the file says"
LAST = "last"
ALL = "all"


class CurrentsUpload(ipywidgets.VBox):
    """Upload a log, table or trajectory, choose which columns are which current, and read it.

    What the file says, or its titles suggest, is filled in; a file that says everything is read at once.

    Attributes
    ----------
    currents : Currents or None
        Of the file last read; observe it.
    remarks : str
        What was guessed, assumed or left out.
    file : CurrentsFile or None
        The file that the menus belong to.
    """

    currents = traitlets.Instance(Currents, allow_none=True, read_only=True)

    def __init__(self):
        self.remarks = ""
        self.file: CurrentsFile | None = None
        self._source: Any = None

        def labelled(kind: type[ipywidgets.Widget], text: str, **more: Any) -> ipywidgets.Widget:
            layout = ipywidgets.Layout(width="100%", margin="1px 0")  # of its own: it hides one widget, not all
            return kind(description=text, style={"description_width": "110px"}, layout=layout, **more)

        self.upload = ipywidgets.FileUpload(
            multiple=False,
            description="Upload",
            tooltip="Log or fix ave/time file of LAMMPS, i-PI properties, columns, .npz, trajectory with velocities",
            layout=ipywidgets.Layout(width="100px"),
        )
        self.path = ipywidgets.Text(
            placeholder="or path of a file", layout=ipywidgets.Layout(flex="1 1 0", min_width="0")
        )
        self.menus = {kind: labelled(ipywidgets.Dropdown, text, options=[NONE]) for kind, text in KINDS.items()}
        self.run = labelled(ipywidgets.Dropdown, "run", options=[LAST])
        self.units = labelled(ipywidgets.Dropdown, "units", options=[FROM_FILE, *STYLES])
        self.numbers = {
            name: labelled(ipywidgets.Text, text, tooltip=hint, continuous_update=False)
            for name, (text, hint) in NUMBERS.items()
        }
        self.button = ipywidgets.Button(
            description="Read", button_style="primary", layout=ipywidgets.Layout(width="auto")
        )
        self._line = Line(text="It stays on the machine that runs this notebook. Give the path of a file above 10 MB.")
        self._choices = ipywidgets.VBox(
            [*self.menus.values(), self.run, self.units, *self.numbers.values(), self.button],
            layout=ipywidgets.Layout(display="none"),
        )
        super().__init__([ipywidgets.HBox([self.upload, self.path]), self._choices, self._line])
        self.add_class("matterscape-currents-upload")
        self.upload.observe(self._uploaded, "value")
        self.path.on_submit(lambda box: self._guarded(lambda: self.take(box.value.strip())))
        self.button.on_click(lambda _: self._guarded(self.read))

    @property
    def message(self) -> str:
        """The text of the status line."""
        return self._line.text

    def take(self, source: Any) -> None:
        """Look into a file; read it at once if nothing is left to be said.

        Raises
        ------
        FileNotFoundError, CurrentsFileError, ValueError
            As :func:`matterscape.transport.readers.open_currents`; the menus then keep what they show.
        """
        if source == "":
            raise ValueError("the path is empty; give the path of a file of currents")
        name, content = content_of(source)
        source = {"name": name, "content": content}
        if is_trajectory(name, content):
            self.file, self._source = None, source
            self._show(self.menus.values(), self.run, self.units, display="none")
            self._show([self._choices], display="")
            self.read()
            return
        opened = open_currents(source)
        if isinstance(opened, Currents):
            self._accept(opened, f"{name} holds everything")
            return
        self.file, self._source = opened, source
        self._fill(opened)
        if opened.missing:
            self._say(f"{opened}. Fill in what is missing and press Read.")
        else:
            self.read()

    def read(self) -> None:
        """Read the file with what the menus say.

        Raises
        ------
        CurrentsFileError, ValueError
            As :func:`matterscape.transport.readers.read_currents`.
        """
        if self._source is None:
            raise ValueError("no file has been given; upload one first")
        numbers = {name: _number(name, box.value) for name, box in self.numbers.items() if box.value.strip()}
        if self.file is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", CurrentsFileWarning)
                currents = read_currents(self._source, **numbers)
            self._accept(currents, "; ".join(str(one.message) for one in caught))
            return
        chosen = {kind: list(menu.value) for kind, menu in self.menus.items() if menu.value != NONE}
        if not chosen:
            raise ValueError("no column is chosen as a current; choose at least one")
        units = None if self.units.value == FROM_FILE else self.units.value
        runs = None if self.run.value == LAST else self.run.value
        reading = self.file.read(chosen, units=units, runs=runs, **numbers)
        said = "; ".join((*(f"{kind} from {self.menus[kind].label}" for kind in chosen), *reading.remarks))
        self._accept(reading.currents, f"{self.file.name}: {said}")

    # -- menus ---------------------------------------------------------------------------------------------------------

    def _fill(self, file: CurrentsFile) -> None:
        options = [(NONE, NONE), *_candidates(file)]
        guessed = {kind: vector for vector, kind in reversed(list(file.guessed.values()))}
        for kind, menu in self.menus.items():
            menu.options = options
            menu.value = file.vectors[guessed[kind]] if kind in guessed else NONE
        each = [(f"{run + 1} of {file.n_runs}", run) for run in range(file.n_runs)]
        self.run.options = [(LAST, LAST), *each, ("all, as segments", ALL)]
        self.run.value = LAST
        own = f"{file.contents.unit_style} (file)" if file.contents.unit_style else "metal (assumed)"
        self.units.options = [(own, FROM_FILE), *((style, style) for style in STYLES)]
        self.units.value = FROM_FILE
        for name, box in self.numbers.items():
            box.value = ""
            box.placeholder = "needed" if name in file.missing else FROM_FILE
        self._show(self.menus.values(), self.units, display="")
        self._show([self.run], display="" if file.n_runs > 1 else "none")
        self._show([self._choices], display="")

    @staticmethod
    def _show(*widgets: Any, display: str) -> None:
        for entry in widgets:
            for widget in [entry] if isinstance(entry, ipywidgets.Widget) else entry:
                widget.layout.display = display

    def _accept(self, currents: Currents, remarks: str) -> None:
        self.remarks = remarks
        self._say(f"Read: {remarks}." if remarks else "Read.")
        self.set_trait("currents", currents)

    def _uploaded(self, change: Mapping[str, Any]) -> None:
        if change["new"]:
            self._guarded(lambda: self.take(change["new"][0]))
            self.upload.value = ()  # the same file may come again, and its bytes need not stay

    def _guarded(self, action) -> None:
        try:
            action()
        except Exception as error:  # nobody else would show it
            with self._line.hold_sync():
                self._line.kind, self._line.text = "error", sentence(error)

    def _say(self, text: str) -> None:
        with self._line.hold_sync():
            self._line.kind, self._line.text = "status", text


def _candidates(file: CurrentsFile) -> list[tuple[str, tuple[int, ...]]]:
    """What may be a current: vectors among the titles; without any, three columns side by side."""
    if file.vectors:
        return list(file.vectors.items())
    titles = file.titles
    return [(", ".join(titles[k : k + 3]), (k, k + 1, k + 2)) for k in range(len(titles) - 2)]


def _number(name: str, text: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = None
    if not is_number(value) or value <= 0:
        raise ValueError(f"{NUMBERS[name][0]} is {text!r}; accepted is a positive number")
    return value
