"""Batches of structures: round trip with ASE, pairs against ASE, gradients, bad input."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list

from matterscape.structures import Structures
from matterscape.structures.neighbours import pair_vectors, pair_vectors_adjoint

pytestmark = pytest.mark.unit


@pytest.fixture
def frames():
    rng = np.random.default_rng(1)
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.05, seed=1)
    silicon.info["energy"] = -1.5
    silicon.arrays["forces"] = rng.normal(size=(8, 3))
    ethanol = molecule("CH3CH2OH")
    ethanol.set_array("tags", np.arange(9))
    ethanol.set_constraint(FixAtoms([0, 2]))
    left_handed = bulk("Si", cubic=True)
    left_handed.set_cell(left_handed.cell[[1, 0, 2]])
    left_handed.rattle(0.1, seed=2)
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.set_velocities(rng.normal(size=(12, 3)))
    primitive = bulk("Cu")
    return [silicon, ethanol, left_handed, slab, primitive]


def test_round_trip_keeps_everything(frames):
    frames[4].calc = SinglePointCalculator(frames[4], energy=3.0, forces=np.ones((1, 3)))
    for before, after in zip(frames, Structures.from_ase(frames).to_ase()):
        assert before == after  # numbers, positions, cell, pbc
        assert before.arrays.keys() == after.arrays.keys()
        for key, values in before.arrays.items():
            np.testing.assert_array_equal(values, after.arrays[key])
        assert before.info == after.info
        assert [c.todict() for c in before.constraints] == [c.todict() for c in after.constraints]
    assert after.get_potential_energy() == 3.0
    np.testing.assert_array_equal(after.get_forces(), np.ones((1, 3)))


def test_results_of_a_calculator_do_not_survive_moved_atoms():
    copper = bulk("Cu")
    copper.calc = EMT()
    copper.get_potential_energy()
    structures = Structures.from_ase(copper)
    assert structures.to_ase()[0].calc.results["energy"] == copper.calc.results["energy"]
    moved = Structures(
        structures.positions + 0.1,
        structures.species,
        structures.structure_index,
        structures.cells,
        structures.pbc,
        _frames=structures._frames,
    )
    assert moved.to_ase()[0].calc is None
    np.testing.assert_allclose(moved.to_ase()[0].positions, copper.positions + 0.1)


def test_single_precision_round_trip_returns_the_original_positions(frames):
    for before, after in zip(frames, Structures.from_ase(frames, dtype=torch.float32).to_ase()):
        np.testing.assert_array_equal(before.positions, after.positions)


def test_input_frames_stay_untouched(frames):
    structures = Structures.from_ase(frames)
    structures.positions.add_(1.0)
    assert frames[0] == frames[0].copy()
    np.testing.assert_allclose(structures.to_ase()[0].positions, frames[0].positions + 1.0)


@pytest.mark.parametrize("cutoff", [1.2, 3.0, 7.5])
def test_pairs_equal_those_of_ase(frames, cutoff):
    structures = Structures.from_ase(frames)
    pairs = structures.pairs(cutoff)
    offsets = structures.offsets.tolist()
    assert torch.equal(pairs.offsets, torch.searchsorted(pairs.first, torch.arange(structures.n_atoms + 1)))
    for index, atoms in enumerate(frames):
        ours = structures.structure_index[pairs.first] == index
        table = np.column_stack(
            [pairs.first[ours] - offsets[index], pairs.second[ours] - offsets[index], pairs.vectors[ours]]
        )
        i, j, vectors = neighbor_list("ijD", atoms, cutoff)
        expected = np.column_stack([i, j, vectors])
        assert table.shape == expected.shape
        order, expected_order = (np.lexsort(np.round(t, 8).T) for t in (table, expected))
        np.testing.assert_allclose(table[order], expected[expected_order], atol=1e-12)


def test_pairs_are_searched_once_for_each_cutoff(frames):
    structures = Structures.from_ase(frames)
    assert structures.pairs(np.float32(3.0)).first is structures.pairs(3).first
    assert structures.pairs(3.0).first is structures.pairs(3.0).first
    assert structures.with_gradients(strain=True).pairs(3.0).first is structures.pairs(3.0).first


def test_batch_equals_its_members(frames):
    structures = Structures.from_ase(frames)
    chosen = structures[[3, 0]]
    assert chosen.to_ase() == [frames[3], frames[0]]
    assert structures[-1].to_ase() == [frames[4]]
    assert [len(part) for part in structures.split(10)] == [1, 1, 1, 1, 1]
    assert sum((part.to_ase() for part in structures.split(20)), []) == frames
    torch.testing.assert_close(
        chosen.pairs(4.0).vectors,
        torch.cat([Structures.from_ase(frames[k]).pairs(4.0).vectors for k in (3, 0)]),
    )


def test_strain_and_position_gradients_by_finite_differences(frames):
    structures = Structures.from_ase(frames).with_gradients(strain=True)

    def energy(batch):
        return torch.exp(-batch.pairs(3.5).vectors.norm(dim=1)).sum()

    by_position, by_strain = torch.autograd.grad(energy(structures), (structures.leaf_positions, structures.strain))
    step = 1e-5
    for structure, atom in ((0, 3), (3, 30)):
        for x in range(3):
            shifted = []
            for sign in (1, -1):
                positions = structures.positions.detach().clone()
                positions[atom, x] += sign * step
                shifted.append(energy(_with(structures, positions, structures.cells.detach())))
            assert (shifted[0] - shifted[1]) / (2 * step) == pytest.approx(by_position[atom, x].item(), abs=1e-8)
            shifted = []
            for sign in (1, -1):
                deformation = torch.eye(3, dtype=torch.float64).repeat(len(structures), 1, 1)
                deformation[structure, x, (x + 1) % 3] += sign * step
                positions = torch.einsum(
                    "ni,nij->nj", structures.positions.detach(), deformation[structures.structure_index]
                )
                shifted.append(energy(_with(structures, positions, structures.cells.detach() @ deformation)))
            expected = by_strain[structure, x, (x + 1) % 3].item()
            assert (shifted[0] - shifted[1]) / (2 * step) == pytest.approx(expected, abs=1e-7)


def _with(structures, positions, cells):
    return Structures(positions, structures.species, structures.structure_index, cells, structures.pbc)


def test_pair_vector_operators_agree_with_their_references_and_derivatives(frames):
    structures = Structures.from_ase(frames[3:])
    pairs = structures.pairs(2.7)
    topology = (pairs.first, pairs.second, pairs.shifts, structures.structure_index)
    positions, cells = structures.positions.requires_grad_(), structures.cells.requires_grad_()
    gradient = torch.randn(len(pairs), 3, dtype=torch.float64, requires_grad=True)
    for operator, arguments in (
        (pair_vectors, (positions, cells, *topology)),
        (pair_vectors_adjoint, (gradient, *topology, len(structures))),
    ):
        results, expected = operator(*arguments), operator.reference(*arguments)
        torch.testing.assert_close(results, expected, rtol=1e-13, atol=1e-13)
        torch.library.opcheck(operator.torch_operator, arguments)
    assert torch.autograd.gradcheck(lambda p, c: pair_vectors(p, c, *topology), (positions, cells))
    assert torch.autograd.gradgradcheck(lambda p, c: pair_vectors(p, c, *topology), (positions, cells))


def _atoms(**changes):
    return Atoms(
        **{"numbers": [14, 14], "positions": [[0, 0, 0], [0, 0, 2.3]], "cell": [5, 5, 5], "pbc": True} | changes
    )


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "structures is empty; at least one"),
        ([_atoms(), Atoms()], "structure 1 has no atoms"),
        ([_atoms(), _atoms(positions=[[0, 0, 0], [0, np.nan, 1]])], "positions of structure 1, atom 1 are .*nan"),
        ([_atoms(positions=[[0, 0, 0], [0, np.inf, 1]])], "structure 0, atom 1 .* must be finite"),
        ([_atoms(numbers=[14, 0])], "species of structure 0, atom 1 is 0; accepted are atomic numbers 1 to 118"),
        ([_atoms(numbers=[14, 119])], "species of structure 0, atom 1 is 119"),
        (
            [_atoms(cell=[0, 0, 0])],
            r"structure 0 is periodic along \[True, True, True\] .* give a cell or set pbc=False",
        ),
        ([_atoms(), _atoms(cell=[[1, 0, 0], [2, 0, 0], [0, 0, 3]])], "cell of structure 1 is singular"),
        ([_atoms(cell=[[1, 0, 0], [0, np.nan, 0], [0, 0, 3]])], "cell of structure 0 is .*must be finite"),
    ],
)
def test_bad_structures_are_refused_in_one_sentence(frames, message):
    with pytest.raises(ValueError, match=message) as error:
        Structures.from_ase(frames)
    assert "\n" not in str(error.value)


def test_things_that_are_not_frames_are_refused():
    with pytest.raises(TypeError, match=r"frames\[1\] is a str; accepted is ase.Atoms"):
        Structures.from_ase([_atoms(), "Si"])


def test_bad_tensors_are_refused():
    good = Structures.from_ase(_atoms())
    parts = [good.positions, good.species, good.structure_index, good.cells, good.pbc]
    for place, value, error, message in (
        (0, good.positions.half(), TypeError, "positions are torch.float16; accepted are torch.float32 and"),
        (3, good.cells.float(), TypeError, "cells are torch.float32 but positions are torch.float64"),
        (1, good.species.int(), TypeError, "species is torch.int32; accepted is torch.int64"),
        (4, good.pbc.long(), TypeError, "pbc is torch.int64; accepted is torch.bool"),
        (1, good.species.to("meta"), ValueError, "species on meta.*put all of them on one device"),
        (1, good.species[:1], ValueError, r"species has shape \(1,\); accepted here is \(2,\)"),
        (2, torch.tensor([0, 1]), ValueError, "structure_index runs from 0 to 1; accepted is 0 to 0"),
        (2, torch.tensor([1, 0]), ValueError, "structure_index is not sorted"),
    ):
        with pytest.raises(error, match=message):
            Structures(*parts[:place], value, *parts[place + 1 :])


@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf, "5", None, True])
def test_impossible_cutoffs_are_refused(cutoff):
    with pytest.raises(ValueError, match="cutoff is .*; accepted is a positive, finite number"):
        Structures.from_ase(_atoms()).pairs(cutoff)


def test_huge_cutoff_is_refused_before_memory_runs_out():
    with pytest.raises(ValueError, match=r"cutoff is 10000 Å, which gives about .* neighbour pairs"):
        Structures.from_ase(_atoms()).pairs(10000.0)


def test_coincident_atoms_are_named_also_through_the_boundary():
    with pytest.raises(ValueError, match="atoms 0 and 1 of structure 1 coincide"):
        Structures.from_ase([_atoms(), _atoms(positions=[[0, 0, 0], [5, 0, 0]])]).pairs(3.0)


def test_empty_selection_is_refused():
    with pytest.raises(ValueError, match="index selects no structure"):
        Structures.from_ase(_atoms())[[]]
