"""Iterative contraction: nothing is lost without truncation, symmetry is kept, and what is kept matters most."""

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation

from matterscape.basis import CustomRadialBasis, ShiftedCosine
from matterscape.descriptors import SphericalExpansion
from matterscape.descriptors.contraction import (
    EquivariantPCA,
    best_products,
    chosen_channels,
    covariance,
    principal_components,
)
from matterscape.descriptors.equivariants import Equivariants, correlations, product
from matterscape.descriptors.nice import NICE
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

CUTOFF = 3.0
BASIS = CustomRadialBasis(lambda r: np.exp(-2 * (r[:, None] - np.array([1.0, 2.0])) ** 2), CUTOFF)
EXPANSION = SphericalExpansion(
    [1, 6],
    cutoff=CUTOFF,
    max_radial=2,
    max_angular=2,
    smearing=None,
    radial_basis=BASIS,
    cutoff_function=ShiftedCosine(CUTOFF, CUTOFF),
    centre_weight=0.0,
)


def random_vectors(n_samples, seed=0, n_neighbours=5):
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(n_samples, n_neighbours, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return directions * generator.uniform(0.8, 2.6, (n_samples, n_neighbours, 1))


def densities(vectors):
    """Densities (samples, 9, 2) of the hydrogens around a carbon at the origin."""
    frames = [Atoms("C" + "H" * len(one), np.concatenate([np.zeros((1, 3)), one])) for one in vectors]
    structures = Structures.from_ase(frames)
    return EXPANSION(structures)[structures.species == 6][:, :, :2]


@pytest.fixture(scope="module")
def vectors():
    return random_vectors(150)


@pytest.fixture(scope="module")
def density(vectors):
    return densities(vectors)


@pytest.fixture(scope="module")
def nice(density):
    return NICE(4, 2, 6, 30, 20).fit(density)


def unexplained(columns, by):
    """Norm of what some columns leave of others, relative to the others."""
    fitted = by @ np.linalg.lstsq(by, columns, rcond=1e-13)[0]
    return np.linalg.norm(columns - fitted) / np.linalg.norm(columns)


# ---- nothing is lost ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"method": "cur"}], ids=["pca", "cur"])
def test_without_truncation_the_features_span_those_of_the_recursion(density, options):
    invariants, features = NICE(4, 2, **options).fit(density).transform(density, return_equivariants=True)
    raw = correlations(density, 4, 2, invariants_only=True)
    assert [part.keys() for part in features] == [part.keys() for part in raw[:3]]
    for part, of_recursion in zip(features, raw):
        for key, block in of_recursion.items():
            assert unexplained(block.flatten(0, 1).numpy(), part[key].flatten(0, 1).numpy()) < 1e-10
            assert part.channels[key] <= block.shape[2]
    for made, of_recursion in zip(invariants, raw):
        assert unexplained(of_recursion.invariants().numpy(), made.numpy()) < 1e-10


def test_purified_features_span_the_same_together_with_lower_orders(density):
    _, features = NICE(4, 2, purify=True).fit(density).transform(density, return_equivariants=True)
    raw = correlations(density, 3, 2)
    for order in range(3):
        for key, block in raw[order].items():
            lower = np.concatenate(
                [part[key].flatten(0, 1).numpy() for part in features[: order + 1] if key in part], axis=1
            )
            assert unexplained(block.flatten(0, 1).numpy(), lower) < 1e-10


def test_purified_features_are_uncorrelated_with_lower_orders(density):
    plain, pure = (
        NICE(4, 2, 6, 30, 20, purify=purify).fit(density).transform(density, return_equivariants=True)
        for purify in (False, True)
    )

    def largest_cosine(lower, higher):
        return float((lower.T @ higher / (lower.norm(dim=0)[:, None] * higher.norm(dim=0))).abs().max())

    for (invariants, features), low, high in ((plain, 0.3, 1.0), (pure, 0.0, 1e-4)):
        of_vectors = [part[1, 1].flatten(0, 1) for part in features]
        assert low <= largest_cosine(of_vectors[0], of_vectors[1]) <= high
        assert low <= largest_cosine(invariants[0], invariants[1]) <= high


# ---- symmetry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"purify": True}, {"method": "cur"}], ids=["pca", "purified", "cur"])
def test_truncated_features_rotate_and_invert_like_their_keys(vectors, density, options):
    nice = NICE(4, 2, 6, 30, 20, **options).fit(density)
    invariants, features = nice.transform(density, return_equivariants=True)
    for rotation in (Rotation.random(random_state=1).as_matrix(), -np.eye(3)):
        moved_invariants, moved = nice.transform(densities(vectors @ rotation.T), return_equivariants=True)
        for before, after in zip(invariants, moved_invariants):
            torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
        for before, after in zip(features, moved):
            torch.testing.assert_close(after.packed, before.rotated(rotation).packed, rtol=0, atol=1e-12)


def test_a_mean_taken_off_vectors_breaks_the_rotation(vectors, density):
    rotation = Rotation.random(random_state=2).as_matrix()
    lopsided = densities(vectors + [0.3, 0, 0])  # an average that has a direction
    pca = EquivariantPCA().fit(Equivariants.from_density(lopsided))
    mean = {key: block.mean(dim=0) for key, block in Equivariants.from_density(lopsided).items()}

    def centred(density):
        blocks = Equivariants.from_density(density)
        return pca.transform(Equivariants({key: block - mean[key] for key, block in blocks.items()}))

    before, after = (centred(densities(one)) for one in (vectors, vectors @ rotation.T))
    assert (after[1, 0] - before[1, 0]).abs().max() < 1e-12  # scalars may
    assert (after[1, 1] - before.rotated(rotation)[1, 1]).abs().max() > 1e-3


def test_pseudoscalars_taken_for_scalars_fail_inversion(vectors, density):
    nice = NICE(4, 2, 6, 30, 20).fit(density)
    (_, before), (_, after) = (nice.transform(densities(one), return_equivariants=True) for one in (vectors, -vectors))
    scale = before[2][-1, 0].abs().max()
    assert (after[2][-1, 0] - before[2][-1, 0]).abs().max() > scale
    torch.testing.assert_close(after[2][-1, 0], -before[2][-1, 0], rtol=0, atol=float(1e-12 * scale))


# ---- body order -----------------------------------------------------------------------------------------------------


def body_order_targets(vectors):
    """Polynomials of the density of degree 1 to 4, as unrestricted sums over neighbours (samples, 4)."""
    r = np.linalg.norm(vectors, axis=2)
    u = vectors / r[..., None]
    f = np.exp(-2 * (r - 1) ** 2) * 0.5 * (1 + np.cos(np.pi * r / CUTOFF))
    cross = np.cross(u[:, :, None], u[:, None])
    ff = f[:, :, None] * f[:, None]
    return np.stack(
        [
            f.sum(axis=1),
            np.einsum("sjk,sjk->s", ff, np.einsum("sja,ska->sjk", u, u) ** 2),
            np.einsum("sj,skl,sjkl->s", f, ff, np.einsum("sja,skla->sjkl", u, cross) ** 2),
            np.einsum("sjk,slm,sjklm->s", ff, ff, np.einsum("sjka,slma->sjklm", cross, cross) ** 2),
        ],
        axis=1,
    )


def residuals(invariants, targets, n_train):
    """Relative error (orders, targets) on the samples after the first ``n_train`` of fits to these."""
    table = []
    for order in range(1, len(invariants) + 1):
        columns = np.concatenate([np.ones((len(targets), 1)), *invariants[:order]], axis=1)
        weights = np.linalg.lstsq(columns[:n_train], targets[:n_train], rcond=1e-13)[0]
        error = (columns @ weights - targets)[n_train:]
        table.append(np.sqrt((error**2).mean(axis=0)) / targets[n_train:].std(axis=0))
    return np.array(table)


@pytest.fixture(scope="module")
def body_orders():
    vectors = random_vectors(600, seed=3)
    return densities(vectors), body_order_targets(vectors)


def test_order_nu_holds_the_functions_of_nu_neighbours_and_no_more(body_orders):
    density, targets = body_orders
    table = residuals(NICE(4, 2).fit(density[:400]).transform(density), targets, 400)
    assert (table[np.tril_indices(4)] < 1e-9).all()
    assert (table[np.triu_indices(4, 1)] > 0.05).all()


def test_a_recursion_of_invariants_only_has_no_angles(body_orders):
    density, targets = body_orders
    first = Equivariants.from_density(density)
    scalars = [first]
    for _ in range(3):
        scalars.append(product(scalars[-1].restricted([(1, 0)]), first.restricted([(1, 0)])))
    table = residuals([part.invariants() for part in scalars], targets, 400)
    assert table[0, 0] < 1e-9
    assert (table[1:, 1] > 0.1).all()


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_importances_are_amplitudes_and_components_are_uncorrelated(density, nice):
    _, features = nice.transform(density, return_equivariants=True)
    for part, importances in zip(features, nice.importances):
        assert part.keys() == importances.keys()
        for key, block in part.items():
            matrix = covariance([block])
            torch.testing.assert_close(matrix.diagonal().sqrt(), importances[key], rtol=1e-9, atol=0)
            torch.testing.assert_close(matrix, torch.diag(matrix.diagonal()), rtol=0, atol=1e-12)
            assert (importances[key].diff() <= 0).all()


def test_discarded_variance_is_what_is_missing_and_falls_with_the_budget(density):
    discarded = []
    for n_components in (2, 4, 8):
        nice = NICE(3, 2, n_components).fit(density)
        discarded.append(nice.discarded_variance[1][1, 1])
        _, features = nice.transform(density, return_equivariants=True)
        kept = float((features[1][1, 1] ** 2).mean(dim=(0, 1)).sum())
        assert kept / float(nice.spectra[1][1, 1].sum()) == pytest.approx(1 - discarded[-1], rel=1e-9)
    assert discarded[0] > discarded[1] > discarded[2]


def test_no_other_combinations_keep_more_variance():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 3, 8, generator=generator, dtype=torch.float64) * torch.linspace(1, 3, 8)
    matrix = covariance([rows[:20], rows[20:]])
    torch.testing.assert_close(matrix, torch.einsum("smi,smj->ij", rows, rows) / 150)
    kept = principal_components(matrix, 3)
    variance = torch.trace(kept.weights.T @ matrix @ kept.weights)
    assert kept.discarded == pytest.approx(1 - float(variance / matrix.trace()))
    largest = kept.weights.abs().argmax(dim=0)
    assert (kept.weights[largest, range(3)] > 0).all()
    for _ in range(20):
        other = torch.linalg.qr(torch.randn(8, 3, generator=generator, dtype=torch.float64))[0]
        assert torch.trace(other.T @ matrix @ other) < variance


def test_chosen_channels_skip_those_that_depend_on_others():
    generator = torch.Generator().manual_seed(1)
    independent = torch.randn(40, 3, 3, generator=generator, dtype=torch.float64)
    dependent = independent @ torch.randn(3, 4, generator=generator, dtype=torch.float64)
    rows = torch.cat([independent[:, :, :2], dependent, independent[:, :, 2:]], dim=2)
    matrix = covariance([rows])
    kept = chosen_channels(matrix)
    assert len(kept.chosen) == 3
    two = chosen_channels(matrix, 2)
    chosen, others = (rows[:, :, columns].flatten(0, 1).numpy() for columns in (two.chosen, slice(None)))
    assert two.discarded == pytest.approx(unexplained(others, chosen) ** 2, rel=1e-6)
    torch.testing.assert_close(two.importances, matrix.diagonal().sqrt()[two.chosen])


def test_screening_keeps_the_products_of_largest_scores():
    generator = torch.Generator().manual_seed(2)
    first = {(s, l): torch.rand(4, generator=generator) for l in range(3) for s in (1, -1)}
    density = {(1, l): torch.rand(3, generator=generator) for l in range(3)}
    kept = best_products(first, density, 17, -1)
    everything = best_products(first, density, None, -1)

    def scores(groups):
        return torch.cat([first[g.key][g.pairs[:, 0]] * density[1, g.angular][g.pairs[:, 1]] for g in groups]).sort(
            descending=True
        )[0]

    assert len(scores(everything)) == 3 * 3 * 12
    torch.testing.assert_close(scores(kept), scores(everything)[:17], rtol=0, atol=0)
    assert all(group.key[0] == -1 for group in everything)
    assert {(g.key[1], g.angular) for g in best_products(first, density, None, 1, invariants=True)} == {
        (l, l) for l in range(3)
    }
    squares = best_products(density, density, None, 1, symmetric=True)
    assert sum(len(group.pairs) for group in squares) == 9 * 10 / 2


def test_budgets_bound_every_block_and_every_order(density, nice):
    invariants, features = nice.transform(density, return_equivariants=True)
    assert all(channels <= 6 for part in features for channels in part.channels.values())
    assert [made.shape[1] for made in invariants] == [2, 9, 20, 20]
    assert [part.keys() for part in features[1:]] == [{(1, 0), (1, 1), (-1, 1), (1, 2), (-1, 2)}, {*features[2]}]
    assert (-1, 0) in features[2]


def test_pca_of_equivariants_keeps_labels_of_symmetry(density):
    features = correlations(density, 2, 2)[1]
    pca = EquivariantPCA(3).fit(features)
    made = pca.transform(features)
    assert made.keys() == features.keys()
    assert set(made.channels.values()) == {2, 3}  # two axial vectors are all there are
    for key, block in made.items():
        torch.testing.assert_close(block, features[key] @ pca.contractions[key].weights)


# ---- numbers in, numbers out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"purify": True}], ids=["plain", "purified"])
def test_gradients_agree_with_central_differences(density, options):
    nice = NICE(4, 2, 6, 30, 20, **options).fit(density)
    generator = torch.Generator().manual_seed(3)
    here = density[:3].clone().requires_grad_()
    weights = [torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in nice.transform(here)]

    def value(density):
        return sum((w * part).sum() for w, part in zip(weights, nice.transform(density)))

    (gradient,) = torch.autograd.grad(value(here), here)
    step, direction = 1e-5, torch.randn(here.shape, generator=generator, dtype=here.dtype)
    with torch.no_grad():
        slope = (value(here + step * direction) - value(here - step * direction)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-7)


@pytest.mark.parametrize("options", [{}, {"purify": True}, {"method": "cur"}], ids=["pca", "purified", "cur"])
def test_a_state_that_was_written_and_read_gives_the_same_bits(density, tmp_path, options):
    nice = NICE(4, 2, 6, 30, 20, **options).fit(density)
    np.savez(tmp_path / "nice.npz", **nice.state_dict())
    with np.load(tmp_path / "nice.npz", allow_pickle=False) as state:
        again = NICE.from_state_dict(dict(state))
    for before, after in zip(nice.transform(density), again.transform(density), strict=True):
        assert torch.equal(before, after)
    assert again.discarded_variance == nice.discarded_variance
    for name in ("importances", "spectra"):
        for before, after in zip(getattr(nice, name), getattr(again, name), strict=True):
            assert before.keys() == after.keys()
            assert all(torch.equal(before[key], after[key]) for key in before)


def test_batches_do_not_matter(density):
    one, many = (NICE(3, 2, 6, 30, 20, batch_size=size).fit(density).transform(density) for size in (1000, 37))
    for whole, parts in zip(one, many):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-11)


def test_an_atom_alone_has_zero_features(nice):
    invariants, features = nice.transform(torch.zeros(1, 9, 2, dtype=torch.float64), return_equivariants=True)
    assert all(not part.any() for part in invariants)
    assert all(not part.packed.any() for part in features)


def test_planar_environments_have_no_pseudoscalars():
    flat = random_vectors(60, seed=4) * [1.0, 1.0, 0.0]
    _, features = NICE(4, 2).fit(densities(flat)).transform(densities(flat), return_equivariants=True)
    assert (-1, 0) not in features[2]
    assert (-1, 1) in features[2]  # axial vectors along z


def test_order_one_is_the_density_itself(density):
    (invariants,) = NICE(1, 2).fit(density).transform(density)
    assert unexplained(density[:, 0].numpy(), invariants.numpy()) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_order": 0}, "max_order is 0; accepted is a whole number, at least 1"),
        ({"max_angular": -1}, "max_angular is -1"),
        ({"n_components": 0}, "n_components is 0"),
        ({"n_expand": 2.5}, "n_expand is 2.5"),
        ({"n_invariants": -3}, "n_invariants is -3"),
        ({"method": "svd"}, "method is 'svd'; accepted are pca, cur"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_parameters_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        NICE(**{"max_order": 3, "max_angular": 2, **arguments})


def test_densities_that_do_not_fit(density, nice):
    with pytest.raises(ValueError, match=r"density has degrees up to 1; accepted is max_angular 2"):
        nice.transform(density[:, :4])
    with pytest.raises(ValueError, match=r"density has 1 channels of l = 0; accepted are 2, as in the fit"):
        nice.transform(density[:, :, :1])
    without = Equivariants.from_density(density).restricted([(1, 0), (1, 2)])
    for call in (nice.transform, NICE(2, 2).fit):
        with pytest.raises(KeyError, match=r"\(1, 1\)"):
            call(without)
    with pytest.raises(ValueError, match=r"n_components is 6.*\(sigma, l\) = \(1, 0\) are up to 4, as 4 samples"):
        NICE(3, 2, 6).fit(density[:4])
    with pytest.raises(ValueError, match="density is zero"):
        NICE(3, 2).fit(torch.zeros(5, 9, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="density has 5 samples; accepted are some, all of them finite"):
        NICE(3, 2).fit(torch.full((5, 9, 2), torch.nan, dtype=torch.float64))
    for call in (lambda: NICE(3, 2).transform(density), NICE(3, 2).state_dict):
        with pytest.raises(ValueError, match="accepted is a call of fit before"):
            call()
    with pytest.raises(ValueError, match="accepted is that of a fitted NICE"):
        NICE.from_state_dict({"coefficients": np.zeros(3)})
