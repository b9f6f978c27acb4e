"""Models behind a map: a ridge with its rigidity, and a shallow ensemble of networks with the spread of its members.

Both learn the same targets from the same features and are judged on samples that they have not seen, so that their
errors and their error bars can be compared point by point.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from matterscape.maps.samples import Cancelled, Features, Progress, Samples
from matterscape.maps.shown_properties import baseline_of, composition, minus_element_means
from matterscape.models import EnsembleModel, RidgeModel
from matterscape.structures.properties import Property

LEAVE_ONE_OUT_BELOW = 50
FOLDS = 5
FEWEST_FOR_ENSEMBLE = 20
MOST_FOR_ENSEMBLE = 2000  # samples that networks are trained on; the others are predicted
MEMBERS = 32
HIDDEN = (32,)
COMPONENTS = 64
STEPS = 600  # of one training, however many samples there are: about a second, and more overfit a few hundred
SMALLEST_BATCH, LARGEST_BATCH = 8, 128
REGULARISATIONS = np.logspace(-8, 4, 49)
_TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class _Judged:
    """Held-out predictions of a target, one per sample of a model, and what follows for the points of a map.

    Attributes
    ----------
    target : Property
        What was learnt, one value per sample.
    prediction, uncertainty : arrays (n_samples,)
        Of models that have not seen the sample, in the unit of the target.
    points : dict of str to Property
        What the model says about each point of the map.
    """

    target: Property
    prediction: np.ndarray = field(repr=False)
    uncertainty: np.ndarray = field(repr=False)
    points: dict[str, Property] = field(repr=False)

    @property
    def error(self) -> np.ndarray:
        """Held-out errors, prediction minus target, (n_samples,)."""
        return self.prediction - self.target.values

    @property
    def rmse(self) -> float:
        """Held-out root mean square error, in the unit of the target."""
        return float(np.sqrt(np.mean(self.error**2)))

    @property
    def miscalibration_area(self) -> float:
        """Area between the coverage that the uncertainties promise and the coverage of the errors; 0 is perfect."""
        from matterscape.uq import miscalibration_area

        return miscalibration_area(self.error, np.maximum(self.uncertainty, _TINY))


@dataclass(frozen=True)
class Fit(_Judged):
    """A ridge model with its cross-validated predictions.

    Attributes
    ----------
    target, prediction, uncertainty, points
        What was learnt, and what is said about it: the uncertainty is that of the prediction rigidity.
    model : RidgeModel
        Fitted to all samples.
    rows, composition : arrays (n_samples, n_columns) and (n_samples, n_species)
        What it was learnt from.
    """

    model: RidgeModel
    rows: np.ndarray = field(repr=False)
    composition: np.ndarray = field(repr=False)

    @property
    def spread(self) -> float:
        """Standard deviation of the target after its baseline, a constant per element: what a model has to beat."""
        return float((self.target.values - baseline_of(self.target.values, self.composition)).std())


@dataclass(frozen=True)
class EnsembleFit(_Judged):
    """A shallow ensemble with its cross-validated predictions.

    Attributes
    ----------
    target, prediction, uncertainty, points
        What was learnt, and what is said about it: the uncertainty is the calibrated spread of the members.
    model : EnsembleModel
        Trained on all samples, or on as many as `trained_on` names.
    trained_on : integer array (n_trained,)
        Samples of the cross-validation.
    remarks : tuple of str
        Sentences on what was left out.
    """

    model: EnsembleModel
    trained_on: np.ndarray = field(repr=False)
    remarks: tuple[str, ...] = ()


def fit_ridge(samples: Samples, features: Features, target: Property, seed: int = 0) -> Fit:
    """Ridge model of a target, with cross-validated predictions and their rigidities.

    Parameters
    ----------
    samples : Samples
    features : Features
    target : Property
        One value per structure or, on a map of environments, per point.
    seed : int
        Of the folds.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If there are fewer than five samples.
    """
    of_points = target.level == samples.level
    learnt = features.rows if of_points else features.means
    columns = composition(samples, target.level)
    if len(learnt) < 5:
        raise ValueError(f"a model of {target.name} needs at least 5 {target.level}s, got {len(learnt)}")
    model = RidgeModel(folds="loo" if len(learnt) < LEAVE_ONE_OUT_BELOW else FOLDS, seed=seed)
    model.fit(learnt, target.values, composition=columns)
    prediction, uncertainty = model.held_out_predictions, model.held_out_uncertainties
    error, unit = prediction - target.values, target.unit
    if of_points:
        told = {
            "prediction": (prediction, unit),
            "error": (error, unit),
            "|error|": (np.abs(error), unit),
            "uncertainty": (uncertainty, unit),
        }
    else:
        # Structures of few compositions leave the elements' constants open, so atoms are compared with the mean of
        # their element: the difference has no baseline.
        rows = minus_element_means(features.rows, samples)
        nothing = np.zeros((len(samples), columns.shape[1]))
        told = {
            "local prediction": (model.predict(rows, composition=nothing), unit),
            "uncertainty": (model.predict_uncertainty(rows, composition=nothing), unit),
            "structure's |error|": (np.abs(error)[samples.environments[:, 0]], unit),
        }
    told["log10 rigidity"] = (_log_rigidity(told["uncertainty"][0] ** 2 / model.variance_scale), "")
    points = _properties(told, samples.level)
    return Fit(target, prediction, uncertainty, points, model=model, rows=learnt, composition=columns)


def fit_ensemble(
    samples: Samples,
    features: Features,
    target: Property,
    seed: int = 0,
    progress: Progress = lambda fraction, message: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> EnsembleFit:
    """Shallow ensemble of a target, with cross-validated predictions, the spread of its members and its rigidity.

    The networks see the leading principal components of the features. Where the map shows all atoms of its structures
    and the target belongs to structures, they are trained on the atoms, as means of local contributions, whose spread
    is then known, too; where only some of the atoms are there, they are trained on the structures' mean features, which
    says nothing about single atoms.

    Parameters
    ----------
    samples : Samples
    features : Features
    target : Property
        One value per structure or, on a map of environments, per point.
    seed : int
        Of the networks, the folds and the choice of samples.
    progress : callable
        Called with the fraction that is done, and a message.
    cancelled : callable
        Asked now and then.

    Returns
    -------
    EnsembleFit

    Raises
    ------
    ValueError
        If there are fewer than twenty samples.
    Cancelled
        If `cancelled` said so.
    """
    n_samples, what = len(target.values), f"{target.level}s"
    if n_samples < FEWEST_FOR_ENSEMBLE:
        raise ValueError(f"an ensemble needs at least {FEWEST_FOR_ENSEMBLE} {what}, got {n_samples}")
    progress(0.0, "principal components")
    data = _TrainingData.of(samples, features, target, seed)
    remarks = []
    chosen = np.arange(n_samples)
    if n_samples > MOST_FOR_ENSEMBLE:
        chosen = np.sort(np.random.default_rng(seed).choice(n_samples, MOST_FOR_ENSEMBLE, replace=False))
        remarks.append(f"The ensemble was trained on {MOST_FOR_ENSEMBLE:,} of {n_samples:,} {what} (seed {seed})")
    model = _untrained(len(chosen), seed)
    rows, arguments = data.take(chosen)
    model.fit(
        rows,
        (target.values * data.sizes)[chosen],
        **arguments,
        progress=lambda fraction, message: progress(0.02 + 0.96 * fraction, f"ensemble, {message}"),
        cancelled=cancelled,
    )
    if cancelled():
        raise Cancelled

    rest = np.setdiff1d(np.arange(n_samples), chosen)
    prediction, uncertainty = np.empty(n_samples), np.empty(n_samples)
    prediction[chosen], uncertainty[chosen] = model.held_out_predictions, model.held_out_uncertainties
    if len(rest):
        rows, arguments = data.take(rest)
        members = model.predict_members(rows, **arguments)
        prediction[rest], uncertainty[rest] = members.mean(axis=1), members.std(axis=1, ddof=1)
    prediction, uncertainty = prediction / data.sizes, uncertainty / data.sizes

    told, remark = _of_points(data, model, samples, target, prediction, uncertainty, chosen)
    if remark:
        remarks.append(remark)
    points = _properties(told, samples.level)
    progress(1.0, "done")
    return EnsembleFit(target, prediction, uncertainty, points, model=model, trained_on=chosen, remarks=tuple(remarks))


@dataclass(frozen=True)
class _TrainingData:
    """What an ensemble learns from: a row per sample, or a row per atom that sums to a structure."""

    rows: np.ndarray  # (n_samples or n_atoms, n_components)
    columns: np.ndarray  # (n_samples, n_species), summed over atoms where the rows are atoms
    sizes: np.ndarray  # (n_samples,), number of rows that the target is the mean of
    owner: np.ndarray | None  # (n_atoms,), sample of each row

    @classmethod
    def of(cls, samples: Samples, features: Features, target: Property, seed: int) -> "_TrainingData":
        """Leading principal components of the features, which know nothing of the target."""
        from sklearn.decomposition import PCA

        of_points = target.level == samples.level
        local = not of_points and len(samples) == samples.n_atoms.sum()
        rows = features.rows if of_points or local else features.means
        columns = composition(samples, target.level)
        sizes = samples.n_atoms.astype(float) if local else np.ones(len(columns))
        rows = PCA(min(COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows).astype(np.float64)
        owner = samples.environments[:, 0] if local else None
        return cls(rows, columns * sizes[:, None], sizes, owner)

    def take(self, chosen: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rows of some samples, ascending, and the arguments of the model that go with them."""
        if self.owner is None:
            return self.rows[chosen], {"composition": self.columns[chosen]}
        place = np.full(len(self.columns), -1)
        place[chosen] = np.arange(len(chosen))
        index = place[self.owner]
        inside = index >= 0
        return self.rows[inside], {"structure_index": index[inside], "composition": self.columns[chosen]}


def _untrained(n_samples: int, seed: int) -> EnsembleModel:
    """Networks whose training takes about as many steps whatever the number of samples.

    They learn by the ranked probability score, which on few samples overfits less than the likelihood.
    """
    batch_size = int(np.clip(n_samples // 10, SMALLEST_BATCH, LARGEST_BATCH))
    return EnsembleModel(
        hidden=HIDDEN,
        n_members=MEMBERS,
        loss="ranked probability",
        epochs=math.ceil(STEPS / math.ceil(n_samples / batch_size)),
        batch_size=batch_size,
        scaling="global",
        folds=FOLDS,
        seed=seed,
    )


def _of_points(
    data: _TrainingData,
    model: EnsembleModel,
    samples: Samples,
    target: Property,
    prediction: np.ndarray,
    uncertainty: np.ndarray,
    chosen: np.ndarray,
) -> tuple[dict[str, tuple[np.ndarray, str]], str]:
    """Values and units of what an ensemble says about the points of a map, and a remark."""
    unit, error = target.unit, np.abs(prediction - target.values)
    rigidity = "log10 rigidity of the network"
    inverse, regularisation = _inverse_rigidities(data, model, prediction - target.values, chosen)
    if target.level == samples.level:
        return {
            "ensemble prediction": (prediction, unit),
            "ensemble |error|": (error, unit),
            "ensemble uncertainty": (uncertainty, unit),
            rigidity: (_log_rigidity(inverse), ""),
        }, ""
    frame = samples.environments[:, 0]
    if data.owner is None:
        return {
            "structure's ensemble prediction": (prediction[frame], unit),
            "structure's ensemble |error|": (error[frame], unit),
            "structure's ensemble uncertainty": (uncertainty[frame], unit),
            f"structure's {rigidity}": (_log_rigidity(inverse)[frame], ""),
        }, (
            f"The map shows {len(samples):,} of the {samples.n_atoms.sum():,} atoms of its structures, so the ensemble "
            "was trained on structures as a whole, and each atom shows the value of its structure"
        )
    # A network of atoms one by one; as for the ridge, only differences from the mean of an element are determined.
    ones = {"n_atoms": np.ones(len(samples)), "composition": np.zeros((len(samples), data.columns.shape[1]))}
    members = minus_element_means(model.predict_members(data.rows, **ones), samples)
    last = minus_element_means(model.last_layer_features(data.rows, **ones), samples)
    inverse = model.spectrum().rows(last).inverse_rigidity(regularisation)
    return {
        "ensemble local prediction": (members.mean(axis=1), unit),
        "ensemble uncertainty": (members.std(axis=1, ddof=1), unit),
        "structure's ensemble |error|": (error[frame], unit),
        rigidity: (_log_rigidity(inverse), ""),
    }, ""


def _inverse_rigidities(
    data: _TrainingData, model: EnsembleModel, errors: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, float]:
    """f^T C^-1 f of every sample's last-layer features, and the regularisation that describes the held-out errors best.

    A sample that the network was trained on is taken out of C, h -> h / (1 - h), though not out of the features.
    """
    from matterscape.uq import calibrate

    rows, arguments = data.take(np.arange(len(errors)))
    rows = model.spectrum().rows(model.last_layer_features(rows, **arguments) / data.sizes[:, None])
    seen = np.zeros(len(errors), bool)
    seen[chosen] = True

    class LeftOut:
        @staticmethod
        def inverse_rigidity(regularisation):
            leverages = rows.inverse_rigidity(regularisation)
            return np.where(seen, leverages / np.maximum(1.0 - leverages, 1e-9), leverages)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a regularisation at the edge of the grid
        calibration = calibrate(LeftOut, errors, regularisations=REGULARISATIONS)
    return LeftOut.inverse_rigidity(calibration.regularisation), calibration.regularisation


def _log_rigidity(inverse: np.ndarray) -> np.ndarray:
    return -np.log10(np.maximum(inverse, _TINY))


def _properties(told: dict[str, tuple[np.ndarray, str]], level: str) -> dict[str, Property]:
    return {name: Property(name, values, level, unit) for name, (values, unit) in told.items()}
