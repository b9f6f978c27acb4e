"""Slabs, charged slabs and crystals in vacuum."""

import numpy as np
import pytest
import torch
from ase import Atoms

from matterscape import Structures
from matterscape.potentials import Evaluator
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Coulomb
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit


def slab(height: float = 12.0, pbc=(True, True, False)) -> Atoms:
    """Ten ions with a dipole moment along the normal; the in-plane vectors are oblique."""
    positions = np.random.default_rng(3).random((10, 3)) * [5, 6, 4]
    return Atoms("Na5Cl5", positions=positions, cell=[[5, 0, 0], [1, 6, 0], [0, 0, height]], pbc=pbc)


def test_slab_is_the_limit_of_a_large_vacuum():
    """The energy of a periodic cell with vacuum tends to E_slab - 2 pi M^2 / V as 1 / V (exactly, up to waves)."""
    exact = float(Coulomb(IONS, force_error=1e-8)(Structures.from_ase(slab())).energy)
    dipole = (np.array([1.0] * 5 + [-1.0] * 5) @ slab().positions)[2]
    for height in (60.0, 180.0):
        potential = Coulomb(IONS, force_error=1e-8, method="ewald", cutoff=12.0)
        periodic = float(potential(Structures.from_ase(slab(height, True))).energy)
        expected = exact - 2 * np.pi * COULOMB * dipole**2 / (30 * height)
        assert periodic == pytest.approx(expected, abs=2e-6)
        assert abs(periodic - exact) > 1e-2


def test_slab_equals_a_sum_over_images_in_the_plane():
    """Images under a Gaussian of width R; without a dipole along the normal the sum tends to the slab's in 1 / R."""
    positions = np.array([[0, 0, 0], [0.5, 0.2, 1.5], [0.2, 0.7, 3.0], [0.4, 0, 4.5]], float)
    charges = np.array([1.0, -3.0, 3.0, -1.0])
    atoms = Atoms("HHeLiBe", positions=positions, cell=[[4, 0, 0], [0.5, 5, 0], [0, 0, 1]], pbc=(1, 1, 0))
    result = Coulomb(charges, force_error=1e-9)(Structures.from_ase(atoms))
    n = np.arange(-330, 331)
    everywhere = (n[:, None, None] * np.array(atoms.cell)[0] + n[:, None] * np.array(atoms.cell)[1]).reshape(-1, 3)

    def energies(width: float) -> np.ndarray:
        images = everywhere[(everywhere**2).sum(1) < (5.5 * width) ** 2]
        weights = np.exp(-((images / width) ** 2).sum(1))
        potentials = np.zeros(4)
        for i, j in np.ndindex(4, 4):
            distances = np.linalg.norm(positions[i] - positions[j] - images, axis=1)
            away = distances > 0
            potentials[i] += charges[j] * (weights[away] / distances[away]).sum()
        return 0.5 * COULOMB * charges * potentials

    near, middle, far = (energies(width) for width in (60.0, 120.0, 240.0))
    extrapolated = (8 * far - 6 * middle + near) / 3  # without the terms in 1 / R and 1 / R^2
    assert np.allclose(result.energies, extrapolated, atol=3e-4)
    assert not np.allclose(result.energies, far, atol=3e-3)


def test_any_axis_may_be_the_free_one():
    potential = Coulomb(IONS, force_error=1e-8, method="ewald")
    original = potential(Structures.from_ase(slab()))
    for order in ([2, 0, 1], [1, 2, 0]):
        atoms = slab()
        turned = Atoms(
            atoms.symbols,
            positions=atoms.positions[:, order],
            cell=np.array(atoms.cell)[order][:, order],
            pbc=np.array(atoms.pbc)[order],
        )
        result = potential(Structures.from_ase(turned))
        assert torch.allclose(result.energies, original.energies, atol=1e-8)
        assert torch.allclose(result.forces, original.forces[:, order], atol=1e-8)
        assert torch.allclose(result.flux_tensors, original.flux_tensors[:, order][:, :, order], atol=1e-7)


def test_the_free_vector_does_not_matter():
    potential = Coulomb(IONS, force_error=1e-8)
    results = [potential(Structures.from_ase(slab(height))) for height in (12.0, 50.0)]
    assert torch.allclose(results[0].energies, results[1].energies, atol=1e-10)
    flat = slab()
    flat.cell[2] = 0
    assert torch.allclose(results[0].energies, potential(Structures.from_ase(flat)).energies, atol=1e-10)


def test_charged_slab_has_the_field_of_a_charged_plane():
    """Far away it pushes a charge by 2 pi q sigma; background and images would change that."""
    plane = Atoms("H", positions=[[0, 0, 0]], cell=[3, 3, 1], pbc=(1, 1, 0))
    probe = plane + Atoms("He", positions=[[0.7, 0.4, 25.0]])
    potential = Coulomb({"H": 1.0, "He": 1e-3}, net_charge="background", force_error=1e-9)
    result = potential(Structures.from_ase(probe))
    expected = 2 * np.pi * COULOMB * 1e-3 / 9
    assert float(result.forces[1, 2]) == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(result.forces.sum(0), torch.zeros(3).double(), atol=1e-9)


@pytest.mark.parametrize("pbc", [(True, True, False), True, False])
def test_strain_derivatives(pbc):
    """The flux tensors sum to minus the derivative in the strain, also with a dipole term."""
    potential = Coulomb(IONS, force_error=1e-7, method="ewald", surface="vacuum")
    structures = Structures.from_ase(slab(pbc=pbc)).with_gradients(strain=True)
    result = potential(structures)
    result.energy.sum().backward()
    assert torch.allclose(structures.strain.grad[0], -result.flux_tensors.sum(0), atol=1e-6)
    assert torch.allclose(structures.leaf_positions.grad, -result.forces, atol=1e-10)


def test_crystal_in_vacuum_knows_its_dipole_moment():
    atoms = melt(1)
    foil, vacuum = (
        Coulomb(IONS, force_error=1e-8, surface=surface)(Structures.from_ase(atoms))
        for surface in ("tin-foil", "vacuum")
    )
    charges = np.where(atoms.numbers == 11, 1.0, -1.0)
    dipole = charges @ atoms.positions
    shift = 2 * np.pi * COULOMB * dipole @ dipole / (3 * atoms.get_volume())
    assert float(vacuum.energy - foil.energy) == pytest.approx(shift, abs=1e-10)
    field = -4 * np.pi * COULOMB * dipole / (3 * atoms.get_volume())
    assert np.allclose((vacuum.forces - foil.forces).numpy(), charges[:, None] * field, atol=1e-10)
    assert float(vacuum.virials.diagonal(dim1=1, dim2=2).sum()) == pytest.approx(float(vacuum.energy), rel=1e-7)


def test_a_bound_slab_may_outgrow_its_cell():
    atoms = slab()
    potential = Coulomb(IONS, force_error=1e-6)
    evaluator = Evaluator(potential, Structures.from_ase(atoms))
    for lift in (0.0, 0.4, 6.0):
        atoms.positions[4, 2] += lift
        structures = Structures.from_ase(atoms)
        evaluator(structures.positions.numpy(), structures.cells.numpy())
        assert np.allclose(evaluator.forces, potential(structures).forces, atol=1e-5)
