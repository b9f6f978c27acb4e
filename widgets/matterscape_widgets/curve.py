"""Curve: lines, points, error bands and heat maps that follow their data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import traitlets

from .canvas import CanvasWidget, column, pack
from .view import front_end

UNCHANGED = object()
STYLES = ("line", "points", "both")


@dataclass(frozen=True, eq=False)
class Series:
    """One curve.

    Attributes
    ----------
    x, y : array_like, shape (n,)
        The points; nan interrupts a line.
    low, high : array_like, shape (n,), optional
        Lower and upper end of the error band (of the error bars, for points).
    style : {"line", "points", "both"}
        How it is drawn.
    """

    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    low: Sequence[float] | np.ndarray | None = None
    high: Sequence[float] | np.ndarray | None = None
    style: Literal["line", "points", "both"] = "line"

    def columns(self) -> dict[str, np.ndarray]:
        """The columns that are present, as checked float64 arrays of one length."""
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{'high' if self.high is None else 'low'} is missing; an error band needs both ends.")
        if self.style not in STYLES:
            raise ValueError(f"style is {self.style!r}, but must be one of {', '.join(STYLES)}.")
        x = column("x", self.x)
        present = {name: getattr(self, name) for name in ("y", "low", "high") if getattr(self, name) is not None}
        return {"x": x, **{name: column(name, values, len(x)) for name, values in present.items()}}


class Curve(CanvasWidget):
    """Named curves with error bands, or a heat map, on linear or logarithmic axes.

    Hovering reads out the nearest point; a click or the arrow keys make it the active one.

    Parameters
    ----------
    series : dict of str to Series or (x, y), optional
        The curves in the order of the legend.
    matrix : array_like, shape (rows, columns), optional
        Values of a heat map; row 0 is at the bottom, nan is left blank. Series are drawn on top of it.
    extent : (left, right, bottom, top), optional
        Where the outer edges of the heat map lie on the axes; by default cell k is centred on k.
    x_label, y_label, colour_label : str
        Names with units.
    x_scale, y_scale : {"linear", "log"}
        The axes; a heat map needs linear ones.
    height : int
        Height in CSS pixels.

    Attributes
    ----------
    active : tuple of (str, int) or None
        Name of the series and index of the point last clicked.
    error : str
        A sentence shown above the plot; set by an `update` that fails, cleared by one that succeeds.

    Raises
    ------
    ValueError
        If a column is no list of finite numbers or nan, lengths differ, or a logarithmic axis meets a number <= 0.
    """

    _esm = front_end("canvas", "curve")

    x_label = traitlets.Unicode("").tag(sync=True)
    y_label = traitlets.Unicode("").tag(sync=True)
    colour_label = traitlets.Unicode("").tag(sync=True)
    x_scale = traitlets.Enum(["linear", "log"], "linear", read_only=True).tag(sync=True)
    y_scale = traitlets.Enum(["linear", "log"], "linear", read_only=True).tag(sync=True)
    active = traitlets.Tuple(traitlets.Unicode(), traitlets.Int(), default_value=None, allow_none=True).tag(sync=True)

    _data = traitlets.Bytes().tag(sync=True)
    _series = traitlets.List().tag(sync=True)
    _matrix = traitlets.Bytes().tag(sync=True)
    _heat = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        series: Mapping[str, Series | tuple] | None = None,
        matrix: Sequence | np.ndarray | None = None,
        extent: tuple[float, float, float, float] | None = None,
        *,
        x_label: str = "",
        y_label: str = "",
        colour_label: str = "",
        x_scale: str = "linear",
        y_scale: str = "linear",
        height: int = 320,
    ):
        self._given = {"series": {}, "matrix": None, "extent": None, "x_scale": "linear", "y_scale": "linear"}
        super().__init__(x_label=x_label, y_label=y_label, colour_label=colour_label, height=height)
        self.update(series or {}, matrix, extent, x_scale=x_scale, y_scale=y_scale)

    def update(
        self,
        series=UNCHANGED,
        matrix=UNCHANGED,
        extent=UNCHANGED,
        *,
        x_scale=UNCHANGED,
        y_scale=UNCHANGED,
        **texts: str,
    ) -> None:
        """Change some or all of the data in one message.

        Parameters
        ----------
        series, matrix, extent, x_scale, y_scale : as for the constructor
            What is left out stays; `series` replaces all series; `matrix=None` removes the heat map.
        **texts : str
            New `x_label`, `y_label` or `colour_label`.

        Raises
        ------
        ValueError
            As the constructor; the plot then keeps its old data and shows the sentence.
        TypeError
            If a keyword is none of the above.
        """
        unknown = set(texts) - {"x_label", "y_label", "colour_label"}
        if unknown:
            raise TypeError(f"update got {sorted(unknown)[0]!r}, which is neither data nor a label of a Curve.")
        asked = {"series": series, "matrix": matrix, "extent": extent, "x_scale": x_scale, "y_scale": y_scale}
        given = self._given | {name: value for name, value in asked.items() if value is not UNCHANGED}
        pairs = given["series"].items()
        given["series"] = {name: one if isinstance(one, Series) else Series(*one) for name, one in pairs}
        try:
            traits = self._checked(**given)
        except ValueError as error:
            self.error = str(error)
            raise
        self._given = given
        with self.hold_sync():
            for name, value in traits.items():
                self.set_trait(name, value)
            sizes = {spec["name"]: spec["n"] for spec in traits["_series"]}
            if self.active is not None and self.active[1] >= sizes.get(self.active[0], 0):
                self.active = None
            self.error = ""
            for name, text in texts.items():
                setattr(self, name, text)

    @staticmethod
    def _checked(series, matrix, extent, x_scale, y_scale) -> dict:
        """Validate everything before any of it is sent: the traits."""
        for name, scale in (("x_scale", x_scale), ("y_scale", y_scale)):
            if scale not in ("linear", "log"):
                raise ValueError(f"{name} is {scale!r}, but must be 'linear' or 'log'.")
        parts, specs = [], []
        for name, one in series.items():
            try:
                columns = one.columns()
            except ValueError as error:
                raise ValueError(f"Series {name!r}: {error}") from None
            frames = []
            for part, values in columns.items():
                if (x_scale if part == "x" else y_scale) == "log":
                    values = _log10(values, f"{part} of series {name!r}")
                data, frame = pack(values)
                parts.append(data)
                frames.append([part, frame])
            specs.append({"name": str(name), "style": one.style, "n": len(columns["x"]), "frames": frames})
        heat, cells = {}, b""
        if matrix is not None:
            if "log" in (x_scale, y_scale):
                raise ValueError("x_scale and y_scale must be 'linear' with a heat map.")
            heat, cells = _heat_map(matrix, extent)
        traits = {"_data": b"".join(parts), "_series": specs, "_matrix": cells, "_heat": heat}
        return traits | {"x_scale": x_scale, "y_scale": y_scale}

    @property
    def series(self) -> dict[str, Series]:
        """The curves on display."""
        return dict(self._given["series"])


def _log10(values: np.ndarray, what: str) -> np.ndarray:
    bad = np.flatnonzero(values <= 0)
    if len(bad):
        raise ValueError(f"{what} contains {values[bad[0]]:g}, but a logarithmic axis needs positive numbers.")
    return np.log10(values)


def _heat_map(matrix, extent) -> tuple[dict, bytes]:
    cells = np.asarray(matrix)
    if cells.ndim != 2 or 0 in cells.shape:
        raise ValueError(f"matrix must have rows and columns, but its shape is {cells.shape}.")
    rows, columns = cells.shape
    edges = (-0.5, columns - 0.5, -0.5, rows - 0.5) if extent is None else tuple(float(edge) for edge in extent)
    if len(edges) != 4 or not np.isfinite(edges).all() or edges[0] >= edges[1] or edges[2] >= edges[3]:
        raise ValueError(f"extent is {edges}, but must be (left, right, bottom, top) in rising order.")
    data, frame = pack(column("matrix", cells.ravel()))
    return {"rows": rows, "columns": columns, "extent": list(edges), "frame": frame}, data
