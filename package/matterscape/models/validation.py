"""Learning curves: how the error on unseen data falls with the number of training samples."""

from collections.abc import Callable
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
    """

    sizes: np.ndarray
    rmse: np.ndarray
    test_indices: np.ndarray

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
    n_seeds: int = 5,
    test_fraction: float = 0.2,
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
    n_seeds : int
        Shuffles per size.
    test_fraction : float
        Share of the samples in the test set, between 0 and 1.
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
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    if n_seeds < 1:
        raise ValueError(f"n_seeds must be at least 1, got {n_seeds}")
    shuffled = np.random.default_rng(seed).permutation(len(x))
    n_test = max(1, round(test_fraction * len(x)))
    test, rest = shuffled[:n_test], shuffled[n_test:]
    sizes = np.asarray(sizes, dtype=int).reshape(-1)
    if sizes.size == 0 or sizes.min() < 2 or sizes.max() > len(rest):
        raise ValueError(f"sizes must lie between 2 and the {len(rest)} samples outside the test set, got {sizes}")

    per_sample = {"n_atoms": n_atoms, "composition": composition}
    per_sample = {name: as_array(values) for name, values in per_sample.items() if values is not None}

    def rows(indices):
        return {name: values[indices] for name, values in per_sample.items()}

    denominator = per_sample["n_atoms"][test] if n_atoms is not None else 1.0
    rmse = np.empty((len(sizes), n_seeds))
    for s, generator in enumerate(np.random.default_rng(seed + 1).spawn(n_seeds)):
        order = generator.permutation(rest)
        for k, size in enumerate(sizes):
            train = order[:size]
            model = make_model().fit(x[train], y[train], **rows(train))
            errors = (model.predict(x[test], **rows(test)) - y[test]) / denominator
            rmse[k, s] = np.sqrt(np.mean(errors**2))
    return LearningCurve(sizes, rmse, np.sort(test))
