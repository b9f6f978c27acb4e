"""Energies, forces, dipoles and polarisabilities of many small molecules from electronic structure, with resume.

Structures take milliseconds to seconds each, so that they are kept in files of many; what was computed is never
computed again. The programs come with the extra ``qm``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError

from matterscape.checks import check_number, check_whole
from matterscape.models.files import atomic_path
from matterscape.progress import progress

#: Width of the Fermi distribution that keeps broken bonds converging, kT in Hartree.
SMEARING_HARTREE = 0.01
_NOT_INSTALLED = "{package} is not installed; install it with the extra of this package, pip install 'matterscape[qm]'"


def gfn2_labels(atoms: Atoms, *, smearing_hartree: float = SMEARING_HARTREE) -> dict[str, np.ndarray]:
    """Energy and forces of a molecule in GFN2-xTB.

    Parameters
    ----------
    atoms : ase.Atoms
        Neutral.
    smearing_hartree : float
        kT of the electrons in Hartree. The energy is the free energy, which the forces belong to.

    Returns
    -------
    dict
        ``"energy"`` in eV and ``"forces"`` (n_atoms, 3) in eV/Å.

    Raises
    ------
    ImportError
        If tblite is not installed.
    RuntimeError, ase.calculators.calculator.CalculatorError
        If the charges do not converge.

    References
    ----------
    Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
    """
    check_number("smearing_hartree", smearing_hartree, "Hartree", positive=True)
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED.format(package="tblite")) from error
    temperature = smearing_hartree * units.Hartree / units.kB
    molecule = Atoms(atoms.numbers, atoms.positions)
    molecule.calc = TBLite(method="GFN2-xTB", electronic_temperature=temperature, verbosity=0)
    return {"energy": np.array(molecule.get_potential_energy()), "forces": molecule.get_forces()}


def rhf_response(atoms: Atoms, *, basis: str = "6-31g", field: Sequence[float] = (0.0, 0.0, 0.0)) -> dict:
    """Energy, dipole and static polarisability of a molecule in restricted Hartree-Fock.

    The polarisability is that of the coupled-perturbed equations, alpha_ab = -4 sum_ai <a|r_a|i> U^b_ai.

    Parameters
    ----------
    atoms : ase.Atoms
        Neutral, with an even number of electrons.
    basis : str
        Any name that PySCF knows.
    field : (float, float, float)
        Uniform electric field in atomic units.

    Returns
    -------
    dict
        ``"energy"`` in eV, ``"dipole"`` (3,) in e bohr and ``"polarisability"`` (3, 3) in bohr^3; order x, y, z.

    Raises
    ------
    ImportError
        If PySCF is not installed.
    RuntimeError
        If the field does not converge.
    ValueError
        If the number of electrons is odd.
    """
    if atoms.numbers.sum() % 2:
        raise ValueError(f"atoms have {atoms.numbers.sum()} electrons; accepted is an even number")
    try:
        from pyscf import gto, scf
        from pyscf.scf import cphf
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED.format(package="pyscf")) from error
    molecule = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions)), basis=basis, unit="Angstrom", verbose=0
    )
    position = molecule.intor_symmetric("int1e_r", comp=3)
    solver = scf.RHF(molecule)
    solver.conv_tol, solver.conv_tol_grad = 1e-11, 1e-7
    core = solver.get_hcore() + np.einsum("x,xpq->pq", field, position)  # an electron has the charge -1
    solver.get_hcore = lambda *_: core
    energy = solver.kernel()
    if not solver.converged:
        raise RuntimeError(f"the field of {atoms.symbols} does not converge")
    occupied, empty = solver.mo_coeff[:, solver.mo_occ > 0], solver.mo_coeff[:, solver.mo_occ == 0]
    perturbation = np.einsum("xpq,pa,qi->xai", position, empty, occupied)
    respond = solver.gen_response(hermi=1)

    def induced(orbitals: np.ndarray) -> np.ndarray:
        orbitals = orbitals.reshape(-1, empty.shape[1], occupied.shape[1])
        density = 2 * np.einsum("xai,pa,qi->xpq", orbitals, empty, occupied)
        potential = respond(density + density.transpose(0, 2, 1))
        return np.einsum("xpq,pa,qi->xai", potential, empty, occupied)

    changes, _ = cphf.solve(induced, solver.mo_energy, solver.mo_occ, perturbation, tol=1e-10, verbose=0)
    polarisability = -4 * np.einsum("xai,yai->xy", perturbation, changes.reshape(perturbation.shape))
    nuclear = np.einsum("i,ix->x", molecule.atom_charges(), molecule.atom_coords())
    return {
        "energy": np.array(energy * units.Hartree),
        "dipole": nuclear - np.einsum("xpq,qp->x", position, solver.make_rdm1()),
        "polarisability": (polarisability + polarisability.T) / 2,
    }


def label_in_chunks(
    folder: str | os.PathLike,
    frames: Sequence[Atoms],
    label: Callable[[Atoms], Mapping[str, np.ndarray]],
    *,
    chunk: int = 250,
    show_progress: bool = True,
) -> dict[str, np.ndarray]:
    """Labels of every frame; what an earlier call with the same frames left in the folder is read.

    A frame whose calculation fails (``RuntimeError`` or ``CalculatorError``), or gives what is not finite, is left
    out and remembered as failed.

    Parameters
    ----------
    folder : path
        One file for each chunk of frames.
    frames : sequence of ase.Atoms
    label : callable
        ``label(atoms)`` gives arrays by name, of the same shapes for all frames.
    chunk : int
        Frames in a file; an interrupt loses those of the file that was being computed.
    show_progress : bool

    Returns
    -------
    dict of str to array
        ``"frame"`` (n_labelled,), the numbers of the frames that have labels, and the labels (n_labelled, ...).

    Raises
    ------
    ValueError
        If the folder holds labels of other frames.
    RuntimeError
        If no frame has labels.
    """
    check_whole("chunk", chunk, 1)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(frames), chunk)
    parts = []
    for start in progress(starts, "labels") if show_progress else starts:
        members = frames[start : start + chunk]
        file, digest = folder / f"{start:06d}.npz", _digest(members)
        if not file.exists():
            _compute(file, members, label, digest)
        with np.load(file, allow_pickle=False) as kept:
            if str(kept["digest"]) != digest:
                raise ValueError(f"{file} holds labels of other frames; give a new folder, or the frames as before")
            part = {name: kept[name] for name in kept if name != "digest"}
        part["frame"] = part["frame"] + start
        parts.append(part)
    parts = [part for part in parts if len(part["frame"])]
    if not parts:
        raise RuntimeError("no frame has labels: every calculation failed")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _digest(frames: Sequence[Atoms]) -> str:
    found = hashlib.sha256()
    for atoms in frames:
        found.update(atoms.numbers.astype(np.int64).tobytes())
        found.update(np.round(atoms.positions, 8).astype(np.float64).tobytes())
    return found.hexdigest()


def _compute(file: Path, frames: Sequence[Atoms], label: Callable, digest: str) -> None:
    done, labels = [], []
    for number, atoms in enumerate(frames):
        try:
            found = {name: np.asarray(value, dtype=float) for name, value in label(atoms).items()}
        except (RuntimeError, CalculatorError):
            continue
        if all(np.isfinite(value).all() for value in found.values()):
            done.append(number)
            labels.append(found)
    arrays = {name: np.stack([found[name] for found in labels]) for name in labels[0]} if labels else {}
    with atomic_path(file) as partial, open(partial, "wb") as out:
        np.savez(out, digest=digest, frame=np.array(done, dtype=np.int64), **arrays)


def write_arrays(path: str | os.PathLike, provenance: dict, **arrays: np.ndarray) -> None:
    """Write arrays and what made them to one compressed ``.npz`` file, all or nothing.

    Parameters
    ----------
    path : path
    provenance : dict
        Must be fit for JSON.
    **arrays
    """
    with atomic_path(path) as partial, open(partial, "wb") as out:
        np.savez_compressed(out, provenance=json.dumps(provenance), **arrays)


def read_arrays(path: str | os.PathLike, names: Sequence[str]) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays of a file of :func:`write_arrays` and its provenance.

    Parameters
    ----------
    path : path
    names : sequence of str
        Arrays that must be there.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an array is missing.
    """
    with np.load(path, allow_pickle=False) as file:
        missing = sorted({*names, "provenance"} - set(file))
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}; accepted are files with {', '.join(sorted(names))}")
        return {name: file[name] for name in names}, json.loads(str(file["provenance"]))


def gfn2_provenance(n_frames: int, n_labelled: int, **more) -> dict:
    """What made labels of :func:`gfn2_labels`, for a file of them."""
    method = {"method": "GFN2-xTB", "smearing_hartree": SMEARING_HARTREE, "tblite": version("tblite")}
    return {**method, "frames": n_frames, "failed": n_frames - n_labelled, **more}
