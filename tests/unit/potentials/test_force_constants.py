"""Second and third derivatives: against other derivatives, sum rules, images, contraction, bad input."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell

from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures

pytestmark = pytest.mark.unit


def screened_silicon() -> Tersoff:
    """Silicon with lambda3, which takes the general way through the triplets."""
    table = Tersoff.silicon_germanium().table.copy()
    table[..., 2] = 1.3
    return Tersoff(("Si", "Ge"), table)


forms = pytest.mark.parametrize(
    "make", [StillingerWeber.silicon_germanium, Tersoff.silicon_germanium, screened_silicon]
)


def crystal(rattle: float = 0.1) -> Atoms:
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(rattle, seed=4)
    atoms.numbers[::3] = 32
    return atoms


def cluster() -> Atoms:
    atoms = bulk("Si", a=5.4, cubic=True)
    atoms.rattle(0.15, seed=6)
    atoms.numbers[1::3] = 32
    atoms.pbc = False
    return atoms


def forces(potential, atoms: Atoms) -> np.ndarray:
    return potential(Structures.from_ase(atoms)).forces.numpy()


def hessian(potential, atoms: Atoms) -> ForceConstants:
    return potential.hessian(Structures.from_ase(atoms))


def moved(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    copy = atoms.copy()
    copy.positions += displacement.reshape(-1, 3)
    return copy


@forms
def test_hessian_is_the_derivative_of_the_forces(make):
    potential, atoms = make(), crystal()
    direction = np.random.default_rng(0).normal(size=24)
    step = 1e-5
    ends = [forces(potential, moved(atoms, sign * step * direction)) for sign in (1, -1)]
    expected = -(ends[0] - ends[1]).ravel() / (2 * step)
    own = hessian(potential, atoms).dense() @ direction
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@forms
def test_symmetry_and_translation(make):
    constants = hessian(make(), crystal())
    assert np.abs(constants.blocks).max() > 5
    assert constants.asymmetry() < 5e-14
    assert constants.acoustic_residual() < 5e-14


@forms
def test_rotation_rule(make):
    """Turning a free cluster turns its forces: Phi (w x r) = -w x F."""
    atoms = cluster()
    axis = np.array([0.3, -0.5, 0.8])
    turn = np.cross(axis, atoms.positions).ravel()
    expected = -np.cross(axis, forces(make(), atoms)).ravel()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(hessian(make(), atoms).dense() @ turn, expected, rtol=0, atol=1e-12)


def test_hessian_of_a_dimer_in_closed_form():
    """Along the bond the curvature of the bond, across it force over length."""
    a, b, lambda1, lambda2 = 1830.8, 471.18, 2.4799, 1.7322
    r = 2.2
    slope = -lambda1 * a * np.exp(-lambda1 * r) + lambda2 * b * np.exp(-lambda2 * r)
    curvature = lambda1**2 * a * np.exp(-lambda1 * r) - lambda2**2 * b * np.exp(-lambda2 * r)
    matrix = hessian(Tersoff.silicon(), Atoms("Si2", [[0, 0, 0], [0, 0, r]])).dense()
    block = np.diag([slope / r, slope / r, curvature])
    expected = np.block([[block, -block], [-block, block]])
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12 * np.abs(block).max())


@forms
def test_images_of_the_primitive_cell(make):
    """Blocks of the two-atom cell, placed by their shifts, are those of a supercell."""
    small = bulk("Si", a=5.3)
    small.positions[1] += [0.1, -0.05, 0.07]
    small.numbers[1] = 32
    n = 5
    large = make_supercell(small, n * np.eye(3), order="atom-major")
    constants, dense = hessian(make(), small), hessian(make(), large).dense()
    assert np.abs(constants.shifts).max() >= 1
    cells = np.round((large.positions - small.positions[np.repeat([0, 1], n**3)]) @ np.linalg.inv(small.cell[:]))
    place = {(int(i >= n**3), *map(int, cell % n)): i for i, cell in enumerate(cells)}
    folded = np.zeros((2, 3, 2 * n**3, 3))
    for i, j, shift, block in zip(constants.first, constants.second, constants.shifts, constants.blocks):
        folded[i, :, place[(j, *map(int, shift % n))]] += block
    rows = dense.reshape(2 * n**3, 3, 2 * n**3, 3)[[place[0, 0, 0, 0], place[1, 0, 0, 0]]]
    np.testing.assert_allclose(folded, rows, rtol=0, atol=1e-12)


def test_vectors_reach_the_images():
    atoms = moved(bulk("Si", a=5.4), np.array([0, 0, 0, 0.1, 0.2, 0.3]))
    atoms.positions[0] += 2 * atoms.cell[1]  # outside the cell: shifts refer to positions as they are
    constants = hessian(Tersoff.silicon(), atoms)
    lengths = np.linalg.norm(constants.vectors, axis=1)
    own = (constants.first == constants.second) & ~constants.shifts.any(axis=1)
    assert own.sum() == 2 and (lengths[own] == 0).all()
    strongest = np.abs(constants.blocks[~own]).max(axis=(1, 2)) > 1
    # bonds, and second neighbours through a common neighbour
    assert strongest.any() and (lengths[~own][strongest] < 2.8).all()
    assert lengths.max() < 2 * Tersoff.silicon().cutoff


def test_batches_keep_structures_apart():
    frames = [crystal(), cluster(), Atoms("Si", [[0, 0, 0]])]
    potential = Tersoff.silicon_germanium()
    dense = potential.hessian(Structures.from_ase(frames)).dense()
    start = 0
    for atoms in frames:
        stop = start + 3 * len(atoms)
        np.testing.assert_allclose(dense[start:stop, start:stop], hessian(potential, atoms).dense(), atol=1e-13)
        dense[start:stop, start:stop] = 0
        start = stop
    assert not dense.any()


def test_single_precision_positions_give_double_precision_constants():
    structures = Structures.from_ase(crystal())
    rounded = structures.to(dtype=torch.float32)
    own = Tersoff.silicon_germanium().hessian(rounded)
    assert own.blocks.dtype == np.float64 and own.asymmetry() < 5e-14
    np.testing.assert_allclose(own.dense(), hessian(Tersoff.silicon_germanium(), crystal()).dense(), atol=2e-5)


def test_hessian_in_portions(monkeypatch):
    """Large systems are treated a few stars at a time."""
    structures = Structures.from_ase([crystal(), Atoms("Si", [[0, 0, 0]]), cluster()])
    whole = Tersoff.silicon_germanium().hessian(structures)
    for max_terms in (1, 60, 200):
        monkeypatch.setattr("matterscape.potentials.star.MAX_TERMS", max_terms)
        parts = Tersoff.silicon_germanium().hessian(structures)
        np.testing.assert_array_equal(parts.shifts, whole.shifts)
        np.testing.assert_array_equal(parts.second, whole.second)
        np.testing.assert_allclose(parts.blocks, whole.blocks, rtol=0, atol=1e-13)


def test_an_atom_alone():
    structures = Structures.from_ase(Atoms("Si", [[0, 0, 0]]))
    constants = Tersoff.silicon().hessian(structures)
    np.testing.assert_array_equal(constants.dense(), np.zeros((3, 3)))
    third = Tersoff.silicon().third_order(structures)
    assert third.values.size == 0 and third.index_asymmetry == 0
    np.testing.assert_array_equal(third.contract(np.ones(3)).dense(), np.zeros((3, 3)))


def test_sums_and_multiples():
    structures = Structures.from_ase(crystal())
    first, second = Tersoff.silicon_germanium(), StillingerWeber.silicon_germanium()
    a, b = first.hessian(structures), second.hessian(structures)
    assert len(a.first) != len(b.first)
    expected = a.dense() + 0.5 * b.dense()
    np.testing.assert_allclose((a + 0.5 * b).dense(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose((first + 0.5 * second).hessian(structures).dense(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose((a + a).dense(), 2 * a.dense(), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="other belongs to structures with other positions"):
        a + hessian(second, crystal(0.2))
    with pytest.raises(ValueError, match="other belongs to 2 atoms in 1 structures, these force constants to 8 in 1"):
        a + hessian(Tersoff.silicon(), bulk("Si", a=5.4))


def test_terms_in_any_order():
    constants = hessian(Tersoff.silicon_germanium(), crystal())
    order = np.random.default_rng(0).permutation(2 * len(constants.first)) % len(constants.first)
    again = ForceConstants.from_terms(
        constants.first[order],
        constants.second[order],
        constants.shifts[order],
        constants.blocks[order],
        constants.structures,
    )
    np.testing.assert_array_equal(again.shifts, constants.shifts)
    np.testing.assert_allclose(again.blocks, 2 * constants.blocks, rtol=1e-15)


@forms
def test_third_order_is_the_derivative_of_the_hessian(make):
    potential, atoms = make(), crystal()
    third = potential.third_order(Structures.from_ase(atoms))
    direction = np.random.default_rng(1).normal(size=24)
    step = 1e-5
    ends = [hessian(potential, moved(atoms, sign * step * direction)).dense() for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(third.contract(direction).dense(), expected, rtol=0, atol=2e-8 * scale)


@forms
def test_third_order_symmetry_and_sum_rules(make):
    """Exact by construction; what the construction averaged away is small."""
    atoms = cluster()
    third = make().third_order(Structures.from_ase(atoms))
    dense = third.dense()
    scale = np.abs(dense).max()
    assert scale > 5
    assert third.index_asymmetry < 1e-8 * scale
    for axes in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        np.testing.assert_allclose(dense, dense.transpose(axes), rtol=0, atol=1e-14 * scale)
    assert np.abs(dense.reshape(-1, len(atoms), 3).sum(1)).max() < 1e-13 * scale
    # turning a free cluster turns its force constants
    axis = np.array([0.3, -0.5, 0.8])
    turn = np.kron(np.eye(len(atoms)), np.cross(np.eye(3), axis))
    phi = hessian(make(), atoms).dense()
    expected = turn @ phi - phi @ turn
    own = dense @ np.cross(axis, atoms.positions).ravel()
    np.testing.assert_allclose(own, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_step_of_the_third_order():
    """Errors fall as the square of the step, from 1e-6 of the largest entry at 1e-4 Å."""
    structures = Structures.from_ase(crystal())
    potential = Tersoff.silicon_germanium()
    asymmetries = [potential.third_order(structures, step).index_asymmetry for step in (1e-3, 3e-4, 1e-4)]
    scale = np.abs(potential.third_order(structures).values).max()
    assert asymmetries[2] < 1e-6 * scale
    assert asymmetries[0] / asymmetries[1] == pytest.approx(100 / 9, rel=0.1)
    assert asymmetries[1] / asymmetries[2] == pytest.approx(9, rel=0.1)


def test_contraction_equals_the_dense_tensor():
    atoms = bulk("Si", a=5.3)
    atoms.rattle(0.1, seed=1)  # images of both atoms
    third = Tersoff.silicon().third_order(Structures.from_ase(atoms))
    vector = np.random.default_rng(3).normal(size=(2, 3))
    np.testing.assert_allclose(third.contract(vector).dense(), third.dense() @ vector.ravel(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(third.contract(vector.ravel()).dense(), third.dense() @ vector.ravel(), atol=1e-13)
    assert third.values.nbytes / 2 == 364 * 8  # four neighbours, packed


def test_packed_star():
    third = StillingerWeber.silicon().third_order(Structures.from_ase(bulk("Si", a=5.43, cubic=True)))
    star = third.star(3)
    assert star.shape == (12, 12, 12)
    for axes in ((1, 0, 2), (2, 1, 0)):
        np.testing.assert_array_equal(star, star.transpose(axes))
    entry = third.value_offsets[3] + 7 * 8 * 9 // 6 + 5 * 6 // 2 + 2
    assert star[7, 2, 5] == third.values[entry]


def test_bad_input():
    structures = Structures.from_ase(bulk("Si", a=5.4))
    third = Tersoff.silicon().third_order(structures)
    with pytest.raises(ValueError, match=r"vector has shape \(3, 2\); accepted are \(2, 3\) and \(6,\)"):
        third.contract(np.zeros((3, 2)))
    for step in (0.0, -1e-4, np.inf):
        with pytest.raises(ValueError, match="step is .* accepted is a positive number of Å"):
            Tersoff.silicon().third_order(structures, step)
    with pytest.raises(ValueError, match="which Tersoff has no parameters for"):
        Tersoff.silicon().hessian(Structures.from_ase(bulk("Ge")))
    large = Structures.from_ase(bulk("Si", a=5.43, cubic=True).repeat((3, 3, 2)))
    with pytest.raises(ValueError, match="structures have 144 atoms; dense\\(\\) accepts at most 128"):
        Tersoff.silicon().third_order(large).dense()
