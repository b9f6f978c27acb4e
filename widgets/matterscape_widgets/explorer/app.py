"""Explorer: the app of `explore.ipynb`."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
from ase import Atoms

from matterscape.maps import Cancelled, Exploration, Outcome, Projection, Settings
from matterscape.maps.projection import SUPERVISED
from matterscape.maps.samples import MAX_POINTS

from ..curve import Curve
from ..live_map import LiveMap
from ..run import Run
from ..structure_pane import StructurePane, link
from ..study import Study
from . import plots, text
from .controls import Controls
from .details import PointCard
from .exports import export
from .sources import Source, load_preferred, load_source, read_source

AT_ONCE = 0.2  # seconds; a step that took longer is done in the background
LET_FINISH = 1.5  # seconds; a longer step is cancelled when the settings change meanwhile
LARGEST_LINK = 4e6  # bytes of a file that travels inside the page
STEP = "computing"
TRAINING = "training the ensemble"
DROPPED = "The ensemble belonged to other features or another target and is gone; train it again for these."


class Explorer(Study):
    """Structures -> descriptors -> map -> model -> outliers -> files, live.

    Parameters
    ----------
    frames : Source or sequence of ase.Atoms, optional
        Structures with properties in ``info`` and ``arrays``, or what `load_source` or `read_source` returns.
    dataset : str, optional
        A data set of `matterscape.datasets`, or ``"generated"``. Without frames and dataset, Li3PS4 if it is cached or
        within reach, else the generated set.
    settings : Settings or dict, optional
        What to start with, or only some of it; the rest is chosen to suit the data.
    max_points : int
        More structures or environments than that are sampled.
    folder : str or Path
        Where exports go.

    Attributes
    ----------
    outcome : Outcome
        Everything that is on display: features, projection, model, properties.
    exploration : Exploration
        The data, with `run` for settings of one's own.
    settings : Settings
        What the controls say.
    source : Source
        The data and where they come from.
    map, curve, pane, card, run : widgets
        The views; ``map.active`` and ``map.selected`` are what was clicked and what was fenced in.

    Raises
    ------
    TypeError, ValueError, OSError
        If the data given here are unfit or out of reach. Later problems appear in the status line.
    """

    def __init__(
        self,
        frames: Source | Sequence[Atoms] | None = None,
        dataset: str | None = None,
        *,
        settings: Settings | Mapping[str, Any] | None = None,
        max_points: int = MAX_POINTS,
        folder: str | Path = ".",
    ):
        if frames is not None and dataset is not None:
            raise ValueError(f"frames and dataset exclude each other; give one of them, not also dataset {dataset!r}")
        self.max_points = max_points
        self.folder = Path(folder)
        if isinstance(frames, Source):
            source = frames
        elif frames is not None:
            source = Source("structures", list(frames), "Your structures")
        else:
            source = load_preferred() if dataset is None else load_source(dataset)
        changes = asdict(settings) if isinstance(settings, Settings) else dict(settings or {})
        accepted = [entry.name for entry in fields(Settings)]
        if unknown := set(changes) - set(accepted):
            raise ValueError(f"settings has no entry {sorted(unknown)[0]!r}; accepted are {', '.join(accepted)}")

        self.controls = Controls(source.name)
        self.map = LiveMap([], [], height=430)
        self.curve = Curve(height=340)
        self.card = PointCard()
        self.run = Run(self._work, "Compute", arguments=lambda: {"job": self._compute_job(self.controls.settings)})
        self.pane: StructurePane | None = None
        self._pane_box = ipywidgets.Box(layout=ipywidgets.Layout(width="100%"))
        self._plot_note = ipywidgets.HTML()
        self._plot_note.add_class("matterscape-note")
        self._untie: Callable[[], None] | None = None
        self._curve_result = None
        self._again = self._silent = False
        self._doing = ""
        self._last_seconds: dict[tuple, float] = {}
        self.outcome: Outcome | None = None
        structure = ipywidgets.VBox([self._pane_box, self.card])
        super().__init__(
            [*self.controls.children(), self.run],
            [self.map, self.controls.plot, self._plot_note, self.curve],
            structure,
            title="Explore structures",
        )
        self.add_class("matterscape-explorer")
        self._connect()
        self._accept(self._load_job(lambda: source, changes)(lambda fraction, message: None, lambda: False))

    # ---- what a person can read --------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What the controls say."""
        return self.controls.settings

    @property
    def busy(self) -> bool:
        """Whether something is computed in the background."""
        return self.run.state == "running"

    # ---- jobs, in the background -------------------------------------------------------------------------------------

    def _work(self, progress, cancelled, job: Callable) -> Any:
        try:
            return job(progress, cancelled)
        except Cancelled:
            return None

    def _load_job(self, load: Callable[[], Source], changes: Mapping[str, Any]) -> Callable:
        def job(progress, cancelled):
            progress(0.0, "reading structures")
            source = load()
            exploration = Exploration(source.frames, max_points=self.max_points)
            settings = exploration.suggested_settings()
            if "per" in changes and "target" not in changes:
                settings = replace(settings, target=next(iter(exploration.targets(changes["per"])), None))
            settings = replace(settings, **changes)
            return "data", source, exploration, exploration.run(settings, progress, cancelled)

        return job

    def _compute_job(self, settings: Settings) -> Callable:
        exploration = self.exploration
        return lambda progress, cancelled: ("step", exploration.run(settings, progress, cancelled))

    def _curve_job(self) -> Callable:
        exploration, outcome = self.exploration, self.outcome
        return lambda progress, cancelled: (
            "curve",
            outcome,
            exploration.learning_curve(outcome, progress=progress, cancelled=cancelled),
        )

    def _ensemble_job(self) -> Callable:
        exploration, outcome = self.exploration, self.outcome
        return lambda progress, cancelled: ("ensemble", exploration.ensemble(outcome, progress, cancelled))

    def _export_job(self, kind: str) -> Callable:
        outcome, colour, name = self.outcome, self.controls.colour.value, self.source.name

        def job(progress, cancelled):
            progress(0.1, "writing")
            return "file", export(outcome, kind, self.folder, name, colour)

        return job

    def _start(self, job: Callable, what: str) -> None:
        if self.busy:
            self._show_source()
            self.error(f"Something is being computed; wait for it or cancel it before {what}.")
            return
        self._doing = what
        self.status(f"{what[0].upper()}{what[1:]} ...")
        self.run.start(job=job)

    def _ended(self, run: Run) -> None:
        again, self._again = self._again, False
        if run.result is not None:
            with self._failures():
                self._accept(run.result, follow=not again)
        elif run.state == "failed":
            self.error(text.complaint(run.exception))
        else:
            self.status("Cancelled. The map shows what was computed before.")
        if again:  # the controls have moved on meanwhile
            self._changed()
        elif run.result is None:
            self._show_source()
            self._show_settings(self.outcome.settings)

    def _accept(self, result: tuple, follow: bool = True) -> None:
        """Take over what a job has computed; the controls follow it unless they are ahead of it."""
        kind, *parts = result
        if kind == "data":
            self.source, self.exploration, outcome = parts
            self.outcome = None
            self.controls.path.value = self.controls.link.value = ""
            self.controls.upload.value = ()
            self._show_source()
            self.controls.note.value = html.escape(text.data_note(self.source.frames, self.source.remark))
            self._show(outcome)
        elif kind == "step":
            self._show(parts[0], follow)
        elif kind == "curve":
            if parts[0].fit is self.outcome.fit:
                self._curve_result = parts[1]
                self.controls.plot.value = "learning curve"
                self._draw_plot()
            self.status(self._learning_sentence(parts[1]))
        elif kind == "ensemble":
            trained = parts[0]
            if trained.fit is self.outcome.fit:
                self._show(trained, follow)
                self.controls.plot.value = "uncertainty"
                self.status(" ".join([text.two_uncertainties(trained), *map(text.closed, trained.ensemble.remarks)]))
        else:
            self.controls.link.value = _download_link(parts[0])
            self.status(f"Written: {parts[0]} ({parts[0].stat().st_size / 1e6:,.2f} MB).")

    # ---- from the controls -------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        controls = self.controls
        for control in controls.computing:
            control.observe(lambda _: self._changed(), "value")
        controls.source.observe(lambda change: self._open(partial(load_source, change["new"])), "value")
        controls.path.on_submit(lambda box: self._open(partial(read_source, box.value)))
        controls.upload.observe(self._uploaded, "value")
        for menu in (controls.colour, controls.size):
            menu.observe(lambda _: self._silent or self._paint(), "value")
        controls.plot.observe(lambda _: self._draw_plot(), "value")
        controls.learn.on_click(lambda _: self._start(self._curve_job(), "learning curve"))
        controls.train.on_click(lambda _: self._start(self._ensemble_job(), TRAINING))
        controls.write.on_click(lambda _: self._start(self._export_job(controls.kind.value), "writing the file"))
        self.run.on_done(self._ended)
        self.map.observe(self._pointed, "active")
        self.map.observe(lambda _: self._fenced(), "selected")
        self.curve.observe(self._pointed_in_plot, "active")
        self.card.observe(self._jumped, "jump")

    def _uploaded(self, change: dict) -> None:
        if change["new"] and not self._silent:
            upload = change["new"][0]
            self._open(partial(read_source, {"name": upload["name"], "content": bytes(upload["content"])}))

    def _open(self, load: Callable[[], Source]) -> None:
        if not self._silent:
            self._start(self._load_job(load, {}), "reading structures")

    def _changed(self) -> None:
        """A control that asks for a computation has moved."""
        if self._silent:
            return
        settings = self.controls.settings
        if self.busy:
            self._again = True
            slow = self._doing == STEP and sum(self._last_seconds.values()) > LET_FINISH
            if slow or (self._doing == TRAINING and self._needs_other_model(settings)):
                self.run.cancel()
            return
        if settings.per != self.outcome.settings.per:
            targets = self.exploration.targets(settings.per)
            if settings.target is not None and settings.target not in targets:
                settings = replace(settings, target=next(iter(targets), None))
        if self._expected_seconds(settings) < AT_ONCE:
            with self._failures():
                self._show(self.exploration.run(settings))
            self._show_settings(self.outcome.settings)
        else:
            self._start(self._compute_job(settings), STEP)

    def _needs_other_model(self, settings: Settings) -> bool:
        """Whether models of what is on display are of no use for other settings."""
        old = self.outcome.settings
        return (settings.per, settings.descriptor, settings.target) != (old.per, old.descriptor, old.target)

    def _expected_seconds(self, settings: Settings) -> float:
        """What a step will take, from the last time that the same stages were computed."""
        old, last = self.outcome.settings, self._last_seconds
        if settings.per != old.per:
            return np.inf
        features = settings.descriptor != old.descriptor
        model = features or settings.target != old.target
        map_ = features or (settings.method, settings.mixing) != (old.method, old.mixing)
        map_ = map_ or (model and settings.method in SUPERVISED)
        needed = [("features",)] * features + [("map", settings.method)] * map_ + [("model",)] * model
        return sum(
            last.get(stage, 0.0 if stage == ("model",) and settings.target is None else np.inf) for stage in needed
        )

    # ---- to the views ------------------------------------------------------------------------------------------------

    def _show(self, outcome: Outcome, follow: bool = True) -> None:
        """Put an outcome on display."""
        old, self.outcome = self.outcome, outcome
        for stage, seconds in outcome.seconds.items():
            self._last_seconds[(stage, outcome.settings.method) if stage == "map" else (stage,)] = seconds
        new_points = old is None or old.samples is not outcome.samples
        if old is None or old.fit is not outcome.fit:
            self._curve_result = None
        if not new_points:
            outcome = self.outcome = replace(outcome, projection=_aligned(outcome.projection, old.projection))
        active = 0 if new_points else self.map.active
        if follow:
            self._show_settings(outcome.settings)
        with self._quietly():
            self.controls.offer(outcome)
            self._paint(new_points)
            if new_points:
                self._new_pane()
                self.controls.plot.value = plots.PLOTS[0]
            self.map.active = active
        self._show_card()
        self._draw_plot()
        dropped = old is not None and old.ensemble is not None and outcome.ensemble is None
        self.status(" ".join([text.closed(text.timing(outcome)), DROPPED]) if dropped else text.timing(outcome))

    def _show_settings(self, settings: Settings) -> None:
        with self._quietly():
            self.controls.show(settings, self.exploration.targets(settings.per))

    def _show_source(self) -> None:
        with self._quietly():
            self.controls.show_source(self.source.name)

    @contextmanager
    def _quietly(self):
        """Controls that are set in this block ask for nothing."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    @contextmanager
    def _failures(self):
        """What a handler raises is shown in the status line, where somebody sees it."""
        try:
            yield
        except Exception as problem:
            self.error(text.complaint(problem))

    def _paint(self, new_points: bool = False) -> None:
        """Draw the map: positions, colours, sizes."""
        outcome = self.outcome
        projection = outcome.projection
        shares = [
            f"{label} ({100 * share:.0f} %)" for label, share in zip(projection.labels, projection.explained_variance)
        ]
        colour = outcome.properties.get(self.controls.colour.value)
        size = outcome.properties.get(self.controls.size.value)
        more = {}
        if new_points:
            more["labels"] = [text.point_label(outcome.samples, k) for k in range(len(outcome.samples))]
        self.map.update(
            projection.coordinates[:, 0],
            projection.coordinates[:, 1],
            None if colour is None else colour.values,
            None if size is None else size.values,
            **more,
            x_label=shares[0],
            y_label=shares[1],
            colour_label="" if colour is None else text.with_unit(colour),
            size_label="" if size is None else text.with_unit(size),
        )

    def _new_pane(self) -> None:
        samples = self.outcome.samples
        if self._untie is not None:
            self._untie()
            _close(self.pane)
        self.map.selected = ()
        self.pane = StructurePane(
            samples.frames,
            samples.environments,
            cutoff=self.outcome.settings.cutoff,
            properties=self._map_properties,
        )
        self._pane_box.children = (self.pane,)
        self._untie = link(self.map, self.pane)

    def _map_properties(self) -> dict[str, np.ndarray]:
        """What chemiscope's own map shows."""
        coordinates = zip(self.outcome.projection.labels, self.outcome.projection.coordinates.T)
        return {**dict(coordinates), **{name: prop.values for name, prop in self.outcome.properties.items()}}

    def _draw_plot(self) -> None:
        if self.outcome is None:
            return
        kind = self.controls.plot.value
        fit = self.outcome.fit
        plot = plots.make_plot(kind, self.outcome, self._selected_samples(), self._curve_result)
        note = ""
        if fit is None:
            none = "These data have no property that a model could learn, so there is a map and no model."
            note = "Choose a target to see a model." if self.exploration.targets(self.outcome.settings.per) else none
        elif kind == "learning curve" and self._curve_result is None:
            note = "Press “Compute learning curve” to see how the error falls with more data."
        self._plot_note.value = note
        self.curve.layout.display = "none" if note else ""
        self.curve.update(**plot.arguments())
        self._mark_in_plot()

    def _selected_samples(self) -> np.ndarray:
        """Samples of the models that the fenced-in points belong to, ascending."""
        return np.unique([self.outcome.sample_of_point(p) for p in self.map.selected]).astype(int)

    def _mark_in_plot(self) -> None:
        if self.controls.plot.value in ("parity", "uncertainty") and self.outcome.fit is not None:
            point = self.map.active
            clicked = None if self.curve.active is None else self.curve.active[0]
            of_ensemble = clicked in (plots.ENSEMBLE, plots.SELECTED[plots.ENSEMBLE])
            cloud = plots.ENSEMBLE if of_ensemble and self.outcome.ensemble is not None else plots.RIDGE
            mark = None if point is None else (cloud, self.outcome.sample_of_point(point))
            if self.curve.active != mark:
                self.curve.active = mark

    def _show_card(self) -> None:
        point = self.map.active
        if point is not None:
            with self.card.hold_sync():
                self.card.jump = None
                for name, value in text.card(self.outcome, point).items():
                    setattr(self.card, name, value)

    # ---- from the views ----------------------------------------------------------------------------------------------

    def _pointed(self, change: dict) -> None:
        if not self._silent and change["new"] is not None:
            with self._failures():
                self._show_card()
                self._mark_in_plot()

    def _pointed_in_plot(self, change: dict) -> None:
        mark = change["new"]
        if mark is None or mark[0] not in (*plots.SELECTED, *plots.SELECTED.values()):
            return
        sample = mark[1]
        if mark[0] in plots.SELECTED.values():
            sample = int(self._selected_samples()[sample])
        if self.map.active is None or self.outcome.sample_of_point(self.map.active) != sample:
            self.map.active = self.outcome.point_of_sample(sample)

    def _jumped(self, change: dict) -> None:
        if change["new"] is not None:
            self.map.active = change["new"]

    def _fenced(self) -> None:
        if self._silent:
            return
        self._draw_plot()
        selected = list(self.map.selected)
        if not selected:
            self.status(text.timing(self.outcome))
            return
        parts = [f"{len(selected):,} of {len(self.outcome.samples):,} points are selected"]
        colour = self.outcome.properties.get(self.controls.colour.value)
        if colour is not None and not colour.categorical:
            values = colour.values[selected]
            unit = f" {colour.unit}" if colour.unit else ""
            parts.append(f"{colour.name} {np.nanmean(values):.4g}{unit} on average ({np.nanstd(values):.2g} spread)")
        self.status(" · ".join(parts))

    def _learning_sentence(self, curve) -> str:
        unit = f" {self.outcome.fit.target.unit}" if self.outcome.fit.target.unit else ""
        return (
            f"Learning curve: test error {curve.mean[0]:.3g}{unit} with {curve.sizes[0]} training samples, "
            f"{curve.mean[-1]:.3g}{unit} with {curve.sizes[-1]}."
        )


def _close(widget: ipywidgets.Widget) -> None:
    """Close a widget and all that it holds: the page keeps megabytes of each viewer until it is told to let go."""
    for child in getattr(widget, "children", ()):
        _close(child)
    widget.close()


def _aligned(new: Projection, old: Projection) -> Projection:
    """A projection with the signs of another of the same points, so that a slider does not flip the map."""
    if new is old or new.coordinates.shape != old.coordinates.shape or new.method != old.method:
        return new
    signs = np.where((new.coordinates * old.coordinates).sum(axis=0) < 0, -1.0, 1.0)
    return replace(new, coordinates=new.coordinates * signs)


def _download_link(path: Path) -> str:
    """The name of a file; a link that holds the file itself if it is small."""
    name = html.escape(path.name)
    if path.stat().st_size > LARGEST_LINK:
        return f"Written to <b>{name}</b> (too large for a link in the page)"
    content = base64.b64encode(path.read_bytes()).decode()
    return f'Written to <a download="{name}" href="data:application/octet-stream;base64,{content}">{name}</a>'
