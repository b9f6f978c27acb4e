"""Unwrapped trajectories: what they accept, how they travel, and that wrapped ones are refused."""

import pickle

import numpy as np
import pytest
from ase import Atoms

from matterscape.dynamics import Langevin, Simulation
from matterscape.transport.diffusion import measure_displacements
from matterscape.transport.trajectories import UnwrappedTrajectory, unwrap
from model_potentials import HarmonicWells
from walkers import salt, walk

pytestmark = pytest.mark.unit


def made(positions=None, species=("Na", "Cl"), cell=(10.0, 10.0, 10.0), timestep_fs=100.0, temperature_K=300.0):
    positions = np.zeros((20, 2, 3)) if positions is None else positions
    return UnwrappedTrajectory(positions, species, cell, timestep_fs=timestep_fs, temperature_K=temperature_K)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((20, 3))}, r"positions have shape \(20, 3\)"),
        ({"positions": np.zeros((1, 2, 3))}, "at least two times"),
        ({"positions": np.zeros((20, 2, 3), int)}, "positions have the type int64"),
        ({"species": ("Na",)}, "a chemical symbol for each of 2 atoms"),
        ({"species": ("Na", "Xy")}, r"unknown among them \['Xy'\]"),
        ({"cell": np.zeros((3, 3))}, "three vectors that span a volume"),
        ({"timestep_fs": 0}, "timestep_fs is 0"),
        ({"temperature_K": np.nan}, "temperature_K is nan"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        made(**change)


def test_windows_and_strides():
    trajectory = made(np.arange(120.0).reshape(20, 2, 3) * 1e-3)
    part = trajectory.window(0.5, 1.5)
    assert part.n_times == 11 and part.duration_ps == pytest.approx(1.0)
    assert np.array_equal(part.positions, trajectory.positions[5:16])
    assert trajectory.strided(3).timestep_fs == 300.0 and trajectory.strided(3).n_times == 7
    assert trajectory.elements == ("Na", "Cl") and trajectory.labels.tolist() == [0, 1]
    assert trajectory.volume == pytest.approx(1000.0)
    with pytest.raises(ValueError, match="start_ps is 1.8 and stop_ps is 2.5"):
        trajectory.window(1.8, 2.5)


def test_a_file_travels_as_its_path(tmp_path):
    trajectory = salt(200, 300, 0.01, seed=0)
    path = tmp_path / "positions.npy"
    np.save(path, trajectory.positions)
    of_file = made(path, trajectory.species)
    parcel = pickle.dumps(of_file)
    assert len(parcel) < 10_000 < path.stat().st_size
    there = pickle.loads(parcel)
    assert isinstance(there.positions, np.memmap) and np.array_equal(there.positions, trajectory.positions)
    assert there.species == of_file.species and there.timestep_fs == of_file.timestep_fs
    part = pickle.loads(pickle.dumps(of_file.window(1.0, 2.0)))
    assert np.array_equal(part.positions, trajectory.positions[10:21])


def test_records_of_a_simulation():
    frames = [Atoms("NaCl", positions=[[0.1, 0, 0], [0, 0.2, 0]], cell=[12, 12, 12], pbc=True) for _ in range(2)]
    simulation = Simulation(frames, HarmonicWells(1.0), integrator=Langevin(300.0), timestep_fs=2.0)
    simulation.record("positions", every=5)
    simulation.record("temperature_K", every=5)
    simulation.run(100)
    trajectory = UnwrappedTrajectory.from_simulation(simulation, structure=1, start_ps=0.05)
    assert trajectory.timestep_fs == 10.0 and trajectory.species == ("Na", "Cl")
    assert trajectory.volume == pytest.approx(12.0**3)
    assert np.array_equal(trajectory.positions, simulation.records["positions"].values[5:, 2:])
    assert trajectory.temperature_K == pytest.approx(simulation.records["temperature_K"].values[5:, 1].mean())
    bare = Simulation(frames, HarmonicWells(1.0), integrator=Langevin(300.0), timestep_fs=2.0)
    with pytest.raises(ValueError, match="did not record positions and temperature_K"):
        UnwrappedTrajectory.from_simulation(bare)


def test_wrapped_positions_are_refused_and_can_be_unwrapped():
    trajectory = salt(600, 8, 0.5, seed=1, edge=12.0)
    measure_displacements(trajectory)
    wrapped = trajectory.positions % 12.0
    with pytest.raises(ValueError, match=r"positions of atom \d+ jump by -?[01]\.\d\d of cell vector"):
        measure_displacements(made(wrapped, trajectory.species, [12.0] * 3))
    whole = unwrap(wrapped, [12.0] * 3)
    np.testing.assert_allclose(whole - whole[0], trajectory.positions - trajectory.positions[0], atol=1e-9)


def test_unwrapping_in_an_oblique_cell():
    cell = np.array([[9.0, 0, 0], [4.0, 8.0, 0], [-3.0, 2.0, 7.0]])
    path = walk(400, 5, 0.5, 0.1, np.random.default_rng(2))
    wrapped = (path @ np.linalg.inv(cell) % 1.0) @ cell
    whole = unwrap(wrapped, cell)
    np.testing.assert_allclose(whole - whole[0], path - path[0], atol=1e-9)
    with pytest.raises(ValueError, match=r"shape \(5, 3\)"):
        unwrap(np.zeros((5, 3)), cell)


def test_a_position_that_is_not_finite_is_named():
    positions = np.zeros((50, 2, 3))
    positions[17, 1, 2] = np.inf
    with pytest.raises(ValueError, match="positions of atom 1 in row 17"):
        measure_displacements(made(positions))


def test_the_dipole_is_the_sum_of_charges_times_displacements():
    trajectory = salt(50, 4, 0.2, seed=3)
    moved = trajectory.positions - trajectory.positions[0]
    expected = moved[:, :4].sum(axis=1) - moved[:, 4:].sum(axis=1)
    np.testing.assert_allclose(trajectory.dipole({"Na": 1, "Cl": -1}), expected, atol=1e-12)
    with pytest.raises(ValueError, match="a dictionary with a charge for Na, Cl"):
        trajectory.dipole({"Na": 1})
