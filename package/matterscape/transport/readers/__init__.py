"""Currents from the files of other programs and of one's own.

Logs and ``fix ave/time`` files of LAMMPS, property files of i-PI, plain columns, ``.npy`` and ``.npz`` files,
trajectories with velocities: :func:`read_currents` reads them all. :func:`open_currents` stops before anything is
settled, for programs that ask a person what is what.
"""

from matterscape.transport.readers.currents_file import CurrentsFile, Reading
from matterscape.transport.readers.reading import CurrentsFileWarning, open_currents, read_currents
from matterscape.transport.readers.table import CurrentsFileError
from matterscape.transport.readers.trajectory import trajectory_currents

__all__ = [
    "CurrentsFile",
    "CurrentsFileError",
    "CurrentsFileWarning",
    "Reading",
    "open_currents",
    "read_currents",
    "trajectory_currents",
]
