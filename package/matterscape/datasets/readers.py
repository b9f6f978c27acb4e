"""Read a user's own file of structures, with sentences that a person understands when something is wrong.

Every structure that leaves this module has finite positions, no calculator, and its targets under one name:
``info["energy"]``, ``arrays["forces"]``, ``info["stress"]``.
"""

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat, open_with_compression, string2index

from matterscape.datasets.unify import unify
from matterscape.datasets.xyz import StructureFileError, count_frames, read_frames
from matterscape.progress import progress
from matterscape.transport.readers.sources import uploaded

FORMATS = "extended XYZ, CIF, POSCAR, ASE trajectory, PDB, LAMMPS data, CASTEP, Quantum ESPRESSO, FHI-aims, CP2K, ..."


class MixedPropertiesWarning(UserWarning):
    """A property that some structures of a file have and others lack."""


@dataclass(frozen=True)
class Survey:
    """What a list of structures holds.

    ``complete`` maps the properties (keys of ``info`` and ``arrays``) that every structure has to their level,
    ``"structure"`` or ``"atom"``; ``partial`` maps those that some lack to the number of structures that have them.
    """

    n_structures: int
    n_atoms: int
    smallest: int
    largest: int
    species: tuple[str, ...]
    n_periodic: int
    complete: dict[str, str]
    partial: dict[str, int]

    def __str__(self) -> str:
        sizes = str(self.smallest) if self.smallest == self.largest else f"{self.smallest} to {self.largest}"
        periodic = {0: "none", self.n_structures: "all"}.get(self.n_periodic, str(self.n_periodic))
        text = (
            f"{self.n_structures} structures of {sizes} atoms ({', '.join(self.species)}), {periodic} periodic; "
            f"properties: {', '.join(self.complete) or 'none'}"
        )
        partial = (f"{key} ({count} of {self.n_structures})" for key, count in self.partial.items())
        return f"{text}; only in some: {', '.join(partial)}" if self.partial else text


def survey(frames: Iterable[Atoms]) -> Survey:
    """Count structures, atoms, species and the properties that all or only some of the structures have."""
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty; at least one structure is needed")
    counts: Counter[tuple[str, str]] = Counter()
    for atoms in frames:
        counts.update((key, "structure") for key in atoms.info)
        counts.update((key, "atom") for key in atoms.arrays if key not in ("numbers", "positions"))
    sizes = [len(atoms) for atoms in frames]
    numbers = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    return Survey(
        n_structures=len(frames),
        n_atoms=sum(sizes),
        smallest=min(sizes),
        largest=max(sizes),
        species=tuple(str(symbol) for symbol in Atoms(numbers=numbers).symbols),
        n_periodic=sum(bool(atoms.pbc.any()) for atoms in frames),
        complete={key: level for (key, level), count in counts.items() if count == len(frames)},
        partial={key: count for (key, _), count in counts.items() if count < len(frames)},
    )


def read_structures(source, index: int | slice | str = ":") -> list[Atoms]:
    """Read structures from a file in any format that ASE reads.

    Parameters
    ----------
    source : str, pathlib.Path, mapping or binary file object
        A path; an uploaded file as a mapping with ``"name"`` and ``"content"`` (bytes), as in the value of
        ``ipywidgets.FileUpload``; or an open binary file with a ``name``. The format is told from the name, then from
        the content. Compressed files (.gz, .bz2, .xz) are read as they are.
    index : int, slice or str
        Which structures, as in ASE: ``":"`` for all, ``"::10"``, ``-1``, ``":100"``.

    Returns
    -------
    list of ase.Atoms
        Without calculators. Energies (eV), forces (eV/Å) and stresses (eV/Å^3) lie in ``info["energy"]``,
        ``arrays["forces"]`` and ``info["stress"]`` whatever common name the file gives them (``TotEnergy``,
        ``REF_energy``, ``dft_forces``, ``force``, ...); everything else is kept under its own name. Structures flagged
        periodic that have no cell at all are returned as non-periodic.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StructureFileError
        If the file is empty, truncated (naming the frame), of an unknown format, holds no structure at ``index``, or
        has positions or cells that are not finite.

    Warns
    -----
    MixedPropertiesWarning
        If some structures lack a property that others have.
    """
    wanted = _as_index(index)
    if isinstance(source, Mapping) or hasattr(source, "read"):
        name, content = uploaded(source)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            frames = _read(path, name, wanted)
    else:
        name = str(source)
        frames = _read(Path(source).expanduser(), name, wanted)
    _warn_if_mixed(frames, name)
    return frames


def _as_index(index: int | slice | str) -> int | slice:
    try:
        wanted = string2index(index) if isinstance(index, str) else index
    except ValueError:
        wanted = None
    if isinstance(wanted, bool) or not isinstance(wanted, int | slice):
        raise ValueError(f"index is {index!r}; accepted are a whole number, a slice, or text such as ':', '::10', '-1'")
    return wanted


def _read(path: Path, name: str, wanted: int | slice) -> list[Atoms]:
    if path.is_dir():
        raise StructureFileError(f"{name} is a folder; a file of structures is needed")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {name}; give the path of a file of structures")
    if path.stat().st_size == 0:
        raise StructureFileError(f"{name} is empty; it needs at least one structure")
    file_format = _format(path, name)
    frames = (_read_xyz if file_format == "extxyz" else _read_other)(path, name, wanted, file_format)
    if not frames:
        raise StructureFileError(f"{name} holds no structure at the index that was asked for")
    return frames


def _format(path: Path, name: str) -> str:
    try:
        file_format = filetype(str(path.resolve()))
        readable = get_ioformat(file_format).can_read
    except UnknownFileTypeError:
        readable = False
    except (EOFError, OSError) as error:  # a compressed file that is cut off
        raise StructureFileError(f"{name} can't be read: {_sentence(error)}") from error
    if not readable:
        raise StructureFileError(
            f"{name} is of a format that is not known; accepted is every format that ASE reads: {FORMATS}"
        )
    return "extxyz" if file_format == "xyz" else file_format


def _read_xyz(path: Path, name: str, wanted: int | slice, _: str) -> list[Atoms]:
    with open_with_compression(str(path)) as handle:
        stop = wanted.stop if isinstance(wanted, slice) else wanted + 1
        needed = stop if stop is not None and stop > 0 and _ascending(wanted) else None
        total = count_frames(handle, name, needed)
        chosen = _select(wanted, total)
        members = frozenset(chosen)
        handle.seek(0)
        frames = progress(read_frames(handle, name, members), f"reading {name}", total=len(members))
        found = {number: _tidy(atoms, f"{name}: frame {number}") for number, atoms in frames}
    return [found[number] for number in chosen]


def _select(wanted: int | slice, length: int) -> list[int]:
    """Positions of the wanted items in a list of that length; none where they lie outside."""
    if isinstance(wanted, slice):
        return list(range(length)[wanted])
    return [wanted % length] if -length <= wanted < length else []


def _ascending(wanted: int | slice) -> bool:
    """True if the frames wanted can be told without the length of the file."""
    if isinstance(wanted, int):
        return wanted >= 0
    return (wanted.start or 0) >= 0 and (wanted.step or 1) > 0


def _read_other(path: Path, name: str, wanted: int | slice, file_format: str) -> list[Atoms]:
    single = get_ioformat(file_format).single
    frames: list[Atoms] = []
    try:
        stream = iread(
            str(path.resolve()), index=None if single else wanted, format=file_format, do_not_split_by_at_sign=True
        )
        for atoms in progress(stream, f"reading {name}"):
            frames.append(_tidy(atoms, f"{name}: frame {len(frames)}"))
    except StructureFileError:
        raise
    except Exception as error:  # the parsers of some hundred formats raise anything
        raise StructureFileError(
            f"{name} can't be read as {file_format}: {_sentence(error)} (after {len(frames)} structures)"
        ) from error
    return [frames[number] for number in _select(wanted, len(frames))] if single else frames


def _sentence(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".: ")


def _tidy(atoms: Atoms, where: str) -> Atoms:
    """Unify the names of the targets and reject what no later step could use."""
    if len(atoms) == 0:
        raise StructureFileError(f"{where} has no atoms")
    finite = np.isfinite(atoms.positions).all(axis=1)
    if not finite.all():
        atom = int(np.argmin(finite))
        raise StructureFileError(f"{where}, atom {atom}: the position {atoms.positions[atom]} is not finite")
    if not np.isfinite(atoms.cell.array).all():
        raise StructureFileError(f"{where}: the cell {atoms.cell.array.tolist()} is not finite")
    if atoms.pbc.any() and not atoms.cell.array.any():
        atoms.pbc = False  # many programs write pbc="T T T" for a molecule without a cell
    return unify(atoms)


def _warn_if_mixed(frames: list[Atoms], name: str) -> None:
    found = survey(frames)
    if not found.partial:
        return
    shown = [f"{key} in {count} of {found.n_structures}" for key, count in list(found.partial.items())[:6]]
    rest = f" and {len(found.partial) - 6} more" if len(found.partial) > 6 else ""
    warnings.warn(
        f"{name}: some structures lack properties that others have ({', '.join(shown)}{rest}); they are kept as they "
        "are, and only properties that all structures have can be mapped or fitted",
        MixedPropertiesWarning,
        stacklevel=3,
    )
