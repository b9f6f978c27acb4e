"""Peltier and Seebeck coefficients, partial enthalpies, and what they do under a change of gauge."""

import math

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from matterscape.potentials import Evaluator
from matterscape.potentials.coulomb import alkali_halide
from matterscape.structures import Structures
from matterscape.transport.currents import Currents
from matterscape.transport.onsager import thermal_conductivity
from matterscape.transport.seebeck import (
    PartialEnthalpies,
    Peltier,
    carried_enthalpy,
    partial_enthalpies,
    peltier_coefficient,
    seebeck_coefficient,
    slope_at_zero,
)
from matterscape.transport.spectra import cross_periodogram
from matterscape.transport.synthetic import spectral_matrix, synthetic_currents

pytestmark = pytest.mark.unit

MASSES, CHARGES = {"Cs": 132.905, "F": 18.998}, {"Cs": 1.0, "F": -1.0}
CONDITIONS = {"timestep_fs": 10.0, "temperature_K": 1300.0, "volume": 9000.0}


def synthetic(n_samples, seed, *, peak=0.6, n_segments=1):
    """Currents of energy and charge with known spectra up to 50 THz, and the true Pi_E."""

    def energy(f):
        return 9.0 * (0.3 + np.exp(-((f / 20) ** 2)))

    def charge(f):
        return 2.0 * (0.2 + np.exp(-((f / 25) ** 2)) + (f / 60) ** 2 * np.exp(-((f / 35) ** 2)))

    def rho(f):
        return peak * np.exp(-((f / 15) ** 2)) - 0.2 * np.sin(math.pi * f / 50) ** 2

    currents = synthetic_currents(
        spectral_matrix(energy, charge, rho),
        ["energy", "charge"],
        n_samples=n_samples,
        n_segments=n_segments,
        seed=seed,
        **CONDITIONS,
    )
    return currents, peak * math.sqrt(energy(0.0) / charge(0.0))


def estimates(n_samples, n_repeats, **options):
    """Pi_E with its error minus the truth, of many independent runs, with and without decorrelation."""
    rows = []
    for seed in range(n_repeats):
        currents, true = synthetic(n_samples, seed, **options)
        result = peltier_coefficient(currents, 50.0, n_knots=5)
        rows.append((result.value - true, result.error, result.raw.value - true, result.raw.error))
    return np.array(rows).T


def test_known_slope_with_honest_errors():
    spread = {}
    for n_samples in (600, 2400):
        deviation, error, raw, raw_error = estimates(n_samples, 80)
        for values, sigma in ((deviation, error), (raw, raw_error)):
            assert abs(values.mean()) < 3 * values.std() / math.sqrt(80)
            assert 0.58 < np.mean(np.abs(values) < sigma) < 0.85
            assert np.mean(np.abs(values) < 2 * sigma) > 0.88
        spread[n_samples] = deviation.std()
    assert spread[600] / spread[2400] == pytest.approx(2, abs=0.4)


def test_decorrelation_pays_where_currents_are_strongly_correlated():
    deviation, error, raw, raw_error = estimates(2000, 60, peak=0.92)
    assert deviation.std() < 0.6 * raw.std()
    assert np.median(error) < 0.6 * np.median(raw_error)
    assert abs(deviation.mean()) < 3 * deviation.std() / math.sqrt(60)


def test_slope_of_currents_that_are_proportional():
    currents, true = synthetic(1000, 0)
    noise = 1e-3 * currents["energy"]
    exact = Currents(np.stack([1.7 * currents["charge"] + noise, currents["charge"]]), currents.names, **CONDITIONS)
    result = peltier_coefficient(exact, 50.0)
    assert result.value == pytest.approx(1.7 + 1e-3 * true, abs=4 * result.error)
    assert result.error < 5e-3
    assert peltier_coefficient(exact, 50.0, decorrelate=0).error > 10 * result.error


def test_a_shift_of_the_energy_current_shifts_the_coefficient():
    currents, _ = synthetic(2000, 1)
    before = peltier_coefficient(currents, 25.0, n_knots=5, decorrelate=4)
    for c in (-3.0, 0.5, 20.0):
        shifted = currents.shifted("energy", "charge", c)
        after = peltier_coefficient(shifted, 25.0, n_knots=5, decorrelate=8)
        assert after.value - before.value == pytest.approx(c, abs=0.02 * before.error)
        assert after.error == pytest.approx(before.error, rel=0.02)
        # the slope without decorrelation has a harder time
        assert peltier_coefficient(shifted, 25.0, n_knots=5).raw.error >= before.error
    kappa = thermal_conductivity(currents, 25.0)
    moved = thermal_conductivity(currents.shifted("energy", "charge", 20.0), 25.0, n_coefficients=kappa.n_coefficients)
    assert moved.value == pytest.approx(kappa.value, rel=1e-10)


def test_signs_and_units():
    currents, _ = synthetic(2000, 2)
    result = peltier_coefficient(currents, 25.0)
    negative = Currents(currents.values * np.array([1, -1])[:, None, None, None], currents.names, **CONDITIONS)
    assert peltier_coefficient(negative, 25.0).value == pytest.approx(-result.value, rel=1e-6)
    larger = Currents(currents.values * np.array([10, 1])[:, None, None, None], currents.names, **CONDITIONS)
    assert peltier_coefficient(larger, 25.0).value == pytest.approx(10 * result.value, rel=1e-6)
    assert "V" in repr(result)


def test_parts_of_the_result_belong_together():
    currents, _ = synthetic(2000, 3, n_segments=2)
    result = peltier_coefficient(currents, 25.0)
    assert result.m == 6
    assert result.cutoff_THz == 25.0
    assert len(result.frequencies_THz) == len(result.residual.z) == len(result.residual.coherence.rho) == 499
    assert result.value == result.shift + result.residual.value
    assert abs(result.residual.coherence.zero_frequency) < 0.1 < result.raw.coherence.zero_frequency
    plain = peltier_coefficient(currents, 25.0, decorrelate=0)
    assert plain.value == plain.raw.value == plain.residual.value == result.raw.value
    assert plain.error == result.raw.error


def test_cross_spectrum_is_real_on_average():
    """Both currents are odd under reversal of time, so that their true cross-spectrum has no imaginary part."""
    currents, _ = synthetic(1000, 4, n_segments=40)
    periodogram = cross_periodogram(currents)
    element = periodogram.matrix[1:-1, 0, 1]
    scale = np.sqrt(periodogram.spectrum("energy") * periodogram.spectrum("charge"))[1:-1]
    z = element.imag / scale * math.sqrt(2 * periodogram.n_equivalent)
    assert abs(z.mean()) < 4 / math.sqrt(len(z))
    assert z.std() == pytest.approx(1, abs=0.1)


def test_partial_enthalpies_add_up_to_the_enthalpy():
    means, enthalpies = [], []
    for seed in range(3):
        atoms = bulk("NaCl", "rocksalt", a=6.3, cubic=True).repeat(2)
        atoms.rattle(0.25, seed=seed)
        atoms.set_velocities(0.06 * np.random.default_rng(seed).normal(size=(len(atoms), 3)))
        evaluator = Evaluator(alkali_halide("NaCl", cutoff=6.0), Structures.from_ase(atoms))
        evaluator(atoms.positions, atoms.cell.array[None], pieces=True)
        traces = np.trace(evaluator.flux_tensors, axis1=1, axis2=2)
        kinetic = 0.5 * atoms.get_masses() * np.square(atoms.get_velocities()).sum(axis=1)
        rows = np.stack([evaluator.energies, traces, kinetic])
        means.append([rows[:, atoms.symbols == symbol].mean(axis=1) for symbol in ("Na", "Cl")])
        pressure_times_volume = (traces + 2 * kinetic).sum() / 3
        enthalpies.append((evaluator.energies + kinetic).sum() + pressure_times_volume)
    found = partial_enthalpies(["Na", "Cl"], *np.moveaxis(means, 2, 0))
    assert 32 * found.values.sum() == pytest.approx(np.mean(enthalpies), rel=1e-10)
    assert found.errors.shape == (2,)
    assert "species mean" in found.convention


def test_errors_of_partial_enthalpies_know_the_correlation_time():
    generator = np.random.default_rng(0)
    spread, claimed = [], []
    for _ in range(60):
        noise = generator.normal(size=(2000, 2))
        series = np.empty_like(noise)
        series[0] = noise[0]
        for t in range(1, len(noise)):
            series[t] = 0.8 * series[t - 1] + 0.6 * noise[t]
        series[:, 1] += 0.5 * series[:, 0]
        found = partial_enthalpies(["A", "B"], series, np.zeros_like(series), np.zeros_like(series))
        spread.append(found.values)
        claimed.append(found.covariance)
    true = np.cov(np.array(spread).T)
    assert np.allclose(np.mean(claimed, axis=0), true, rtol=0.5)
    assert np.mean(claimed, axis=0)[0, 1] > 0


def test_the_enthalpy_that_ions_carry():
    given = PartialEnthalpies(("Cs", "F"), np.array([3.0, 1.0]), np.array([[0.04, 0.01], [0.01, 0.09]]), "given")
    m_a, m_b = MASSES["Cs"], MASSES["F"]
    value, error = carried_enthalpy(given, MASSES, CHARGES)
    assert value == pytest.approx((m_b * 3.0 - m_a * 1.0) / (m_a + m_b))
    assert error**2 == pytest.approx((m_b**2 * 0.04 + m_a**2 * 0.09 - 2 * m_a * m_b * 0.01) / (m_a + m_b) ** 2)
    # currents of two ions without momentum
    flow = np.array([1 / m_a, -1 / m_b])
    assert value == pytest.approx((flow @ given.values) / (flow @ [1.0, -1.0]))
    half, _ = carried_enthalpy(given, {"Cs": 7.0, "F": 7.0}, CHARGES)
    assert half == pytest.approx((3.0 - 1.0) / 2)
    double, _ = carried_enthalpy(given, MASSES, {"Cs": 2.0, "F": -2.0})
    assert double == pytest.approx(value / 2)


def test_seebeck_coefficient_and_its_conventions():
    currents, _ = synthetic(2000, 5)
    found = peltier_coefficient(currents, 25.0)
    means = PartialEnthalpies(("Cs", "F"), np.array([-3.3, -2.9]), np.diag([1e-4, 4e-4]), "species mean")
    options = {"temperature_K": 1300.0, "masses": MASSES, "charges": CHARGES}
    result = seebeck_coefficient(found, means, **options)
    carried, carried_error = carried_enthalpy(means, MASSES, CHARGES)
    assert result.value == pytest.approx(1e3 * (found.value - carried) / 1300)
    assert result.error == pytest.approx(1e3 * math.hypot(found.error, carried_error) / 1300)
    assert result.convention == "species mean"
    assert "species mean" in repr(result)

    given = seebeck_coefficient(found, {"F": -2.9, "Cs": -3.3}, **options)
    assert given.value == pytest.approx(result.value)
    assert given.convention == "given"
    assert given.error == pytest.approx(1e3 * found.error / 1300)
    bare = seebeck_coefficient(found, None, **options)
    assert bare.value == pytest.approx(1e3 * found.value / 1300)
    assert bare.convention == "none"


def test_seebeck_coefficient_keeps_its_value_if_enthalpies_shift_with_the_current():
    """A constant energy added to every ion of a species is a matter of bookkeeping."""
    currents, _ = synthetic(2000, 6)
    options = {"temperature_K": 1300.0, "masses": MASSES, "charges": CHARGES}
    before = seebeck_coefficient(
        peltier_coefficient(currents, 25.0, n_knots=5, decorrelate=4), {"Cs": 0.2, "F": 0.1}, **options
    )
    added = {"Cs": 1.5, "F": -0.4}
    # J_s in units of J_Z, for ions without net momentum
    total = MASSES["Cs"] + MASSES["F"]
    c = (added["Cs"] * MASSES["F"] - added["F"] * MASSES["Cs"]) / total
    shifted = currents.shifted("energy", "charge", c)
    after = seebeck_coefficient(
        peltier_coefficient(shifted, 25.0, n_knots=5, decorrelate=8),
        {"Cs": 0.2 + added["Cs"], "F": 0.1 + added["F"]},
        **options,
    )
    assert after.value == pytest.approx(before.value, abs=0.02 * before.error)
    assert after.peltier != pytest.approx(before.peltier, abs=before.error)


def test_removing_the_time_mean_is_refused():
    currents, _ = synthetic(1000, 7)
    values = currents.values - currents.values.mean(axis=-1, keepdims=True)
    with pytest.raises(ValueError, match="time mean of current 'energy' has been subtracted"):
        Currents(values, currents.names, **CONDITIONS)


def bad_calls():
    currents, _ = synthetic(1000, 8)
    swapped = Currents(currents.values, ["charge", "energy"], **CONDITIONS)
    three = currents.with_current("other", "number", currents["energy"][:, ::-1])
    ones, both = np.ones((4, 2)), {"Cs": 1.0, "F": 2.0}
    slope = Peltier(1.0, 0.1, None, None, 0.0, None, 3, 10.0)
    options = {"temperature_K": 1300.0, "masses": MASSES, "charges": CHARGES}
    return [
        (lambda: peltier_coefficient(currents.select("charge"), 25.0), "no current 'energy'"),
        (
            lambda: peltier_coefficient(swapped, 25.0, energy="charge", charge="energy"),
            "is one of charge; accepted is one of ene",
        ),
        (lambda: peltier_coefficient(currents, 25.0, decorrelate=-1), "decorrelate is -1"),
        (lambda: peltier_coefficient(currents, 80.0), "cutoff_THz is 80"),
        (lambda: slope_at_zero(cross_periodogram(three)), "accepted are two currents"),
        (lambda: partial_enthalpies(["A", "B"], ones, ones[:, :1], ones), "virials have shape"),
        (lambda: partial_enthalpies(["A", "B"], ones[:1], ones[:1], ones[:1]), "at least two frames"),
        (lambda: partial_enthalpies(["A", "B"], ones, ones, ones * np.nan), "kinetic hold nan"),
        (lambda: seebeck_coefficient(slope, both, **(options | {"temperature_K": 0.0})), "temperature_K is 0.0"),
        (lambda: seebeck_coefficient(slope, {"Cs": 1.0}, **options), "accepted are two species"),
        (lambda: seebeck_coefficient(slope, {"Cs": 1.0, "Na": 2.0}, **options), "masses lack Na"),
        (lambda: seebeck_coefficient(slope, {"Cs": 1.0, "F": "2"}, **options), "enthalpies is"),
        (
            lambda: seebeck_coefficient(slope, {"Cs": 1.0, "F": 2.0}, **(options | {"charges": {"Cs": 1, "F": 1}})),
            "opposite sign",
        ),
        (
            lambda: seebeck_coefficient(slope, {"Cs": 1.0, "F": 2.0}, **(options | {"masses": {"Cs": 1, "F": 0}})),
            "masses of F is 0",
        ),
    ]


@pytest.mark.parametrize("number", range(14))
def test_bad_arguments(number):
    call, message = bad_calls()[number]
    with pytest.raises(ValueError, match=message):
        call()


def test_energy_per_ion_of_a_shared_pair_moves_with_the_convention():
    """Shares of a pair energy change e_i and W_i, and the species means with them; their sum stays."""
    energies, traces = np.array([[0.4, 0.4], [0.5, 0.5]]), np.array([[3.0, 3.0], [3.2, 3.2]])
    zero, signs = np.zeros((2, 2)), np.array([1.0, -1.0])
    equal = partial_enthalpies(["Cs", "F"], zero, zero, zero)
    cation = partial_enthalpies(["Cs", "F"], signs * energies, -signs * traces, zero)
    assert cation.values.sum() == pytest.approx(equal.values.sum())
    moved = carried_enthalpy(cation, MASSES, CHARGES)[0] - carried_enthalpy(equal, MASSES, CHARGES)[0]
    assert moved == pytest.approx(0.45 - 3.1 / 3)


def test_units_of_the_onsager_coefficients():
    """kappa and sigma of white currents of known strength, in SI units."""
    generator = np.random.default_rng(9)
    values = generator.normal(size=(2, 40, 3, 1000)) * np.array([5.0, 2.0])[:, None, None, None]
    currents = Currents(values, ["energy", "charge"], **CONDITIONS)
    joule = 25.0 * 0.01 * 1e-12 * (units._e * 1e-10 / 1e-12) ** 2  # (J m / s)^2 s
    expected = joule / (2 * 9000e-30 * units._k * 1300.0**2)
    assert thermal_conductivity(currents, 50.0).value == pytest.approx(expected, rel=0.02)
