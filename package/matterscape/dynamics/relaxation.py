"""Relaxation of many structures at once, atoms and cells together: FIRE and conjugate gradients.

ASE's optimisers on ``potential.calculator()`` do the same for one structure. These exist because they relax a whole
batch in one loop, each structure with its own state, pay no ``Atoms`` bookkeeping between two evaluations, and choose
the weight of the cell so that its convergence does not slow down with the number of atoms.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms, units
from ase.constraints import FixAtoms

from matterscape.checks import check_number, check_whole
from matterscape.dynamics._minimisers import ConjugateGradients, Fire
from matterscape.potentials import Evaluator, Potential
from matterscape.potentials.base import check_potential
from matterscape.progress import progress
from matterscape.structures import Structures

METHODS = {"fire": Fire, "conjugate-gradient": ConjugateGradients}
CELLS = (False, "isotropic", "anisotropic")


@dataclass(frozen=True, eq=False)
class Relaxation:
    """Relaxed structures and how far the relaxation got.

    Attributes
    ----------
    structures : Structures
        The relaxed ones; those that did not converge stand at their lowest enthalpy.
    energies : array (n_structures,)
        Potential energy in eV.
    max_forces : array (n_structures,)
        Largest force on a free atom in eV/Å.
    stresses_GPa : array (n_structures, 3, 3) or None
        Positive under tension; None when the cell was kept.
    converged : array (n_structures,), bool
    steps : array (n_structures,), int64
        Number of evaluations of the forces.
    history : dict of str to array (n_steps, n_structures)
        ``enthalpies`` (eV), ``max_forces`` (eV/Å) and ``max_stresses_GPa`` (what is left beside the pressure) after
        every step; the last value is repeated once a structure is done.
    """

    structures: Structures
    energies: np.ndarray
    max_forces: np.ndarray
    stresses_GPa: np.ndarray | None
    converged: np.ndarray
    steps: np.ndarray
    history: dict[str, np.ndarray]

    def to_ase(self) -> list[Atoms]:
        """The relaxed structures as ``ase.Atoms``."""
        return self.structures.to_ase()


def relax(
    structures: Structures | Atoms | Iterable[Atoms],
    potential: Potential,
    *,
    cell: bool | str = False,
    pressure_GPa: float = 0.0,
    force_tolerance: float = 1e-3,
    stress_tolerance_GPa: float = 1e-2,
    method: str = "fire",
    max_steps: int = 2000,
) -> Relaxation:
    """Minimise the enthalpy U + p V of every structure of a batch.

    The degrees of freedom are those of ASE's ``FrechetCellFilter``: positions s in the undeformed cell and the
    symmetric logarithm E of the deformation, r = s exp(E), h = h_0 exp(E), so the cell never rotates. E weighs
    sqrt(n_atoms) times the mean spacing of the atoms, which makes it about as stiff as the positions.

    Parameters
    ----------
    structures : Structures, ase.Atoms or iterable of ase.Atoms
        Atoms held by ASE's ``FixAtoms`` stay, if the cell does; other constraints are refused.
    potential : Potential
    cell : False, "isotropic" or "anisotropic"
        Keep the cell, change its volume, or change all six strains.
    pressure_GPa : float
        External pressure, only with a cell that may change.
    force_tolerance : float
        In eV/Å: largest force on an atom at the end.
    stress_tolerance_GPa : float
        Largest component of stress + pressure at the end (its trace / 3 when isotropic).
    method : "fire" or "conjugate-gradient"
        FIRE 2.0 (Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020); Bitzek et al., Phys. Rev. Lett. 97, 170201
        (2006)), robust; or Polak-Ribière conjugate gradients with a line search on the slope, which mostly needs fewer
        evaluations.
    max_steps : int
        Most evaluations of the forces.

    Returns
    -------
    Relaxation
        Whatever did not converge, or was interrupted, is marked and a warning says so.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, a changing cell that is not periodic in three directions, constraints other than
        ``FixAtoms``, or a potential that cannot be evaluated.
    """
    if not isinstance(structures, Structures):
        structures = Structures.from_ase(structures)
    _check(structures, cell, pressure_GPa, force_tolerance, stress_tolerance_GPa, method, max_steps)
    check_potential("potential", potential)
    surface = _Enthalpy(structures, potential, cell, pressure_GPa * units.GPa)
    minimiser = METHODS[method](surface.owner, structures.n_structures)
    best = _Best(structures)
    active = np.arange(structures.n_structures)
    reason = f"within {max_steps} steps"
    coordinates = surface.start
    try:
        for _ in progress(range(max_steps), "Relaxation"):
            surface.evaluate(coordinates)
            done = surface.max_forces <= force_tolerance
            done &= surface.max_stresses <= stress_tolerance_GPa * units.GPa
            best.take(active, surface, done)
            active = active[~done]
            if len(active) == 0:
                break
            next_ = minimiser.advance(coordinates, surface.enthalpies, surface.gradient)
            if done.any():
                rows = surface.select(~done)
                minimiser.select(~done, rows, surface.owner)
                next_ = next_[rows]
            coordinates = next_
    except KeyboardInterrupt:
        if not best.steps.all():  # nothing to keep yet
            raise
        reason = "before the interruption"
    if len(active):
        shown = ", ".join(map(str, active[:5])) + (" ..." if len(active) > 5 else "")
        warnings.warn(
            f"{len(active)} of {structures.n_structures} structures did not converge {reason} (structures {shown}; "
            f"largest force {best.max_forces[active].max():.2g} eV/Å)",
            stacklevel=2,
        )
    return best.result(cell)


class _Enthalpy:
    """Enthalpies of a batch as functions of scaled positions and the logarithm of the deformation.

    Rows of the coordinates are the N scaled positions and, for a changing cell, three rows per structure: the logarithm
    times its weight. ``owner`` is the structure of each row.
    """

    def __init__(self, structures: Structures, potential: Potential, cell: bool | str, pressure: float):
        self.potential, self.cell, self.pressure = potential, cell, pressure
        self.structures = structures
        self.start, self._cells = _geometry(structures)
        self._free = _free_atoms(structures, cell)
        if cell:
            n_atoms = structures.atoms_per_structure.cpu().numpy()
            self._weights = np.sqrt(n_atoms) * (np.abs(np.linalg.det(self._cells)) / n_atoms) ** (1 / 3)
            self.start = np.concatenate([self.start, np.zeros((3 * len(n_atoms), 3))])
        self._bind()

    def _bind(self) -> None:
        self._evaluate = Evaluator(self.potential, self.structures)
        self.index = self.structures.structure_index.cpu().numpy()
        cell_rows = np.repeat(np.arange(len(self._cells)), 3 if self.cell else 0)
        self.owner = np.concatenate([self.index, cell_rows])

    def select(self, chosen: np.ndarray) -> np.ndarray:
        """Go on with some of the structures (mask); returns the mask of their rows."""
        rows = chosen[self.owner]
        atoms = rows[: len(self.index)]
        self.structures = self.structures[np.flatnonzero(chosen)]
        self._cells, self._free = self._cells[chosen], self._free[atoms]
        if self.cell:
            self._weights = self._weights[chosen]
        self._bind()
        return rows

    def evaluate(self, coordinates: np.ndarray) -> None:
        """Set everything that depends on the coordinates (M, 3)."""
        self.positions, self.cells = coordinates, self._cells
        if self.cell:
            n_atoms = len(self.index)
            logarithms = coordinates[n_atoms:].reshape(-1, 3, 3) / self._weights[:, None, None]
            exponents, axes = np.linalg.eigh(logarithms)
            deformations = (axes * np.exp(exponents)[:, None, :]) @ axes.transpose(0, 2, 1)
            self.positions = np.einsum("na,nab->nb", coordinates[:n_atoms], deformations[self.index])
            self.cells = self._cells @ deformations
        self._evaluate(self.positions, self.cells, pieces=bool(self.cell))
        self.energies = np.bincount(self.index, self._evaluate.energies, len(self._cells))
        if not np.isfinite(self.energies).all():
            structure = int(np.argmin(np.isfinite(self.energies)))
            formula = self.structures[structure].to_ase()[0].get_chemical_formula()
            raise ValueError(
                f"the potential gives an energy of {self.energies[structure]} eV for a structure {formula}"
            )
        gradient = np.where(self._free[:, None], -self._evaluate.forces, 0.0)
        self.max_forces = np.zeros(len(self._cells))
        np.maximum.at(self.max_forces, self.index, np.linalg.norm(gradient, axis=1))
        self.enthalpies, self.gradient = self.energies, gradient
        self.stresses, self.max_stresses = None, np.zeros(len(self._cells))
        if self.cell:
            self._add_cells(gradient, exponents, axes, deformations)

    def _add_cells(self, gradient, exponents, axes, deformations) -> None:
        """Pressure and the derivatives by the cells.

        With V = dU/d(strain) at the present cell and E = Q diag(e) Q^T, the derivative by E is
        Q [(Q^T V Q)_ab sinh(e_a - e_b) / (e_a - e_b)] Q^T.
        """
        n_structures = len(self._cells)
        volumes = np.abs(np.linalg.det(self.cells))
        by_strain = np.zeros((n_structures, 3, 3))
        np.add.at(by_strain, self.index, -self._evaluate.flux_tensors)
        by_strain = (by_strain + by_strain.transpose(0, 2, 1)) / 2
        self.stresses = by_strain / volumes[:, None, None]
        self.enthalpies = self.energies + self.pressure * volumes
        residual = self.stresses + self.pressure * np.eye(3)
        if self.cell == "isotropic":
            residual = np.trace(residual, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        self.max_stresses = np.abs(residual).max(axis=(1, 2))
        rotated = axes.transpose(0, 2, 1) @ residual @ axes * volumes[:, None, None]
        by_logarithm = (
            axes @ (rotated * _sinhc(exponents[:, :, None] - exponents[:, None, :])) @ axes.transpose(0, 2, 1)
        )
        by_rows = (by_logarithm / self._weights[:, None, None]).reshape(-1, 3)
        by_positions = np.einsum("na,nab->nb", gradient, deformations[self.index])
        self.gradient = np.concatenate([by_positions, by_rows])


class _Best:
    """The lowest enthalpy of each structure so far, or its last point once it has converged."""

    def __init__(self, structures: Structures):
        n_structures = structures.n_structures
        self._structures = structures
        self._offsets = structures.offsets.cpu().numpy()
        self.positions, self.cells = _geometry(structures)
        self.enthalpies = np.full(n_structures, np.inf)
        self.energies, self.max_forces = np.full(n_structures, np.nan), np.full(n_structures, np.nan)
        self.stresses = np.full((n_structures, 3, 3), np.nan)
        self.converged = np.zeros(n_structures, bool)
        self.steps = np.zeros(n_structures, int)
        self._history: list[np.ndarray] = []

    def take(self, active: np.ndarray, surface: _Enthalpy, done: np.ndarray) -> None:
        """Note the present point of the structures that are still active; those that are done keep it."""
        self.steps[active] += 1
        self.converged[active] = done
        row = self._history[-1].copy() if self._history else np.empty((3, len(self.steps)))
        row[:, active] = surface.enthalpies, surface.max_forces, surface.max_stresses / units.GPa
        self._history.append(row)
        better = done | (surface.enthalpies < self.enthalpies[active])
        chosen = active[better]
        self.enthalpies[chosen] = surface.enthalpies[better]
        self.energies[chosen] = surface.energies[better]
        self.max_forces[chosen] = surface.max_forces[better]
        self.cells[chosen] = surface.cells[better]
        if surface.stresses is not None:
            self.stresses[chosen] = surface.stresses[better]
        rows = np.zeros(len(self.steps), bool)
        rows[chosen] = True
        self.positions[np.repeat(rows, np.diff(self._offsets))] = surface.positions[better[surface.index]]

    def result(self, cell: bool | str) -> Relaxation:
        """Everything noted."""
        old = self._structures
        relaxed = replace(
            old,
            positions=torch.from_numpy(self.positions).to(old.positions),
            cells=torch.from_numpy(self.cells).to(old.cells),
            strain=None,
            _leaf_positions=None,
            _topologies={},
        )
        names = ("enthalpies", "max_forces", "max_stresses_GPa")
        history = np.stack(self._history) if self._history else np.empty((0, 3, len(self.steps)))
        return Relaxation(
            structures=relaxed,
            energies=self.energies,
            max_forces=self.max_forces,
            stresses_GPa=self.stresses / units.GPa if cell else None,
            converged=self.converged,
            steps=self.steps,
            history={name: history[:, n] for n, name in enumerate(names)},
        )


def _sinhc(x: np.ndarray) -> np.ndarray:
    """sinh(x) / x."""
    small = np.abs(x) < 1e-4
    return np.where(small, 1 + x**2 / 6, np.sinh(x) / np.where(small, 1.0, x))


def _geometry(structures: Structures) -> tuple[np.ndarray, np.ndarray]:
    """Copies of positions (N, 3) and cells (B, 3, 3), float64."""
    return tuple(t.detach().cpu().double().numpy().copy() for t in (structures.positions, structures.cells))


def _free_atoms(structures: Structures, cell: bool | str) -> np.ndarray:
    """Mask (N,) of the atoms that no ``FixAtoms`` holds."""
    free = np.ones(structures.n_atoms, bool)
    for structure, (atoms, start) in enumerate(zip(structures.to_ase(), structures.offsets.tolist())):
        for constraint in atoms.constraints:
            if cell or not isinstance(constraint, FixAtoms):
                raise ValueError(
                    f"structure {structure} has the constraint {type(constraint).__name__}; accepted are FixAtoms, and "
                    "none when the cell changes"
                )
            free[start + np.asarray(constraint.index)] = False
    return free


def _check(structures, cell, pressure_GPa, force_tolerance, stress_tolerance_GPa, method, max_steps) -> None:
    if cell not in CELLS:
        raise ValueError(f'cell is {cell!r}; accepted are False, "isotropic" and "anisotropic"')
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; accepted are {', '.join(map(repr, METHODS))}")
    check_number("pressure_GPa", pressure_GPa, signed=True)
    if pressure_GPa and not cell:
        raise ValueError(f"pressure_GPa is {pressure_GPa!r} but cell is False; choose how the cell may change")
    for name, value in {"force_tolerance": force_tolerance, "stress_tolerance_GPa": stress_tolerance_GPa}.items():
        check_number(name, value, positive=True)
    check_whole("max_steps", max_steps, 1)
    aperiodic = ~structures.pbc.all(dim=1)
    if cell and bool(aperiodic.any()):
        structure = int(aperiodic.nonzero()[0])
        raise ValueError(
            f"structure {structure} is periodic along {structures.pbc[structure].tolist()}; a changing cell must be "
            "periodic in all three directions"
        )
