import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matterscape.structures import Structures
from matterscape.transport.lattice.crystals.meshes import check_symmetric, symmetric_mesh
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("size", "n_irreducible"), [(2, 3), (4, 8), (5, 10), (8, 29), (12, 72)])
def test_known_numbers_of_irreducible_wavevectors_of_diamond(silicon, size, n_irreducible):
    mesh = symmetric_mesh(silicon, (size,) * 3)
    assert len(mesh.irreducible) == n_irreducible
    assert mesh.weights.sum() == mesh.n_wavevectors == size**3


def test_without_symmetry_only_time_is_reversed(silicon):
    mesh = symmetric_mesh(silicon, (5, 5, 5), symmetry=False)
    assert len(mesh.irreducible) == 63  # Gamma and 62 pairs
    assert len(mesh.rotations) == 2


def test_masses_lower_the_symmetry(silicon):
    assert len(symmetric_mesh(silicon, (4, 4, 4)).rotations) == 48
    zincblende = symmetric_mesh(silicon, (4, 4, 4), masses=np.array([28.0, 30.0]))
    assert len(zincblende.rotations) == 48  # 24 and the reversal of time
    shifted = bulk("Si", a=5.432)
    shifted.positions[1] += [0.1, 0.0, 0.0]
    assert len(symmetric_mesh(Structures.from_ase(shifted), (4, 4, 4)).rotations) < 48


def test_operations_that_the_mesh_lacks_are_left_out(silicon):
    mesh = symmetric_mesh(silicon, (2, 3, 4))
    assert 2 <= len(mesh.rotations) < 48
    assert mesh.weights.sum() == 24


def test_images_are_those_of_the_rotated_wavevectors(silicon):
    mesh = symmetric_mesh(silicon, (4, 4, 4))
    reciprocal = np.linalg.inv(silicon.to_ase()[0].cell.array)  # columns
    steps = np.stack(np.unravel_index(np.arange(64), mesh.mesh), axis=1) / 4
    for rotation, images in zip(mesh.rotations, mesh.images, strict=True):
        fractions = np.linalg.solve(reciprocal, rotation @ (reciprocal @ steps.T)).T - steps[images]
        np.testing.assert_allclose(fractions, np.round(fractions), atol=1e-9)


def test_frequencies_and_velocities_turn_with_the_mesh(fine_modes):
    mesh = symmetric_mesh(fine_modes.structures, fine_modes.mesh)
    check_symmetric(mesh, fine_modes.angular_frequencies)
    lowest = fine_modes.frequencies_THz[:, :2].sum(axis=1)  # not of one mode, which may be degenerate
    np.testing.assert_allclose(mesh.expand(lowest[mesh.irreducible]), lowest, atol=1e-6)
    velocities = fine_modes.group_velocities()[:, 2]
    expected = mesh.expand_vectors(velocities[mesh.irreducible])
    single = np.diff(fine_modes.frequencies_THz, axis=1)[:, 1:3].min(axis=1) > 1e-3
    assert single.sum() > 80
    np.testing.assert_allclose(expected[single], velocities[single], atol=1e-5)
    np.testing.assert_allclose(
        mesh.expand_tensors(velocities[mesh.irreducible][:, :, None] * velocities[mesh.irreducible][:, None])[single],
        (velocities[:, :, None] * velocities[:, None])[single],
        atol=1e-3,
    )


def test_projectors_keep_what_little_groups_keep(silicon):
    mesh = symmetric_mesh(silicon, (4, 4, 4))
    np.testing.assert_allclose(mesh.projectors @ mesh.projectors, mesh.projectors, atol=1e-12)
    np.testing.assert_allclose(mesh.projectors[0], 0.0, atol=1e-12)  # no vector at Gamma
    assert {round(np.trace(p)) for p in mesh.projectors} == {0, 1, 2}


@pytest.mark.parametrize("size", [4, 5])
def test_pairs_are_counted_once(silicon, size):
    weights = symmetric_mesh(silicon, (size,) * 3).pair_weights()
    np.testing.assert_allclose(weights.sum(axis=1), size**3 / 2)
    assert (weights > 0).sum() < (symmetric_mesh(silicon, (size,) * 3, symmetry=False).pair_weights() > 0).sum() / 5


def test_force_constants_without_the_symmetry_are_noticed(silicon, force_constants):
    mesh = symmetric_mesh(silicon, (3, 3, 3))
    changed = vibrational_modes(force_constants, (3, 3, 3), masses=np.array([28.0, 28.0])).angular_frequencies.copy()
    changed[5, 3] *= 1.01
    with pytest.raises(ValueError, match=r"frequencies at equivalent wavevectors differ.*symmetry=False"):
        check_symmetric(mesh, changed)


def test_bad_input(silicon):
    with pytest.raises(ValueError, match=r"mesh is \(2, 2\)"):
        symmetric_mesh(silicon, (2, 2))
    with pytest.raises(ValueError, match="a number of the mesh is 0"):
        symmetric_mesh(silicon, (2, 2, 0))
    with pytest.raises(ValueError, match="periodic along"):
        symmetric_mesh(Structures.from_ase(Atoms("Si", cell=[5, 5, 5], pbc=[True, True, False])), (1, 1, 1))
    with pytest.raises(ValueError, match="tolerance is 0"):
        symmetric_mesh(silicon, (1, 1, 1), tolerance=0)
