"""Equivariant features: reference numbers, symmetries, counts, recursion, messages and triplets, labels, bad input."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from matterscape.basis import CustomRadialBasis, LaplacianEigenstates, ShiftedCosine
from matterscape.descriptors import SphericalExpansion, equivariants
from matterscape.descriptors._coupling_operators import product_gradients, products
from matterscape.descriptors.counting import multiplicity
from matterscape.descriptors.equivariants import Equivariants, concatenated, correlations, product
from matterscape.descriptors.pair_expansion import expand_pairs
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

FIVE_ATOMS = np.array([(0, 0, 0), (1, 0, 0), (0, 1.2, 0), (0, 0, 1.4), (-0.9, -0.8, 0.7)])


def _expansion(species=(1,), n=2, l=2, cutoff=3.0):
    return SphericalExpansion(
        species,
        cutoff=cutoff,
        max_radial=n,
        max_angular=l,
        smearing=None,
        radial_basis=LaplacianEigenstates(n, cutoff),
        cutoff_function=ShiftedCosine(cutoff, 0.5),
        centre_weight=0.0,
    )


def _structures(positions=FIVE_ATOMS, symbols=None):
    return Structures.from_ase([Atoms(symbols or f"H{len(positions)}", positions)])


def _densities(positions=FIVE_ATOMS, **sizes):
    return _expansion(**sizes)(_structures(positions))


def _random(n_samples, channels_of_l, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Equivariants(
        {
            (1, l): torch.randn(n_samples, 2 * l + 1, count, dtype=torch.float64, generator=generator)
            for l, count in enumerate(channels_of_l)
        }
    )


def _deviation(one, two):
    """Largest difference of two features relative to the largest value."""
    assert list(one) == list(two)
    return float((one.packed - two.packed).abs().max() / two.packed.abs().max())


def test_reference_numbers_of_the_recursion():
    # Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020), recursion without prefactors, from a plain einsum
    density = _densities()[:1]
    np.testing.assert_allclose(density[0, 0], [0.709964571924, 0.383300967926], rtol=1e-10)
    two, three, four = correlations(density, 4, 2)[1:]
    for features, expected in (
        (two, {(1, 0): 0.696703352664, (1, 1): 0.75118346179, (-1, 1): 0.106406255003}),
        (two, {(1, 2): 0.68091993931, (-1, 2): 0.30410070121}),
        (three, {(1, 0): 0.633485561634, (-1, 0): 0.007637307668}),
        (four, {(1, 0): 0.597786102971, (-1, 0): 0.0131904491305}),
        (correlations(density, 4, invariants_only=True)[-1], {(1, 0): 0.59862197649, (-1, 0): 0.0132770230911}),
    ):
        norms = features.norms()
        for key, value in expected.items():
            assert float(norms[key]) == pytest.approx(value, rel=1e-9), key
    assert [three.channels[s, 0] for s in (1, -1)] == [88, 32]
    assert [four.channels[s, 0] for s in (1, -1)] == [784, 512]
    uncapped = correlations(density, 4, invariants_only=True)[-1]
    assert uncapped.channels == {(1, 0): 880, (-1, 0): 576}


def test_squares_of_all_correlations_add_up_without_cap():
    density = _densities(n=2, l=2)
    squared = density.pow(2).sum((1, 2))
    for order, features in enumerate(correlations(density, 4), start=1):
        torch.testing.assert_close(features.packed.pow(2).sum(1), squared**order, rtol=1e-12, atol=0)
    capped = correlations(density, 4, 2)[-1].packed.pow(2).sum(1)
    assert bool((capped < 0.99 * squared**4).all())


@pytest.mark.parametrize("improper", [False, True])
def test_features_rotate_with_the_structure(improper):
    matrix = Rotation.random(random_state=4).as_matrix() * (-1 if improper else 1)
    before = correlations(_densities(l=3), 3, 6)
    after = correlations(_densities(FIVE_ATOMS @ matrix.T, l=3), 3, 6)
    for one, two in zip(after, before):
        assert _deviation(one, two.rotated(matrix)) < 1e-12
    # a wrong parity shows
    wrong = Equivariants({key: -block if key[0] == -1 else block for key, block in before[-1].rotated(matrix).items()})
    assert _deviation(after[-1], wrong) > 1e-2


def test_inversion_is_exact():
    before, after = (correlations(_densities(sign * FIVE_ATOMS), 3, 2)[-1] for sign in (1, -1))
    for (sigma, l), block in after.items():
        torch.testing.assert_close(block, sigma * (-1) ** l * before[sigma, l], rtol=0, atol=1e-16)


def test_neighbours_may_be_permuted():
    order = [0, 3, 1, 4, 2]
    one, two = (correlations(_densities(positions)[:1], 3, 2)[-1] for positions in (FIVE_ATOMS, FIVE_ATOMS[order]))
    assert _deviation(one, two) < 1e-14


def test_second_order_invariants_are_the_power_spectrum():
    density = _densities()
    features = correlations(density, 2)[-1]
    labels = features.labels[1, 0]
    expected = [
        (-1) ** l / math.sqrt(2 * l + 1) * (density[:, l * l : (l + 1) ** 2, [q, p]].prod(2)).sum(1)
        for q, l, p, _ in labels.tolist()
    ]
    torch.testing.assert_close(features.invariants(), torch.stack(expected, dim=1), rtol=1e-13, atol=1e-15)
    assert features.invariants(-1).shape == (5, 0)


@pytest.mark.parametrize("channels, order, n_samples", [((7, 7), 2, 90), ((7, 7), 3, 400), ((1,) * 5, 4, 80)])
def test_ranks_are_multiplicities(channels, order, n_samples):
    density = _random(n_samples, channels)
    uncapped = correlations(density, order, invariants_only=True)[-1]
    capped = correlations(density, min(order, 3), len(channels) - 1, invariants_only=True)[-1]
    for sigma, expected in zip((1, -1), multiplicity(channels, order, 0)):
        assert np.linalg.matrix_rank(uncapped.invariants(sigma).numpy()) == expected
        if order < 4:  # the cap on the degree does not lower the rank yet
            assert np.linalg.matrix_rank(capped.invariants(sigma).numpy()) == expected


@pytest.mark.parametrize("channels, order", [((3, 2), 3), ((2, 1, 1), 3), ((1, 1, 1), 4)])
def test_sorted_degrees_span_the_same_space(channels, order):
    density = _random(250, channels)
    every, few = correlations(density, order), correlations(density, order, sorted_degrees=True)
    for step in range(1, order):
        labels = few[step].labels
        for key, block in few[step].items():
            degrees = np.stack([labels[key][f"l_{i + 1}"] for i in range(step + 1)])
            assert (np.diff(degrees, axis=0) >= 0).all()
            # the same numbers as among all of them
            names = list(labels[key].dtype.names)
            place = {label: column for column, label in enumerate(every[step].labels[key][names].tolist())}
            columns = [place[label] for label in labels[key].tolist()]
            torch.testing.assert_close(block, every[step][key][:, :, columns], rtol=1e-12, atol=1e-13)
        for sigma, expected in zip((1, -1), multiplicity(channels, step + 1, 0)):
            values = few[step].invariants(sigma).numpy()
            assert np.linalg.matrix_rank(values, tol=1e-8) == expected if values.size else expected == 0
    assert few[-1].packed.shape[1] < 0.6 * every[-1].packed.shape[1]


def test_derivatives_of_sorted_degrees():
    density = torch.randn(2, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def invariants(density):
        return correlations(density, 3, invariants_only=True, sorted_degrees=True)[-1].packed

    assert torch.autograd.gradcheck(invariants, density, fast_mode=True)
    assert torch.autograd.gradgradcheck(invariants, density, fast_mode=True)


def test_reference_body_with_parts_of_blocks():
    """Parts of blocks occur in the plan of sorted degrees only."""
    density = _random(3, (2, 3, 1))
    first = correlations(density, 2, sorted_degrees=True)[-1]
    pieces = equivariants._plan(
        tuple(density.channels.items()),
        tuple(density.channels.items()),
        4,
        None,
        tuple(equivariants._Piece(key, 0, count, key[1]) for key, count in density.channels.items()),
    ).pieces
    plan = equivariants._plan(tuple(first.channels.items()), tuple(density.channels.items()), 6, None, pieces)
    arguments = first.packed, density.packed, None, None, None, plan.numbers, 3, plan.n_columns
    torch.testing.assert_close(products(*arguments), products.reference(*arguments))
    gradient = torch.randn(3, plan.n_columns, dtype=torch.float64)
    arguments = gradient, first.packed, density.packed, None, None, None, plan.numbers, True, True
    torch.testing.assert_close(product_gradients(*arguments), product_gradients.reference(*arguments))


def test_ranks_of_equivariants_are_multiplicities():
    channels = (2, 1, 1)
    for key, block in correlations(_random(60, channels), 3)[-1].items():
        rank = np.linalg.matrix_rank(block.flatten(0, 1).numpy(), tol=1e-8)
        assert rank == multiplicity(channels, 3, key[1])[0 if key[0] == 1 else 1], key


def test_body_orders_of_the_target_and_of_the_correlations():
    """Sums over n neighbours of polynomials in their directions are linear in correlations of order n, not n - 1."""
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(700, 5, 3))
    directions *= rng.uniform(0.8, 2.6, (700, 5, 1)) / np.linalg.norm(directions, axis=2, keepdims=True)

    def shared(r):
        return np.exp(-2 * (r[:, None] - [1.0, 2.0]) ** 2) * (1 + np.cos(np.pi * r[:, None] / 3)) / 2

    expansion = SphericalExpansion(
        [1, 2],
        cutoff=3.0,
        max_radial=2,
        max_angular=2,
        smearing=None,
        radial_basis=CustomRadialBasis(shared, 3.0),
        cutoff_function=lambda r: torch.ones_like(r),
        centre_weight=0.0,
    )
    atoms = [Atoms("HeH5", np.vstack([np.zeros(3), neighbours])) for neighbours in directions]
    structures = Structures.from_ase(atoms)
    density = expansion(structures)[::6, :, :2]  # hydrogen around helium
    distances = np.linalg.norm(directions, axis=2)
    f = shared(distances.ravel())[:, 0].reshape(distances.shape)
    u = directions / distances[:, :, None]
    cosines = np.einsum("sjx,skx->sjk", u, u)
    cross = np.cross(u[:, :, None], u[:, None])
    triple = np.einsum("sjx,sklx->sjkl", u, cross)
    targets = (
        f.sum(1),
        np.einsum("sj,sk,sjk->s", f, f, cosines**2),
        np.einsum("sj,sk,sl,sjkl->s", f, f, f, triple**2),
    )
    columns, floors = np.ones((700, 1)), np.empty((3, 3))
    for order, part in enumerate(correlations(density, 3, 2)):
        invariants = part.invariants().numpy()
        columns = np.hstack([columns, invariants / invariants.std(0).max()])
        for k, target in enumerate(targets):
            weights = np.linalg.lstsq(columns[:500], target[:500], rcond=1e-12)[0]
            floors[order, k] = np.sqrt(np.mean((columns[500:] @ weights - target[500:]) ** 2)) / target.std()
    assert np.tril(floors).max() < 1e-10, floors
    assert floors[0, 1] > 0.2 and floors[0, 2] > 0.6 and floors[1, 2] > 0.3, floors


def test_gradient_of_third_order_invariants():
    weights = None

    def energy(positions):
        nonlocal weights
        structures = Structures.from_ase([Atoms("H5", positions)])
        structures.positions.requires_grad_()
        invariants = correlations(_expansion()(structures), 3, 2, invariants_only=True)[-1].packed
        if weights is None:
            weights = torch.randn(invariants.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        return (invariants * weights).sum(), structures.positions

    value, positions = energy(FIVE_ATOMS)
    (gradient,) = torch.autograd.grad(value, positions)
    step, rng = 1e-5, np.random.default_rng(0)
    for _ in range(4):
        direction = rng.normal(size=FIVE_ATOMS.shape)
        difference = sum(
            sign * energy(FIVE_ATOMS + factor * step * direction)[0].item() * weight
            for factor, sign, weight in ((1, 1, 8), (-1, -1, 8), (2, -1, 1), (-2, 1, 1))
        ) / (12 * step)
        assert float((gradient * torch.from_numpy(direction)).sum()) == pytest.approx(difference, rel=1e-7)


def _bonds(structures, expansion):
    pairs = structures.pairs(expansion.cutoff)
    return pairs, Equivariants.from_density(expand_pairs(expansion, structures, pairs))


def test_bond_features_sum_to_the_next_order():
    structures, expansion = _structures(symbols="HOHCH"), _expansion((1, 6, 8))
    density = expansion(structures)
    pairs, bonds = _bonds(structures, expansion)
    rho = Equivariants.from_density(density)
    for order, part in enumerate(correlations(density, 2), start=2):
        summed = product(part, bonds, first_index=pairs.first, target_index=pairs.first, n_targets=5)
        assert _deviation(summed, product(part, rho)) < 1e-13, order
        # the same with the rows of single bonds, summed afterwards
        by_bond = product(part, bonds, 2, only=[(-1, 2)], first_index=pairs.first)[-1, 2]
        total = torch.zeros_like(summed[-1, 2]).index_add(0, pairs.first, by_bond)
        torch.testing.assert_close(total, summed[-1, 2], rtol=1e-12, atol=1e-15)


def test_messages_of_the_lowest_order_sum_to_the_power_spectrum():
    """Nigam et al., J. Chem. Phys. 156, 204115 (2022): one scalar message adds nothing to a sum over a structure."""
    structures, expansion = _structures(), _expansion()
    density = expansion(structures)
    pairs, bonds = _bonds(structures, expansion)
    rho = Equivariants.from_density(density)
    rows = {"second_index": pairs.second, "target_index": pairs.first, "n_targets": 5}
    message = product(bonds, rho, only=[(1, 0)], **rows).invariants().sum(0)
    labels = correlations(density, 2)[-1].labels[1, 0]
    signs = torch.from_numpy((-1.0) ** labels["l_1"])
    power_spectrum = correlations(density, 2)[-1].invariants().sum(0)
    torch.testing.assert_close(message, signs * power_spectrum, rtol=1e-12, atol=1e-14)
    # bonds of the wrong direction have the same norms but fail for odd degrees
    backwards = Equivariants({(1, l): (-1) ** l * block for (_, l), block in bonds.items()})
    wrong = product(backwards, rho, only=[(1, 0)], **rows).invariants().sum(0)
    assert float((wrong - signs * power_spectrum).abs().max()) > 0.1


def test_reference_numbers_of_messages():
    structures, expansion = _structures(), _expansion()
    rho = Equivariants.from_density(expansion(structures))
    pairs, bonds = _bonds(structures, expansion)
    assert len(pairs) == 20
    message = product(bonds, rho, 2, second_index=pairs.second, target_index=pairs.first, n_targets=5)
    for features, n_channels, norms in (
        (message, 12, [1.01273926, 0.51091513, 0.44649347, 0.52956300, 0.42472242]),
        (product(rho, message, only=[(1, 0)]), 88, [0.85679357, 0.48315501, 0.46114506, 0.52085994, 0.39669237]),
    ):
        assert features.invariants().shape == (5, n_channels)
        np.testing.assert_allclose(features.norms()[1, 0], norms, atol=1e-8)


@pytest.fixture(scope="module")
def triplets():
    """Features of all pairs of neighbours of the first atom, the pairs, and the density."""
    structures, expansion = _structures(), _expansion()
    pairs, bonds = _bonds(structures, expansion)
    rho = Equivariants.from_density(expansion(structures)[:1])
    neighbours = torch.argsort(pairs.second[pairs.first == 0])  # in the order of the atoms
    one, two = (index.flatten() for index in torch.meshgrid(*[torch.arange(len(neighbours))] * 2, indexing="ij"))
    both = product(bonds, bonds, 2, first_index=neighbours[one], second_index=neighbours[two])
    centre = torch.zeros(len(one), dtype=torch.int64)
    return product(both, rho, only=[(1, 0), (-1, 0)], second_index=centre), one, two, rho


def test_reference_numbers_of_triplets(triplets):
    # Nigam et al., APL Mach. Learn. 2, 016110 (2024)
    features, one, two, _ = triplets
    assert features.channels == {(1, 0): 88, (-1, 0): 32}
    (row,) = torch.nonzero((one == 0) & (two == 1)).flatten().tolist()
    norms = {key: float(values[row]) for key, values in features.norms().items()}
    assert norms[1, 0] == pytest.approx(0.07929081349, rel=1e-9)
    assert norms[-1, 0] == pytest.approx(0.05283490797, rel=1e-9)


def test_triplets_sum_to_third_order(triplets):
    features, _, _, rho = triplets
    third = correlations(rho, 3, 2)[-1]
    for sigma in (1, -1):
        torch.testing.assert_close(
            features[sigma, 0].sum(0), third[sigma, 0][0], rtol=0, atol=1e-12 * float(third[sigma, 0].norm())
        )


def test_triplets_swap_with_their_parity(triplets):
    features, one, two, _ = triplets
    swapped = torch.argsort(two * len(one.unique()) + one)
    names = ("q_1", "l_1", "q_2", "l_2", "k_2", "q_3", "l_3")
    for sigma in (1, -1):
        labels, values = features.labels[sigma, 0], features.invariants(sigma)
        assert labels.dtype.names == names
        place = {label: column for column, label in enumerate(labels.tolist())}
        columns = [place[q2, l2, q1, l1, k, q3, l3] for q1, l1, q2, l2, k, q3, l3 in labels.tolist()]
        torch.testing.assert_close(values[swapped][:, columns], sigma * values, rtol=1e-13, atol=1e-16)


def test_isolated_atoms_have_zero_features():
    structures = _structures(np.vstack([FIVE_ATOMS, [[50, 0, 0]]]))
    features = correlations(_expansion()(structures), 3, 2)[-1]
    assert torch.equal(features.packed[5], torch.zeros_like(features.packed[5]))
    assert bool((features.packed[:5].norm(dim=1) > 0).all())


def test_labels_name_every_factor():
    expansion = _expansion((1, 8))
    density = expansion(_structures(symbols="HOHOH"))
    rho = Equivariants.from_density(density, expansion.channels)
    assert rho.labels[1, 1].dtype.names == ("species_1", "n_1", "l_1")
    two = product(rho, rho, 2)
    message = product(rho, two, 1)
    assert message.labels[1, 0].dtype.names == (
        *("species_1", "n_1", "l_1", "species_2", "n_2", "l_2", "species_3", "n_3", "l_3"), "k_2_3",
    )  # fmt: skip
    label = two.labels[-1, 2][17]
    known = expansion.channels[["species", "n"]].tolist()
    q1, q2 = (known.index((label[f"species_{i}"], label[f"n_{i}"])) for i in (1, 2))
    alone = product(
        Equivariants({(1, int(label["l_1"])): rho[1, int(label["l_1"])][:, :, [q1]]}),
        Equivariants({(1, int(label["l_2"])): rho[1, int(label["l_2"])][:, :, [q2]]}),
    )
    torch.testing.assert_close(alone[-1, 2][:, :, 0], two[-1, 2][:, :, 17])
    for key, count in two.channels.items():
        assert len(two.labels[key]) == count


def test_select_restrict_concatenate_mix_and_take():
    two = correlations(_densities(), 2, 2)[-1]
    even = two.select({(1, 0): [3, 1], (-1, 1): slice(2, 5)})
    assert even.channels == {(1, 0): 2, (-1, 1): 3}
    assert torch.equal(even[1, 0], two[1, 0][:, :, [3, 1]])
    assert even.labels[1, 0].tolist() == two.labels[1, 0][[3, 1]].tolist()
    assert list(two.restricted(max_angular=1)) == [(1, 0), (1, 1), (-1, 1)]
    assert list(two.restricted([(-1, 1), (1, 0)])) == [(1, 0), (-1, 1)]
    both = concatenated([even, two])
    assert both.channels[1, 0] == 2 + two.channels[1, 0] and both.channels[1, 2] == two.channels[1, 2]
    assert torch.equal(both[1, 0][:, :, 2:], two[1, 0])
    assert both.labels[1, 0].tolist() == even.labels[1, 0].tolist() + two.labels[1, 0].tolist()
    weights = torch.randn(two.channels[1, 1], 3, dtype=torch.float64)
    torch.testing.assert_close(two.mixed({(1, 1): weights})[1, 1], two[1, 1] @ weights)
    taken = two.take(torch.tensor([4, 0]))
    assert torch.equal(taken[-1, 2], two[-1, 2][[4, 0]]) and taken.n_samples == 2
    repacked = Equivariants.from_packed(two.packed, two.channels)
    assert torch.equal(repacked[1, 2], two[1, 2])
    assert torch.equal(Equivariants(dict(two)).packed, two.packed)


@pytest.mark.parametrize(
    "act, kind, words",
    [
        (lambda a: Equivariants({}), ValueError, ["blocks are empty"]),
        (lambda a: Equivariants({(2, 0): a[1, 0]}), ValueError, ["(2, 0)", "sigma 1 or -1"]),
        (lambda a: Equivariants({(1, 1): a[1, 0]}), ValueError, ["block (1, 1)", "(4, 3, channels)"]),
        (lambda a: Equivariants({(1, 0): a[1, 0], (1, 1): a[1, 1][:2]}), ValueError, ["(2, 3, 2)", "(4, 3, channels)"]),
        (lambda a: Equivariants({(1, 0): a[1, 0], (1, 1): a[1, 1].float()}), TypeError, ["float32", "float64"]),
        (lambda a: Equivariants({(1, 0): a[1, 0]}, {(1, 0): np.zeros(5)}), ValueError, ["5 labels", "one per channel"]),
        (lambda a: Equivariants.from_density(torch.zeros(4, 5, 2)), ValueError, ["(4, 5, 2)", "(max_angular + 1)^2"]),
        (lambda a: Equivariants.from_density(np.zeros((4, 4, 2))), TypeError, ["density is a ndarray"]),
        (lambda a: Equivariants.from_density(torch.zeros(4, 4, 2), np.zeros(3)), ValueError, ["channels are 3", "2"]),
        (lambda a: Equivariants.from_packed(a.packed, {(1, 0): 3}), ValueError, ["packed", "(samples, 3)"]),
        (lambda a: a[-1, 0], KeyError, ["(sigma, l) = (-1, 0)", "(1, 0)"]),
        (lambda a: a.restricted(max_angular=-1), ValueError, ["nothing is left"]),
        (lambda a: product(a, a[1, 0]), TypeError, ["second is a Tensor", "Equivariants"]),
        (lambda a: product(a, a, -1), ValueError, ["max_angular is -1"]),
        (lambda a: product(a, a, only=[(-1, 0)]), ValueError, ["only is [(-1, 0)]", "couple to"]),
        (lambda a: product(a, _random(3, (2, 2))), ValueError, ["first: 4", "second: 3"]),
        (lambda a: correlations(a, 0), ValueError, ["order is 0"]),
        (lambda a: concatenated([a, _random(3, (2, 2))]), ValueError, ["[4, 3] samples"]),
    ],
)
def test_bad_input(act, kind, words):
    with pytest.raises(kind) as error:
        act(_random(4, (3, 2)))
    assert all(word in str(error.value) for word in words), error.value
