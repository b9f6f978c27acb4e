"""Kernel models against exact kernel ridge regression, and their forces against autograd and finite differences."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge

from matterscape.models import KernelRidgeModel, learning_curve

pytestmark = pytest.mark.unit


def smooth_problem(n_samples=70, seed=0):
    x = np.random.default_rng(seed).normal(size=(n_samples, 4)) + [2.0, 0.0, 0.0, 0.0]
    return x, np.sin(x[:, 1]) * x[:, 0] + x[:, 2] ** 2


def atom_features(positions):
    """Smooth features of atoms: sums of Gaussians of the distances to all others."""
    distances = (positions[:, None] - positions[None] + torch.eye(len(positions))[:, :, None] * 1e3).norm(dim=2)
    widths = torch.tensor([0.8, 1.2, 1.8, 2.7, 4.0], dtype=positions.dtype)
    return torch.exp(-((distances[:, :, None] / widths) ** 2)).sum(1) + torch.tensor([0.0, 0, 0, 0, 1])


@pytest.fixture(scope="module")
def molecules():
    rng = np.random.default_rng(1)
    positions = [torch.tensor(1.5 * rng.normal(size=(n, 3))) for n in (3, 4, 5, 4, 3, 6, 5, 4, 3, 5)]
    features = [atom_features(p) for p in positions]
    local = [torch.stack([x[:, 0] * x[:, 2], x[:, 1] ** 2]).sum(0) / x.norm(dim=1) ** 2 for x in features]
    return {
        "positions": positions,
        "features": torch.cat(features).numpy(),
        "index": np.repeat(np.arange(10), [len(p) for p in positions]),
        "energies": np.array([float(e.sum()) - 50.0 * len(e) for e in local]),
    }


def local_jacobians(molecules):
    for p in molecules["positions"]:
        block = torch.autograd.functional.jacobian(atom_features, p)  # (atom, feature, moved atom, x)
        yield block.permute(2, 3, 0, 1).reshape(3 * len(p), len(p), 5)


@pytest.mark.parametrize("kernel", ["polynomial", "gaussian"])
def test_with_all_points_active_it_is_exact_kernel_ridge(kernel):
    x, y = smooth_problem()
    test = smooth_problem(20, seed=1)[0]
    settings = dict(regularisation=1e-3, baseline=False, n_active=None)
    model = KernelRidgeModel(kernel=kernel, exponent=3, width=1.5, **settings).fit(x, y)
    if kernel == "gaussian":
        peer = KernelRidge(alpha=1e-3, kernel="rbf", gamma=1 / (2 * 1.5**2)).fit(x, y).predict(test)
    else:
        unit, unit_test = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, test))
        peer = KernelRidge(alpha=1e-3, kernel="poly", degree=3, gamma=1.0, coef0=0.0).fit(unit, y).predict(unit_test)
    np.testing.assert_allclose(model.predict(test), peer, rtol=1e-7, atol=1e-8)


def test_a_growing_active_set_approaches_the_exact_model():
    x, y = smooth_problem(150)
    test, truth = smooth_problem(60, seed=1)
    settings = dict(kernel="gaussian", width=2.0, regularisation=1e-6)
    exact = KernelRidgeModel(n_active=None, **settings).fit(x, y).predict(test)
    deviations = []
    for n_active in (10, 40, 120):
        model = KernelRidgeModel(n_active=n_active, **settings).fit(x, y)
        assert model.active.shape == (n_active, 4)
        deviations.append(np.std(model.predict(test) - exact))
    assert deviations[0] > 1.5 * deviations[1] and deviations[1] > 4 * deviations[2]
    assert np.std(exact - truth) < 0.1 * np.std(truth)


def test_scale_of_the_features_does_not_matter():
    x, y = smooth_problem()
    first = KernelRidgeModel(kernel="gaussian", n_active=30).fit(x, y).predict(x)
    second = KernelRidgeModel(kernel="gaussian", n_active=30).fit(1e3 * x, y).predict(1e3 * x)
    np.testing.assert_allclose(second, first, rtol=1e-6)
    rows = np.random.default_rng(0).uniform(0.1, 10, size=(70, 1))  # the polynomial kernel sees directions only
    first = KernelRidgeModel(n_active=None).fit(x, y).predict(x)
    np.testing.assert_allclose(KernelRidgeModel(n_active=None).fit(rows * x, y).predict(x), first, rtol=1e-6)


def test_cross_validated_regularisation_and_rigidity():
    x, y = smooth_problem(100)
    y = y + 0.3 * np.random.default_rng(3).normal(size=100)
    model = KernelRidgeModel(kernel="gaussian", n_active=60).fit(x, y)
    path = model.regularisation_path
    assert 0 < path.best < len(path.rmse) - 1 and not path.at_edge
    assert path.rmse[path.best] < 0.8 * path.rmse[0]  # too little regularisation fits the noise
    curve = learning_curve(x, y, [20, 80], n_seeds=3, make_model=lambda: KernelRidgeModel(kernel="gaussian"))
    assert curve.mean[1] < curve.mean[0]


def test_calibration_counts_what_the_active_points_miss():
    x, y = smooth_problem(120)
    model = KernelRidgeModel(kernel="gaussian", n_active=10, regularisation=1e-3).fit(x[:60], y[:60])
    assert model.ridge.variance_scale == 1.0
    scale = model.calibrate(x[60:], y[60:])
    ratios = (model.predict(x[60:]) - y[60:]) / model.predict_uncertainty(x[60:])
    assert np.mean(ratios**2) == pytest.approx(1.0, rel=1e-10)
    assert model.ridge.variance_scale == scale != 1.0
    with pytest.raises(ValueError, match="targets must have one number for each of the 60 samples"):
        model.calibrate(x[60:], y)


@pytest.mark.parametrize("n_active", [None, 15])
def test_rigidity_is_that_of_a_gaussian_process(n_active):
    """Exact posterior variance with all points active; never zero far from the data with a few."""
    x, y = smooth_problem(40)
    test = np.concatenate([smooth_problem(20, seed=1)[0], x[:5] + 50.0])
    settings = dict(kernel="gaussian", width=1.5, regularisation=1e-2, baseline=False)
    model = KernelRidgeModel(n_active=n_active, **settings).fit(x, y)
    noise = 1e-2 * model.ridge.scale[0] ** 2
    variance = noise / model.rigidity(test)
    np.testing.assert_allclose(variance[-5:], 1.0, rtol=1e-6)
    process = GaussianProcessRegressor(RBF(1.5), alpha=noise, optimizer=None).fit(x, y)
    exact = process.predict(test, return_std=True)[1] ** 2
    if n_active is None:
        np.testing.assert_allclose(variance, exact, rtol=1e-6)
    else:
        assert (variance > 0.5 * exact).all()
    one_each = model.rigidity(test, structure_index=None)
    index = np.arange(len(test))
    summed = KernelRidgeModel(n_active=n_active, **settings).fit(x, y, structure_index=np.arange(40))
    np.testing.assert_allclose(summed.rigidity(test, structure_index=index), one_each, rtol=1e-7)


@pytest.mark.parametrize("kernel", ["polynomial", "gaussian"])
def test_forces_of_local_contributions(molecules, kernel):
    """Jacobian rows, autograd through ``energy`` and finite differences of ``predict`` agree."""
    model = KernelRidgeModel(kernel=kernel, n_active=15, regularisation=1e-6)
    model.fit(molecules["features"], molecules["energies"], structure_index=molecules["index"])
    rows = model.predict_forces(molecules["features"], local_jacobians(molecules), structure_index=molecules["index"])
    for a in (0, 5):
        positions = molecules["positions"][a].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.energy(atom_features(positions)).sum(), positions)
        np.testing.assert_allclose(rows[a], -gradient.numpy(), rtol=1e-8, atol=1e-10)

    def energy(positions):
        x = atom_features(positions)
        return model.predict(x, structure_index=np.zeros(len(x), int))[0]

    shift = torch.zeros(3, 3, dtype=torch.float64)
    shift[1, 2] = 1e-4
    p = molecules["positions"][0]
    assert rows[0][1, 2] == pytest.approx((energy(p - shift) - energy(p + shift)) / 2e-4, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kernel", ["polynomial", "gaussian"])
def test_forces_of_whole_structures(molecules, kernel):
    counts = np.bincount(molecules["index"])
    means = np.stack([molecules["features"][molecules["index"] == a].mean(axis=0) for a in range(10)])
    pooled = (block.sum(dim=1) for block in local_jacobians(molecules))
    model = KernelRidgeModel(kernel=kernel, n_active=None, regularisation=1e-6)
    model.fit(means, molecules["energies"], n_atoms=counts)
    forces = model.predict_forces(means, pooled)
    p = molecules["positions"][3]
    shift = torch.zeros_like(p)
    shift[2, 0] = 1e-4
    energies = [
        model.predict(atom_features(q).mean(0, keepdim=True), n_atoms=[len(p)])[0] for q in (p - shift, p + shift)
    ]
    assert forces[3][2, 0] == pytest.approx((energies[0] - energies[1]) / 2e-4, rel=1e-5, abs=1e-8)


def test_training_on_forces_reproduces_them(molecules):
    """With forces of a law inside the kernel's reach, ten energies suffice to learn all forces."""
    truth = []
    for p in molecules["positions"]:
        q = p.clone().requires_grad_()
        x = atom_features(q)
        energy = ((x[:, 0] * x[:, 2] + x[:, 1] ** 2) / x.norm(dim=1) ** 2).sum()
        truth.append(-torch.autograd.grad(energy, q)[0].numpy())
    model = KernelRidgeModel(n_active=None, regularisation=1e-12, force_weight=1.0).fit(
        molecules["features"],
        molecules["energies"],
        structure_index=molecules["index"],
        forces=np.concatenate(truth),
        jacobians=local_jacobians(molecules),
    )
    forces = model.predict_forces(molecules["features"], local_jacobians(molecules), structure_index=molecules["index"])
    np.testing.assert_allclose(np.concatenate(forces), np.concatenate(truth), atol=1e-5)
    predicted = model.predict(molecules["features"], structure_index=molecules["index"])
    np.testing.assert_allclose(predicted, molecules["energies"], atol=1e-5)


def test_state_survives_a_file(tmp_path):
    x, y = smooth_problem()
    model = KernelRidgeModel(kernel="gaussian", n_active=25).fit(x, y)
    model.save(tmp_path / "model.npz")
    loaded = KernelRidgeModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    np.testing.assert_array_equal(loaded.predict_uncertainty(x), model.predict_uncertainty(x))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: KernelRidgeModel(kernel="cubic"), "kernel must be 'polynomial' or 'gaussian', got 'cubic'"),
        (lambda: KernelRidgeModel(exponent=1.5), "exponent must be a positive integer, got 1.5"),
        (lambda: KernelRidgeModel(width=-1.0), "width must be a positive number, got -1"),
        (lambda: KernelRidgeModel(n_active=0), "n_active must be a whole number, at least 1, got 0"),
        (lambda: KernelRidgeModel(n_active="all"), "n_active must be a whole number, at least 1, got 'all'"),
        (lambda: KernelRidgeModel(width="wide"), "width must be a positive number, got 'wide'"),
        (
            lambda: KernelRidgeModel().fit(*smooth_problem()).missed_uncertainty(np.ones((2, 4)), n_atoms=[1, np.inf]),
            "n_atoms must be finite, got inf for sample 1",
        ),
        (
            lambda: KernelRidgeModel().fit(*smooth_problem()).predict(np.ones((2, 4)), n_atoms=[1, 2, 3]),
            "n_atoms must have one number for each of the 2 samples",
        ),
        (
            lambda: KernelRidgeModel().fit(*smooth_problem()).rigidity(np.ones((2, 4)), structure_index=["a", "b"]),
            "structure_index must hold one integer >= 0",
        ),
        (lambda: KernelRidgeModel().predict(np.ones((2, 2))), "must be fitted before"),
        (lambda: KernelRidgeModel().fit(np.zeros((9, 2)), np.arange(9)), "rows of zeros"),
        (lambda: KernelRidgeModel(kernel="gaussian").fit(np.ones((9, 2)), np.arange(9)), "width must be given"),
        (lambda: KernelRidgeModel().fit(*smooth_problem()).predict(np.ones((1, 3))), "must have 4 columns, got 3"),
        (
            lambda: KernelRidgeModel().fit(*smooth_problem()).predict_forces(np.ones((1, 4)), [np.ones((3, 7))]),
            r"jacobians\[0\] must end in the dimensions \(1, 4\), got shape \(3, 1, 7\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(TypeError, match="jacobians must yield one block for each structure, got int"):
        KernelRidgeModel().fit(*smooth_problem()).predict_forces(np.ones((1, 4)), 3)
    with pytest.raises(ValueError, match="that of a fitted KernelRidgeModel, got none of its entries active"):
        KernelRidgeModel.from_state_dict({"settings": "{}"})
    with pytest.raises(ValueError, match=message):
        call()
