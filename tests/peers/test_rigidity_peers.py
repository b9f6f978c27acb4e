"""Rigidities and posterior variances number by number against scikit-matter and scikit-learn."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import BayesianRidge

from matterscape.uq import Rigidity, gram
from matterscape.uq.local_rigidity import component_prediction_rigidity, local_prediction_rigidity
from matterscape.uq.spectrum import RigiditySpectrum

pytestmark = pytest.mark.peers


def random_structures(n_features, n_train, n_test, shift=0.0):
    rng = np.random.default_rng(0)
    counts = rng.integers(2, 30, size=n_train), rng.integers(2, 30, size=n_test)
    return [[rng.normal(size=(n, n_features)) + shift for n in each] for each in counts]


@pytest.fixture
def environments():
    """Real SOAP features of molecular crystals, which are far from isotropic."""
    features = pytest.importorskip("skmatter.datasets").load_csd_1000r().data["X"]
    return np.array_split(features[:400], 40), np.array_split(features[400:], 10)


def test_local_prediction_rigidity_equals_scikit_matter():
    metrics = pytest.importorskip("skmatter.metrics")
    train, test = random_structures(40, 70, 20, shift=1.0)
    expected, _ = metrics.local_prediction_rigidity(train, test, 1e-4)
    for ours, theirs in zip(local_prediction_rigidity(train, test, 1e-4), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_local_prediction_rigidity_on_shipped_environments(environments):
    metrics = pytest.importorskip("skmatter.metrics")
    train, test = environments
    expected, _ = metrics.local_prediction_rigidity(train, test, 1e-5)
    ours = local_prediction_rigidity(train, test, 1e-5)
    np.testing.assert_allclose(np.concatenate(ours), np.concatenate(expected), rtol=1e-10)


@pytest.mark.parametrize("components", [[100], [1, 99], [30, 50, 20]])
def test_component_prediction_rigidities_equal_scikit_matter(environments, components):
    """Of structures and of atoms."""
    metrics = pytest.importorskip("skmatter.metrics")
    train, test = environments
    whole, local, _ = metrics.componentwise_prediction_rigidity(train, test, 1e-5, np.array(components))
    np.testing.assert_allclose(component_prediction_rigidity(train, test, 1e-5, components), whole, rtol=1e-9)
    ours = component_prediction_rigidity(train, test, 1e-5, components, per="atom")
    for block, expected in zip(ours, local, strict=True):
        np.testing.assert_allclose(block, expected, rtol=1e-9)


def test_structure_rigidity_equals_the_componentwise_one_of_a_single_component():
    metrics = pytest.importorskip("skmatter.metrics")
    train, test = random_structures(12, 30, 8)
    expected, _, _ = metrics.componentwise_prediction_rigidity(train, test, 1e-3, np.array([12]))
    np.testing.assert_allclose(
        local_prediction_rigidity(train, test, 1e-3, per="structure"), expected[:, 0], rtol=1e-10
    )


@pytest.mark.parametrize("noise", [1e-3, 0.3, 20.0])
def test_variance_equals_that_of_a_gaussian_process(noise):
    """Covariances too: the prior variance of the weights is one, the noise is the regularisation."""
    rng = np.random.default_rng(2)
    x, test = rng.normal(size=(30, 6)), rng.normal(size=(10, 6))
    kernel = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
    process = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, np.zeros(30))
    model = Rigidity(gram(x), noise, variance_scale=noise)
    expected = process.predict(test, return_std=True)[1] ** 2
    np.testing.assert_allclose(model.variance(test), expected, rtol=0, atol=1e-10)
    expected = process.predict(test, return_cov=True)[1]
    np.testing.assert_allclose(model.covariance(test, test), expected, rtol=0, atol=1e-10)
    spectral = noise * RigiditySpectrum(gram(x)).rows(test).inverse_rigidity(noise)
    np.testing.assert_allclose(spectral, np.diag(expected), rtol=0, atol=1e-10)


def test_variance_equals_that_of_bayesian_ridge_regression():
    """Its predictive variance is ours plus the noise, with regularisation lambda / alpha and scale 1 / alpha."""
    rng = np.random.default_rng(3)
    x, test = rng.normal(size=(50, 6)), rng.normal(size=(10, 6))
    peer = BayesianRidge(fit_intercept=False).fit(x, x @ rng.normal(size=6) + 0.3 * rng.normal(size=50))
    noise = 1 / peer.alpha_
    model = Rigidity(gram(x), peer.lambda_ / peer.alpha_, variance_scale=noise)
    expected = peer.predict(test, return_std=True)[1] ** 2
    np.testing.assert_allclose(model.variance(test) + noise, expected, rtol=1e-10)
