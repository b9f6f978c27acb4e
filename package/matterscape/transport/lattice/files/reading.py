"""One door to the force constants of other codes: what a folder holds, read, resolved by image, and judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.files import kaldo_arrays, lammps, phonopy_files, shengbte, tdep
from matterscape.transport.lattice.harmonic import impose_acoustic_sum_rule
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.symmetry import SpaceGroup, space_group_mean, symmetry_residual
from matterscape.transport.lattice.triplet_symmetry import impose_sum_rule
from matterscape.transport.lattice.triplets import TripletForceConstants

_CRYSTAL = 32  # atoms


@dataclass(frozen=True, eq=False)
class LatticeFiles:
    """Force constants of a cell as read from files.

    Attributes
    ----------
    force_constants : ForceConstants
    third_order : TripletForceConstants or None
        None if the folder holds no third order.
    code : str
        Whose files they are.
    """

    force_constants: ForceConstants
    third_order: TripletForceConstants | None
    code: str

    @property
    def structures(self) -> Structures:
        """The cell."""
        return self.force_constants.structures

    def report(self) -> str:
        """What was read, and how far it breaks the sum rules and symmetries that exact derivatives keep.

        The symmetry of the space group is looked at in cells of up to 32 atoms.
        """
        atoms = self.structures.to_ase()[0]
        second = self.force_constants
        lines = [
            f"{atoms.get_chemical_formula()}, {len(atoms)} atoms, read from files of {self.code}",
            f"second order: {len(second.first)} pairs, largest {np.abs(second.blocks).max():.4g} eV/Å^2, "
            f"acoustic sum rule broken by {second.acoustic_residual():.2g}, symmetry by {second.asymmetry():.2g} "
            "eV/Å^2",
        ]
        third = self.third_order
        if len(atoms) <= _CRYSTAL:
            symbol = SpaceGroup.of(self.structures).symbol
            broken = [f"{symmetry_residual(order):.2g}" for order in (second, third) if order is not None]
            lines.append(f"space group {symbol}, broken by {' and '.join(broken)} in second and third order")
        if third is not None:
            lines.insert(
                2,
                f"third order: {len(third.first)} triplets, largest {np.abs(third.blocks).max():.4g} eV/Å^3, acoustic "
                f"sum rule broken by {third.acoustic_residual():.2g}, symmetry by {third.index_asymmetry():.2g} eV/Å^3",
            )
        return "\n".join(lines)

    def with_space_group(self) -> "LatticeFiles":
        """The same, averaged over the operations of the crystal's space group."""
        third = None if self.third_order is None else space_group_mean(self.third_order)
        return replace(self, force_constants=space_group_mean(self.force_constants), third_order=third)

    def with_sum_rules(self) -> "LatticeFiles":
        """The same, symmetric, with sums over all atoms that vanish.

        By :func:`~matterscape.transport.lattice.harmonic.impose_acoustic_sum_rule` and
        :func:`~matterscape.transport.lattice.triplet_symmetry.impose_sum_rule`.
        """
        third = None if self.third_order is None else impose_sum_rule(self.third_order)
        return replace(self, force_constants=impose_acoustic_sum_rule(self.force_constants), third_order=third)


def read_lattice(
    folder: Path | str,
    *,
    code: str | None = None,
    repeats: Sequence[int] | None = None,
    structure: Atoms | Path | str | None = None,
) -> LatticeFiles:
    """Force constants from a folder with files of another code.

    ===========  ====================================================================================================
    code         files
    ===========  ====================================================================================================
    "phonopy"    phonopy_params.yaml, phonopy.yaml or phonopy_disp.yaml; FORCE_CONSTANTS, force_constants.hdf5 or
                 FORCE_SETS unless the first holds them
    "phono3py"   phono3py_params.yaml, phono3py.yaml or phono3py_disp.yaml; fc2.hdf5, fc3.hdf5
    "lammps"     Dyn.form and THIRD of style eskm; the cell in CONFIG, data.lammps, or as ``structure``
    "kaldo"      second.npy, third.npz, replicated_atoms.xyz
    "shengbte"   FORCE_CONSTANTS_2ND or FORCE_CONSTANTS, FORCE_CONSTANTS_3RD, POSCAR
    "tdep"       infile.ucposcar, infile.forceconstant, infile.forceconstant_thirdorder
    ===========  ====================================================================================================

    Parameters
    ----------
    folder : path
    code : str, optional
        Found from the names of the files if not given.
    repeats : three ints, optional
        Unit cells in the supercell, which files of LAMMPS, kALDo and ShengBTE do not tell; 1, 1, 1 if not given.
    structure : ase.Atoms or path, optional
        The cell of LAMMPS' files, with all its replicas.

    Returns
    -------
    LatticeFiles
        Of the unit cell. Nothing is symmetrised: see :meth:`LatticeFiles.report`,
        :meth:`LatticeFiles.with_space_group` and :meth:`LatticeFiles.with_sum_rules`.

    Raises
    ------
    ValueError
        If the folder holds no files of a code that is known, or files that contradict each other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}; accepted is a folder that exists")
    code = _found_code(folder) if code is None else code
    if code not in _READERS:
        raise ValueError(f"code is {code!r}; accepted are {', '.join(map(repr, _READERS))}")
    repeats = (1, 1, 1) if repeats is None else tuple(int(number) for number in repeats)
    return LatticeFiles(*_READERS[code](folder, repeats, structure), code)


_MARKS = {
    "phono3py": ("phono3py_params.yaml", "phono3py.yaml", "phono3py_disp.yaml"),
    "phonopy": ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml"),
    "lammps": ("Dyn.form",),
    "kaldo": ("second.npy",),
    "tdep": ("infile.forceconstant",),
    "shengbte": ("FORCE_CONSTANTS_2ND", "FORCE_CONSTANTS"),
}


def _found_code(folder: Path) -> str:
    for code, names in _MARKS.items():
        if any((folder / name).exists() for name in names):
            return code
    marks = ", ".join(name for names in _MARKS.values() for name in names)
    raise ValueError(f"folder {str(folder)!r} holds no file of force constants; accepted is one of {marks}")


_Read = tuple[ForceConstants, TripletForceConstants | None]


def _phonopy(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    return phonopy_files.load_phonopy(folder), None


def _phono3py(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    return phonopy_files.load_phono3py(folder)


def _lammps(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    if structure is None:
        found = [(folder / "CONFIG", "dlp4"), (folder / "data.lammps", "lammps-data")]
        structure = next((ase.io.read(path, format=form) for path, form in found if path.exists()), None)
        if structure is None:
            raise ValueError(
                f"structure is None and {str(folder)!r} holds no CONFIG or data.lammps; accepted is a cell"
            )
    atoms = structure if isinstance(structure, Atoms) else ase.io.read(structure)
    atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, masses=atoms.get_masses(), pbc=True)
    second = lammps.read_dynamical_matrix(folder / "Dyn.form", atoms)
    third = lammps.read_third_order(folder / "THIRD", atoms) if (folder / "THIRD").exists() else None
    if repeats != (1, 1, 1):
        supercell = Supercell.found(atoms, repeats)
        second = supercell.fold(second)
        third = None if third is None else lammps.fold_triplets(supercell, third)
    return second, third


def _kaldo(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    cells = kaldo_arrays.read_replicas(folder, repeats)
    second = kaldo_arrays.read_second_order(folder / "second.npy", cells)
    third = folder / "third.npz"
    return second, kaldo_arrays.read_third_order(third, cells) if third.exists() else None


def _shengbte(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    atoms = ase.io.read(folder / "POSCAR", format="vasp")
    names = [folder / name for name in ("FORCE_CONSTANTS_2ND", "FORCE_CONSTANTS")]
    second = phonopy_files.read_text(next(path for path in names if path.exists()), atoms, repeats)
    third = folder / "FORCE_CONSTANTS_3RD"
    return second, shengbte.read_third_order(third, atoms) if third.exists() else None


def _tdep(folder: Path, repeats: tuple, structure: Atoms | Path | str | None) -> _Read:
    atoms = ase.io.read(folder / "infile.ucposcar", format="vasp")
    third = folder / "infile.forceconstant_thirdorder"
    return (
        tdep.read_second_order(folder / "infile.forceconstant", atoms),
        tdep.read_third_order(third, atoms) if third.exists() else None,
    )


_READERS: dict[str, Callable[[Path, tuple, Atoms | Path | str | None], _Read]] = {
    "phonopy": _phonopy,
    "phono3py": _phono3py,
    "lammps": _lammps,
    "kaldo": _kaldo,
    "shengbte": _shengbte,
    "tdep": _tdep,
}
