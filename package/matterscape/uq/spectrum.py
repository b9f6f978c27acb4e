"""Rigidities for every regularisation at once, from one eigendecomposition of the Gram matrix.

With F^T F = U diag(lambda) U^T and the rotated squares q_k = (U^T f)_k^2 of a row, f^T C^-1 f is the sum over k of
q_k / (lambda_k + regularisation): one product of the stored squares with a vector, or with a matrix for a whole grid.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from matterscape.checks import check_number
from matterscape.uq.arrays import as_array, feature_matrix, row_blocks
from matterscape.uq.last_layer import LastLayerEnsemble
from matterscape.uq.rigidity import Rigidity, gram_matrix


class RigiditySpectrum:
    """Eigenbasis of a Gram matrix, in which a change of the regularisation costs next to nothing.

    Parameters
    ----------
    gram : array (n_features, n_features)
        F^T F of the training rows, from :func:`matterscape.uq.gram`.

    Attributes
    ----------
    gram : array (n_features, n_features)
    eigenvalues : array (n_features,)
        Ascending; rounding below zero is clipped at zero.
    vectors : array (n_features, n_features)
        Eigenvectors as columns.

    Raises
    ------
    ValueError
        If the Gram matrix is not square, symmetric, finite and positive semi-definite.
    """

    def __init__(self, gram):
        self.gram = gram_matrix(gram)
        eigenvalues, self.vectors = eigh(self.gram)
        largest = np.abs(eigenvalues).max()
        if eigenvalues[0] < -1e-6 * largest:  # more than the rounding of single precision
            raise ValueError(f"gram must have no negative eigenvalue beyond rounding, got {eigenvalues[0]:.3g}")
        self._rounding = len(eigenvalues) * np.finfo(float).eps * largest
        self.eigenvalues = np.maximum(eigenvalues, 0.0)

    def rows(self, features) -> "SpectralRows":
        """Rows prepared for any regularisation.

        Parameters
        ----------
        features : array or tensor (n_samples, n_features)

        Returns
        -------
        SpectralRows
        """
        matrix = feature_matrix(features, n_features=len(self.gram))
        squares = np.empty(matrix.shape)
        start = 0
        for block in row_blocks(matrix):
            part = squares[start : start + len(block)]
            np.matmul(block, self.vectors, out=part)
            np.square(part, out=part)
            start += len(block)
        return SpectralRows(squares, self)

    def rigidity(self, regularisation: float, variance_scale: float = 1.0) -> Rigidity:
        """The rigidity at one regularisation.

        Its factor comes from the eigenbasis, so that a regularisation below the rounding of the Gram matrix serves too.

        Parameters
        ----------
        regularisation : float
        variance_scale : float
            alpha^2; positive.

        Returns
        -------
        Rigidity
        """
        check_number("regularisation", regularisation)
        check_number("variance_scale", variance_scale, positive=True)
        roots = self.inverse_eigenvalues(regularisation) ** -0.5
        upper = np.linalg.qr(roots[:, None] * self.vectors.T, mode="r")
        return Rigidity.from_factor(self.gram, regularisation, variance_scale, upper)

    def inverse_eigenvalues(self, regularisation) -> np.ndarray:
        """Eigenvalues 1 / (lambda_k + regularisation) of C^-1.

        Parameters
        ----------
        regularisation : float or array (n_grid,)

        Returns
        -------
        array (n_features,) or (n_grid, n_features)

        Raises
        ------
        ValueError
            If a regularisation is negative or no finite number, or is zero where the Gram matrix is singular.
        """
        values = as_array(regularisation)
        if values.dtype.kind not in "fiu" or values.ndim > 1 or values.size == 0:
            raise ValueError(f"regularisation must be a number or a list of numbers, got {regularisation!r}")
        values = values.astype(np.float64)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            bad = values[~(np.isfinite(values) & (values >= 0))].flat[0]
            raise ValueError(f"regularisation must be a number >= 0, got {bad}")
        if (values == 0).any() and self.eigenvalues[0] <= self._rounding:
            raise ValueError(
                f"regularisation 0 leaves the Gram matrix singular; it must exceed about {self._rounding:.1e}"
            )
        return 1.0 / (self.eigenvalues + values[..., None])

    def degrees_of_freedom(self, regularisation):
        """Effective number of parameters, the sum over k of lambda_k / (lambda_k + regularisation).

        Parameters
        ----------
        regularisation : float or array (n_grid,)

        Returns
        -------
        float or array (n_grid,)
        """
        freedom = self.inverse_eigenvalues(regularisation) @ self.eigenvalues
        return float(freedom) if freedom.ndim == 0 else freedom

    def sample(self, coefficients, regularisation: float, variance_scale: float, n_members: int, seed):
        """Ensemble of weights with the covariance alpha^2 C^-1 around those of the model.

        The same seed gives the same noise, so that members move smoothly with the regularisation; it is turned by the
        symmetric root of C^-1, which does not depend on the signs of eigenvectors.

        Parameters
        ----------
        coefficients : array (n_features,)
            Weights of the model itself, which are the mean of the ensemble.
        regularisation : float
        variance_scale : float
            alpha^2; positive.
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator

        Returns
        -------
        LastLayerEnsemble
        """
        check_number("regularisation", regularisation)
        check_number("variance_scale", variance_scale, positive=True)
        roots = np.sqrt(variance_scale * self.inverse_eigenvalues(regularisation))
        return LastLayerEnsemble.around(coefficients, (self.vectors * roots) @ self.vectors.T, n_members, seed)


@dataclass(frozen=True, eq=False)
class SpectralRows:
    """Squared components of rows along the eigenvectors of a Gram matrix.

    Attributes
    ----------
    squares : array (n_samples, n_features)
    spectrum : RigiditySpectrum
    """

    squares: np.ndarray
    spectrum: RigiditySpectrum

    def __len__(self) -> int:
        return len(self.squares)

    def inverse_rigidity(self, regularisation) -> np.ndarray:
        """Uncalibrated variances f^T C^-1 f.

        Parameters
        ----------
        regularisation : float or array (n_grid,)
            A grid costs one matrix product.

        Returns
        -------
        array (n_samples,) or (n_grid, n_samples)

        Raises
        ------
        ValueError
            If a regularisation is negative or no finite number, or is zero where the Gram matrix is singular.
        """
        return self.spectrum.inverse_eigenvalues(regularisation) @ self.squares.T
