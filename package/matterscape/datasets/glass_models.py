"""Models of glasses that come with the package, at a minimum of their potential, and how they were made."""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

from matterscape.checks import check_whole
from matterscape.dynamics.quenching import amorphous_silica, amorphous_silicon, amorphous_silicon_carbide
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures.networks import SCHEDULE, Network

FOLDER = Path(__file__).parent / "glasses"
POTENTIALS = {"a-Si": Tersoff.silicon, "a-SiO2": Tersoff.silica, "a-SiC": Tersoff.silicon_carbide}
FORCE_TOLERANCE = 1e-6  # eV/Å
_STEPS = 2**32  # fractional coordinates are whole numbers of these: 1e-8 Å in a cell of 43 Å


def make_glass_model(
    material: str,
    n_atoms: int,
    *,
    seed: int = 0,
    schedule: tuple[tuple[float, int], ...] = SCHEDULE,
    network: Network | None = None,
) -> Atoms:
    """A glass at zero pressure and at a minimum of its potential, from a Wooten-Winer-Weaire network.

    Parameters
    ----------
    material : "a-Si", "a-SiO2" or "a-SiC"
        Tersoff's silicon or silicon carbide (Phys. Rev. B 39, 5566 (1989)), or the silica of Munetoh et al. (Comput.
        Mater. Sci. 39, 334 (2007)). Silica and silicon carbide are annealed at 1200 and 2000 K before.
    n_atoms : int
        8 k^3, or 24 k^3 for silica, with k from 2.
    seed, schedule, network
        As for :func:`~matterscape.dynamics.amorphous_silicon`; minutes of one core for a thousand atoms.

    Returns
    -------
    ase.Atoms
        ``info`` holds material, seed, energy_per_atom (eV), max_force (eV/Å) and density_g_cm3.

    Raises
    ------
    ValueError
        For an unknown material or a number of atoms that makes no network.
    """
    _check_material(material)
    options = {"seed": seed, "schedule": schedule, "network": network}
    options |= {"cell": "isotropic", "force_tolerance": FORCE_TOLERANCE}
    if material == "a-SiO2":
        if n_atoms % 3:
            raise ValueError(f"n_atoms is {n_atoms}; accepted for a-SiO2 is 24 k^3 with k from 2: 192, 648, 1536 ...")
        relaxation = amorphous_silica(n_atoms // 3, **options)
    else:
        relaxation = {"a-Si": amorphous_silicon, "a-SiC": amorphous_silicon_carbide}[material](n_atoms, **options)
    (atoms,) = relaxation.to_ase()
    atoms.wrap()
    atoms.calc = None
    atoms.info = {
        "material": material,
        "seed": seed,
        "energy_per_atom": float(relaxation.energies[0] / len(atoms)),
        "max_force": float(relaxation.max_forces[0]),
        "density_g_cm3": float(atoms.get_masses().sum() / atoms.get_volume() * 1.66053907),
    }
    return atoms


def glass_models() -> dict[str, dict[int, int]]:
    """How many samples of which sizes come with the package: ``{material: {n_atoms: samples}}``."""
    found: dict[str, dict[int, int]] = {material: {} for material in POTENTIALS}
    for path in sorted(FOLDER.glob("*.npz")):
        material, n_atoms, _ = path.stem.rsplit("_", 2)
        sizes = found[material]
        sizes[int(n_atoms)] = sizes.get(int(n_atoms), 0) + 1
    return {material: dict(sorted(sizes.items())) for material, sizes in found.items()}


def glass_model(material: str, n_atoms: int, sample: int = 0) -> Atoms:
    """One of the glasses of :func:`glass_models`, made by :func:`make_glass_model`.

    Parameters
    ----------
    material : "a-Si", "a-SiO2" or "a-SiC"
        Its potential is ``POTENTIALS[material]()``.
    n_atoms : int
    sample : int
        From 0; samples differ by the seed of the network.

    Returns
    -------
    ase.Atoms
        As of :func:`make_glass_model`; coordinates to 1e-8 Å, so that forces vanish to about 1e-6 eV/Å.

    Raises
    ------
    ValueError
        If the package holds no such model.
    """
    _check_material(material)
    sizes = glass_models()[material]
    if n_atoms not in sizes:
        accepted = ", ".join(map(str, sizes))
        raise ValueError(
            f"n_atoms is {n_atoms!r}; accepted for {material} are {accepted}; make_glass_model makes others"
        )
    check_whole("sample", sample, 0)
    if sample >= sizes[n_atoms]:
        raise ValueError(
            f"sample is {sample}; accepted are 0 to {sizes[n_atoms] - 1} for {material} of {n_atoms} atoms"
        )
    return _read(FOLDER / f"{material}_{n_atoms}_{sample}.npz").copy()


@cache
def _read(path: Path) -> Atoms:
    with np.load(path, allow_pickle=False) as file:
        edges = file["edges"]
        atoms = Atoms(file["numbers"].astype(int), file["fractions"] / _STEPS * edges, cell=edges, pbc=True)
        atoms.info = json.loads(str(file["info"]))
    return atoms


def save_glass_model(atoms: Atoms, path: str | os.PathLike) -> None:
    """Write a glass in a cubic or orthorhombic cell in the form that :func:`glass_model` reads."""
    fractions = np.round(atoms.get_scaled_positions() * _STEPS).astype(np.int64) % _STEPS
    np.savez_compressed(
        path,
        fractions=fractions.astype(np.uint32),
        numbers=atoms.numbers.astype(np.uint8),
        edges=atoms.cell.lengths(),
        info=json.dumps(atoms.info),
    )


def _check_material(material: str) -> None:
    if material not in POTENTIALS:
        raise ValueError(f"material is {material!r}; accepted are {', '.join(map(repr, POTENTIALS))}")
