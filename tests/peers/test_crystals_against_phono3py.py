"""Three-phonon widths, conductivities and isotopes of silicon beside phono3py, from the same force constants."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape.benchmarks.phono3py_crystal import silicon
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
from matterscape.transport.lattice.crystals.mass_disorder import tamura_half_widths
from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.triplets import TripletForceConstants

phono3py = pytest.importorskip("phono3py")
pytestmark = pytest.mark.peers

SIZE = 9
BROADENING_THZ = 0.4
TEMPERATURES_K = [100.0, 300.0]


@pytest.fixture(scope="module")
def crystal():
    return silicon(SIZE, BROADENING_THZ)


@pytest.fixture(scope="module")
def modes():
    return vibrational_modes(Tersoff.silicon().hessian(Structures.from_ase(bulk("Si", a=5.432))), (SIZE,) * 3)


@pytest.fixture(scope="module")
def scattering(modes):
    triplets = TripletForceConstants.from_stars(Tersoff.silicon().third_order(modes.structures))
    return three_phonon_scattering(modes, triplets, TEMPERATURES_K, broadening_THz=BROADENING_THZ, collisions=True)


def _places(modes, frequencies):
    """Places of wavevectors with the frequencies (K, 6) in THz."""
    distances = np.abs(modes.frequencies_THz[:, None] - frequencies).max(axis=2)
    assert distances.min(axis=0).max() < 1e-5
    return distances.argmin(axis=0)


def test_widths(crystal, modes, scattering):
    crystal.run_thermal_conductivity(temperatures=TEMPERATURES_K, is_LBTE=False)
    found = crystal.thermal_conductivity
    places = _places(modes, np.array(found.frequencies))
    widths = 2 * np.pi * np.array(found.gamma[0])  # (T, K, 6), from THz
    vibrating = modes.vibrating[places]
    assert len(places) == 35
    for expected, own in zip(widths, scattering.half_widths[:, places], strict=True):
        np.testing.assert_allclose(own[vibrating], expected[vibrating], rtol=1e-4)
    # in relaxation times; phono3py takes degenerate modes along one direction
    for row, result in enumerate(boltzmann_conductivity(scattering)):
        np.testing.assert_allclose(np.diag(result.populations), found.kappa[0, row][:3], rtol=1e-5)
        assert 1.0 < result.tensor[0, 0] / found.kappa[0, row][0] < 1.04


def test_boltzmann_equation(crystal, scattering):
    crystal.run_thermal_conductivity(temperatures=TEMPERATURES_K, is_LBTE=True)
    expected = crystal.thermal_conductivity.kappa[0]
    for method in ("direct", "iterative"):
        for row, result in enumerate(boltzmann_conductivity(scattering, method=method)):
            np.testing.assert_allclose(np.diag(result.populations), expected[row][:3], rtol=1e-5)


def test_isotopes(crystal, modes):
    peer = phono3py.Phono3pyIsotope(
        [SIZE] * 3, crystal.unitcell, mass_variances=[2.01e-4] * 2, sigmas=[BROADENING_THZ / np.sqrt(2)]
    )
    peer.init_dynamical_matrix(crystal.fc2, crystal.supercell, crystal.primitive)
    points = [1, 7, 13, 40]
    peer.run(points)
    widths = 2 * np.pi * np.array(peer.gamma[0])
    addresses = np.array([peer.grid.addresses[peer.grid.grg2bzg[point]] for point in points]) % SIZE
    places = np.ravel_multi_index(tuple(addresses.T), (SIZE,) * 3)
    own = tamura_half_widths(modes, 2.01e-4, broadening_THz=BROADENING_THZ)[places]
    # our Gaussian ends at 2.8 standard deviations, where it has lost half a per cent
    np.testing.assert_allclose(own, widths, rtol=0.03)
    assert np.abs(own / widths - 1).mean() < 0.01
