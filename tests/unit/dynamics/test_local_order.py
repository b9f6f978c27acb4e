"""Crystalline shares: perfect crystals, gases, invariance, bad input."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from matterscape.dynamics.local_order import crystalline_share

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("atoms", "cutoff"),
    [
        (bulk("Ar", "fcc", a=5.3, cubic=True) * 2, 4.6),
        (bulk("Fe", "bcc", a=2.87, cubic=True) * 2, 3.4),
        (bulk("Si", cubic=True), 4.2),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), 4.5),
    ],
)
def test_crystals_are_crystalline(atoms, cutoff):
    np.testing.assert_array_equal(crystalline_share(atoms, cutoff), 1)


def test_a_gas_is_not():
    rng = np.random.default_rng(0)
    gas = Atoms("Ar500", positions=rng.uniform(0, 27, (500, 3)), cell=[27, 27, 27], pbc=True)
    assert crystalline_share(gas, 4.6).mean() < 0.2


def test_invariant_under_rotation_and_pooled_over_frames():
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 3
    atoms.rattle(0.5, seed=1)
    before = crystalline_share(atoms, 4.6)
    assert 0.1 < before.mean() < 0.95
    turned = atoms.copy()
    rotation = Rotation.from_rotvec([0.3, -1.2, 0.8])
    turned.set_cell(rotation.apply(atoms.cell[:]))
    turned.positions = rotation.apply(atoms.positions)
    np.testing.assert_allclose(crystalline_share([turned, atoms], 4.6), np.tile(before, 2))


def test_by_hand():
    """Two atoms on each side of a line: the middle one and the ends see the same axis, for even degrees."""
    chain = Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 3], [0, 0, 6]])
    np.testing.assert_array_equal(crystalline_share(chain, 4.0), [1, 1, 1])
    bent = Atoms("Ar3", positions=[[0, 0, 0], [0, 0, 3], [0, 3, 3]])
    # q_6 of the corner is (Y(z) + Y(y)) / 2: its cosine with Y(z) is sqrt((1 + P_6(0)) / 2) = 0.586
    np.testing.assert_array_equal(crystalline_share(bent, 4.0, threshold=0.58), [1, 1, 1])
    np.testing.assert_array_equal(crystalline_share(bent, 4.0, threshold=0.59), [0, 0, 0])


def test_lonely_atoms_and_bad_input():
    np.testing.assert_array_equal(crystalline_share(Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 50]]), 4.0), [0, 0])
    with pytest.raises(ValueError, match=r"threshold is 1.5; accepted is a number from -1 to 1"):
        crystalline_share(bulk("Ar", "fcc", a=5.3), 4.6, threshold=1.5)
    with pytest.raises(ValueError, match="cutoff"):
        crystalline_share(bulk("Ar", "fcc", a=5.3), -1.0)
