"""ModeView: the vibrations of a crystal or a glass on a map, and the one that is chosen, moving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from matterscape.maps.vibrations import FREQUENCY, mode_map, name_and_unit
from matterscape.transport.lattice.mode_properties import participation_ratios
from matterscape.transport.lattice.mode_shapes import ModeShapes
from matterscape.transport.lattice.modes import VibrationalModes

from .live_atoms import LiveAtoms
from .live_map import LiveMap
from .study import Readout, Study

NOTHING = "nothing"
SHARE, ELEMENT = "share of the motion", "element"
EQUAL, TRUE = "the same for all", "true to scale"
SMALLEST = 0.45  # radius of an atom at rest in parts of that of the atom that moves most


class ModeView(Study):
    """Modes as points of a map by frequency, participation, diffusivity or whatever is given, and one of them moving.

    Click a point, or walk with the arrow keys: its mode moves at once. The slider of modes and, over the atoms, the
    keys page up and page down go through the modes of one wavevector by frequency. Brighter and larger atoms carry more
    of the motion. The film runs in the browser; the kernel sends each mode once.

    Parameters
    ----------
    modes : VibrationalModes
        Of a glass at zero wavevector, or of a crystal on a mesh.
    properties : dict of str to array_like, optional
        Names with units and a value for each mode: of shape (Q, 3 n) as the frequencies, (3 n,) where there is one
        wavevector, or one for each mode but the translations. nan is a missing value; text makes categories. The
        frequency in THz is always there, and the participation ratio if nothing is given.
    x, y, colour, size : str, optional
        Properties shown at first; by default frequency, and then those given in their order.
    chosen : (int, int), optional
        Wavevector and mode shown at first; by default the slowest.
    repeats : three ints, optional
        Cells in the picture; by default so many that the waves fit, with at most 2000 atoms.
    range_THz : (low, high), optional
        Modes of other frequencies are left out: a few stiff bonds of a glass would fill most of the map.
    title : str
        A heading.
    height : int
        Height of map and picture in CSS pixels.

    Attributes
    ----------
    chosen : tuple of int
        Wavevector and mode on display, an index of arrays like ``modes.frequencies_THz``; assign to show another.
    map : LiveMap
        One point for each mode, without translations; ``points`` tells which.
    atoms : LiveAtoms
        The picture; its ``playing``, ``arrows`` and ``amplitude`` can be assigned.
    points : ndarray (M, 2), int64
        Wavevector and mode of each point.
    properties : dict of str to ndarray (M,)
    controls : dict of str to widget
    readouts : dict of str to Readout
        The numbers of the mode on display.

    Raises
    ------
    TypeError
        If ``modes`` are none.
    ValueError
        If a property has the wrong shape, an argument names none, or no mode lies in the range.
    """

    chosen = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0))

    def __init__(
        self,
        modes: VibrationalModes,
        *,
        properties: Mapping[str, Any] | None = None,
        x: str = FREQUENCY,
        y: str | None = None,
        colour: str | None = None,
        size: str | None = None,
        chosen: tuple[int, int] | None = None,
        repeats: Sequence[int] | None = None,
        range_THz: tuple[float, float] | None = None,
        title: str = "Modes",
        height: int = 420,
    ):
        self.shapes = ModeShapes(modes, repeats)
        if properties is None:
            properties = {"participation ratio": participation_ratios(modes)}
        columns = self.shapes.columns({FREQUENCY: modes.frequencies_THz, **properties})
        low, high = (-np.inf, np.inf) if range_THz is None else range_THz
        kept = (columns[FREQUENCY] >= low) & (columns[FREQUENCY] <= high)
        if not kept.any():
            raise ValueError(f"range_THz is ({low}, {high}), but no mode lies between.")
        self.points = self.shapes.points[kept]
        self.properties = {name: values[kept] for name, values in columns.items()}
        self._given = dict(properties)
        self._place = {(int(q), int(n)): k for k, (q, n) in enumerate(self.points)}
        self._fastest = float(np.abs(self.properties[FREQUENCY]).max())
        axes = [name for name, values in self.properties.items() if values.dtype.kind in "biuf"]
        others = [name for name in self.properties if name != FREQUENCY]
        if y is None:
            y = next((name for name in axes if name not in (FREQUENCY, x)), FREQUENCY)
        if colour is None:
            colour = next((name for name in others if name not in (x, y)), NOTHING)
        asked = {"x": (x, axes), "y": (y, axes), "colour": (colour, [NOTHING, *self.properties])}
        asked["size"] = (NOTHING if size is None else size, [NOTHING, *axes])
        for name, (value, accepted) in asked.items():
            if value not in accepted:
                raise ValueError(f"{name} is {value!r}; accepted are {', '.join(map(repr, accepted))}.")
        wide = ipywidgets.Layout(width="auto")
        self.controls: dict[str, ipywidgets.Widget] = {
            "mode": ipywidgets.IntSlider(1, min=1, max=len(self.points), description="mode"),
            **{
                name: ipywidgets.Dropdown(options=options, value=value, description=name)
                for name, (value, options) in asked.items()
            },
            "log": ipywidgets.Checkbox(False, description="logarithm of y"),
            "paint": ipywidgets.Dropdown(
                options=[SHARE, ELEMENT],
                value=ELEMENT if self.shapes.repeats != (1, 1, 1) else SHARE,
                description="atoms",
            ),
            "amplitude": ipywidgets.FloatSlider(
                0.6, min=0.05, max=2, step=0.05, description="amplitude", readout_format=".2f"
            ),
            "pace": ipywidgets.FloatSlider(1, min=0.1, max=4, step=0.1, description="speed", readout_format=".1f"),
            "scale": ipywidgets.Dropdown(options=[EQUAL, TRUE], description="is"),
        }
        tips = {"amplitude": "of the atom that moves most, in Å", "pace": "periods per second; of the fastest mode"}
        for name, control in self.controls.items():
            control.layout = wide
            control.style.description_width = "72px"
            control.tooltip = tips.get(name)
        self.readouts = {name: _readout(name) for name in self._numbers(0)}
        self.map = LiveMap(np.zeros(len(self.points)), np.zeros(len(self.points)), labels=self._labels(), height=height)
        self.atoms = LiveAtoms(self.shapes.atoms, wrap=False, height=height)
        super().__init__([*self.controls.values(), *self.readouts.values()], [self.map], self.atoms, title or "Modes")
        self.add_class("matterscape-modes")
        self._draw_map()
        self.map.observe(self._follow_map, "active")
        self.atoms.on_msg(self._step)
        self._link = ipywidgets.jslink((self.controls["amplitude"], "value"), (self.atoms, "amplitude"))
        self.controls["mode"].observe(self._follow_slider, "value")
        for name in ("x", "y", "colour", "size", "log"):
            self.controls[name].observe(self._redraw_map, "value")
        self.controls["paint"].observe(self._repaint, "value")
        for name in ("pace", "scale"):
            self.controls[name].observe(lambda _: self._set_pace(), "value")
        first = tuple(self.points[np.argmin(np.abs(self.properties[FREQUENCY]))].tolist()) if chosen is None else chosen
        if tuple(first) == self.chosen:  # nothing changes that could be observed
            self._show({})
        self.chosen = first
        self.status(
            "Click a point or walk with the arrow keys: its mode moves. Over the atoms, page up and page down change "
            "the mode, space pauses, A shows arrows, S saves."
        )

    @property
    def point(self) -> int:
        """Place of the mode on display among ``points``."""
        return self._place[self.chosen]

    @traitlets.validate("chosen")
    def _check_chosen(self, proposal) -> tuple[int, int]:
        if proposal["value"] not in self._place:
            wavevectors, modes = self.shapes.modes.angular_frequencies.shape
            raise ValueError(
                f"chosen is {proposal['value']}, but must be a wavevector, 0 to {wavevectors - 1}, and a mode, 0 to "
                f"{modes - 1}, on the map."
            )
        return proposal["value"]

    @traitlets.observe("chosen")
    def _show(self, _: dict) -> None:
        point = self.point
        with self.reporting(lambda: f"Mode {point + 1:,} of {len(self.points):,}: {self._words(point)}."):
            pattern = self.shapes.displacements(*self.chosen)
            self.atoms.update(vibration=pattern, **self._paint())
            self.atoms.picture_name = f"mode-{self.properties[FREQUENCY][point]:.3f}-THz.png"
            self._set_pace()
            for name, value in self._numbers(point).items():
                self.readouts[name].show(value)
            self.controls["mode"].value = point + 1
            if len(self.map.selected) == 1:
                self.map.selected = (point,)
            self.map.active = point

    def write(self, path: str | Path, **options: Any) -> Path:
        """Write the modes as a chemiscope page or data set, with arrows or films of the atoms.

        Parameters
        ----------
        path : str or Path
            Ends in ``.html``, ``.json`` or ``.json.gz``.
        **options
            Of :func:`matterscape.maps.vibrations.mode_map`.

        Returns
        -------
        Path
        """
        options = {"amplitude": self.atoms.amplitude, **options}
        return mode_map(self.shapes, self._given, **options).write(path)

    def _paint(self) -> dict[str, Any]:
        """Colours and sizes of the atoms."""
        if self.controls["paint"].value == ELEMENT:
            return {"colour": None, "colour_range": None, "sizes": None, "colour_label": ""}
        shares = self.shapes.shares(*self.chosen) * len(self.shapes.modes.masses)
        largest = shares.max()
        return {
            "colour": shares,
            "colour_range": (0.0, largest),
            "sizes": SMALLEST + (1 - SMALLEST) * np.sqrt(shares / largest),
            "colour_label": "share of the motion, mean 1",
        }

    def _numbers(self, point: int) -> dict[str, Any]:
        """What the table tells of a mode."""
        wavevector, mode = (int(index) for index in self.points[point])
        numbers: dict[str, Any] = {"index": f"{wavevector}, {mode}"}
        if len(self.shapes.modes.wavevectors) > 1:
            numbers["wavevector"] = " ".join(f"{k:.3g}" for k in self.shapes.modes.wavevectors[wavevector] + 0.0)
        for name, values in self.properties.items():
            value = values[point]
            text = values.dtype.kind not in "iuf"
            numbers[name] = str(value) if text else float(value) if np.isfinite(value) else "–"
        elements = self.shapes.element_shares(wavevector, mode)
        if len(elements) > 1:
            numbers |= {f"share of {name} (%)": 100 * share for name, share in elements.items()}
        return numbers

    def _words(self, point: int) -> str:
        words = f"{self.properties[FREQUENCY][point]:.3f} THz"
        if len(self.shapes.modes.wavevectors) > 1:
            running = np.iscomplexobj(self.shapes.displacements(*self.points[point]))
            words += ", a running wave" if running else ", a standing wave"
        return words

    def _labels(self) -> list[str]:
        frequencies = self.properties[FREQUENCY]
        if len(self.shapes.modes.wavevectors) == 1:
            return [f"mode {n}, {f:.3g} THz" for (_, n), f in zip(self.points, frequencies)]
        return [f"mode {n} at wavevector {q}, {f:.3g} THz" for (q, n), f in zip(self.points, frequencies)]

    def _draw_map(self) -> None:
        def values(name: str) -> np.ndarray | None:
            chosen = self.controls[name].value
            return None if chosen == NOTHING else self.properties[chosen]

        def label(name: str) -> str:
            return self.controls[name].value if self.controls[name].value != NOTHING else ""

        y, y_label = values("y").astype(float), label("y")
        if self.controls["log"].value:
            y = np.log10(np.where(y > 0, y, np.nan))
            y_label = f"log10 of {y_label}"
        self.map.update(
            values("x").astype(float),
            y,
            values("colour"),
            values("size"),
            x_label=label("x"),
            y_label=y_label,
            colour_label=label("colour"),
            size_label=label("size"),
        )

    def _redraw_map(self, _: dict) -> None:
        with self.reporting(
            f"{len(self.points):,} modes by {self.controls['x'].value} and {self.controls['y'].value}."
        ):
            self._draw_map()

    def _repaint(self, _: dict) -> None:
        with self.reporting(f"Atoms coloured by {self.controls['paint'].value}."):
            self.atoms.update(**self._paint())

    def _set_pace(self) -> None:
        pace = self.controls["pace"].value
        if self.controls["scale"].value == TRUE:
            pace *= abs(self.properties[FREQUENCY][self.point]) / self._fastest
        self.atoms.pace = pace

    def _follow_map(self, change: dict) -> None:
        if change["new"] is not None:
            self.chosen = tuple(self.points[change["new"]].tolist())

    def _follow_slider(self, change: dict) -> None:
        self.chosen = tuple(self.points[change["new"] - 1].tolist())

    def _step(self, _: Any, content: Any, __: Any) -> None:
        """The keys page up and page down."""
        point = self.point + int(content["step"])
        if 0 <= point < len(self.points):
            self.chosen = tuple(self.points[point].tolist())


def _readout(name: str) -> Readout:
    """An empty readout for a name like "frequency (THz)"."""
    label, unit = name_and_unit(name)
    return Readout(label, unit=unit)
