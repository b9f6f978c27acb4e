"""Elastic constants of a solid at a minimum of its energy, and the speeds of sound that they give.

    C_IJ = d sigma_I / d eps_J at fixed scaled positions - (1/V) Xi_I . H^-1 Xi_J,

where Xi_J = dF / d eps_J are the forces that strain raises and H the second derivatives of the energy: in a glass, as
in a crystal with a basis, atoms do not follow the strain but relax, which softens shear by a good part.

Source: J. F. Lutsko, J. Appl. Phys. 65, 2991 (1989); A. Lemaître and C. Maloney, J. Stat. Phys. 123, 415 (2006).
"""

import itertools

import numpy as np
import scipy.linalg
from ase import units

from matterscape.checks import check_number
from matterscape.potentials.base import Potential, check_potential
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants

#: Strain of the central differences.
STRAIN = 1e-4
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def elastic_constants(potential: Potential, structures: Structures, *, strain: float = STRAIN) -> np.ndarray:
    """Elastic constants with relaxed atoms, by central differences of stress and forces.

    Parameters
    ----------
    potential : Potential
        With second derivatives of its own.
    structures : Structures
        One periodic cell at a minimum of the energy, with next to no stress.
    strain : float
        Of the differences.

    Returns
    -------
    ndarray (6, 6)
        In GPa, in Voigt's order xx, yy, zz, yz, xz, xy, symmetric.

    Raises
    ------
    ValueError
        If there is more than one structure, one that is not periodic or no minimum, or the strain is not positive.
    """
    check_potential("potential", potential)
    check_number("strain", strain, positive=True)
    if structures.n_structures != 1 or not bool(structures.pbc.all()):
        raise ValueError(
            f"structures hold {structures.n_structures} with pbc {structures.pbc.tolist()}; accepted is one, periodic "
            "in three directions"
        )
    reference = structures.to_ase()[0]
    volume = float(structures.volumes[0])
    strained = []
    for (a, b), sign in itertools.product(_VOIGT, (1, -1)):
        tensor = np.zeros((3, 3))
        tensor[a, b] = sign * strain / 2
        atoms = reference.copy()
        atoms.set_cell(reference.cell.array @ (np.eye(3) + tensor + tensor.T), scale_atoms=True)
        strained.append(atoms)
    found = potential(Structures.from_ase(strained))
    stresses = found.stress.detach().double().numpy().reshape(6, 2, 3, 3)
    forces = found.forces.detach().double().numpy().reshape(6, 2, -1)
    rows, columns = np.transpose(_VOIGT)
    stress_slopes = ((stresses[:, 0] - stresses[:, 1]) / (2 * strain))[:, rows, columns].T
    force_slopes = ((forces[:, 0] - forces[:, 1]) / (2 * strain)).T
    hessian = force_constants(potential, structures).dense()
    # a spring on the three translations, which strain does not pull at
    n_atoms = len(reference)
    translations = np.tile(np.eye(3), (n_atoms, 1)) / np.sqrt(n_atoms)
    hessian += np.abs(np.diag(hessian)).mean() * translations @ translations.T
    force_slopes -= translations @ (translations.T @ force_slopes)
    try:
        moves = scipy.linalg.cho_solve(scipy.linalg.cho_factor(hessian, overwrite_a=True), force_slopes)
    except np.linalg.LinAlgError as error:
        raise ValueError("structures are at no minimum of the energy: second derivatives are not positive") from error
    constants = stress_slopes - force_slopes.T @ moves / volume
    return (constants + constants.T) / 2 / units.GPa


def elastic_sound_speeds(
    potential: Potential, structures: Structures, *, strain: float = STRAIN
) -> tuple[float, float]:
    """Longitudinal and transverse sound speeds in Å/ps of an isotropic solid with the mean moduli of a cell.

    Moduli are averages over all orientations of the elastic constants (Voigt), c_L^2 = (K + 4 G / 3) / rho and
    c_T^2 = G / rho.

    Parameters and errors as of :func:`elastic_constants`.
    """
    constants = elastic_constants(potential, structures, strain=strain)
    bulk = constants[:3, :3].sum() / 9
    normal, mixed, shear = np.trace(constants[:3, :3]), np.triu(constants[:3, :3], 1).sum(), np.trace(constants[3:, 3:])
    rigidity = (normal - mixed + 3 * shear) / 15
    mass = structures.to_ase()[0].get_masses().sum()
    # GPa to amu / (Å ps^2)
    unit = units.GPa * units._e / units._amu * 1e-4
    density = mass / float(structures.volumes[0])
    return float(np.sqrt(unit * (bulk + 4 * rigidity / 3) / density)), float(np.sqrt(unit * rigidity / density))
