"""An i-PI client: serves the forces of a potential to i-PI, or to ASE, through a socket.

Atomic units on the wire. Protocol: Ceriotti, More, Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014),
doi 10.1016/j.cpc.2013.10.027; batches of replicas and extras as in i-PI 3: Litman et al., J. Chem. Phys. 161, 062504
(2024), doi 10.1063/5.0215869.
"""

import json
import re
import socket
import time
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from matterscape.potentials.base import Potential
from matterscape.potentials.evaluator import Evaluator
from matterscape.structures import Structures

HEADER = 12  # bytes
EXTRAS = ("energies", "flux_tensors", "dipole")
PREFIX = "/tmp/ipi_"  # where i-PI and ASE put a unix socket that is given by its name
MAX_INIT = 1 << 20  # bytes: a longer initialisation string is a broken stream
_RETRY = 0.1  # s


def connect(
    *, unix: str | None = None, host: str = "localhost", port: int | None = None, timeout: float = 60.0
) -> socket.socket:
    """Connect to a server, waiting for it to come up.

    Parameters
    ----------
    unix : str, optional
        Name of a unix socket, ``/tmp/ipi_<name>`` unless it is a path with a slash.
    host, port : str, int
        Address of an internet socket; used without ``unix``.
    timeout : float
        How long to wait for the server, in s.

    Raises
    ------
    ValueError
        If not exactly one of ``unix`` and ``port`` is given, or a value is out of range.
    ConnectionError
        If nobody listens there before the time is over.
    """
    if (unix is None) == (port is None):
        raise ValueError(f"unix is {unix!r} and port is {port!r}; accepted is exactly one of them")
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"port is {port}; accepted is 1 to 65535")
    if not timeout >= 0:
        raise ValueError(f"timeout is {timeout!r}; accepted is a number of seconds that is not negative")
    path = unix if unix is None or "/" in unix else PREFIX + unix
    deadline = time.monotonic() + timeout
    while True:
        try:
            if path is None:
                connection = socket.create_connection((host, port), timeout=max(_RETRY, timeout))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # many short messages
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            else:
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.connect(path)
                except BaseException:
                    connection.close()
                    raise
            connection.settimeout(None)
            return connection
        except OSError as error:
            if time.monotonic() > deadline:
                where = path or f"{host}:{port}"
                raise ConnectionError(f"no server answers at {where} after {timeout:g} s ({error})") from error
            time.sleep(_RETRY)


class Driver:
    """Answers the requests of one server.

    Parameters
    ----------
    potential : Potential
    atoms : ase.Atoms
        Gives species and periodic directions, and ``initial_charges`` where a dipole is wanted.
    extras : sequence of str
        Sent along as JSON, in atomic units: ``"energies"`` of the atoms (atoms,); ``"flux_tensors"`` (atoms, 3, 3),
        the W_i of the heat flux, see :mod:`matterscape.potentials.base`; ``"dipole"`` (3,), charges times positions.
    skin : float
        Of the neighbour lists, in Å.

    Attributes
    ----------
    n_evaluations : int
        How many structures have been evaluated.

    Raises
    ------
    ValueError
        If an extra is unknown, charges are missing, or the potential does not accept the structure.
    """

    def __init__(self, potential: Potential, atoms: Atoms, *, extras: Sequence[str] = (), skin: float = 1.0):
        unknown = [name for name in extras if name not in EXTRAS]
        if unknown:
            raise ValueError(f"extras contain {unknown[0]!r}; accepted are {', '.join(EXTRAS)}")
        if "dipole" in extras and not atoms.has("initial_charges"):
            raise ValueError("extras contain 'dipole' but the structure has no initial_charges; give them in e")
        self.potential, self.extras, self.skin = potential, tuple(extras), skin
        self.n_evaluations = 0
        self._atoms = atoms
        self._set_batch(1)
        self._ready = False
        self._results: list[bytes] | None = None

    def serve(self, connection: socket.socket) -> None:
        """Answer requests until the server says EXIT.

        Raises
        ------
        ConnectionError
            If the connection ends before, or what arrives is not the protocol.
        ValueError
            If the structure that arrives does not fit the one given, or the potential refuses it.
        """
        try:
            self._serve(connection, _Receiver(connection))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ConnectionError("the server left without EXIT") from error

    def _serve(self, connection: socket.socket, receive: "_Receiver") -> None:
        while True:
            message = receive.header()
            if message == "STATUS":
                state = "HAVEDATA" if self._results else "READY" if self._ready else "NEEDINIT"
                connection.sendall(_header(state))
            elif message == "INIT":
                self._initialise(receive)
            elif message == "POSDATA":
                self._results = self._evaluate(*self._structures(receive))
            elif message == "GETFORCE":
                if self._results is None:
                    raise ConnectionError("the server asked for forces before it sent positions")
                connection.sendall(b"".join([_header("FORCEREADY"), *self._results]))
                self._results = None
            elif message == "EXIT":
                return
            else:
                raise ConnectionError(
                    f"the server sent {message!r}; accepted are STATUS, INIT, POSDATA, GETFORCE and EXIT"
                )

    def _set_batch(self, size: int) -> None:
        self._evaluator = Evaluator(self.potential, Structures.from_ase([self._atoms] * size), skin=self.skin)
        self._batch = size

    def _initialise(self, receive: "_Receiver") -> None:
        receive.array(1, np.int32)  # which replica: the same potential serves all
        length = int(receive.array(1, np.int32)[0])
        if not 0 <= length <= MAX_INIT:
            raise ConnectionError(f"the server announced {length} bytes to INIT; accepted is 0 to {MAX_INIT}")
        text = receive.bytes(length).decode("utf-8", errors="replace")
        announced = re.search(r"(?:^|,)\s*batch_size\s*:\s*(\d+)", text)
        size = int(announced[1]) if announced else 1
        if size < 1:
            raise ConnectionError("the server announced batches of 0 structures; accepted is 1 or more")
        if size != self._batch:
            self._set_batch(size)
        self._ready = True

    def _structures(self, receive: "_Receiver") -> tuple[np.ndarray, np.ndarray]:
        """Cells (B, 3, 3) with vectors as rows and positions (B, n, 3), in Å."""
        # one structure comes as cell, inverse, number, positions; a batch has the number first
        matrices = receive.array(18, np.float64) if self._batch == 1 else None
        n_atoms = int(receive.array(1, np.int32)[0])
        if n_atoms != len(self._atoms):
            raise ValueError(f"the server sent {n_atoms} atoms, the structure given has {len(self._atoms)}")
        if matrices is None:
            matrices = receive.array(18 * self._batch, np.float64)
        columns = matrices.reshape(self._batch, 2, 3, 3)[:, 0]
        cells = np.ascontiguousarray(columns.transpose(0, 2, 1)) * Bohr
        positions = receive.array(3 * n_atoms * self._batch, np.float64).reshape(self._batch, n_atoms, 3) * Bohr
        if not (np.isfinite(cells).all() and np.isfinite(positions).all()):
            raise ValueError("the server sent positions or a cell that are not finite numbers")
        return cells, positions

    def _evaluate(self, cells: np.ndarray, positions: np.ndarray) -> list[bytes]:
        """Energies, forces, virials and extras of a batch, ready to be sent."""
        size, n_atoms = positions.shape[:2]
        evaluator = self._evaluator
        evaluator(positions.reshape(-1, 3), cells, pieces=True)
        self.n_evaluations += size
        energies = evaluator.energies.reshape(size, n_atoms)
        forces = evaluator.forces.reshape(size, n_atoms, 3)
        tensors = evaluator.flux_tensors.reshape(size, n_atoms, 3, 3)
        parts = [
            energies.sum(axis=1) / Hartree,
            np.int32(n_atoms),
            forces * (Bohr / Hartree),
            tensors.sum(axis=1) / Hartree,  # symmetric: the order of its axes does not matter
        ]
        sent = [np.ascontiguousarray(part).tobytes() for part in parts]
        for structure in range(size):
            text = self._extras_text(energies[structure], tensors[structure], positions[structure]).encode()
            sent += [np.int32(len(text)).tobytes(), text]
        return sent

    def _extras_text(self, energies: np.ndarray, tensors: np.ndarray, positions: np.ndarray) -> str:
        """JSON of the wanted extras; a single blank, which i-PI ignores, without any."""
        values = {
            "energies": lambda: energies / Hartree,
            "flux_tensors": lambda: tensors / Hartree,
            "dipole": lambda: self._atoms.get_initial_charges() @ positions / Bohr,
        }
        return json.dumps({name: values[name]().tolist() for name in self.extras}) if self.extras else " "


class _Receiver:
    """Complete messages from a socket."""

    def __init__(self, connection: socket.socket):
        self._connection = connection

    def bytes(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._connection.recv(length - len(data))
            if not part:
                raise ConnectionError(
                    f"the server closed the connection without EXIT ({length - len(data)} bytes missing)"
                )
            data += part
        return bytes(data)

    def array(self, size: int, dtype: type) -> np.ndarray:
        return np.frombuffer(self.bytes(size * np.dtype(dtype).itemsize), dtype)

    def header(self) -> str:
        return self.bytes(HEADER).decode("ascii", errors="replace").strip().upper()


def _header(text: str) -> bytes:
    return text.ljust(HEADER).encode()
