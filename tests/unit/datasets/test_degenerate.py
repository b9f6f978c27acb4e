"""Pairs that correlations of low order can't tell apart: that they differ, and which orders see it."""

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from matterscape.basis.coupling import clebsch_gordan
from matterscape.basis.harmonics import spherical_harmonics
from matterscape.datasets.degenerate import (
    CATALOGUE,
    MANIFOLD,
    RINGS,
    cluster_distance,
    congruence_rmsd,
    methane_manifold,
    ring_pair_positions,
    ring_pairs,
)

pytestmark = pytest.mark.unit

WITH_CENTRE = [name for name, family in CATALOGUE.items() if family.centre is not None]


def density(atoms, max_angular=3):
    """Density of the neighbours of atom 0 in two Gaussians and harmonics: {l: (2 l + 1, 2)}."""
    vectors = atoms.positions[1:] - atoms.positions[0]
    distances = np.linalg.norm(vectors, axis=1)
    radial = np.exp(-2 * (distances[:, None] - np.array([1.0, 1.8])) ** 2)
    values = spherical_harmonics(torch.from_numpy(vectors), max_angular).numpy()
    return {l: values[:, l * l : (l + 1) ** 2].T @ radial for l in range(max_angular + 1)}


def correlations(atoms, nu, max_angular=3):
    """Norm-preserving invariants of one order by the plain recursion: {parity: array}."""
    rho = density(atoms, max_angular)
    blocks = {(1, l): rho[l] for l in rho}
    for _ in range(nu - 1):
        found = {}
        for ((parity, k), a), (l, b) in product(blocks.items(), rho.items()):
            for total in range(abs(k - l), min(k + l, max_angular) + 1):
                coupled = np.einsum("abM,ap,bq->Mpq", clebsch_gordan(k, l, total), a, b).reshape(2 * total + 1, -1)
                found.setdefault((parity * (-1) ** (k + l + total), total), []).append(coupled)
        blocks = {key: np.concatenate(parts, axis=1) for key, parts in found.items()}
    return {parity: blocks.get((parity, 0), np.zeros((1, 0)))[0] for parity in (1, -1)}


def difference(first, second, nu):
    one, other = correlations(first, nu), correlations(second, nu)
    size = np.linalg.norm(one[1])
    return max(np.linalg.norm(one[parity] - other[parity]) / size for parity in (1, -1))


def test_the_first_pair_of_a_seed():
    _, parameters = ring_pairs(2, np.random.default_rng(12345))
    expected = (1.39746313, 0.78010128, 1.70182681, 2.95876096, 1.17350454, 3.00776382)
    np.testing.assert_allclose(parameters[0], expected, atol=5e-9)
    again, _ = ring_pairs(3, 12345)
    np.testing.assert_array_equal(again[:4], ring_pair_positions(parameters))


def test_ring_pairs_keep_their_rules():
    positions, parameters = ring_pairs(200, 3)
    assert positions.shape == (400, 8, 3) and parameters.shape == (200, 6)
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    assert (distances[:, 0, 1:] > 1.5).all() and (distances[:, 0, 1:] < 1.8).all()
    i, j = np.triu_indices(7, 1)
    assert distances[:, 1 + i, 1 + j].min() > 1.2
    spectra = np.sort(distances.reshape(400, 64), axis=1)
    np.testing.assert_allclose(spectra[::2], spectra[1::2], atol=1e-13)  # partners have the same distances
    assert (positions[::2, 7, 2] > 1.5).all() and (positions[1::2, 7, 2] < -1.5).all()
    assert all(RINGS.violation(**dict(zip(RINGS.parameters, values))) is None for values in parameters[:20])


@pytest.mark.parametrize("name", CATALOGUE)
def test_clusters_agree_up_to_the_stated_order(name):
    family = CATALOGUE[name]
    first, second = family.structures()
    for nu in range(1, family.correlation_order + 1):
        assert cluster_distance(first, second, nu, family.centre) < 1e-12
    assert cluster_distance(first, second, family.correlation_order + 1, family.centre) > 0.05
    assert family.violation() is None


@pytest.mark.parametrize("name", WITH_CENTRE)
def test_correlations_in_a_basis_agree_up_to_the_same_order(name):
    family = CATALOGUE[name]
    first, second = family.structures()
    for nu in range(1, family.correlation_order + 1):
        assert difference(first, second, nu) < 1e-12
    assert difference(first, second, family.correlation_order + 1) > 1e-4


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_structures_are_not_congruent(name):
    first, second = CATALOGUE[name].structures()
    assert congruence_rmsd(first, second) > 0.05


def test_random_members_of_the_families():
    generator = np.random.default_rng(5)
    for _ in range(10):
        values = {name: generator.uniform(p.low, p.high) for name, p in MANIFOLD.parameters.items() if name != "radius"}
        first, second = MANIFOLD.structures(**values)
        assert cluster_distance(first, second, 2) < 1e-12
    positions, _ = ring_pairs(10, 7)
    for first, second in zip(positions[::2], positions[1::2]):
        assert cluster_distance(Atoms("B8", first), Atoms("B8", second), 3) < 1e-12
        assert difference(Atoms("B8", first), Atoms("B8", second), 4) > 1e-6


@pytest.mark.parametrize(
    ("family", "values"),
    [(RINGS, {"psi": 0.0}), (MANIFOLD, {"phi": 0.0}), (MANIFOLD, {"alpha": 0.0}), (MANIFOLD, {"gamma": np.pi})],
)
def test_special_parameters_make_them_congruent(family, values):
    """Equal structures are no counter-example: everything agrees, whatever the order."""
    first, second = family.structures(**values)
    mirrored = second.copy()
    mirrored.positions *= -1
    assert congruence_rmsd(first, second) < 1e-7
    assert min(cluster_distance(first, other, 4) for other in (second, mirrored)) < 1e-12


def test_the_surroundings_of_other_atoms_differ():
    """The agreement is one of the atom in the middle; a sum over all atoms sees the difference."""
    first, second = RINGS.structures()
    assert min(cluster_distance(first, second, 1, centre=atom) for atom in range(1, 7)) > 0.05
    # the apex is a counter-example of its own, of order 2
    assert cluster_distance(first, second, 2, centre=7) < 1e-12 < 0.05 < cluster_distance(first, second, 3, centre=7)


def test_congruence_finds_rotations_permutations_and_reflections():
    atoms = molecule("CH3CHO")
    order = np.random.default_rng(0).permutation(len(atoms))
    turned = atoms[order]
    turned.positions = turned.positions @ Rotation.random(random_state=1).as_matrix().T + 3.0
    assert congruence_rmsd(atoms, turned) < 1e-7 and congruence_rmsd(atoms, turned, reflection=False) < 1e-7
    chiral = Atoms("CHFClBr", [[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.5], [-0.9, -1.6, -0.6]])
    mirrored = chiral.copy()
    mirrored.positions[:, 1] *= -1
    assert congruence_rmsd(chiral, mirrored) < 1e-7 < 0.1 < congruence_rmsd(chiral, mirrored, reflection=False)
    shifted = atoms.copy()
    shifted.positions[0, 0] += 0.1  # one of seven atoms, superposed as well as it can be
    assert 0.01 < congruence_rmsd(atoms, shifted) < 0.1 / np.sqrt(7)


def test_clusters_of_mirror_images_differ_from_three_neighbours_on():
    chiral = Atoms("C5", [[0, 0, 0], [0, 0, 1.1], [1.3, 0, -0.4], [-0.8, 1.5, -0.5], [-0.9, -1.6, -0.6]])
    mirrored = chiral.copy()
    mirrored.positions[:, 1] *= -1
    assert cluster_distance(chiral, mirrored, 2) < 1e-14 and cluster_distance(chiral, mirrored, 3) > 0.05
    other = chiral.copy()
    other.numbers[3] = 7
    assert cluster_distance(chiral, other, 1) > 0.25


def test_published_descriptors_of_the_manifold():
    data = methane_manifold()
    assert data.power_spectra.shape == data.bispectra.shape == (2, 81, 12)
    apart = np.abs(data.power_spectra[0] - data.power_spectra[1]).max(axis=1)
    assert (apart < 1e-12).sum() == 9 and np.sort(apart)[9] > 1e-6
    assert np.abs(data.bispectra[0] - data.bispectra[1]).max(axis=1).min() > 1e-6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ring_pairs(0), ValueError, "n_pairs is 0; accepted is a whole number, at least 1"),
        (lambda: ring_pairs(1, shortest=3.0), RuntimeError, "no pair in 8000 draws in a row, 0 in 8000 altogether"),
        (lambda: ring_pair_positions(np.zeros(6)), ValueError, r"parameters have shape \(6,\)"),
        (lambda: RINGS.structures(radius=1.0), TypeError, "has no parameter 'radius'; accepted are r, z1, z2"),
        (lambda: RINGS.structures(r=5.0), ValueError, "r is 5.0; accepted is from 0.5 to 2 Å"),
        (lambda: RINGS.structures(r=np.nan), ValueError, "r is nan; accepted is a finite number of Å"),
        (lambda: CATALOGUE["tetrahedra"].structures(long=2.0, short=0.8), ValueError, "there is no tetrahedron"),
        (lambda: cluster_distance(*RINGS.structures(), 8), ValueError, "nu is 8; accepted is up to 7"),
        (lambda: congruence_rmsd(molecule("CH4"), molecule("H2O")), ValueError, "second has 3 atoms; accepted"),
        (lambda: congruence_rmsd(molecule("CH4"), Atoms("H5")), ValueError, "second is H5; accepted are the elements"),
        (lambda: congruence_rmsd(*[Atoms("H9")] * 2), ValueError, "first has 362880 permutations"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_widget_is_told_what_is_outside_the_set():
    assert "from the middle; in the set are 1.5 to 1.8 Å" in RINGS.violation(r=2.0)
    assert "apart; in the set are distances above 1.2 Å" in RINGS.violation(phi1=np.pi / 6)
