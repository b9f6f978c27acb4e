"""Methane with its hydrogens anywhere in a ball: energies of many-body character in an unbiased environment."""

import os
from pathlib import Path

import numpy as np
from ase import Atoms, units

from matterscape.checks import check_whole
from matterscape.datasets.electronic_labels import gfn2_labels, gfn2_provenance, label_in_chunks
from matterscape.datasets.labels import read_labels, write_labels
from matterscape.datasets.readers import read_structures

RADIUS = 3.0  # Å, of the ball around the carbon
SHORTEST = 0.5  # Å, of all pairs
SHIPPED = Path(__file__).parent / "labelled" / "methane.npz"
#: Units of forces that ``load_methane`` may be told, as multiples of eV/Å.
FORCE_UNITS = {"eV/Å": 1.0, "Hartree/Å": units.Hartree, "Hartree/bohr": units.Hartree / units.Bohr}


def random_methane(n: int, seed: int | np.random.Generator = 0) -> list[Atoms]:
    """Carbon at the origin and four hydrogens uniform in a ball of 3 Å, all pairs farther apart than 0.5 Å.

    Parameters
    ----------
    n : int
    seed : int or numpy.random.Generator

    Returns
    -------
    list of ase.Atoms
        CH4, not periodic, carbon first. The coordinates are numbers of single precision, so that files keep them
        exactly.

    References
    ----------
    Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020), for the idea; Nigam et al., J. Chem. Phys. 153, 121101
    (2020).
    """
    check_whole("n", n, 1)
    generator = np.random.default_rng(seed)
    kept, n_kept = [], 0
    i, j = np.triu_indices(5, 1)
    while n_kept < n:
        directions = generator.normal(size=(2 * n, 4, 3))
        radii = RADIUS * generator.random((2 * n, 4, 1)) ** (1 / 3)
        hydrogens = radii * directions / np.linalg.norm(directions, axis=2, keepdims=True)
        positions = np.concatenate([np.zeros((2 * n, 1, 3)), hydrogens], axis=1).astype(np.float32).astype(float)
        distances = np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
        kept.append(positions[distances.min(axis=1) > SHORTEST])
        n_kept += len(kept[-1])
    return [Atoms("CH4", positions) for positions in np.concatenate(kept)[:n]]


def label_methane(
    folder: str | os.PathLike, n: int, seed: int = 0, *, file: str | os.PathLike | None = None
) -> list[Atoms]:
    """Random methane with energies and forces of GFN2-xTB; about 10 ms of one core each, resumed from the folder.

    Parameters
    ----------
    folder : path
        Of this n and seed alone.
    n : int
    seed : int
    file : path, optional
        Where to write the labelled frames as one file of :func:`~matterscape.datasets.labels.write_labels`.

    Returns
    -------
    list of ase.Atoms
        With ``info["energy"]`` (eV) and ``arrays["forces"]`` (eV/Å); frames that do not converge are left out.

    Raises
    ------
    ImportError
        If tblite is not installed.
    """
    frames = random_methane(n, seed)
    labels = label_in_chunks(folder, frames, gfn2_labels)
    chosen = [frames[number] for number in labels["frame"]]
    for atoms, energy, forces in zip(chosen, labels["energy"], labels["forces"]):
        atoms.info["energy"] = float(energy)
        atoms.arrays["forces"] = forces
    if file is not None:
        write_labels(file, chosen, gfn2_provenance(n, len(chosen), seed=seed, radius=RADIUS, shortest=SHORTEST))
    return chosen


def labelled_methane() -> list[Atoms]:
    """The thousand labelled frames that come with the package, as of :func:`label_methane`."""
    return read_labels(SHIPPED)[0]


def load_methane(path: str | os.PathLike, index: int | slice | str = ":", *, force_unit: str = "eV/Å") -> list[Atoms]:
    """Frames of the published random methane, ``methane.extxyz`` of the Materials Cloud records 2020.105 and 2020.110.

    Parameters
    ----------
    path : path
        Extended XYZ, carbon first, with ``energy`` in Hartree; may be compressed.
    index : int, slice or str
        Which frames, as in :func:`~matterscape.datasets.read_structures`.
    force_unit : "eV/Å", "Hartree/Å" or "Hartree/bohr"
        Of the file's forces, where it has any; forces of :func:`label_methane` for a few frames tell which it is.

    Returns
    -------
    list of ase.Atoms
        With ``info["energy"]`` in eV and, if there, ``arrays["forces"]`` in eV/Å.

    Raises
    ------
    ValueError
        If a frame is not CH4 with the carbon first or has no energy, or the unit is another one.
    """
    if force_unit not in FORCE_UNITS:
        raise ValueError(f"force_unit is {force_unit!r}; accepted are {', '.join(map(repr, FORCE_UNITS))}")
    frames = read_structures(path, index)
    for number, atoms in enumerate(frames):
        if atoms.get_chemical_symbols() != list("CHHHH") or "energy" not in atoms.info:
            raise ValueError(f"frame {number} of {path} is {atoms.symbols}; accepted are C, H, H, H, H with an energy")
        atoms.info["energy"] *= units.Hartree
        atoms.pbc = False
        if "forces" in atoms.arrays:
            atoms.arrays["forces"] = atoms.arrays["forces"] * FORCE_UNITS[force_unit]
    return frames
