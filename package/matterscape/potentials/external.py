"""Any ASE calculator as a potential, for whatever here needs no more than energies and forces."""

from ase.calculators.calculator import Calculator

from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.structures import NeighbourLists, Structures


class ExternalPotential(Potential):
    """Energies and forces of an ASE calculator: other people's potentials and electronic structure.

    Every atom gets an equal share of the energy. There are no flux tensors, hence no stress, heat flux or changing
    cell, and no derivatives through torch: second derivatives follow from forces by finite differences
    (:func:`~matterscape.transport.lattice.harmonic.force_constants` with a step).

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
        Used for one structure at a time, in one thread.

    Raises
    ------
    TypeError
        If it is no ASE calculator.
    """

    def __init__(self, calculator: Calculator):
        if not (hasattr(calculator, "get_potential_energy") and hasattr(calculator, "get_forces")):
            raise TypeError(f"calculator is a {type(calculator).__name__}; accepted is an ASE calculator")
        self._calculator = calculator
        # what tells two of them apart in files of unfinished work; results and the last atoms do not
        self.settings = f"{type(calculator).__qualname__} {dict(getattr(calculator, 'parameters', {}))!r}"
        if isinstance(potential := getattr(calculator, "potential", None), Potential):  # one of ours, seen through ASE
            self.wrapped = potential

    def __call__(self, structures: Structures) -> Evaluation:
        """Refused with ``NotImplementedError``: an evaluation holds flux tensors, which a calculator doesn't give."""
        raise NotImplementedError(f"{self} has no flux tensors; Evaluator(potential, structures) gives its forces")

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`."""
        self.check(structures)
        return _BoundExternal(self, structures)

    def __str__(self) -> str:
        return f"{type(self._calculator).__name__} through ASE"


class _BoundExternal(Bound):
    def __init__(self, potential: ExternalPotential, structures: Structures):
        self.potential = potential
        self.frames = structures.to_ase()
        self.offsets = structures.offsets.tolist()

    def add(self, positions, cells, energies, forces, pieces):
        if pieces is not None:
            raise NotImplementedError(f"{self.potential} has no flux tensors, hence no stress and no heat flux")
        calculator = self.potential._calculator
        for number, atoms in enumerate(self.frames):
            own = slice(self.offsets[number], self.offsets[number + 1])
            atoms.positions[:] = positions[own]
            atoms.set_cell(cells[number])
            energies[own] += calculator.get_potential_energy(atoms) / len(atoms)
            forces[own] += calculator.get_forces(atoms)
