"""Ensembles of small networks on features: tables, structures, and atoms that sum to structures.

The members y_k = b + n_A s w_k . f(A) share the baseline b of the composition and the last-layer features f, which are
averaged over the n_A atoms of a structure *before* the members are formed: errors that atoms share add up coherently.
Trained on the likelihood, the spread of the members is the uncertainty (Kellner, Ceriotti, Mach. Learn.: Sci. Technol.
5, 035006 (2024)); the rigidity of the last layer is another, from the same network (Bigi et al., Mach. Learn.: Sci.
Technol. 5, 045018 (2024)).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from matterscape.checks import check_number, check_whole
from matterscape.models.files import ArrayFile
from matterscape.models.network import (
    ACTIVATIONS,
    TrainingHistory,
    layer_widths,
    multilayer_perceptron,
    shuffled_batches,
    train,
)
from matterscape.models.rows import FeatureRows, rows_of
from matterscape.uq import ensemble_variance_scale, gram
from matterscape.uq.arrays import as_array, target_vector
from matterscape.uq.ensembles import DeepEnsemble, ShallowEnsemble, mean_and_variance
from matterscape.uq.losses import gaussian_negative_log_likelihood, gaussian_ranked_probability
from matterscape.uq.propagation import stretched

LOSSES = ("likelihood", "ranked probability", "squared")
SCALINGS = ("column", "global")
_SETTINGS = (
    "hidden",
    "n_members",
    "shared",
    "loss",
    "activation",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "clip",
    "n_components",
    "scaling",
    "folds",
    "baseline",
    "seed",
)
_ARRAYS = ("centre", "scale", "projection", "constants", "target_scale")


@dataclass(frozen=True)
class _Network:
    """A trained module with everything between the user's numbers and its own."""

    module: nn.Module
    centre: np.ndarray  # (n_features,)
    scale: np.ndarray  # (n_features,)
    projection: np.ndarray  # (n_features, n_components), or empty
    constants: np.ndarray  # of the baseline, (n_baseline,)
    target_scale: np.ndarray  # ()

    def inputs(self, samples: FeatureRows) -> Tensor:
        """Standardised rows."""
        rows = (samples.rows - self.centre) / self.scale
        return torch.from_numpy(rows @ self.projection if self.projection.size else rows)

    def features(self, samples: FeatureRows) -> np.ndarray:
        """Last-layer features summed over atoms, the constant in the last column."""
        with torch.no_grad():
            means = _means(self.module.features(self.inputs(samples)), samples.starts)
        return np.column_stack([means.numpy(), np.ones(len(samples))]) * samples.sizes[:, None]

    def members(self, samples: FeatureRows) -> np.ndarray:
        """Members' predictions in the units of the target."""
        with torch.no_grad():
            members = _members(self.module, self.inputs(samples), samples.starts).numpy()
        return (samples.baseline @ self.constants)[:, None] + members * (samples.sizes * self.target_scale)[:, None]


def _means(rows: Tensor, starts: np.ndarray | None) -> Tensor:
    """Means over the atoms of each sample."""
    if starts is None:
        return rows
    counts = torch.from_numpy(np.diff(starts))
    owner = torch.repeat_interleave(counts)
    return rows.new_zeros(len(counts), rows.shape[1]).index_add(0, owner, rows) / counts[:, None]


def _members(module: nn.Module, inputs: Tensor, starts: np.ndarray | None) -> Tensor:
    """Members' predictions per atom. The last layers are linear, so the features are averaged, not the members."""
    if isinstance(module, ShallowEnsemble):
        return module.head(_means(module.features(inputs), starts))
    return _means(module(inputs), starts)


def _validation_indices(validation, n_samples: int) -> np.ndarray | None:
    if validation is None:
        return None
    indices = as_array(validation)
    indices = np.unique(indices) if indices.dtype.kind in "iu" else np.empty(0)
    if indices.size == 0 or indices[0] < 0 or indices[-1] >= n_samples or len(indices) >= n_samples:
        raise ValueError(f"validation must hold indices of some of the {n_samples} samples, from 0 to {n_samples - 1}")
    return indices


class EnsembleModel(ArrayFile):
    """Ensemble of networks with calibrated members, on the features of tables, structures or atoms.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    n_members : int
    shared : bool
        Members share all layers but the last (a shallow ensemble), or nothing (a deep ensemble).
    loss : "likelihood", "ranked probability" or "squared"
        Gaussian negative log-likelihood or continuous ranked probability score of the members' mean and variance, or
        the squared error of each member. A deep ensemble is trained on squared errors, and so is a single member.
    activation : "silu", "tanh", "relu" or "gelu"
    epochs : int
    batch_size : int
        In samples.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to zero as half a cosine.
    clip : float or None
        Largest norm of a gradient.
    n_components : int, optional
        Reduce the scaled features to this many principal components (fewer if there are fewer rows or columns): for
        rows with more columns than there are samples.
    scaling : "column" or "global"
        Divide each feature by its own standard deviation, or all by one number.
    folds : int or None
        Folds of the cross-validation that calibrates the members where no validation samples are given; None leaves
        them as they are.
    baseline : bool
        Fit a constant per column of the composition, or per atom, or per sample, and give it to every member.
    seed : int

    Attributes
    ----------
    variance_scale : float
        The factor alpha^2 by which the members' variance is multiplied, from errors on data that the network was not
        trained on; one before there are any.
    held_out_predictions : array (n_samples,) or None
        Cross-validated prediction of each target.
    held_out_uncertainties : array (n_samples,) or None
        Calibrated standard deviation of each of them; None for a single member.
    history : TrainingHistory
        Of the training on all samples but those for validation.
    """

    def __init__(
        self,
        *,
        hidden=(64, 64),
        n_members: int = 32,
        shared: bool = True,
        loss: str = "likelihood",
        activation: str = "silu",
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-3,
        clip: float | None = 10.0,
        n_components: int | None = None,
        scaling: str = "column",
        folds: int | None = 5,
        baseline: bool = True,
        seed: int = 0,
    ):
        hidden = layer_widths("hidden", hidden)
        if not hidden:
            raise ValueError("hidden must name at least one layer, got none")
        check_whole("n_members", n_members, 1)
        check_whole("epochs", epochs, 1)
        check_whole("batch_size", batch_size, 1)
        check_number("learning_rate", learning_rate, positive=True)
        check_number("weight_decay", weight_decay)
        if clip is not None:
            check_number("clip", clip, positive=True)
        for name, value, accepted in (
            ("loss", loss, LOSSES),
            ("activation", activation, tuple(ACTIVATIONS)),
            ("scaling", scaling, SCALINGS),
        ):
            if value not in accepted:
                raise ValueError(f"{name} is {value!r}; accepted are {', '.join(accepted)}")
        if loss != "squared" and (n_members < 2 or not shared):
            what = "a deep ensemble" if n_members > 1 else "a single member"
            raise ValueError(f"loss is {loss!r}; {what} is trained with loss='squared'")
        if n_components is not None:
            check_whole("n_components", n_components, 1)
        if folds is not None:
            check_whole("folds", folds, 2)
        self.hidden = hidden
        self.n_members = int(n_members)
        self.shared = shared
        self.loss = loss
        self.activation = activation
        self.epochs = int(epochs)
        self.batch_size = int(batch_size)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip = clip
        self.n_components = None if n_components is None else int(n_components)
        self.scaling = scaling
        self.folds = None if folds is None else int(folds)
        self.baseline = baseline
        self.seed = seed
        self.variance_scale = 1.0
        self.held_out_predictions: np.ndarray | None = None
        self.held_out_uncertainties: np.ndarray | None = None

    # ---- fit -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        features,
        targets,
        *,
        structure_index=None,
        n_atoms=None,
        composition=None,
        validation=None,
        progress: Callable[[float, str], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> "EnsembleModel":
        """Train the ensemble and calibrate it on samples that it was not trained on.

        Give ``structure_index`` for features of atoms whose contributions sum to the targets, or ``n_atoms`` for
        features that are summed already, of which the network then sees the means; with neither, every row is a sample
        of its own.

        Parameters
        ----------
        features : array or tensor (n_rows, n_features)
        targets : array or tensor (n_samples,)
        structure_index : integer array (n_rows,), optional
            Structure of each atom, from 0 to n_samples - 1.
        n_atoms : array (n_samples,), optional
            Atoms per structure.
        composition : array (n_samples, n_species), optional
            Number of atoms of each species (fractions for averages, one-hot rows for atoms).
        validation : integer array, optional
            Samples that are not trained on, but choose the best epoch and calibrate the members. Without them a
            cross-validation calibrates.
        progress : callable, optional
            Called with the fraction done and a message; a bar is shown without it.
        cancelled : callable
            Asked after each epoch; once it says so, the training ends with the best epoch so far, or the
            cross-validation without a result.

        Returns
        -------
        EnsembleModel
            The model itself.

        Raises
        ------
        ValueError
            If shapes disagree, a number is not finite, or there are fewer samples than folds.
        ArithmeticError
            If the training diverges.
        """
        samples = FeatureRows.checked(features, structure_index, n_atoms, composition, self.baseline)
        y = target_vector(targets, len(samples))
        validation = _validation_indices(validation, len(samples))
        folds = 0 if validation is not None or self.folds is None else self.folds
        if len(samples) < folds:
            raise ValueError(f"folds must not exceed the number of samples {len(samples)}, got {folds}")
        self.held_out_predictions = self.held_out_uncertainties = None
        self.variance_scale = 1.0

        n_done = 0  # of the trainings: that of the model itself, and one per fold

        def report(fraction: float, message: str) -> None:
            what = "" if n_done == 0 else f"fold {n_done} of {folds}, "
            progress((n_done + fraction) / (1 + folds), what + message)

        watched = dict(progress=report if progress else None, cancelled=cancelled)
        chosen = np.setdiff1d(np.arange(len(samples)), [] if validation is None else validation)
        self._network, self.history = self._train(samples, y, chosen, validation, **watched)
        self.extensive = samples.n_atoms is not None
        if self.shared:
            trained = samples.take(chosen)
            self._gram = gram(self._network.features(trained), 1.0 / trained.sizes**2)
        if validation is not None:
            self._calibrate_on(self._network.members(samples.take(validation)), y[validation])
        if not self.history.complete:
            return self

        fold_of = np.random.default_rng(self.seed).permutation(len(samples)) % max(folds, 1)
        members = np.empty((len(samples), self.n_members))
        for n_done in range(1, folds + 1):
            held_out = fold_of == n_done - 1
            network, history = self._train(samples, y, np.flatnonzero(~held_out), **watched)
            if not history.complete:
                return self
            members[held_out] = network.members(samples.take(np.flatnonzero(held_out)))
        if folds:
            self.held_out_predictions = members.mean(axis=1)
            self._calibrate_on(members, y)
            if self.n_members > 1:
                self.held_out_uncertainties = np.sqrt(self.variance_scale * members.var(axis=1, ddof=1))
        return self

    def _train(
        self, samples: FeatureRows, y, chosen, validation=None, progress=None, cancelled=lambda: False
    ) -> tuple[_Network, TrainingHistory]:
        """Network trained on the chosen samples."""
        per_atom = 1.0 / samples.sizes
        y, columns = y * per_atom, samples.baseline * per_atom[:, None]
        constants = np.linalg.pinv(columns[chosen], rcond=1e-10) @ y[chosen]
        rest = y - columns @ constants
        spread = np.sqrt(np.mean(rest[chosen] ** 2))
        centre, scale, projection = self._standardisation(samples.take(chosen).rows)
        network = _Network(
            module=self._untrained(projection.shape[1] or len(centre)),
            centre=centre,
            scale=scale,
            projection=projection,
            constants=constants,
            target_scale=np.array(spread if spread > 1e-12 * np.abs(y).max() else 1.0),
        )
        inputs = network.inputs(samples)
        wanted = torch.from_numpy(rest / network.target_scale)

        def loss(indices: np.ndarray) -> Tensor:
            rows, starts = indices, None
            if samples.starts is not None:
                rows, starts = rows_of(samples.starts, indices)
            return self._loss(_members(network.module, inputs[rows], starts), wanted[indices])

        def validation_loss() -> float:
            with torch.no_grad():
                return float(loss(validation))

        history = train(
            network.module,
            lambda batch: loss(chosen[batch.numpy()]),
            shuffled_batches(len(chosen), self.batch_size),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip=self.clip,
            validation=None if validation is None else validation_loss,
            seed=self.seed,
            progress=progress,
            cancelled=cancelled,
        )
        return network, history

    def _standardisation(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        centre = rows.mean(axis=0)
        scale = rows.std(axis=0)
        constant = scale <= 1e-12 * np.abs(rows).max(axis=0)  # nothing but rounding
        if self.scaling == "global":
            scale = np.full_like(scale, np.sqrt(np.mean(scale**2)))
        scale = np.where(constant, np.inf, scale)  # of which the network sees zeros
        projection = np.empty((len(centre), 0))
        if self.n_components is not None:
            from sklearn.decomposition import PCA

            n_components = min(self.n_components, *rows.shape)
            pca = PCA(n_components, random_state=self.seed).fit((rows - centre) / scale)
            # One factor for all of them: what varies little should not look as important as what varies much.
            projection = pca.components_.T / np.sqrt(np.mean(pca.explained_variance_))
        return centre, scale, projection

    def _untrained(self, n_inputs: int) -> nn.Module:
        widths = (n_inputs, *self.hidden)
        if not self.shared:
            seeds = np.random.SeedSequence(self.seed).generate_state(self.n_members)
            return DeepEnsemble(multilayer_perceptron([*widths, 1], self.activation, seed=int(s)) for s in seeds)
        body = multilayer_perceptron(widths, self.activation, seed=self.seed)
        body.append(ACTIVATIONS[self.activation]())
        return ShallowEnsemble(body, self.hidden[-1], self.n_members, seed=self.seed)

    def _loss(self, members: Tensor, targets: Tensor) -> Tensor:
        if self.loss == "squared":
            return (members - targets[:, None]).square().sum(dim=1).mean()
        score = gaussian_negative_log_likelihood if self.loss == "likelihood" else gaussian_ranked_probability
        return score(*mean_and_variance(members), targets).mean()

    def _calibrate_on(self, members: np.ndarray, targets: np.ndarray) -> None:
        errors = members.mean(axis=1) - targets
        if self.n_members > 1 and errors.any():
            self.variance_scale = ensemble_variance_scale(errors, members.var(axis=1, ddof=1))

    # ---- predictions -----------------------------------------------------------------------------------------------

    def _fitted_rows(self, features, structure_index, n_atoms, composition) -> FeatureRows:
        if not hasattr(self, "_network"):
            raise ValueError("the model must be fitted before it is asked for predictions")
        network = self._network
        samples = FeatureRows.checked(features, structure_index, n_atoms, composition, self.baseline)
        if samples.rows.shape[1] != len(network.centre):
            raise ValueError(f"features must have {len(network.centre)} columns, got {samples.rows.shape[1]}")
        if self.extensive != (samples.n_atoms is not None):
            needs = "n_atoms or structure_index" if self.extensive else "neither n_atoms nor structure_index"
            raise ValueError(f"this model was fitted with features that need {needs}")
        if samples.baseline.shape[1] != len(network.constants):
            raise ValueError(f"composition must have {len(network.constants)} columns, got {samples.baseline.shape[1]}")
        return samples

    def predict(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Predicted targets: the mean of the members.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`fit`. Rows of single atoms with ``n_atoms`` of one give the atoms' own contributions.

        Returns
        -------
        array (n_samples,), float64
        """
        samples = self._fitted_rows(features, structure_index, n_atoms, composition)
        return self._network.members(samples).mean(axis=1)

    def predict_members(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Prediction of every member, stretched about the mean by the root of ``variance_scale``.

        Anything that is computed from the targets can be computed from each member; the spread of the results is the
        calibrated uncertainty, with all correlations.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples, n_members), float64
        """
        samples = self._fitted_rows(features, structure_index, n_atoms, composition)
        members = self._network.members(samples)
        return members if self.n_members == 1 else stretched(members, float(np.sqrt(self.variance_scale)))

    def predict_uncertainty(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Standard deviation of the stretched members, in the units of the target.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples,)

        Raises
        ------
        ValueError
            If the model has a single member.
        """
        if self.n_members < 2:
            raise ValueError("a single member has no spread; n_members must be at least 2, or use the rigidity")
        arguments = dict(structure_index=structure_index, n_atoms=n_atoms, composition=composition)
        return self.predict_members(features, **arguments).std(axis=1, ddof=1)

    def calibrate(self, features, targets, *, structure_index=None, n_atoms=None, composition=None) -> float:
        """Set the scale of the members' variance by maximum likelihood on data that the training has not seen.

        Parameters
        ----------
        features, targets, structure_index, n_atoms, composition
            As in :meth:`fit`.

        Returns
        -------
        float
            alpha^2, the new ``variance_scale``.
        """
        if self.n_members < 2:
            raise ValueError("a single member has no variance to calibrate; n_members must be at least 2")
        samples = self._fitted_rows(features, structure_index, n_atoms, composition)
        self._calibrate_on(self._network.members(samples), target_vector(targets, len(samples)))
        return self.variance_scale

    # ---- the last layer --------------------------------------------------------------------------------------------

    def last_layer_features(self, features, *, structure_index=None, n_atoms=None, composition=None) -> np.ndarray:
        """Features that the members' last layers see: sums over atoms, the constant in the last column.

        They are the rows for :meth:`rigidity` and for :meth:`last_layer`.

        Parameters
        ----------
        features, structure_index, n_atoms, composition
            As in :meth:`predict`.

        Returns
        -------
        array (n_samples, n_hidden + 1)
        """
        self._check_shared()
        return self._network.features(self._fitted_rows(features, structure_index, n_atoms, composition))

    @property
    def coefficients(self) -> np.ndarray:
        """Weights (n_hidden + 1,) of the members' mean on :meth:`last_layer_features`, in the units of the target."""
        self._check_shared()
        head = self._network.module.head
        return np.append(as_array(head.weight).mean(axis=0), as_array(head.bias).mean()) * self._network.target_scale

    def last_layer(self):
        """Stretched last layers of all members in the units of the target; predictions relative to the baseline.

        Returns
        -------
        matterscape.uq.last_layer.LastLayerEnsemble
        """
        from matterscape.uq.last_layer import LastLayerEnsemble

        self._check_shared()
        trained = self._network.module.last_layer()
        scaled = LastLayerEnsemble(trained.weights * self._network.target_scale)
        return scaled.stretched(float(np.sqrt(self.variance_scale)))

    def spectrum(self):
        """Spectrum of the last layer's Gram matrix of the training samples, for uncertainties of the second kind.

        Its rows are :meth:`last_layer_features`; samples that are sums over atoms enter with their features per atom,
        as in the loss. Calibrate it with the errors of samples that the network was not trained on.

        Returns
        -------
        matterscape.uq.spectrum.RigiditySpectrum
        """
        from matterscape.uq.spectrum import RigiditySpectrum

        self._check_shared()
        return RigiditySpectrum(self._gram)

    def _check_shared(self) -> None:
        if not hasattr(self, "_network"):
            raise ValueError("the model must be fitted before its last layer is used")
        if not self.shared:
            raise ValueError("the members of a deep ensemble have no last layer in common; shared must be True")

    # ---- files -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that predictions and uncertainties need, as plain arrays (settings and flags as one JSON string).

        Returns
        -------
        dict of str to array
        """
        if not hasattr(self, "_network"):
            raise ValueError("the model must be fitted before it is saved")
        fitted = {"variance_scale": self.variance_scale, "extensive": self.extensive}
        state = {
            "settings": np.array(json.dumps({name: getattr(self, name) for name in _SETTINGS})),
            "fitted": np.array(json.dumps(fitted)),
            **{name: getattr(self._network, name) for name in _ARRAYS},
        }
        if self.shared:
            state["gram"] = self._gram
        weights = self._network.module.state_dict()
        return state | {f"network.{name}": as_array(weight) for name, weight in weights.items()}

    @classmethod
    def from_state_dict(cls, state) -> "EnsembleModel":
        """Model from the arrays of :meth:`state_dict`.

        Parameters
        ----------
        state : mapping of str to array

        Returns
        -------
        EnsembleModel

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, or an entry is missing.
        """
        cls._check_entries(state, ["settings", "fitted", *_ARRAYS])
        model = cls(**json.loads(str(state["settings"])))
        for name, value in json.loads(str(state["fitted"])).items():
            setattr(model, name, value)
        arrays = {name: np.asarray(state[name]) for name in _ARRAYS}
        module = model._untrained(arrays["projection"].shape[1] or len(arrays["centre"]))
        prefix = "network."
        weights = {name[len(prefix) :]: torch.tensor(state[name]) for name in state if name.startswith(prefix)}
        module.load_state_dict(weights)
        model._network = _Network(module=module.eval(), **arrays)
        if model.shared:
            model._gram = np.asarray(state["gram"])
        return model
