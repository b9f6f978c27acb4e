"""What a user may expect of every simulation: sentences for mistakes, awkward structures, restarts elsewhere."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from matterscape.dynamics import (
    Langevin,
    NoseHooverChain,
    Simulation,
    StochasticCellRescaling,
    StochasticVelocityRescaling,
    VelocityVerlet,
)
from matterscape.dynamics.relaxation import relax
from matterscape.potentials import LennardJones
from model_potentials import HarmonicWells

pytestmark = pytest.mark.unit

POTENTIAL = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, 8.0, switch=7.0)
SOLID = bulk("Ar", "fcc", a=5.3, cubic=True)
INTEGRATORS = {
    "Verlet": VelocityVerlet,
    "Langevin": lambda: Langevin(30.0),
    "rescaling": lambda: StochasticVelocityRescaling(30.0),
    "chain": lambda: NoseHooverChain(30.0),
}


@pytest.mark.parametrize("name", INTEGRATORS)
def test_structures_of_all_kinds_move_in_one_batch(name):
    """A solid smaller than the cutoff, a slab, a molecule and one atom: each as alone, with finite energies."""
    frames = [SOLID, fcc111("Ar", (2, 2, 2), a=5.3, vacuum=8.0), Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]]), Atoms("Ar")]
    options = {"timestep_fs": 2.0, "initial_temperature_K": 30.0, "remove_momentum": False}
    together = Simulation(frames, POTENTIAL, integrator=INTEGRATORS[name](), **options)
    together.run(8, show_progress=False)
    for index, atoms in enumerate(frames):
        alone = Simulation(atoms, POTENTIAL, integrator=INTEGRATORS[name](), streams=[index], **options)
        alone.run(8, show_progress=False)
        np.testing.assert_allclose(together.frame(index).positions, alone.frame(0).positions, rtol=0, atol=1e-12)
    assert np.isfinite(together.temperature_K).all() and np.isfinite(together.conserved_energy).all()


@pytest.mark.parametrize("name", INTEGRATORS)
def test_atoms_at_rest_at_zero_temperature(name):
    """A perfect crystal without velocities: nothing is divided by the kinetic energy."""
    simulation = Simulation(
        SOLID, POTENTIAL, integrator=INTEGRATORS[name](), timestep_fs=2.0, initial_temperature_K=0.0
    )
    simulation.run(3, show_progress=False)
    assert np.isfinite(simulation.state.velocities).all()
    if name in ("Verlet", "chain"):
        assert np.abs(simulation.state.velocities).max() < 1e-12


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Langevin("300"), "temperature_K is '300'; accepted are real numbers"),
        (lambda: Langevin(None), "temperature_K is None; accepted are real numbers"),
        (lambda: Langevin([[1], [2, 3]]), "accepted are real numbers"),
        (lambda: Langevin(300.0, friction_per_ps="1"), "friction_per_ps is '1'; accepted is a finite number >= 0"),
        (lambda: NoseHooverChain(300.0, chain_length=float("nan")), "chain_length is nan; accepted is a whole number"),
        (
            lambda: StochasticCellRescaling(Langevin(300.0), pressure_GPa="0", compressibility_per_GPa=0.1),
            "pressure_GPa is '0'; accepted is a finite number",
        ),
        (lambda: simulation_with(timestep_fs="1"), "timestep_fs is '1'; accepted is a finite number > 0"),
        (lambda: simulation_with(masses="heavy"), "masses is 'heavy'; accepted are real numbers"),
        (lambda: simulation_with(masses=np.zeros(4)), r"masses\[0\] is 0; accepted are positive masses"),
        (lambda: simulation_with(initial_temperature_K="30"), "initial_temperature_K is '30'; accepted are real"),
        (lambda: simulation_with().record("temperature_K", every=float("nan")), "every is nan; accepted is a whole"),
        (lambda: simulation_with().record("temperature_K", every="2"), "every is '2'; accepted is a whole number"),
    ],
)
def test_values_that_make_no_simulation(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def simulation_with(**options):
    return Simulation(SOLID, HarmonicWells(1.0), **({"integrator": VelocityVerlet(), "timestep_fs": 1.0} | options))


@pytest.mark.parametrize("wrong", ["lj", POTENTIAL.calculator()], ids=["text", "calculator"])
def test_what_is_no_potential(wrong):
    sentence = f"potential is a {type(wrong).__name__}; accepted is a matterscape Potential"
    with pytest.raises(TypeError, match=sentence):
        Simulation(SOLID, wrong, integrator=VelocityVerlet(), timestep_fs=1.0)
    with pytest.raises(TypeError, match=sentence):
        relax(SOLID, wrong)
    simulation = simulation_with()
    before = simulation.potential
    with pytest.raises(TypeError, match=sentence):
        simulation.potential = wrong
    assert simulation.potential is before


OTHER_PROCESS = """
import sys
from matterscape.dynamics import Simulation
from matterscape.potentials import LennardJones
potential = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, 8.0, switch=7.0)
simulation = Simulation.restart(sys.argv[1], potential)
simulation.run(10, show_progress=False)
simulation.save(sys.argv[2])
"""


def test_another_process_goes_on_bit_for_bit(tmp_path):
    atoms = SOLID.copy()
    atoms.rattle(0.1, seed=1)
    simulation = Simulation(atoms, POTENTIAL, integrator=Langevin(40.0), timestep_fs=4.0, seed=5)
    simulation.run(10, show_progress=False)
    simulation.save(tmp_path / "middle.npz")
    simulation.run(10, show_progress=False)
    simulation.save(tmp_path / "here.npz")
    subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "middle.npz"), str(tmp_path / "there.npz")], check=True
    )
    with np.load(tmp_path / "here.npz") as here, np.load(tmp_path / "there.npz") as there:
        assert set(here.files) == set(there.files)
        for name in set(here.files) - {"metadata"}:
            np.testing.assert_array_equal(here[name], there[name], err_msg=name)
