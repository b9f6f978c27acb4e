"""Energies of pairs of B8 that no correlation of order three around the atom in the middle tells apart."""

import ast
import os
from pathlib import Path

import numpy as np
from ase import Atoms, units

from matterscape.datasets.degenerate import ring_pair_positions, ring_pairs
from matterscape.datasets.electronic_labels import (
    gfn2_labels,
    gfn2_provenance,
    label_in_chunks,
    read_arrays,
    write_arrays,
)
from matterscape.datasets.readers import read_structures

SHIPPED = Path(__file__).parent / "labelled" / "boron_pairs.npz"
PARAMETERS = ("r", "z1", "z2", "psi", "phi1", "phi2")


def label_boron_pairs(
    folder: str | os.PathLike, n_pairs: int, seed: int = 0, *, file: str | os.PathLike | None = None
) -> list[Atoms]:
    """Random ring pairs of B8 with energies and forces of GFN2-xTB; about 40 ms of one core each, with resume.

    Parameters
    ----------
    folder : path
        Of this number and seed alone.
    n_pairs : int
    seed : int
        Of :func:`~matterscape.datasets.degenerate.ring_pairs`.
    file : path, optional
        Where to write parameters and labels; the positions follow from the former to all digits.

    Returns
    -------
    list of ase.Atoms
        Frames 2k and 2k + 1 are partners; pairs of which one does not converge are left out. ``info`` has ``energy``
        (eV), ``pair``, ``sign`` (1 with the apex up, -1 down) and the six parameters, ``arrays`` has ``forces`` (eV/Å).

    Raises
    ------
    ImportError
        If tblite is not installed.
    """
    positions, parameters = ring_pairs(n_pairs, seed)
    labels = label_in_chunks(folder, [Atoms("B8", p) for p in positions], gfn2_labels)
    energies, forces = np.full((n_pairs, 2), np.nan), np.zeros((n_pairs, 2, 8, 3))
    pair, partner = np.divmod(labels["frame"], 2)
    energies[pair, partner], forces[pair, partner] = labels["energy"], labels["forces"]
    complete = np.isfinite(energies).all(axis=1)
    energies, forces, parameters = energies[complete], forces[complete], parameters[complete]
    if file is not None:
        provenance = gfn2_provenance(2 * n_pairs, 2 * len(energies), seed=seed)
        write_arrays(file, provenance, parameters=parameters, energies=energies, forces=forces.astype(np.float32))
    return _frames(parameters, energies, forces)


def read_boron_pairs(path: str | os.PathLike | None = None) -> list[Atoms]:
    """Pairs of a file of :func:`label_boron_pairs`, or the 150 that come with the package.

    Parameters
    ----------
    path : path, optional

    Returns
    -------
    list of ase.Atoms
        As of :func:`label_boron_pairs`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is another one.
    """
    arrays, _ = read_arrays(SHIPPED if path is None else path, ("parameters", "energies", "forces"))
    return _frames(arrays["parameters"], arrays["energies"], arrays["forces"].astype(float))


def _frames(parameters: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> list[Atoms]:
    frames = []
    for number, positions in enumerate(ring_pair_positions(parameters)):
        pair, partner = divmod(number, 2)
        atoms = Atoms("B8", positions)
        atoms.info = {"energy": float(energies[pair, partner]), "pair": pair, "sign": 1 - 2 * partner}
        atoms.info.update(zip(PARAMETERS, map(float, parameters[pair])))
        atoms.arrays["forces"] = forces[pair, partner]
        frames.append(atoms)
    return frames


def load_boron_pairs(path: str | os.PathLike) -> list[Atoms]:
    """The published pairs, ``boron_8000_pbeccpvdz.xyz``: frames 2k and 2k + 1 are partners.

    Parameters
    ----------
    path : path
        Extended XYZ with ``energy_ha`` (Hartree), ``pars`` (text of index, sign, r, z1, z2, psi, phi1, phi2) and the
        gradient ``gradient_habohr`` (Hartree/bohr).

    Returns
    -------
    list of ase.Atoms
        As of :func:`label_boron_pairs`; PBE/cc-pVDZ with a smearing of 0.01 Hartree.

    Raises
    ------
    ValueError
        If a frame lacks an entry, the number of frames is odd, or two frames are no partners.

    References
    ----------
    Nigam et al., APL Mach. Learn. 2, 016110 (2024).
    """
    frames = read_structures(path)
    if len(frames) % 2:
        raise ValueError(f"{path} has {len(frames)} frames; accepted is an even number, partners in turn")
    for number, atoms in enumerate(frames):
        if not {"energy_ha", "pars"} <= set(atoms.info) or "gradient_habohr" not in atoms.arrays:
            raise ValueError(f"frame {number} of {path} lacks energy_ha, pars or gradient_habohr")
        values = np.array(_numbers(atoms.info.pop("pars")))
        if len(values) != 8:
            raise ValueError(f"frame {number} of {path} has {len(values)} numbers in pars; accepted are 8")
        atoms.info.update(
            energy=float(atoms.info.pop("energy_ha")) * units.Hartree,
            pair=number // 2,
            sign=int(np.sign(values[1])),
            **dict(zip(PARAMETERS, map(float, values[2:]))),
        )
        atoms.arrays["forces"] = -atoms.arrays.pop("gradient_habohr") * units.Hartree / units.Bohr
        atoms.pbc = False
    for pair, (up, down) in enumerate(zip(frames[::2], frames[1::2])):
        same = [up.info[name] == down.info[name] for name in PARAMETERS]
        if not all(same) or up.info["sign"] == down.info["sign"]:
            raise ValueError(f"frames {2 * pair} and {2 * pair + 1} of {path} are no partners: their pars do not match")
    return frames


def _numbers(text) -> list[float]:
    """Numbers of a tuple that was written as text, or of an array."""
    if isinstance(text, str):
        try:
            text = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            return []
    return [float(value) for value in np.ravel(text)]
