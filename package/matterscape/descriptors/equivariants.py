"""Equivariant features of every degree and parity, and their Clebsch-Gordan products with the book-keeping.

A block (sigma, l) transforms like the spherical harmonics of degree l under rotations and with ``sigma (-1)^l`` under
inversion: (+1, 0) are invariants, (-1, 0) pseudoscalars, (+1, 1) vectors, (-1, 1) axial vectors. A density has
sigma = +1 throughout. The product of (s, k) and (s', l) of degree lambda has ``sigma = s s' (-1)^(k + l + lambda)``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import product as product_of
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from matterscape.basis import wigner_matrices
from matterscape.checks import check_whole
from matterscape.descriptors._coupling_operators import Coupling, products
from matterscape.descriptors.coupling import check_block, check_same_kind, checked_rows

Key = tuple[int, int]
Labels = Mapping[Key, np.ndarray]


class Equivariants(Mapping):
    """Features {(sigma, l): tensor (samples, 2 l + 1, channels)}, sorted by l, sigma = +1 before -1.

    The blocks of one sample lie one after the other in a row of ``packed`` (samples, columns).

    Parameters
    ----------
    blocks : mapping of (int, int) to tensor (samples, 2 l + 1, channels)
        Float64 or float32, on one device, as many samples in all of them.
    labels : mapping of (int, int) to structured array (channels,), optional
        What each channel is; a field ``q_1`` that numbers them and ``l_1`` if not given.

    Raises
    ------
    ValueError, TypeError
        If keys, shapes, dtypes or labels do not fit together.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """

    def __init__(self, blocks: Mapping[Key, torch.Tensor], labels: Labels | None = None):
        if not blocks:
            raise ValueError("blocks are empty; accepted is at least one block {(sigma, l): tensor}")
        keys = sorted_keys(blocks)
        first = blocks[keys[0]]
        for key in keys:
            name, block = f"block {key}", blocks[key]
            if check_block(name, block) != key[1] or len(block) != len(first):
                raise ValueError(
                    f"{name} has shape {tuple(block.shape)}; accepted is ({len(first)}, {2 * key[1] + 1}, channels)"
                )
            check_same_kind(name, block, first)
            if labels is not None and (key not in labels or len(labels[key]) != block.shape[2]):
                given = len(labels[key]) if key in labels else "no"
                raise ValueError(f"{name} has {given} labels; accepted is one per channel, {block.shape[2]}")
        self._blocks = {key: blocks[key] for key in keys}
        self._labels: Labels | Callable[[], Labels] | None = labels
        self._packed: torch.Tensor | None = None

    @classmethod
    def _made(
        cls, blocks: dict[Key, torch.Tensor], labels: Labels | Callable[[], Labels] | None, packed=None
    ) -> "Equivariants":
        """Without the checks, for blocks that fit; labels may be made when they are first asked for."""
        result = cls.__new__(cls)
        result._blocks, result._labels, result._packed = blocks, labels, packed
        return result

    @classmethod
    def from_packed(
        cls,
        packed: torch.Tensor,
        channels: Mapping[Key, int],
        labels: Labels | Callable[[], Labels] | None = None,
    ) -> "Equivariants":
        """From rows of blocks, as ``packed`` gives them; the blocks are views.

        Parameters
        ----------
        packed : tensor (samples, columns)
        channels : mapping of (int, int) to int
            Number of channels of every block.
        labels : mapping or callable, optional
            As for the class; a function that returns them is called when they are first asked for.

        Raises
        ------
        ValueError
            If the number of columns is not that of the blocks.
        """
        keys = sorted_keys(channels)
        widths = [(2 * l + 1) * channels[sigma, l] for sigma, l in keys]
        if packed.ndim != 2 or packed.shape[1] != sum(widths):
            raise ValueError(f"packed has shape {tuple(packed.shape)}; accepted is (samples, {sum(widths)})")
        blocks = {
            key: part.unflatten(1, (2 * key[1] + 1, channels[key]))
            for key, part in zip(keys, packed.split(widths, dim=1))
        }
        return cls._made(blocks, labels, packed)

    @classmethod
    def from_density(cls, density: torch.Tensor, channels: np.ndarray | None = None) -> "Equivariants":
        """Blocks (+1, l) of a density, correlations of order one.

        Parameters
        ----------
        density : tensor (samples, (max_angular + 1)^2, Q)
            As from :class:`matterscape.descriptors.SphericalExpansion` or ``expand_pairs``.
        channels : structured array (Q,), optional
            What the channels are, as ``SphericalExpansion.channels``: every field gives a field of the labels. Numbers
            ``q`` if not given.

        Raises
        ------
        ValueError, TypeError
            If the shape is another one or the number of labels is not that of the channels.
        """
        if not isinstance(density, torch.Tensor):
            raise TypeError(f"density is a {type(density).__name__}; accepted is a tensor")
        size = round(density.shape[1] ** 0.5) if density.ndim == 3 else 0
        if density.ndim != 3 or size * size != density.shape[1] or size == 0:
            raise ValueError(f"density has shape {tuple(density.shape)}; accepted is (samples, (max_angular + 1)^2, Q)")
        n_channels = density.shape[2]
        if channels is not None and len(channels) != n_channels:
            raise ValueError(f"channels are {len(channels)}; accepted are as many as the density has, {n_channels}")
        keys = [(1, l) for l in range(size)]
        labels = {key: _density_labels(channels, n_channels, key[1]) for key in keys}
        return cls.from_packed(density.flatten(1), dict.fromkeys(keys, n_channels), labels)

    def __getitem__(self, key: Key) -> torch.Tensor:
        try:
            return self._blocks[key]
        except KeyError:
            raise KeyError(f"there is no block (sigma, l) = {key!r}; there are {list(self._blocks)}") from None

    def __iter__(self) -> Iterator[Key]:
        return iter(self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)

    def __repr__(self) -> str:
        blocks = ", ".join(f"({sigma:+d}, {l}): {count}" for (sigma, l), count in self.channels.items())
        return f"Equivariants({self.n_samples} samples; channels {blocks})"

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(next(iter(self._blocks.values())))

    @property
    def max_angular(self) -> int:
        """Largest l."""
        return max(l for _, l in self._blocks)

    @property
    def channels(self) -> dict[Key, int]:
        """Number of channels of every block."""
        return {key: block.shape[2] for key, block in self._blocks.items()}

    @property
    def packed(self) -> torch.Tensor:
        """All blocks (samples, columns), block after block, each (2 l + 1, channels)."""
        if self._packed is None:
            self._packed = torch.cat([block.flatten(1) for block in self._blocks.values()], dim=1)
        return self._packed

    @property
    def labels(self) -> Labels:
        """What every channel is: {(sigma, l): structured array (channels,) of whole numbers}.

        Factor i of a product has the fields of its density's channels and its degree, ``n_i``, ``species_i``, ``l_i``;
        ``k_j`` is the degree of the first j factors coupled, ``k_i_j`` that of factors i to j.
        """
        self._labels = _resolved(self._labels, self.channels)
        return self._labels

    def invariants(self, parity: int = 1) -> torch.Tensor:
        """Values (samples, channels) of l = 0: scalars, or pseudoscalars for parity -1; (samples, 0) without any."""
        key = _checked_key((parity, 0))
        return self._blocks[key][:, 0] if key in self._blocks else self.packed[:, :0]

    def norms(self) -> dict[Key, torch.Tensor]:
        """Euclidean norm (samples,) of every block, over all its components and channels."""
        return {key: block.flatten(1).norm(dim=1) for key, block in self._blocks.items()}

    def restricted(self, keys: Iterable[Key] | None = None, *, max_angular: int | None = None) -> "Equivariants":
        """Only some of the blocks: those named, those up to a largest l."""
        kept = [
            key
            for key in (self._blocks if keys is None else sorted_keys(keys))
            if max_angular is None or key[1] <= max_angular
        ]
        if not kept:
            raise ValueError(f"nothing is left of {self!r}; accepted is a choice of at least one block")
        return Equivariants._made({key: self[key] for key in kept}, self._labels)

    def select(self, channels: Mapping[Key, np.ndarray | Sequence[int] | slice]) -> "Equivariants":
        """Only some channels of the blocks that are named, in the order given; other blocks are left out."""
        keys, labels = sorted_keys(channels), self.labels
        return Equivariants(
            {key: self[key][:, :, channels[key]] for key in keys}, {key: labels[key][channels[key]] for key in keys}
        )

    def take(self, samples: torch.Tensor) -> "Equivariants":
        """Some of the samples, by number or truth value."""
        return Equivariants.from_packed(self.packed[samples], self.channels, self._labels)

    def mixed(self, weights: Mapping[Key, torch.Tensor]) -> "Equivariants":
        """Linear combinations of the channels: blocks times matrices (channels, kept); other blocks are left out."""
        return Equivariants({key: self[key] @ weights[key] for key in sorted_keys(weights)})

    def rotated(self, rotation: np.ndarray | Rotation) -> "Equivariants":
        """What the features become when the structure is rotated or rotated and inverted: ``r -> R r``.

        Parameters
        ----------
        rotation : numpy.ndarray (3, 3) or scipy.spatial.transform.Rotation
            Proper or improper orthogonal matrix.
        """
        matrix = rotation.as_matrix() if isinstance(rotation, Rotation) else np.asarray(rotation)
        wigner = wigner_matrices(matrix, self.max_angular)
        handedness = round(float(np.linalg.det(matrix)))
        blocks = {}
        for (sigma, l), block in self._blocks.items():
            sign = handedness if sigma == -1 else 1
            blocks[sigma, l] = torch.as_tensor(sign * wigner[l]).to(block) @ block
        return Equivariants._made(blocks, self._labels)


def sorted_keys(keys: Iterable[Key]) -> list[Key]:
    """Keys (sigma, l) in the order of the blocks: by l, sigma = +1 before -1; raises where one is none."""
    return sorted((_checked_key(key) for key in keys), key=lambda key: (key[1], -key[0]))


def _checked_key(key: Key) -> Key:
    valid = isinstance(key, tuple) and len(key) == 2 and all(isinstance(part, int | np.integer) for part in key)
    if not valid or key[0] not in (1, -1) or key[1] < 0:
        raise ValueError(f"the key of a block is {key!r}; accepted is (sigma, l), sigma 1 or -1, l from 0 on")
    return int(key[0]), int(key[1])


def concatenated(parts: Sequence[Equivariants]) -> Equivariants:
    """Blocks with the channels of several features of the same samples, one after the other.

    Labels are kept where those of all parts have the same fields.

    Raises
    ------
    ValueError
        If there are none, or they have different numbers of samples.
    """
    if len({part.n_samples for part in parts}) != 1:
        raise ValueError(
            f"parts have {[part.n_samples for part in parts]} samples; accepted are some parts with equally many"
        )
    keys = sorted_keys({key for part in parts for key in part})
    blocks = {key: torch.cat([part[key] for part in parts if key in part], dim=2) for key in keys}
    if len({part.labels[key].dtype for key in keys for part in parts if key in part}) > 1:
        return Equivariants(blocks)
    return Equivariants(
        blocks, {key: np.concatenate([part.labels[key] for part in parts if key in part]) for key in keys}
    )


def product(
    first: Equivariants,
    second: Equivariants,
    max_angular: int | None = None,
    *,
    only: Collection[Key] | None = None,
    first_index: torch.Tensor | None = None,
    second_index: torch.Tensor | None = None,
    target_index: torch.Tensor | None = None,
    n_targets: int | None = None,
) -> Equivariants:
    r"""All Clebsch-Gordan products of two features, in one pass; rows may be combined and summed at will.

    .. math:: x_{(\sigma\lambda);(QqKl)}^{\mu} = \sum_{m_1 m_2} C^{\lambda\mu}_{k m_1 l m_2}\,
              a_{(sk);Q}^{m_1} b_{(s'l);q}^{m_2}, \qquad \sigma = s s' (-1)^{k + l + \lambda}

    With ``b`` a density, this is the recursion from correlations of order nu to nu + 1; with indices, a message (first:
    bonds, second: neighbours, target: centres) or a triplet.

    Parameters
    ----------
    first, second : Equivariants
    max_angular : int, optional
        Largest degree of the result; the largest that occurs if not given.
    only : collection of (int, int), optional
        The blocks (sigma, lambda) of the result that are wanted, e.g. ``[(1, 0)]`` for invariants; all if not given.
    first_index, second_index, target_index : tensor (rows,), int64, optional
        Which sample of each factor meets which, and where the product is added; see
        :func:`matterscape.descriptors.coupling.couple`.
    n_targets : int, optional
        Number of samples of the result where ``target_index`` is given.

    Returns
    -------
    Equivariants
        The channels of a block are sorted by the block of the first factor (l, then sigma = +1 before -1), the block of
        the second, the channel of the first, the channel of the second. Blocks to which nothing couples do not occur.

    Raises
    ------
    ValueError, TypeError
        If the factors or indices do not fit together, or nothing couples to what is wanted.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020); Nigam et al., J. Chem. Phys. 156, 204115 (2022).
    """
    for name, factor in (("first", first), ("second", second)):
        if not isinstance(factor, Equivariants):
            raise TypeError(f"{name} is a {type(factor).__name__}; accepted are Equivariants")
    check_same_kind("second", second.packed, first.packed)
    largest = first.max_angular + second.max_angular
    if max_angular is not None:
        check_whole("max_angular", max_angular, 0)
        largest = min(largest, int(max_angular))
    wanted = None if only is None else frozenset(sorted_keys(only))
    indices, n_rows = checked_rows(
        first.n_samples, second.n_samples, first_index, second_index, target_index, n_targets
    )
    plan = _plan(tuple(first.channels.items()), tuple(second.channels.items()), largest, wanted)
    if not plan.factors:
        raise ValueError(
            f"only is {only!r} up to max_angular {largest}; accepted are blocks that the factors couple to"
        )
    return _planned(first, second, plan, indices, n_rows)


def _planned(first: Equivariants, second: Equivariants, plan: "_Plan", indices: tuple, n_rows: int) -> Equivariants:
    """The product of a plan."""
    packed = products(first.packed, second.packed, *indices, plan.numbers, n_rows, plan.n_columns)
    sources = (first._labels, first.channels), (second._labels, second.channels)
    return Equivariants.from_packed(packed, plan.channels, partial(_product_labels, *sources, plan.factors))


class _Piece(NamedTuple):
    """Neighbouring channels of one block whose last factor has one degree; of any degree where that is -1."""

    key: Key
    start: int
    count: int
    last_angular: int = -1


class _Plan(NamedTuple):
    """Couplings of a product, and the blocks that they make."""

    numbers: list[int]
    channels: dict[Key, int]
    factors: dict[Key, list[tuple[_Piece, Key]]]
    pieces: tuple[_Piece, ...]  # of the product, by the degree of the second factor
    n_columns: int


@lru_cache(maxsize=256)
def _plan(
    first: tuple[tuple[Key, int], ...],
    second: tuple[tuple[Key, int], ...],
    max_angular: int,
    only: frozenset[Key] | None,
    pieces: tuple[_Piece, ...] = (),
) -> _Plan:
    """Which blocks couple to which; ``pieces`` of the first factor only to degrees from their last one on."""
    places, factors = [], {}
    for channels in (first, second):
        widths = [(2 * l + 1) * count for (_, l), count in channels]
        places.append({key: (sum(widths[:i]), count) for i, (key, count) in enumerate(channels)})
    for piece, two in product_of(pieces or [_Piece(key, 0, count) for key, count in first], places[1]):
        (s1, l1), (s2, l2) = piece.key, two
        for angular in range(abs(l1 - l2), min(l1 + l2, max_angular) + 1):
            key = s1 * s2 * (-1) ** (l1 + l2 + angular), angular
            if (only is None or key in only) and piece.last_angular <= l2:
                factors.setdefault(key, []).append((piece, two))
    factors = {key: factors[key] for key in sorted_keys(factors)}
    numbers, counts, result_pieces, begin = [], {}, [], 0
    for key, sources in factors.items():
        total = sum(piece.count * places[1][two][1] for piece, two in sources)
        channel = 0
        for piece, two in sources:
            (begin1, stride1), (begin2, count2) = places[0][piece.key], places[1][two]
            numbers += Coupling(
                *(begin1 + piece.start, piece.count, piece.key[1], stride1),
                *(begin2, count2, two[1]),
                *(key[1], begin + channel, total),
            )
            result_pieces.append(_Piece(key, channel, piece.count * count2, two[1]))
            channel += piece.count * count2
        counts[key] = total
        begin += (2 * key[1] + 1) * total
    return _Plan(numbers, counts, factors, tuple(result_pieces), begin)


def _resolved(labels: Labels | Callable[[], Labels] | None, channels: Mapping[Key, int]) -> Labels:
    if labels is None:
        return {key: _density_labels(None, count, key[1]) for key, count in channels.items()}
    made = labels() if callable(labels) else labels
    return {key: made[key] for key in channels}


def _density_labels(channels: np.ndarray | None, n_channels: int, angular: int) -> np.ndarray:
    """Labels of one block of a density: the fields of its channels and its degree, numbered 1."""
    names = ("q",) if channels is None else channels.dtype.names
    labels = np.empty(n_channels, [(f"{name}_1", np.int64) for name in (*names, "l")])
    for name in names:
        labels[f"{name}_1"] = np.arange(n_channels) if channels is None else channels[name]
    labels["l_1"] = angular
    return labels


def _product_labels(
    first: tuple[Labels | Callable[[], Labels] | None, Mapping[Key, int]],
    second: tuple[Labels | Callable[[], Labels] | None, Mapping[Key, int]],
    factors: Mapping[Key, list[tuple[_Piece, Key]]],
) -> Labels:
    """Labels of a product from those of its factors; the factors of the second are numbered on."""
    labels1, labels2 = _resolved(*first), _resolved(*second)

    def combined(piece: _Piece, two: Key) -> np.ndarray:
        ours = labels1[piece.key][piece.start : piece.start + piece.count]
        a, b = np.repeat(ours, len(labels2[two])), np.tile(labels2[two], len(ours))
        n_first, n_second = (sum(name.startswith("l_") for name in part.dtype.names) for part in (a, b))
        columns = {name: a[name] for name in a.dtype.names}
        if n_first > 1:
            columns[f"k_{n_first}"] = np.full(len(a), piece.key[1])
        columns |= {_numbered_on(name, n_first): b[name] for name in b.dtype.names}
        if n_second > 1:
            columns[f"k_{n_first + 1}_{n_first + n_second}"] = np.full(len(a), two[1])
        labels = np.empty(len(a), [(name, np.int64) for name in columns])
        for name, values in columns.items():
            labels[name] = values
        return labels

    return {key: np.concatenate([combined(*pair) for pair in pairs]) for key, pairs in factors.items()}


def _numbered_on(name: str, shift: int) -> str:
    """Name of a label whose factors are counted from ``shift`` + 1 on."""
    base, *numbers = name.split("_")
    if base == "k" and len(numbers) == 1:
        numbers = ["1", *numbers]
    return "_".join([base, *(str(int(number) + shift) for number in numbers)])


def correlations(
    density: torch.Tensor | Equivariants,
    order: int,
    max_angular: int | None = None,
    *,
    invariants_only: bool = False,
    sorted_degrees: bool = False,
) -> list[Equivariants]:
    """Correlations of a density of all orders up to one, by recursion.

    Parameters
    ----------
    density : tensor (samples, (max_angular + 1)^2, Q) or Equivariants
    order : int
        Largest order nu, from 1 on; order nu describes nu + 1 bodies.
    max_angular : int, optional
        Largest degree that is kept at every step; none is left out if not given. From order 4 on the cap leaves out
        invariants too.
    invariants_only : bool
        Whether only the scalars and pseudoscalars of the last order are made.
    sorted_degrees : bool
        Whether only channels with l_1 <= l_2 <= ... are made. They span the same space if no degree is left out by
        ``max_angular``; their squares do not add up to those of the density. Channels are sorted by the block of order
        nu - 1, its channels' last degree, then the degree that is added.

    Returns
    -------
    list of Equivariants
        Orders 1 to nu.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """
    check_whole("order", order, 1)
    first = density if isinstance(density, Equivariants) else Equivariants.from_density(density)
    result, pieces = [first], ()
    if sorted_degrees:
        pieces = tuple(_Piece(key, 0, count, key[1]) for key, count in first.channels.items())
    for step in range(2, order + 1):
        only = frozenset([(1, 0), (-1, 0)]) if invariants_only and step == order else None
        before = result[-1]
        largest = before.max_angular + first.max_angular if max_angular is None else max_angular
        plan = _plan(tuple(before.channels.items()), tuple(first.channels.items()), largest, only, pieces)
        result.append(_planned(before, first, plan, (None, None, None), first.n_samples))
        pieces = plan.pieces if sorted_degrees else ()
    return result
