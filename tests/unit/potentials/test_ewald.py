"""The waves of an Ewald sum: constants of nature, independence of the separation, bodies and derivatives."""

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
from matterscape.potentials.ewald import EwaldSum, ewald_operator, wave_rows
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.screened import pair_stiffness, screened_operator
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit


def crystal(name: str, distance: float) -> tuple[Atoms, dict[str, float]]:
    """A primitive cell with its nearest neighbours at ``distance``, and its charges."""
    if name == "rock salt":
        return bulk("NaCl", "rocksalt", a=2 * distance), IONS
    if name == "caesium chloride":
        return bulk("CsCl", "cesiumchloride", a=2 * distance / math.sqrt(3)), {"Cs": 1.0, "Cl": -1.0}
    if name == "zinc blende":
        return bulk("ZnS", "zincblende", a=4 * distance / math.sqrt(3)), {"Zn": 1.0, "S": -1.0}
    if name == "wurtzite":
        a = distance * math.sqrt(8 / 3)
        return bulk("ZnS", "wurtzite", a=a, c=a * math.sqrt(8 / 3), u=3 / 8), {"Zn": 1.0, "S": -1.0}
    if name == "fluorite":
        return bulk("CaF2", "fluorite", a=4 * distance / math.sqrt(3)), {"Ca": 2.0, "F": -1.0}
    raise ValueError(name)


@pytest.fixture(scope="module")
def two_cells():
    """Arguments of the operators for two skewed cells with arbitrary sources and weights."""
    rng = np.random.default_rng(0)
    counts, lengths = (11, 17), (6.0, 7.5)
    cells = np.stack([l * np.array([[1, 0, 0], [0.3, 0.9, 0], [-0.2, 0.15, 1.1]]) for l in lengths])
    positions = np.concatenate([(3 * rng.random((n, 3)) - 1) @ cell for n, cell in zip(counts, cells)])
    charges, weights = rng.normal(size=(2, sum(counts)))
    index = np.repeat([0, 1], counts)
    return tuple(torch.from_numpy(a) for a in (positions, cells, charges, weights, index))


MADELUNG = {
    "rock salt": 1.7475645946331822,
    "caesium chloride": 1.76267477307099,
    "zinc blende": 1.63805505338879,
    "wurtzite": 1.641321627,
    "fluorite": 5.03878,
}


@pytest.mark.parametrize("distance", [0.8, 2.8, 9.0])
@pytest.mark.parametrize("name", MADELUNG)
def test_madelung_constants(name, distance):
    atoms, charges = crystal(name, distance)
    n_units = len(atoms) // (3 if name == "fluorite" else 2)
    potential = Coulomb(charges, force_error=1e-9, method="ewald", cutoff=4 * distance)
    energy = float(potential(Structures.from_ase(atoms)).energy) / n_units
    digits = {"fluorite": 1e-6, "wurtzite": 1e-9}.get(name, 1e-9)
    assert -energy * distance / COULOMB == pytest.approx(MADELUNG[name], rel=digits)


def test_virial_of_charges_is_their_energy():
    result = Coulomb(IONS, force_error=1e-10)(Structures.from_ase(melt()))
    trace = result.virials.diagonal(dim1=1, dim2=2).sum()
    assert float(trace) == pytest.approx(float(result.energy), rel=1e-8)


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 6])
def test_nothing_depends_on_the_separation(exponent):
    structures = Structures.from_ase(melt())
    results = []
    for alpha in (0.30, 0.36, 0.42):
        parameters = Parameters("ewald", alpha, cutoff=7.0 / alpha**0.9 + 4, wave_cutoff=13 * alpha)
        results.append(InversePower(IONS, exponent, prefactor=COULOMB, parameters=parameters)(structures))
    velocities = torch.from_numpy(melt().get_velocities())
    for other in results[1:]:
        for value in ("energies", "forces", "flux_tensors"):
            assert torch.allclose(getattr(other, value), getattr(results[0], value), atol=1e-7, rtol=0)
        assert torch.allclose(other.heat_flux(velocities), results[0].heat_flux(velocities), atol=1e-7, rtol=0)


def test_flux_tensor_of_the_waves():
    """It equals the explicit sum over waves, and its trace tends to the energy as alpha grows."""
    structures = Structures.from_ase(melt(1))
    positions, cells, index, alpha = structures.positions, structures.cells, structures.structure_index, 0.45
    charges = torch.where(structures.species == 11, 1.0, -1.0).double()
    rows = torch.from_numpy(wave_rows(cells.numpy(), 6.0))
    energies, _, pieces, _ = ewald_operator(positions, cells, charges, charges[:0], index, rows, alpha, 1, True)
    k = 2 * math.pi * torch.cartesian_prod(*[torch.arange(-9.0, 10.0)] * 3).double() @ torch.linalg.inv(cells[0]).T
    k2 = (k**2).sum(1)
    k, k2 = k[(k2 > 1e-9) & (k2 < 36)], k2[(k2 > 1e-9) & (k2 < 36)]
    strength = 4 * math.pi / torch.linalg.det(cells[0]) * torch.exp(-k2 / (4 * alpha**2)) / k2
    phases = positions @ k.T
    factor = (charges[:, None] * torch.exp(1j * phases)).sum(0)
    projected = (torch.exp(-1j * phases) * factor).real
    assert torch.allclose(energies, charges / 2 * (projected @ strength), atol=1e-11)
    tensor = torch.eye(3).double() - 2 * k[:, :, None] * k[:, None, :] * (1 / k2 + 1 / (4 * alpha**2))[:, None, None]
    expected = torch.einsum("n,nk,k,kab->nab", charges / 2, projected, strength, tensor)
    assert torch.allclose(pieces, expected, atol=1e-11)

    assert torch.allclose(pieces.sum(0), pieces.sum(0).T, atol=1e-12)

    differences = []
    for alpha in (1.0, 2.2):
        rows = torch.from_numpy(wave_rows(cells.numpy(), 10 * alpha))
        energies, _, pieces, _ = ewald_operator(positions, cells, charges, charges[:0], index, rows, alpha, 1, True)
        self_energies = alpha / math.sqrt(math.pi) * charges**2
        differences.append(pieces.diagonal(dim1=1, dim2=2).sum(1) - (energies - self_energies))
    assert float(differences[1].abs().max()) < 1e-5 * float(differences[0].abs().max())


@pytest.mark.parametrize("exponent", [1, 2, 3, 5, 6])
def test_bodies_agree(two_cells, exponent):
    positions, cells, charges, weights, index = two_cells
    rows = torch.from_numpy(wave_rows(cells.numpy(), 5.0))
    for chosen in (weights, weights[:0]):
        arguments = (positions, cells, charges, chosen, index, rows, 0.5, exponent, True)
        for mine, reference in zip(ewald_operator(*arguments), ewald_operator.reference(*arguments)):
            assert torch.allclose(mine, reference, rtol=1e-11, atol=1e-11)


def test_derivatives_of_the_waves(two_cells):
    positions, cells, charges, weights, index = two_cells
    some = torch.tensor([0, 1, 2, 11, 12, 13, 14])
    leaves = [t.clone().requires_grad_() for t in (positions[some], cells, charges[some], weights[some])]
    index = index[some]
    rows = torch.from_numpy(wave_rows(cells.numpy(), 2.0))
    assert torch.autograd.gradcheck(lambda *t: ewald_operator(*t, index, rows, 0.5, 1, True), leaves, fast_mode=True)
    leaves = [t.clone().requires_grad_() for t in (positions[:3], cells[:1], charges[:3], weights[:3])]
    rows = torch.from_numpy(wave_rows(cells[:1].numpy(), 1.5))
    assert torch.autograd.gradgradcheck(
        lambda *t: ewald_operator(*t, index[:3], rows, 0.5, 6, True)[0], leaves, fast_mode=True
    )


def test_screened_pairs(two_cells):
    positions, cells, charges, weights, index = two_cells
    positions, charges, weights, index = positions[:6], charges[:6], weights[:6], index[:6]
    i, j = np.nonzero(~np.eye(6, dtype=bool))
    shifts = np.random.default_rng(0).integers(-1, 2, (15, 3))
    lower = i < j
    geometry = np.zeros((30, 5), np.int64)
    geometry[:, 0], geometry[:, 1] = i, j
    geometry[lower, 2:] = shifts
    for pair in np.flatnonzero(lower):
        geometry[(i == j[pair]) & (j == i[pair]), 2:] = -geometry[pair, 2:]
    geometry = torch.from_numpy(geometry)
    for alpha, exponent in ((0.4, 1), (0.4, 2), (0.4, 5), (0.4, 6), (0.0, 6)):
        arguments = (positions, cells[:1], charges, weights, index, geometry, alpha, exponent, True)
        for mine, reference in zip(screened_operator(*arguments), screened_operator.reference(*arguments)):
            assert torch.allclose(mine, reference, rtol=1e-11, atol=1e-13)
    leaves = [t.clone().requires_grad_() for t in (positions, cells[:1], charges, weights)]
    assert torch.autograd.gradcheck(
        lambda *t: screened_operator(*t, index, geometry, 0.4, 1, True), leaves, fast_mode=True
    )
    vectors = positions[1:] - positions[0]
    for exponent in (1, 4):
        psi = lambda v, p=exponent: inverse_power.short_range(v.norm(), 0.4, p)  # noqa: E731
        expected = torch.stack([torch.autograd.functional.hessian(psi, v) for v in vectors])
        assert np.allclose(pair_stiffness(vectors.numpy(), 0.4, exponent), expected, rtol=1e-10, atol=1e-14)


def test_same_bits_for_any_number_of_threads():
    from matterscape import get_threads, set_threads

    structures, before = Structures.from_ase(melt()), get_threads()
    cells, index = structures.cells.numpy(), structures.structure_index.numpy()
    charges = np.where(structures.species.numpy() == 11, 1.0, -1.0)[None]
    fields = []
    try:
        for threads in {1, before}:
            set_threads(threads)
            total = EwaldSum(cells, index, wave_rows(cells, 3.0), 0.4, 1)
            fields.append(total.fields(structures.positions.numpy(), charges, True))
    finally:
        set_threads(before)
    for first, second in zip(fields[0], fields[-1]):
        assert np.array_equal(first, second)
