"""The extrapolated conductivity against closed forms and sums, its limits, and mistakes that must show."""

import ase.build
import numpy as np
import pytest
from ase import units
from scipy.integrate import quad

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.attenuation import AnharmonicWidths, Attenuation
from matterscape.transport.lattice.constants import BOLTZMANN, CONDUCTIVITY, REDUCED_PLANCK
from matterscape.transport.lattice.extrapolation import (
    ConductivityTable,
    GlassSample,
    Propagons,
    SoundBranch,
    bootstrap,
    box_wavenumbers,
    bulk_allen_feldman,
    extrapolate,
    plateau,
)
from matterscape.transport.lattice.modes import VibrationalModes, vibrational_modes
from matterscape.transport.lattice.qhgk import qhgk
from matterscape.transport.lattice.sound import SoundWaves

pytestmark = pytest.mark.unit

SPEEDS = {"longitudinal": 75.0, "transverse": 37.0}
TEMPERATURES = np.array([50.0, 300.0, 900.0])
LIMIT = 10.0
A, B = 4e-3, 5e-5
PER_KELVIN = 1e-5  # a(T) / T


def anharmonic(per_kelvin: float = PER_KELVIN) -> AnharmonicWidths:
    """g = a omega^2 with a proportional to T, at all frequencies."""
    omega, temperatures = np.linspace(0.5, 100, 200), np.array([10.0, 100.0, 1000.0])
    return AnharmonicWidths(omega, per_kelvin * np.outer(temperatures, omega**2), temperatures, crossover=30.0)


def glass(quadratic: float = A, quartic: float = B, widths: AnharmonicWidths | None = None) -> Propagons:
    """Branches with the same attenuation, of a half width unless doubled."""
    law = Attenuation(quadratic, quartic)
    return Propagons(SoundBranch(SPEEDS["longitudinal"], law, 1), SoundBranch(SPEEDS["transverse"], law, 2), widths)


def arctan_form(quadratic: float, quartic: float, limit: float, speed: float, multiplicity: int) -> float:
    """Classical kappa_P of one branch in W/(m K): int omega^2 / (A omega^2 + B omega^4) in closed form."""
    integral = np.arctan(limit * np.sqrt(quartic / quadratic)) / np.sqrt(quadratic * quartic)
    return units._k * 1e22 * multiplicity / (12 * np.pi**2 * speed) * integral


@pytest.mark.parametrize(("quadratic", "quartic"), [(A, B), (1e-6, 1e-3), (1e-2, 1e-9)])
def test_classical_integral_has_its_closed_form(quadratic, quartic):
    found = glass(quadratic, quartic).conductivities(300.0, LIMIT, statistics="classical")
    assert found[0] == pytest.approx(arctan_form(quadratic, quartic, LIMIT, SPEEDS["longitudinal"], 1), rel=1e-6)
    assert found[1] == pytest.approx(arctan_form(quadratic, quartic, LIMIT, SPEEDS["transverse"], 2), rel=1e-6)


def test_anharmonic_widths_add_to_the_quadratic_part():
    found = glass(widths=anharmonic()).conductivities(TEMPERATURES, LIMIT, statistics="classical")
    for temperature, value in zip(TEMPERATURES, found[1]):
        total = A + PER_KELVIN * temperature
        assert value == pytest.approx(arctan_form(total, B, LIMIT, SPEEDS["transverse"], 2), rel=1e-6)


def test_full_widths_in_place_of_half_widths_halve_the_conductivity():
    right, wrong = glass(), glass(2 * A, 2 * B)
    exact = arctan_form(A, B, LIMIT, SPEEDS["transverse"], 2)
    assert right.conductivities(300.0, LIMIT, statistics="classical")[1] == pytest.approx(exact, rel=1e-6)
    assert wrong.conductivities(300.0, LIMIT, statistics="classical")[1] == pytest.approx(exact / 2, rel=1e-6)


def test_quantum_integral_against_adaptive_quadrature():
    sound = glass(widths=anharmonic())
    for temperature in (3.0, 30.0, 300.0):

        def integrand(omega, branch=sound.transverse, temperature=temperature):
            x = REDUCED_PLANCK * omega / (BOLTZMANN * temperature)
            capacity = (x / 2 / np.sinh(x / 2)) ** 2
            width = A * omega**2 + B * omega**4 + PER_KELVIN * temperature * omega**2
            return capacity * branch.density_of_states(omega) * branch.speed**2 / (6 * width)

        expected = CONDUCTIVITY * quad(integrand, 0, LIMIT, epsabs=0, epsrel=1e-11)[0]
        assert sound.conductivities(temperature, LIMIT)[1] == pytest.approx(expected, rel=1e-8)


def test_quantum_statistics_become_classical():
    sound = glass(widths=anharmonic())
    temperature = 3 * REDUCED_PLANCK * LIMIT / BOLTZMANN
    quantum, classical = (
        sound.conductivities(temperature, LIMIT, statistics=s).sum() for s in ("quantum", "classical")
    )
    assert 0.97 < quantum / classical < 1
    assert sound.conductivities(20.0, LIMIT).sum() < sound.conductivities(20.0, LIMIT, statistics="classical").sum()


def test_density_of_states_is_that_of_debye():
    branch = glass().transverse
    # 3 N modes per volume below the Debye frequency, here two of three branches
    density, debye = 0.05, SPEEDS["transverse"] * (6 * np.pi**2 * 0.05) ** (1 / 3)
    assert quad(branch.density_of_states, 0, debye)[0] == pytest.approx(2 * density, rel=1e-10)


def test_propagons_fall_as_the_root_of_temperature():
    # Rayleigh scattering and a ~ T: (pi / 2) / sqrt(a T B) where the limit is high
    sound = glass(0.0, 1e-3, anharmonic(1e-7))
    values = sound.conductivities(np.array([100.0, 400.0]), 25.0, statistics="classical").sum(axis=0)
    assert values[0] / values[1] == pytest.approx(2, rel=0.02)
    prefactor = units._k * 1e22 / (12 * np.pi**2) * (1 / SPEEDS["longitudinal"] + 2 / SPEEDS["transverse"])
    assert values[0] == pytest.approx(prefactor * np.pi / 2 / np.sqrt(1e-7 * 100 * 1e-3), rel=0.02)


def test_harmonic_glass_diverges_with_the_power_one_quarter():
    sound = glass(0.0, B)
    smearing = np.geomspace(1e-8, 1e-6, 9)
    kappa = bulk_allen_feldman(sound, 0.7, 300.0, smearing, limit=25.0, statistics="classical") - 0.7
    slope = np.polyfit(np.log(smearing), np.log(kappa), 1)[0]
    assert slope == pytest.approx(-0.25, abs=0.005)
    assert kappa[0] == pytest.approx(sound.divergence(1e-8), rel=0.01)
    # the asymptote's prefactor, written out
    sums = 1 / (SPEEDS["transverse"] * B**0.75) + 1 / (2 * SPEEDS["longitudinal"] * B**0.75)
    expected = units._k * 1e22 / (12 * np.sqrt(2) * np.pi) * sums * 1e-8**-0.25
    assert sound.divergence(1e-8) == pytest.approx(expected, rel=1e-12)


def test_anharmonicity_makes_it_converge():
    harmonic, whole = glass(0.0, B), glass(0.0, B, anharmonic())
    values = [[s.conductivities(300.0, LIMIT, smearing=eta).sum() for eta in (1e-3, 1e-7)] for s in (harmonic, whole)]
    assert values[0][1] / values[0][0] > 5
    assert values[1][1] / values[1][0] < 1.2
    assert np.isfinite(whole.conductivities(300.0, LIMIT)).all()
    with pytest.raises(ValueError, match="decays as omega\\^4 only, with which the integral diverges"):
        harmonic.conductivities(300.0, LIMIT)


def test_box_limited_harmonic_conductivity_is_linear_in_its_edge():
    sound, edges = glass(0.0, B), np.array([30.0, 60.0, 120.0, 240.0])
    smooth = np.array([sound.conductivities(300.0, LIMIT, statistics="classical", longest_edge=edge) for edge in edges])
    for column, (speed, weight) in enumerate(((SPEEDS["longitudinal"], 0.5), (SPEEDS["transverse"], 1.0))):
        lowest = 2 * np.pi * speed / edges
        exact = units._k * 1e22 * weight / (6 * np.pi**2 * speed * B) * (1 / lowest - 1 / LIMIT)
        assert smooth[:, column] == pytest.approx(np.maximum(exact, 0), rel=1e-9, abs=1e-12)
    summed = [sound.conductivities_in_box(edge, 300.0, LIMIT).sum() for edge in edges]
    assert np.corrcoef(edges, summed)[0, 1] ** 2 > 0.99


def test_box_sum_is_written_out_and_becomes_the_integral():
    sound = glass(widths=anharmonic())
    edge, limit = 60.0, 9.0
    grid = np.arange(-20, 21)
    whole = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = 2 * np.pi / edge * np.linalg.norm(whole, axis=1)
    total = 0.0
    for branch in sound.branches:
        omega = branch.speed * lengths[lengths > 0]
        omega = omega[omega < limit]
        width = (A + PER_KELVIN * 300) * omega**2 + B * omega**4
        x = units._hbar * omega * 1e12 / (units._k * 300)
        capacity = units._k * (x / 2 / np.sinh(x / 2)) ** 2
        total += branch.multiplicity * (capacity * branch.speed**2 / (6 * width)).sum() / edge**3 * 1e22
    assert sound.conductivities_in_box(edge, 300.0, limit).sum() == pytest.approx(total, rel=1e-9)
    # a cube by its edge or by its vectors, and several smearings at once
    smearing = np.array([0.0, 0.01, 0.3])
    by_edge = sound.conductivities_in_box(edge, 300.0, limit, smearing=smearing)
    by_vectors = [sound.conductivities_in_box(edge * np.eye(3), 300.0, limit, smearing=eta) for eta in smearing]
    np.testing.assert_allclose(by_edge, np.transpose(by_vectors), rtol=1e-9)
    # what a box misses shrinks with its edge
    bulk = sound.conductivities(300.0, limit).sum()
    missing = [1 - sound.conductivities_in_box(edge, 300.0, limit).sum() / bulk for edge in (100.0, 400.0)]
    assert 0 < missing[1] < 0.4 * missing[0]


def test_wavevectors_of_a_skewed_box():
    cell = np.array([[20.0, 0, 0], [5.0, 21.0, 0], [-3.0, 2.0, 25.0]])
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    whole = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.sort(np.linalg.norm(whole @ reciprocal, axis=1))
    assert box_wavenumbers(cell, 1.2) == pytest.approx(lengths[(lengths > 0) & (lengths < 1.2)])


@pytest.fixture(scope="module")
def modes() -> VibrationalModes:
    """Of a small distorted piece of silicon carbide, with no two frequencies alike."""
    potential = Tersoff.silicon_carbide()
    atoms = ase.build.bulk("SiC", "zincblende", a=4.321, cubic=True).repeat(2)
    masses = atoms.get_masses() * np.random.default_rng(3).uniform(0.8, 1.2, len(atoms))
    return vibrational_modes(potential.hessian(Structures.from_ase(atoms)), masses=masses)


@pytest.fixture(scope="module")
def table(modes) -> ConductivityTable:
    """At three temperatures."""
    widths = 1e-3 * np.abs(modes.angular_frequencies) ** 1.5
    return ConductivityTable.from_conductivities(modes, [qhgk(modes, widths, t) for t in TEMPERATURES])


def test_table_holds_the_conductivity_of_the_modes(modes, table):
    widths = 1e-3 * np.abs(modes.angular_frequencies) ** 1.5
    for temperature in TEMPERATURES:
        own = qhgk(modes, widths, temperature)
        assert table.conductivity(temperature) == pytest.approx(own.value, rel=1e-10)
        # only modes above omega_P: cut at the edges of bins
        for place in (50, 200, 350):
            edge = table.edges[place]
            chosen = modes.vibrating[0] & (modes.angular_frequencies[0] >= edge)
            kept = np.trace(own.mode_tensors[0][chosen], axis1=1, axis2=2).sum() / 3
            assert table.conductivity(temperature, edge) == pytest.approx(kept, rel=1e-9)
    # widths are the same at all temperatures here: capacities carry nearly all of the change
    between = qhgk(modes, widths, 500.0).value
    assert table.conductivity(500.0) == pytest.approx(between, rel=0.01)
    assert table.conductivity(20.0) <= table.conductivity(50.0)
    assert table.conductivity(np.array([[300.0], [900.0]]), np.array([0.0, 30.0, 60.0])).shape == (2, 3)
    with pytest.raises(ValueError, match="at temperatures that ascend"):
        ConductivityTable.from_conductivities(modes, [own, qhgk(modes, widths, 300.0)])


def debye_table(sound: Propagons, temperature: float) -> ConductivityTable:
    """A model so large that below 25 rad/ps it conducts as its sound does, in narrow bins."""
    edges = np.linspace(0, 25.0, 5001)
    centres = (edges[:-1] + edges[1:]) / 2
    diffusivities = sum(
        b.density_of_states(centres) * b.speed**2 / (6 * sound.half_widths(b, centres, temperature))
        for b in sound.branches
    )
    x = REDUCED_PLANCK * centres / (BOLTZMANN * temperature)
    shares = CONDUCTIVITY * (x / 2 / np.sinh(x / 2)) ** 2 * diffusivities * np.diff(edges)
    return ConductivityTable(edges, centres, np.array([temperature]), shares[None], "quantum")


def test_where_to_cut_does_not_matter_for_a_large_model():
    sound = glass(widths=anharmonic())
    found = plateau(sound, debye_table(sound, 300.0), 300.0, np.linspace(0.3, 1.0, 8))
    assert found == pytest.approx(np.full(8, found.mean()), rel=1e-5)
    # diffusons of all frequencies beside propagons count sound twice
    double = sound.conductivities(300.0, LIMIT).sum() + debye_table(sound, 300.0).conductivity(300.0)
    assert double > 1.2 * found.mean()
    # and half as much sound, from full widths, would leave a slope
    wrong = glass(2 * A, 2 * B, anharmonic(2 * PER_KELVIN))
    limits = np.linspace(0.3, 1.0, 8) * sound.highest_limit()
    steep = wrong.conductivities(300.0, limits).sum(axis=0) + debye_table(sound, 300.0).conductivity(300.0, limits)
    assert np.ptp(steep) > 0.1 * steep.mean()


def test_extrapolation_adds_its_parts(table):
    sound = glass(widths=anharmonic())
    found = extrapolate(sound, table, TEMPERATURES, limit=LIMIT, cell=50.0)
    assert found.total == pytest.approx(found.longitudinal + found.transverse + found.diffusons)
    assert found.propagon_share == pytest.approx(found.propagons / found.total)
    assert found.finite_box == pytest.approx(
        sound.conductivities_in_box(50.0, TEMPERATURES, LIMIT).sum(axis=0) + table.conductivity(TEMPERATURES, LIMIT)
    )
    assert (found.finite_box < found.total).all()
    alone = extrapolate(sound, table, 300.0, limit=LIMIT)
    assert alone.total == pytest.approx(found.total[1])
    with pytest.raises(ValueError, match="accepted is an extrapolation with a cell"):
        _ = alone.finite_box


def some_waves(speed: float, law: Attenuation, noise: float, seed: int) -> SoundWaves:
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.uniform(2.0, 20.0, 12)) / speed
    omega = speed * lengths * (1 + noise * rng.normal(size=12))
    ones = np.ones(12)
    widths = law(omega) * (1 + 3 * noise * rng.normal(size=12))
    return SoundWaves(lengths, omega, widths, ones, ones, np.full(12, 6))


def test_propagons_from_waves():
    law = Attenuation(1e-4, 5e-5)
    waves = {name: some_waves(speed, law, 0.0, 0) for name, speed in SPEEDS.items()}
    sound = Propagons.from_waves(waves["longitudinal"], waves["transverse"])
    assert sound.transverse.speed == pytest.approx(37.0) and sound.longitudinal.speed == pytest.approx(75.0)
    assert sound.transverse.attenuation.quartic == pytest.approx(5e-5, rel=1e-6)
    assert (sound.longitudinal.multiplicity, sound.transverse.multiplicity) == (1, 2)
    limit = sound.highest_limit()
    assert 2 * np.pi * law(limit) == pytest.approx(limit, rel=1e-6)
    assert Propagons(*sound.branches, anharmonic()).highest_limit(300.0) < limit


def test_bootstrap_spreads_as_the_data_do(table):
    law = Attenuation(1e-4, 5e-5)

    def samples(noise: float) -> list[GlassSample]:
        return [
            GlassSample(*(some_waves(c, law, noise, 10 * s + k) for k, c in enumerate(SPEEDS.values())), table)
            for s in range(3)
        ]

    calm, noisy = (
        bootstrap(samples(noise), anharmonic(), TEMPERATURES, n_draws=60, fractions=(0.7, 0.7)) for noise in (0.0, 0.05)
    )
    assert calm.totals.shape == (60, 3)
    assert calm.totals.std(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert calm.speeds.mean(axis=0) == pytest.approx([75, 37])
    assert calm.attenuations[:, 1, 1] == pytest.approx(np.full(60, 5e-5), rel=1e-5)
    assert 0.2 < noisy.speeds[:, 1].std() < 37 * 0.05
    assert (noisy.totals.std(axis=0) > 1e-3).all()
    ranging = bootstrap(samples(0.0), anharmonic(), TEMPERATURES, n_draws=40)
    assert ((ranging.limits / ranging.highest_limits > 0.5) & (ranging.limits <= ranging.highest_limits)).all()
    again = bootstrap(samples(0.05), anharmonic(), TEMPERATURES, n_draws=60, fractions=(0.7, 0.7))
    assert (again.totals == noisy.totals).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: glass().conductivities(-300.0, LIMIT), r"temperatures_K hold -300\.0"),
        (lambda: glass().conductivities(300.0, 0.0), r"limits hold 0\.0"),
        (lambda: glass().conductivities(300.0, LIMIT, smearing=-0.1), r"smearing is -0\.1"),
        (lambda: glass().conductivities(300.0, LIMIT, statistics="fermi"), "statistics is 'fermi'"),
        (lambda: glass().conductivities_in_box(np.zeros((3, 3)), 300.0, LIMIT), "three independent vectors"),
        (lambda: glass().divergence(0.0), r"smearing hold 0\.0"),
        (lambda: SoundBranch(-1.0, Attenuation(0, 0), 1), r"speed is -1\.0"),
        (lambda: bootstrap([], anharmonic(), 300.0), "samples are empty"),
        (lambda: bootstrap([None], anharmonic(), 300.0, fractions=(0.5, 1.5)), r"fractions are \(0.5, 1.5\)"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
