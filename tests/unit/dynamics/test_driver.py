"""The i-PI client, spoken to byte by byte and by ASE's server."""

import contextlib
import json
import os
import socket
import struct
import tempfile
import threading
import time

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.socketio import SocketIOCalculator
from ase.units import Bohr, Hartree

from matterscape.cli import main
from matterscape.dynamics.driver import Driver, connect
from matterscape.potentials.library import LIBRARY, named_potential
from matterscape.potentials.stillinger_weber import StillingerWeber

pytestmark = pytest.mark.unit

TIMEOUT = 60.0  # s: only a hang takes so long


@pytest.fixture
def silicon():
    atoms = bulk("Si", a=5.43)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + [[0.02, 0.05, 0.0], [0.0, -0.01, 0.0], [0.03, 0.0, 0.0]]), True)
    atoms.rattle(0.1, seed=0)
    return atoms


class Server:
    """The other end of a driver that serves in a thread."""

    def __init__(self, driver):
        self.socket, end = socket.socketpair()
        self.socket.settimeout(TIMEOUT)
        self.error = None
        self._thread = threading.Thread(target=self._serve, args=(driver, end), daemon=True)
        self._thread.start()

    def _serve(self, driver, end):
        with end:
            try:
                driver.serve(end)
            except Exception as error:
                self.error = error

    def send(self, header, *parts):
        self.socket.sendall(header.ljust(12).encode() + b"".join(parts))

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            assert part, f"the driver hung up: {self.error}"
            data += part
        return data

    def status(self):
        self.send("STATUS")
        return self.receive(12).decode().strip()

    def initialise(self, text=""):
        self.send("INIT", struct.pack("ii", 0, len(text)), text.encode())

    def result(self, n_atoms, batch=1):
        """Energies, forces, virials, extras of a batch, in atomic units."""
        assert self.receive(12).decode().strip() == "FORCEREADY"
        energies = np.frombuffer(self.receive(8 * batch))
        assert struct.unpack("i", self.receive(4)) == (n_atoms,)
        forces = np.frombuffer(self.receive(24 * n_atoms * batch)).reshape(batch, n_atoms, 3)
        virials = np.frombuffer(self.receive(72 * batch)).reshape(batch, 3, 3)
        extras = [self.receive(struct.unpack("i", self.receive(4))[0]).decode() for _ in range(batch)]
        return energies, forces, virials, extras

    def close(self):
        """End the connection; the driver's error, if it had one."""
        self.socket.close()
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        return self.error


def _cell_bytes(atoms):
    cell = atoms.cell.array.T / Bohr  # column by column on the wire
    return np.ascontiguousarray(cell).tobytes() + np.linalg.inv(cell).tobytes()


def _posdata(atoms):
    return _cell_bytes(atoms) + struct.pack("i", len(atoms)) + (atoms.positions / Bohr).tobytes()


def _expected(atoms):
    atoms = atoms.copy()
    atoms.calc = StillingerWeber.silicon().calculator()
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    return atoms.get_potential_energy() / Hartree, atoms.get_forces() * Bohr / Hartree, virial / Hartree


def test_a_conversation(silicon):
    server = Server(Driver(StillingerWeber.silicon(), silicon))
    assert server.status() == "NEEDINIT"
    server.initialise()
    assert server.status() == "READY"
    for _ in range(2):
        silicon.rattle(0.05, seed=1)
        server.send("POSDATA", _posdata(silicon))
        assert server.status() == "HAVEDATA"
        server.send("GETFORCE")
        energies, forces, virials, extras = server.result(len(silicon))
        energy, expected_forces, virial = _expected(silicon)
        assert energies[0] == pytest.approx(energy, rel=1e-13)
        np.testing.assert_allclose(forces[0], expected_forces, atol=1e-14)
        np.testing.assert_allclose(virials[0], virial, atol=1e-14)
        assert extras[0].isspace()
        assert server.status() == "READY"
    server.send("EXIT")
    assert server.close() is None


def test_messages_in_pieces_and_in_one(silicon):
    server = Server(Driver(StillingerWeber.silicon(), silicon))
    server.initialise()
    message = b"POSDATA     " + _posdata(silicon) + b"GETFORCE    " + b"EXIT        "
    for start in range(0, len(message), 50):
        server.socket.sendall(message[start : start + 50])
        time.sleep(0.001)
    assert server.result(len(silicon))[0][0] == pytest.approx(_expected(silicon)[0])
    assert server.close() is None


def test_a_batch_of_replicas(silicon):
    driver = Driver(StillingerWeber.silicon(), silicon, extras=["energies"])
    server = Server(driver)
    server.initialise("fancy:1, batch_size:3")
    frames = [silicon.copy() for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
        frame.set_cell(frame.cell.array * (1 + 0.01 * seed), scale_atoms=True)
    server.send(
        "POSDATA",
        struct.pack("i", len(silicon)),
        *map(_cell_bytes, frames),
        *((frame.positions / Bohr).tobytes() for frame in frames),
    )
    server.send("GETFORCE")
    results = server.result(len(silicon), batch=3)
    for frame, energy, forces, virial, extra in zip(frames, *results):
        expected = _expected(frame)
        assert energy == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(forces, expected[1], atol=1e-14)
        np.testing.assert_allclose(virial, expected[2], atol=1e-14)
        assert sum(json.loads(extra)["energies"]) == pytest.approx(energy)
    server.send("EXIT")
    assert server.close() is None and driver.n_evaluations == 3


def test_extras(silicon):
    silicon.set_initial_charges([0.5, -0.2])
    server = Server(Driver(StillingerWeber.silicon(), silicon, extras=["dipole", "flux_tensors", "energies"]))
    server.initialise()
    server.send("POSDATA", _posdata(silicon))
    server.send("GETFORCE")
    energies, _, virials, extras = server.result(len(silicon))
    sent = json.loads(extras[0])
    assert list(sent) == ["dipole", "flux_tensors", "energies"]
    np.testing.assert_allclose(sent["dipole"], [0.5, -0.2] @ silicon.positions / Bohr)
    np.testing.assert_allclose(np.sum(sent["flux_tensors"], axis=0), virials[0], atol=1e-14)
    assert np.sum(sent["energies"]) == pytest.approx(energies[0])
    server.send("EXIT")
    assert server.close() is None


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        ([b"HELLO       "], ConnectionError, "'HELLO'; accepted are STATUS"),
        ([b"\xff\xfe" * 6], ConnectionError, "accepted are STATUS"),
        ([b"GETFORCE    "], ConnectionError, "before it sent positions"),
        ([b"STAT"], ConnectionError, "without EXIT"),
        ([], ConnectionError, "without EXIT"),
        ([b"INIT        ", struct.pack("ii", 0, -5)], ConnectionError, "-5 bytes"),
        ([b"INIT        ", struct.pack("ii", 0, 12), b"batch_size:0"], ConnectionError, "batches of 0"),
        ([b"POSDATA     ", bytes(144), struct.pack("i", 7)], ValueError, "7 atoms, the structure given has 2"),
        (
            [b"POSDATA     ", np.full(18, np.nan).tobytes(), struct.pack("i", 2), bytes(48)],
            ValueError,
            "not finite",
        ),
    ],
)
def test_what_is_no_conversation(silicon, messages, kind, words):
    server = Server(Driver(StillingerWeber.silicon(), silicon))
    server.socket.sendall(b"".join(messages))
    error = server.close()
    assert type(error) is kind and words in str(error)


def test_ase_as_server(silicon):
    name = f"matterscape-{os.getpid()}"
    driver = Driver(StillingerWeber.silicon(), silicon)
    with SocketIOCalculator(unixsocket=name, timeout=TIMEOUT) as calculator:
        thread = threading.Thread(target=_serve_unix, args=(driver, name), daemon=True)
        thread.start()
        atoms = silicon.copy()
        atoms.calc = calculator
        energy, forces, virial = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
    thread.join(TIMEOUT)
    expected = _expected(silicon)
    assert energy == pytest.approx(expected[0] * Hartree, rel=1e-12)
    np.testing.assert_allclose(forces, expected[1] * Hartree / Bohr, atol=1e-12)
    np.testing.assert_allclose(virial, -expected[2] * Hartree / silicon.get_volume(), atol=1e-12)


def _serve_unix(driver, name):
    # ASE hangs up without EXIT
    with connect(unix=name, timeout=TIMEOUT) as connection, contextlib.suppress(ConnectionError):
        driver.serve(connection)


def test_internet_sockets(silicon):
    with socket.create_server(("localhost", 0)) as listener:
        port = listener.getsockname()[1]
        with connect(port=port, timeout=TIMEOUT) as connection, listener.accept()[0] as other:
            other.sendall(b"EXIT        ")
            Driver(StillingerWeber.silicon(), silicon).serve(connection)


def test_nobody_answers():
    with tempfile.TemporaryDirectory() as folder, pytest.raises(ConnectionError, match="no server answers at"):
        connect(unix=f"{folder}/nothing", timeout=0.0)
    with pytest.raises(ValueError, match="exactly one"):
        connect()
    with pytest.raises(ValueError, match="1 to 65535"):
        connect(port=70000)
    with pytest.raises(ValueError, match="timeout is -1"):
        connect(port=1234, timeout=-1)


def test_bad_input(silicon):
    with pytest.raises(ValueError, match="'charges'; accepted are energies, flux_tensors, dipole"):
        Driver(StillingerWeber.silicon(), silicon, extras=["charges"])
    with pytest.raises(ValueError, match="initial_charges"):
        Driver(StillingerWeber.silicon(), silicon, extras=["dipole"])
    silicon.symbols[0] = "C"
    with pytest.raises(ValueError, match="accepted are Si"):
        Driver(StillingerWeber.silicon(), silicon)


@pytest.mark.parametrize("name", LIBRARY)
def test_named_potentials_can_be_made(name):
    entry = LIBRARY[name]
    elements = entry.description.split(":")[0].split(", ") if entry.of_elements else []
    potential = entry.make(Atoms(elements))
    assert len(entry.description) < 90 and "\n" not in entry.description
    assert potential.species is None or len(potential.species) >= 1


def test_names_that_are_none():
    with pytest.raises(ValueError, match=r"did you mean tersoff-silica\? accepted are stillinger-weber-silicon, "):
        named_potential("tersof-silica", bulk("Si"))


def _fails(capsys, *arguments):
    assert main(["driver", *arguments]) != 0
    error = capsys.readouterr().err
    assert error.startswith("matterscape: ") and error.count("\n") == 1
    return error


def test_command_line(silicon, tmp_path, capsys):
    assert main(["driver", "--list"]) == 0
    assert "stillinger-weber-silicon " in capsys.readouterr().out
    file = tmp_path / "silicon.xyz"
    ase.io.write(file, silicon)
    known = ("--potential", "stillinger-weber-silicon", "--structure", str(file))
    assert "needs --potential and --structure" in _fails(capsys)
    assert "which is no file" in _fails(capsys, *known[:3], str(tmp_path / "none.xyz"))
    assert "accepted are" in _fails(capsys, "--potential", "x", *known[2:], "--unix", "x")
    assert "no server answers" in _fails(capsys, *known, "--unix", str(tmp_path / "x"), "--timeout", "0")
    (tmp_path / "bad.xyz").write_text("not a structure")
    assert "can't be read" in _fails(capsys, *known[:3], str(tmp_path / "bad.xyz"))

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = f"{folder}/s"
        listener.bind(path)
        listener.listen()
        for message, status in ((b"EXIT        ", 0), (b"NONSENSE    ", 1), (b"", 1)):
            thread = threading.Thread(target=_answer, args=(listener, message), daemon=True)
            thread.start()
            assert main(["driver", *known, "--unix", path]) == status
            thread.join(TIMEOUT)


def _answer(listener, message):
    with listener.accept()[0] as connection:
        connection.sendall(message)
