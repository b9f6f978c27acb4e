"""LiveMap: a scatter plot that follows its data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import traitlets

from .canvas import CanvasWidget, categories_of, column, pack
from .view import front_end

UNCHANGED = object()


class Indices(traitlets.Tuple):
    """A tuple of indices; takes lists, sets, ranges and arrays."""

    _cast_types = (list, set, range, np.ndarray)


class LiveMap(CanvasWidget):
    """An interactive map of up to about 10^5 points that redraws within a slider's step.

    Hovering shows a point's numbers, a click selects it, Shift adds to the selection; rectangle (R) and lasso (L)
    select many; the arrow keys walk from point to neighbouring point.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positions; a point with nan is not drawn.
    colour : array_like, shape (n,), optional
        Numbers for a colour bar, or categories (strings, booleans, at most 12 different whole numbers) for a legend.
        nan is drawn in grey.
    size : array_like, shape (n,), optional
        Numbers shown as the area of the points.
    labels : sequence of str, length n, optional
        Title of the hover label of each point.
    x_label, y_label, colour_label, size_label : str
        Names with units, for instance ``"energy (eV)"``.
    height : int
        Height in CSS pixels.

    Attributes
    ----------
    selected : tuple of int
        Sorted indices of the selected points; assign to select from Python.
    active : int or None
        The point last clicked or reached by the keyboard; assign to mark another.
    error : str
        A sentence shown above the map; set by an `update` that fails, cleared by one that succeeds.

    Raises
    ------
    ValueError
        If lengths differ, an array is not one-dimensional or not numeric, or a number is infinite.
    """

    _esm = front_end("canvas", "live_map")

    x_label = traitlets.Unicode("").tag(sync=True)
    y_label = traitlets.Unicode("").tag(sync=True)
    colour_label = traitlets.Unicode("").tag(sync=True)
    size_label = traitlets.Unicode("").tag(sync=True)
    selected = Indices().tag(sync=True)
    active = traitlets.Int(None, allow_none=True).tag(sync=True)

    labels = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    categories = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    _x = traitlets.Bytes().tag(sync=True)
    _y = traitlets.Bytes().tag(sync=True)
    _colour = traitlets.Bytes().tag(sync=True)
    _size = traitlets.Bytes().tag(sync=True)
    _frames = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        x: Sequence[float] | np.ndarray,
        y: Sequence[float] | np.ndarray,
        colour: Sequence | np.ndarray | None = None,
        size: Sequence[float] | np.ndarray | None = None,
        labels: Sequence[str] | None = None,
        *,
        x_label: str = "",
        y_label: str = "",
        colour_label: str = "",
        size_label: str = "",
        height: int = 380,
    ):
        self._points = 0
        super().__init__(x_label=x_label, y_label=y_label, height=height)
        self.update(x, y, colour, size, labels, colour_label=colour_label, size_label=size_label)

    @property
    def n_points(self) -> int:
        """The number of points, drawn or not."""
        return self._points

    def update(
        self,
        x=UNCHANGED,
        y=UNCHANGED,
        colour=UNCHANGED,
        size=UNCHANGED,
        labels=UNCHANGED,
        **texts: str,
    ) -> None:
        """Change some or all of the data in one message.

        Parameters
        ----------
        x, y, colour, size, labels : as for the constructor
            What is left out stays; None removes colour, size or labels. When the number of points changes, colour,
            size and labels that are left out and the selection are removed, for they belong to other points.
        **texts : str
            New `x_label`, `y_label`, `colour_label` or `size_label`.

        Raises
        ------
        ValueError
            As the constructor; the map then keeps its old data and shows the sentence.
        TypeError
            If a keyword is none of the above.
        """
        unknown = set(texts) - {"x_label", "y_label", "colour_label", "size_label"}
        if unknown:
            raise TypeError(f"update got {sorted(unknown)[0]!r}, which is neither data nor a label of a LiveMap.")
        try:
            traits, frames, n = self._checked(x, y, colour, size, labels)
        except ValueError as error:
            self.error = str(error)
            raise
        with self.hold_sync():
            if n != self._points:
                self._points = n
                self.selected, self.active = (), None
            for name, value in traits.items():
                self.set_trait(name, value)
            self._frames = frames
            self.error = ""
            for name, text in texts.items():
                setattr(self, name, text)

    def _checked(self, x, y, colour, size, labels) -> tuple[dict, dict, int]:
        """Validate new data before any of it is sent: traits, frames, number of points."""
        traits, frames = {}, dict(self._frames)
        n = self._points
        if x is not UNCHANGED:
            x = column("x", x)
            n = len(x)
        if n != self._points and y is UNCHANGED:
            raise ValueError(f"x has {n} values, but y has {self._points}; give both to change the number of points.")
        if n != self._points:
            colour, size, labels = (None if part is UNCHANGED else part for part in (colour, size, labels))
        if x is not UNCHANGED:
            traits["_x"], frames["x"] = pack(x)
        if y is not UNCHANGED:
            traits["_y"], frames["y"] = pack(column("y", y, n))
        if colour is not UNCHANGED:
            categories = None if colour is None else categories_of(colour)
            codes, names = categories if categories else (colour, [])
            traits["categories"] = names
            traits["_colour"], frames["colour"] = (b"", [0, 1]) if colour is None else pack(column("colour", codes, n))
        if size is not UNCHANGED:
            traits["_size"], frames["size"] = (b"", [0, 1]) if size is None else pack(column("size", size, n))
        if labels is not UNCHANGED:
            traits["labels"] = [] if labels is None else [str(label) for label in labels]
            if traits["labels"] and len(traits["labels"]) != n:
                raise ValueError(f"labels has {len(traits['labels'])} entries, but {n} are needed, one for each point.")
        return traits, frames, n

    @traitlets.validate("selected")
    def _check_selected(self, proposal) -> tuple[int, ...]:
        return tuple(sorted({self._index("selected", index) for index in proposal["value"]}))

    @traitlets.validate("active")
    def _check_active(self, proposal) -> int | None:
        return None if proposal["value"] is None else self._index("active", proposal["value"])

    def _index(self, name: str, value: int) -> int:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise ValueError(f"{name} contains {value!r}, but only whole numbers name points.")
        if not 0 <= value < self._points:
            raise ValueError(f"{name} contains {value}, but the points are 0 to {self._points - 1}.")
        return int(value)
