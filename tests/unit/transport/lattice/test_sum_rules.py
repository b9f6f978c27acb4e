"""The sum rule of rotations holds for the third derivatives of a potential and for no others."""

import ase.build
import numpy as np
import pytest

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.directional import DirectionalThirdOrder
from matterscape.transport.lattice.sum_rules import force_constant_range, rotational_residual, shortest_height

pytestmark = pytest.mark.unit


def silicon(rattle: float = 0.05) -> Structures:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat(3)
    atoms.rattle(rattle, seed=4)
    return Structures.from_ase(atoms)


@pytest.mark.parametrize("potential", [StillingerWeber.silicon(), Tersoff.silicon()], ids=["sw", "tersoff"])
def test_rotations(potential):
    structures = silicon()
    hessian, third = potential.hessian(structures), potential.third_order(structures)
    assert 2 * force_constant_range(hessian) < shortest_height(structures.cells[0].numpy())
    for atom in (0, 77):
        assert rotational_residual(hessian, third, atom=atom) < 1e-7
    directional = DirectionalThirdOrder(potential, structures, step=1e-3)
    assert rotational_residual(hessian, directional) < 1e-3


def test_third_derivatives_of_something_else():
    structures = silicon()
    hessian = Tersoff.silicon().hessian(structures)
    other_potential = StillingerWeber.silicon().third_order(structures)
    other_positions = Tersoff.silicon().third_order(silicon(0.06))
    other_scale = Tersoff.silicon().hessian(structures) * 1.1
    assert rotational_residual(hessian, other_potential) > 0.1
    assert rotational_residual(hessian, other_positions) > 0.02
    third = Tersoff.silicon().third_order(structures)
    assert rotational_residual(other_scale, third) == pytest.approx(0.1 / 1.1, rel=1e-3)


def test_nothing_to_say_of_a_short_cell():
    atoms = ase.build.bulk("Si", a=5.43, cubic=True)
    structures = Structures.from_ase(atoms)
    potential = StillingerWeber.silicon()
    assert rotational_residual(potential.hessian(structures), potential.third_order(structures)) is None
    assert shortest_height(np.array([[2.0, 0, 0], [1.0, 3.0, 0], [0, 0, 4.0]])) == pytest.approx(2 * 3 / np.sqrt(10))
