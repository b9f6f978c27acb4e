"""Three-centre features: an atom and two of its neighbours, tagged, amid the density of the others.

Correlations of a density forget which neighbour was which, and no finite order of them is complete. What keeps two
neighbours apart until something nonlinear was done is: the multiset of these features determines an environment, as far
as the radial and angular basis resolves it.

References: Nigam, Pozdnyakov, Huguenin-Dumittan, Ceriotti, APL Mach. Learn. 2, 016110 (2024).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from matterscape.checks import check_whole
from matterscape.descriptors.equivariants import Equivariants, product
from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.descriptors.pair_expansion import expand_pairs
from matterscape.structures import Pairs, Structures

NUMBERS_IN_BLOCK = 2**24  # of the largest intermediate tensor: 128 MiB in float64
NARROWEST = 1e-9  # least variance of a principal component, relative to the largest
INVARIANTS = [(1, 0), (-1, 0)]


@dataclass(frozen=True)
class Triplets:
    """Features of ordered pairs of different neighbours, sorted by their centre.

    Attributes
    ----------
    even, odd : tensor (n_triplets, F+) and (n_triplets, F-)
        Scalars, and pseudoscalars that change their sign in the mirror image.
    centre_index : tensor (n_triplets,), int64
        Which of the centres, from 0 on; a centre with fewer than two neighbours has no triplets.
    n_centres : int
    """

    even: torch.Tensor
    odd: torch.Tensor
    centre_index: torch.Tensor
    n_centres: int

    def __len__(self) -> int:
        return len(self.even)

    @property
    def counts(self) -> torch.Tensor:
        """Number of triplets (n_centres,) of every centre, int64."""
        return torch.bincount(self.centre_index, minlength=self.n_centres)

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """Sums (n_centres, ...) of what every triplet has (n_triplets, ...); zero without triplets."""
        return values.new_zeros(self.n_centres, *values.shape[1:]).index_add(0, self.centre_index, values)

    def averages(self, values: torch.Tensor) -> torch.Tensor:
        """Means (n_centres, ...) of what every triplet has (n_triplets, ...); zero without triplets."""
        counts = self.counts.clamp_min(1).to(values)
        return self.sums(values) / counts.reshape(-1, *(1,) * (values.ndim - 1))

    def averaged(self) -> "Triplets":
        """One row for every centre with the means over its triplets, which hold no more than the bispectrum does."""
        centres = torch.arange(self.n_centres, device=self.centre_index.device)
        return Triplets(self.averages(self.even), self.averages(self.odd), centres, self.n_centres)

    def mirrored(self) -> "Triplets":
        """The triplets of the mirror images."""
        return Triplets(self.even, -self.odd, self.centre_index, self.n_centres)

    def select(self, centres: torch.Tensor) -> "Triplets":
        """The triplets of some of the centres (n,), in the order given; a centre may occur more than once."""
        counts = self.counts
        starts, chosen = (counts.cumsum(0) - counts)[centres], counts[centres]
        index = torch.repeat_interleave(torch.arange(len(centres), device=centres.device), chosen)
        place = torch.arange(len(index), device=centres.device) - (chosen.cumsum(0) - chosen)[index]
        rows = starts[index] + place
        return Triplets(self.even[rows], self.odd[rows], index, len(centres))

    def to(self, dtype: torch.dtype) -> "Triplets":
        """The same numbers in another precision."""
        return Triplets(self.even.to(dtype), self.odd.to(dtype), self.centre_index, self.n_centres)


class _Environments(NamedTuple):
    """Neighbours of some centres: single expansions, their sums, and which neighbours make a triplet."""

    neighbours: Equivariants  # (n_neighbours,)
    coupled: Equivariants  # (n_neighbours,) with the density of their centre
    slots: torch.Tensor  # (n_centres, most neighbours), int64; where there is none, it points to an empty row
    present: torch.Tensor  # (n_centres, most, most), bool: which pairs of slots are triplets

    def rows(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Centre, first and second neighbour of every triplet, (n_triplets,) each."""
        centre, first, second = self.present.nonzero().unbind(1)
        return centre, self.slots[centre, first], self.slots[centre, second]


def three_centre(
    expansion: SphericalExpansion,
    structures: Structures,
    centres: str | Sequence[int] | np.ndarray | torch.Tensor = "all",
    *,
    projection: "TripletPCA | None" = None,
) -> Triplets:
    r"""Invariants of two tagged neighbours and the density of all neighbours of an atom.

    .. math:: x_{i_1 i_2}^{n_1 l_1; n_2 l_2; n_3 k} = \big[ g_{i_1}^{n_1 l_1} \otimes
              [ g_{i_2}^{n_2 l_2} \otimes \rho_i^{n_3 k} ]_{l_1} \big]_0, \qquad
              \sigma = (-1)^{l_1 + l_2 + k}

    with single neighbours g of :func:`~matterscape.descriptors.pair_expansion.expand_pairs`, their sum rho (without
    the central atom), and all degrees up to that of the expansion. Coupling the two neighbours first gives the same,
    ``[[g_{i1} x g_{i2}]_k x rho^k]_0``. The sum over all pairs of neighbours, a neighbour and itself included, is the
    bispectrum. Swapping the neighbours swaps their channels and multiplies by sigma.

    Parameters
    ----------
    expansion : SphericalExpansion
        Its ``centre_weight`` plays no role.
    structures : Structures
    centres : "all", "first" or int (n_centres,)
        Every atom, the first of each structure, or atoms by their number in the batch.
    projection : TripletPCA, optional
        Gives its principal components instead of all features, which are then never stored.

    Returns
    -------
    Triplets
        Differentiable in positions and strain. The channels are those of :func:`triplet_channels`.

    Raises
    ------
    ValueError
        If ``centres`` is no such choice, atoms coincide, or a species occurs that the expansion was not made for.
    IndexError
        If there is no atom of this number.
    """
    chosen = _chosen_atoms(structures, centres)
    pairs = structures.pairs(expansion.cutoff)
    parts = []
    for block in _blocks(expansion, pairs, chosen):
        environments = _environments(expansion, structures, pairs, block)
        if projection is None:
            _, first, second = environments.rows()
            found = product(
                environments.neighbours,
                environments.coupled,
                only=INVARIANTS,
                first_index=first,
                second_index=second,
            )
            values = found.invariants(1), found.invariants(-1)
        else:
            values = projection._of(environments)
        parts.append((*values, environments.present.sum(dim=(1, 2))))
    even, odd, counts = (torch.cat(columns) for columns in zip(*parts))
    index = torch.repeat_interleave(torch.arange(len(chosen), device=counts.device), counts)
    return Triplets(even, odd, index, len(chosen))


def triplet_channels(expansion: SphericalExpansion) -> tuple[np.ndarray, np.ndarray]:
    """What every feature of :func:`three_centre` without projection is.

    Returns
    -------
    (structured array (F+,), structured array (F-,))
        The fields of the expansion's channels and the degree of the first and second neighbour and of the density:
        ``n_1``, ``l_1``, ``n_2``, ``l_2``, ``n_3``, ``l_3``, ... and ``k_2_3``, which equals ``l_1``.
    """
    empty = Equivariants.from_density(
        torch.zeros(0, (expansion.max_angular + 1) ** 2, expansion.n_channels, dtype=torch.float64), expansion.channels
    )
    coupled = product(empty, empty, expansion.max_angular)
    labels = product(empty, coupled, only=INVARIANTS).labels
    return labels[1, 0], labels.get((-1, 0), labels[1, 0][:0])


def _chosen_atoms(structures: Structures, centres: str | Sequence[int] | np.ndarray | torch.Tensor) -> torch.Tensor:
    device = structures.positions.device
    if isinstance(centres, str):
        if centres == "all":
            return torch.arange(structures.n_atoms, device=device)
        if centres == "first":
            return structures.offsets[:-1]
    else:
        atoms = torch.as_tensor(centres, device=device)
        if atoms.ndim == 1 and len(atoms) and not atoms.is_floating_point() and atoms.dtype != torch.bool:
            outside = (atoms < 0) | (atoms >= structures.n_atoms)
            if bool(outside.any()):
                raise IndexError(
                    f"centres have atom {int(atoms[outside][0])}; accepted are numbers from 0 to "
                    f"{structures.n_atoms - 1}"
                )
            return atoms.long()
    raise ValueError(f"centres are {centres!r}; accepted are 'all', 'first' or numbers of atoms")


def _blocks(expansion: SphericalExpansion, pairs: Pairs, chosen: torch.Tensor) -> Iterator[torch.Tensor]:
    """Centres whose triplets fit into one block."""
    n_neighbours = pairs.offsets[chosen + 1] - pairs.offsets[chosen]
    of_triplet = (expansion.n_channels * (expansion.max_angular + 1)) ** 3  # and a bit more than it has
    numbers = of_triplet * max(1, int(n_neighbours.max())) ** 2
    return iter(chosen.split(max(1, NUMBERS_IN_BLOCK // numbers)))


def _environments(
    expansion: SphericalExpansion, structures: Structures, pairs: Pairs, chosen: torch.Tensor
) -> _Environments:
    starts, ends = pairs.offsets[chosen], pairs.offsets[chosen + 1]
    counts = ends - starts
    most = int(counts.max())
    slot = torch.arange(most, device=chosen.device)
    filled = slot < counts[:, None]  # (centres, most)
    own = (starts[:, None] + slot)[filled]
    centre = torch.repeat_interleave(torch.arange(len(chosen), device=chosen.device), counts)
    kept = Pairs(pairs.first[own], pairs.second[own], pairs.shifts[own], pairs.vectors[own], pairs.offsets)
    single = expand_pairs(expansion, structures, kept)
    density = single.new_zeros(len(chosen), *single.shape[1:]).index_add(0, centre, single)
    neighbours = Equivariants.from_density(single)
    coupled = product(neighbours, Equivariants.from_density(density), expansion.max_angular, second_index=centre)
    slots = torch.full_like(filled, len(own), dtype=torch.int64)
    slots[filled] = torch.arange(len(own), device=chosen.device)
    present = filled[:, :, None] & filled[:, None, :] & ~torch.eye(most, dtype=torch.bool, device=chosen.device)
    return _Environments(neighbours, coupled, slots, present)


@dataclass(frozen=True)
class TripletPCA:
    """Principal components of three-centre features, of both parities; the mean variance of those kept is one.

    Scalars are centred; pseudoscalars are not, as those of a mirror image have the opposite sign. Components are not
    whitened: what hardly varies would be as loud as what does.

    Attributes
    ----------
    even, odd : tensor (F+, f+) and (F-, f-), float64
        What the features are multiplied by.
    shift : tensor (f+,), float64
        What is subtracted from the even ones thereafter.
    explained : (float, float)
        Shares of the variance that the components of both parities have.
    """

    even: torch.Tensor
    odd: torch.Tensor
    shift: torch.Tensor
    explained: tuple[float, float]

    @classmethod
    def fit(
        cls,
        expansion: SphericalExpansion,
        structures: Structures,
        centres: str | Sequence[int] | np.ndarray | torch.Tensor = "all",
        *,
        n_even: int = 64,
        n_odd: int = 32,
    ) -> "TripletPCA":
        """Find the components, from the triplets of some environments.

        Parameters
        ----------
        expansion, structures, centres
            As for :func:`three_centre`.
        n_even, n_odd : int
            How many components are kept, at most; those with less than 1e-9 of the largest variance are not.

        Returns
        -------
        TripletPCA

        Raises
        ------
        ValueError
            If there are not at least two triplets, and all that :func:`three_centre` raises.
        """
        check_whole("n_even", n_even, 1)
        check_whole("n_odd", n_odd, 0)
        squares = total = 0
        count = 0
        for block in _chosen_atoms(structures, centres).split(64):
            with torch.no_grad():
                found = three_centre(expansion, structures, block)
            both = torch.cat([found.even, found.odd], dim=1).double()
            squares, total, count = squares + both.T @ both, total + both.sum(dim=0), count + len(both)
        if count < 2:
            raise ValueError(f"structures have {count} triplets around the centres; accepted are at least 2")
        columns = found.even.shape[1]
        mean = total[:columns] / count
        covariance = squares[:columns, :columns] / count - torch.outer(mean, mean)
        even, even_share = _components(covariance, int(n_even))
        odd, odd_share = _components(squares[columns:, columns:] / count, int(n_odd))
        return cls(even, odd, mean @ even, (even_share, odd_share))

    def _of(self, environments: _Environments) -> tuple[torch.Tensor, torch.Tensor]:
        """Components (n_triplets, f+) and (n_triplets, f-), from neighbour and neighbour without the features."""
        neighbours, coupled, slots, present = environments
        like = neighbours.packed
        first = _padded(like, slots)  # (centres, most, K), the blocks (2 l + 1, q) one after the other
        results = []
        for sigma, weights in ((1, self.even), (-1, self.odd)):
            kinds = [
                (coupled.get((sigma, l), like.new_zeros(len(like), 2 * l + 1, 0)), q)
                for (_, l), q in neighbours.channels.items()
            ]
            widths = [q * block.shape[2] for block, q in kinds]
            if sum(widths) != len(weights):
                raise ValueError(f"projection has {len(weights)} features of sigma {sigma}; here are {sum(widths)}")
            contracted = []
            for (block, channels), part in zip(kinds, weights.to(like).split(widths)):
                l = block.shape[1] // 2
                part = part * ((-1) ** l / (2 * l + 1) ** 0.5)  # the Clebsch-Gordan coefficient of l and l to 0
                part = (
                    part.reshape(channels, block.shape[2], weights.shape[1]).transpose(0, 1).flatten(1)
                )  # (coupled, q f)
                contracted.append((block @ part).reshape(len(like), (2 * l + 1) * channels, weights.shape[1]))
            second = _padded(torch.cat(contracted, dim=1), slots)  # (centres, most, K, f)
            second = second.permute(0, 2, 1, 3).flatten(2)
            values = (first @ second).unflatten(2, slots.shape[1:] + weights.shape[1:])  # (centres, most, most, f)
            results.append(values[present])
        return results[0] - self.shift.to(like), results[1]


def _padded(rows: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Rows (n, ...) in their slots (centres, most, ...), zeros in the others."""
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])[slots]


def _components(covariance: torch.Tensor, most: int) -> tuple[torch.Tensor, float]:
    """Principal directions (F, f) over the root of their mean variance, and the share of all variance in them."""
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(covariance))
    total = float(values.sum())
    kept = values[:most] > NARROWEST * values[:1].clamp_min(torch.finfo(values.dtype).tiny)
    values, vectors = values[:most][kept], vectors[:, :most][:, kept]
    signs = torch.where(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    return signs * vectors / values.mean().sqrt(), float(values.sum()) / total if total > 0 else 1.0
