"""Phonons of crystals: three-phonon scattering beside kaldo and phono3py, and what else a notebook asks for live."""

import functools
import importlib.util

import numpy as np

from matterscape.benchmarks.task import Calls, Task

BROADENING_THZ = 0.5


def _relaxation_times(size: int) -> Calls:
    """Modes, widths and conductivity of silicon on a mesh, from kaldo's force constants in both programs."""
    from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
    from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
    from matterscape.transport.lattice.modes import vibrational_modes

    if importlib.util.find_spec("kaldo") is None:
        second, triplets = _silicon()
    else:
        from matterscape.benchmarks.kaldo_crystal import silicon

        constants, second, triplets = silicon()

    def ours():
        modes = vibrational_modes(second, (size,) * 3)
        scattering = three_phonon_scattering(modes, triplets, 300.0, broadening_THz=BROADENING_THZ)
        return boltzmann_conductivity(scattering)[0].value

    if importlib.util.find_spec("kaldo") is None:
        return ours, None
    from kaldo.conductivity import Conductivity
    from kaldo.phonons import Phonons

    def peer():
        phonons = Phonons(
            forceconstants=constants,
            kpts=[size] * 3,
            is_classic=False,
            temperature=300,
            third_bandwidth=BROADENING_THZ,
            storage="memory",
        )
        return np.trace(Conductivity(phonons=phonons, method="rta", storage="memory").conductivity.sum(axis=0)) / 3

    return ours, peer


def _boltzmann_equation(size: int) -> Calls:
    """The full Boltzmann equation of silicon on a mesh."""
    from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
    from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
    from matterscape.transport.lattice.modes import vibrational_modes

    second, triplets = _silicon()

    def ours():
        modes = vibrational_modes(second, (size,) * 3)
        scattering = three_phonon_scattering(modes, triplets, 300.0, broadening_THz=BROADENING_THZ, collisions=True)
        return boltzmann_conductivity(scattering, method="direct")[0].value

    if importlib.util.find_spec("phono3py") is None:
        return ours, None
    from matterscape.benchmarks.phono3py_crystal import silicon

    crystal = silicon(size, BROADENING_THZ)

    def peer():
        crystal.run_thermal_conductivity(temperatures=[300.0], is_LBTE=True)
        return crystal.thermal_conductivity.kappa[0, 0, 0]

    return ours, peer


def _density_of_states(size: int) -> Calls:
    """Density of states of silicon on a mesh by tetrahedra, beside ASE's from frequencies that it is given."""
    from ase.dft.dos import linear_tetrahedron_integration

    from matterscape.transport.lattice.crystals.density_of_states import density_of_states
    from matterscape.transport.lattice.modes import vibrational_modes

    second = _silicon()[0]
    frequencies = vibrational_modes(second, (size,) * 3).frequencies_THz.reshape(size, size, size, -1)
    cell = second.structures.to_ase()[0].cell.array
    grid = density_of_states(second, (size,) * 3).frequencies_THz

    def peer():
        return linear_tetrahedron_integration(cell, frequencies, grid)

    return (lambda: density_of_states(second, (size,) * 3)), peer


@functools.cache
def _silicon():
    """Second- and third-order force constants of silicon after Tersoff."""
    from ase.build import bulk

    from matterscape.potentials.tersoff import Tersoff
    from matterscape.structures import Structures
    from matterscape.transport.lattice.triplets import TripletForceConstants

    structures = Structures.from_ase(bulk("Si", a=5.432))
    potential = Tersoff.silicon()
    return potential.hessian(structures), TripletForceConstants.from_stars(potential.third_order(structures))


def _alone(size: int) -> Calls:
    """Relaxation times on a mesh that kaldo would need hours for."""
    from matterscape.transport.lattice.crystals.scattering import three_phonon_scattering
    from matterscape.transport.lattice.modes import vibrational_modes

    second, triplets = _silicon()
    modes = vibrational_modes(second, (size,) * 3)
    return (lambda: three_phonon_scattering(modes, triplets, 300.0, broadening_THz=BROADENING_THZ)), None


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "phonons-relaxation",
            "silicon in relaxation times, mesh 5^3",
            "kaldo",
            _relaxation_times,
            5,
            2,
        ),
        Task(
            "phonons-boltzmann",
            "full Boltzmann equation of silicon, mesh 9^3",
            "phono3py",
            _boltzmann_equation,
            9,
            3,
        ),
        Task(
            "phonons-fine",
            "three-phonon widths of silicon, mesh 12^3",
            "none",
            _alone,
            12,
            3,
        ),
        Task(
            "phonons-density-of-states",
            "density of states of silicon, mesh 12^3",
            "ASE",
            _density_of_states,
            12,
            3,
        ),
    )
}
