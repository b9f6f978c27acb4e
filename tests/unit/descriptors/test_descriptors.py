"""Descriptors: invariances, derivatives, limits, labels, pooling, bad input."""

import dataclasses

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matterscape.basis import LaplacianEigenstates, Step
from matterscape.descriptors import PowerSpectrum, RadialSpectrum, SphericalExpansion, forces
from matterscape.descriptors._density_operators import density_expansion, density_pull_back, density_push_forward
from matterscape.descriptors._power_spectrum_operators import (
    n_features,
    power_spectrum,
    power_spectrum_bilinear,
    power_spectrum_contraction,
)
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SMALL = {"cutoff": 3.5, "max_radial": 3, "max_angular": 2, "smearing": 0.4}


@pytest.fixture
def frames():
    crystal = bulk("SiC", "zincblende", a=4.36, cubic=True)
    crystal.rattle(0.1, seed=5)
    return [crystal, molecule("CH3CH2OH"), bulk("Si")]


@pytest.fixture
def structures(frames):
    return Structures.from_ase(frames)


@pytest.fixture
def soap(structures):
    return PowerSpectrum(structures.unique_species, **SMALL)


@pytest.fixture
def operands(structures):
    """Arguments of the density operators for the batch, gradients wanted."""
    expansion = SphericalExpansion(structures[1].unique_species, **SMALL)
    ethanol = structures[1]
    pairs = ethanol.pairs(expansion.cutoff)
    centres = expansion._species_index(ethanol)
    vectors = pairs.vectors.detach().requires_grad_()
    weights = expansion._weights(pairs.vectors).detach().requires_grad_()
    return vectors, weights, expansion._fixed(centres, pairs.second, pairs.offsets, ethanol)


def test_density_operators_equal_their_references(operands):
    vectors, weights, fixed = operands
    density = density_expansion(vectors, weights, *fixed)
    gradient, tangents = torch.randn_like(density), torch.randn_like(vectors)
    cases = (
        (density_expansion, (vectors, weights, *fixed)),
        (density_pull_back, (gradient, vectors, weights, *fixed)),
        (density_push_forward, (tangents, torch.randn_like(weights), vectors, weights, *fixed)),
    )
    for operator, arguments in cases:
        with torch.no_grad():
            torch.testing.assert_close(operator(*arguments), operator.reference(*arguments), rtol=1e-11, atol=1e-12)
        detached = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
        torch.library.opcheck(operator.torch_operator, detached)


def test_density_derivatives_by_finite_differences(operands):
    vectors, weights, (channels, offsets, *fixed) = operands
    few = int(offsets[2])  # two atoms are enough
    arguments = (channels[:few], offsets[:3], *fixed)
    leaves = tuple(t.detach()[:few].clone().requires_grad_() for t in (vectors, weights))
    assert torch.autograd.gradcheck(lambda v, w: density_expansion(v, w, *arguments), leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v, w: density_expansion(v, w, *arguments), leaves, fast_mode=True)


def test_power_spectrum_operators_equal_their_references_and_derivatives():
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, 9, 4, dtype=torch.float64, generator=random).requires_grad_() for _ in range(2))
    gradient = torch.randn(3, n_features(4, 2), dtype=torch.float64, generator=random).requires_grad_()
    for operator, arguments in (
        (power_spectrum, (a, 2)),
        (power_spectrum_bilinear, (a, b, 2)),
        (power_spectrum_contraction, (gradient, a, 2)),
    ):
        torch.testing.assert_close(operator(*arguments), operator.reference(*arguments), rtol=1e-13, atol=1e-13)
        assert torch.autograd.gradcheck(operator, arguments, fast_mode=True)
        assert torch.autograd.gradgradcheck(operator, arguments, fast_mode=True)
        torch.library.opcheck(operator.torch_operator, arguments)


def test_power_spectrum_of_one_neighbour_is_the_legendre_kernel():
    """Two environments of a centre and one neighbour: sum over l of features is a Legendre series of the angle."""
    soap = PowerSpectrum([1], cutoff=3.0, max_radial=2, max_angular=4, centre_weight=0.0)
    expansion = soap.expansion
    positions = torch.tensor([[0.0, 0, 0], [0.9, 0, 0]], dtype=torch.float64)
    pair = Structures(
        positions, torch.tensor([1, 1]), torch.zeros(2, dtype=torch.int64), torch.zeros(1, 3, 3).double(),
        torch.zeros(1, 3, dtype=torch.bool),
    )  # fmt: skip
    radial = torch.from_numpy(expansion.spline.evaluate(np.array([0.9]))).reshape(5, 2)
    features = soap(pair)[0]
    columns = soap.columns
    for feature, label in zip(features, columns):
        l = label["l"]
        expected = radial[l, label["n_1"]] * radial[l, label["n_2"]] * (-1) ** l * np.sqrt(2 * l + 1) / (4 * np.pi)
        assert feature.item() == pytest.approx(expected.item() * (1 if label["n_1"] == label["n_2"] else np.sqrt(2)))


@pytest.mark.parametrize("improper", [False, True])
def test_features_are_invariant_and_forces_turn_along(frames, soap, improper):
    rotation = Rotation.random(rng=1).as_matrix() * (-1 if improper else 1)
    random = np.random.default_rng(2)
    turned, orders = [], []
    for atoms in frames:
        copy = atoms.copy()
        copy.set_cell(atoms.cell[:] @ rotation.T)
        copy.positions = atoms.positions @ rotation.T + random.normal(size=3)
        order = random.permutation(len(atoms))
        turned.append(copy[order])
        orders.append(order)
    weights = torch.randn(soap.n_features, dtype=torch.float64)
    before, after = (Structures.from_ase(f).with_gradients() for f in (frames, turned))
    results = []
    for batch in (before, after):
        features = soap(batch)
        results.append((features.detach(), forces(torch.tanh(features @ weights).sum(), batch)))
    order = np.concatenate([o + s for o, s in zip(orders, before.offsets[:-1].numpy())])
    torch.testing.assert_close(results[1][0], results[0][0][order], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(results[1][1], results[0][1][order] @ torch.from_numpy(rotation).T, rtol=1e-8, atol=1e-9)


def test_expansion_turns_with_wigner_matrices(frames):
    from matterscape.basis import wigner_matrices

    structures = Structures.from_ase(frames[1])
    expansion = SphericalExpansion(structures.unique_species, **SMALL)
    rotation = Rotation.random(rng=4)
    turned = frames[1].copy()
    turned.positions = rotation.apply(turned.positions)
    before, after = expansion(structures), expansion(Structures.from_ase(turned))
    for l, matrix in enumerate(wigner_matrices(rotation, expansion.max_angular)):
        rows = slice(l * l, (l + 1) ** 2)
        expected = torch.einsum("mk,ikc->imc", torch.as_tensor(matrix), before[:, rows])
        torch.testing.assert_close(after[:, rows], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", [PowerSpectrum, RadialSpectrum])
def test_forces_stress_and_jacobians_agree_with_finite_differences(frames, kind, normalise):
    hypers = SMALL if kind is PowerSpectrum else {k: v for k, v in SMALL.items() if k != "max_angular"}
    crystal = Structures.from_ase(frames[0])
    descriptor = kind(crystal.unique_species, normalise=normalise, **hypers)
    weights = torch.randn(descriptor.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def energy(batch):
        return (descriptor(batch) @ weights).sum()

    moving = crystal.with_gradients(strain=True)
    force, stress = forces(energy(moving), moving, stress=True)
    torch.testing.assert_close(force.sum(0), torch.zeros(3).double(), rtol=0, atol=1e-10)
    dense = descriptor.jacobian(crystal).to_dense()
    torch.testing.assert_close(-torch.einsum("ikxf,f->kx", dense, weights), force, rtol=1e-9, atol=1e-10)
    (pooled,) = descriptor.pooled_jacobian(crystal)
    torch.testing.assert_close(-(pooled @ weights).reshape(-1, 3), force, rtol=1e-9, atol=1e-10)

    step = 1e-5
    for atom, x in ((0, 0), (5, 2)):
        shift = torch.zeros_like(crystal.positions)
        shift[atom, x] = step
        plus, minus = (energy(_moved(crystal, sign * shift)) for sign in (1, -1))
        assert ((minus - plus) / (2 * step)).item() == pytest.approx(force[atom, x].item(), rel=1e-6, abs=1e-7)
    for x, y in ((0, 0), (0, 1), (2, 1)):
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[x, y] += step / 2
        strain[y, x] += step / 2
        plus, minus = (
            energy(_moved(crystal, sign * crystal.positions @ strain, sign * crystal.cells @ strain))
            for sign in (1, -1)
        )
        expected = ((plus - minus) / (2 * step) / crystal.volumes[0]).item()
        assert stress[0, x, y].item() == pytest.approx(expected, rel=1e-5, abs=1e-8)


def _moved(structures, shift, strain=0.0):
    return Structures(
        structures.positions + shift,
        structures.species,
        structures.structure_index,
        structures.cells + strain,
        structures.pbc,
    )


def test_force_training_gradient_and_exact_hessian(structures, soap):
    """d(loss on forces)/d(weights) with and without the shortcut; d(forces)/d(positions) by finite differences."""
    ethanol = structures[1]
    weights = torch.randn(soap.n_features, dtype=torch.float64).requires_grad_()
    gradients = []
    for training in (True, False):
        moving = ethanol.with_gradients()
        energy = torch.tanh(soap(moving) @ weights).sum()
        if training:
            force = forces(energy, moving, training=True)
        else:
            force = -torch.autograd.grad(energy, moving.positions, create_graph=True)[0]
        gradients.append(torch.autograd.grad((force**2).sum(), weights, retain_graph=not training)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)

    (row,) = torch.autograd.grad(force[3, 1], moving.positions)
    step = 1e-5
    for atom, x in ((3, 1), (0, 2)):
        shift = torch.zeros_like(ethanol.positions)
        shift[atom, x] = step
        values = []
        for sign in (1, -1):
            batch = _moved(ethanol, sign * shift).with_gradients()
            values.append(forces(torch.tanh(soap(batch) @ weights.detach()).sum(), batch)[3, 1])
        assert ((values[0] - values[1]) / (2 * step)).item() == pytest.approx(row[atom, x].item(), rel=1e-5, abs=1e-6)


def test_batch_and_blocks_equal_single_structures(structures, soap, monkeypatch):
    together = soap(structures)
    torch.testing.assert_close(together, torch.cat([soap(structures[k]) for k in range(3)]), rtol=1e-12, atol=1e-13)
    monkeypatch.setattr("matterscape.descriptors.soap.BLOCK_BYTES", 8 * 10 * soap.n_features)  # about ten atoms
    for pooling, expected in (("sum", together[8:17].sum(0)), ("mean", together[8:17].mean(0))):
        torch.testing.assert_close(soap(structures, pooling=pooling)[1], expected, rtol=1e-12, atol=1e-13)


def test_known_pairs_are_used_and_differentiated(structures, soap):
    pairs = structures.pairs(soap.expansion.cutoff)
    pairs = dataclasses.replace(pairs, vectors=pairs.vectors.detach().requires_grad_())
    rows = soap(structures, pairs=pairs)
    assert torch.equal(rows, soap(structures))
    assert torch.equal(soap(structures, pairs=pairs, pooling="sum"), soap(structures, pooling="sum"))
    weights = torch.linspace(-1, 1, soap.n_features, dtype=torch.float64)
    (slopes,) = torch.autograd.grad((rows @ weights).sum(), pairs.vectors)
    batch = structures.with_gradients()
    expected = forces((soap(batch) @ weights).sum(), batch)
    total = torch.zeros_like(expected).index_add(0, pairs.first, slopes).index_add(0, pairs.second, -slopes)
    assert torch.allclose(total, expected, rtol=0, atol=1e-12)


def test_columns_describe_the_features(structures, soap):
    columns = soap.columns
    assert len(columns) == soap.n_features == soap(structures).shape[1] == 3 * (12 * 13) // 2
    assert len(np.unique(columns)) == len(columns)
    carbon_only = soap(structures)[:, torch.from_numpy((columns["species_1"] == 6) & (columns["species_2"] == 6))]
    assert bool((carbon_only[-2:] == 0).all())  # pure silicon has no carbon density
    assert bool((carbon_only[:4].abs().sum(1) > 0).all())
    radial = RadialSpectrum([6, 1], cutoff=3.0, max_radial=2)
    assert radial.columns.tolist() == [(1, 0), (1, 1), (6, 0), (6, 1)]
    assert SphericalExpansion([1], **SMALL).components.tolist()[:4] == [(0, 0), (1, -1), (1, 0), (1, 1)]


def test_features_vanish_smoothly_at_the_cutoff():
    soap = PowerSpectrum([1], cutoff=2.0, max_radial=2, max_angular=1, centre_weight=0.0)
    dimer = Structures.from_ase(molecule("H2"))

    def norm(distance):
        positions = torch.tensor([[0.0, 0, 0], [0, 0, distance]], dtype=torch.float64)
        return soap(_moved(dimer, positions - dimer.positions)).norm().item()

    assert norm(2.0 + 1e-9) == 0 < norm(1.999) < 1e-8 < norm(1.5)
    sharp = PowerSpectrum([1], cutoff=2.0, max_radial=2, max_angular=1, centre_weight=0.0, cutoff_function=Step(2.0))
    assert sharp(_moved(dimer, torch.zeros(2, 3).double())).norm() > 0


def test_normalised_features_have_unit_norm_and_empty_environments_stay_zero():
    lonely = bulk("Ar", cubic=True, a=30.0)
    descriptor = PowerSpectrum([18], normalise=True, centre_weight=0.0, **SMALL)
    assert bool((descriptor(Structures.from_ase(lonely)) == 0).all())
    crystal = Structures.from_ase(bulk("Ar", cubic=True, a=5.0))
    descriptor = PowerSpectrum([18], normalise=True, **SMALL)
    torch.testing.assert_close(descriptor(crystal).norm(dim=1), torch.ones(4).double())


def test_environment_without_neighbours_has_the_centre_only():
    soap = PowerSpectrum([18], **SMALL)
    features = soap(Structures.from_ase(bulk("Ar", cubic=True, a=30.0)))
    assert bool((features[:, soap.columns["l"] > 0] == 0).all())
    assert bool((features[:, soap.columns["l"] == 0].abs().sum(1) > 0).all())


def test_pseudo_species_are_sums_of_densities(structures):
    species = structures.unique_species
    full = SphericalExpansion(species, **SMALL)
    mixing = torch.randn(len(species), 2, dtype=torch.float64)
    compressed = SphericalExpansion(species, species_channels=mixing, **SMALL)
    expected = torch.einsum("imar,ac->imcr", full(structures).unflatten(2, (len(species), 3)), mixing).flatten(2)
    torch.testing.assert_close(compressed(structures), expected, rtol=1e-12, atol=1e-13)
    soap = PowerSpectrum(species, species_channels=mixing, **SMALL)
    assert soap.n_features == 3 * 21 and "channel_1" in soap.columns.dtype.names
    (pooled,) = soap.pooled_jacobian(structures[1])
    moving = structures[1].with_gradients()
    torch.testing.assert_close(-pooled.sum(1).reshape(-1, 3), forces(soap(moving).sum(), moving), rtol=1e-8, atol=1e-9)


def test_single_precision_agrees_and_stays_single(structures, soap):
    single = soap(structures.to(dtype=torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(
        single.double(), soap(structures), rtol=0, atol=2e-6 * float(soap(structures).abs().max())
    )


def test_results_do_not_depend_on_threads_and_repeat_exactly(structures, soap):
    import numba

    from matterscape.kernels import get_threads, set_threads

    before = get_threads()
    results = []
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS, numba.config.NUMBA_NUM_THREADS):
            set_threads(threads)
            moving = structures.with_gradients()
            features = soap(moving)
            results.append((features.detach(), forces(features.square().sum(), moving)))
    finally:
        set_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "cutoff is 0.0; accepted is a finite number greater than 0"),
        ({"cutoff": float("nan")}, "cutoff is nan"),
        ({"max_radial": 0}, "max_radial is 0; accepted is a whole number from 1 to 50"),
        ({"max_angular": 21}, "max_angular is 21; accepted is a whole number from 0 to 20"),
        ({"max_angular": 2.5}, "max_angular is 2.5"),
        ({"smearing": -0.1}, "smearing is -0.1; accepted is a finite number greater than 0"),
        ({"species": [0, 1]}, r"species is \[0, 1\]; accepted is at least one atomic number from 1 to 118"),
        ({"species": []}, r"species is \[\]"),
        ({"species": "H"}, "species is 'H'"),
        ({"centre_weight": float("inf")}, "centre_weight is inf"),
        ({"species_channels": np.ones((3, 2))}, r"species_channels has shape \(3, 2\); accepted is \(2, n_channels\)"),
        ({"species_channels": np.full((2, 1), np.nan)}, "species_channels has values that are not finite"),
        ({"radial_basis": LaplacianEigenstates(4, 3.5)}, "radial_basis has max_radial 4 and cutoff 3.5"),
    ],
)
def test_bad_parameters_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        PowerSpectrum(**({"species": [1, 6]} | SMALL | changes))


def test_bad_calls_are_named(structures, soap):
    with pytest.raises(
        ValueError, match=r"species 14 of structure 0 is unknown to this descriptor; accepted are \[1, 6\]"
    ):
        PowerSpectrum([1, 6], **SMALL)(structures)
    with pytest.raises(ValueError, match="pooling is 'max'; accepted are None, 'sum' and 'mean'"):
        soap(structures, pooling="max")
    with pytest.raises(ValueError, match="structures carries no gradients"):
        forces(soap(structures).sum(), structures)
    moving = structures.with_gradients()
    with pytest.raises(ValueError, match="structures carries no strain"):
        forces(soap(moving).sum(), moving, stress=True)
    moving = structures.with_gradients(strain=True)
    with pytest.raises(ValueError, match="structure 1 has no cell, so its stress is not defined"):
        forces(soap(moving).sum(), moving, stress=True)
