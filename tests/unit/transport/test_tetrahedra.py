"""Orientations of tetrahedra: rotations from labelled corners, their autocorrelation, apexes."""

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from matterscape.potentials.li3ps4 import LONGEST_BOND, beta, gamma
from matterscape.potentials.topology import find_molecules
from matterscape.structures import Structures
from matterscape.transport.tetrahedra import (
    IDEAL_TETRAHEDRON,
    apex_labels,
    ligand_vectors,
    orientation_autocorrelation,
    rotation_angles,
    tetrahedron_rotations,
)

pytestmark = pytest.mark.unit


def vectors_of(rotations, corners=IDEAL_TETRAHEDRON, length=2.05):
    """Ligand vectors (n_times, n_tetrahedra, 4, 3) of turned ideal tetrahedra."""
    return length * np.einsum("tmxy,sy->tmsx", rotations, corners)


def random_rotations(n_times, n_tetrahedra, seed=0):
    rotations = Rotation.random(n_times * n_tetrahedra, random_state=seed).as_matrix()
    return rotations.reshape(n_times, n_tetrahedra, 3, 3)


def molecules_of(atoms):
    return find_molecules(Structures.from_ase(atoms), "P", "S", 4, LONGEST_BOND)


def test_rotations_are_found_exactly():
    rotations = random_rotations(5, 3)
    np.testing.assert_allclose(tetrahedron_rotations(vectors_of(rotations)), rotations, atol=1e-12)


def test_labels_of_either_handedness_give_proper_rotations():
    rotations = random_rotations(4, 2)
    found = tetrahedron_rotations(vectors_of(rotations, IDEAL_TETRAHEDRON[[0, 1, 3, 2]]))
    np.testing.assert_allclose(found, rotations, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1.0)


def test_the_best_rotation_of_a_distorted_tetrahedron():
    generator = np.random.default_rng(1)
    vectors = vectors_of(random_rotations(1, 6)) + 0.15 * generator.normal(size=(1, 6, 4, 3))
    found = tetrahedron_rotations(vectors)[0]
    for tetrahedron in range(6):
        best, _ = Rotation.align_vectors(vectors[0, tetrahedron], IDEAL_TETRAHEDRON)
        np.testing.assert_allclose(found[tetrahedron], best.as_matrix(), atol=1e-7)


def test_a_tetrahedron_turned_inside_out_is_refused():
    vectors = vectors_of(random_rotations(3, 2))
    vectors[2, 1] *= -1
    with pytest.raises(ValueError, match="tetrahedron 1 is flat or turned inside out at frame 2"):
        tetrahedron_rotations(vectors)


def test_angles_between_rotations():
    angles = np.array([0.0, 1e-7, 20.0, 120.0, 180.0])
    rotations = Rotation.from_rotvec(np.radians(angles)[:, None] * [1, 0, 0]).as_matrix()
    np.testing.assert_allclose(rotation_angles(rotations, np.eye(3)), angles, atol=1e-6, rtol=1e-6)


def test_vectors_of_a_crystal_cross_its_boundaries():
    atoms = gamma()
    generator = np.random.default_rng(0)
    path = atoms.positions + np.cumsum(0.01 * generator.normal(size=(5, len(atoms), 3)), axis=0)
    wrapped = atoms.copy()
    wrapped.wrap()
    # every atom in a cell of its own
    whole_cells = np.round((wrapped.positions - atoms.positions) @ np.linalg.inv(atoms.cell)) @ atoms.cell
    vectors = ligand_vectors(path, molecules_of(atoms), atoms.cell)
    assert vectors.shape == (5, 2, 4, 3)
    assert np.linalg.norm(vectors, axis=-1) == pytest.approx(2.05, abs=0.2)
    np.testing.assert_allclose(ligand_vectors(path + whole_cells, molecules_of(wrapped), atoms.cell), vectors)


def test_wrapped_positions_are_noticed():
    atoms = gamma()
    path = np.stack([atoms.positions, atoms.positions])
    molecules = molecules_of(atoms)
    sulphur = molecules.ligands[1, 2]
    path[1, sulphur] += atoms.cell[2]
    with pytest.raises(ValueError, match=f"atom {sulphur} is .* at frame 1; accepted are unwrapped"):
        ligand_vectors(path, molecules, atoms.cell)


def test_autocorrelation_is_the_direct_sum():
    vectors = vectors_of(random_rotations(40, 2, seed=3))
    units = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    direct = [(units[: 40 - lag] * units[lag:]).sum(axis=-1).mean() for lag in range(40)]
    np.testing.assert_allclose(orientation_autocorrelation(vectors), direct, atol=1e-12)


def test_autocorrelation_of_rotational_diffusion_decays_with_twice_the_coefficient():
    generator = np.random.default_rng(0)
    n_times, n_tetrahedra, diffusion = 1000, 60, 0.01  # rad^2 per step
    steps = Rotation.from_rotvec(np.sqrt(2 * diffusion) * generator.normal(size=(n_times * n_tetrahedra, 3)))
    steps = steps.as_matrix().reshape(n_times, n_tetrahedra, 3, 3)
    rotations = np.empty_like(steps)
    rotations[0] = np.eye(3)
    for time in range(1, n_times):
        rotations[time] = steps[time] @ rotations[time - 1]
    correlation = orientation_autocorrelation(vectors_of(rotations))
    lags = np.arange(51)
    np.testing.assert_allclose(correlation[:51], np.exp(-2 * diffusion * lags), atol=0.05)


def test_apexes_of_the_phases():
    along_c = apex_labels(_crystal_vectors(gamma()), gamma().cell[2])[0]
    assert abs(along_c.sum()) == len(along_c) == 2  # all one way
    rows = apex_labels(_crystal_vectors(beta()), beta().cell[2])[0]
    assert sorted(rows) == [-1, -1, 1, 1]  # alternating rows


def _crystal_vectors(atoms: Atoms):
    return ligand_vectors(atoms.positions[None], molecules_of(atoms), atoms.cell)[0]


def test_apex_labels_name_the_corner():
    turned = np.array([Rotation.align_vectors([[0, 0, 1]], [IDEAL_TETRAHEDRON[2]])[0].as_matrix()])
    vectors = np.concatenate(
        [vectors_of(turned[None])[0], -vectors_of(turned[None])[0], vectors_of(np.eye(3)[None, None])[0]]
    )
    labels, corners = apex_labels(vectors, [0, 0, 3])
    assert labels.tolist() == [1, -1, 0]
    assert corners[:2].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tetrahedron_rotations(np.zeros((3, 2, 3, 3))),
            "vectors has shape .*accepted is .n_times, n_molecules, 4",
        ),
        (lambda: tetrahedron_rotations(np.full((1, 1, 4, 3), np.nan)), "finite"),
        (lambda: apex_labels(IDEAL_TETRAHEDRON, [0, 0, 0]), "axis is .* not all zero"),
        (lambda: apex_labels(IDEAL_TETRAHEDRON, [0, 0, 1], 40), "tolerance_deg is 40"),
        (lambda: apex_labels(np.zeros((3, 3)), [0, 0, 1]), "vectors has shape"),
        (lambda: ligand_vectors(np.zeros((2, 3, 3)), molecules_of(gamma()), gamma().cell), "positions has shape"),
        (lambda: ligand_vectors(gamma().positions[None], molecules_of(gamma()), np.eye(2)), "cell has shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
