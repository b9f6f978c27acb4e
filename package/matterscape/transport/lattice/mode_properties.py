"""What tells one vibrational mode from another: how many atoms move, along what, and where they carry heat."""

from typing import TYPE_CHECKING

import numpy as np

from matterscape.checks import check_number, check_whole
from matterscape.transport.lattice.modes import VibrationalModes

if TYPE_CHECKING:
    from matterscape.transport.lattice.qhgk import LatticeConductivity


def participation_ratios(modes: VibrationalModes) -> np.ndarray:
    """Share of the atoms (Q, 3 n) that take part in each mode: 1 / (n sum_i |e_i|^4), 1 if all move alike.

    Source: R. J. Bell and P. Dean, Discuss. Faraday Soc. 50, 55 (1970).
    """
    weights = _atomic_weights(modes)
    return 1 / (weights.shape[1] * np.einsum("qim,qim->qm", weights, weights))


def level_spacing(modes: VibrationalModes) -> float:
    """Mean distance in rad/ps between neighbouring levels, the range of frequencies over the number of gaps."""
    omega = modes.angular_frequencies[modes.vibrating]
    return float(np.ptp(omega) / (len(omega) - 1))


def local_level_spacings(modes: VibrationalModes, neighbours: int = 10) -> np.ndarray:
    """Spacing of the levels (Q, 3 n) around each mode in rad/ps, one over the density of states; 0 for translations.

    Parameters
    ----------
    modes : VibrationalModes
    neighbours : int
        Levels on either side, whose mean distance it is; fewer at the ends.

    Raises
    ------
    ValueError
        If ``neighbours`` is not a positive whole number.
    """
    check_whole("neighbours", neighbours, 1)
    vibrating = modes.vibrating
    omega = modes.angular_frequencies[vibrating]
    order = np.argsort(omega)
    places = np.arange(len(omega))
    low, high = np.maximum(places - neighbours, 0), np.minimum(places + neighbours, len(omega) - 1)
    spacings = np.zeros(vibrating.shape)
    sorted_omega, found = omega[order], np.empty(len(omega))
    found[order] = (sorted_omega[high] - sorted_omega[low]) / np.maximum(high - low, 1)
    spacings[vibrating] = found
    return spacings


def phase_quotients(modes: VibrationalModes, cutoff: float) -> np.ndarray:
    """Whether bonded atoms move together (1) or against each other (-1) in each mode (3 n,) of one cell.

        sum_bonds u_i . u_j / sum_bonds |u_i . u_j|,   u the atoms' displacements.

    Parameters
    ----------
    modes : VibrationalModes
        At the zero wavevector alone.
    cutoff : float
        Longest bond in Å.

    Raises
    ------
    ValueError
        If there are several wavevectors, the cut-off is not positive, or no atoms are that close.

    Source: R. J. Bell and D. C. Hibbins-Butler, J. Phys. C 8, 787 (1975).
    """
    _check_glass(modes)
    check_number("cutoff", cutoff, "Å", positive=True)
    pairs = modes.structures.pairs(cutoff)
    first, second = (index.cpu().numpy() for index in (pairs.first, pairs.second))
    if len(first) == 0:
        raise ValueError(f"cutoff is {cutoff} Å; accepted is a distance within which there are atoms")
    displacements = modes.eigenvectors[0].reshape(len(modes.masses), 3, -1) / np.sqrt(modes.masses)[:, None, None]
    along, total = np.zeros(displacements.shape[2]), np.zeros(displacements.shape[2])
    for i, j in zip(first, second):
        product = np.einsum("am,am->m", displacements[i], displacements[j])
        along += product
        total += np.abs(product)
    return along / total


def plane_wave_character(modes: VibrationalModes, max_wavevector: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of longitudinal and of transverse plane waves in each mode of one cell.

    The mode's projections |<n|Q,b>|^2 on the waves exp(iQ.r) that the cell holds, up to a largest |Q|; each wave has
    the components eps_b exp(iQ.r_i) sqrt(M_i / sum M). Waves of a disordered solid are not orthogonal, so that the
    shares are a character, not probabilities.

    Parameters
    ----------
    modes : VibrationalModes
        At the zero wavevector alone.
    max_wavevector : float
        In 1/Å, 2 pi included.

    Returns
    -------
    tuple of ndarray (3 n,)
        Longitudinal and transverse.

    Raises
    ------
    ValueError
        If there are several wavevectors, or none is as short as that.
    """
    _check_glass(modes)
    check_number("max_wavevector", max_wavevector, "1/Å", positive=True)
    cell = modes.structures.cells[0].detach().cpu().double().numpy()
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    reach = np.ceil(max_wavevector * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    wavevectors = steps[len(steps) // 2 + 1 :] @ reciprocal  # one of each Q and -Q, whose waves have one share
    lengths = np.linalg.norm(wavevectors, axis=1)
    if lengths.min() > max_wavevector:
        raise ValueError(
            f"max_wavevector is {max_wavevector} 1/Å; accepted is at least {lengths.min():.3g}, the cell's shortest"
        )
    wavevectors, lengths = wavevectors[lengths <= max_wavevector], lengths[lengths <= max_wavevector]
    positions = modes.structures.positions.detach().cpu().double().numpy()
    vectors = modes.eigenvectors[0].reshape(len(positions), 3, -1)
    amplitudes = np.sqrt(modes.masses / modes.masses.sum())[:, None]
    longitudinal, total = np.zeros(vectors.shape[2]), np.zeros(vectors.shape[2])
    for wavevector, length in zip(wavevectors, lengths):
        phases = positions @ wavevector
        waves = np.concatenate([np.cos(phases)[:, None] * amplitudes, np.sin(phases)[:, None] * amplitudes], axis=1)
        projections = np.tensordot(waves.T, vectors, axes=(1, 0))  # (2, 3, modes)
        total += 2 * (projections**2).sum(axis=(0, 1))
        longitudinal += 2 * (np.tensordot(projections, wavevector / length, axes=(1, 0)) ** 2).sum(axis=0)
    return longitudinal, total - longitudinal


def local_conductivities(modes: VibrationalModes, conductivity: "LatticeConductivity") -> np.ndarray:
    """Share of each atom (n,) in the conductivity in W/(m K): the modes' shares times |e_in|^2; they add up to it."""
    shares = np.einsum("qmaa->qm", conductivity.mode_tensors) / 3
    return np.einsum("qim,qm->i", _atomic_weights(modes), shares)


def frequency_table(modes: VibrationalModes, diffusivities: np.ndarray, n_bins: int = 400) -> dict[str, np.ndarray]:
    """Modes and their diffusivities binned by frequency, from which conductivities follow at any temperature at once.

    Parameters
    ----------
    modes : VibrationalModes
    diffusivities : ndarray (..., Q, 3 n)
        In Å^2/ps.
    n_bins : int

    Returns
    -------
    dict
        ``frequencies_THz`` (n_bins,), centres of the bins; ``n_modes`` (n_bins,); ``diffusivities`` (..., n_bins), sums
        over the modes of a bin; kappa is about sum_bins C(omega, T) D / (V Q).

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    check_whole("n_bins", n_bins, 1)
    vibrating = modes.vibrating
    if diffusivities.shape[-2:] != vibrating.shape:
        raise ValueError(f"diffusivities have shape {diffusivities.shape}; accepted is (..., {vibrating.shape})")
    frequencies = modes.frequencies_THz[vibrating]
    edges = np.linspace(0, frequencies.max() * (1 + 1e-12), n_bins + 1)
    bins = np.minimum(np.digitize(frequencies, edges) - 1, n_bins - 1)
    values = diffusivities[..., vibrating]
    sums = np.stack([np.bincount(bins, row, n_bins) for row in values.reshape(-1, len(bins))])
    return {
        "frequencies_THz": 0.5 * (edges[:-1] + edges[1:]),
        "n_modes": np.bincount(bins, minlength=n_bins),
        "diffusivities": sums.reshape(*values.shape[:-1], n_bins),
    }


def _atomic_weights(modes: VibrationalModes) -> np.ndarray:
    """|e_i|^2 (Q, n, 3 n) of every atom in every mode."""
    vectors = modes.eigenvectors
    squares = vectors.real**2 + vectors.imag**2 if np.iscomplexobj(vectors) else vectors**2
    return squares.reshape(len(vectors), len(modes.masses), 3, -1).sum(axis=2)


def _check_glass(modes: VibrationalModes) -> None:
    if len(modes.wavevectors) != 1:
        raise ValueError(f"modes are those of {len(modes.wavevectors)} wavevectors; accepted is zero wavevector alone")
