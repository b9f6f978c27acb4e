"""The heat flux by its definition, for tests of potentials."""

import numpy as np
from ase import Atoms

from matterscape.potentials import Potential
from matterscape.structures import Structures

STEP = 1e-4  # ASE time units


def energy_moment_rate(potential: Potential, atoms: Atoms, velocities: np.ndarray) -> np.ndarray:
    """d/dt sum_i r_i e_i of an open cluster along its motion, by a central difference of fourth order."""
    masses = atoms.get_masses()[:, None]
    accelerations = potential(Structures.from_ase(atoms)).forces.numpy() / masses

    def moment(time):
        moved = atoms.copy()
        moved.positions += time * velocities + 0.5 * time**2 * accelerations
        speeds = velocities + time * accelerations
        energies = potential(Structures.from_ase(moved)).energies.numpy() + 0.5 * (masses * speeds**2).sum(1)
        return energies @ moved.positions

    near, far = (moment(h) - moment(-h) for h in (STEP, 2 * STEP))
    return (8 * near - far) / (12 * STEP)
