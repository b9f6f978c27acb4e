"""Dipoles and polarisabilities of distorted small molecules, made with Hartree-Fock or read from public files."""

import os
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from scipy.spatial.transform import Rotation

from matterscape.checks import check_number, check_whole
from matterscape.datasets.electronic_labels import label_in_chunks, read_arrays, rhf_response, write_arrays
from matterscape.datasets.readers import read_structures

#: Closed-shell molecules of H, C, N and O in ASE's collection ``g2``.
PARENTS = (
    "CH3CHO", "HCOOH", "C2H2", "CH2NHCH2", "H3CNH2", "CH3CN", "CH2OCH2", "H2CCHCN", "H2CO", "N2H4", "H2O", "CH3OH",
    "C2H4", "N2O", "HCN", "NH3", "CH4", "H2CCO", "H2O2", "CO2", "C3H4_D2d", "HCOOCH3", "CH3CONH2", "CH3OCH3", "C2H6",
)  # fmt: skip
SHIPPED = Path(__file__).parent / "labelled" / "small_molecules.npz"
BASIS = "6-31g"
_ASYMMETRY = 1e-6
#: Units of dipoles that ``read_molecular_tensors`` may be told, as multiples of e bohr.
DIPOLE_UNITS = {"e bohr": 1.0, "e Å": 1 / units.Bohr, "debye": units.Debye / units.Bohr}


def distorted_molecules(n: int, seed: int | np.random.Generator = 0, *, displacement: float = 0.07) -> list[Atoms]:
    """Small organic molecules, each coordinate displaced at random, centred and turned at random.

    Parameters
    ----------
    n : int
        Frame k is made of the molecule k modulo 25.
    seed : int or numpy.random.Generator
    displacement : float
        Standard deviation of each coordinate in Å.

    Returns
    -------
    list of ase.Atoms
        With ``info["parent"]``; the coordinates are numbers of single precision, so that files keep them exactly.
    """
    check_whole("n", n, 1)
    check_number("displacement", displacement, "Å")
    generator = np.random.default_rng(seed)
    frames = []
    for number in range(n):
        parent = PARENTS[number % len(PARENTS)]
        atoms = molecule(parent)
        positions = atoms.positions + generator.normal(scale=displacement, size=(len(atoms), 3))
        positions = (positions - positions.mean(axis=0)) @ Rotation.random(random_state=generator).as_matrix().T
        frames.append(Atoms(atoms.numbers, positions.astype(np.float32).astype(float), info={"parent": parent}))
    return frames


def small_molecule_tensors(
    folder: str | os.PathLike, n: int, seed: int = 0, *, file: str | os.PathLike | None = None
) -> list[Atoms]:
    """Distorted molecules with dipoles and polarisabilities of RHF/6-31G; seconds of one core each, with resume.

    Parameters
    ----------
    folder : path
        Of this n and seed alone.
    n : int
    seed : int
        Of :func:`distorted_molecules`.
    file : path, optional
        Where to write the labelled frames.

    Returns
    -------
    list of ase.Atoms
        ``info`` has ``parent``, ``energy`` (eV), ``dipole`` (3,) in e bohr and ``polarisability`` (3, 3) in bohr^3;
        frames that do not converge are left out.

    Raises
    ------
    ImportError
        If PySCF is not installed.
    """
    frames = distorted_molecules(n, seed)
    labels = label_in_chunks(folder, frames, lambda atoms: rhf_response(atoms, basis=BASIS), chunk=20)
    chosen = [frames[number] for number in labels["frame"]]
    names = ("energy", "dipole", "polarisability")
    for number, atoms in enumerate(chosen):
        atoms.info.update({name: labels[name][number] for name in names})
        atoms.info["energy"] = float(atoms.info["energy"])
    if file is not None:
        write_arrays(
            file,
            {
                "method": "RHF",
                "basis": BASIS,
                "pyscf": version("pyscf"),
                "seed": seed,
                "frames": n,
                "failed": n - len(chosen),
            },
            counts=np.array([len(atoms) for atoms in chosen]),
            numbers=np.concatenate([atoms.numbers for atoms in chosen]).astype(np.uint8),
            positions=np.concatenate([atoms.positions for atoms in chosen]).astype(np.float32),
            parents=np.array([atoms.info["parent"] for atoms in chosen]),
            **{name: labels[name] for name in names},
        )
    return chosen


def read_small_molecules(path: str | os.PathLike | None = None) -> list[Atoms]:
    """Frames of a file of :func:`small_molecule_tensors`, or those that come with the package.

    Parameters
    ----------
    path : path, optional

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is another one.
    """
    names = ("counts", "numbers", "positions", "parents", "energy", "dipole", "polarisability")
    kept, _ = read_arrays(SHIPPED if path is None else path, names)
    ends = np.cumsum(kept["counts"])
    frames = []
    for number, (start, end) in enumerate(zip(ends - kept["counts"], ends)):
        atoms = Atoms(kept["numbers"][start:end].astype(int), kept["positions"][start:end].astype(float))
        atoms.info = {
            "parent": str(kept["parents"][number]),
            "energy": float(kept["energy"][number]),
            "dipole": kept["dipole"][number],
            "polarisability": kept["polarisability"][number],
        }
        frames.append(atoms)
    return frames


def read_molecular_tensors(source: str | os.PathLike | list[Atoms], *, dipole_unit: str = "e bohr") -> list[Atoms]:
    """Molecules with ``mu`` and ``alpha``, as in the public extracts of QM7-X and of water, with common names.

    Parameters
    ----------
    source : path or list of ase.Atoms
        Extended XYZ, or what ``load("qm7x-tensors-100")`` and ``load("water-structures")`` give: ``info`` with ``mu``
        (3,) and ``alpha`` (9,), row by row, in bohr^3.
    dipole_unit : "e bohr", "e Å" or "debye"
        Of ``mu``.

    Returns
    -------
    list of ase.Atoms
        New ones, with ``info["dipole"]`` (3,) in e bohr and ``info["polarisability"]`` (3, 3) in bohr^3, not periodic.

    Raises
    ------
    ValueError
        If a molecule lacks one of them, a polarisability is not symmetric, or the unit is another one.
    """
    if dipole_unit not in DIPOLE_UNITS:
        raise ValueError(f"dipole_unit is {dipole_unit!r}; accepted are {', '.join(map(repr, DIPOLE_UNITS))}")
    frames = [atoms.copy() for atoms in (source if isinstance(source, list) else read_structures(source))]
    for number, atoms in enumerate(frames):
        if np.size(atoms.info.get("mu", ())) != 3 or np.size(atoms.info.get("alpha", ())) != 9:
            raise ValueError(f"molecule {number} lacks mu with 3 or alpha with 9 numbers; accepted are those with both")
        alpha = np.reshape(atoms.info.pop("alpha"), (3, 3)).astype(float)
        difference = np.abs(alpha - alpha.T).max()
        if difference > _ASYMMETRY * np.abs(alpha).max():
            raise ValueError(
                f"alpha of molecule {number} differs from its transpose by {difference:.3g} bohr^3; accepted are "
                "symmetric ones"
            )
        atoms.pbc = False
        atoms.info["dipole"] = np.asarray(atoms.info.pop("mu"), dtype=float) * DIPOLE_UNITS[dipole_unit]
        atoms.info["polarisability"] = alpha
    return frames
