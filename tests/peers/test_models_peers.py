"""Projections and selections number by number against scikit-matter and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from matterscape.maps import project, select

pytestmark = pytest.mark.peers


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
