"""Structures out of a seed: crystals, molecules and liquids for benchmarks, tests and notebooks without data.

The same arguments and seed give the same structures. ``labelled_structures`` lives in ``silicon_carbide`` and comes
with energies and forces.
"""

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.data import atomic_masses, covalent_radii
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from matterscape.datasets.packing import spread_points
from matterscape.datasets.silicon_carbide import labelled_structures

__all__ = ["labelled_structures", "random_molecules", "silicon_crystal", "water_box"]

_VALENCE = {1: 1, 5: 3, 6: 4, 7: 3, 8: 2, 9: 1, 14: 4, 15: 3, 16: 2, 17: 1}
_WATER = np.array([[0.0, 0.0, 0.0], [0.9572, 0.0, 0.0], [-0.239987, 0.926627, 0.0]])  # Å; 104.52 degrees


def silicon_crystal(n_repeat: int = 1, rattle: float = 0.0, seed: int | np.random.Generator = 0) -> Atoms:
    """Diamond silicon (5.431 Å), ``n_repeat`` conventional cells along each axis, optionally rattled.

    Parameters
    ----------
    n_repeat : int
        At least 1; the structure has ``8 n_repeat**3`` atoms.
    rattle : float
        Standard deviation of the Gaussian displacements, in Å.
    seed : int or numpy.random.Generator
        Of the displacements.
    """
    _check_count("n_repeat", n_repeat)
    if not 0 <= rattle < 1:
        raise ValueError(f"rattle is {rattle!r} Å; accepted is a displacement from 0 to 1 Å")
    atoms = bulk("Si", "diamond", a=5.431, cubic=True).repeat(n_repeat)
    atoms.positions += np.random.default_rng(seed).normal(scale=rattle, size=(len(atoms), 3)) if rattle else 0.0
    return atoms


def random_molecules(
    n: int,
    atoms_per_molecule: int = 8,
    species: tuple[int, ...] = (1, 6, 7, 8),
    seed: int | np.random.Generator = 0,
) -> list[Atoms]:
    """Random molecules grown atom by atom, with bonds of covalent length and no overlapping atoms.

    Each new atom is bonded to one that still has a free valence, at the sum of the covalent radii (2 % spread), in the
    roomiest of a few random directions; all other atoms stay 1.4 times the sum of their radii away. Elements are
    drawn so that the molecule can always be completed. Geometries are plausible, not relaxed.

    Parameters
    ----------
    n : int
        Number of molecules.
    atoms_per_molecule : int
        Number of atoms of each, at least 1.
    species : tuple of int
        Atomic numbers to choose from, among H, B, C, N, O, F, Si, P, S, Cl; one of them must bind two neighbours if
        there are to be more than two atoms.
    seed : int or numpy.random.Generator
        Of everything random.

    Returns
    -------
    list of ase.Atoms
        Non-periodic, without cell, centred on their mean position.
    """
    _check_count("n", n)
    _check_count("atoms_per_molecule", atoms_per_molecule)
    unknown = [number for number in species if number not in _VALENCE]
    if unknown or not species:
        raise ValueError(f"species is {species!r}; accepted are atomic numbers among {tuple(_VALENCE)}")
    if atoms_per_molecule > 2 and max(_VALENCE[number] for number in species) < 2:
        raise ValueError(f"species is {species!r}, of valence 1; {atoms_per_molecule} atoms need one of valence 2")
    generator = np.random.default_rng(seed)
    return [_grow_molecule(atoms_per_molecule, np.array(species), generator) for _ in range(n)]


def _grow_molecule(n_atoms: int, species: np.ndarray, generator: np.random.Generator) -> Atoms:
    valence = np.array([_VALENCE[number] for number in species])
    while True:  # a molecule that has grown into a corner is started again
        numbers, positions, free = [], np.empty((0, 3)), []
        while len(numbers) < n_atoms:
            # a terminal atom may take the last free valence only with the last atom of the molecule
            open_valences = sum(free) - (1 if numbers else 0)
            remaining = n_atoms - len(numbers) - 1
            allowed = (valence - (1 if numbers else 0) + open_valences > 0) | (remaining == 0)
            choice = generator.choice(np.flatnonzero(allowed))
            number = int(species[choice])
            position = _attach(number, numbers, positions, free, generator)
            if position is None:
                break
            numbers.append(number)
            positions = np.vstack([positions, position])
            free.append(int(valence[choice]) - (1 if len(numbers) > 1 else 0))
        else:
            return Atoms(numbers=numbers, positions=positions - positions.mean(axis=0))


def _attach(number, numbers, positions, free, generator: np.random.Generator, attempts: int = 16) -> np.ndarray | None:
    """Position of a new atom on one with a free valence, which it uses up; None where there is no room."""
    if not numbers:
        return np.zeros(3)
    radii = covalent_radii[numbers] + covalent_radii[number]
    for parent in generator.permutation(np.flatnonzero(free)):
        directions = generator.normal(size=(attempts, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        length = radii[parent] * generator.normal(1.0, 0.02)
        candidates = positions[parent] + length * directions  # (attempts, 3)
        gaps = np.linalg.norm(candidates[:, None] - positions, axis=2) / radii  # (attempts, atoms)
        gaps[:, parent] = np.inf
        room = gaps.min(axis=1)
        if room.max() > 1.4:
            free[parent] -= 1
            return candidates[np.argmax(room)]
    return None


def water_box(n_molecules: int = 333, density: float = 0.997, seed: int | np.random.Generator = 0) -> Atoms:
    """Rigid water molecules in a periodic cube, randomly turned, none overlapping.

    Oxygen atoms are at least 2.75 Å apart, hydrogen atoms of different molecules at least 1.5 Å, which leaves at least
    1.79 Å between O and H. The result is disordered but no equilibrated liquid.

    Parameters
    ----------
    n_molecules : int
        Number of molecules, at least 1.
    density : float
        Mass density in g/cm^3, up to 1.1.
    seed : int or numpy.random.Generator
        Of everything random.

    Returns
    -------
    ase.Atoms
        ``3 n_molecules`` atoms in the order O, H, H; ``arrays["molecule"]`` numbers the molecules.
    """
    _check_count("n_molecules", n_molecules)
    if not 0 < density <= 1.1:
        raise ValueError(f"density is {density!r} g/cm^3; accepted is a density above 0 and up to 1.1 g/cm^3")
    generator = np.random.default_rng(seed)
    mass = atomic_masses[8] + 2 * atomic_masses[1]  # amu
    edge = (n_molecules * mass / (density * units.kg * 1e-27)) ** (1 / 3)
    hydrogens = None
    while hydrogens is None:
        oxygens = spread_points(n_molecules, edge, 2.75, generator)
        hydrogens = _turn_to_fit(oxygens, edge, 1.5, generator)
    positions = np.concatenate([oxygens[:, None], hydrogens], axis=1)  # (molecules, 3 atoms, 3)
    atoms = Atoms(numbers=[8, 1, 1] * n_molecules, positions=positions.reshape(-1, 3), cell=[edge] * 3, pbc=True)
    atoms.set_array("molecule", np.repeat(np.arange(n_molecules), 3))
    return atoms


def _turn_to_fit(
    oxygens: np.ndarray, edge: float, distance: float, generator: np.random.Generator, sweeps: int = 50, tries: int = 64
) -> np.ndarray | None:
    """Hydrogen positions (molecules, 2, 3) with ``distance`` between molecules; None if turning can't achieve it."""
    arms = np.array([_WATER[1:] @ turn.T for turn in Rotation.random(len(oxygens), generator).as_matrix()])
    reach = 2 * np.linalg.norm(_WATER[1]) + distance
    neighbours = cKDTree(oxygens, boxsize=edge).query_ball_point(oxygens, min(reach, 0.999 * edge))
    for _ in range(sweeps):
        moved = False
        for i, near in enumerate(neighbours):
            others = np.array([j for j in near if j != i], dtype=int)
            if not len(others):
                continue
            hydrogens = (oxygens[others, None] + arms[others]).reshape(-1, 3)
            if _gap(oxygens[i] + arms[i], hydrogens, edge) >= distance:
                continue
            moved = True
            trials = _WATER[1:] @ Rotation.random(tries, generator).as_matrix().transpose(0, 2, 1)  # (tries, 2, 3)
            gaps = [_gap(oxygens[i] + trial, hydrogens, edge) for trial in trials]
            arms[i] = trials[int(np.argmax(gaps))]
        if not moved:
            return oxygens[:, None] + arms
    return None


def _gap(first: np.ndarray, second: np.ndarray, edge: float) -> float:
    """Shortest distance between two sets of points in a periodic cube."""
    vectors = first[:, None] - second
    vectors -= edge * np.round(vectors / edge)
    return float(np.sqrt((vectors**2).sum(axis=-1).min()))


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}; accepted is a whole number from 1")
