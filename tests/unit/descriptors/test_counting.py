"""Counts of independent correlations: published numbers, dimensions of symmetric powers, bad input."""

import math

import pytest

from matterscape.descriptors.counting import multiplicity

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "channels, order, expected",
    [
        ((7, 7), 2, (56, 0)),
        ((7, 7), 3, (280, 35)),
        ((1,) * 5, 2, (5, 0)),
        ((1,) * 5, 3, (14, 1)),
        ((1,) * 5, 4, (51, 14)),
        ((1, 1), 3, (2, 0)),  # s^3 and s |p|^2
        ((0, 1), 4, (1, 0)),  # |p|^4
        ((0, 3), 3, (0, 1)),  # the triple product
        ((), 0, (1, 0)),
    ],
)
def test_known_numbers_of_invariants(channels, order, expected):
    assert multiplicity(channels, order, 0) == expected


@pytest.mark.parametrize("channels, order", [((2, 1, 1), 3), ((1, 1, 1, 1), 4), ((0, 2, 0, 1), 5)])
def test_multiplets_fill_the_symmetric_power(channels, order):
    size = sum((2 * l + 1) * count for l, count in enumerate(channels))
    largest = order * (len(channels) - 1)
    total = sum((2 * angular + 1) * sum(multiplicity(channels, order, angular)) for angular in range(largest + 1))
    assert total == math.comb(size + order - 1, order)
    assert multiplicity(channels, order, largest + 1) == (0, 0)


def test_order_one_is_the_density():
    assert [multiplicity((4, 3, 2), 1, l) for l in range(4)] == [(4, 0), (3, 0), (2, 0), (0, 0)]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (((1, -1), 2, 0), ["channels_of_l[1] is -1"]),
        (((1, 1), -1, 0), ["order is -1"]),
        (((1, 1), 2, 0.5), ["angular is 0.5"]),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(ValueError) as error:
        multiplicity(*arguments)
    assert all(word in str(error.value) for word in words), error.value
