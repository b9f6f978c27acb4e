"""ConductivityView: a conductivity from currents, with every choice of the analysis on a slider."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets

from matterscape.checks import check_number
from matterscape.transport.currents import Currents
from matterscape.transport.onsager import Conductivity
from matterscape.transport.spectra import binned_spectrum

from .conductivity_analysis import Analysis, Part, Shift
from .currents_upload import CurrentsUpload
from .curve import Curve, Series
from .study import Readout, Study
from .tutorial_views import row

SYMBOLS = {"energy": "κ", "charge": "σ"}
QUANTITIES = {"energy": "thermal conductivity κ", "charge": "electrical conductivity σ"}
ALL = "all"
DRAWN = 300  # points of a smooth curve
SHIFTS = 3.0  # the shift reaches that many times the ratio of the currents' sizes
PAUSE = 0.01  # seconds that a scan of cutoffs leaves to the sliders between two steps
_PLAIN = "periodogram"
_CHOSEN = "chosen"
_BEST = "Akaike's choice"


class ConductivityView(Study):
    """Periodogram, filter frequency, cepstral cutoff and the conductivity that follows, live.

    On display are the periodogram with its cepstral fit (in units of the conductivity, which is where the fit meets
    zero frequency), Akaike's criterion and the conductivity against the number of cepstral coefficients, and the
    conductivity against the filter frequency. Clicks on the curves set what they show. A file of one's own takes the
    place of the currents.

    Parameters
    ----------
    currents : Currents, optional
        With at least one current of energy or charge; without any, the view waits for a file.
    cutoff_THz : float, optional
        Filter frequency f* to begin with; by default one that keeps most of the power.
    title : str
        A heading.

    Attributes
    ----------
    conductivity : Conductivity or None
        What is on display: value, error, unit, f*, K and the rest; observe it.
    currents : Currents or None
    upload : CurrentsUpload
    controls : dict of str to widget
        quantity, shift, cutoff, n_coefficients, akaike, used, component, segment.
    taking_part : dict of str to ToggleButton
        The currents that vanish in the definition of the conductivity, beside the one that flows.

    Raises
    ------
    ValueError
        If there is no current of energy or charge, or the series are too short.
    """

    conductivity = traitlets.Instance(Conductivity, allow_none=True, read_only=True)

    def __init__(
        self, currents: Currents | None = None, *, cutoff_THz: float | None = None, title: str = "Conductivity"
    ):
        self.currents: Currents | None = None
        self.analysis: Analysis | None = None
        self._analyses: dict[str, Analysis] = {}
        self._scanned: dict[Any, dict[float, tuple[float, float]]] = {}
        self._scan_task: asyncio.Task | None = None
        self._quiet = False
        self._make_views()
        self._make_controls()
        self.upload = CurrentsUpload()
        self._file = ipywidgets.Accordion([self.upload], titles=("Your own file",), selected_index=None)
        quantity, *rest = self.controls.values()
        self._panel = ipywidgets.VBox(
            [quantity, self._others, *rest, *self.readouts.values(), self.export_button, self._link],
            layout=ipywidgets.Layout(width="100%", grid_gap="4px", display="none"),
        )
        plots = [self.spectrum, row(self.criterion, self.truncation), self.cutoffs]
        super().__init__([self._panel, self._file], plots, title=title)
        self.add_class("matterscape-conductivity")
        self.upload.observe(lambda change: self._read(change["new"]), "currents")
        for name, control in self.controls.items():
            control.observe(lambda _, name=name: self._changed(name), "value")
        self.truncation.observe(self._clicked_number, "active")
        self.criterion.observe(self._clicked_number, "active")
        self.cutoffs.observe(self._clicked_cutoff, "active")
        if currents is None:
            self._file.selected_index = 0
            self.status("Upload a file of currents.")
        else:
            self.load(currents, cutoff_THz)

    # -- data ----------------------------------------------------------------------------------------------------------

    def load(self, currents: Currents, cutoff_THz: float | None = None) -> None:
        """Show other currents.

        Raises
        ------
        ValueError
            As the constructor; the view then keeps what it shows.
        """
        names = [name for name, kind in zip(currents.names, currents.kinds) if kind in SYMBOLS]
        if not names:
            raise ValueError(
                f"currents are {', '.join(currents.kinds)}; a conductivity needs one of energy or of charge."
            )
        if cutoff_THz is not None:
            check_number("cutoff_THz", cutoff_THz, "THz", positive=True)
        analysis = Analysis(currents, names[0])
        self.currents, self.analysis, self._analyses = currents, analysis, {names[0]: analysis}
        self._scanned.clear()
        with self._silently():
            labels = [(f"{QUANTITIES[currents.kinds[currents.index(name)]]} ({name})", name) for name in names]
            self.controls["quantity"].options = labels
            self.controls["quantity"].value = names[0]
            length = currents.duration_ps
            used = self.controls["used"]
            used.min, used.max = 0.0, max(length, used.max)
            used.value, used.max = (0.0, length), length
            used.step = length / 100
            used.readout_format = ".0f" if length >= 20 else ".2f"
            components = "xyz" if currents.n_components == 3 else "123456789"[: currents.n_components]
            self._offer("component", [(letter, k) for k, letter in enumerate(components)], currents.n_components)
            self._offer("segment", [(str(k + 1), k) for k in range(currents.n_segments)], currents.n_segments)
            self.controls["akaike"].value = True
            self._choose_quantity(cutoff_THz)
        self._panel.layout.display = ""
        self._recompute()

    def _offer(self, name: str, options: list[tuple[str, int]], count: int) -> None:
        self.controls[name].options = [(ALL, ALL), *options]
        self.controls[name].value = ALL
        self.controls[name].layout.display = "" if count > 1 else "none"

    def _choose_quantity(self, cutoff_THz: float | None = None) -> None:
        """Set the controls that depend on which conductivity is wanted."""
        currents, name = self.currents, self.controls["quantity"].value
        if name not in self._analyses:
            self._analyses[name] = Analysis(currents, name)
        self.analysis = self._analyses[name]
        others = [other for other in currents.names if other != name]
        thermal = self.symbol == SYMBOLS["energy"]
        self.taking_part = {}
        for other in others:
            button = ipywidgets.ToggleButton(
                thermal and self._may_take_part(), description=other, layout=ipywidgets.Layout(width="auto")
            )
            button.disabled = not thermal
            button.observe(lambda _: self._changed("taking_part"), "value")
            self.taking_part[other] = button
        caption = "vanishing currents:" if thermal else "other currents do not matter here"
        self._others.children = [ipywidgets.HTML(caption), *(self.taking_part.values() if thermal else ())]
        self._others.layout.display = "" if others else "none"
        shift = self.controls["shift"]
        shift.layout.display = "" if others and thermal else "none"
        shift.value = 0.0
        if others:
            ratio = np.linalg.norm(currents[name]) / np.linalg.norm(currents[others[0]])
            reach = float(f"{SHIFTS * ratio:.1g}")
            shift.min, shift.max, shift.step = -reach, reach, reach / 50
            shift.description = f"+ c {others[0]}, c"
        self._fill_cutoffs(self.analysis.suggested_THz if cutoff_THz is None else cutoff_THz)

    def _may_take_part(self) -> bool:
        """Whether all other currents leave a degree of freedom."""
        return self.currents.n_currents <= self.currents.n_segments * self.currents.n_components

    def _fill_cutoffs(self, wanted_THz: float) -> None:
        offered = self.analysis.cutoffs_THz
        slider = self.controls["cutoff"]
        slider.options = [(f"{cutoff:.3g} THz", float(cutoff)) for cutoff in offered]
        slider.value = float(offered[np.argmin(np.abs(np.log(offered / wanted_THz)))])

    def _read(self, currents: Currents | None) -> None:
        if currents is not None:
            with self._reported():
                self.load(currents)

    # -- what a person reads -------------------------------------------------------------------------------------------

    @property
    def symbol(self) -> str:
        """κ or σ."""
        return SYMBOLS[self.currents.kinds[self.currents.index(self.controls["quantity"].value)]]

    @property
    def part(self) -> Part:
        """Which of the data take part."""
        names = [self.controls["quantity"].value, *(name for name, box in self.taking_part.items() if box.value)]
        start, stop = self.controls["used"].value
        component, segment = (self.controls[name].value for name in ("component", "segment"))
        return Part(
            tuple(names), start, stop, None if component == ALL else component, None if segment == ALL else segment
        )

    @property
    def shift(self) -> Shift | None:
        """What is added to the current of energy."""
        coefficient = self.controls["shift"].value
        return Shift(next(iter(self.taking_part)), coefficient) if coefficient and self.taking_part else None

    def numbers(self) -> dict[str, Any]:
        """Everything on display as plain numbers, fit for JSON.

        Raises
        ------
        ValueError
            If nothing is on display.
        """
        if self.conductivity is None:
            raise ValueError("there is no conductivity yet; give currents or upload a file first.")
        found, part, shift = self.conductivity, self.part, self.shift
        smooth = self._smooth_frequencies()
        values, errors = found.scan(self.controls["n_coefficients"].max)
        scan = sorted(self._scanned.get(self._scan_key(), {}).items())
        return {
            "quantity": self.symbol,
            "value": found.value,
            "error": found.error,
            "unit": found.unit,
            "cutoff_THz": found.cutoff_THz,
            "n_coefficients": found.n_coefficients,
            "n_coefficients_akaike": found.cepstral.best_n_coefficients,
            "degrees_of_freedom": found.degrees_of_freedom,
            "n_samples_filtered": found.periodogram.n_samples,
            "currents": list(part.names),
            "start_ps": part.start_ps,
            "stop_ps": part.stop_ps,
            "component": part.component,
            "segment": part.segment,
            "shift": None if shift is None else {"of": shift.other, "coefficient": shift.coefficient},
            "timestep_fs": self.currents.timestep_fs,
            "temperature_K": self.currents.temperature_K,
            "volume_A3": self.currents.volume,
            "spectrum": {
                "frequency_THz": smooth.tolist(),
                "value": (found.factor * found.cepstral.spectrum(smooth)).tolist(),
                "log_error": found.cepstral.spectrum_log_error(smooth).tolist(),
            },
            "by_n_coefficients": {
                "value": values.tolist(),
                "error": errors.tolist(),
                "information_criterion": found.cepstral.information_criterion[: len(values)].tolist(),
            },
            "by_cutoff": {
                "cutoff_THz": [cutoff for cutoff, _ in scan],
                "value": [value for _, (value, _) in scan],
                "error": [error for _, (_, error) in scan],
            },
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`numbers` as JSON."""
        Path(path).write_text(json.dumps(self.numbers(), indent=1), encoding="utf-8")

    # -- controls ------------------------------------------------------------------------------------------------------

    def _make_views(self) -> None:
        self.spectrum = Curve(x_label="frequency (THz)", y_label="spectrum", y_scale="linear", height=300)
        self.criterion = Curve(x_label="cepstral coefficients kept, K", y_label="AIC − minimum", height=240)
        self.truncation = Curve(x_label="cepstral coefficients kept, K", height=240)
        self.cutoffs = Curve(x_label="filter frequency f* (THz)", height=240)

    def _make_controls(self) -> None:
        def labelled(kind: type[ipywidgets.Widget], text: str, **more: Any) -> ipywidgets.Widget:
            return kind(
                description=text, layout=ipywidgets.Layout(width="auto"), style={"description_width": "100px"}, **more
            )

        self.controls = {
            "quantity": labelled(ipywidgets.Dropdown, "quantity"),
            "shift": labelled(ipywidgets.FloatSlider, "c", value=0.0, readout_format=".3g"),
            "cutoff": labelled(ipywidgets.SelectionSlider, "filter f*", options=[("–", 0.0)]),
            "n_coefficients": labelled(ipywidgets.IntSlider, "K = P* − 1", min=0, max=1),
            "akaike": labelled(ipywidgets.Checkbox, "K by Akaike's criterion", value=True, indent=False),
            "used": labelled(ipywidgets.FloatRangeSlider, "used (ps)", min=0.0, max=1.0),
            "component": labelled(ipywidgets.Dropdown, "component", options=[ALL]),
            "segment": labelled(ipywidgets.Dropdown, "segment", options=[ALL]),
        }
        self.taking_part: dict[str, ipywidgets.ToggleButton] = {}
        self._others = ipywidgets.HBox(layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center"))
        self.readouts = {
            name: Readout(name, "–", unit)
            for name, unit in (
                ("Conductivity", ""),
                ("… one current", ""),
                ("Filter", "THz"),
                ("Coefficients", ""),
                ("Degrees of freedom", ""),
                ("Samples left", ""),
            )
        }
        self.export_button = ipywidgets.Button(description="Export numbers", layout=ipywidgets.Layout(width="auto"))
        self.export_button.on_click(lambda _: self._export())
        self._link = ipywidgets.HTML()

    @contextmanager
    def _silently(self):
        """Set controls without their acting."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    @contextmanager
    def _reported(self):
        """Show a failure as a sentence."""
        try:
            yield
        except Exception as error:  # of a handler; a log would hide it
            self.error(error)

    def _changed(self, name: str) -> None:
        if self._quiet or self.analysis is None:
            return
        with self._reported():
            if name == "quantity":
                with self._silently():
                    self._choose_quantity()
            if name == "n_coefficients":
                with self._silently():
                    self.controls["akaike"].value = False
            self._recompute()

    def _clicked_number(self, change: dict) -> None:
        if change["new"] is not None and change["new"][0] not in (_CHOSEN, _BEST):
            self.controls["n_coefficients"].value = change["new"][1]

    def _clicked_cutoff(self, change: dict) -> None:
        if change["new"] is not None and change["new"][0] != _CHOSEN:
            self.controls["cutoff"].value = float(self._scan_cutoffs()[change["new"][1]])

    def _export(self) -> None:
        with self._reported():
            content = base64.b64encode(json.dumps(self.numbers(), indent=1).encode()).decode()
            self._link.value = (
                f'<a download="conductivity.json" href="data:application/json;base64,{content}">conductivity.json</a>'
            )

    # -- computation ---------------------------------------------------------------------------------------------------

    def _recompute(self) -> None:
        part, shift, cutoff = self.part, self.shift, self.controls["cutoff"].value
        found, warned = self.analysis.conductivity(part, cutoff, shift)
        alone, _ = self.analysis.conductivity(replace(part, names=part.names[:1]), cutoff, shift)
        best = found.cepstral.best_n_coefficients
        slider = self.controls["n_coefficients"]
        with self._silently():
            wanted = best if self.controls["akaike"].value else min(slider.value, found.periodogram.n_samples // 2)
            slider.max = min(found.periodogram.n_samples // 2, max(30, 4 * best, 2 * wanted))
            slider.value = wanted
        found = found.with_coefficients(wanted)
        self._draw(found, part, shift)
        self.set_trait("conductivity", found)
        self._link.value = ""
        for name in ("Conductivity", "… one current"):
            self.readouts[name].unit = found.unit
        for name, value in {
            "Conductivity": plus_minus(found.value, found.error),
            "… one current": plus_minus(alone.value, alone.error),
            "Filter": found.cutoff_THz,
            "Coefficients": f"K = {wanted}, P* = {wanted + 1}" + (" (Akaike)" if wanted == best else ""),
            "Degrees of freedom": found.degrees_of_freedom,
            "Samples left": found.periodogram.n_samples,
        }.items():
            self.readouts[name].show(value)
        self._scan()
        conditions = f"{self.currents.temperature_K:.4g} K, {self.currents.volume:.5g} Å³"
        self.status(
            "; ".join((f"{', '.join(part.names)}: {part.stop_ps - part.start_ps:.4g} ps at {conditions}", *warned))
        )

    def _smooth_frequencies(self) -> np.ndarray:
        return np.linspace(0.0, self.conductivity.cutoff_THz, DRAWN)

    def _draw(self, found: Conductivity, part: Part, shift: Shift | None) -> None:
        label = f"{self.symbol} ({found.unit})"
        cutoff, number = found.cutoff_THz, found.n_coefficients
        limit = min(self.currents.nyquist_THz, max(3 * self.analysis.suggested_THz, 1.2 * cutoff))
        frequencies, values = self.analysis.unfiltered_spectrum(part, limit, shift)
        filtered = binned_spectrum(found.periodogram.frequencies_THz, found.factor * found.periodogram.values, DRAWN)
        smooth = np.linspace(0.0, cutoff, DRAWN)
        fit, spread = found.factor * found.cepstral.spectrum(smooth), found.cepstral.spectrum_log_error(smooth)
        self.spectrum.update(
            {
                _PLAIN: (frequencies, values),
                "filtered": filtered,
                f"cepstral fit, K = {number}": Series(smooth, fit, fit * np.exp(-spread), fit * np.exp(spread)),
                "f*": ([cutoff, cutoff], [float(values.min()), float(values.max())]),
            },
            y_scale="log",
            y_label=f"spectrum, at 0 {label}",
        )
        largest = self.controls["n_coefficients"].max
        numbers = np.arange(largest + 1)
        criterion = found.cepstral.information_criterion
        criterion = criterion[: largest + 1] - criterion.min()
        best = found.cepstral.best_n_coefficients
        # far too few coefficients are so bad that nothing else would be seen
        shown = np.where(criterion > 2 * max(criterion[best:].max(), 10.0), np.nan, criterion)
        self.criterion.update(
            {
                "AIC": (numbers, shown),
                _BEST: Series([best], [0.0], style="points"),
                _CHOSEN: Series([number], [shown[number]], style="points"),
            }
        )
        values, errors = found.scan(largest)
        self.truncation.update(
            {
                self.symbol: Series(numbers, values, values - errors, values + errors),
                _BEST: Series([best], [values[best]], style="points"),
                _CHOSEN: Series([number], [values[number]], style="points"),
            },
            y_label=label,
        )

    # -- scan of the filter frequency ----------------------------------------------------------------------------------

    def _scan_cutoffs(self) -> np.ndarray:
        return self.analysis.scanned_cutoffs(self.part)

    def _scan_key(self) -> Any:
        """Data and shift that a scan belongs to; with the shifted current taking part the shift does not matter."""
        part, shift = self.part, self.shift
        return part, shift if shift is not None and shift.other not in part.names else None

    def _scan(self) -> None:
        """Draw the scan as far as it is known, and go on with it while nothing else is to be done."""
        key = self._scan_key()
        self._draw_scan(key)
        if self._scan_task is not None:
            self._scan_task.cancel()
            self._scan_task = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a script: nobody waits for sliders
            for cutoff in self._scan_cutoffs():
                self._scan_step(key, cutoff)
            self._draw_scan(key)
        else:
            self._scan_task = loop.create_task(self._scan_later(key, self._scan_cutoffs()))

    async def _scan_later(self, key: Any, cutoffs: np.ndarray) -> None:
        for count, cutoff in enumerate(cutoffs, start=1):
            await asyncio.sleep(PAUSE)
            with self._reported():
                if self._scan_step(key, cutoff) and (count % 4 == 0 or count == len(cutoffs)):
                    self._draw_scan(key)
        self._draw_scan(key)

    def _scan_step(self, key: Any, cutoff: float) -> bool:
        """One more point, unless it is known."""
        known = self._scanned.setdefault(key, {})
        if cutoff in known:
            return False
        found, _ = self.analysis.conductivity(key[0], float(cutoff), key[1])
        known[cutoff] = (found.value, found.error)
        return True

    def _draw_scan(self, key: Any) -> None:
        known = self._scanned.get(key, {})
        cutoffs = np.array([cutoff for cutoff in self._scan_cutoffs() if cutoff in known])
        values, errors = np.array([known[cutoff] for cutoff in cutoffs]).reshape(-1, 2).T
        chosen = self.conductivity
        self.cutoffs.update(
            {
                self.symbol: Series(cutoffs, values, values - errors, values + errors, style="both"),
                _CHOSEN: Series([chosen.cutoff_THz], [chosen.value], style="points"),
            },
            x_scale="log",
            y_label=f"{self.symbol} ({chosen.unit})",
        )


def plus_minus(value: float, error: float) -> str:
    """A number with its error to two digits: 0.492 ± 0.030."""
    if not np.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
