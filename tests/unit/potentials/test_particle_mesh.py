"""Particle-mesh sums: splines, agreement with Ewald sums, exact derivatives, determinism."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from matterscape import Structures, get_threads, set_threads
from matterscape.dynamics import Simulation, VelocityVerlet
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import alkali_halide
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.ewald import ewald_operator, wave_rows
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.particle_mesh import (
    ORDERS,
    ParticleMesh,
    mesh_operator,
    spline_tables,
    window_factor,
)
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit

# a mesh far too coarse, and pairs without a step at the cutoff
COARSE = Parameters("mesh", 0.8, 6.0, spacing=1.5, order=6)
FINE = Parameters("ewald", 0.8, 6.0, wave_cutoff=10.0)


@pytest.fixture(scope="module")
def two_cells():
    """Two skewed cells with arbitrary sources and weights; atoms outside the cells, some on mesh points."""
    rng = np.random.default_rng(0)
    counts, lengths = (9, 12), (6.0, 7.5)
    cells = np.stack([l * np.array([[1, 0, 0], [0.3, 0.9, 0], [-0.2, 0.15, 1.1]]) for l in lengths])
    positions = np.concatenate([(3 * rng.random((n, 3)) - 1) @ cell for n, cell in zip(counts, cells)])
    positions[0], positions[1] = 0.0, cells[0].sum(0)
    charges, weights = rng.normal(size=(2, sum(counts)))
    return tuple(torch.from_numpy(a) for a in (positions, cells, charges, weights, np.repeat([0, 1], counts)))


@pytest.mark.parametrize("order", ORDERS)
def test_splines(order):
    weights, slopes = spline_tables(order)
    remainder = np.linspace(0.01, 0.99, 9)
    values = np.stack([np.polyval(weights[:, point], remainder) for point in range(8)])
    assert np.allclose(values.sum(0), 1)
    assert np.all(values[order:] == 0)
    spline = BSpline.basis_element(np.arange(order + 1.0), extrapolate=False)
    for point in range(order):
        assert np.allclose(values[point], spline(remainder + order - 1 - point), atol=1e-14)
        slope = np.polyval(slopes[:, point], remainder)
        assert np.allclose(slope, spline(remainder + order - 1 - point, 1), atol=1e-13)


def test_window_factor_is_the_sum_over_aliases():
    n, order = 15, 5
    waves = np.fft.fftfreq(n)[:, None] + np.arange(-400, 401)
    window = np.sinc(waves) ** (2 * order)
    assert np.allclose(window_factor(n, order), window[:, 400] / window.sum(1) ** 2, rtol=1e-10)
    assert window_factor(16, order)[8] == 0


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("exponent", [1, 6])
def test_bodies_agree(two_cells, order, exponent):
    positions, cells, charges, weights, index = two_cells
    meshes = torch.tensor([[14, 15, order, order], [order, 16, 20, order]])
    for chosen in (weights, weights[:0]):
        arguments = (positions, cells, charges, chosen, index, meshes, 0.5, exponent, True)
        for mine, reference in zip(mesh_operator(*arguments), mesh_operator.reference(*arguments)):
            assert torch.allclose(mine, reference, rtol=1e-10, atol=1e-10)


def test_derivatives(two_cells):
    """Forces and stress are exact derivatives of the mesh's own energy, whatever its error."""
    positions, cells, charges, weights, index = two_cells
    some = torch.tensor([0, 2, 3, 9, 10, 11])
    meshes = torch.tensor([[8, 9, 8, 5], [9, 8, 8, 5]])
    shifted = positions[some] + 0.1  # splines of order 5 have a third derivative with steps at mesh points
    leaves = [t.clone().requires_grad_() for t in (shifted, cells, charges[some], weights[some])]
    assert torch.autograd.gradcheck(
        lambda *t: mesh_operator(*t, index[some], meshes, 0.5, 1, True), leaves, fast_mode=True
    )
    leaves = [t.clone().requires_grad_() for t in (shifted[:3], cells[:1], charges[:3], weights[:3])]
    assert torch.autograd.gradgradcheck(
        lambda *t: mesh_operator(*t, index[:3], meshes[:1], 0.5, 6, True)[0], leaves, fast_mode=True
    )


@pytest.mark.parametrize("exponent", [1, 3, 6])
def test_converges_to_the_ewald_sum(two_cells, exponent):
    positions, cells, charges, weights, index = two_cells
    rows = torch.from_numpy(wave_rows(cells.numpy(), 6.5))
    exact = ewald_operator(positions, cells, charges, weights, index, rows, 0.5, exponent, True)
    errors = []
    for points, order in ((12, 4), (20, 6), (32, 8)):
        meshes = torch.tensor([[points, points, points, order]] * 2)
        result = mesh_operator(positions, cells, charges, weights, index, meshes, 0.5, exponent, True)
        errors.append([float((a - b).abs().max() / b.abs().max()) for a, b in zip(result, exact)])
    errors = np.array(errors)
    assert (errors[1] < 0.1 * errors[0]).all()
    assert errors[2].max() < 2e-7


@pytest.mark.parametrize("exponent", [1, 6])
def test_potential_equals_ewald_to_the_requested_error(exponent):
    structures = Structures.from_ase(melt(3))
    options = {"prefactor": COULOMB}
    exact = InversePower(IONS, exponent, method="ewald", force_error=1e-8, cutoff=9.0, **options)(structures)
    for error in (1e-2, 1e-4):
        result = InversePower(IONS, exponent, method="mesh", force_error=error, **options)(structures)
        measured = float(((result.forces - exact.forces) ** 2).sum(1).mean().sqrt())
        assert measured < 2 * error
        assert float((result.flux_tensors - exact.flux_tensors).abs().max()) < 60 * error
        assert float((result.energies - exact.energies).abs().max()) < 20 * error


def test_moving_by_a_mesh_spacing_changes_nothing(two_cells):
    positions, cells, charges, _, index = two_cells
    positions, charges, index = positions[index == 0], charges[index == 0], index[index == 0]
    meshes = torch.tensor([[10, 9, 12, 6]])
    arguments = (charges, charges[:0], index, meshes, 0.6, 1, True)
    before = mesh_operator(positions, cells[:1], *arguments)
    step = torch.tensor([3 / 10, -2 / 9, 25 / 12], dtype=torch.float64) @ cells[0]
    after = mesh_operator(positions + step, cells[:1], *arguments)
    for a, b in zip(before, after):
        assert torch.allclose(a, b, atol=1e-10)


def test_same_bits_for_any_number_of_threads():
    structures, before = Structures.from_ase(melt()), get_threads()
    charges = np.where(structures.species.numpy() == 11, 1.0, -1.0)[None]
    meshes = np.array([[18, 20, 21, 7]])
    fields = []
    try:
        for threads in {1, before}:
            set_threads(threads)
            mesh = ParticleMesh(structures.cells.numpy(), structures.structure_index.numpy(), meshes, 0.5, 1)
            fields.append(mesh.fields(structures.positions.numpy(), charges, True))
    finally:
        set_threads(before)
    for first, second in zip(fields[0], fields[-1]):
        assert np.array_equal(first, second)
    assert math.isfinite(fields[0][0].sum())


@pytest.fixture(scope="module")
def melts():
    return [melt(2), melt(2, seed=5)]


@pytest.fixture(scope="module")
def coarse():
    return InversePower(IONS, 1, prefactor=COULOMB, parameters=COARSE)


def test_forces_sum_to_zero_and_nothing_changes_when_all_atoms_move(melts, coarse):
    structures = Structures.from_ase(melts)
    result, charges = coarse(structures), coarse.site_coefficients(structures)
    geometry = torch.from_numpy(COARSE.geometry(structures.cells.numpy()))
    arguments = (charges, charges[:0], structures.structure_index, geometry, COARSE.alpha, 1, False)
    at_rest = COULOMB * mesh_operator(structures.positions, structures.cells, *arguments)[1]
    for own, resting in zip(result.forces.split(64), at_rest.split(64)):
        assert float(own.sum(0).abs().max()) < 1e-12
        assert float(resting.sum(0).abs().max()) > 1e-2  # what a mesh at rest would push
    moved = [frame.copy() for frame in melts]
    for frame in moved:
        frame.positions += [0.31, -0.77, 1.4]
    moved = coarse(Structures.from_ase(moved))
    for name in ("energies", "forces", "flux_tensors"):
        assert torch.allclose(getattr(moved, name), getattr(result, name), atol=1e-10), name


def test_forces_on_a_coarse_mesh_are_derivatives_of_its_energy(melts, coarse):
    direction, step = np.random.default_rng(3).normal(size=(64, 3)), 1e-4
    ends = [melts[0].copy() for _ in range(2)]
    for end, sign in zip(ends, (1, -1)):
        end.positions += sign * step * direction
    forward, backward = (float(coarse(Structures.from_ase(end)).energies.sum()) for end in ends)
    work = float((coarse(Structures.from_ase(melts[0])).forces.numpy() * direction).sum())
    assert (forward - backward) / (2 * step) == pytest.approx(-work, rel=1e-6)


def test_a_mesh_for_a_run_does_as_a_single_one(melts, coarse):
    structures = Structures.from_ase(melts)
    single, run = coarse(structures), Evaluator(coarse, structures)
    run(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
    for name in ("energies", "forces", "flux_tensors"):
        assert np.allclose(getattr(run, name), getattr(single, name).numpy(), atol=1e-10), name


def test_what_is_taken_out_is_error(melts, coarse):
    """Exact forces have no mean, so that forces come closer to them without theirs."""
    structures = Structures.from_ase(melts[0])
    exact = InversePower(IONS, 1, prefactor=COULOMB, parameters=FINE)(structures).forces
    error = coarse(structures).forces - exact
    charges = coarse.site_coefficients(structures)
    sites = structures.positions - structures.positions.mean(0)
    geometry = torch.from_numpy(COARSE.geometry(structures.cells.numpy()))
    arguments = (charges, charges[:0], structures.structure_index, geometry, COARSE.alpha, 1, False)
    mean = -COULOMB * mesh_operator(sites, structures.cells, *arguments)[1].mean(0)
    before, after = (float(e.square().sum(1).mean().sqrt()) for e in (error + mean, error))
    assert 1e-3 < after < before < 1.0
    assert before**2 - after**2 == pytest.approx(float(mean @ mean), rel=1e-6)


def test_a_run_on_a_coarse_mesh_keeps_momentum_and_energy(melts):
    """The energy wavers by the time step, as with an exact sum."""
    wavering = []
    for parameters in (COARSE, FINE):
        simulation = Simulation(
            melts[0],
            alkali_halide("NaCl", cutoff=6.0, parameters=parameters),
            integrator=VelocityVerlet(),
            initial_temperature_K=1500,
            timestep_fs=1.0,
            seed=1,
        )
        simulation.run(50, show_progress=False)
        energies = simulation.record("total_energy", 5)
        simulation.run(500, show_progress=False)
        momenta = simulation.masses[:, None] * simulation.velocities
        assert np.abs(momenta.sum(0)).max() < 1e-12 * np.abs(momenta).sum()
        wavering.append(np.std(energies.values))
    assert wavering[0] < 1.5 * wavering[1]
