"""Counter-based random numbers: known answers, distributions, independence of streams."""

import numpy as np
import pytest
from scipy import stats

from matterscape.dynamics import _random

pytestmark = pytest.mark.unit

ONES = 0xFFFFFFFF
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.mark.parametrize(
    ("counter_and_key", "expected"),
    [
        ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter_and_key, expected):
    assert _random.philox(*map(np.uint64, counter_and_key)) == expected


def test_logarithm_cosine_and_sine_are_exact_to_rounding():
    x = (np.arange(0, 2**32, 2**22 - 5) + 0.5) * 2.0**-32
    x = np.concatenate([x, [0.5 * 2.0**-32, 0.125, 0.25, 0.5, 0.75, np.sqrt(0.5), 1 - 0.5 * 2.0**-32]])
    np.testing.assert_allclose([_random.logarithm(value) for value in x], np.log(x), rtol=1e-15)
    both = np.array([_random.cosine_and_sine(value) for value in x])
    np.testing.assert_allclose(both, np.column_stack([np.cos(2 * np.pi * x), np.sin(2 * np.pi * x)]), atol=2e-15)


def test_a_block_of_draws_is_the_draws_one_by_one():
    key, step = _random.stream_keys(3, [0])[0], np.uint64(2**32 + 7)
    block = np.empty((3, _random.BLOCK))
    _random.normals(np.uint64(100), step, _random.LANGEVIN, key, block)
    for k in (0, 1, _random.BLOCK - 1):
        w0, w1, w2, w3 = _random.words(np.uint64(100 + k), step, _random.LANGEVIN, key)
        expected = *_random.normal_pair(w0, w1), _random.normal_pair(w2, w3)[0]
        assert np.array_equal(block[:, k], expected)


def _normals(seed=1, stream=0, step=0, n=20000):
    out = np.empty((n, 3))
    keys = _random.stream_keys(seed, [stream])
    _random.fill_normals(np.uint64(step), _random.LANGEVIN, keys, np.array([0, n]), out)
    return out


def test_normals_are_standard_normal_and_independent():
    draws = _normals()
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 4 / np.sqrt(len(draws))


@pytest.mark.parametrize("other", [{"seed": 2}, {"stream": 1}, {"step": 1}, {"step": 2**32}])
def test_seeds_streams_and_steps_are_independent(other):
    first, second = _normals(), _normals(**other)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)


def test_a_draw_does_not_depend_on_what_else_is_drawn():
    keys = _random.stream_keys(5, [4, 9])
    both, alone = np.empty((7, 3)), np.empty((4, 3))
    _random.fill_normals(np.uint64(3), _random.CELL, keys, np.array([0, 3, 7]), both)
    _random.fill_normals(np.uint64(3), _random.CELL, keys[1:], np.array([0, 4]), alone)
    assert np.array_equal(both[3:], alone)


@pytest.mark.parametrize("freedoms", [1, 2, 3, 10, 2997])
def test_chi_squared_numbers(freedoms):
    key = _random.stream_keys(8, [0])[0]
    draws = np.array(
        [_random.normal_and_chi_squared(freedoms, np.uint64(k), _random.RESCALING, key) for k in range(4000)]
    )
    assert stats.kstest(draws[:, 0], "norm").pvalue > 1e-3
    assert stats.kstest(draws[:, 1], "chi2", args=(freedoms,)).pvalue > 1e-3
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / np.sqrt(len(draws))


def test_no_degree_of_freedom_gives_nothing():
    assert _random.normal_and_chi_squared(0, np.uint64(0), _random.RESCALING, _random.stream_keys(8, [0])[0])[1] == 0
