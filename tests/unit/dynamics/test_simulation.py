"""The loop: batches, velocities, observables, steering, interrupts, explosions."""

import signal
import threading

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from scipy import stats

from matterscape.dynamics import (
    ExplosionError,
    Langevin,
    NoseHooverChain,
    Simulation,
    StochasticVelocityRescaling,
    VelocityVerlet,
)
from matterscape.structures import Structures
from model_potentials import CellSpring, FreeParticles, HarmonicWells, Quartic

pytestmark = pytest.mark.unit

KT = units.kB * 300.0
INTEGRATORS = {
    "verlet": VelocityVerlet,
    "langevin": lambda: Langevin(300.0, friction_per_ps=5.0),
    "rescaling": lambda: StochasticVelocityRescaling(300.0),
    "chain": lambda: NoseHooverChain(300.0),
}


def cloud(n=6, seed=0, **options):
    return Atoms(f"Ar{n}", positions=np.random.default_rng(seed).normal(scale=0.3, size=(n, 3)), **options)


def simulation(frames=None, potential=None, integrator=None, **options):
    options = {"timestep_fs": 2.0, "initial_temperature_K": 300.0, "seed": 1, **options}
    return Simulation(
        cloud() if frames is None else frames,
        potential or HarmonicWells(1.0),
        integrator=integrator or VelocityVerlet(),
        **options,
    )


# ---- batches ----


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_structure_in_a_batch_moves_as_it_would_alone(name):
    frames = [cloud(6, 0), cloud(3, 1), cloud(6, 0)]
    batch = simulation(frames, integrator=INTEGRATORS[name](), streams=[4, 2, 9])
    batch.run(40)
    for atoms, stream, (start, stop) in zip(frames, (4, 2, 9), ((0, 6), (6, 9), (9, 15))):
        alone = simulation(atoms, integrator=INTEGRATORS[name](), streams=[stream])
        alone.run(40)
        assert np.array_equal(alone.positions, batch.positions[start:stop])
        assert np.array_equal(alone.velocities, batch.velocities[start:stop])
    assert not np.array_equal(batch.positions[:6], batch.positions[9:])  # replicas go their own ways


def test_seeds():
    first, same, other = (simulation(seed=seed).velocities for seed in (5, 5, 6))
    assert np.array_equal(first, same) and not np.array_equal(first, other)
    generated = [simulation(seed=np.random.default_rng(3)).velocities for _ in range(2)]
    assert np.array_equal(*generated)


def test_structures_can_be_given_as_tensors():
    frames = [cloud(4, 0), cloud(5, 1)]
    one, two = simulation(frames), simulation(Structures.from_ase(frames, dtype=torch.float64))
    assert np.array_equal(one.velocities, two.velocities)


# ---- initial velocities ----


def test_velocities_follow_maxwell_and_boltzmann():
    run = simulation(cloud(4000), remove_momentum=False)
    assert stats.kstest((run.velocities * np.sqrt(run.masses[:, None] / KT)).ravel(), "norm").pvalue > 1e-3


def test_kinetic_energies_without_momentum_and_rotation():
    """Of 3N degrees of freedom, three go with the momentum and three (two for a straight molecule) with the spin."""
    for name, freedoms in (("H2O", 3), ("CO2", 4)):
        run = simulation([molecule(name)] * 600, remove_rotation=True)
        assert np.all(run.state.degrees_of_freedom == freedoms)
        assert stats.kstest(2 * run.kinetic_energy / KT, "chi2", args=(freedoms,)).pvalue > 1e-3
        structures, masses = run.state.offsets[:-1], run.masses[:, None]
        momentum = np.add.reduceat(masses * run.velocities, structures, axis=0)
        spin = np.add.reduceat(np.cross(run.positions, masses * run.velocities), structures, axis=0)
        assert max(np.abs(momentum).max(), np.abs(spin).max()) < 1e-12


def test_degrees_of_freedom_follow_from_what_the_integrator_conserves():
    assert simulation(integrator=Langevin(300.0)).state.degrees_of_freedom[0] == 18
    assert simulation(integrator=VelocityVerlet()).state.degrees_of_freedom[0] == 15
    assert simulation(remove_momentum=False).state.degrees_of_freedom[0] == 18


def test_where_velocities_come_from():
    atoms = cloud()
    assert not simulation(atoms, initial_temperature_K=None).velocities.any()  # at rest
    drawn = simulation(atoms, integrator=Langevin(50.0), initial_temperature_K=None)
    assert np.array_equal(
        drawn.velocities, simulation(atoms, integrator=Langevin(1.0), initial_temperature_K=50.0).velocities
    )
    given = np.random.default_rng(0).normal(size=(6, 3))
    atoms.set_velocities(given)
    assert np.allclose(simulation(atoms, initial_temperature_K=None).velocities, given, rtol=1e-15)
    assert not np.allclose(simulation(atoms).velocities, given)
    kept = simulation(atoms, initial_temperature_K=None, velocities=2 * given).velocities
    assert np.array_equal(kept, 2 * given)


# ---- observables ----


def test_observables_agree_with_their_definitions():
    atoms = Atoms("NaClNaCl", positions=np.random.default_rng(0).uniform(0, 5, (4, 3)), cell=[5, 6, 7], pbc=True)
    atoms.set_initial_charges([1, -1, 1, -1])
    run = simulation([atoms, atoms], CellSpring(0.3), remove_momentum=False)
    v, m, x = run.velocities, run.masses[:, None], run.flux_tensors
    for b, own in enumerate((slice(0, 4), slice(4, 8))):
        kinetic = 0.5 * (m[own] * v[own] ** 2).sum()
        assert run.kinetic_energy[b] == pytest.approx(kinetic, rel=1e-14)
        assert run.temperature_K[b] == pytest.approx(2 * kinetic / (12 * units.kB), rel=1e-14)
        stress = -(np.einsum("ia,ib->ab", m[own] * v[own], v[own]) + x[own].sum(axis=0)) / 210 / units.GPa
        expected = [stress[0, 0], stress[1, 1], stress[2, 2], stress[1, 2], stress[0, 2], stress[0, 1]]
        assert np.allclose(run.stress_GPa[b], expected, rtol=1e-13)
        assert run.pressure_GPa[b] == pytest.approx(-np.trace(stress) / 3, rel=1e-13)
        energies = run.energies[own] + 0.5 * (m[own] * v[own] ** 2).sum(axis=1)
        flux = energies @ v[own] + np.einsum("iab,ib->a", x[own], v[own])
        assert np.allclose(run.heat_flux[b], flux, rtol=1e-13)
        assert np.allclose(run.charge_flux[b], v[own][0::2].sum(axis=0) - v[own][1::2].sum(axis=0))
        assert np.allclose(run.species_flux[b], [v[own][0::2].sum(axis=0), v[own][1::2].sum(axis=0)])
    assert run.species == (11, 17)
    assert run.volume == pytest.approx([210, 210])
    assert np.allclose(run.total_energy, run.kinetic_energy + run.potential_energy)
    assert np.allclose(run.conserved_energy, run.total_energy)


def test_looking_at_the_pressure_does_not_change_the_run():
    quiet, watched = (simulation(bulk("Ar", cubic=True), CellSpring(0.1)) for _ in range(2))
    watched.call(lambda one: one.pressure_GPa, every=3)
    for run in (quiet, watched):
        run.run(10)
    assert np.array_equal(quiet.positions, watched.positions)


def test_flux_tensors_are_computed_on_the_steps_that_record_them_only():
    run = simulation(bulk("Ar", cubic=True), CellSpring(0.1))
    asked = []
    evaluate = run.state.evaluate
    run.state.evaluate = lambda pieces=False: (asked.append((run.step + 1, pieces)), evaluate(pieces))
    run.record("heat_flux", every=4)
    run.record(lambda one: one.flux_tensors.sum(), every=6, name="trace", pieces=True)
    run.run(12)
    assert [step for step, pieces in asked if pieces] == [1, 4, 6, 8, 12]  # the first: step 0, found to lack them


def test_drift_per_atom_and_nanosecond():
    run = simulation(timestep_fs=4.0)
    energy = run.record("conserved_energy")
    run.run(25)
    expected = (energy.values[-1] - energy.values[0]) / 6 / 1e-4  # 100 fs in ns
    assert np.allclose(run.energy_drift, expected)
    assert f"energy drift {abs(expected[0]):.2g} eV per atom and ns" in repr(run)
    run.measure_drift()
    assert run.energy_drift == 0


def test_frames_carry_what_was_there():
    atoms = cloud(cell=[5, 5, 5], pbc=True)
    atoms.set_tags(range(6))
    run = simulation(atoms)
    run.run(3)
    frame = run.frames()[0]
    assert np.array_equal(frame.positions, run.positions) and np.array_equal(frame.get_tags(), range(6))
    assert np.allclose(frame.get_velocities(), run.velocities)
    assert frame.get_potential_energy() == run.potential_energy[0]
    assert frame.info["step"] == 3 and frame.info["time_ps"] == pytest.approx(0.006)


# ---- steering ----


def test_stop_from_another_thread_and_reading_while_running():
    run = simulation()
    thread = threading.Thread(target=run.run, args=(10**9,), kwargs={"show_progress": False})
    thread.start()
    seen = [run.at_step_boundary(lambda: (run.step, run.total_energy[0])) for _ in range(20)]
    run.stop()
    thread.join(timeout=20)
    assert not thread.is_alive() and not run.running
    steps = [step for step, _ in seen]
    assert steps == sorted(steps) and steps[-1] > 0
    assert run.step < 10**9


def test_errors_of_a_function_between_steps_reach_who_asked():
    run = simulation()
    thread = threading.Thread(target=run.run, args=(10**9,), kwargs={"show_progress": False})
    thread.start()
    with pytest.raises(ZeroDivisionError):
        run.at_step_boundary(lambda: 1 / 0)
    assert thread.is_alive()
    run.stop()
    thread.join(timeout=20)


def test_a_running_simulation_does_not_run_twice():
    run = simulation()
    run.call(lambda one: one.run(1))
    with pytest.raises(RuntimeError, match="running already"):
        run.run(1)


def test_a_change_of_potential_keeps_the_conserved_energy():
    run = simulation(timestep_fs=0.1)
    run.run(10)
    before = run.conserved_energy
    run.potential = HarmonicWells(3.0)
    assert run.conserved_energy == pytest.approx(before, rel=1e-12)
    fresh = simulation(
        frames=run.frames()[0], potential=HarmonicWells(3.0), initial_temperature_K=None, timestep_fs=0.1
    )
    run.run(10)
    fresh.run(10)
    assert np.allclose(run.positions, fresh.positions, atol=1e-13)


def test_a_change_of_time_step_keeps_the_time():
    run = simulation(timestep_fs=2.0)
    run.run(10)
    run.timestep_fs = 0.5
    run.run(10)
    assert run.time_ps == pytest.approx(0.025, rel=1e-14)


def test_callbacks_steer():
    run = simulation(integrator=Langevin(300.0))

    def cool(one):
        one.integrator.temperature_K = 300.0 - one.step

    run.call(cool, every=50)
    run.run(120)
    assert run.integrator.temperature_K == 200.0


# ---- interrupts and explosions ----


def test_an_interrupt_takes_effect_at_the_end_of_a_step():
    plain, run = simulation(), simulation()
    record = run.record("positions", every=2)

    def interrupt(one):
        if one.step == 7:
            signal.raise_signal(signal.SIGINT)

    run.call(interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run.run(20)
    assert run.step == 7 and record.steps.tolist() == [0, 2, 4, 6]
    assert signal.getsignal(signal.SIGINT) is before
    run.run(13)
    plain.run(20)
    assert np.array_equal(run.positions, plain.positions)
    assert record.steps.tolist() == list(range(0, 21, 2))


def test_a_second_interrupt_strikes_at_once_and_leaves_the_last_good_step():
    plain, run = simulation(), simulation()
    add = run.state.evaluator.bound.add

    def impatient(*arguments):
        if run.step == 7 and not struck:
            struck.append(True)
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        add(*arguments)

    struck = []
    run.state.evaluator.bound.add = impatient
    with pytest.raises(KeyboardInterrupt):
        run.run(20)
    assert run.step == 7
    run.run(13)
    plain.run(20)
    assert np.array_equal(run.positions, plain.positions)


@pytest.mark.parametrize("name", INTEGRATORS)
def test_a_step_that_moves_an_atom_too_far_stops_the_run(name):
    atoms = cloud()
    atoms.positions[4] = [3.0, 0.0, 0.0]
    run = simulation(atoms, Quartic(), integrator=INTEGRATORS[name](), timestep_fs=0.01)
    run.run(2)
    before = run.positions.copy(), run.velocities.copy(), run.forces.copy(), run.conserved_energy
    run.timestep_fs = 20.0
    with pytest.raises(
        ExplosionError, match=r"step 3 moves atom 4 of structure 0 by more than max_displacement = 1 Å at"
    ):
        run.run(5)
    after = run.positions, run.velocities, run.forces, run.conserved_energy
    assert all(np.array_equal(one, two) for one, two in zip(before, after))
    assert run.step == 2
    run.timestep_fs = 0.01
    run.run(1)
    assert run.step == 3


def test_an_explosion_says_where_and_how_hot():
    atoms = cloud()
    atoms.positions[4] = [3.0, 0.0, 0.0]
    run = simulation([cloud(), atoms], Quartic(), timestep_fs=10.0)
    with pytest.raises(ExplosionError) as caught:
        run.run(5)
    assert (caught.value.step, caught.value.atom) == (1, 10)
    assert caught.value.temperature_K > 1000
    assert "atom 4 of structure 1" in str(caught.value)


def test_a_structure_that_gets_too_hot_stops_the_run():
    run = simulation(max_temperature_K=2000.0, velocities=np.full((6, 3), 0.4), initial_temperature_K=None)
    with pytest.raises(ExplosionError, match="step 1 exceeds max_temperature_K = 2000 with atom"):
        run.run(1)


def test_a_force_that_is_no_number_stops_the_run():
    run = simulation()

    def spoil(one):
        if one.step == 3:
            one.potential = HarmonicWells(np.nan)

    run.call(spoil)
    with pytest.raises(ExplosionError, match="step 4 moves atom 0"):
        run.run(10)
    assert np.isfinite(run.positions).all() and run.step == 3
    run.potential = HarmonicWells(1.0)
    run.recorder._callbacks.clear()
    run.run(1)
    assert run.step == 4


def test_an_overlap_stops_the_run_with_the_sentence_of_the_potential():
    run = simulation()

    def overlap(*_):
        if run.step >= 2 and not failed:
            failed.append(True)
            raise ValueError("Na (atom 0) and Cl (atom 1) of structure 0 are 0.300 Å apart")

    failed = []
    add = run.state.evaluator.bound.add
    run.state.evaluator.bound.add = lambda *arguments: (overlap(), add(*arguments))
    with pytest.raises(ExplosionError, match=r"step 3 failed at .* K: Na \(atom 0\) and Cl \(atom 1\) .* 0.300 Å"):
        run.run(5)
    assert run.step == 2


def test_a_potential_that_refuses_the_structure_changes_nothing():
    run = simulation()

    class Refusing(HarmonicWells):
        def check(self, structures):
            raise ValueError("no parameters for Ar")

    before = run.potential
    with pytest.raises(ValueError, match="no parameters for Ar"):
        run.potential = Refusing(1.0)
    assert run.potential is before
    run.run(1)


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timestep_fs": 0.0}, ValueError, "timestep_fs is 0.0; accepted is a finite number > 0"),
        ({"skin": -1.0}, ValueError, "skin is -1.0"),
        ({"max_displacement": np.inf}, ValueError, "max_displacement is inf"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": 1.5}, ValueError, "seed is 1.5"),
        ({"streams": [1, 2]}, ValueError, "streams is"),
        ({"masses": np.zeros(6)}, ValueError, r"masses\[0\] is 0; accepted are positive"),
        ({"masses": np.ones(5)}, ValueError, r"masses has shape \(5,\); accepted here is \(6,\)"),
        ({"charges": np.full(6, np.nan)}, ValueError, "charges has entries that are no finite numbers"),
        ({"velocities": np.zeros((6, 3))}, ValueError, "velocities and initial_temperature_K are both given"),
        ({"initial_temperature_K": -1.0}, ValueError, "initial_temperature_K is -1.0"),
        ({"initial_temperature_K": [1.0, 2.0]}, ValueError, r"initial_temperature_K has shape \(2,\)"),
        ({"integrator": "verlet"}, TypeError, "integrator is a str; accepted is an Integrator"),
        ({"frames": cloud(1)}, ValueError, "remove_momentum leaves structure 0 no degree of freedom"),
        ({"frames": bulk("Ar", cubic=True), "remove_rotation": True}, ValueError, "structure 0 is periodic"),
        ({"frames": cloud(constraint=FixAtoms([0]))}, ValueError, r"structure 0 carries constraints \(FixAtoms\)"),
    ],
)
def test_bad_input_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        simulation(**options)


def test_a_stringent_sentence_for_everything_else():
    run = simulation()
    with pytest.raises(ValueError, match="steps is -1"):
        run.run(-1)
    with pytest.raises(ValueError, match="serves another simulation already"):
        simulation(integrator=run.integrator)
    with pytest.raises(ValueError, match="structure 0 has no cell, so its pressure_GPa is not defined"):
        _ = run.pressure_GPa
    with pytest.raises(ValueError, match="charge_flux needs the charges"):
        run.record("charge_flux")


# ---- trajectory files ----


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "traj"])
def test_trajectories_can_be_read_by_ase(tmp_path, suffix):
    run = simulation([cloud(6, 0), cloud(4, 1)], potential=FreeParticles())
    path = tmp_path / f"run.{suffix}"
    run.write(path, every=5, structure=1)
    run.run(10)
    frames = ase.io.read(path, ":")
    assert [frame.info["step"] for frame in frames] == [0, 5, 10]
    assert np.allclose(frames[-1].positions, run.positions[6:], atol=1e-7)
    assert np.allclose(frames[-1].get_velocities(), run.velocities[6:], atol=1e-7)


def test_other_trajectory_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"accepted are files that end in .xyz, .extxyz, .traj"):
        simulation().write(tmp_path / "run.pdb")
