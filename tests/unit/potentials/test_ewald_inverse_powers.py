"""Inverse powers of the distance: range separation, lattice sums, backgrounds."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matterscape import Structures
from matterscape.potentials import inverse_power
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Coulomb
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("exponent", inverse_power.EXPONENTS)
def test_range_separation(exponent):
    """Both parts sum to 1/r^p, the Fourier transform is that of the smooth part, and so are its limits."""
    alpha = 0.7
    r = torch.linspace(0.3, 9.0, 40, dtype=torch.float64)
    short, smooth = inverse_power.short_range(r, alpha, exponent), inverse_power.long_range(r, alpha, exponent)
    assert torch.allclose(short + smooth, r ** -float(exponent), rtol=1e-12)
    near = inverse_power.long_range(torch.tensor([1e-3], dtype=torch.float64), alpha, exponent)
    assert float(near) == pytest.approx(inverse_power.long_range_at_zero(alpha, exponent), rel=1e-5)
    k = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    strength, slope = inverse_power.fourier(k**2, alpha, exponent)
    if exponent > 3:
        grid = torch.linspace(1e-4, 120.0, 240001, dtype=torch.float64)
        wave = torch.sin(grid * k[:, None]) / k[:, None]
        integral = torch.trapezoid(4 * math.pi * grid * inverse_power.long_range(grid, alpha, exponent) * wave, grid)
        assert torch.allclose(strength, integral, rtol=1e-4, atol=2e-6)
        near, _ = inverse_power.fourier(torch.tensor([1e-10], dtype=torch.float64), alpha, exponent)
        assert float(near) == pytest.approx(inverse_power.fourier_at_zero(alpha, exponent), rel=1e-3)
    h = 1e-5
    up, down = (inverse_power.fourier((k + d) ** 2, alpha, exponent)[0] for d in (h, -h))
    assert torch.allclose(slope * k, (up - down) / (2 * h), rtol=1e-7)


def test_background_is_minus_the_integral_of_the_short_range():
    for exponent in (1, 2):
        r = torch.linspace(1e-6, 20.0, 400001, dtype=torch.float64)
        integral = torch.trapezoid(4 * math.pi * r**2 * inverse_power.short_range(r, 0.7, exponent), r)
        assert inverse_power.fourier_at_zero(0.7, exponent) == pytest.approx(-float(integral), rel=1e-5)


def evjen(exponent: int, size: int) -> float:
    """Alternating sum over a rock-salt lattice of unit spacing, boundary ions weighted by what is inside the cube."""
    n = np.arange(-size, size + 1)
    edge = np.where(np.abs(n) == size, 0.5, 1.0)
    sign = 1.0 - 2.0 * (np.abs(n) % 2)
    squared = (n[:, None, None] ** 2 + n[:, None] ** 2 + n**2).astype(float)
    squared[size, size, size] = np.inf
    factor = edge * sign
    return float((factor[:, None, None] * factor[:, None] * factor * squared ** (-exponent / 2)).sum())


@pytest.mark.parametrize(("exponent", "tolerance"), [(2, 2e-6), (3, 1e-7), (4, 1e-8), (5, 1e-9), (6, 1e-9)])
def test_alternating_sums_of_other_powers(exponent, tolerance):
    structures = Structures.from_ase(bulk("NaCl", "rocksalt", a=2.0))
    result = InversePower(IONS, exponent, force_error=1e-10, method="ewald", cutoff=5.0)(structures)
    assert float(result.energy) == pytest.approx(evjen(exponent, 40), abs=tolerance)


@pytest.mark.parametrize(
    ("lattice", "exponent", "constant"),
    [
        ("sc", 4, 16.53231596),
        ("sc", 6, 8.40192397),
        ("fcc", 4, 25.33830),
        ("fcc", 6, 14.45392104),
        ("bcc", 6, 12.25366787),
    ],
)
def test_lattice_sums_of_one_sign(lattice, exponent, constant):
    """sum 1/r^p with nearest neighbours at 1; Lennard-Jones and Ingham, Proc. R. Soc. A 107, 636 (1925)."""
    side = {"sc": 1.0, "fcc": math.sqrt(2), "bcc": 2 / math.sqrt(3)}[lattice]
    potential = InversePower({"Ar": 1.0}, exponent, force_error=1e-9, method="ewald", cutoff=5.0)
    energy = float(potential(Structures.from_ase(bulk("Ar", lattice, a=side))).energy)
    assert 2 * energy == pytest.approx(constant, rel=1e-7 if exponent == 6 else 5e-6)


def test_dispersion_equals_a_long_sum_over_pairs():
    atoms = melt(1)
    structures = Structures.from_ase(atoms)
    sums = InversePower({"Na": 1.3, "Cl": 2.0}, 6, prefactor=-1.0, force_error=1e-10)(structures)
    pairs = structures.pairs(45.0)
    c = torch.where(structures.species == 11, 1.3, 2.0).double()
    inverse = pairs.vectors.norm(dim=1) ** -6
    direct = -0.5 * torch.zeros(8).double().index_add(0, pairs.first, c[pairs.second] * inverse) * c
    tail = -0.5 * c * c.sum() / structures.volumes * 4 * math.pi / (3 * 45.0**3)
    assert torch.allclose(sums.energies, direct + tail, rtol=1e-6)


def test_wigner_crystal_and_background():
    """Point charges in their background: -2.837297 / 2L; the virial of the energy is a third of it."""
    length = 3.7
    potential = Coulomb({"H": 1.0}, net_charge="background", force_error=1e-9)
    result = potential(Structures.from_ase(Atoms("H", cell=[length] * 3, pbc=True)))
    assert float(result.energy) * 2 * length / COULOMB == pytest.approx(-2.8372974795, abs=1e-8)
    assert torch.allclose(result.virials[0], result.energy / 3 * torch.eye(3).double(), atol=1e-7)


def test_charged_cell_does_not_depend_on_the_separation():
    atoms = melt()
    del atoms[3]
    structures = Structures.from_ase(atoms)
    results = [
        Coulomb(IONS, net_charge="background", parameters=Parameters("ewald", alpha, 8 / alpha, 13 * alpha))(structures)
        for alpha in (0.35, 0.6)
    ]
    for value in ("energies", "forces", "flux_tensors"):
        assert torch.allclose(*(getattr(result, value) for result in results), atol=1e-9)
