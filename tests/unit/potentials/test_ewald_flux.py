"""Heat flux of long-ranged potentials: the time derivative of the energy moment."""

import numpy as np
import pytest
import torch
from ase import Atoms, units

from matterscape import Structures
from matterscape.potentials import Evaluation
from matterscape.potentials.coulomb import Coulomb, alkali_halide
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit


def cluster() -> Atoms:
    """Ions in free space, with velocities."""
    atoms = melt(1, amplitude=0.2)
    atoms.pbc = False
    return atoms


def energy_moment_rate(potential, atoms: Atoms, dt: float) -> np.ndarray:
    """d/dt sum_i r_i e_i by central differences of the exact trajectory's expansion, to fourth order in dt."""
    forces = potential(Structures.from_ase(atoms)).forces[:].numpy()
    masses, velocities = atoms.get_masses()[:, None], atoms.get_velocities()

    def moment(t: float) -> np.ndarray:
        moved = atoms.copy()
        moved.positions += velocities * t + 0.5 * forces / masses * t**2
        speeds = velocities + forces / masses * t
        energies = potential(Structures.from_ase(moved)).energies.numpy()
        energies = energies + 0.5 * masses[:, 0] * (speeds**2).sum(1)
        return energies @ moved.positions

    return (8 * (moment(dt) - moment(-dt)) - (moment(2 * dt) - moment(-2 * dt))) / (12 * dt)


@pytest.mark.parametrize(
    "potential",
    [Coulomb(IONS), InversePower({"Na": 1.0, "Cl": 2.0}, 6, prefactor=-1.0), alkali_halide("NaCl")],
    ids=["charges", "dispersion", "salt"],
)
def test_heat_flux_of_a_cluster(potential):
    atoms = cluster()
    velocities = torch.from_numpy(atoms.get_velocities())
    masses = torch.from_numpy(atoms.get_masses())
    flux = potential(Structures.from_ase(atoms)).heat_flux(velocities, masses)[0].numpy()
    rate = energy_moment_rate(potential, atoms, 0.02 * units.fs)
    assert np.abs(flux - rate).max() < 1e-7 * np.abs(flux).max()


@pytest.mark.parametrize("method", ["ewald", "mesh"])
def test_heat_flux_needs_the_waves(method):
    """A small cluster in a large cell: the flux is that in free space up to 1 / V, if the waves count."""
    atoms = cluster()
    velocities = torch.from_numpy(atoms.get_velocities())
    free = Coulomb(IONS)(Structures.from_ase(atoms)).heat_flux(velocities)[0]
    atoms.set_cell(60 * np.eye(3))
    atoms.pbc = True
    structures = Structures.from_ase(atoms)
    if method == "ewald":
        parameters = Parameters("ewald", 0.45, cutoff=12.0, wave_cutoff=4.0)
    else:
        parameters = Parameters("mesh", 0.45, cutoff=12.0, spacing=0.7, order=8)
    potential = Coulomb(IONS, parameters=parameters, surface="vacuum")
    result = potential(structures)
    periodic = result.heat_flux(velocities)[0]
    assert float((periodic - free).abs().max()) < 5e-4 * float(free.abs().max())

    from matterscape.potentials._long_range_bound import BoundReciprocal

    energies, forces, pieces = np.zeros(8), np.zeros((8, 3)), np.zeros((8, 3, 3))
    bound = BoundReciprocal(potential, structures, parameters)
    bound.add(atoms.positions, np.array(atoms.cell)[None], energies, forces, pieces)
    dropped = Evaluation(
        result.energies, result.forces, result.flux_tensors - torch.from_numpy(pieces), structures
    ).heat_flux(velocities)[0]
    assert float((dropped - free).abs().max()) > 0.02 * float(free.abs().max())
