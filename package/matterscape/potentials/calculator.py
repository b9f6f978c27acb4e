"""Any potential as an ASE calculator."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from matterscape.checks import check_number
from matterscape.potentials.base import Potential, check_potential
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.orientations import ORIENTATION_KEYS
from matterscape.structures import Structures

_FROM_FLUX_TENSORS = ("stress", "stresses", "flux_tensors")


class Calculator(AseCalculator):
    """ASE calculator of a potential, for ``ase.optimize``, ``ase.md``, ``ase.vibrations``, phonopy and the like.

    Neighbour lists are kept while only positions and cell change, see ``skin``. Units are ASE's: eV, Å.

    ``results`` holds ``energy`` and ``free_energy``, ``energies`` (atoms,), ``forces`` (atoms, 3); ``stress`` (6,) in
    Voigt's order, positive under tension, where there is a cell with a volume; ``stresses`` (atoms, 6), the symmetric
    parts of the atoms' flux tensors over minus the volume of the cell, which sum to the stress; ``flux_tensors``
    (atoms, 3, 3); ``torques`` (atoms, 3) of oriented bodies; ``member_energies`` (members,) of ensemble potentials.
    The three that need flux tensors are computed from the first request for one of them on.

    Parameters
    ----------
    potential : Potential
    skin : float
        How much further than the potential the neighbour lists reach, in Å.

    Attributes
    ----------
    n_rebuilds : int
        How often neighbours were searched since species or periodic directions last changed.

    Raises
    ------
    TypeError
        If ``potential`` is something else.
    ValueError
        If the skin is negative; when calculating, if the potential refuses the structure or a position isn't finite.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", *_FROM_FLUX_TENSORS
    ]  # fmt: skip

    def __init__(self, potential: Potential, *, skin: float = 1.0):
        check_potential("potential", potential)
        check_number("skin", skin, "Å")
        super().__init__()
        self.potential, self.skin = potential, skin
        self._evaluator: Evaluator | None = None
        self._with_flux_tensors = False

    @property
    def n_rebuilds(self) -> int:
        """How often neighbours were searched since species or periodic directions last changed."""
        return 0 if self._evaluator is None else self._evaluator.n_rebuilds

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation; orientations count too."""
        changes = super().check_state(atoms, tol)
        for key in ORIENTATION_KEYS:
            before = None if self.atoms is None else self.atoms.arrays.get(key)
            now = atoms.arrays.get(key)
            if (before is None) != (now is None) or (now is not None and not np.array_equal(before, now)):
                changes.append(key)
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Evaluate the potential; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        bad = ~np.isfinite(atoms.positions).all(axis=1)
        if bad.any():
            raise ValueError(
                f"positions of atom {int(bad.argmax())} are {atoms.positions[bad][0]}; they must be finite"
            )
        if self._evaluator is None or set(system_changes) - {"positions", "cell"}:
            self._evaluator = Evaluator(self.potential, Structures.from_ase(atoms), skin=self.skin)
        self._with_flux_tensors |= any(name in _FROM_FLUX_TENSORS for name in properties)
        evaluator = self._evaluator
        evaluator(np.ascontiguousarray(atoms.positions), atoms.cell.array[None].copy(), pieces=self._with_flux_tensors)
        energy = float(evaluator.energies.sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": evaluator.energies.copy(),
            "forces": evaluator.forces.copy(),
        }
        if hasattr(evaluator.bound, "torques"):
            self.results["torques"] = evaluator.bound.torques.copy()
        if hasattr(evaluator.bound, "member_energies"):
            self.results["member_energies"] = evaluator.bound.member_energies[0]
        if self._with_flux_tensors:
            tensors = evaluator.flux_tensors.copy()
            self.results["flux_tensors"] = tensors
            if atoms.cell.rank == 3:
                stresses = -0.5 * (tensors + tensors.transpose(0, 2, 1)) / atoms.cell.volume
                self.results["stresses"] = np.array([full_3x3_to_voigt_6_stress(stress) for stress in stresses])
                self.results["stress"] = self.results["stresses"].sum(axis=0)

    def heat_flux(self, atoms: Atoms | None = None) -> np.ndarray:
        """Heat flux of a structure with its present velocities; also stored as ``results["heat_flux"]``.

        Parameters
        ----------
        atoms : ase.Atoms, optional
            With velocities; the structure of the last calculation if not given.

        Returns
        -------
        ndarray (3,)
            J = sum_i (e_i v_i + W_i v_i), extensive, in eV Å per ASE time unit; see :mod:`matterscape.potentials.base`.
        """
        atoms = self.atoms if atoms is None else atoms
        tensors = self.get_property("flux_tensors", atoms)
        velocities = atoms.get_velocities()
        energies = self.results["energies"] + 0.5 * atoms.get_masses() * (velocities**2).sum(axis=1)
        flux = energies @ velocities + np.einsum("nab,nb->a", tensors, velocities)
        self.results["heat_flux"] = flux
        return flux
