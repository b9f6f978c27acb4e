"""Generated structures: deterministic, without overlaps, and labelled consistently."""

import numpy as np
import pytest
from ase.build import bulk
from ase.data import covalent_radii

from matterscape.datasets import generators
from matterscape.datasets.silicon_carbide import PHASES
from matterscape.potentials import Tersoff

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: [generators.silicon_crystal(2, rattle=0.1, seed=seed)],
        lambda seed: generators.random_molecules(5, seed=seed),
        lambda seed: [generators.water_box(20, seed=seed)],
        lambda seed: generators.labelled_structures(9, seed=seed),
    ],
)
def test_same_seed_same_structures(make):
    first, again, other = make(7), make(np.random.default_rng(7)), make(8)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.numbers, b.numbers)
        assert not np.array_equal(a.positions, c.positions)


def test_silicon_crystal():
    atoms = generators.silicon_crystal(3)
    assert len(atoms) == 216 and atoms.pbc.all()
    distances = np.sort(atoms.get_all_distances(mic=True)[0])
    np.testing.assert_allclose(distances[1:5], 5.431 * np.sqrt(3) / 4)
    assert distances[5] > 3.8
    displaced = generators.silicon_crystal(3, rattle=0.1).positions - atoms.positions
    assert displaced.std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("species", [(1, 6, 7, 8), (1, 6), (6,), (1, 8), (1, 14, 17)])
def test_random_molecules_are_bonded_and_do_not_overlap(species):
    molecules = generators.random_molecules(30, species=species, seed=1)
    assert len(molecules) == 30
    used = set()
    for atoms in molecules:
        used |= set(atoms.numbers)
        assert len(atoms) == 8 and not atoms.pbc.any()
        radii = covalent_radii[atoms.numbers]
        ratio = atoms.get_all_distances() / (radii[:, None] + radii) + 9 * np.eye(8)
        assert ratio.min() > 0.85
        bonds = ratio < 1.2
        assert bonds.sum() == 2 * 7  # a tree
        reached = np.linalg.matrix_power(bonds + np.eye(8, dtype=int), 8) > 0
        assert reached.all()
        assert bonds[atoms.numbers == 1].sum(axis=1).max(initial=0) <= 1
    assert used == set(species)


@pytest.mark.parametrize("n_molecules", [1, 2, 5, 64, 333])
def test_water_box(n_molecules):
    atoms = generators.water_box(n_molecules, density=1.0)
    assert len(atoms) == 3 * n_molecules and atoms.pbc.all()
    assert atoms.get_masses().sum() / atoms.get_volume() == pytest.approx(0.602214, rel=1e-5)
    distances = atoms.get_all_distances(mic=True)
    molecule = atoms.arrays["molecule"]
    inside = molecule[:, None] == molecule
    oxygen, hydrogen = atoms.numbers == 8, atoms.numbers == 1
    np.testing.assert_allclose(distances[inside & oxygen[:, None] & hydrogen], 0.9572, atol=1e-5)
    distances[inside] = np.inf
    assert distances[np.ix_(oxygen, oxygen)].min() >= 2.75
    assert distances[np.ix_(oxygen, hydrogen)].min() >= 1.79
    assert distances[np.ix_(hydrogen, hydrogen)].min() >= 1.5


@pytest.mark.parametrize(
    "element, lattice, energy", [("Si", 5.432, -4.63), ("C", 3.566, -7.37)]
)  # cohesive energies and lattice constants of Tersoff (1989)
def test_tersoff_parameters(element, lattice, energy):
    atoms = bulk(element, "diamond", a=lattice)
    atoms.calc = Tersoff.silicon_carbide().calculator()
    assert atoms.get_potential_energy() / 2 == pytest.approx(energy, abs=0.005)
    assert np.abs(atoms.get_stress()).max() < 2e-3  # eV/Å^3


def test_labelled_structures():
    frames = generators.labelled_structures(27, seed=3)
    assert {atoms.info["phase"] for atoms in frames} == set(PHASES)
    assert {frozenset(atoms.symbols) for atoms in frames} == {
        frozenset(["Si"]),
        frozenset(["C"]),
        frozenset(["Si", "C"]),
    }
    for atoms in frames:
        assert len(atoms) == 8 and atoms.pbc.all() and atoms.calc is None
        assert atoms.info["energy"] == pytest.approx(atoms.arrays["atomic_energy"].sum())
        assert np.abs(atoms.arrays["forces"].sum(axis=0)).max() < 1e-9
        assert np.isfinite(atoms.arrays["forces"]).all() and atoms.info["stress"].shape == (6,)
    stable = {symbol: -np.inf for symbol in ("Si8", "C8")}
    for atoms in frames:
        if atoms.info["phase"] == "diamond" and str(atoms.symbols) in stable:
            stable[str(atoms.symbols)] = atoms.info["energy"] / 8
    assert -4.63 < stable["Si8"] < -3 and -7.38 < stable["C8"] < -5.5


@pytest.mark.parametrize("index", [0, 20, 26])  # silicon; mixed species; a random packing
def test_forces_are_the_derivatives_of_the_energies(index):
    atoms = generators.labelled_structures(27, seed=3)[index].copy()
    forces, step = atoms.arrays["forces"], 1e-5
    atoms.calc = Tersoff.silicon_carbide().calculator()
    for atom, axis in [(0, 0), (3, 1), (7, 2)]:
        energies = []
        for sign in (1, -2):
            atoms.positions[atom, axis] += sign * step
            energies.append(atoms.get_potential_energy())
        atoms.positions[atom, axis] += step
        assert (energies[1] - energies[0]) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: generators.silicon_crystal(0), "n_repeat is 0; accepted is a whole number from 1"),
        (lambda: generators.silicon_crystal(1, rattle=-0.1), "rattle is -0.1 Å; accepted is"),
        (lambda: generators.silicon_crystal(1, rattle=np.nan), "rattle is nan Å; accepted is"),
        (lambda: generators.random_molecules(2.5), "n is 2.5; accepted is a whole number"),
        (lambda: generators.random_molecules(1, atoms_per_molecule=0), "atoms_per_molecule is 0; accepted"),
        (lambda: generators.random_molecules(1, species=(26,)), r"species is \(26,\); accepted are"),
        (lambda: generators.random_molecules(1, species=()), r"species is \(\); accepted are"),
        (lambda: generators.random_molecules(1, species=(1, 9)), "of valence 1; 8 atoms need one of valence 2"),
        (lambda: generators.water_box(True), "n_molecules is True; accepted"),
        (lambda: generators.water_box(5, density=3.0), r"density is 3.0 g/cm\^3; accepted is"),
        (lambda: generators.labelled_structures(-1), "n is -1; accepted is a whole number from 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
