"""Second-order force constants of any potential, and the images and sum rule that lattice dynamics needs."""

import itertools
import os

import numpy as np

from matterscape.checks import check_number
from matterscape.dynamics.restart import fingerprint
from matterscape.potentials.base import Potential, check_potential
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.force_constants import ForceConstants
from matterscape.progress import progress
from matterscape.structures import Structures
from matterscape.transport.lattice.supercells import check_force_constants
from matterscape.transport.lattice.unfinished import UnfinishedRows

STEP = 1e-3


def force_constants(
    potential: Potential,
    structures: Structures,
    *,
    step: float | None = None,
    file: str | os.PathLike | None = None,
) -> ForceConstants:
    """Force constants by the potential's own second derivatives, or by central differences of its forces.

    Any ASE calculator serves as an :class:`~matterscape.potentials.external.ExternalPotential`.

    Parameters
    ----------
    potential : Potential
    structures : Structures
        At a minimum of the energy, if vibrations are to follow.
    step : float, optional
        Displacement of each atom in Å for finite differences; the potential's :meth:`~Potential.hessian` if not given.
    file : path, optional
        Where finite differences that are not finished are kept, every 20 s and when interrupted, and go on from.

    Returns
    -------
    ForceConstants
        Those of finite differences are sums over images, standing at shift 0 and symmetrised; so are the waves in
        those of Coulomb potentials. :func:`nearest_images` resolves them.

    Raises
    ------
    NotImplementedError
        If the potential has no second derivatives and no step is given.
    ValueError
        If the step is not a positive number, a file is given without one, or the file is of something else.
    """
    check_potential("potential", potential)
    if step is None:
        if file is not None:
            raise ValueError(f"file is {str(file)!r}; accepted is None without a step, as nothing is left unfinished")
        return potential.hessian(structures)
    check_number("step", step, "Å", positive=True)
    positions = structures.positions.detach().cpu().double().numpy().copy()
    cells = structures.cells.detach().cpu().double().numpy()
    evaluate = Evaluator(potential, structures)
    n_atoms = len(positions)
    displaced = list(itertools.product(range(n_atoms), range(3)))
    with UnfinishedRows((3 * n_atoms, n_atoms, 3), file, work_description(potential, structures, step)) as rows:
        for atom, axis in progress(displaced[rows.done :], "Force constants"):
            kept = positions[atom, axis]
            ends = []
            for sign in (1, -1):
                positions[atom, axis] = kept + sign * step
                evaluate(positions, cells)
                ends.append(evaluate.forces.copy())
            positions[atom, axis] = kept
            rows.append((ends[1] - ends[0]) / (2 * step))
    matrix = rows.values.reshape(n_atoms, 3, n_atoms, 3)
    matrix = (matrix + matrix.transpose(2, 3, 0, 1)) / 2
    index = structures.structure_index.cpu().numpy()
    first, second = np.nonzero(index[:, None] == index)
    return ForceConstants.from_terms(
        first, second, np.zeros((len(first), 3), np.int64), matrix[first, :, second], structures
    )


def work_description(potential: Potential, structures: Structures, step: float) -> str:
    """What finite differences depend on, for the file that keeps them unfinished."""
    arrays = (structures.species, structures.positions, structures.cells)
    numbers = (str(array.detach().cpu().numpy().tolist()) for array in arrays)
    return " ".join([fingerprint(potential), repr(step), *numbers])


def nearest_images(force_constants: ForceConstants, tolerance: float = 1e-3) -> ForceConstants:
    """Force constants summed over images, then given to each pair's nearest image, in equal shares among equals.

    A finite cell knows force constants only as sums over its images. Frequencies at the wavevectors that the cell holds
    depend on nothing else; velocities, and frequencies in between, depend on where each force constant acts. The
    nearest image is right where force constants fall off inside half the cell. Those of charges fall as 1/r^3, so that
    the velocities of polar modes carry an error that shrinks with the supercell; and the non-analytic part of polar
    crystals at zero wavevector is not added.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell.
    tolerance : float
        Images whose distances agree to this many Å share equally.

    Raises
    ------
    ValueError
        If there is more than one structure, or one that is not periodic.
    """
    check_force_constants(force_constants)
    check_number("tolerance", tolerance, "Å", positive=True)
    structures = force_constants.structures
    atoms = structures.to_ase()[0]
    cell, n_atoms = atoms.cell.array, len(atoms)
    totals = force_constants.dense().reshape(n_atoms, 3, n_atoms, 3).swapaxes(1, 2)
    fractions = atoms.get_scaled_positions(wrap=False)
    base = -np.round(fractions[None] - fractions[:, None]).astype(np.int64)
    wrapped = (fractions[None] - fractions[:, None] + base) @ cell
    # the longest vector inside a cell centred on the atom bounds how many cells away a nearer image can be
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) @ cell
    reach = np.linalg.norm(corners, axis=1).max() * np.linalg.norm(np.linalg.inv(cell), axis=0)
    neighbours = np.array(list(itertools.product(*(range(-n, n + 1) for n in np.ceil(reach).astype(int)))))
    distances = np.stack([np.linalg.norm(wrapped + shift @ cell, axis=2) for shift in neighbours])
    chosen = distances <= distances.min(axis=0) + tolerance
    image, first, second = np.nonzero(chosen)
    blocks = totals[first, second] / chosen.sum(axis=0)[first, second, None, None]
    shifts = base[first, second] + neighbours[image]
    return ForceConstants.from_terms(first, second, shifts, blocks, structures)


def impose_acoustic_sum_rule(force_constants: ForceConstants) -> ForceConstants:
    """The same, symmetric, with each atom's block with itself changed so that the sums sum_j Phi_ij vanish.

    Their antisymmetric parts, which such a block cannot take up, stay; they are of the order of the rounding errors
    where the force constants are exact. :meth:`ForceConstants.acoustic_residual` tells how large the sums are.
    """
    check_force_constants(force_constants)
    symmetric = 0.5 * (force_constants + force_constants.transposed())
    n_atoms = symmetric.structures.n_atoms
    sums = np.zeros((n_atoms, 3, 3))
    np.add.at(sums, symmetric.first, symmetric.blocks)
    own = np.arange(n_atoms)
    sums = (sums + sums.swapaxes(1, 2)) / 2
    correction = ForceConstants(own, own, np.zeros((n_atoms, 3), np.int64), -sums, symmetric.structures)
    return symmetric + correction
