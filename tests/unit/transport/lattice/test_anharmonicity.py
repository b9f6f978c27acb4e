"""sigma^A of harmonic and anharmonic forces."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.anharmonicity import sigma_about_own_minima, sigma_anharmonic

pytestmark = pytest.mark.unit


def frames(amplitude: float, n_frames: int = 6):
    """Displaced silicon: force constants, positions and harmonic forces."""
    structures = Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True))
    constants = StillingerWeber.silicon().hessian(structures)
    moves = np.random.default_rng(0).normal(scale=amplitude, size=(n_frames, 8, 3))
    forces = -(constants.dense() @ moves.reshape(n_frames, -1).T).T.reshape(moves.shape)
    return constants, structures.positions.numpy() + moves, forces


def as_atoms(positions: np.ndarray, constants) -> list[Atoms]:
    atoms = constants.structures.to_ase()[0]
    return [Atoms(atoms.numbers, row, cell=atoms.cell, pbc=True) for row in positions]


def potential_forces(positions: np.ndarray, constants) -> np.ndarray:
    batch = Structures.from_ase(as_atoms(positions, constants))
    return StillingerWeber.silicon()(batch).forces.numpy().reshape(positions.shape)


def test_harmonic_forces_have_none():
    constants, positions, forces = frames(0.1)
    result = sigma_anharmonic(positions, forces, constants)
    assert result.value < 1e-12
    wrapped = positions + np.random.default_rng(1).integers(-3, 4, (6, 8, 3)) * 5.43
    assert sigma_anharmonic(wrapped, forces, constants).value < 1e-12


def test_known_ratios():
    constants, positions, forces = frames(0.1)
    assert sigma_anharmonic(positions, 2 * forces, constants).value == pytest.approx(0.5)
    assert sigma_anharmonic(positions, -forces, constants).value == pytest.approx(2)
    changed = forces.copy()
    changed[:, 3] *= 2
    changed[4] *= 2
    result = sigma_anharmonic(positions, changed, constants)
    np.testing.assert_allclose(np.delete(result.per_frame, 4), np.delete(result.per_frame, 4).clip(1e-3, 0.499))
    squares = np.array([(forces[f, a] ** 2).sum() for f in range(6) for a in range(8)]).reshape(6, 8)
    factor = np.ones((6, 8))
    factor[:, 3] *= 2
    factor[4] *= 2
    gaps, sizes = (factor - 1) ** 2 * squares, factor**2 * squares
    assert result.value == pytest.approx(np.sqrt(gaps.sum() / sizes.sum()))
    np.testing.assert_allclose(result.per_atom, np.sqrt(gaps.sum(0) / sizes.sum(0)))
    np.testing.assert_allclose(result.per_frame, np.sqrt(gaps.sum(1) / sizes.sum(1)))
    assert result.per_species == {"Si": pytest.approx(result.value)}


def test_grows_in_proportion_to_small_displacements():
    values = []
    for amplitude in (0.01, 0.02, 0.04):
        constants, positions, _ = frames(amplitude)
        values.append(sigma_anharmonic(positions, potential_forces(positions, constants), constants).value)
    assert 0.005 < values[0] < 0.05
    np.testing.assert_allclose(np.divide(values[1:], values[:-1]), 2, rtol=0.1)


def test_about_the_own_minimum_of_a_crystal():
    constants, positions, _ = frames(0.03)
    expected = sigma_anharmonic(positions, potential_forces(positions, constants), constants)
    found = sigma_about_own_minima(as_atoms(positions, constants), StillingerWeber.silicon(), force_tolerance=1e-6)
    assert found.value == pytest.approx(expected.value, rel=1e-3)
    np.testing.assert_allclose(found.per_atom, expected.per_atom, rtol=1e-2)


def test_hops_are_no_anharmonicity():
    """Two atoms change places: nothing about their own minimum, everything about the old one."""
    constants, positions, _ = frames(0.005)
    hopped = positions.copy()
    hopped[:, [0, 1]] = hopped[:, [1, 0]]
    potential = StillingerWeber.silicon()
    about_own = [sigma_about_own_minima(as_atoms(p, constants), potential).value for p in (positions, hopped)]
    assert about_own[0] == pytest.approx(about_own[1], rel=1e-2)
    assert about_own[1] < 0.05
    assert sigma_anharmonic(hopped, potential_forces(hopped, constants), constants).value > 10


def test_bad_input():
    constants, positions, forces = frames(0.1)
    with pytest.raises(ValueError, match=r"forces have shape \(5, 8, 3\)"):
        sigma_anharmonic(positions, forces[:5], constants)
    with pytest.raises(ValueError, match=r"positions have shape \(6, 7, 3\); accepted is \(n_frames, 8, 3\)"):
        sigma_anharmonic(positions[:, :7], forces[:, :7], constants)
    with pytest.raises(ValueError, match="forces hold nan"):
        sigma_anharmonic(positions, np.full(forces.shape, np.nan), constants)
    with pytest.raises(ValueError, match="are all zero"):
        sigma_anharmonic(positions, np.zeros(forces.shape), constants)
    others = [*as_atoms(positions, constants), Atoms("Si", cell=[5, 5, 5], pbc=True)]
    with pytest.raises(ValueError, match="frames have .*accepted are equal numbers"):
        sigma_about_own_minima(others, StillingerWeber.silicon())
