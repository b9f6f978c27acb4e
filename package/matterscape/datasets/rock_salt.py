"""Rock salt with ions on each other's places: point charges whose energy reaches beyond every cut-off."""

import numpy as np
from ase import Atoms
from ase.build import bulk

from matterscape.checks import check_number, check_whole
from matterscape.potentials.coulomb import Coulomb
from matterscape.structures import Structures

LATTICE_CONSTANT = 5.64  # Å, NaCl
CHARGES = {"Na": 1.0, "Cl": -1.0}
_FORCE_ERROR = 1e-6  # eV/Å, which leaves the energies with far less than 1e-4 eV


def antisite_rocksalt(
    n: int,
    seed: int | np.random.Generator = 0,
    *,
    n_repeat: int = 2,
    antisites: tuple[int, int] = (2, 23),
    displacement: float = 0.05,
) -> list[Atoms]:
    """Cells of rock salt in which some Na and as many Cl have changed places, with their energy as point charges.

    Parameters
    ----------
    n : int
    seed : int or numpy.random.Generator
    n_repeat : int
        Conventional cells of 5.64 Å along each axis; 8 n_repeat^3 ions.
    antisites : (int, int)
        Smallest and largest number of Na that change places, drawn uniformly.
    displacement : float
        Standard deviation of the Gaussian displacements in Å.

    Returns
    -------
    list of ase.Atoms
        ``info`` has ``energy`` in eV (Ewald sum of the charges +1 and -1), ``energy_per_atom`` and ``antisites``.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    check_whole("n", n, 1)
    check_whole("n_repeat", n_repeat, 1)
    check_number("displacement", displacement, "Å")
    perfect = bulk("NaCl", "rocksalt", a=LATTICE_CONSTANT, cubic=True).repeat(n_repeat)
    low, high = antisites
    if not 0 <= low <= high <= len(perfect) // 2:
        raise ValueError(f"antisites are {antisites!r}; accepted is from 0 to {len(perfect) // 2}, the smaller first")
    generator = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = perfect.copy()
        count = int(generator.integers(low, high + 1))
        for number in (11, 17):
            changed = generator.choice(np.flatnonzero(perfect.numbers == number), count, replace=False)
            atoms.numbers[changed] = 28 - number
        atoms.positions += generator.normal(scale=displacement, size=(len(atoms), 3))
        atoms.info["antisites"] = count
        frames.append(atoms)
    for atoms, energy in zip(frames, point_charge_energies(frames)):
        atoms.info.update(energy=float(energy), energy_per_atom=float(energy) / len(atoms))
    return frames


def point_charge_energies(frames: list[Atoms]) -> np.ndarray:
    """Energies (n_frames,) in eV of crystals of Na and Cl as charges +1 and -1, by an Ewald sum.

    Raises
    ------
    ValueError
        If a crystal has other elements or is not neutral.
    """
    potential = Coulomb(CHARGES, force_error=_FORCE_ERROR, method="ewald")
    return potential(Structures.from_ase(frames)).energy.numpy()
