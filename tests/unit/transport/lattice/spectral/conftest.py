"""A small disordered solid that the spectra are tried on."""

import ase.build
import numpy as np
import pytest

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.modes import VibrationalModes, vibrational_modes


@pytest.fixture(scope="package")
def alloy_modes() -> VibrationalModes:
    """Modes of 64 atoms of silicon's lattice, half of them with the mass of germanium."""
    crystal = ase.build.bulk("Si", a=5.43, cubic=True).repeat(2)
    masses = np.random.default_rng(5).permutation(np.repeat([28.0855, 72.63], 32))
    return vibrational_modes(StillingerWeber.silicon().hessian(Structures.from_ase(crystal)), masses=masses)
