"""Events of synthetic trajectories are counted exactly, and correlations found where they are."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import poisson

from matterscape.transport.events import (
    Events,
    event_correlation,
    flip_events,
    hop_events,
    nearest_partners,
    rate_ratio,
    residence_times,
    site_moves,
)
from matterscape.transport.tetrahedra import IDEAL_TETRAHEDRON, tetrahedron_rotations

pytestmark = pytest.mark.unit

STEP = 100.0  # fs


def scheduled_times(generator, n_carriers, n_times, gap, mean_number):
    """Random steps for each carrier, at least ``gap`` apart and away from the ends."""
    schedule = []
    for _ in range(n_carriers):
        candidates = np.sort(generator.choice(np.arange(gap, n_times - gap), generator.poisson(mean_number), False))
        kept = [s for n, s in enumerate(candidates) if n == 0 or s - candidates[n - 1] >= gap]
        schedule.append(np.array(kept, int))
    return schedule


def rotor(generator, schedule, n_times, libration_deg):
    """Tetrahedra that librate and at scheduled steps jump by a random operation of their own symmetry group."""
    group = Rotation.create_group("T")
    group = group[group.magnitude() > 1]  # eight turns by 120 and three by 180 degrees
    angles = np.radians(libration_deg)
    rotations = np.empty((n_times, len(schedule), 3, 3))
    for k, steps in enumerate(schedule):
        phase, rate = generator.uniform(0, 2 * np.pi, 3), generator.uniform(1.0, 3.0, 3)  # THz
        time = np.arange(n_times)[:, None] * STEP * 1e-3
        wobble = Rotation.from_rotvec(angles / np.sqrt(3) * np.sin(2 * np.pi * rate * time + phase)).as_matrix()
        orientation = Rotation.random(random_state=generator.integers(1 << 30)).as_matrix()
        start = 0
        for step in [*steps, n_times]:
            rotations[start:step, k] = wobble[start:step] @ orientation
            orientation = orientation @ group[generator.integers(len(group))].as_matrix()
            start = step
    return rotations


@pytest.mark.parametrize("libration_deg", [0.0, 20.0, 35.0])
def test_the_flip_counter_is_exact(libration_deg):
    generator = np.random.default_rng(5)
    schedule = scheduled_times(generator, 12, 2000, gap=50, mean_number=10)
    rotations = rotor(generator, schedule, 2000, libration_deg)
    flips = flip_events(rotations, STEP)
    assert flips.counts().tolist() == [len(steps) for steps in schedule]
    for carrier, steps in enumerate(schedule):
        found = flips.times_ps[flips.carriers == carrier]
        np.testing.assert_allclose(found, steps * STEP * 1e-3, atol=1.0)  # half the window


def test_flips_are_seen_from_labelled_corners_only():
    """A turn by 120 degrees about a bond is a flip of labelled corners; unlabelled ones have not moved."""
    generator = np.random.default_rng(0)
    rotations = rotor(generator, [np.array([100, 250])], 400, 0.0)
    corners = np.einsum("tmxy,sy->tmsx", rotations, IDEAL_TETRAHEDRON)
    assert len(flip_events(tetrahedron_rotations(corners), STEP)) == 2
    order = np.lexsort(np.round(corners, 9).transpose(3, 0, 1, 2), axis=-1)
    unlabelled = np.take_along_axis(corners, order[..., None], axis=2)
    assert np.abs(unlabelled - unlabelled[0]).max() < 1e-9  # the same set of corners at all times
    assert len(flip_events(tetrahedron_rotations(unlabelled), STEP)) == 0


def test_libration_is_no_flip():
    rotations = rotor(np.random.default_rng(1), [np.array([], int)] * 8, 1000, 50.0)
    assert len(flip_events(rotations, STEP)) == 0
    # the instantaneous orientation does leave its plateau: the average is needed
    assert len(flip_events(rotations, STEP, angle_deg=30.0, window_ps=0.0, stay_ps=0.0)) > 0


def test_an_excursion_that_returns_is_no_flip():
    rotations = np.broadcast_to(np.eye(3), (400, 1, 3, 3)).copy()
    turned = Rotation.from_rotvec([0, 0, np.radians(120)]).as_matrix()
    rotations[100:118] = turned  # 1.8 ps
    assert len(flip_events(rotations, STEP)) == 0
    rotations[200:260] = turned
    assert len(flip_events(rotations, STEP)) == 2  # there and back


def test_small_turns_add_up_to_flips():
    """A slow turn is followed by the plateau's mean only so far."""
    turn = Rotation.from_rotvec(np.radians(np.clip(np.arange(1500) - 500, 0, 170))[:, None] * [0, 0, 1.0])
    flips = flip_events(turn.as_matrix()[:, None], STEP)
    assert 1 <= len(flips) <= 3


def lattice_hopper(generator, schedule, n_times, spacing, amplitude):
    """Ions that vibrate about the points of a cubic lattice and hop to a neighbour at scheduled steps."""
    path = np.empty((n_times, len(schedule), 3))
    for k, steps in enumerate(schedule):
        place, start = generator.integers(0, 4, 3).astype(float), 0
        for step in [*steps, n_times]:
            path[start:step, k] = spacing * place
            place[generator.integers(3)] += generator.choice([-1, 1])
            start = step
    return path + amplitude * generator.normal(size=path.shape)


def test_the_hop_counter_is_exact():
    generator = np.random.default_rng(2)
    schedule = scheduled_times(generator, 20, 3000, gap=20, mean_number=30)
    path = lattice_hopper(generator, schedule, 3000, spacing=3.0, amplitude=0.4)
    hops = hop_events(path, STEP)
    assert hops.counts().tolist() == [len(steps) for steps in schedule]
    assert (np.diff(hops.times_ps) >= 0).all()
    expected = np.sort(np.concatenate(schedule)) * STEP * 1e-3
    np.testing.assert_allclose(np.sort(hops.times_ps), expected, atol=0.3)


def test_hops_are_unwrapped_and_do_not_depend_on_the_frame_of_reference():
    generator = np.random.default_rng(3)
    schedule = scheduled_times(generator, 5, 500, gap=20, mean_number=6)
    path = lattice_hopper(generator, schedule, 500, spacing=3.0, amplitude=0.2)
    rotation = Rotation.random(random_state=0).as_matrix()
    moved = path @ rotation.T + np.array([100.0, -20.0, 3.0])
    assert np.array_equal(hop_events(moved, STEP).times_ps, hop_events(path, STEP).times_ps)
    assert len(hop_events(path % 6.0, STEP)) != len(hop_events(path, STEP))


def test_moves_between_voronoi_sites():
    sites = np.array([[0, 4]] * 10 + [[1, 4]] * 2 + [[0, 4]] * 10 + [[1, 4]] * 20 + [[2, 5]] * 30)
    moves = site_moves(sites, STEP, stay_ps=0.5)
    assert moves.carriers.tolist() == [0, 0, 1]
    assert moves.origins.tolist() == [0, 1, 4]
    assert moves.targets.tolist() == [1, 2, 5]
    np.testing.assert_allclose(moves.times_ps, [2.2, 4.2, 4.2])
    np.testing.assert_allclose(residence_times(moves), [2.0])
    assert len(site_moves(sites, STEP, stay_ps=0.0)) == 5


def test_many_events_fill_longer_arrays():
    sites = np.arange(4000)[:, None] % 2
    assert len(site_moves(sites, STEP, stay_ps=0.0)) == 3999


def test_rates_of_poisson_events():
    generator = np.random.default_rng(0)
    counts = generator.poisson(5.0, 400)
    inside = 0
    for count in counts:
        events = Events(np.zeros(count), np.zeros(count, int), n_carriers=10, duration_ps=50.0)
        lower, upper = events.rate_interval_per_s(0.9)
        inside += lower <= 5.0 / (500e-12) <= upper
    assert inside >= poisson(36).ppf(0) + 350  # at least 90 % of 400, less four standard deviations of 6
    few = Events(np.zeros(4), np.zeros(4, int), n_carriers=2, duration_ps=100.0)
    assert few.rate_per_s == pytest.approx(2e10)
    assert few.rate_error_per_s == pytest.approx(1e10)


def test_no_events_leave_an_upper_bound():
    none = Events(np.zeros(0), np.zeros(0, int), n_carriers=8, duration_ps=50.0)
    lower, upper = none.rate_interval_per_s(0.9)
    assert lower == 0
    assert upper == pytest.approx(-np.log(0.05) / 400e-12)
    with pytest.raises(ValueError, match="second has no events"):
        rate_ratio(Events(np.zeros(1), np.zeros(1, int), 8, 50.0), none)


def test_ratio_of_rates():
    first = Events(np.zeros(400), np.zeros(400, int), n_carriers=30, duration_ps=100.0)
    second = Events(np.zeros(100), np.zeros(100, int), n_carriers=10, duration_ps=100.0)
    ratio, error = rate_ratio(first, second)
    assert ratio == pytest.approx(4 / 3)
    assert error == pytest.approx(4 / 3 * np.sqrt(1 / 400 + 1 / 100))


def poisson_events(generator, n_events, n_carriers, duration):
    times = np.sort(generator.uniform(0, duration, n_events))
    return Events(times, generator.integers(n_carriers, size=n_events), n_carriers, duration)


def test_independent_events_are_uncorrelated():
    generator = np.random.default_rng(4)
    hops, flips = poisson_events(generator, 3000, 60, 400.0), poisson_events(generator, 800, 20, 400.0)
    found = event_correlation(hops, flips, generator.integers(20, size=3000), maximum_lag_ps=8.0)
    deviations = (found.counts - found.control) / found.control_deviation
    assert np.abs(deviations).max() < 4.5
    assert np.sqrt(np.mean(deviations**2)) == pytest.approx(1.0, abs=0.5)
    assert found.lags_ps[10] == pytest.approx(0.0, abs=1e-12)


def test_hops_that_follow_flips_are_found_at_their_lag():
    generator = np.random.default_rng(6)
    flips = poisson_events(generator, 300, 20, 400.0)
    led = np.sort(generator.choice(300, 150, replace=False))
    led = led[flips.times_ps[led] < 395]
    hops = Events(flips.times_ps[led] + 2.0, np.zeros(len(led), int), 60, 400.0)  # 2 ps after the flip
    found = event_correlation(hops, flips, flips.carriers[led], maximum_lag_ps=8.0, n_bins=17)
    significance = (found.counts - found.control) / found.control_deviation
    assert found.lags_ps[significance.argmax()] == pytest.approx(-2.0, abs=0.5)
    assert significance.max() > 10
    others = np.abs(found.lags_ps + 2.0) > 0.6
    assert np.abs(significance[others]).max() < 4.5
    # partners drawn at random lose it
    shuffled = event_correlation(hops, flips, generator.permutation(flips.carriers[led]), maximum_lag_ps=8.0, n_bins=17)
    assert np.abs((shuffled.counts - shuffled.control) / shuffled.control_deviation).max() < 6
    assert found.ratio.shape == found.ratio_error.shape == (17,)


def test_partners_are_the_nearest_images():
    cell = np.diag([10.0, 10.0, 10.0])
    positions = np.array([[[0.5, 0.0, 0.0]], [[4.0, 0.0, 0.0]], [[25.0, 0.0, 0.0]]])
    partners = np.broadcast_to([[9.5, 0, 0], [3.0, 0, 0], [5.2, 0, 0]], (3, 3, 3))
    events = Events(np.array([0.0, 0.1, 0.2]), np.zeros(3, int), 1, 0.3)
    assert nearest_partners(events, positions, partners, cell, STEP).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hop_events(np.zeros((100, 2)), STEP), "positions has shape"),
        (lambda: hop_events(np.zeros((100, 2, 3)), STEP, distance=0), "distance is 0"),
        (lambda: hop_events(np.zeros((100, 2, 3)), -1.0), "timestep_fs is -1.0"),
        (lambda: hop_events(np.zeros((8, 2, 3)), STEP), "8 frames; accepted are at least 11"),
        (lambda: flip_events(np.zeros((100, 2, 3)), STEP), "rotations has shape"),
        (lambda: flip_events(np.zeros((100, 2, 3, 3)), STEP, angle_deg=180), "angle_deg is 180"),
        (lambda: site_moves(np.zeros((100, 2)), STEP), "sites is float64"),
    ],
)
def test_bad_trajectories(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"maximum_lag_ps": 60.0}, "maximum_lag_ps is 60.0"),
        ({"n_bins": 0}, "n_bins is 0"),
        ({"n_shuffles": 1}, "n_shuffles is 1"),
        ({"partners": np.zeros(2, int)}, "partners is int64 of shape"),
        ({"partners": np.full(5, 9)}, "partners run from 9 to 9"),
    ],
)
def test_bad_correlations(keywords, message):
    events = poisson_events(np.random.default_rng(0), 5, 3, 100.0)
    partners = keywords.pop("partners", np.zeros(5, int))
    with pytest.raises(ValueError, match=message):
        event_correlation(events, events, partners, **keywords)


def test_bad_confidence():
    with pytest.raises(ValueError, match="confidence is 1"):
        poisson_events(np.random.default_rng(0), 5, 3, 100.0).rate_interval_per_s(1)
