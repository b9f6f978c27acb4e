"""The eigenbasis of a Gram matrix against factorisations at each regularisation."""

import numpy as np
import pytest
import torch

from matterscape.uq import Rigidity, gram
from matterscape.uq.spectrum import RigiditySpectrum

pytestmark = pytest.mark.unit

GRID = np.logspace(-6, 4, 41)


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(60, 9)) * np.logspace(0, -3, 9)


@pytest.fixture
def test_rows():
    return np.random.default_rng(4).normal(size=(5000, 9))  # more than one block


def test_a_whole_scan_equals_one_factorisation_each(rows, test_rows):
    spectral = RigiditySpectrum(gram(rows)).rows(test_rows)
    assert len(spectral) == 5000
    scan = spectral.inverse_rigidity(GRID)
    assert scan.shape == (41, 5000)
    for regularisation, line in zip(GRID, scan, strict=True):
        np.testing.assert_allclose(line, Rigidity(gram(rows), regularisation).leverages(test_rows), rtol=1e-8)
        np.testing.assert_allclose(line, spectral.inverse_rigidity(regularisation), rtol=1e-12)


def test_a_rigidity_comes_with_its_scale(rows, test_rows):
    spectrum = RigiditySpectrum(gram(rows))
    variance = spectrum.rigidity(0.3, 1.7).variance(test_rows)
    np.testing.assert_allclose(variance, 1.7 * spectrum.rows(test_rows).inverse_rigidity(0.3), rtol=1e-10)


def test_degrees_of_freedom_are_the_sum_of_the_leverages(rows):
    spectrum = RigiditySpectrum(gram(rows))
    freedom = spectrum.degrees_of_freedom(GRID)
    np.testing.assert_allclose(freedom, spectrum.rows(rows).inverse_rigidity(GRID).sum(axis=1), rtol=1e-10)
    assert spectrum.degrees_of_freedom(0.3) == pytest.approx(Rigidity(gram(rows), 0.3).degrees_of_freedom(), rel=1e-11)
    assert isinstance(spectrum.degrees_of_freedom(0.3), float)
    assert (np.diff(freedom) < 0).all() and freedom[0] < 9


def test_tensors_and_single_precision(rows, test_rows):
    spectrum = RigiditySpectrum(gram(rows))
    single = test_rows.astype(np.float32)
    expected = spectrum.rows(single.astype(np.float64)).inverse_rigidity(0.1)
    np.testing.assert_allclose(spectrum.rows(single).inverse_rigidity(0.1), expected, rtol=1e-13)
    np.testing.assert_allclose(spectrum.rows(torch.tensor(single)).inverse_rigidity(0.1), expected, rtol=1e-13)


def test_rounding_below_zero_is_clipped_and_not_turned_round():
    """A singular Gram matrix has eigenvalues of either sign at rounding; their directions weigh 1 / regularisation."""
    thin = np.random.default_rng(0).normal(size=(4, 30))
    matrix = gram(thin)
    assert np.linalg.eigvalsh(matrix).min() < 0  # else this test shows nothing
    spectrum = RigiditySpectrum(matrix)
    assert (spectrum.eigenvalues >= 0).all()
    outside = np.linalg.svd(thin)[2][-1:]  # orthogonal to all rows
    tiny = 1e-13
    assert spectrum.rows(outside).inverse_rigidity(tiny)[0] == pytest.approx(1 / tiny, rel=0.2)
    assert (spectrum.rows(outside).inverse_rigidity(np.logspace(-18, 0, 40)) > 0).all()
    single = RigiditySpectrum(np.diag([1.0, -1e-8]))  # as sums in single precision leave it
    assert single.eigenvalues.tolist() == [0.0, 1.0]
    assert single.rows([[0.0, 1.0]]).inverse_rigidity(1e-12)[0] == pytest.approx(1e12)  # 1e8 if turned round


@pytest.mark.parametrize("regularisation", [1e-14, 1e-9, 1.0])
def test_its_rigidities_need_no_positive_definite_rounding(regularisation):
    """Below the rounding of a singular Gram matrix the factor still has the variances of the eigenbasis."""
    rng = np.random.default_rng(0)
    spectrum = RigiditySpectrum(gram(rng.normal(size=(20, 30))))
    f = rng.normal(size=(6, 30))
    of_factor = spectrum.rigidity(regularisation).leverages(f)
    np.testing.assert_allclose(of_factor, spectrum.rows(f).inverse_rigidity(regularisation), rtol=1e-7)


def test_members_move_smoothly_with_the_regularisation(rows, test_rows):
    spectrum = RigiditySpectrum(gram(rows))
    coefficients = np.random.default_rng(5).normal(size=9)
    test_rows = test_rows[:20]
    first = spectrum.sample(coefficients, 0.1, 2.0, 16, seed=3)
    near = spectrum.sample(coefficients, 0.1 * (1 + 1e-6), 2.0, 16, seed=3)
    far = spectrum.sample(coefficients, 0.2, 2.0, 16, seed=3)
    spread = first.standard_deviation(test_rows).max()
    assert np.abs(near.members(test_rows) - first.members(test_rows)).max() < 1e-5 * spread
    assert np.abs(far.members(test_rows) - first.members(test_rows)).max() > 1e-2 * spread
    wider = spectrum.sample(coefficients, 0.1, 8.0, 16, seed=3)
    np.testing.assert_allclose(wider.weights, first.stretched(2.0).weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_members", [16, 64, 1024])
def test_the_sampled_variance_tends_to_the_exact_one(rows, n_members):
    """Rows along the eigenvectors are independent, so nine of them test the spread 3 sqrt(2/(M-1)) together."""
    spectrum = RigiditySpectrum(gram(rows))
    exact = spectrum.rigidity(0.1, 2.0).variance(spectrum.vectors.T)
    ratio = spectrum.sample(np.zeros(9), 0.1, 2.0, n_members, seed=1).variance(spectrum.vectors.T) / exact
    assert np.abs(ratio - 1).max() < 3 * np.sqrt(2 / (n_members - 1))
    assert np.std(ratio) == pytest.approx(np.sqrt(2 / (n_members - 1)), rel=0.7)  # and is no better than a sample


def test_the_sample_does_not_depend_on_the_basis_of_a_degenerate_eigenvalue():
    """The symmetric root is a function of the matrix; a root with eigenvectors in it would turn with their choice."""
    spectrum = RigiditySpectrum(np.diag([2.0, 2.0, 5.0]))
    turned = RigiditySpectrum(np.diag([2.0, 2.0, 5.0]))
    c, s = np.cos(0.7), np.sin(0.7)
    turned.vectors = turned.vectors @ np.array([[c, -s, 0], [s, c, 0], [0, 0, -1.0]])
    samples = [each.sample(np.zeros(3), 0.5, 1.0, 8, seed=0).weights for each in (spectrum, turned)]
    np.testing.assert_allclose(*samples, atol=1e-14)


def test_a_rigidity_draws_the_same_members(rows):
    model = Rigidity(gram(rows), 0.1, variance_scale=2.0)
    direct = RigiditySpectrum(gram(rows)).sample(np.ones(9), 0.1, 2.0, 8, seed=0)
    np.testing.assert_array_equal(model.sample(np.ones(9), 8, seed=0).weights, direct.weights)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: s.rows(np.zeros((3, 4))), "features must have 9 columns, got 4"),
        (lambda s: s.rows(np.full((3, 9), np.nan)), "must be finite, got NaN or infinity in row 0"),
        (lambda s: s.rows(np.ones((3, 9))).inverse_rigidity(-1e-3), "regularisation must be a number >= 0, got -0.001"),
        (lambda s: s.rows(np.ones((3, 9))).inverse_rigidity([1.0, np.inf]), "regularisation must be .* got inf"),
        (lambda s: s.rows(np.ones((3, 9))).inverse_rigidity([]), "a number or a list of numbers"),
        (lambda s: s.degrees_of_freedom("much"), "a number or a list of numbers, got 'much'"),
        (lambda s: s.rigidity(-1.0), "regularisation is -1.0; accepted is a non-negative number"),
        (lambda s: s.rigidity("1"), "regularisation is '1'; accepted"),
        (lambda s: s.sample(np.ones(9), None, 1.0, 4, 0), "regularisation is None; accepted"),
        (lambda s: s.rigidity(1.0, -1.0), "variance_scale is -1.0"),
        (lambda s: s.sample(np.ones(9), 0.1, 0.0, 4, 0), "variance_scale is 0.0"),
        (lambda s: s.sample(np.ones(9), 0.1, 1.0, 1, 0), "n_members is 1; accepted is a whole number of members"),
        (lambda s: s.sample(np.ones(8), 0.1, 1.0, 4, 0), "coefficients must have one number for each of the 9"),
        (lambda s: RigiditySpectrum(np.diag([1.0, -1.0])), "gram must have no negative eigenvalue"),
        (lambda s: RigiditySpectrum(np.ones((2, 3))), "gram must be a symmetric square matrix"),
        (lambda s: RigiditySpectrum(np.ones((2, 2))).degrees_of_freedom([1.0, 0.0]), "leaves the Gram matrix singular"),
    ],
)
def test_bad_input(rows, call, message):
    with pytest.raises(ValueError, match=message):
        call(RigiditySpectrum(gram(rows)))


def test_no_regularisation_is_fine_where_the_data_suffice(rows):
    spectrum = RigiditySpectrum(gram(rows))
    np.testing.assert_allclose(
        spectrum.rows(rows).inverse_rigidity(0.0), Rigidity(gram(rows), 0.0).leverages(rows), rtol=1e-8
    )
