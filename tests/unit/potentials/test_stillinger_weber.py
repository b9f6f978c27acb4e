"""Stillinger-Weber: known values, consistency of the alloy, bad input."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matterscape.potentials.stillinger_weber import COLUMNS, SILICON, StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

EPSILON, SIGMA = SILICON[:2]
BOND = 2 ** (1 / 6) * SIGMA  # where the two-body term is -epsilon


def energy(potential: StillingerWeber, atoms: Atoms) -> float:
    return float(potential(Structures.from_ase(atoms)).energy)


def test_diamond_is_the_ground_state_by_construction():
    """A and B make every bond of a perfect diamond lattice worth epsilon, with no force and no stress."""
    atoms = bulk("Si", a=4 / math.sqrt(3) * BOND)
    result = StillingerWeber.silicon()(Structures.from_ase(atoms))
    np.testing.assert_allclose(result.energies.numpy(), -2 * EPSILON, rtol=1e-9)
    assert float(result.forces.abs().max()) < 1e-12
    assert float(result.stress.abs().max()) < 1e-8
    assert 4 / math.sqrt(3) * BOND == pytest.approx(5.431, abs=1e-3)


def test_dimer_and_trimer():
    potential = StillingerWeber.silicon()
    assert energy(potential, Atoms("Si2", [[0, 0, 0], [BOND, 0, 0]])) == pytest.approx(-EPSILON, rel=1e-9)
    # a right angle between bonds whose ends see each other: three triplets in closed form
    atoms = Atoms("Si3", [[0, 0, 0], [BOND, 0, 0], [0, BOND, 0]])
    diagonal = math.sqrt(2) * BOND

    def phi(r):
        return 7.049556277 * EPSILON * (0.6022245584 * (SIGMA / r) ** 4 - 1) * math.exp(SIGMA / (r - 1.8 * SIGMA))

    def h(r):
        return math.exp(1.2 * SIGMA / (r - 1.8 * SIGMA))

    expected = 2 * phi(BOND) + phi(diagonal) + 21 * EPSILON * h(BOND) ** 2 / 9
    expected += 2 * 21 * EPSILON * h(BOND) * h(diagonal) * (math.sqrt(0.5) + 1 / 3) ** 2
    assert energy(potential, atoms) == pytest.approx(expected, rel=1e-11)


def test_energy_of_a_triplet_belongs_to_its_centre():
    table = np.array(SILICON).reshape(1, 1, 1, 10).copy()
    table[..., COLUMNS.index("A")] = 0.0
    chain = Atoms("Si3", [[-2.5, 0, 0], [0, 0, 0], [2.5, 0, 0]])
    energies = StillingerWeber(("Si",), table)(Structures.from_ase(chain)).energies
    assert energies[0] == energies[2] == 0 and energies[1] > 0.1


def test_pure_phases_of_the_alloy():
    alloy = StillingerWeber.silicon_germanium()
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(0.2, seed=1)
    assert energy(alloy, atoms) == pytest.approx(energy(StillingerWeber.silicon(), atoms), rel=1e-14)
    germanium = np.array(SILICON).reshape(1, 1, 1, 10).copy()
    germanium[..., [0, 1, 3]] = 1.9259036578, 2.181, 31.0
    atoms.numbers[:] = 32
    assert energy(alloy, atoms) == pytest.approx(energy(StillingerWeber(("Ge",), germanium), atoms), rel=1e-14)


def test_alloy_distinguishes_every_kind_of_triplet():
    """Pair terms off: the energy of one right angle is its own lambda epsilon."""
    table = StillingerWeber.silicon_germanium().table.copy()
    table[..., COLUMNS.index("A")] = 0.0
    potential = StillingerWeber(("Si", "Ge"), table)
    sigma = {"SiSi": 2.0951, "GeGe": 2.181, "SiGe": 2.138, "GeSi": 2.138}
    expected = {
        "SiSiSi": 21.0 * 2.1683,
        "SiSiGe": 23.1 * 2.1044477247,
        "SiGeGe": 25.5 * 2.0432682892,
        "GeSiSi": 25.5 * 2.0432682892,
        "GeSiGe": 28.1 * 1.9839616935,
        "GeGeGe": 31.0 * 1.9259036578,
    }
    for name, strength in expected.items():
        for ends in (name[2:4], name[4:]), (name[4:], name[2:4]):
            lengths = [1.5 * sigma[name[:2] + end] for end in ends]
            atoms = Atoms([name[:2], *ends], [[0, 0, 0], [lengths[0], 0, 0], [0, lengths[1], 0]])
            energies = potential(Structures.from_ase(atoms)).energies
            # h = exp(1.2 / (1.5 - 1.8)) for both bonds, (cos 90 + 1/3)^2 = 1/9
            assert float(energies[0]) == pytest.approx(strength * math.exp(-8) / 9, rel=1e-9)


def test_parameters_can_be_fitted():
    """Gradients with respect to the parameters flow through the operator."""
    potential = StillingerWeber.silicon()
    structures = Structures.from_ase(bulk("Si", a=5.3))
    potential.parameters.requires_grad_()
    (slope,) = torch.autograd.grad(potential(structures).energy.sum(), potential.parameters)
    # the two-body part is linear in A epsilon / 2, and there is no three-body part in a perfect lattice
    assert float((slope * potential.parameters).detach()[1, 2]) == pytest.approx(
        energy(StillingerWeber.silicon(), bulk("Si", a=5.3)), rel=1e-6
    )


def changed(column: str, value: float, place: tuple[int, ...] = (0, 0, 0)) -> np.ndarray:
    table = StillingerWeber.silicon_germanium().table.copy()
    table[place][COLUMNS.index(column)] = value
    return table


@pytest.mark.parametrize(
    "table, message",
    [
        (np.zeros((2, 2, 10)), r"table has shape \(2, 2, 10\); accepted is \(2, 2, 2, 10\)"),
        (changed("sigma", 0.0), r"sigma of table\[0, 0, 0\] is 0.0; it must be positive"),
        (changed("epsilon", math.nan), r"table\[0, 0, 0, 0\] is nan; accepted are finite"),
        (changed("lambda", 1.0, (0, 0, 1)), "lambda epsilon of Si Si Ge is .* both must be equal"),
        (changed("costheta0", 0.1, (1, 0, 1)), "costheta0 of Ge Si Ge is 0.1 but of Ge Ge Si"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        StillingerWeber(("Si", "Ge"), table)
