import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.triplets import TripletForceConstants

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def silicon():
    atoms = bulk("Si", a=5.431)
    atoms.positions[1] += [0.05, -0.02, 0.01]  # no symmetry left to hide behind
    return atoms


@pytest.fixture(scope="module")
def potential():
    return StillingerWeber.silicon()


@pytest.fixture(scope="module")
def stars(silicon, potential):
    return potential.third_order(Structures.from_ase(silicon))


@pytest.fixture(scope="module")
def triplets(stars):
    return TripletForceConstants.from_stars(stars)


@pytest.fixture(scope="module")
def cubic(silicon, potential):
    return cubic_force_constants(potential, Supercell.repeated(silicon, (3, 3, 3)))


def _difference(one, other):
    return np.abs((one + -1.0 * other).blocks).max()


def test_contraction_equals_that_of_the_stars(stars, triplets):
    vector = np.random.default_rng(0).normal(size=(2, 3))
    expected = stars.contract(vector)
    assert _difference(triplets.contract(vector), expected) < 1e-12
    assert _difference(triplets.contract(vector.reshape(-1)), expected) < 1e-12
    assert np.abs(expected.blocks).max() > 1


def test_sum_rule_and_order_of_the_indices(triplets):
    assert triplets.acoustic_residual() < 1e-12
    assert triplets.index_asymmetry() < 1e-12


def test_a_changed_block_breaks_both(triplets):
    blocks = triplets.blocks.copy()
    blocks[7, 0, 1, 2] += 0.25
    changed = TripletForceConstants(
        triplets.first,
        triplets.second,
        triplets.third,
        triplets.second_shifts,
        triplets.third_shifts,
        blocks,
        triplets.structures,
    )
    assert changed.acoustic_residual() == pytest.approx(0.25)
    assert changed.index_asymmetry() == pytest.approx(0.25)


def test_the_supercell_gives_the_same_where_it_holds_their_range(triplets, cubic):
    found = TripletForceConstants.from_supercell(cubic)
    assert _difference(found, triplets) < 1e-7
    assert found.index_asymmetry() < 1e-12


def test_images_are_shared_without_loss(cubic, triplets):
    found = TripletForceConstants.from_supercell(cubic)
    doubled = TripletForceConstants.from_supercell(cubic, tolerance=8.0)  # many more images, the same sums
    assert len(doubled.first) > 1.2 * len(found.first)
    vector = np.random.default_rng(1).normal(size=(2, 3))
    assert np.abs(doubled.contract(vector).dense() - triplets.contract(vector).dense()).max() < 1e-6


def test_what_vanishes_is_left_out(cubic, triplets):
    """Stars end at the cutoff: the supercell's other sums are exactly zero."""
    found = TripletForceConstants.from_supercell(cubic)
    assert len(found.first) == len(triplets.first)
    assert len(found.first) < 0.1 * 2 * 54**2


def test_a_glass_cell_too(potential):
    atoms = bulk("Si", a=5.431, cubic=True)
    atoms.rattle(0.05, seed=3)
    stars = potential.third_order(Structures.from_ase(atoms))
    triplets = TripletForceConstants.from_stars(stars)
    vector = np.random.default_rng(2).normal(size=(8, 3))
    assert np.abs(triplets.contract(vector).dense() - stars.contract(vector).dense()).max() < 1e-12


def test_sums_and_multiples(triplets):
    assert _difference(0.25 * triplets + triplets * 0.75, triplets) < 1e-13


def test_bad_input(triplets, stars, cubic):
    with pytest.raises(TypeError, match="third_order is a CubicForceConstants"):
        TripletForceConstants.from_stars(cubic)
    with pytest.raises(TypeError, match="cubic is a ThirdOrder"):
        TripletForceConstants.from_supercell(stars)
    with pytest.raises(ValueError, match="tolerance is -1"):
        TripletForceConstants.from_supercell(cubic, tolerance=-1)
    with pytest.raises(ValueError, match=r"vector has shape \(3,\)"):
        triplets.contract(np.zeros(3))
    with pytest.raises(ValueError, match="other belongs to 8 atoms"):
        triplets + TripletForceConstants.from_stars(
            StillingerWeber.silicon().third_order(Structures.from_ase(bulk("Si", cubic=True)))
        )
    with pytest.raises(TypeError, match="unsupported operand"):
        triplets + 1.0
