"""Conductivities from synthetic currents of known spectra, their invariances, and published currents of molten NaCl."""

import functools

import numpy as np
import pytest
from scipy import constants
from scipy.signal import lfilter
from scipy.special import polygamma

from matterscape.transport.currents import Currents
from matterscape.transport.onsager import (
    conductivity_tensor,
    electrical_conductivity,
    gauge_deviation,
    onsager_matrix,
    scan_cutoff,
    schur_complement,
    thermal_conductivity,
)

pytestmark = pytest.mark.unit

NAMES = ("energy", "charge", "number", "mass")


def currents_of(values, **changes):
    options = {"timestep_fs": 5.0, "temperature_K": 700.0, "volume": 4e3} | changes
    return Currents(values, NAMES[: len(values)], **options)


def synthetic(n_currents, n_segments=1, n_samples=20_000, seed=0, coupling=0.8, scales=(1.0, 1.0, 1.0)):
    """Coloured currents, of which that of energy holds a part of each of the others."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_currents, n_segments, 3, n_samples)) * np.sqrt(np.array(scales))[:, None]
    values[0] += coupling * values[1:].sum(axis=0)
    return currents_of(lfilter([1.0], [1.0, -0.7], values))


def test_units():
    """White noise of variance s^2 has S = s^2 dt; constants from another source."""
    rng = np.random.default_rng(0)
    currents = currents_of(rng.normal(size=(2, 1, 3, 200_000)) * np.array([40.0, 3.0])[:, None, None, None])
    heat = thermal_conductivity(currents.select("energy"), 100.0, n_coefficients=0)
    charge = electrical_conductivity(currents, 100.0, n_coefficients=0)
    angstrom_per_ps, volume, timestep = 100.0, 4e3 * 1e-30, 5e-15
    energy_current = 40.0 * constants.e * angstrom_per_ps
    expected = energy_current**2 * timestep / (2 * volume * constants.k * 700.0**2)
    assert heat.value == pytest.approx(expected, abs=4 * heat.error)
    assert heat.error / heat.value < 0.003
    # the sampled spectrum itself, with nothing random left
    s0 = heat.cepstral.zero_frequency * constants.e**2 * 1e4 * 1e-12
    assert heat.value == pytest.approx(s0 / (2 * volume * constants.k * 700.0**2), rel=1e-5)
    charge_current = 3.0 * constants.e * angstrom_per_ps
    expected = charge_current**2 * timestep / (2 * volume * constants.k * 700.0) / 100
    assert charge.value == pytest.approx(expected, abs=4 * charge.error)
    assert (heat.unit, charge.unit) == ("W/(m K)", "S/cm")


def test_results_say_how_they_were_made():
    currents = synthetic(2)
    found = thermal_conductivity(currents, 22.0)
    assert found.cutoff_THz == pytest.approx(20.0)  # 100 THz / 5
    assert found.degrees_of_freedom == 2
    assert found.n_coefficients == found.cepstral.best_n_coefficients
    assert repr(found).startswith("<Conductivity (") and "W/(m K), f* = 20 THz, K = " in repr(found)
    values, errors = found.scan(20)
    other = found.with_coefficients(11)
    assert (values[11], errors[11]) == pytest.approx((other.value, other.error), rel=1e-12)
    assert other.value == thermal_conductivity(currents, 22.0, n_coefficients=11).value


@pytest.mark.parametrize("n_currents", [2, 3])
def test_known_conductivity_beside_other_currents(n_currents):
    """What the other currents carry is removed; with the current of energy alone it is not."""
    exact = None
    scores, alone = [], []
    for seed in range(60):
        currents = synthetic(n_currents, n_samples=4_000, seed=seed)
        found = thermal_conductivity(currents, 100.0, n_coefficients=16)
        factor = found.factor * 0.005 / (1 - 0.7) ** 2
        exact = factor
        scores.append((found.value - exact) / found.error)
        alone.append(thermal_conductivity(currents.select("energy"), 100.0, n_coefficients=16).value / exact)
    assert np.mean(scores) == pytest.approx(0, abs=0.5)
    assert np.std(scores) == pytest.approx(1, abs=0.3)
    assert np.mean(alone) == pytest.approx(1 + 0.64 * (n_currents - 1), rel=0.05)


def test_one_current_gives_more_than_two():
    """kappa(M=1) - kappa(M=2) = L_EZ^2 / (L_ZZ T^2): at least zero at every frequency."""
    currents = synthetic(2)
    one = thermal_conductivity(currents.select("energy"), 50.0).periodogram
    two = thermal_conductivity(currents, 50.0).periodogram
    assert (one.values * 3 >= two.values * 2 * (1 - 1e-12)).all()


@pytest.mark.parametrize("n_currents", [2, 3])
def test_invariance_under_shifts_of_the_energy_current(n_currents):
    currents = synthetic(n_currents, n_segments=2)
    assert gauge_deviation(currents, 25.0, (-1.0, 0.5, 30.0)) < 1e-9
    shifted = currents.shifted("energy", "charge", -5.0)
    expected = thermal_conductivity(currents, 25.0)
    found = thermal_conductivity(shifted, 25.0)
    assert found.value == pytest.approx(expected.value, rel=1e-10)
    assert found.n_coefficients == expected.n_coefficients
    # negative control: one current alone
    alone = [thermal_conductivity(c.select("energy"), 25.0).value for c in (currents, shifted)]
    assert alone[1] > 2 * alone[0]


def test_errors_at_equal_length_and_coefficients():
    """psi'(2) / psi'(3) = 0.6449 / 0.3949: errors of two currents are 1.278 times those of one, of three 2.041."""
    currents = synthetic(3)
    one, two, three = (
        thermal_conductivity(currents.select(*NAMES[:m]), 20.0, n_coefficients=6).cepstral.log_error for m in (1, 2, 3)
    )
    assert two / one == pytest.approx(1.278, abs=5e-4)
    assert three / one == pytest.approx(np.sqrt(polygamma(1, 1) / polygamma(1, 3)), rel=1e-12)
    with pytest.raises(ValueError, match="4 currents with 3 equivalent components leave 0 degrees of freedom"):
        thermal_conductivity(currents.with_current("mass", "mass", currents["energy"] ** 3), 20.0)


def test_independent_runs_are_further_components():
    """n runs give what l = 3 n components give."""
    currents = synthetic(2, n_segments=4)
    stacked = currents_of(currents.values.reshape(2, 1, 12, -1))
    runs, components = (thermal_conductivity(c, 20.0) for c in (currents, stacked))
    assert runs.degrees_of_freedom == 11
    assert (runs.value, runs.error) == pytest.approx((components.value, components.error), rel=1e-12)
    expected = np.sqrt(polygamma(1, 11) * (4 * runs.n_coefficients + 2) / 4_000)
    assert runs.error / runs.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("largest", "bias"), [(1.35, 0.002), (2.0, 0.009), (3.0, 0.021)])
def test_unequal_directions_are_averaged_with_a_small_bias(largest, bias):
    """The mean over directions comes out low, by 2 % where one conducts three times as well as another."""
    scales = np.linspace(1.0, largest, 3)
    noise = np.random.default_rng(3).normal(size=(1, 1, 3, 1_000_000)) * np.sqrt(scales)[:, None]
    found = thermal_conductivity(currents_of(noise), 100.0, n_coefficients=0)
    exact = found.factor * 0.005 * scales.mean()
    assert 1 - found.value / exact == pytest.approx(bias, abs=0.0025)


def test_each_direction_from_several_runs():
    currents = synthetic(2, n_segments=6, n_samples=8_000, scales=(1.0, 2.0, 4.0))
    x, y, z = conductivity_tensor(currents, 25.0)
    assert x.degrees_of_freedom == 5
    exact = x.factor * 0.005 / (1 - 0.7) ** 2
    for found, scale in zip((x, y, z), (1.0, 2.0, 4.0)):
        assert found.value == pytest.approx(scale * exact, abs=3.5 * found.error)
    assert z.value / x.value > 2.5
    fixed = functools.partial(electrical_conductivity, n_coefficients=4)
    assert [one.n_coefficients for one in conductivity_tensor(currents, 25.0, fixed)] == [4, 4, 4]
    with pytest.raises(ValueError, match="2 segments leave 1 degree of freedom in each direction; .* at least 3"):
        conductivity_tensor(synthetic(2, n_segments=2), 25.0)
    with pytest.raises(ValueError, match="2 currents with 1 equivalent components"):
        conductivity_tensor(synthetic(2), 25.0)


def test_scan_of_the_cutoff():
    currents = synthetic(2, n_samples=10_000)
    scan = scan_cutoff(currents, [50.0, 11.0, 20.0, 21.0, 100.0])
    np.testing.assert_allclose(scan.cutoffs_THz, [100 / 9, 20.0, 50.0, 100.0])  # 20 and 21 are the same
    for cutoff, value, error, number in zip(scan.cutoffs_THz, scan.values, scan.errors, scan.n_coefficients):
        found = thermal_conductivity(currents, cutoff)
        assert (value, error, number) == (found.value, found.error, found.n_coefficients)
    assert scan.unit == "W/(m K)"
    assert scan_cutoff(currents, [20.0], electrical_conductivity).unit == "S/cm"
    with pytest.raises(ValueError, match="cutoffs_THz are empty"):
        scan_cutoff(currents, [])
    with pytest.raises(ValueError, match="cutoff_THz is 101; accepted is at most the Nyquist frequency 100 THz"):
        scan_cutoff(currents, [20.0, 101.0])
    with pytest.raises(ValueError, match=r"cutoff_THz is -3.0; accepted is a positive number"):
        scan_cutoff(currents, [20.0, -3.0])


@pytest.mark.parametrize("coherence", [0.0, 0.5, -0.92])
def test_onsager_matrix_of_known_currents(coherence):
    """All elements unbiased, with errors that deviations bear out."""
    rng = np.random.default_rng(7)
    exact = 0.005 / (1 - 0.7) ** 2 * np.array([[4.0, 2 * coherence], [2 * coherence, 1.0]])
    scores = []
    for _ in range(150):
        first, second = rng.normal(size=(2, 3, 4_000))
        values = np.stack([2 * (coherence * second + np.sqrt(1 - coherence**2) * first), second])
        currents = currents_of(lfilter([1.0], [1.0, -0.7], values))
        found = onsager_matrix(currents, 100.0, n_coefficients=16)
        factor = 1 / (2 * 4e3 * constants.k / constants.e)
        scores.append((found.values - factor * exact) / found.errors)
    np.testing.assert_allclose(np.mean(scores, axis=0), 0, atol=0.35)
    np.testing.assert_allclose(np.std(scores, axis=0), 1, atol=0.2)
    np.testing.assert_allclose(found.values, found.values.T)
    expected = schur_complement(found.values, 0)
    assert found.schur_complements[0] == pytest.approx(expected, abs=2.5 * found.schur_errors[0])


def test_conductivities_are_those_of_the_onsager_matrix():
    currents = synthetic(3)
    found = onsager_matrix(currents, 25.0)
    assert found.names == NAMES[:3]
    to_si = constants.e * 1e22
    heat = thermal_conductivity(currents, 25.0)
    charge = electrical_conductivity(currents, 25.0)
    assert found.schur_complements[0] * to_si / 700.0**2 == pytest.approx(heat.value, rel=1e-6)
    assert found.schur_errors[0] * to_si / 700.0**2 == pytest.approx(heat.error, rel=1e-6)
    assert found.values[1, 1] * to_si / 700.0 / 100 == pytest.approx(charge.value, rel=1e-6)
    assert found.errors[1, 1] / found.values[1, 1] == pytest.approx(charge.error / charge.value, rel=1e-6)


@pytest.mark.parametrize("dtype", [float, complex])
def test_schur_complement_is_the_inverse_element(dtype):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(5, 4, 6)) + (1j * rng.normal(size=(5, 4, 6)) if dtype is complex else 0)
    matrix = half @ half.conj().transpose(0, 2, 1)
    inverse = np.linalg.inv(matrix)
    for index in range(4):
        np.testing.assert_allclose(schur_complement(matrix, index), 1 / inverse[:, index, index].real, rtol=1e-10)
    assert schur_complement(np.array([[3.0]]), 0) == 3.0
    assert schur_complement(np.array([[2.0, 1.0], [1.0, 4.0]]), 0) == pytest.approx(1.75)
    with pytest.raises(ValueError, match="index is 4; accepted is a whole number from 0 to 3"):
        schur_complement(matrix, 4)
    with pytest.raises(ValueError, match=r"matrix has shape \(2, 3\); accepted are square"):
        schur_complement(np.ones((2, 3)), 0)


def test_kinds_of_currents_are_checked():
    currents = synthetic(2)
    with pytest.raises(ValueError, match="current 'charge' is one of charge; accepted is one of energy"):
        thermal_conductivity(currents, 20.0, energy="charge")
    with pytest.raises(ValueError, match="current 'energy' is one of energy; accepted is one of charge"):
        electrical_conductivity(currents, 20.0, charge="energy")
    with pytest.raises(ValueError, match="no current 'heat'; accepted are energy, charge"):
        thermal_conductivity(currents, 20.0, energy="heat")
    with pytest.raises(ValueError, match="currents are energy and .* at least one current besides that of energy"):
        gauge_deviation(currents.select("energy"), 20.0)


def test_a_subtracted_mean_never_becomes_a_conductivity():
    values = synthetic(2).values
    with pytest.raises(ValueError, match="time mean of current 'energy' has been subtracted"):
        thermal_conductivity(currents_of(values - values.mean(axis=-1, keepdims=True)), 20.0)


def test_published_currents_of_molten_salt(dataset):
    """Two-current conductivity 0.50(3) W/(m K) at 14 THz, which one current overestimates by a quarter."""
    molten_salt = dataset("nacl-currents")
    found = thermal_conductivity(molten_salt, 14.0)
    assert (found.n_coefficients, found.degrees_of_freedom) == (3, 2)
    assert found.value == pytest.approx(0.4983, abs=2e-4)
    assert found.error == pytest.approx(0.0280, abs=2e-4)
    assert thermal_conductivity(molten_salt.select("energy"), 14.0).value == pytest.approx(0.6445, abs=2e-4)
    scan = scan_cutoff(molten_salt, np.linspace(8, 25, 8))
    assert np.abs(scan.values - found.value).max() < 1.5 * found.error
    assert gauge_deviation(molten_salt, 14.0) < 1e-10
    # the scale of the second current does not matter
    scaled = Currents(
        molten_salt.values * np.array([1.0, 1e-3])[:, None, None, None],
        ("energy", "number"),
        timestep_fs=5.0,
        temperature_K=molten_salt.temperature_K,
        volume=molten_salt.volume,
    )
    assert thermal_conductivity(scaled, 14.0).value == pytest.approx(found.value, rel=1e-11)
    charge = electrical_conductivity(molten_salt, 14.0)
    assert charge.value == pytest.approx(4.0, rel=0.15)  # S/cm, Fumi-Tosi NaCl at 1400 K
