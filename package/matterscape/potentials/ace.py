"""Linear atomic cluster expansion: atomic energies linear in invariant products of the neighbours' density."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii

from matterscape.checks import check_number, check_whole, real_array
from matterscape.kernels import launch, memory_limit
from matterscape.potentials._ace_derivative_kernels import (
    pair_functions,
    star_features,
    star_hessians,
    star_jacobians,
    star_third_derivatives,
)
from matterscape.potentials._ace_kernels import PAIR_CUTOFF, PAIR_END, PAIR_LENGTH, PAIR_START, accumulate
from matterscape.potentials._ace_products import Products, invariant_products
from matterscape.potentials._ace_reference import energies
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.local import local_operator
from matterscape.potentials.star import MAX_TERMS, StarPotential, Stars
from matterscape.potentials.third_order import StarBlocks, ThirdOrder
from matterscape.structures import Structures

# blocks of stars that third derivatives treat at a time: harmonics of displaced copies take the memory
_MAX_THIRD_TERMS = 50_000

#: One torch operator for all of them, see :func:`matterscape.potentials.local.local_operator`.
ace_operator = local_operator("linear_ace", energies=energies, accumulate=accumulate, half=False)


@dataclass(frozen=True, eq=False)
class ACEBasis:
    """Invariant functions of an atom's surroundings, up to products of three neighbours' densities (four bodies).

    The density of the neighbours of species z is expanded as A_znlm = sum_j R_n(r_ij) Y_lm(r_ij / |r_ij|), with
    Chebyshev polynomials R_n = T_n(x(r)) f(r) for n = 0 .. n_radial - 1. The functions are products of one, two, ... of
    these, coupled to invariants under rotations and inversion; each occurs once. All centres have the same functions,
    but coefficients for every species of the centre.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols.
    cutoff : float
        In Å. The cut-off function f falls smoothly from 1 at the bond length (or at 0, if that lies beyond the cut-off)
        to 0, with three continuous derivatives at both ends.
    max_radial : sequence of one to three int
        Number of radial functions in products of one, two and three factors; their number is that of the orders.
    max_angular : sequence of int
        Largest l in products of two and three factors, one number less than ``max_radial`` has.
    steepness : int
        Even power q of the transform y = 1 / (1 + a (r / r0)^q), a = (q - 1) / (q + 1), of which x is a linear function
        with x(0) = 1 and x(cutoff) = -1. The larger, the more of the radial resolution lies near the bond length r0.
    bond_lengths : mapping of (str, str) to float, optional
        r0 in Å of pairs of species, in either order; sums of covalent radii otherwise.

    Raises
    ------
    ValueError
        If a species is no chemical symbol, or a number is out of its range.

    Notes
    -----
    Small errors of forces do not make third derivatives right: for pairs just inside the cut-off these are large and
    hardly determined by the data. Silicon labelled with Tersoff's potential, which ends at 3.0 Å, is learnt by
    ``ACEBasis(("Si",), 3.0, (12, 8, 3), (5, 4), steepness=6)``, 474 functions, from 288 structures: in a glass that was
    not among them forces at 300 K to 0.02 eV/Å, frequencies to 0.02 THz, and conductivities (QHGK) to 1 %. With a
    cut-off of 3.05 Å forces are as good, but linewidths come out nearly three times too large (study 2402.06479).

    Source: R. Drautz, Phys. Rev. B 99, 014104 (2019); the transform is the Agnesi transform of W. C. Witt et al.,
    J. Chem. Phys. 159, 164101 (2023), with p = q.
    """

    species: Sequence[str]
    cutoff: float = 5.0
    max_radial: Sequence[int] = (12, 7, 4)
    max_angular: Sequence[int] = (6, 4)
    steepness: int = 4
    bond_lengths: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = numbers_of(self.species)
        check_number("cutoff", self.cutoff, "Å", positive=True)
        radial, angular = tuple(self.max_radial), tuple(self.max_angular)
        if not 1 <= len(radial) <= 3:
            raise ValueError(f"max_radial is {radial}; accepted are one to three numbers, one for each order")
        if len(angular) != len(radial) - 1:
            raise ValueError(f"max_angular is {angular}; accepted are {len(radial) - 1} numbers, for orders from 2 on")
        for number in radial:
            check_whole("max_radial", number, 1)
        for number in angular:
            check_whole("max_angular", number, 0)
        check_whole("steepness", self.steepness, 2, "even number")
        if self.steepness % 2:
            raise ValueError(f"steepness is {self.steepness}; accepted are even numbers from 2 on")
        lengths = {}
        for pair, length in self.bond_lengths.items():
            if len(pair) != 2 or not set(pair) <= set(self.species):
                raise ValueError(f"bond_lengths names {pair!r}; accepted are pairs of {', '.join(self.species)}")
            check_number(f"bond_lengths[{pair!r}]", length, "Å", positive=True)
            lengths[tuple(pair)] = lengths[tuple(pair)[::-1]] = float(length)
        for name, value in (
            ("species", tuple(chemical_symbols[number] for number in numbers)),
            ("cutoff", float(self.cutoff)),
            ("max_radial", radial),
            ("max_angular", angular),
            ("bond_lengths", lengths),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Atomic numbers of the species."""
        return numbers_of(self.species)

    @cached_property
    def products(self) -> Products:
        """The functions of one centre and the monomials that they consist of."""
        return invariant_products(len(self.species), self.max_radial, (0, *self.max_angular))

    @property
    def n_functions(self) -> int:
        """Number of functions of one centre."""
        return len(self.products.labels)

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients of a potential: functions times species of the centre."""
        return len(self.species) * self.n_functions

    @cached_property
    def penalties(self) -> np.ndarray:
        """Smoothness of the functions (n_functions,): 1 + sum over the factors of n^2 + l^2, of 1 for a constant.

        A prior that the coefficients fall as their inverses.
        """
        return np.array([1.0 + sum(n * n + angular * angular for _, n, angular in f) for f in self.products.labels])

    def parameters(self, atomic_energies: np.ndarray) -> np.ndarray:
        """Parameters in the layout of :mod:`matterscape.potentials._ace_kernels`."""
        n_species, n_radial = len(self.species), self.products.n_radial
        packed = np.zeros((3 + n_species**2, max(4, n_species, len(n_radial))))
        packed[0, :3] = n_species, len(n_radial) - 1, self.steepness // 2
        strength = (self.steepness - 1) / (self.steepness + 1)
        for a, centre in enumerate(self.species):
            for b, neighbour in enumerate(self.species):
                row = packed[1 + a * n_species + b]
                length = self.bond_lengths.get(
                    (centre, neighbour), covalent_radii[self.numbers[a]] + covalent_radii[self.numbers[b]]
                )
                row[PAIR_CUTOFF], row[PAIR_LENGTH] = self.cutoff**2, length
                row[PAIR_START] = length if length < self.cutoff else 0.0
                row[PAIR_END] = 1 / (1 + strength * (self.cutoff / length) ** self.steepness)
        packed[1 + n_species**2, : len(n_radial)] = n_radial
        packed[2 + n_species**2, :n_species] = atomic_energies
        return packed

    def tables(self, coefficients: np.ndarray) -> np.ndarray:
        """Monomials with their coefficients, in the same layout."""
        products = self.products
        weighted = (
            products.weights[:, None] * np.reshape(coefficients, (len(self.species), -1))[:, products.functions].T
        )
        return np.concatenate([products.factors, weighted], axis=1)[None]


class LinearACE(StarPotential):
    """Atomic energies U_i = E0 + sum_f c_f B_f(surroundings of i), with coefficients and E0 of the centre's species.

    Parameters
    ----------
    basis : ACEBasis
    coefficients : array (n_coefficients,)
        In eV, those of the first species first; see :func:`matterscape.models.ace_fit.fit_ace`.
    atomic_energies : array (n_species,), optional
        E0 in eV; zero if not given.

    Raises
    ------
    TypeError
        If the basis is something else.
    ValueError
        If there is another number of coefficients or energies, or one is not finite.

    Source: R. Drautz, Phys. Rev. B 99, 014104 (2019).
    """

    operator = ace_operator
    accumulate = staticmethod(accumulate)
    half = False

    def __init__(self, basis: ACEBasis, coefficients: np.ndarray, atomic_energies: np.ndarray | None = None):
        if not isinstance(basis, ACEBasis):
            raise TypeError(f"basis is a {type(basis).__name__}; accepted is an ACEBasis")
        n_species = len(basis.species)
        given = np.zeros(n_species) if atomic_energies is None else atomic_energies
        self.basis = basis
        self.coefficients = _finite("coefficients", coefficients, basis.n_coefficients)
        self.atomic_energies = _finite("atomic_energies", given, n_species)
        super().__init__(
            species=basis.numbers,
            cutoff=basis.cutoff,
            parameters=torch.from_numpy(basis.parameters(self.atomic_energies)),
            tables=torch.from_numpy(basis.tables(self.coefficients)),
        )

    def hessian(self, structures: Structures) -> ForceConstants:
        """Second derivatives of the energy, exact to rounding.

        Parameters
        ----------
        structures : Structures
            Any cell: images of an atom are pairs of their own.

        Returns
        -------
        ForceConstants
            In float64, whatever the dtype of the positions.

        Raises
        ------
        ValueError
            If a species has no parameters.
        """
        stars = _Pairs(self, structures)
        total = None
        for start, stop in stars.portions(MAX_TERMS):
            blocks = StarBlocks(stars.offsets, stars.atoms, stars.shifts, start, stop)
            terms = np.empty((blocks.offsets[-1], 3, 3))
            functions = stars.functions(start, stop, curvatures=True)
            with launch():
                star_hessians(*stars.of(start, stop), functions, *self._polynomial, stars.chunks, blocks.offsets, terms)
            part = blocks.collect(terms, structures)
            total = part if total is None else total + part
        return total

    def third_order(self, structures: Structures, step: float = 1e-4) -> ThirdOrder:
        """Third derivatives of the energy.

        Parameters
        ----------
        structures : Structures
        step : float
            Displacement in Å of the central difference that the part of single neighbours is; all else is exact.

        Returns
        -------
        ThirdOrder
            Its ``index_asymmetry`` measures the error.

        Raises
        ------
        ValueError
            If a species has no parameters, the step is not a positive, finite number, or the derivatives would not fit
            into memory: 4.5 n^3 numbers for each atom with n neighbours inside the cut-off.
        """
        check_number("step", step, "Å", positive=True)
        stars = _Pairs(self, structures)
        sizes = 3 * np.diff(stars.offsets)
        value_offsets = np.concatenate([[0], np.cumsum(sizes * (sizes + 1) * (sizes + 2) // 6)])
        if 8 * value_offsets[-1] > 0.5 * memory_limit():
            raise ValueError(
                f"structures have stars of up to {sizes.max() // 3} neighbours, whose third derivatives take "
                f"{8e-9 * value_offsets[-1]:.1f} GB; accepted is half of this machine's memory"
            )
        values = np.empty(value_offsets[-1])
        asymmetry = 0.0
        for start, stop in stars.portions(_MAX_THIRD_TERMS):
            functions = stars.functions(start, stop, curvatures=True)
            moved = stars.functions(start, stop, curvatures=True, step=step)
            with launch():
                spread = star_third_derivatives(
                    *stars.of(start, stop),
                    functions,
                    moved,
                    float(step),
                    *self._polynomial,
                    stars.chunks,
                    value_offsets[start : stop + 1],
                    values,
                )
            asymmetry = max(asymmetry, float(spread))
        return ThirdOrder(stars.offsets, stars.atoms, stars.shifts, value_offsets, values, structures, asymmetry)

    @property
    def _polynomial(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Parameters, monomials (M, 3) and their coefficients (S, M), as the kernels of derivatives want them."""
        monomials = self.tables[0].numpy()
        values = np.ascontiguousarray(monomials[:, 3:].T)
        return self.parameters.numpy(), monomials[:, :3].astype(np.int64), values


@dataclass(frozen=True)
class ACERows:
    """What a linear fit sees of one structure, with columns for the functions of each species of the centre.

    Attributes
    ----------
    features : ndarray (n_atoms, n_functions)
        Functions of each atom.
    energy : ndarray (n_coefficients,)
        Functions summed over the atoms of each species.
    jacobian : ndarray (3 n_atoms, n_coefficients)
        Derivatives of ``energy`` with respect to the positions, in 1/Å.
    virials : ndarray (9, n_coefficients)
        sum over the pairs of r^a dB/dr^b, in row 3 a + b: derivatives of ``energy`` with respect to strain.
    """

    features: np.ndarray
    energy: np.ndarray
    jacobian: np.ndarray
    virials: np.ndarray


def ace_features(basis: ACEBasis, structures: Structures) -> np.ndarray:
    """The functions of every atom, (n_atoms, n_functions).

    Raises
    ------
    ValueError
        If an atom is of a species that the basis does not have.
    """
    stars = _Pairs(LinearACE(basis, np.zeros(basis.n_coefficients)), structures)
    products = basis.products
    features = np.empty((structures.n_atoms, basis.n_functions))
    for start, stop in stars.portions(MAX_TERMS):
        functions = stars.functions(start, stop, curvatures=False)
        with launch():
            star_features(
                *stars.of(start, stop),
                functions,
                stars.parameters,
                products.factors,
                products.functions,
                products.weights,
                features[start:stop],
            )
    return features


def ace_rows(basis: ACEBasis, structures: Structures) -> ACERows:
    """The functions of one structure with their derivatives.

    Raises
    ------
    ValueError
        If there is more than one structure, or an atom is of a species that the basis does not have.
    """
    stars = _Pairs(LinearACE(basis, np.zeros(basis.n_coefficients)), structures)
    if structures.n_structures != 1:
        raise ValueError(f"structures holds {structures.n_structures} structures; accepted is one")
    products, n_atoms = basis.products, structures.n_atoms
    features = np.empty((n_atoms, basis.n_functions))
    jacobian, virials = np.zeros((3 * n_atoms, basis.n_coefficients)), np.zeros((9, basis.n_coefficients))
    offsets, types, centre_types = stars.of(0, n_atoms)
    with launch():
        star_jacobians(
            offsets,
            stars.atoms,
            types,
            centre_types,
            stars.vectors,
            stars.functions(0, n_atoms, curvatures=False),
            stars.parameters,
            products.factors,
            products.functions,
            products.weights,
            features,
            jacobian,
            virials,
        )
    energy = np.zeros((len(basis.species), basis.n_functions))
    np.add.at(energy, centre_types, features)
    return ACERows(features, energy.reshape(-1), jacobian, virials)


class _Pairs(Stars):
    """The stars of all atoms, pair by pair."""

    def __init__(self, potential: LinearACE, structures: Structures):
        super().__init__(potential, structures)
        positions, types, _, neighbours, self.parameters, _, _, self.chunks = self.arguments
        centres = np.repeat(np.arange(structures.n_atoms), np.diff(self.offsets))
        self.vectors = positions[neighbours] - positions[centres]
        self._types, self._centre_types = types[neighbours], types[: structures.n_atoms]
        self._rows = 1 + types[centres] * len(potential.basis.species) + self._types

    def of(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets, types of the neighbours and of the centres, for a range of centres."""
        offsets = self.offsets[start : stop + 1]
        return offsets - offsets[0], self._types[offsets[0] : offsets[-1]], self._centre_types[start:stop]

    def functions(self, start: int, stop: int, *, curvatures: bool, step: float | None = None):
        """:func:`pair_functions` of a range of centres, or of six copies displaced along +x, -x, +y, ... ."""
        own = slice(self.offsets[start], self.offsets[stop])
        vectors, rows = self.vectors[own], self._rows[own]
        if step is not None:
            moves = step * np.repeat(np.eye(3), 2, axis=0) * np.tile([1.0, -1.0], 3)[:, None]
            vectors = (vectors + moves[:, None]).reshape(-1, 3)
            rows = np.tile(rows, 6)
        return pair_functions(vectors, rows, self.parameters, curvatures)


def _finite(name: str, values: np.ndarray, size: int) -> np.ndarray:
    values = real_array(name, values)
    if values.shape != (size,) or not np.isfinite(values).all():
        raise ValueError(f"{name} has shape {values.shape}; accepted are {size} finite numbers")
    return values
