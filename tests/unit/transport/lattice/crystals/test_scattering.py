from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
from matterscape.transport.lattice.crystals.meshes import symmetric_mesh
from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering, velocity_tensors
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.qhgk import qhgk
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.triplets import TripletForceConstants

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("shape", ["gauss", "triangle", "lorentz"])
def test_widths_equal_those_of_the_supercell(modes, triplets, silicon, shape, statistics):
    cubic = cubic_force_constants(Tersoff.silicon(), Supercell.repeated(silicon, (3, 3, 3)))
    options = {"broadening_THz": 0.5, "shape": shape, "statistics": statistics}
    expected = linewidths(ModeCouplings(modes, cubic), [50.0, 300.0], **options)
    found = three_phonon_scattering(modes, triplets, [50.0, 300.0], **options)
    np.testing.assert_allclose(found.half_widths, expected, atol=1e-8)
    assert expected.max() > 0.05
    assert len(found.mesh.irreducible) == 4


@pytest.mark.parametrize("broadening", [0.4, None])
def test_symmetry_saves_work_only(fine_modes, triplets, broadening):
    options = {"broadening_THz": broadening, "collisions": True}
    reduced = three_phonon_scattering(fine_modes, triplets, 300.0, **options)
    full = three_phonon_scattering(fine_modes, triplets, 300.0, symmetry=False, **options)
    np.testing.assert_allclose(reduced.half_widths, full.half_widths, atol=1e-8 * full.half_widths.max())
    one, two = (boltzmann_conductivity(s, method="direct")[0] for s in (reduced, full))
    np.testing.assert_allclose(one.tensor, two.tensor, rtol=1e-7, atol=1e-5)


def test_widths_of_a_cell_without_symmetry():
    atoms = bulk("Si", a=5.432)
    atoms.set_cell(
        atoms.cell.array @ np.array([[1.0, 0.01, 0.0], [0.0, 1.01, 0.02], [0.0, 0.0, 0.99]]), scale_atoms=True
    )
    structures = Structures.from_ase(atoms)
    potential = Tersoff.silicon()
    modes = vibrational_modes(potential.hessian(structures), (2, 3, 3))
    cubic = cubic_force_constants(potential, Supercell.repeated(structures, (2, 3, 3)))
    expected = linewidths(ModeCouplings(modes, cubic), 300.0, broadening_THz=0.8)
    triplets = TripletForceConstants.from_stars(potential.third_order(structures))
    found = three_phonon_scattering(modes, triplets, 300.0, broadening_THz=0.8)
    assert len(found.mesh.rotations) < 8
    np.testing.assert_allclose(found.half_widths[0], expected, atol=1e-8)


def test_collision_matrix_is_symmetric_and_hermitian_in_directions(fine_modes, triplets):
    found = three_phonon_scattering(fine_modes, triplets, 300.0, broadening_THz=0.4, collisions=True)
    matrix, weights = found.collision_matrix[0], found.mesh.weights
    weighted = matrix * weights[:, None, None, None, None, None]
    np.testing.assert_allclose(weighted, weighted.transpose(2, 3, 0, 1, 5, 4), atol=1e-9)
    assert np.abs(weighted).max() > 1e-3


def test_rta_is_the_diagonal_of_green_kubo_in_a_supercell(modes, triplets, silicon):
    found = three_phonon_scattering(modes, triplets, 300.0, broadening_THz=0.5)
    supercell = Supercell.repeated(silicon, (3, 3, 3))
    gamma = vibrational_modes(Tersoff.silicon().hessian(supercell.structures))
    # the same widths, mode by mode in the order of frequencies, at the zero wavevector of the supercell
    order = np.argsort(modes.angular_frequencies.reshape(-1), kind="stable")
    np.testing.assert_allclose(
        gamma.angular_frequencies[0, 3:], modes.angular_frequencies.reshape(-1)[order][3:], atol=1e-6
    )
    widths = found.half_widths[0].reshape(-1)[order][None]
    expected = boltzmann_conductivity(found)[0]
    assert expected.value > 100
    np.testing.assert_allclose(qhgk(gamma, widths, 300.0).diagonal, expected.tensor, rtol=1e-8, atol=1e-6)
    # and half of them doubles it: half widths, not full ones
    np.testing.assert_allclose(qhgk(gamma, widths / 2, 300.0).diagonal, 2 * expected.tensor, rtol=1e-8, atol=1e-6)


def test_a_hexagonal_crystal_is_anisotropic_and_as_symmetric_as_it_should():
    """Lonsdaleite, with screw axes and two directions of its own."""
    atoms = bulk("SiC", "wurtzite", a=3.841, c=3.841 * np.sqrt(8 / 3), u=3 / 8)
    atoms.set_chemical_symbols(["Si"] * 4)
    structures = Structures.from_ase(atoms)
    potential = Tersoff.silicon()
    modes = vibrational_modes(potential.hessian(structures), (3, 3, 2))
    triplets = TripletForceConstants.from_stars(potential.third_order(structures))
    tensors = []
    for symmetry in (True, False):
        found = three_phonon_scattering(modes, triplets, 300.0, broadening_THz=0.5, collisions=True, symmetry=symmetry)
        assert len(found.mesh.rotations) == (24 if symmetry else 2)
        tensors.append(boltzmann_conductivity(found, method="direct")[0].tensor)
    np.testing.assert_allclose(tensors[0], tensors[1], atol=1e-6 * np.abs(tensors[1]).max())
    assert tensors[0][0, 0] == pytest.approx(tensors[0][1, 1])
    assert abs(tensors[0][2, 2] / tensors[0][0, 0] - 1) > 0.05


def test_velocity_tensors_do_not_depend_on_eigenvectors(modes):
    angles = np.random.default_rng(0)
    vectors = modes.eigenvectors.copy()
    for q, omega in enumerate(modes.angular_frequencies):
        for start in np.flatnonzero(np.diff(omega) < 1e-6):
            angle = angles.uniform(0, 6)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            vectors[q, :, start : start + 2] = vectors[q, :, start : start + 2] @ turn
    assert np.abs(vectors - modes.eigenvectors).max() > 0.1
    mesh = symmetric_mesh(modes.structures, modes.mesh)
    turned = velocity_tensors(replace(modes, eigenvectors=vectors), mesh)
    np.testing.assert_allclose(turned, velocity_tensors(modes, mesh), atol=1e-6)


def test_an_adaptive_broadening_needs_no_choice(force_constants, triplets):
    """On a mesh of 8^3 it gives what a fixed one does that suits it."""
    modes = vibrational_modes(force_constants, (8, 8, 8))
    adaptive, fixed = (
        boltzmann_conductivity(three_phonon_scattering(modes, triplets, 300.0, broadening_THz=b))[0].value
        for b in (None, 0.3)
    )
    assert adaptive == pytest.approx(fixed, rel=0.03)


def test_bad_input(modes, triplets, silicon):
    with pytest.raises(TypeError, match="triplets is a ThirdOrder; accepted are TripletForceConstants"):
        three_phonon_scattering(modes, Tersoff.silicon().third_order(silicon), 300.0, broadening_THz=0.5)
    with pytest.raises(ValueError, match="triplets belong to 8 atoms"):
        other = Structures.from_ase(bulk("Si", cubic=True))
        stars = TripletForceConstants.from_stars(Tersoff.silicon().third_order(other))
        three_phonon_scattering(modes, stars, 300.0, broadening_THz=0.5)
    with pytest.raises(ValueError, match="cell whose vectors differ"):
        other = Structures.from_ase(bulk("Si", a=5.5))
        stars = TripletForceConstants.from_stars(Tersoff.silicon().third_order(other))
        three_phonon_scattering(modes, stars, 300.0, broadening_THz=0.5)
    with pytest.raises(ValueError, match="broadening_THz is -1"):
        three_phonon_scattering(modes, triplets, 300.0, broadening_THz=-1)
    with pytest.raises(ValueError, match="shape is 'box'"):
        three_phonon_scattering(modes, triplets, 300.0, broadening_THz=0.5, shape="box")
    with pytest.raises(ValueError, match="temperature_K is 0"):
        three_phonon_scattering(modes, triplets, 0.0, broadening_THz=0.5)
