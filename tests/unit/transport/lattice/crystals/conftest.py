"""Silicon after Tersoff: modes on small meshes and its third-order force constants."""

import pytest
from ase.build import bulk

from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.triplets import TripletForceConstants


@pytest.fixture(scope="session")
def silicon():
    return Structures.from_ase(bulk("Si", a=5.432))


@pytest.fixture(scope="session")
def force_constants(silicon):
    return Tersoff.silicon().hessian(silicon)


@pytest.fixture(scope="session")
def triplets(silicon):
    return TripletForceConstants.from_stars(Tersoff.silicon().third_order(silicon))


@pytest.fixture(scope="session")
def modes(force_constants):
    return vibrational_modes(force_constants, (3, 3, 3))


@pytest.fixture(scope="session")
def fine_modes(force_constants):
    return vibrational_modes(force_constants, (5, 5, 5))
