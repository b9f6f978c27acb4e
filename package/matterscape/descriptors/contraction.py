"""Contraction of equivariant features: which combinations of channels, and which products of channels, to keep.

Channels of one block (sigma, l) may be mixed with each other, by weights that all components m share, and no mean may
be taken off unless they are scalars; anything else breaks the symmetry.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh, qr

from matterscape.checks import check_whole
from matterscape.descriptors.coupling import couple_selected
from matterscape.descriptors.equivariants import Equivariants, Key

#: Variances below this fraction of the largest of their block are rounding.
RELATIVE_CUT = 1e-14
METHODS = ("pca", "cur")


class Contraction(NamedTuple):
    """Combinations of the channels of one block that are kept.

    Attributes
    ----------
    weights : tensor (channels, kept)
    importances : tensor (kept,)
        Root mean square amplitude of what is kept, over samples and components.
    spectrum : tensor (channels,)
        Variance that every further combination takes, falling.
    discarded : float
        Fraction of the variance that is left out.
    """

    weights: torch.Tensor
    importances: torch.Tensor
    spectrum: torch.Tensor
    discarded: float

    @property
    def chosen(self) -> np.ndarray:
        """The channels (kept,) themselves, rising, where each combination is one channel."""
        return self.weights.argmax(dim=0).numpy()


def covariance(blocks: Iterable[torch.Tensor]) -> torch.Tensor:
    """Products of channels averaged over samples and components.

    Parameters
    ----------
    blocks : iterable of tensor (samples, 2 l + 1, channels)
        Batches of one block.

    Returns
    -------
    tensor (channels, channels), float64
    """
    total, rows = None, 0
    for block in blocks:
        flat = block.flatten(0, 1).double()
        part = flat.T @ flat
        total = part if total is None else total + part
        rows += len(flat)
    if not rows:
        raise ValueError("blocks have no samples; accepted is at least one")
    return total / rows


def principal_components(covariance: torch.Tensor, n_components: int | None = None) -> Contraction:
    """Eigenvectors of the largest variances, falling, uncorrelated with each other.

    The sign is such that the entry of largest modulus is positive. Variances below 1e-14 of the largest are cut.

    Parameters
    ----------
    covariance : tensor (channels, channels)
        As from :func:`covariance`.
    n_components : int, optional
        How many are kept; all if not given.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """
    values, vectors = eigh(covariance.numpy())
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    kept = int((values > RELATIVE_CUT * values[:1]).sum())
    kept = kept if n_components is None else min(kept, n_components)
    weights = vectors[:, :kept]
    weights = weights * np.sign(np.take_along_axis(weights, np.abs(weights).argmax(axis=0)[None], axis=0))
    return _contraction(weights, np.sqrt(values[:kept]), values)


def chosen_channels(covariance: torch.Tensor, n_components: int | None = None) -> Contraction:
    """Channels that span the others best, one after the other, as in a CUR decomposition.

    Each has the largest variance that those before leave unexplained (QR decomposition with column pivoting); in the
    result they are in the order in which they were. What is not chosen need not be computed afterwards.

    Parameters
    ----------
    covariance : tensor (channels, channels)
    n_components : int, optional

    References
    ----------
    Voronin, Martinsson, Adv. Comput. Math. 43, 495 (2017).
    """
    values, vectors = eigh(covariance.numpy())
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    triangle, order = qr(root, mode="r", pivoting=True)
    taken = np.diag(triangle) ** 2
    kept = int((taken > RELATIVE_CUT * taken[:1]).sum())
    kept = kept if n_components is None else min(kept, n_components)
    rest = (triangle**2).sum(axis=1)  # row k: variance of all channels along the k-th one, orthogonalised
    chosen = np.sort(order[:kept])
    return _contraction(np.eye(len(order))[:, chosen], np.sqrt(np.diag(covariance.numpy())[chosen]), rest)


def _contraction(weights: np.ndarray, importances: np.ndarray, spectrum: np.ndarray) -> Contraction:
    total = spectrum.sum()
    discarded = float(spectrum[weights.shape[1] :].sum() / total) if total > 0 else 0.0
    return Contraction(
        *(torch.tensor(np.ascontiguousarray(part)) for part in (weights, importances, spectrum)), discarded
    )


def contracted(
    covariance: torch.Tensor, n_components: int | None, method: str, key: Key, n_samples: int
) -> Contraction:
    """Contraction of one block by a method of ``METHODS``; raises where the samples are too few for it."""
    rank = n_samples * (2 * key[1] + 1)
    if n_components is not None and n_components > rank:
        raise ValueError(
            f"n_components is {n_components}; accepted for the block (sigma, l) = {key} are up to {rank}, "
            f"as {n_samples} samples have no more independent rows"
        )
    return (principal_components if method == "pca" else chosen_channels)(covariance, n_components)


class EquivariantPCA:
    """Principal components, or chosen channels, of every block of equivariant features.

    Parameters
    ----------
    n_components : int, optional
        How many are kept in each block; all that are independent if not given.
    method : "pca" or "cur"
        :func:`principal_components` or :func:`chosen_channels`.

    Attributes
    ----------
    contractions : dict of (int, int) to Contraction

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """

    def __init__(self, n_components: int | None = None, method: str = "pca"):
        check_budget("n_components", n_components)
        check_method(method)
        self.n_components, self.method = n_components, method
        self.contractions: dict[Key, Contraction] = {}

    def fit(self, features: Equivariants) -> "EquivariantPCA":
        """Find the combinations.

        Raises
        ------
        ValueError
            If more components are asked for than the samples can tell apart; the message names the block.
        """
        self.contractions = {
            key: contracted(covariance([block.detach().cpu()]), self.n_components, self.method, key, features.n_samples)
            for key, block in features.items()
        }
        return self

    def transform(self, features: Equivariants) -> Equivariants:
        """Combinations of the channels; blocks of which nothing is kept are left out."""
        if not self.contractions:
            raise ValueError("features can't be contracted; accepted is a call of fit before")
        weights = {key: c.weights for key, c in self.contractions.items() if c.weights.shape[1]}
        return features.mixed({key: weight.to(features[key]) for key, weight in weights.items()})


def check_budget(name: str, value: int | None) -> None:
    """Raise unless a number of channels is None, for all of them, or a whole number from 1 on."""
    if value is not None:
        check_whole(name, value, 1)


def check_method(method: str) -> None:
    """Raise unless there is such a contraction."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; accepted are {', '.join(METHODS)}")


class ProductGroup(NamedTuple):
    """Products of channels of one block with channels of one degree of a density."""

    key: Key
    angular: int
    pairs: torch.Tensor  # (P, 2): channel of the first, channel of the density


def best_products(
    first: Mapping[Key, torch.Tensor],
    density: Mapping[Key, torch.Tensor],
    n_products: int | None,
    sigma: int,
    *,
    invariants: bool = False,
    symmetric: bool = False,
) -> list[ProductGroup]:
    """Products of channels with the largest product of importances, which bounds what they can amount to.

    Parameters
    ----------
    first, density : mapping of (int, int) to tensor (channels,)
        Importances of the channels of both factors.
    n_products : int or None
        How many are kept, over all degrees; all of them if None.
    sigma : 1 or -1
        Of the blocks of the first factor that are used.
    invariants : bool
        Only products of equal degrees, which couple to l = 0.
    symmetric : bool
        Whether both factors are the same, so that one of (Q, q) and (q, Q) is enough.

    Returns
    -------
    list of ProductGroup

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020).
    """
    places, scores, pairs = [], [], []
    for key, of_first in first.items():
        for other, of_density in density.items():
            swapped = symmetric and key[1] > other[1]
            if key[0] != sigma or swapped or (invariants and key[1] != other[1]):
                continue
            channels = np.indices((len(of_first), len(of_density))).reshape(2, -1).T
            if symmetric and key[1] == other[1]:
                channels = channels[channels[:, 0] <= channels[:, 1]]
            places.append((key, other[1]))
            scores.append(of_first.numpy()[channels[:, 0]] * of_density.numpy()[channels[:, 1]])
            pairs.append(channels)
    if not places:
        return []
    group = np.repeat(np.arange(len(places)), [len(channels) for channels in pairs])
    kept = np.sort(np.argsort(-np.concatenate(scores), kind="stable")[:n_products])
    group, channels = group[kept], np.concatenate(pairs)[kept]
    return [
        ProductGroup(*places[one], torch.from_numpy(np.ascontiguousarray(channels[group == one])))
        for one in np.unique(group)
    ]


def grouped_products(
    first: Equivariants, density: Equivariants, groups: Iterable[ProductGroup], angular: int
) -> torch.Tensor:
    """Products (samples, 2 L + 1, P) of degree L of all groups, one after the other."""
    return torch.cat([couple_selected(first[g.key], density[1, g.angular], g.pairs, angular) for g in groups], dim=2)


def groups_by_block(groups: Iterable[ProductGroup], max_angular: int) -> dict[Key, list[ProductGroup]]:
    """Which groups couple to each block (sigma, lambda), up to a largest lambda."""
    found: dict[Key, list[ProductGroup]] = {}
    for group in groups:
        (sigma, k), l = group.key, group.angular
        for angular in range(abs(k - l), min(k + l, max_angular) + 1):
            found.setdefault((sigma * (-1) ** (k + l + angular), angular), []).append(group)
    return found


def kept_pairs(groups: Iterable[ProductGroup], chosen: np.ndarray) -> list[ProductGroup]:
    """Only the chosen products of some groups, numbered through them and rising."""
    kept, begin = [], 0
    for group in groups:
        own = chosen[(chosen >= begin) & (chosen < begin + len(group.pairs))] - begin
        if len(own):
            kept.append(group._replace(pairs=group.pairs[own]))
        begin += len(group.pairs)
    return kept
