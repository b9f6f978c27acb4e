"""Linear atomic cluster expansion: a step of dynamics beside the potential that it may have learned, the rows of a fit,
force constants, and what a third derivative costs.
"""

import numpy as np

from matterscape.benchmarks.task import Calls, Task

CUTOFF = 5.0  # Å, 28 neighbours in silicon
SIZES = {"max_radial": (12, 7, 4), "max_angular": (5, 3)}  # 484 functions


def _silicon(n_repeat: int):
    from ase.build import bulk

    atoms = bulk("Si", cubic=True).repeat((n_repeat,) * 3)
    atoms.rattle(0.05, seed=0)
    return atoms


def _potential(cutoff: float = CUTOFF):
    """Any coefficients cost the same."""
    from matterscape.potentials.ace import ACEBasis, LinearACE

    basis = ACEBasis(("Si",), cutoff, **SIZES)
    rng = np.random.default_rng(0)
    return LinearACE(basis, rng.normal(size=basis.n_coefficients) / basis.penalties)


def _evaluation(n_repeat: int) -> Calls:
    """Energies, forces and flux tensors; the other call is Tersoff's potential."""
    from matterscape.potentials.evaluator import Evaluator
    from matterscape.potentials.tersoff import Tersoff
    from matterscape.structures import Structures

    structures = Structures.from_ase(_silicon(n_repeat))
    positions, cells = structures.positions.numpy(), structures.cells.numpy()
    ours, other = (Evaluator(potential, structures) for potential in (_potential(), Tersoff.silicon()))
    return (lambda: ours(positions, cells, pieces=True)), (lambda: other(positions, cells, pieces=True))


def _rows(n_repeat: int) -> Calls:
    """Functions of a structure with their derivatives in positions and strain."""
    from matterscape.potentials.ace import ace_rows
    from matterscape.structures import Structures

    structures, basis = Structures.from_ase(_silicon(n_repeat)), _potential().basis
    return (lambda: ace_rows(basis, structures)), None


def _force_constants(n_repeat: int) -> Calls:
    """All second derivatives; the other call is central differences of the forces."""
    from matterscape.structures import Structures
    from matterscape.transport.lattice.harmonic import force_constants

    structures, potential = Structures.from_ase(_silicon(n_repeat)), _potential()
    return (lambda: potential.hessian(structures)), (lambda: force_constants(potential, structures, step=1e-3))


def _third_order(n_repeat: int) -> Calls:
    from matterscape.structures import Structures

    structures, potential = Structures.from_ase(_silicon(n_repeat)), _potential(cutoff=3.5)
    return (lambda: potential.third_order(structures)), None


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("ace-step", "one step of 216 atoms with about 500 functions", "Tersoff", _evaluation, 3, 1),
        Task("ace-rows", "functions of 64 atoms and their derivatives", "none", _rows, 2, 1),
        Task(
            "ace-force-constants",
            "second derivatives of 64 atoms",
            "finite differences",
            _force_constants,
            2,
            1,
        ),
        Task("ace-third-order", "third derivatives of 64 atoms, cut-off 3.5 Å", "none", _third_order, 2, 1),
    )
}
