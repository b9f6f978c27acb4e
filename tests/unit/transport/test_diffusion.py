"""Mean squares by Fourier transform, diffusion coefficients with errors that hold, activation energies."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase import units

from matterscape.dynamics import _displacements
from matterscape.dynamics._displacements import release
from matterscape.dynamics.analysis import mean_square_displacement
from matterscape.transport._block_statistics import jackknife
from matterscape.transport._slope_posterior import overlap_covariance
from matterscape.transport.diffusion import (
    CM2_PER_S,
    arrhenius_fit,
    arrhenius_jump,
    measure_displacements,
    self_diffusion,
    self_diffusion_posterior,
)
from matterscape.transport.trajectories import UnwrappedTrajectory
from walkers import caged, salt, walk

pytestmark = pytest.mark.unit

DIFFUSION = 0.05
WINDOW = (0.5, 5.0)


def direct(first, second):
    """Mean product of two displacements (n_times, ...) over all origins, at every lag."""
    lags = range(len(first))
    moves = [[x[lag:] - x[: len(x) - lag] for x in (first, second)] for lag in lags]
    return np.array([(a * b).mean(axis=0) for a, b in moves])


@pytest.mark.parametrize("numbers", [2**22, 500])
def test_curves_equal_the_direct_sums(monkeypatch, numbers):
    monkeypatch.setattr("matterscape.dynamics._displacements.atom_blocks.__defaults__", (numbers,))
    monkeypatch.setattr("matterscape.dynamics._displacements.time_blocks.__defaults__", (numbers,))
    trajectory = salt(133, 5, 0.3, seed=0)
    curves = measure_displacements(trajectory, n_blocks=6, frame="laboratory")
    assert curves.block_length == 22 and curves.n_blocks == 6 and len(curves.lags_ps) == 12
    for number in range(6):
        block = trajectory.positions[22 * number : 22 * (number + 1)]
        single = direct(block, block).reshape(22, 2, 5, 3).mean(axis=2)
        np.testing.assert_allclose(curves.single[number], single[:12], rtol=1e-10, atol=1e-10)
        summed = block.reshape(22, 2, 5, 3).sum(axis=2)
        for a in range(2):
            for b in range(2):
                expected = direct(summed[:, a], summed[:, b])[:12]
                np.testing.assert_allclose(curves.collective[number, :, a, b], expected, rtol=1e-10, atol=1e-10)


def test_the_spread_is_the_variance_over_origins():
    trajectory = salt(133, 5, 0.3, seed=0)
    curves = measure_displacements(trajectory, frame="laboratory")
    positions = trajectory.positions[:132]
    for lag, spread in zip(curves.spread_lags, curves.spread):
        squares = (positions[lag:] - positions[:-lag]) ** 2
        expected = squares.reshape(len(squares), 2, 5, 3).mean(axis=2).var(axis=0, ddof=1)
        np.testing.assert_allclose(spread, expected, rtol=1e-10)


def test_frames_of_reference():
    trajectory = salt(200, 6, 0.3, seed=1)
    drift = np.linspace(0, 5, 200)[:, None, None] * np.array([1.0, -2.0, 0.5])
    drifting = UnwrappedTrajectory(
        trajectory.positions + drift, trajectory.species, trajectory.cell, timestep_fs=100, temperature_K=1000
    )
    for frame, host in (("barycentric", ()), ("host", ("Cl",))):
        still, moving = (measure_displacements(one, frame=frame, host=host) for one in (trajectory, drifting))
        np.testing.assert_allclose(still.single, moving.single, atol=1e-9)
        np.testing.assert_allclose(still.collective, moving.collective, atol=1e-8)
    chlorine = measure_displacements(trajectory, frame="host", host="Cl").collective[:, :, 1, 1]
    assert np.abs(chlorine).max() < 1e-9
    masses = np.array([22.98976928] * 6 + [35.45] * 6)[:, None]
    centre = (trajectory.positions * masses).sum(axis=1, keepdims=True) / masses.sum()
    by_hand = UnwrappedTrajectory(
        trajectory.positions - centre, trajectory.species, trajectory.cell, timestep_fs=100, temperature_K=1000
    )
    expected = measure_displacements(by_hand, frame="laboratory").single
    np.testing.assert_allclose(measure_displacements(trajectory).single, expected, atol=1e-3)  # masses to five digits
    for frame, host in (("centre", ()), ("host", ()), ("barycentric", ("Cl",)), ("host", ("K",))):
        with pytest.raises(ValueError, match="frame is 'centre'|host is"):
            measure_displacements(trajectory, frame=frame, host=host)


def test_memory_does_not_grow_with_the_number_of_atoms(tmp_path):
    peaks = []
    for n_atoms in (300, 1500):
        path = tmp_path / f"{n_atoms}.npy"
        np.save(path, np.random.default_rng(0).normal(size=(1000, n_atoms, 3)).astype(np.float32))
        positions = np.load(path, mmap_mode="r")
        numbers = 3 * 1000 * 50
        species = ["Na"] * n_atoms
        trajectory = UnwrappedTrajectory(positions, species, [1e3] * 3, timestep_fs=100, temperature_K=300)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("matterscape.dynamics.analysis.NUMBERS_PER_BLOCK", numbers)
            patch.setattr("matterscape.dynamics._displacements.atom_blocks.__defaults__", (numbers,))
            patch.setattr("matterscape.dynamics._displacements.time_blocks.__defaults__", (numbers,))
            for analyse, data in ((mean_square_displacement, positions), (measure_displacements, trajectory)):
                tracemalloc.start()
                analyse(data)
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
    small, large = peaks[:2], peaks[2:]
    assert large[0] < 1.1 * small[0] and large[1] < 1.1 * small[1]
    assert max(large) < 12 * 8 * numbers  # of 1500 atoms: 36 MB as float64


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_pages_of_a_file_are_given_back(tmp_path, monkeypatch):
    """Of a file of 72 MB no more than a few MB are mapped at a time."""
    np.save(tmp_path / "positions.npy", np.random.default_rng(0).normal(size=(2000, 3000, 3)).astype(np.float32))
    positions = np.load(tmp_path / "positions.npy", mmap_mode="r")
    mapped = []

    def mapped_mb():
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssFile")).split()[1]) / 1024

    def watched(array):
        mapped.append(mapped_mb())
        release(array)

    monkeypatch.setattr(_displacements, "_BYTES_MAPPED", 2**22)
    monkeypatch.setattr(_displacements, "release", watched)
    before = mapped_mb()
    mean_square_displacement(positions)
    assert len(mapped) >= 2 * 18 and max(mapped) < before + 25


@pytest.fixture(scope="module")
def repeats():
    """Blocks and regression for many runs of walkers with known D."""
    rows = []
    for seed in range(80):
        displacements = measure_displacements(salt(900, 10, DIFFUSION, seed), frame="laboratory")
        estimate = self_diffusion(displacements, "Na", WINDOW)
        posterior = self_diffusion_posterior(displacements, "Na", WINDOW)
        rows.append(
            (estimate.value, estimate.error, posterior.mean, posterior.error)
            + (*posterior.interval(0.683), *posterior.interval(0.95), posterior.n_walkers)
        )
    return np.array(rows).T


def test_block_errors_hold(repeats):
    value, error = repeats[:2]
    assert value.mean() == pytest.approx(DIFFUSION, abs=4 * value.std() / np.sqrt(len(value)))
    assert np.sqrt((error**2).mean()) == pytest.approx(value.std(), rel=0.2)
    assert 0.55 < (np.abs(value - DIFFUSION) < error).mean() < 0.80  # 0.67 of Student's law with 15 degrees
    assert (np.abs(value - DIFFUSION) < 2.13 * error).mean() > 0.88


def test_regression_errors_hold_and_are_smaller(repeats):
    mean, error, low, high, lowest, highest, walkers = repeats[2:]
    assert mean.mean() == pytest.approx(DIFFUSION, abs=4 * mean.std() / np.sqrt(len(mean)))
    assert error.mean() == pytest.approx(mean.std(), rel=0.2)
    assert 0.55 < ((low < DIFFUSION) & (DIFFUSION < high)).mean() < 0.80
    assert ((lowest < DIFFUSION) & (DIFFUSION < highest)).mean() > 0.88
    assert walkers.mean() == pytest.approx(30, rel=0.05)  # ten atoms in three directions
    assert mean.std() < 0.7 * repeats[0].std()


def test_the_error_of_naive_least_squares_would_not_hold(repeats):
    """What a straight line through one curve says of its own slope, were its points independent."""
    covered = []
    for seed in range(30):
        curve, _ = measure_displacements(salt(900, 10, DIFFUSION, seed), frame="laboratory").mean_square("Na")
        times = 0.1 * np.arange(5, 51)
        (slope, _), covariance = np.polyfit(times, curve[5:51], 1, cov=True)
        covered.append(abs(slope / 6 - DIFFUSION) < np.sqrt(covariance[0, 0]) / 6)
    assert np.mean(covered) < 0.4


def test_correlated_atoms_count_as_one_walker():
    rng = np.random.default_rng(5)
    leaders = walk(1500, 8, DIFFUSION, 0.1, rng)
    positions = np.repeat(leaders, 4, axis=1)
    trajectory = UnwrappedTrajectory(positions, ["Li"] * 32, [50.0] * 3, timestep_fs=100, temperature_K=300)
    displacements = measure_displacements(trajectory, frame="laboratory")
    assert self_diffusion_posterior(displacements, "Li", WINDOW).n_walkers == pytest.approx(24, rel=0.15)


@pytest.mark.parametrize("width", [0.3, 1.5])
def test_walkers_in_moving_cages(width):
    """Free diffusion plus rattling: the slope of the long times is the centre's, and the errors hold."""
    inside = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        positions = walk(900, 10, DIFFUSION, 0.1, rng) + caged(900, 10, width, 4.0, rng)
        trajectory = UnwrappedTrajectory(positions, ["Li"] * 10, [50.0] * 3, timestep_fs=100, temperature_K=300)
        posterior = self_diffusion_posterior(measure_displacements(trajectory, frame="laboratory"), "Li", (2.0, 6.0))
        low, high = posterior.interval(0.95)
        inside.append(low < DIFFUSION < high)
    assert np.mean(inside) > 0.8


def test_an_anisotropic_crystal_has_three_coefficients():
    rng = np.random.default_rng(6)
    scale = np.sqrt([1.0, 4.0, 0.0])
    positions = walk(3000, 40, DIFFUSION, 0.1, rng) * scale
    trajectory = UnwrappedTrajectory(positions, ["Li"] * 40, [90.0] * 3, timestep_fs=100, temperature_K=300)
    estimate = self_diffusion(measure_displacements(trajectory, frame="laboratory"), "Li", WINDOW)
    for axis, factor in enumerate((1.0, 4.0, 0.0)):
        expected, error = factor * DIFFUSION, estimate.component_errors[axis]
        assert abs(estimate.components[axis] - expected) < 4 * error + 1e-12
    assert estimate.value == pytest.approx(np.mean(estimate.components))
    assert estimate.error < 0.15 * estimate.value  # the differences between axes are no noise
    posterior = self_diffusion_posterior(measure_displacements(trajectory, frame="laboratory"), "Li", WINDOW)
    assert abs(posterior.mean - estimate.value) < 3 * estimate.error
    in_cm = estimate.times(CM2_PER_S, "cm^2/s")
    assert in_cm.value == pytest.approx(1e-4 * estimate.value) and str(in_cm).endswith("cm^2/s")


def test_windows_inside_the_cage_and_beyond_half_a_block_are_refused():
    rng = np.random.default_rng(7)
    positions = walk(1200, 60, 0.01, 0.1, rng) + caged(1200, 60, 0.8, 5.0, rng)
    trajectory = UnwrappedTrajectory(positions, ["Li"] * 60, [50.0] * 3, timestep_fs=100, temperature_K=300)
    displacements = measure_displacements(trajectory, frame="laboratory")
    with pytest.raises(ValueError, match="begins before diffusion does"):
        self_diffusion(displacements, "Li", (0.1, 3.0))
    assert self_diffusion(displacements, "Li", (3.0, 9.0)).value == pytest.approx(0.01, rel=0.5)
    with pytest.raises(ValueError, match=r"to half a block, 10 ps"):
        self_diffusion(displacements, "Li", (3.0, 11.0))
    with pytest.raises(ValueError, match="which holds 3 lags"):
        self_diffusion(displacements, "Li", (3.0, 3.2))
    with pytest.raises(ValueError, match="window_ps is 3"):
        self_diffusion(displacements, "Li", 3)
    with pytest.raises(ValueError, match="there is no species 'Na'; accepted are Li"):
        self_diffusion(displacements, "Na", (3.0, 9.0))


def test_free_flight_is_no_diffusion():
    positions = np.arange(600)[:, None, None] * np.random.default_rng(8).normal(scale=0.01, size=(50, 3))
    trajectory = UnwrappedTrajectory(positions, ["Li"] * 50, [50.0] * 3, timestep_fs=100, temperature_K=300)
    with pytest.raises(ValueError, match="begins before diffusion does"):
        self_diffusion(measure_displacements(trajectory), "Li", WINDOW)


def test_a_solid_has_no_diffusion():
    rng = np.random.default_rng(9)
    trajectory = UnwrappedTrajectory(
        caged(1500, 40, 0.3, 2.0, rng), ["Li"] * 40, [50.0] * 3, timestep_fs=100, temperature_K=300
    )
    displacements = measure_displacements(trajectory, frame="laboratory")
    estimate = self_diffusion(displacements, "Li", (2.0, 10.0))
    assert abs(estimate.value) < 4 * estimate.error < 1e-3
    assert self_diffusion_posterior(displacements, "Li", (2.0, 10.0)).interval(0.95)[1] < 1e-3


def test_atoms_that_rest_have_no_posterior():
    still = UnwrappedTrajectory(np.zeros((100, 2, 3)), ["Li", "Li"], [9.0] * 3, timestep_fs=100, temperature_K=300)
    with pytest.raises(ValueError, match="displacement of Li is zero at lag 1"):
        self_diffusion_posterior(measure_displacements(still, frame="laboratory"), "Li", (0.1, 0.5))


def test_covariance_of_overlapping_origins():
    """Against many walkers, free ones and ones in moving cages."""
    rng = np.random.default_rng(10)
    n_times, n_walkers, relaxation = 60, 40_000, 3.0
    steps = np.cumsum(rng.normal(size=(n_times, n_walkers)), axis=0)
    cage = caged(n_times, n_walkers // 3 + 1, 2.0, relaxation, rng).reshape(n_times, -1)[:, :n_walkers]
    lags = np.array([1, 4, 10, 25])
    first, second = (one.ravel() for one in np.meshgrid(lags, lags))
    for positions, variogram in (
        (steps, np.arange(60.0)),
        (steps + cage, np.arange(60.0) + 8.0 * -np.expm1(-np.arange(60) / relaxation)),
    ):
        curves = np.array([((positions[lag:] - positions[:-lag]) ** 2).mean(axis=0) for lag in lags])
        np.testing.assert_allclose(curves.mean(axis=1), variogram[lags], rtol=0.03)
        expected = overlap_covariance(first, second, variogram, n_times).reshape(4, 4)
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        np.testing.assert_allclose(np.cov(curves) / scale, expected / scale, atol=0.06)


def test_the_jackknife_of_a_linear_function_is_the_error_of_the_mean():
    rows = np.random.default_rng(11).normal(size=(7, 3)) + np.array([0.0, 10.0, 20.0])
    value, error = jackknife(rows, lambda mean: 2 * mean)
    assert value == pytest.approx(2 * rows.mean())
    assert error == pytest.approx(2 * np.sqrt((rows.var(axis=0, ddof=1) / 7).sum()) / 3)


def test_several_runs_are_blocks_of_one_system():
    runs = [salt(300, 5, DIFFUSION, seed) for seed in range(3)]
    displacements = measure_displacements(runs, n_blocks=2)
    parts = [measure_displacements(run, n_blocks=6) for run in runs]
    assert displacements.n_blocks == 6 and parts[0].n_blocks == 6
    assert np.array_equal(
        displacements.single, np.concatenate([measure_displacements([run] * 3, n_blocks=2).single[:2] for run in runs])
    )
    with pytest.raises(ValueError, match="at least 6 blocks"):
        measure_displacements(runs, n_blocks=1)
    with pytest.raises(ValueError, match="trajectory 1 differs from trajectory 0 in n_times"):
        measure_displacements([runs[0], salt(301, 5, DIFFUSION, 0)])
    with pytest.raises(ValueError, match="in its cell"):
        measure_displacements([runs[0], salt(300, 5, DIFFUSION, 0, edge=41.0)])
    with pytest.raises(ValueError, match="at most 37 blocks"):
        measure_displacements(runs, n_blocks=100)
    with pytest.raises(TypeError, match="trajectory 0 is a list"):
        measure_displacements([[1]])


def test_activation_energies():
    temperatures = np.array([300.0, 350.0, 400.0, 500.0, 600.0, 700.0])
    inverse = 1 / (units.kB * temperatures)
    values = np.where(temperatures < 450, 3.0 * np.exp(-0.45 * inverse), 0.5 * np.exp(-0.19 * inverse))
    below, above = (arrhenius_fit(temperatures, values, 0.1 * values, between) for between in ((0, 450), (450, 1e4)))
    assert below.activation_energy == pytest.approx(0.45) and above.activation_energy == pytest.approx(0.19)
    assert below.chi_squared == pytest.approx(0, abs=1e-9) and below.degrees_of_freedom == 1
    jump = arrhenius_jump(below, above, 450.0)
    assert jump.value == pytest.approx(0.5 / 3.0 * np.exp(0.26 / (units.kB * 450)))
    assert above.at(600.0).value == pytest.approx(values[4])
    with pytest.raises(ValueError, match="which leaves the temperatures"):
        arrhenius_fit(temperatures, values, values, (0, 320))
    with pytest.raises(ValueError, match="values are"):
        arrhenius_fit(temperatures, -values, values)


def test_errors_of_activation_energies_hold():
    rng = np.random.default_rng(12)
    temperatures = np.array([500.0, 600.0, 700.0, 800.0])
    true = np.exp(-0.2 / (units.kB * temperatures))
    pulls, ratios = [], []
    for _ in range(400):
        fit = arrhenius_fit(temperatures, true * (1 + 0.05 * rng.normal(size=4)), 0.05 * true)
        pulls.append((fit.activation_energy - 0.2) / fit.activation_energy_error)
        estimate = fit.at(450.0)
        ratios.append((estimate.value - np.exp(-0.2 / (units.kB * 450))) / estimate.error)
    assert np.std(pulls) == pytest.approx(1, abs=0.12) and np.std(ratios) == pytest.approx(1, abs=0.15)
