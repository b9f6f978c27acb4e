"""Force constants of any potential, nearest images and the acoustic sum rule."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.coulomb import alkali_halide
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants, impose_acoustic_sum_rule, nearest_images

pytestmark = pytest.mark.unit


def silicon(repeats=(2, 2, 2)) -> Structures:
    return Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True).repeat(repeats))


def test_finite_differences_and_exact_second_derivatives():
    structures, potential = silicon((1, 1, 1)), StillingerWeber.silicon()
    exact = force_constants(potential, structures)
    numeric = force_constants(potential, structures, step=1e-3)
    assert numeric.asymmetry() < 1e-12
    np.testing.assert_allclose(numeric.dense(), exact.dense(), rtol=0, atol=1e-4)
    coarse = force_constants(potential, structures, step=2e-2).dense()
    assert np.abs(coarse - exact.dense()).max() > 20 * np.abs(numeric.dense() - exact.dense()).max()


def test_nearest_images_find_the_images_of_a_short_ranged_potential():
    # reach 2 x 3.77 Å of the potential, less than half of 16.29 Å
    exact = StillingerWeber.silicon().hessian(silicon((3, 3, 3)))
    structures = exact.structures
    summed = ForceConstants.from_terms(exact.first, exact.second, 0 * exact.shifts, exact.blocks, structures)
    found = nearest_images(summed)
    difference = found + -1.0 * exact
    assert np.abs(difference.blocks).max() < 1e-12
    assert np.abs((summed + -1.0 * exact).blocks).max() > 1  # the images were lost


def test_equally_near_images_share():
    atoms = Atoms("Ar2", [[0, 0, 0], [2.0, 0, 0]], cell=[4.0, 5.0, 5.0], pbc=True)
    structures = Structures.from_ase(atoms)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 6))
    matrix += matrix.T
    first, second = np.divmod(np.arange(4), 2)
    blocks = matrix.reshape(2, 3, 2, 3)[first, :, second]
    found = nearest_images(ForceConstants.from_terms(first, second, np.zeros((4, 3), int), blocks, structures))
    np.testing.assert_allclose(found.dense(), matrix, atol=1e-14)
    between = found.first != found.second
    assert sorted(map(tuple, np.column_stack([found.first, found.shifts[:, 0]])[between])) == [
        (0, -1), (0, 0), (1, 0), (1, 1),
    ]  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(found.vectors[between], axis=1), 2.0)


def test_a_skewed_cell_has_its_nearest_images_further_away_in_index():
    cell = np.array([[3.0, 0, 0], [7.5, 3.2, 0], [-4.1, 5.2, 3.1]])
    rng = np.random.default_rng(3)
    structures = Structures.from_ase(Atoms("Ar3", rng.uniform(0, 1, (3, 3)) @ cell, cell=cell, pbc=True))
    first, second = np.divmod(np.arange(9), 3)
    blocks = np.ones((9, 3, 3))
    found = nearest_images(ForceConstants.from_terms(first, second, np.zeros((9, 3), int), blocks, structures))
    shifts = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), axis=-1).reshape(-1, 3)
    positions = structures.positions.numpy()
    for i, j, length in zip(found.first, found.second, np.linalg.norm(found.vectors, axis=1)):
        shortest = np.linalg.norm(positions[j] - positions[i] + shifts @ cell, axis=1).min()
        assert length == pytest.approx(shortest, abs=1e-12)


def test_waves_of_charges_come_to_the_nearest_images():
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    charged = alkali_halide("NaCl").hessian(Structures.from_ase(atoms))
    found = nearest_images(charged)
    np.testing.assert_allclose(found.dense(), charged.dense(), atol=1e-12)
    assert found.asymmetry() < 1e-12
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert lengths.max() <= np.sqrt(3) * 5.64 / 2 + 1e-6


def test_acoustic_sum_rule():
    exact = StillingerWeber.silicon().hessian(silicon((1, 1, 1)))
    rng = np.random.default_rng(1)
    noise = rng.normal(scale=0.1, size=exact.blocks.shape)
    noisy = ForceConstants(exact.first, exact.second, exact.shifts, exact.blocks + noise, exact.structures)
    assert noisy.acoustic_residual() > 0.1
    fixed = impose_acoustic_sum_rule(noisy)
    assert fixed.asymmetry() < 1e-12
    sums = fixed.dense().reshape(8, 3, 8, 3).sum(axis=2)
    assert np.abs(sums + sums.swapaxes(1, 2)).max() < 1e-12
    np.testing.assert_allclose(impose_acoustic_sum_rule(exact).dense(), exact.dense(), atol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="step is 0"):
        force_constants(StillingerWeber.silicon(), silicon((1, 1, 1)), step=0)
    with pytest.raises(TypeError, match="potential is a str"):
        force_constants("silicon", silicon((1, 1, 1)))
    two = Structures.from_ase([ase.build.bulk("Si", a=5.43)] * 2)
    with pytest.raises(ValueError, match="are 2 structures"):
        nearest_images(StillingerWeber.silicon().hessian(two))
