"""Systems of ions that several test modules share."""

import numpy as np
from ase import Atoms
from ase.build import bulk

IONS = {"Na": 1.0, "Cl": -1.0}


def melt(n_cells: int = 2, seed: int = 1, amplitude: float = 0.35) -> Atoms:
    """A strongly disordered, sheared salt with velocities."""
    atoms = bulk("NaCl", "rocksalt", a=6.0, cubic=True).repeat(n_cells)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell[:] + 0.8 * rng.normal(size=(3, 3)), scale_atoms=True)
    atoms.rattle(amplitude, seed=seed)
    atoms.set_velocities(0.05 * rng.normal(size=(len(atoms), 3)))
    return atoms
