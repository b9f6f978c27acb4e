"""LiveSimulation: molecular dynamics that is steered while it runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import ipywidgets
import numpy as np
from ase import Atoms, units

from matterscape.dynamics import (
    ExplosionError,
    Integrator,
    Langevin,
    NoseHooverChain,
    Simulation,
    StochasticCellRescaling,
    StochasticVelocityRescaling,
    VelocityVerlet,
)
from matterscape.dynamics.analysis import radial_distribution
from matterscape.potentials import Potential

from .curve import Curve
from .environment_map import EnvironmentMap
from .live_atoms import LiveAtoms
from .simulated_systems import Knob, System, ready_systems
from .study import Readout, Study

REFRESH = 0.1  # seconds between two pictures
SAMPLES = 600  # points of a curve over time; beyond that every other one is dropped
FRAMES = 60  # structures kept along the run, likewise
FORGET = 0.9  # weight of the earlier g(r) at each new picture
FIRST_PICTURES = 20  # whose mean is the g(r) of the start
NAP = 0.02  # seconds that a slowed simulation sleeps at a time

THERMOSTATS: dict[str, Callable[[float], Integrator]] = {
    "none (constant energy)": lambda _: VelocityVerlet(),
    "Langevin": lambda temperature: Langevin(temperature, friction_per_ps=2.0),
    "velocity rescaling": lambda temperature: StochasticVelocityRescaling(temperature, time_constant_ps=0.2),
    "Nosé-Hoover chain": lambda temperature: NoseHooverChain(temperature, time_constant_ps=0.2),
}
COLOURS = ("element", "kinetic energy", "potential energy", "displacement")
PACES = {"full speed": np.inf, "20 ps per second": 20.0, "5 ps per second": 5.0, "1 ps per second": 1.0}
HISTORY = ("time_ps", "temperature_K", "energy_eV", "conserved_eV")


class LiveSimulation(Study):
    """Start a simulation, and turn its temperature, thermostat, time step, pressure and potential while it runs.

    The simulation runs in a thread of its own; atoms, temperature, energies and g(r) follow about ten times a second,
    and the kernel stays free. When a step explodes, the status line says where, and the last good frame stays: choose a
    smaller time step and go on.

    Parameters
    ----------
    systems : dict of str to System, optional
        What the menu offers, the first of which is shown; by default those of `ready_systems`.
    seed : int
        Of velocities and thermostats.

    Attributes
    ----------
    simulation : matterscape.dynamics.Simulation
        The simulation itself; another one after a change of the thermostat.
    frames : list of ase.Atoms
        Up to 60 structures along the run, evenly spaced, with ``time_ps`` and ``temperature_K`` in their ``info`` and
        an array ``atomic_energy``.
    history : dict of str to list
        ``time_ps``, ``temperature_K``, ``energy_eV`` (potential, per atom) and ``conserved_eV`` (per atom, what
        steering did to it taken out) along the run.
    environments : EnvironmentMap or None
        The map last asked for.

    Raises
    ------
    ValueError
        If there are no systems.
    """

    environments: EnvironmentMap | None = None
    _thread: threading.Thread | None = None

    def __init__(self, systems: Mapping[str, System] | None = None, *, seed: int = 0):
        self.systems, self.seed = dict(ready_systems() if systems is None else systems), seed
        if not self.systems:
            raise ValueError("systems is empty; a LiveSimulation needs at least one.")
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heeding = True  # whether controls act
        self._places = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self._make_views()
        self._make_controls()
        self._load(next(iter(self.systems)))
        plots = ipywidgets.VBox([self.temperature_plot, self.energy_plot, self.distribution_plot])
        super().__init__(self._controls(), [plots], self._viewer)
        self.children = (*self.children, self._places)
        self.add_class("matterscape-live-simulation")
        self._view_count = 0  # makes the front end count
        self.observe(self._stop_unseen, "_view_count")
        self.status("Ready: press Start, then move the sliders.")

    # ---- controls ----
    def _make_views(self) -> None:
        self.temperature_plot = Curve(x_label="Time (ps)", y_label="Temperature (K)", height=200)
        self.energy_plot = Curve(x_label="Time (ps)", y_label="Energy (meV/atom)", height=200)
        self.distribution_plot = Curve(x_label="r (Å)", y_label="g(r)", height=200)
        self._viewer = ipywidgets.Box(layout=ipywidgets.Layout(width="100%"))
        figures = (
            ("Time", "ps"),
            ("Speed", "steps/s"),
            ("Temperature", "K"),
            ("Volume", "Å³/atom"),
            ("Energy drift", "meV/atom/ns"),
            ("Neighbour searches", ""),
        )
        self.readouts = {label: Readout(label, unit=unit) for label, unit in figures}

    def _make_controls(self) -> None:
        wide = ipywidgets.Layout(width="auto")

        def button(text: str, hint: str, do: Callable[[], None]) -> ipywidgets.Button:
            made = ipywidgets.Button(description=text, tooltip=hint, layout=wide)
            made.on_click(lambda _: self._guarded(do))
            return made

        self.start_button = button("Start", "Start, stop, go on", lambda: self.stop() if self.running else self.start())
        self.start_button.button_style = "primary"
        self.again_button = button("Begin anew", "Back to the first structure", self.begin_anew)
        self.map_button = button(
            "Map the environments", "A map of every atom's surroundings along the run so far", self.map_environments
        )
        self.system = _labelled(ipywidgets.Dropdown(options=list(self.systems), description="System"))
        self.thermostat = _labelled(ipywidgets.Dropdown(options=list(THERMOSTATS), description="Thermostat"))
        self.thermostat.value = "velocity rescaling"
        self.temperature = _labelled(ipywidgets.FloatSlider(description="Target (K)"))
        self.timestep = _labelled(ipywidgets.FloatSlider(description="Time step (fs)"))
        self.barostat = ipywidgets.Checkbox(False, description="Constant pressure", indent=False, layout=wide)
        self.pressure = _labelled(ipywidgets.FloatSlider(description="Pressure (GPa)", disabled=True))
        self.colour = _labelled(ipywidgets.Dropdown(options=COLOURS, description="Colour"))
        self.pace = _labelled(ipywidgets.Dropdown(options=list(PACES), description="Pace"))
        self.knobs: dict[str, ipywidgets.FloatSlider] = {}
        self._knob_box = ipywidgets.VBox(layout=wide)
        for control, follow in (
            (self.system, self._change_system),
            (self.thermostat, self._change_thermostat),
            (self.temperature, self._change_temperature),
            (self.timestep, self._change_timestep),
            (self.barostat, self._change_barostat),
            (self.pressure, self._change_pressure),
            (self.colour, self._show),
            (self.pace, self._change_pace),
        ):
            control.observe(self._heeded(follow), "value")

    def _controls(self) -> list[ipywidgets.Widget]:
        buttons = ipywidgets.HBox([self.start_button, self.again_button])
        steering = [self.thermostat, self.temperature, self.timestep, self.barostat, self.pressure, self._knob_box]
        return [self.system, buttons, *steering, self.colour, self.pace, *self.readouts.values(), self.map_button]

    def _heeded(self, follow: Callable[[], None]) -> Callable[[dict], None]:
        def handler(_: dict) -> None:
            if self._heeding:
                self._guarded(follow)

        return handler

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do what a control asks for; its exception would otherwise vanish in a log."""
        try:
            action()
        except Exception as error:
            self.error(error)

    @contextmanager
    def _paused(self):
        """Stop for the block and go on after it, if it was running."""
        go_on = self.running
        self._halt()
        try:
            yield
        finally:
            if go_on:
                self.start()

    @contextmanager
    def _unheeded(self):
        """Controls may be set in the block without acting."""
        self._heeding = False
        try:
            yield
        finally:
            self._heeding = True

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
        self._stopping.clear()
        self._speed_from = (time.monotonic(), self.simulation.step)
        self._change_pace()
        self._thread = threading.Thread(target=self._work, args=(self.simulation,), daemon=True)
        self._thread.start()
        self.start_button.description, self.start_button.button_style = "Stop", "warning"
        self.status("Running.")
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # outside a kernel nothing calls back; the caller asks for what it wants to see
            self._loop = None
        else:
            self._loop.call_later(REFRESH, self._tick, self._thread)

    def stop(self) -> None:
        """Stop at the next step; everything so far stays, and Start goes on from there."""
        self._halt()
        self._settle()

    def begin_anew(self) -> None:
        """Back to the first structure of the system, with the controls as they are."""
        with self._paused():
            self._failure = None
            self._build(self.systems[self.system.value].atoms.copy())
            self._show()
            self.status("Back at the start.")

    def close(self) -> None:
        """Stop the simulation and take the widget from the page."""
        self._halt()
        self._remove_map()
        super().close()

    def _halt(self) -> None:
        if self.running:
            self._stopping.set()
            self._thread.join()
            self._thread = None

    def _stop_unseen(self, change: dict) -> None:
        """A simulation that nothing shows any more, as after running its cell again, would only cost time."""
        if not change["new"] and self.running:
            self.stop()

    def _work(self, simulation: Simulation) -> None:
        try:
            simulation.run(10**12, show_progress=False)
        except Exception as error:  # the next tick shows it
            self._failure = error

    def _load(self, name: str) -> None:
        """Another system: its own sliders, temperature and time step."""
        self._halt()
        self._failure = None
        system = self.systems[name]
        with self._unheeded():
            self.knobs = {key: _slider(knob) for key, knob in system.knobs.items()}
            for slider in self.knobs.values():
                slider.observe(self._heeded(self._change_potential), "value")
            self._knob_box.children = tuple(self.knobs.values())
            hottest, pressed = system.highest_temperature_K, system.highest_pressure_GPa
            _adapt(self.temperature, system.temperature_K, hottest / 200, hottest, hottest / 200, ".0f")
            _adapt(self.timestep, system.timestep_fs, system.timestep_fs / 10, 12 * system.timestep_fs)
            _adapt(self.pressure, 0.0, -0.2 * pressed, pressed, pressed / 50)
            self.barostat.value = False
            self._offer_pressure()
        self.view = LiveAtoms(system.atoms, height=440)
        self._viewer.children = (self.view,)
        self._remove_map()
        self._build(system.atoms.copy())
        self._mark_stopped()
        self._show()

    def _build(self, atoms: Atoms, successor: bool = False) -> None:
        """A simulation of these atoms with the controls as they are: a new run, or one that goes on with this one."""
        old = self.simulation if successor else None
        simulation = Simulation(
            atoms,
            self._potential(),
            integrator=self._integrator(),
            timestep_fs=self.timestep.value,
            seed=self.seed,
            initial_temperature_K=None if successor else self.temperature.value,
        )
        if old is None:
            self._template = atoms.copy()
            self._earlier_steps, self._earlier_searches, self._earlier_ps, self._energy_shift = 0, 0, 0.0, 0.0
            self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
            self.frames: list[Atoms] = []
            self._strides = {"history": 5, "frames": 100}
            self._home = simulation.positions.copy()
            self._distribution: dict[str, np.ndarray] = {}
            self._first_distribution: list[dict[str, np.ndarray]] = []
        else:
            self._earlier_steps += old.step
            self._earlier_searches += old.n_rebuilds
            self._earlier_ps += old.time_ps
            self._energy_shift += float(old.conserved_energy[0] - simulation.conserved_energy[0])
        self.simulation = simulation
        self._change_pace()
        self._sample(simulation)
        simulation.call(self._sample)

    def _potential(self) -> Potential:
        return self.systems[self.system.value].potential(**{name: knob.value for name, knob in self.knobs.items()})

    def _integrator(self) -> Integrator:
        thermostat = THERMOSTATS[self.thermostat.value](self.temperature.value)
        if not self.barostat.value:
            return thermostat
        return StochasticCellRescaling(
            thermostat,
            pressure_GPa=self.pressure.value,
            compressibility_per_GPa=self.systems[self.system.value].compressibility_per_GPa,
            time_constant_ps=1.0,
        )

    def _sample(self, simulation: Simulation) -> None:
        """After every step, in the simulation's thread: records, pace, and the wish to stop."""
        step, time_ps = self._earlier_steps + simulation.step, self._earlier_ps + simulation.time_ps
        n, history = simulation.state.n_atoms, self.history
        if step % self._strides["history"] == 0 and (not history["time_ps"] or time_ps > history["time_ps"][-1]):
            conserved = float(simulation.conserved_energy[0]) + self._energy_shift
            values = (time_ps, simulation.temperature_K[0], simulation.potential_energy[0] / n, conserved / n)
            for name, value in zip(HISTORY, values):
                history[name].append(float(value))
            if len(history["time_ps"]) > SAMPLES:
                self.history = {name: values[::2] for name, values in history.items()}
                self._strides["history"] *= 2
        if step % self._strides["frames"] == 0 and not (self.frames and time_ps <= self.frames[-1].info["time_ps"]):
            self.frames.append(self._frame(simulation))
            if len(self.frames) > FRAMES:
                self.frames = self.frames[::2]
                self._strides["frames"] *= 2
        if simulation.running:
            self._keep_pace(simulation)
        if self._stopping.is_set():
            simulation.stop()

    def _frame(self, simulation: Simulation) -> Atoms:
        atoms = self._template.copy()
        atoms.set_cell(simulation.cells[0])
        atoms.positions[:] = simulation.positions
        atoms.arrays["atomic_energy"] = simulation.energies.copy()
        time_ps = self._earlier_ps + simulation.time_ps
        atoms.info = {"time_ps": time_ps, "temperature_K": float(simulation.temperature_K[0])}
        return atoms

    def _keep_pace(self, simulation: Simulation) -> None:
        while not self._stopping.is_set():
            began, first_ps, rate = self._pace
            wait = began + (simulation.time_ps - first_ps) / rate - time.monotonic()
            if wait <= 0:
                return
            time.sleep(min(wait, NAP))

    # ---- steering ----
    def _change_system(self) -> None:
        self._load(self.system.value)
        self.status("Ready: press Start.")

    def _change_temperature(self) -> None:
        if hasattr(self.simulation.integrator, "temperature_K"):
            self.simulation.integrator.temperature_K = self.temperature.value
            self.status(f"Target temperature {self.temperature.value:g} K.")
        else:
            self.status("At constant energy there is no target temperature; choose a thermostat.")

    def _change_timestep(self) -> None:
        def change() -> None:
            self.simulation.timestep_fs = self.timestep.value
            self.simulation.measure_drift()

        self.simulation.at_step_boundary(change)
        self.status(f"Time step {self.timestep.value:g} fs; the drift counts from here.")

    def _change_potential(self) -> None:
        self.simulation.potential = self._potential()
        values = ", ".join(f"{knob.description} = {knob.value:g}" for knob in self.knobs.values())
        self.status(f"Potential with {values}; the jump in energy is not counted as drift.")

    def _change_pressure(self) -> None:
        if self.barostat.value:
            self.simulation.integrator.pressure_GPa = self.pressure.value
            self.status(f"Pressure {self.pressure.value:g} GPa.")

    def _change_barostat(self) -> None:
        self._offer_pressure()
        self._change_integrator()
        self.status(
            "Constant pressure: the cell breathes." if self.barostat.value else "Constant volume, that of this moment."
        )

    def _change_thermostat(self) -> None:
        if self.thermostat.value.startswith("none"):
            with self._unheeded():
                self.barostat.value = False
        self._offer_pressure()
        self._change_integrator()
        self.status(f"Thermostat: {self.thermostat.value}; atoms and velocities stay as they are.")

    def _change_pace(self) -> None:
        """Count the time of the run and that of the clock from here."""
        self._pace = (time.monotonic(), self.simulation.time_ps, PACES[self.pace.value])

    def _offer_pressure(self) -> None:
        possible = self.systems[self.system.value].compressibility_per_GPa is not None
        self.barostat.disabled = not possible or self.thermostat.value.startswith("none")
        self.pressure.disabled = not self.barostat.value

    def _change_integrator(self) -> None:
        """An integrator serves one simulation, so another one takes over atoms, velocities and cell."""
        with self._paused():
            self._build(self.simulation.frame(), successor=True)

    # ---- showing ----
    def map_environments(self) -> None:
        """Show a map of the surroundings of the atoms along the run so far, below the plots."""
        self.status("Comparing environments.")
        frames = self.simulation.at_step_boundary(lambda: list(self.frames))
        cutoff = self.systems[self.system.value].neighbour_cutoff
        made = EnvironmentMap(frames, cutoff, title=f"Environments along the run: {self.system.value}")
        self._remove_map()
        self.environments = made
        self._places.children = (made,)
        self.status(f"{made.map.n_points:,} environments in {len(frames)} frames.")

    def _remove_map(self) -> None:
        if self.environments is not None:
            self._places.children = ()
            self.environments.close()
            self.environments = None

    def _tick(self, thread: threading.Thread) -> None:
        if thread is not self._thread:  # stopped and started again, which has a tick of its own
            return
        if not self.running:
            self._settle()
            return
        began = time.monotonic()
        self._guarded(self._show)
        # a slow machine gets fewer pictures, not a slower simulation
        self._loop.call_later(max(REFRESH, 2 * (time.monotonic() - began)), self._tick, thread)

    def _settle(self) -> None:
        """The run has ended, by itself or by the button."""
        self._mark_stopped()
        self._guarded(self._show)
        if isinstance(self._failure, ExplosionError):
            step, atom = self._earlier_steps + self._failure.step, self._failure.atom
            where = "" if atom is None else f", first at atom {atom}"
            self.error(
                f"Step {step:,} exploded{where}, at {self._failure.temperature_K:,.0f} K. The last good frame stays: "
                "choose a smaller time step and press Start, or begin anew."
            )
        elif self._failure is not None:
            self.error(self._failure)
        else:
            self.status("Stopped; Start goes on from here.")

    def _mark_stopped(self) -> None:
        self.start_button.description, self.start_button.button_style = "Start", "primary"

    def _snapshot(self) -> dict[str, Any]:
        simulation = self.simulation
        return {
            "frame": self._frame(simulation),
            "velocities": simulation.velocities.copy(),
            "history": {name: np.array(values) for name, values in self.history.items()},
            "step": simulation.step,
            "drift": 1e3 * float(simulation.energy_drift[0]),
            "searches": self._earlier_searches + int(simulation.n_rebuilds),
        }

    def _show(self) -> None:
        now = self.simulation.at_step_boundary(self._snapshot)
        frame, history = now["frame"], now["history"]
        self._show_atoms(frame, now["velocities"])
        times = history["time_ps"]
        series = {"temperature": (times, history["temperature_K"])}
        if hasattr(self.simulation.integrator, "temperature_K") and len(times):
            series["target"] = (times[[0, -1]], np.full(2, self.temperature.value))
        self.temperature_plot.update(series)
        potential, conserved = (1e3 * (history[key] - history[key][:1]) for key in ("energy_eV", "conserved_eV"))
        self.energy_plot.update({"potential": (times, potential), "conserved": (times, conserved)})
        self._show_distribution(frame)
        clock = time.monotonic()
        if self.running and clock > self._speed_from[0] + 0.5:
            self.readouts["Speed"].show(round((now["step"] - self._speed_from[1]) / (clock - self._speed_from[0])))
            self._speed_from = (clock, now["step"])
        self.readouts["Time"].show(frame.info["time_ps"])
        self.readouts["Temperature"].show(frame.info["temperature_K"])
        self.readouts["Volume"].show(frame.get_volume() / len(frame))
        self.readouts["Energy drift"].show(now["drift"])
        self.readouts["Neighbour searches"].show(now["searches"])

    def _show_atoms(self, frame: Atoms, velocities: np.ndarray) -> None:
        colour, label, span = None, "", None
        if self.colour.value == "kinetic energy":
            colour, label = 1e3 * 0.5 * self.simulation.masses * (velocities**2).sum(axis=1), "Kinetic energy (meV)"
            span = (0.0, 1e3 * 4.5 * units.kB * max(self.temperature.value, 1.0))  # the same from moment to moment
        elif self.colour.value == "potential energy":
            colour, label = frame.arrays["atomic_energy"], "Energy of the atom (eV)"
        elif self.colour.value == "displacement":
            moved = frame.positions - self._home
            colour, label = np.linalg.norm(moved - moved.mean(axis=0), axis=1), "Displacement (Å)"
        if colour is not None and span is None:
            low, high = np.percentile(colour, [2, 98])
            span = (low, high) if high > low else None
        self.view.update(frame.positions, frame.cell[:], colour=colour, colour_range=span, colour_label=label)

    def _show_distribution(self, frame: Atoms) -> None:
        found = radial_distribution(frame, 8.0, 160)
        now = {"-".join(pair): values for pair, values in found.partial.items() if pair[0] <= pair[1]}
        if len(now) == 1:
            now = {"now": found.total}
        if not self.running:  # the same structure again and again
            shown = self._distribution or now
        elif not self._distribution:
            shown = self._distribution = now
        else:
            shown = self._distribution = {
                name: FORGET * self._distribution[name] + (1 - FORGET) * values for name, values in now.items()
            }
        if self.running and len(self._first_distribution) < FIRST_PICTURES:
            self._first_distribution.append(now)
        series = {name: (found.distances, values) for name, values in shown.items()}
        if len(self._first_distribution) == FIRST_PICTURES:
            name = list(now)[len(now) // 2]  # of unlike ions, where there are any
            start = np.mean([one[name] for one in self._first_distribution], axis=0)
            series["at the start" if len(now) == 1 else f"{name} at the start"] = (found.distances, start)
        self.distribution_plot.update(series)


def _labelled(control: ipywidgets.Widget) -> ipywidgets.Widget:
    control.layout.width = "auto"
    control.style.description_width = "100px"
    return control


def _slider(knob: Knob) -> ipywidgets.FloatSlider:
    made = _labelled(ipywidgets.FloatSlider(description=knob.label))
    _adapt(made, knob.start, knob.low, knob.high, knob.step, ".4g")
    return made


def _adapt(
    slider: ipywidgets.FloatSlider, value: float, low: float, high: float, step: float | None = None, form: str = ".3g"
) -> None:
    """Other ends of a slider, in one message, so that the lower is never above the upper."""
    with slider.hold_sync(), slider.hold_trait_notifications():
        slider.step, slider.readout_format = low if step is None else step, form
        slider.min, slider.max, slider.value = low, high, value
