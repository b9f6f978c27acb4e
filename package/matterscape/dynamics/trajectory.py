"""Frames of a run in a file that other programs read."""

import os
from pathlib import Path

import ase.io
from ase import Atoms
from ase.io.trajectory import Trajectory

_FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj"}


class TrajectoryWriter:
    """Appends frames to an extended XYZ file or an ASE trajectory.

    Parameters
    ----------
    path : Path
        ``.xyz``, ``.extxyz`` or ``.traj``.
    every : int
        Steps between frames.
    structure : int
        Which structure of the batch.

    Raises
    ------
    ValueError
        For another file type.
    """

    def __init__(self, path: Path, every: int, structure: int):
        if path.suffix not in _FORMATS:
            raise ValueError(f"path is {str(path)!r}; accepted are files that end in {', '.join(_FORMATS)}")
        self.path, self.every, self.structure = path, every, structure

    def open(self, after: int) -> None:
        """Start a new file, or keep the frames of an existing one up to step ``after`` if that is not negative."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if after < 0 or not self.path.exists():
            self.path.unlink(missing_ok=True)
            return
        kept = TrajectoryWriter(self.path.with_name(f"part-{self.path.name}"), self.every, self.structure)
        kept.open(after=-1)
        for atoms in ase.io.iread(self.path, index=":", format=_FORMATS[self.path.suffix]):
            if atoms.info["step"] > after:
                break
            kept.append(atoms)
        if kept.path.exists():
            os.replace(kept.path, self.path)
        else:
            self.path.unlink()

    def append(self, atoms: Atoms) -> None:
        """Add a frame."""
        if _FORMATS[self.path.suffix] == "traj":
            with Trajectory(self.path, "a") as file:
                file.write(atoms)
        else:
            ase.io.write(self.path, atoms, format="extxyz", append=True)
