"""Messages and bonds: exact identities, what they depend on, and wrong ways to pass them that the identities notice."""

import re
from itertools import product as product_of

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from matterscape.basis import LaplacianEigenstates, ShiftedCosine
from matterscape.datasets.degenerate import ring_pairs
from matterscape.descriptors import SphericalExpansion, forces
from matterscape.descriptors import messages as module
from matterscape.descriptors.equivariants import Equivariants, correlations, product
from matterscape.descriptors.messages import (
    MessageInvariants,
    Term,
    bond_expansion,
    bond_features,
    message,
    structure_sums,
)
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

FIVE = np.array([(0, 0, 0), (1, 0, 0), (0, 1.2, 0), (0, 0, 1.4), (-0.9, -0.8, 0.7)])
CENTRE, ONE_ONE = Term(0, (1,)), Term(1, (1,))


def expansion(species=(1,), cutoff=3.0, max_radial=2, max_angular=2, **options):
    return SphericalExpansion(
        list(species),
        cutoff=cutoff,
        max_radial=max_radial,
        max_angular=max_angular,
        smearing=None,
        radial_basis=LaplacianEigenstates(max_radial, cutoff),
        cutoff_function=ShiftedCosine(cutoff, 0.5),
        centre_weight=0.0,
        **options,
    )


def five(**options):
    return Structures.from_ase(Atoms("H5", FIVE, **options))


def salt(seed=0, n_antisites=5):
    """Rock salt of 16 ions, some of them on each other's sites, all of them a little off."""
    generator = np.random.default_rng(seed)
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((2, 1, 1))
    sodium, chlorine = (np.flatnonzero(atoms.numbers == number) for number in (11, 17))
    numbers = atoms.numbers.copy()
    numbers[generator.choice(sodium, n_antisites, replace=False)] = 17
    numbers[generator.choice(chlorine, n_antisites, replace=False)] = 11
    atoms.numbers = numbers
    atoms.positions += generator.normal(0, 0.05, atoms.positions.shape)
    return atoms


def parts(structures, basis):
    """Density, bonds and pairs."""
    pairs = structures.pairs(basis.cutoff)
    density = Equivariants.from_density(basis(structures, pairs), basis.channels)
    return density, bond_expansion(basis, structures, pairs), pairs


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module", params=["cluster", "crystal"])
def system(request):
    """Structures, density, bonds and pairs of a finite system of one species and a periodic one of two."""
    if request.param == "cluster":
        structures, basis = five(), expansion()
    else:
        structures, basis = Structures.from_ase([salt(0), salt(1)]), expansion((11, 17), 3.6)
    return structures, *parts(structures, basis)


# ---- identities ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_bonds_sum_to_the_next_order(system, order):
    _, density, bonds, pairs = system
    orders = correlations(density, order + 1)
    rows = bond_features(pairs, bonds, first=orders[order - 1])
    assert list(rows) == list(orders[order])
    for key, block in rows.items():
        summed = torch.zeros_like(orders[order][key]).index_add(0, pairs.first, block)
        assert relative(summed, orders[order][key]) < 1e-13
        assert (rows.labels[key] == orders[order].labels[key]).all()
    assert relative(torch.zeros_like(density.packed).index_add(0, pairs.first, bonds.packed), density.packed) < 1e-14


def test_bonds_sum_to_messages(system):
    _, density, bonds, pairs = system
    rows = bond_features(pairs, bonds, second=density, max_angular=3)
    received = message(pairs, bonds, density, 3)
    assert rows.channels == received.channels
    summed = torch.zeros_like(received.packed).index_add(0, pairs.first, rows.packed)
    assert relative(summed, received.packed) < 1e-13
    assert all((rows.labels[key] == received.labels[key]).all() for key in received)


def test_bonds_of_both_ends_sum_to_what_an_atom_hears(system):
    _, density, bonds, pairs = system
    both = bond_features(pairs, bonds, density, density)
    alone = product(density, bonds, first_index=pairs.first)
    other = product(alone, density, second_index=pairs.second, target_index=pairs.first, n_targets=density.n_samples)
    summed = torch.zeros_like(other.packed).index_add(0, pairs.first, both.packed)
    assert relative(summed, other.packed) < 1e-13


def test_a_bond_seen_from_the_other_end():
    structures, basis = five(), expansion()
    _, bonds, pairs = parts(structures, basis)
    number = {pair: k for k, pair in enumerate(zip(pairs.first.tolist(), pairs.second.tolist()))}
    reverse = torch.tensor([number[j, i] for i, j in number])
    for (_, l), block in bonds.items():
        assert (block[reverse] - (-1) ** l * block).abs().max() < 1e-14 * block.abs().max()
    without = bond_expansion(basis, structures, pairs, species_channels=False)
    assert relative(without.packed, bonds.packed) < 1e-15  # there is one species
    assert without.labels[1, 2].dtype.names == ("n_1", "l_1")


def centre_sums(bonds, density, pairs):
    """Both sides of the identity that a message of scalars adds nothing: blocks l of the sums over a structure."""
    received = message(pairs, bonds, density, only=[(1, 0)])
    heard = received[1, 0][:, 0].sum(dim=0)
    labels = received.labels[1, 0]
    for l in range(bonds.max_angular + 1):
        block = density[1, l]
        expected = torch.einsum("imp,imq->pq", block, block).flatten() / (2 * l + 1) ** 0.5
        yield l, heard[torch.from_numpy(labels["l_1"] == l)], expected


def test_one_scalar_message_is_the_power_spectrum_of_the_structure():
    density, bonds, pairs = parts(five(), expansion(max_angular=3))
    for _, found, expected in centre_sums(bonds, density, pairs):
        assert relative(found, expected) < 1e-13


def test_a_message_along_reversed_bonds_has_the_wrong_sign_for_odd_l():
    density, bonds, pairs = parts(five(), expansion(max_angular=3))
    reversed_bonds = Equivariants({(1, l): (-1) ** l * bonds[1, l] for l in range(4)})
    right, wrong = (message(pairs, each, density) for each in (bonds, reversed_bonds))
    for l, found, expected in centre_sums(reversed_bonds, density, pairs):
        assert relative(found, expected) < 1e-13 if l % 2 == 0 else relative(found, -expected) < 1e-13
    for key, norms in right.norms().items():
        assert torch.allclose(norms, wrong.norms()[key], rtol=1e-12)  # which no norm notices


def test_one_scalar_message_adds_nothing_to_a_linear_model_of_structures():
    structures = Structures.from_ase([salt(seed, 1 + seed % 7) for seed in range(60)])
    basis = expansion((11, 17), 3.6, max_radial=1)
    both = MessageInvariants(basis, [Term(2), CENTRE, ONE_ONE])
    features = both(structures)

    def residual(term, species):
        own, heard = (
            structure_sums(features[:, both.slices[one]], structures, species).numpy() for one in (Term(2), term)
        )
        basis_of_own = np.linalg.svd(own / np.linalg.norm(own, axis=0).max(), full_matrices=False)
        columns = basis_of_own.U[:, basis_of_own.S > 1e-12 * basis_of_own.S[0]]
        return np.linalg.norm(heard - columns @ (columns.T @ heard)) / np.linalg.norm(heard)

    assert residual(CENTRE, (11, 17)) < 1e-10
    assert residual(CENTRE, None) > 1e-4  # centres of both species in one sum lose the labels
    assert residual(ONE_ONE, (11, 17)) > 1e-4


def test_reference_values():
    """Norms of an implementation in plain numpy."""
    descriptor = MessageInvariants(expansion(), [CENTRE, ONE_ONE])
    features = descriptor(five())
    norms = [features[:, descriptor.slices[term]].norm(dim=1) for term in (CENTRE, ONE_ONE)]
    assert [len(descriptor.labels[term]) for term in (CENTRE, ONE_ONE)] == [12, 88]
    expected = [
        [1.01273926, 0.51091513, 0.44649347, 0.52956300, 0.42472242],
        [0.85679357, 0.48315501, 0.46114506, 0.52085994, 0.39669237],
    ]
    np.testing.assert_allclose(torch.stack(norms).numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_messages_do_not_lift_a_degeneracy_of_their_body_order(seed):
    """Environments with equal correlations up to order three around one of eight atoms that all see each other."""
    positions, _ = ring_pairs(4, seed)
    frames = [Atoms("B8", each) for each in positions]
    structures = Structures.from_ase(frames)
    density, bonds, pairs = parts(structures, expansion((5,), 4.0, max_radial=1, max_angular=3))
    first = structures.offsets[:-1]
    orders = [None, *correlations(density, 2, 3)]
    heard = {order: message(pairs, bonds, orders[order], 3, centres=first) for order in (1, 2)}
    assert all(len(part.packed) == 8 for part in heard.values())

    def difference(order, one):
        wanted = [(1, 0), (-1, 0)]
        result = heard[one]
        if order:
            result = product(orders[order].take(first), result, only=wanted)
        scale = result[1, 0].norm(dim=(1, 2))[::2]
        return {
            sigma: (result[sigma, 0][::2] - result[sigma, 0][1::2]).norm(dim=(1, 2)) / scale
            for sigma, l in result
            if l == 0
        }

    for term in ((0, 1), (1, 1), (0, 2)):
        for values in difference(*term).values():
            assert values.max() < 1e-12, term
    for term in ((2, 1), (1, 2)):
        values = torch.stack(list(difference(*term).values())).max(dim=0).values
        assert values.min() > 1e-6, term


# ---- symmetries and forces -----------------------------------------------------------------------------------------

TERMS = [Term(1), Term(2), CENTRE, ONE_ONE, Term(0, (1, 1)), Term(1, (2,))]


@pytest.fixture(scope="module")
def descriptor():
    return MessageInvariants(expansion((11, 17), 3.6, max_radial=1), TERMS, parities=(1, -1))


def test_invariance(descriptor):
    atoms = salt(3)
    before = descriptor(Structures.from_ase(atoms))
    rotation = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    turned, shifted, inverted = atoms.copy(), atoms.copy(), atoms.copy()
    turned.set_cell(atoms.cell @ rotation.T, scale_atoms=True)
    shifted.positions += [0.3, -1.7, 8.1]
    inverted.set_cell(-np.array(atoms.cell), scale_atoms=True)
    for changed in (turned, shifted):
        assert relative(descriptor(Structures.from_ase(changed)), before) < 1e-12
    order = np.random.default_rng(1).permutation(len(atoms))
    assert relative(descriptor(Structures.from_ase(atoms[order])), before[order]) < 1e-12
    after = descriptor(Structures.from_ase(inverted))
    sign = torch.from_numpy(np.concatenate([descriptor.labels[term]["sigma"] for term in descriptor.terms]))
    for parity in (1, -1):
        assert relative(after[:, sign == parity], parity * before[:, sign == parity]) < 1e-10
    assert before[:, sign == -1].norm() > 1e-4 * before.norm()


def test_messages_turn_with_the_structure():
    rotation = -Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    heard = []
    for positions in (FIVE, FIVE @ rotation.T):
        density, bonds, pairs = parts(Structures.from_ase(Atoms("H5", positions)), expansion())
        heard.append(message(pairs, bonds, correlations(density, 2)[1]))
    assert relative(heard[1].packed, heard[0].rotated(rotation).packed) < 1e-12
    assert (-1, 1) in heard[0] and heard[0][-1, 1].norm() > 1e-3


def test_forces_of_a_linear_model(descriptor):
    atoms = salt(4)
    weights = torch.from_numpy(np.random.default_rng(5).normal(size=(2, descriptor.n_features)))

    def energy(structures):
        return (structure_sums(descriptor(structures), structures, (11, 17)) @ weights.flatten()).sum()

    structures = Structures.from_ase(atoms).with_gradients()
    found = forces(energy(structures), structures)
    assert found.sum(dim=0).abs().max() < 1e-10 * found.abs().max()
    step, scale = 1e-4, float(found.abs().max())
    for atom, x in ((0, 0), (5, 2), (11, 1)):
        values = []
        for shift in (step, -step):
            moved = atoms.copy()
            moved.positions[atom, x] += shift
            values.append(float(energy(Structures.from_ase(moved))))
        assert -(values[0] - values[1]) / (2 * step) == pytest.approx(float(found[atom, x]), abs=1e-6 * scale)


# ---- what the features depend on -----------------------------------------------------------------------------------


def dependence(term, structures, basis, centre):
    """Norm of the derivative of an atom's features with respect to the position of every atom."""
    structures = structures.with_gradients()
    features = MessageInvariants(basis, [term])(structures)[centre]
    probe = torch.from_numpy(np.random.default_rng(0).normal(size=len(features)))
    (gradient,) = torch.autograd.grad(features @ probe, structures.positions)
    return gradient.norm(dim=1)


def within(structures, cutoff, centre):
    """Atoms in one step and in one or two steps from a centre, itself included."""
    pairs = structures.pairs(cutoff)
    near = set(pairs.second[pairs.first == centre].tolist())
    far = {int(k) for k, j in zip(pairs.second, pairs.first) if int(j) in near}
    return near | {centre}, near | far | {centre}


def long_crystal():
    """Periodic, with atoms out of reach of two steps."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat((4, 1, 1))
    atoms.numbers[:] = 1
    atoms.rattle(0.05, seed=1)
    return atoms


def scattered():
    """A chain with a branch, and two atoms that are close to it in space but not connected."""
    positions = [(0, 0, 0), (2.4, 0, 0.1), (4.6, 0.4, 0), (2.3, 2.2, 0), (7.1, 0, 0), (0, 4.2, 0), (0, 4.3, 2.1)]
    return Atoms("H7", positions)


@pytest.mark.parametrize("make", [scattered, long_crystal])
@pytest.mark.parametrize("term", [Term(2), Term(3), CENTRE, ONE_ONE, Term(1, (2,))])
def test_receptive_field(make, term):
    structures, cutoff = Structures.from_ase(make()), 3.0
    one, two = within(structures, cutoff, 0)
    reached = two if term.messages else one
    assert len(one) < len(two) < structures.n_atoms
    moved = dependence(term, structures, expansion(cutoff=cutoff, max_radial=1), 0)
    for atom in range(structures.n_atoms):
        if atom in reached:
            assert moved[atom] > 1e-6, atom
        else:
            assert moved[atom] == 0.0, atom


def test_a_mean_field_of_the_neighbours_states_reaches_beyond_the_chains():
    """Summed over j before the product with the state of j, everything counts that any atom sees."""
    structures = Structures.from_ase(scattered()).with_gradients()
    density, _, _ = parts(structures, expansion(max_radial=1))
    everyone = torch.arange(structures.n_atoms)
    one, other = (index.flatten() for index in torch.meshgrid(everyone, everyone, indexing="ij"))
    heard = product(
        density, density, 2, first_index=one, second_index=other, target_index=one, n_targets=structures.n_atoms
    )
    features = product(density, heard, only=[(1, 0)])[1, 0][0].flatten()
    (gradient,) = torch.autograd.grad(features.square().sum(), structures.positions)
    _, two = within(structures, 3.0, 0)
    outside = [atom for atom in range(structures.n_atoms) if atom not in two]
    assert outside and gradient[outside].norm(dim=1).min() > 1e-6


def test_scalar_messages_do_not_see_an_angle():
    def features(angle, max_angular):
        legs = 2.0 * np.array([(1, 0, 0), (np.cos(angle), np.sin(angle), 0)])  # the ends stay 3 Å apart or more
        density, bonds, pairs = parts(Structures.from_ase(Atoms("H3", [(0, 0, 0), *legs])), expansion(max_radial=2))
        kept = [part.restricted(max_angular=max_angular) for part in (density, bonds)]
        heard = message(pairs, kept[1], kept[0], max_angular)
        return product(kept[0], heard, only=[(1, 0)])[1, 0][0].flatten()

    straight, bent = np.pi, 0.6 * np.pi
    assert relative(features(bent, 0), features(straight, 0)) < 1e-14
    assert relative(features(bent, 1), features(straight, 1)) > 1e-2


# ---- several messages, rounds, choices -----------------------------------------------------------------------------


def test_several_messages_multiply():
    structures, basis = five(), expansion(max_radial=1)
    density, bonds, pairs = parts(structures, basis)
    heard = message(pairs, bonds, density, 2)
    descriptor = MessageInvariants(basis, [Term(0, (1, 1)), Term(1, (1, 1))])
    features = descriptor(structures)
    assert relative(features[:, descriptor.slices[Term(0, (1, 1))]], product(heard, heard)[1, 0][:, 0]) < 1e-13
    # one message times itself is a sum over two neighbours
    one, other = (index.flatten() for index in torch.meshgrid(*[torch.arange(len(pairs))] * 2, indexing="ij"))
    same = pairs.first[one] == pairs.first[other]
    rows = bond_features(pairs, bonds, second=density, max_angular=2)
    twice = product(
        rows,
        rows,
        only=[(1, 0)],
        first_index=one[same],
        second_index=other[same],
        target_index=pairs.first[one[same]],
        n_targets=5,
    )
    assert relative(features[:, descriptor.slices[Term(0, (1, 1))]], twice[1, 0][:, 0]) < 1e-12
    assert [term.body_order for term in TERMS] == [2, 3, 3, 4, 5, 5]
    assert [term.reach for term in TERMS] == [1, 1, 2, 2, 2, 2]
    assert str(ONE_ONE) == "[1 <- 1]" and str(Term(2)) == "[2]"


def test_a_second_round_hears_of_atoms_three_steps_away():
    chain = Structures.from_ase(Atoms("H4", [(2.2 * k, 0.3 * k**2, 0.1 * k) for k in range(4)])).with_gradients()
    density, bonds, pairs = parts(chain, expansion(cutoff=3.0, max_radial=1))
    once = product(density, message(pairs, bonds, density, 2), 2)
    twice = message(pairs, bonds, once, only=[(1, 0)])
    for features, reaches in ((once, False), (twice, True)):
        (gradient,) = torch.autograd.grad(features[1, 0][0].square().sum(), chain.positions, retain_graph=True)
        assert bool(gradient[3].norm() > 1e-6) == reaches


def test_contracted_states():
    structures, basis = five(), expansion(max_radial=2)
    identity = {(1, l): torch.eye(2, dtype=torch.float64) for l in range(3)}
    full = MessageInvariants(basis, [ONE_ONE])(structures)
    assert relative(MessageInvariants(basis, [ONE_ONE], contraction=identity)(structures), full) < 1e-15
    first = {key: matrix[:, :1] for key, matrix in identity.items()}
    descriptor = MessageInvariants(basis, [ONE_ONE], contraction=first)
    kept = MessageInvariants(basis, [ONE_ONE]).labels[ONE_ONE]["n_3"] == 0
    assert relative(descriptor(structures), full[:, torch.from_numpy(kept)]) < 1e-14


def test_blocks_of_structures_change_nothing(monkeypatch):
    structures = Structures.from_ase([salt(seed) for seed in range(3)])
    descriptor = MessageInvariants(expansion((11, 17), 3.6, max_radial=1), [Term(2), ONE_ONE])
    whole = descriptor(structures)
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    assert torch.equal(descriptor(structures), whole)


def test_labels_say_what_every_column_is():
    basis = expansion((11, 17), 3.6, max_radial=1)
    descriptor = MessageInvariants(basis, [Term(2), ONE_ONE])
    labels = descriptor.labels[ONE_ONE]
    assert len(set(labels.tolist())) == len(labels) == descriptor.n_features - len(descriptor.labels[Term(2)])
    # an ion alone with one chlorine, which has no other neighbour than the sodium in the middle
    structures = Structures.from_ase(Atoms("NaCl", [(0, 0, 0), (0, 0, 2.5)]))
    columns = descriptor(structures)[0, descriptor.slices[ONE_ONE]]
    seen = (labels["species_1"] == 17) & (labels["species_2"] == 17) & (labels["species_3"] == 11)
    assert (columns[torch.from_numpy(~seen)] == 0).all() and columns[torch.from_numpy(seen)].abs().max() > 1e-3
    k = labels["k_2_3"]
    assert (labels["l_1"] == k).all() and (np.abs(labels["l_2"] - labels["l_3"]) <= k).all()


def test_sums_over_structures():
    structures = Structures.from_ase([salt(0), salt(1)])
    features = torch.arange(2.0 * structures.n_atoms).reshape(-1, 2)
    total = structure_sums(features, structures)
    apart = structure_sums(features, structures, (11, 17))
    assert torch.equal(total, apart[:, :2] + apart[:, 2:])
    sodium = features[(structures.species == 11) & (structures.structure_index == 1)].sum(dim=0)
    assert torch.equal(apart[1, :2], sodium)


# ---- bad input and edges -------------------------------------------------------------------------------------------


def test_an_atom_alone_hears_nothing():
    structures = Structures.from_ase([Atoms("H"), Atoms("H2", [(0, 0, 0), (0, 0, 50)]), Atoms("H5", FIVE)])
    features = MessageInvariants(expansion(), [CENTRE, ONE_ONE])(structures)
    assert (features[:3] == 0).all() and (features[3:].norm(dim=1) > 0.1).all()
    assert (MessageInvariants(expansion(), [ONE_ONE])(structures[0]) == 0).all()


def test_an_image_of_the_atom_itself_is_a_neighbour():
    one, two = (Structures.from_ase(bulk("Po", "sc", a=2.5).repeat((n, 1, 1))) for n in (1, 2))
    descriptor = MessageInvariants(expansion((84,), 3.0), [CENTRE, ONE_ONE])
    np.testing.assert_allclose(descriptor(one).expand(2, -1), descriptor(two), atol=1e-13)
    assert descriptor(one).norm() > 1e-2


def test_bad_input():
    structures, basis = five(), expansion()
    density, bonds, pairs = parts(structures, basis)
    with pytest.raises(ValueError, match="neighbours have max_angular 1 and bonds 2"):
        message(pairs, bonds, density.restricted(max_angular=1))
    with pytest.raises(ValueError, match="neighbours have 4 samples; .* atoms of the pairs, 5"):
        message(pairs, bonds, density.take(torch.arange(4)))
    with pytest.raises(ValueError, match="bonds have 19 samples; .* pairs, 20"):
        message(pairs, bonds.take(torch.arange(19)), density)
    with pytest.raises(ValueError, match="some of them twice"):
        message(pairs, bonds, density, centres=torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="centres is from 7 to 7"):
        message(pairs, bonds, density, centres=torch.tensor([7]))
    with pytest.raises(ValueError, match="first and second are None"):
        bond_features(pairs, bonds)
    with pytest.raises(ValueError, match="second have 4 samples"):
        bond_features(pairs, bonds, density, density.take(torch.arange(4)))
    for terms, complaint in (
        ([], "terms are empty"),
        ([Term(0)], "order is 0"),
        ([Term(1, (0,))], "messages is 0"),
        ([3], "a term is 3"),
    ):
        with pytest.raises(ValueError, match=re.escape(complaint)):
            MessageInvariants(basis, terms)
    with pytest.raises(ValueError, match="parities are"):
        MessageInvariants(basis, [ONE_ONE], parities=(2,))
    with pytest.raises(ValueError, match=r"parities are \(-1,\); accepted are those of \[0 <- 1\], \[1\]"):
        MessageInvariants(basis, [CENTRE], parities=(-1,))
    with pytest.raises(ValueError, match=r"features have shape \(4, 2\)"):
        structure_sums(torch.zeros(4, 2), structures)
    with pytest.raises(ValueError, match="all that occur, 1 among them"):
        structure_sums(torch.zeros(5, 2), structures, (6,))


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    structures, basis = five(), expansion()
    density, bonds, pairs = parts(structures, basis)
    descriptor = MessageInvariants(basis, [ONE_ONE])
    monkeypatch.setattr(module, "memory_limit", lambda: 1000)
    for call in (
        lambda: message(pairs, bonds, density),
        lambda: bond_features(pairs, bonds, density, density),
        lambda: descriptor(structures),
    ):
        with pytest.raises(ValueError, match="at most half of the 0 GiB of memory here is accepted"):
            call()


def test_single_precision():
    structures = Structures.from_ase(Atoms("H5", FIVE), dtype=torch.float32)
    descriptor = MessageInvariants(expansion(), [CENTRE, ONE_ONE])
    found = descriptor(structures)
    assert found.dtype == torch.float32
    assert relative(found.double(), descriptor(five())) < 1e-5


def test_every_pair_of_terms_shares_nothing_it_should_not():
    """Terms made together equal terms made one by one."""
    structures, basis = five(), expansion(max_radial=1)
    together = MessageInvariants(basis, TERMS, parities=(1, -1))
    features = together(structures)
    for term, parity in product_of(TERMS, (1, -1)):
        if not (together.labels[term]["sigma"] == parity).any():
            continue
        alone = MessageInvariants(basis, [term], parities=(parity,))
        kept = torch.from_numpy(together.labels[term]["sigma"] == parity)
        assert torch.allclose(features[:, together.slices[term]][:, kept], alone(structures), atol=1e-14), term
