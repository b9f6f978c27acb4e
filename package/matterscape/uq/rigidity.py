"""Prediction rigidities of linear models: where the training data pin a prediction down, and where they do not.

A linear model with feature rows X and penalty lambda has the curvature C = X^T X + lambda 1. Shifting one prediction
f^T w by a small amount raises the training loss by half the square of the shift times the rigidity
R = 1 / (f^T C^-1 f), and alpha^2 / R is the variance of that prediction (Bigi et al., Mach. Learn.: Sci. Technol. 5,
045018 (2024); local rigidities: Chong et al., J. Chem. Theory Comput. 19, 8020 (2023)). Losses are sums over samples,
never means.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cholesky
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dtpqrt, dtrtri

from matterscape.checks import check_number, is_number
from matterscape.uq.arrays import as_array, feature_matrix, feature_pair, row_blocks, target_vector
from matterscape.uq.last_layer import LastLayerEnsemble

if TYPE_CHECKING:
    import torch


def gram(feature_blocks, weights=None, out=None) -> np.ndarray:
    """Gram matrix F^T F of a feature matrix, accumulated block by block in float64.

    Parameters
    ----------
    feature_blocks : array or tensor (n_samples, n_features), or an iterable of such blocks
        A matrix is cut into blocks here; an iterable is consumed once, so it may be a generator.
    weights : array (n_samples,), optional
        Weight of each sample in the loss; only for one matrix. The Gram matrix is then F^T diag(weights) F.
    out : array (n_features, n_features), float64, optional
        Gram matrix of other rows, to which this one is added in place once all blocks are through: energies and forces,
        or a data set that comes in parts.

    Returns
    -------
    array (n_features, n_features), float64
        ``out`` if it was given.

    Raises
    ------
    TypeError
        If ``feature_blocks`` is no matrix and cannot be iterated over, or entries are not real numbers.
    ValueError
        If there is no block, a number is not finite, the blocks differ in width, a weight is negative, or ``out`` has
        another shape or type.
    """
    is_matrix = hasattr(feature_blocks, "shape")
    if not (is_matrix or isinstance(feature_blocks, Iterable)):
        raise TypeError(
            f"feature_blocks must be a matrix or an iterable of matrices, got {type(feature_blocks).__name__}"
        )
    if weights is not None and not is_matrix:
        raise ValueError("weights needs one feature matrix, got an iterable of blocks")
    roots = None if weights is None else row_blocks(_roots(weights, len(feature_blocks)))
    total = None
    for block in _checked_blocks([feature_blocks] if is_matrix else feature_blocks):
        if roots is not None:
            block = block * next(roots)[:, None]
        product = block.T @ block
        total = product if total is None else np.add(total, product, out=total)
    if total is None:
        raise ValueError("feature_blocks must hold at least one block, got none")
    if out is None:
        return total
    if not isinstance(out, np.ndarray) or out.shape != total.shape or out.dtype != np.float64:
        what = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out must be a float64 array of shape {total.shape}, got {what}")
    return np.add(out, total, out=out)


def _checked_blocks(feature_blocks: Iterable) -> Iterator[np.ndarray]:
    n_features = None
    for block in feature_blocks:
        matrix = feature_matrix(block, "feature_blocks", n_features)
        n_features = matrix.shape[1]
        yield from row_blocks(matrix)


def _roots(weights, n_samples: int) -> np.ndarray:
    weights = target_vector(weights, n_samples, "weights")
    if (weights < 0).any():
        raise ValueError(f"weights must not be negative, got {weights.min()}")
    return np.sqrt(weights)


def gram_matrix(gram) -> np.ndarray:
    """Gram matrix as a checked float64 array.

    Parameters
    ----------
    gram : array or tensor (n_features, n_features)

    Returns
    -------
    array (n_features, n_features), float64

    Raises
    ------
    ValueError
        If it is not square, symmetric and finite.
    """
    matrix = feature_matrix(gram, "gram").astype(np.float64)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"gram must be a symmetric square matrix, got shape {matrix.shape}")
    asymmetry = np.abs(matrix - matrix.T).max()
    if asymmetry > 1e-10 * np.abs(matrix).max():
        raise ValueError(f"gram must be a symmetric square matrix, got mirror entries that differ by {asymmetry:.1e}")
    return matrix


def whitened_blocks(inverse_factor: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Rows L^-1 f, block by block in float64.

    Parameters
    ----------
    inverse_factor : array (n_features, n_features)
        Lower triangular L^-1.
    rows : array (n_samples, n_features)

    Yields
    ------
    array (n_block, n_features)
    """
    for block in row_blocks(rows):
        yield dtrmm(1.0, inverse_factor, block.T, lower=1).T


class Rigidity:
    """Variances and rigidities of the predictions of one linear model.

    Features may be arrays or tensors. Arrays give arrays; tensors give tensors on their device, which can be
    differentiated with respect to the features as often as needed, so that uncertainties have forces.

    Parameters
    ----------
    gram : array (n_features, n_features)
        F^T F of the training rows, from :func:`gram`.
    regularisation : float
        Penalty lambda (varsigma^2) of the model, in the units of the Gram matrix.
    variance_scale : float
        The factor alpha^2 that turns f^T C^-1 f into a variance; see :meth:`calibrated`.

    Raises
    ------
    ValueError
        If the Gram matrix is not square, symmetric and finite, or the regularised matrix is not positive definite.
    """

    def __init__(self, gram, regularisation: float, *, variance_scale: float = 1.0):
        matrix = gram_matrix(gram)
        if not (is_number(regularisation) and regularisation >= 0):
            raise ValueError(f"regularisation must be a number >= 0, got {regularisation!r}")
        check_number("variance_scale", variance_scale, positive=True)
        single = as_array(gram).dtype == np.float32  # the small eigenvalues were lost before they came here
        rounding = np.trace(matrix) * np.finfo(np.float32 if single else float).eps
        try:
            factor = cholesky(matrix + regularisation * np.eye(len(matrix)), lower=True)
        except LinAlgError:
            factor = None
        # rounding alone can make a singular matrix look positive definite
        lost = regularisation <= (rounding if single else 0.0)
        if factor is None or (lost and np.diag(factor).min() ** 2 <= rounding):
            raise ValueError(
                f"regularisation {regularisation:g} leaves the Gram matrix singular; it must exceed about "
                f"{rounding:.1e}"
            )
        self._set(matrix, regularisation, variance_scale, factor)

    @classmethod
    def from_factor(cls, gram, regularisation: float, variance_scale: float, upper: np.ndarray) -> "Rigidity":
        """Rigidity whose factor is known already, from orthogonal transformations that form no squares.

        Parameters
        ----------
        gram : array (n_features, n_features)
        regularisation : float
        variance_scale : float
        upper : array (n_features, n_features)
            Its upper triangle R has R^T R = F^T F + regularisation 1; signs of its rows do not matter.

        Returns
        -------
        Rigidity
        """
        result = cls.__new__(cls)
        result._set(gram, regularisation, variance_scale, (np.sign(np.diag(upper))[:, None] * np.triu(upper)).T)
        return result

    def _set(self, gram: np.ndarray, regularisation: float, variance_scale: float, factor: np.ndarray) -> None:
        self.gram = gram
        self.regularisation = float(regularisation)
        self.variance_scale = float(variance_scale)
        self._factor = factor

    @cached_property
    def _inverse_factor(self) -> np.ndarray:
        """L^-1: products with it are as accurate as triangular solves with L, and faster."""
        return dtrtri(np.asfortranarray(self._factor), lower=1)[0]

    def whiten(self, features) -> np.ndarray:
        """Rows L^-1 f with C = L L^T, whose squared norms are the uncalibrated variances.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)
            Tensors are detached.

        Returns
        -------
        array (n_samples, n_features), float64
        """
        return np.concatenate(list(self._whitened_blocks(features)))

    def _whitened_blocks(self, features) -> Iterator[np.ndarray]:
        return whitened_blocks(self._inverse_factor, feature_matrix(features, n_features=len(self.gram)))

    def leverages(self, rows):
        """Uncalibrated variance f^T C^-1 f of each row: for a training row its leverage, from 0 to 1.

        The leverage h of a training row says what it contributes to its own prediction; its leave-one-out residual is
        its residual divided by 1 - h.

        Parameters
        ----------
        rows : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,), float64
        """
        if hasattr(rows, "detach"):
            from matterscape.uq.quadratic import quadratic_form

            return quadratic_form(self._inverse_factor_beside(rows), rows)
        return np.concatenate([np.einsum("nd,nd->n", white, white) for white in self._whitened_blocks(rows)])

    def variance(self, features):
        """Variance alpha^2 f^T C^-1 f of each prediction.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)
            One row per prediction; for the energy of a structure the sum over its atoms, so that errors that its atoms
            share add up coherently.

        Returns
        -------
        array or tensor (n_samples,), in squared units of the target once calibrated
        """
        return self.variance_scale * self.leverages(features)

    def rigidity(self, features):
        """Prediction rigidity 1 / (f^T C^-1 f), independent of the calibration; infinite for a row of zeros.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,)
        """
        with np.errstate(divide="ignore"):
            return 1.0 / self.leverages(features)

    def covariance(self, first, second):
        """Covariance alpha^2 f_a^T C^-1 f_b of every pair of predictions.

        Parameters
        ----------
        first, second : array or tensor (n_a, n_features) and (n_b, n_features)

        Returns
        -------
        array or tensor (n_a, n_b)
        """
        first, second = feature_pair(first, second, len(self.gram))
        if hasattr(first, "detach"):
            from matterscape.uq.quadratic import feature_tensor, inverse_product

            first = feature_tensor(first, "first", len(self.gram))
            return self.variance_scale * first @ inverse_product(self._inverse_factor_beside(second), second).mT
        return self.variance_scale * self.whiten(first) @ self.whiten(second).T

    def difference_variance(self, first, second):
        """Variance alpha^2 (f_a - f_b)^T C^-1 (f_a - f_b) of each difference, in which shared errors cancel.

        Parameters
        ----------
        first, second : array or tensor (n_samples, n_features)

        Returns
        -------
        array or tensor (n_samples,)
        """
        first, second = feature_pair(first, second, len(self.gram))
        if first.shape != second.shape:
            raise ValueError(
                f"first and second must have the same shape, got {tuple(first.shape)} and {tuple(second.shape)}"
            )
        return self.variance(first - second)

    def degrees_of_freedom(self) -> float:
        """Effective number of parameters, trace of F^T F C^-1: the sum of the leverages of the training rows."""
        return float(np.vdot(self._inverse_factor @ self.gram, self._inverse_factor))

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
        result = copy(self)
        result.variance_scale = variance_scale(self.rigidity(features), errors)
        return result

    def updated(self, rows, weights=None) -> "Rigidity":
        """The rigidity after more training rows, without a new factorisation.

        The triangular factor absorbs the rows by orthogonal transformations, which costs n_rows n_features^2. The scale
        of the variance stays as it is.

        Parameters
        ----------
        rows : array or tensor (n_rows, n_features)
        weights : array (n_rows,), optional
            Weight of each row in the loss, as in :func:`gram`.

        Returns
        -------
        Rigidity
        """
        rows = feature_matrix(rows, "rows", len(self.gram)).astype(np.float64, copy=False)
        if weights is not None:
            rows = rows * _roots(weights, len(rows))[:, None]
        # QR of the rows below L^T, whose triangle is the new L^T
        upper, _, _, _ = dtpqrt(0, min(32, len(self.gram)), self._factor.T, rows)
        return Rigidity.from_factor(self.gram + rows.T @ rows, self.regularisation, self.variance_scale, upper)

    def sample(self, coefficients, n_members: int, seed) -> LastLayerEnsemble:
        """Ensemble of weights with the covariance alpha^2 C^-1 around those of the model.

        Its variances tend to :meth:`variance` as 1/sqrt(n_members); unlike a variance, its members can be propagated
        through any later computation.

        Parameters
        ----------
        coefficients : array (n_features,)
            Weights of the model itself, which are the mean of the ensemble.
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator

        Returns
        -------
        LastLayerEnsemble
        """
        from matterscape.uq.spectrum import RigiditySpectrum

        spectrum = RigiditySpectrum(self.gram)
        return spectrum.sample(coefficients, self.regularisation, self.variance_scale, n_members, seed)

    def _inverse_factor_beside(self, tensor: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.from_numpy(self._inverse_factor).to(tensor.device)


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
