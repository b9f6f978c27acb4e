"""Potentials as ASE calculators, in the tools that people use them with."""

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_stress
from ase.filters import UnitCellFilter
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from matterscape.potentials.calculator import Calculator
from matterscape.potentials.gay_berne import GayBerne
from matterscape.potentials.orientations import turned
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

LATTICE = 5.43094982  # Å: equilibrium of Stillinger-Weber silicon


@pytest.fixture
def silicon():
    atoms = bulk("Si", a=LATTICE, cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.calc = StillingerWeber.silicon().calculator()
    return atoms


def test_results_are_those_of_the_potential(silicon):
    result = StillingerWeber.silicon()(Structures.from_ase(silicon))
    assert silicon.get_potential_energy() == pytest.approx(float(result.energy), rel=1e-14)
    assert silicon.get_potential_energy(force_consistent=True) == silicon.get_potential_energy()
    np.testing.assert_allclose(silicon.get_potential_energies(), result.energies, rtol=1e-13)
    np.testing.assert_allclose(silicon.get_forces(), result.forces, atol=1e-13)
    np.testing.assert_allclose(silicon.get_stress(voigt=False), result.stress[0], atol=1e-15)
    np.testing.assert_allclose(silicon.get_stresses().sum(axis=0), silicon.get_stress(), atol=1e-15)
    np.testing.assert_allclose(silicon.calc.get_property("flux_tensors"), result.flux_tensors, atol=1e-13)


def test_results_that_ase_does_not_know_are_left_behind_by_structures(silicon):
    silicon.get_stress()
    assert "flux_tensors" in silicon.calc.results
    kept = Structures.from_ase(silicon).to_ase()[0].calc.results
    assert kept["energy"] == silicon.get_potential_energy() and "flux_tensors" not in kept


def test_stress_is_the_derivative_in_the_strain(silicon):
    np.testing.assert_allclose(silicon.get_stress(), calculate_numerical_stress(silicon, eps=1e-5), atol=1e-9)


def test_neighbours_are_searched_only_when_needed(silicon):
    calculator = silicon.calc
    silicon.get_forces()
    for _ in range(5):
        silicon.positions += 0.05 * np.random.default_rng(0).normal(size=(8, 3)) / 5
        silicon.set_cell(silicon.cell.array * 1.0001, scale_atoms=True)
        silicon.get_forces()
    assert calculator.n_rebuilds == 1
    silicon.positions[0] += [1.2, 0.0, 0.0]
    forces = silicon.get_forces()
    assert calculator.n_rebuilds == 2
    fresh = silicon.copy()
    fresh.calc = StillingerWeber.silicon().calculator(skin=0.0)
    np.testing.assert_allclose(forces, fresh.get_forces(), atol=1e-12)


def test_other_structures_start_anew(silicon):
    calculator = silicon.calc
    silicon.get_potential_energy()
    for other in (bulk("Si"), silicon.copy(), silicon[[0, 2, 3]]):
        other.calc = calculator
        fresh = StillingerWeber.silicon()(Structures.from_ase(other))
        assert other.get_potential_energy() == pytest.approx(float(fresh.energy), rel=1e-13)
    silicon.pbc = False
    assert silicon.get_potential_energy() == pytest.approx(
        float(StillingerWeber.silicon()(Structures.from_ase(silicon)).energy), rel=1e-13
    )


def test_relaxation_with_the_cell(silicon):
    silicon.set_cell(silicon.cell.array @ np.diag([1.02, 0.97, 1.01]), scale_atoms=True)
    assert BFGS(UnitCellFilter(silicon), logfile=None).run(fmax=1e-3, steps=200)
    assert silicon.get_potential_energy() / 8 == pytest.approx(-4.3366, abs=1e-4)
    assert silicon.cell.lengths() == pytest.approx([LATTICE] * 3, abs=1e-3)


def test_molecular_dynamics_keeps_the_energy(silicon):
    MaxwellBoltzmannDistribution(silicon, temperature_K=300, rng=np.random.default_rng(1))
    before = silicon.get_total_energy()
    VelocityVerlet(silicon, 0.5 * units.fs).run(100)
    assert silicon.get_total_energy() == pytest.approx(before, abs=2e-3)


def test_vibrations(tmp_path):
    dimer = Atoms("Si2", [[0, 0, 0], [2.3, 0, 0]])
    dimer.calc = StillingerWeber.silicon().calculator()
    BFGS(dimer, logfile=None).run(fmax=1e-6)
    vibrations = Vibrations(dimer, name=str(tmp_path / "vibrations"))
    vibrations.run()
    frequencies = np.sort(vibrations.get_frequencies().real)
    distance, step = dimer.get_distance(0, 1), 1e-3
    energies = []
    for change in (-step, 0, step):
        dimer.set_distance(0, 1, distance + change)
        energies.append(dimer.get_potential_energy())
    stiffness = np.dot([1, -2, 1], energies) / step**2
    expected = np.sqrt(stiffness / (dimer.get_masses()[0] / 2)) * units._hbar / units._e / units.invcm
    expected *= np.sqrt(units._e / units._amu) * 1e10
    assert frequencies[-1] == pytest.approx(expected, rel=1e-3)
    assert np.abs(frequencies[:-1]).max() < 3  # finite displacements bend the bond


def test_heat_flux_follows_the_velocities(silicon):
    silicon.set_velocities(np.random.default_rng(2).normal(size=(8, 3)) * 0.02)
    velocities = silicon.get_velocities()
    result = StillingerWeber.silicon()(Structures.from_ase(silicon))
    expected = result.heat_flux(result.energies.new_tensor(velocities)).numpy()[0]
    np.testing.assert_allclose(silicon.calc.heat_flux(silicon), expected, rtol=1e-6)  # two tables of masses
    np.testing.assert_array_equal(silicon.calc.results["heat_flux"], silicon.calc.heat_flux(silicon))
    silicon.set_velocities(np.zeros((8, 3)))
    np.testing.assert_array_equal(silicon.calc.heat_flux(silicon), np.zeros(3))


def test_torques_and_orientations():
    rods = Atoms("C2", [[0, 0, 0], [1.3, 0.2, 0.4]])
    rods.arrays["c_q"] = np.array([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0]])
    rods.calc = GayBerne.uniaxial("C", 3, 5, 2, 1, cutoff=6.0).calculator()
    before = rods.get_potential_energy()
    arms = np.cross(rods.positions, rods.get_forces()).sum(axis=0)
    np.testing.assert_allclose(arms + rods.calc.results["torques"].sum(axis=0), 0, atol=1e-12)
    rods.arrays["c_q"] = turned(rods, np.array([[0.1, 0, 0], [0, 0.2, 0]])).arrays["c_q"]
    assert abs(rods.get_potential_energy() - before) > 1e-3


def test_results_travel_with_files(silicon, tmp_path):
    silicon.get_stress()
    ase.io.write(tmp_path / "silicon.extxyz", silicon)
    read = ase.io.read(tmp_path / "silicon.extxyz")
    np.testing.assert_allclose(read.get_forces(), silicon.get_forces(), atol=1e-7)


def test_stress_without_a_cell():
    atoms = Atoms("Si2", [[0, 0, 0], [2.3, 0, 0]])
    atoms.calc = StillingerWeber.silicon().calculator()
    with pytest.raises(PropertyNotImplementedError, match="stress"):
        atoms.get_stress()


def test_bad_input(silicon):
    with pytest.raises(TypeError, match="potential is a str"):
        Calculator("sw")
    with pytest.raises(ValueError, match=r"skin is -0.5"):
        Calculator(StillingerWeber.silicon(), skin=-0.5)
    silicon.get_potential_energy()
    silicon.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="positions of atom 3"):
        silicon.get_potential_energy()
    water = molecule("H2O")
    water.calc = silicon.calc
    with pytest.raises(ValueError, match="atom 0 of structure 0 is O"):
        water.get_potential_energy()
