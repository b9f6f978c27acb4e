"""StructurePane: a chemiscope structure viewer that a map can drive, and `link` that ties the two."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import chemiscope
import ipywidgets
import numpy as np
import traitlets

from .live_map import LiveMap
from .study import Line, sentence

REPEATED_ATOMS = 2000  # atoms on screen up to which periodic structures are repeated around an environment


class StructurePane(ipywidgets.VBox):
    """Shows one structure out of many, or one atomic environment, in chemiscope.

    The whole chemiscope map takes seconds to build and several megabytes to send, so it is built only on request
    (the button, or `full_map`), and takes the place of the viewer: a pane never holds more than one chemiscope widget.

    Parameters
    ----------
    frames : list of ase.Atoms
        The structures.
    environments : sequence of (structure, atom), optional
        Atomic environments that the points of a map stand for. Without it the points stand for whole structures.
    shapes : dict, optional
        Arrows, ellipsoids and the like, in chemiscope's format.
    cutoff : float
        Radius in Å of the environment drawn around the chosen atom.
    properties : dict or callable returning a dict, optional
        What the full map shows: name to array with one value (or row) per structure or per environment.

    Attributes
    ----------
    structure : int
        Index of the structure on display; set it with `show`.
    atom : int or None
        Index of the highlighted atom in its structure, None without environments.
    error : str
        A sentence shown below the viewer; empty when all is well.

    Raises
    ------
    ValueError
        If there are no frames, or an environment names a structure or an atom that does not exist.
    """

    structure = traitlets.Int(0, read_only=True)
    atom = traitlets.Int(None, allow_none=True, read_only=True)
    error = traitlets.Unicode("")

    def __init__(
        self,
        frames: Sequence,
        environments: Sequence[tuple[int, int]] | None = None,
        shapes: dict | None = None,
        *,
        cutoff: float = 4.0,
        properties: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
    ):
        self.frames = list(frames)
        if not self.frames:
            raise ValueError("frames is empty; a StructurePane needs at least one structure.")
        if not cutoff > 0:
            raise ValueError(f"cutoff is {cutoff}, but the radius of an environment must be positive.")
        self.cutoff = float(cutoff)
        self.properties = properties
        self.environments = None if environments is None else self._checked(environments)
        self._points: dict[tuple[int, int], int] = {}  # the first point of each environment
        for index, pair in enumerate(self.environments or ()):
            self._points.setdefault(pair, index)
        self._sorted = sorted(self._points)  # as chemiscope has them
        self._shapes = shapes
        self._silent = False
        self._widget = None
        self._displayed = False
        self._box = ipywidgets.Box(layout=ipywidgets.Layout(width="100%"))
        self._box.add_class("matterscape-viewer")
        self._button = ipywidgets.Button(
            description="Full chemiscope map",
            tooltip="Build the whole chemiscope with its own map (takes seconds)",
            layout=ipywidgets.Layout(width="auto"),
        )
        self._button.on_click(lambda _: self._toggle())
        self._note = Line(kind="error", layout=ipywidgets.Layout(display="none"))
        super().__init__([self._box, ipywidgets.HBox([self._button, self._note])])
        self.add_class("matterscape-structure-pane")
        if self.environments:
            self.add_class("matterscape-atomic")
        self.layout.width = "100%"
        if self.environments:
            self._move(*self.environments[0])
        self._place(self._viewer())

    def show(self, structure: int, atom: int | None = None) -> None:
        """Display a structure, or an environment of it.

        Parameters
        ----------
        structure : int
            Index into `frames`.
        atom : int, optional
            Index of an atom in that structure; without it, the structure's first environment if there are environments.

        Raises
        ------
        ValueError
            If the structure, the atom or the environment does not exist.
        """
        if not 0 <= structure < len(self.frames):
            raise ValueError(f"structure is {structure}, but the frames are 0 to {len(self.frames) - 1}.")
        if self.environments is None:
            atom = None
        else:
            atoms = [a for s, a in self.environments if s == structure] if atom is None else [atom]
            if not atoms or (structure, atoms[0]) not in self._points:
                what = f"structure {structure}" if atom is None else f"atom {atom} of structure {structure}"
                raise ValueError(f"{what} is none of the {len(self.environments)} environments of this pane.")
            atom = atoms[0]
        self._move(structure, atom)
        self._select()

    def show_point(self, index: int) -> None:
        """Display what point `index` of a map stands for: an environment if there are any, else a structure."""
        if self.environments is None:
            self.show(index)
        elif not 0 <= index < len(self.environments):
            raise ValueError(f"index is {index}, but the environments are 0 to {len(self.environments) - 1}.")
        else:
            self.show(*self.environments[index])

    @property
    def n_points(self) -> int:
        """How many points a map of this pane has."""
        return len(self.frames if self.environments is None else self.environments)

    @property
    def point(self) -> int | None:
        """The point of a map that stands for what is on display; None if there is none."""
        return self.structure if self.environments is None else self._points.get((self.structure, self.atom))

    def full_map(self, properties: Mapping[str, Any] | None = None) -> None:
        """Replace the viewer by the whole chemiscope, map included.

        Parameters
        ----------
        properties : dict, optional
            Name to array as in the constructor; by default what the constructor was given.

        Raises
        ------
        ValueError
            If fewer than two properties are given, or an array does not fit the structures or the environments.
        """
        chosen = self.properties if properties is None else properties
        chosen = chosen() if callable(chosen) else chosen
        if not chosen or sum(_n_columns(values) for values in chosen.values()) < 2:
            raise ValueError("properties holds fewer than two columns, but a map needs two axes.")
        self._place(self._chemiscope("default", {name: self._property(name, v) for name, v in chosen.items()}))
        self._button.description = "Back to the structure"
        self.add_class("matterscape-full")

    def structure_only(self) -> None:
        """Replace the whole chemiscope by the structure viewer."""
        self._place(self._viewer())
        self._button.description = "Full chemiscope map"
        self.remove_class("matterscape-full")

    def _checked(self, environments: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        pairs = np.asarray(environments)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(f"environments must be pairs of whole numbers (structure, atom), not {environments!r:.50}")
        for structure, atom in pairs.tolist():
            if not 0 <= structure < len(self.frames) or not 0 <= atom < len(self.frames[structure]):
                raise ValueError(f"environments contains ({structure}, {atom}), but that atom does not exist.")
        return [tuple(pair) for pair in pairs.tolist()]

    def _property(self, name: str, values: Any) -> dict:
        """One chemiscope property; its level follows from its length, environments before structures."""
        array = np.asarray(values)
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise ValueError(f"properties[{name!r}] contains an infinite value; use nan for a missing one.")
        if array.dtype.kind not in "iuf":
            array = array.astype(str)  # chemiscope shows categories as strings
        if self.environments is not None and len(array) == len(self.environments):
            return {"target": "atom", "values": array[[self._points[pair] for pair in self._sorted]]}
        if len(array) == len(self.frames):
            return {"target": "structure", "values": array}
        raise ValueError(f"properties[{name!r}] has {len(array)} rows, but {self.n_points} are needed, one a point.")

    def _viewer(self) -> chemiscope.widget.ChemiscopeWidgetBase:
        # A property per structure (and per environment) keeps the information panel from being empty.
        properties = {"structure": {"target": "structure", "values": np.arange(len(self.frames))}}
        if self.environments is not None:
            atoms = np.array([atom for _, atom in self._sorted])
            properties["atom"] = {"target": "atom", "values": atoms}
        return self._chemiscope("structure", properties)

    def _chemiscope(self, mode: str, properties: dict) -> chemiscope.widget.ChemiscopeWidgetBase:
        periodic = any(frame.pbc.any() for frame in self.frames)
        atomic = self.environments is not None
        # The neighbours of an atom at the edge of its cell lie in the next one.
        repeat = 3 if atomic and periodic and 27 * max(map(len, self.frames)) <= REPEATED_ATOMS else 1
        settings = {
            "target": "atom" if atomic else "structure",
            "pinned": [self._pin()],
            "structure": [{"unitCell": bool(periodic), "supercell": [repeat] * 3}],
        }
        environments = [(s, a, self.cutoff) for s, a in self._sorted] if atomic else None
        widget = chemiscope.show(
            self.frames,
            properties=properties,
            environments=environments,
            shapes=self._shapes,
            settings=settings,
            mode=mode,
            warning_timeout=-1,
            cache_structures=True,
        )
        widget.layout.width = "100%"
        return widget

    def _place(self, widget: chemiscope.widget.ChemiscopeWidgetBase) -> None:
        old, self._widget = self._widget, widget
        self._displayed = False
        self._note.look_after(widget)
        widget.observe(self._follow, "selected_ids")
        widget.observe(self._notice_display, "settings")
        self._box.children = (widget,)
        if old is not None:
            old.unobserve(self._follow, "selected_ids")
            old.unobserve(self._notice_display, "settings")
            old.close()

    def _select(self) -> None:
        """Tell chemiscope what to show."""
        widget = self._widget
        with self._quiet():
            widget.selected_ids = self._selection()
            if not self._displayed:  # chemiscope starts from its settings, whatever is selected by then
                widget.settings = widget.settings | {"pinned": [self._pin()]}
                widget.value = re.sub(r'"pinned": \[\d+\]', f'"pinned": [{self._pin()}]', widget.value, count=1)

    def _pin(self) -> int:
        """Where chemiscope counts what is on display."""
        return self.structure if self.atom is None else self._sorted.index((self.structure, self.atom))

    def _notice_display(self, _: dict) -> None:
        self._displayed = self._displayed or not self._silent

    def _selection(self) -> dict:
        return {"structure": self.structure} if self.atom is None else {"structure": self.structure, "atom": self.atom}

    def _move(self, structure: int, atom: int | None) -> None:
        with self.hold_trait_notifications():
            self.set_trait("structure", int(structure))
            self.set_trait("atom", None if atom is None else int(atom))

    def _follow(self, change: dict) -> None:
        """The user has clicked in chemiscope."""
        structure = change["new"].get("structure")
        if not self._silent and structure is not None:
            self._move(structure, None if self.environments is None else change["new"].get("atom"))

    @contextmanager
    def _quiet(self):
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def _toggle(self) -> None:
        try:
            if isinstance(self._widget, chemiscope.widget.StructureWidget):
                self.full_map()
            else:
                self.structure_only()
            self.error = ""
        except Exception as error:  # whatever the properties callable raises belongs on the screen, not in a log
            self.error = sentence(error)

    @traitlets.observe("error")
    def _show_error(self, change: dict) -> None:
        self._note.text = change["new"]
        self._note.layout.display = "" if change["new"] else "none"


def link(map_: LiveMap, pane: StructurePane) -> Callable[[], None]:
    """Tie a map and a structure pane: the active point decides what is shown, and the other way round.

    Parameters
    ----------
    map_ : LiveMap
        A map with one point per structure, or per environment of the pane.
    pane : StructurePane
        The pane.

    Returns
    -------
    callable
        Call it to untie the two.

    Raises
    ------
    ValueError
        If map and pane have different numbers of points.
    """
    if map_.n_points != pane.n_points:
        raise ValueError(f"the map has {map_.n_points} points, but the pane stands for {pane.n_points}.")

    def to_pane(change: dict) -> None:
        if change["new"] is not None and change["new"] != pane.point and change["new"] < pane.n_points:
            pane.show_point(change["new"])

    def to_map(_: dict) -> None:
        if pane.point is not None and pane.point < map_.n_points:
            map_.active = pane.point

    map_.observe(to_pane, "active")
    pane.observe(to_map, ["structure", "atom"])
    if map_.active is None:
        to_map({})
    else:
        to_pane({"new": map_.active})

    def untie() -> None:
        map_.unobserve(to_pane, "active")
        pane.unobserve(to_map, ["structure", "atom"])

    return untie


def _n_columns(values: Any) -> int:
    array = np.asarray(values)
    return 1 if array.ndim < 2 else array.shape[1]
