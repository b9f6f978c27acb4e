"""A pair potential with another functional form between each two species."""

import pytest
import torch
from ase.build import bulk

from matterscape.potentials import LennardJones, fumi_tosi
from matterscape.potentials.pair import by_species
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SALT = fumi_tosi("NaCl", cutoff=6.0)
SOFT = LennardJones({("Na", "Na"): (0.01, 2.5), ("Cl", "Cl"): (0.01, 3.5), ("Na", "Cl"): (0.02, 2.6)}, cutoff=6.0)


def _structures():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=0)
    return Structures.from_ase(atoms)


def test_each_pair_has_its_own_form():
    mixed = by_species({("Cl", "Na"): SALT, ("Na", "Na"): SOFT, ("Cl", "Cl"): None})
    r = torch.linspace(2.0, 5.9, 30, dtype=torch.float64)
    torch.testing.assert_close(mixed.pair_energy("Na", "Cl", r), SALT.pair_energy("Na", "Cl", r))
    torch.testing.assert_close(mixed.pair_energy("Na", "Na", r), SOFT.pair_energy("Na", "Na", r))
    assert not mixed.pair_energy("Cl", "Cl", r).any()
    assert mixed.charges == {"Na": 1.0, "Cl": -1.0}
    assert mixed.closest_distance("Na", "Cl") == SALT.closest_distance("Na", "Cl") > 0


def test_one_potential_everywhere_is_that_potential():
    structures = _structures()
    same = by_species(dict.fromkeys([("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")], SOFT))
    for name in ("energies", "forces", "flux_tensors"):
        torch.testing.assert_close(getattr(same(structures), name), getattr(SOFT(structures), name))


def test_bad_input():
    with pytest.raises(ValueError, match="table has no entry for Na-Cl; accepted is a potential, or None"):
        by_species({("Na", "Na"): SOFT, ("Cl", "Cl"): None})
    argon = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=6.0)
    with pytest.raises(ValueError, match=r"table\[Na, Na\] is LennardJones, which has no interaction"):
        by_species({("Na", "Na"): argon})
    half = by_species({("Na", "Na"): SALT})
    half.charges = {"Na": 0.5}
    with pytest.raises(ValueError, match=r"gives Na the charge 1, and another entry 0.5"):
        by_species({("Na", "Na"): half, ("Na", "Cl"): SALT, ("Cl", "Cl"): None})
