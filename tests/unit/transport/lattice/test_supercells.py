"""Primitive cells inside supercells, in any order of the atoms, and force constants folded back."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.supercells import Supercell, check_force_constants, remaining_repeats

pytestmark = pytest.mark.unit


def silicon() -> Atoms:
    return ase.build.bulk("Si", a=5.43)


def shuffled_supercell(repeats=(2, 3, 2), seed=0) -> Atoms:
    """A supercell in another order, moved, with atoms wrapped anywhere."""
    rng = np.random.default_rng(seed)
    atoms = silicon().repeat(repeats)[rng.permutation(2 * int(np.prod(repeats)))]
    atoms.positions += [0.4, -0.3, 0.2] + rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    return atoms


def test_repeated_and_found_agree_on_every_atom():
    for supercell in (Supercell.repeated(silicon(), (2, 3, 2)), Supercell.found(shuffled_supercell(), (2, 3, 2))):
        unit, whole = supercell.primitive.to_ase()[0], supercell.structures.to_ase()[0]
        expected = unit.positions[supercell.atoms] + supercell.lattice @ unit.cell.array
        np.testing.assert_allclose(whole.positions, expected, atol=1e-9)
        np.testing.assert_array_equal(unit.numbers[supercell.atoms], whole.numbers)
        assert supercell.n_cells == 12
        np.testing.assert_array_equal(np.sort(supercell.order.ravel()), np.arange(24))
        np.testing.assert_array_equal(supercell.atoms[supercell.order], np.tile([0, 1], (12, 1)))


def test_folded_force_constants_are_those_of_the_primitive_cell():
    potential = StillingerWeber.silicon()
    expected = potential.hessian(Structures.from_ase(silicon()))
    for supercell in (
        Supercell.repeated(silicon(), (3, 3, 3)),
        Supercell.found(shuffled_supercell((3, 3, 3)), [3] * 3),
    ):
        folded = supercell.fold(potential.hessian(supercell.structures))
        difference = _aligned(folded) - _aligned(expected)
        assert np.abs(difference).max() < 1e-10


def test_unfolded_force_constants_are_those_of_the_supercell():
    """Also where the supercell is shorter than their reach, and back again."""
    potential = StillingerWeber.silicon()
    for supercell in (
        Supercell.repeated(silicon(), (2, 3, 1)),
        Supercell.found(shuffled_supercell((3, 2, 2)), (3, 2, 2)),
    ):
        own = potential.hessian(supercell.primitive)
        unfolded, expected = supercell.unfold(own), potential.hessian(supercell.structures)
        difference = unfolded + -1.0 * expected
        assert np.abs(difference.blocks).max() < 1e-10 < np.abs(expected.blocks).max()
        again = supercell.fold(unfolded) + -1.0 * own
        assert np.abs(again.blocks).max() < 1e-12
    with pytest.raises(ValueError, match="force_constants belong to 12 atoms; accepted are those of the 2 atoms here"):
        Supercell.repeated(silicon(), (2, 3, 1)).unfold(
            expected.from_terms(
                *(np.zeros(0, np.int64),) * 2,
                np.zeros((0, 3), np.int64),
                np.zeros((0, 3, 3)),
                Supercell.repeated(silicon(), (2, 3, 1)).structures,
            )
        )


def _aligned(force_constants) -> np.ndarray:
    """Blocks sorted by the vector between the atoms and the atom's sublattice, told by its neighbours' side."""
    vectors = force_constants.vectors.round(4) + 0.0
    nearest = (np.abs(np.linalg.norm(vectors, axis=1) - 2.3513) < 1e-2) & (vectors > 0).all(axis=1)
    ahead = np.zeros(force_constants.structures.n_atoms, bool)
    ahead[force_constants.first[nearest]] = True
    order = np.lexsort((*vectors.T, ahead[force_constants.first]))
    kept = np.abs(force_constants.blocks[order]).max(axis=(1, 2)) > 1e-9
    return force_constants.blocks[order][kept]


def test_distortions_lower_the_symmetry():
    atoms = silicon().repeat((2, 2, 3))
    assert remaining_repeats(atoms, (2, 2, 3)) == (2, 2, 3)
    along = np.round(np.linalg.solve(silicon().cell.T, (atoms.positions - atoms.positions[0]).T).T - 0.1)
    atoms.positions[:, 0] += 0.05 * np.cos(np.pi * along[:, 1])
    assert remaining_repeats(atoms, (2, 2, 3)) == (2, 1, 3)
    assert Supercell.found(atoms, (2, 1, 3)).primitive.n_atoms == 4
    with pytest.raises(ValueError, match=r"repeats is \(2, 2, 3\), but the translation by"):
        Supercell.found(atoms, (2, 2, 3))


def test_primitive_atoms_stand_at_the_mean_of_their_copies():
    atoms = silicon().repeat((2, 1, 1))
    atoms.positions[0, 0] += 0.004
    unit = Supercell.found(atoms, (2, 1, 1)).primitive.to_ase()[0]
    np.testing.assert_allclose(unit.positions[0], [0.002, 0, 0], atol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match="repeats is .*accepted are three whole numbers"):
        Supercell.repeated(silicon(), (2, 2))
    with pytest.raises(ValueError, match="a repeat is 0"):
        Supercell.repeated(silicon(), (2, 2, 0))
    with pytest.raises(ValueError, match="accepted is one structure that is periodic"):
        Supercell.repeated(Atoms("H2", [[0, 0, 0], [0, 0, 1]]), (1, 1, 1))
    with pytest.raises(TypeError, match="primitive is a list"):
        Supercell.repeated([silicon()], (1, 1, 1))
    supercell = Supercell.repeated(silicon(), (2, 2, 2))
    with pytest.raises(ValueError, match="belong to 2 atoms"):
        supercell.fold(StillingerWeber.silicon().hessian(supercell.primitive))
    with pytest.raises(TypeError, match="force_constants is a ndarray"):
        check_force_constants(np.zeros((6, 6)))
