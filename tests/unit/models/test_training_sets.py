"""Training sets: the numbers stay with their structures, and a repeated frame counts once."""

import numpy as np
import pytest
from ase import Atoms

from matterscape.models.training_sets import TrainingSet
from matterscape.structures import Structures

pytestmark = pytest.mark.unit


def frame(symbols, seed):
    rng = np.random.default_rng(seed)
    positions = 1.5 * np.arange(len(symbols))[:, None] + 0.1 * rng.normal(size=(len(symbols), 3))
    atoms = Atoms(symbols, positions=positions, cell=[9.0, 9.0, 9.0], pbc=True)
    atoms.info["energy"] = rng.normal()
    atoms.arrays["forces"] = rng.normal(size=(len(symbols), 3))
    return atoms


@pytest.fixture
def frames():
    return [frame(["O", "H", "H"], 0), frame(["H", "H"], 1), frame(["O", "O"], 2)]


def test_subsets_carry_their_own_energies_and_forces(frames):
    whole = TrainingSet.from_ase(frames)
    part = whole[[2, 0]]
    assert len(part) == 2
    np.testing.assert_array_equal(part.energies, [frames[2].info["energy"], frames[0].info["energy"]])
    np.testing.assert_array_equal(part.forces, np.concatenate([frames[2].arrays["forces"], frames[0].arrays["forces"]]))
    np.testing.assert_array_equal(part.structures.species, [8, 8, 8, 1, 1])
    np.testing.assert_array_equal(part.forces[part.atom_rows(1)], frames[0].arrays["forces"])


def test_composition_counts_atoms(frames):
    whole = TrainingSet.from_ase(frames)
    assert whole.species == (1, 8)
    np.testing.assert_array_equal(whole.composition, [[2, 1], [2, 0], [0, 2]])
    np.testing.assert_array_equal(whole.composition.sum(axis=1), whole.n_atoms)


def test_repeats_within_and_across_sets_are_left_out(frames):
    moved = frames[1].copy()
    moved.positions[0, 0] += 1e-3
    train = TrainingSet.from_ase([frames[0], frames[0].copy()])
    test = TrainingSet.from_ase([frames[1], frames[0], moved, frames[1].copy(), frames[2]])
    assert len(train.without_repeats()) == 1
    kept = test.without_repeats(train)
    np.testing.assert_array_equal(kept.energies, test.energies[[0, 2, 4]])
    with pytest.raises(ValueError, match="at least one"):
        train.without_repeats(test)


def test_bad_input(frames):
    with pytest.raises(TypeError, match="structures must be Structures, got list; see from_ase"):
        TrainingSet(frames, np.zeros(len(frames)), np.zeros((1, 3)))
    structures = Structures.from_ase(frames)
    with pytest.raises(ValueError, match=r"forces must have shape \(7, 3\), got \(6, 3\)"):
        TrainingSet(structures, np.zeros(3), np.zeros((6, 3)))
    with pytest.raises(ValueError, match="energies must have one number for each of the 3 samples"):
        TrainingSet(structures, np.zeros(2), np.zeros((7, 3)))
    with pytest.raises(ValueError, match="forces must be finite, got nan"):
        TrainingSet(structures, np.zeros(3), np.full((7, 3), np.nan))
    del frames[1].info["energy"]
    with pytest.raises(ValueError, match=r'frames\[1\] has no info\["energy"\]'):
        TrainingSet.from_ase(frames)
    frames[1].info["energy"] = 0.0
    del frames[2].arrays["forces"]
    with pytest.raises(ValueError, match=r'frames\[2\] has no arrays\["forces"\]'):
        TrainingSet.from_ase(frames)


def test_the_public_test_sets_repeat_training_frames(dataset):
    pool = TrainingSet.from_ase(dataset("batio3-dft-val"))
    test = TrainingSet.from_ase(dataset("batio3-dft-test"))
    assert len(pool.without_repeats()) == 100
    assert len(test) == 158 and len(test.without_repeats(pool)) < 158
