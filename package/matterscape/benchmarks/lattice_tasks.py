"""Widths of the modes of a glass and its conductivity beside kALDo, on the amorphous silicon in kALDo's own tests."""

import functools
import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from matterscape.benchmarks.task import Calls, Task

TEMPERATURE_K = 300.0
BROADENING_THZ = 0.4
HALF_WIDTH = 0.5  # rad/ps


def _peer_folder() -> Path | None:
    found = importlib.util.find_spec("kaldo")
    return None if found is None else Path(found.origin).parent / "tests" / "si-amorphous"


def _glass(repeats: int):
    """Modes and third order: kALDo's 216 atoms if there are some, or a crystal shaken out of order."""
    import ase.build

    from matterscape.potentials.tersoff import Tersoff
    from matterscape.structures import Structures
    from matterscape.transport.lattice.files.reading import read_lattice
    from matterscape.transport.lattice.modes import vibrational_modes

    folder = _peer_folder()
    if repeats > 1 and folder is not None:
        read = read_lattice(folder)
        return vibrational_modes(read.force_constants), read.third_order
    atoms = ase.build.bulk("Si", a=5.432, cubic=True).repeat(repeats)
    atoms.rattle(0.02, seed=0)
    structures, potential = Structures.from_ase(atoms), Tersoff.silicon()
    return vibrational_modes(potential.hessian(structures)), potential.third_order(structures)


def _peer_phonons():
    """A function that makes the peer's phonons anew, which keep what they have computed."""
    from kaldo.forceconstants import ForceConstants
    from kaldo.phonons import Phonons

    constants = ForceConstants.from_folder(folder=str(_peer_folder()), format="eskm")
    return functools.partial(
        Phonons,
        forceconstants=constants,
        is_classic=False,
        temperature=TEMPERATURE_K,
        third_bandwidth=BROADENING_THZ,
        storage="memory",
        folder=tempfile.mkdtemp(),
    )


def _widths(repeats: int) -> Calls:
    """All half widths; kALDo's bandwidths are twice those, and begin with a diagonalisation of no account."""
    from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths

    couplings = ModeCouplings(*_glass(repeats))

    def ours():
        return linewidths(couplings, TEMPERATURE_K, broadening_THz=BROADENING_THZ)

    if repeats == 1 or _peer_folder() is None:
        return ours, None

    phonons = _peer_phonons()
    return ours, lambda: phonons().bandwidth


def _conductivity(keep: bool, repeats: int) -> Calls:
    """From modes to the conductivity, with velocities computed anew or kept."""
    from matterscape.transport.lattice.qhgk import qhgk

    modes = _glass(repeats)[0]
    kept = [list(modes.velocity_tiles(0))] if keep else None

    def ours():
        return qhgk(modes, HALF_WIDTH, TEMPERATURE_K, velocities=kept)

    if repeats == 1 or _peer_folder() is None:
        return ours, None
    from kaldo.conductivity import Conductivity

    phonons = _peer_phonons()()

    def peer():
        conductivity = Conductivity(
            phonons=phonons, method="qhgk", storage="memory", diffusivity_bandwidth=np.full((1, 648), HALF_WIDTH)
        )
        return conductivity.conductivity

    return ours, peer


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("glass-widths", "widths of all modes of 216 atoms of silicon", "kaldo", _widths, 3, 1),
        Task(
            "glass-conductivity",
            "QHGK conductivity of 216 atoms of silicon from their modes (kaldo diagonalises again)",
            "kaldo",
            functools.partial(_conductivity, False),
            3,
            1,
        ),
        Task(
            "glass-conductivity-again",
            "the same at other widths or temperatures, velocities kept (kaldo keeps none)",
            "kaldo",
            functools.partial(_conductivity, True),
            3,
            1,
        ),
    )
}
