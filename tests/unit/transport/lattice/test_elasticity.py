"""Elastic constants against published ones, against relaxation after a strain, and the speeds of sound they give."""

import ase.build
import numpy as np
import pytest
from ase import Atoms, units

from matterscape.dynamics.relaxation import relax
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.elasticity import elastic_constants, elastic_sound_speeds

pytestmark = pytest.mark.unit

POTENTIAL = Tersoff.silicon()


def silicon() -> Atoms:
    """Eight atoms at the lattice constant of the potential."""
    return ase.build.bulk("Si", "diamond", a=5.4320, cubic=True)


def test_silicon_has_the_published_constants():
    # J. Tersoff, Phys. Rev. B 38, 9902 (1988), table II: 1.43, 0.75 and 0.69 Mbar
    constants = elastic_constants(POTENTIAL, Structures.from_ase(silicon()))
    assert constants[0, 0] == pytest.approx(143, abs=1)
    assert constants[0, 1] == pytest.approx(75, abs=1)
    assert constants[3, 3] == pytest.approx(69, abs=1)
    expected = np.zeros((6, 6))
    expected[:3, :3] = constants[0, 1]
    np.fill_diagonal(expected, [constants[0, 0]] * 3 + [constants[3, 3]] * 3)
    assert constants == pytest.approx(expected, abs=1e-3)


def test_atoms_relax_as_they_do_after_a_strain():
    # without internal relaxation C44 would be 119 GPa
    stresses, strain = [], 2e-4
    for sign in (1, -1):
        atoms = silicon()
        deformation = np.eye(3)
        deformation[1, 2] = deformation[2, 1] = sign * strain / 2
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        relaxed = relax(atoms, POTENTIAL, method="conjugate-gradient", force_tolerance=1e-8)
        stresses.append(float(POTENTIAL(relaxed.structures).stress[0, 1, 2]) / units.GPa)
    constants = elastic_constants(POTENTIAL, Structures.from_ase(silicon()))
    assert constants[3, 3] == pytest.approx((stresses[0] - stresses[1]) / (2 * strain), rel=1e-4)


def test_speeds_are_those_of_mean_moduli():
    structures = Structures.from_ase(silicon())
    longitudinal, transverse = elastic_sound_speeds(POTENTIAL, structures)
    c11, c12, c44 = elastic_constants(POTENTIAL, structures)[[0, 0, 3], [0, 1, 3]]
    density = 8 * 28.085 * units._amu / (5.4320e-10**3)
    # Voigt's shear modulus; 1 km/s is 10 Å/ps
    shear = (c11 - c12 + 3 * c44) / 5
    bulk = (c11 + 2 * c12) / 3
    assert transverse == pytest.approx(np.sqrt(shear * 1e9 / density) / 100, rel=1e-4)
    assert longitudinal == pytest.approx(np.sqrt((bulk + 4 * shear / 3) * 1e9 / density) / 100, rel=1e-4)


def test_rotation_changes_no_mean():
    atoms = silicon()
    atoms.rotate(35, (1, 2, 3), rotate_cell=True)
    turned = elastic_sound_speeds(POTENTIAL, Structures.from_ase(atoms))
    assert turned == pytest.approx(elastic_sound_speeds(POTENTIAL, Structures.from_ase(silicon())), rel=1e-5)


def test_wrong_input():
    with pytest.raises(ValueError, match="structures hold 2 with pbc"):
        elastic_constants(POTENTIAL, Structures.from_ase([silicon(), silicon()]))
    with pytest.raises(ValueError, match="strain is 0"):
        elastic_constants(POTENTIAL, Structures.from_ase(silicon()), strain=0)
    with pytest.raises(ValueError, match="at no minimum of the energy"):
        square = Atoms("Si", cell=(2.2, 2.2, 2.2), pbc=True).repeat(2)
        elastic_constants(POTENTIAL, Structures.from_ase(square))
