"""Exploration: from frames to features, map and model, each computed again only when something it needs has changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from threadpoolctl import threadpool_limits

from matterscape.kernels import get_threads
from matterscape.maps.chemiscope_data import MapResult
from matterscape.maps.fits import EnsembleFit, Fit, fit_ensemble, fit_ridge
from matterscape.maps.hyperparameters import suggest_hyperparameters
from matterscape.maps.neighbours import nearest
from matterscape.maps.projection import MAX_LANDMARKS, SUPERVISED, Projection, project
from matterscape.maps.samples import (
    MAX_POINTS,
    MEMORY_BUDGET,
    Cancelled,
    Features,
    Progress,
    Samples,
    choose_samples,
    compute_features,
)
from matterscape.maps.shown_properties import baseline_of, composition, properties_of_points, targets_of_frames
from matterscape.models import LearningCurve, RidgeModel, learning_curve
from matterscape.structures import Structures
from matterscape.structures.properties import Property

MANY_POINTS = 4000  # half as many landmarks keep the kernels of more points small
DESCRIPTOR = ("cutoff", "max_radial", "max_angular", "smearing", "species_channels")


@dataclass(frozen=True)
class Settings:
    """What a person chooses.

    Attributes
    ----------
    per : "structure" or "atom"
        What a point of the map is.
    cutoff, smearing : float
        In Å.
    max_radial, max_angular : int
    species_channels : int or None
        Number of pseudo-species that share the density channels; None for an automatic choice.
    method : "pca", "kpca", "pcovr" or "kpcovr"
    mixing : float
        Of the supervised projections: 1 is the unsupervised map, 0 a regression.
    target : str or None
        Property that the model learns; None for no model.
    """

    per: str = "structure"
    cutoff: float = 5.0
    max_radial: int = 6
    max_angular: int = 4
    smearing: float = 0.3
    species_channels: int | None = None
    method: str = "pca"
    mixing: float = 0.5
    target: str | None = None

    @property
    def descriptor(self) -> dict[str, Any]:
        """The parameters of the power spectrum."""
        return {name: getattr(self, name) for name in DESCRIPTOR}


@dataclass(frozen=True)
class Outcome:
    """Everything that one pass has computed.

    Attributes
    ----------
    settings : Settings
    samples : Samples
    features : Features
    projection : Projection
    fit : Fit or None
        The ridge model.
    ensemble : EnsembleFit or None
        The ensemble, once `Exploration.ensemble` has trained it for these features and this target.
    properties : dict of str to Property
        One value per point each, in the order of a menu: the data's own, then computed ones.
    seed : int
        Of samples, projections and folds.
    seconds : dict of str to float
        Time of each stage that was computed anew.
    remarks : tuple of str
        Sentences on what was left out or chosen automatically.
    """

    settings: Settings
    samples: Samples
    features: Features
    projection: Projection
    fit: Fit | None
    ensemble: EnsembleFit | None
    properties: dict[str, Property]
    seed: int
    seconds: dict[str, float]
    remarks: tuple[str, ...]

    def point_of_sample(self, sample: int) -> int:
        """The point of the map that stands for a sample of the model: its first environment, or itself."""
        if self.fit is None or self.fit.target.level == self.samples.level:
            return sample
        return int(np.searchsorted(self.samples.environments[:, 0], sample))

    def sample_of_point(self, point: int) -> int:
        """The sample of the model that a point of the map belongs to."""
        if self.fit is None or self.fit.target.level == self.samples.level:
            return point
        return int(self.samples.environments[point, 0])

    def neighbours(self, point: int, n: int = 6) -> list[tuple[int, float]]:
        """The points that resemble one most.

        Parameters
        ----------
        point : int
        n : int

        Returns
        -------
        list of (int, float)
            Points and cosine similarities of their features, the most alike first.
        """
        n = min(n, len(self.samples) - 1)
        found = nearest(self.features.rows, n, queries=[point], metric="cosine")
        return [(int(i), float(1.0 - d)) for i, d in zip(found.indices[0], found.distances[0])]

    def map_result(self, colour: str | None = None) -> MapResult:
        """The finished map.

        Parameters
        ----------
        colour : str, optional
            Property that colours the map at first; by default what the model predicts, or else the first of all.

        Returns
        -------
        MapResult

        Raises
        ------
        ValueError
            If there is no such property.
        """
        settings = self.settings
        if colour is None and self.fit is not None:
            colour = self.fit.target.name if self.fit.target.level == self.samples.level else "local prediction"
        return MapResult(
            coordinates=self.projection.coordinates,
            labels=self.projection.labels,
            properties=self.properties,
            frames=self.samples.frames,
            environments=self.samples.environments,
            cutoff=float(settings.cutoff),
            settings={
                "per": settings.per,
                **settings.descriptor,
                "projection": settings.method,
                "target": settings.target,
                "seed": self.seed,
            },
            colour=next(iter(self.properties), None) if colour is None else colour,
            features=self.features.rows,
            model=None if self.fit is None else self.fit.model,
            remarks=tuple(self._sentences()),
        )

    def _sentences(self) -> Iterator[str]:
        """What somebody should know who sees only the map."""
        if self.samples.properties.missing:
            yield self.samples.properties.missing_sentence
        yield from self.remarks
        yield f"The coordinates carry {100 * self.projection.explained_variance.sum():.0f} % of the variance"
        if self.fit is not None:
            target, model = self.fit.target, self.fit.model
            unit = f" {target.unit}" if target.unit else ""
            scores = f"{self.fit.rmse:.3g}{unit}, spread {self.fit.spread:.3g}{unit}"
            how = "Leave-one-out" if model.folds == "loo" else f"{model.folds}-fold cross-validated"
            yield f"{how} error of {target.name}: {scores}"
            if self.ensemble is not None:
                yield (
                    f"{self.ensemble.model.folds}-fold cross-validated error of an ensemble of "
                    f"{self.ensemble.model.n_members} networks: {self.ensemble.rmse:.3g}{unit}; area of miscalibration "
                    f"{self.ensemble.miscalibration_area:.2f}, of the ridge model {self.fit.miscalibration_area:.2f}"
                )
            if model.regularisation_path.at_edge:
                yield f"The best regularisation {model.chosen_regularisation:.0e} lies at the edge of the grid"


class Exploration:
    """Frames and what has been computed from them.

    Parameters
    ----------
    frames : list of ase.Atoms
        Properties in ``info`` and ``arrays``.
    max_points : int
        More structures or environments than that are sampled.
    memory_budget : float
        Bytes of features.
    seed : int
        Of samples, projections and folds; the same seed gives the same map.

    Attributes
    ----------
    structures : Structures
        All frames as tensors.

    Raises
    ------
    TypeError, ValueError
        If the frames are no valid structures; the message names the first offender.
    """

    def __init__(
        self,
        frames: Sequence[Atoms],
        *,
        max_points: int = MAX_POINTS,
        memory_budget: float = MEMORY_BUDGET,
        seed: int = 0,
    ):
        self.frames = list(frames)
        self.structures = Structures.from_ase(self.frames)  # validates
        self.max_points = max_points
        self.memory_budget = memory_budget
        self.seed = seed
        self._kept: dict[str, tuple[Any, Any]] = {}

    def suggested_settings(self) -> Settings:
        """Settings that suit the frames: a map of environments where structures are few, and a target if there is one.

        The resolution is at most that of a step that takes a fraction of a second.
        """
        found = suggest_hyperparameters(self.structures, seed=self.seed)
        resolution = {"max_radial": min(6, found["max_radial"]), "max_angular": min(4, found["max_angular"])}
        settings = Settings(
            "structure" if len(self.frames) >= 10 else "atom",
            cutoff=round(found["cutoff"], 1),
            smearing=round(20 * found["smearing"]) / 20,
            **resolution,
        )
        return replace(settings, target=next(iter(self.targets(settings.per)), None))

    def samples(self, per: str) -> Samples:
        """The points of a map of structures or of environments."""
        return self._stage(f"samples {per}", (), lambda: choose_samples(self.frames, per, self.max_points, self.seed))

    def targets(self, per: str) -> dict[str, Property]:
        """Properties that a model can learn: scalar, finite and not the same everywhere, the energy first."""
        samples = self.samples(per)
        return self._stage(f"targets {per}", (), lambda: targets_of_frames(samples, samples.properties))

    def run(
        self,
        settings: Settings,
        progress: Progress = lambda fraction, message: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Compute what the settings ask for, reusing every stage whose inputs have not changed.

        Parameters
        ----------
        settings : Settings
        progress : callable
            Called with the fraction that is done, and what is being done.
        cancelled : callable
            Asked now and then; `Cancelled` is raised once it says so.

        Returns
        -------
        Outcome

        Raises
        ------
        ValueError
            If a setting is out of range, there are too few points, or the target is unknown.
        Cancelled
        """
        seconds: dict[str, float] = {}

        def stage(name: str, key: Any, compute: Callable[[], Any]) -> Any:
            if cancelled():
                raise Cancelled
            return self._stage(name, key, compute, seconds)

        samples = self.samples(settings.per)
        if len(samples) < 3:
            what = "structures" if settings.per == "structure" else "environments"
            hint = ", choose environments instead" if samples.level == "structure" else ""
            raise ValueError(f"a map needs at least 3 {what}, got {len(samples)}{hint}")
        targets = self.targets(settings.per)
        if settings.target is not None and settings.target not in targets:
            raise ValueError(
                f"target is {settings.target!r}; accepted are {', '.join(targets) or 'none of these data'}"
            )
        target = targets.get(settings.target)
        if settings.method in SUPERVISED and target is None:
            raise ValueError(
                f"method is {settings.method!r}, which needs a target; choose one, or accepted are pca, kpca"
            )

        key = (settings.per, *settings.descriptor.values())
        features = stage(
            "features",
            key,
            lambda: compute_features(
                samples,
                settings.descriptor,
                memory_budget=self.memory_budget,
                seed=self.seed,
                progress=lambda fraction, message: progress(0.9 * fraction, message),
                cancelled=cancelled,
            ),
        )
        progress(0.9, "map")
        projection_key = (
            key,
            settings.method,
            *((settings.mixing, target.name) if settings.method in SUPERVISED else ()),
        )
        with _half_the_threads():
            projection = stage("map", projection_key, lambda: self._project(settings, samples, features, target))
        progress(0.95, "model")
        own = self._stage(f"properties {settings.per}", (), lambda: properties_of_points(samples))
        fit = None
        if target is not None:
            with _half_the_threads():
                fit = stage("model", (key, target.name), lambda: fit_ridge(samples, features, target, self.seed))
        progress(1.0, "done")
        outcome = Outcome(
            settings=settings,
            samples=samples,
            features=features,
            projection=projection,
            fit=fit,
            ensemble=None,
            properties={**own, **({} if fit is None else fit.points)},
            seed=self.seed,
            seconds=seconds,
            remarks=tuple(filter(None, (samples.remark, *features.remarks))),
        )
        kept = self._kept.get("ensemble")
        return outcome if kept is None or kept[0] != _ensemble_key(settings) else _with_ensemble(outcome, kept[1])

    def ensemble(
        self,
        outcome: Outcome,
        progress: Progress = lambda fraction, message: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Outcome:
        """Train a shallow ensemble of networks on what the ridge model has learnt, for error bars of a second kind.

        It is kept, and part of what `run` returns, until the features or the target change.

        Parameters
        ----------
        outcome : Outcome
            With a fit.
        progress : callable
            Called with the fraction that is done, and what is being done.
        cancelled : callable
            Asked now and then; `Cancelled` is raised once it says so.

        Returns
        -------
        Outcome
            The same with the ensemble, and with what it says about the points among the properties.

        Raises
        ------
        ValueError
            If there is no model, or fewer than 20 samples.
        Cancelled
        """
        if outcome.fit is None:
            raise ValueError("an ensemble needs a target; these data, or this choice, have none")

        def train() -> EnsembleFit:
            target = outcome.fit.target
            with _half_the_threads():
                return fit_ensemble(outcome.samples, outcome.features, target, self.seed, progress, cancelled)

        seconds: dict[str, float] = {}
        fit = self._stage("ensemble", _ensemble_key(outcome.settings), train, seconds)
        return replace(_with_ensemble(outcome, fit), seconds=seconds)

    def learning_curve(
        self,
        outcome: Outcome,
        n_sizes: int = 6,
        n_seeds: int = 4,
        progress: Callable[..., None] = lambda fraction, message, partial: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> LearningCurve:
        """Error on a test set against the number of training samples.

        Parameters
        ----------
        outcome : Outcome
            With a fit.
        n_sizes, n_seeds : int
            Training sets: sizes from a twentieth to all that the test set leaves, and shuffles of each.
        progress : callable
            Called with the fraction done, a message, and the curve so far.
        cancelled : callable
            Once it says so, the curve so far is returned.

        Returns
        -------
        LearningCurve

        Raises
        ------
        ValueError
            If there is no model, or fewer than 20 samples.
        """
        fit = outcome.fit
        if fit is None:
            raise ValueError("a learning curve needs a target; these data, or this choice, have none")
        n = len(fit.rows)
        if n < 20:
            raise ValueError(f"a learning curve needs at least 20 samples, got {n}")
        most = n - max(1, round(0.2 * n))
        sizes = np.unique(np.geomspace(max(8, most // 20), most, n_sizes).astype(int))
        curves: list[LearningCurve] = []
        for k, size in enumerate(sizes):
            if cancelled() and curves:
                break
            # The test set and the shuffles follow from the seed alone, so that single sizes make one curve.
            with _half_the_threads():
                one = learning_curve(
                    fit.rows,
                    fit.target.values,
                    [size],
                    composition=fit.composition,
                    n_seeds=n_seeds,
                    seed=self.seed,
                    make_model=lambda: RidgeModel(seed=self.seed),
                )
            curves.append(one)
            so_far = LearningCurve(sizes[: k + 1], np.concatenate([one.rmse for one in curves]), curves[0].test_indices)
            progress((k + 1) / len(sizes), f"{size} training samples", so_far)
        return so_far

    def _stage(self, name: str, key: Any, compute: Callable[[], Any], seconds: dict | None = None) -> Any:
        """The kept result of a stage, or a new one if its key has changed."""
        kept = self._kept.get(name)
        if kept is not None and kept[0] == key:
            return kept[1]
        start = perf_counter()
        result = compute()
        self._kept[name] = (key, result)
        if seconds is not None:
            seconds[name] = perf_counter() - start
        return result

    def _project(self, settings: Settings, samples: Samples, features: Features, target: Property | None) -> Projection:
        values = None
        if settings.method in SUPERVISED:
            values = target.values - baseline_of(target.values, composition(samples, target.level))
            values = values if target.level == samples.level else values[samples.environments[:, 0]]
        return project(
            features.rows,
            settings.method,
            targets=values,
            mixing=settings.mixing,
            max_landmarks=MAX_LANDMARKS if len(samples) < MANY_POINTS else MAX_LANDMARKS // 2,
            seed=self.seed,
        )


def _ensemble_key(settings: Settings) -> tuple:
    """What an ensemble depends on."""
    return (settings.per, *settings.descriptor.values(), settings.target)


def _with_ensemble(outcome: Outcome, fit: EnsembleFit) -> Outcome:
    """An outcome with the ensemble of its features and its target."""
    remarks = (*outcome.remarks, *(remark for remark in fit.remarks if remark not in outcome.remarks))
    return replace(outcome, ensemble=fit, properties={**outcome.properties, **fit.points}, remarks=remarks)


def _half_the_threads():
    """Linear algebra that leaves cores to the one who watches; on busy cores its threads mostly wait for each other."""
    return threadpool_limits(max(1, get_threads() // 2), user_api="blas")
