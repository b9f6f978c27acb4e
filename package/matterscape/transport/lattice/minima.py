"""A stable minimum of a crystal's energy, found by following the modes that do not vibrate."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from matterscape.checks import check_number, check_whole
from matterscape.dynamics.relaxation import relax
from matterscape.potentials.base import Potential, check_potential
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.modes import LOWEST_FREQUENCY_THZ, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.supercells import Supercell, remaining_repeats

MAX_STEPS = 20_000


def stable_supercell(
    primitive: Structures | Atoms,
    potential: Potential,
    repeats: Sequence[int],
    *,
    force_tolerance: float = 1e-5,
    displacement: float = 0.1,
    attempts: int = 5,
    seed: int = 0,
) -> Supercell:
    """Relax a crystal at a fixed cell until no mode of its supercell is unstable.

    The primitive cell is relaxed first. If modes of the supercell are unstable then, its atoms are displaced along a
    random mixture of these and relaxed again, as often as needed. What translations are left define the primitive cell
    of the result, which may be several of the one given.

    Parameters
    ----------
    primitive : Structures or ase.Atoms
    potential : Potential
        With second derivatives of its own; accurate enough for the tolerance.
    repeats : three ints
        Primitive cells in the supercell.
    force_tolerance : float
        Largest force in eV/Å at the end.
    displacement : float
        Of the atom that moves most, in Å.
    attempts : int
        Most displacements.
    seed : int

    Returns
    -------
    Supercell
        With the atoms in the order of ASE's ``repeat`` of the cell given.

    Raises
    ------
    UnstableModesError
        If modes are still unstable after all attempts.
    ValueError
        If a relaxation does not converge, or an argument is out of range.
    """
    check_potential("potential", potential)
    check_number("displacement", displacement, "Å", positive=True)
    check_whole("attempts", attempts, 0)
    supercell = Supercell.repeated(primitive, repeats)
    supercell = supercell.with_primitive(relaxed(supercell.primitive, potential, force_tolerance))
    rng = np.random.default_rng(seed)
    original = supercell.repeats
    for attempt in range(attempts + 1):
        modes = vibrational_modes(force_constants(potential, supercell.structures))
        if not modes.n_unstable:
            break
        if attempt == attempts:
            modes.check_stable()
        atoms = supercell.structures.to_ase()[0]
        atoms.positions += _along_unstable(modes, displacement, rng)
        moved = relaxed(Structures.from_ase(atoms), potential, force_tolerance)
        supercell = Supercell.found(moved, remaining_repeats(moved, original))
        supercell = supercell.with_primitive(relaxed(supercell.primitive, potential, force_tolerance))
    return supercell


def relaxed(structures: Structures, potential: Potential, force_tolerance: float) -> Structures:
    """The minima of the energy below some structures, their cells kept.

    Raises
    ------
    ValueError
        If a force in eV/Å is still larger than the tolerance in the end.
    """
    result = relax(
        structures, potential, method="conjugate-gradient", force_tolerance=force_tolerance, max_steps=MAX_STEPS
    )
    if not result.converged.all():
        raise ValueError(
            f"force_tolerance is {force_tolerance} eV/Å, but the relaxation stopped at {result.max_forces.max():.2g}; "
            "accepted is what the potential's own error allows"
        )
    return result.structures


def _along_unstable(modes: VibrationalModes, largest: float, rng: np.random.Generator) -> np.ndarray:
    unstable = modes.vibrating[0] & (modes.frequencies_THz[0] < LOWEST_FREQUENCY_THZ)
    mixture = modes.eigenvectors[0][:, unstable] @ rng.normal(size=unstable.sum())
    displacements = mixture.reshape(-1, 3) / np.sqrt(modes.masses)[:, None]
    return displacements * (largest / np.linalg.norm(displacements, axis=1).max())
