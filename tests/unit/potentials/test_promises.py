"""What a user may expect of every potential: sentences for mistakes, any cell, sums that keep what they are made of."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import matterscape.potentials as potentials
from matterscape.potentials import (
    AngleTerm,
    Bonded,
    BornMayerHuggins,
    Buckingham,
    Ellipsoid,
    GayBerne,
    LennardJones,
    Morse,
    PairPotential,
    PairTerm,
    Scaled,
    StillingerWeber,
    Sum,
    Tersoff,
    ZieglerBiersackLittmark,
    by_species,
    fumi_tosi,
    mix,
    pedone,
    verify,
    zhou2004,
)
from matterscape.potentials.pair import damped_shifted_coulomb
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

ARGON = {("Ar", "Ar"): (0.0104, 3.4)}
LENNARD_JONES = LennardJones(ARGON, 8.0, switch=7.0)
BODIES = GayBerne({"Ar": Ellipsoid((0.5, 0.5, 1.5))}, cutoff=6.0)


def test_every_public_name_is_there():
    assert [name for name in potentials.__all__ if not hasattr(potentials, name)] == []


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: LennardJones(ARGON, -3), "cutoff is -3; accepted is a positive number of Å"),
        (lambda: LennardJones(ARGON, "8"), "cutoff is '8'; accepted is a positive number"),
        (lambda: LennardJones(ARGON, float("nan")), "cutoff is nan; accepted is a positive number"),
        (lambda: LennardJones({("Ar", "Ar"): ("a", 3.4)}, 8), "epsilon of Ar-Ar is 'a'; accepted is a finite number"),
        (lambda: LennardJones({("Ar", "Ar"): 3.4}, 8), "values of Ar-Ar are 3.4; accepted are epsilon, sigma"),
        (lambda: LennardJones({("ar", "ar"): (1, 1)}, 8), "species 'ar' is unknown; accepted are chemical symbols"),
        (lambda: LennardJones({"Ar": (1, 1)}, 8), "the table has the key 'Ar'; accepted are pairs of symbols"),
        (lambda: LennardJones({("Ar",) * 3: (1, 1)}, 8), r"the table has the key \('Ar', 'Ar', 'Ar'\)"),
        (
            lambda: LennardJones({("Ar", "Ar"): (-1, 3), ("Ne", "Ne"): (1, 3)}, 8, mixing="geometric"),
            "epsilon of Ar-Ar, which enters a geometric mean, is -1.0; accepted is a non-negative number",
        ),
        (lambda: Morse({("Ar", "Ar"): 3}, 8), "values of Ar-Ar are 3; accepted are D, a, r0, C"),
        (lambda: Morse({("Ar", "Ar"): (1, 1, 1)}, 8, charges={"Ar": float("nan")}), "charge of Ar is nan"),
        (lambda: Buckingham({("Ar", "Ar"): (1, 0, 1)}, 8), "rho of Ar-Ar is 0.0; accepted is a positive number"),
        (
            lambda: BornMayerHuggins({("Ar", "Ar"): (1, 1e-3, 3, 1, 1)}, 8),
            "s of Ar-Ar is 3.0 with rho 0.001; accepted is at most 700 rho",
        ),
        (lambda: ZieglerBiersackLittmark(["Si", "Si"], inner=1, outer=2), "accepted are one or more different"),
        (lambda: fumi_tosi("nacl"), "salt is 'nacl'; accepted are LiF, LiCl"),
        (lambda: Tersoff(("si",), np.ones((1, 1, 1, 14))), "species 'si' is unknown"),
        (lambda: StillingerWeber(("Si",), [["a"]]), "table is .*'a'.*; accepted are numbers"),
        (lambda: Tersoff.virtual_crystal("0.5"), "germanium_fraction is '0.5'; accepted is a number from 0 to 1"),
        (lambda: zhou2004(["cu"]), "elements has 'cu'; accepted are Cu, Ag"),
        (lambda: GayBerne.uniaxial("Ar", "3", 5, 2, 1, cutoff=8), "kappa is '3'; accepted is a positive number"),
        (lambda: GayBerne({"Ar": Ellipsoid((1, 1, 1))}, cutoff="8"), "cutoff is '8'; accepted is a positive number"),
        (lambda: Ellipsoid("abc"), "semiaxes is 'abc'; accepted are three positive, finite numbers"),
        (lambda: PairTerm(length="1"), "length is '1'; accepted is a finite number"),
        (lambda: PairTerm(quadratic=float("inf")), "quadratic is inf; accepted is a finite number"),
        (lambda: AngleTerm(1.0, "100"), "angle_deg is '100'; accepted is between 0 and 180"),
        (lambda: PairPotential(("Ar", "Ar"), {}), "accepted are one or more different chemical symbols"),
        (lambda: PairPotential((), {}), "accepted are one or more different chemical symbols"),
        (lambda: PairPotential(("Ar",), {("Ar", "Ar"): {"cubic": []}}), "the form 'cubic'; accepted are Lennard-Jones"),
        (lambda: PairPotential(("Ar",), {("Ar", "Ne"): {}}), "the species 'Ne'; accepted are Ar"),
        (lambda: by_species({}), "the table of parameters is empty"),
        (lambda: mix(LENNARD_JONES, LENNARD_JONES, "half"), "fraction is 'half'; accepted is a number from 0 to 1"),
        (lambda: Scaled(LENNARD_JONES, "2"), "factor is '2'; accepted is a finite number"),
        (lambda: Sum(), "terms are empty; accepted is at least one potential"),
        (lambda: LENNARD_JONES.calculator(skin="1"), "skin is '1'; accepted is a non-negative number of Å"),
    ],
)
def test_values_that_make_no_potential(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: LennardJones(None, 8), "table is a NoneType; accepted is a mapping"),
        (lambda: Morse({("Ar", "Ar"): (1, 1, 1)}, 8, charges=1.0), "charges is 1.0; accepted is a mapping"),
        (lambda: ZieglerBiersackLittmark("Si", inner=1, outer=2), "species is 'Si'; accepted is a sequence"),
        (lambda: pedone("SiO"), "species is 'SiO'; accepted is a sequence"),
        (lambda: zhou2004("Cu"), "elements is 'Cu'; accepted is a sequence"),
        (lambda: GayBerne([1], cutoff=8), "particles is a list; accepted is a mapping"),
        (
            lambda: by_species({("Si", "Si"): Tersoff.silicon()}),
            r"table\[Si, Si\] is a Tersoff; accepted is a pair pot",
        ),
        (lambda: Bonded(None), "topology is a NoneType; accepted is a Topology or a function"),
        (lambda: Sum(LENNARD_JONES, 3), "a term is a int; accepted is a matterscape Potential"),
        (lambda: Scaled(3, 2.0), "potential is a int; accepted is a matterscape Potential"),
        (lambda: mix(LENNARD_JONES, 3, 0.5), "potential is a int; accepted is a matterscape Potential"),
        (lambda: LENNARD_JONES + 3, "unsupported operand"),
        (lambda: LENNARD_JONES * LENNARD_JONES, "unsupported operand"),
        (lambda: LENNARD_JONES(bulk("Ar")), r"structures is a Atoms; accepted is Structures, e.g. Structures.from_ase"),
        (lambda: LENNARD_JONES.hessian(bulk("Ar")), "structures is a Atoms; accepted is Structures"),
    ],
)
def test_things_that_make_no_potential(make, sentence):
    with pytest.raises(TypeError, match=sentence):
        make()


@pytest.mark.parametrize(
    "potential, crystal",
    [
        (LENNARD_JONES, bulk("Ar", "fcc", a=5.3, cubic=True)),
        (StillingerWeber.silicon(), bulk("Si", cubic=True)),
        (zhou2004(["Cu"]), bulk("Cu", cubic=True)),
    ],
    ids=str,
)
def test_one_crystal_in_any_cell(potential, crystal):
    """Atoms outside of the cell, an oblique cell of the same lattice, a primitive cell much shorter than the cutoff."""
    crystal.rattle(0.05, seed=1)
    outside, oblique = crystal.copy(), crystal.copy()
    outside.positions += np.random.default_rng(0).integers(-3, 4, (len(crystal), 3)) @ crystal.cell[:]
    a, b, c = crystal.cell
    oblique.set_cell([a, b - 2 * a, c + 3 * a - 2 * b])
    plain, *others = (potential(Structures.from_ase(atoms)) for atoms in (crystal, outside, oblique))
    for other in others:
        for name in ("energies", "forces", "flux_tensors"):
            torch.testing.assert_close(getattr(other, name), getattr(plain, name), rtol=1e-10, atol=1e-11)


def test_structures_of_all_kinds_in_one_batch():
    """A crystal of one atom, a slab, a molecule, one atom, and atoms out of reach: each as alone."""
    slab = bulk("Ar", "fcc", a=5.3, cubic=True)
    slab.pbc = (True, True, False)
    frames = [
        bulk("Ar", "fcc", a=5.3),
        slab,
        Atoms("Ar2", [[0, 0, 0], [3.8, 0, 0]]),
        Atoms("Ar", [[0, 0, 0]]),
        Atoms("Ar2", [[0, 0, 0], [50, 0, 0]]),
    ]
    batch = LENNARD_JONES(Structures.from_ase(frames))
    alone = [LENNARD_JONES(Structures.from_ase(atoms)) for atoms in frames]
    for name in ("energies", "forces", "flux_tensors"):
        torch.testing.assert_close(getattr(batch, name), torch.cat([getattr(one, name) for one in alone]))
    assert batch.energy[3:].tolist() == [0.0, 0.0]


def test_species_tables_keep_self_energies():
    """Damped, shifted charges: an atom's own energy belongs to the sum as its pairs do."""
    charged = damped_shifted_coulomb({"Na": 1.0, "Cl": -1.0}, alpha=0.2, cutoff=7.0)
    pairs = [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
    structures = Structures.from_ase(bulk("NaCl", "rocksalt", a=5.64))
    same = by_species(dict.fromkeys(pairs, charged))
    torch.testing.assert_close(same(structures).energies, charged(structures).energies)
    soft = LennardJones(dict.fromkeys(pairs, (0.01, 2.0)), 7.0)
    with pytest.raises(ValueError, match="gives Na the self-energy .*; accepted is one self-energy for a species"):
        by_species({("Na", "Na"): charged, ("Na", "Cl"): soft, ("Cl", "Cl"): None})


def test_a_hessian_that_is_not_there():
    structures = Structures.from_ase(bulk("Ar", "fcc", a=5.3))
    for potential in (BODIES, BODIES + LENNARD_JONES, 2 * BODIES):
        with pytest.raises(NotImplementedError, match="GayBerne has no hessian; differentiate its forces"):
            potential.hessian(structures)


def test_a_lattice_of_one_atom_can_be_verified():
    """Its forces and the products of its Hessian with vectors vanish: errors are those of the largest entry."""
    report = verify(LENNARD_JONES, bulk("Ar", "fcc", a=5.3), checks=["hessian"])
    assert report.passed and report["hessian"].error < 1e-8
