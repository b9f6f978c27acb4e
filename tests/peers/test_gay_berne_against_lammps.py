"""Gay-Berne ellipsoids against LAMMPS's pair style gayberne: energies, forces and torques."""

import numpy as np
import pytest
from ase import Atoms

from matterscape.benchmarks.lammps_peer import new_lammps
from matterscape.potentials.gay_berne import Ellipsoid, GayBerne
from matterscape.structures import Structures

pytestmark = pytest.mark.peers

CUTOFF, GAMMA, NU, MU = 4.5, 0.9, 1.2, 1.7
PARTICLES = {
    "C": Ellipsoid((0.5, 0.6, 1.2), (1.0, 1.3, 0.4), epsilon=0.8, sigma=1.0),
    "N": Ellipsoid((0.9, 0.8, 0.35), (0.5, 0.7, 1.6), epsilon=1.1, sigma=0.7),
}
MIXED = (0.95, 0.9)


def _packing():
    rng = np.random.default_rng(0)
    sites = np.stack(np.meshgrid(*[range(4)] * 3), axis=-1).reshape(-1, 3)
    positions = 2.4 * sites + 0.15 * rng.normal(size=(64, 3)) + 0.3
    atoms = Atoms(rng.permutation(["C"] * 32 + ["N"] * 32), positions, cell=[9.6, 9.7, 10.1], pbc=True)
    quaternions = rng.normal(size=(64, 4))
    atoms.arrays["quaternions"] = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    return atoms


def _lammps_results(atoms):
    """Energies (n,), forces (n, 3) and torques (n, 3) in the order of the atoms."""
    lammps = new_lammps()
    types = np.where(atoms.symbols == "C", 1, 2)
    box = " ".join(f"0 {length:.16g}" for length in atoms.cell.lengths())
    lammps.commands_list(
        ["units metal", "atom_style ellipsoid", "atom_modify map array", f"region cell block {box}"]
        + ["create_box 2 cell"]
    )
    lammps.create_atoms(
        len(atoms), list(range(1, len(atoms) + 1)), types.tolist(), atoms.get_positions(wrap=True).ravel().tolist()
    )
    for kind, body in enumerate(PARTICLES.values(), start=1):
        diameters = " ".join(f"{2 * semiaxis:.16g}" for semiaxis in body.semiaxes)
        lammps.commands_list([f"set type {kind} shape {diameters}", f"set type {kind} mass 1.0"])
    for index, quaternion in enumerate(atoms.arrays["quaternions"], start=1):
        # LAMMPS takes a unit vector and degrees
        length = np.linalg.norm(quaternion[1:])
        axis = " ".join(f"{x:.17g}" for x in quaternion[1:] / length)
        lammps.command(f"set atom {index} quat {axis} {2 * np.degrees(np.arctan2(length, quaternion[0])):.17g}")
    lammps.command(f"pair_style gayberne {GAMMA} {NU} {MU} {CUTOFF}")
    bodies = list(PARTICLES.values())
    for i in (0, 1):
        for j in range(i, 2):
            epsilon, sigma = (bodies[i].epsilon, bodies[i].sigma) if i == j else MIXED
            depths = [*bodies[i].well_depths, *bodies[j].well_depths]
            lammps.command(f"pair_coeff {i + 1} {j + 1} {epsilon} {sigma} {' '.join(map(str, depths))}")
    lammps.commands_list(["compute energies all pe/atom", "fix none all nve/asphere", "run 0 post no"])
    order = np.argsort(lammps.numpy.extract_atom("id")[: len(atoms)])
    energies = lammps.numpy.extract_compute("energies", 1, 1)[: len(atoms)]
    results = [
        np.array(values[: len(atoms)])[order]
        for values in (energies, lammps.numpy.extract_atom("f"), lammps.numpy.extract_atom("torque"))
    ]
    lammps.close()
    return results


def test_energies_forces_and_torques():
    atoms = _packing()
    potential = GayBerne(PARTICLES, cutoff=CUTOFF, mu=MU, nu=NU, gamma=GAMMA, width=0.0, pairs={("C", "N"): MIXED})
    ours = potential(Structures.from_ase(atoms))
    for found, expected in zip((ours.energies, ours.forces, ours.torques), _lammps_results(atoms)):
        scale = np.abs(expected).max()
        assert scale > 1e-2
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-8 * scale)
