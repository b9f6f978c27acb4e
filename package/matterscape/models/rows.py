"""Samples of a regression: rows of features, the atoms that they sum over, and the columns of the baseline."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from matterscape.uq.arrays import as_array, feature_matrix, target_vector


@dataclass(frozen=True)
class FeatureRows:
    """Feature rows of samples, one row each or one row per atom.

    Attributes
    ----------
    rows : array (n_rows, n_features)
        The rows of one sample follow each other, in the order of the samples.
    baseline : array (n_samples, n_baseline)
        Columns of the unpenalised part of the model; none without a baseline.
    n_atoms : array (n_samples,) or None
        Atoms of each sample, where the target is a sum over them.
    starts : integer array (n_samples + 1,) or None
        Where the rows of each sample begin, and where the last ones end; None for one row per sample.
    """

    rows: np.ndarray
    baseline: np.ndarray
    n_atoms: np.ndarray | None
    starts: np.ndarray | None

    @classmethod
    def checked(cls, features, structure_index, n_atoms, composition, baseline: bool) -> "FeatureRows":
        """Rows from what the user gave, as described in :meth:`EnsembleModel.fit`.

        Parameters
        ----------
        features : array or tensor (n_rows, n_features)
        structure_index : integer array (n_rows,) or None
        n_atoms : array (n_samples,) or None
        composition : array (n_samples, n_species) or None
        baseline : bool

        Returns
        -------
        FeatureRows

        Raises
        ------
        ValueError
            If shapes disagree, a number is not finite, or both kinds of atom counts are given.
        """
        rows, starts = feature_matrix(features).astype(np.float64), None
        n_atoms = atom_counts(structure_index, n_atoms, len(rows))
        if structure_index is not None:
            rows = rows[np.argsort(as_array(structure_index), kind="stable")]
            starts = np.concatenate([[0], np.cumsum(n_atoms.astype(int))])
        elif n_atoms is not None:
            rows = rows / n_atoms[:, None]
        n_samples = len(rows) if n_atoms is None else len(n_atoms)
        columns = baseline_columns(composition, n_atoms, n_samples) if baseline else np.zeros((n_samples, 0))
        return cls(rows, columns, n_atoms, starts)

    def __len__(self) -> int:
        return len(self.baseline)

    @property
    def sizes(self) -> np.ndarray:
        """Atoms of each sample, (n_samples,); ones where the target is no sum over atoms."""
        return np.ones(len(self)) if self.n_atoms is None else self.n_atoms

    def take(self, indices: np.ndarray) -> "FeatureRows":
        """Some of the samples.

        Parameters
        ----------
        indices : integer array (n_taken,)

        Returns
        -------
        FeatureRows
        """
        taken = replace(self, baseline=self.baseline[indices])
        n_atoms = None if self.n_atoms is None else self.n_atoms[indices]
        rows, starts = indices, None
        if self.starts is not None:
            rows, starts = rows_of(self.starts, indices)
        return replace(taken, rows=self.rows[rows], n_atoms=n_atoms, starts=starts)


def rows_of(starts: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of some samples one after another, and where those of each begin.

    Parameters
    ----------
    starts : integer array (n_samples + 1,)
        As in :class:`FeatureRows`.
    samples : integer array (n_taken,)

    Returns
    -------
    rows : integer array (n_rows,)
    starts : integer array (n_taken + 1,)
    """
    counts = starts[samples + 1] - starts[samples]
    own = np.concatenate([[0], np.cumsum(counts)])
    return np.arange(own[-1]) + np.repeat(starts[samples] - own[:-1], counts), own


def atom_counts(structure_index, n_atoms, n_rows: int) -> np.ndarray | None:
    """Atoms of each sample, from whichever of the two was given; None where samples are no sums over atoms.

    Parameters
    ----------
    structure_index : integer array (n_rows,) or None
    n_atoms : array (n_rows,) or None
    n_rows : int

    Returns
    -------
    array (n_samples,), float64, or None

    Raises
    ------
    ValueError
        If both are given, a structure has no atom, or the length is wrong.
    """
    if structure_index is not None and n_atoms is not None:
        raise ValueError("structure_index and n_atoms exclude each other: with both the features would be summed twice")
    if structure_index is not None:
        index = as_array(structure_index)
        if index.dtype.kind not in "iu" or index.shape != (n_rows,) or index.min() < 0:
            raise ValueError(f"structure_index must hold one integer >= 0 for each of the {n_rows} rows of features")
        counts = np.bincount(index)
        if (counts == 0).any():
            raise ValueError(f"structure_index must name every structure, got no atom of {int(np.argmin(counts))}")
        return counts.astype(np.float64)
    if n_atoms is None:
        return None
    n_atoms = target_vector(n_atoms, n_rows, "n_atoms")
    if (n_atoms < 1).any():
        raise ValueError(f"n_atoms must be at least 1, got {n_atoms.min():g}")
    return n_atoms


def checked_blocks(jacobians: Iterable) -> Iterable:
    """Blocks of Jacobians, one per structure; ``TypeError`` if they cannot be iterated over."""
    if not isinstance(jacobians, Iterable):
        raise TypeError(f"jacobians must yield one block for each structure, got {type(jacobians).__name__}")
    return jacobians


def baseline_columns(composition, n_atoms: np.ndarray | None, n_samples: int) -> np.ndarray:
    """Columns of the baseline: the composition, or else the number of atoms, or else a constant.

    Parameters
    ----------
    composition : array (n_samples, n_species) or None
    n_atoms : array (n_samples,) or None
    n_samples : int

    Returns
    -------
    array (n_samples, n_baseline), float64

    Raises
    ------
    ValueError
        If the composition is not finite or has another number of rows.
    """
    if composition is None:
        return np.ones((n_samples, 1)) if n_atoms is None else n_atoms[:, None].copy()
    columns = feature_matrix(composition, "composition").astype(np.float64)
    if len(columns) != n_samples:
        raise ValueError(f"composition must have one row for each of the {n_samples} samples, got {len(columns)}")
    return columns
