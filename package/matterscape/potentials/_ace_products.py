"""Rotation-invariant products of the atomic basis: which there are, and the monomials that they consist of.

The atomic basis of a centre is A_znlm = sum over its neighbours of species z of R_n(r) Y_lm(direction). A function of
order nu is sum_m C_m1..mnu A_z1n1l1m1 ... A_znunlnumnu with generalised Clebsch-Gordan coefficients C that couple
l1 ... lnu to an invariant; with even l1 + ... + lnu it is also invariant under inversion.

Source: R. Drautz, Phys. Rev. B 99, 014104 (2019); G. Dusson et al., J. Comput. Phys. 454, 110946 (2022), for the
symmetrisation and the rank.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from matterscape.basis import clebsch_gordan

# row of the atomic basis that is 1, so that products of fewer factors are products of three
UNIT = 0
_SMALL = 1e-10


@dataclass(frozen=True, eq=False)
class Products:
    """Functions of one centre, as sums of products of three elements of the atomic basis.

    Element ``starts[z, l^2 + l + m] + n`` of the atomic basis is A_znlm, element 0 is 1.

    Attributes
    ----------
    starts : ndarray (S, (L + 1)^2), int64
    n_radial : ndarray (L + 1,), int64
        Number of radial functions of each l.
    n_elements : int
        Elements of the atomic basis, the first of them included.
    factors : ndarray (M, 3), int64
        Elements that each monomial multiplies, ascending.
    functions : ndarray (M,), int64
        The function that each monomial belongs to, ascending.
    weights : ndarray (M,), float64
    labels : tuple of tuples
        Factors (z, n, l) of each function.
    """

    starts: np.ndarray
    n_radial: np.ndarray
    n_elements: int
    factors: np.ndarray
    functions: np.ndarray
    weights: np.ndarray
    labels: tuple[tuple[tuple[int, int, int], ...], ...]


def invariant_products(n_species: int, max_radial: Sequence[int], max_angular: Sequence[int]) -> Products:
    """All functions of order 1 to len(max_radial), linearly independent.

    Parameters
    ----------
    n_species : int
    max_radial : sequence of int
        Number of radial functions in products of one, two, ... factors.
    max_angular : sequence of int
        Largest l in these products, the first of them 0.
    """
    highest = max(max_angular)
    n_radial = np.array(
        [max(n for n, top in zip(max_radial, max_angular) if top >= angular) for angular in range(highest + 1)]
    )
    of_row = np.repeat(n_radial, 2 * np.arange(highest + 1) + 1)
    sizes = np.tile(of_row, n_species)
    starts = (1 + np.cumsum(sizes) - sizes).reshape(n_species, -1)

    labels, factors, functions, weights = [], [], [], []
    for order, (radial, top) in enumerate(zip(max_radial, max_angular), start=1):
        channels = [(z, n, angular) for angular in range(top + 1) for z in range(n_species) for n in range(radial)]
        for combination in _combinations(channels, order):
            equal = tuple(combination.index(channel) for channel in combination)
            for orders, values in _functions(tuple(channel[2] for channel in combination), equal):
                rows = np.full((len(values), 3), UNIT)
                for k, (z, n, angular) in enumerate(combination):
                    rows[:, k] = starts[z, angular * angular + orders[:, k]] + n
                factors.append(np.sort(rows, axis=1))
                functions.append(np.full(len(values), len(labels)))
                weights.append(values)
                labels.append(combination)
    factors, functions, weights = (np.concatenate(parts) for parts in (factors, functions, weights))
    return Products(
        starts=starts,
        n_radial=n_radial,
        n_elements=1 + int(sizes.sum()),
        factors=np.ascontiguousarray(factors),
        functions=functions,
        weights=weights,
        labels=tuple(labels),
    )


def _combinations(channels: list[tuple[int, int, int]], order: int):
    """Ascending combinations of channels whose angular momenta can couple to an invariant of even parity."""
    by_angular: dict[int, list[tuple[int, int, int]]] = {}
    for channel in channels:
        by_angular.setdefault(channel[2], []).append(channel)
    for momenta in itertools.combinations_with_replacement(sorted(by_angular), order):
        if sum(momenta) % 2 or 2 * max(momenta) > sum(momenta):
            continue
        choices = [
            itertools.combinations_with_replacement(by_angular[angular], momenta.count(angular))
            for angular in sorted(set(momenta))
        ]
        for parts in itertools.product(*choices):
            yield tuple(itertools.chain.from_iterable(parts))


@lru_cache(maxsize=4096)
def _functions(momenta: tuple[int, ...], equal: tuple[int, ...]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Independent invariants of factors with these l; ``equal[k]`` is the first factor that is the same as factor k.

    Each is a pair of indices m + l (n_terms, order) and weights (n_terms,).
    """
    paths = _couplings(momenta)
    terms: dict[tuple[int, ...], np.ndarray] = {}
    for index in np.argwhere(np.abs(paths).max(axis=0) > _SMALL):
        # equal factors commute: their orders m are sorted, which adds up what cannot be told apart
        key = [0] * len(momenta)
        for leader in set(equal):
            places = [k for k, first in enumerate(equal) if first == leader]
            for place, value in zip(places, sorted(index[places])):
                key[place] = int(value)
        terms[tuple(key)] = terms.get(tuple(key), 0) + paths[(slice(None), *index)]
    matrix = np.stack(list(terms.values()), axis=1)
    # the rank of the coupling: several paths may give the same function of equal factors, or nothing
    _, singular, rows = np.linalg.svd(matrix, full_matrices=False)
    kept = rows[singular > _SMALL] * singular[singular > _SMALL, None]
    indices = np.array(list(terms))
    return tuple((indices[np.abs(row) > _SMALL], row[np.abs(row) > _SMALL]) for row in kept)


def _couplings(momenta: tuple[int, ...]) -> np.ndarray:
    """Generalised Clebsch-Gordan coefficients (n_paths, 2 l1 + 1, ...) to L = 0, for real harmonics."""
    partial = {momenta[0]: [np.eye(2 * momenta[0] + 1)]}
    for angular in momenta[1:]:
        coupled: dict[int, list[np.ndarray]] = {}
        for intermediate, tensors in partial.items():
            for total in range(abs(intermediate - angular), intermediate + angular + 1):
                coefficients = clebsch_gordan(intermediate, angular, total)
                coupled.setdefault(total, []).extend(np.tensordot(t, coefficients, axes=1) for t in tensors)
        # tensordot contracts the intermediate M (last axis) with the first axis of the coefficients
        partial = coupled
    return np.stack([tensor[..., 0] for tensor in partial[0]])
