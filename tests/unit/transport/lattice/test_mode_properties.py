"""Properties of modes whose values are known: plane waves of crystals, one moving atom, sums over all modes."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import Atoms

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.mode_properties import (
    frequency_table,
    level_spacing,
    local_conductivities,
    local_level_spacings,
    participation_ratios,
    phase_quotients,
    plane_wave_character,
)
from matterscape.transport.lattice.modes import VibrationalModes, vibrational_modes
from matterscape.transport.lattice.qhgk import qhgk

pytestmark = pytest.mark.unit


def modes_of(atoms: Atoms, mesh=(1, 1, 1)) -> VibrationalModes:
    return vibrational_modes(StillingerWeber.silicon().hessian(Structures.from_ase(atoms)), mesh)


def disordered() -> VibrationalModes:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=2)
    return modes_of(atoms)


def with_vectors(modes: VibrationalModes, columns: np.ndarray) -> VibrationalModes:
    """The same modes with their first eigenvectors replaced by some columns (3 n, K)."""
    vectors = modes.eigenvectors.copy()
    vectors[0][:, : columns.shape[1]] = columns
    return replace(modes, eigenvectors=vectors)


def test_participation_ratio():
    modes = disordered()
    n_atoms = len(modes.masses)
    alone, pair, all_ = np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3))
    alone[3, 1], pair[[0, 5], 2], all_[:, 0] = 1, np.sqrt(0.5), n_atoms**-0.5
    columns = np.stack([alone.ravel(), pair.ravel(), all_.ravel()], axis=1)
    np.testing.assert_allclose(participation_ratios(with_vectors(modes, columns))[0, :3], [1 / 16, 2 / 16, 1])
    # translations move all atoms alike, and a crystal's Bloch waves of one wavevector do
    crystal = modes_of(ase.build.bulk("Si", a=5.43), (3, 1, 1))
    assert participation_ratios(crystal)[0, 3:] == pytest.approx(1)
    assert 0 < participation_ratios(modes).min() < participation_ratios(modes).max() <= 1 + 1e-12


def test_level_spacing():
    modes = disordered()
    frequencies = np.sort(modes.angular_frequencies[0])[3:]
    assert level_spacing(modes) == pytest.approx((frequencies[-1] - frequencies[0]) / 44)
    local = local_level_spacings(modes, 2)
    assert local[0, 3 + 10] == pytest.approx((frequencies[12] - frequencies[8]) / 4)
    assert local[0, 3] == pytest.approx((frequencies[2] - frequencies[0]) / 2)
    assert (local[0, :3] == 0).all()


def test_phase_quotient():
    modes = modes_of(ase.build.bulk("Si", a=5.43, cubic=True))
    found = phase_quotients(modes, 2.5)
    np.testing.assert_allclose(found[:3], 1, atol=1e-6)  # translations
    np.testing.assert_allclose(found[-3:], -1, atol=1e-6)  # both sublattices against each other
    with pytest.raises(ValueError, match=r"cutoff is 1.0 Å"):
        phase_quotients(modes, 1.0)
    with pytest.raises(ValueError, match="modes are those of 2 wavevectors"):
        phase_quotients(modes_of(ase.build.bulk("Si", a=5.43), (2, 1, 1)), 2.5)


def test_plane_wave_character():
    """A wave made by hand is all of its kind; long waves of an elastic crystal are nearly so."""
    modes = disordered()
    positions = modes.structures.positions.numpy()
    wavevector = 2 * np.pi / 10.86 * np.array([1.0, 0, 0])
    wave = np.cos(positions @ wavevector)
    columns = np.zeros((len(wave), 3, 2))
    columns[:, 0, 0] = columns[:, 1, 1] = wave / np.linalg.norm(wave)
    longitudinal, transverse = plane_wave_character(with_vectors(modes, columns.reshape(-1, 2)), 0.6)
    for along, across in ((longitudinal[0], transverse[0]), (transverse[1], longitudinal[1])):
        assert along == pytest.approx(1, abs=0.05)
        assert across == pytest.approx(0, abs=1e-12)
    crystal = modes_of(ase.build.bulk("Si", a=5.43, cubic=True).repeat((4, 1, 1)))
    longitudinal, transverse = plane_wave_character(crystal, 0.3)
    # two transverse branches, cosine and sine, then the longitudinal pair of the only wavevectors that short
    assert (transverse[3:7] > 0.95).all() and (longitudinal[3:7] < 1e-6).all()
    assert longitudinal.max() > 0.95
    assert longitudinal.sum() == pytest.approx(2) and transverse.sum() == pytest.approx(4)
    with pytest.raises(ValueError, match=r"max_wavevector is 0.2 1/Å; accepted is at least 0.289"):
        plane_wave_character(crystal, 0.2)


def test_tables_and_atoms_hold_the_whole_conductivity():
    modes = disordered()
    found = qhgk(modes, 0.5, 300.0, statistics="classical")
    weights = local_conductivities(modes, found)
    assert weights.shape == (16,)
    assert weights.sum() == pytest.approx(found.value, rel=1e-10)
    table = frequency_table(modes, found.diffusivities, 50)
    assert table["n_modes"].sum() == 45
    assert table["diffusivities"].sum() == pytest.approx(found.diffusivities.sum())
    fastest = np.flatnonzero(table["n_modes"])[-1]
    assert fastest == 49
    stacked = frequency_table(modes, np.stack([found.diffusivities, 2 * found.diffusivities]), 50)
    np.testing.assert_allclose(stacked["diffusivities"][1], 2 * table["diffusivities"])
    with pytest.raises(ValueError, match="diffusivities have shape"):
        frequency_table(modes, np.zeros(3))
