"""Occupations and heat capacities of modes."""

import numpy as np
import pytest

from matterscape.transport.lattice.constants import BOLTZMANN, REDUCED_PLANCK
from matterscape.transport.lattice.occupations import heat_capacities, occupations

pytestmark = pytest.mark.unit


def test_textbook_values():
    # 5 and 15 THz at 300 K: x = 0.80 and 2.40
    omega = 2 * np.pi * np.array([5.0, 15.0])
    np.testing.assert_allclose(heat_capacities(omega, 300), [0.95, 0.63], atol=0.005)
    x = REDUCED_PLANCK * omega / (BOLTZMANN * 300)
    np.testing.assert_allclose(x, [0.80, 2.40], atol=0.005)
    np.testing.assert_allclose(occupations(omega, 300), 1 / (np.exp(x) - 1), rtol=1e-12)


def test_heat_capacity_is_the_slope_of_the_energy():
    omega, temperature, step = np.array([0.3, 20.0, 90.0]), 210.0, 0.01
    ends = [REDUCED_PLANCK * omega * occupations(omega, temperature + s * step) for s in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step * BOLTZMANN)
    np.testing.assert_allclose(heat_capacities(omega, temperature), slope, rtol=1e-6)


def test_limits():
    omega = np.array([1e-3, 10.0, 1e4])
    assert (heat_capacities(omega, 300, "classical") == 1).all()
    np.testing.assert_allclose(heat_capacities(omega, 1e7), 1, atol=1e-3)
    np.testing.assert_allclose(heat_capacities(omega, 1.0)[1:], 0, atol=1e-20)
    np.testing.assert_allclose(occupations(omega, 1e8) / occupations(omega, 1e8, "classical"), 1, atol=1e-3)
    assert np.isfinite(occupations(omega, 0.01)).all()


def test_bad_input():
    with pytest.raises(ValueError, match="temperature_K is 0"):
        occupations(np.ones(3), 0)
    with pytest.raises(ValueError, match="statistics is 'bose'; accepted are 'quantum', 'classical'"):
        heat_capacities(np.ones(3), 300, "bose")
