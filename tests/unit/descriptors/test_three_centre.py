"""Three-centre features: identities, symmetries, reference values, derivatives, projection, degenerate pairs."""

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matterscape.basis import LaplacianEigenstates, ShiftedCosine
from matterscape.datasets.degenerate import ring_pairs
from matterscape.descriptors import SphericalExpansion
from matterscape.descriptors import three_centre as module
from matterscape.descriptors.equivariants import Equivariants, correlations, product
from matterscape.descriptors.pair_expansion import expand_pairs
from matterscape.descriptors.three_centre import TripletPCA, three_centre, triplet_channels
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

INVARIANTS = [(1, 0), (-1, 0)]
FACTORS = ("n_1", "l_1", "n_2", "l_2", "n_3", "l_3")


def sharp(cutoff, width, max_radial, max_angular, species=(5,)):
    return SphericalExpansion(
        species,
        cutoff=cutoff,
        max_radial=max_radial,
        max_angular=max_angular,
        smearing=None,
        radial_basis=LaplacianEigenstates(max_radial, cutoff),
        cutoff_function=ShiftedCosine(cutoff, width),
    )


@pytest.fixture(scope="module")
def five():
    return Atoms("B5", [(0, 0, 0), (1, 0, 0), (0, 1.2, 0), (0, 0, 1.4), (-0.9, -0.8, 0.7)])


@pytest.fixture(scope="module")
def expansion():
    return sharp(3.0, 0.5, 2, 2)


@pytest.fixture(scope="module")
def rings():
    return sharp(2.0, 0.1, 2, 3)


def by_neighbours(atoms, expansion):
    """Features {(i1, i2): (even, odd)} around the first atom."""
    structures = Structures.from_ase(atoms)
    pairs = structures.pairs(expansion.cutoff)
    found = three_centre(expansion, structures, "first")
    neighbours = pairs.second[pairs.first == 0].tolist()
    return dict(zip(itertools.permutations(neighbours, 2), zip(found.even, found.odd)))


def test_reference_values(five, expansion):
    even, odd = by_neighbours(five, expansion)[1, 2]
    assert (len(even), len(odd)) == (88, 32)
    assert float(even.norm()) == pytest.approx(0.07929081349, abs=5e-12)
    assert float(odd.norm()) == pytest.approx(0.05283490797, abs=5e-12)


def test_sum_over_all_pairs_is_the_bispectrum(five, expansion):
    structures = Structures.from_ase(five)
    density = expand_pairs(expansion, structures)
    pairs = structures.pairs(expansion.cutoff)
    density = density[pairs.first == 0]  # of the neighbours of the first atom
    neighbours = Equivariants.from_density(density)
    total = Equivariants.from_density(density.sum(dim=0, keepdim=True), expansion.channels)
    centre = torch.zeros(len(density), dtype=torch.int64)
    itself = product(neighbours, product(neighbours, total, 2, second_index=centre), only=INVARIANTS)
    third = correlations(total, 3, 2)[-1]
    found = three_centre(expansion, structures, "first")
    for sigma, values, labels in zip((1, -1), (found.even, found.odd), triplet_channels(expansion)):
        summed = values.sum(dim=0) + itself.invariants(sigma).sum(dim=0)
        expected = third.invariants(sigma)[0]
        # the recursion couples the first two densities first: channels in another order
        summed = summed[np.lexsort([labels[name] for name in FACTORS])]
        expected = expected[np.lexsort([third.labels[sigma, 0][name] for name in FACTORS])]
        assert (summed - expected).abs().max() < 1e-12 * expected.norm()
        assert expected.norm() > 1e-3


def test_coupling_of_the_two_neighbours_first_is_the_same(five, expansion):
    structures = Structures.from_ase(five)
    pairs = structures.pairs(expansion.cutoff)
    density = expand_pairs(expansion, structures)[pairs.first == 0]
    neighbours = Equivariants.from_density(density, expansion.channels)
    first, second = torch.tensor(list(itertools.permutations(range(4), 2))).T
    both = product(neighbours, neighbours, 2, first_index=first, second_index=second)
    rho = Equivariants.from_density(density.sum(dim=0, keepdim=True), expansion.channels)
    expected = product(both, rho, only=INVARIANTS, second_index=torch.zeros_like(first))
    found = three_centre(expansion, structures, "first")
    for sigma, values, labels in zip((1, -1), (found.even, found.odd), triplet_channels(expansion)):
        ours = values[:, np.lexsort([labels[name] for name in FACTORS])]
        theirs = expected.invariants(sigma)[:, np.lexsort([expected.labels[sigma, 0][name] for name in FACTORS])]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


def test_swapped_neighbours(five, expansion):
    features = by_neighbours(five, expansion)
    for sigma, labels, parity in zip((1, -1), triplet_channels(expansion), (0, 1)):
        forward = np.lexsort([labels[name] for name in FACTORS])
        backward = np.lexsort([labels[name] for name in ("n_2", "l_2", "n_1", "l_1", "n_3", "l_3")])
        for i1, i2 in itertools.combinations(range(1, 5), 2):
            ours, theirs = features[i1, i2][parity][forward], features[i2, i1][parity][backward]
            assert (ours - sigma * theirs).abs().max() < 1e-13
            assert ours.norm() > 1e-3


def test_channels_say_what_couples(expansion):
    even, odd = triplet_channels(expansion)
    for labels, remainder in ((even, 0), (odd, 1)):
        degrees = np.stack([labels[name] for name in ("l_1", "l_2", "l_3")])
        assert (degrees.sum(axis=0) % 2 == remainder).all()
        assert (2 * degrees.max(axis=0) <= degrees.sum(axis=0)).all()
        assert (labels["k_2_3"] == labels["l_1"]).all()
        assert len(np.unique(labels)) == len(labels)
    assert {len(part) for part in triplet_channels(sharp(2.0, 0.1, 3, 3))} == {621, 297}
    assert len(triplet_channels(sharp(2.0, 0.1, 2, 0))[1]) == 0


def test_rotations_and_mirror_images(five, expansion):
    features = by_neighbours(five, expansion)
    rotation = Rotation.random(random_state=3).as_matrix()
    for matrix, sign in ((rotation, 1), (-rotation, -1), (rotation @ np.diag([1, 1, -1.0]), -1)):
        moved = by_neighbours(Atoms("B5", five.positions @ matrix.T + 7.0), expansion)
        assert set(moved) == set(features)
        for key, (even, odd) in moved.items():
            assert (even - features[key][0]).abs().max() < 1e-12
            assert (odd - sign * features[key][1]).abs().max() < 1e-12


def test_permuted_neighbours_permute_the_pairs(five, expansion):
    features = by_neighbours(five, expansion)
    order = [0, 3, 1, 4, 2]
    permuted = by_neighbours(five[order], expansion)
    for (i1, i2), (even, odd) in permuted.items():
        expected = features[order[i1], order[i2]]
        torch.testing.assert_close(even, expected[0], rtol=0, atol=1e-15)
        torch.testing.assert_close(odd, expected[1], rtol=0, atol=1e-15)


def test_every_atom_of_structures_of_different_sizes():
    crystal = bulk("SiC", "zincblende", a=4.36)
    crystal.rattle(0.1, seed=2)
    structures = Structures.from_ase([molecule("CH3CH2OH"), crystal, Atoms("C", [(0, 0, 0)])])
    expansion = SphericalExpansion(structures.unique_species, cutoff=2.2, max_radial=2, max_angular=2, smearing=0.3)
    together = three_centre(expansion, structures)
    neighbours = structures.pairs(2.2).offsets.diff()
    assert together.counts.tolist() == (neighbours * (neighbours - 1)).tolist()
    order = [7, 0, 11, 9, 0]
    some = three_centre(expansion, structures, order)
    chosen = together.select(torch.tensor(order))
    for name in ("even", "odd", "centre_index"):
        torch.testing.assert_close(getattr(some, name), getattr(chosen, name))
    assert some.n_centres == 5
    alone = three_centre(expansion, Structures.from_ase(crystal), [1])
    index = torch.tensor([10])
    torch.testing.assert_close(alone.even, together.select(index).even)


def test_blocks_change_nothing(rings, monkeypatch):
    positions, _ = ring_pairs(3, 5)
    structures = Structures.from_ase([Atoms("B8", one) for one in positions])
    expected = three_centre(rings, structures, "first")
    monkeypatch.setattr(module, "NUMBERS_IN_BLOCK", 1)
    found = three_centre(rings, structures, "first")
    torch.testing.assert_close(found.even, expected.even)
    torch.testing.assert_close(found.centre_index, expected.centre_index)


@pytest.mark.parametrize("projected", [False, True])
def test_fewer_than_two_neighbours_are_no_triplets(expansion, five, projected):
    frames = [Atoms("B", [(0, 0, 0)]), Atoms("B2", [(0, 0, 0), (0, 0, 1.5)]), five, Atoms("B", [(1, 0, 0)])]
    projection = TripletPCA.fit(expansion, Structures.from_ase(five), "first", n_even=5, n_odd=3) if projected else None
    structures = Structures.from_ase(frames).with_gradients()
    found = three_centre(expansion, structures, "first", projection=projection)
    assert found.counts.tolist() == [0, 0, 12, 0]
    assert found.sums(found.even)[[0, 1, 3]].abs().max() == 0
    assert found.averages(found.even)[[0, 1, 3]].abs().max() == 0
    (found.even.square().sum() + found.odd.square().sum()).backward()
    assert structures.positions.grad[:3].abs().max() == 0
    assert structures.positions.grad[-1].abs().max() == 0
    assert structures.positions.grad[3:8].abs().max() > 1e-6
    lonely = three_centre(expansion, Structures.from_ase(frames[:2]), "first", projection=projection)
    assert lonely.even.shape == (0, found.even.shape[1])
    assert lonely.odd.shape == (0, found.odd.shape[1])
    assert lonely.n_centres == 2


@pytest.mark.parametrize("projected", [False, True])
def test_derivatives(expansion, five, projected):
    structures = Structures.from_ase(five)
    projection = TripletPCA.fit(expansion, structures, "first", n_even=6, n_odd=4) if projected else None

    def features(positions):
        moved = Structures.from_ase(Atoms("B5", positions.detach().numpy())).with_gradients()
        found = three_centre(expansion, moved, "first", projection=projection)
        return moved, torch.cat([found.even, found.odd], dim=1)

    start = structures.positions
    moved, values = features(start)
    weights = torch.randn(values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (weights * values).sum().backward()
    step, numerical = 1e-5, torch.zeros_like(start)
    for atom, axis in itertools.product(range(5), range(3)):
        shift = torch.zeros_like(start)
        shift[atom, axis] = step
        higher, lower = ((weights * features(start + sign * shift)[1]).sum() for sign in (1, -1))
        numerical[atom, axis] = (higher - lower).detach() / (2 * step)
    gradient = moved.positions.grad
    assert (gradient - numerical).norm() < 1e-7 * gradient.norm()
    assert gradient.sum(dim=0).abs().max() < 1e-12 * gradient.norm()


def test_projection_equals_features_times_components(rings):
    positions, _ = ring_pairs(4, 1)
    structures = Structures.from_ase([Atoms("B8", one) for one in positions])
    projection = TripletPCA.fit(rings, structures, "first", n_even=20, n_odd=7)
    features, found = (
        three_centre(rings, structures, "first"),
        three_centre(rings, structures, "first", projection=projection),
    )
    torch.testing.assert_close(found.even, features.even @ projection.even - projection.shift, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.odd, features.odd @ projection.odd, rtol=0, atol=1e-11)
    for values in (found.even, found.odd):
        covariance = values.T @ values / len(found)
        assert float(covariance.trace()) == pytest.approx(values.shape[1])
        assert (covariance.diag().diff() <= 1e-12).all()  # descending
        torch.testing.assert_close(covariance, covariance.diag().diag(), rtol=0, atol=1e-8)
    assert found.even.mean(dim=0).abs().max() < 1e-9
    singular = torch.linalg.svdvals(features.even - features.even.mean(dim=0)).square()
    assert projection.explained[0] == pytest.approx(float(singular[:20].sum() / singular.sum()), abs=1e-9)


def test_small_components_are_left_out(rings, five):
    structures = Structures.from_ase(five)
    features = three_centre(rings, structures, "first")  # 12 triplets: at most 11 directions
    projection = TripletPCA.fit(rings, structures, "first", n_even=64, n_odd=64)
    assert projection.even.shape[1] == len(projection.shift) <= 11
    assert projection.odd.shape[1] <= 12
    assert torch.isfinite(features.even @ projection.even).all()
    assert projection.explained[0] == pytest.approx(1.0, abs=1e-4)


def distances(values):
    """Distance between partners, relative to the norm of the values of both."""
    first, second = values[::2], values[1::2]
    return (first - second).norm(dim=1) / (0.5 * (first.norm(dim=1) + second.norm(dim=1)))


def test_partners_differ_from_order_four_and_in_products_of_triplets(rings):
    positions, _ = ring_pairs(6, 8)
    structures = Structures.from_ase([Atoms("B8", one) for one in positions])
    pairs = structures.pairs(rings.cutoff)
    density = expand_pairs(rings, structures)
    density = density.new_zeros(structures.n_atoms, *density.shape[1:]).index_add(0, pairs.first, density)
    for order, found in enumerate(correlations(density[structures.offsets[:-1]], 4, 3), start=1):
        norm = found.invariants(1).norm(dim=1)[::2]
        for sigma in (1, -1):
            values = found.invariants(sigma)
            if values.shape[1] == 0:
                continue
            difference = (values[::2] - values[1::2]).norm(dim=1) / norm
            if order < 4:
                assert difference.max() < 1e-12
            else:
                assert difference.min() > 1e-7
                assert difference.median() > 1e-3
    triplets = three_centre(rings, structures, "first")
    assert distances(triplets.sums(triplets.even)).max() < 1e-12
    squares = triplets.sums((triplets.even[:, :, None] * triplets.even[:, None, :]).flatten(1))
    assert distances(squares).min() > 1e-3


def test_another_atom_as_centre_is_not_degenerate(rings):
    positions, _ = ring_pairs(3, 8)
    structures = Structures.from_ase([Atoms("B8", one) for one in positions])
    triplets = three_centre(rings, structures, structures.offsets[:-1] + 1)  # an atom of the upper ring
    assert distances(triplets.sums(triplets.even)).min() > 1e-4


def test_bad_input(expansion, five):
    structures = Structures.from_ase(five)
    for centres in ("last", [], [0.5], [[0]]):
        with pytest.raises(ValueError, match="centres are .* accepted are 'all', 'first' or numbers of atoms"):
            three_centre(expansion, structures, centres)
    for centres in ([5], [-1]):
        with pytest.raises(IndexError, match=f"centres have atom {centres[0]}; accepted are numbers from 0 to 4"):
            three_centre(expansion, structures, centres)
    on_top = Atoms("B3", [(0, 0, 0), (0, 0, 1e-7), (1, 0, 0)])
    with pytest.raises(ValueError, match="coincide"):
        three_centre(expansion, Structures.from_ase(on_top), "first")
    with pytest.raises(ValueError, match="0 triplets around the centres; accepted are at least 2"):
        TripletPCA.fit(expansion, Structures.from_ase(Atoms("B", [(0, 0, 0)])))
    with pytest.raises(ValueError, match="n_even is 0"):
        TripletPCA.fit(expansion, structures, n_even=0)
    other = TripletPCA.fit(sharp(3.0, 0.5, 1, 2), structures, "first")
    with pytest.raises(ValueError, match="projection has 11 features of sigma 1; here are 88"):
        three_centre(expansion, structures, "first", projection=other)
