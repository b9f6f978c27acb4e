"""Pairs on extended atoms and Verlet lists against the plain pair list."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import matterscape
from matterscape.structures import NeighbourLists, Structures, VerletList, extended_pairs

pytestmark = pytest.mark.unit


def _skewed():
    atoms = bulk("Si") * (2, 3, 1)
    generator = np.random.default_rng(0)
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.2 * generator.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 20 * generator.normal(size=atoms.positions.shape)  # far outside the cell
    return atoms


def _partly_periodic(*pbc):
    atoms = bulk("Si", cubic=True) * (2, 2, 1)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = pbc
    return atoms


def _left_handed():
    atoms = _skewed()
    atoms.cell[0] *= -1
    return atoms


FRAMES = {
    "primitive": [bulk("Si")],
    "skewed": [_skewed()],
    "left-handed": [_left_handed()],
    "slab": [_partly_periodic(True, True, False)],
    "wire": [_partly_periodic(False, False, True)],
    "molecule": [molecule("C6H6")],
    "one atom": [bulk("Cu")],
    "mixed": [bulk("Si"), molecule("CH4"), _skewed(), _partly_periodic(True, False, True), molecule("H2O")],
}


def _table(first, second, vectors):
    rows = np.column_stack([first, second, np.round(vectors, 7) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("cutoff", [1.5, 3.0, 7.3])
@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_pairs_equal_the_plain_list(frames, cutoff):
    structures = Structures.from_ase(frames)
    plain = structures.pairs(cutoff)
    expected = _table(plain.first, plain.second, plain.vectors)
    for half in (False, True):
        pairs = extended_pairs(structures, cutoff, half=half)
        points = pairs.positions(structures).numpy()
        first = np.repeat(np.arange(structures.n_atoms), pairs.offsets.diff())
        vectors = points[pairs.second] - points[first]
        second = pairs.owners.numpy()[pairs.second]
        if half:
            first, second, vectors = np.r_[first, second], np.r_[second, first], np.r_[vectors, -vectors]
        found = _table(first, second, vectors)
        np.testing.assert_array_equal(found[:, :2], expected[:, :2])
        np.testing.assert_allclose(found[:, 2:], expected[:, 2:], atol=2e-7)
    assert extended_pairs(structures, cutoff) is extended_pairs(structures, cutoff)


def test_level_atoms_and_fractions_that_round_to_one_are_paired_once():
    atoms = bulk("Cu", cubic=True) * 2  # planes of atoms that are level in every direction
    atoms.positions[0] = -1e-17  # wraps to a fraction that no number below 1 is near enough to
    for shift in (0.0, 1e-16, -1e-16):
        moved = atoms.copy()
        moved.positions += shift
        pairs = extended_pairs(Structures.from_ase(moved), 2.7, half=True)
        assert len(pairs.second) == 6 * len(atoms)


def test_positions_follow_the_strain():
    structures = Structures.from_ase(FRAMES["mixed"]).with_gradients(strain=True)
    pairs = extended_pairs(structures, 4.0)
    weights = torch.rand(len(pairs.owners), 3, dtype=torch.float64)
    points = pairs.positions(structures)
    (slope,) = torch.autograd.grad((weights * points).sum(), structures.strain)
    per_atom = points.detach()[:, :, None] * weights[:, None, :]
    index = structures.structure_index[pairs.owners]
    torch.testing.assert_close(slope, torch.zeros(5, 3, 3, dtype=torch.float64).index_add(0, index, per_atom))


@pytest.mark.parametrize("half", [False, True])
def test_a_list_with_skin_never_misses_a_pair(half):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 2
    structures = Structures.from_ase([atoms, _skewed()])
    generator = np.random.default_rng(0)
    positions, cells = structures.positions.numpy().copy(), structures.cells.numpy().copy()
    verlet = VerletList(structures, 4.5, 0.8, half)
    for step in range(40):
        positions += 0.05 * generator.normal(size=positions.shape)
        if step > 20:
            stretch = np.eye(3) + 0.004 * generator.normal(size=(2, 3, 3))
            index = structures.structure_index.numpy()
            positions = np.einsum("ni,nij->nj", positions, stretch[index])
            cells = cells @ stretch
        verlet.update(positions, cells)
        first = np.repeat(np.arange(len(positions)), np.diff(verlet.offsets))
        distances = np.linalg.norm(verlet.extended[verlet.second] - verlet.extended[first], axis=1)
        now = Structures(
            torch.from_numpy(positions.copy()), structures.species, structures.structure_index,
            torch.from_numpy(cells.copy()), structures.pbc,
        )  # fmt: skip
        assert (distances < 4.5).sum() * (2 if half else 1) == len(now.pairs(4.5))
    assert 2 < verlet.n_rebuilds < 40


def test_an_unmoved_list_is_kept_and_a_skin_of_zero_is_not():
    structures = Structures.from_ase(bulk("Si") * 2)
    positions, cells = structures.positions.numpy(), structures.cells.numpy()
    for skin, expected in ((1.0, 1), (0.0, 2)):
        verlet = VerletList(structures, 3.0, skin, True)
        assert verlet.update(positions, cells)
        assert not verlet.update(positions, cells)
        verlet.update(positions + 1e-6 * np.arange(len(positions))[:, None], cells)
        assert verlet.n_rebuilds == expected


def test_equal_requests_share_a_list():
    lists = NeighbourLists(Structures.from_ase(bulk("Si")), 1.0)
    assert lists.request(3.0, half=True) is lists.request(3.0, half=True)
    assert lists.request(3.0, half=True) is not lists.request(3.0, half=False)


def test_the_same_list_for_every_number_of_threads():
    structures = Structures.from_ase(bulk("Ar", "fcc", a=5.3, cubic=True) * 3)
    before = matterscape.get_threads()
    lists = []
    try:
        for threads in (1, 2):
            matterscape.set_threads(threads)
            structures._topologies.clear()
            lists.append(extended_pairs(structures, 6.0, half=True))
    finally:
        matterscape.set_threads(before)
    assert torch.equal(lists[0].second, lists[1].second)
    assert torch.equal(lists[0].offsets, lists[1].offsets)


@pytest.mark.parametrize("half", [False, True])
def test_coincident_atoms_are_named_by_their_place_in_the_structure(half):
    atoms = bulk("Cu", cubic=True) * 2
    atoms.positions[7] = atoms.positions[3] + atoms.cell[0] - 2 * atoms.cell[2]
    structures = Structures.from_ase([bulk("Si"), atoms])
    with pytest.raises(ValueError, match=r"atoms (3 and 7|7 and 3) of structure 1 coincide"):
        extended_pairs(structures, 3.0, half=half)


def test_bad_input():
    structures = Structures.from_ase(bulk("Si"))
    with pytest.raises(ValueError, match=r"cutoff is -1; accepted is a positive, finite number of Å"):
        extended_pairs(structures, -1)
    with pytest.raises(ValueError, match=r"cutoff is 1e\+06 Å|cutoff is 1e\+06"):
        extended_pairs(structures, 1e6)
    with pytest.raises(ValueError, match="skin is nan"):
        VerletList(structures, 3.0, float("nan"), False)
    verlet = VerletList(structures, 3.0, 0.5, False)
    with pytest.raises(ValueError, match=r"atoms [01] and [01] of structure 0 coincide"):
        verlet.update(np.zeros((2, 3)), structures.cells.numpy())
