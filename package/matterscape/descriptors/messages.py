r"""Correlations of several centres: bonds, messages from neighbours, and atoms that listen to them.

With the expansion g_ij of a neighbour, correlations :math:`\rho_i^{\otimes\nu}` of its density
:math:`\rho_i = \sum_j g_ij`, and all Clebsch-Gordan products :math:`\otimes`:

- bonds: :math:`\rho_i^{\otimes\nu} \otimes g_{ij} \otimes \rho_j^{\otimes\nu_1}`, one row for every ordered pair;
- messages: :math:`M_i^{(\nu_1)} = \sum_j g_{ij} \otimes \rho_j^{\otimes\nu_1}`;
- what an atom makes of them:
  :math:`\rho_i^{[\nu \leftarrow (\nu_1, \nu_2, ...)]} = \rho_i^{\otimes\nu} \otimes M_i^{(\nu_1)} \otimes ...`.

Such features take the place of :math:`\rho_j^{\otimes\nu_1}` in a second round of messages.

Reference: Nigam, Pozdnyakov, Fraux, Ceriotti, J. Chem. Phys. 156, 204115 (2022).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from matterscape.checks import check_whole
from matterscape.descriptors.coupling import check_index
from matterscape.descriptors.equivariants import Equivariants, Key, correlations, product
from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.descriptors.pair_expansion import expand_pairs
from matterscape.kernels import memory_limit
from matterscape.structures import Pairs, Structures

BLOCK_BYTES = 2**27  # of the widest features on the way, when nothing needs all atoms at once


def bond_expansion(
    expansion: SphericalExpansion, structures: Structures, pairs: Pairs | None = None, *, species_channels: bool = True
) -> Equivariants:
    """Expansion g_ij of every neighbour, as equivariant features whose samples are the ordered pairs.

    Parameters
    ----------
    expansion : SphericalExpansion
    structures : Structures
    pairs : Pairs, optional
        The neighbours within the cutoff, where they are known already. Found anew if not given.
    species_channels : bool
        Whether the channels are those of the density, or the radial functions only.

    Returns
    -------
    Equivariants
        Labels as of the density; differentiable in positions and strain.

    Raises
    ------
    ValueError
        If a species occurs that the expansion was not made for, or the pairs do not fit into memory.
    """
    channels = expansion.channels
    if not species_channels:
        channels = channels[: expansion.max_radial][["n"]]
    return Equivariants.from_density(
        expand_pairs(expansion, structures, pairs, species_channels=species_channels), channels
    )


def message(
    pairs: Pairs,
    bonds: Equivariants,
    neighbours: Equivariants,
    max_angular: int | None = None,
    *,
    only: Collection[Key] | None = None,
    centres: torch.Tensor | None = None,
) -> Equivariants:
    r"""What the neighbours of every atom say: :math:`\sum_j g_{ij} \otimes h_j`.

    The products of single bonds are never stored. Periodic images of the atom itself are neighbours too.

    Parameters
    ----------
    pairs : Pairs
        All ordered pairs (i, j).
    bonds : Equivariants, samples (pairs,)
        g_ij, as of :func:`bond_expansion`.
    neighbours : Equivariants, samples (n_atoms,)
        h_j: correlations of any order, or features that hold messages themselves.
    max_angular : int, optional
        Largest degree of the result; the largest that occurs if not given.
    only : collection of (int, int), optional
        The blocks (sigma, l) that are wanted; all if not given.
    centres : tensor (n_centres,), int64, optional
        The atoms that listen, each once; all of them if not given.

    Returns
    -------
    Equivariants, samples (n_atoms,) or (n_centres,)
        Zeros for an atom without neighbours. The labels number the bond 1 and the factors of the neighbour on from 2.

    Raises
    ------
    ValueError
        If bonds or neighbours are not those of the pairs, the largest l of the neighbours is below that of the bonds,
        an atom listens twice, or the result does not fit into memory.
    """
    _check_samples("bonds", bonds, len(pairs), "pairs")
    n_atoms = len(pairs.offsets) - 1
    _check_samples("neighbours", neighbours, n_atoms, "atoms of the pairs")
    if neighbours.max_angular < bonds.max_angular:
        raise ValueError(
            f"neighbours have max_angular {neighbours.max_angular} and bonds {bonds.max_angular}; accepted are "
            "neighbours that have all l of the bonds: restrict the bonds if fewer are wanted"
        )
    first, second = pairs.first, pairs.second
    if centres is not None:
        check_index("centres", centres, n_atoms)
        rows = torch.full((n_atoms,), -1, device=first.device)
        rows[centres] = torch.arange(len(centres), device=first.device)
        if int((rows >= 0).sum()) != len(centres):
            raise ValueError(f"centres name {len(centres)} atoms, some of them twice; accepted is each atom once")
        chosen = (rows[first] >= 0).nonzero()[:, 0]
        bonds, first, second, n_atoms = bonds.take(chosen), rows[first[chosen]], second[chosen], len(centres)
    _check_memory("messages", n_atoms, bonds, neighbours, max_angular, only)
    return product(
        bonds, neighbours, max_angular, only=only, second_index=second, target_index=first, n_targets=n_atoms
    )


def bond_features(
    pairs: Pairs,
    bonds: Equivariants,
    first: Equivariants | None = None,
    second: Equivariants | None = None,
    max_angular: int | None = None,
    *,
    only: Collection[Key] | None = None,
) -> Equivariants:
    r"""Features of two centres, one row for every ordered pair: :math:`h_i \otimes g_{ij} \otimes h_j`.

    Without the second atom's features, their sum over j is the next order of correlations of the first; without the
    first atom's, it is the message. Both are left uncontracted here, as for the elements of a Hamiltonian between
    atomic orbitals.

    Parameters
    ----------
    pairs : Pairs
        All ordered pairs (i, j).
    bonds : Equivariants, samples (pairs,)
        g_ij, as of :func:`bond_expansion`.
    first, second : Equivariants, samples (n_atoms,), optional
        h_i and h_j; left out of the product if not given.
    max_angular : int, optional
        Largest degree that is kept; the largest that occurs if not given.
    only : collection of (int, int), optional
        The blocks (sigma, l) that are wanted; all if not given.

    Returns
    -------
    Equivariants, samples (pairs,)

    Raises
    ------
    ValueError
        If neither atom has features, they are not those of the pairs, or the result does not fit into memory.
    """
    if first is None and second is None:
        raise ValueError("first and second are None; accepted are features of one of the atoms at least")
    _check_samples("bonds", bonds, len(pairs), "pairs")
    for name, features in (("first", first), ("second", second)):
        if features is not None:
            _check_samples(name, features, len(pairs.offsets) - 1, "atoms of the pairs")
    result = bonds
    if first is not None:
        wanted = only if second is None else None
        _check_memory("bonds", len(pairs), first, bonds, max_angular, wanted)
        result = product(first, bonds, max_angular, only=wanted, first_index=pairs.first)
    if second is not None:
        _check_memory("bonds", len(pairs), result, second, max_angular, only)
        result = product(result, second, max_angular, only=only, second_index=pairs.second)
    return result


class Term(NamedTuple):
    r"""Which correlations of an atom and messages from its neighbours are multiplied.

    ``Term(2)`` is the correlation of order two of one centre, ``Term(1, (1,))`` is
    :math:`\rho_i^{[1 \leftarrow 1]}`, ``Term(0, (1, 1))`` the product of two messages.
    """

    order: int
    messages: tuple[int, ...] = ()

    @property
    def body_order(self) -> int:
        """Number of atoms that one summand depends on at most: the centre, its neighbours, and theirs."""
        return 1 + self.order + sum(1 + order for order in self.messages)

    @property
    def reach(self) -> int:
        """How many cut-offs away from the centre an atom may be that the term depends on."""
        return 2 if self.messages else 1

    def __str__(self) -> str:
        return f"[{self.order} <- {', '.join(map(str, self.messages))}]" if self.messages else f"[{self.order}]"


class MessageInvariants:
    """Invariants of atoms made of their own correlations and of messages from their neighbours.

    Parameters
    ----------
    expansion : SphericalExpansion
        Of densities and bonds.
    terms : sequence of Term or (int, tuple of int)
        Blocks of features, one after the other.
    parities : tuple of int
        1 for scalars, -1 for pseudoscalars, which change their sign under inversion.
    max_angular : int, optional
        Largest degree at every step; that of the expansion if not given, which leaves nothing out of orders up to three
        without a message, of ``Term(0, (1,))``, ``Term(0, (2,))`` and ``Term(1, (1,))``.
    contraction : mapping of (int, int) to tensor (channels, kept), optional
        Linear combinations of the channels of a neighbour's density that are passed on, for messages of order one;
        everything is if not given.

    Raises
    ------
    ValueError
        If a term has no factor, an order is not a whole number, or a parity is not 1 or -1.

    References
    ----------
    Nigam, Pozdnyakov, Fraux, Ceriotti, J. Chem. Phys. 156, 204115 (2022).
    """

    def __init__(
        self,
        expansion: SphericalExpansion,
        terms: Sequence[Term | tuple[int, tuple[int, ...]]],
        *,
        parities: tuple[int, ...] = (1,),
        max_angular: int | None = None,
        contraction: Mapping[Key, torch.Tensor] | None = None,
    ):
        self.expansion = expansion
        self.terms = tuple(_checked_term(term) for term in terms)
        if not self.terms:
            raise ValueError("terms are empty; accepted is at least one, such as Term(1, (1,))")
        if not parities or any(parity not in (1, -1) for parity in parities):
            raise ValueError(f"parities are {parities!r}; accepted are (1,), (-1,) and (1, -1)")
        if max_angular is not None:
            check_whole("max_angular", max_angular, 0)
        self.parities = tuple(parities)
        self.max_angular = expansion.max_angular if max_angular is None else int(max_angular)
        self.contraction = contraction
        none = torch.empty(0, dtype=torch.int64)
        nobody = Pairs(none, none, none.reshape(0, 3), torch.empty(0, 3, dtype=torch.float64), torch.zeros(1).long())
        size = (expansion.max_angular + 1) ** 2
        empty = torch.empty(0, size, expansion.n_channels, dtype=torch.float64)
        density = Equivariants.from_density(empty, expansion.channels)
        # features of no atoms at all: what the columns are, and how wide the rows on the way get
        self._widest, self._wanted = 0, [(1, 0), (-1, 0)]
        blocks = {term: self._term(term, *parts) for term, parts in self._parts(nobody, density, density)}
        self._wanted = [(parity, 0) for parity in self.parities]
        for term, block in blocks.items():
            if not block.keys() & set(self._wanted):
                raise ValueError(f"parities are {self.parities}; accepted are those of {term}, {[s for s, _ in block]}")
        self._labels = {term: _with_parity(block.restricted(self._kept(block))) for term, block in blocks.items()}

    @property
    def labels(self) -> dict[Term, np.ndarray]:
        """What the columns of every term are: structured arrays with ``sigma`` and the labels of the factors."""
        return self._labels

    @property
    def slices(self) -> dict[Term, slice]:
        """The columns of every term."""
        ends = np.cumsum([0, *(len(labels) for labels in self._labels.values())])
        return {term: slice(int(start), int(end)) for term, start, end in zip(self.terms, ends, ends[1:])}

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return sum(len(labels) for labels in self._labels.values())

    def __call__(self, structures: Structures, pairs: Pairs | None = None) -> torch.Tensor:
        """Features (n_atoms, n_features), differentiable in positions and strain.

        Without gradients this goes through the structures in blocks, so that the equivariant features on the way take
        no more than a bounded amount of memory.

        Parameters
        ----------
        structures : Structures
        pairs : Pairs, optional
            The neighbours within the cutoff, where they are known already; the features are differentiable in their
            vectors. Found anew if not given.

        Raises
        ------
        ValueError
            If a species occurs that the expansion was not made for, or the features do not fit into memory.
        """
        differentiable = torch.is_grad_enabled() and (
            structures.positions.requires_grad or structures.cells.requires_grad
        )
        _check_size("features", structures.n_atoms, self.n_features, structures.positions.element_size())
        row = self._widest * structures.positions.element_size()
        if pairs is not None or differentiable or structures.n_atoms * row <= BLOCK_BYTES:
            return self._block(structures, pairs)
        blocks = structures.split(max(1, BLOCK_BYTES // row))
        return torch.cat([self._block(block) for block in blocks])

    def _block(self, structures: Structures, pairs: Pairs | None = None) -> torch.Tensor:
        pairs = structures.pairs(self.expansion.cutoff) if pairs is None else pairs
        density = Equivariants.from_density(self.expansion(structures, pairs), self.expansion.channels)
        bonds = None
        if any(term.messages for term in self.terms):
            bonds = bond_expansion(self.expansion, structures, pairs)
        blocks = (self._term(term, *parts) for term, parts in self._parts(pairs, density, bonds))
        return torch.cat([self._scalars(block) for block in blocks], dim=1)

    def _parts(self, pairs: Pairs, density: Equivariants, bonds: Equivariants | None) -> Iterable[tuple]:
        """Every term with the factors that it needs, each made once."""
        highest = max((order for term in self.terms for order in _orders(term)), default=1)
        single = [None, *correlations(density, highest, self.max_angular)]
        passed = list(single)
        if self.contraction is not None:
            passed[1] = density.mixed(self.contraction)
        full = {order for term in self.terms if len(term.messages) + bool(term.order) > 1 for order in term.messages}
        received = {
            order: message(pairs, bonds, passed[order], self.max_angular, only=None if order in full else self._wanted)
            for order in sorted({order for term in self.terms for order in term.messages})
        }
        self._widest = max(self._widest, *(part.packed.shape[1] for part in (*single[1:], *received.values())))
        for term in self.terms:
            yield term, (single, received)

    def _kept(self, block: Equivariants) -> list[Key]:
        return [key for key in self._wanted if key in block]

    def _term(self, term: Term, single: list[Equivariants], received: Mapping[int, Equivariants]) -> Equivariants:
        """The invariants of one term, scalars and pseudoscalars."""
        factors = [received[order] for order in term.messages]
        if not factors and term.order > 1:  # all but the last step is needed by others, or cheap
            factors = [single[term.order - 1], single[1]]
        elif term.order:
            factors = [single[term.order], *factors]
        result = factors[0]
        for step, factor in enumerate(factors[1:], start=2):
            wanted = self._wanted if step == len(factors) else None
            result = product(result, factor, self.max_angular, only=wanted)
            if wanted is None:
                self._widest = max(self._widest, result.packed.shape[1])
        return result.restricted(self._kept(result))

    def _scalars(self, block: Equivariants) -> torch.Tensor:
        return torch.cat([block.invariants(parity) for parity in self.parities], dim=1)


def structure_sums(
    features: torch.Tensor, structures: Structures, species: Sequence[int] | None = None
) -> torch.Tensor:
    """Features of atoms summed over every structure, the species of the centre apart if wanted.

    Parameters
    ----------
    features : tensor (n_atoms, n_features)
    structures : Structures
    species : sequence of int, optional
        Atomic numbers: one block of columns for each of them, which gives a linear model weights of its own for every
        species of the centre. One sum over all atoms if not given.

    Returns
    -------
    tensor (n_structures, n_features) or (n_structures, n_species * n_features)

    Raises
    ------
    ValueError
        If there is not one row per atom, or a species occurs that is not among those given.
    """
    if features.ndim != 2 or len(features) != structures.n_atoms:
        raise ValueError(f"features have shape {tuple(features.shape)}; accepted is ({structures.n_atoms}, n_features)")
    rows, n_blocks = structures.structure_index, 1
    if species is not None:
        unknown = sorted(set(structures.unique_species) - {int(number) for number in species})
        if unknown:
            raise ValueError(f"species is {list(species)}; accepted are all that occur, {unknown[0]} among them")
        known = torch.as_tensor(list(species), device=rows.device)
        rows, n_blocks = rows * len(known) + (structures.species[:, None] == known).int().argmax(dim=1), len(known)
    sums = features.new_zeros(structures.n_structures * n_blocks, features.shape[1])
    return sums.index_add(0, rows, features).reshape(structures.n_structures, -1)


def _orders(term: Term) -> list[int]:
    """Orders of the correlations that a term is made of; the last step of a term without messages is its own."""
    return [max(1, term.order if term.messages else term.order - 1), *term.messages]


def _checked_term(term: Term | tuple[int, tuple[int, ...]]) -> Term:
    try:
        order, messages = term
        messages = tuple(messages)
    except TypeError:
        raise ValueError(f"a term is {term!r}; accepted is Term(order, messages), such as Term(1, (1,))") from None
    check_whole("order", order, 0 if messages else 1)
    for number in messages:
        check_whole("messages", number, 1, "order")
    return Term(int(order), tuple(int(number) for number in messages))


def _with_parity(block: Equivariants) -> np.ndarray:
    """Labels of the scalars and pseudoscalars of a term, with a field for the parity in front."""
    parts = []
    for (sigma, _), labels in block.labels.items():
        part = np.empty(len(labels), [("sigma", np.int64), *((name, np.int64) for name in labels.dtype.names)])
        part["sigma"] = sigma
        for name in labels.dtype.names:
            part[name] = labels[name]
        parts.append(part)
    return np.concatenate(parts)


def _check_samples(name: str, features: Equivariants, n_samples: int, what: str) -> None:
    if features.n_samples != n_samples:
        raise ValueError(
            f"{name} have {features.n_samples} samples; accepted are as many as there are {what}, {n_samples}"
        )


def _check_memory(
    name: str,
    n_rows: int,
    first: Equivariants,
    second: Equivariants,
    max_angular: int | None,
    only: Collection[Key] | None,
) -> None:
    """Raise unless the product of two features fits into memory, which that of none of their samples tells."""
    none = torch.empty(0, dtype=torch.int64, device=first.packed.device)
    sample = product(first.take(none), second.take(none), max_angular, only=only)
    _check_size(name, n_rows, sample.packed.shape[1], sample.packed.element_size())


def _check_size(name: str, n_rows: int, n_columns: int, item_bytes: int) -> None:
    needed, available = n_rows * n_columns * item_bytes, memory_limit()
    if needed > 0.5 * available:
        raise ValueError(
            f"{name} are {n_rows} rows of {n_columns} numbers ({needed / 2**30:.0f} GiB); at most half of the "
            f"{available / 2**30:.0f} GiB of memory here is accepted: take fewer channels, blocks or structures"
        )
