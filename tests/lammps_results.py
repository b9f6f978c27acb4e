"""What LAMMPS says about a structure, for the peers of potentials."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from matterscape.benchmarks.lammps_peer import lammps_system

BAR_PER_EV_A3 = 1.6021765e6  # LAMMPS' own constant in metal units


def lammps_results(
    atoms: Atoms, commands: Sequence[str], *, charges: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Results of LAMMPS for an orthorhombic, periodic structure, in the order of its atoms.

    Returns
    -------
    dict
        "energy" (eV), "energies" (N,), "forces" (N, 3) in eV/Å, "virial" (3, 3) in eV, "tensors" (N, 3, 3), its
        virial of each atom in eV, and "flux" (3,), its heat flux in eV Å/ps.
    """
    virial = " ".join(f"c_virial[{k}]" for k in range(1, 7))
    lammps = lammps_system(
        atoms,
        [*commands, "compute kinetic all ke/atom", "compute energies all pe/atom",
         "compute stresses all stress/atom NULL virial", "compute flux all heat/flux kinetic energies stresses",
         "compute virial all pressure NULL virial", "thermo_modify norm no",
         f"thermo_style custom pe {virial} c_flux[1] c_flux[2] c_flux[3]", "run 0"],
        charges=charges,
    )  # fmt: skip
    n_atoms = len(atoms)
    order = np.argsort(lammps.numpy.extract_atom("id")[:n_atoms])
    pressures = np.array(lammps.numpy.extract_compute("virial", 0, 1))
    stresses = np.array(lammps.numpy.extract_compute("stresses", 1, 2))[:n_atoms][order]
    results = {
        "energy": lammps.get_thermo("pe"),
        "energies": np.array(lammps.numpy.extract_compute("energies", 1, 1))[:n_atoms][order],
        "forces": np.array(lammps.gather_atoms("f", 1, 3)).reshape(-1, 3),
        "virial": _matrices(pressures) * atoms.get_volume() / BAR_PER_EV_A3,
        "tensors": -_matrices(stresses) / BAR_PER_EV_A3,
        "flux": np.array(lammps.numpy.extract_compute("flux", 0, 1))[:3],
    }
    lammps.close()
    return results


def _matrices(components: np.ndarray) -> np.ndarray:
    """Symmetric matrices (..., 3, 3) of xx, yy, zz, xy, xz, yz (..., 6)."""
    return components[..., [[0, 3, 4], [3, 1, 5], [4, 5, 2]]]
