"""Records in memory and in files, and runs that continue bit for bit."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms

from matterscape.dynamics import (
    Langevin,
    NoseHooverChain,
    Simulation,
    StochasticCellRescaling,
    StochasticVelocityRescaling,
    VelocityVerlet,
)
from matterscape.dynamics.restart import fingerprint
from model_potentials import CellSpring, HarmonicWells, Quartic

pytestmark = pytest.mark.unit


def barostat(coupling, thermostat):
    return StochasticCellRescaling(
        thermostat,
        pressure_GPa=0.1,
        compressibility_per_GPa=1.0,
        time_constant_ps=0.5,
        coupling=coupling,
        stride=4,
    )


INTEGRATORS = {
    "verlet": VelocityVerlet,
    "langevin": lambda: Langevin([300.0, 500.0], friction_per_ps=5.0),
    "rescaling": lambda: StochasticVelocityRescaling(300.0),
    "chain": lambda: NoseHooverChain(300.0, chain_length=2),
    "isotropic": lambda: barostat("isotropic", Langevin(300.0)),
    "anisotropic": lambda: barostat("anisotropic", NoseHooverChain([300.0, 500.0])),
}
each_integrator = pytest.mark.parametrize("name", INTEGRATORS)


def simulation(integrator=None, potential=None, **options):
    generator = np.random.default_rng(0)
    frames = [Atoms(f"NaCl{n}", positions=generator.uniform(0, 9, (n + 1, 3)), cell=[9] * 3, pbc=True) for n in (5, 8)]
    options = {"timestep_fs": 2.0, "initial_temperature_K": 300.0, "seed": 7, **options}
    return Simulation(frames, potential or CellSpring(0.01), integrator=integrator or VelocityVerlet(), **options)


def watch(run, path=None):
    run.record("conserved_energy", every=3)
    run.record("positions", every=5)
    run.record("stress_GPa", every=7)
    run.record(lambda one: np.linalg.norm(one.velocities), every=2, name="speed", unit="Å / ASE time")
    if path is not None:
        run.write(path, every=5, structure=1)


def same(one, two):
    assert one.step == two.step and one.time_ps == two.time_ps and one.n_rebuilds == two.n_rebuilds
    for name in ("positions", "velocities", "cells", "forces", "conserved_energy", "energy_drift"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name


@each_integrator
def test_a_restarted_run_equals_the_uninterrupted_one_bit_for_bit(name, tmp_path):
    whole = simulation(INTEGRATORS[name](), folder=tmp_path / "whole")
    watch(whole, tmp_path / "whole.xyz")
    whole.run(50)

    first = simulation(INTEGRATORS[name](), folder=tmp_path / "parts")
    watch(first, tmp_path / "parts.xyz")
    first.run(22)
    first.save(tmp_path / "restart.npz")
    first.run(9)  # rows that the continued run must replace
    second = Simulation.restart(tmp_path / "restart.npz", CellSpring(0.01), folder=tmp_path / "parts")
    watch(second, tmp_path / "parts.xyz")
    second.run(28)

    same(whole, second)
    for label, record in whole.records.items():
        assert np.array_equal(record.values, second.records[label].values), label
        assert np.array_equal(record.steps, second.records[label].steps)
        assert np.array_equal(np.load(tmp_path / "parts" / f"{label}.npy"), record.values)
    frames, continued = (ase.io.read(tmp_path / f"{part}.xyz", ":") for part in ("whole", "parts"))
    assert [frame.info["step"] for frame in continued] == list(range(0, 51, 5))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(frames, continued))


@each_integrator
def test_running_in_pieces_is_running(name):
    whole, pieces = simulation(INTEGRATORS[name]()), simulation(INTEGRATORS[name]())
    for run in (whole, pieces):
        watch(run)
    whole.run(30)
    for steps in (0, 1, 12, 0, 17):
        pieces.run(steps)
    same(whole, pieces)
    for label, record in whole.records.items():
        assert np.array_equal(record.values, pieces.records[label].values)


def test_a_restart_keeps_what_was_changed_while_running(tmp_path):
    run = simulation(barostat("isotropic", NoseHooverChain(300.0)))
    run.run(10)
    run.timestep_fs = 1.0
    run.run(10)
    run.integrator.temperature_K = 350.0
    run.integrator.pressure_GPa = 0.2
    run.potential = CellSpring(0.02)
    run.save(tmp_path / "restart.npz")
    other = Simulation.restart(tmp_path / "restart.npz", CellSpring(0.02))
    for one in (run, other):
        one.run(20)
    same(run, other)


def test_a_restart_written_by_a_callback_repeats_nothing(tmp_path):
    run = simulation(folder=tmp_path / "run")
    run.record("volume", every=2)
    run.write(tmp_path / "run.xyz", every=2)
    run.call(lambda one: one.save(tmp_path / "restart.npz"), every=4)
    run.run(6)
    other = Simulation.restart(tmp_path / "restart.npz", CellSpring(0.01), folder=tmp_path / "run")
    other.record("volume", every=2)
    other.write(tmp_path / "run.xyz", every=2)
    assert other.step == 4
    other.run(2)
    assert other.records["volume"].steps.tolist() == [0, 2, 4, 6]
    assert [frame.info["step"] for frame in ase.io.read(tmp_path / "run.xyz", ":")] == [0, 2, 4, 6]


def test_masses_charges_and_limits_survive(tmp_path):
    run = simulation(masses=np.linspace(1, 2, 15), charges=np.arange(15.0), max_displacement=0.7, skin=0.4)
    run.save(tmp_path / "restart.npz")
    other = Simulation.restart(tmp_path / "restart.npz", CellSpring(0.01))
    assert np.array_equal(run.masses, other.masses) and np.array_equal(run.charge_flux, other.charge_flux)
    assert (other.state.max_displacement, other.state.skin) == (0.7, 0.4)


def test_restart_files_are_plain_and_say_where_they_come_from(tmp_path):
    path = tmp_path / "restart.npz"
    run = simulation()
    run.save(path)
    run.run(1)
    run.save(path)  # over the old one
    assert [file.name for file in tmp_path.iterdir()] == ["restart.npz"]
    with np.load(path, allow_pickle=False) as file:
        metadata = json.loads(str(file["metadata"]))
        assert file["positions"].shape == (15, 3)
    assert metadata["step"] == 1 and {"matterscape", "numpy", "numba"} <= metadata["versions"].keys()
    assert metadata["potential"].startswith("CellSpring")


def test_a_restart_with_another_potential_is_refused(tmp_path):
    simulation().save(tmp_path / "restart.npz")
    with pytest.raises(ValueError, match=r"potential is CellSpring.* was written with another one"):
        Simulation.restart(tmp_path / "restart.npz", CellSpring(0.011))
    with pytest.raises(ValueError, match="potential is HarmonicWells"):
        Simulation.restart(tmp_path / "restart.npz", HarmonicWells(0.01))
    with pytest.raises(ValueError, match="integrator is a Langevin; .* written by a VelocityVerlet"):
        Simulation.restart(tmp_path / "restart.npz", CellSpring(0.01), integrator=Langevin(300.0))


@pytest.mark.parametrize("content", [b"no archive", None])
def test_other_files_are_no_restart_files(tmp_path, content):
    path = tmp_path / "restart.npz"
    path.write_bytes(content) if content else np.savez(path, positions=np.zeros(3))
    with pytest.raises(ValueError, match=r"restart.npz is no restart file"):
        Simulation.restart(path, CellSpring(0.01))


def test_fingerprints_see_parameters_and_parts():
    one = fingerprint(CellSpring(1.0) + 0.5 * HarmonicWells(2.0))
    assert one == fingerprint(CellSpring(1.0) + 0.5 * HarmonicWells(2.0))
    others = [
        CellSpring(1.0) + 0.5 * HarmonicWells(2.5),
        CellSpring(1.0) + 0.6 * HarmonicWells(2.0),
        CellSpring(1.0) + 0.5 * CellSpring(2.0),
        CellSpring(1.0),
        Quartic(),
    ]
    assert len({one, *map(fingerprint, others)}) == 6


# ---- records ----


def test_records_start_when_they_are_asked_for():
    run = simulation()
    early = run.record("temperature_K", every=4)
    run.run(6)
    late = run.record("temperature_K", every=4, name="late")
    run.run(6)
    assert early.steps.tolist() == [0, 4, 8, 12] and late.steps.tolist() == [8, 12]
    assert np.array_equal(early.values[2:], late.values)


def test_files_of_records_grow_and_are_always_readable(tmp_path):
    run = simulation(folder=tmp_path)
    record = run.record("positions")
    for step in range(0, 60, 20):
        run.run(20)
        stored = np.load(tmp_path / "positions.npy", mmap_mode="r")
        assert stored.shape == (step + 21, 15, 3)
        assert np.array_equal(stored[-1], run.positions)
    assert isinstance(record.values, np.memmap)
    described = json.loads((tmp_path / "records.json").read_text())["records"]
    assert described == {"positions": {"unit": "Å", "every": 1, "first_step": 0}}


def test_large_rows_go_through_the_buffer(tmp_path):
    run = simulation(folder=tmp_path)
    run.record(lambda one: np.full(9000, float(one.step)), name="large")
    run.run(11)
    assert np.array_equal(np.load(tmp_path / "large.npy")[:, 8999], np.arange(12.0))


def test_export(tmp_path):
    run = simulation()
    watch(run)
    run.run(10)
    run.export(tmp_path / "records.npz")
    with np.load(tmp_path / "records.npz", allow_pickle=False) as file:
        assert np.array_equal(file["speed"], run.records["speed"].values)
        assert file["stress_GPa.steps"].tolist() == [0, 7]
        metadata = json.loads(str(file["metadata"]))
    assert metadata["records"]["stress_GPa"]["unit"] == "GPa" and metadata["species"] == [11, 17]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("temperature",), ValueError, "what is 'temperature'; accepted are a function, and time_ps"),
        (("volume", 0), ValueError, "every is 0"),
        (("volume", 1.5), ValueError, "every is 1.5"),
        ((lambda one: 1.0,), ValueError, "a function needs one"),
    ],
)
def test_bad_records_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        simulation().record(*arguments)


def test_records_must_be_numbers_and_have_names_of_their_own(tmp_path):
    run = simulation()
    run.record("volume")
    with pytest.raises(ValueError, match="'volume', which is recorded already"):
        run.record("volume")
    run.record(lambda one: "text", name="text")
    with pytest.raises(TypeError, match="record 'text' gave data of type <U4"):
        run.run(1)


def test_folders_are_not_mixed_up(tmp_path):
    run = simulation(folder=tmp_path / "run")
    run.record("volume", every=2)
    run.run(3)
    run.save(tmp_path / "restart.npz")
    with pytest.raises(ValueError, match="holds the records of another run"):
        simulation(folder=tmp_path / "run")
    again = Simulation.restart(tmp_path / "restart.npz", CellSpring(0.01), folder=tmp_path / "run")
    with pytest.raises(ValueError, match="'volume' in .* has every = 2, not 4"):
        again.record("volume", every=4)
