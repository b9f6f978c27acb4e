"""Rigidities, posterior variances and projections number by number against scikit-matter and scikit-learn."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import Ridge

from matterscape.maps import project, select
from matterscape.uq import Rigidity, gram, local_prediction_rigidity

pytestmark = pytest.mark.peers


def test_local_prediction_rigidity_equals_scikit_matter():
    metrics = pytest.importorskip("skmatter.metrics")
    rng = np.random.default_rng(0)
    train = [rng.normal(size=(n, 40)) + 1.0 for n in rng.integers(2, 30, size=70)]
    test = [rng.normal(size=(n, 40)) + 1.0 for n in rng.integers(2, 30, size=20)]
    expected, _ = metrics.local_prediction_rigidity(train, test, 1e-4)
    for ours, theirs in zip(local_prediction_rigidity(train, test, 1e-4), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_local_prediction_rigidity_on_shipped_environments():
    """Real SOAP features of molecular crystals, which are far from isotropic."""
    datasets = pytest.importorskip("skmatter.datasets")
    metrics = pytest.importorskip("skmatter.metrics")
    features = datasets.load_csd_1000r().data["X"]
    train, test = np.array_split(features[:400], 40), np.array_split(features[400:], 10)
    expected, _ = metrics.local_prediction_rigidity(train, test, 1e-5)
    ours = local_prediction_rigidity(train, test, 1e-5)
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(expected), rtol=1e-10)


def test_structure_rigidity_equals_the_componentwise_one_of_a_single_component():
    metrics = pytest.importorskip("skmatter.metrics")
    rng = np.random.default_rng(1)
    train = [rng.normal(size=(n, 12)) for n in rng.integers(2, 9, size=30)]
    test = [rng.normal(size=(n, 12)) for n in rng.integers(2, 9, size=8)]
    expected, _, _ = metrics.componentwise_prediction_rigidity(train, test, 1e-3, np.array([12]))
    np.testing.assert_allclose(
        local_prediction_rigidity(train, test, 1e-3, per="structure"), expected[:, 0], rtol=1e-10
    )


def test_variance_equals_that_of_a_gaussian_process():
    rng = np.random.default_rng(2)
    x, test, noise = rng.normal(size=(30, 6)), rng.normal(size=(10, 6)), 0.3
    kernel = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
    process = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, np.zeros(30))
    expected = process.predict(test, return_std=True)[1] ** 2
    np.testing.assert_allclose(Rigidity(gram(x), noise, variance_scale=noise).variance(test), expected, atol=1e-10)


@pytest.mark.parametrize("mixing", [0.2, 0.8])
def test_pcovr_equals_scikit_matter(mixing):
    """On real SOAP features, up to the signs that scikit-matter leaves open."""
    datasets = pytest.importorskip("skmatter.datasets")
    decomposition = pytest.importorskip("skmatter.decomposition")
    preprocessing = pytest.importorskip("skmatter.preprocessing")
    features, targets = datasets.load_csd_1000r(return_X_y=True)
    scaled = preprocessing.StandardFlexibleScaler().fit_transform(features)
    y = preprocessing.StandardFlexibleScaler(column_wise=True).fit_transform(targets)
    regressor = Ridge(alpha=1e-6 * 500 / 100, fit_intercept=False)
    peer = decomposition.PCovR(mixing=mixing, n_components=2, regressor=regressor).fit(scaled, y).transform(scaled)
    ours = project(features, "pcovr", targets=targets, mixing=mixing).coordinates
    np.testing.assert_allclose(np.abs(ours), np.abs(peer), rtol=1e-5, atol=1e-7)


def test_farthest_points_of_columns_equal_scikit_matter():
    datasets = pytest.importorskip("skmatter.datasets")
    selection = pytest.importorskip("skmatter.feature_selection")
    features = datasets.load_csd_1000r().data["X"]
    ours = select(features, 10, axis="features", seed=3)
    peer = selection.FPS(n_to_select=10, initialize=int(ours[0])).fit(features)
    np.testing.assert_array_equal(ours, peer.selected_idx_)
