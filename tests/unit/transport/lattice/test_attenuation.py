"""Attenuation of sound: laws are recovered, points that nothing resolves are left out, bad input is refused."""

import numpy as np
import pytest

from matterscape.transport.lattice.attenuation import (
    AnharmonicWidths,
    Attenuation,
    fit_attenuation,
    ioffe_regel,
    rayleigh_fit,
)

pytestmark = pytest.mark.unit

OMEGA = np.linspace(2.0, 12.0, 11)


@pytest.mark.parametrize(("quadratic", "quartic"), [(3e-3, 2e-4), (0.0, 2e-4), (3e-3, 0.0)])
def test_both_laws_are_recovered(quadratic, quartic):
    law = Attenuation(quadratic, quartic)
    found = fit_attenuation(OMEGA, law(OMEGA))
    assert found.quadratic == pytest.approx(quadratic, abs=1e-12)
    assert found.quartic == pytest.approx(quartic, rel=1e-9, abs=1e-14)


def test_coefficients_are_never_negative():
    found = fit_attenuation(OMEGA, 1e-4 * OMEGA**4 - 2e-3 * OMEGA**2)
    assert found.quadratic == 0 and found.quartic > 0


def test_the_fit_weighs_relative_errors():
    # one point off by the same factor shifts the fit alike wherever it lies; absolute weights would see the last alone
    widths = 1e-3 * OMEGA**2
    shifts = []
    for place in (0, -1):
        off = widths.copy()
        off[place] *= 1.1
        shifts.append(abs(fit_attenuation(OMEGA, off).quadratic * OMEGA[place] ** 2 / off[place] - 1))
    assert max(shifts) < 0.12
    weighted = fit_attenuation(OMEGA, np.where(OMEGA > 11, 9.0, widths), np.where(OMEGA > 11, 0.0, 1.0))
    assert weighted.quadratic == pytest.approx(1e-3, rel=1e-9)


def test_ioffe_regel_limit_solves_its_equation():
    law, anharmonic = Attenuation(2e-3, 1e-4), Attenuation(5e-3, 0.0)
    omega = ioffe_regel(law, anharmonic)
    assert 2 * np.pi * (law(omega) + anharmonic(omega)) == pytest.approx(omega, rel=1e-10)
    assert omega < ioffe_regel(law)
    assert ioffe_regel(Attenuation(0, 1e-4)) == pytest.approx((2 * np.pi * 1e-4) ** (-1 / 3), rel=1e-9)
    assert ioffe_regel(Attenuation(1e-2, 0)) == pytest.approx(1 / (2 * np.pi * 1e-2), rel=1e-9)
    with pytest.raises(ValueError, match="attenuations are all zero"):
        ioffe_regel(Attenuation(0, 0))


@pytest.mark.parametrize("power", [2.0, 4.0])
def test_exponents_are_recovered_within_their_errors(power):
    rng = np.random.default_rng(4)
    widths = 3e-4 * OMEGA**power
    exact = rayleigh_fit(OMEGA, widths, broadening=0.0)
    assert exact.exponent == pytest.approx(power, abs=1e-10)
    pulls = []
    for _ in range(200):
        fit = rayleigh_fit(OMEGA, widths * np.exp(0.1 * rng.normal(size=len(OMEGA))), broadening=0.0)
        pulls.append((fit.exponent - power) / fit.exponent_error)
    # Student's t of nine degrees of freedom has a standard deviation of 1.13
    assert np.std(pulls) == pytest.approx(1.13, abs=0.2)
    assert abs(np.mean(pulls)) < 0.3


def test_rayleigh_prefactor():
    assert rayleigh_fit(OMEGA, 2e-5 * OMEGA**4, broadening=0.0).quartic == pytest.approx(2e-5, rel=1e-10)


def test_widths_below_the_resolution_do_not_count():
    widths = 2e-5 * OMEGA**4
    floor = widths[3] * 1.01
    widths[:4] = floor * np.array([0.9, 0.5, 0.99, 0.7])  # what a broadening leaves of small widths
    fit = rayleigh_fit(OMEGA, widths, broadening=floor / 0.3)
    assert fit.resolved.tolist() == [False] * 4 + [True] * 7
    assert fit.exponent == pytest.approx(4, abs=1e-9)
    assert rayleigh_fit(OMEGA, widths, broadening=0.0).exponent < 3.6
    spaced = rayleigh_fit(OMEGA, widths, broadening=0.0, level_spacings=np.full(len(OMEGA), floor))
    assert spaced.resolved.tolist() == fit.resolved.tolist()


def test_a_broadening_that_was_not_subtracted_spoils_the_exponent():
    widths = 2e-5 * OMEGA**4
    broadening = 0.05
    assert rayleigh_fit(OMEGA, widths + broadening, broadening=broadening).exponent < 3.0
    assert rayleigh_fit(OMEGA, widths, broadening=broadening).exponent == pytest.approx(4, abs=1e-9)


def test_given_errors_bound_the_error_of_the_exponent():
    exact = 2e-5 * OMEGA**4
    small = rayleigh_fit(OMEGA, exact, broadening=0.0, relative_errors=np.full(len(OMEGA), 0.1))
    large = rayleigh_fit(OMEGA, exact, broadening=0.0, relative_errors=np.full(len(OMEGA), 0.2))
    x = np.log(OMEGA) - np.log(OMEGA).mean()
    assert small.exponent_error == pytest.approx(0.1 / np.sqrt((x**2).sum()), rel=1e-9)
    assert large.exponent_error == pytest.approx(2 * small.exponent_error, rel=1e-9)


def test_nothing_resolved_is_said():
    with pytest.raises(ValueError, match="half_widths resolve 0 points of 11"):
        rayleigh_fit(OMEGA, 2e-5 * OMEGA**4, broadening=100.0)


def some_widths(coefficients: list[float]) -> tuple[np.ndarray, np.ndarray]:
    omega = np.linspace(1.0, 90.0, 300)
    return omega, np.array(coefficients)[:, None] * np.where(omega < 20, omega**2, 400 * (omega / 20) ** 1.5)


def test_anharmonic_widths_follow_their_law_below_and_modes_above():
    omega, widths = some_widths([1e-3, 2e-3, 4e-3])
    found = AnharmonicWidths(omega, widths, [150.0, 300.0, 600.0], crossover=12.0)
    assert found.coefficients == pytest.approx([1e-3, 2e-3, 4e-3], rel=1e-9)
    assert found.coefficient(450.0) == pytest.approx(3e-3, rel=1e-9)
    assert found.coefficient(75.0) == pytest.approx(5e-4, rel=1e-9)
    assert found(5.0, 300.0) == pytest.approx(0.05, rel=1e-9)
    assert found(np.array([40.0, 70.0]), 300.0) == pytest.approx(0.8 * np.array([2.0, 3.5]) ** 1.5, rel=0.02)
    assert found(200.0, 300.0) == pytest.approx(found(90.0, 300.0))
    assert found(np.array([[5.0], [40.0]]), np.array([300.0, 600.0])).shape == (2, 2)


def test_noise_of_modes_is_smoothed():
    omega, widths = some_widths([2e-3])
    rng = np.random.default_rng(0)
    noisy = widths * np.exp(0.3 * rng.normal(size=widths.shape))
    found = AnharmonicWidths(omega, noisy, [300.0], crossover=12.0)
    inner = slice(60, 280)
    assert np.abs(np.log(found(omega[inner], 300.0) / widths[0, inner])).max() < 0.15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crossover": 0.5}, "crossover is 0.5 rad/ps, with 0 modes below and 300 above"),
        ({"temperatures_K": [300.0, 200.0]}, r"temperatures_K are \[300.0, 200.0\]"),
        ({"half_widths": np.ones((1, 300))}, r"half_widths have shape \(1, 300\); accepted is \(2, 300\)"),
        ({"half_widths": -np.ones((2, 300))}, "accepted are positive ones"),
    ],
)
def test_wrong_anharmonic_widths(changes, message):
    omega, widths = some_widths([1e-3, 2e-3])
    arguments = {"half_widths": widths, "temperatures_K": [100.0, 300.0], "crossover": 12.0}
    with pytest.raises(ValueError, match=message):
        AnharmonicWidths(omega, **(arguments | changes))


def test_wrong_points():
    with pytest.raises(ValueError, match=r"shape \(11,\) and half_widths \(3,\)"):
        fit_attenuation(OMEGA, np.ones(3))
    with pytest.raises(ValueError, match="accepted are positive numbers"):
        fit_attenuation(-OMEGA, OMEGA)
    with pytest.raises(ValueError, match="quadratic is -1"):
        Attenuation(-1, 0)
    with pytest.raises(ValueError, match="none negative and not all zero"):
        fit_attenuation(OMEGA, OMEGA, np.zeros(11))
