"""Analysis of trajectories: shells of crystals, ideal gases, literature values of order parameters, exact sums."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matterscape.dynamics.analysis import (
    bond_angle_distribution,
    bond_angles,
    coordination_numbers,
    mean_square_displacement,
    radial_distribution,
    steinhardt,
    velocity_autocorrelation,
    vibrational_density_of_states,
    warren_cowley,
)

pytestmark = pytest.mark.unit


def test_shells_of_crystals_and_the_running_coordination():
    rock_salt = bulk("NaCl", "rocksalt", a=5.64)
    found = radial_distribution(rock_salt, 6.0, n_bins=600)
    distances = found.distances
    np.testing.assert_allclose(distances[:2], [0.005, 0.015])
    shells = {("Na", "Cl"): [(2.82, 6), (4.8846, 8)], ("Na", "Na"): [(3.9881, 12), (5.64, 6)]}
    for pair, expected in shells.items():
        occupied = np.flatnonzero(found.partial[pair])
        np.testing.assert_allclose(distances[occupied], [r for r, _ in expected], atol=0.006)
        counts = [found.running_coordination[pair][n] for n in occupied]
        np.testing.assert_allclose(counts, np.cumsum([n for _, n in expected]))
    np.testing.assert_array_equal(found.partial["Na", "Cl"], found.partial["Cl", "Na"])
    np.testing.assert_array_equal(found.partial["Na", "Na"], found.partial["Cl", "Cl"])
    mixed = (found.partial["Na", "Na"] + found.partial["Na", "Cl"]) / 2
    np.testing.assert_allclose(found.total, mixed)


def test_a_crystal_has_one_radial_distribution_in_every_cell():
    skewed = bulk("Cu")
    skewed.set_cell(skewed.cell[:] @ np.eye(3), scale_atoms=False)
    cells = [skewed, bulk("Cu", cubic=True), bulk("Cu").repeat((1, 2, 3))]
    sheared = bulk("Cu", cubic=True)
    sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [2, -1, 1]]) @ sheared.cell[:], scale_atoms=False)
    curves = [radial_distribution(atoms, 9.0, 90).total for atoms in (*cells, sheared)]
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-12)
    np.testing.assert_allclose(radial_distribution(cells, 9.0, 90).total, curves[0], rtol=1e-12)


def test_an_ideal_gas_has_no_structure():
    rng = np.random.default_rng(0)
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [-1.0, 1.5, 10.0]])
    frames = [Atoms("Ar20Kr30", rng.random((50, 3)) @ cell, cell=cell, pbc=True) for _ in range(200)]
    found = radial_distribution(frames, 7.5, 5)
    volume = np.linalg.det(cell)
    shells = 4 / 3 * np.pi * np.diff(np.linspace(0, 7.5, 6) ** 3)
    for pair, n_pairs, expected in [(("Ar", "Ar"), 190, 19 / 20), (("Kr", "Kr"), 435, 29 / 30), (("Ar", "Kr"), 600, 1)]:
        error = expected / np.sqrt(200 * n_pairs * shells / volume)
        assert (np.abs(found.partial[pair] - expected) < 4 * error).all()


def test_a_density_needs_a_cell():
    with pytest.raises(ValueError, match="structure 1 is not periodic in three directions"):
        radial_distribution([bulk("Cu"), molecule("H2O")], 3.0)
    with pytest.raises(ValueError, match="n_bins is 0"):
        radial_distribution(bulk("Cu"), 3.0, 0)
    with pytest.raises(ValueError, match="cutoff is -1"):
        radial_distribution(bulk("Cu"), -1)


def test_coordination_counts_images_and_elements():
    np.testing.assert_array_equal(coordination_numbers(bulk("Cu", a=3.6), 2.7), [12])
    np.testing.assert_array_equal(coordination_numbers(bulk("Fe", a=2.87), 2.9), [14])
    methane = molecule("CH4")
    np.testing.assert_array_equal(coordination_numbers(methane, 1.3), [4, 1, 1, 1, 1])
    np.testing.assert_array_equal(coordination_numbers(methane, 2.0, "H"), [4, 3, 3, 3, 3])
    with pytest.raises(ValueError, match="neighbour is 'O'; the structures hold H, C"):
        coordination_numbers(methane, 2.0, "O")


def test_angles_of_molecules_and_crystals():
    water = molecule("H2O")
    degrees, centres, ends = bond_angles([water, bulk("Si", cubic=True)], 2.4)
    assert degrees[centres == 0] == pytest.approx(water.get_angle(1, 0, 2))
    in_silicon = degrees[centres > 2]
    assert len(in_silicon) == 8 * 6
    np.testing.assert_allclose(in_silicon, np.degrees(np.arccos(-1 / 3)))
    apex = centres == 0
    assert sorted(ends[apex][0]) == [1, 2]

    angles, density = bond_angle_distribution(bulk("Cu", a=3.6), 2.7, 90)
    counts = density * 2 * 66
    expected = {60: 24, 90: 12, 120: 24, 180: 6}
    assert {float(a): n for a, n in zip(angles, counts) if n} == pytest.approx(
        {float(angles[min(int(a / 2), 89)]): n for a, n in expected.items()}
    )
    assert density.sum() * 2 == pytest.approx(1)
    angles, density = bond_angle_distribution(water, 2.0, 180, centre="O", ends=("H", "H"))
    assert angles[density.argmax()] == pytest.approx(103.5)
    assert not bond_angle_distribution(water, 2.0, centre="H", ends=("H", "H"))[1].any()


# W. Lechner, C. Dellago, J. Chem. Phys. 129, 114707 (2008), table I; q4, q6 of diamond and simple cubic follow from
# cubic harmonics: q4^2 = 7/27 and q6^2 = 32/81 for a tetrahedron, q4^2 = 7/12 and q6^2 = 1/8 for an octahedron
ORDER = {
    "fcc": (bulk("Cu"), 12, 0.190940, 0.574524),
    "hcp": (bulk("Mg", "hcp", a=3.2, c=3.2 * np.sqrt(8 / 3)), 12, 0.097222, 0.484762),
    "bcc": (bulk("Fe"), 14, 0.036370, 0.510688),
    "diamond": (bulk("Si"), 4, np.sqrt(7 / 27), np.sqrt(32 / 81)),
    "sc": (bulk("Po", "sc", a=3.3), 6, np.sqrt(7 / 12), np.sqrt(1 / 8)),
}


@pytest.mark.parametrize("name", ORDER)
def test_bond_orientational_order_of_crystals(name):
    crystal, n_neighbours, q4, q6 = ORDER[name]
    found = steinhardt(crystal, n_neighbours=n_neighbours)
    np.testing.assert_allclose(found, np.tile([q4, q6], (len(crystal), 1)), atol=1e-6)


def test_bond_orientational_order_is_invariant_and_its_average_that_of_the_crystal():
    crystal = bulk("Cu", cubic=True).repeat(2)
    cutoff = 3.0
    perfect = steinhardt(crystal, (2, 4, 6), cutoff=cutoff)
    np.testing.assert_allclose(steinhardt(crystal, (2, 4, 6), cutoff=cutoff, averaged=True), perfect, atol=1e-12)
    crystal.rattle(0.15, seed=1)
    found = steinhardt(crystal, (2, 4, 6), cutoff=cutoff)
    turned = crystal.copy()
    rotation = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    turned.set_cell(crystal.cell[:] @ rotation, scale_atoms=True)
    np.testing.assert_allclose(steinhardt(turned, (2, 4, 6), cutoff=cutoff), found, atol=1e-10)
    smooth = steinhardt(crystal, (2, 4, 6), cutoff=cutoff, averaged=True)
    assert np.abs(smooth - perfect).max() < np.abs(found - perfect).max()
    with pytest.raises(ValueError, match="give exactly one of them"):
        steinhardt(crystal)
    with pytest.raises(ValueError, match="n_neighbours is 12 but structure 1 has 3 atoms"):
        steinhardt([crystal, molecule("H2O")], n_neighbours=12)
    assert not steinhardt(Atoms("He"), cutoff=3.0).any()


def test_short_range_order_of_ordered_alloys():
    b2 = bulk("CsCl", "cesiumchloride", a=4.0)
    first = warren_cowley(b2, outer=3.6)
    assert first == pytest.approx({("Cl", "Cl"): 1, ("Cl", "Cs"): -1, ("Cs", "Cl"): -1, ("Cs", "Cs"): 1})
    second = warren_cowley(b2, outer=4.1, inner=3.6)
    assert second["Cs", "Cs"] == pytest.approx(-1) and second["Cs", "Cl"] == pytest.approx(1)
    ordered = Atoms("AuCu3", [[0, 0, 0], [0, 1.9, 1.9], [1.9, 0, 1.9], [1.9, 1.9, 0]], cell=[3.8] * 3, pbc=True)
    found = warren_cowley(ordered, outer=3.0)
    assert found["Au", "Cu"] == pytest.approx(-1 / 3) and found["Cu", "Au"] == pytest.approx(-1 / 3)
    with pytest.raises(ValueError, match="inner is 4.0; accepted is a distance from 0 to below outer = 3.0"):
        warren_cowley(ordered, outer=3.0, inner=4.0)


def direct_displacement(positions: np.ndarray) -> np.ndarray:
    return np.array(
        [
            ((positions[lag:] - positions[: len(positions) - lag]) ** 2).sum(axis=2).mean()
            for lag in range(len(positions))
        ]
    )


def test_mean_square_displacement_equals_the_direct_sum(monkeypatch):
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(size=(157, 7, 3)), axis=0) + 1000.0
    expected = direct_displacement(walk)
    np.testing.assert_allclose(mean_square_displacement(walk), expected, rtol=1e-10, atol=1e-10)
    monkeypatch.setattr("matterscape.dynamics.analysis.NUMBERS_PER_BLOCK", 1000)  # several blocks of atoms
    np.testing.assert_allclose(mean_square_displacement(walk), expected, rtol=1e-10, atol=1e-10)
    drift = np.arange(50.0)[:, None, None] * np.array([0.3, 0.0, -0.4])
    np.testing.assert_allclose(mean_square_displacement(drift), 0.25 * np.arange(50.0) ** 2, atol=1e-10)
    with pytest.raises(ValueError, match=r"positions has shape \(5, 3\)"):
        mean_square_displacement(np.zeros((5, 3)))


def test_a_random_walk_diffuses():
    walk = np.cumsum(np.random.default_rng(1).normal(size=(400, 300, 3)), axis=0)
    displacement = mean_square_displacement(walk)
    np.testing.assert_allclose(displacement[1:20] / (3 * np.arange(1, 20)), 1, atol=0.03)


def test_velocity_autocorrelation_equals_the_direct_sum():
    rng = np.random.default_rng(2)
    velocities = np.cumsum(rng.normal(size=(64, 5, 3)), axis=0)
    masses = rng.uniform(1, 3, 5)
    products = [(velocities[lag:] * velocities[: 64 - lag]).sum(axis=2).mean(axis=0) for lag in range(64)]
    np.testing.assert_allclose(velocity_autocorrelation(velocities), np.mean(products, axis=1), rtol=1e-10)
    expected = np.stack(products) @ masses / masses.sum()
    np.testing.assert_allclose(velocity_autocorrelation(velocities, masses), expected, rtol=1e-10)
    with pytest.raises(ValueError, match="masses must be 5 positive numbers"):
        velocity_autocorrelation(velocities, masses[:3])


def test_oscillators_show_at_their_frequencies_with_equal_weight():
    rng = np.random.default_rng(3)
    frequencies_THz = np.array([4.0, 9.0])
    masses = np.array([2.0, 12.0])
    time_ps = np.arange(8192) * 0.01
    phases = rng.uniform(0, 2 * np.pi, (2, 3))
    angle = 2 * np.pi * frequencies_THz[:, None] * time_ps[:, None, None] + phases
    velocities = np.cos(angle) / np.sqrt(masses)[:, None]
    frequencies, density = vibrational_density_of_states(velocities, 10.0, masses, resolution_THz=0.25)
    assert density.sum() * frequencies[1] == pytest.approx(1)
    for frequency in frequencies_THz:
        near = np.abs(frequencies - frequency) < 1.0
        assert density[near].sum() * frequencies[1] == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(ValueError, match="timestep_fs is 0"):
        vibrational_density_of_states(velocities, 0)
