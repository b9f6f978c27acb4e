"""Frequencies, eigenvectors and velocities: chains with known dispersion, meshes against supercells, symmetry."""

import ase.build
import numpy as np
import pytest
from ase import Atoms
from scipy.sparse import bsr_array

from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.constants import SQUARED_FREQUENCY
from matterscape.transport.lattice.modes import UnstableModesError, _BlochSums, vibrational_modes
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit

SPACING, LIGHT, HEAVY, SPRING = 1.7, 12.0, 29.0, 3.1


def chain(masses, springs_across=(0.8, 0.5)) -> tuple[ForceConstants, np.ndarray]:
    """Atoms in a line along x, springs between neighbours along x, and weaker ones across."""
    n_atoms = len(masses)
    cell = [n_atoms * SPACING, 9.0, 9.0]
    atoms = Atoms(f"Ar{n_atoms}", [[i * SPACING, 0, 0] for i in range(n_atoms)], cell=cell, pbc=True)
    stiffness = np.diag([SPRING, *springs_across])
    first, second, shifts, blocks = [], [], [], []
    for i in range(n_atoms):
        for step in (-1, 1):
            shift, j = divmod(i + step, n_atoms)
            first += [i, i]
            second += [j, i]
            shifts += [[shift, 0, 0], [0, 0, 0]]
            blocks += [-stiffness, stiffness]
    found = ForceConstants.from_terms(*map(np.array, (first, second, shifts, blocks)), Structures.from_ase(atoms))
    return found, np.array(masses, float)


def test_chain_of_equal_atoms():
    constants, masses = chain([LIGHT])
    modes = vibrational_modes(constants, (8, 1, 1), masses=masses)
    k = 2 * np.pi * modes.wavevectors[:, 0] / SPACING
    top = 2 * np.sqrt(SPRING / LIGHT * SQUARED_FREQUENCY)
    np.testing.assert_allclose(modes.angular_frequencies[:, 2], top * np.abs(np.sin(k * SPACING / 2)), atol=1e-7 * top)
    velocities = modes.group_velocities()[:, 2, 0]
    expected = top * SPACING / 2 * np.cos(k * SPACING / 2) * np.sign(k)
    np.testing.assert_allclose(velocities, expected, atol=1e-9 * top)
    assert modes.vibrating.sum() == 3 * 8 - 3


def test_chain_of_two_masses():
    constants, masses = chain([LIGHT, HEAVY])
    modes = vibrational_modes(constants, (7, 1, 1), masses=masses)
    k = 2 * np.pi * modes.wavevectors[:, 0] / (2 * SPACING)
    mean = 1 / LIGHT + 1 / HEAVY
    root = np.sqrt(mean**2 - 4 * np.sin(k * SPACING) ** 2 / (LIGHT * HEAVY))
    squares = SPRING * SQUARED_FREQUENCY * np.stack([mean - root, mean + root], axis=1)
    along = np.abs(modes.eigenvectors[:, ::3, :]) ** 2  # share of motion along x of each mode
    for q in range(1, 7):  # translations mix at zero
        own = along[q].sum(axis=0) > 0.5
        np.testing.assert_allclose(modes.angular_frequencies[q, own] ** 2, squares[q], rtol=1e-9)
        # omega d omega/dk = d(omega^2)/dk / 2
        slopes = SPRING * SQUARED_FREQUENCY * SPACING * np.sin(2 * k[q] * SPACING) / (LIGHT * HEAVY * root[q])
        velocities = modes.group_velocities()[q, own, 0] * modes.angular_frequencies[q, own]
        np.testing.assert_allclose(velocities, [slopes, -slopes], rtol=1e-9)


def test_group_velocities_are_slopes_of_the_frequencies():
    potential = StillingerWeber.silicon()
    constants = potential.hessian(Structures.from_ase(ase.build.bulk("Si", a=5.43)))
    q = np.array([0.23, 0.11, -0.31])
    masses = np.full(2, 28.0855)
    sums = _BlochSums(constants, masses)
    cell = constants.structures.cells[0].numpy()
    squares, vectors = np.linalg.eigh(sums.dynamical_matrix(q, np.complex128))
    starts, columns, blocks = sums.slope_blocks(q, np.complex128)
    slopes = [bsr_array((part, columns, starts)).toarray() for part in blocks]
    step = 1e-4
    for axis in range(3):
        moved = cell @ (np.eye(3)[axis] * step) / (2 * np.pi)
        ends = [np.sqrt(np.linalg.eigvalsh(sums.dynamical_matrix(q + s * moved, np.complex128))) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        own = np.einsum("in,ij,jn->n", vectors.conj(), slopes[axis], vectors).real / (2 * np.sqrt(squares))
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_a_mesh_holds_the_modes_of_the_supercell():
    """Frequencies, and the sums of |v_nm|^2 over sets of equal frequency, which no choice of eigenvectors changes."""
    potential = StillingerWeber.silicon()
    supercell = Supercell.repeated(ase.build.bulk("Si", a=5.43), (2, 3, 2))
    mesh = vibrational_modes(potential.hessian(supercell.primitive), (2, 3, 2))
    whole = vibrational_modes(potential.hessian(supercell.structures))
    assert np.isrealobj(whole.eigenvectors)
    np.testing.assert_allclose(np.sort(mesh.angular_frequencies.ravel()), whole.angular_frequencies[0], atol=1e-4)
    levels = np.unique(whole.frequencies_THz[0].round(4))
    totals = []
    for modes in (mesh, whole):
        total = np.zeros((3, len(levels), len(levels)))
        for q in range(len(modes.wavevectors)):
            own = np.searchsorted(levels, modes.frequencies_THz[q] - 1e-3)
            squares = np.abs(modes.velocity_operator(q)) ** 2
            for axis in range(3):
                np.add.at(total[axis], (own[:, None], own[None]), squares[axis])
        totals.append(total)
    assert totals[0].max() > 100
    np.testing.assert_allclose(totals[0], totals[1], atol=1e-6)


def test_velocity_operators_are_hermitian():
    potential = StillingerWeber.silicon()
    primitive = potential.hessian(Structures.from_ase(ase.build.bulk("Si", a=5.43)))
    modes = vibrational_modes(primitive, (3, 3, 3))
    for q in (1, 5, 13):
        velocity = modes.velocity_operator(q)
        np.testing.assert_allclose(velocity, velocity.conj().swapaxes(1, 2), atol=1e-10)
    whole = vibrational_modes(potential.hessian(Structures.from_ase(ase.build.bulk("Si", a=5.43, cubic=True))))
    velocity = whole.velocity_operator(0)
    assert velocity.dtype == np.float64
    np.testing.assert_allclose(velocity, -velocity.swapaxes(1, 2), atol=1e-10)
    assert not velocity[:, ~whole.vibrating[0]].any()
    assert not whole.group_velocities().any()


def test_opposite_wavevectors_carry_conjugate_modes():
    primitive = StillingerWeber.silicon().hessian(Structures.from_ase(ase.build.bulk("Si", a=5.43)))
    modes = vibrational_modes(primitive, (3, 1, 1))
    np.testing.assert_allclose(modes.wavevectors[:, 0], [0, 1 / 3, -1 / 3])
    np.testing.assert_allclose(modes.angular_frequencies[1], modes.angular_frequencies[2], atol=1e-9)


def test_frequencies_do_not_depend_on_order_or_orientation():
    potential = StillingerWeber.silicon()
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat((2, 1, 1))
    reference = vibrational_modes(potential.hessian(Structures.from_ase(atoms)))
    turned = atoms[np.random.default_rng(0).permutation(len(atoms))]
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    modes = vibrational_modes(potential.hessian(Structures.from_ase(turned)))
    np.testing.assert_allclose(modes.angular_frequencies, reference.angular_frequencies, atol=1e-5)


def test_unstable_structures_are_refused():
    constants, masses = chain([LIGHT, HEAVY], springs_across=(-0.2, 0.5))
    modes = vibrational_modes(constants, (4, 1, 1), masses=masses)
    assert modes.n_unstable == 7  # both branches of each wavevector but the translation
    assert modes.frequencies_THz.min() < -1
    for ask in (modes.check_stable, modes.group_velocities, lambda: modes.velocity_operator(1)):
        with pytest.raises(UnstableModesError, match=r"7 of 21 modes do not vibrate \(lowest frequency -"):
            ask()


def test_bad_input():
    constants, _ = chain([LIGHT, HEAVY])
    with pytest.raises(ValueError, match="mesh is .*three whole numbers"):
        vibrational_modes(constants, (2, 2))
    with pytest.raises(ValueError, match="a number of the mesh is 1.5"):
        vibrational_modes(constants, (2, 1.5, 2))
    with pytest.raises(ValueError, match=r"masses have shape \(3,\)"):
        vibrational_modes(constants, masses=np.ones(3))
    with pytest.raises(ValueError, match="smallest is -1"):
        vibrational_modes(constants, masses=np.array([1.0, -1.0]))
