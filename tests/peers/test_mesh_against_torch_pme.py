"""Particle-mesh and Ewald sums, and the range separation of 1/r^p, against torch-pme."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from torchpme import EwaldCalculator, InversePowerLawPotential, P3MCalculator, PMECalculator
from torchpme.lib.kvectors import get_ns_mesh

from matterscape import Structures
from matterscape.potentials import inverse_power
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower

pytestmark = pytest.mark.peers

IONS = {"Na": 1.0, "Cl": -1.0}


@pytest.fixture(scope="module")
def salt():
    """A sheared, perturbed cell of 64 ions, its charges and full list of pairs."""
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True).repeat(2)
    atoms.set_cell(atoms.cell[:] + 0.5 * np.random.default_rng(0).normal(size=(3, 3)), scale_atoms=True)
    atoms.rattle(0.2, seed=1)
    structures = Structures.from_ase(atoms)
    charges = torch.where(structures.species == 11, 1.0, -1.0).double()[:, None]
    return structures, charges


def torch_pme_energies(calculator, structures, charges, cutoff):
    """Energies of the atoms and forces; the peer's potential at an atom counts every pair half."""
    positions = structures.positions.clone().requires_grad_()
    pairs = structures.pairs(cutoff)
    cell = structures.cells[0]
    vectors = positions[pairs.second] - positions[pairs.first] + pairs.shifts.double() @ cell
    indices = torch.stack([pairs.first, pairs.second], dim=1)
    potential = calculator(charges, cell, positions, indices, vectors.norm(dim=1))
    energies = (charges * potential)[:, 0]
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    return energies.detach(), -gradient


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 5, 6])
def test_ewald(salt, exponent):
    structures, charges = salt
    smearing, cutoff = 1.2, 9.0
    alpha = 1 / (np.sqrt(2) * smearing)
    potential = InversePowerLawPotential(exponent=exponent, smearing=smearing)
    calculator = EwaldCalculator(potential, lr_wavelength=np.pi / 7.0, full_neighbor_list=True).to(torch.float64)
    energies, forces = torch_pme_energies(calculator, structures, charges, cutoff)
    parameters = Parameters("ewald", alpha, cutoff, wave_cutoff=7.0)
    result = InversePower(IONS, exponent, parameters=parameters)(structures)
    assert torch.allclose(result.energies, energies, atol=2e-9)
    assert torch.allclose(result.forces, forces, atol=2e-9)


def test_dispersion_of_one_sign(salt):
    structures, charges = salt
    potential = InversePowerLawPotential(exponent=6, smearing=1.2)
    calculator = EwaldCalculator(potential, lr_wavelength=np.pi / 7.0, full_neighbor_list=True).to(torch.float64)
    energies, forces = torch_pme_energies(calculator, structures, charges.abs(), 9.0)
    parameters = Parameters("ewald", 1 / (np.sqrt(2) * 1.2), 9.0, wave_cutoff=7.0)
    result = InversePower({"Na": 1.0, "Cl": 1.0}, 6, parameters=parameters)(structures)
    assert torch.allclose(result.energies, energies, atol=1e-9)
    assert torch.allclose(result.forces, forces, atol=1e-9)


def test_background(salt):
    structures, charges = salt
    charges = charges.clone()
    charges[0] = 3.0
    for exponent in (1, 2):
        potential = InversePowerLawPotential(exponent=exponent, smearing=1.2)
        calculator = EwaldCalculator(potential, lr_wavelength=np.pi / 7.0, full_neighbor_list=True)
        energies, _ = torch_pme_energies(calculator.to(torch.float64), structures, charges, 9.0)
        result = InversePower(
            charges[:, 0],
            exponent,
            parameters=Parameters("ewald", 1 / (np.sqrt(2) * 1.2), 9.0, wave_cutoff=7.0),
            net_charge="background",
        )(structures)
        assert torch.allclose(result.energies, energies, atol=1e-8)


@pytest.mark.parametrize("calculator_class", [PMECalculator, P3MCalculator])
def test_mesh(salt, calculator_class):
    """On the same mesh with the same number of points per atom."""
    structures, charges = salt
    alpha = 1 / (np.sqrt(2) * 1.2)
    exact = InversePower(IONS, 1, parameters=Parameters("ewald", alpha, 9.0, wave_cutoff=7.0))(structures)
    potential = InversePowerLawPotential(exponent=1, smearing=1.2)
    options = {"interpolation_nodes": 4, "full_neighbor_list": True}
    calculator = calculator_class(potential, mesh_spacing=0.75, **options).to(torch.float64)
    _, forces = torch_pme_energies(calculator, structures, charges, 9.0)
    theirs = float((forces - exact.forces).square().mean().sqrt())
    cell = structures.cells[0]
    points = get_ns_mesh(cell, 0.75)
    spacing = float((cell.norm(dim=1) / points).max()) * (1 + 1e-12)
    ours = InversePower(IONS, 1, parameters=Parameters("mesh", alpha, 9.0, spacing=spacing, order=4))(structures)
    mine = float((ours.forces - exact.forces).square().mean().sqrt())
    assert 1e-7 < mine < 1.5 * theirs


@pytest.mark.parametrize("exponent", range(1, 7))
def test_range_separation(exponent):
    smearing = 0.9
    alpha = 1 / (np.sqrt(2) * smearing)
    potential = InversePowerLawPotential(exponent=exponent, smearing=smearing).to(torch.float64)
    r = torch.linspace(0.4, 6.0, 30, dtype=torch.float64)
    assert torch.allclose(inverse_power.short_range(r, alpha, exponent), potential.sr_from_dist(r), atol=1e-10)
    assert torch.allclose(inverse_power.long_range(r, alpha, exponent), potential.lr_from_dist(r), rtol=1e-10)
    squared = torch.linspace(0.1, 30.0, 30, dtype=torch.float64)
    strength, _ = inverse_power.fourier(squared, alpha, exponent)
    assert torch.allclose(strength, potential.lr_from_k_sq(squared), rtol=1e-9, atol=1e-12)
    if exponent > 3:
        zero = potential.lr_from_k_sq(torch.zeros(1, dtype=torch.float64))
        assert float(zero) == pytest.approx(inverse_power.fourier_at_zero(alpha, exponent), rel=1e-12)
    if exponent < 3:
        background = 2 * float(potential.background_correction())  # of half a potential
        assert background == pytest.approx(-inverse_power.fourier_at_zero(alpha, exponent), rel=1e-6)
    assert float(potential.self_contribution()) == pytest.approx(
        inverse_power.long_range_at_zero(alpha, exponent), rel=1e-6
    )
