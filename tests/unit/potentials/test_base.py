"""The machinery that every potential stands on, shown with a small pair potential in both kinds of list."""

import numba
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from energy_moment import energy_moment_rate
from matterscape.potentials import Evaluator, LocalPotential, Scaled, Sum, local_operator, mix
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

CUTOFF = 4.0


def _energies(vectors, first, second, types, n_centres, parameters, tables, kind):
    squared = (vectors**2).sum(1)
    well = parameters[types[first], types[second]] * (squared - CUTOFF**2) ** 3 / CUTOFF**6
    inside = torch.where(squared < CUTOFF**2, 0.5 * well, torch.zeros_like(well))
    return vectors.new_zeros(n_centres).index_add(0, first, inside)


@numba.njit
def _loop(positions, weights, types, second, offsets, parameters, half, energies, gradient, pieces):
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            j = second[p]
            vector = positions[j] - positions[i]
            squared = (vector**2).sum()
            if squared >= CUTOFF**2:
                continue
            if squared < 0.25:
                return p
            depth = parameters[types[i], types[j]]
            energy = 0.5 * depth * (squared - CUTOFF**2) ** 3 / CUTOFF**6
            slope = 3 * depth * (squared - CUTOFF**2) ** 2 / CUTOFF**6 * vector
            w_i = weights[i] if len(weights) else 1.0
            w_j = weights[j] if len(weights) else 1.0
            energies[i] += energy
            total = w_i
            if half:
                energies[j] += energy
                total += w_j
                pieces[i] -= w_j * np.outer(vector, slope)
            gradient[j] += total * slope
            gradient[i] -= total * slope
            pieces[j] -= w_i * np.outer(vector, slope)
    return -1


def _family(half):
    def accumulate(
        positions, weights, types, second, offsets, parameters, tables, kind, with_pieces, energies, gradient, pieces
    ):
        if not with_pieces:
            pieces = np.zeros((len(positions), 3, 3))
        return _loop(positions, weights, types, second, offsets, parameters, half, energies, gradient, pieces)

    name = f"test_wells_{'half' if half else 'full'}"
    operator = local_operator(name, energies=_energies, accumulate=accumulate, half=half)
    return type(
        "Wells", (LocalPotential,), {"operator": operator, "accumulate": staticmethod(accumulate), "half": half}
    )


FAMILIES = {half: _family(half) for half in (False, True)}


def _wells(half, depth=1.0):
    parameters = depth * torch.tensor([[1.0, 0.4], [0.4, 2.0]], dtype=torch.float64)
    return FAMILIES[half](species=(6, 1), cutoff=CUTOFF, parameters=parameters)


def _frames():
    small = bulk("C", "fcc", a=2.9)
    small.rattle(0.1, seed=1)
    slab = bulk("C", "bcc", a=2.1, cubic=True) * (2, 1, 2)
    slab.rattle(0.1, seed=2)
    slab.pbc = (True, False, True)
    slab.positions += 7.0  # outside the cell
    skewed = bulk("C", a=3.6) * (1, 2, 1)
    skewed.numbers[1] = 1
    skewed.set_cell(skewed.cell[:] @ np.array([[1, 0.1, 0], [0, 1, 0.2], [0.3, 0, 1.1]]), scale_atoms=True)
    return [small, molecule("CH4"), slab, skewed]


both = pytest.mark.parametrize("half", [False, True])


@both
def test_results_follow_from_the_energy(half):
    structures = Structures.from_ase(_frames()).with_gradients(strain=True)
    result = _wells(half)(structures)
    forces, strain = torch.autograd.grad(result.energy.sum(), (structures.leaf_positions, structures.strain))
    torch.testing.assert_close(result.forces, -forces)
    torch.testing.assert_close(result.virials, -0.5 * (strain + strain.transpose(1, 2)))


def test_half_and_full_lists_agree():
    structures = Structures.from_ase(_frames())
    for name in ("energies", "forces", "flux_tensors"):
        torch.testing.assert_close(*(getattr(_wells(half)(structures), name) for half in (False, True)))


@both
def test_the_evaluator_gives_the_same_along_a_walk(half):
    frames = _frames()
    structures = Structures.from_ase(frames)
    evaluator = Evaluator(_wells(half), structures, skin=0.7)
    generator = np.random.default_rng(0)
    positions, cells = structures.positions.numpy().copy(), structures.cells.numpy().copy()
    for step in range(12):
        positions += 0.06 * generator.normal(size=positions.shape)
        if step > 6:
            cells *= 1.004
            positions *= 1.004
        evaluator(positions, cells, pieces=True)
        fresh = Structures(
            torch.from_numpy(positions.copy()), structures.species, structures.structure_index,
            torch.from_numpy(cells.copy()), structures.pbc,
        )  # fmt: skip
        expected = _wells(half)(fresh)
        np.testing.assert_allclose(evaluator.energies, expected.energies, atol=1e-12)
        np.testing.assert_allclose(evaluator.forces, expected.forces, atol=1e-12)
        np.testing.assert_allclose(evaluator.flux_tensors, expected.flux_tensors, atol=1e-12)
    assert 1 < evaluator.n_rebuilds < 12
    state = evaluator.lists.state()
    second = evaluator.lists.request(CUTOFF, half=half).second.copy()
    evaluator(positions + 5 * generator.normal(size=positions.shape), cells)
    evaluator.lists.restore(state)
    np.testing.assert_array_equal(evaluator.lists.request(CUTOFF, half=half).second, second)


@both
def test_operator_is_a_proper_torch_operator(half):
    potential = _wells(half)
    generator = torch.Generator().manual_seed(0)
    positions = (2 * torch.rand(5, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    weights = torch.rand(5, generator=generator, dtype=torch.float64).requires_grad_()
    parameters = potential.parameters.clone().requires_grad_()
    lists = [[1, 2, 3, 4], [2, 3, 4], [3, 4], [4], []] if half else [[j for j in range(5) if j != i] for i in range(5)]
    second = torch.tensor(sum(lists, []), dtype=torch.int32)
    offsets = torch.tensor([0, *np.cumsum([len(row) for row in lists])])
    types = torch.tensor([0, 1, 0, 1, 0])
    tables = torch.zeros(0, 0, 0, dtype=torch.float64)

    def call(x, w, p):
        return potential.operator(x, w, types, second, offsets, 0.5 * (p + p.T), tables, 0)

    assert torch.autograd.gradcheck(call, (positions, weights, parameters))
    assert torch.autograd.gradgradcheck(call, (positions, weights, parameters))
    fixed = parameters.detach()
    assert torch.autograd.gradcheck(call, (positions, weights, fixed))
    assert torch.autograd.gradgradcheck(call, (positions, weights, fixed))
    arguments = (positions, weights.detach(), types, second, offsets, fixed, tables, 0)
    torch.library.opcheck(potential.operator.torch_operator, arguments)


def test_composition():
    structures = Structures.from_ase(_frames())
    one, two = _wells(True), _wells(False, depth=0.3)
    first, second = one(structures), two(structures)
    for potential, a, b in (
        (one + two, 1, 1),
        (2.0 * one, 2, 0),
        (one + 0.5 * two, 1, 0.5),
        (mix(one, two, 0.25), 0.75, 0.25),
    ):
        result = potential(structures)
        evaluator = Evaluator(potential, structures)
        evaluator(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
        for name in ("energies", "forces", "flux_tensors"):
            expected = a * getattr(first, name) + b * getattr(second, name)
            torch.testing.assert_close(getattr(result, name), expected)
            np.testing.assert_allclose(getattr(evaluator, name), expected, atol=1e-12)
    assert len(Sum(one + two, one).terms) == 3
    assert str(one + 0.5 * two) == "Wells + 0.5 Wells"


def test_heat_flux_of_an_isolated_cluster_is_the_derivative_of_its_energy_moment():
    atoms = Atoms("C4H4", positions=1.3 * np.array(list(np.ndindex(2, 2, 2))))
    atoms.rattle(0.2, seed=3)
    velocities = np.random.default_rng(1).normal(size=(8, 3))
    potential = _wells(True)
    flux = potential(Structures.from_ase(atoms)).heat_flux(torch.from_numpy(velocities))[0]
    np.testing.assert_allclose(flux, energy_moment_rate(potential, atoms, velocities), atol=1e-6, rtol=1e-7)


def test_stress_is_positive_under_tension():
    atoms = bulk("C", "fcc", a=2.9)
    stress = _wells(True)(Structures.from_ase(atoms)).stress[0]
    energies = []
    for factor in (0.9999, 1.0001):
        strained = atoms.copy()
        strained.set_cell(atoms.cell[:] * factor, scale_atoms=True)
        energies.append(float(_wells(True)(Structures.from_ase(strained)).energy))
    assert torch.trace(stress) == pytest.approx((energies[1] - energies[0]) / 2e-4 / atoms.get_volume(), rel=1e-5)


def test_bad_input():
    wells = _wells(True)
    with pytest.raises(
        ValueError, match=r"atom 0 of structure 1 is O, which Wells has no parameters for; accepted are C, H"
    ):
        wells(Structures.from_ase([molecule("CH4"), molecule("CO")]))
    close = Atoms("CHC", positions=[[0, 0, 0], [0, 0, 0.3], [3, 0, 0]])
    message = r"[CH] \(atom [01]\) and [CH] \(atom [01]\) of structure 1 are 0.300 Å apart"
    structures = Structures.from_ase([molecule("CH4"), close])
    with pytest.raises(ValueError, match=message):
        wells(structures)
    with pytest.raises(ValueError, match=message):
        Evaluator(wells, structures)(structures.positions.numpy(), structures.cells.numpy())
    with pytest.raises(ValueError, match="skin is -1"):
        Evaluator(wells, structures, skin=-1)
    with pytest.raises(ValueError, match=r"fraction is 1.5; accepted is a number from 0 to 1"):
        mix(wells, wells, 1.5)
    with pytest.raises(ValueError, match="factor is nan"):
        Scaled(wells, float("nan"))
    with pytest.raises(ValueError, match="structure 0 has no cell, so its stress is not defined"):
        _ = wells(Structures.from_ase(molecule("CH4"))).stress
    other = FAMILIES[True](species=(8,), cutoff=CUTOFF, parameters=torch.ones(1, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="the terms Wells, Wells have no species in common"):
        _ = wells + other
