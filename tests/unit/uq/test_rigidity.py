"""Rigidities against the constrained fit that defines them, and their exact identities."""

import numpy as np
import pytest
import torch

from matterscape.uq import Rigidity, gram, variance_scale

pytestmark = pytest.mark.unit


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(60, 9))


def test_gram_is_streamed_and_accumulated_in_float64(rows):
    expected = rows.T @ rows
    np.testing.assert_allclose(gram(rows), expected, rtol=1e-13)
    np.testing.assert_allclose(gram(block for block in np.array_split(rows, 7)), expected, rtol=1e-12)
    np.testing.assert_allclose(gram(torch.tensor(rows)), expected, rtol=1e-13)
    single = (1e3 + rows).astype(np.float32)
    exact = single.astype(np.float64).T @ single.astype(np.float64)
    np.testing.assert_allclose(gram(single), exact, rtol=1e-13)  # float32 accumulation would miss by 1e-7
    long = np.repeat(rows, 200, axis=0)  # more than one block
    np.testing.assert_allclose(gram(long), 200 * expected, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_features_whose_sum_overflows_are_finite():
    rows = np.full((3, 2), 3e38, dtype=np.float32)
    np.testing.assert_allclose(gram(rows), 3 * np.float64(rows[0, 0]) ** 2)


def test_gram_with_weights_counts_samples(rows):
    counts = np.arange(60) % 4
    np.testing.assert_allclose(gram(rows, counts), gram(np.repeat(rows, counts, axis=0)), rtol=1e-12)


def test_gram_adds_to_another_one(rows):
    total = gram(rows[:20])
    assert gram(rows[20:], out=total) is total
    np.testing.assert_allclose(total, gram(rows), rtol=1e-12)
    before = total.copy()
    with pytest.raises(ValueError, match="finite"):
        gram([rows, np.full((1, 9), np.nan)], out=total)
    np.testing.assert_array_equal(total, before)  # all or nothing


@pytest.mark.parametrize("shift", [-40.0, 0.7])
def test_rigidity_is_the_curvature_of_the_constrained_loss(rows, shift):
    """Forcing one prediction to move by delta raises the regularised loss by R delta^2 / 2, however large delta is."""
    rng = np.random.default_rng(0)
    y, test, penalty = rng.normal(size=60), rng.normal(size=9), 0.3

    def loss(w):
        return 0.5 * np.sum((rows @ w - y) ** 2) + 0.5 * penalty * w @ w

    curvature = rows.T @ rows + penalty * np.eye(9)
    free = np.linalg.solve(curvature, rows.T @ y)
    # the constrained minimum by a Lagrange multiplier, without the formula under test
    bordered = np.block([[curvature, test[:, None]], [test[None], np.zeros((1, 1))]])
    moved = np.linalg.solve(bordered, np.append(rows.T @ y, free @ test + shift))[:9]
    rigidity = Rigidity(gram(rows), penalty).rigidity(test[None])[0]
    assert loss(moved) - loss(free) == pytest.approx(0.5 * rigidity * shift**2, rel=1e-10)
    assert moved @ test == pytest.approx(free @ test + shift)


def test_leverages_sum_to_the_degrees_of_freedom(rows):
    model = Rigidity(gram(rows), 0.5)
    eigenvalues = np.linalg.eigvalsh(gram(rows))
    assert model.variance(rows).sum() == pytest.approx(model.degrees_of_freedom(), rel=1e-12)
    assert model.degrees_of_freedom() == pytest.approx(np.sum(eigenvalues / (eigenvalues + 0.5)), rel=1e-12)


@pytest.mark.parametrize("penalty", [1e-4, 0.5, 30.0])
def test_leave_one_out_residuals_follow_from_the_leverages(rows, penalty):
    """e_i / (1 - h_i) against as many explicit refits as there are rows."""
    y = np.random.default_rng(6).normal(size=60)

    def fit(x, targets):
        return np.linalg.solve(x.T @ x + penalty * np.eye(9), x.T @ targets)

    residuals = y - rows @ fit(rows, y)
    closed = residuals / (1.0 - Rigidity(gram(rows), penalty).leverages(rows))
    keep = ~np.eye(60, dtype=bool)
    refitted = [y[i] - rows[i] @ fit(rows[keep[i]], y[keep[i]]) for i in range(60)]
    np.testing.assert_allclose(closed, refitted, rtol=1e-8)


def test_covariance_holds_the_variances_and_those_of_differences(rows):
    model = Rigidity(gram(rows), 0.5, variance_scale=2.5)
    a, b = rows[:4], rows[4:8]
    np.testing.assert_allclose(np.diag(model.covariance(a, a)), model.variance(a), rtol=1e-12)
    difference = model.variance(a) + model.variance(b) - 2 * np.diag(model.covariance(a, b))
    np.testing.assert_allclose(difference, model.variance(a - b), rtol=1e-11)

    np.testing.assert_allclose(model.difference_variance(a, b), difference, rtol=1e-11)


@pytest.mark.parametrize("n_atoms", [2, 12, 500])
def test_identical_atoms_err_together(rows, n_atoms):
    """N copies of one atom have an energy whose standard deviation grows as N, not as its root."""
    model = Rigidity(gram(rows), 0.5)
    atom = rows[0]
    energy = np.sum([atom] * n_atoms, axis=0)
    of_atom, of_energy = np.sqrt(model.variance(np.stack([atom, energy])))
    assert of_energy == pytest.approx(n_atoms * of_atom, rel=1e-12)
    atoms = np.tile(atom, (n_atoms, 1))
    assert np.sqrt(model.covariance(atoms, atoms).sum()) == pytest.approx(of_energy, rel=1e-10)
    in_quadrature = np.sqrt(model.variance(atoms).sum())
    assert in_quadrature == pytest.approx(of_energy / np.sqrt(n_atoms), rel=1e-12)  # what independent errors would give


def test_more_data_never_lowers_a_rigidity_and_rotations_change_nothing(rows):
    test = np.random.default_rng(1).normal(size=(20, 9))
    before = Rigidity(gram(rows), 0.1).rigidity(test)
    after = Rigidity(gram(np.concatenate([rows, test[:1]])), 0.1).rigidity(test)
    assert (after >= before * (1 - 1e-12)).all()
    assert after[0] == pytest.approx(before[0] + 1, rel=1e-12)  # Sherman-Morrison
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(9, 9)))[0]
    np.testing.assert_allclose(Rigidity(gram(rows @ rotation), 0.1).rigidity(test @ rotation), before, rtol=1e-11)


@pytest.mark.parametrize("n_rows", [1, 5, 40])
def test_update_equals_a_new_factorisation(rows, n_rows):
    rng = np.random.default_rng(8)
    new, weights, test = rng.normal(size=(n_rows, 9)), rng.uniform(0, 3, size=n_rows), rng.normal(size=(7, 9))
    model = Rigidity(gram(rows), 0.2, variance_scale=1.7)
    before = model.variance(test)
    updated = model.updated(new, weights)
    expected = Rigidity(gram(rows) + gram(new, weights), 0.2, variance_scale=1.7)
    np.testing.assert_allclose(updated.gram, expected.gram, rtol=1e-12)
    np.testing.assert_allclose(updated.variance(test), expected.variance(test), rtol=1e-11)
    np.testing.assert_allclose(updated.whiten(test), expected.whiten(test), rtol=1e-10, atol=1e-12)  # the same factor
    assert updated.degrees_of_freedom() == pytest.approx(expected.degrees_of_freedom(), rel=1e-11)
    np.testing.assert_array_equal(model.variance(test), before)


def test_update_keeps_digits_that_the_gram_matrix_has_lost():
    """The factor takes rows that are tiny beside the others without squaring them."""
    strong = np.array([[1e6, 1e6]])
    weak = np.array([[1e-3, -1e-3]])
    model = Rigidity(np.zeros((2, 2)), 1e-12).updated(strong).updated(weak)
    assert model.leverages(np.array([[1.0, -1.0]]))[0] == pytest.approx(4 / (4e-6 + 2e-12), rel=1e-6)


def test_calibration_maximises_the_likelihood(rows):
    errors = np.random.default_rng(5).normal(size=60) * 0.2
    model = Rigidity(gram(rows), 0.5)
    calibrated = model.calibrated(rows, errors)

    def negative_log_likelihood(scale):
        variance = scale * model.variance(rows)
        return np.mean(np.log(variance) + errors**2 / variance)

    best = negative_log_likelihood(calibrated.variance_scale)
    assert best < negative_log_likelihood(1.001 * calibrated.variance_scale)
    assert best < negative_log_likelihood(0.999 * calibrated.variance_scale)
    assert np.mean(errors**2 / calibrated.variance(rows)) == pytest.approx(1)
    assert model.variance_scale == 1.0


def test_losses_are_sums_and_rows_are_sums(rows):
    """Means in place of sums are another convention with another scale; nothing here normalises them away."""
    rng = np.random.default_rng(7)
    errors = rng.normal(size=60)
    summed = Rigidity(gram(rows), 0.5).calibrated(rows, errors)

    mean_loss = Rigidity(gram(rows) / 60, 0.5).calibrated(rows, errors)  # the penalty of the sum with the mean
    assert abs(np.log(mean_loss.variance_scale / summed.variance_scale)) > 0.1
    assert np.abs(np.log(mean_loss.variance(rows) / summed.variance(rows))).max() > 0.1
    consistent = Rigidity(gram(rows) / 60, 0.5 / 60).calibrated(rows, errors)
    assert consistent.variance_scale == pytest.approx(summed.variance_scale / 60, rel=1e-12)
    np.testing.assert_allclose(consistent.variance(rows), summed.variance(rows), rtol=1e-11)

    n_atoms = rng.integers(2, 50, size=60)[:, None]  # the same structures, energies in total and per atom
    total = Rigidity(gram(n_atoms * rows), 0.5).calibrated(n_atoms * rows, n_atoms[:, 0] * errors)
    assert abs(np.log(total.variance_scale / summed.variance_scale)) > 0.5


def test_a_tensor_gives_a_tensor(rows):
    model = Rigidity(gram(rows), 0.5, variance_scale=2.5)
    tensor = torch.tensor(rows)
    for name in ("variance", "leverages", "rigidity"):
        of_array, of_tensor = (getattr(model, name)(features) for features in (rows, tensor))
        assert isinstance(of_array, np.ndarray) and isinstance(of_tensor, torch.Tensor)
        np.testing.assert_allclose(of_tensor, of_array, rtol=1e-13)
    for name in ("covariance", "difference_variance"):
        of_tensor = getattr(model, name)(tensor[:30], tensor[30:])
        assert isinstance(of_tensor, torch.Tensor)
        np.testing.assert_allclose(of_tensor, getattr(model, name)(rows[:30], rows[30:]), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(model.variance(tensor.float()), model.variance(rows), rtol=1e-5)
    assert model.variance(tensor.float()).dtype == torch.float64


def test_samples_have_the_covariance_and_the_mean_of_the_model(rows):
    """One check over all rows: a chi-squared statistic of the sampled covariance, and the mean exactly."""
    model = Rigidity(gram(rows), 0.5, variance_scale=2.5)
    coefficients, n_members = np.random.default_rng(9).normal(size=9), 400
    ensemble = model.sample(coefficients, n_members, seed=0)
    np.testing.assert_allclose(ensemble.mean(rows), rows @ coefficients, atol=1e-12)
    ratio = ensemble.variance(rows) / model.variance(rows)
    assert np.abs(ratio - 1).max() < 3 * np.sqrt(2 / (n_members - 1))
    assert np.abs(ratio - 1).max() > 1e-3  # a sample, not the formula again
    covariance = ensemble.covariance(rows, rows)
    deviation = (covariance - model.covariance(rows, rows)) / np.sqrt(np.outer(*2 * [model.variance(rows)]))
    assert np.abs(deviation).max() < 4 * np.sqrt(2 / (n_members - 1))
    np.testing.assert_array_equal(model.sample(coefficients, n_members, seed=0).weights, ensemble.weights)
    assert not np.allclose(model.sample(coefficients, n_members, seed=1).weights, ensemble.weights)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: gram([]), "feature_blocks must hold at least one block"),
        (lambda x: gram([x, x[:, :3]]), "must have 9 columns, got 3"),
        (lambda x: gram(np.where(x > 1, np.nan, x)), "must be finite, got NaN"),
        (lambda x: gram(x, -np.ones(60)), "weights must not be negative"),
        (lambda x: gram(x[0]), "non-empty matrix"),
        (lambda x: gram([x], weights=np.ones(60)), "weights needs one feature matrix"),
        (lambda x: gram(x, out=np.zeros((9, 9), dtype=np.float32)), r"out must be a float64 array of shape \(9, 9\)"),
        (lambda x: gram(x, out=[[0.0]]), "out must be a float64 array .* got list"),
        (lambda x: Rigidity(gram(x), -1.0), "regularisation must be a number >= 0, got -1"),
        (lambda x: Rigidity(x, 1.0), "gram must be a symmetric square matrix"),
        (lambda x: Rigidity(gram(x[:3]), 0.0), "leaves the Gram matrix singular"),
        (lambda x: Rigidity(np.diag([1.0, 1e-17]), 0.0), "leaves the Gram matrix singular"),  # Cholesky would pass
        (lambda x: Rigidity(np.array([[1.0, 0.5], [0.4, 1.0]]), 0.0), "mirror entries that differ by 1.0e-01"),
        (lambda x: Rigidity(gram(x), 1.0).variance(x[:, :4]), "must have 9 columns, got 4"),
        (lambda x: Rigidity(gram(x), np.nan), "regularisation must be a number >= 0, got nan"),
        (lambda x: Rigidity(gram(x), 1.0, variance_scale=0.0), "variance_scale is 0.0"),
        (
            lambda x: Rigidity(gram(x), 1.0).variance(np.full((2, 9), np.inf)),
            "must be finite, got NaN or infinity in row 0",
        ),
        (lambda x: Rigidity(gram(x), 1.0).updated(x[:, :4]), "rows must have 9 columns, got 4"),
        (lambda x: Rigidity(gram(x), 1.0).difference_variance(x, x[:3]), "first and second must have the same shape"),
        (
            lambda x: Rigidity(gram(x), 1.0).sample(np.ones(8), 4, 0),
            "coefficients must have one number for each of the 9",
        ),
        (lambda x: Rigidity(gram(x), 1.0).sample(np.ones(9), 1, 0), "n_members is 1"),
        (lambda x: Rigidity(gram(x), 1.0).calibrated(x, np.zeros(60)), "errors must not all be zero"),
        (lambda x: variance_scale([], []), "at least one held-out error"),
    ],
)
def test_bad_input(rows, call, message):
    with pytest.raises(ValueError, match=message):
        call(rows)


def test_a_tensor_and_an_array_make_a_tensor(rows):
    model = Rigidity(gram(rows), 0.1)
    x = torch.tensor(rows[:3], requires_grad=True)
    for method in (model.covariance, model.difference_variance):
        expected = method(rows[:3], rows[3:6])
        for result in (method(x, rows[3:6]), method(x, torch.tensor(rows[3:6]))):
            np.testing.assert_allclose(result.detach(), expected, rtol=1e-10)
            assert torch.autograd.grad(result.sum(), x)[0].abs().max() > 0
        np.testing.assert_allclose(method(rows[:3], torch.tensor(rows[3:6])), expected, rtol=1e-10)
    with pytest.raises(ValueError, match="first must be finite"):
        model.covariance(torch.full((2, 9), torch.nan), torch.ones(2, 9))
    with pytest.raises(ValueError, match="second must have 9 columns, got 8"):
        model.difference_variance(rows, rows[:, :8])


def test_digits_lost_in_a_gram_matrix_of_single_precision_are_told(rows):
    """Singular values that span 10^4.5 are 10^9 in the Gram matrix: beyond single precision, not beyond double."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    features = (rows * np.logspace(0, -4.5, 9) @ turn).astype(np.float32)
    expected = features @ np.linalg.inv(features.astype(float).T @ features.astype(float)) @ features.T
    np.testing.assert_allclose(Rigidity(gram(features), 0.0).leverages(features), np.diag(expected), rtol=1e-5)
    product = features.T @ features
    single = np.maximum(product, product.T)
    for regularisation in (0.0, 1e-12):
        with pytest.raises(ValueError, match="leaves the Gram matrix singular; it must exceed about"):
            Rigidity(single, regularisation)
    assert np.isfinite(Rigidity(single, 0.1).leverages(features)).all()


@pytest.mark.parametrize("bad", [None, 3.0])
def test_blocks_must_be_blocks(bad):
    with pytest.raises(TypeError, match="feature_blocks must be a matrix or an iterable of matrices, got"):
        gram(bad)


def test_features_must_be_real_numbers():
    with pytest.raises(TypeError, match="feature_blocks must hold real numbers, got dtype object"):
        gram([[[1.0, 2.0], [3.0]]])
    with pytest.raises(TypeError, match="must hold real numbers, got dtype <U1"):
        gram(np.array([["a", "b"]]))
