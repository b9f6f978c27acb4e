"""Potentials made of potentials: sums, multiples, mixtures."""

from typing import Any

import numpy as np

from matterscape.checks import check_fraction, check_number
from matterscape.potentials.base import Bound, Evaluation, Potential, check_potential
from matterscape.structures import NeighbourLists, Structures


class Sum(Potential):
    """Several potentials on the same atoms.

    Parameters
    ----------
    *terms : Potential
        Plain sums among them are taken apart.

    Raises
    ------
    TypeError
        If a term is no potential.
    ValueError
        If there is no term, or no species that all terms accept.
    """

    def __init__(self, *terms: Potential):
        if not terms:
            raise ValueError("terms are empty; accepted is at least one potential")
        for term in terms:
            check_potential("a term", term)
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
    TypeError
        If ``potential`` is something else.
    ValueError
        If the factor is not a finite number.
    """

    def __init__(self, potential: Potential, factor: float):
        check_potential("potential", potential)
        check_number("factor", factor, signed=True)
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
    TypeError
        If one of the two is no potential.
    ValueError
        If the fraction is outside 0 to 1, or the two have no species in common.
    """
    check_fraction("fraction", fraction)
    return Sum(Scaled(first, 1 - fraction), Scaled(second, fraction))


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
