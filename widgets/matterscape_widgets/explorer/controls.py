"""The controls of the explorer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import ipywidgets
from ipywidgets import HTML, Button, Dropdown, FileUpload, FloatSlider, HBox, IntSlider, Layout, Text, ToggleButtons

from matterscape.maps import Outcome, Settings
from matterscape.maps.projection import SUPERVISED

from . import plots, text
from .exports import KINDS
from .sources import offered

METHODS = [("PCA", "pca"), ("kernel PCA", "kpca"), ("PCovR", "pcovr"), ("kernel PCovR", "kpcovr")]
NONE = "none"
OWN = "own"


class Controls:
    """Menus, sliders and buttons, without any behaviour of their own.

    Parameters
    ----------
    name : str
        Name of the data on display.
    """

    def __init__(self, name: str):
        self._filled = False
        self._shown = Settings()  # holds what has no control
        self.source = Dropdown(**_row("set"))
        self.show_source(name)
        self.path = Text(placeholder="path of your file", layout=Layout(flex="1 1 0", min_width="0"))
        self.path.add_class("matterscape-path")
        self.upload = FileUpload(
            multiple=False,
            description="Upload",
            tooltip="Any format that ASE reads; for files above 10 MB give the path",
            layout=Layout(width="96px"),
        )
        self.per = ToggleButtons(
            options=[("structures", "structure"), ("environments", "atom")],
            style={"button_width": "calc(50% - 4px)"},
            layout=Layout(width="100%"),
        )
        self.note = HTML(layout=Layout(width="100%"))
        self.note.add_class("matterscape-note")
        self.cutoff = FloatSlider(min=2.0, max=8.0, step=0.1, readout_format=".1f", **_row("cutoff (Å)"))
        self.max_radial = IntSlider(min=2, max=10, **_row("radial"))
        self.max_angular = IntSlider(min=0, max=8, **_row("angular"))
        self.smearing = FloatSlider(min=0.1, max=1.0, step=0.05, readout_format=".2f", **_row("smearing (Å)"))
        self.method = Dropdown(options=METHODS, **_row("projection"))
        self.mixing = FloatSlider(min=0.0, max=1.0, step=0.05, readout_format=".2f", **_row("mixing"))
        self.colour = Dropdown(options=[NONE], **_row("colour"))
        self.size = Dropdown(options=[NONE], **_row("size"))
        self.target = Dropdown(options=[NONE], **_row("target"))
        self.learn = Button(description="Compute learning curve", layout=Layout(width="100%", margin="2px 0"))
        self.train = Button(
            description="Train ensemble",
            tooltip="A network with many heads, whose spread is an uncertainty of a second kind; takes some seconds",
            layout=Layout(width="100%", margin="2px 0"),
        )
        self.kind = Dropdown(options=list(KINDS), layout=Layout(flex="1 1 0", min_width="0"))
        self.write = Button(description="Export", layout=Layout(width="80px"))
        self.link = HTML(layout=Layout(width="100%"))
        self.link.add_class("matterscape-note")
        self.plot = ToggleButtons(options=list(plots.PLOTS), style={"button_width": "auto"})
        self.plot.add_class("matterscape-plots")

    @property
    def computing(self) -> tuple[ipywidgets.Widget, ...]:
        """The controls whose change asks for a computation."""
        return (
            *(self.per, self.cutoff, self.max_radial, self.max_angular, self.smearing),
            *(self.method, self.mixing, self.target),
        )

    def children(self) -> list[ipywidgets.Widget]:
        """The left column."""
        return [
            _section("Data"),
            self.source,
            HBox([self.path, self.upload], layout=Layout(width="100%")),
            self.per,
            self.note,
            _section("Descriptor: SOAP power spectrum"),
            self.cutoff,
            self.max_radial,
            self.max_angular,
            self.smearing,
            _section("Map"),
            self.method,
            self.mixing,
            self.colour,
            self.size,
            _section("Models: ridge, ensemble of networks"),
            self.target,
            self.learn,
            self.train,
            _section("Export"),
            HBox([self.kind, self.write], layout=Layout(width="100%")),
            self.link,
            _section("Computation"),
        ]

    @property
    def settings(self) -> Settings:
        """What the controls say."""
        return replace(
            self._shown,
            per=self.per.value,
            cutoff=self.cutoff.value,
            max_radial=self.max_radial.value,
            max_angular=self.max_angular.value,
            smearing=self.smearing.value,
            method=self.method.value,
            mixing=self.mixing.value,
            target=None if self.target.value == NONE else self.target.value,
        )

    def show_source(self, name: str) -> None:
        """Offer all data and mark those on display."""
        menu = offered()
        known = name in [key for _, key in menu]
        self.source.options = menu if known else [(f"your own: {name}", OWN), *menu]
        self.source.value = name if known else OWN

    def show(self, settings: Settings, targets: Mapping) -> None:
        """Set the controls to what is on display."""
        self._shown = settings
        self.target.options = [(text.with_unit(prop), key) for key, prop in targets.items()] + [(NONE, NONE)]
        for key in ("per", "cutoff", "max_radial", "max_angular", "smearing", "method", "mixing"):
            getattr(self, key).value = getattr(settings, key)
        self.target.value = settings.target if settings.target in targets else NONE
        self.mixing.layout.display = "" if settings.method in SUPERVISED else "none"

    def offer(self, outcome: Outcome) -> None:
        """Fill the menus of colours and sizes with the properties on display, keeping the choices that still exist."""
        names = [(text.with_unit(prop), name) for name, prop in outcome.properties.items()]
        numeric = [(label, name) for label, name in names if not outcome.properties[name].categorical]
        first = names[0][1] if names else NONE
        for menu, options, default in ((self.colour, names, first), (self.size, numeric, NONE)):
            kept = menu.value if self._filled else default
            menu.options = [(NONE, NONE), *options]
            menu.value = kept if kept == NONE or kept in [name for _, name in options] else default
        self._filled = True
        self.learn.disabled = outcome.fit is None
        self.train.disabled = outcome.fit is None or outcome.ensemble is not None


def _row(description: str) -> dict:
    return {
        "description": description,
        "style": {"description_width": "86px"},
        "layout": Layout(width="100%", margin="1px 0"),
    }


def _section(title: str) -> HTML:
    widget = HTML(title, layout=Layout(width="100%"))
    widget.add_class("matterscape-section")
    return widget
