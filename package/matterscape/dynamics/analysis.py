"""What a trajectory looks like: distances, angles, local order, diffusion, vibrations.

Functions of structures take frames in any form (``Structures``, ``ase.Atoms`` or many of them) and pool them; functions
of time take arrays of unwrapped positions or velocities (n_times, n_atoms, 3) at equal intervals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from scipy import fft, signal, sparse
from vesin import NeighborList

from matterscape.basis import spherical_harmonics
from matterscape.checks import check_number, check_whole, is_number
from matterscape.dynamics._analysis_kernels import fill_angles
from matterscape.dynamics._displacements import atom_blocks, displacement_sums, transform
from matterscape.kernels import get_threads
from matterscape.structures import Structures
from matterscape.structures.neighbours import check_cutoff, check_pair_memory

Frames = Structures | Atoms | Iterable[Atoms]
NUMBERS_PER_BLOCK = 2**22  # of a signal that is transformed at once


def _structures(frames: Frames) -> Structures:
    return frames if isinstance(frames, Structures) else Structures.from_ase(frames)


def _number_of(name: str, symbol: str, structures: Structures) -> int:
    number = atomic_numbers.get(symbol)
    if number not in structures.unique_species:
        present = ", ".join(chemical_symbols[z] for z in structures.unique_species)
        raise ValueError(f"{name} is {symbol!r}; the structures hold {present}")
    return number


def _count(name: str, value: int) -> int:
    check_whole(name, value, 1)
    return int(value)


@dataclass(frozen=True, eq=False)
class RadialDistribution:
    """Radial distribution functions.

    Attributes
    ----------
    distances : array (n_bins,)
        Middle of each bin in Å.
    total : array (n_bins,)
        g(r) of all atoms, whatever they are.
    partial : dict of (str, str) to array (n_bins,)
        g_ab(r) of each pair of elements, in both orders.
    running_coordination : dict of (str, str) to array (n_bins,)
        Mean number of b atoms around an a atom up to the outer edge of each bin, key (a, b).
    """

    distances: np.ndarray
    total: np.ndarray
    partial: dict[tuple[str, str], np.ndarray]
    running_coordination: dict[tuple[str, str], np.ndarray]


def radial_distribution(frames: Frames, maximum_distance: float, n_bins: int = 200) -> RadialDistribution:
    """Radial distribution functions of periodic structures, averaged over the frames.

        g_ab(r) = (number of b atoms in a shell around an a atom) / (N_b / V x volume of the shell)

    All periodic images count, so distances may exceed the cell and a crystal gives the same in every cell. N uniformly
    random atoms give 1 - 1/N between like atoms and 1 between unlike ones, up to the shortest cell vector.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
        Periodic in three directions.
    maximum_distance : float
        In Å.
    n_bins : int

    Raises
    ------
    ValueError
        If a frame is not periodic, or an argument out of range.
    """
    structures = _structures(frames)
    n_bins = _count("n_bins", n_bins)
    check_cutoff(maximum_distance)
    if not bool(structures.pbc.all()):
        structure = int((~structures.pbc.all(dim=1)).nonzero()[0])
        raise ValueError(f"structure {structure} is not periodic in three directions, so its density is not defined")
    present = structures.unique_species
    n_species = len(present)
    edges = np.linspace(0, maximum_distance, n_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    counts = np.zeros((n_species, n_species, n_bins))
    random = np.zeros((n_species, n_species))  # sum over frames of N_a N_b / V
    atoms = np.zeros(n_species)
    search = NeighborList(cutoff=float(maximum_distance), full_list=False, n_threads=get_threads())
    for frame in (structures[n] for n in range(len(structures))):
        check_pair_memory(frame, maximum_distance)
        kind = np.searchsorted(present, frame.species.numpy())
        i, j, distances = search.compute(
            frame.positions.double().numpy(), frame.cells[0].double().numpy(), np.ones(3, bool), quantities="ijd"
        )
        bins = np.minimum((distances * (n_bins / maximum_distance)).astype(np.int64), n_bins - 1)
        index = (kind[i] * n_species + kind[j]) * n_bins + bins
        found = np.bincount(index, minlength=n_species**2 * n_bins).reshape(counts.shape)
        counts += found + found.transpose(1, 0, 2)
        composition = np.bincount(kind, minlength=n_species)
        random += np.outer(composition, composition) / float(frame.volumes[0])
        atoms += composition
    partial, running = {}, {}
    for a, first in enumerate(present):
        for b, second in enumerate(present):
            key = chemical_symbols[first], chemical_symbols[second]
            partial[key] = _ratio(counts[a, b], random[a, b] * shells)
            running[key] = np.cumsum(counts[a, b]) / atoms[a]
    total = _ratio(counts.sum(axis=(0, 1)), random.sum() * shells)
    return RadialDistribution((edges[1:] + edges[:-1]) / 2, total, partial, running)


def _ratio(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Zero where two elements never occur in the same frame."""
    return np.divide(counts, expected, out=np.zeros_like(expected), where=expected > 0)


def coordination_numbers(frames: Frames, cutoff: float, neighbour: str | None = None) -> np.ndarray:
    """Number of atoms closer than ``cutoff`` (Å) to each atom: (n_atoms,), int64.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    cutoff : float
        In Å.
    neighbour : str, optional
        Count only atoms of this element.
    """
    structures = _structures(frames)
    pairs = structures.pairs(cutoff)
    if neighbour is None:
        return pairs.offsets.diff().numpy()
    counted = structures.species[pairs.second] == _number_of("neighbour", neighbour, structures)
    return np.bincount(pairs.first[counted].numpy(), minlength=structures.n_atoms)


def bond_angles(frames: Frames, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every angle between two neighbours of an atom.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    cutoff : float
        Neighbours are closer than this, in Å.

    Returns
    -------
    degrees : array (n_angles,)
    centres : array (n_angles,), int64
        Atom at the apex.
    ends : array (n_angles, 2), int64
        The two neighbours.
    """
    structures = _structures(frames)
    pairs = structures.pairs(cutoff)
    coordination = pairs.offsets.diff().numpy()
    n_angles = int((coordination * (coordination - 1) // 2).sum())
    degrees, centres, ends = np.empty(n_angles), np.empty(n_angles, np.int64), np.empty((n_angles, 2), np.int64)
    vectors = pairs.vectors.detach().double().numpy()
    fill_angles(vectors, pairs.offsets.numpy(), pairs.second.numpy(), degrees, centres, ends)
    return degrees, centres, ends


def bond_angle_distribution(
    frames: Frames,
    cutoff: float,
    n_bins: int = 180,
    *,
    centre: str | None = None,
    ends: tuple[str, str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of the angles between neighbours.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    cutoff : float
        Neighbours are closer than this, in Å.
    n_bins : int
        From 0 to 180 degrees.
    centre : str, optional
        Only angles at this element.
    ends : (str, str), optional
        Only angles between these elements, in either order.

    Returns
    -------
    angles : array (n_bins,)
        Middle of each bin, in degrees.
    density : array (n_bins,)
        Per degree, with integral 1; zeros if there is no such angle.
    """
    structures = _structures(frames)
    degrees, centres, neighbours = bond_angles(structures, cutoff)
    species = structures.species.numpy()
    chosen = np.ones(len(degrees), bool)
    if centre is not None:
        chosen &= species[centres] == _number_of("centre", centre, structures)
    if ends is not None:
        wanted = sorted(_number_of("ends", symbol, structures) for symbol in ends)
        chosen &= (np.sort(species[neighbours], axis=1) == wanted).all(axis=1)
    counts, edges = np.histogram(degrees[chosen], bins=_count("n_bins", n_bins), range=(0, 180))
    return (edges[1:] + edges[:-1]) / 2, counts / max(counts.sum(), 1) / (180 / n_bins)


def steinhardt(
    frames: Frames,
    degrees: Sequence[int] = (4, 6),
    *,
    cutoff: float | None = None,
    n_neighbours: int | None = None,
    averaged: bool = False,
) -> np.ndarray:
    """Bond-orientational order of each atom.

        q_l = sqrt(4 pi / (2 l + 1) sum_m |q_lm|^2),   q_lm = mean over the neighbours of Y_lm(direction)

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    degrees : sequence of int
        The l, 0 to 50.
    cutoff : float, optional
        Neighbours are closer than this, in Å. Either this or ``n_neighbours`` is needed.
    n_neighbours : int, optional
        Neighbours are this many nearest atoms: 12 for close packing, 14 for bcc, 4 for diamond.
    averaged : bool
        Average q_lm over the atom and its neighbours first, which tells crystal structures apart more sharply.

    Returns
    -------
    array (n_atoms, len(degrees))
        Zero for an atom without neighbours.

    Raises
    ------
    ValueError
        For arguments out of range, or if a structure without periodic images has too few atoms.

    References
    ----------
    P. J. Steinhardt, D. R. Nelson, M. Ronchetti, Phys. Rev. B 28, 784 (1983), eq. 1.4;
    W. Lechner, C. Dellago, J. Chem. Phys. 129, 114707 (2008), eq. 5-6.
    """
    structures = _structures(frames)
    if (cutoff is None) == (n_neighbours is None):
        raise ValueError(f"cutoff is {cutoff!r} and n_neighbours is {n_neighbours!r}; give exactly one of them")
    degrees = [int(l) for l in degrees]
    if cutoff is not None:
        pairs = structures.pairs(cutoff)
        offsets, second, vectors = pairs.offsets.numpy(), pairs.second.numpy(), pairs.vectors.detach().double()
    else:
        offsets, second, vectors = _nearest(structures, _count("n_neighbours", n_neighbours))
    n_atoms = structures.n_atoms
    means = sparse.csr_matrix((np.ones(len(second)), np.arange(len(second)), offsets), (n_atoms, len(second)))
    counts = np.maximum(np.diff(offsets), 1)[:, None]
    components = means @ spherical_harmonics(vectors, max(degrees)).numpy() / counts  # (n_atoms, lm)
    if averaged:
        neighbours = sparse.csr_matrix((np.ones(len(second)), second, offsets), (n_atoms, n_atoms))
        components = (neighbours @ components + components) / (np.diff(offsets) + 1)[:, None]
    powers = [(components[:, l * l : (l + 1) ** 2] ** 2).sum(axis=1) * 4 * np.pi / (2 * l + 1) for l in degrees]
    return np.sqrt(np.stack(powers, axis=1))


def _nearest(structures: Structures, n_neighbours: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """The nearest neighbours of each atom: offsets, second atoms, vectors."""
    counts = structures.atoms_per_structure
    if bool((~structures.pbc.any(dim=1) & (counts <= n_neighbours)).any()):
        structure = int((~structures.pbc.any(dim=1) & (counts <= n_neighbours)).nonzero()[0])
        raise ValueError(
            f"n_neighbours is {n_neighbours} but structure {structure} has {int(counts[structure])} atoms and no images"
        )
    cutoff = 3.0
    while True:
        pairs = structures.pairs(cutoff)
        found = pairs.offsets.diff()
        if int(found.min()) >= n_neighbours:
            break
        cutoff *= 1.3
    vectors = pairs.vectors.detach().double()
    order = np.lexsort((vectors.norm(dim=1).numpy(), pairs.first.numpy()))
    rank = np.arange(len(order)) - np.repeat(pairs.offsets[:-1].numpy(), found.numpy())
    chosen = order[rank < n_neighbours]
    return np.arange(structures.n_atoms + 1) * n_neighbours, pairs.second.numpy()[chosen], vectors[chosen]


def warren_cowley(frames: Frames, outer: float, inner: float = 0.0) -> dict[tuple[str, str], float]:
    """Chemical short-range order in a shell of neighbours.

        alpha_ab = 1 - P(b | neighbour of a) / c_b

    with the concentration c_b over all frames: zero for a random alloy, negative where a prefers b.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    outer, inner : float
        Neighbours are closer than ``outer`` and not closer than ``inner``, in Å.

    Returns
    -------
    dict of (str, str) to float
        Key (a, b), in both orders; NaN if no atom a has a neighbour in the shell.

    Source: J. M. Cowley, Phys. Rev. 77, 669 (1950), eq. 1.
    """
    structures = _structures(frames)
    if not is_number(inner) or not 0 <= inner < outer:
        raise ValueError(f"inner is {inner!r}; accepted is a distance from 0 to below outer = {outer!r} Å")
    pairs = structures.pairs(outer)
    shell = (pairs.vectors.detach().norm(dim=1) >= inner).numpy()
    species, present = structures.species.numpy(), structures.unique_species
    first, second = (np.searchsorted(present, species[t.numpy()[shell]]) for t in (pairs.first, pairs.second))
    n_species = len(present)
    counts = np.bincount(first * n_species + second, minlength=n_species**2).reshape(n_species, n_species)
    concentrations = np.bincount(np.searchsorted(present, species), minlength=n_species) / len(species)
    totals = counts.sum(axis=1, keepdims=True)
    alpha = 1 - np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0) / concentrations
    symbols = [chemical_symbols[number] for number in present]
    return {(a, b): float(alpha[n, m]) for n, a in enumerate(symbols) for m, b in enumerate(symbols)}


def _series_shape(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 3 or values.shape[2] != 3 or 0 in values.shape:
        raise ValueError(f"{name} has shape {values.shape}; accepted is (n_times, n_atoms, 3)")
    return values


def _time_series(name: str, values: np.ndarray) -> np.ndarray:
    values = _series_shape(name, values)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
    return values


def _blocks(n_times: int, n_atoms: int) -> Iterable[slice]:
    """Atoms that are transformed together."""
    width = max(1, NUMBERS_PER_BLOCK // (3 * n_times))
    return (slice(start, start + width) for start in range(0, n_atoms, width))


def _correlation_sums(series: np.ndarray) -> np.ndarray:
    """sum_k x(k) x(k + m) for every lag m along the first axis."""
    n_times = len(series)
    length = fft.next_fast_len(2 * n_times - 1, real=True)
    spectrum = fft.rfft(series, length, axis=0)
    return fft.irfft(spectrum.real**2 + spectrum.imag**2, length, axis=0)[:n_times]


def mean_square_displacement(positions: np.ndarray) -> np.ndarray:
    """Mean-square displacement, averaged over atoms and all time origins, by fast Fourier transform.

        MSD(m) = 1 / (T - m) sum_k |r(k + m) - r(k)|^2

    Parameters
    ----------
    positions : array (n_times, n_atoms, 3)
        Unwrapped, in Å. A memory map is read in blocks of atoms, so the file may be larger than the memory.

    Returns
    -------
    array (n_times,)
        In Å^2, at lags 0, 1, ... ; the last lags average over few origins.

    Source: V. Calandrini et al., Collection SFN 12, 201 (2011), eqs. 43-49 (nMoldyn).
    """
    positions = _series_shape("positions", positions)
    n_times, n_atoms, _ = positions.shape
    squares, power = np.zeros(n_times), 0.0
    for _, moved in atom_blocks(positions, NUMBERS_PER_BLOCK):
        moved -= moved.mean(axis=2, keepdims=True)  # the result does not change, its rounding error shrinks
        squares += np.einsum("axt,axt->t", moved, moved)
        if not np.isfinite(squares).all():
            raise ValueError("positions must be finite")
        spectrum = transform(moved).reshape(3 * len(moved), -1)
        power = power + np.einsum("sf,sf->f", spectrum.real, spectrum.real)
        power += np.einsum("sf,sf->f", spectrum.imag, spectrum.imag)
    return np.maximum(displacement_sums(squares, power), 0.0) / (np.arange(n_times, 0, -1) * n_atoms)


def velocity_autocorrelation(velocities: np.ndarray, masses: np.ndarray | None = None) -> np.ndarray:
    """Velocity autocorrelation function, averaged over atoms and all time origins.

        C(m) = sum_i w_i <v_i(k) . v_i(k + m)>_k / sum_i w_i

    Parameters
    ----------
    velocities : array (n_times, n_atoms, 3)
    masses : array (n_atoms,), optional
        Weights w; equal if not given.

    Returns
    -------
    array (n_times,)
        In the square of the velocities' unit.
    """
    velocities = _time_series("velocities", velocities)
    n_times, n_atoms, _ = velocities.shape
    weights = _masses(masses, n_atoms)
    result = np.zeros(n_times)
    for atoms in _blocks(n_times, n_atoms):
        sums = _correlation_sums(velocities[:, atoms].astype(np.float64))
        result += np.einsum("tax,a->t", sums, weights[atoms])
    return result / np.arange(n_times, 0, -1) / weights.sum()


def vibrational_density_of_states(
    velocities: np.ndarray, timestep_fs: float, masses: np.ndarray | None = None, resolution_THz: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum of the velocities: in a harmonic solid with equipartition, the vibrational density of states.

    Power spectral density of sqrt(m) v by Welch's method with Hann windows, summed over atoms and directions.

    Parameters
    ----------
    velocities : array (n_times, n_atoms, 3)
    timestep_fs : float
        Time between two rows, in fs.
    masses : array (n_atoms,), optional
        Equal if not given.
    resolution_THz : float
        Spacing of the frequencies; the windows are its inverse long, or the whole series if that is shorter.

    Returns
    -------
    frequencies : array (n,)
        In THz.
    density : array (n,)
        In 1/THz, with integral 1.
    """
    velocities = _time_series("velocities", velocities)
    for name, value in {"timestep_fs": timestep_fs, "resolution_THz": resolution_THz}.items():
        check_number(name, value, positive=True)
    n_times, n_atoms, _ = velocities.shape
    rate = 1e3 / timestep_fs  # THz
    length = min(n_times, max(2, round(rate / resolution_THz)))
    weights = _masses(masses, n_atoms)
    density = 0.0
    for atoms in _blocks(n_times, n_atoms):
        weighted = velocities[:, atoms] * np.sqrt(weights[atoms])[:, None]
        frequencies, power = signal.welch(weighted, rate, nperseg=length, detrend=False, axis=0)
        density = density + power.sum(axis=(1, 2))
    return frequencies, density / (density.sum() * (frequencies[1] - frequencies[0]))


def _masses(masses: np.ndarray | None, n_atoms: int) -> np.ndarray:
    weights = np.ones(n_atoms) if masses is None else np.asarray(masses, np.float64)
    if weights.shape != (n_atoms,) or not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(f"masses must be {n_atoms} positive numbers, got an array of shape {weights.shape}")
    return weights
