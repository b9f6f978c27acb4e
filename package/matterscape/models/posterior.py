"""Uncertainty of the weights of a ridge model with an unpenalised baseline, and of everything linear in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_whole
from matterscape.uq.arrays import as_array, row_blocks


@dataclass(frozen=True, eq=False)
class LinearPosterior:
    """Covariance of weights w and baseline b, before its scale alpha^2.

    With z = (x - c^T B) / s, features x without what the baseline columns c explain, the variance of x^T w + c^T b is
    z^T (X^T X + lambda)^-1 z + c^T D c. Only the eigenvectors that the training rows span are stored; along all other
    directions the variance is 1 / lambda.

    Attributes
    ----------
    basis : array (n_features, rank)
        Eigenvectors U of X^T X.
    eigenvalues : array (rank,)
    regularisation : float
        lambda.
    scale : array (n_features,)
        s.
    baseline_features : array (n_baseline, n_features)
        B.
    baseline_inverse : array (n_baseline, n_baseline)
        D.
    """

    basis: np.ndarray
    eigenvalues: np.ndarray
    regularisation: float
    scale: np.ndarray
    baseline_features: np.ndarray
    baseline_inverse: np.ndarray

    @property
    def _roots(self) -> np.ndarray:
        return 1.0 / np.sqrt(self.eigenvalues + self.regularisation)

    @property
    def _baseline_root(self) -> np.ndarray:
        eigenvalues, vectors = np.linalg.eigh(self.baseline_inverse)
        return (vectors * np.sqrt(np.maximum(eigenvalues, 0.0))) @ vectors.T

    def whitened(self, x: np.ndarray, c: np.ndarray) -> Iterator[np.ndarray]:
        """Rows whose scalar products are the covariances, block by block.

        Parameters
        ----------
        x, c : arrays (n_samples, n_features) and (n_samples, n_baseline)

        Yields
        ------
        array (n_block, n_columns), float64
        """
        n_features, rank = self.basis.shape
        roots, baseline_root = self._roots, self._baseline_root
        for block, of_baseline in zip(row_blocks(x), row_blocks(c)):
            scaled = (block - of_baseline @ self.baseline_features) / self.scale
            inside = scaled @ self.basis  # (samples, rank)
            parts = [inside * roots, of_baseline @ baseline_root]
            if rank < n_features:  # directions that no training sample has
                parts.append((scaled - inside @ self.basis.T) / np.sqrt(self.regularisation))
            yield np.concatenate(parts, axis=1)

    def variance(self, x: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Variance of the prediction of each row.

        Parameters
        ----------
        x, c : arrays (n_samples, n_features) and (n_samples, n_baseline)

        Returns
        -------
        array (n_samples,)
        """
        return np.concatenate([np.einsum("nd,nd->n", rows, rows) for rows in self.whitened(x, c)])

    def covariance(self, x: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Covariance of the predictions of all rows.

        Parameters
        ----------
        x, c : arrays (n_samples, n_features) and (n_samples, n_baseline)

        Returns
        -------
        array (n_samples, n_samples)
        """
        rows = np.concatenate(list(self.whitened(x, c)))
        return rows @ rows.T

    def sample(self, n_members: int, seed: int | np.random.Generator) -> np.ndarray:
        """Random deviations of weights and baseline with this covariance, whose mean over members is zero.

        The deviations come from the symmetric root of the covariance, so that the same noise gives the same members
        whatever signs the eigenvectors have.

        Parameters
        ----------
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator

        Returns
        -------
        array (n_features + n_baseline, n_members)
            For rows that have the features first and then the baseline columns.
        """
        check_whole("n_members", n_members, 2, "number of members")
        n_features, n_baseline = self.basis.shape[0], len(self.baseline_inverse)
        noise = np.random.default_rng(seed).standard_normal((int(n_members), n_features + n_baseline)).T
        noise = noise - noise.mean(axis=1, keepdims=True)
        outside = 1.0 / np.sqrt(self.regularisation)
        inside = (self._roots - outside)[:, None] * (self.basis.T @ noise[:n_features])
        weights = (self.basis @ inside + outside * noise[:n_features]) / self.scale[:, None]
        baseline = self._baseline_root @ noise[n_features:] - self.baseline_features @ weights
        return np.concatenate([weights, baseline])


def sample_pairs(pairs, n_samples: int) -> np.ndarray:
    """Pairs of sample numbers, checked.

    Parameters
    ----------
    pairs : integer array (n_pairs, 2)
    n_samples : int

    Returns
    -------
    array (n_pairs, 2), integer

    Raises
    ------
    ValueError
        If they are not pairs of whole numbers from 0 to n_samples - 1.
    """
    pairs = as_array(pairs)
    if pairs.dtype.kind not in "iu" or pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"pairs must be an integer array (n_pairs, 2), got {pairs.dtype} of shape {pairs.shape}")
    if pairs.size and not (0 <= pairs.min() and pairs.max() < n_samples):
        raise ValueError(f"pairs must name samples from 0 to {n_samples - 1}, got {pairs.min()} to {pairs.max()}")
    return pairs
