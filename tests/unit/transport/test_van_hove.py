"""Van Hove functions: normalised, equal to the radial distribution at no lag, known for walkers and ideal gases."""

import numpy as np
import pytest
from ase import Atoms
from scipy import stats

from matterscape.dynamics.analysis import radial_distribution
from matterscape.transport.trajectories import UnwrappedTrajectory
from matterscape.transport.van_hove import van_hove_functions
from walkers import walk

pytestmark = pytest.mark.unit

CELL = np.array([[12.0, 0, 0], [3.0, 11.0, 0], [-2.0, 1.0, 13.0]])


def of(positions, species, cell=CELL):
    return UnwrappedTrajectory(positions, species, cell, timestep_fs=100.0, temperature_K=300.0)


@pytest.fixture(scope="module")
def gas():
    """Walkers in an oblique cell, of two species."""
    rng = np.random.default_rng(0)
    start = rng.uniform(size=(40, 3)) @ CELL
    return of(start + walk(1500, 40, 0.2, 0.1, rng), ["Na"] * 25 + ["Cl"] * 15)


@pytest.fixture(scope="module")
def functions(gas):
    return van_hove_functions(gas, [0.0, 0.1, 1.0, 40.0], n_bins=40, n_origins=400)


def test_no_lag_gives_the_radial_distribution(gas, functions):
    origins = np.unique(np.linspace(0, gas.n_times - 1, 400).astype(int))
    frames = [Atoms(gas.species, positions=gas.positions[row], cell=CELL, pbc=True) for row in origins]
    expected = radial_distribution(frames, functions.distances[-1] + functions.distances[0], n_bins=40)
    np.testing.assert_allclose(functions.distances, expected.distances)
    for pair, values in functions.distinct_part.items():
        np.testing.assert_allclose(values[0], expected.partial[pair], atol=1e-10)


def test_the_self_part_is_a_probability(functions):
    width = functions.distances[1] - functions.distances[0]
    for element in ("Na", "Cl"):
        integral = functions.radial_density(element).sum(axis=1) * width
        np.testing.assert_allclose(integral + functions.beyond[element], 1.0, atol=1e-12)
        assert functions.beyond[element][0] == 0 and functions.beyond[element][3] > 0.5
        assert integral[0] == functions.radial_density(element)[0, 0] * width == pytest.approx(1)


def test_walkers_have_the_self_part_of_diffusion(functions):
    width = functions.distances[1] - functions.distances[0]
    for number, time in ((1, 0.1), (2, 1.0)):
        edges = np.append(functions.distances - width / 2, functions.distances[-1] + width / 2)
        expected = np.diff(stats.maxwell.cdf(edges, scale=np.sqrt(2 * 0.2 * time))) / width
        found = functions.radial_density("Na")[number]
        assert np.abs(found - expected).max() < 0.06 * expected.max()
        assert abs(functions.non_gaussian["Na"][number]) < 0.1


def test_an_ideal_gas_is_uniform_at_every_time(functions):
    volumes = functions.distances**2
    for (first, second), values in functions.distinct_part.items():
        n_atoms = {"Na": 25, "Cl": 15}[first]
        expected = 1 - 1 / n_atoms if first == second else 1.0
        mean = (values * volumes).sum(axis=1) / volumes.sum()
        np.testing.assert_allclose(mean, expected, atol=0.05)


def test_hops_are_not_gaussian():
    rng = np.random.default_rng(1)
    hops = rng.choice([-3.0, 0.0, 3.0], p=[0.01, 0.98, 0.01], size=(800, 50, 3))
    trajectory = of(np.cumsum(hops, axis=0), ["Li"] * 50, [20.0] * 3)
    functions = van_hove_functions(trajectory, [0.1, 50.0], n_bins=50)
    short, long = functions.non_gaussian["Li"]
    # one step: <dr^4> = 3 (0.02 * 81) + 6 (0.02 * 9)^2, <dr^2> = 3 * 0.02 * 9
    fourth, square = 3 * 0.02 * 81 + 6 * (0.02 * 9) ** 2, 3 * 0.02 * 9
    assert short == pytest.approx(3 * fourth / (5 * square**2) - 1, rel=0.1)
    assert abs(long) < 0.3
    hopped = functions.distances > 1.5
    share = (functions.radial_density("Li")[0] * 0.2)[hopped].sum()
    assert share == pytest.approx(1 - 0.98**3, rel=0.1)
    peak = functions.distances[hopped][np.argmax(functions.radial_density("Li")[0][hopped])]
    assert abs(peak - 3.0) < 0.21


def test_an_atom_that_follows_another_shows_in_the_distinct_part():
    """Atom b comes to where atom a was, one interval later: G_d has its peak at no distance."""
    path = np.cumsum(np.full((400, 1, 3), 0.5), axis=0)
    chain = np.concatenate([path, path - 0.5], axis=1)
    functions = van_hove_functions(of(chain, ["Li", "Li"], [15.0] * 3), [0.0, 0.1], n_bins=30)
    still, later = functions.distinct_part["Li", "Li"]
    assert still[0] == 0 and later[0] > 0 and later[1:5].sum() == 0


def test_float32_files_give_the_same(gas, tmp_path):
    path = tmp_path / "positions.npy"
    np.save(path, gas.positions.astype(np.float32))
    found = van_hove_functions(of(path, gas.species), [1.0], n_bins=20)
    expected = van_hove_functions(gas, [1.0], n_bins=20)
    for pair, values in expected.distinct_part.items():
        np.testing.assert_allclose(found.distinct_part[pair], values, atol=0.05)


def test_bad_input_is_named(gas):
    for arguments, message in (
        (([200.0],), "accepted are times from 0 to 149.9 ps"),
        (([-1.0],), r"lags_ps are \[-1.0\]"),
        (([1.0], 7.0), "maximum_distance is 7 Å; accepted is at most half the smallest height"),
        (([1.0], -1.0), "maximum_distance is -1.0"),
        (([1.0], 4.0, 0), "n_bins is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            van_hove_functions(gas, *arguments)
    wrapped = (gas.positions @ np.linalg.inv(CELL) % 1.0) @ CELL
    with pytest.raises(ValueError, match="wrapped into the cell"):
        van_hove_functions(of(wrapped, gas.species), [1.0])
    with pytest.raises(ValueError, match="there is no species 'K'"):
        van_hove_functions(gas, [1.0], n_bins=5, n_origins=2).radial_density("K")
