"""The rigid-ion field of Li3PS4: cells, energies, exclusions by image, heat flux."""

import numpy as np
import pytest
import torch
from ase import Atoms

from matterscape.potentials import Evaluator
from matterscape.potentials.li3ps4 import LPSForceField, beta, gamma
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

# eV per formula unit at the relaxed cells: total, Coulomb, Buckingham, bonds, angles
GAMMA = {"total": -13.3731, "coulomb": -13.7587, "buckingham": 0.3480, "bonds": 0.0260, "angles": 0.0116}


@pytest.fixture(scope="module")
def field():
    return LPSForceField(force_error=1e-8)


def rattled(atoms, size=0.08, seed=0):
    """A copy with displaced atoms."""
    atoms = atoms.copy()
    atoms.rattle(size, seed=seed)
    return atoms


def test_energies_of_the_phases(field):
    structures = Structures.from_ase([gamma(), beta()])
    terms = field.energy_terms(structures)
    units = torch.tensor([2.0, 4.0])
    for name, expected in GAMMA.items():
        value = sum(terms.values()) if name == "total" else terms[name]
        assert float(value[0] / units[0]) == pytest.approx(expected, abs=1e-3)
    result = field(structures)
    torch.testing.assert_close(sum(terms.values()), result.energy, atol=1e-10, rtol=0)
    assert float(result.energy[0] / 2) == pytest.approx(-13.3731, abs=1e-3)
    assert float(result.energy[1] / 4) == pytest.approx(-13.3589, abs=1e-3)
    assert float(result.forces.norm(dim=1).max()) < 0.02
    assert float(result.forces.sum(0).abs().max()) < 1e-6


def test_cells():
    for atoms, n_units, group, volume in ((gamma(), 2, 31, 151.605), (beta(), 4, 62, 156.702)):
        assert atoms.symbols.formula.count() == {"Li": 3 * n_units, "P": n_units, "S": 4 * n_units}
        assert atoms.get_volume() / n_units == pytest.approx(volume, abs=1e-3)
        assert atoms.info["spacegroup"].no == group


def test_small_cell_and_supercell_agree(field):
    """The image of a PS4 in a 6 Å cell still interacts: exclusion by index would fail."""
    small = rattled(gamma())
    large = small * (2, 1, 2)
    energies = field(Structures.from_ase([small, large])).energy
    assert float(energies[1] / 8) == pytest.approx(float(energies[0] / 2), abs=1e-8)
