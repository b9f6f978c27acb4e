"""Displacements of modes: waves of crystals satisfy the equations of motion of the supercell that they are drawn in."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.mode_shapes import ModeShapes
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit
SILICON = bulk("Si", "diamond", a=5.432)


@pytest.fixture(scope="module")
def crystal():
    constants = force_constants(Tersoff.silicon(), Structures.from_ase(SILICON))
    return vibrational_modes(constants, (3, 2, 1), masses=np.array([20.0, 40.0]))


@pytest.fixture(scope="module")
def glass():
    cell = bulk("Si", "diamond", a=5.432, cubic=True) * 2
    masses = np.random.default_rng(1).choice([20.0, 40.0, 80.0], len(cell))
    return vibrational_modes(force_constants(Tersoff.silicon(), Structures.from_ase(cell)), masses=masses)


def _phases(modes, shapes, wavevector):
    cell = modes.structures.to_ase()[0].cell.array
    return shapes.atoms.positions @ (2 * np.pi * np.linalg.solve(cell, modes.wavevectors[wavevector]))


def test_waves_solve_the_equations_of_motion_of_the_supercell(crystal):
    shapes = ModeShapes(crystal)
    assert shapes.repeats == (3, 2, 1)
    supercell = Supercell.repeated(SILICON, shapes.repeats)
    matrix = force_constants(Tersoff.silicon(), supercell.structures).dense()
    forces = matrix.reshape(3 * len(shapes.atoms), -1)
    masses = np.repeat(crystal.masses[supercell.atoms], 3)
    wrong = 0.0  # of the phase factors of -k: those of a wave with other atoms in step
    for wavevector, mode in shapes.points:
        u = shapes.displacements(wavevector, mode).ravel()
        square = crystal.angular_frequencies[wavevector, mode] ** 2
        np.testing.assert_allclose(
            SQUARED_FREQUENCY * forces @ u, square * masses * u, atol=1e-8 * square * masses.max()
        )
        if crystal.wavevectors[wavevector].any():
            other = u * np.exp(-2j * np.repeat(_phases(crystal, shapes, wavevector), 3))
            wrong = max(wrong, np.abs(SQUARED_FREQUENCY * forces @ other - square * masses * other).max())
    assert wrong > 1.0


def test_waves_are_periodic_in_the_default_repeats(crystal):
    small, large = ModeShapes(crystal), ModeShapes(crystal, (6, 4, 2))
    first = Supercell.repeated(SILICON, (6, 4, 2))
    order = {tuple(site): i for i, site in enumerate(np.c_[first.lattice, first.atoms].tolist())}
    for wavevector, mode in small.points[::7]:
        u = large.displacements(wavevector, mode)
        for site, index in order.items():
            back = (site[0] % 3, site[1] % 2, 0, site[3])
            np.testing.assert_allclose(np.abs(u[index]), np.abs(u[order[back]]), atol=1e-12)
            if site[:3] == (3, 2, 1):
                np.testing.assert_allclose(u[index], u[order[back]], atol=1e-12)


def test_standing_waves_are_real_and_running_ones_are_not(crystal, glass):
    shapes = ModeShapes(crystal)
    kinds = {}
    for wavevector, mode in shapes.points:
        k, omega = crystal.wavevectors[wavevector], crystal.angular_frequencies[wavevector]
        if (np.abs(omega - omega[mode]) < 1e-6).sum() > 1:
            continue  # a mixture of degenerate waves may turn round instead
        stands = np.isrealobj(shapes.displacements(wavevector, mode))
        kinds.setdefault(bool((2 * k % 1 == 0).all()), []).append(stands)
    assert all(kinds[True])  # at zero and on the boundary of the zone
    assert not all(kinds[False])
    assert np.isrealobj(ModeShapes(glass).displacements(0, 5))


def test_light_atoms_move_more(glass):
    shapes = ModeShapes(glass)
    u = shapes.displacements(0, 40)
    np.testing.assert_allclose(
        (u**2).sum(axis=1) * glass.masses / ((u**2).sum(axis=1) * glass.masses).sum(), shapes.shares(0, 40), atol=1e-12
    )


def test_shares_sum_to_one(crystal, glass):
    for modes in (crystal, glass):
        shapes = ModeShapes(modes)
        n_cells = len(shapes.atoms) // len(modes.masses)
        for point in shapes.points[::50]:
            assert shapes.shares(*point).sum() == pytest.approx(n_cells)
    salt = bulk("SiC", "zincblende", a=4.36)
    modes = vibrational_modes(force_constants(Tersoff.silicon_carbide(), Structures.from_ase(salt)))
    optical = ModeShapes(modes).element_shares(0, 5)
    # at zero wavevector the centre of mass rests: the light atom has the heavy one's share of the mass
    assert optical["C"] == pytest.approx(modes.masses[0] / modes.masses.sum(), abs=1e-6)
    assert sum(optical.values()) == pytest.approx(1)


def test_repeats_stay_below_the_limit(crystal):
    assert ModeShapes(crystal, max_atoms=8).repeats in ((2, 2, 1), (2, 1, 1), (3, 1, 1))
    assert len(ModeShapes(crystal, max_atoms=1).atoms) == 2


def test_columns_take_any_shape_that_names_modes(glass, crystal):
    shapes = ModeShapes(glass)
    n = glass.angular_frequencies.shape[1]
    table = np.arange(float(n))[None]
    found = shapes.columns({"a": table, "b": table[0], "c": table[0, shapes.points[:, 1]]})
    for values in found.values():
        np.testing.assert_array_equal(values, shapes.points[:, 1])
    with pytest.raises(ValueError, match=r"properties\['a'\] has shape \(4,\); accepted are \(6, 6\)"):
        ModeShapes(crystal).columns({"a": np.zeros(4)})


def test_bad_input(crystal):
    with pytest.raises(TypeError, match="modes is a str; accepted are VibrationalModes"):
        ModeShapes("modes")
    shapes = ModeShapes(crystal)
    with pytest.raises(ValueError, match="mode is 6; accepted are 0 to 5"):
        shapes.displacements(0, 6)
    with pytest.raises(ValueError, match="wavevector is -1"):
        shapes.shares(-1, 0)
    with pytest.raises(ValueError, match="repeats is"):
        ModeShapes(crystal, (1, 2))
