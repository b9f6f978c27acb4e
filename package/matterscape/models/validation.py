"""Learning curves: how the error on unseen data falls with the number of training samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.models.ridge import RidgeModel
from matterscape.uq.arrays import as_array, feature_matrix, target_vector


@dataclass(frozen=True)
class LearningCurve:
    """Errors on one fixed test set against the size of the training set.

    Attributes
    ----------
    sizes : integer array (n_sizes,)
    rmse : array (n_sizes, n_seeds)
        Root mean square error on the test set, per atom for targets that are sums over atoms.
    test_indices : integer array (n_test,)
    force_rmse : array (n_sizes, n_seeds) or None
        Root mean square error of the test set's force components in eV/Å, where the models were fitted to forces.
    """

    sizes: np.ndarray
    rmse: np.ndarray
    test_indices: np.ndarray
    force_rmse: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean over the seeds, (n_sizes,)."""
        return self.rmse.mean(axis=1)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over the seeds, (n_sizes,); zero for one seed."""
        return self.rmse.std(axis=1, ddof=1) if self.rmse.shape[1] > 1 else np.zeros(len(self.sizes))


def learning_curve(
    features,
    targets,
    sizes,
    *,
    n_atoms=None,
    composition=None,
    forces=None,
    jacobians: Sequence | None = None,
    n_seeds: int = 5,
    test_fraction: float = 0.2,
    test_indices=None,
    seed: int = 0,
    make_model: Callable[[], RidgeModel] = RidgeModel,
) -> LearningCurve:
    """Refit a model on growing random training sets and score each on the same test set.

    The test set is drawn once; each seed then shuffles the rest and takes its first samples, so that the training sets
    of one seed are nested. The regularisation is chosen anew for every training set.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
        One row per structure (sums with ``n_atoms``, means without) or per atom.
    targets : array or tensor (n_samples,)
    sizes : sequence of int
        Numbers of training samples.
    n_atoms : array (n_samples,), optional
        As in :meth:`RidgeModel.fit`; errors are then per atom.
    composition : array (n_samples, n_species), optional
    forces : array or tensor (n_total_atoms, 3), optional
        In eV/Å; the models are then fitted to energies and forces, and scored on both. Needs ``n_atoms``.
    jacobians : sequence of arrays (3 n_atoms, n_features), optional
        As in :meth:`RidgeModel.fit`, but all of them at hand, because every model of the curve needs its own choice.
    n_seeds : int
        Shuffles per size.
    test_fraction : float
        Share of the samples in the test set, between 0 and 1.
    test_indices : integer array (n_test,), optional
        The test set itself, for data that come with one; ``test_fraction`` is then without meaning.
    seed : int
    make_model : callable
        Returns a fresh model with the interface of :class:`RidgeModel`.

    Returns
    -------
    LearningCurve

    Raises
    ------
    ValueError
        If a size exceeds the samples that the test set leaves, or an option is out of range.
    """
    x = feature_matrix(features)
    y = target_vector(targets, len(x))
    force_blocks = _force_blocks(forces, jacobians, n_atoms, len(x))
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, got {n_seeds}")
    if test_indices is None:
        shuffled = np.random.default_rng(seed).permutation(len(x))
        n_test = max(1, round(test_fraction * len(x)))
        test, rest = shuffled[:n_test], shuffled[n_test:]
    else:
        test = _test_indices(test_indices, len(x))
        rest = np.setdiff1d(np.arange(len(x)), test)
    sizes = np.asarray(sizes, dtype=int).reshape(-1)
    if sizes.size == 0 or sizes.min() < 2 or sizes.max() > len(rest):
        raise ValueError(f"sizes must lie between 2 and the {len(rest)} samples outside the test set, got {sizes}")

    per_sample = {"n_atoms": n_atoms, "composition": composition}
    per_sample = {name: as_array(values) for name, values in per_sample.items() if values is not None}

    def rows(indices):
        return {name: values[indices] for name, values in per_sample.items()}

    denominator = per_sample["n_atoms"][test] if n_atoms is not None else 1.0
    rmse = np.empty((len(sizes), n_seeds))
    force_rmse = None if force_blocks is None else np.empty_like(rmse)
    for s, generator in enumerate(np.random.default_rng(seed + 1).spawn(n_seeds)):
        order = generator.permutation(rest)
        for k, size in enumerate(sizes):
            train = order[:size]
            on_forces = {}
            if force_blocks is not None:
                on_forces = {
                    "forces": np.concatenate([force_blocks[i] for i in train]),
                    "jacobians": (jacobians[i] for i in train),
                }
            model = make_model().fit(x[train], y[train], **rows(train), **on_forces)
            errors = (model.predict(x[test], **rows(test)) - y[test]) / denominator
            rmse[k, s] = np.sqrt(np.mean(errors**2))
            if force_blocks is not None:
                predicted = np.concatenate(model.predict_forces(jacobians[i] for i in test))
                force_errors = predicted - np.concatenate([force_blocks[i] for i in test])
                force_rmse[k, s] = np.sqrt(np.mean(force_errors**2))
    return LearningCurve(sizes, rmse, np.sort(test), force_rmse)


def _force_blocks(forces, jacobians, n_atoms, n_samples: int) -> list[np.ndarray] | None:
    """The forces of each sample (n_atoms, 3), or None without forces."""
    if (forces is None) != (jacobians is None):
        raise ValueError("forces and jacobians must be given together, got only one of them")
    if forces is None:
        return None
    if n_atoms is None:
        raise ValueError("forces need n_atoms, because they derive from summed features")
    if not hasattr(jacobians, "__getitem__") or len(jacobians) != n_samples:
        raise ValueError(f"jacobians must be a sequence with one matrix for each of the {n_samples} samples")
    ends = np.cumsum(as_array(n_atoms).reshape(-1).astype(int))
    vectors = target_vector(as_array(forces).reshape(-1), 3 * int(ends[-1]), "forces").reshape(-1, 3)
    return np.split(vectors, ends[:-1])


def _test_indices(indices, n_samples: int) -> np.ndarray:
    test = as_array(indices).reshape(-1)
    if test.dtype.kind not in "iu" or test.size == 0 or len(np.unique(test)) < test.size:
        raise ValueError(f"test_indices must hold different integers, at least one, got {indices}")
    if test.min() < 0 or test.max() >= n_samples:
        raise ValueError(f"test_indices must lie between 0 and {n_samples - 1}, got {test.min()} to {test.max()}")
    return test
