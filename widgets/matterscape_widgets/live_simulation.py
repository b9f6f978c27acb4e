"""LiveSimulation: molecular dynamics that is steered while it runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import ipywidgets
import numpy as np
from ase import Atoms, units
from matterscape.dynamics import (
    Integrator,
    Langevin,
    NoseHooverChain,
    Simulation,
    StochasticVelocityRescaling,
    VelocityVerlet,
)
from matterscape.dynamics.analysis import radial_distribution
from matterscape.potentials import Potential

from .curve import Curve
from .live_atoms import LiveAtoms
from .study import Readout, Study

REFRESH = 0.1  # seconds between two pictures
SAMPLES = 600  # points of a curve over time; beyond that every other one is dropped
FRAMES = 60  # structures kept along the run, likewise
FORGET = 0.9  # weight of what g(r) was before, at each new picture

THERMOSTATS: dict[str, Callable[[float], Integrator]] = {
    "none (constant energy)": lambda _: VelocityVerlet(),
    "Langevin": lambda temperature: Langevin(temperature, friction_per_ps=2.0),
    "velocity rescaling": lambda temperature: StochasticVelocityRescaling(temperature, time_constant_ps=0.2),
    "Nosé-Hoover chain": lambda temperature: NoseHooverChain(temperature, time_constant_ps=0.2),
}
COLOURS = ("element", "kinetic energy", "potential energy", "displacement")


@dataclass(frozen=True)
class Knob:
    """A number in the potential that a slider turns.

    Attributes
    ----------
    start, low, high, step : float
        Where the slider stands at first, its ends and its step.
    label : str
        Name with unit.
    """

    start: float
    low: float
    high: float
    step: float
    label: str


@dataclass(frozen=True)
class System:
    """What can be simulated.

    Attributes
    ----------
    atoms : ase.Atoms
        How it starts.
    potential : callable
        Called with the value of each knob by name; returns a Potential.
    temperature_K, highest_temperature_K : float
        Where the temperature slider stands at first and where it ends.
    timestep_fs : float
        A good time step.
    knobs : dict of str to Knob
        Sliders of the potential.
    """

    atoms: Atoms
    potential: Callable[..., Potential]
    temperature_K: float
    highest_temperature_K: float
    timestep_fs: float
    knobs: Mapping[str, Knob] = field(default_factory=dict)


class LiveSimulation(Study):
    """Start a simulation, and turn its temperature, thermostat, time step and potential while it runs.

    The simulation runs in a thread of its own; atoms, temperature, energy drift and g(r) follow about ten times a
    second. When a step explodes, the sentence says which atom, and the last good frame stays: choose a smaller time
    step and go on.

    Parameters
    ----------
    systems : dict of str to System
        What the menu offers; the first is shown.
    seed : int
        Of velocities and thermostats.

    Attributes
    ----------
    simulation : matterscape.dynamics.Simulation
        The simulation itself.
    frames : list of ase.Atoms
        Up to 60 structures along the run, evenly spaced, with ``time_ps`` and ``temperature_K`` in their ``info``.
    history : dict of str to list
        ``time_ps``, ``temperature_K``, ``energy_eV`` (per atom) and ``conserved_eV`` (per atom) along the run.

    Raises
    ------
    ValueError
        If there are no systems.
    """

    def __init__(self, systems: Mapping[str, System], *, seed: int = 0):
        if not systems:
            raise ValueError("systems is empty; a LiveSimulation needs at least one.")
        self.systems, self.seed = dict(systems), seed
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._make_controls()
        self._load(next(iter(self.systems)))
        super().__init__(self._controls(), [self.temperature_plot, self.energy_plot, self.rdf_plot], self._viewer)
        self.add_class("matterscape-live-simulation")
        self._show()
        self.status("Ready: press Start, then move the sliders.")

    # ---- controls ----
    def _make_controls(self) -> None:
        wide = ipywidgets.Layout(width="auto")

        def slider(value, low, high, step, label, style=ipywidgets.FloatSlider):
            made = style(value=value, min=low, max=high, step=step, description=label, layout=wide)
            made.style.description_width = "100px"
            return made

        def menu(options, label):
            made = ipywidgets.Dropdown(options=options, description=label, layout=wide)
            made.style.description_width = "100px"
            return made

        self.system = menu(list(self.systems), "System")
        self.start_button = ipywidgets.Button(description="Start", button_style="primary", layout=wide)
        self.again_button = ipywidgets.Button(
            description="Begin anew", tooltip="Back to the first structure", layout=wide
        )
        self.thermostat = menu(list(THERMOSTATS), "Thermostat")
        self.thermostat.value = "velocity rescaling"
        self.temperature = slider(300.0, 0.0, 1000.0, 10.0, "Target (K)")
        self.timestep = slider(1.0, 0.1, 40.0, 0.1, "Time step (fs)")
        self.colour = menu(COLOURS, "Colour")
        self.knobs: dict[str, ipywidgets.FloatSlider] = {}
        self._knob_box = ipywidgets.VBox(layout=wide)
        self._slider = slider
        self.readouts = {
            label: Readout(label, unit=unit)
            for label, unit in (
                ("Time", "ps"),
                ("Speed", "steps/s"),
                ("Temperature", "K"),
                ("Energy drift", "meV per atom and ns"),
                ("Neighbour searches", ""),
            )
        }
        self.temperature_plot = Curve(x_label="Time (ps)", y_label="Temperature (K)", height=210)
        self.energy_plot = Curve(x_label="Time (ps)", y_label="Energy (meV/atom)", height=210)
        self.rdf_plot = Curve(x_label="r (Å)", y_label="g(r)", height=210)
        self._viewer = ipywidgets.Box(layout=ipywidgets.Layout(width="100%"))
        self.start_button.on_click(lambda _: self.stop() if self.running else self.start())
        self.again_button.on_click(lambda _: self.begin_anew())
        self.system.observe(lambda change: self._guarded(self._load, change["new"]), "value")
        self.thermostat.observe(lambda _: self._guarded(self._change_integrator), "value")
        self.temperature.observe(lambda _: self._guarded(self._change_temperature), "value")
        self.timestep.observe(lambda _: self._guarded(self._change_timestep), "value")
        self.colour.observe(lambda _: self._guarded(self._show), "value")

    def _controls(self) -> list[ipywidgets.Widget]:
        buttons = ipywidgets.HBox([self.start_button, self.again_button])
        chosen = [self.system, buttons, self.thermostat, self.temperature, self.timestep, self._knob_box, self.colour]
        return [*chosen, *self.readouts.values()]

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        """Do what a control asks for; its exception would otherwise vanish in a log."""
        try:
            action(*arguments)
        except Exception as error:
            self.error(error)

    # ---- what runs ----
    @property
    def running(self) -> bool:
        """Whether the simulation is running."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start or go on."""
        if self.running:
            return
        self._failure = None
        self._stopping = False
        self._pace = (time.monotonic(), self.simulation.step)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self.start_button.description, self.start_button.button_style = "Stop", "warning"
        self.status("Running.")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        else:
            self._loop.call_later(REFRESH, self._tick)

    def stop(self) -> None:
        """Stop at the next step; everything so far stays, and Start goes on from there."""
        if self.running:
            self.simulation.stop()
            self._thread.join()
        self._settle()

    def begin_anew(self) -> None:
        """Back to the first structure of the system, with the controls as they are."""
        go_on = self.running
        self.stop()
        self._guarded(self._build, self.systems[self.system.value].atoms.copy(), True)
        self._show()
        if go_on:
            self.start()

    def close(self) -> None:
        """Stop the simulation and take the widget from the page."""
        self.simulation.stop()
        super().close()

    def _work(self) -> None:
        try:
            self.simulation.run(10**9, show_progress=False)
        except Exception as error:  # shown by the next tick
            self._failure = error

    def _load(self, name: str) -> None:
        """Another system: its own sliders, temperature and time step."""
        if self._thread is not None:
            self.stop()
        system = self.systems[name]
        self._knob_box.children = ()
        self.knobs = {}
        for key, knob in system.knobs.items():
            self.knobs[key] = self._slider(knob.start, knob.low, knob.high, knob.step, knob.label)
            self.knobs[key].observe(lambda _: self._guarded(self._change_potential), "value")
        self._knob_box.children = tuple(self.knobs.values())
        self._quiet = True
        self.temperature.max = system.highest_temperature_K
        self.temperature.step = system.highest_temperature_K / 200
        self.temperature.value = system.temperature_K
        self.timestep.max = 12 * system.timestep_fs
        self.timestep.value = system.timestep_fs
        self._quiet = False
        self.view = LiveAtoms(system.atoms, height=460)
        self._viewer.children = (self.view,)
        self._build(system.atoms.copy(), True)

    def _potential(self) -> Potential:
        system = self.systems[self.system.value]
        return system.potential(**{name: knob.value for name, knob in self.knobs.items()})

    def _build(self, atoms: Atoms, fresh: bool) -> None:
        """A simulation of these atoms with the controls as they are; with new velocities and records if `fresh`."""
        integrator = THERMOSTATS[self.thermostat.value](self.temperature.value)
        self.simulation = Simulation(
            atoms,
            self._potential(),
            integrator=integrator,
            timestep_fs=self.timestep.value,
            seed=self.seed,
            initial_temperature_K=self.temperature.value if fresh else None,
        )
        if fresh:
            self._elapsed_ps = 0.0
            self.history: dict[str, list[float]] = {
                name: [] for name in ("time_ps", "temperature_K", "energy_eV", "conserved_eV")
            }
            self.frames: list[Atoms] = []
            self._strides = {"history": 5, "frames": 200}
            self._steps_before = 0
            self._home = self.simulation.positions.copy()
            self._rdf: np.ndarray | None = None
        self._conserved_shift = 0.0
        if self.history["conserved_eV"]:
            now = float(self.simulation.conserved_energy[0]) / len(atoms)
            self._conserved_shift = self.history["conserved_eV"][-1] - now
        self.simulation.call(self._sample, every=1)
        self._sample(self.simulation)

    def _sample(self, simulation: Simulation) -> None:
        """Called after every step, in the simulation's thread."""
        step = self._steps_before + simulation.step
        n = simulation.state.n_atoms
        if step % self._strides["history"] == 0:
            history = self.history
            history["time_ps"].append(self._elapsed_ps + simulation.time_ps)
            history["temperature_K"].append(float(simulation.temperature_K[0]))
            history["energy_eV"].append(float(simulation.potential_energy[0]) / n)
            history["conserved_eV"].append(float(simulation.conserved_energy[0]) / n + self._conserved_shift)
            if len(history["time_ps"]) > SAMPLES:
                self.history = {name: values[::2] for name, values in history.items()}
                self._strides["history"] *= 2
        if step % self._strides["frames"] == 0:
            atoms = self.systems[self.system.value].atoms.copy()
            atoms.positions[:] = simulation.positions
            atoms.info = {
                "time_ps": self._elapsed_ps + simulation.time_ps,
                "temperature_K": float(simulation.temperature_K[0]),
            }
            atoms.arrays["atomic_energy"] = simulation.energies.copy()
            self.frames.append(atoms)
            if len(self.frames) > FRAMES:
                self.frames = self.frames[::2]
                self._strides["frames"] *= 2

    # ---- steering ----
    def _change_temperature(self) -> None:
        if not self._quiet and hasattr(self.simulation.integrator, "temperature_K"):
            self.simulation.integrator.temperature_K = self.temperature.value
            self.status(f"Target temperature {self.temperature.value:g} K.")

    def _change_timestep(self) -> None:
        if not self._quiet:
            self.simulation.timestep_fs = self.timestep.value
            self.status(f"Time step {self.timestep.value:g} fs.")

    def _change_potential(self) -> None:
        self.simulation.potential = self._potential()
        self.status("Potential changed: the work done by the change is not counted as drift.")

    def _change_integrator(self) -> None:
        """An integrator serves one simulation, so another one takes over atoms and velocities."""
        go_on = self.running
        self.stop()
        old = self.simulation
        atoms = self.systems[self.system.value].atoms.copy()
        atoms.positions[:] = old.positions
        atoms.set_velocities(old.velocities)
        self._elapsed_ps += old.time_ps
        self._steps_before += old.step
        self._build(atoms, False)
        if go_on:
            self.start()
        self.status(f"Thermostat: {self.thermostat.value}.")

    # ---- showing ----
    def _tick(self) -> None:
        if not self.running:
            self._settle()
            return
        began = time.monotonic()
        self._guarded(self._show)
        # a slow machine gets fewer pictures, not a slower simulation
        self._loop.call_later(max(REFRESH, 2 * (time.monotonic() - began)), self._tick)

    def _settle(self) -> None:
        """The run has ended, by itself or by the button."""
        self.start_button.description, self.start_button.button_style = "Start", "primary"
        self._guarded(self._show)
        if self._failure is not None:
            self.error(self._failure)
        else:
            self.status("Stopped; Start goes on from here.")

    def _show(self) -> None:
        simulation = self.simulation
        positions, velocities, energies = simulation.at_step_boundary(
            lambda: (simulation.positions.copy(), simulation.velocities.copy(), simulation.energies.copy())
        )
        self._show_atoms(positions, velocities, energies)
        history = {name: np.array(values) for name, values in self.history.items()}
        n = min(map(len, history.values()))  # the other thread may be between two of them
        times, temperatures = history["time_ps"][:n], history["temperature_K"][:n]
        target = np.full(2, self.temperature.value)
        ends = [times[0], times[-1]] if n else [0.0, 0.0]
        series = {"temperature": (times, temperatures)}
        if hasattr(simulation.integrator, "temperature_K"):
            series["target"] = (ends, target)
        self.temperature_plot.update(series)
        potential, conserved = (1e3 * (history[key][:n] - history[key][0]) for key in ("energy_eV", "conserved_eV"))
        self.energy_plot.update({"potential": (times, potential), "conserved (drift)": (times, conserved)})
        self._show_rdf(positions)
        now, step = time.monotonic(), simulation.step
        if self.running and now > self._pace[0] + 0.5:
            self.readouts["Speed"].show(int((step - self._pace[1]) / (now - self._pace[0])))
            self._pace = (now, step)
        self.readouts["Time"].show(self._elapsed_ps + simulation.time_ps)
        self.readouts["Temperature"].show(float(simulation.temperature_K[0]))
        self.readouts["Energy drift"].show(1e3 * float(simulation.energy_drift[0]))
        self.readouts["Neighbour searches"].show(int(simulation.n_rebuilds))

    def _show_atoms(self, positions: np.ndarray, velocities: np.ndarray, energies: np.ndarray) -> None:
        colour, label = None, ""
        if self.colour.value == "kinetic energy":
            # in units of the mean at the target temperature, so that colours mean the same from moment to moment
            kinetic = 0.5 * self.simulation.masses * (velocities**2).sum(1)
            colour, label = 1e3 * kinetic, "Kinetic energy (meV)"
        elif self.colour.value == "potential energy":
            colour, label = energies, "Energy (eV)"
        elif self.colour.value == "displacement":
            moved = positions - self._home
            colour, label = np.linalg.norm(moved - moved.mean(axis=0), axis=1), "Displacement (Å)"
        span = None
        if self.colour.value == "kinetic energy":
            span = (0.0, 1e3 * 4.5 * units.kB * max(self.temperature.value, 1.0))
        elif colour is not None:
            low, high = np.percentile(colour, [2, 98])
            span = (low, high) if high > low else None
        self.view.update(positions, colour=colour, colour_range=span, colour_label=label)

    def _show_rdf(self, positions: np.ndarray) -> None:
        atoms = self.systems[self.system.value].atoms.copy()
        atoms.positions[:] = positions
        distribution = radial_distribution(atoms, cutoff=8.0, n_bins=160)
        before = self._rdf
        self._rdf = distribution.total if before is None else FORGET * before + (1 - FORGET) * distribution.total
        self.rdf_plot.update({"all pairs": (distribution.distances, self._rdf)})
