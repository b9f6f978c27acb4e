import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.structures.disorder import sublattice_structure_factor
from matterscape.transport.lattice.crystals.mass_disorder import (
    born_half_widths,
    mass_variance,
    tamura_half_widths,
    virtual_crystal,
)
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.triplets import TripletForceConstants

pytestmark = pytest.mark.unit

VARIANCE = 0.02


@pytest.fixture(scope="module")
def tamura(fine_modes):
    return tamura_half_widths(fine_modes, VARIANCE, broadening_THz=0.5)


def test_symmetry_saves_work_only(fine_modes, tamura):
    full = tamura_half_widths(fine_modes, [VARIANCE] * 2, broadening_THz=0.5, symmetry=False)
    np.testing.assert_allclose(tamura, full, atol=1e-10)
    assert tamura.max() > 0.1
    assert (tamura[~fine_modes.vibrating] == 0).all()


def test_by_hand(fine_modes, tamura):
    """FWHM = (pi/2) omega^2 g <sum_s |e*_s . e'_s|^2 delta> for one mode."""
    q, n, width = 7, 5, 2 * np.pi * 0.5
    omega, vectors = fine_modes.angular_frequencies, fine_modes.eigenvectors.reshape(125, 2, 3, 6)
    overlaps = np.abs(np.einsum("sx,qsxm->qms", vectors[q, :, :, n].conj(), vectors)) ** 2
    x = omega - omega[q, n]
    peaks = np.where(np.abs(x) < 2 * width, np.exp(-((x / width) ** 2)) / (np.sqrt(np.pi) * width), 0.0)
    peaks *= fine_modes.vibrating
    gaps = np.abs(omega[q] - omega[q, n])
    assert (gaps < 1e-3).sum() == 1
    expected = 0.5 * np.pi / 2 * omega[q, n] ** 2 * VARIANCE * (overlaps.sum(axis=2) * peaks).sum() / 125
    assert tamura[q, n] == pytest.approx(expected, rel=1e-10)


def test_sublattices_scatter_with_their_own_variance(fine_modes, tamura):
    one, other = (tamura_half_widths(fine_modes, g, broadening_THz=0.5) for g in ([VARIANCE, 0], [0, VARIANCE]))
    np.testing.assert_allclose(one + other, tamura, atol=1e-10)


def test_born_with_a_white_structure_factor_is_tamura(fine_modes, tamura):
    white = np.zeros((5, 5, 5, 2, 2), complex)
    white[...] = VARIANCE * np.eye(2)
    np.testing.assert_allclose(born_half_widths(fine_modes, white, broadening_THz=0.5), tamura, atol=1e-10)


def test_born_with_white_masses_is_tamura_within_sampling_error(fine_modes, tamura):
    rng = np.random.default_rng(1)
    mean = 0
    for _ in range(60):
        masses = 28.0 * (1 + np.sqrt(VARIANCE) * rng.choice([-1, 1], size=(5, 5, 5, 2)))
        mean = mean + sublattice_structure_factor(masses) / 60
    # deviations are from the mean of the sample, which takes its share of k = 0 away
    mean[0, 0, 0] += VARIANCE / 2
    found = born_half_widths(fine_modes, mean, broadening_THz=0.5)
    ratio = found[fine_modes.vibrating] / tamura[fine_modes.vibrating]
    assert abs(ratio.mean() - 1) < 0.01
    assert ratio.std() < 0.06


def test_colour_moves_widths_with_the_structure_factor(fine_modes, tamura):
    """All of S at short wavevectors: long waves scatter more, the same variance on the average."""
    steps = np.minimum(np.arange(5), 5 - np.arange(5))
    near = (np.add.outer(np.add.outer(steps, steps), steps) <= 1).astype(float)
    coloured = VARIANCE * near / near.mean()
    factor = coloured[..., None, None] * np.eye(2)
    found = born_half_widths(fine_modes, factor, broadening_THz=0.5)
    slow = fine_modes.vibrating & (fine_modes.frequencies_THz < 4)
    assert not np.allclose(found, tamura, rtol=0.3)
    assert (found[slow] / tamura[slow]).mean() > 1.5


def test_correlated_sublattices_need_the_phase(fine_modes, tamura):
    """Equal masses of both atoms of a cell scatter long waves more than opposite ones, which they hardly see."""
    equal = np.broadcast_to(VARIANCE * np.ones((2, 2)), (5, 5, 5, 2, 2))
    opposite = np.broadcast_to(VARIANCE * np.array([[1.0, -1.0], [-1.0, 1.0]]), (5, 5, 5, 2, 2))
    one, two = (born_half_widths(fine_modes, s, broadening_THz=0.5) for s in (equal, opposite))
    np.testing.assert_allclose(one + two, 2 * tamura, atol=1e-10)
    slow = fine_modes.vibrating & (fine_modes.frequencies_THz < 5)
    assert one[slow].mean() > 1.5 * two[slow].mean()


def test_variance_of_isotopes():
    natural = mass_variance([27.97692653, 28.97649466, 29.97377014], [0.92223, 0.04685, 0.03092])
    assert natural == pytest.approx(2.007e-4, rel=1e-3)
    assert mass_variance([28.0855, 72.630], [0.5, 0.5]) == pytest.approx(0.1956, abs=1e-4)
    assert mass_variance([28.0, 28.0], [0.3, 0.7]) == 0


def test_virtual_crystal_mixes_force_constants():
    geometry = bulk("Si", a=5.5)
    pure, other = Structures.from_ase(geometry), Structures.from_ase(bulk("Ge", a=5.5))
    potential = Tersoff.silicon_germanium()
    constants = [potential.hessian(s) for s in (pure, other)]
    mixed = virtual_crystal(constants, [0.25, 0.75])
    np.testing.assert_allclose(mixed.dense(), 0.25 * constants[0].dense() + 0.75 * constants[1].dense(), atol=1e-12)
    modes = vibrational_modes(mixed, (2, 2, 2), masses=np.full(2, 60.0))
    assert modes.frequencies_THz.max() < vibrational_modes(constants[0], (2, 2, 2)).frequencies_THz.max()
    triplets = [TripletForceConstants.from_stars(potential.third_order(s)) for s in (pure, other)]
    third = virtual_crystal(triplets, [0.25, 0.75])
    vector = np.random.default_rng(0).normal(size=(2, 3))
    expected = sum(f * t.contract(vector).dense() for f, t in zip([0.25, 0.75], triplets, strict=True))
    np.testing.assert_allclose(third.contract(vector).dense(), expected, atol=1e-9)
    with pytest.raises(ValueError, match="structures with other positions"):
        virtual_crystal([constants[0], Tersoff.silicon().hessian(Structures.from_ase(bulk("Si", a=5.4)))], [0.5, 0.5])


def test_bad_input(fine_modes):
    with pytest.raises(ValueError, match=r"mass_variances are \[0.1, 0.1, 0.1\]"):
        tamura_half_widths(fine_modes, [0.1] * 3, broadening_THz=0.5)
    with pytest.raises(ValueError, match="mass_variances are -0.1"):
        tamura_half_widths(fine_modes, -0.1, broadening_THz=0.5)
    with pytest.raises(ValueError, match="broadening_THz is 0"):
        tamura_half_widths(fine_modes, 0.1, broadening_THz=0)
    with pytest.raises(ValueError, match="shape is 'box'"):
        tamura_half_widths(fine_modes, 0.1, broadening_THz=0.5, shape="box")
    with pytest.raises(ValueError, match=r"structure_factor has shape \(3, 3, 3, 2, 2\)"):
        born_half_widths(fine_modes, np.zeros((3, 3, 3, 2, 2)), broadening_THz=0.5)
    with pytest.raises(ValueError, match="structure_factor differs from its Hermitian conjugate"):
        lopsided = np.broadcast_to(np.array([[1.0, 1.0], [0.0, 1.0]]), (5, 5, 5, 2, 2))
        born_half_widths(fine_modes, lopsided, broadening_THz=0.5)
    with pytest.raises(ValueError, match="fractions are"):
        mass_variance([1.0, 2.0], [0.5, 0.6])
    with pytest.raises(ValueError, match="masses are"):
        mass_variance([0.0, 2.0], [0.5, 0.5])
