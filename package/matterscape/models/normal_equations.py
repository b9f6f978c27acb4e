"""Normal equations of ridge regression with an unpenalised baseline, summed over blocks of rows."""

from dataclasses import dataclass, fields

import numpy as np
from scipy.linalg import eigh

from matterscape.uq.arrays import row_blocks


@dataclass
class NormalEquations:
    """Gram matrices of feature columns x, baseline columns c and target y over some set of rows.

    Attributes
    ----------
    xx, xc, xy, cc, cy, yy : arrays (d, d), (d, b), (d,), (b, b), (b,) and float, in float64
    n_rows : int
    """

    xx: np.ndarray
    xc: np.ndarray
    xy: np.ndarray
    cc: np.ndarray
    cy: np.ndarray
    yy: float
    n_rows: int

    @classmethod
    def zero(cls, n_features: int, n_baseline: int) -> "NormalEquations":
        """Equations of no row."""
        d, b = n_features, n_baseline
        return cls(np.zeros((d, d)), np.zeros((d, b)), np.zeros(d), np.zeros((b, b)), np.zeros(b), 0.0, 0)

    def add_rows(self, x: np.ndarray, c: np.ndarray, y: np.ndarray) -> "NormalEquations":
        """Add rows in place, block by block in float64, and return the same object."""
        for block, of_baseline, target in zip(row_blocks(x), row_blocks(c), row_blocks(y)):
            self.xx += block.T @ block
            self.xc += block.T @ of_baseline
            self.xy += block.T @ target
        self.cc += c.T @ c
        self.cy += c.T @ y
        self.yy += float(y @ y)
        self.n_rows += len(x)
        return self

    def __add__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: "NormalEquations") -> "NormalEquations":
        return NormalEquations(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def rescaled(self, scale: np.ndarray) -> "NormalEquations":
        """Equations of the features divided by ``scale`` (d,)."""
        xx, xc, xy = self.xx / np.outer(scale, scale), self.xc / scale[:, None], self.xy / scale
        return NormalEquations(xx, xc, xy, self.cc, self.cy, self.yy, self.n_rows)

    def squared_error(self, coefficients: np.ndarray) -> np.ndarray:
        """Summed squared error over the rows, for rows without a baseline.

        Parameters
        ----------
        coefficients : array (d, n_grid)

        Returns
        -------
        array (n_grid,)
        """
        fitted = np.einsum("dg,dg->g", coefficients, self.xx @ coefficients) - 2.0 * self.xy @ coefficients
        return np.maximum(self.yy + fitted, 0.0)

    def solve(self, regularisations: np.ndarray) -> "Solution":
        """Ridge solutions for a whole grid from one eigendecomposition.

        The baseline is eliminated exactly (its Schur complement), so it carries no penalty.

        Parameters
        ----------
        regularisations : array (n_grid,)

        Returns
        -------
        Solution
        """
        inverse = np.linalg.pinv(self.cc, rcond=1e-10, hermitian=True)
        projection = inverse @ self.xc.T
        eigenvalues, basis = eigh(self.xx - self.xc @ projection)
        eigenvalues = np.maximum(eigenvalues, 0.0)
        rotated = basis.T @ (self.xy - projection.T @ self.cy)
        coefficients = basis @ (rotated[:, None] / (eigenvalues[:, None] + regularisations))
        baseline = inverse @ (self.cy[:, None] - self.xc.T @ coefficients)
        return Solution(coefficients, baseline, eigenvalues, basis, inverse, projection)


@dataclass(frozen=True)
class Solution:
    """Ridge solutions along a grid of regularisations, with what their variances need."""

    coefficients: np.ndarray  # (features, grid)
    baseline: np.ndarray  # (baseline, grid)
    eigenvalues: np.ndarray  # (features,)
    basis: np.ndarray  # (features, features)
    baseline_inverse: np.ndarray  # (baseline, baseline)
    projection: np.ndarray  # (baseline, features)

    def variance(self, x: np.ndarray, c: np.ndarray, regularisations: np.ndarray) -> np.ndarray:
        """Uncalibrated variance of the predictions for rows x, c.

        Parameters
        ----------
        x, c : arrays (n_samples, d) and (n_samples, b)
        regularisations : array (n_grid,)

        Returns
        -------
        array (n_samples, n_grid)
        """
        inverse = 1.0 / (self.eigenvalues[:, None] + regularisations)
        of_features = [
            ((block - of_baseline @ self.projection) @ self.basis) ** 2 @ inverse
            for block, of_baseline in zip(row_blocks(x), row_blocks(c))
        ]
        return np.concatenate(of_features) + np.einsum("nb,bc,nc->n", c, self.baseline_inverse, c)[:, None]


@dataclass(frozen=True)
class RegularisationPath:
    """Held-out errors along a grid of regularisations.

    Attributes
    ----------
    regularisations : array (n_grid,)
    rmse : array (n_grid,)
        Root mean square error of the held-out targets, per atom where the model sums over atoms.
    fold_rmse : array (n_folds, n_grid)
        The same for each fold.
    force_rmse : array (n_grid,) or None
        Root mean square error of the held-out force components, in eV/Å.
    degrees_of_freedom : array (n_grid,)
        Effective number of parameters of the fit to all data.
    best : int
        Grid index of the smallest held-out loss (weighted as in the fit).
    """

    regularisations: np.ndarray
    rmse: np.ndarray
    fold_rmse: np.ndarray
    force_rmse: np.ndarray | None
    degrees_of_freedom: np.ndarray
    best: int

    @property
    def at_edge(self) -> bool:
        """Whether the best regularisation is the first or the last of the grid, so that the grid is too narrow."""
        return self.best in (0, len(self.regularisations) - 1)


def rotate_into_row_space(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the rows in an orthonormal basis of their span.

    Parameters
    ----------
    x : array (n_samples, n_features)

    Returns
    -------
    array (n_samples, rank), float64
        The coordinates.
    array (n_features, rank), float64
        The basis.
    """
    x = x.astype(np.float64, copy=False)
    squares, left = eigh(x @ x.T)
    keep = squares > len(x) * np.finfo(float).eps * squares[-1]
    roots = np.sqrt(squares[keep])
    return left[:, keep] * roots, x.T @ (left[:, keep] / roots)
