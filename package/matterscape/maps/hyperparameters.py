"""Descriptor hyper-parameters that suit a set of structures, for people who don't want to choose."""

import numpy as np

from matterscape.structures import Structures

MAX_FEATURES = 2200
MAX_SPECIES = 6  # beyond which species share pseudo-species channels
PSEUDO_SPECIES = 4
TYPICAL_NEIGHBOURS = 30
PROBE_RADIUS = 6.0  # Å
PROBE_ATOMS = 2000
_RESOLUTIONS = ((8, 6), (7, 5), (6, 5), (6, 4), (5, 4), (4, 3), (3, 2))


def suggest_hyperparameters(structures: Structures, *, seed: int = 0) -> dict:
    """Cutoff, smearing, resolution and number of pseudo-species for SOAP features of these structures.

    The cutoff is the radius that holds 30 neighbours on average, between 3.5 and 6 Å (5 Å where there are fewer), the
    smearing an eighth of the typical nearest-neighbour distance, and the resolution the finest whose power spectrum
    stays below 2200 columns. More than six species share four pseudo-species.

    Parameters
    ----------
    structures : Structures
    seed : int
        Of the sample of structures that is looked at, 2000 atoms or so.

    Returns
    -------
    dict
        ``cutoff`` (Å), ``smearing`` (Å), ``max_radial``, ``max_angular``, ``species_channels`` (int or None).
    """
    order = np.random.default_rng(seed).permutation(len(structures))
    counts = structures.atoms_per_structure.cpu().numpy()[order]
    probe = structures[order[: max(1, int(np.searchsorted(np.cumsum(counts), PROBE_ATOMS)))]]
    pairs = probe.pairs(PROBE_RADIUS)
    distances = pairs.vectors.detach().norm(dim=1).cpu().numpy()
    nearest = np.full(probe.n_atoms, np.inf)
    np.minimum.at(nearest, pairs.first.cpu().numpy(), distances)
    nearest = nearest[np.isfinite(nearest)]

    cutoff, smearing = 5.0, 0.3
    wanted = TYPICAL_NEIGHBOURS * probe.n_atoms
    if len(distances) > wanted:
        cutoff = float(np.clip(np.round(np.partition(distances, wanted)[wanted], 1), 3.5, PROBE_RADIUS))
    if nearest.size:
        smearing = float(np.clip(np.round(np.median(nearest) / 8.0, 2), 0.15, 0.5))
    n_species = len(structures.unique_species)
    channels = suggest_species_channels(n_species)
    max_radial, max_angular = next(
        (choice for choice in _RESOLUTIONS if _n_features(channels or n_species, *choice) <= MAX_FEATURES),
        _RESOLUTIONS[-1],
    )
    return {
        "cutoff": cutoff,
        "smearing": smearing,
        "max_radial": max_radial,
        "max_angular": max_angular,
        "species_channels": channels,
    }


def suggest_species_channels(n_species: int) -> int | None:
    """Number of pseudo-species for that many species; None for a channel each."""
    return PSEUDO_SPECIES if n_species > MAX_SPECIES else None


def _n_features(n_channels: int, max_radial: int, max_angular: int) -> int:
    q = n_channels * max_radial
    return (max_angular + 1) * q * (q + 1) // 2


def pseudo_species(species: tuple[int, ...], n_channels: int) -> np.ndarray:
    """Weights of the species in a few shared density channels, so that similar elements look alike.

    Elements are compared by their row and group in the periodic table and by their covalent radius, through a Gaussian
    kernel; the weights are its leading eigenvectors, whose products reproduce the kernel as well as the number of
    channels permits.

    Parameters
    ----------
    species : tuple of int
        Atomic numbers.
    n_channels : int
        From 1 to the number of species.

    Returns
    -------
    array (n_species, n_channels)

    Raises
    ------
    ValueError
        If ``n_channels`` is out of range.

    References
    ----------
    Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018).
    """
    from ase.data import covalent_radii

    if not 1 <= n_channels <= len(species):
        raise ValueError(
            f"species_channels must lie between 1 and the number of species {len(species)}, got {n_channels}"
        )
    positions = np.array([[*_table_position(number), covalent_radii[number] / 0.3] for number in species])
    squares = np.sum((positions[:, None] - positions) ** 2, axis=2)
    eigenvalues, eigenvectors = np.linalg.eigh(np.exp(-0.25 * squares))
    leading = slice(-1, -n_channels - 1, -1)
    weights = eigenvectors[:, leading] * np.sqrt(np.maximum(eigenvalues[leading], 0.0))
    largest = np.argmax(np.abs(weights), axis=0)
    return weights * np.sign(weights[largest, range(n_channels)])


def _table_position(number: int) -> tuple[float, float]:
    """Period, and group on a scale from 0 (alkali metals) to 4 (noble gases); f elements lie beside group 3."""
    noble = np.array([0, 2, 10, 18, 36, 54, 86, 118])
    period = int(np.searchsorted(noble, number))
    since, length = number - noble[period - 1], noble[period] - noble[period - 1]
    if number == 2:
        return 1.0, 4.0
    from_end = length - since
    group = since if since <= 2 else 18 - from_end if from_end < 16 else 3
    return float(period), (group - 1) * 4.0 / 17.0
