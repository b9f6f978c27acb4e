"""Molecular dynamics of a batch of structures: the loop, what is recorded along it, and how to steer it."""

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from matterscape.checks import check_whole
from matterscape.dynamics import restart as restart_files
from matterscape.dynamics import setup
from matterscape.dynamics.integrators import Integrator, checked_number
from matterscape.dynamics.observables import Observables
from matterscape.dynamics.recorder import Recorder
from matterscape.dynamics.records import Record
from matterscape.dynamics.state import ExplosionError, State
from matterscape.dynamics.trajectory import TrajectoryWriter
from matterscape.potentials import Potential
from matterscape.potentials.base import check_potential
from matterscape.progress import progress
from matterscape.structures import Structures

Result = TypeVar("Result")


class Simulation(Observables):
    """Molecular dynamics of one structure, or of a batch of independent ones, in one loop.

    Parameters
    ----------
    structures : ase.Atoms, list of ase.Atoms, or Structures
        Repeat a structure to get replicas: each has a random stream and a temperature of its own, and moves as it would
        alone with the same stream.
    potential : Potential
    integrator : Integrator
        A new one for every simulation.
    timestep_fs : float
        Time step in fs.
    seed : int or numpy.random.Generator
        The same seed gives the same run, on the same machine with the same number of threads bit for bit.
    initial_temperature_K : float or sequence of float, optional
        Draw velocities from the Maxwell-Boltzmann distribution at this temperature. Without it and without
        ``velocities``: the momenta of the frames if they have any, else the integrator's temperature if it has one,
        else at rest.
    velocities : array (N, 3), optional
        Initial velocities in Å / ASE time.
    masses : array (N,), optional
        amu; by default the frames' own, which are ASE's standard masses unless changed.
    charges : array (N,), optional
        In units of e, for the charge flux; by default the frames' initial charges, if they have any.
    streams : sequence of int, optional
        Random stream of each structure; by default 0, 1, 2, ...
    remove_momentum : bool, optional
        Take the total momentum out of drawn velocities, and count three degrees of freedom less. By default so where
        the integrator conserves it; choose False in an external field.
    remove_rotation : bool
        Likewise the angular momentum; only for molecules without periodic directions.
    skin : float
        Neighbour lists reach this much further than the potential, in Å.
    max_displacement : float
        A step that moves an atom by more than this many Å is an explosion.
    max_temperature_K : float
        A structure hotter than this is an explosion.
    folder : path, optional
        Records are kept in ``.npy`` files there, which grow with the run, instead of in memory.

    Raises
    ------
    TypeError, ValueError
        For structures, numbers or shapes that make no simulation; the message names the argument.
    """

    def __init__(
        self,
        structures: Atoms | Sequence[Atoms] | Structures,
        potential: Potential,
        *,
        integrator: Integrator,
        timestep_fs: float,
        seed: int | np.random.Generator = 0,
        initial_temperature_K: float | Sequence[float] | None = None,
        velocities: np.ndarray | None = None,
        masses: np.ndarray | None = None,
        charges: np.ndarray | None = None,
        streams: Sequence[int] | None = None,
        remove_momentum: bool | None = None,
        remove_rotation: bool = False,
        skin: float = 1.0,
        max_displacement: float = 1.0,
        max_temperature_K: float = 1e6,
        folder: str | PathLike | None = None,
    ):
        check_potential("potential", potential)
        start = setup.prepare(
            structures,
            integrator,
            seed=seed,
            initial_temperature_K=initial_temperature_K,
            velocities=velocities,
            masses=masses,
            charges=charges,
            streams=streams,
            remove_momentum=remove_momentum,
            remove_rotation=remove_rotation,
        )
        state = State(
            start.structures,
            start.velocities,
            start.masses,
            start.keys,
            start.fixed_momenta,
            skin=checked_number("skin", skin),
            max_displacement=checked_number("max_displacement", max_displacement, inclusive=False),
            max_temperature_K=checked_number("max_temperature_K", max_temperature_K, inclusive=False),
        )
        state.set_potential(potential)
        state.measure()
        integrator.attach(state)
        self._begin(state, integrator, timestep_fs, start.charges, folder)
        self._templates = start.structures.to_ase()
        self.measure_drift()
        self.recorder.refuse_used_folder()

    def _begin(
        self,
        state: State,
        integrator: Integrator,
        timestep_fs: float,
        charges: np.ndarray | None,
        folder: str | PathLike | None,
    ) -> None:
        self.state, self.integrator, self.charges = state, integrator, charges
        self.recorder = Recorder(None if folder is None else Path(folder))
        self._clock = (0, 0.0)  # a step and the time in ps at which it was
        self._timestep_fs = checked_number("timestep_fs", timestep_fs, inclusive=False)
        self._gate = threading.Lock()
        self._requests: deque[tuple[Callable[[], Any], Future]] = deque()
        self._runner: int | None = None
        self._stop = False
        self._templates = state.structures().to_ase()
        self._backup = [
            (array, array.copy())
            for array in (state.positions, state.velocities, state.cells, *integrator.arrays().values())
        ]
        self._backup.append((state.kinetic, state.kinetic_before))

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, steps: int, *, show_progress: bool = True) -> None:
        """Make steps.

        An interrupt (Ctrl-C, or a notebook's stop button) takes effect at the end of the step: everything recorded so
        far is complete, and another call goes on from there.

        Parameters
        ----------
        steps : int
            How many; fewer if :meth:`stop` is called.
        show_progress : bool
            Show a bar if it takes longer than a second.

        Raises
        ------
        ExplosionError
            If a step fails; the simulation then stands at the last good step.
        RuntimeError
            If the simulation is running already, in another thread or further up in this one.
        """
        check_whole("steps", steps, 0)
        with self._gate:
            if self._runner is not None:
                raise RuntimeError("the simulation is running already")
            self._runner = threading.get_ident()
            self._stop = False
        try:
            with self._interrupt_at_step_boundary():
                self.recorder.observe(self)
                items = range(int(steps))
                for _ in progress(items, "molecular dynamics") if show_progress else items:
                    if self._stop:
                        break
                    self._advance()
                    self.recorder.observe(self)
                    if self._requests:
                        self._serve()
        finally:
            self._leave()
            self.recorder.flush()
        if self._interrupted:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """End a run at its next step boundary; may be called from another thread or a callback."""
        self._stop = True

    def at_step_boundary(self, function: Callable[[], Result]) -> Result:
        """Call a function between two steps, from any thread, and give its result.

        While another thread runs the simulation, this waits for its next step boundary. Use it to read several
        quantities that belong together, or to change something that a step must not see half changed.
        """
        with self._gate:
            if self._runner not in (None, threading.get_ident()):
                future: Future = Future()
                self._requests.append((function, future))
            else:
                future = None
        return function() if future is None else future.result()

    @property
    def running(self) -> bool:
        """Whether :meth:`run` is at work."""
        return self._runner is not None

    def _advance(self) -> None:
        state, integrator = self.state, self.integrator
        following = state.step + 1
        pieces = integrator.pieces_at(following) or self.recorder.needs_pieces(following)
        for live, copy in self._backup:
            np.copyto(copy, live)
        try:
            integrator.step(state, self._timestep_fs * units.fs, pieces)
            state.check_temperature()
        except BaseException as error:
            self._return_to_last_good_step()
            if isinstance(error, ExplosionError) or not isinstance(error, ValueError):
                raise
            temperature = self.state.hottest_K()
            raise ExplosionError(
                f"step {following} failed at {temperature:.4g} K: {error} (the simulation stands at step {state.step})",
                following,
                None,
                temperature,
            ) from error
        state.step = following

    def _return_to_last_good_step(self) -> None:
        for live, copy in self._backup:
            np.copyto(live, copy)
        self.state.evaluate()

    def _leave(self) -> None:
        """Answer the last requests; nobody may ask a run that has ended."""
        while self._runner is not None:
            self._serve()
            with self._gate:
                if not self._requests:
                    self._runner = None

    def _serve(self) -> None:
        while self._requests:
            function, future = self._requests.popleft()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

    @contextlib.contextmanager
    def _interrupt_at_step_boundary(self) -> Iterator[None]:
        """Turn the first interrupt into a request to stop; a second one strikes at once."""
        self._interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def handler(number: int, frame: Any) -> None:
            self._interrupted = self._stop = True
            signal.signal(signal.SIGINT, before)

        if not callable(before):  # somebody chose to ignore interrupts, or they are not Python's to handle
            yield
            return
        signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    # -- steering ------------------------------------------------------------------------------------------------------

    @property
    def potential(self) -> Potential:
        """The potential; setting it takes effect between two steps, and leaves the conserved energy as it is."""
        return self.state.potential

    @potential.setter
    def potential(self, potential: Potential) -> None:
        check_potential("potential", potential)

        def change() -> None:
            before = self.potential_energy
            self.state.set_potential(potential)
            self.integrator.heat += self.potential_energy - before

        self.at_step_boundary(change)

    @property
    def timestep_fs(self) -> float:
        """Time step in fs; setting it takes effect between two steps."""
        return self._timestep_fs

    @timestep_fs.setter
    def timestep_fs(self, value: float) -> None:
        timestep = checked_number("timestep_fs", value, inclusive=False)

        def change() -> None:
            self._clock = (self.step, self.time_ps)
            self._timestep_fs = timestep

        self.at_step_boundary(change)

    # -- observing -----------------------------------------------------------------------------------------------------

    @property
    def time_ps(self) -> float:
        """Time since the simulation began, in ps."""
        step, time = self._clock
        return time + (self.state.step - step) * self._timestep_fs * 1e-3

    @property
    def n_rebuilds(self) -> int:
        """How often the neighbour lists were searched, the first time included."""
        return self.state.n_rebuilds

    @property
    def energy_drift(self) -> np.ndarray:
        """Change of the conserved energy since :meth:`measure_drift` or the start, (B,) in eV per atom and ns."""
        elapsed = (self.time_ps - self._first_time) * 1e-3
        change = self.conserved_energy - self._first_energy
        return change / np.diff(self.state.offsets) / elapsed if elapsed > 0 else np.zeros_like(change)

    def measure_drift(self) -> None:
        """Start measuring the energy drift from the present step."""
        self._first_energy, self._first_time = self.conserved_energy, self.time_ps

    def record(
        self,
        what: str | Callable[["Simulation"], Any],
        every: int = 1,
        *,
        name: str | None = None,
        unit: str | None = None,
        pieces: bool = False,
    ) -> Record:
        """Record an observable every so many steps (those that ``every`` divides), from the present step on.

        After :meth:`restart` with a folder, the same call goes on with the same file, without duplicates.

        Parameters
        ----------
        what : str or callable
            One of :attr:`units`, or ``function(simulation)`` that returns a number or an array of constant shape.
        every : int
        name : str, optional
            By default the name of the observable or of the function.
        unit : str, optional
            Of a function's result.
        pieces : bool
            Whether a function uses the flux tensors, which are then computed along with the forces.

        Returns
        -------
        Record
            With ``values`` and ``steps``; also in ``simulation.records[name]``.
        """
        if callable(what):
            label = name or getattr(what, "__name__", "")
            if not label.isidentifier():
                raise ValueError(f"name is {name!r}; a function needs one that is made of letters, digits and _")
            made = Record(label, unit or "", setup.whole_stride(every), what, pieces)
        elif what in self.units:
            if what in ("charge_flux", "member_energies"):
                getattr(self, what)  # says now what is missing
            made = Record(
                name or what,
                self.units[what],
                setup.whole_stride(every),
                lambda simulation: getattr(simulation, what),
                what in self.needing_pieces,
            )
        else:
            raise ValueError(f"what is {what!r}; accepted are a function, and {', '.join(self.units)}")
        self.at_step_boundary(lambda: self.recorder.add(made, self))
        return made

    def call(self, function: Callable[["Simulation"], Any], every: int = 1) -> None:
        """Call ``function(simulation)`` after every step that ``every`` divides, e.g. to show or steer something."""
        stride = setup.whole_stride(every)
        self.at_step_boundary(lambda: self.recorder.add_callback(function, stride))

    def write(self, path: str | PathLike, every: int = 1, *, structure: int = 0) -> None:
        """Write frames of one structure to an extended XYZ (``.xyz``, ``.extxyz``) or ASE (``.traj``) file.

        After :meth:`restart`, the same call goes on with the same file, without duplicates.
        """
        structure = range(self.state.n_structures)[structure]
        writer = TrajectoryWriter(Path(path), setup.whole_stride(every), structure)
        self.at_step_boundary(lambda: self.recorder.add_trajectory(writer))

    @property
    def records(self) -> dict[str, Record]:
        """The records by name."""
        return self.recorder.records

    def export(self, path: str | PathLike) -> None:
        """Write all records to an ``.npz`` file: an array and its steps for each, and the units as JSON text."""
        arrays: dict[str, np.ndarray] = {}
        for name, record in self.records.items():
            arrays[name] = record.values
            arrays[f"{name}.steps"] = record.steps
        restart_files.write_npz(Path(path), arrays, self.recorder.metadata(self))

    def provenance(self) -> dict[str, Any]:
        """Time step, species, potential and versions."""
        own = {"timestep_fs": self._timestep_fs, "species": list(self.species)}
        return {**own, **restart_files.provenance(self.potential)}

    # -- structures ----------------------------------------------------------------------------------------------------

    def frame(self, structure: int = 0) -> Atoms:
        """A structure as it is now: unwrapped positions, momenta, energy, forces, step and time."""
        state = self.state
        own = slice(*state.offsets[range(state.n_structures)[structure] :][:2])
        atoms = self._templates[structure].copy()
        atoms.set_constraint()
        atoms.set_cell(state.cells[structure])
        atoms.set_positions(state.positions[own])
        atoms.set_masses(state.masses[own])
        atoms.set_velocities(state.velocities[own])
        atoms.info.update(step=state.step, time_ps=self.time_ps, temperature_K=float(self.temperature_K[structure]))
        energy = float(self.potential_energy[structure])
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=state.forces[own].copy())
        return atoms

    def frames(self) -> list[Atoms]:
        """All structures as they are now, see :meth:`frame`; while running, as of one step boundary."""
        return self.at_step_boundary(lambda: [self.frame(structure) for structure in range(self.state.n_structures)])

    def structures(self) -> Structures:
        """The batch as it is now."""
        return self.at_step_boundary(self.state.structures)

    # -- restart files -------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike) -> None:
        """Write a restart file (``.npz``): a run that continues from it equals the uninterrupted one bit for bit.

        The file appears at once or not at all, and the records' files are brought up to date first. For one every
        10000 steps: ``simulation.call(lambda simulation: simulation.save(path), every=10000)``.
        """
        self.at_step_boundary(lambda: self._save(Path(path)))

    def _save(self, path: Path) -> None:
        self.recorder.flush()
        restart_files.save(self, path)

    @classmethod
    def restart(
        cls,
        path: str | PathLike,
        potential: Potential,
        *,
        integrator: Integrator | None = None,
        folder: str | PathLike | None = None,
    ) -> "Simulation":
        """Continue from a restart file.

        Records, callbacks and trajectories are asked for anew, with the calls that the first run made.

        Parameters
        ----------
        path : path
            Written by :meth:`save`.
        potential : Potential
            The one that wrote the file.
        integrator : Integrator, optional
            For integrators that are not matterscape's own: a new one of the same class.
        folder : path, optional
            Records there are continued after the step of the restart.

        Raises
        ------
        ValueError
            If the file is no restart file, or was written with another potential.
        """
        simulation = restart_files.load(cls, Path(path), potential, integrator=integrator, folder=folder)
        simulation.recorder.continue_folder()
        return simulation

    def progress_made(self) -> dict[str, Any]:
        """What a restart file has to say about the run, besides state and integrator."""
        return {
            "timestep_fs": self._timestep_fs,
            "clock": list(self._clock),
            "finished_step": self.recorder.finished_step,
            "first_energy": self._first_energy.tolist(),
            "first_time": self._first_time,
        }

    def take_up(self, made: dict[str, Any]) -> None:
        """Go on where :meth:`progress_made` described the run."""
        self._clock = tuple(made["clock"])
        self.recorder.finished_step = made["finished_step"]
        self._first_energy, self._first_time = np.array(made["first_energy"]), made["first_time"]

    def __repr__(self) -> str:
        state = self.state
        temperature = ", ".join(f"{value:.1f}" for value in self.temperature_K[:4])
        more = ", ..." if state.n_structures > 4 else ""
        return (
            f"<Simulation of {state.n_atoms} atoms in {state.n_structures} structures, "
            f"{type(self.integrator).__name__}, {self._timestep_fs:g} fs: {self.time_ps:.3f} ps, "
            f"{temperature}{more} K, energy drift {np.abs(self.energy_drift).max():.2g} eV per atom and ns, "
            f"{self.n_rebuilds} neighbour lists>"
        )
