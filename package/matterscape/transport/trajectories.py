"""Unwrapped trajectories: where every atom went, which is what diffusion and conductivity are read from."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.cell import Cell
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from matterscape.checks import check_number, check_whole, real_array
from matterscape.dynamics._displacements import time_blocks

if TYPE_CHECKING:
    from matterscape.dynamics import Simulation


@dataclass(frozen=True, eq=False)
class UnwrappedTrajectory:
    """Positions of all atoms at equal intervals in a cell of constant shape, never wrapped into it.

    Parameters
    ----------
    positions : array (n_times, n_atoms, 3) or path
        In Å, float32 or float64; a memory map, or the path of an ``.npy`` file, is never read as a whole, and travels
        to the workers of a cluster as its path.
    species : sequence of str
        Chemical symbol of each atom.
    cell : array (3, 3) or (3,)
        Cell vectors as rows, or the edges of a box, in Å.
    timestep_fs : float
        Time between two rows in fs.
    temperature_K : float
        Mean temperature in K.

    Raises
    ------
    ValueError
        If shapes do not fit, a symbol is unknown, the cell has no volume, or a number is out of range.
    """

    positions: np.ndarray
    species: tuple[str, ...]
    cell: np.ndarray
    timestep_fs: float
    temperature_K: float

    def __init__(
        self,
        positions: np.ndarray | str | PathLike,
        species: Sequence[str],
        cell: np.ndarray,
        *,
        timestep_fs: float,
        temperature_K: float,
    ):
        if isinstance(positions, str | PathLike):
            positions = np.load(Path(positions), mmap_mode="r", allow_pickle=False)
        positions = np.asanyarray(positions)
        if positions.ndim != 3 or positions.shape[2] != 3 or len(positions) < 2 or not positions.shape[1]:
            raise ValueError(
                f"positions have shape {positions.shape}; accepted is (n_times, n_atoms, 3) with at least two times"
            )
        if positions.dtype.kind != "f":
            raise ValueError(f"positions have the type {positions.dtype}; accepted are floating-point numbers")
        species = tuple(species)
        unknown = [symbol for symbol in species if symbol not in atomic_numbers]
        if len(species) != positions.shape[1] or unknown:
            raise ValueError(
                f"species are {len(species)} symbols, unknown among them {unknown[:3]!r}; accepted is a chemical "
                f"symbol for each of {positions.shape[1]} atoms"
            )
        cell = real_array("cell", cell)
        cell = np.diag(cell) if cell.shape == (3,) else cell
        if cell.shape != (3, 3) or not np.isfinite(cell).all() or not abs(np.linalg.det(cell)) > 0:
            raise ValueError(f"cell is {cell.tolist()}; accepted are three vectors that span a volume")
        check_number("timestep_fs", timestep_fs, "fs", positive=True)
        check_number("temperature_K", temperature_K, "K", positive=True)
        for key, value in {
            "positions": positions,
            "species": species,
            "cell": cell,
            "timestep_fs": float(timestep_fs),
            "temperature_K": float(temperature_K),
        }.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_simulation(
        cls,
        simulation: "Simulation",
        *,
        structure: int = 0,
        start_ps: float = 0.0,
        temperature_K: float | None = None,
    ) -> "UnwrappedTrajectory":
        """The record ``positions`` of a simulation at constant cell.

        Parameters
        ----------
        simulation : Simulation
            With a record of ``positions``.
        structure : int
            Which structure of the batch.
        start_ps : float
            Leave out what was recorded before, in ps from the first row.
        temperature_K : float, optional
            By default the mean of the record ``temperature_K`` over the same time.

        Raises
        ------
        ValueError
            If a record is missing or too short.
        """
        records = simulation.records
        missing = {"positions"} | ({"temperature_K"} if temperature_K is None else set())
        missing -= set(records)
        if missing:
            raise ValueError(f"the simulation did not record {' and '.join(sorted(missing))}; record it while it runs")
        check_number("start_ps", start_ps, "ps")
        record = records["positions"]
        interval = record.every * simulation.timestep_fs
        first = round(start_ps * 1e3 / interval)
        if temperature_K is None:
            thermometer = records["temperature_K"]
            warm = thermometer.steps >= (record.first_step or 0) + first * record.every
            temperature_K = float(np.mean(thermometer.values[warm, structure])) if warm.any() else np.nan
        offsets = simulation.state.offsets
        atoms = slice(offsets[structure], offsets[structure + 1])
        return cls(
            record.values[first:, atoms],
            [chemical_symbols[number] for number in simulation.state.species[atoms]],
            simulation.cells[structure],
            timestep_fs=interval,
            temperature_K=temperature_K,
        )

    @property
    def n_times(self) -> int:
        """Number of rows."""
        return len(self.positions)

    @property
    def duration_ps(self) -> float:
        """From the first row to the last, in ps."""
        return (self.n_times - 1) * self.timestep_fs * 1e-3

    @property
    def volume(self) -> float:
        """Of the cell in Å^3."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def elements(self) -> tuple[str, ...]:
        """Species that occur, in the order of their atomic numbers."""
        return tuple(sorted(set(self.species), key=atomic_numbers.get))

    @property
    def labels(self) -> np.ndarray:
        """Index of each atom's species among :attr:`elements`, (n_atoms,) int64."""
        elements = self.elements
        return np.array([elements.index(symbol) for symbol in self.species])

    @property
    def masses(self) -> np.ndarray:
        """Standard mass of each atom in amu, (n_atoms,)."""
        return atomic_masses[[atomic_numbers[symbol] for symbol in self.species]]

    def check(self) -> None:
        """Raise ``ValueError`` if a position is not finite, or jumps as in a trajectory wrapped into the cell."""
        for times, rows in time_blocks(self.positions):
            refuse_jumps(rows, times.start, self.cell)

    def window(self, start_ps: float = 0.0, stop_ps: float | None = None) -> "UnwrappedTrajectory":
        """The rows of a stretch of time, in ps from the first row; until the end if ``stop_ps`` is not given."""
        stop_ps = self.duration_ps if stop_ps is None else stop_ps
        check_number("start_ps", start_ps, "ps")
        check_number("stop_ps", stop_ps, "ps", positive=True)
        first, last = (round(time * 1e3 / self.timestep_fs) for time in (start_ps, stop_ps))
        if not first < last < self.n_times:
            raise ValueError(
                f"start_ps is {start_ps:g} and stop_ps is {stop_ps:g}; accepted are two different times from 0 to "
                f"{self.duration_ps:g} ps"
            )
        return self._with(self.positions[first : last + 1], self.timestep_fs)

    def strided(self, every: int) -> "UnwrappedTrajectory":
        """Every so manyth row."""
        check_whole("every", every, 1)
        return self._with(self.positions[::every], self.timestep_fs * every)

    def dipole(self, charges: dict[str, float]) -> np.ndarray:
        """Charge displacement M(t) - M(0) = sum_i q_i (r_i(t) - r_i(0)) in e Å, (n_times, 3).

        Parameters
        ----------
        charges : dict of str to float
            Charge of each species in e, see :func:`matterscape.transport.conductivity.einstein_conductivity`.
        """
        from matterscape.transport._displacement_curves import species_displacements

        values = charge_values(charges, self.elements)
        return np.einsum("s,sxt->tx", values, species_displacements(self)[0])

    def _with(self, positions: np.ndarray, timestep_fs: float) -> "UnwrappedTrajectory":
        return UnwrappedTrajectory(
            positions, self.species, self.cell, timestep_fs=timestep_fs, temperature_K=self.temperature_K
        )

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: for a whole ``.npy`` file its path, and nothing of its content."""
        state = dict(self.__dict__)
        rows = self.positions
        if isinstance(rows, np.memmap) and rows.mode == "r" and not isinstance(rows.base, np.ndarray):
            state["positions"] = Path(rows.filename).resolve()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["positions"], Path):
            state["positions"] = np.load(state["positions"], mmap_mode="r", allow_pickle=False)
        for key, value in state.items():
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        counts = " ".join(f"{symbol}{self.species.count(symbol)}" for symbol in self.elements)
        return (
            f"<UnwrappedTrajectory of {counts}: {self.n_times} rows every {self.timestep_fs:g} fs, "
            f"{self.temperature_K:g} K, {self.volume:g} Å^3>"
        )


def refuse_jumps(rows: np.ndarray, start: int, cell: np.ndarray) -> None:
    """Raise ``ValueError`` if an atom moves by more than half a cell within one interval, as wrapped ones do.

    Parameters
    ----------
    rows : array (n, n_atoms, 3)
        Positions in Å.
    start : int
        Number of the first row, for the message.
    cell : array (3, 3)
    """
    if not np.isfinite(rows).all():
        time, atom = np.argwhere(~np.isfinite(rows).all(axis=2))[0]
        raise ValueError(f"positions of atom {atom} in row {start + time} are {rows[time, atom].tolist()}, not finite")
    moves = np.diff(rows, axis=0) @ np.linalg.inv(cell)
    if len(moves) and max(moves.max(), -moves.min()) > 0.5:
        time, atom, axis = np.unravel_index(np.argmax(np.abs(moves)), moves.shape)
        raise ValueError(
            f"positions of atom {atom} jump by {moves[time, atom, axis]:.2f} of cell vector {axis} from row "
            f"{start + time} to the next, as coordinates do that were wrapped into the cell; accepted are unwrapped "
            "positions, see matterscape.transport.trajectories.unwrap"
        )


def charge_values(charges: dict[str, float], elements: Sequence[str]) -> np.ndarray:
    """Charge of each of some elements, (S,), from a dictionary that names exactly these."""
    if not isinstance(charges, dict) or set(charges) != set(elements):
        raise ValueError(f"charges are {charges!r}; accepted is a dictionary with a charge for {', '.join(elements)}")
    for symbol, value in charges.items():
        check_number(f"charge of {symbol}", value, "e", signed=True)
    return np.array([charges[symbol] for symbol in elements], dtype=np.float64)


def unwrap(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Unwrapped positions from ones that were wrapped into the cell.

    Between two rows every atom is taken to have moved along its shortest path, so rows must follow each other so
    closely that nothing moves by half a cell in between. This is never done unasked: it would hide atoms that were
    sampled too rarely.

    Parameters
    ----------
    positions : array (n_times, n_atoms, 3)
        In Å.
    cell : array (3, 3) or (3,)
        Cell vectors as rows, or the edges of a box, in Å.

    Returns
    -------
    array (n_times, n_atoms, 3)
        float64, equal to the given ones in the first row.
    """
    positions = real_array("positions", positions)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise ValueError(f"positions have shape {positions.shape}; accepted is (n_times, n_atoms, 3)")
    cell = Cell.new(cell)
    moves = np.diff(positions, axis=0) @ np.linalg.inv(cell.array)
    positions[1:] -= np.cumsum(np.round(moves), axis=0) @ cell.array
    return positions
