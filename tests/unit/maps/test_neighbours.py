"""Nearest samples and clusters against brute force."""

import numpy as np
import pytest
import torch

from matterscape.maps.neighbours import cluster, nearest

pytestmark = pytest.mark.unit


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(50, 6)) + 0.5


def brute_force(features, metric, exponent):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = unit @ unit.T
    if metric == "euclidean":
        distances = np.linalg.norm(features[:, None] - features, axis=2)
    elif metric == "cosine":
        distances = 1 - cosine
    else:
        distances = np.sqrt(2 - 2 * np.clip(cosine, 0, 1) ** exponent)
    np.fill_diagonal(distances, np.inf)
    return distances


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "kernel"])
def test_equals_brute_force(features, metric):
    result = nearest(torch.tensor(features), 7, metric=metric, exponent=3.0)
    expected = np.sort(brute_force(features, metric, 3.0), axis=1)[:, :7]
    np.testing.assert_allclose(result.distances, expected, atol=1e-7)
    assert (result.indices != np.arange(50)[:, None]).all()


def test_chosen_queries_and_duplicates(features):
    everything = nearest(features, 4)
    chosen = nearest(features, 4, queries=[9, 3])
    np.testing.assert_array_equal(chosen.indices, everything.indices[[9, 3]])
    same = nearest(np.ones((6, 2)), 3)
    assert (same.indices != np.arange(6)[:, None]).all() and (same.distances == 0).all()


def test_clusters_are_found(features):
    groups = np.repeat([0, 1, 2], 40)
    x = np.random.default_rng(1).normal(size=(120, 2)) * 0.1 + groups[:, None] * [5.0, -3.0]
    for labels in (cluster(x, 3), cluster(x)):
        assert len(set(zip(groups, labels))) <= 3 + (labels == -1).any() * 3
        assert len(set(labels) - {-1}) == 3
    np.testing.assert_array_equal(cluster(features, 4, seed=1), cluster(features, 4, seed=1))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: nearest(x, 50), "n_neighbours must lie between 1 and 49, got 50"),
        (lambda x: nearest(x, 3, queries=[50]), "queries must hold row numbers from 0 to 49"),
        (lambda x: nearest(x, 3, queries=[]), "queries must hold row numbers"),
        (lambda x: nearest(x, 3, metric="l1"), "metric must be one of euclidean, cosine, kernel, got 'l1'"),
        (lambda x: nearest(x, 3, metric="kernel", exponent=0), "exponent must be positive, got 0"),
        (lambda x: cluster(x, 51), "n_clusters must lie between 1 and the number of samples 50, got 51"),
    ],
)
def test_bad_input(features, call, message):
    with pytest.raises(ValueError, match=message):
        call(features)
