"""Kernel ridge regression with an active set: energies, forces, and properties of atoms or structures.

The kernel k(x, x') is approximated from M active points as k(x, M) K_MM^-1 k(M, x') (projected process, also called
subset of regressors), which is exact when every training point is active. With phi(x) = k(x, M) K_MM^(-1/2) this is
ridge regression in phi, so that regularisation, cross-validation, forces and rigidities are those of
:class:`~matterscape.models.ridge.RidgeModel`. Conventions follow Deringer et al., Chem. Rev. 121, 10073 (2021).
"""

import json
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from matterscape.checks import is_number
from matterscape.models.files import ArrayFile
from matterscape.models.posterior import sample_pairs
from matterscape.models.ridge import RegularisationPath, RidgeModel
from matterscape.models.rows import atom_counts, checked_blocks
from matterscape.uq import LastLayerEnsemble, variance_scale
from matterscape.uq.arrays import as_array, feature_matrix, row_blocks, structure_sums, target_vector

MAX_CANDIDATES = 20_000  # rows from which the active set is drawn
SMALLEST_EIGENVALUE = 1e-12  # of K_MM, relative to the largest; smaller ones are rounding
KERNELS = ("polynomial", "gaussian")


class KernelRidgeModel(ArrayFile):
    """Kernel model of local contributions or of whole structures, scaling linearly with the data.

    Parameters
    ----------
    kernel : "polynomial" or "gaussian"
        (x.x' / |x||x'|)^exponent, or exp(-|x - x'|^2 / 2 width^2).
    exponent : int
        Of the polynomial kernel; 2 for the usual three-body SOAP kernel.
    width : float, optional
        Of the Gaussian kernel, in the units of the features; the median distance between active points by default.
    n_active : int or None
        Active points, chosen by farthest point sampling; None makes every training row active.
    regularisation, regularisations, folds, baseline, force_weight, seed
        As for :class:`RidgeModel`; ``seed`` also starts the choice of active points.

    Attributes
    ----------
    active : array (n_active, n_features)
    ridge : RidgeModel
        The linear model in phi, with its ``regularisation_path``, ``held_out_predictions`` and so on.
    """

    def __init__(
        self,
        *,
        kernel: str = "polynomial",
        exponent: int = 2,
        width: float | None = None,
        n_active: int | None = 500,
        regularisation: float | None = None,
        regularisations=None,
        folds: int | str = 5,
        baseline: bool = True,
        force_weight: float = 0.01,
        seed: int = 0,
    ):
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be 'polynomial' or 'gaussian', got {kernel!r}")
        if not (isinstance(exponent, int) and exponent >= 1):
            raise ValueError(f"exponent must be a positive integer, got {exponent!r}")
        if width is not None and not (is_number(width) and width > 0):
            raise ValueError(f"width must be a positive number, got {width!r}")
        if n_active is not None and not (is_number(n_active) and n_active == int(n_active) and n_active >= 1):
            raise ValueError(f"n_active must be a whole number, at least 1, got {n_active!r}")
        self.kernel = kernel
        self.exponent = exponent
        self.width = width
        self.n_active = None if n_active is None else int(n_active)
        self.seed = seed
        self.ridge = RidgeModel(
            regularisation=regularisation,
            regularisations=regularisations,
            folds=folds,
            baseline=baseline,
            force_weight=force_weight,
            seed=seed,
        )

    @property
    def regularisation_path(self) -> RegularisationPath | None:
        """Held-out errors along the grid of regularisations."""
        return self.ridge.regularisation_path

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
    ) -> "KernelRidgeModel":
        """Fit the model.

        With ``structure_index`` every atom has a contribution of its own and the targets are the sums; with ``n_atoms``
        the rows are means over a structure's atoms and the target is n_atoms times the prediction for that mean;
        with neither every row is a sample.

        Parameters
        ----------
        features : array or tensor (n_rows, n_features)
        targets : array or tensor (n_samples,)
        structure_index : integer array (n_rows,), optional
        n_atoms : array (n_samples,), optional
        composition : array (n_samples, n_species), optional
        forces : array (n_total_atoms, 3), optional
            In eV/Å.
        jacobians : iterable of arrays, optional
            One block per structure, in 1/Å: with ``structure_index`` the derivative of every atom's features,
            (3 n_atoms, n_atoms, n_features), rows (atom, x); with ``n_atoms`` that of the summed features,
            (3 n_atoms, n_features). Consumed once.

        Returns
        -------
        KernelRidgeModel
            The model itself.

        Raises
        ------
        ValueError
            As :meth:`RidgeModel.fit`; or if a row of features is zero with the polynomial kernel.
        """
        x = feature_matrix(features)
        self._choose_active(x)
        rows = None
        if jacobians is not None:
            rows = self._feature_jacobians(x, jacobians, structure_index)
        phi, arguments = self._phi_samples(x, structure_index, n_atoms)
        self.ridge.fit(phi, targets, composition=composition, forces=forces, jacobians=rows, **arguments)
        return self

    def _choose_active(self, x: np.ndarray) -> None:
        self.n_features = x.shape[1]
        points = self._comparable(torch.from_numpy(x)).numpy()
        if not np.isfinite(points).all():
            raise ValueError("features must not hold rows of zeros, whose direction the polynomial kernel needs")
        if self.n_active is not None and len(x) > self.n_active:
            from skmatter.sample_selection import FPS

            generator = np.random.default_rng(self.seed)
            candidates = np.arange(len(x))
            if len(x) > MAX_CANDIDATES:
                candidates = np.sort(generator.choice(len(x), MAX_CANDIDATES, replace=False))
            if points.shape[1] == 1:  # the selector wants two columns
                points = np.repeat(points, 2, axis=1)
            search = FPS(n_to_select=self.n_active, initialize=int(generator.integers(len(candidates))))
            x = x[candidates[search.fit(points[candidates]).selected_idx_]]
        self.active = x.astype(np.float64)
        self._length = 1.0
        if self.kernel == "gaussian":
            self._length = float(self.width or _median_distance(self.active))
        between = self._kernel(torch.from_numpy(self.active)).numpy()
        eigenvalues, vectors = np.linalg.eigh(between)
        keep = eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[-1]
        self._whitening = vectors[:, keep] / np.sqrt(eigenvalues[keep])  # (active, rank)

    # ---- kernel ----------------------------------------------------------------------------------------------------

    def _comparable(self, x: torch.Tensor) -> torch.Tensor:
        """Rows whose products or distances make the kernel."""
        x = x.to(torch.float64)
        return x / x.norm(dim=1, keepdim=True) if self.kernel == "polynomial" else x

    def _kernel(self, x: torch.Tensor, others: torch.Tensor | None = None) -> torch.Tensor:
        """Kernel between rows and other rows, the active points by default; differentiable in the first rows."""
        rows = self._comparable(x)
        others = self._comparable(torch.from_numpy(self.active).to(x.device) if others is None else others)
        if self.kernel == "polynomial":
            return (rows @ others.T) ** self.exponent
        squares = (rows**2).sum(1, keepdim=True) + (others**2).sum(1) - 2.0 * rows @ others.T
        return torch.exp(-0.5 * squares.clamp_min(0.0) / self._length**2)

    def _phi(self, x: np.ndarray) -> np.ndarray:
        values = [self._kernel(torch.from_numpy(block)).numpy() @ self._whitening for block in row_blocks(x)]
        return np.concatenate(values)

    def _phi_samples(self, x: np.ndarray, structure_index, n_atoms) -> tuple[np.ndarray, dict]:
        """Features phi and the arguments that tell the ridge model how they make samples."""
        atom_counts(structure_index, n_atoms, len(x))
        phi = self._phi(feature_matrix(x, n_features=self.n_features))
        if not np.isfinite(phi).all():
            raise ValueError("features must not hold rows of zeros, whose direction the polynomial kernel needs")
        if n_atoms is None or structure_index is not None:
            return phi, {"structure_index": structure_index, "n_atoms": n_atoms}
        return phi * as_array(n_atoms)[:, None], {"n_atoms": n_atoms}

    def _jacobian_blocks(self, x: np.ndarray, jacobians: Iterable, structure_index):
        """Rows of each structure with the derivative of their features, (3 n_atoms, n_rows, n_features)."""
        index = np.arange(len(x)) if structure_index is None else as_array(structure_index)
        for a, block in enumerate(checked_blocks(jacobians)):
            rows = x[index == a].astype(np.float64)
            block = as_array(block)
            if block.dtype.kind not in "fiu":
                raise TypeError(f"jacobians[{a}] must hold real numbers, got dtype {block.dtype}")
            block = block.astype(np.float64, copy=False)
            if block.ndim == 2 and structure_index is None:
                block = block[:, None]
            expected = (len(rows), self.n_features)
            if block.ndim != 3 or block.shape[1:] != expected:
                raise ValueError(f"jacobians[{a}] must end in the dimensions {expected}, got shape {block.shape}")
            yield rows, block

    def _feature_jacobians(self, x: np.ndarray, jacobians: Iterable, structure_index) -> Iterator[np.ndarray]:
        """Derivatives of each structure's summed phi with respect to its positions, (3 n_atoms, rank)."""
        for rows, block in self._jacobian_blocks(x, jacobians, structure_index):
            yield self._phi_jacobian(rows, block)

    def _phi_jacobian(self, rows: np.ndarray, block: np.ndarray) -> np.ndarray:
        active = self._comparable(torch.from_numpy(self.active)).numpy()
        points = self._comparable(torch.from_numpy(rows)).numpy()
        kernel = self._kernel(torch.from_numpy(rows)).numpy()
        if self.kernel == "polynomial":
            cosine = points @ active.T
            towards = self.exponent * cosine ** (self.exponent - 1) / np.linalg.norm(rows, axis=1)[:, None]
            back = towards * cosine
        else:
            towards = back = kernel / self._length**2
        derivative = np.einsum("kim,im->km", block @ active.T, towards, optimize=True)
        derivative -= np.einsum("kid,id,im->km", block, points, back, optimize=True)
        return derivative @ self._whitening

    # ---- predictions -----------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "active"):
            raise ValueError("the model must be fitted before it is asked for predictions")

    def predict(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Predicted targets (n_samples,); arguments as in :meth:`fit`."""
        self._check_fitted()
        phi, arguments = self._phi_samples(feature_matrix(features), structure_index, n_atoms)
        return self.ridge.predict(phi, composition=composition, **arguments)

    def rigidity(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Prediction rigidity (n_samples,) of each prediction; arguments as in :meth:`fit`.

        The part of the kernel that the active points miss counts as unknown (deterministic training conditional), so
        that rigidities are low, not high, far from all active points. The cost is quadratic in a structure's atoms.
        """
        self._check_fitted()
        x = feature_matrix(features)
        phi, arguments = self._phi_samples(x, structure_index, n_atoms)
        known = 1.0 / self.ridge.rigidity(phi, composition=composition, **arguments)
        return 1.0 / (known + self._missed_variance(x, phi, structure_index, n_atoms) / self._prior)

    def predict_uncertainty(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Standard deviation (n_samples,) of each prediction, in the target's units; arguments as in :meth:`fit`."""
        arguments = dict(structure_index=structure_index, n_atoms=n_atoms, composition=composition)
        return np.sqrt(self.ridge.variance_scale / self.rigidity(features, **arguments))

    def calibrate(self, features, targets, *, structure_index=None, n_atoms=None, composition=None) -> float:
        """Set the scale of the predicted uncertainty by maximum likelihood on data that the fit has not seen.

        Parameters
        ----------
        features, targets, structure_index, n_atoms, composition
            As in :meth:`fit`.

        Returns
        -------
        float
            alpha^2, the new ``variance_scale`` of :attr:`ridge`, which holds for what the active points miss, too.
        """
        arguments = dict(structure_index=structure_index, n_atoms=n_atoms, composition=composition)
        predicted = self.predict(features, **arguments)
        errors = predicted - target_vector(targets, len(predicted))
        self.ridge.variance_scale = variance_scale(self.rigidity(features, **arguments), errors)
        return self.ridge.variance_scale

    def missed_uncertainty(self, features, *, structure_index=None, n_atoms=None) -> np.ndarray:
        """Part of each prediction's standard deviation that the active points cannot express.

        It is what an :meth:`ensemble` lacks: the square of :meth:`predict_uncertainty` is the variance of an infinite
        ensemble plus the square of this. Zero where every row is active; more active points reduce it.

        Parameters
        ----------
        features, structure_index, n_atoms
            As in :meth:`fit`.

        Returns
        -------
        array (n_samples,), in the units of the target
        """
        self._check_fitted()
        x = feature_matrix(features)
        phi, _ = self._phi_samples(x, structure_index, n_atoms)
        return np.sqrt(
            self.ridge.variance_scale * self._missed_variance(x, phi, structure_index, n_atoms) / self._prior
        )

    def covariance(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Covariance of all predictions, from which the variance of any linear combination follows.

        The part of the kernel that the active points miss is included, so that the diagonal is the square of
        :meth:`predict_uncertainty`. The cost is quadratic in the number of rows.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`fit`.

        Returns
        -------
        array (n_samples, n_samples), in squared units of the target
        """
        self._check_fitted()
        x = feature_matrix(features)
        phi, arguments = self._phi_samples(x, structure_index, n_atoms)
        missed = self._missed_covariance(x, phi, structure_index, n_atoms) / self._prior
        return self.ridge.covariance(phi, composition=composition, **arguments) + self.ridge.variance_scale * missed

    def difference_uncertainty(
        self, features, pairs, *, structure_index=None, n_atoms=None, composition=None
    ) -> np.ndarray:
        """Standard deviation of differences of two predictions, smaller than either alone if they share their errors.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`fit`.
        pairs : integer array (n_pairs, 2)
            Samples whose predictions are subtracted.

        Returns
        -------
        array (n_pairs,), in the units of the target
        """
        self._check_fitted()
        x = feature_matrix(features)
        phi, arguments = self._phi_samples(x, structure_index, n_atoms)
        missed = self._missed_covariance(x, phi, structure_index, n_atoms)
        first, second = sample_pairs(pairs, len(missed)).T
        own = np.diag(missed)
        missed = np.maximum(own[first] + own[second] - 2.0 * missed[first, second], 0.0)
        known = self.ridge.difference_uncertainty(phi, pairs, composition=composition, **arguments)
        return np.sqrt(known**2 + self.ridge.variance_scale * missed / self._prior)

    @property
    def _prior(self) -> float:
        """What turns a missing piece of the kernel into an inverse rigidity."""
        return self.ridge.chosen_regularisation * self.ridge.scale[0] ** 2

    def _missed_variance(self, x: np.ndarray, phi: np.ndarray, structure_index, n_atoms) -> np.ndarray:
        """k(x, x) - phi(x).phi(x), summed over all pairs of atoms of a structure."""
        if structure_index is None:
            own = np.ones(len(x)) if n_atoms is None else as_array(n_atoms) ** 2  # k(x, x) is one for both kernels
            missed = own - np.einsum("nr,nr->n", phi, phi)
        else:
            index = as_array(structure_index)
            missed = np.empty(index.max() + 1)
            for a in range(len(missed)):
                rows = torch.from_numpy(x[index == a])
                missed[a] = float(self._kernel(rows, rows).sum()) - np.sum(phi[index == a].sum(axis=0) ** 2)
        return np.maximum(missed, 0.0)

    def _missed_covariance(self, x: np.ndarray, phi: np.ndarray, structure_index, n_atoms) -> np.ndarray:
        """k(x, x') - phi(x).phi(x') of every pair of samples, summed over their atoms."""
        rows = torch.from_numpy(x)
        kernel = self._kernel(rows, rows).numpy()
        if structure_index is None:
            counts = np.ones(len(x)) if n_atoms is None else as_array(n_atoms)
            return kernel * np.outer(counts, counts) - phi @ phi.T
        index = as_array(structure_index)
        missed = kernel - phi @ phi.T
        return structure_sums(structure_sums(missed, index, index.max() + 1).T, index, index.max() + 1)

    def _missed_force_variance(self, rows: np.ndarray, block: np.ndarray) -> np.ndarray:
        """Second derivative of the missing kernel of one structure, once in each argument, (3 n_atoms,)."""
        points = self._comparable(torch.from_numpy(rows)).numpy()
        kernel = self._kernel(torch.from_numpy(rows), torch.from_numpy(rows)).numpy()
        if self.kernel == "polynomial":  # tangents to the sphere of normalised rows
            along = np.einsum("kid,id->ki", block, points)
            tangents = (block - along[:, :, None] * points) / np.linalg.norm(rows, axis=1)[:, None]
            cosine = points @ points.T
            slope = self.exponent * cosine ** (self.exponent - 1)
            bend = self.exponent * (self.exponent - 1) * cosine ** max(self.exponent - 2, 0)
            towards = tangents @ points.T  # (components, i, j): tangent of row i on point j
        else:
            tangents = block
            slope, bend = kernel / self._length**2, kernel / self._length**4
            towards = tangents @ points.T
            towards -= np.einsum("kii->ki", towards)[:, :, None].copy()
        whole = np.einsum("ij,kij,kji->k", bend, towards, towards, optimize=True)
        whole += np.einsum("kid,kid->k", tangents, slope @ tangents)
        return np.maximum(whole - np.square(self._phi_jacobian(rows, block)).sum(axis=1), 0.0)

    def ensemble(self, n_members: int, seed: int | np.random.Generator = 0) -> LastLayerEnsemble:
        """Models drawn from the posterior of the weights of phi, for propagation through any calculation.

        Members act on :meth:`rows` for targets and on :meth:`force_rows` for forces; their mean is the model itself.
        All of them are combinations of the active points, so that their spread lacks :meth:`missed_uncertainty` and
        goes to that of the baseline far from all active points: look there before trusting a small spread.

        Parameters
        ----------
        n_members : int
            At least 2.
        seed : int or numpy.random.Generator

        Returns
        -------
        LastLayerEnsemble
            Calibrated with the ``variance_scale`` of :attr:`ridge`.
        """
        self._check_fitted()
        return self.ridge.ensemble(n_members, seed)

    def rows(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Rows (n_samples, rank + n_baseline) that the members of an :meth:`ensemble` multiply; as in :meth:`fit`."""
        self._check_fitted()
        phi, arguments = self._phi_samples(feature_matrix(features), structure_index, n_atoms)
        return self.ridge.rows(phi, composition=composition, **arguments)

    def force_rows(self, features, jacobians: Iterable, *, structure_index=None) -> list[np.ndarray]:
        """Rows (3 n_atoms, rank + n_baseline) of each structure that give its forces; as in :meth:`predict_forces`."""
        self._check_fitted()
        x = feature_matrix(features, n_features=self.n_features)
        return self.ridge.force_rows(self._feature_jacobians(x, jacobians, structure_index))

    def predict_forces(self, features, jacobians: Iterable, *, structure_index=None) -> list[np.ndarray]:
        """Forces of each structure, in eV/Å.

        Parameters
        ----------
        features, jacobians, structure_index
            As in :meth:`fit`.

        Returns
        -------
        list of arrays (n_atoms, 3)
        """
        self._check_fitted()
        x = feature_matrix(features, n_features=self.n_features)
        return self.ridge.predict_forces(self._feature_jacobians(x, jacobians, structure_index))

    def predict_force_uncertainties(self, features, jacobians: Iterable, *, structure_index=None) -> list[np.ndarray]:
        """Standard deviation of each force component, with what the active points miss.

        The scale is that of the targets, see :meth:`RidgeModel.predict_force_uncertainties`. The cost is cubic in a
        structure's atoms.

        Parameters
        ----------
        features, jacobians, structure_index
            As in :meth:`fit`.

        Returns
        -------
        list of arrays (n_atoms, 3), in eV/Å
        """
        self._check_fitted()
        x = feature_matrix(features, n_features=self.n_features)
        uncertainties = []
        for rows, block in self._jacobian_blocks(x, jacobians, structure_index):
            known = self.ridge.predict_force_uncertainties([self._phi_jacobian(rows, block)])[0]
            missed = self._missed_force_variance(rows, block).reshape(-1, 3) / self._prior
            uncertainties.append(np.sqrt(known**2 + self.ridge.variance_scale * missed))
        return uncertainties

    def energy(self, features: torch.Tensor) -> torch.Tensor:
        """Contribution of each row without its constant, as a differentiable function of the features.

        ``forces(model.energy(soap(structures)), structures)`` with :func:`matterscape.descriptors.forces` are the
        forces of a model of atoms' contributions.

        Parameters
        ----------
        features : tensor (n_rows, n_features)

        Returns
        -------
        tensor (n_rows,), in the dtype of the features
        """
        self._check_fitted()
        weights = torch.from_numpy(self._whitening @ self.ridge.coefficients).to(features.device)
        return (self._kernel(features) @ weights).to(features.dtype)

    # ---- files -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that predictions and uncertainties need, as plain arrays (settings as one JSON string).

        Returns
        -------
        dict of str to array
        """
        self._check_fitted()
        names = ("kernel", "exponent", "width", "n_active", "seed")
        state = {f"ridge.{name}": values for name, values in self.ridge.state_dict().items()}
        state.update(active=self.active, whitening=self._whitening, length=np.array(self._length))
        state["settings"] = np.array(json.dumps({name: getattr(self, name) for name in names}))
        return state

    @classmethod
    def from_state_dict(cls, state) -> "KernelRidgeModel":
        """Model from the arrays of :meth:`state_dict`.

        Parameters
        ----------
        state : mapping of str to array

        Returns
        -------
        KernelRidgeModel

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, or an entry is missing.
        """
        cls._check_entries(state, ("settings", "active", "whitening", "length"))
        model = cls(**json.loads(str(state["settings"])))
        ridge = {name.removeprefix("ridge."): state[name] for name in state if name.startswith("ridge.")}
        model.ridge = RidgeModel.from_state_dict(ridge)
        model.active, model._whitening = np.asarray(state["active"]), np.asarray(state["whitening"])
        model._length = float(state["length"])
        model.n_features = model.active.shape[1]
        return model


def _median_distance(points: np.ndarray) -> float:
    from scipy.spatial.distance import pdist

    distances = pdist(points)
    distances = distances[distances > 0]
    if distances.size == 0:
        raise ValueError("width must be given, because all active points are the same")
    return float(np.median(distances))
