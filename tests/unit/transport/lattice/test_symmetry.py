"""Space-group symmetry of force constants."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from matterscape.datasets.glass_models import glass_model
from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.symmetry import SpaceGroup, space_group_mean, symmetry_residual
from matterscape.transport.lattice.triplets import TripletForceConstants

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def crystal():
    """Zincblende in an oblique cell whose atoms stand outside of it."""
    atoms = bulk("SiC", "zincblende", a=4.32)
    atoms.rotate(35, (1, 2, 0.3), rotate_cell=True)
    atoms.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
    return Structures.from_ase(atoms)


@pytest.fixture(scope="module")
def constants(crystal):
    potential = Tersoff.silicon_carbide()
    return potential.hessian(crystal), TripletForceConstants.from_stars(potential.third_order(crystal))


def noisy(constants, size, seed=1):
    noise = np.random.default_rng(seed).normal(scale=size, size=constants.blocks.shape)
    return replace(constants, blocks=constants.blocks + noise)


@pytest.mark.parametrize("order", [0, 1])
def test_exact_force_constants_have_the_symmetry(constants, order):
    assert symmetry_residual(constants[order]) < 1e-8 * np.abs(constants[order].blocks).max()


@pytest.mark.parametrize("order", [0, 1])
def test_the_mean_is_a_projection_towards_the_exact_ones(constants, order):
    exact = constants[order]
    broken = noisy(exact, 0.1)
    mean = space_group_mean(broken)
    assert symmetry_residual(broken) > 0.1
    assert symmetry_residual(mean) < 1e-9
    sizes = [np.sqrt(((a + -1.0 * b).blocks ** 2).sum()) for a, b in ((broken, exact), (mean, exact), (mean, broken))]
    assert sizes[1] < 0.5 * sizes[0]
    assert sizes[0] ** 2 == pytest.approx(sizes[1] ** 2 + sizes[2] ** 2, rel=1e-6)  # an orthogonal projection


def test_operations_of_known_groups(crystal):
    group = SpaceGroup.of(crystal)
    assert group.symbol == "F-43m" and len(group.rotations) == 24
    unity = group.cartesian @ group.cartesian.transpose(0, 2, 1)
    assert np.abs(unity - np.eye(3)).max() < 1e-12
    diamond = SpaceGroup.of(Structures.from_ase(bulk("Si", a=5.43)))
    assert diamond.symbol == "Fd-3m" and set(diamond.images.ravel()) == {0, 1}
    glass = SpaceGroup.of(Structures.from_ase(glass_model("a-Si", 64)))
    assert glass.symbol == "P1" and len(glass.rotations) == 1


def test_a_glass_is_left_as_it_is():
    structures = Structures.from_ase(glass_model("a-Si", 64))
    assert symmetry_residual(Tersoff.silicon().hessian(structures)) == 0


def test_bad_input_is_named(crystal, constants):
    with pytest.raises(ValueError, match="tolerance is 0"):
        space_group_mean(constants[0], 0.0)
    with pytest.raises(TypeError, match="force_constants is a str"):
        space_group_mean("all")
