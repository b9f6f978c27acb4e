"""Our calculator inside phonopy, against our own Hessian."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.peers


def test_frequencies_at_the_zone_centre():
    primitive = bulk("Si", a=5.43)
    phonons = Phonopy(
        PhonopyAtoms(symbols=["Si"] * 2, cell=primitive.cell.array, scaled_positions=primitive.get_scaled_positions()),
        np.diag([2, 2, 2]),
    )
    phonons.generate_displacements(distance=1e-3)
    calculator = StillingerWeber.silicon().calculator()
    forces = []
    for supercell in phonons.supercells_with_displacements:
        atoms = Atoms(supercell.symbols, supercell.positions, cell=supercell.cell, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    hessian = StillingerWeber.silicon().hessian(Structures.from_ase(primitive)).dense()
    expected = np.linalg.eigvalsh(hessian / primitive.get_masses()[0])
    phonons.run_qpoints([[0, 0, 0]])
    thz = phonons.get_qpoints_dict()["frequencies"][0]
    ours = np.sqrt(np.maximum(expected, 0)) * units.fs * 1e3 / (2 * np.pi)
    np.testing.assert_allclose(thz[3:], ours[3:], rtol=1e-4)
    assert np.abs(thz[:3]).max() < 1e-3
