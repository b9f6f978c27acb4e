"""Widths of phonons from disorder of the masses, in lowest order, and the virtual crystal that they belong to.

With relative deviations eps = 1 - M / <M> of the masses on the sites of a crystal of mean masses,

    FWHM_qn = (pi / 2) omega_qn^2 (1 / Q) sum_q'm sum_ss' S_ss'(q - q') w_s w_s'* delta(omega_qn - omega_q'm),
    S_ss'(k) = (1 / N_c) sum_RR' <eps_Rs eps_R's'> exp[-i k.(R - R')],     w_s = e_s*(qn) . e_s(q'm).

Independent masses have S_ss' = g_s delta_ss' with g = <eps^2>, which is Tamura's formula.

Source: S. Tamura, Phys. Rev. B 27, 858 (1983), eq. 15; for S(k) the first Born approximation of the same perturbation.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from matterscape.checks import check_number, real_array
from matterscape.kernels import get_threads, launch
from matterscape.potentials.force_constants import ForceConstants
from matterscape.transport.lattice.constants import ANGULAR
from matterscape.transport.lattice.crystals._disorder_kernels import add_mass_scattering
from matterscape.transport.lattice.crystals.meshes import SymmetricMesh, check_symmetric, symmetric_mesh
from matterscape.transport.lattice.crystals.scattering import (
    degenerate_averages,
    lattice_vectors,
)
from matterscape.transport.lattice.linewidths import SHAPES
from matterscape.transport.lattice.modes import VibrationalModes
from matterscape.transport.lattice.triplets import TripletForceConstants

Constants = TypeVar("Constants", ForceConstants, TripletForceConstants)


def tamura_half_widths(
    modes: VibrationalModes,
    mass_variances: Sequence[float] | float,
    *,
    broadening_THz: float,
    shape: str = "gauss",
    symmetry: bool = True,
) -> np.ndarray:
    """Half widths of phonons where every site has a mass of its own, independent of the others.

    Parameters
    ----------
    modes : VibrationalModes
        Of the crystal of mean masses, on a mesh.
    mass_variances : float or n floats
        g = <eps^2> of each atom of the primitive cell, see :func:`mass_variance`.
    broadening_THz : float
        Width s / 2 pi of the peak that stands for the delta function.
    shape : "gauss", "triangle" or "lorentz"
        As in :func:`~matterscape.transport.lattice.linewidths.linewidths`.
    symmetry : bool
        Whether to use the rotations of the crystal.

    Returns
    -------
    ndarray (Q, 3 n)
        Half widths at half maximum in rad/ps; those of degenerate modes their mean, those of translations zero.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If an argument is not one of those accepted.
    """
    n_atoms = len(modes.masses)
    variances = real_array("mass_variances", mass_variances)
    if variances.shape not in ((), (n_atoms,)) or not (np.isfinite(variances).all() and (variances >= 0).all()):
        raise ValueError(
            f"mass_variances are {variances.tolist()}; accepted is one number, or one for each of the {n_atoms} atoms, "
            "none of them negative"
        )
    factors = np.diag(np.broadcast_to(variances, n_atoms)).astype(np.complex128)[None]
    mesh = symmetric_mesh(modes.structures, modes.mesh, masses=modes.masses, symmetry=symmetry)
    return _half_widths(modes, mesh, factors, (1, 1, 1), broadening_THz, shape)


def born_half_widths(
    modes: VibrationalModes,
    structure_factor: np.ndarray,
    *,
    broadening_THz: float,
    shape: str = "gauss",
) -> np.ndarray:
    """Half widths of phonons where the masses are correlated, in the first Born approximation.

    Fails where the disorder is strong on the scale of the wavelength.

    Parameters
    ----------
    modes : VibrationalModes
        Of the crystal of mean masses, on a mesh n_1 x n_2 x n_3.
    structure_factor : ndarray (n_1, n_2, n_3, n, n), complex128
        S_ss'(k) of the masses of the supercell that holds the same wavevectors, in the order of ``numpy.fft``, as
        :func:`matterscape.structures.disorder.sublattice_structure_factor` returns it; or its mean over samples.
    broadening_THz, shape
        As of :func:`tamura_half_widths`.

    Returns
    -------
    ndarray (Q, 3 n)
        Half widths at half maximum in rad/ps; those of degenerate modes their mean, those of translations zero.

    Raises
    ------
    UnstableModesError
        If a mode does not vibrate.
    ValueError
        If an argument is not one of those accepted.
    """
    n_atoms = len(modes.masses)
    factors = np.asarray(structure_factor, dtype=np.complex128)
    if factors.shape != (*modes.mesh, n_atoms, n_atoms):
        raise ValueError(
            f"structure_factor has shape {factors.shape}; accepted is {(*modes.mesh, n_atoms, n_atoms)}, the mesh of "
            "the modes and the atoms of their cell"
        )
    lopsided = np.abs(factors - factors.swapaxes(3, 4).conj()).max()
    if not lopsided <= 1e-9 * np.abs(factors).max():
        raise ValueError(f"structure_factor differs from its Hermitian conjugate by {lopsided}; accepted are Hermitian")
    # one configuration of masses has no symmetry but the reversal of time
    mesh = symmetric_mesh(modes.structures, modes.mesh, masses=modes.masses, symmetry=False)
    factors = factors.reshape(-1, n_atoms, n_atoms)
    return _half_widths(modes, mesh, factors, modes.mesh, broadening_THz, shape)


def mass_variance(masses: Sequence[float], fractions: Sequence[float]) -> float:
    """g = sum_k c_k (1 - M_k / <M>)^2 of masses M with fractions c: isotopes of an element, or the species of an alloy.

    Parameters
    ----------
    masses : sequence of K floats
        In amu.
    fractions : sequence of K floats
        Not negative, their sum 1.

    Raises
    ------
    ValueError
        If masses or fractions are out of range.
    """
    masses, fractions = real_array("masses", masses), real_array("fractions", fractions)
    if masses.ndim != 1 or not (masses > 0).all():
        raise ValueError(f"masses are {masses.tolist()}; accepted are positive numbers of amu")
    fractions = _checked_fractions(fractions, len(masses))
    return float(fractions @ (1 - masses / (fractions @ masses)) ** 2)


def virtual_crystal(constituents: Sequence[Constants], fractions: Sequence[float]) -> Constants:
    """Force constants of a crystal averaged over its species.

    Parameters
    ----------
    constituents : sequence of K ForceConstants or TripletForceConstants
        Of one geometry with different species.
    fractions : sequence of K floats
        Not negative, their sum 1.

    Returns
    -------
    ForceConstants or TripletForceConstants
        Of the first one's structures, whose species stand for all: give the mean masses to whoever computes modes.

    Raises
    ------
    ValueError
        If cells or positions differ, or fractions are out of range.
    """
    fractions = _checked_fractions(real_array("fractions", fractions), len(constituents))
    geometry = constituents[0].structures
    total = float(fractions[0]) * constituents[0]
    for constants, fraction in zip(constituents[1:], fractions[1:].tolist(), strict=True):
        other = constants.structures
        for name in ("positions", "cells"):
            one, two = getattr(geometry, name), getattr(other, name)
            if one.shape != two.shape or float((one - two).abs().max()) > 1e-6:
                raise ValueError(f"constituents belong to structures with other {name}; accepted is one geometry")
        total = total + fraction * replace(constants, structures=geometry)
    return total


def _half_widths(
    modes: VibrationalModes,
    mesh: SymmetricMesh,
    factors: np.ndarray,
    factor_mesh: tuple[int, int, int],
    broadening_THz: float,
    shape: str,
) -> np.ndarray:
    modes.check_stable()
    check_symmetric(mesh, modes.angular_frequencies)
    check_number("broadening_THz", broadening_THz, "THz", positive=True)
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r}; accepted are {', '.join(map(repr, SHAPES))}")
    own = mesh.irreducible
    sums = np.zeros((len(own), modes.angular_frequencies.shape[1]))
    with launch(None if add_mass_scattering.signatures else "scattering by masses"):
        add_mass_scattering(
            own,
            np.round(modes.wavevectors * modes.mesh).astype(np.int64),
            np.array(factor_mesh),
            lattice_vectors(modes),
            modes.angular_frequencies,
            modes.vibrating.astype(np.float64),
            factors,
            ANGULAR * broadening_THz,
            SHAPES[shape],
            min(len(own), 8 * get_threads()),
            sums,
        )
    omega = modes.angular_frequencies[own]
    widths = 0.25 * np.pi / mesh.n_wavevectors * omega**2 * sums * modes.vibrating[own]
    return mesh.expand(np.einsum("imn,in->im", degenerate_averages(omega), widths))


def _checked_fractions(fractions: np.ndarray, number: int) -> np.ndarray:
    if fractions.shape != (number,) or not (fractions >= 0).all() or abs(fractions.sum() - 1) > 1e-9:
        raise ValueError(f"fractions are {fractions.tolist()}; accepted are {number} numbers >= 0 whose sum is 1")
    return fractions
