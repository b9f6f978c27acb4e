import numpy as np
import pytest
from ase import units
from ase.dft.dos import linear_tetrahedron_integration

from matterscape.transport.lattice.crystals.density_of_states import density_of_states, thermal_properties
from matterscape.transport.lattice.modes import UnstableModesError, vibrational_modes

pytestmark = pytest.mark.unit


def test_equals_ases_tetrahedra(force_constants):
    mesh = (4, 3, 2)
    found = density_of_states(force_constants, mesh, n_points=60, masses=np.array([28.0, 40.0]))
    modes = vibrational_modes(force_constants, mesh, masses=np.array([28.0, 40.0]))
    weights = (np.abs(modes.eigenvectors.reshape(24, 2, 3, 6)) ** 2).sum(axis=2).swapaxes(1, 2)
    expected = linear_tetrahedron_integration(
        modes.structures.to_ase()[0].cell.array,
        modes.frequencies_THz.reshape(*mesh, 6),
        found.frequencies_THz,
        weights.reshape(*mesh, 6, 2),
    )
    # where bands touch, weights of single modes depend on the eigenvectors, their sum does not
    np.testing.assert_allclose(found.total, expected.sum(axis=0), atol=1e-6 * expected.max())
    np.testing.assert_allclose(found.partial, expected, atol=1e-3 * expected.max())
    assert expected.max() > 1


def test_counts_all_modes(force_constants):
    found = density_of_states(force_constants, (6, 6, 6), n_points=4001)
    assert np.trapezoid(found.total, found.frequencies_THz) == pytest.approx(6, rel=2e-3)
    np.testing.assert_allclose(found.partial[0], found.partial[1], atol=1e-2 * found.total.max())


def test_debye_law_at_low_frequencies(force_constants):
    found = density_of_states(force_constants, (16, 16, 16), n_points=400)
    slow = (found.frequencies_THz > 1.0) & (found.frequencies_THz < 2.5)
    slope = np.polyfit(np.log(found.frequencies_THz[slow]), np.log(found.total[slow]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.35)


def test_thermodynamic_identities(force_constants):
    temperatures = np.array([100.0, 299.0, 300.0, 301.0])
    found = thermal_properties(force_constants, (6, 6, 6), temperatures)
    # S = -dF/dT and C = T dS/dT
    assert found.entropies[2] == pytest.approx(-(found.free_energies[3] - found.free_energies[1]) / 2, rel=1e-5)
    assert found.heat_capacities[2] == pytest.approx(300 * (found.entropies[3] - found.entropies[1]) / 2, rel=1e-5)


def test_hot_and_cold(force_constants):
    hot = thermal_properties(force_constants, (4, 4, 4), 1e5)
    assert hot.heat_capacities[0] == pytest.approx(units.kB * (6 - 3 / 64), rel=1e-4)  # three translations are left out
    cold = thermal_properties(force_constants, (4, 4, 4), 1.0)
    assert cold.free_energies[0] == pytest.approx(cold.zero_point_energy)
    assert cold.entropies[0] == pytest.approx(0, abs=1e-12)


def test_symmetry_saves_work_only(force_constants):
    one, two = (
        thermal_properties(force_constants, (5, 5, 5), [50.0, 300.0], symmetry=symmetry) for symmetry in (True, False)
    )
    np.testing.assert_allclose(one.free_energies, two.free_energies, rtol=1e-9)
    np.testing.assert_allclose(one.heat_capacities, two.heat_capacities, rtol=1e-9)


def test_bad_input(force_constants):
    with pytest.raises(ValueError, match="temperature_K is 0"):
        thermal_properties(force_constants, (2, 2, 2), 0.0)
    with pytest.raises(UnstableModesError, match="the lowest frequency is -"):
        thermal_properties(-1.0 * force_constants, (2, 2, 2), 300.0)
    with pytest.raises(ValueError, match="n_points is 2"):
        density_of_states(force_constants, (2, 2, 2), n_points=2)
    with pytest.raises(ValueError, match=r"mesh is \(2,\)"):
        density_of_states(force_constants, (2,))
