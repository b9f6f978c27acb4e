"""Density of the vibrational states of a crystal on a mesh, and its harmonic thermodynamics."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.spatial import Delaunay

from matterscape.checks import check_whole, real_array
from matterscape.kernels import get_threads, launch
from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.constants import ANGULAR
from matterscape.transport.lattice.crystals._tetrahedron_kernels import tetrahedron_densities
from matterscape.transport.lattice.crystals.dispersion import Dispersion, dispersion
from matterscape.transport.lattice.crystals.meshes import SymmetricMesh, symmetric_mesh
from matterscape.transport.lattice.modes import LOWEST_FREQUENCY_THZ, UnstableModesError
from matterscape.transport.lattice.occupations import heat_capacities, reduced_frequencies
from matterscape.transport.lattice.supercells import check_force_constants

#: hbar in eV ps.
REDUCED_PLANCK_EV = units._hbar / units._e * 1e12


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """Vibrational states per frequency and cell.

    Attributes
    ----------
    frequencies_THz : ndarray (F,)
        Equally spaced; those of unstable modes are negative.
    total : ndarray (F,)
        In 1/THz per cell; its integral is 3 n.
    partial : ndarray (n, F)
        What each atom's motion contributes; their sum is ``total``.
    """

    frequencies_THz: np.ndarray
    total: np.ndarray
    partial: np.ndarray


@dataclass(frozen=True, eq=False)
class ThermalProperties:
    """Harmonic thermodynamics of a cell at T temperatures.

    Attributes
    ----------
    temperatures_K : ndarray (T,)
    free_energies : ndarray (T,)
        Helmholtz free energy of the vibrations in eV per cell, that of the zero point included.
    entropies, heat_capacities : ndarray (T,)
        In eV/K per cell, the latter at constant volume.
    zero_point_energy : float
        In eV per cell.
    """

    temperatures_K: np.ndarray
    free_energies: np.ndarray
    entropies: np.ndarray
    heat_capacities: np.ndarray
    zero_point_energy: float


def density_of_states(
    force_constants: ForceConstants,
    mesh: Sequence[int],
    *,
    n_points: int = 201,
    masses: np.ndarray | None = None,
) -> DensityOfStates:
    """Density of states by linear interpolation in tetrahedra.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell, resolved by image.
    mesh : three ints
        Wavevectors along each reciprocal vector.
    n_points : int
        Number of frequencies from the lowest mode, or 0, to the highest.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.

    Raises
    ------
    ValueError
        If an argument is none of those accepted.

    Source: G. Lehmann and M. Taut, Phys. Status Solidi B 54, 469 (1972).
    """
    check_whole("n_points", n_points, 3)
    reduced, phonons = _on_mesh(force_constants, mesh, masses, symmetry=False)
    frequencies = reduced.expand(phonons.frequencies_THz)
    n_modes = frequencies.shape[1]
    weights = np.abs(phonons.eigenvectors.reshape(len(phonons.wavevectors), n_modes // 3, 3, n_modes)) ** 2
    weights = reduced.expand(weights.sum(axis=2)).swapaxes(1, 2)
    width = frequencies.max() - min(frequencies.min(), 0.0)
    grid = np.linspace(min(frequencies.min(), 0.0) - 0.01 * width, frequencies.max() + 0.01 * width, int(n_points))
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    reciprocal = np.linalg.inv(force_constants.structures.to_ase()[0].cell.array).T / np.array(reduced.mesh)[:, None]
    with launch(None if tetrahedron_densities.signatures else "density of states"):
        densities = tetrahedron_densities(
            np.ascontiguousarray(frequencies.reshape(*reduced.mesh, n_modes)),
            np.ascontiguousarray(weights.reshape(*reduced.mesh, n_modes, -1)),
            corners[Delaunay(corners @ reciprocal).simplices],
            float(grid[0]),
            float(grid[1] - grid[0]),
            len(grid),
            min(reduced.n_wavevectors, 4 * get_threads()),
        )
    partial = densities.sum(axis=0).T
    return DensityOfStates(grid, partial.sum(axis=0), partial)


def thermal_properties(
    force_constants: ForceConstants,
    mesh: Sequence[int],
    temperatures_K: Sequence[float] | float,
    *,
    masses: np.ndarray | None = None,
    symmetry: bool = True,
) -> ThermalProperties:
    """Free energy, entropy and heat capacity of the vibrations of a crystal.

    Parameters
    ----------
    force_constants : ForceConstants
        Of one periodic cell, resolved by image.
    mesh : three ints
        Wavevectors along each reciprocal vector, Gamma among them, whose translations are left out.
    temperatures_K : float or sequence of T floats
        Positive.
    masses : ndarray (n,), optional
        In amu; those of the structure if not given.
    symmetry : bool
        Whether to use the rotations of the crystal.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If an argument is none of those accepted.
    """
    reduced, phonons = _on_mesh(force_constants, mesh, masses, symmetry)
    vibrating = np.ones(phonons.angular_frequencies.shape, bool)
    vibrating[0, np.argsort(np.abs(phonons.angular_frequencies[0]))[:3]] = False  # Gamma comes first
    omega = phonons.angular_frequencies[vibrating]
    if omega.min() < ANGULAR * LOWEST_FREQUENCY_THZ:
        raise UnstableModesError(
            f"the lowest frequency is {omega.min() / ANGULAR:.4g} THz, negative for imaginary; accepted are structures "
            "at a minimum of the energy"
        )
    weights = np.broadcast_to(reduced.weights[:, None], vibrating.shape)[vibrating] / reduced.n_wavevectors
    zero_point = 0.5 * REDUCED_PLANCK_EV * float(weights @ omega)
    temperatures = np.atleast_1d(real_array("temperatures_K", temperatures_K))
    rows = []
    for temperature in temperatures.tolist():
        x = reduced_frequencies(omega, temperature, "quantum")
        thermal = units.kB * temperature * float(weights @ np.log(-np.expm1(-x)))
        energy = units.kB * temperature * float(weights @ (x / np.expm1(np.minimum(x, 700.0))))
        capacity = units.kB * float(weights @ heat_capacities(omega, temperature))
        rows.append((zero_point + thermal, (energy - thermal) / temperature, capacity))
    free, entropy, capacity = np.array(rows).T
    return ThermalProperties(temperatures, free, entropy, capacity, zero_point)


def _on_mesh(
    force_constants: ForceConstants, mesh: Sequence[int], masses: np.ndarray | None, symmetry: bool
) -> tuple[SymmetricMesh, Dispersion]:
    """A mesh and the phonons of its irreducible wavevectors."""
    check_force_constants(force_constants)
    reduced = symmetric_mesh(force_constants.structures, mesh, masses=masses, symmetry=symmetry)
    steps = np.stack(np.unravel_index(reduced.irreducible, reduced.mesh), axis=1)
    return reduced, dispersion(force_constants, steps / reduced.mesh, masses=masses)
