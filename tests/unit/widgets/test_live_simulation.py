"""LiveSimulation without a browser: what runs, what the controls change, what an explosion leaves."""

import threading
import time

import numpy as np
import pytest
from ase.build import bulk

from matterscape.dynamics import (
    Langevin,
    NoseHooverChain,
    StochasticCellRescaling,
    VelocityVerlet,
)
from matterscape.potentials import Evaluator
from matterscape.structures import Structures
from matterscape_widgets import Knob, LiveSimulation, System, ready_systems
from matterscape_widgets.simulated_systems import (
    embedded_copper,
    lennard_jones_argon,
    molten_salt,
    stillinger_weber_silicon,
)

pytestmark = pytest.mark.unit

ARGON = System(
    bulk("Ar", "fcc", a=5.35, cubic=True) * 2,
    lennard_jones_argon,
    temperature_K=60,
    highest_temperature_K=200,
    timestep_fs=10,
    neighbour_cutoff=4.6,
    knobs={"epsilon_K": Knob(119.8, 59.8, 179.8, 1, "ε / k_B (K)")},
    compressibility_per_GPa=0.5,
)
FIXED_CELL = System(bulk("Ar", "fcc", a=5.4, cubic=True) * 3, lennard_jones_argon, 40, 100, 5, 4.6)


@pytest.fixture
def live():
    made = LiveSimulation({"argon": ARGON, "fixed cell": FIXED_CELL})
    yield made
    made.close()


def _until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_start_stop_go_on(live):
    assert (live.running, live.start_button.description) == (False, "Start")
    live.start_button.click()
    assert (live.running, live.start_button.description) == (True, "Stop")
    _until(lambda: live.simulation.step > 50)
    live.start_button.click()
    step = live.simulation.step
    assert not live.running and live.message == "Stopped; Start goes on from here."
    assert float(live.readouts["Time"].text) == pytest.approx(live.simulation.time_ps, rel=1e-3)
    live.start()
    live.start()  # once is enough
    _until(lambda: live.simulation.step > step)
    live.stop()
    times = np.array(live.history["time_ps"])
    assert times[0] == 0 and np.all(np.diff(times) > 0)


def test_stopping_at_once_is_not_lost(live):
    for _ in range(20):
        live.start()
        live.stop()
        assert not live.running


def test_sliders_reach_the_running_simulation(live):
    live.start()
    live.temperature.value = 90
    assert live.simulation.integrator.temperature_K == 90
    live.timestep.value = 4
    assert live.simulation.timestep_fs == 4
    before = live.simulation.potential
    live.knobs["epsilon_K"].value = 150.8
    assert live.simulation.potential is not before
    assert "ε / k_B (K) = 150.8" in live.message
    assert live.running
    live.stop()
    assert np.ptp(live.history["conserved_eV"]) < 2e-4  # the work of the knob is not counted


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none (constant energy)", VelocityVerlet),
        ("Langevin", Langevin),
        ("Nosé-Hoover chain", NoseHooverChain),
    ],
)
def test_another_thermostat_keeps_atoms_velocities_and_energy(live, name, kind):
    live.simulation.run(30, show_progress=False)
    old = live.simulation
    live.thermostat.value = name
    assert type(live.simulation.integrator) is kind
    np.testing.assert_array_equal(live.simulation.positions, old.positions)
    np.testing.assert_allclose(live.simulation.velocities, old.velocities, rtol=1e-14)
    live.simulation.run(30, show_progress=False)
    assert live.history["time_ps"][-1] == pytest.approx(0.6)
    assert np.ptp(live.history["conserved_eV"]) < 2e-4
    live._show()
    assert live.readouts["Time"].text == "0.6"


def test_constant_pressure_moves_the_cell(live):
    volume = live.simulation.volume[0]
    live.barostat.value = True
    assert isinstance(live.simulation.integrator, StochasticCellRescaling) and not live.pressure.disabled
    live.pressure.value = 0.4
    assert live.simulation.integrator.pressure_GPa == pytest.approx(0.4)
    live.simulation.run(200, show_progress=False)
    assert live.simulation.volume[0] < volume
    live._show()
    np.testing.assert_allclose(live.view._cell, live.simulation.cells[0])
    live.thermostat.value = "none (constant energy)"  # no bath, no barostat
    assert not live.barostat.value and live.barostat.disabled
    assert type(live.simulation.integrator) is VelocityVerlet


def test_an_explosion_is_told_and_overcome(live):
    live.temperature.value = 200
    live.timestep.value = 120
    live.start()
    _until(lambda: not live.running)
    live._tick(live._thread)
    assert live.message.startswith("Step ") and "exploded, first at atom" in live.message and " K. " in live.message
    assert np.isfinite(live.simulation.positions).all()
    live.timestep.value = 1
    live.start()
    step = live.simulation.step
    _until(lambda: live.simulation.step > step + 5)
    live.begin_anew()
    assert live.running
    live.stop()
    np.testing.assert_allclose(live.history["time_ps"][0], 0)
    assert live.message == "Stopped; Start goes on from here."


def test_another_system_brings_its_own_controls(live):
    live.start()
    live.system.value = "fixed cell"
    assert not live.running and live.start_button.description == "Start"
    assert (live.temperature.value, live.timestep.value, live.simulation.state.n_atoms) == (40, 5, 108)
    assert live.knobs == {} and live.barostat.disabled
    assert len(live.history["time_ps"]) == 1


def test_colours_of_atoms(live):
    live.simulation.run(20, show_progress=False)
    for name, label in (
        ("kinetic energy", "Kinetic energy (meV)"),
        ("potential energy", "Energy of the atom (eV)"),
        ("displacement", "Displacement (Å)"),
        ("element", ""),
    ):
        live.colour.value = name
        assert live.view.colour_label == label
        assert len(live.view._colour) == (0 if name == "element" else 4 * 32)


def test_the_pace_slows_it_down(live):
    live.pace.value = "1 ps per second"
    live.start()
    time.sleep(0.6)
    live.stop()
    assert live.simulation.time_ps < 1.0


def test_records_are_thinned_not_cut(live):
    live.simulation.run(8000, show_progress=False)
    assert len(live.frames) <= 60 and len(live.history["time_ps"]) <= 600
    assert (live.frames[0].info["time_ps"], live.history["time_ps"][0]) == (0, 0)
    gaps = np.diff([frame.info["time_ps"] for frame in live.frames])
    np.testing.assert_allclose(gaps, gaps[0])
    assert live.frames[-1].info["time_ps"] > 0.9 * live.simulation.time_ps


def test_what_nobody_sees_stops(live):
    live.start()
    live._view_count = 1
    assert live.running
    live._view_count = 0
    assert not live.running


def test_closing_ends_the_thread():
    made = LiveSimulation({"argon": ARGON})
    made.start()
    thread = made._thread
    made.close()
    assert not thread.is_alive()
    assert thread not in threading.enumerate()


def test_errors_of_controls_are_sentences(live):
    def refuse(**_):
        raise ValueError("epsilon is -1; accepted is a positive number")

    live.systems["argon"] = System(**{**vars(ARGON), "potential": refuse})
    live.knobs["epsilon_K"].value = 70.8
    assert live.message == "epsilon is -1; accepted is a positive number"
    with pytest.raises(ValueError, match="systems is empty"):
        LiveSimulation({})


def test_ready_systems_hold_their_crystals():
    systems = ready_systems()
    assert len(systems) == 4
    for system in systems.values():
        assert all(knob.low <= knob.start <= knob.high for knob in system.knobs.values())
        steps = [(knob.start - knob.low) / knob.step for knob in system.knobs.values()]
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)  # the slider stands on a step
        system.potential().check(LiveSimulation({"one": system}).simulation.structures())


def test_knobs_turn_the_potential():
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.1, seed=0)
    argon = ARGON.atoms.copy()
    argon.rattle(0.1, seed=0)
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)

    def energy(potential, atoms):
        evaluator = Evaluator(potential, Structures.from_ase(atoms))
        evaluator(atoms.positions, atoms.cell[:][None])
        return evaluator.energies.sum()

    assert energy(lennard_jones_argon(2 * 119.8), argon) == pytest.approx(2 * energy(lennard_jones_argon(), argon))
    by_strength = [energy(stillinger_weber_silicon(value), silicon) for value in (19, 20, 21)]
    assert np.diff(by_strength)[0] == pytest.approx(np.diff(by_strength)[1]) and by_strength[1] > by_strength[0]
    copper = bulk("Cu", cubic=True)
    assert energy(embedded_copper(0.5), copper) == pytest.approx(0.5 * energy(embedded_copper(), copper))
    q = np.array([0.5, 0.7, 1.0])
    by_charge = [energy(molten_salt(value), salt) for value in q]
    slope, constant = np.polyfit(q**2, by_charge, 1)  # Coulomb's law in the charge, the rest is constant
    np.testing.assert_allclose(slope * q**2 + constant, by_charge, rtol=1e-3)
    assert slope == pytest.approx(-4 * 1.747565 * 14.399645 / 2.8, rel=1e-3)  # Madelung's constant
