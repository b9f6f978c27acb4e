"""Modes of crystals against phonopy."""

import ase.build
import numpy as np
import pytest
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from matterscape.potentials.coulomb import alkali_halide
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.transport.lattice.harmonic import nearest_images
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.peers

MESH = (3, 3, 3)


@pytest.mark.parametrize(
    "primitive, potential",
    [
        pytest.param(ase.build.bulk("Si", a=5.43), StillingerWeber.silicon, id="silicon"),
        pytest.param(ase.build.bulk("NaCl", "rocksalt", a=5.64), lambda: alkali_halide("NaCl"), id="salt"),
    ],
)
def test_frequencies_and_group_velocities(primitive, potential):
    """The same force constants, images shared alike, give the same numbers."""
    supercell = Supercell.repeated(primitive, MESH)
    constants = nearest_images(potential().hessian(supercell.structures))
    modes = vibrational_modes(supercell.fold(constants), MESH)

    peer = Phonopy(
        PhonopyAtoms(
            symbols=primitive.get_chemical_symbols(),
            cell=primitive.cell.array,
            scaled_positions=primitive.get_scaled_positions(),
            masses=primitive.get_masses(),
        ),
        np.diag(MESH),
        symprec=1e-4,
    )
    ours = supercell.structures.to_ase()[0]
    fractions = ours.get_scaled_positions()
    order = []
    for point in peer.supercell.scaled_positions:
        gap = fractions - point
        order.append(int(np.linalg.norm(gap - np.round(gap), axis=1).argmin()))
    n_atoms = len(ours)
    peer.force_constants = constants.dense().reshape(n_atoms, 3, n_atoms, 3).swapaxes(1, 2)[np.ix_(order, order)]
    peer.run_qpoints(modes.wavevectors, with_group_velocities=True)
    found = peer.get_qpoints_dict()

    tested = modes.frequencies_THz > 0.1
    np.testing.assert_allclose(modes.frequencies_THz[tested], found["frequencies"][tested], rtol=1e-5)
    # Å/ps = Å THz; lone modes only, phonopy turns degenerate ones into each other
    velocities, expected = modes.group_velocities(), found["group_velocities"]
    gaps = np.diff(modes.frequencies_THz, axis=1, prepend=-9, append=99)
    lone = tested & (np.minimum(gaps[:, 1:], gaps[:, :-1]) > 1e-2)
    assert lone.sum() > 40
    np.testing.assert_allclose(velocities[lone], expected[lone], atol=2e-3 * np.abs(expected).max())
    assert np.abs(expected[lone]).max() > 5
