"""Bonds, angles and exclusions: topology, kernels, derivatives, energy currents."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from energy_moment import energy_moment_rate
from matterscape.potentials import Evaluator
from matterscape.potentials._bonded_operator import bonded
from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.topology import Topology, find_molecules
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

PAIRS = (
    PairTerm(length=1.09, quadratic=15.0, cubic=-30.0, quartic=35.0, coulomb=0.7),
    PairTerm(coulomb=-0.4, repulsion=-300.0, decay=0.3, dispersion=-5.0, constant=0.2),
)
ANGLES = (AngleTerm(stiffness=2.5, angle_deg=105.0),)
sharings = pytest.mark.parametrize("sharing", ["centre", "thirds"])


def methane_bonds(structures):
    """C-H bonds, H-H pairs and H-C-H angles."""
    return find_molecules(structures, "C", "H", 4, 1.6).topology(bond_row=0, ligand_row=1, angle_row=0)


def methane_field(sharing="centre"):
    """A field of methane that uses every column of the parameters."""
    return Bonded(methane_bonds, PAIRS, ANGLES, sharing=sharing)


def rattled_methane():
    atoms = molecule("CH4")
    atoms.rattle(0.08, seed=4)
    return atoms


def across_the_boundary():
    """Two molecules in a skewed cell, wrapped so that bonds cross its faces."""
    atoms = rattled_methane()
    other = atoms.copy()
    other.rotate(50, (1, 2, 3))
    other.positions += (2.5, 2.3, 2.4)
    both = atoms + other
    both.set_cell([[4.8, 0, 0], [0.9, 4.6, 0], [-0.4, 0.7, 4.9]])
    both.pbc = True
    both.wrap()
    return both


def test_a_known_molecule():
    atoms = molecule("CH4")
    length = atoms.get_distance(0, 1)
    result = methane_field()(Structures.from_ase(atoms))
    bond, other = PAIRS
    r = atoms.get_distance(1, 2)
    x = length - bond.length
    expected = 4 * (15 * x**2 - 30 * x**3 + 35 * x**4 + 0.7 / length)
    expected += 6 * (-0.4 / r - 300 * math.exp(-r / 0.3) + 5 / r**6 - 0.2)
    expected += 6 * 2.5 * (math.acos(-1 / 3) - math.radians(105)) ** 2
    assert float(result.energy) == pytest.approx(expected, rel=1e-12)
    # halves of pairs, angles with the carbon
    assert float(result.energies[1]) == pytest.approx(
        0.5 * (15 * x**2 - 30 * x**3 + 35 * x**4 + 0.7 / length)
        + 1.5 * (-0.4 / r - 300 * math.exp(-r / 0.3) + 5 / r**6 - 0.2),
        rel=1e-12,
    )
    assert other.constant == 0.2


def test_quartic_morse_is_the_morse_potential_to_fourth_order():
    term = PairTerm.quartic_morse(depth=4.0, width=2.0, length=1.0)

    def difference(x):
        quartic = x**2 * (term.quadratic + x * (term.cubic + x * term.quartic))
        return 4.0 * (1 - math.exp(-2.0 * x)) ** 2 - quartic

    assert difference(0.02) / difference(0.01) == pytest.approx(32, rel=0.05)


@sharings
def test_results_follow_from_the_energy(sharing):
    frames = [rattled_methane(), across_the_boundary(), bulk("Ar", a=5.3)]
    structures = Structures.from_ase(frames).with_gradients(strain=True)
    result = methane_field(sharing)(structures)
    forces, strain = torch.autograd.grad(result.energy.sum(), (structures.leaf_positions, structures.strain))
    torch.testing.assert_close(result.forces, -forces)
    torch.testing.assert_close(result.virials, -0.5 * (strain + strain.transpose(1, 2)))
    positions = structures.positions.detach()
    for atom, axis in ((0, 1), (3, 2), (7, 0), (14, 1)):
        energies = []
        for step in (-1e-4, 1e-4):
            moved = positions.clone()
            moved[atom, axis] += step
            now = Structures(
                moved, structures.species, structures.structure_index, structures.cells.detach(), structures.pbc
            )
            energies.append(float(methane_field(sharing)(now).energy.sum()))
        assert result.forces[atom, axis].item() == pytest.approx(-(energies[1] - energies[0]) / 2e-4, abs=1e-6)
    assert torch.equal(result.energies[-1:], torch.zeros(1, dtype=torch.float64))


def test_stress_is_the_derivative_in_the_strain():
    atoms = across_the_boundary()
    stress = methane_field()(Structures.from_ase(atoms)).stress[0].numpy()
    generator = np.random.default_rng(0)
    for _ in range(3):
        strain = generator.normal(size=(3, 3))
        strain = 0.5 * (strain + strain.T)
        energies = []
        for step in (-1e-5, 1e-5):
            strained = atoms.copy()
            strained.set_cell(atoms.cell[:] @ (np.eye(3) + step * strain), scale_atoms=True)
            energies.append(float(methane_field()(Structures.from_ase(strained)).energy))
        derivative = (energies[1] - energies[0]) / 2e-5
        assert (stress * strain).sum() * atoms.get_volume() == pytest.approx(derivative, abs=1e-6)


@sharings
def test_bonds_across_the_boundary(sharing):
    wrapped = across_the_boundary()
    whole = wrapped.copy()
    found = find_molecules(Structures.from_ase(wrapped), "C", "H", 4, 1.6)
    assert (found.shifts != 0).any()
    for hydrogens, shifts in zip(found.ligands, found.shifts):
        whole.positions[hydrogens] += shifts @ wrapped.cell[:]
    whole.pbc = False
    far = wrapped.copy()
    far.positions += np.random.default_rng(1).integers(-3, 4, (10, 3)) @ far.cell[:]
    reference = methane_field(sharing)(Structures.from_ase(whole))
    for atoms in (wrapped, far):
        result = methane_field(sharing)(Structures.from_ase(atoms))
        for name in ("energies", "forces", "flux_tensors"):
            torch.testing.assert_close(getattr(result, name), getattr(reference, name), atol=1e-11, rtol=0)


@sharings
def test_numba_and_torch_agree_and_so_do_their_derivatives(sharing):
    topology = methane_bonds(Structures.from_ase(rattled_methane()))
    positions = torch.from_numpy(rattled_methane().positions).requires_grad_()
    weights = torch.tensor([0.3, -1.0, 0.7, 1.5, -0.2], dtype=torch.float64).requires_grad_()
    field = methane_field(sharing)
    pair_parameters = field.pair_parameters.clone().requires_grad_()
    angle_parameters = field.angle_parameters.clone().requires_grad_()
    lists = [torch.from_numpy(a) for a in (topology.pairs, topology.pair_rows, topology.angles, topology.angle_rows)]

    def call(x, w, pair, angle):
        return bonded(x, w, *lists[:2], pair, *lists[2:], angle, sharing == "thirds")

    inputs = (positions, weights, pair_parameters, angle_parameters)
    fixed = (positions, weights, pair_parameters.detach(), angle_parameters.detach())
    with torch.no_grad():
        arguments = (positions, weights, *lists[:2], pair_parameters, *lists[2:], angle_parameters, sharing == "thirds")
        for body, reference in zip(call(*inputs), bonded.reference(*arguments)):
            torch.testing.assert_close(body, reference, atol=1e-12, rtol=1e-12)
        ones = call(positions, positions.new_zeros(0), *inputs[2:])
        for body, reference in zip(ones, call(positions, positions.new_ones(5), *inputs[2:])):
            torch.testing.assert_close(body, reference)
    for chosen in (inputs, fixed):
        assert torch.autograd.gradcheck(call, chosen)
        assert torch.autograd.gradgradcheck(call, chosen, fast_mode=True)
    detached = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
    torch.library.opcheck(bonded.torch_operator, tuple(detached))


def test_single_precision():
    frames = [rattled_methane(), across_the_boundary()]
    double = methane_field()(Structures.from_ase(frames))
    single = methane_field()(Structures.from_ase(frames, dtype=torch.float32))
    for name, tolerance in (("energies", 1e-4), ("forces", 2e-3), ("flux_tensors", 2e-3)):
        assert getattr(single, name).dtype == torch.float32
        torch.testing.assert_close(getattr(single, name).double(), getattr(double, name), atol=tolerance, rtol=0)


@sharings
def test_the_evaluator_keeps_the_bonds(sharing):
    structures = Structures.from_ase([rattled_methane(), across_the_boundary()])
    evaluator = Evaluator(methane_field(sharing), structures)
    topology = methane_bonds(structures)
    generator = np.random.default_rng(3)
    positions, cells = structures.positions.numpy().copy(), structures.cells.numpy().copy()
    for _ in range(4):
        positions += 0.02 * generator.normal(size=positions.shape) + 1.0  # the whole drifts, unwrapped
        cells[1] *= 1.01
        evaluator(positions, cells, pieces=True)
        now = Structures(
            torch.from_numpy(positions.copy()), structures.species, structures.structure_index,
            torch.from_numpy(cells.copy()), structures.pbc,
        )  # fmt: skip
        expected = Bonded(topology, PAIRS, ANGLES, sharing=sharing)(now)
        for name in ("energies", "forces", "flux_tensors"):
            np.testing.assert_allclose(getattr(evaluator, name), getattr(expected, name), atol=1e-11)
    kept = evaluator.flux_tensors.copy()
    evaluator(positions, cells)
    np.testing.assert_array_equal(evaluator.flux_tensors, kept)


@sharings
@pytest.mark.parametrize("terms", ["pairs", "angles", "all"])
def test_heat_flux_is_the_rate_of_the_energy_moment(sharing, terms):
    atoms = rattled_methane()
    other = rattled_methane()
    other.rotate(70, (3, 1, 0))
    other.positions += (2.2, 0.4, -0.3)
    atoms += other
    off = PairTerm()
    potential = Bonded(
        methane_bonds,
        (off, off) if terms == "angles" else PAIRS,
        (AngleTerm(0.0, 105.0),) if terms == "pairs" else ANGLES,
        sharing=sharing,
    )
    velocities = np.random.default_rng(5).normal(size=(10, 3))
    result = potential(Structures.from_ase(atoms))
    rate = energy_moment_rate(potential, atoms, velocities)
    np.testing.assert_allclose(result.heat_flux(torch.from_numpy(velocities))[0], rate, atol=1e-6)


@sharings
def test_virial_divided_equally_is_no_heat_flux(sharing):
    """The per-atom stress of many codes gives each atom of an angle a third of the angle's virial."""
    atoms = rattled_methane()
    potential = Bonded(methane_bonds, (PairTerm(), PairTerm()), ANGLES, sharing=sharing)
    structures = Structures.from_ase(atoms)
    velocities = np.random.default_rng(5).normal(size=(5, 3))
    result = potential(structures)
    rate = energy_moment_rate(potential, atoms, velocities)
    angles = methane_bonds(structures).angles
    equal = np.zeros((5, 3, 3))
    for angle in angles:
        one = Topology.build(5, angles=angle[None])
        forces = Bonded(one, angles=ANGLES)(structures).forces.numpy()
        equal[angle] += np.einsum("na,nb->ab", atoms.positions, forces) / 3
    np.testing.assert_allclose(equal.sum(0), result.virials[0], atol=1e-12)  # right in sum
    masses = atoms.get_masses()
    energies = result.energies.numpy() + 0.5 * masses * (velocities**2).sum(1)
    flux = energies @ velocities + np.einsum("nab,nb->a", equal, velocities)
    assert np.abs(flux - rate).max() > 0.05  # the true flux agrees to 1e-6


def test_forces_and_torques_balance():
    result = methane_field()(Structures.from_ase(rattled_methane()))
    positions = torch.from_numpy(rattled_methane().positions)
    assert torch.allclose(result.forces.sum(0), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.linalg.cross(positions, result.forces).sum(0), torch.zeros(3).double(), atol=1e-12)


def test_topology_from_lists():
    atoms = bulk("Ar", a=5.0, cubic=True)
    springs = Topology.build(
        4, pairs=np.array([[0, 1], [1, 0]]), pair_shifts=np.array([[[0] * 3] * 2, [[0] * 3, [0, 1, 1]]])
    )
    assert springs.owners.tolist() == [0, 1, 2, 3, 0]
    assert springs.shifts[4].tolist() == [0, 1, 1]
    assert springs.pairs.tolist() == [[0, 1], [1, 4]]
    length = 5 / math.sqrt(2)
    result = Bonded(springs, [PairTerm(length=length - 0.1, quadratic=2.0)])(Structures.from_ase(atoms))
    assert float(result.energy) == pytest.approx(2 * 2.0 * 0.01)
    assert torch.allclose(result.forces, torch.zeros(4, 3).double(), atol=1e-12)


def test_unbonded_atoms_and_empty_batches_of_molecules():
    structures = Structures.from_ase(bulk("Ar", a=5.0))
    found = find_molecules(structures, "C", "H", 4, 1.6)
    assert found.ligands.shape == (0, 4)
    assert float(methane_field()(structures).energy) == 0.0


def test_molecules_that_are_not_whole():
    broken = molecule("CH4")
    broken.positions[2] *= 3
    batch = Structures.from_ase([molecule("CH4"), broken])
    with pytest.raises(ValueError, match=r"atom 2 \(H\) of structure 1 is not bonded: there is no C within 1.6 Å"):
        methane_field()(batch)
    with pytest.raises(ValueError, match=r"atom 0 \(C\) of structure 0 has 3 H within 1.6 Å .* accepted are exactly 4"):
        Evaluator(methane_field(), Structures.from_ase(molecule("CH3")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pairs": np.array([[0, 5]])}, "pairs name atoms 0 to 5; accepted are 0 to 4"),
        ({"pairs": np.array([[1, 1]])}, r"pairs\[0\] is \[1, 1\]; its atoms must be different"),
        ({"pairs": np.array([[0.0, 1.0]])}, "pairs is float64"),
        ({"angles": np.array([[0, 1]])}, r"angles is int64 of shape \(1, 2\); accepted are integers of shape \(1, 3\)"),
        (
            {"pairs": np.array([[0, 1]]), "pair_shifts": np.zeros((1, 3), int)},
            r"pair_shifts is int64 of shape \(1, 3\)",
        ),
    ],
)
def test_bad_topologies(arguments, message):
    with pytest.raises(ValueError, match=message):
        Topology.build(5, **arguments)


def test_bad_input():
    with pytest.raises(ValueError, match="sharing is 'halves'; accepted are 'centre', 'thirds'"):
        Bonded(methane_bonds, sharing="halves")
    with pytest.raises(ValueError, match="angle_deg is 180; accepted is between 0 and 180"):
        AngleTerm(1.0, 180)
    with pytest.raises(ValueError, match="decay is 0.0; accepted is a positive number of Å"):
        PairTerm(decay=0.0)
    with pytest.raises(ValueError, match="quadratic is nan; accepted is a finite number"):
        PairTerm(quadratic=math.nan)
    with pytest.raises(ValueError, match="stiffness is inf"):
        AngleTerm(math.inf, 100)
    structures = Structures.from_ase(molecule("CH4"))
    with pytest.raises(ValueError, match="pair_rows run from 0 to 1; there are 1 rows"):
        Bonded(methane_bonds, PAIRS[:1], ANGLES)(structures)
    with pytest.raises(ValueError, match="topology is that of 5 atoms; the structures have 3"):
        Bonded(methane_bonds(structures), PAIRS, ANGLES)(Structures.from_ase(molecule("H2O")))
    straight = Atoms("H3", positions=[[0, 0, 0], [1, 0, 0], [2, 0, 0]])
    bent = Bonded(Topology.build(3, angles=np.array([[0, 1, 2]])), angles=ANGLES)
    with pytest.raises(ValueError, match=r"angle of atoms \[0, 1, 2\] is straight"):
        bent(Structures.from_ase(straight))
    pair = Evaluator(Bonded(Topology.build(3, pairs=np.array([[0, 1]])), PAIRS), Structures.from_ase(straight))
    with pytest.raises(ValueError, match=r"bonded atoms \[0, 1\] coincide"):
        pair(np.array([[0.0, 0, 0], [0, 0, 0], [2, 0, 0]]), np.zeros((1, 3, 3)))


def test_force_constants():
    structures = Structures.from_ase([rattled_methane(), across_the_boundary()])
    field = methane_field()
    found = field.hessian(structures)
    h = 1e-5
    numerical = np.empty((45, 45))
    for row in range(45):
        forces = []
        for step in (-h, h):
            moved = structures.positions.clone()
            moved.view(-1)[row] += step
            now = Structures(moved, structures.species, structures.structure_index, structures.cells, structures.pbc)
            forces.append(field(now).forces.numpy().ravel())
        numerical[row] = (forces[0] - forces[1]) / (2 * h)
    np.testing.assert_allclose(found.dense(), numerical, atol=1e-6)
    assert found.asymmetry() < 1e-12
    assert found.acoustic_residual() < 1e-12
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert lengths.max() < 2.2  # images of the bonded partners, not the partners' other images
