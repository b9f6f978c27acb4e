"""Compile every kernel once so that later sessions load it from numba's cache: ``python -m matterscape.warm_up``."""

import time

import torch


def main() -> None:
    """Run each kernel of the package on a small input, values and derivatives, in double and single precision."""
    start = time.perf_counter()
    _descriptors()
    _potentials()
    _dynamics()
    _ensembles()
    print(f"matterscape: kernels are compiled ({time.perf_counter() - start:.0f} s)")


def _descriptors() -> None:
    from ase.build import bulk, molecule

    from matterscape.basis import spherical_harmonics, spherical_harmonics_with_gradients
    from matterscape.descriptors import PowerSpectrum, forces
    from matterscape.structures import Structures

    structures = Structures.from_ase([bulk("Si", cubic=True), molecule("CH4")])
    for dtype in (torch.float64, torch.float32):
        batch = structures.to(dtype=dtype).with_gradients(strain=True)
        soap = PowerSpectrum(structures.unique_species, cutoff=3.0, max_radial=2, max_angular=2)
        weights = torch.ones(soap.n_features, dtype=dtype, requires_grad=True)
        force = forces((soap(batch) @ weights).sum(), batch, training=True)
        torch.autograd.grad(force.square().sum(), weights)
        soap.jacobian(structures.to(dtype=dtype))

        vectors = batch.positions.detach()[1:8].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(spherical_harmonics(vectors, 2).sum(), vectors, create_graph=True)
        gradient.square().sum().backward()
        spherical_harmonics_with_gradients(vectors.detach(), 2)


def _potentials() -> None:
    import numpy as np
    from ase.build import bulk, molecule

    from matterscape.potentials import (
        QTIP4PF,
        Evaluator,
        LennardJones,
        LPSForceField,
        StillingerWeber,
        alkali_halide,
        li3ps4,
        zhou2004,
    )
    from matterscape.structures import Structures

    silicon, copper, argon = bulk("Si", cubic=True), bulk("Cu", cubic=True), bulk("Ar", "fcc", a=5.3, cubic=True)
    salt, water, electrolyte = bulk("NaCl", "rocksalt", a=5.64, cubic=True), molecule("H2O"), li3ps4.gamma()
    for atoms, potential in (
        (silicon, StillingerWeber.silicon()),
        (copper, zhou2004(["Cu"])),
        (argon, LennardJones({("Ar", "Ar"): (0.0104, 3.4)}, cutoff=6.0)),
        (salt, alkali_halide("NaCl", method="ewald")),
        (salt, alkali_halide("NaCl", method="mesh")),
        (water, QTIP4PF()),
        (electrolyte, LPSForceField()),
    ):
        atoms.positions += 0.02 * np.random.default_rng(0).normal(size=atoms.positions.shape)
        structures = Structures.from_ase(atoms)
        for dtype in (torch.float64, torch.float32):
            potential(structures.to(dtype=dtype))
        potential(structures.with_gradients(strain=True)).energy.sum().backward()
        evaluator = Evaluator(potential, structures)
        for pieces in (False, True):
            evaluator(structures.positions.numpy().copy(), structures.cells.numpy().copy(), pieces=pieces)
    star = StillingerWeber.silicon()
    star.hessian(Structures.from_ase(silicon))
    star.third_order(Structures.from_ase(silicon)).contract(np.ones(3 * len(silicon)))


def _dynamics() -> None:
    from ase.build import bulk

    from matterscape import dynamics
    from matterscape.dynamics import analysis
    from matterscape.potentials import StillingerWeber
    from matterscape.structures import network_statistics, www_network

    network_statistics(www_network(64, schedule=((2.0, 1),)))
    atoms = bulk("Si", cubic=True)
    thermostat = dynamics.StochasticVelocityRescaling(300.0, time_constant_ps=0.1)
    for integrator in (
        dynamics.VelocityVerlet(),
        dynamics.Langevin(300.0),
        dynamics.NoseHooverChain(300.0, time_constant_ps=0.1),
        dynamics.StochasticCellRescaling(
            thermostat, pressure_GPa=0.0, compressibility_per_GPa=0.01, time_constant_ps=1.0, stride=1
        ),
    ):
        simulation = dynamics.Simulation(
            atoms, StillingerWeber.silicon(), integrator=integrator, timestep_fs=1.0, initial_temperature_K=300.0
        )
        simulation.record("heat_flux")
        simulation.run(2, show_progress=False)
    for cell in (False, "anisotropic"):
        dynamics.relax(atoms, StillingerWeber.silicon(), cell=cell)
    analysis.radial_distribution(atoms, 5.0)
    analysis.bond_angles(atoms, 3.0)
    analysis.steinhardt(atoms, cutoff=3.0)


def _ensembles() -> None:
    import numpy as np
    from ase.build import bulk

    from matterscape.models import EnsemblePotential
    from matterscape.potentials import Evaluator
    from matterscape.structures import Structures

    structures = Structures.from_ase(bulk("SiC", "zincblende", a=4.36, cubic=True))
    for channels in (None, np.eye(2)):
        potential = EnsemblePotential(["Si", "C"], species_channels=channels)
        for dtype in (torch.float64, torch.float32):
            potential(structures.to(dtype=dtype))
        potential.member_forces(structures)
        evaluator = Evaluator(potential, structures)
        for pieces in (False, True):
            evaluator(structures.positions.numpy().copy(), structures.cells.numpy().copy(), pieces=pieces)


if __name__ == "__main__":
    main()
