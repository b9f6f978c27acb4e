"""Potentials made of potentials: sums, multiples, mixtures."""

from typing import Any

import numpy as np

from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.structures import NeighbourLists, Structures


class Sum(Potential):
    """Several potentials on the same atoms.

    Parameters
    ----------
    *terms : Potential
        Plain sums among them are taken apart.

    Raises
    ------
    ValueError
        If no species is accepted by all terms.
    """

    def __init__(self, *terms: Potential):
        flat: list[Potential] = []
        for term in terms:
            # what derives from Sum may have faster ways than its terms one by one
            flat.extend(term.terms if type(term) is Sum else [term])
        self.terms = tuple(flat)
        limited = [set(term.species) for term in self.terms if term.species is not None]
        if limited:
            shared = set.intersection(*limited)
            if not shared:
                raise ValueError(f"the terms {', '.join(map(str, self.terms))} have no species in common")
            self.species = tuple(sorted(shared))

    def __call__(self, structures: Structures) -> Evaluation:
        results = [term(structures) for term in self.terms]
        return Evaluation(
            sum(r.energies for r in results),
            sum(r.forces for r in results),
            sum(r.flux_tensors for r in results),
            structures,
        )

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`."""
        return _BoundSum([term.bind(structures, lists) for term in self.terms])

    def check(self, structures: Structures) -> None:
        """See :meth:`Potential.check`."""
        for term in self.terms:
            term.check(structures)

    def hessian(self, structures: Structures) -> Any:
        """Sum of the terms' force constants."""
        total, *rest = (term.hessian(structures) for term in self.terms)
        for part in rest:
            total = total + part
        return total

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


class Scaled(Potential):
    """A potential times a number.

    Parameters
    ----------
    potential : Potential
    factor : float

    Raises
    ------
    ValueError
        If the factor is not finite.
    """

    def __init__(self, potential: Potential, factor: float):
        if not np.isfinite(factor):
            raise ValueError(f"factor is {factor!r}; accepted is a finite number")
        self.potential, self.factor = potential, float(factor)
        self.species = potential.species

    def __call__(self, structures: Structures) -> Evaluation:
        result = self.potential(structures)
        return Evaluation(
            self.factor * result.energies, self.factor * result.forces, self.factor * result.flux_tensors, structures
        )

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`."""
        return _BoundScaled(self.potential.bind(structures, lists), self.factor)

    def check(self, structures: Structures) -> None:
        """See :meth:`Potential.check`."""
        self.potential.check(structures)

    def hessian(self, structures: Structures) -> Any:
        """The potential's force constants times the factor."""
        return self.potential.hessian(structures) * self.factor

    def __str__(self) -> str:
        return f"{self.factor:g} {self.potential}"


def mix(first: Potential, second: Potential, fraction: float) -> Potential:
    """Linear mixture (1 - fraction) first + fraction second, e.g. along an alchemical path.

    Raises
    ------
    ValueError
        If the fraction is outside 0 to 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction!r}; accepted is a number from 0 to 1")
    return (1 - fraction) * first + fraction * second


class _BoundSum(Bound):
    def __init__(self, terms: list[Bound]):
        self.terms = terms

    def add(self, positions, cells, energies, forces, pieces):
        for term in self.terms:
            term.add(positions, cells, energies, forces, pieces)


class _BoundScaled(Bound):
    def __init__(self, bound: Bound, factor: float):
        self.bound, self.factor = bound, factor

    def add(self, positions, cells, energies, forces, pieces):
        own = [np.zeros_like(energies), np.zeros_like(forces), None if pieces is None else np.zeros_like(pieces)]
        self.bound.add(positions, cells, *own)
        for total, part in zip((energies, forces, pieces), own):
            if part is not None:
                total += self.factor * part
