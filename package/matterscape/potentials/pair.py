"""Pair potentials: any of the functional forms between any two species, with or without Coulomb, in one pass.

U = 1/2 sum_ij phi(r_ij), shared equally by the two atoms. A potential is a table with one row of parameters per ordered
pair of types; :class:`~matterscape.potentials.lennard_jones.LennardJones` and its like fill it. Charges enter the same
pass: :meth:`PairPotential.with_coulomb` adds the real-space part of an Ewald sum to what is there,
:meth:`PairPotential.with_damped_shifted_coulomb` the strictly pairwise sum of Fennell and Gezelter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from matterscape.checks import check_number
from matterscape.potentials import _radial
from matterscape.potentials._pair_kernels import accumulate
from matterscape.potentials._pair_reference import BLOCKS, energies, pair_derivatives, pair_energies
from matterscape.potentials._pair_table import Pair, block, checked_charges, symbols_of, unordered
from matterscape.potentials._symbols import atomic_number, numbers_of
from matterscape.potentials.base import Bound, Evaluation
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.local import LocalPotential, local_operator
from matterscape.structures import NeighbourLists, Structures, extended_pairs

if TYPE_CHECKING:
    from matterscape.potentials.force_constants import ForceConstants


class PairPotential(LocalPotential):
    """Sum over pairs of atoms of a function of their distance.

    Sums and functional forms are evaluated in float64; with positions in float32, energies and forces are accurate to
    about 2e-5 of the largest among them.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols.
    forms : mapping
        ``{(symbol, symbol): {name of a form: its block of parameters}}``, from :func:`block`; pairs that are not there
        do not interact.
    charges : mapping, optional
        ``{symbol: charge}`` in elementary charges. They are kept for :meth:`with_coulomb` and its like, and their full
        interaction decides where two atoms are too close; by themselves they add no energy.
    closest : mapping, optional
        ``{(symbol, symbol): distance}`` in Å below which a pair is refused. Without it that is the inner turning point
        of the pair: inside of it, r^-6, r^-8 and opposite charges win over an exponential wall.
    self_energies : mapping, optional
        ``{symbol: energy}`` in eV that every atom has by itself.
    name : str, optional
        How error messages call the potential.

    Attributes
    ----------
    symbols : tuple of str
    charges : dict or None
    forms : dict
        As given.

    Raises
    ------
    ValueError
        If a symbol is unknown or there twice, a charge is missing, or a form or its pair is unknown.
    """

    operator = local_operator("pair", energies=energies, accumulate=accumulate, half=True)
    accumulate = staticmethod(accumulate)
    half = True

    def __init__(
        self,
        species: Sequence[str],
        forms: Mapping[Pair, Mapping[str, Sequence[float]]],
        *,
        charges: Mapping[str, float] | None = None,
        closest: Mapping[Pair, float] | None = None,
        self_energies: Mapping[str, float] | None = None,
        name: str | None = None,
    ):
        numbers = numbers_of(species)
        self.symbols = tuple(species)
        self.charges = None if charges is None else checked_charges(charges, self.symbols)
        self.forms = {unordered(pair): dict(blocks) for pair, blocks in forms.items()}
        for pair, blocks in self.forms.items():
            for what, names, known in (("species", pair, self.symbols), ("form", blocks, BLOCKS)):
                for unknown in set(names) - set(known):
                    raise ValueError(
                        f"forms of {'-'.join(pair)} have the {what} {unknown!r}; accepted are {', '.join(known)}"
                    )
        self.closest = {unordered(pair): float(distance) for pair, distance in (closest or {}).items()}
        self.self_energies = dict(self_energies or {})
        self.name = name or type(self).__name__
        table = torch.stack([self._row(a, b) for a in self.symbols for b in self.symbols])
        super().__init__(
            species=numbers,
            cutoff=float(table[:, _radial.CUTOFF_SQUARED].max().sqrt()),
            parameters=table,
        )
        self._own = torch.tensor([self.self_energies.get(symbol, 0.0) for symbol in self.symbols], dtype=torch.float64)

    def __str__(self) -> str:
        return self.name

    def with_coulomb(
        self, charges: Mapping[str, float] | None = None, *, alpha: float, cutoff: float
    ) -> "PairPotential":
        """The same potential with q_i q_j e^2 erfc(alpha r) / r between all pairs, computed in the same pass.

        This is the real-space part of an Ewald sum; the waves and the self-energies are not included.

        Parameters
        ----------
        charges : mapping, optional
            ``{symbol: charge}`` in elementary charges for every species; the potential's own if not given.
        alpha : float
            Inverse width of the screening in 1/Å; 0 gives the bare, truncated Coulomb interaction.
        cutoff : float
            In Å.

        Raises
        ------
        ValueError
            If there are no charges for a species, alpha is negative or the cutoff is not positive.
        """
        charges = self._chosen_charges(charges)
        return self._altered(charges=charges).fused_with(coulomb(charges, alpha=alpha, cutoff=cutoff))

    def with_damped_shifted_coulomb(
        self, charges: Mapping[str, float] | None = None, *, alpha: float, cutoff: float
    ) -> "PairPotential":
        """The same potential with :func:`damped_shifted_coulomb` between all pairs, computed in the same pass.

        Parameters
        ----------
        charges : mapping, optional
            ``{symbol: charge}`` in elementary charges for every species; the potential's own if not given.
        alpha : float
            Damping in 1/Å.
        cutoff : float
            In Å.

        Raises
        ------
        ValueError
            As :meth:`with_coulomb`.
        """
        charges = self._chosen_charges(charges)
        return self._altered(charges=charges).fused_with(damped_shifted_coulomb(charges, alpha=alpha, cutoff=cutoff))

    def fused_with(self, other: "PairPotential") -> "PairPotential":
        """Sum of two pair potentials of the same species, computed in one pass.

        Raises
        ------
        ValueError
            If their species differ, or both have the same functional form between the same two species.
        """
        if set(self.symbols) != set(other.symbols):
            raise ValueError(
                f"other has the species {', '.join(other.symbols)}; accepted are those of {self}, "
                f"{', '.join(self.symbols)}"
            )
        forms = {pair: dict(blocks) for pair, blocks in self.forms.items()}
        for pair, blocks in other.forms.items():
            for form, values in blocks.items():
                if form in forms.setdefault(pair, {}):
                    raise ValueError(
                        f"other has a {form} interaction between {pair[0]} and {pair[1]}, and so has {self}; only one "
                        "of a kind fits in one pass, use + for more"
                    )
                forms[pair][form] = values
        return PairPotential(
            self.symbols,
            forms,
            charges=other.charges if self.charges is None else self.charges,
            closest=self.closest | other.closest,
            self_energies={
                symbol: self.self_energies.get(symbol, 0.0) + other.self_energies.get(symbol, 0.0)
                for symbol in self.symbols
                if self.self_energies or other.self_energies
            },
            name=f"{self} + {other}",
        )

    def refusing(self, closest: Mapping[Pair, float]) -> "PairPotential":
        """The same potential, which refuses pairs closer than these distances in Å.

        Raises
        ------
        ValueError
            If a species is unknown or a distance is not a positive number.
        """
        for (a, b), distance in closest.items():
            self._index(a, b)
            check_number(f"closest distance of {a}-{b}", distance, "Å", positive=True)
        closest = {unordered(pair): distance for pair, distance in closest.items()}
        return self._altered(closest=self.closest | dict(closest))

    def closest_distance(self, a: str, b: str) -> float:
        """Distance in Å below which two atoms of these species are refused; 0 if they never are."""
        return math.sqrt(self.parameters[self._index(a, b), _radial.CLOSEST_SQUARED])

    def pair_energy(self, a: str, b: str, distances: torch.Tensor) -> torch.Tensor:
        """phi of two species in eV at distances (n,) in Å, differentiable: the bare curve."""
        rows = torch.full(distances.shape, self._index(a, b), device=distances.device)
        return pair_energies(distances, rows, self.parameters.to(distances))

    def __call__(self, structures: Structures) -> Evaluation:
        """See :meth:`matterscape.potentials.base.Potential.__call__`."""
        result = super().__call__(structures)
        if not self.self_energies:
            return result
        own = self._own.to(result.energies)[self.types(structures.species)]
        return replace(result, energies=result.energies + own)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`matterscape.potentials.base.Potential.bind`."""
        bound = super().bind(structures, lists)
        if not self.self_energies:
            return bound
        return _BoundWithSelfEnergies(bound, self._own[self.types(structures.species).cpu()].numpy())

    def hessian(self, structures: Structures) -> "ForceConstants":
        """Force constants from the analytic first and second derivative of phi.

        Parameters
        ----------
        structures : Structures

        Returns
        -------
        ForceConstants
        """
        from matterscape.potentials.force_constants import ForceConstants

        self.check(structures)
        pairs = extended_pairs(structures, self.cutoff, half=True)
        n_centres = len(pairs.offsets) - 1
        first = torch.repeat_interleave(torch.arange(n_centres, device=pairs.offsets.device), pairs.offsets.diff())
        second = pairs.second.long()
        points = pairs.positions(structures).detach().double()
        vectors = points[second] - points[first]
        types = self.types(structures.species)[pairs.owners]
        r = vectors.norm(dim=1)
        rows = types[first] * len(self.symbols) + types[second]
        _, slope, curvature = pair_derivatives(r, rows, self.parameters.to(r))
        along = torch.einsum("pa,pb->pab", vectors, vectors) / (r**2)[:, None, None]
        across = torch.eye(3).to(r) - along
        block = (curvature[:, None, None] * along + (slope / r)[:, None, None] * across).cpu().numpy()
        i, j = first.cpu().numpy(), pairs.owners[second].cpu().numpy()
        shifts = (pairs.shifts[second] - pairs.shifts[first]).cpu().numpy()
        here = np.zeros_like(shifts)
        return ForceConstants.from_terms(
            np.concatenate([i, j, i, j]),
            np.concatenate([j, i, i, j]),
            np.concatenate([shifts, -shifts, here, here]),
            np.concatenate([-block, -block, block, block]),
            structures,
        )

    def _index(self, a: str, b: str) -> int:
        """Row of the table of parameters."""
        for symbol in (a, b):
            if symbol not in self.symbols:
                raise ValueError(f"species {symbol!r} is not in {self}; accepted are {', '.join(self.symbols)}")
        return self.symbols.index(a) * len(self.symbols) + self.symbols.index(b)

    def _chosen_charges(self, charges: Mapping[str, float] | None) -> dict[str, float]:
        if charges is not None:
            return checked_charges(charges, self.symbols)
        if self.charges is None:
            raise ValueError(f"charges is None, and {self} has none; accepted is a charge for each of its species")
        return self.charges

    def _altered(self, **changes: Any) -> "PairPotential":
        options = {"charges": self.charges, "closest": self.closest, "self_energies": self.self_energies}
        return PairPotential(self.symbols, self.forms, name=self.name, **(options | changes))

    def _row(self, a: str, b: str) -> torch.Tensor:
        row = torch.zeros(_radial.N_COLUMNS, dtype=torch.float64)
        blocks = self.forms.get(unordered((a, b)), {})
        for form, values in blocks.items():
            row[BLOCKS[form]] = torch.tensor(values, dtype=torch.float64)
        if not blocks:
            return row
        row[_radial.CUTOFF_SQUARED] = max(values[_radial.CUTOFF] for values in blocks.values()) ** 2
        switched = any(values[_radial.SWITCH] < values[_radial.CUTOFF] for values in blocks.values())
        row[_radial.NEEDS_DISTANCES] = float(switched or set(blocks) != {"Lennard-Jones"})
        closest = self.closest.get(unordered((a, b)))
        row[_radial.CLOSEST_SQUARED] = (self._turning_point(row, a, b) if closest is None else closest) ** 2
        return row

    def _turning_point(self, row: torch.Tensor, a: str, b: str) -> float:
        """Where the energy of a pair, its full Coulomb energy included, ceases to rise inwards; 0 if it never does."""
        bare, charge = row.clone(), 0.0
        if self.charges is not None:
            charge = COULOMB * self.charges[a] * self.charges[b]
            bare[BLOCKS["Coulomb"]] = 0.0

        def phi(r):
            r = torch.as_tensor(np.atleast_1d(r), dtype=torch.float64)
            return (pair_energies(r, torch.zeros(len(r), dtype=torch.int64), bare[None]) + charge / r).numpy()

        grid = np.geomspace(1e-2, 0.999 * math.sqrt(row[_radial.CUTOFF_SQUARED]), 2000)
        falls = np.diff(phi(grid)) < 0
        if falls[0] or not falls.any():  # a wall all the way, or attraction throughout
            return 0.0
        k = int(falls.argmax())
        return float(minimize_scalar(lambda r: -phi(r)[0], bounds=grid[[k - 1, k + 1]], options={"xatol": 1e-10}).x)


class _BoundWithSelfEnergies(Bound):
    def __init__(self, bound: Bound, own: np.ndarray):
        self.bound, self.own = bound, own

    def add(self, positions, cells, energies, forces, pieces):
        self.bound.add(positions, cells, energies, forces, pieces)
        energies += self.own


def coulomb(charges: Mapping[str, float], *, alpha: float, cutoff: float) -> PairPotential:
    """Real-space part of an Ewald sum, q_i q_j e^2 erfc(alpha r) / r; the bare, truncated interaction for alpha = 0.

    Parameters
    ----------
    charges : mapping
        ``{symbol: charge}`` in elementary charges.
    alpha : float
        In 1/Å.
    cutoff : float
        In Å.

    Raises
    ------
    ValueError
        If a charge is not finite, alpha is negative or the cutoff is not positive.
    """
    return _charged_pairs(charges, alpha, cutoff, 0.0, 0.0, 0.0, "Coulomb")


def damped_shifted_coulomb(charges: Mapping[str, float], *, alpha: float, cutoff: float) -> PairPotential:
    """Damped, shifted-force Coulomb interaction: strictly pairwise and local.

    phi(r) = q_i q_j e^2 [v(r) - v(R) - v'(R) (r - R)] with v(r) = erfc(alpha r) / r, so that energy and force vanish at
    the cutoff R; every atom has the self-energy q_i^2 e^2 {[v'(R) R - v(R)] / 2 - alpha / sqrt(pi)}, half of what phi
    lacks to the bare interaction as r goes to zero.

    Parameters
    ----------
    charges : mapping
        ``{symbol: charge}`` in elementary charges.
    alpha : float
        Damping in 1/Å.
    cutoff : float
        R in Å.

    Raises
    ------
    ValueError
        As :func:`coulomb`.

    Source: C. J. Fennell, J. D. Gezelter, J. Chem. Phys. 124, 234104 (2006); self-energy as in D. Wolf et al.,
    J. Chem. Phys. 110, 8254 (1999), for this interaction.
    """
    check_number("alpha", alpha, "1/Å")
    check_number("cutoff", cutoff, "Å", positive=True)
    value = math.erfc(alpha * cutoff) / cutoff
    slope = -(value + 2 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * cutoff) ** 2))) / cutoff
    constant = slope * cutoff - value
    own = 0.5 * constant - alpha / math.sqrt(math.pi)
    return _charged_pairs(charges, alpha, cutoff, constant, -slope, own, "damped shifted Coulomb")


def _charged_pairs(
    charges: Mapping[str, float], alpha: float, cutoff: float, c0: float, c1: float, own: float, name: str
) -> PairPotential:
    check_number("alpha", alpha, "1/Å")
    symbols = tuple(charges)
    charges = checked_charges(charges, symbols)
    forms = {
        (a, b): {"Coulomb": block(cutoff, [COULOMB * charges[a] * charges[b], alpha, c0, c1])}
        for k, a in enumerate(symbols)
        for b in symbols[k:]
    }
    self_energies = {symbol: own * COULOMB * charge**2 for symbol, charge in charges.items()} if own else None
    return PairPotential(symbols, forms, charges=charges, self_energies=self_energies, name=name)


def by_species(table: Mapping[Pair, PairPotential | None]) -> PairPotential:
    """One pair potential that takes the interaction of each two species from another one, computed in one pass.

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): potential}`` for every pair of the species that occur; None means no interaction.

    Returns
    -------
    PairPotential
        With the charges and self-energies that the potentials bring along.

    Raises
    ------
    TypeError
        If an entry is something else.
    ValueError
        If a pair is missing, a potential has no parameters for its pair, or two potentials give a species different
        charges or self-energies.
    """
    symbols_of(table)
    for (a, b), potential in table.items():
        if potential is not None and not isinstance(potential, PairPotential):
            raise TypeError(f"table[{a}, {b}] is a {type(potential).__name__}; accepted is a pair potential, or None")
    chosen = {unordered(pair): potential for pair, potential in table.items()}
    symbols = sorted({symbol for pair in chosen for symbol in pair}, key=atomic_number)
    forms, closest, charges, self_energies = {}, {}, {}, {}
    for k, a in enumerate(symbols):
        for b in symbols[k:]:
            pair = unordered((a, b))
            if pair not in chosen:
                raise ValueError(f"table has no entry for {a}-{b}; accepted is a potential, or None, for every pair")
            potential = chosen[pair]
            if potential is None:
                continue
            if pair not in potential.forms:
                raise ValueError(f"table[{a}, {b}] is {potential}, which has no interaction between {a} and {b}")
            forms[pair] = potential.forms[pair]
            if pair in potential.closest:
                closest[pair] = potential.closest[pair]
            for name, taken, given in (
                ("charge", charges, potential.charges or {}),
                ("self-energy", self_energies, {symbol: potential.self_energies.get(symbol, 0.0) for symbol in pair}),
            ):
                for symbol in set(pair) & set(given):
                    if taken.setdefault(symbol, given[symbol]) != given[symbol]:
                        raise ValueError(
                            f"table[{a}, {b}] gives {symbol} the {name} {given[symbol]:g}, and another entry "
                            f"{taken[symbol]:g}; accepted is one {name} for a species"
                        )
    name = "by species (" + ", ".join(sorted({str(p) for p in chosen.values() if p is not None})) + ")"
    return PairPotential(
        symbols,
        forms,
        charges=charges or None,
        closest=closest,
        self_energies=self_energies if any(self_energies.values()) else None,
        name=name,
    )
