"""Compile every kernel once so that later sessions load it from numba's cache: ``python -m matterscape.warm_up``."""

import time

import torch


def main() -> None:
    """Run each kernel of the package on a small input, values and derivatives, in double and single precision."""
    start = time.perf_counter()
    _descriptors()
    _equivariants()
    _potentials()
    _dynamics()
    _ensembles()
    _transport()
    _lattice()
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


def _equivariants() -> None:
    from matterscape.descriptors.coupling import couple_selected
    from matterscape.descriptors.equivariants import correlations, product
    from matterscape.descriptors.tensor_basis import maximally_coupled

    rows = torch.tensor([0, 1, 1])
    for dtype in (torch.float64, torch.float32):
        density = torch.linspace(0.1, 1.0, 72, dtype=dtype).reshape(2, 9, 4).requires_grad_()
        of_order = correlations(density, 2, 2)
        messages = product(of_order[1], of_order[0], 2, first_index=rows, second_index=rows, target_index=rows)
        chosen = couple_selected(of_order[0][1, 1], of_order[0][1, 2], [(0, 1), (2, 3)], 1)
        total = messages.packed.sum() + of_order[1].packed.square().sum() + chosen.square().sum()
        (gradient,) = torch.autograd.grad(total, density, create_graph=True)
        gradient.square().sum().backward()
        vectors = torch.eye(3, dtype=dtype).repeat(2, 1, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(maximally_coupled(vectors, 2).square().sum(), vectors, create_graph=True)
        gradient.square().sum().backward()


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


def _transport() -> None:
    import numpy as np
    from ase.build import bulk

    from matterscape import transport
    from matterscape.potentials import LPSForceField, Tersoff, li3ps4
    from matterscape.structures import Structures
    from matterscape.transport.lattice.cubic import cubic_force_constants
    from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
    from matterscape.transport.lattice.modes import vibrational_modes
    from matterscape.transport.lattice.qhgk import qhgk
    from matterscape.transport.lattice.supercells import Supercell

    generator = np.random.default_rng(0)
    conditions = {"timestep_fs": 10.0, "temperature_K": 1000.0, "volume": 1e4}
    for dtype in (np.float64, np.float32):
        values = 0.1 + generator.normal(size=(2, 1, 3, 4000)).astype(dtype)
        transport.peltier_coefficient(transport.Currents(values, ("energy", "charge"), **conditions), 25.0)
    transport.thermal_conductivity(transport.Currents(values, ("energy", "charge"), **conditions), 25.0)

    ions = ["Li"] * 4 + ["Cl"] * 4
    for dtype in (np.float64, np.float32):
        steps = generator.normal(scale=0.2, size=(400, 8, 3))
        walk = np.cumsum(steps, axis=0).astype(dtype)
        trajectory = transport.UnwrappedTrajectory(walk, ions, (10.0,) * 3, timestep_fs=100.0, temperature_K=500.0)
        transport.measure_displacements(trajectory)
        transport.van_hove_functions(trajectory, [0.0, 1.0])
        transport.hop_events(walk, 100.0)
    transport.flip_events(np.tile(np.eye(3), (400, 2, 1, 1)), 100.0)

    carbide = Supercell.repeated(bulk("SiC", "zincblende", a=4.321), (2, 1, 1))
    modes = vibrational_modes(Tersoff.silicon_carbide().hessian(carbide.primitive), (2, 1, 1))
    couplings = ModeCouplings(modes, cubic_force_constants(Tersoff.silicon_carbide(), carbide))
    linewidths(couplings, 300.0, broadening_THz=0.5)
    qhgk(modes, np.full(modes.angular_frequencies.shape, 0.5), 300.0)
    LPSForceField().hessian(Structures.from_ase(li3ps4.gamma()))


def _lattice() -> None:
    import warnings

    import numpy as np
    from ase.build import bulk

    from matterscape.datasets.glass_models import glass_model
    from matterscape.models.ace_fit import fit_ace, labelled
    from matterscape.potentials import Evaluator, Tersoff
    from matterscape.potentials.ace import ACEBasis
    from matterscape.structures import Structures
    from matterscape.structures.disorder import mass_field
    from matterscape.structures.networks import alternate_species, diamond_network
    from matterscape.transport.lattice.allen_feldman import allen_feldman_scan
    from matterscape.transport.lattice.crystals import density_of_states as crystals
    from matterscape.transport.lattice.crystals.mass_disorder import born_half_widths, tamura_half_widths
    from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
    from matterscape.transport.lattice.cubic import cubic_force_constants
    from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
    from matterscape.transport.lattice.modes import vibrational_modes
    from matterscape.transport.lattice.qhgk import qhgk
    from matterscape.transport.lattice.spectral.block_matrix import BlockMatrix
    from matterscape.transport.lattice.spectral.density_of_states import density_of_states
    from matterscape.transport.lattice.spectral.kubo_greenwood import spectral_diffusivity
    from matterscape.transport.lattice.spectral.wave_chains import wave_chains
    from matterscape.transport.lattice.supercells import Supercell
    from matterscape.transport.lattice.triplets import TripletForceConstants

    tersoff = Tersoff.silicon()
    glass = Structures.from_ase(glass_model("a-Si", 64))
    constants, third_order = tersoff.hessian(glass), tersoff.third_order(glass)
    modes = vibrational_modes(constants)
    couplings = ModeCouplings(modes, third_order)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for single in (False, True):
            half_widths = linewidths(couplings, 300.0, broadening_THz=0.5, single_precision=single)
        linewidths(couplings, 300.0, broadening_THz=0.5, modes=[10, 11])
        qhgk(modes, half_widths, 300.0)
        allen_feldman_scan(modes, [0.1, 1.0], 300.0)

    omega = np.linspace(1.0, 100.0, 20)
    waves = 2 * np.pi / glass.cells[0].numpy()[0, 0] * np.eye(3)
    for dtype in (np.float64, np.float32):
        matrix = BlockMatrix.from_force_constants(constants).astype(dtype)
        for branch in ("longitudinal", "transverse"):
            wave_chains(matrix, glass, waves, branch, 20).structure_factor(omega, 1.0)
        density_of_states(matrix, omega, 20)
    spectral_diffusivity(constants, 10).values(omega)

    crystal = Structures.from_ase(bulk("Si", a=5.432))
    phonons = vibrational_modes(tersoff.hessian(crystal), (3, 3, 3))
    three_phonon_scattering(phonons, TripletForceConstants.from_stars(tersoff.third_order(crystal)), 300.0)
    three_phonon_scattering(
        phonons,
        TripletForceConstants.from_supercell(cubic_force_constants(tersoff, Supercell.repeated(crystal, (2, 2, 2)))),
        300.0,
        broadening_THz=0.5,
        collisions=True,
    )
    tamura_half_widths(phonons, 0.1, broadening_THz=0.5)
    born_half_widths(phonons, np.full((3, 3, 3, 2, 2), 0.1), broadening_THz=0.5)
    crystals.density_of_states(tersoff.hessian(crystal), (3, 3, 3))
    cube = bulk("Si", a=5.432, cubic=True).repeat(3)
    mass_field(cube.positions, cube.cell.array, 0.5, "montecarlo", seed=0, short_range_order=(-0.1, 0.0, 0.0))
    alternate_species(diamond_network(2))

    basis = ACEBasis(("Si",), cutoff=4.0, max_radial=(3, 2, 2), max_angular=(2, 1))
    frames = [bulk("Si", a=5.432 + 0.05 * number, cubic=True) for number in range(5)]
    for number, frame in enumerate(frames):
        frame.rattle(0.1, seed=number)
    potential = fit_ace(basis, labelled(frames, tersoff), ridge=1e-6, members=1).potential
    structures = Structures.from_ase(frames[0])
    potential(structures)
    evaluator = Evaluator(potential, structures)
    for pieces in (False, True):
        evaluator(structures.positions.numpy().copy(), structures.cells.numpy().copy(), pieces=pieces)
    potential.hessian(structures)
    potential.third_order(structures)


if __name__ == "__main__":
    main()
