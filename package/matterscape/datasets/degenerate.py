"""Pairs of different structures that correlations of low order can't tell apart, and what proves it.

The correlations of order nu around an atom hold no more than the clusters of that atom with nu of its neighbours: which
ones occur, and how often. Two environments with the same clusters have the same correlations in every basis, of both
parities. ``cluster_distance`` compares the clusters themselves, without any basis, and ``congruence_rmsd`` shows that
the structures are not the same.

References: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020); Nigam et al., APL Mach. Learn. 2, 016110 (2024).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import NamedTuple

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from matterscape.checks import check_number, check_whole

#: Draws without one accepted pair after which ``ring_pairs`` gives up.
MAX_DRAWS = 8000
MAX_PERMUTATIONS = 50_000


class Parameter(NamedTuple):
    """A number that a family of pairs depends on: its range, a generic value in it, and its unit."""

    low: float
    high: float
    default: float
    unit: str
    meaning: str


@dataclass(frozen=True)
class DegeneratePair:
    """A family of pairs of structures that agree in all correlations up to some order.

    Parameters
    ----------
    title : str
    parameters : dict of str to Parameter
        What ``structures`` takes.
    correlation_order : int
        The largest nu up to which all correlations agree.
    centre : int or None
        The atom whose environments agree; None if it is the whole structures, in their clusters of nu + 1 atoms.
    source : str
    build : callable
        ``build(**values)`` gives the positions (2, n_atoms, 3) in Å.
    symbols : str
        Of the atoms, such as ``"CH4"``.
    rules : callable, optional
        ``rules(**values)`` says in a sentence why a geometry is not one of a study's set, or None.
    """

    title: str
    parameters: dict[str, Parameter]
    correlation_order: int
    centre: int | None
    source: str
    build: Callable[..., np.ndarray]
    symbols: str
    rules: Callable[..., str | None] | None = None

    def structures(self, **values: float) -> tuple[Atoms, Atoms]:
        """The two structures; parameters that are not given have their defaults.

        Raises
        ------
        TypeError
            For a parameter that the family does not have.
        ValueError
            For a value outside its range, or values that make no structure.
        """
        first, second = self.build(**self._complete(values))
        return Atoms(self.symbols, first), Atoms(self.symbols, second)

    def violation(self, **values: float) -> str | None:
        """Why a geometry is not in the set of structures that a study uses; None if it is."""
        return None if self.rules is None else self.rules(**self._complete(values))

    def _complete(self, values: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(values) - set(self.parameters))
        if unknown:
            raise TypeError(f"{self.title} has no parameter {unknown[0]!r}; accepted are {', '.join(self.parameters)}")
        complete = {name: values.get(name, parameter.default) for name, parameter in self.parameters.items()}
        for name, (low, high, _, unit, _) in self.parameters.items():
            check_number(name, complete[name], unit, signed=True)
            if not low <= complete[name] <= high:
                raise ValueError(f"{name} is {complete[name]!r}; accepted is from {low:.4g} to {high:.4g} {unit}")
        return complete


def _ring_positions(parameters: np.ndarray) -> np.ndarray:
    """Positions (..., 2, 8, 3) of both structures for parameters (..., 6); the apex is up in the first."""
    r, z1, z2, psi, phi1, phi2 = np.moveaxis(np.asarray(parameters, dtype=float), -1, 0)
    angles = np.stack([np.zeros_like(r), phi1, phi1 + phi2], axis=-1)  # (..., 3)
    angles = np.stack([angles, angles + psi[..., None]], axis=-2)  # (..., ring, 3)
    heights = np.broadcast_to(np.stack([z1, -z1], axis=-1)[..., None], angles.shape)
    radii = np.broadcast_to(r[..., None, None], angles.shape)
    rings = np.stack([radii * np.cos(angles), radii * np.sin(angles), heights], axis=-1)
    positions = np.zeros((*r.shape, 2, 8, 3))
    positions[..., 1:7, :] = rings.reshape(*r.shape, 1, 6, 3)
    positions[..., 0, 7, 2], positions[..., 1, 7, 2] = z2, -z2
    return positions


def _ring_rules(
    parameters: np.ndarray, centre_distances: tuple[float, float] = (1.5, 1.8), shortest: float = 1.2
) -> np.ndarray:
    """Which parameters (n, 6) give pairs with allowed distances; both structures of a pair have the same distances."""
    first = _ring_positions(parameters)[:, 0]
    to_centre = np.linalg.norm(first[:, 1:], axis=-1)
    pairs = np.array(list(combinations(range(1, 8), 2))).T
    others = np.linalg.norm(first[:, pairs[0]] - first[:, pairs[1]], axis=-1)
    low, high = centre_distances
    return ((to_centre > low) & (to_centre < high)).all(axis=1) & (others > shortest).all(axis=1)


def ring_pairs(
    n_pairs: int,
    seed: int | np.random.Generator = 0,
    *,
    centre_distances: tuple[float, float] = (1.5, 1.8),
    shortest: float = 1.2,
) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of eight atoms around whose first all correlations up to nu = 3 agree.

    The atom in the middle has two rings of three atoms each, turned and at opposite heights, and an apex above or
    below. Drawn uniformly are r from 0.5 to 2 Å, z1 0.5 to 2 Å, z2 1.5 to 1.8 Å, psi 0 to pi, phi1 and phi2 pi/6 to pi.
    No pair is congruent, but about a fifth of them are within 0.05 Å of it, see :func:`congruence_rmsd`.

    Parameters
    ----------
    n_pairs : int
    seed : int or numpy.random.Generator
    centre_distances : (float, float)
        All distances to the atom in the middle lie between these, in Å.
    shortest : float
        All other distances are longer, in Å.

    Returns
    -------
    positions : array (2 n_pairs, 8, 3), Å
        The atom in the middle first and the apex last; structures 2k and 2k + 1 are partners, the apex of the former
        is up.
    parameters : array (n_pairs, 6)
        r, z1, z2 in Å, psi, phi1, phi2 in rad, as of the family ``"rings"`` of the catalogue.

    Raises
    ------
    RuntimeError
        If 8000 draws in a row give no pair.

    References
    ----------
    Nigam et al., APL Mach. Learn. 2, 016110 (2024).
    """
    check_whole("n_pairs", n_pairs, 1)
    generator = np.random.default_rng(seed)
    bounds = np.array([(p.low, p.high) for p in _RING_DRAWS])
    accepted: list[np.ndarray] = []
    n_draws = n_accepted = 0
    while n_accepted < n_pairs:
        draws = bounds[:, 0] + generator.random((MAX_DRAWS, 6)) * (bounds[:, 1] - bounds[:, 0])
        accepted.append(draws[_ring_rules(draws, centre_distances, shortest)])
        n_draws += len(draws)
        n_accepted += len(accepted[-1])
        if not len(accepted[-1]):
            raise RuntimeError(
                f"no pair in {MAX_DRAWS} draws in a row, {n_accepted} in {n_draws} altogether; allow more "
                f"centre_distances than {centre_distances} Å or a smaller shortest distance than {shortest} Å"
            )
    parameters = np.concatenate(accepted)[:n_pairs]
    return _ring_positions(parameters).reshape(-1, 8, 3), parameters


def ring_pair_positions(parameters: np.ndarray) -> np.ndarray:
    """Positions (2 n, 8, 3) of the pairs that :func:`ring_pairs` described by parameters (n, 6)."""
    parameters = np.asarray(parameters, dtype=float)
    if parameters.ndim != 2 or parameters.shape[1] != 6:
        raise ValueError(f"parameters have shape {parameters.shape}; accepted is (n_pairs, 6)")
    return _ring_positions(parameters).reshape(-1, 8, 3)


_RING_DRAWS = (
    Parameter(0.5, 2.0, 1.51, "Å", "radius of both rings"),
    Parameter(0.5, 2.0, 0.68, "Å", "height of the rings above and below the middle"),
    Parameter(1.5, 1.8, 1.6, "Å", "distance of the apex"),
    Parameter(0.0, math.pi, 1.88, "rad", "turn of one ring against the other; 0 makes the structures congruent"),
    Parameter(math.pi / 6, math.pi, 0.9, "rad", "angle from the first atom of a ring to the second"),
    Parameter(math.pi / 6, math.pi, 1.87, "rad", "angle from the second atom of a ring to the third"),
)


def _rings(**values: float) -> np.ndarray:
    return _ring_positions(np.array([values[name] for name in RINGS.parameters]))


def _ring_violation(**values: float) -> str | None:
    parameters = np.array([[values[name] for name in RINGS.parameters]])
    if _ring_rules(parameters)[0]:
        return None
    first = _ring_positions(parameters)[0, 0]
    to_centre = np.linalg.norm(first[1:], axis=1)
    outside = to_centre[(to_centre <= 1.5) | (to_centre >= 1.8)]
    if len(outside):
        return f"an atom is {outside[0]:.2f} Å from the middle; in the set are 1.5 to 1.8 Å"
    shortest = min(float(np.linalg.norm(a - b)) for a, b in combinations(first[1:], 2))
    return f"two atoms are {shortest:.2f} Å apart; in the set are distances above 1.2 Å"


def _planar(radius: float) -> np.ndarray:
    angles = 2 * np.pi / 8 * np.array([[0, 1, 3, 4], [0, 1, 2, 5]])
    positions = np.zeros((2, 5, 3))
    positions[:, 1:, 0], positions[:, 1:, 1] = radius * np.cos(angles), radius * np.sin(angles)
    return positions


def _manifold(radius: float, alpha: float, beta: float, phi: float, gamma: float) -> np.ndarray:
    """A, B, B' and C+ or C-: a half turn swaps B and B', a mirror C+ and C-, and nothing does both.

    With A = (sin alpha, 0, cos alpha), B, B' = (+-sin beta cos phi, +-sin beta sin phi, cos beta) and
    C+- = (0, +-sin gamma, cos gamma), the angles A-C+ and A-C- are equal, and so are B-C+ and B'-C-, B'-C+ and B-C-.
    """
    a = np.array([math.sin(alpha), 0.0, math.cos(alpha)])
    b = math.sin(beta) * np.array([math.cos(phi), math.sin(phi), 0.0])
    up = np.array([0.0, 0.0, math.cos(beta)])
    c = np.array([[0.0, sign * math.sin(gamma), math.cos(gamma)] for sign in (1, -1)])
    return radius * np.array([[np.zeros(3), a, up + b, up - b, last] for last in c])


def _tetrahedra(long: float, short: float) -> np.ndarray:
    """Six distances in two arrangements: three sides of a face or a path over all corners are the long ones."""
    face, path = ({(1, 2), (2, 3), (1, 3)}, {(0, 1), (1, 2), (2, 3)})
    made = []
    for edges in (face, path):
        squared = np.array([[0 if i == j else short**2 for j in range(4)] for i in range(4)])
        for i, j in edges:
            squared[i, j] = squared[j, i] = long**2
        centring = np.eye(4) - 0.25
        values, vectors = np.linalg.eigh(-0.5 * centring @ squared @ centring)  # classical scaling
        if values[0] < -1e-9:
            raise ValueError(f"long is {long!r} Å and short {short!r} Å; there is no tetrahedron with such edges")
        made.append(vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0)))
    return np.array(made)


RINGS = DegeneratePair(
    title="Two rings and an apex",
    parameters=dict(zip(("r", "z1", "z2", "psi", "phi1", "phi2"), _RING_DRAWS)),
    correlation_order=3,
    centre=0,
    source="Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020); Nigam et al., APL Mach. Learn. 2, 016110 (2024)",
    build=_rings,
    symbols="B8",
    rules=_ring_violation,
)
PLANAR = DegeneratePair(
    title="Homometric points on a circle",
    parameters={"radius": Parameter(0.7, 2.0, 1.1, "Å", "distance of the four atoms")},
    correlation_order=2,
    centre=0,
    source="Patterson, Phys. Rev. 65, 195 (1944)",
    build=_planar,
    symbols="CH4",
)
MANIFOLD = DegeneratePair(
    title="Four atoms on a sphere, a manifold of pairs",
    parameters={
        "radius": Parameter(0.7, 2.0, 1.1, "Å", "distance of the four atoms"),
        "alpha": Parameter(0.0, math.pi, 1.9, "rad", "angle of the first atom to the axis; 0 makes them congruent"),
        "beta": Parameter(0.2, math.pi / 2, 1.2, "rad", "angle of the two swapped atoms to the axis"),
        "phi": Parameter(0.0, math.pi / 2, 0.6, "rad", "turn of the swapped atoms; congruent at both ends"),
        "gamma": Parameter(0.0, math.pi, 2.3, "rad", "angle of the last atom to the axis; congruent at both ends"),
    },
    correlation_order=2,
    centre=0,
    source="Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020)",
    build=_manifold,
    symbols="CH4",
)
TETRAHEDRA = DegeneratePair(
    title="Two tetrahedra with the same six distances",
    parameters={
        "long": Parameter(0.8, 2.0, 1.2, "Å", "three of the edges"),
        "short": Parameter(0.8, 2.0, 1.0, "Å", "the other three"),
    },
    correlation_order=1,
    centre=None,
    source="von Lilienfeld et al., Int. J. Quantum Chem. 115, 1084 (2015)",
    build=_tetrahedra,
    symbols="H4",
)
#: Families of pairs by name, in the order in which they defeat more and more correlations.
CATALOGUE = {"tetrahedra": TETRAHEDRA, "planar": PLANAR, "manifold": MANIFOLD, "rings": RINGS}


def cluster_distance(first: Atoms, second: Atoms, nu: int, centre: int | None = 0) -> float:
    """How much two structures differ in their clusters of nu + 1 atoms; 0 means that all correlations of nu agree.

    Each cluster of the first is paired with one of the second so that the sum of the squares of their differences is
    smallest. The difference of two clusters is the root mean square of that of their distances and their signed
    volumes (over the square of 1 Å), for the best order of the atoms; mirror images are different from nu = 3 on.

    Parameters
    ----------
    first, second : ase.Atoms
        With the same number of atoms, not periodic. Small: the number of clusters and orders grows as n! / (n - nu)!.
    nu : int
    centre : int or None
        An atom that is in every cluster; None for all clusters of the structures.

    Returns
    -------
    float
        Root mean square over all clusters, in Å; a wrong element counts as 1 Å for each unit of the atomic number.

    Raises
    ------
    ValueError
        If the structures differ in size or have not enough atoms.
    """
    n_others = _same_size(first, second) - (centre is not None)
    check_whole("nu", nu, 1)
    size = nu if centre is not None else nu + 1
    if size > n_others:
        raise ValueError(f"nu is {nu}; accepted is up to {n_others if centre is not None else n_others - 1} here")
    others = [atom for atom in range(len(first)) if atom != centre]
    kept = [] if centre is None else [centre]
    clusters = np.array([[*kept, *chosen] for chosen in combinations(others, size)])
    orders = np.array([[*range(len(kept)), *(len(kept) + k for k in order)] for order in permutations(range(size))])
    ours = _cluster_vectors(first, clusters)  # (clusters, numbers)
    theirs = np.array([_cluster_vectors(second, clusters[:, order]) for order in orders])
    costs = np.array([((theirs - one) ** 2).mean(axis=2).min(axis=0) for one in ours])
    return math.sqrt(costs[linear_sum_assignment(costs)].mean())


def _cluster_vectors(atoms: Atoms, clusters: np.ndarray) -> np.ndarray:
    """Distances, signed volumes and elements of clusters (n_clusters, size), atoms in their order."""
    points = atoms.positions[clusters]
    pairs = list(combinations(range(clusters.shape[1]), 2))
    columns = [np.linalg.norm(points[:, i] - points[:, j], axis=1) for i, j in pairs]
    for i, j, k, l in combinations(range(clusters.shape[1]), 4):
        edges = points[:, [j, k, l]] - points[:, [i]]
        columns.append(np.linalg.det(edges))
    return np.stack([*columns, *atoms.numbers[clusters].T.astype(float)], axis=1)


def congruence_rmsd(first: Atoms, second: Atoms, *, reflection: bool = True) -> float:
    """Root mean square distance of the atoms after the best superposition over all permutations of equal atoms.

    Parameters
    ----------
    first, second : ase.Atoms
        Of the same elements; at most 50 000 permutations, which is 8 equal atoms.
    reflection : bool
        Whether mirror images may be superposed.

    Returns
    -------
    float
        In Å; zero if the structures are congruent.

    Raises
    ------
    ValueError
        If the structures have other elements, or there are too many permutations.

    References
    ----------
    Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    _same_size(first, second)
    if sorted(first.numbers) != sorted(second.numbers):
        raise ValueError(f"second is {second.symbols}; accepted are the elements of the first, {first.symbols}")
    groups = [np.flatnonzero(second.numbers == number) for number in np.unique(first.numbers)]
    n_permutations = math.prod(math.factorial(len(group)) for group in groups)
    if n_permutations > MAX_PERMUTATIONS:
        raise ValueError(f"first has {n_permutations} permutations of equal atoms; accepted are {MAX_PERMUTATIONS}")
    ours, theirs = (atoms.positions - atoms.positions.mean(axis=0) for atoms in (first, second))
    ours = ours[np.argsort(first.numbers, kind="stable")]
    choices = [np.array(list(permutations(group))) for group in groups]
    rows = [np.concatenate(parts) for parts in product(*choices)] if len(choices) > 1 else choices[0]
    covariances = np.einsum("na,pnb->pab", ours, theirs[np.array(rows)])
    values = np.linalg.svd(covariances, compute_uv=False)
    overlap = values.sum(axis=1)
    if not reflection:
        overlap = overlap - np.where(np.linalg.det(covariances) < 0, 2 * values[:, 2], 0.0)
    squared = (ours**2).sum() + (theirs**2).sum() - 2 * overlap.max()
    return math.sqrt(max(squared, 0.0) / len(first))


def _same_size(first: Atoms, second: Atoms) -> int:
    if len(first) != len(second):
        raise ValueError(f"second has {len(second)} atoms; accepted is the number of the first, {len(first)}")
    return len(first)


class MethaneManifold(NamedTuple):
    """Descriptors of two grids of 81 carbon environments that meet along a line: (2, 81, 12) each, minus then plus."""

    power_spectra: np.ndarray
    bispectra: np.ndarray


def methane_manifold() -> MethaneManifold:
    """The published descriptors of two manifolds of CH4, which share a line in their power spectra.

    The structures behind them are not part of the set. Of the 81 partners 9 have the same power spectrum, none the
    same bispectrum.

    References
    ----------
    Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020), as in scikit-matter.
    """
    from skmatter.datasets import load_degenerate_CH4_manifold

    data = load_degenerate_CH4_manifold().data
    return MethaneManifold(
        data.SOAP_power_spectrum.reshape(2, 81, -1).copy(), data.SOAP_bispectrum.reshape(2, 81, -1).copy()
    )
