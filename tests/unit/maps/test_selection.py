"""Selections against their definitions."""

import numpy as np
import pytest
import torch

from matterscape.maps.selection import select

pytestmark = pytest.mark.unit


def test_each_farthest_point_is_the_farthest():
    x = np.random.default_rng(0).normal(size=(60, 5))
    chosen = select(x, 12, seed=4)
    for step in range(1, 12):
        distances = np.linalg.norm(x[:, None] - x[chosen[:step]], axis=2).min(axis=1)
        assert chosen[step] == np.argmax(distances)
    np.testing.assert_array_equal(chosen[:5], select(torch.tensor(x), 5, seed=4))


@pytest.mark.parametrize("method", ["fps", "cur"])
@pytest.mark.parametrize("axis", ["samples", "features"])
def test_a_selection_spans_what_the_matrix_spans(method, axis):
    """Of many copies of a few vectors, each is chosen once."""
    rng = np.random.default_rng(1)
    few = rng.normal(size=(4, 30))
    copies = rng.integers(4, size=50)
    x = few[copies] * (1.0 if method == "fps" else rng.uniform(0.9, 1.1, size=(50, 1)))
    chosen = select(x if axis == "samples" else x.T, 4, method=method, axis=axis)
    assert sorted(copies[chosen]) == [0, 1, 2, 3]


def test_same_seed_same_selection_with_a_sketch():
    rng = np.random.default_rng(2)
    centres = 20 * rng.normal(size=(6, 2000))
    x = (centres[np.arange(120) % 6] + rng.normal(size=(120, 2000))).astype(np.float32)
    first, second = (select(x, 6, seed=3, sketch=True) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert sorted(first % 6) == list(range(6))


def test_single_column_and_single_candidate():
    assert set(select(np.array([[0.0], [1.0], [5.0]]), 2, seed=0)) >= {2}
    assert select(np.ones((1, 3)), 1) == [0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(n_select=0), "n_select must lie between 1 and the number of samples 8, got 0"),
        (dict(n_select=4, axis="features"), "n_select must lie between 1 and the number of features 3, got 4"),
        (dict(n_select=2, method="random"), "method must be 'fps' or 'cur', got 'random'"),
        (dict(n_select=2, axis="rows"), "axis must be 'samples' or 'features', got 'rows'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        select(np.arange(24.0).reshape(8, 3), **arguments)
