"""Projections: known subspaces, limits of the mixing, invariances."""

import warnings

import numpy as np
import pytest
import torch

from matterscape.maps.projection import METHODS, project

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 20)) * 0.8 ** np.arange(20) @ np.linalg.qr(rng.normal(size=(20, 20)))[0] + 4.0
    return x, x @ rng.normal(size=20) + 0.1 * rng.normal(size=150)


def distances(coordinates):
    return np.linalg.norm(coordinates[:, None] - coordinates, axis=2)


def test_pca_finds_the_plane_that_the_data_lie_in():
    rng = np.random.default_rng(1)
    plane = rng.normal(size=(100, 2)) * [3.0, 1.0]
    x = plane @ np.linalg.qr(rng.normal(size=(30, 2)))[0].T - 7.0
    result = project(torch.tensor(x))
    spread = np.sqrt(np.sum(np.var(x, axis=0)))
    np.testing.assert_allclose(distances(result.coordinates), distances(plane) / spread, atol=1e-10)
    assert result.explained_variance.sum() == pytest.approx(1.0)
    assert result.labels == ("PCA 1", "PCA 2") and result.target_r2 is None


def test_explained_variance_is_that_of_the_eigenvalues(data):
    x, _ = data
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(x.T)))[::-1]
    result = project(x, n_components=3)
    np.testing.assert_allclose(result.explained_variance, eigenvalues[:3] / eigenvalues.sum(), rtol=1e-10)


def test_pcovr_runs_from_pca_to_regression(data):
    x, y = data
    pca = project(x, targets=y)
    variance_only = project(x, "pcovr", targets=y, mixing=1.0)
    np.testing.assert_allclose(variance_only.coordinates, pca.coordinates, atol=1e-8)
    np.testing.assert_allclose(variance_only.explained_variance, pca.explained_variance, rtol=1e-8)
    r2 = [project(x, "pcovr", targets=y, mixing=mixing).target_r2 for mixing in (1.0, 0.5, 0.05)]
    assert r2[0] < r2[1] < r2[2] and r2[2] > 0.99


def test_narrow_kernels_resolve_more_and_wide_ones_are_linear(data):
    """For gamma -> 0 the centred Gaussian kernel is 2 gamma times the linear one."""
    x, _ = data
    wide = project(x, "kpca", gamma=1e-6)
    linear = project(x)
    np.testing.assert_allclose(wide.coordinates / np.sqrt(2e-6), linear.coordinates, atol=1e-4)
    np.testing.assert_allclose(wide.explained_variance, linear.explained_variance, rtol=1e-4)
    assert project(x, "kpca", gamma=5.0).explained_variance.sum() < 0.5 * linear.explained_variance.sum()


def test_kernel_map_of_a_curved_law():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 4))
    y = np.sum(x**2, axis=1)
    linear = project(x, "pcovr", targets=y, mixing=0.1)
    kernel = project(x, "kpcovr", targets=y, mixing=0.1)
    assert linear.target_r2 < 0.3 and kernel.target_r2 > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_rotation_scale_and_shift_of_the_features_change_nothing(data, method):
    x, y = data
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(20, 20)))[0]
    first = project(x, method, targets=y)
    second = project(1e-5 * x @ rotation + 0.3, method, targets=-3 * y)
    np.testing.assert_allclose(second.coordinates, first.coordinates, atol=1e-5)
    assert (first.coordinates[np.abs(first.coordinates).argmax(axis=0), [0, 1]] > 0).all()


@pytest.mark.parametrize("method", ["kpca", "kpcovr"])
def test_landmarks_stand_for_all(method):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, size=400)
    x = np.column_stack([np.cos(angle), 0.5 * np.sin(angle), 0.1 * angle])
    full = project(x, method, targets=angle, seed=2)
    sparse = project(x, method, targets=angle, seed=2, max_landmarks=100)
    again = project(x, method, targets=angle, seed=2, max_landmarks=100)
    np.testing.assert_array_equal(sparse.coordinates, again.coordinates)
    assert sparse.coordinates.shape == (400, 2)
    for k in range(2):
        assert abs(np.corrcoef(full.coordinates[:, k], sparse.coordinates[:, k])[0, 1]) > 0.9


def test_float32_features_and_many_columns():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(1100, 3)) @ rng.normal(size=(3, 1100)) + 1e-3 * rng.normal(size=(1100, 1100))).astype(
        np.float32
    )
    first, second = (project(x, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.coordinates, second.coordinates)
    np.testing.assert_allclose(first.coordinates, project(x.astype(float)).coordinates, atol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that of data that are not centred
        project(x[:, :200], "pcovr", targets=x[:, 0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(method="tsne"), "method must be one of pca, kpca, pcovr, kpcovr, got 'tsne'"),
        (dict(method="pcovr"), "targets must be given for method 'pcovr'"),
        (dict(mixing=2.0), "mixing must lie between 0 and 1, got 2"),
        (dict(n_components=21), "n_components must lie between 1 and 20"),
        (dict(method="kpca", gamma=0.0), "gamma must be a positive number"),
        (dict(max_landmarks=2), "max_landmarks must exceed n_components, got 2"),
        (dict(targets=np.full(150, np.nan)), "targets must be finite, got nan"),
        (dict(targets=np.ones(150)), "targets must vary, got 1 for every sample"),
        (dict(features=np.ones((150, 20))), "features must differ between samples"),
    ],
)
def test_bad_input(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        project(**{"features": data[0], **arguments})
