"""Third-order force constants of supercells against the exact ones of star potentials."""

import ase.build
import numpy as np
import pytest

from matterscape.potentials.base import Potential
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.transport.lattice.cubic import CubicForceConstants, cubic_force_constants
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit

REPEATS = (2, 2, 1)


class ForcesOnly(Potential):
    """A potential whose second derivatives nobody knows."""

    def __init__(self, potential: Potential):
        self.potential, self.species = potential, potential.species

    def __call__(self, structures):
        return self.potential(structures)

    def bind(self, structures, lists):
        return self.potential.bind(structures, lists)


def silicon() -> Supercell:
    """Distorted, so that no symmetry hides an exchange of indices."""
    unit = ase.build.bulk("Si", a=5.43)
    unit.positions[1] += [0.05, -0.08, 0.11]
    return Supercell.repeated(unit, REPEATS)


def spread(cubic: CubicForceConstants) -> np.ndarray:
    """The dense tensor of all atoms of the supercell, from the entries of its primitive cell's atoms."""
    supercell, n_atoms = cubic.supercell, cubic.supercell.structures.n_atoms
    order, lattice = supercell.order, supercell.lattice
    place = np.empty(n_atoms, int)
    place[order.ravel()] = np.arange(n_atoms)
    values = cubic.values.reshape(-1, 3, n_atoms, 3, n_atoms, 3)
    dense = np.empty((n_atoms, 3) * 3)
    for i in range(n_atoms):
        moved = (lattice[order[:, 0]] - lattice[i] + lattice[order[0, supercell.atoms[i]]]) % supercell.repeats
        back = order[np.ravel_multi_index(tuple(moved.T), supercell.repeats)]  # atoms as seen from atom i
        seen = np.empty(n_atoms, int)
        seen[order.ravel()] = place[back.ravel()]
        dense[i] = values[supercell.atoms[i]][:, seen][:, :, :, seen]
    return dense.reshape((3 * n_atoms,) * 3)


@pytest.mark.parametrize("potential", [StillingerWeber.silicon(), Tersoff.silicon()], ids=str)
def test_exact_and_finite_differences(potential):
    supercell = silicon()
    expected = potential.third_order(supercell.structures).dense()
    exact = cubic_force_constants(potential, supercell)
    assert exact.index_asymmetry < 1e-7 * np.abs(expected).max()
    np.testing.assert_allclose(spread(exact), expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    numeric = cubic_force_constants(potential, supercell, step=1e-3)
    np.testing.assert_allclose(numeric.values, exact.values, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert numeric.acoustic_residual() < 1e-4 * np.abs(expected).max()


def test_symmetry_under_exchange():
    tensor = spread(cubic_force_constants(StillingerWeber.silicon(), silicon(), step=5e-3))
    scale = np.abs(tensor).max()
    assert scale > 10
    for axes in ((1, 0, 2), (2, 1, 0), (0, 2, 1)):
        np.testing.assert_allclose(tensor, tensor.transpose(axes), rtol=0, atol=1e-12 * scale)


def test_order_of_the_atoms_does_not_matter():
    potential, supercell = StillingerWeber.silicon(), silicon()
    shuffle = np.random.default_rng(3).permutation(supercell.structures.n_atoms)
    other = Supercell.found(supercell.structures.to_ase()[0][shuffle], REPEATS)
    expected = potential.third_order(other.structures).dense()
    found = spread(cubic_force_constants(potential, other))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_potentials_without_second_derivatives():
    supercell = Supercell.repeated(ase.build.bulk("Si", a=5.43), (1, 1, 2))
    potential = StillingerWeber.silicon()
    expected = cubic_force_constants(potential, supercell)
    found = cubic_force_constants(ForcesOnly(potential), supercell, step=2e-3)
    np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-4 * np.abs(expected.values).max())


def test_bad_input():
    with pytest.raises(ValueError, match="step is -1"):
        cubic_force_constants(StillingerWeber.silicon(), silicon(), step=-1)
    with pytest.raises(TypeError, match="potential is a NoneType"):
        cubic_force_constants(None, silicon())
