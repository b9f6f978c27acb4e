"""Electrons of one parabolic band: Fermi-Dirac integrals, limits of few and of many carriers, figure of merit."""

import math

import mpmath
import numpy as np
import pytest
from ase import units

from matterscape.transport.thermoelectric import ParabolicBand, fermi_dirac_integral, figure_of_merit

pytestmark = pytest.mark.unit

VOLT_PER_KELVIN = units._k / units._e


@pytest.mark.parametrize("order", [-0.5, 0, 0.5, 1, 1.5, 2])
def test_integrals_against_polylogarithms(order):
    """F_j(eta) = -Gamma(j + 1) Li_{j+1}(-exp(eta)), by mpmath."""
    for eta in (-30.0, -3.0, 0.0, 0.7, 5.0, 20.0):
        expected = -mpmath.gamma(order + 1) * mpmath.polylog(order + 1, -mpmath.exp(eta)).real
        assert float(fermi_dirac_integral(order, eta)) == pytest.approx(float(expected), rel=1e-11)


@pytest.mark.parametrize("order", [0.5, 1, 2])
@pytest.mark.parametrize("eta", [39.9, 60.0, 900.0])
def test_integrals_of_high_levels(order, eta):
    """Sommerfeld's expansion, whose next term is of order eta^(j-7)."""
    j = order
    expected = eta ** (j + 1) / (j + 1) + math.pi**2 / 6 * j * eta ** (j - 1)
    expected += 7 * math.pi**4 / 360 * j * (j - 1) * (j - 2) * eta ** (j - 3)
    expected += 31 * math.pi**6 / 15120 * j * (j - 1) * (j - 2) * (j - 3) * (j - 4) * eta ** (j - 5)
    assert float(fermi_dirac_integral(order, eta)) == pytest.approx(expected, rel=3e-9)


def test_integrals_of_arrays_and_their_slopes():
    eta = np.linspace(-10, 60, 141).reshape(3, 47)
    assert fermi_dirac_integral(1, eta).shape == eta.shape
    np.testing.assert_allclose(fermi_dirac_integral(0, eta), np.logaddexp(0, eta), rtol=1e-12)
    h = 1e-4
    slopes = (fermi_dirac_integral(1.5, eta + h) - fermi_dirac_integral(1.5, eta - h)) / (2 * h)
    np.testing.assert_allclose(slopes, 1.5 * fermi_dirac_integral(0.5, eta), rtol=1e-7)


def test_few_carriers():
    """S = (k_B/e) (2 - eta), L = 2 (k_B/e)^2, and each carrier has the mobility of the model."""
    band = ParabolicBand(effective_mass=1.0, mobility_cm2_Vs=250.0, mobility_exponent=-1.5)
    found = band.transport(1e12, 600.0)
    assert found.seebeck_uV_K == pytest.approx(1e6 * VOLT_PER_KELVIN * (2 - found.reduced_level), rel=1e-6)
    assert found.lorenz == pytest.approx(2 * VOLT_PER_KELVIN**2, rel=1e-6)
    assert found.conductivity_S_cm == pytest.approx(1e12 * units._e * 250 * 2**-1.5, rel=1e-6)
    # the classical density of states, 2.509e19 (m T / 300 K)^(3/2) / cm^3
    assert found.reduced_level == pytest.approx(math.log(1e12 / (2.5094e19 * 2**1.5)), abs=1e-4)


def test_a_metal():
    """Mott's law S = (pi^2/3) (k_B/e) (r + 3/2) / eta with r = -1/2, and Lorenz' number pi^2/3 (k_B/e)^2."""
    found = ParabolicBand().transport(1e24, 300.0)
    assert found.reduced_level > 100
    assert found.seebeck_uV_K == pytest.approx(1e6 * VOLT_PER_KELVIN * math.pi**2 / 3 / found.reduced_level, rel=1e-3)
    assert found.lorenz == pytest.approx(2.443e-8, rel=1e-3)
    assert found.thermal_conductivity == pytest.approx(found.lorenz * 100 * found.conductivity_S_cm * 300, rel=1e-12)


@pytest.mark.parametrize("carriers", [1e5, 1e19, 3e20, 1e23])
def test_level_and_carriers_are_inverse(carriers):
    band = ParabolicBand()
    assert band.carriers_cm3(band.reduced_level(carriers, 700.0), 700.0) == pytest.approx(carriers, rel=1e-9)


def test_figure_of_merit():
    """S = 200 uV/K, sigma = 1000 S/cm, kappa = 2 W/(m K) at 500 K: 4e-8 x 1e5 x 500 / 2 = 1."""
    assert float(figure_of_merit(200, 1000, 2.0, 500)) == pytest.approx(1.0, rel=1e-12)
    assert float(figure_of_merit(-200, 1000, 2.0, 500)) == pytest.approx(1.0, rel=1e-12)
    # a lattice that conducts 1.5 instead of 8 W/(m K) beside electrons that conduct 1
    gain = figure_of_merit(200, 1000, 1.5 + 1, 500) / figure_of_merit(200, 1000, 8.0 + 1, 500)
    assert float(gain) == pytest.approx(3.6, rel=1e-12)


def test_bad_input():
    band = ParabolicBand()
    for call, message in (
        (lambda: fermi_dirac_integral(0.3, 0.0), "order is 0.3; accepted are multiples of 1/2 from -1/2 on"),
        (lambda: fermi_dirac_integral(-1, 0.0), "order is -1; accepted are multiples"),
        (lambda: fermi_dirac_integral(1, math.inf), "reduced_level is inf; accepted are finite numbers"),
        (lambda: band.transport(0.0, 300), "carriers_cm3 is 0.0; accepted is a positive number of 1/cm"),
        (lambda: band.transport(1e20, -3), "temperature_K is -3; accepted is a positive number of K"),
        (lambda: ParabolicBand(effective_mass=0.0), "effective_mass is 0.0; accepted is a positive number"),
        (lambda: ParabolicBand(mobility_cm2_Vs=-1.0), "mobility_cm2_Vs is -1.0; accepted is a positive number"),
        (lambda: figure_of_merit(100, 10, 0.0, 300), "thermal_conductivity is 0; accepted are positive numbers"),
        (lambda: figure_of_merit(100, 10, 1.0, -1), "temperature_K is -1; accepted are positive numbers"),
        (lambda: figure_of_merit(100, -10, 1.0, 300), "conductivity_S_cm is -10; accepted are numbers from 0 on"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
