"""Heat flux in another gauge: what is subtracted conducts nothing; what a pair virial gives is no heat flux."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from scipy.signal import lfilter

from energy_moment import energy_moment_rate
from matterscape.dynamics import Simulation, VelocityVerlet, relax
from matterscape.potentials import StillingerWeber, Tersoff, pedone
from matterscape.structures import Structures
from matterscape.transport.currents import Currents
from matterscape.transport.heat_gauge import HeatGauge
from matterscape.transport.onsager import thermal_conductivity

pytestmark = pytest.mark.unit

TERSOFF = Tersoff.silicon_germanium()
CUBE = np.array(list(np.ndindex(2, 2, 2)))


def cluster(symbols, spacing):
    atoms = Atoms(symbols, positions=spacing * CUBE)
    atoms.rattle(0.25, seed=3)
    return atoms, 0.05 * np.random.default_rng(1).normal(size=(8, 3))


CLUSTERS = {
    "Tersoff": (TERSOFF, *cluster("Si8", 2.3)),
    "Stillinger-Weber": (StillingerWeber.silicon(), *cluster("Si8", 2.4)),
    "Pedone": (pedone(("Li", "Si", "O")), *cluster("LiOOSiOLiSiO", 2.1)),
}


@pytest.fixture(scope="module")
def alloy():
    """A minimum where no two atoms have the same surroundings: a random alloy of silicon and germanium."""
    atoms = bulk("Si", a=5.55, cubic=True) * 2
    atoms.numbers[np.random.default_rng(5).permutation(64)[:32]] = 32
    return relax(atoms, TERSOFF, cell="isotropic", force_tolerance=1e-5).to_ase()[0]


def equal_shares(potential, atoms):
    """Tensors that give every atom half of the virial of each of its pairs, (N, 3, 3)."""
    structures = Structures.from_ase(atoms)
    structures.positions.requires_grad_()
    energies = potential(structures).energies
    # edges[i, j] = dU_i/dr_j
    edges = [torch.autograd.grad(energy, structures.positions, retain_graph=True)[0] for energy in energies]
    edges = torch.stack(edges)
    forces = (edges - edges.transpose(0, 1)).numpy()  # on i, from the pair of i and j
    arms = atoms.positions[:, None] - atoms.positions[None]
    return 0.5 * np.einsum("ija,ijb->iab", arms, forces)


@pytest.mark.parametrize("name", CLUSTERS)
def test_heat_flux_is_the_rate_of_the_energy_moment(name):
    potential, atoms, velocities = CLUSTERS[name]
    flux = potential(Structures.from_ase(atoms)).heat_flux(torch.from_numpy(velocities))[0]
    rate = energy_moment_rate(potential, atoms, velocities)
    np.testing.assert_allclose(flux, rate, atol=1e-6 * np.abs(rate).max())


@pytest.mark.parametrize("name", CLUSTERS)
def test_pair_virials_are_a_heat_flux_for_pair_potentials_only(name):
    potential, atoms, velocities = CLUSTERS[name]
    result = potential(Structures.from_ase(atoms))
    shares = equal_shares(potential, atoms)
    # the virial, and the pressure with it, are right in any case
    np.testing.assert_allclose(shares.sum(axis=0), result.virials[0], atol=1e-10)
    wrong = result.heat_flux(torch.from_numpy(velocities))[0].numpy()
    wrong += np.einsum("nab,nb->a", shares - result.flux_tensors.numpy(), velocities)
    rate = energy_moment_rate(potential, atoms, velocities)
    error = np.abs(wrong - rate).max() / np.abs(rate).max()
    assert error < 1e-6 if name == "Pedone" else error > 0.01


def test_at_its_own_structure_nothing_but_kinetic_energy_is_left(alloy):
    gauge = HeatGauge.of_structure(TERSOFF, alloy)
    structures = Structures.from_ase(alloy)
    velocities = np.random.default_rng(2).normal(size=(64, 3))
    masses = alloy.get_masses()
    whole = TERSOFF(structures).heat_flux(torch.from_numpy(velocities), torch.from_numpy(masses))[0].numpy()
    kinetic = (0.5 * masses * (velocities**2).sum(axis=1)) @ velocities
    np.testing.assert_allclose(whole - gauge.flux(velocities)[0], kinetic, rtol=1e-10)


def test_the_linear_part_is_the_rate_of_a_moment(alloy):
    gauge = HeatGauge.of_structure(TERSOFF, alloy)
    velocities = np.random.default_rng(3).normal(size=(64, 3))
    np.testing.assert_allclose(gauge.moment(0.7 * velocities), 0.7 * gauge.flux(velocities)[0], rtol=1e-13)
    # a crystal that moves as a whole: energy that goes along, and work at its borders
    together = np.tile([1.0, -2.0, 0.5], (64, 1))
    found = TERSOFF(Structures.from_ase(alloy))
    expected = float(found.energy) * together[0] + found.virials[0].numpy() @ together[0]
    np.testing.assert_allclose(gauge.moment(together), expected, rtol=1e-10)


def test_two_structures_in_one_batch(alloy):
    gauge = HeatGauge.of_structure(TERSOFF, [alloy, alloy])
    velocities = np.random.default_rng(4).normal(size=(128, 3))
    both = gauge.flux(velocities, [0, 64, 128])
    single = HeatGauge.of_structure(TERSOFF, alloy)
    np.testing.assert_allclose(both, [single.flux(velocities[:64])[0], single.flux(velocities[64:])[0]], rtol=1e-12)


def recorded(atoms, gauge, temperature_K, steps, seed=1):
    """Currents of energy, raw and in the new gauge, at constant energy."""
    simulation = Simulation(
        atoms, TERSOFF, integrator=VelocityVerlet(), timestep_fs=1.0, seed=seed, initial_temperature_K=2 * temperature_K
    )
    simulation.run(1000, show_progress=False)
    gauge.record(simulation, every=5)
    simulation.record("temperature_K", every=5)
    simulation.run(steps, show_progress=False)
    raw = Currents.from_records(simulation, {"energy": "heat_flux", "bounded": "bounded_flux"})
    return raw.select("energy"), raw.shifted("energy", "bounded", -1.0).select("energy")


def test_noise_of_the_linear_part_by_temperature(alloy):
    """<J_lin^2> goes as T, what is left as T^2: the gauge gains a factor that goes as 1/T."""
    gauge = HeatGauge.of_structure(TERSOFF, alloy)
    gains = {}
    for temperature in (3.0, 300.0):
        raw, fixed = recorded(alloy, gauge, temperature, 3000)
        gains[temperature] = (raw["energy"] ** 2).mean() / (fixed["energy"] ** 2).mean()
    assert gains[3.0] > 100
    assert gains[300.0] > 2
    assert 30 < gains[3.0] / gains[300.0] < 300


def test_conductivity_is_that_of_the_raw_flux_with_a_smaller_error(alloy):
    gauge = HeatGauge.of_structure(TERSOFF, alloy)
    raw, fixed = (Currents.join(runs) for runs in zip(*(recorded(alloy, gauge, 300.0, 15000, seed) for seed in (1, 2))))
    before, after = (thermal_conductivity(currents, 25.0) for currents in (raw, fixed))
    assert after.error < 0.8 * before.error
    assert abs(after.value - before.value) < 2.5 * np.hypot(before.error, after.error)


def test_rate_of_a_bounded_quantity_conducts_nothing():
    """White noise of known spectrum, with and without the rate of a bounded series."""
    conditions = {"timestep_fs": 5.0, "temperature_K": 300.0, "volume": 1e3}
    generator = np.random.default_rng(6)
    values = generator.normal(size=(1, 4, 3, 20_001))
    bounded = lfilter([1.0], [1.0, -0.9], generator.normal(size=values.shape))
    flux = values[..., 1:] + 0.5 * np.diff(bounded)
    plain, shifted = (thermal_conductivity(Currents(v, "energy", **conditions), 100.0) for v in (values[..., 1:], flux))
    exact = 0.005 / (2 * 1e3 * units.kB * 300.0**2)  # eV^2 Å^2/ps^2 ps / (Å^3 eV/K K^2)
    exact *= units._e * 1e22
    assert abs(plain.value - exact) < 3 * plain.error
    assert abs(shifted.value - exact) < 3 * shifted.error
    # a part that is not bounded, a walk's, does conduct
    walk = values[..., 1:] + generator.normal(size=flux.shape)
    assert thermal_conductivity(Currents(walk, "energy", **conditions), 100.0).value > 1.8 * exact


def test_mean_of_gauges(alloy):
    shifted = alloy.copy()
    shifted.rattle(0.05, seed=8)
    gauges = [HeatGauge.of_structure(TERSOFF, atoms) for atoms in (alloy, shifted)]
    np.testing.assert_allclose(HeatGauge.mean(gauges).tensors, 0.5 * (gauges[0].tensors + gauges[1].tensors))
    with pytest.raises(ValueError, match="gauges have tensors of shapes"):
        HeatGauge.mean([gauges[0], HeatGauge(np.zeros((5, 3, 3)))])


def test_what_is_refused(alloy):
    with pytest.raises(ValueError, match=r"tensors have shape \(5, 3\); accepted is \(N, 3, 3\)"):
        HeatGauge(np.zeros((5, 3)))
    bad = np.zeros((2, 3, 3))
    bad[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="tensors of atom 1 are"):
        HeatGauge(bad)
    with pytest.raises(TypeError, match="potential is a str; accepted is a matterscape Potential"):
        HeatGauge.of_structure("Tersoff", alloy)
    gauge = HeatGauge(np.zeros((5, 3, 3)))
    with pytest.raises(ValueError, match=r"velocities have shape \(64, 3\); accepted is \(5, 3\)"):
        gauge.record(Simulation(alloy, TERSOFF, integrator=VelocityVerlet(), timestep_fs=1.0))
