"""Relaxation of atoms and cells: minima, invariances, each structure on its own, honest reports."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength
from scipy.linalg import expm

from matterscape.dynamics import relaxation
from matterscape.dynamics.relaxation import METHODS, relax
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

each_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def silicon():
    return StillingerWeber.silicon()


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def strained(atoms: Atoms, seed: int, size: float = 0.04) -> Atoms:
    atoms = atoms.copy()
    strain = np.random.default_rng(seed).normal(scale=size, size=(3, 3))
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain + strain.T), scale_atoms=True)
    return atoms


def test_enthalpy_gradient_equals_finite_differences(silicon, crystal):
    frames = [strained(crystal, seed) for seed in (0, 1)]
    pressure = 0.02
    surface = relaxation._Enthalpy(Structures.from_ase(frames), silicon, "anisotropic", pressure)
    rng = np.random.default_rng(3)
    coordinates = surface.start.copy()
    logarithms = rng.normal(scale=0.1, size=(2, 3, 3))
    coordinates[16:] = (logarithms + logarithms.transpose(0, 2, 1)).reshape(6, 3)
    surface.evaluate(coordinates)
    gradient = surface.gradient.copy()
    for structure in range(2):  # cells and positions follow the exponential of the scaled rows
        deformation = expm(coordinates[16 + 3 * structure : 19 + 3 * structure] / surface._weights[structure])
        np.testing.assert_allclose(surface.cells[structure], frames[structure].cell @ deformation, rtol=1e-12)
    np.testing.assert_allclose(
        surface.enthalpies - surface.energies, pressure * np.abs(np.linalg.det(surface.cells)), rtol=1e-10
    )
    for structure in range(2):
        direction = rng.normal(size=coordinates.shape) * (surface.owner == structure)[:, None]
        by_cell = direction[16:].reshape(2, 3, 3)
        direction[16:] = (by_cell + by_cell.transpose(0, 2, 1)).reshape(6, 3)
        step, values = 1e-5, []
        for sign in (1, -1):
            surface.evaluate(coordinates + sign * step * direction)
            values.append(surface.enthalpies)
        difference = (values[0] - values[1]) / (2 * step)
        assert difference[structure] == pytest.approx((gradient * direction).sum(), rel=1e-7)
        assert abs(difference[1 - structure]) < 1e-9


@each_method
def test_strained_crystals_find_the_known_minimum(silicon, crystal, method):
    # F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985): diamond, -2 epsilon per atom at a = 5.43095 Å
    frames = [strained(crystal, seed) for seed in range(3)] + [bulk("Si", a=5.2)]
    tolerance = 1e-5
    found = relax(
        frames, silicon, cell="anisotropic", force_tolerance=tolerance, stress_tolerance_GPa=1e-4, method=method
    )
    assert found.converged.all() and (found.max_forces <= tolerance).all()
    assert np.abs(found.stresses_GPa).max() <= 1e-4
    np.testing.assert_allclose(found.energies / [8, 8, 8, 2], -2 * 2.1683, atol=1e-8)
    for atoms, start in zip(found.to_ase(), frames):
        edge = (atoms.get_volume() / len(atoms) * 8) ** (1 / 3)
        assert edge == pytest.approx(5.43095, abs=1e-5)
        deformation = np.linalg.solve(start.cell[:], atoms.cell[:])
        np.testing.assert_allclose(deformation, deformation.T, atol=1e-9)  # the cell does not rotate
    history = found.history
    assert set(history) == {"enthalpies", "max_forces", "max_stresses_GPa"}
    assert history["enthalpies"].shape == (found.steps.max(), 4)
    np.testing.assert_allclose(history["enthalpies"][-1], found.energies)


@each_method
def test_every_structure_relaxes_as_if_alone(silicon, crystal, method):
    frames = [strained(crystal, seed, size) for seed, size in ((0, 0.01), (1, 0.05), (2, 0.03))]
    options = {"cell": "isotropic", "force_tolerance": 1e-3, "method": method}
    together = relax(frames, silicon, **options)
    assert len(set(together.steps)) > 1
    for n, atoms in enumerate(frames):
        alone = relax(atoms, silicon, **options)
        assert alone.steps[0] == together.steps[n]
        np.testing.assert_allclose(alone.to_ase()[0].positions, together.to_ase()[n].positions, atol=1e-9)
        np.testing.assert_allclose(alone.stresses_GPa[0], together.stresses_GPa[n], atol=1e-7)


@each_method
def test_isotropic_cells_keep_their_shape_and_take_the_pressure(silicon, crystal, method):
    start = strained(crystal, 1)
    found = relax(
        start,
        silicon,
        cell="isotropic",
        pressure_GPa=3.0,
        force_tolerance=1e-4,
        stress_tolerance_GPa=1e-3,
        method=method,
    )
    atoms = found.to_ase()[0]
    ratio = np.linalg.solve(start.cell[:], atoms.cell[:])
    np.testing.assert_allclose(ratio, ratio[0, 0] * np.eye(3), atol=1e-10)
    assert np.trace(found.stresses_GPa[0]) / 3 == pytest.approx(-3.0, abs=1e-3)
    volume = atoms.get_volume()
    final = found.history["enthalpies"][-1, 0]
    assert final == pytest.approx(found.energies[0] + 3.0 * units.GPa * volume, rel=1e-10)


@each_method
def test_clusters_and_fixed_atoms(method):
    argon = LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=12.0)
    pair = Atoms("Ar2", [[0, 0, 0], [4.4, 0.3, -0.2]])
    triangle = Atoms("Ar3", [[0, 0, 0], [4.0, 0, 0], [0, 3.5, 0.5]])
    held = pair.copy()
    held.set_constraint(FixAtoms([0]))
    found = relax([pair, triangle, held], argon, force_tolerance=1e-6, method=method)
    assert found.stresses_GPa is None and found.converged.all()
    relaxed = found.to_ase()
    nearest = 2 ** (1 / 6) * 3.4
    assert relaxed[0].get_distance(0, 1) == pytest.approx(nearest, abs=1e-3)
    np.testing.assert_allclose(relaxed[1].get_all_distances()[np.triu_indices(3, 1)], nearest, atol=1e-3)
    np.testing.assert_array_equal(relaxed[2].positions[0], held.positions[0])
    assert relaxed[2].get_distance(0, 1) == pytest.approx(nearest, abs=1e-3)


@each_method
def test_tight_tolerances_are_reached(silicon, crystal, method):
    found = relax(crystal, silicon, force_tolerance=1e-9, method=method)
    assert found.converged.all() and found.max_forces[0] <= 1e-9
    alone = Structures.from_ase(crystal).to(dtype=found.structures.positions.dtype)
    assert found.structures.positions.dtype == alone.positions.dtype


def test_what_does_not_converge_says_so_and_stands_at_its_best(silicon, crystal):
    with pytest.warns(UserWarning, match=r"1 of 2 structures did not converge within 7 steps \(structures 1; largest"):
        found = relax([bulk("Si", a=5.431), crystal], silicon, max_steps=7)
    assert list(found.converged) == [True, False] and list(found.steps) == [1, 7]
    assert found.energies[1] == found.history["enthalpies"][:, 1].min()
    again = silicon(found.structures).energy
    np.testing.assert_allclose(again.detach(), found.energies, rtol=1e-12)


def test_an_interrupt_keeps_the_best(silicon, crystal, monkeypatch):
    evaluate = relaxation._Enthalpy.evaluate
    calls = iter(range(100))

    def interrupted(surface, coordinates):
        if next(calls) == 5:
            raise KeyboardInterrupt
        evaluate(surface, coordinates)

    monkeypatch.setattr(relaxation._Enthalpy, "evaluate", interrupted)
    with pytest.warns(UserWarning, match="did not converge before the interruption"):
        found = relax(crystal, silicon)
    assert found.steps[0] == 5 and found.energies[0] == found.history["enthalpies"].min()


def test_two_runs_are_one(silicon, crystal):
    frames = [strained(crystal, seed) for seed in range(2)]
    first, second = (relax(frames, silicon, cell="anisotropic") for _ in range(2))
    np.testing.assert_array_equal(first.structures.positions, second.structures.positions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": True}, "cell is True; accepted are False"),
        ({"cell": "cubic"}, "cell is 'cubic'"),
        ({"method": "bfgs"}, "method is 'bfgs'; accepted are 'fire', 'conjugate-gradient'"),
        ({"pressure_GPa": 1.0}, "pressure_GPa is 1.0 but cell is False"),
        ({"pressure_GPa": np.nan}, "pressure_GPa is nan"),
        ({"force_tolerance": 0}, "force_tolerance is 0"),
        ({"stress_tolerance_GPa": -1.0}, "stress_tolerance_GPa is -1.0"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
    ],
)
def test_bad_arguments_are_named(silicon, crystal, changes, message):
    with pytest.raises(ValueError, match=message):
        relax(crystal, silicon, **changes)


def test_bad_structures_are_named(silicon, crystal):
    slab = crystal.copy()
    slab.pbc = [True, True, False]
    with pytest.raises(ValueError, match=r"structure 1 is periodic along \[True, True, False\]"):
        relax([crystal, slab], silicon, cell="isotropic")
    crystal.set_constraint(FixBondLength(0, 1))
    with pytest.raises(ValueError, match="structure 0 has the constraint FixBondLength"):
        relax(crystal, silicon)
    crystal.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="structure 0 has the constraint FixAtoms"):
        relax(crystal, silicon, cell="isotropic")
    with pytest.raises(ValueError, match="is Cu"):
        relax(bulk("Cu"), silicon)


def test_an_energy_that_is_not_finite_stops_the_relaxation(silicon, crystal, monkeypatch):
    monkeypatch.setattr(relaxation.Evaluator, "__call__", lambda evaluator, *_, **__: evaluator.energies.fill(np.nan))
    with pytest.raises(ValueError, match="the potential gives an energy of nan eV for a structure Si8"):
        relax(crystal, silicon)
