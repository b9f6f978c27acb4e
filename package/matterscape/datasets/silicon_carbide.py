"""A generated, labelled set: phases of silicon, carbon and silicon carbide with energies and forces from Tersoff.

It stands in for a data set of first-principles calculations where none is within reach. The potential is classical
(J. Tersoff, Phys. Rev. B 39, 5566 (1989)), so the numbers are those of a model, but they are exact for that model:
smooth, extensive and consistent with their forces.
"""

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.stress import full_3x3_to_voigt_6_stress

from matterscape.datasets.packing import spread_points
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures

_BOND = {("Si",): 2.35, ("C",): 1.54, ("Si", "C"): 1.89}  # Å, in the tetrahedral phase


def _unit_phases() -> dict[str, Atoms]:
    """Crystals with bonds of length 1 whose atoms, taken in turn, belong to two sublattices."""
    beta_tin = Atoms(
        "Si4",
        scaled_positions=[(0, 0, 0), (0, 0.5, 0.25), (0.5, 0.5, 0.5), (0.5, 0, 0.75)],
        cell=np.array([1, 1, 0.55]) / np.hypot(0.5, 0.55 / 4),
        pbc=True,
    )
    lonsdaleite = Atoms(
        "Si4",
        scaled_positions=[
            (1 / 3, 2 / 3, 1 / 16),
            (1 / 3, 2 / 3, 7 / 16),
            (2 / 3, 1 / 3, 9 / 16),
            (2 / 3, 1 / 3, 15 / 16),
        ],
        cell=[np.sqrt(8 / 3), np.sqrt(8 / 3), 8 / 3, 90, 90, 120],
        pbc=True,
    )
    layers = Atoms(
        "Si2",
        scaled_positions=[(1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)],
        cell=[np.sqrt(3), np.sqrt(3), 2.2, 90, 90, 120],
        pbc=True,
    )
    return {
        "diamond": bulk("Si", "diamond", a=4 / np.sqrt(3), cubic=True),
        "hexagonal diamond": lonsdaleite.repeat((2, 1, 1)),
        "honeycomb layers": layers.repeat((2, 2, 1)),
        "beta-tin": beta_tin.repeat((1, 1, 2)),
        "simple cubic": bulk("SiSi", "rocksalt", a=2.0, cubic=True),
        "body-centred cubic": bulk("SiSi", "cesiumchloride", a=2 / np.sqrt(3)).repeat((2, 2, 1)),
        "face-centred cubic": bulk("Si", "fcc", a=np.sqrt(2), cubic=True).repeat((2, 1, 1)),
        "hexagonal close-packed": bulk("Si", "hcp", a=1.0, c=np.sqrt(8 / 3)).repeat((2, 2, 1)),
    }


# Bond length relative to the tetrahedral one: it grows with the number of neighbours.
_STRETCH = {
    "diamond": 1.0,
    "hexagonal diamond": 1.0,
    "honeycomb layers": 0.95,
    "beta-tin": 1.05,
    "simple cubic": 1.07,
    "body-centred cubic": 1.12,
    "face-centred cubic": 1.16,
    "hexagonal close-packed": 1.16,
}
_LIQUID = "liquid-like"
PHASES = (*_STRETCH, _LIQUID)


def labelled_structures(n: int = 216, seed: int | np.random.Generator = 0) -> list[Atoms]:
    """Small periodic structures of silicon, carbon and silicon carbide with energies and forces.

    Nine phases (eight crystals and random packings, 8 atoms each) by three compositions, in turn; each compressed or
    stretched by up to 6 %, sheared and rattled at random. Carbide crystals alternate their elements, one in three at
    random sites.

    Parameters
    ----------
    n : int
        Number of structures, at least 1; a multiple of 27 holds all kinds equally often.
    seed : int or numpy.random.Generator
        Of everything random.

    Returns
    -------
    list of ase.Atoms
        With ``info["energy"]`` (eV), ``info["stress"]`` (eV/Å^3, Voigt), ``info["phase"]`` (one of ``PHASES``),
        ``arrays["forces"]`` (eV/Å) and ``arrays["atomic_energy"]`` (eV).
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n is {n!r}; accepted is a whole number from 1")
    generator = np.random.default_rng(seed)
    crystals, compositions = _unit_phases(), list(_BOND)
    frames, phases = [], []
    for i in range(n):
        phase, composition = PHASES[i % len(PHASES)], compositions[i // len(PHASES) % len(compositions)]
        bond = _BOND[composition] * generator.uniform(0.94, 1.06)
        if phase == _LIQUID:
            atoms = _random_packing(8, bond, generator)
        else:
            atoms = _distorted(crystals[phase], bond * _STRETCH[phase], generator)
        symbols = np.resize(composition, len(atoms))
        atoms.symbols = generator.permutation(symbols) if generator.random() < 1 / 3 else symbols
        frames.append(atoms)
        phases.append(phase)
    _label(frames, phases)
    return frames


def _distorted(crystal: Atoms, bond: float, generator: np.random.Generator) -> Atoms:
    atoms = crystal.copy()
    strain = np.eye(3) + generator.normal(scale=0.015, size=(3, 3))
    atoms.set_cell(bond * crystal.cell.array @ strain, scale_atoms=True)
    atoms.positions += generator.normal(scale=bond * generator.uniform(0.005, 0.06), size=(len(atoms), 3))
    return atoms


def _random_packing(n_atoms: int, bond: float, generator: np.random.Generator) -> Atoms:
    """Random atoms at the density of the tetrahedral phase, none closer than 0.92 bonds."""
    edge = bond * (n_atoms * 8 / (3 * np.sqrt(3))) ** (1 / 3)
    return Atoms(f"Si{n_atoms}", spread_points(n_atoms, edge, 0.92 * bond, generator), cell=[edge] * 3, pbc=True)


def _label(frames: list[Atoms], phases: list[str]) -> None:
    structures = Structures.from_ase(frames)
    result = Tersoff.silicon_carbide()(structures)
    ends = structures.offsets.tolist()
    for k, (atoms, phase) in enumerate(zip(frames, phases)):
        own = slice(ends[k], ends[k + 1])
        stress = full_3x3_to_voigt_6_stress(result.stress[k].numpy())
        atoms.info = {"energy": float(result.energy[k]), "stress": stress, "phase": phase}
        atoms.set_array("forces", result.forces[own].numpy())
        atoms.set_array("atomic_energy", result.energies[own].numpy())
