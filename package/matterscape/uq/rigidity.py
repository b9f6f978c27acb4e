"""Prediction rigidities of linear models: where the training data pin a prediction down, and where they do not.

A linear model with feature rows X and penalty lambda has the curvature C = X^T X + lambda 1. Shifting one prediction
f^T w by a small amount raises the training loss by half the square of the shift times the rigidity
R = 1 / (f^T C^-1 f), and alpha^2 / R is the variance of that prediction (Bigi et al., Mach. Learn.: Sci. Technol. 5,
045018 (2024); local rigidities: Chong et al., J. Chem. Theory Comput. 19, 8020 (2023)). Losses are sums over samples,
never means.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from matterscape.uq.arrays import as_array, feature_matrix, row_blocks, target_vector


def gram(feature_blocks, weights=None) -> np.ndarray:
    """Gram matrix F^T F of a feature matrix, accumulated block by block in float64.

    Parameters
    ----------
    feature_blocks : array or tensor (n_samples, n_features), or an iterable of such blocks
        A matrix is cut into blocks here; an iterable is consumed once, so it may be a generator.
    weights : array (n_samples,), optional
        Weight of each sample in the loss; only for one matrix. The Gram matrix is then F^T diag(weights) F.

    Returns
    -------
    array (n_features, n_features), float64

    Raises
    ------
    ValueError
        If there is no block, a number is not finite, the blocks differ in width, or a weight is negative.
    """
    if hasattr(feature_blocks, "shape"):
        matrix = feature_matrix(feature_blocks)
        if weights is not None:
            weights = target_vector(weights, len(matrix), "weights")
            if (weights < 0).any():
                raise ValueError(f"weights must not be negative, got {weights.min()}")
        blocks = row_blocks(matrix)
        roots = None if weights is None else row_blocks(np.sqrt(weights))
    elif weights is not None:
        raise ValueError("weights needs one feature matrix, got an iterable of blocks")
    else:
        blocks, roots = feature_blocks, None

    total = None
    for block in blocks:
        block = feature_matrix(block, "feature_blocks", None if total is None else len(total)).astype(np.float64)
        if roots is not None:
            block = block * next(roots)[:, None]
        product = block.T @ block
        total = product if total is None else np.add(total, product, out=total)
    if total is None:
        raise ValueError("feature_blocks must hold at least one block, got none")
    return total


class Rigidity:
    """Variances and rigidities of the predictions of one linear model.

    Parameters
    ----------
    gram : array (n_features, n_features)
        F^T F of the training rows, from :func:`gram`.
    regularisation : float
        Penalty lambda of the model, in the units of the Gram matrix.
    variance_scale : float
        The factor alpha^2 that turns f^T C^-1 f into a variance; see :meth:`calibrated`.

    Raises
    ------
    ValueError
        If the Gram matrix is not square, symmetric and finite, or the regularised matrix is not positive definite.
    """

    def __init__(self, gram, regularisation: float, *, variance_scale: float = 1.0):
        matrix = feature_matrix(gram, "gram").astype(np.float64)
        rounding = 1e-10 * np.abs(matrix).max()
        if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, rtol=0.0, atol=rounding):
            raise ValueError(f"gram must be a symmetric square matrix, got shape {matrix.shape}")
        if not (np.isfinite(regularisation) and regularisation >= 0):
            raise ValueError(f"regularisation must be a number >= 0, got {regularisation}")
        if not (np.isfinite(variance_scale) and variance_scale > 0):
            raise ValueError(f"variance_scale must be a positive number, got {variance_scale}")
        self.gram = matrix
        self.regularisation = float(regularisation)
        self.variance_scale = float(variance_scale)
        try:
            self._factor = cholesky(matrix + regularisation * np.eye(len(matrix)), lower=True)
        except LinAlgError:
            raise ValueError(
                f"regularisation {regularisation:g} leaves the Gram matrix singular; it must exceed about "
                f"{np.trace(matrix) * np.finfo(float).eps:.1e}"
            ) from None

    def whiten(self, features) -> np.ndarray:
        """Rows L^-1 f with C = L L^T, whose squared norms are the uncalibrated variances.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array (n_samples, n_features), float64
        """
        return np.concatenate(list(self._whitened_blocks(features)))

    def _whitened_blocks(self, features) -> Iterator[np.ndarray]:
        for block in row_blocks(feature_matrix(features, n_features=len(self.gram))):
            yield solve_triangular(self._factor, block.T, lower=True, check_finite=False).T

    def variance(self, features) -> np.ndarray:
        """Variance alpha^2 f^T C^-1 f of each prediction.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)
            One row per prediction; for the energy of a structure the sum over its atoms, so that errors that its atoms
            share add up coherently.

        Returns
        -------
        array (n_samples,), in squared units of the target once calibrated
        """
        parts = [np.einsum("nd,nd->n", white, white) for white in self._whitened_blocks(features)]
        return self.variance_scale * np.concatenate(parts)

    def rigidity(self, features) -> np.ndarray:
        """Prediction rigidity 1 / (f^T C^-1 f), independent of the calibration; infinite for a row of zeros.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array (n_samples,)
        """
        with np.errstate(divide="ignore"):
            return self.variance_scale / self.variance(features)

    def covariance(self, first, second) -> np.ndarray:
        """Covariance alpha^2 f_a^T C^-1 f_b of every pair of predictions.

        Parameters
        ----------
        first, second : array or tensor (n_a, n_features) and (n_b, n_features)

        Returns
        -------
        array (n_a, n_b)
        """
        return self.variance_scale * self.whiten(first) @ self.whiten(second).T

    def degrees_of_freedom(self) -> float:
        """Effective number of parameters, trace of F^T F C^-1: the sum of the leverages of the training rows."""
        half = solve_triangular(self._factor, self.gram, lower=True)
        return float(np.trace(solve_triangular(self._factor, half.T, lower=True)))

    def calibrated(self, features, errors) -> "Rigidity":
        """The same rigidity with alpha^2 = <error^2 / f^T C^-1 f>, which maximises the likelihood of held-out errors.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)
            Rows of a validation set that the model was not trained on.
        errors : array (n_samples,)
            Prediction minus target, in the units of the target.

        Returns
        -------
        Rigidity
        """
        return Rigidity(self.gram, self.regularisation, variance_scale=variance_scale(self.rigidity(features), errors))


def variance_scale(rigidities, errors) -> float:
    """Factor alpha^2 = <error^2 rigidity> that maximises the Gaussian likelihood of held-out errors.

    Parameters
    ----------
    rigidities : array (n_samples,)
    errors : array (n_samples,)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is no sample, an entry is not finite, or all errors vanish.
    """
    rigidities = as_array(rigidities)
    if rigidities.size == 0:
        raise ValueError("errors must hold at least one held-out error, got none")
    rigidities = target_vector(rigidities, rigidities.size, "rigidities")
    scale = float(np.mean(target_vector(errors, len(rigidities), "errors") ** 2 * rigidities))
    if scale <= 0:
        raise ValueError("errors must not all be zero: they are the errors on data that the model has not seen")
    return scale


def local_prediction_rigidity(
    train: Sequence, test: Sequence, regularisation: float, *, per: str = "atom", pooling: str = "mean"
) -> list[np.ndarray] | np.ndarray:
    """Local prediction rigidity of every atom, or the rigidity of every structure, of a linear model.

    Training rows are the means of the features of each structure's atoms (a model of the energy per atom), or their
    sums with ``pooling="sum"`` (a model of the total energy). All features are divided by one factor, the root mean
    square norm of the features of a training atom; they are not centred and have no constant column. Then
    C = X^T X + regularisation 1 and LPR_i = 1 / (x_i^T C^-1 x_i).

    Parameters
    ----------
    train : sequence of arrays (n_atoms, n_features)
        Features of the atoms of each training structure.
    test : sequence of arrays (n_atoms, n_features)
        The same for the structures to judge.
    regularisation : float
        Penalty of the model on the scaled, pooled features; positive.
    per : "atom" or "structure"
        Rigidity of the atoms' own contributions, or of the prediction for each structure, pooled as in training.
    pooling : "mean" or "sum"

    Returns
    -------
    list of arrays (n_atoms,), one per test structure; or array (n_test,) for ``per="structure"``

    Raises
    ------
    ValueError
        If a list is empty, features are not finite or differ in width, or an option is unknown.

    References
    ----------
    Chong, Grasselli, Ben Mahmoud, Morrow, Deringer, Ceriotti, J. Chem. Theory Comput. 19, 8020 (2023).
    """
    if per not in ("atom", "structure"):
        raise ValueError(f"per must be 'atom' or 'structure', got {per!r}")
    if pooling not in ("mean", "sum"):
        raise ValueError(f"pooling must be 'mean' or 'sum', got {pooling!r}")
    train = _feature_list(train, "train", None)
    test = _feature_list(test, "test", train[0].shape[1])
    n_atoms = sum(len(block) for block in train)
    scale = np.sqrt(sum(np.square(block, dtype=np.float64).sum() for block in train) / n_atoms)
    if scale == 0:
        raise ValueError("train must hold features that are not all zero")

    pooled = getattr(np, pooling)
    model = Rigidity(
        gram(np.stack([pooled(block, axis=0, dtype=np.float64) for block in train]) / scale), regularisation
    )
    if per == "structure":
        return model.rigidity(np.stack([pooled(block, axis=0, dtype=np.float64) for block in test]) / scale)
    rigidities = model.rigidity(np.concatenate(test) / scale)
    return np.split(rigidities, np.cumsum([len(block) for block in test])[:-1])


def _feature_list(blocks: Iterable, name: str, n_features: int | None) -> list[np.ndarray]:
    matrices = []
    for block in blocks:
        matrices.append(feature_matrix(block, f"{name}[{len(matrices)}]", n_features))
        n_features = matrices[0].shape[1]
    if not matrices:
        raise ValueError(f"{name} must hold at least one structure, got none")
    return matrices
