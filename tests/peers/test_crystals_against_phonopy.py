"""Bands, velocities, densities of states and thermodynamics of silicon beside phonopy's, from the same constants."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.crystals.bands import bands
from matterscape.transport.lattice.crystals.density_of_states import density_of_states, thermal_properties
from matterscape.transport.lattice.crystals.dispersion import dispersion

phonopy = pytest.importorskip("phonopy")
pytestmark = pytest.mark.peers

MESH = (9, 9, 9)


@pytest.fixture(scope="module")
def force_constants():
    return Tersoff.silicon().hessian(Structures.from_ase(bulk("Si", a=5.432)))


@pytest.fixture(scope="module")
def peer():
    unit = bulk("Si", a=5.432)
    cell = phonopy.structure.atoms.PhonopyAtoms(
        symbols=unit.get_chemical_symbols(),
        cell=unit.cell.array,
        scaled_positions=unit.get_scaled_positions(),
        masses=unit.get_masses(),
    )
    crystal = phonopy.Phonopy(cell, 3 * np.eye(3, dtype=int), log_level=0)
    found = crystal.supercell
    supercell = Structures.from_ase(
        Atoms(found.symbols, cell=found.cell, scaled_positions=found.scaled_positions, pbc=True)
    )
    dense = Tersoff.silicon().hessian(supercell).dense().reshape(54, 3, 54, 3)
    crystal.force_constants = np.ascontiguousarray(dense.transpose(0, 2, 1, 3))
    return crystal


def test_bands_and_velocities(force_constants, peer):
    found = bands(force_constants, n_points=80)
    peer.run_band_structure([found.path.kpts], with_group_velocities=True)
    np.testing.assert_allclose(peer.band_structure.frequencies[0], found.frequencies_THz, atol=1e-5)
    # away from lines of symmetry, where phonopy's choice among degenerate modes is its own
    points = np.random.default_rng(0).uniform(-0.5, 0.5, size=(30, 3))
    peer.run_qpoints(points, with_group_velocities=True)
    velocities = np.array(peer.qpoints.group_velocities)
    np.testing.assert_allclose(velocities, dispersion(force_constants, points).velocities, atol=2e-3)
    assert np.abs(velocities).max() > 50


def test_density_of_states(force_constants, peer):
    found = density_of_states(force_constants, MESH)
    peer.run_mesh(MESH, is_gamma_center=True)
    grid = found.frequencies_THz
    peer.run_total_dos(freq_min=grid[0], freq_max=grid[-1], freq_pitch=grid[1] - grid[0])
    expected = peer.total_dos.dos[: len(grid)]
    # steps at van Hove singularities move by the rounding of frequencies
    np.testing.assert_allclose(found.total, expected, atol=1e-3 * expected.max())


def test_thermodynamics(force_constants, peer):
    temperatures = np.array([50.0, 300.0, 1000.0])
    peer.run_mesh(MESH, is_gamma_center=True)
    peer.run_thermal_properties(temperatures=temperatures)
    expected = peer.thermal_properties
    found = thermal_properties(force_constants, MESH, temperatures)
    kilojoule, joule = units.kJ / units.mol, units.J / units.mol
    np.testing.assert_allclose(found.free_energies / kilojoule, expected.free_energy, rtol=1e-5)
    np.testing.assert_allclose(found.entropies / joule, expected.entropy, rtol=1e-5)
    np.testing.assert_allclose(found.heat_capacities / joule, expected.heat_capacity, rtol=1e-5)
