"""Conductivity of walkers that are known: independent, in pairs, in units that stay whole."""

import numpy as np
import pytest
from ase import units
from scipy.spatial.transform import Rotation

from matterscape.transport.conductivity import (
    charge_current,
    conductivity_posterior,
    einstein_conductivity,
    haven_ratio,
    nernst_einstein,
    split_conductivity,
)
from matterscape.transport.currents import Currents
from matterscape.transport.diffusion import measure_displacements, self_diffusion
from matterscape.transport.trajectories import UnwrappedTrajectory
from walkers import caged, salt, walk

pytestmark = pytest.mark.unit

CHARGES = {"Na": 1, "Cl": -1}
WINDOW = (0.5, 5.0)


def of(positions, species, edge=40.0, temperature_K=1000.0):
    return UnwrappedTrajectory(positions, species, [edge] * 3, timestep_fs=100.0, temperature_K=temperature_K)


@pytest.fixture(scope="module")
def liquid():
    return measure_displacements(salt(4000, 30, 0.05, seed=0), frame="laboratory")


def test_units_by_hand(liquid):
    """0.05 Å^2/ps, 60 ions in (40 Å)^3 at 1000 K, in SI."""
    expected = 60 * units._e**2 * 0.05e-8 / ((40e-10) ** 3 * units._k * 1000.0)  # S/m
    found = nernst_einstein(liquid, CHARGES, WINDOW)
    assert found.value == pytest.approx(expected / 100, rel=0.1) and found.unit == "S/cm"
    diffusion = [self_diffusion(liquid, symbol, WINDOW).value for symbol in ("Na", "Cl")]
    assert found.value == pytest.approx(expected / 100 * np.mean(diffusion) / 0.05, rel=1e-9)


def test_independent_ions_have_haven_ratio_one(liquid):
    ratio = haven_ratio(liquid, CHARGES, WINDOW)
    assert abs(ratio.value - 1) < 3 * ratio.error and ratio.error < 0.3


def test_haven_ratio_of_independent_ions_over_many_runs():
    rows = []
    for seed in range(60):
        displacements = measure_displacements(salt(900, 10, 0.05, seed))
        ratio = haven_ratio(displacements, CHARGES, WINDOW)
        posterior = conductivity_posterior(displacements, CHARGES, WINDOW)
        true = nernst_einstein(displacements, CHARGES, WINDOW).value / ratio.value
        assert einstein_conductivity(displacements, CHARGES, WINDOW).value == pytest.approx(true, rel=0.2)
        rows.append((ratio.value, ratio.error, posterior.mean, posterior.error, *posterior.interval(0.683)))
    value, error, mean, width, low, high = np.array(rows).T
    assert value.mean() == pytest.approx(1, abs=4 * value.std() / 7.7)
    assert 0.55 < (np.abs(value - 1) < error).mean() < 0.82
    true = 20 * 0.05 * units._e / 1e-20 / (40.0**3 * units.kB * 1000)
    assert mean.mean() == pytest.approx(true, abs=4 * mean.std() / 7.7)
    assert width.mean() == pytest.approx(mean.std(), rel=0.25)
    assert 0.55 < ((low < true) & (true < high)).mean() < 0.82


def test_rigid_pairs_have_haven_ratio_one_half():
    rng = np.random.default_rng(1)
    pairs = np.repeat(walk(6000, 20, 0.05, 0.1, rng), 2, axis=1)
    displacements = measure_displacements(
        of(np.concatenate([pairs, np.zeros_like(pairs)], axis=1), ["Na"] * 40 + ["Cl"] * 40), frame="laboratory"
    )
    split = split_conductivity(displacements, CHARGES, WINDOW, carriers=["Na"])
    ratio = haven_ratio(displacements, CHARGES, WINDOW, carriers=["Na"])
    assert abs(ratio.value - 0.5) < 3 * ratio.error < 0.25
    distinct, single = split.distinct["Na"], split.single["Na"]
    assert abs(distinct.value - single.value) < 3 * distinct.error
    assert split.cross["Na", "Cl"].value == pytest.approx(0, abs=1e-12)


def test_neutral_pairs_do_not_conduct():
    rng = np.random.default_rng(2)
    pairs = walk(2000, 20, 0.05, 0.1, rng)
    displacements = measure_displacements(of(np.concatenate([pairs, pairs], axis=1), ["Na"] * 20 + ["Cl"] * 20))
    split = split_conductivity(displacements, CHARGES, WINDOW)
    assert abs(split.total.value) < 1e-10 * split.nernst_einstein.value
    assert split.cross["Na", "Cl"].value < 0
    with pytest.raises(ValueError, match="the conductivity is .* S/cm, which cannot be told from zero"):
        haven_ratio(displacements, CHARGES, WINDOW)


def test_parts_sum_up_to_the_total(liquid):
    split = split_conductivity(liquid, CHARGES, WINDOW)
    own = sum(part.value for part in split.single.values())
    assert own == pytest.approx(split.nernst_einstein.value, rel=1e-12)
    parts = own + sum(part.value for part in (*split.distinct.values(), *split.cross.values()))
    assert parts == pytest.approx(split.total.value, rel=1e-12)
    assert split.total.value == pytest.approx(einstein_conductivity(liquid, CHARGES, WINDOW).value, rel=1e-12)
    assert split.total.error == pytest.approx(einstein_conductivity(liquid, CHARGES, WINDOW).error, rel=1e-9)
    assert haven_ratio(liquid, CHARGES, WINDOW).value == pytest.approx(own / split.total.value, rel=0.1)


def test_the_frame_does_not_matter_for_neutral_charges_and_does_for_the_parts():
    trajectory = salt(1500, 8, 0.05, seed=3)
    frames = [("laboratory", ()), ("barycentric", ()), ("host", ("Cl",))]
    splits = [
        split_conductivity(measure_displacements(trajectory, frame=frame, host=host), CHARGES, WINDOW, ["Na"])
        for frame, host in frames
    ]
    totals, cross = (
        [get(one) for one in splits] for get in (lambda s: s.total.value, lambda s: s.cross["Na", "Cl"].value)
    )
    assert np.ptp(totals) < 1e-9 * totals[0]
    assert np.ptp(cross) > 0.05 * totals[0] and cross[2] == pytest.approx(0, abs=1e-10)


def thiophosphate(n_times, seed):
    """Lithium walkers among PS4 units that turn, vibrate and drift about but stay whole."""
    rng = np.random.default_rng(seed)
    n_units = 24
    lithium = walk(n_times, 3 * n_units, 0.05, 0.1, rng)
    phosphorus = walk(n_times, n_units, 0.002, 0.1, rng) + caged(n_times, n_units, 0.1, 2.0, rng)
    turns = Rotation.from_rotvec(walk(n_times, n_units, 0.05, 0.1, rng).reshape(-1, 3))
    corners = 2.05 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    bonds = np.stack([turns.apply(corner).reshape(n_times, n_units, 3) for corner in corners], axis=2)
    sulphur = (phosphorus[:, :, None] + bonds).reshape(n_times, 4 * n_units, 3)
    sulphur += caged(n_times, 4 * n_units, 0.04, 1.0, rng)
    return of(
        np.concatenate([lithium, phosphorus, sulphur], axis=1),
        ["Li"] * 3 * n_units + ["P"] * n_units + ["S"] * 4 * n_units,
        temperature_K=600.0,
    )


def test_any_integer_charges_of_whole_units_give_one_conductivity():
    displacements = measure_displacements(thiophosphate(4_000, 4))
    window = (3.0, 20.0)
    sets = [{"Li": 1, "P": 5, "S": -2}, {"Li": 1, "P": -3, "S": 0}, {"Li": 1, "P": 1, "S": -1}]
    values = [einstein_conductivity(displacements, charges, window).value for charges in sets]
    assert np.ptp(values) < 0.01 * np.mean(values)
    scaled = einstein_conductivity(displacements, {"Li": 0.6, "P": -0.0074, "S": -0.44815}, window).value
    assert scaled == pytest.approx(0.36 * values[0], rel=0.02)


def test_charges_that_move_apart_do_make_a_difference():
    """Where the units break, here into P and S that diffuse on their own, another set is another conductivity."""
    rng = np.random.default_rng(5)
    positions = walk(4000, 80, 0.05, 0.1, rng)
    displacements = measure_displacements(of(positions, ["Li"] * 30 + ["P"] * 10 + ["S"] * 40))
    first, second = (
        einstein_conductivity(displacements, charges, WINDOW).value
        for charges in ({"Li": 1, "P": 5, "S": -2}, {"Li": 1, "P": 1, "S": -1})
    )
    assert first > 2 * second


def test_wrapped_coordinates_are_refused_and_would_be_wrong():
    trajectory = salt(6000, 10, 2.0, seed=6, edge=12.0)
    wrapped = trajectory.positions % 12.0
    with pytest.raises(ValueError, match="coordinates do that were wrapped into the cell"):
        measure_displacements(of(wrapped, trajectory.species, 12.0))
    right, wrong = (
        einstein_conductivity(
            measure_displacements(of(positions, trajectory.species, 1e3)), CHARGES, (10.0, 40.0)
        ).value
        for positions in (trajectory.positions, wrapped)
    )
    assert abs(wrong) < 0.1 * right


@pytest.mark.parametrize(
    ("charges", "carriers", "message"),
    [
        ({"Na": 1, "Cl": 0}, None, r"charges are .*, 30 e in sum; accepted are neutral ones"),
        ({"Na": 0, "Cl": 0}, None, "accepted are some that differ from zero"),
        ({"Na": 1}, None, "a dictionary with a charge for Na, Cl"),
        ({"Na": 1, "Cl": np.nan}, None, "charge of Cl is nan"),
        (CHARGES, ["K"], "there is no species 'K'"),
        (CHARGES, [], r"carriers are \(\); accepted are some of Na, Cl"),
    ],
)
def test_bad_charges_and_carriers_are_named(liquid, charges, carriers, message):
    with pytest.raises(ValueError, match=message):
        haven_ratio(liquid, charges, WINDOW, carriers)


def test_the_charge_current_is_the_sum_of_charges_times_number_currents():
    values = np.random.default_rng(7).normal(size=(2, 3, 3, 50))
    currents = Currents(
        values, ["Na", "Cl"], timestep_fs=10, temperature_K=1000, volume=500, kinds=["number", "number"]
    )
    charged = charge_current(currents, CHARGES)
    assert charged.names == ("Na", "Cl", "charge") and charged.units[2] == "e Å/ps"
    np.testing.assert_allclose(charged["charge"], values[0] - values[1], atol=1e-14)
    with pytest.raises(ValueError, match="a dictionary with a charge for Na, Cl"):
        charge_current(currents, {"Na": 1, "K": -1})
