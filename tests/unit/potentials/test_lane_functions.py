"""exp and erfc of eight numbers at once against libraries."""

import mpmath
import numba
import numpy as np
import pytest
from scipy.special import erfcx

from matterscape.basis._lanes import load, store
from matterscape.potentials._lane_functions import exponential, scaled_erfc

pytestmark = pytest.mark.unit


@numba.njit
def _exponential(x, out):
    for i in range(len(x)):
        store(out, i, exponential(load(x, i)))


@numba.njit
def _scaled_erfc(x, out):
    for i in range(len(x)):
        store(out, i, scaled_erfc(load(x, i)))


def applied(function, x):
    out = np.empty_like(x).reshape(-1, 8)
    function(x.reshape(-1, 8), out)
    return out.reshape(-1)


def test_exponential():
    x = np.concatenate([np.linspace(-707.9, 708.9, 40000), np.linspace(-1, 1, 8000)])
    np.testing.assert_allclose(applied(_exponential, x), np.exp(x), rtol=4.5e-16)
    exact = [float(mpmath.exp(mpmath.mpf(value))) for value in x[::500]]
    np.testing.assert_allclose(applied(_exponential, x)[::500], exact, rtol=4.5e-16)
    assert np.all(applied(_exponential, np.full(8, -1e5)) < 1e-300)
    assert np.all(applied(_exponential, np.zeros(8)) == 1.0)


def test_scaled_erfc():
    x = np.linspace(0, 8, 40000)
    np.testing.assert_allclose(applied(_scaled_erfc, x), erfcx(x), rtol=3e-15)
    beyond = np.linspace(8, 26, 800)
    assert np.all(applied(_scaled_erfc, beyond) * np.exp(-(beyond**2)) < 1e-28)
