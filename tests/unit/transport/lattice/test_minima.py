"""Stable minima of crystals with a soft mode."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.minima import stable_supercell
from matterscape.transport.lattice.modes import UnstableModesError, vibrational_modes

pytestmark = pytest.mark.unit

SPACING = 4.4  # beyond the inflection of the potential at 4.24 Å, where a chain breaks into pairs


def stretched_chain() -> tuple[Atoms, LennardJones]:
    potential = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=6.0)
    return Atoms("Ar", cell=[SPACING, 15.0, 15.0], pbc=True), potential


def test_a_stretched_chain_pairs_up():
    chain, potential = stretched_chain()
    found = stable_supercell(chain, potential, (2, 1, 1))
    assert found.repeats == (1, 1, 1)
    gap = found.structures.positions[1, 0] - found.structures.positions[0, 0]
    short = min(float(gap), 2 * SPACING - float(gap))
    assert 3.7 < short < 3.95
    assert vibrational_modes(force_constants(potential, found.structures)).n_unstable == 0
    forces = potential(found.structures).forces
    assert float(forces.norm(dim=1).max()) < 1e-5


def test_same_seed_same_minimum():
    chain, potential = stretched_chain()
    one, other = (stable_supercell(chain, potential, (2, 1, 1), seed=4).structures.positions for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_stable_crystal_keeps_its_translations():
    atoms = ase.build.bulk("Si", a=5.43)
    atoms.positions[1] += 0.05
    found = stable_supercell(atoms, StillingerWeber.silicon(), (2, 2, 1))
    assert found.repeats == (2, 2, 1)
    np.testing.assert_allclose(found.structures.positions - found.structures.positions[0],
                               ase.build.bulk("Si", a=5.43).repeat((2, 2, 1)).positions, atol=1e-4)  # fmt: skip


def test_failures_say_why():
    chain, potential = stretched_chain()
    with pytest.raises(UnstableModesError, match="1 of 3 modes do not vibrate"):
        stable_supercell(chain, potential, (2, 1, 1), attempts=0)
    with pytest.raises(ValueError, match="displacement is 0"):
        stable_supercell(chain, potential, (2, 1, 1), displacement=0)
    with pytest.raises(ValueError, match="attempts is -1"):
        stable_supercell(chain, potential, (2, 1, 1), attempts=-1)
