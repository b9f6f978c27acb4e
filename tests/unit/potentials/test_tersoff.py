"""Tersoff: known values, closed forms, mixtures, bad input."""

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matterscape.potentials import _tersoff_kernels as columns
from matterscape.potentials.tersoff import BONDS_1989, COLUMNS, Tersoff
from matterscape.structures import Structures

pytestmark = pytest.mark.unit


def energy(potential: Tersoff, atoms: Atoms) -> float:
    return float(potential(Structures.from_ase(atoms)).energy)


@pytest.mark.parametrize(
    "potential, symbol, constant, cohesive",
    [
        (Tersoff.silicon, "Si", 5.432, -4.63),
        (Tersoff.carbon, "C", 3.566, -7.37),
        (Tersoff.germanium, "Ge", 5.657, -3.85),
    ],
)
def test_lattice_constants_and_cohesive_energies(potential, symbol, constant, cohesive):
    """Diamond lattices of Phys. Rev. B 39, 5566 (1989), in Å and eV per atom."""
    form = potential()
    constants = constant + np.array([-0.01, 0, 0.01])
    energies = [energy(form, bulk(symbol, "diamond", a=a)) / 2 for a in constants]
    curve = np.polyfit(constants - constant, energies, 2)
    assert constant - curve[1] / (2 * curve[0]) == pytest.approx(constant, abs=2e-3)
    assert energies[1] == pytest.approx(cohesive, abs=0.01)


def test_dimer_has_full_bond_order():
    a, b, lambda1, lambda2, _, _ = BONDS_1989["Si", "C"]
    r = 1.9
    atoms = Atoms("SiC", [[0, 0, 0], [0, 0, r]])
    result = Tersoff.silicon_carbide()(Structures.from_ase(atoms))
    expected = a * math.exp(-lambda1 * r) - b * math.exp(-lambda2 * r)
    assert float(result.energy) == pytest.approx(expected, rel=1e-13)
    force = lambda1 * a * math.exp(-lambda1 * r) - lambda2 * b * math.exp(-lambda2 * r)
    assert float(result.forces[1, 2]) == pytest.approx(force, rel=1e-12)


def test_trimer_in_closed_form():
    """An open trimer whose ends do not see each other; the right-hand bond is inside the switch."""
    beta, n, c, d, cosine = 1.1e-6, 0.78734, 1.0039e5, 16.217, -0.59825
    a, b, lambda1, lambda2, middle, width = BONDS_1989["Si", "Si"]
    left, right, angle = 2.4, 2.9, math.radians(140)
    points = [[0, 0, 0], [left, 0, 0], [right * math.cos(angle), right * math.sin(angle), 0]]
    switch = {left: 1.0, right: 0.5 - 0.5 * math.sin(math.pi / 2 * (right - middle) / width)}
    g = 1 + (c / d) ** 2 - c**2 / (d**2 + (cosine - math.cos(angle)) ** 2)

    def bond(r, other):
        repulsion, attraction = a * math.exp(-lambda1 * r), b * math.exp(-lambda2 * r)
        order = (1 + (beta * switch[other] * g) ** n) ** (-0.5 / n)
        return switch[r] * (repulsion - 0.5 * (order + 1) * attraction)

    expected = bond(left, right) + bond(right, left)
    assert energy(Tersoff.silicon(), Atoms("Si3", points)) == pytest.approx(expected, rel=1e-9)


def test_general_and_plain_triplets_agree():
    """The short cut for lambda3 = 0 changes nothing but rounding."""
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(0.2, seed=3)
    atoms.numbers[::2] = 32
    short, long = Tersoff.silicon_germanium(), Tersoff.silicon_germanium()
    assert short.parameters[5:, columns.TRIPLET_PLAIN].all()
    long.parameters[5:, columns.TRIPLET_PLAIN] = 0
    results = [form(Structures.from_ase(atoms)) for form in (short, long)]
    for name in ("energies", "forces", "flux_tensors"):
        np.testing.assert_allclose(getattr(results[0], name), getattr(results[1], name), rtol=0, atol=1e-12)


def test_lambda3_weakens_bonds_with_closer_neighbours():
    table = Tersoff.silicon().table.copy()
    table[..., COLUMNS.index("lambda3")] = 1.5
    atoms = Atoms("Si3", [[0, 0, 0], [2.5, 0, 0], [-1.0, 2.0, 0]])
    plain, screened = (form(Structures.from_ase(atoms)) for form in (Tersoff.silicon(), Tersoff(("Si",), table)))
    stretch = (1.5 * (2.5 - math.sqrt(5))) ** 3
    assert stretch > 0 and float(screened.energies[0] - plain.energies[0]) != 0
    assert float(screened.energies[1]) == float(plain.energies[1])  # an end has one neighbour in reach


def test_alloys_contain_their_elements():
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(0.2, seed=1)
    for alloy in (Tersoff.silicon_germanium, Tersoff.silicon_carbide, Tersoff.silicon_carbon_germanium):
        assert energy(alloy(), atoms) == pytest.approx(energy(Tersoff.silicon(), atoms), rel=1e-13)
    ternary = Tersoff.silicon_carbon_germanium()
    for number, pure in ((32, Tersoff.germanium), (6, Tersoff.carbon)):
        atoms.numbers[:] = number
        atoms.set_cell([5.5 if number == 32 else 3.6] * 3, scale_atoms=True)
        assert energy(ternary, atoms) == pytest.approx(energy(pure(), atoms), rel=1e-13)


def test_mixing_rules():
    """Unlike bonds of 1989 follow from the like ones with chi, up to the rounding in common use."""
    for other, chi in (("C", 0.9776), ("Ge", 1.00061)):
        silicon, partner, mixed = (np.array(BONDS_1989[key]) for key in (("Si", "Si"), (other, other), ("Si", other)))
        np.testing.assert_allclose(mixed[0], math.sqrt(silicon[0] * partner[0]), rtol=1e-7)
        np.testing.assert_allclose(mixed[1], chi * math.sqrt(silicon[1] * partner[1]), rtol=2e-6)
        np.testing.assert_allclose(mixed[2:4], (silicon + partner)[2:4] / 2, rtol=1e-12)
        for sign in (-1, 1):
            ends = [bond[4] + sign * bond[5] for bond in (silicon, partner, mixed)]
            assert ends[2] == pytest.approx(math.sqrt(ends[0] * ends[1]), abs=2e-4)
    entry = dict(zip(COLUMNS, Tersoff.silicon_carbon_germanium().table[1, 2, 2]))
    assert entry["A"] == pytest.approx(math.sqrt(1393.6 * 1769.0))
    assert entry["lambda2"] == pytest.approx((2.2119 + 1.7047) / 2)
    assert entry["R"] + entry["D"] == pytest.approx(math.sqrt(2.1 * 3.1))


@pytest.mark.parametrize("fraction, pure", [(0.0, Tersoff.silicon), (1.0, Tersoff.germanium)])
def test_virtual_crystal_ends_at_the_elements(fraction, pure):
    atoms = bulk("Si", a=5.55, cubic=True)
    atoms.rattle(0.2, seed=2)
    number = atoms.copy()
    number.numbers[:] = pure().species[0]
    assert energy(Tersoff.virtual_crystal(fraction), atoms) == pytest.approx(energy(pure(), number), rel=1e-13)


def test_virtual_crystal_ignores_the_labels():
    potential = Tersoff.virtual_crystal(0.4)
    atoms = bulk("Si", a=5.55, cubic=True)
    atoms.rattle(0.2, seed=2)
    first = energy(potential, atoms)
    atoms.numbers[::3] = 32
    assert energy(potential, atoms) == pytest.approx(first, rel=1e-14)
    table = potential.table[0, 0, 0]
    assert table[COLUMNS.index("c")] == pytest.approx(0.6 * 1.0039e5 + 0.4 * 1.0643e5)
    assert table[COLUMNS.index("A")] == pytest.approx(0.36 * 1830.8 + 0.48 * 1799.6347 + 0.16 * 1769.0)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_virtual_crystal_outside_the_alloy(fraction):
    with pytest.raises(ValueError, match=r"germanium_fraction is .* accepted is a number from 0 to 1"):
        Tersoff.virtual_crystal(fraction)


@pytest.mark.parametrize(
    "column, value, message",
    [
        ("m", 2.0, "m is 2 in the table; accepted are 1 and 3"),
        ("D", 0.0, r"D of table\[0, 0, 0\] is 0.0; it must be positive"),
        ("d", 0.0, r"d of table\[0, 0, 0\] is 0.0; it must be positive"),
        ("n", -1.0, r"n of table\[0, 0, 0\] is -1.0; it must be positive"),
        ("beta", 0.0, r"beta of table\[0, 0, 0\] is 0.0; it must be positive"),
        ("A", math.inf, r"table\[0, 0, 0, 13\] is inf; accepted are finite numbers"),
    ],
)
def test_bad_tables(column, value, message):
    table = Tersoff.silicon().table.copy()
    table[..., COLUMNS.index(column)] = value
    with pytest.raises(ValueError, match=message):
        Tersoff(("Si",), table)
