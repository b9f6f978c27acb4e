"""Sites of hoppers on a lattice are found where they are, in any cell and frame."""

import numpy as np
import pytest

from matterscape.transport.density_sites import find_sites, host_frame, ion_density
from matterscape.transport.events import site_moves

pytestmark = pytest.mark.unit

CELLS = {
    "cubic": np.diag([12.0, 12.0, 9.0]),
    "skewed": np.array([[12.0, 0.0, 0.0], [2.0, 11.5, 0.0], [-1.0, 1.5, 9.4]]),
}


def hoppers(cell, grid=(4, 4, 3), n_ions=18, n_times=3000, amplitude=0.3, seed=0):
    """Ions that hop among the points of a grid in a cell; also the grid's points and who is where."""
    generator = np.random.default_rng(seed)
    points = (np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"), -1).reshape(-1, 3) + 0.3) / grid
    occupied = generator.choice(len(points), n_ions, replace=False)
    sites = np.empty((n_times, n_ions), int)
    for time in range(n_times):
        if time % 20 == 10:  # one ion moves to a free point
            free = np.setdiff1d(np.arange(len(points)), occupied)
            occupied[generator.integers(n_ions)] = generator.choice(free)
        sites[time] = occupied
    positions = points[sites] @ cell + amplitude * generator.normal(size=(n_times, n_ions, 3))
    return positions, points @ cell, sites


def matched(found, points, cell):
    """Nearest point of each found site, and the distance, under periodic boundaries."""
    fractional = (found[:, None] - points) @ np.linalg.inv(cell)
    distances = np.linalg.norm((fractional - np.round(fractional)) @ cell, axis=-1)
    return distances.argmin(axis=1), distances.min(axis=1)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_sites_of_a_lattice_are_found(cell):
    positions, points, occupied = hoppers(cell)
    sites = find_sites(ion_density(positions, cell))
    assert len(sites) == len(points) == 48
    nearest, distances = matched(sites.positions, points, cell)
    assert sorted(nearest) == list(range(48))
    assert distances.max() < 0.35
    assert sites.availability == pytest.approx(48 / 18)
    # who is where, at every time
    assert np.mean(nearest[sites.occupied(positions)] == occupied) > 0.999
    assert sites.occupations(positions).sum() == pytest.approx(18)


def test_moves_between_found_sites_are_those_made():
    cell = CELLS["skewed"]
    positions, points, occupied = hoppers(cell, amplitude=0.2)
    sites = find_sites(ion_density(positions, cell))
    nearest, _ = matched(sites.positions, points, cell)
    moves = site_moves(sites.occupied(positions), 100.0, stay_ps=0.3)
    made = site_moves(occupied, 100.0, stay_ps=0.3)
    assert len(moves) == len(made) > 100
    assert np.array_equal(moves.times_ps, made.times_ps)
    assert np.array_equal(nearest[moves.targets], made.targets)


def test_neither_wrapping_nor_a_choice_of_cell_matters():
    cell = CELLS["skewed"]
    positions, _, _ = hoppers(cell)
    density = ion_density(positions, cell)
    whole_cells = np.random.default_rng(1).integers(-3, 4, positions.shape) @ cell
    np.testing.assert_allclose(ion_density(positions + whole_cells, cell).values, density.values, atol=1e-4)


@pytest.mark.parametrize("smearing", [0.0, 0.3])
def test_the_density_integrates_to_the_number_of_ions(smearing):
    cell = CELLS["skewed"]
    positions, _, _ = hoppers(cell, n_times=200)
    density = ion_density(positions, cell, smearing=smearing)
    assert density.values.mean() * abs(np.linalg.det(cell)) == pytest.approx(18, rel=1e-3)
    assert (np.linalg.norm(cell, axis=1) / density.values.shape <= 0.2).all()
    folded = ion_density(positions, cell, smearing=smearing, repeats=(2, 2, 1))
    assert folded.values.mean() * abs(np.linalg.det(folded.cell)) == pytest.approx(18 / 4, rel=1e-3)


def test_smearing_is_a_convolution_with_a_gaussian():
    cell = CELLS["skewed"]
    density = ion_density(np.zeros((1, 1, 3)), cell, smearing=0.5)
    # the ion fills the grid point at the corner
    fractional = np.linalg.solve(cell.T, (density.points - density.points[0, 0, 0]).reshape(-1, 3).T).T
    squares = (((fractional - np.round(fractional)) @ cell) ** 2).sum(axis=1)
    expected = np.exp(-squares / (2 * 0.5**2)) / (2 * np.pi * 0.5**2) ** 1.5
    np.testing.assert_allclose(density.values.ravel(), expected, atol=1e-6)


def test_folding_finds_the_sites_of_the_primitive_cell_everywhere():
    cell = CELLS["skewed"]
    positions, points, _ = hoppers(cell)
    sites = find_sites(ion_density(positions, cell, repeats=(4, 4, 3)))
    assert len(sites) == 48
    nearest, distances = matched(sites.positions, points, cell)
    assert sorted(nearest) == list(range(48))
    assert distances.max() < 0.2
    np.testing.assert_allclose(sites.cell, cell)
    # half the repeats leave two sites in a folded cell
    assert len(find_sites(ion_density(positions, cell, repeats=(2, 4, 3)))) == 48


def test_close_and_low_maxima_are_no_sites():
    cell = np.diag([10.0] * 3)
    generator = np.random.default_rng(0)
    places = np.array([[2, 2, 2], [2.9, 2, 2], [7, 7, 7], [7, 2, 9.9], [7, 2, 0.7]])
    weights = np.array([0.4, 0.2, 0.01, 0.25, 0.14])
    chosen = generator.choice(5, 40_000, p=weights)
    positions = (places[chosen] + 0.1 * generator.normal(size=(40_000, 3)))[:, None]
    density = ion_density(positions, cell, smearing=0.15)
    assert len(find_sites(density)) == 2  # also merged across the boundary
    assert len(find_sites(density, merge_distance=0.5)) == 4
    assert len(find_sites(density, threshold=0.01)) == 3


def test_the_host_keeps_its_place():
    generator = np.random.default_rng(0)
    positions = generator.normal(size=(50, 6, 3))
    drift = np.cumsum(generator.normal(size=(50, 1, 3)), axis=0)
    host = np.array([0, 2, 5])
    at_rest = host_frame(positions + drift, host)
    np.testing.assert_allclose(
        at_rest[:, host].mean(axis=1), np.tile((positions + drift)[0, host].mean(axis=0), (50, 1))
    )
    np.testing.assert_allclose(np.diff(at_rest, axis=0), np.diff(host_frame(positions, host), axis=0), atol=1e-12)
    masses = np.array([1.0, 2.0, 5.0])
    weighted = host_frame(positions + drift, host, masses)
    assert np.ptp(np.average(weighted[:, host], axis=1, weights=masses), axis=0) == pytest.approx(0, abs=1e-12)


def test_without_the_frame_of_the_host_the_sites_smear_out():
    cell = CELLS["cubic"]
    positions, _, _ = hoppers(cell)
    drift = np.linspace(0, 6, len(positions))[:, None, None]
    host = np.tile(np.array([[1.0, 2.0, 3.0]]), (len(positions), 1, 1)) + drift
    atoms = np.concatenate([positions + drift, host], axis=1)
    assert len(find_sites(ion_density(host_frame(atoms, [18])[:, :18], cell))) == 48
    assert len(find_sites(ion_density(atoms[:, :18], cell))) != 48


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ion_density(np.zeros((5, 3)), np.eye(3)), "positions has shape"),
        (lambda: ion_density(np.zeros((1, 1, 3)), np.zeros((3, 3))), "cell is .* span a volume"),
        (lambda: ion_density(np.zeros((1, 1, 3)), np.eye(3), spacing=0), "spacing is 0"),
        (lambda: ion_density(np.zeros((1, 1, 3)), np.eye(3), repeats=(1, 2)), "repeats is"),
        (lambda: ion_density(np.zeros((1, 1, 3)), np.eye(3), repeats=(1, 0, 2)), "repeats is 0"),
        (lambda: find_sites(ion_density(np.zeros((1, 1, 3)), np.eye(3)), threshold=2), "threshold is 2"),
        (lambda: host_frame(np.zeros((2, 3, 3)), []), "host has shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
