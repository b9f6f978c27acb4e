"""Ridge regression on atomistic features: energies, forces, and properties of atoms or structures.

The model minimises  sum_A [(y_A - x_A^T w - c_A^T b) / n_A]^2 + f^2 sum_k (F_k + J_k^T w)^2 + lambda |s w|^2.
x_A are the features of structure A summed over its n_A atoms, c_A its composition (the baseline b is not penalised),
J_k = dx_A/dr_k, f is ``force_weight`` and s a scale that makes lambda dimensionless. Without atom counts the first
denominator is one, so the same model fits averages, local properties and anything else that has one row per number.
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from matterscape.checks import is_number, real_array
from matterscape.models.files import ArrayFile
from matterscape.models.normal_equations import NormalEquations, RegularisationPath, rotate_into_row_space
from matterscape.models.posterior import LinearPosterior, sample_pairs
from matterscape.models.rows import atom_counts, baseline_columns, checked_blocks
from matterscape.uq import LastLayerEnsemble, variance_scale
from matterscape.uq.arrays import as_array, feature_matrix, row_blocks, structure_sums, target_vector

DEFAULT_REGULARISATIONS = np.logspace(-9, 3, 25)
_SETTINGS = ("regularisation", "regularisations", "folds", "scaling", "baseline", "force_weight", "seed")
_ARRAYS = (
    "coefficients",
    "baseline_coefficients",
    "_baseline_features",
    "_baseline_inverse",
    "scale",
    "_basis",
    "_eigenvalues",
)


class RidgeModel(ArrayFile):
    """Linear model with cross-validated regularisation, forces, and a rigidity for every prediction.

    Parameters
    ----------
    regularisation : float, optional
        Penalty lambda, dimensionless because the features are scaled; None chooses it by cross-validation.
    regularisations : array (n_grid,), optional
        Grid for the cross-validation; 1e-9 to 1e3 by default.
    folds : int or "loo"
        Number of folds over structures (or over samples); "loo" leaves out one sample at a time, in closed form and
        only without forces.
    scaling : "global" or "column"
        Divide all features by one number, or each by its own standard deviation.
    baseline : bool
        Fit an unpenalised constant: one per column of the composition, or one per atom, or one per sample.
    force_weight : float
        Weight of a force component (eV/Å) relative to an energy per atom (eV), in Å. The default is a hundredth, the
        usual ratio of the expected errors (Deringer et al., Chem. Rev. 121, 10073 (2021)).
    seed : int
        Of the shuffle that makes the folds.

    Attributes
    ----------
    coefficients : array (n_features,)
        Weights of the raw features.
    baseline_coefficients : array (n_baseline,)
    scale : array (n_features,)
        What the features are divided by before the penalty applies.
    chosen_regularisation : float
    regularisation_path : RegularisationPath or None
        None when the regularisation was given.
    held_out_predictions : array (n_samples,) or None
        Cross-validated prediction of each training target at the chosen regularisation.
    held_out_uncertainties : array (n_samples,) or None
        Standard deviation of each of them, calibrated on all of them.
    variance_scale : float
        The factor alpha^2 of the predicted variance, from the held-out errors of the cross-validation or
        :meth:`calibrate`; one before either.
    """

    def __init__(
        self,
        *,
        regularisation: float | None = None,
        regularisations=None,
        folds: int | str = 5,
        scaling: str = "global",
        baseline: bool = True,
        force_weight: float = 0.01,
        seed: int = 0,
    ):
        grid = DEFAULT_REGULARISATIONS
        if regularisations is not None:
            grid = real_array("regularisations", regularisations)
        if regularisation is not None and not (is_number(regularisation) and regularisation > 0):
            raise ValueError(f"regularisation must be a positive number, got {regularisation!r}")
        if grid.ndim != 1 or grid.size == 0 or not (np.isfinite(grid).all() and (grid > 0).all()):
            raise ValueError(f"regularisations must be a list of positive numbers, got {regularisations}")
        if folds != "loo" and not (isinstance(folds, int) and folds >= 2):
            raise ValueError(f"folds must be an integer of at least 2 or 'loo', got {folds!r}")
        if scaling not in ("global", "column"):
            raise ValueError(f"scaling must be 'global' or 'column', got {scaling!r}")
        if not (is_number(force_weight) and force_weight > 0):
            raise ValueError(f"force_weight must be a positive number, got {force_weight!r}")
        self.regularisation = regularisation
        self.regularisations = np.sort(grid)
        self.folds = folds
        self.scaling = scaling
        self.baseline = baseline
        self.force_weight = force_weight
        self.seed = seed
        self.regularisation_path: RegularisationPath | None = None
        self.held_out_predictions: np.ndarray | None = None
        self.held_out_uncertainties: np.ndarray | None = None
        self.variance_scale = 1.0

    # ---- fit -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        features,
        targets,
        *,
        structure_index=None,
        n_atoms=None,
        composition=None,
        forces=None,
        jacobians: Iterable | None = None,
    ) -> "RidgeModel":
        """Fit the model.

        Give ``structure_index`` for features of atoms whose sums per structure are to be fitted, or ``n_atoms`` for
        features that are summed already; with neither, every row is a sample of its own (means over a structure,
        atoms with their own targets).

        Parameters
        ----------
        features : array or tensor (n_rows, n_features)
        targets : array or tensor (n_samples,)
            Energies in eV where forces are fitted; one number per structure, or per row.
        structure_index : integer array (n_rows,), optional
            Structure of each atom, from 0 to n_samples - 1.
        n_atoms : array (n_samples,), optional
            Atoms per structure.
        composition : array (n_samples, n_species), optional
            Number of atoms of each species (fractions for averages, one-hot rows for atoms).
        forces : array or tensor (n_total_atoms, 3), optional
            In eV/Å, in the order of the structures.
        jacobians : iterable of arrays (3 n_atoms, n_features), optional
            Derivative of each structure's summed features with respect to its positions, in 1/Å; consumed once, one
            block at a time, so a generator will do.

        Returns
        -------
        RidgeModel
            The model itself.

        Raises
        ------
        ValueError
            If shapes disagree, a number is not finite, there are fewer samples than folds, or only one of ``forces``
            and ``jacobians`` is given.
        """
        x, c, n_atoms = self._rows(features, structure_index, n_atoms, composition)
        n_samples = len(x)
        y = target_vector(targets, n_samples)
        self.extensive = n_atoms is not None
        self.n_features = x.shape[1]
        if (forces is None) != (jacobians is None):
            raise ValueError("forces and jacobians must be given together, got only one of them")
        if forces is not None and not self.extensive:
            raise ValueError("forces need n_atoms or structure_index, because they derive from summed features")
        weight = 1.0 / n_atoms if self.extensive else np.ones(n_samples)

        # The baseline is projected out before anything is squared: energies of thousands of eV lose no digits.
        c = c * weight[:, None]
        inverse_c = np.linalg.pinv(c, rcond=1e-10)
        y_of_c = inverse_c @ (y * weight)
        x_of_c = inverse_c * weight @ x
        y = y * weight - c @ y_of_c
        raw, x, start, raw_squares = x, np.empty_like(x), 0, np.zeros(x.shape[1])
        for block, of_baseline, v in zip(row_blocks(raw), row_blocks(c), row_blocks(weight)):
            weighted = block * v[:, None]
            raw_squares += np.square(weighted).sum(axis=0)
            x[start : start + len(block)] = weighted - of_baseline @ x_of_c
            start += len(block)

        fold_of = self._assign_folds(n_samples)
        force_parts = None
        if forces is not None:
            force_parts = self._force_equations(forces, jacobians, n_atoms.astype(int), c.shape[1], fold_of)

        # With fewer samples than features the problem lives in the span of the rows; a rotation is free for ridge.
        self.scale = self._column_scale(x, raw_squares, force_parts)
        x /= self.scale.astype(x.dtype)
        span = None
        if force_parts is None and n_samples < self.n_features:
            x, span = rotate_into_row_space(x)

        parts = []
        for f in range(fold_of.max() + 1):
            rows = fold_of == f
            parts.append(NormalEquations.zero(x.shape[1], c.shape[1]).add_rows(x[rows], c[rows], y[rows]))
        if force_parts is not None:
            force_parts = [part.rescaled(self.scale) for part in force_parts]
            parts = [part + of_forces for part, of_forces in zip(parts, force_parts)]
        total = sum(parts[1:], start=parts[0])
        if self.regularisation is None:
            self._cross_validate(x, c, y, fold_of, parts, total, force_parts)
            best = self.regularisation_path.regularisations[self.regularisation_path.best]
            self.held_out_predictions = (self.held_out_predictions + c @ y_of_c) / weight
            self.held_out_uncertainties = self.held_out_uncertainties / weight
        else:
            best, self.held_out_predictions, self.held_out_uncertainties = self.regularisation, None, None
        self.chosen_regularisation = float(best)

        solution = total.solve(np.array([best]))
        rounding = np.finfo(float).eps ** 2 * len(solution.eigenvalues) * solution.eigenvalues.max(initial=0.0)
        if best <= rounding:  # directions that no sample has would have no digit of their variance
            raise ValueError(f"regularisation must exceed about {rounding:.1e} for these features, got {best:g}")
        w = solution.coefficients[:, 0]
        self._basis = solution.basis if span is None else span @ solution.basis  # (features, rank)
        self._eigenvalues = solution.eigenvalues
        self._baseline_features = x_of_c
        self._baseline_inverse = solution.baseline_inverse
        self.coefficients = (w if span is None else span @ w) / self.scale
        self.baseline_coefficients = y_of_c + solution.baseline[:, 0] - x_of_c @ self.coefficients
        return self

    def _rows(self, features, structure_index, n_atoms, composition):
        """Sample rows, baseline columns and atom counts (None where samples are not sums)."""
        x = feature_matrix(features)
        n_atoms = atom_counts(structure_index, n_atoms, len(x))
        if structure_index is not None:
            x = structure_sums(x, as_array(structure_index), len(n_atoms))
        c = baseline_columns(composition, n_atoms, len(x)) if self.baseline else np.zeros((len(x), 1))
        return x, c, n_atoms

    def _assign_folds(self, n_samples: int) -> np.ndarray:
        if self.regularisation is not None or self.folds == "loo":
            return np.zeros(n_samples, dtype=int)
        if n_samples < self.folds:
            raise ValueError(f"folds must not exceed the number of samples {n_samples}, got {self.folds}")
        return np.random.default_rng(self.seed).permutation(n_samples) % self.folds

    def _force_equations(self, forces, jacobians, n_atoms, n_baseline, fold_of) -> list[NormalEquations]:
        """Normal equations of the force rows, one per fold, from a single pass over the Jacobian blocks."""
        forces = feature_matrix(forces, "forces", 3).astype(np.float64)
        if len(forces) != n_atoms.sum():
            raise ValueError(f"forces must have one row for each of the {n_atoms.sum()} atoms, got {len(forces)}")
        equations = [NormalEquations.zero(self.n_features, n_baseline) for _ in range(fold_of.max() + 1)]
        ends = np.cumsum(n_atoms)
        n_blocks = 0
        for n_blocks, block in enumerate(checked_blocks(jacobians), start=1):
            if n_blocks > len(n_atoms):
                break
            a = n_blocks - 1
            block = feature_matrix(block, f"jacobians[{a}]", self.n_features).astype(np.float64) * self.force_weight
            if len(block) != 3 * n_atoms[a]:
                raise ValueError(f"jacobians[{a}] must have {3 * n_atoms[a]} rows, three per atom, got {len(block)}")
            target = forces[ends[a] - n_atoms[a] : ends[a]].reshape(-1) * self.force_weight
            equations[fold_of[a]].add_rows(-block, np.zeros((len(block), n_baseline)), target)
        if n_blocks != len(n_atoms):
            raise ValueError(f"jacobians must yield one block for each of the {len(n_atoms)} structures")
        return equations

    def _column_scale(self, x: np.ndarray, raw_squares: np.ndarray, force_parts) -> np.ndarray:
        squares = sum(np.square(block).sum(axis=0) for block in row_blocks(x))
        n_rows = len(x)
        for part in force_parts or ():
            squares = squares + np.diag(part.xx)
            n_rows += part.n_rows
        if self.scaling == "global":
            squares, raw_squares = (np.full_like(values, values.sum()) for values in (squares, raw_squares))
        constant = squares <= (64 * np.finfo(x.dtype).eps) ** 2 * raw_squares  # nothing but rounding
        return np.where(constant, 1.0, np.sqrt(squares / n_rows))

    # ---- cross-validation ------------------------------------------------------------------------------------------

    def _cross_validate(self, x, c, y, fold_of, parts, total, force_parts) -> None:
        grid = self.regularisations
        everything = total.solve(grid)
        freedom = (everything.eigenvalues[:, None] / (everything.eigenvalues[:, None] + grid)).sum(axis=0)
        predictions = np.empty((len(x), len(grid)))
        variances = np.empty_like(predictions)
        force_squares = np.zeros(len(grid))
        if self.folds == "loo":
            if force_parts is not None:
                raise ValueError("folds='loo' has no closed form with forces, give a number of folds")
            # Leverages: residual and variance of a left-out sample follow from the fit to all (Sherman-Morrison).
            leverage = np.minimum(everything.variance(x, c, grid), 1.0 - 1e-12)
            residual = x @ everything.coefficients + c @ everything.baseline - y[:, None]
            predictions[:] = y[:, None] + residual / (1.0 - leverage)
            variances[:] = leverage / (1.0 - leverage)
        else:
            for f, part in enumerate(parts):
                held_out = fold_of == f
                solution = (total - part).solve(grid)
                predictions[held_out] = x[held_out] @ solution.coefficients + c[held_out] @ solution.baseline
                variances[held_out] = solution.variance(x[held_out], c[held_out], grid)
                if force_parts is not None:
                    force_squares += force_parts[f].squared_error(solution.coefficients)

        squares = (predictions - y[:, None]) ** 2
        best = int(np.argmin(squares.sum(axis=0) + force_squares))
        folds = range(fold_of.max() + 1)
        n_force_rows = sum(part.n_rows for part in force_parts or ())
        self.regularisation_path = RegularisationPath(
            regularisations=grid,
            rmse=np.sqrt(squares.mean(axis=0)),
            fold_rmse=np.stack([np.sqrt(squares[fold_of == f].mean(axis=0)) for f in folds]),
            force_rmse=np.sqrt(force_squares / n_force_rows) / self.force_weight if force_parts else None,
            degrees_of_freedom=freedom,
            best=best,
        )
        self.held_out_predictions = predictions[:, best]
        if squares[:, best].any():
            self.variance_scale = variance_scale(1.0 / variances[:, best], np.sqrt(squares[:, best]))
        self.held_out_uncertainties = np.sqrt(self.variance_scale * variances[:, best])

    # ---- predictions -----------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "coefficients"):
            raise ValueError("the model must be fitted before it is asked for predictions")

    def _fitted_rows(self, features, structure_index, n_atoms, composition):
        self._check_fitted()
        x, c, n_atoms = self._rows(features, structure_index, n_atoms, composition)
        if x.shape[1] != self.n_features:
            raise ValueError(f"features must have {self.n_features} columns, got {x.shape[1]}")
        if self.extensive != (n_atoms is not None):
            needs = "n_atoms or structure_index" if self.extensive else "neither n_atoms nor structure_index"
            raise ValueError(f"this model was fitted with features that need {needs}")
        if c.shape[1] != len(self.baseline_coefficients):
            raise ValueError(f"composition must have {len(self.baseline_coefficients)} columns, got {c.shape[1]}")
        return x, c

    def predict(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Predicted targets.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`fit`. Rows of single atoms with ``n_atoms`` of one give the atoms' own contributions.

        Returns
        -------
        array (n_samples,), float64
        """
        x, c = self._fitted_rows(features, structure_index, n_atoms, composition)
        return np.concatenate([block @ self.coefficients for block in row_blocks(x)]) + c @ self.baseline_coefficients

    def predict_forces(self, jacobians: Iterable) -> list[np.ndarray]:
        """Forces -J^T w of each structure.

        Parameters
        ----------
        jacobians : iterable of arrays (3 n_atoms, n_features)
            In 1/Å, as in :meth:`fit`.

        Returns
        -------
        list of arrays (n_atoms, 3), in eV/Å
        """
        return [-(block @ self.coefficients).reshape(-1, 3) for block in self._jacobian_blocks(jacobians)]

    def _jacobian_blocks(self, jacobians: Iterable) -> Iterator[np.ndarray]:
        self._check_fitted()
        for block in checked_blocks(jacobians):
            block = feature_matrix(block, "jacobians", self.n_features)
            if len(block) % 3:
                raise ValueError(f"jacobians must have three rows per atom, got a block of {len(block)} rows")
            yield block

    # ---- uncertainties ---------------------------------------------------------------------------------------------

    @property
    def _posterior(self) -> LinearPosterior:
        self._check_fitted()
        return LinearPosterior(
            basis=self._basis,
            eigenvalues=self._eigenvalues,
            regularisation=self.chosen_regularisation,
            scale=self.scale,
            baseline_features=self._baseline_features,
            baseline_inverse=self._baseline_inverse,
        )

    def rigidity(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Prediction rigidity 1 / (x^T C^-1 x) of each prediction; the larger, the better the data determine it.

        For features of single atoms (``n_atoms`` of one) these are local prediction rigidities. The uncertainty of the
        baseline is included. Energies in structures of n atoms have rigidities that fall as 1/n^2.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples,)
        """
        x, c = self._fitted_rows(features, structure_index, n_atoms, composition)
        with np.errstate(divide="ignore"):
            return 1.0 / self._posterior.variance(x, c)

    def predict_uncertainty(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Standard deviation alpha (x^T C^-1 x)^(1/2) of each prediction, in the units of the target.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples,)
        """
        x, c = self._fitted_rows(features, structure_index, n_atoms, composition)
        return np.sqrt(self.variance_scale * self._posterior.variance(x, c))

    def covariance(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Covariance of all predictions, from which the variance of any linear combination follows.

        The combination A y of predictions y has the covariance A C A^T: formation and defect energies, in which shared
        errors cancel.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples, n_samples), in squared units of the target
        """
        x, c = self._fitted_rows(features, structure_index, n_atoms, composition)
        return self.variance_scale * self._posterior.covariance(x, c)

    def difference_uncertainty(
        self, features, pairs, *, structure_index=None, n_atoms=None, composition=None
    ) -> np.ndarray:
        """Standard deviation of differences of two predictions, smaller than either alone if they share their errors.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.
        pairs : integer array (n_pairs, 2)
            Samples whose predictions are subtracted.

        Returns
        -------
        array (n_pairs,), in the units of the target
        """
        x, c = self._fitted_rows(features, structure_index, n_atoms, composition)
        first, second = sample_pairs(pairs, len(x)).T
        return np.sqrt(self.variance_scale * self._posterior.variance(x[first] - x[second], c[first] - c[second]))

    def predict_force_uncertainties(self, jacobians: Iterable) -> list[np.ndarray]:
        """Standard deviation of each force component.

        The scale alpha^2 is that of the targets; forces have errors of their own, which a scale from held-out forces,
        ``matterscape.uq.calibrate(uncertainties**2, errors)``, describes better.

        Parameters
        ----------
        jacobians : iterable of arrays (3 n_atoms, n_features)
            In 1/Å, as in :meth:`fit`.

        Returns
        -------
        list of arrays (n_atoms, 3), in eV/Å
        """
        baseline = np.zeros((1, len(self._posterior.baseline_inverse)))
        return [
            np.sqrt(self.variance_scale * self._posterior.variance(block, baseline.repeat(len(block), 0))).reshape(
                -1, 3
            )
            for block in self._jacobian_blocks(jacobians)
        ]

    def ensemble(self, n_members: int, seed: int | np.random.Generator = 0) -> LastLayerEnsemble:
        """Models drawn from the posterior, with which uncertainties can be propagated through any calculation.

        Members act on :meth:`rows` for targets and on :meth:`force_rows` for forces; their mean is the model itself,
        and their variance tends to the square of :meth:`predict_uncertainty`, with a relative standard error of
        (2 / (n_members - 1))^(1/2).

        Parameters
        ----------
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator

        Returns
        -------
        LastLayerEnsemble
            Of n_features + n_baseline features, calibrated with ``variance_scale``.
        """
        deviations = self._posterior.sample(n_members, seed)
        mean = np.concatenate([self.coefficients, self.baseline_coefficients])
        return LastLayerEnsemble(mean[:, None] + np.sqrt(self.variance_scale) * deviations)

    def rows(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Rows that the members of an :meth:`ensemble` multiply: features of each sample, then its baseline columns.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples, n_features + n_baseline), float64
        """
        return np.concatenate(self._fitted_rows(features, structure_index, n_atoms, composition), axis=1)

    def force_rows(self, jacobians: Iterable) -> list[np.ndarray]:
        """Rows that give the forces -J^T w of the members of an :meth:`ensemble`; the baseline has none.

        Parameters
        ----------
        jacobians : iterable of arrays (3 n_atoms, n_features)
            In 1/Å, as in :meth:`fit`.

        Returns
        -------
        list of arrays (3 n_atoms, n_features + n_baseline), float64
            Components of one atom follow each other.
        """
        n_baseline = len(self._posterior.baseline_inverse)
        return [
            np.pad(-block.astype(np.float64), ((0, 0), (0, n_baseline))) for block in self._jacobian_blocks(jacobians)
        ]

    def calibrate(self, features, targets, *, structure_index=None, n_atoms=None, composition=None) -> float:
        """Set the scale of the predicted uncertainty by maximum likelihood on data that the fit has not seen.

        Parameters
        ----------
        features, targets, structure_index, n_atoms, composition
            As in :meth:`fit`.

        Returns
        -------
        float
            alpha^2, the new ``variance_scale``.
        """
        arguments = dict(structure_index=structure_index, n_atoms=n_atoms, composition=composition)
        predicted = self.predict(features, **arguments)
        errors = predicted - target_vector(targets, len(predicted))
        self.variance_scale = variance_scale(self.rigidity(features, **arguments), errors)
        return self.variance_scale

    # ---- files -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that predictions and uncertainties need, as plain arrays (settings and flags as one JSON string).

        Returns
        -------
        dict of str to array
        """
        if not hasattr(self, "coefficients"):
            raise ValueError("the model must be fitted before it is saved")
        settings = {name: getattr(self, name) for name in _SETTINGS}
        settings["regularisations"] = list(map(float, settings["regularisations"]))
        fitted = {name: getattr(self, name) for name in ("chosen_regularisation", "variance_scale", "extensive")}
        return {
            "settings": np.array(json.dumps(settings)),
            "fitted": np.array(json.dumps(fitted)),
            **{name.lstrip("_"): getattr(self, name) for name in _ARRAYS},
        }

    @classmethod
    def from_state_dict(cls, state) -> "RidgeModel":
        """Model from the arrays of :meth:`state_dict`.

        Parameters
        ----------
        state : mapping of str to array

        Returns
        -------
        RidgeModel

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, or an entry is missing.
        """
        cls._check_entries(state, ["settings", "fitted", *(name.lstrip("_") for name in _ARRAYS)])
        model = cls(**json.loads(str(state["settings"])))
        for name, value in json.loads(str(state["fitted"])).items():
            setattr(model, name, value)
        for name in _ARRAYS:
            setattr(model, name, np.asarray(state[name.lstrip("_")]))
        model.n_features = len(model.coefficients)
        return model
