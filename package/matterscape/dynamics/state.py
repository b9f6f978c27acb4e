"""What an integrator moves: positions, velocities, cells and forces of a batch of structures."""

import numpy as np
import torch
from ase import units

from matterscape.dynamics import _kernels
from matterscape.potentials import Evaluator, Potential
from matterscape.structures import Structures


class ExplosionError(ValueError):
    """A step that moved an atom too far, made the system too hot, or met configurations without an energy.

    Attributes
    ----------
    step : int
        The step that failed; the simulation stands at the step before it.
    atom : int or None
        The atom (index in the batch) that moved too far or has a force that is no number.
    temperature_K : float
        Of the atom's structure (or the hottest one) when that was noticed; at the last good step, if it was no number
        any more.
    """

    def __init__(self, message: str, step: int, atom: int | None, temperature_K: float):
        super().__init__(message)
        self.step = step
        self.atom = atom
        self.temperature_K = temperature_K

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.step, self.atom, self.temperature_K)


class State:
    """Phase-space point of a batch of B structures with N atoms; forces once :meth:`set_potential` was called.

    Parameters
    ----------
    structures : Structures
        Double precision, on the CPU.
    velocities : array (N, 3), float64
        Å / ASE time.
    masses : array (N,), float64
        amu.
    keys : array (B, 2), uint64
        Random stream of each structure.
    fixed_momenta : array (B,), int64
        Components of the total momentum and angular momentum that stay zero.
    skin : float
        Å, of the neighbour lists.
    max_displacement : float
        Å per step.
    max_temperature_K : float
    """

    def __init__(
        self,
        structures: Structures,
        velocities: np.ndarray,
        masses: np.ndarray,
        keys: np.ndarray,
        fixed_momenta: np.ndarray,
        *,
        skin: float,
        max_displacement: float,
        max_temperature_K: float,
    ):
        self.species = structures.species.numpy()
        self.pbc = structures.pbc.numpy()
        self.structure_index = structures.structure_index.numpy()
        self.offsets = structures.offsets.numpy()
        self.positions = structures.positions.numpy().copy()
        self.cells = structures.cells.numpy().copy()
        self.velocities = np.array(velocities, dtype=np.float64, order="C")
        self.masses = masses
        self.inverse_masses = 1.0 / masses
        self.keys = keys
        self.fixed_momenta = fixed_momenta
        self.degrees_of_freedom = 3 * np.diff(self.offsets) - fixed_momenta
        self.step = 0
        self.skin = skin
        self.max_displacement = max_displacement
        self.max_temperature_K = max_temperature_K
        self.evaluator: Evaluator | None = None
        self._earlier_rebuilds = 0
        self.kinetic = np.empty(self.n_structures)
        self.kinetic_before = np.zeros(self.n_structures)  # of the last good step

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the batch."""
        return len(self.masses)

    @property
    def n_structures(self) -> int:
        """Number of structures in the batch."""
        return len(self.cells)

    def structures(self, positions: np.ndarray | None = None, cells: np.ndarray | None = None) -> Structures:
        """The batch at the given positions and cells, by default the present ones (copies)."""
        return Structures(
            positions=torch.tensor(self.positions if positions is None else positions),
            species=torch.from_numpy(self.species),
            structure_index=torch.from_numpy(self.structure_index),
            cells=torch.tensor(self.cells if cells is None else cells),
            pbc=torch.from_numpy(self.pbc),
        )

    # -- forces --------------------------------------------------------------------------------------------------------

    def set_potential(self, potential: Potential) -> None:
        """Move in another potential from here on; the neighbour lists start anew."""
        evaluator = Evaluator(potential, self.structures(), skin=self.skin)
        evaluator(self.positions, self.cells)  # may refuse; then nothing has changed
        self.adopt(potential, evaluator, (self.positions.copy(), self.cells.copy()))

    def adopt(self, potential: Potential, evaluator: Evaluator, bound_at: tuple[np.ndarray, np.ndarray]) -> None:
        """Use an evaluator that was made for the structures at these positions and cells."""
        self._earlier_rebuilds = self.n_rebuilds
        self.potential, self.evaluator, self.bound_at = potential, evaluator, bound_at
        self.forces = evaluator.forces
        self.has_pieces = False

    def count_rebuilds_from(self, total: int) -> None:
        """Say how often the neighbour lists were searched up to now."""
        self._earlier_rebuilds = total - self.evaluator.n_rebuilds

    @property
    def n_rebuilds(self) -> int:
        """How often the neighbour lists were searched since the simulation began."""
        return self._earlier_rebuilds + (self.evaluator.n_rebuilds if self.evaluator is not None else 0)

    def evaluate(self, pieces: bool = False) -> None:
        """Energies and forces of the present positions, and the flux tensors if ``pieces``."""
        self.evaluator(self.positions, self.cells, pieces=pieces)
        self.has_pieces = pieces

    def require_pieces(self) -> None:
        """See to it that flux tensors of the present positions are there, leaving the forces in use untouched."""
        if not self.has_pieces:
            kept = self.evaluator.energies.copy(), self.forces.copy()
            self.evaluate(pieces=True)
            np.copyto(self.evaluator.energies, kept[0])
            np.copyto(self.forces, kept[1])

    # -- energies, temperature, pressure -------------------------------------------------------------------------------

    def measure(self) -> None:
        """Bring the kinetic energies up to date with the velocities."""
        _kernels.measure(self.velocities, self.masses, self.offsets, self.kinetic)

    @property
    def potential_energy(self) -> np.ndarray:
        """Potential energies (B,) in eV."""
        return np.add.reduceat(self.evaluator.energies, self.offsets[:-1])

    @property
    def temperature_K(self) -> np.ndarray:
        """Temperatures (B,) in K: twice the kinetic energy per degree of freedom over k_B."""
        return 2.0 * self.kinetic / (self.degrees_of_freedom * units.kB)

    @property
    def volume(self) -> np.ndarray:
        """Volumes (B,) in Å^3."""
        return np.abs(np.linalg.det(self.cells))

    def pressure_times_volume(self) -> np.ndarray:
        """Internal pressure tensor times volume (B, 3, 3) in eV: sum m v v + sum W."""
        self.require_pieces()
        out = np.empty((self.n_structures, 3, 3))
        _kernels.pressure_tensors(self.velocities, self.masses, self.evaluator.flux_tensors, self.offsets, out)
        return out

    # -- explosions ----------------------------------------------------------------------------------------------------

    def refuse_move(self, atom: int) -> None:
        """Raise :class:`ExplosionError` for an atom that moves too far in this step."""
        self.measure()
        structure = int(self.structure_index[atom])
        temperature = self.hottest_K(structure)
        raise ExplosionError(
            f"step {self.step + 1} moves atom {atom - self.offsets[structure]} of structure {structure} by more than "
            f"max_displacement = {self.max_displacement:g} Å at {temperature:.4g} K; use a smaller timestep_fs or a "
            f"relaxed start (the simulation stands at step {self.step})",
            self.step + 1,
            atom,
            temperature,
        )

    def hottest_K(self, structure: int | slice = slice(None)) -> float:
        """Highest temperature of the structures now, or at the last good step where it is no number any more."""
        kinetic = np.where(np.isfinite(self.kinetic), self.kinetic, self.kinetic_before)
        return float(np.max((2.0 * kinetic / (self.degrees_of_freedom * units.kB))[structure]))

    def check_temperature(self) -> None:
        """Raise :class:`ExplosionError` if a structure is hotter than allowed, or its energy is no number."""
        temperatures = self.temperature_K
        bad = ~(temperatures <= self.max_temperature_K)
        if not bad.any():
            return
        structure = int(np.argmax(bad))
        own = slice(self.offsets[structure], self.offsets[structure + 1])
        broken = np.flatnonzero(~np.isfinite(self.forces[own]).all(axis=1))
        if len(broken):
            atom = int(broken[0])
            what = f"has a force that is no number on atom {atom}"
        else:
            atom = int(np.argmax(self.masses[own] * np.square(self.velocities[own]).sum(axis=1)))
            what = f"exceeds max_temperature_K = {self.max_temperature_K:g} with atom {atom} as the fastest one"
        temperature = self.hottest_K(structure)
        raise ExplosionError(
            f"step {self.step + 1} {what}, structure {structure}, at {temperature:.4g} K; use a smaller timestep_fs "
            f"or a relaxed start (the simulation stands at step {self.step})",
            self.step + 1,
            atom + int(self.offsets[structure]),
            temperature,
        )
