"""Uncertainties of linear and kernel models: dense linear algebra, refits, finite differences, and ensembles."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, DotProduct, Exponentiation

from matterscape.models import KernelRidgeModel, RidgeModel
from matterscape.uq.propagation import propagate

pytestmark = pytest.mark.unit

WIDTHS = torch.tensor([0.7, 1.1, 1.7, 2.6, 4.0], dtype=torch.float64)


def atom_features(positions):
    """Smooth features of atoms: sums of Gaussians of the distances to all others, and a constant."""
    far = torch.eye(len(positions), dtype=torch.float64)[:, :, None] * 1e3
    distances = (positions[:, None] - positions[None] + far).norm(dim=2)
    sums = torch.exp(-((distances[:, :, None] / WIDTHS) ** 2)).sum(1)
    return torch.cat([sums, torch.ones(len(positions), 1, dtype=torch.float64)], dim=1)


def local_jacobian(positions):
    block = torch.autograd.functional.jacobian(atom_features, positions)  # (atom, feature, moved atom, x)
    return block.permute(2, 3, 0, 1).reshape(3 * len(positions), len(positions), -1).numpy()


class Clusters:
    """Clusters of atoms with an energy and forces that no linear model of the features gets quite right."""

    def __init__(self, seed=0, n_structures=40):
        rng = np.random.default_rng(seed)
        self.n_atoms = rng.integers(2, 6, size=n_structures)
        self.positions = [torch.tensor(1.4 * rng.normal(size=(n, 3))) for n in self.n_atoms]
        self.index = np.repeat(np.arange(n_structures), self.n_atoms)
        self.local = torch.cat([atom_features(p) for p in self.positions]).numpy()
        self.summed = np.stack([self.local[self.index == a].sum(0) for a in range(n_structures)])
        self.local_jacobians = [local_jacobian(p) for p in self.positions]
        self.jacobians = [block.sum(1) for block in self.local_jacobians]
        pairs = [self.energy(p.requires_grad_()) for p in self.positions]
        self.forces = np.concatenate([-torch.autograd.grad(e, p)[0].numpy() for e, p in zip(pairs, self.positions)])
        self.energies = np.array([float(e.detach()) for e in pairs])
        self.positions = [p.detach() for p in self.positions]

    @staticmethod
    def energy(positions):
        x = atom_features(positions)
        return (torch.sin(x[:, 1]) + x[:, 0] * x[:, 3] - 3.0).sum()

    def displaced(self, a, component, step):
        """Features of structure a with one coordinate moved forth, then back."""
        shift = torch.zeros(3 * self.n_atoms[a], dtype=torch.float64)
        shift[component] = step
        shift = shift.reshape(-1, 3)
        return [atom_features(self.positions[a] + sign * shift).numpy() for sign in (1, -1)]


@pytest.fixture(scope="module")
def clusters():
    return Clusters()


def fitted_ridge(clusters, with_forces=False, **settings):
    arguments = dict(forces=clusters.forces, jacobians=iter(clusters.jacobians)) if with_forces else {}
    model = RidgeModel(**{"regularisation": 1e-4, "force_weight": 0.3} | settings)
    model.fit(clusters.summed, clusters.energies, n_atoms=clusters.n_atoms, **arguments)
    model.variance_scale = 0.37
    return model


# ---- linear models ---------------------------------------------------------------------------------------------------


def regression_rows(n_samples, n_features, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_samples, n_features)) * np.linspace(0.3, 2.0, n_features) + 0.8


@pytest.mark.parametrize("scaling", ["global", "column"])
@pytest.mark.parametrize("n_samples", [60, 9])  # more and fewer samples than features
def test_covariance_is_that_of_the_penalised_normal_equations(n_samples, scaling):
    rng = np.random.default_rng(1)
    x, test = regression_rows(n_samples, 14, 2), regression_rows(8, 14, 3)
    species, test_species = rng.integers(1, 5, size=(n_samples, 2)), rng.integers(1, 5, size=(8, 2))
    n_atoms, test_atoms = species.sum(axis=1), test_species.sum(axis=1)
    model = RidgeModel(regularisation=0.02, scaling=scaling)
    model.fit(x, rng.normal(size=n_samples), n_atoms=n_atoms, composition=species)
    model.variance_scale = 1.7

    design = np.concatenate([x / model.scale, species], axis=1) / n_atoms[:, None]
    penalty = np.diag([0.02] * 14 + [0.0, 0.0])
    rows = np.concatenate([test / model.scale, test_species], axis=1)
    expected = 1.7 * rows @ np.linalg.solve(design.T @ design + penalty, rows.T)
    arguments = dict(n_atoms=test_atoms, composition=test_species)
    covariance = model.covariance(test, **arguments)
    np.testing.assert_allclose(covariance, expected, rtol=1e-9, atol=1e-10 * expected.max())
    np.testing.assert_allclose(model.predict_uncertainty(test, **arguments) ** 2, np.diag(covariance), rtol=1e-12)

    pairs = np.array([[0, 1], [5, 2], [3, 3]])
    combine = np.eye(8)[pairs[:, 0]] - np.eye(8)[pairs[:, 1]]
    np.testing.assert_allclose(
        model.difference_uncertainty(test, pairs, **arguments) ** 2,
        np.diag(combine @ expected @ combine.T),
        rtol=1e-8,
        atol=1e-14,
    )


@pytest.mark.parametrize("n_samples", [60, 9])
def test_ensemble_of_a_linear_model_has_its_mean_and_covariance(n_samples):
    x, test = regression_rows(n_samples, 14, 4), regression_rows(6, 14, 5)
    model = RidgeModel(regularisation=0.02).fit(x, np.random.default_rng(6).normal(size=n_samples))
    model.variance_scale = 2.3
    ensemble = model.ensemble(4000, seed=1)
    rows = model.rows(test)
    assert ensemble.weights.shape == (15, 4000)  # features, then the constant
    np.testing.assert_allclose(ensemble.mean(rows), model.predict(test), rtol=1e-10)
    expected = model.covariance(test)
    tolerance = 5 * np.sqrt(2 / 3999) * np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert (np.abs(ensemble.covariance(rows, rows) - expected) < tolerance).all()
    np.testing.assert_array_equal(model.ensemble(4000, seed=1).weights, ensemble.weights)
    assert (model.ensemble(4000, seed=2).weights != ensemble.weights).any()


def test_ensemble_is_propagated_through_anything():
    """A vacancy costs E_vacancy - (N-1)/N E_bulk: members keep the shared error of both, quadrature does not."""
    x = regression_rows(60, 10, 7) + 2.0
    model = RidgeModel(regularisation=0.1).fit(x, x @ np.ones(10) + np.random.default_rng(8).normal(size=60))
    bulk = x[:1].repeat(2, axis=0)
    bulk[1] *= 0.97
    members = model.ensemble(3000, seed=3).members(model.rows(bulk))
    cost = propagate(lambda y: y[1] - 0.97 * y[0], members)
    combination = np.array([-0.97, 1.0])
    assert cost.standard_deviation == pytest.approx(
        np.sqrt(combination @ model.covariance(bulk) @ combination), rel=0.06
    )
    assert cost.standard_deviation < 0.2 * np.linalg.norm(model.predict_uncertainty(bulk) * combination)


def test_uncertainties_are_the_scatter_of_refits_to_noisy_targets(clusters):
    """With next to no penalty, refits to energies and forces with the assumed noise scatter as predicted."""
    rng = np.random.default_rng(9)
    settings = dict(with_forces=True, regularisation=1e-12)
    model = fitted_ridge(clusters, **settings)
    model.variance_scale = 1.0
    energies, forces = [], []
    for _ in range(300):
        noisy = RidgeModel(regularisation=1e-12, force_weight=0.3).fit(
            clusters.summed,
            clusters.energies + clusters.n_atoms * rng.normal(size=40),
            n_atoms=clusters.n_atoms,
            forces=clusters.forces + rng.normal(size=clusters.forces.shape) / 0.3,
            jacobians=iter(clusters.jacobians),
        )
        energies.append(noisy.predict(clusters.summed[:5], n_atoms=clusters.n_atoms[:5]))
        forces.append(np.concatenate(noisy.predict_forces(clusters.jacobians[:3])))
    predicted = model.predict_uncertainty(clusters.summed[:5], n_atoms=clusters.n_atoms[:5])
    np.testing.assert_allclose(np.std(energies, axis=0, ddof=1), predicted, rtol=0.2)
    force_errors = np.concatenate(model.predict_force_uncertainties(clusters.jacobians[:3]))
    scatter = np.std(forces, axis=0, ddof=1)
    np.testing.assert_allclose(scatter, force_errors, rtol=0.25, atol=1e-12)
    assert np.mean(scatter**2) == pytest.approx(np.mean(force_errors**2), rel=0.1)


def test_force_uncertainties_are_finite_differences_of_the_covariance(clusters):
    model, step, a = fitted_ridge(clusters, with_forces=True), 1e-4, 3
    uncertainties = model.predict_force_uncertainties(clusters.jacobians)[a].reshape(-1)
    n_atoms = np.full(2, clusters.n_atoms[a])
    for component in range(len(uncertainties)):
        moved = np.stack([x.sum(0) for x in clusters.displaced(a, component, step)])
        difference = model.difference_uncertainty(moved, [[0, 1]], n_atoms=n_atoms)[0] / (2 * step)
        assert uncertainties[component] == pytest.approx(difference, rel=1e-6)


def test_force_rows_give_the_forces_of_members(clusters):
    model = fitted_ridge(clusters, with_forces=True)
    ensemble = model.ensemble(2000, seed=0)
    rows = model.force_rows(clusters.jacobians[:4])
    for block, forces, deviations in zip(
        rows, model.predict_forces(clusters.jacobians[:4]), model.predict_force_uncertainties(clusters.jacobians[:4])
    ):
        np.testing.assert_allclose(ensemble.mean(block).reshape(-1, 3), forces, rtol=1e-9, atol=1e-10)
        spread = ensemble.standard_deviation(block).reshape(-1, 3)
        np.testing.assert_allclose(spread, deviations, rtol=5 * np.sqrt(1 / 3998))
    # Member k is a potential: its forces are the negative slope of its energy.
    moved = np.stack([x.sum(0) for x in clusters.displaced(2, 4, 1e-4)])
    members = ensemble.members(model.rows(moved, n_atoms=np.full(2, clusters.n_atoms[2])))
    np.testing.assert_allclose((members[1] - members[0]) / 2e-4, ensemble.members(rows[2])[4], rtol=1e-5, atol=1e-6)


def test_a_loaded_model_has_the_same_uncertainties(clusters, tmp_path):
    model = fitted_ridge(clusters, with_forces=True)
    model.save(tmp_path / "model.npz")
    loaded = RidgeModel.load(tmp_path / "model.npz")
    arguments = dict(n_atoms=clusters.n_atoms)
    np.testing.assert_array_equal(
        loaded.covariance(clusters.summed, **arguments), model.covariance(clusters.summed, **arguments)
    )
    np.testing.assert_array_equal(loaded.ensemble(5, 0).weights, model.ensemble(5, 0).weights)


def test_without_a_baseline_the_constant_column_is_empty():
    x = regression_rows(40, 5, 10)
    model = RidgeModel(regularisation=0.1, baseline=False).fit(x, x.sum(axis=1))
    np.testing.assert_array_equal(model.rows(x)[:, 5], 0.0)
    np.testing.assert_allclose(model.ensemble(8, 0).mean(model.rows(x)), model.predict(x), rtol=1e-10)


# ---- kernel models ---------------------------------------------------------------------------------------------------

KERNELS = {
    "gaussian": (dict(kernel="gaussian", width=1.5), RBF(1.5)),
    "polynomial": (
        dict(kernel="polynomial", exponent=3),
        Exponentiation(DotProduct(sigma_0=0.0, sigma_0_bounds="fixed"), 3),
    ),
}


def kernel_samples(kernel, n_samples, seed):
    x = np.random.default_rng(seed).normal(size=(n_samples, 4)) + [2.0, 0.0, 0.0, 0.0]
    return x / np.linalg.norm(x, axis=1, keepdims=True) if kernel == "polynomial" else x


@pytest.mark.parametrize("kernel", KERNELS)
def test_covariance_with_all_points_active_is_that_of_a_gaussian_process(kernel):
    x, test = kernel_samples(kernel, 50, 0), kernel_samples(kernel, 12, 1)
    settings, peer = KERNELS[kernel]
    model = KernelRidgeModel(**settings, n_active=None, regularisation=1e-3, baseline=False)
    model.fit(x, np.sin(x[:, 1]))
    prior = 1e-3 * model.ridge.scale[0] ** 2
    process = GaussianProcessRegressor(peer, alpha=prior, optimizer=None).fit(x, np.sin(x[:, 1]))
    _, expected = process.predict(test, return_cov=True)
    scale = model.ridge.variance_scale / prior
    np.testing.assert_allclose(model.covariance(test), scale * expected, atol=1e-7 * scale)
    np.testing.assert_allclose(np.sqrt(np.diag(model.covariance(test))), model.predict_uncertainty(test), rtol=1e-6)
    pairs = [[0, 1], [7, 3]]
    differences = [expected[i, i] + expected[j, j] - 2 * expected[i, j] for i, j in pairs]
    np.testing.assert_allclose(model.difference_uncertainty(test, pairs) ** 2, scale * np.array(differences), rtol=1e-4)
    assert model.missed_uncertainty(x).max() < 1e-4 * np.sqrt(scale)


def fitted_kernel(clusters, kernel, pooled=False, n_active=6):
    settings = dict(KERNELS[kernel][0], n_active=n_active, regularisation=1e-3, force_weight=0.3)
    model = KernelRidgeModel(**settings)
    if pooled:
        means = clusters.summed / clusters.n_atoms[:, None]
        model.fit(means, clusters.energies, n_atoms=clusters.n_atoms)
    else:
        model.fit(clusters.local, clusters.energies, structure_index=clusters.index)
    model.ridge.variance_scale = 0.6
    return model


@pytest.mark.parametrize("kernel", KERNELS)
def test_ensemble_and_missed_part_add_up(clusters, kernel):
    model = fitted_kernel(clusters, kernel)
    arguments = dict(structure_index=clusters.index)
    ensemble = model.ensemble(3000, seed=0)
    rows = model.rows(clusters.local, **arguments)
    np.testing.assert_allclose(ensemble.mean(rows), model.predict(clusters.local, **arguments), rtol=1e-8)
    known = model.predict_uncertainty(clusters.local, **arguments) ** 2
    missed = model.missed_uncertainty(clusters.local, **arguments) ** 2
    assert missed.max() > 0.01 * known.max()
    np.testing.assert_allclose(ensemble.variance(rows) + missed, known, rtol=5 * np.sqrt(2 / 2999))
    covariance = model.covariance(clusters.local, **arguments)
    np.testing.assert_allclose(np.diag(covariance), known, rtol=1e-6)


def test_members_miss_what_lies_far_from_all_active_points():
    x = kernel_samples("gaussian", 80, 2)
    model = KernelRidgeModel(kernel="gaussian", width=1.0, n_active=20, regularisation=1e-3).fit(x, np.sin(x[:, 1]))
    far = np.array([[40.0, 0.0, 0.0, 0.0]])
    spread = model.ensemble(500, seed=0).standard_deviation(model.rows(far))
    assert spread < 0.1 * model.predict_uncertainty(far)
    assert model.missed_uncertainty(far) == pytest.approx(model.predict_uncertainty(far), rel=0.01)
    assert model.missed_uncertainty(model.active).max() < 1e-3 * model.missed_uncertainty(far)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_force_uncertainties_are_finite_differences_of_the_covariance(clusters, kernel, pooled):
    """With few active points, so that the part which they miss matters."""
    model, step, a = fitted_kernel(clusters, kernel, pooled), 2e-3, 4
    n_atoms = clusters.n_atoms[a]
    if pooled:
        features = clusters.summed[a : a + 1] / n_atoms
        found = model.predict_force_uncertainties(features, [clusters.jacobians[a]])[0].reshape(-1)
    else:
        index = np.zeros(n_atoms, dtype=int)
        features, block = clusters.local[clusters.index == a], clusters.local_jacobians[a]
        found = model.predict_force_uncertainties(features, [block], structure_index=index)[0].reshape(-1)
        spread = model.ensemble(2000, 0).standard_deviation(
            model.force_rows(features, [block], structure_index=index)[0]
        )
        assert (spread < 1.1 * found).all() and (spread < 0.9 * found).any()  # members miss a part here too
    for component in range(3 * n_atoms):
        forth, back = clusters.displaced(a, component, step)
        if pooled:
            moved = np.stack([forth.mean(0), back.mean(0)])
            difference = model.difference_uncertainty(moved, [[0, 1]], n_atoms=np.full(2, n_atoms))
        else:
            moved, index = np.concatenate([forth, back]), np.repeat([0, 1], n_atoms)
            difference = model.difference_uncertainty(moved, [[0, 1]], structure_index=index)
        assert found[component] == pytest.approx(difference[0] / (2 * step), rel=2e-3)


def test_a_linear_kernel_has_the_uncertainties_of_ridge(clusters):
    """The polynomial kernel of exponent one on normalised rows is ridge on these rows; nothing is missed."""
    unit = clusters.local / np.linalg.norm(clusters.local, axis=1, keepdims=True)
    kernel = KernelRidgeModel(exponent=1, n_active=30, regularisation=1e-3)
    kernel.fit(unit, clusters.energies, structure_index=clusters.index)
    ridge = RidgeModel(regularisation=1e-3).fit(unit, clusters.energies, structure_index=clusters.index)
    arguments = dict(structure_index=clusters.index)
    np.testing.assert_allclose(
        kernel.covariance(unit, **arguments), ridge.covariance(unit, **arguments), rtol=1e-5, atol=1e-7
    )
    force_uncertainty = kernel.predict_force_uncertainties(unit, clusters.local_jacobians, **arguments)
    assert np.isfinite(np.concatenate(force_uncertainty)).all()


def test_a_loaded_kernel_model_has_the_same_uncertainties(clusters, tmp_path):
    model = fitted_kernel(clusters, "gaussian")
    model.save(tmp_path / "model.npz")
    loaded = KernelRidgeModel.load(tmp_path / "model.npz")
    arguments = dict(structure_index=clusters.index)
    np.testing.assert_array_equal(
        loaded.covariance(clusters.local, **arguments), model.covariance(clusters.local, **arguments)
    )
    np.testing.assert_array_equal(loaded.ensemble(4, 1).weights, model.ensemble(4, 1).weights)


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_bad_input_meets_a_sentence(clusters):
    ridge, kernel = fitted_ridge(clusters), fitted_kernel(clusters, "gaussian")
    arguments = dict(n_atoms=clusters.n_atoms)
    with pytest.raises(ValueError, match="n_members is 1; accepted is a whole number of members, at least 2"):
        ridge.ensemble(1)
    with pytest.raises(ValueError, match="pairs must be an integer array \\(n_pairs, 2\\)"):
        ridge.difference_uncertainty(clusters.summed, [0, 1], **arguments)
    with pytest.raises(ValueError, match="pairs must name samples from 0 to 39, got 0 to 40"):
        ridge.difference_uncertainty(clusters.summed, [[0, 40]], **arguments)
    with pytest.raises(ValueError, match="pairs must name samples from 0 to 39, got -1"):
        kernel.difference_uncertainty(clusters.local, [[0, -1]], structure_index=clusters.index)
    with pytest.raises(ValueError, match="jacobians must have three rows per atom, got a block of 4 rows"):
        ridge.predict_force_uncertainties([np.ones((4, 6))])
    with pytest.raises(ValueError, match="jacobians must have 6 columns, got 5"):
        ridge.force_rows([np.ones((3, 5))])
    with pytest.raises(ValueError, match="must end in the dimensions"):
        kernel.predict_force_uncertainties(clusters.local, [np.ones((6, 1, 6))], structure_index=clusters.index)
    calls = (
        lambda model: model.ensemble(4),
        lambda model: model.covariance(clusters.local),
        lambda model: model.rows(clusters.local),
    )
    for call in calls:
        for model in (RidgeModel(), KernelRidgeModel()):
            with pytest.raises(ValueError, match="must be fitted before"):
                call(model)
    for call in (RidgeModel().predict_force_uncertainties, RidgeModel().force_rows):
        with pytest.raises(ValueError, match="must be fitted before"):
            call([np.ones((3, 5))])
