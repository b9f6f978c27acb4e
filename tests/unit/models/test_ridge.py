"""Ridge models against explicit least squares, refits and finite differences."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from matterscape.models import RidgeModel
from matterscape.uq import Rigidity, gram

pytestmark = pytest.mark.unit

GRID = np.logspace(-6, 2, 9)


def regression_problem(n_samples=80, n_features=12, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_samples, n_features)) * np.linspace(0.5, 2, n_features) + 1.5
    return x, x @ rng.normal(size=n_features) + 3.0 + noise * rng.normal(size=n_samples)


class QuadraticAtoms:
    """Atoms on a line whose features are powers of the neighbour distances, so that forces are known exactly."""

    def __init__(self, n_structures=30, seed=0):
        rng = np.random.default_rng(seed)
        self.n_atoms = rng.integers(3, 7, size=n_structures)
        self.positions = [rng.normal(size=(n, 3)) + 2.0 * np.arange(n)[:, None] for n in self.n_atoms]
        self.species = [rng.integers(2, size=n) for n in self.n_atoms]
        self.composition = np.stack([np.bincount(s, minlength=2) for s in self.species])
        self.weights = torch.tensor(rng.normal(size=6))
        self.structure_index = np.repeat(np.arange(n_structures), self.n_atoms)

    def features(self, positions):
        distances = (positions[1:] - positions[:-1]).norm(dim=1)
        bonds = torch.stack([torch.exp(-distances / width) for width in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)], dim=1)
        zero = torch.zeros(1, 6, dtype=torch.float64)
        return torch.cat([bonds, zero]) + torch.cat([zero, bonds])

    def atoms(self):
        return np.concatenate([self.features(torch.tensor(p)).numpy() for p in self.positions])

    def energies(self):
        local = torch.tensor(self.atoms()) @ self.weights
        summed = np.bincount(self.structure_index, local.numpy())
        return summed + self.composition @ np.array([-2000.0, -350.0])

    def jacobians(self):
        for p in self.positions:
            block = torch.autograd.functional.jacobian(lambda q: self.features(q).sum(0), torch.tensor(p))
            yield block.reshape(6, -1).T

    def forces(self):
        return np.concatenate([-(block @ self.weights).reshape(-1, 3).numpy() for block in self.jacobians()])


@pytest.mark.parametrize("n_samples", [80, 8])  # more and fewer samples than features
def test_equals_the_ridge_of_scikit_learn(n_samples):
    x, y = regression_problem(n_samples)
    model = RidgeModel(regularisation=0.3).fit(x, y)
    scale = np.sqrt(np.sum((x - x.mean(0)) ** 2) / n_samples)
    peer = Ridge(alpha=0.3).fit(x / scale, y)
    test = regression_problem(20, seed=1)[0]
    np.testing.assert_allclose(model.predict(test), peer.predict(test / scale), rtol=1e-9)
    np.testing.assert_allclose(model.coefficients, peer.coef_ / scale, rtol=1e-9)


def test_column_scaling_makes_units_irrelevant():
    x, y = regression_problem()
    units = np.logspace(-3, 3, 12)
    first = RidgeModel(scaling="column", regularisations=GRID).fit(x, y)
    second = RidgeModel(scaling="column", regularisations=GRID).fit(x * units, y)
    np.testing.assert_allclose(first.predict(x), second.predict(x * units), rtol=1e-9)
    assert not np.allclose(RidgeModel(regularisation=1.0).fit(x * units, y).predict(x * units), first.predict(x))


def test_a_constant_column_and_a_constant_target_do_no_harm():
    x, y = regression_problem()
    constant = np.concatenate([x, np.full((80, 1), 7.0)], axis=1)
    model = RidgeModel(scaling="column", regularisation=0.1).fit(constant, y)
    np.testing.assert_allclose(
        model.predict(constant), RidgeModel(scaling="column", regularisation=0.1).fit(x, y).predict(x)
    )
    np.testing.assert_allclose(RidgeModel().fit(x, np.full(80, 2.5)).predict(x), 2.5)
    np.testing.assert_allclose(RidgeModel().fit(np.ones((20, 30)), y[:20]).predict(np.ones((3, 30))), y[:20].mean())


@pytest.mark.parametrize("shape", [(60, 12), (15, 40)])
def test_cross_validation_equals_explicit_refits(shape):
    x, y = regression_problem(*shape)
    model = RidgeModel(regularisations=GRID, folds=5, seed=3).fit(x, y)
    fold_of = np.random.default_rng(3).permutation(len(x)) % 5
    scale = np.sqrt(np.sum((x - x.mean(0)) ** 2) / len(x))
    held_out = np.empty((len(x), len(GRID)))
    for g, penalty in enumerate(GRID):
        for f in range(5):
            peer = Ridge(alpha=penalty).fit(x[fold_of != f] / scale, y[fold_of != f])
            held_out[fold_of == f, g] = peer.predict(x[fold_of == f] / scale)
    path = model.regularisation_path
    np.testing.assert_allclose(path.rmse, np.sqrt(np.mean((held_out - y[:, None]) ** 2, axis=0)), rtol=1e-6)
    assert path.best == np.argmin(path.rmse) and model.chosen_regularisation == GRID[path.best]
    np.testing.assert_allclose(model.held_out_predictions, held_out[:, path.best], rtol=1e-6)
    assert path.fold_rmse.shape == (5, len(GRID)) and (np.diff(path.degrees_of_freedom) < 0).all()


@pytest.mark.parametrize("shape", [(40, 12), (12, 30)])
def test_leave_one_out_equals_explicit_refits(shape):
    x, y = regression_problem(*shape)
    model = RidgeModel(regularisations=GRID, folds="loo").fit(x, y)
    scale = np.sqrt(np.sum((x - x.mean(0)) ** 2) / len(x))
    for g in (2, 6):
        rest = [np.arange(len(x)) != i for i in range(len(x))]
        held_out = [Ridge(alpha=GRID[g]).fit(x[r] / scale, y[r]).predict(x[~r] / scale)[0] for r in rest]
        expected = np.sqrt(np.mean((np.array(held_out) - y) ** 2))
        assert model.regularisation_path.rmse[g] == pytest.approx(expected, rel=1e-6)


def test_energies_from_atoms_with_a_composition_baseline():
    """Energies of thousands of eV: the baseline costs no digits, and sums of atoms equal summed features."""
    data = QuadraticAtoms(60)
    arguments = dict(structure_index=data.structure_index, composition=data.composition)
    model = RidgeModel(regularisation=1e-12).fit(torch.tensor(data.atoms()), data.energies(), **arguments)
    error = model.predict(data.atoms(), **arguments) - data.energies()
    assert np.abs(error).max() < 1e-6
    summed = np.stack([np.bincount(data.structure_index, column) for column in data.atoms().T], axis=1)
    same = RidgeModel(regularisation=1e-12).fit(
        summed, data.energies(), n_atoms=data.n_atoms, composition=data.composition
    )
    np.testing.assert_allclose(same.coefficients, model.coefficients, rtol=1e-9)
    local = model.predict(
        data.atoms(), n_atoms=np.ones(len(data.structure_index)), composition=np.eye(2)[np.concatenate(data.species)]
    )
    np.testing.assert_allclose(np.bincount(data.structure_index, local), data.energies(), rtol=1e-9)


def test_sums_with_atom_counts_equal_means():
    data = QuadraticAtoms(40)
    summed = np.stack([np.bincount(data.structure_index, column) for column in data.atoms().T], axis=1)
    n = data.n_atoms
    total = RidgeModel(regularisations=GRID).fit(summed, data.energies(), n_atoms=n, composition=data.composition)
    mean = RidgeModel(regularisations=GRID).fit(
        summed / n[:, None], data.energies() / n, composition=data.composition / n[:, None]
    )
    np.testing.assert_allclose(total.coefficients, mean.coefficients, rtol=1e-8)
    np.testing.assert_allclose(total.regularisation_path.rmse, mean.regularisation_path.rmse, rtol=1e-8)


def test_streamed_fit_with_forces_equals_dense_least_squares():
    data = QuadraticAtoms(12)
    penalty, force_weight = 0.05, 0.2
    rng = np.random.default_rng(1)
    energies = data.energies() + 0.1 * rng.normal(size=12)
    forces = data.forces() + 0.1 * rng.normal(size=data.forces().shape)
    model = RidgeModel(regularisation=penalty, force_weight=force_weight).fit(
        data.atoms(),
        energies,
        structure_index=data.structure_index,
        composition=data.composition,
        forces=forces,
        jacobians=data.jacobians(),
    )
    n = data.n_atoms[:, None]
    summed = np.stack([np.bincount(data.structure_index, column) for column in data.atoms().T], axis=1) / n
    jacobian = torch.cat(list(data.jacobians())).numpy()
    composition = data.composition / n
    projector = np.eye(12) - composition @ np.linalg.pinv(composition)
    centred, rows = projector @ summed, -force_weight * jacobian
    scale = np.sqrt((np.sum(centred**2) + np.sum(rows**2)) / (12 + len(rows)))
    design = np.block(
        [
            [summed, composition],
            [rows, np.zeros((len(rows), 2))],
            [np.sqrt(penalty) * scale * np.eye(6), np.zeros((6, 2))],
        ]
    )
    right = np.concatenate([energies / data.n_atoms, force_weight * forces.reshape(-1), np.zeros(6)])
    expected = np.linalg.lstsq(design, right, rcond=None)[0]
    np.testing.assert_allclose(model.coefficients, expected[:6], rtol=1e-7)
    np.testing.assert_allclose(model.baseline_coefficients, expected[6:], rtol=1e-9)


def test_cross_validation_with_forces_equals_explicit_refits():
    data = QuadraticAtoms(15)
    rng = np.random.default_rng(1)
    energies = data.energies() + 0.1 * rng.normal(size=15)
    forces = data.forces() + 0.1 * rng.normal(size=data.forces().shape)
    summed = np.stack([np.bincount(data.structure_index, column) for column in data.atoms().T], axis=1)
    model = RidgeModel(regularisations=GRID, folds=3, force_weight=0.3).fit(
        summed,
        energies,
        n_atoms=data.n_atoms,
        composition=data.composition,
        forces=forces,
        jacobians=data.jacobians(),
    )
    fold_of = np.random.default_rng(0).permutation(15) % 3
    blocks, g = list(data.jacobians()), 4
    by_structure = np.split(forces, np.cumsum(data.n_atoms)[:-1])
    squares, errors = 0.0, np.empty(15)
    for f in range(3):
        train, held = np.flatnonzero(fold_of != f), np.flatnonzero(fold_of == f)
        # the scale belongs to all data; undo the one that this refit computes for itself
        trial = RidgeModel(regularisation=1.0, force_weight=0.3)
        arguments = dict(n_atoms=data.n_atoms[train], composition=data.composition[train])
        arguments.update(forces=np.concatenate([by_structure[a] for a in train]))
        trial.fit(summed[train], energies[train], jacobians=[blocks[a] for a in train], **arguments)
        penalty = GRID[g] * (model.scale[0] / trial.scale[0]) ** 2
        refit = RidgeModel(regularisation=penalty, force_weight=0.3)
        refit.fit(summed[train], energies[train], jacobians=[blocks[a] for a in train], **arguments)
        predicted = refit.predict(summed[held], n_atoms=data.n_atoms[held], composition=data.composition[held])
        errors[held] = (predicted - energies[held]) / data.n_atoms[held]
        predicted = np.concatenate(refit.predict_forces([blocks[a] for a in held]))
        squares += np.sum((predicted - np.concatenate([by_structure[a] for a in held])) ** 2)
    path = model.regularisation_path
    assert path.rmse[g] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-7)
    assert path.force_rmse[g] == pytest.approx(np.sqrt(squares / forces.size), rel=1e-7)


def test_forces_are_minus_the_gradient_of_the_energy():
    data = QuadraticAtoms(10)
    model = RidgeModel(regularisation=1e-3).fit(
        data.atoms(), data.energies(), structure_index=data.structure_index, composition=data.composition
    )

    def energy(positions):
        x = data.features(torch.tensor(positions)).sum(0, keepdim=True)
        return model.predict(x, n_atoms=data.n_atoms[:1], composition=data.composition[:1])[0]

    forces = model.predict_forces(data.jacobians())[0]
    for atom, axis in [(0, 0), (1, 2), (2, 1)]:
        shift = np.zeros_like(data.positions[0])
        shift[atom, axis] = 1e-4
        numeric = (energy(data.positions[0] - shift) - energy(data.positions[0] + shift)) / 2e-4
        assert forces[atom, axis] == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_forces_bring_what_energies_lack():
    data = QuadraticAtoms(4)
    held_out = QuadraticAtoms(20, seed=9)
    held_out.weights = data.weights
    arguments = dict(structure_index=data.structure_index, composition=data.composition)
    poor = RidgeModel(regularisation=1e-9).fit(data.atoms(), data.energies(), **arguments)
    rich = RidgeModel(regularisation=1e-9).fit(
        data.atoms(), data.energies(), forces=data.forces(), jacobians=data.jacobians(), **arguments
    )
    test = dict(structure_index=held_out.structure_index, composition=held_out.composition)
    error = [np.std(model.predict(held_out.atoms(), **test) - held_out.energies()) for model in (poor, rich)]
    assert error[1] < 0.01 * error[0]
    assert np.median(rich.rigidity(held_out.atoms(), **test)) > np.median(poor.rigidity(held_out.atoms(), **test))


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_rigidity_equals_that_of_the_gram_matrix(shape):
    x, y = regression_problem(*shape)
    test = regression_problem(25, shape[1], seed=2)[0]
    model = RidgeModel(regularisation=0.02, baseline=False).fit(x, y)
    scale = np.sqrt(np.sum(x**2) / len(x))
    np.testing.assert_allclose(model.rigidity(test), Rigidity(gram(x / scale), 0.02).rigidity(test / scale), rtol=1e-8)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_rigidity_includes_the_baseline(shape):
    """An unpenalised constant is the limit of a constant feature whose size grows without bound."""
    x, y = regression_problem(*shape)
    test = regression_problem(25, shape[1], seed=2)[0]
    model = RidgeModel(regularisation=0.02).fit(x, y)
    scale = np.sqrt(np.sum((x - x.mean(0)) ** 2) / len(x))
    huge = 1e5

    def extended(rows):
        return np.concatenate([rows / scale, np.full((len(rows), 1), huge)], axis=1)

    np.testing.assert_allclose(
        model.rigidity(test), Rigidity(gram(extended(x)), 0.02).rigidity(extended(test)), rtol=1e-5
    )


def test_predicted_uncertainty_matches_the_errors_of_a_true_linear_law():
    rng = np.random.default_rng(0)
    errors, sigmas = [], []
    for _ in range(200):
        w = rng.normal(size=10)
        x = rng.normal(size=(15, 10))
        model = RidgeModel(folds="loo", baseline=False).fit(x, x @ w + 0.2 * rng.normal(size=15))
        calibration = rng.normal(size=(100, 10))
        model.calibrate(calibration, calibration @ w)
        test = rng.normal(size=(50, 10)) * rng.uniform(0.2, 3.0, size=(50, 1))
        errors.append(model.predict(test) - test @ w)
        sigmas.append(model.predict_uncertainty(test))
    errors, sigmas = np.concatenate(errors), np.concatenate(sigmas)
    order = np.argsort(sigmas)
    for part in np.array_split(order, 4):  # reliable from the surest to the least sure quarter
        assert 0.8 < np.sqrt(np.mean(errors[part] ** 2) / np.mean(sigmas[part] ** 2)) < 1.25


def test_state_survives_a_file(tmp_path):
    x, y = regression_problem(10, 30)
    model = RidgeModel(regularisations=GRID, seed=4).fit(x, y)
    model.save(tmp_path / "model.npz")
    loaded = RidgeModel.load(tmp_path / "model.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    np.testing.assert_array_equal(loaded.predict_uncertainty(x), model.predict_uncertainty(x))
    assert loaded.seed == 4 and loaded.chosen_regularisation == model.chosen_regularisation
    loaded.fit(x, y)
    np.testing.assert_allclose(loaded.coefficients, model.coefficients)


def test_same_seed_same_result_and_float32_input():
    x, y = regression_problem()
    first, second = (RidgeModel(regularisations=GRID, seed=7).fit(x, y) for _ in range(2))
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    single = RidgeModel(regularisations=GRID, seed=7).fit(x.astype(np.float32), y)
    np.testing.assert_allclose(single.predict(x), first.predict(x), rtol=1e-4)


def fit(**changes):
    data = QuadraticAtoms(6)
    arguments = dict(features=data.atoms(), targets=data.energies(), structure_index=data.structure_index)
    arguments.update(changes)
    return RidgeModel(regularisation=1.0).fit(**arguments)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: RidgeModel(regularisation=0.0), "regularisation must be a positive number, got 0"),
        (lambda: RidgeModel(regularisations=[1, -1]), "regularisations must be a list of positive numbers"),
        (lambda: RidgeModel(folds=1), "folds must be an integer of at least 2 or 'loo', got 1"),
        (lambda: RidgeModel(scaling="row"), "scaling must be 'global' or 'column', got 'row'"),
        (lambda: RidgeModel(force_weight=-1), "force_weight must be a positive number"),
        (lambda: RidgeModel(folds=10).fit(*regression_problem(8)), "folds must not exceed the number of samples 8"),
        (lambda: RidgeModel().fit(*regression_problem(8)[:1], np.full(8, np.nan)), "targets must be finite, got nan"),
        (lambda: RidgeModel().fit(regression_problem(8)[0], np.zeros(7)), "one number for each of the 8 samples"),
        (lambda: RidgeModel().predict(np.ones((2, 2))), "must be fitted before"),
        (lambda: RidgeModel().state_dict(), "must be fitted before it is saved"),
        (lambda: RidgeModel.from_state_dict({}), "must be that of a fitted RidgeModel"),
        (lambda: fit(n_atoms=np.ones(6)), "exclude each other"),
        (lambda: fit(structure_index=np.zeros(3, int)), "structure_index must hold one integer"),
        (lambda: fit(composition=np.ones((2, 2))), "composition must have one row for each of the 6 samples, got 2"),
        (lambda: fit(forces=np.zeros((3, 3))), "forces and jacobians must be given together"),
        (lambda: fit(forces=np.zeros((3, 3)), jacobians=[]), "forces must have one row for each of the"),
        (lambda: fit(forces=QuadraticAtoms(6).forces(), jacobians=[]), "one block for each of the 6 structures"),
        (
            lambda: fit(forces=QuadraticAtoms(6).forces(), jacobians=QuadraticAtoms(7, seed=1).jacobians()),
            r"jacobians\[0\] must have \d+ rows",
        ),
        (lambda: fit().predict(np.ones((2, 6))), "fitted with features that need n_atoms or structure_index"),
        (lambda: fit().predict(np.ones((2, 5)), n_atoms=[1, 1]), "features must have 6 columns, got 5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unwritable_path_is_named(tmp_path):
    x, y = regression_problem()
    with pytest.raises(OSError, match="path must lie in an existing folder"):
        RidgeModel(regularisation=1.0).fit(x, y).save(tmp_path / "missing" / "model.npz")


def test_a_penalty_below_rounding_is_told_and_a_small_one_is_exact():
    """Two equal columns: variances do not depend on the penalty of their difference, which no sample has."""
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(30, 2)), 2, axis=1), rng.normal(size=30)
    expected = RidgeModel(regularisation=1e-9).fit(x, y).rigidity(x)
    np.testing.assert_allclose(RidgeModel(regularisation=1e-12).fit(x, y).rigidity(x), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="regularisation must exceed about .* for these features, got 1e-300"):
        RidgeModel(regularisation=1e-300).fit(x, y)
    with pytest.raises(TypeError, match="jacobians must yield one block for each structure, got float"):
        RidgeModel().fit(x, y).predict_forces(1.0)
    with pytest.raises(ValueError, match="regularisation must be a positive number, got 'small'"):
        RidgeModel(regularisation="small")
