"""The real i-PI drives the command ``matterscape driver``, against the same dynamics in this process."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.units import Bohr, Hartree

from matterscape.potentials import Evaluator
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.peers

TIMEOUT = 240.0  # s: only a hang takes so long
STEPS, TIME_STEP, MASS = 40, 40.0, 51196.0  # atomic units
INPUT = """
<simulation verbosity='low' sockets_prefix='{folder}/'>
  <total_steps>{steps}</total_steps>
  <prng><seed>7</seed></prng>
  <output prefix='out'>
    <properties stride='1' filename='properties'> [step, potential, conserved] </properties>
    <trajectory filename='extras' stride='{steps}' extra_type='energies'> extras </trajectory>
    <checkpoint stride='{steps}' filename='restart' overwrite='true'/>
  </output>
  <ffsocket mode='unix' name='driver' pbc='false'>
    <address>socket</address> <latency>1e-4</latency> <batch_size>{batch}</batch_size>
  </ffsocket>
  <system>
    <initialize nbeads='{beads}'>
      <positions mode='manual'> {positions} </positions>
      <labels mode='manual'> {labels} </labels>
      <masses mode='manual'> {masses} </masses>
      <cell mode='manual'> {cell} </cell>
      <velocities {velocities} </velocities>
    </initialize>
    <forces> <force forcefield='driver'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'> <timestep>{time_step}</timestep> </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'>300</temperature> </ensemble>
  </system>
</simulation>
"""


def _array(values):
    return "[" + ", ".join(str(value) if isinstance(value, str) else repr(float(value)) for value in values) + "]"


def _run(atoms, velocities, *, beads=1, batch=1):
    """Let i-PI drive our client: final positions (beads, n, 3), energies (steps, 2) and extras along the run."""
    with tempfile.TemporaryDirectory(prefix="ipi") as name:
        folder = Path(name)
        (folder / "input.xml").write_text(
            INPUT.format(
                folder=folder, steps=STEPS, beads=beads, batch=batch, time_step=TIME_STEP, velocities=velocities,
                labels=_array(atoms.symbols), masses=_array([MASS] * len(atoms)),
                cell=_array((atoms.cell.array.T / Bohr).ravel()),
                positions=_array(np.tile(atoms.positions.ravel() / Bohr, beads)),
            )
        )  # fmt: skip
        ase.io.write(folder / "silicon.xyz", atoms)
        script = "import sys; from matterscape.cli import main; sys.exit(main())"
        arguments = ["driver", "--potential", "stillinger-weber-silicon", "--structure", "silicon.xyz"]
        arguments += ["--unix", str(folder / "socket"), "--extras", "energies", "--timeout", str(TIMEOUT)]
        server = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
        with (folder / "log").open("w") as log:
            processes = [
                subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
                for command in (server, [sys.executable, "-c", script, *arguments])
            ]
            try:
                for process in processes:  # the server first: without it the driver would only wait
                    assert process.wait(TIMEOUT) == 0, (folder / "log").read_text()
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        numbers = re.search(r"<q[^>]*>\s*\[([^\]]*)\]", (folder / "RESTART").read_text())[1]
        positions = np.array(numbers.split(","), dtype=float).reshape(beads, len(atoms), 3)
        extras = np.loadtxt(next(folder.glob("out.extras*")))
        return positions, np.loadtxt(folder / "out.properties")[:, 1:], extras


@pytest.fixture
def silicon():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def test_the_same_trajectory_and_energies(silicon):
    velocities = 2e-4 * np.random.default_rng(0).normal(size=(8, 3))  # about 300 K
    velocities -= velocities.mean(axis=0)  # as i-PI does
    positions, energies, extras = _run(silicon, f"mode='manual'> {_array(velocities.ravel())}")

    evaluator = Evaluator(StillingerWeber.silicon(), Structures.from_ase(silicon))
    cells, ours = silicon.cell.array[None].copy(), silicon.positions / Bohr

    def accelerations():
        evaluator(ours * Bohr, cells)
        return evaluator.forces * (Bohr / Hartree) / MASS

    potential, kinetic, atomic = [], [], []
    acceleration = accelerations()
    for step in range(STEPS + 1):
        potential.append(evaluator.energies.sum() / Hartree)
        kinetic.append(0.5 * MASS * (velocities**2).sum())
        atomic.append(evaluator.energies / Hartree)
        if step < STEPS:  # velocity Verlet
            velocities = velocities + 0.5 * TIME_STEP * acceleration
            ours = ours + TIME_STEP * velocities
            acceleration = accelerations()
            velocities = velocities + 0.5 * TIME_STEP * acceleration
    assert np.abs(positions[0] - silicon.positions / Bohr).max() > 0.1
    np.testing.assert_allclose(positions[0] * Bohr, ours * Bohr, rtol=5e-9, atol=1e-9)  # i-PI writes nine digits
    np.testing.assert_allclose(energies[:, 0], potential, rtol=1e-8)
    np.testing.assert_allclose(energies[:, 1], np.add(potential, kinetic), rtol=1e-8)
    np.testing.assert_allclose(extras, [atomic[0], atomic[-1]], rtol=1e-6)


def test_beads_in_one_batch_as_one_by_one(silicon):
    thermal = "mode='thermal' units='kelvin'> 300"
    one_by_one, energies, _ = _run(silicon, thermal, beads=4)
    together, energies_together, _ = _run(silicon, thermal, beads=4, batch=4)
    assert np.ptp(one_by_one, axis=0).max() > 1e-3
    np.testing.assert_allclose(together, one_by_one, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(energies_together, energies, rtol=1e-8)
