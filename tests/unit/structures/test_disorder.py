"""Coloured disorder: exact composition, sum rule, the arcsine law, exponents, short-range order, bad input."""

import numpy as np
import pytest
from ase.build import bulk
from ase.data import atomic_masses

from matterscape.structures.disorder import (
    SiteGrid,
    field_correlation,
    field_spectrum,
    gaussian_field,
    mass_deviations,
    mass_field,
    species_correlation,
    structure_factor,
    sublattice_structure_factor,
    warren_cowley,
)

pytestmark = pytest.mark.unit

CONSTANT = 5.55
OPTIONS = {
    "white": {},
    "gauss": {"correlation_length": 3.0},
    "exp": {"correlation_length": 3.0},
    "power": {"exponent": 2.0},
    "montecarlo": {"short_range_order": (-0.1, 0.05)},
}
each_kind = pytest.mark.parametrize("kind", OPTIONS)


def diamond(n: int) -> tuple[np.ndarray, np.ndarray]:
    atoms = bulk("Si", "diamond", a=CONSTANT, cubic=True).repeat(n)
    return atoms.positions, atoms.cell.array


def average(kind: str, n: int, n_seeds: int, **options) -> tuple[np.ndarray, np.ndarray, SiteGrid]:
    """Mean correlation and structure factor of configurations of equal parts."""
    sites = diamond(n)
    correlation, values = 0.0, 0.0
    for seed in range(n_seeds):
        found = structure_factor(mass_field(*sites, 0.5, kind, seed=seed, **options)[0], *sites)
        correlation = correlation + found.correlation / n_seeds
        values = values + found.values / n_seeds
    return correlation, values, found.grid


@each_kind
@pytest.mark.parametrize("x", [0.5, 0.25, 13 / 512])
def test_composition_is_exact_and_the_structure_factor_sums_to_the_variance(kind, x):
    options = OPTIONS[kind] if x > 0.1 or kind != "montecarlo" else {"short_range_order": (-0.01,)}
    sites = diamond(4)
    masses, numbers = mass_field(*sites, x, kind, seed=3, **options)
    assert (numbers == 32).sum() == round(512 * x) and (numbers == 14).sum() == 512 - round(512 * x)
    np.testing.assert_array_equal(masses, atomic_masses[numbers])
    found = structure_factor(masses, *sites)
    light, heavy = atomic_masses[[14, 32]]
    variance = x * (1 - x) * ((heavy - light) / ((1 - x) * light + x * heavy)) ** 2
    assert found.mass_variance == pytest.approx(variance, rel=1e-12)
    assert found.values.mean() == pytest.approx(variance, rel=1e-10)
    assert found.values[0, 0, 0] == pytest.approx(0, abs=1e-20)


def test_one_species_alone():
    for x, number in ((0.0, 14), (1.0, 32)):
        assert (mass_field(*diamond(2), x, "power", seed=0, exponent=1.0)[1] == number).all()


@each_kind
def test_same_seed_same_configuration(kind):
    sites = diamond(4)
    fields = [mass_field(*sites, 0.5, kind, seed=seed, **OPTIONS[kind])[1] for seed in (1, 1, 2)]
    assert np.array_equal(fields[0], fields[1])
    assert not np.array_equal(fields[0], fields[2])


@pytest.mark.parametrize("kind", ["gauss", "exp", "power"])
def test_arcsine_law(kind):
    options = OPTIONS[kind]
    correlation, _, grid = average(kind, 16, 10, **options)
    assert grid.shape == (64, 64, 64)
    expected = 2 / np.pi * np.arcsin(np.clip(field_correlation(grid, kind, **options), -1, 1))
    assert np.nanmean(np.abs(correlation - expected)) < 0.01
    # a field drawn for another spacing of the sites does not pass
    stretched = SiteGrid(grid.shape, grid.places, 2 * grid.cell)
    wrong = 2 / np.pi * np.arcsin(np.clip(field_correlation(stretched, kind, **options), -1, 1))
    near = tuple(np.array([(1, 1, 1), (2, 2, 0), (1, 3, 1), (4, 0, 0)]).T)
    assert np.abs(correlation - expected)[near].max() < 0.03
    if kind != "power":  # a power law knows no length
        assert np.abs(correlation - wrong)[near].min() > 0.06


@pytest.mark.parametrize("x", [0.5, 0.2])
def test_correlation_of_species_at_any_composition(x):
    """Against the bivariate normal distribution, and against thresholds of correlated numbers."""
    from scipy.stats import multivariate_normal, norm

    rho = np.array([-0.7, -0.2, 0.0, 0.3, 0.9, 0.999])
    both = [multivariate_normal(cov=[[1, r], [r, 1]]).cdf([norm.ppf(x)] * 2) for r in rho]
    np.testing.assert_allclose(species_correlation(rho, x), (np.array(both) - x * x) / (x - x * x), atol=2e-6)
    assert species_correlation(np.array([1.0]), x)[0] == pytest.approx(1.0, abs=2e-3)
    if x == 0.5:
        np.testing.assert_allclose(species_correlation(rho, x), 2 / np.pi * np.arcsin(rho), rtol=1e-12)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 2.5])
def test_exponent_at_long_waves(exponent):
    _, values, grid = average("power", 16, 12, exponent=exponent)
    k = grid.wavenumbers
    chosen = (k > 0) & (k < 0.2)
    lengths, shells = np.unique(np.round(k[chosen], 6), return_inverse=True)
    means = np.bincount(shells, values[chosen]) / np.bincount(shells)
    slope = np.polyfit(np.log(lengths), np.log(means), 1, w=np.sqrt(np.bincount(shells)))[0]
    assert slope == pytest.approx(-exponent, abs=0.1 if exponent >= 2 else 0.2)


def test_a_fluctuating_mean_would_change_the_composition():
    """Cutting a Gaussian field at its median over all configurations, instead of its own, misses x."""
    sites = diamond(4)
    grid = SiteGrid.of(*sites)
    counts = [(gaussian_field(grid, "gauss", seed, correlation_length=3.0) < 0).sum() for seed in range(20)]
    assert np.std(counts) > 5
    assert all((mass_field(*sites, 0.5, "gauss", seed=s, correlation_length=3.0)[1] == 32).sum() == 256 for s in (0, 1))


def test_shuffled_masses_are_white():
    """The composition alone does not scatter as the coloured field does."""
    sites = diamond(12)
    masses = mass_field(*sites, 0.5, "gauss", seed=1, correlation_length=5.0)[0]
    shuffled = np.random.default_rng(0).permutation(masses)
    coloured, white = (structure_factor(m, *sites).long_waves(3) for m in (masses, shuffled))
    variance = np.mean(mass_deviations(masses) ** 2)
    assert coloured > 15 * variance
    assert white == pytest.approx(variance, rel=0.5)


def test_white_field_is_flat():
    _, values, grid = average("white", 8, 20)
    k = grid.wavenumbers
    variance = values.mean()
    for low, high in ((0.1, 0.6), (0.6, 1.2), (1.2, 1.8)):
        chosen = (k > low) & (k < high)
        assert values[chosen].mean() == pytest.approx(variance, rel=4 / np.sqrt(10 * chosen.sum()) + 1e-3)


@pytest.mark.parametrize("wanted", [(0.2,), (-0.3,), (0.3, 0.1, 0.0)])
def test_short_range_order_is_reached(wanted):
    sites = diamond(6)
    numbers = mass_field(*sites, 0.5, "montecarlo", seed=2, short_range_order=wanted)[1]
    np.testing.assert_allclose(warren_cowley(numbers, *sites, len(wanted)), wanted, atol=0.005)


def test_warren_cowley_of_zincblende_and_by_counting():
    atoms = bulk("GaAs", "zincblende", a=CONSTANT, cubic=True).repeat(3)
    np.testing.assert_allclose(
        warren_cowley(atoms.numbers, atoms.positions, atoms.cell.array, 3), [-1, 1, -1], atol=1e-12
    )
    atoms = bulk("Si", "diamond", a=CONSTANT).repeat(5)  # a cell that is not orthorhombic
    numbers = mass_field(atoms.positions, atoms.cell.array, 0.2, "white", seed=5)[1]
    atoms.numbers = numbers
    distances = atoms.get_all_distances(mic=True)
    for shell, length in enumerate((np.sqrt(3) / 4, np.sqrt(0.5), np.sqrt(11) / 4)):
        first, second = np.nonzero(np.abs(distances - length * CONSTANT) < 0.01)
        unlike = (numbers[first] != numbers[second]).mean()
        alpha = warren_cowley(numbers, atoms.positions, atoms.cell.array)[shell]
        assert alpha == pytest.approx(1 - unlike / (2 * 0.2 * 0.8), abs=1e-12)


def test_structure_factor_by_its_definition():
    atoms = bulk("Cu", "fcc", a=3.6).repeat((3, 4, 5))  # not orthorhombic
    random = np.random.default_rng(1)
    masses = random.choice([10.0, 20.0], len(atoms))
    found = structure_factor(masses, atoms.positions, atoms.cell.array)
    deviations = mass_deviations(masses)
    for indices in ((1, 0, 0), (2, 3, 0), (0, 1, 1)):
        k = 2 * np.pi * np.linalg.inv(atoms.cell.array) @ indices
        place = tuple(np.array(indices) % found.grid.shape)
        expected = np.abs(np.exp(-1j * (atoms.positions - atoms.positions[0]) @ k) @ deviations) ** 2 / len(atoms)
        assert found.values[place] == pytest.approx(expected, rel=1e-9)
        signed = np.where(2 * np.array(place) > found.grid.shape, np.array(place) - found.grid.shape, place)
        k = 2 * np.pi * np.linalg.inv(atoms.cell.array) @ signed
        assert found.grid.wavenumbers[place] == pytest.approx(np.linalg.norm(k), rel=1e-9)


def test_sublattices_add_up_to_the_structure_factor():
    unit = bulk("Si", "diamond", a=CONSTANT)
    atoms = unit.repeat(5)
    masses = mass_field(atoms.positions, atoms.cell.array, 0.4, "power", seed=1, exponent=1.5)[0]
    found = structure_factor(masses, atoms.positions, atoms.cell.array)
    parts = sublattice_structure_factor(masses.reshape(5, 5, 5, 2))
    np.testing.assert_allclose(parts, parts.conj().swapaxes(-1, -2), atol=1e-14)
    assert np.einsum("xyzss->xyz", parts).real.mean() / 2 == pytest.approx(found.mass_variance, rel=1e-10)
    for q in ((1, 2, 0), (3, 0, 4)):
        phases = np.exp(-2j * np.pi * unit.get_scaled_positions() @ np.array(q) / 5)
        total = (phases @ parts[q] @ phases.conj()).real / 2
        assert total == pytest.approx(found.values[q], rel=1e-9)


def test_radial_means():
    sites = diamond(6)
    found = structure_factor(mass_field(*sites, 0.5, "gauss", seed=1, correlation_length=4.0)[0], *sites)
    k, values, counts = found.radial(30)
    assert (np.diff(k) > 0).all() and counts.sum() == ((found.grid.wavenumbers < np.pi / (CONSTANT / 4)).sum() - 1)
    assert values[0] > 5 * found.mass_variance > values[15]


def test_a_large_cell_off_the_origin():
    positions, cell = diamond(3)
    shifted = SiteGrid.of(positions + [0.3, -7.0, 100.0], cell)
    assert shifted.shape == (12, 12, 12)
    np.testing.assert_array_equal(shifted.places, SiteGrid.of(positions, cell).places)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((1.2, "white"), {}, "x is 1.2; accepted is a number from 0 to 1"),
        ((0.3, "white"), {}, r"x is 0.3, 153.6 of 512 sites; accepted are whole numbers of sites such as 154/512"),
        ((0.5, "pink"), {}, "kind is 'pink'; accepted are 'white', 'gauss', 'exp', 'power', 'montecarlo'"),
        ((0.5, "gauss"), {}, "correlation_length is None; accepted with kind 'gauss' is correlation_length"),
        ((0.5, "gauss"), {"correlation_length": 4.0}, r"correlation_length is 4 Å; accepted is at most 3.7 Å, a sixth"),
        ((0.5, "exp"), {"correlation_length": -1.0}, "correlation_length is -1.0; accepted is a positive number of Å"),
        ((0.5, "white"), {"exponent": 1.0}, "exponent is 1.0; accepted with kind 'white' is none of"),
        ((0.5, "power"), {"exponent": 3.0}, "exponent is 3.0; accepted is at least 0 and below 3"),
        ((0.5, "montecarlo"), {"short_range_order": [-1.5]}, r"short_range_order is \[-1.5\]; accepted at x = 0.5 is"),
        ((0.5, "montecarlo"), {"short_range_order": [0.9, -0.9]}, "but exchanges of atoms got to"),
        ((0.5, "white"), {"species": ("Si", "Xx")}, "species holds 'Xx'; accepted are two chemical symbols"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mass_field(*diamond(4), *arguments, seed=0, **options)


def test_bad_sites():
    positions, cell = diamond(2)
    with pytest.raises(ValueError, match="positions are up to .* accepted are the ideal sites of a lattice"):
        mass_field(positions + np.random.default_rng(0).normal(0, 0.05, positions.shape), cell, 0.5, seed=0)
    with pytest.raises(ValueError, match="two sites at the same place"):
        SiteGrid.of(np.concatenate([positions, positions[:1]]), cell)
    with pytest.raises(ValueError, match="accepted are three independent vectors"):
        SiteGrid.of(positions, np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"masses have shape \(3,\); accepted is one for each of 64 sites"):
        structure_factor(np.ones(3), positions, cell)
    with pytest.raises(ValueError, match="accepted are positive, finite numbers of amu"):
        structure_factor(np.zeros(64), positions, cell)
    with pytest.raises(ValueError, match="n_shells is 9, but half the smallest height of the cell, 5.55 Å, holds"):
        warren_cowley(mass_field(positions, cell, 0.5, seed=0)[1], positions, cell, 9)
    with pytest.raises(ValueError, match=r"numbers hold the species \[14\]; accepted are two"):
        warren_cowley(np.full(64, 14), positions, cell)
    with pytest.raises(ValueError, match=r"masses have shape \(4,\); accepted is \(n_1, n_2, n_3, n\)"):
        sublattice_structure_factor(np.ones(4))
    with pytest.raises(ValueError, match="kind is 'montecarlo'; accepted are 'white', 'gauss', 'exp', 'power'"):
        field_spectrum(np.ones(3), "montecarlo", correlation_length=None)
    with pytest.raises(ValueError, match="field_correlation holds 1.5; accepted is -1 to 1"):
        species_correlation([1.5], 0.5)
