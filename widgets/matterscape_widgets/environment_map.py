"""EnvironmentMap: the surroundings of atoms along a run, on a map that is linked with time and with the structures."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
from ase import Atoms
from scipy import sparse

from matterscape.descriptors import PowerSpectrum
from matterscape.dynamics.analysis import steinhardt
from matterscape.dynamics.local_order import crystalline_share
from matterscape.maps.projection import project
from matterscape.structures import Structures

from .curve import Curve, Series
from .live_map import LiveMap
from .structure_pane import StructurePane, link
from .study import Readout, Study

CRYSTALLINE = 0.6  # share of crystal-like neighbours from which an atom counts as crystalline
AXES = ("averaged q4 and q6", "averaged SOAP")
MARKED = "selected"


class EnvironmentMap(Study):
    """Every atom's surroundings along a run as points of a map.

    Click a point to see its environment; select points and their times are marked; click a time and its environments
    are selected. The button below the structure opens the full chemiscope map.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        Frames of the same atoms, with ``time_ps`` and ``temperature_K`` in their ``info``; an array ``atomic_energy``
        is offered as a colour where all have it.
    neighbour_cutoff : float
        Atoms closer than this (Å) are neighbours: choose it between two shells of the crystal.
    max_points : int
        With more environments than this, fewer atoms are shown, the same ones in every frame.
    seed : int
        Of the choice of atoms.
    title : str
        A heading.

    Attributes
    ----------
    map : LiveMap
        One point per environment, frame by frame; its ``selected`` and ``active`` are what the user chose.
    pane : StructurePane
        The structures.
    times_ps, crystalline : array (n_frames,)
        Time, and share of all atoms in crystalline surroundings.
    properties : dict of str to array (n_points,)
        What can be a colour.

    Raises
    ------
    ValueError
        If there are no frames, they have different atoms, or one lacks its time or temperature.
    """

    def __init__(
        self,
        frames: Sequence[Atoms],
        neighbour_cutoff: float,
        *,
        max_points: int = 4000,
        seed: int = 0,
        title: str = "Environments along the run",
    ):
        self.frames = _checked(frames)
        self.neighbour_cutoff = neighbour_cutoff
        structures = Structures.from_ase(self.frames)
        n_frames, n_atoms = len(self.frames), len(self.frames[0])
        kept = min(n_atoms, max(1, max_points // n_frames))
        self.atoms = np.sort(np.random.default_rng(seed).choice(n_atoms, kept, replace=False))
        self._rows = (n_atoms * np.arange(n_frames)[:, None] + self.atoms).ravel()
        self._frame_of_point = np.repeat(np.arange(n_frames), kept)
        share = crystalline_share(structures, neighbour_cutoff)
        self.times_ps = np.array([frame.info["time_ps"] for frame in self.frames])
        temperatures = np.array([frame.info["temperature_K"] for frame in self.frames])
        self.crystalline = (share.reshape(n_frames, n_atoms) > CRYSTALLINE).mean(axis=1)
        order = steinhardt(structures, (4, 6), cutoff=neighbour_cutoff, averaged=True)
        self._coordinates = {AXES[0]: order[self._rows]}
        self._axis_labels = {AXES[0]: ("averaged q4", "averaged q6"), AXES[1]: ("SOAP 1", "SOAP 2")}
        self.properties = {
            "time (ps)": self.times_ps[self._frame_of_point],
            "temperature (K)": temperatures[self._frame_of_point],
            "crystal-like neighbours (%)": 100 * share[self._rows],
        }
        if all(frame.has("atomic_energy") for frame in self.frames):
            energies = np.concatenate([frame.arrays["atomic_energy"] for frame in self.frames])
            self.properties["energy of the atom (eV)"] = energies[self._rows]
        self._make_views(temperatures)
        self.readouts = {
            label: Readout(label, "–", unit)
            for label, unit in (("Selected", ""), ("Times", "ps"), ("Crystalline", "%"))
        }
        controls = [self.axes, self.colour, *self.readouts.values()]
        super().__init__(controls, [self.map, self.order_plot, self.temperature_plot], self.pane, title)
        self.add_class("matterscape-environment-map")
        self._draw()
        self.status("Click a point to see its environment, a time to select what there was; R draws a rectangle.")

    def _make_views(self, temperatures: np.ndarray) -> None:
        wide = ipywidgets.Layout(width="auto")
        self.axes = ipywidgets.Dropdown(options=AXES, description="Axes", layout=wide)
        self.colour = ipywidgets.Dropdown(options=list(self.properties), description="Colour", layout=wide)
        points = list(zip(self._frame_of_point.tolist(), np.tile(self.atoms, len(self.frames)).tolist()))
        labels = [f"atom {atom} at {self.times_ps[frame]:.3g} ps" for frame, atom in points]
        self.map = LiveMap(*self._coordinates[AXES[0]].T, labels=labels, height=380)
        self.pane = StructurePane(
            [_wrapped(frame) for frame in self.frames],
            points,
            cutoff=self.neighbour_cutoff,
            properties=lambda: {**self._shown(), **self.properties},
        )
        self._lines = {
            "order": ("crystalline atoms (%)", 100 * self.crystalline),
            "temperature": ("temperature (K)", temperatures),
        }
        self.order_plot, self.temperature_plot = (
            Curve({name: Series(self.times_ps, values, style="both")}, x_label="Time (ps)", y_label=label, height=170)
            for name, (label, values) in self._lines.items()
        )
        self._marked = np.zeros(0, int)
        link(self.map, self.pane)
        self.map.observe(self._mark_times, "selected")
        for plot in (self.order_plot, self.temperature_plot):
            plot.observe(self._select_time, "active")
        for control in (self.axes, self.colour):
            control.observe(lambda _: self._recolour(), "value")

    def select_frame(self, frame: int) -> None:
        """Select all environments of one frame, and show the first of them.

        Raises
        ------
        ValueError
            If the frame does not exist.
        """
        if not 0 <= frame < len(self.frames):
            raise ValueError(f"frame is {frame}, but the frames are 0 to {len(self.frames) - 1}.")
        points = np.flatnonzero(self._frame_of_point == frame).tolist()
        self.map.selected, self.map.active = points, points[0]

    def soap_covariates(self) -> np.ndarray:
        """Two principal covariates (n_points, 2) of the SOAP power spectra of the environments.

        The power spectra are averaged over an atom and its neighbours, as are q4 and q6: thermal motion hides the order
        in those of a single atom. The projection is principal covariates regression on the share of crystal-like
        neighbours; principal components alone would mostly show how the density follows the temperature.
        """
        if AXES[1] not in self._coordinates:
            structures = Structures.from_ase(self.frames)
            soap = PowerSpectrum(
                structures.unique_species,
                cutoff=1.4 * self.neighbour_cutoff,
                max_radial=4,
                max_angular=6,
                smearing=0.1 * self.neighbour_cutoff,
                normalise=True,
            )
            pairs = structures.pairs(self.neighbour_cutoff)
            n, counts = structures.n_atoms, pairs.offsets.diff().numpy()
            neighbours = sparse.csr_matrix((np.ones(len(pairs.second)), pairs.second, pairs.offsets), (n, n))
            spectra = soap(structures).numpy()
            averaged = (neighbours[self._rows] @ spectra + spectra[self._rows]) / (counts[self._rows] + 1)[:, None]
            order = self.properties["crystal-like neighbours (%)"]
            if np.ptp(order):
                projection = project(averaged, "pcovr", targets=order)
            else:  # nothing to regress on
                projection = project(averaged)
            self._coordinates[AXES[1]] = projection.coordinates
        return self._coordinates[AXES[1]]

    def _shown(self) -> dict[str, np.ndarray]:
        return {
            label: values
            for axes, columns in self._coordinates.items()
            for label, values in zip(self._axis_labels[axes], columns.T)
        }

    def _recolour(self) -> None:
        def done() -> str:
            return f"{self.map.n_points:,} environments by {self.axes.value}, coloured by {self.colour.value}."

        with self.reporting(done):
            self._draw()

    def _draw(self) -> None:
        if self.axes.value == AXES[1]:
            self.soap_covariates()
        x, y = self._axis_labels[self.axes.value]
        values = self.properties[self.colour.value].astype(float)
        self.map.update(
            *self._coordinates[self.axes.value].T, values, x_label=x, y_label=y, colour_label=self.colour.value
        )

    def _mark_times(self, _: dict) -> None:
        points = np.array(self.map.selected, dtype=int)
        self._marked = np.unique(self._frame_of_point[points])
        for plot, (name, (_, values)) in zip((self.order_plot, self.temperature_plot), self._lines.items()):
            series = {name: Series(self.times_ps, values, style="both")}
            if len(self._marked):
                series[MARKED] = Series(self.times_ps[self._marked], values[self._marked], style="points")
            plot.update(series)
        if not len(points):
            for readout in self.readouts.values():
                readout.show("–")
            return
        times = self.times_ps[self._marked]
        self.readouts["Selected"].show(len(points))
        self.readouts["Times"].show(f"{times[0]:.3g}" if len(times) == 1 else f"{times[0]:.3g} to {times[-1]:.3g}")
        share = self.properties["crystal-like neighbours (%)"][points]
        self.readouts["Crystalline"].show(float(100 * (share > 100 * CRYSTALLINE).mean()))

    def _select_time(self, change: dict) -> None:
        if change["new"] is None:
            return
        name, index = change["new"]
        self.select_frame(int(self._marked[index]) if name == MARKED else index)


def _checked(frames: Sequence[Atoms]) -> list[Atoms]:
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty; a map of environments needs at least one frame.")
    for index, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, frames[0].numbers):
            raise ValueError(f"frames[{index}] has other atoms than the first; accepted are frames of one run.")
        for key in ("time_ps", "temperature_K"):
            if key not in frame.info:
                raise ValueError(f"frames[{index}] has no {key} in its info, which the map shows.")
    return frames


def _wrapped(frame: Atoms) -> Atoms:
    """What a viewer needs: the atoms inside the cell, and nothing else."""
    made = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    made.wrap()
    return made
