"""Flexible water q-TIP4P/F: geometry, dimers, forces, stress, heat flux."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from energy_moment import energy_moment_rate
from matterscape.potentials import Evaluator
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.water import CHARGES, OXYGEN_OXYGEN, OXYGEN_WEIGHT, QTIP4PF
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

FIELD = QTIP4PF(cutoff=5.0, force_error=1e-9)
OPEN = QTIP4PF(cutoff=30.0, shift=False)


def monomer(length=0.9419, angle_deg=107.4):
    """One molecule."""
    half = np.radians(angle_deg) / 2
    hydrogens = [[length * np.sin(half), length * np.cos(half), 0], [-length * np.sin(half), length * np.cos(half), 0]]
    return Atoms("OH2", [[0, 0, 0], *hydrogens])


def trimer():
    """Three molecules in vacuum, off their equilibrium."""
    atoms = Atoms()
    for angle, place in ((0, (0, 0, 0)), (40, (2.5, 1.4, -0.7)), (110, (-1.1, 2.6, 1.5))):
        one = monomer(0.96, 105)
        one.rotate(angle, (1, 2, 3))
        one.positions += place
        atoms += one
    atoms.rattle(0.04, seed=1)
    return atoms


def liquid():
    """Eight molecules in a small skewed cell, with bonds across its faces."""
    generator = np.random.default_rng(3)
    atoms = Atoms(cell=[[6.2, 0, 0], [0.4, 6.3, 0], [-0.3, 0.5, 6.1]], pbc=True)
    for corner in np.ndindex(2, 2, 2):
        one = monomer()
        one.rotate(generator.uniform(0, 360), generator.normal(size=3))
        one.positions += 0.5 * np.array(corner) @ atoms.cell[:]
        atoms += one
    atoms.rattle(0.03, seed=4)
    atoms.wrap()
    return atoms


def moved_batch(structures, positions, cells):
    """The same atoms elsewhere."""
    return Structures(
        torch.from_numpy(positions.copy()), structures.species, structures.structure_index,
        torch.from_numpy(cells.copy()), structures.pbc,
    )  # fmt: skip


def test_gas_phase_geometry():
    result = OPEN(Structures.from_ase(monomer()))
    assert float(result.forces.norm(dim=1).max()) < 5e-3  # 0.9419 Å is rounded
    assert float(result.energy) == pytest.approx(0.0, abs=1e-6)
    bent, stretched = (OPEN(Structures.from_ase(a)).energy for a in (monomer(angle_deg=104.5), monomer(0.9572)))
    assert float(bent) == pytest.approx(87.85 / 2 / 23.0605 * np.radians(2.9) ** 2, rel=1e-3)  # kcal/mol, 1/2 k
    x = 2.287 * (0.9572 - 0.9419)
    assert float(stretched) == pytest.approx(2 * 116.09 / 23.0605 * (x**2 - x**3 + 7 / 12 * x**4), rel=1e-2)


def test_constants_are_those_published():
    """Table I of the paper, in kcal/mol and Å."""
    epsilon, sigma = OXYGEN_OXYGEN
    assert epsilon * 23.0605 == pytest.approx(0.1852, abs=5e-5)
    assert sigma == pytest.approx(3.1589, abs=5e-5)
    assert CHARGES["O"] == -2 * CHARGES["H"] == -1.1128


def test_dimer_is_the_sum_over_its_sites():
    first, second = monomer(0.96, 106), monomer(0.95, 108)
    second.rotate(75, (1, 1, 0))
    second.positions += (1.1, 2.6, 0.3)
    dimer = first + second
    sites, charges = [], []
    for one in (first, second):
        o, h1, h2 = one.positions
        sites.append([OXYGEN_WEIGHT * o + 0.5 * (1 - OXYGEN_WEIGHT) * (h1 + h2), h1, h2])
        charges.append([-1.1128, 0.5564, 0.5564])
    energy = 0.0
    for site, charge in zip(sites[0], charges[0]):
        for other, other_charge in zip(sites[1], charges[1]):
            energy += COULOMB * charge * other_charge / np.linalg.norm(site - other)
    epsilon, sigma = OXYGEN_OXYGEN
    ratio = (sigma / dimer.get_distance(0, 3)) ** 6
    energy += 4 * epsilon * (ratio**2 - ratio)
    both, one, other = (float(OPEN(Structures.from_ase(atoms)).energy) for atoms in (dimer, first, second))
    assert both - one - other == pytest.approx(energy, abs=1e-10)


def test_forces_and_virial_by_finite_difference():
    atoms = liquid()
    result = FIELD(Structures.from_ase(atoms))
    generator = np.random.default_rng(0)
    h = 1e-4

    def slope(displacement, strain):
        values = []
        for k in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions += k * h * displacement
            moved.set_cell(moved.cell[:] @ (np.eye(3) + k * h * strain), scale_atoms=True)
            values.append(float(FIELD(Structures.from_ase(moved)).energy))
        return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)

    direction = generator.normal(size=(24, 3))
    direction /= np.linalg.norm(direction)
    assert (result.forces.numpy() * direction).sum() == pytest.approx(-slope(direction, np.zeros((3, 3))), abs=1e-6)
    strain = generator.normal(size=(3, 3))
    strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
    assert (result.virials[0].numpy() * strain).sum() == pytest.approx(-slope(np.zeros((24, 3)), strain), abs=1e-6)
    assert float(result.forces.sum(0).abs().max()) < 1e-8


def test_gradients_by_torch():
    structures = Structures.from_ase(liquid()).with_gradients(strain=True)
    result = FIELD(structures)
    forces, strain = torch.autograd.grad(result.energy.sum(), (structures.leaf_positions, structures.strain))
    torch.testing.assert_close(result.forces, -forces, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(result.virials, -0.5 * (strain + strain.transpose(1, 2)), atol=1e-9, rtol=1e-7)
    structures = Structures.from_ase(trimer()).with_gradients()
    (row,) = torch.autograd.grad(OPEN(structures).forces[3, 1], structures.positions)
    forces = []
    for step in (-1e-5, 1e-5):
        moved = trimer()
        moved.positions[3, 1] += step
        forces.append(OPEN(Structures.from_ase(moved)).forces)
    torch.testing.assert_close(row, (forces[1] - forces[0]) / 2e-5, atol=1e-6, rtol=0)


def test_single_precision():
    single, double = (FIELD(Structures.from_ase(liquid(), dtype=dtype)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single.forces.double(), double.forces, atol=3e-4, rtol=0)


@pytest.mark.parametrize("sharing", ["centre", "thirds"])
def test_heat_flux_is_the_rate_of_the_energy_moment(sharing):
    atoms, field = trimer(), QTIP4PF(cutoff=30.0, sharing=sharing)
    velocities = np.random.default_rng(2).normal(scale=0.1, size=(9, 3))
    for potential in (*field.terms, field):
        result = potential(Structures.from_ase(atoms))
        rate = energy_moment_rate(potential, atoms, velocities)
        np.testing.assert_allclose(result.heat_flux(torch.from_numpy(velocities))[0], rate, atol=1e-6)


def test_images_and_supercells():
    atoms = liquid()
    scattered = atoms.copy()
    scattered.positions += np.random.default_rng(5).integers(-2, 3, (24, 3)) @ scattered.cell[:]
    double = atoms * (1, 2, 1)
    one, same, two = (FIELD(Structures.from_ase(a)) for a in (atoms, scattered, double))
    for name in ("energies", "forces", "flux_tensors"):
        torch.testing.assert_close(getattr(one, name), getattr(same, name), atol=1e-8, rtol=0)
        torch.testing.assert_close(torch.cat([getattr(one, name)] * 2), getattr(two, name), atol=1e-7, rtol=0)


def test_the_evaluator_agrees_along_a_walk():
    field = QTIP4PF(cutoff=5.0, force_error=1e-6)
    structures = Structures.from_ase([liquid(), liquid()])
    evaluator = Evaluator(field, structures, skin=0.5)
    positions, cells = structures.positions.numpy().copy(), structures.cells.numpy().copy()
    generator = np.random.default_rng(6)
    for step in range(8):
        positions += 0.02 * generator.normal(size=positions.shape) + 0.1
        if step > 5:
            positions, cells = 1.01 * positions, 1.01 * cells
        evaluator(positions, cells, pieces=True)
        expected = field(moved_batch(structures, positions, cells))
        np.testing.assert_allclose(evaluator.forces, expected.forces, atol=2e-5)
        np.testing.assert_allclose(evaluator.energies, expected.energies, atol=2e-4)
        np.testing.assert_allclose(evaluator.flux_tensors, expected.flux_tensors, atol=2e-4)
    assert 1 <= evaluator.n_rebuilds < 8
    state = evaluator.lists.state()
    evaluator(positions, cells)
    kept = evaluator.forces.copy()
    evaluator(positions + 3 * generator.normal(size=(8 * 2, 1, 1)).repeat(3, 1).reshape(-1, 1), cells)
    evaluator.lists.restore(state)
    evaluator(positions, cells)
    np.testing.assert_array_equal(evaluator.forces, kept)


def test_bad_input():
    with pytest.raises(ValueError, match=r"atom 0 \(O\) of structure 0 has 1 H within 1.6 Å"):
        FIELD(Structures.from_ase(molecule("OH")))
    with pytest.raises(ValueError, match="atom 0 of structure 1 is C"):
        FIELD(Structures.from_ase([monomer(), molecule("CH4")]))
    with pytest.raises(ValueError, match=r"atom 2 \(H\) of structure 0 is not bonded"):
        torn = monomer()
        torn.positions[2] *= 2
        Evaluator(FIELD, Structures.from_ase(torn))
