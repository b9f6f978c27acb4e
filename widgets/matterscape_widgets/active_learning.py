"""ActiveLearning: choose what to label next, by hand or by the error bar, and see what each choice was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from ase import Atoms

from matterscape.maps.projection import project
from matterscape.uq.arrays import feature_matrix, target_vector
from matterscape.uq.rigidity import Rigidity, gram

from .curve import Curve, Series
from .live_map import LiveMap
from .structure_pane import StructurePane, link
from .study import Readout, Study

OWN = "your choice"


class ActiveLearning(Study):
    """Candidates on a map, coloured by the error bar of a linear model that is refitted after every new label.

    Click a candidate and label it, or let the error bar choose; the error on a test set is drawn against the number of
    labels, beside what other orders of the same candidates achieve. Labelled candidates are grey.

    Parameters
    ----------
    features : array (n_candidates, n_features)
        One row per candidate, with a constant column if the model is to have one.
    targets : array (n_candidates,)
        What a calculation of the candidate gives; used once the candidate has been chosen.
    test_features, test_targets : array (n_test, n_features) and (n_test,)
        Samples on which the error is measured.
    regularisation : float
        Penalty of the model, fixed.
    variance_scale : float
        The factor alpha^2 of the variances.
    start : sequence of int
        Candidates that are labelled at the beginning; at least one.
    orders : dict of str to list of sequences of int, optional
        Other ways to choose, for comparison: each a list of orders of candidates, continuing after those of `start`.
        Of several orders the geometric mean of the errors is drawn, with a band of one standard deviation.
    groups : sequence of str, length n_candidates, optional
        What each candidate is; shown where the mouse hovers.
    frames : sequence of ase.Atoms, length n_candidates, optional
        Shown beside the map when there are any.
    unit : str
        Unit of the targets, for the labels.
    title : str
        A heading.

    Attributes
    ----------
    labelled : tuple of int
        Candidates that have been labelled, in their order.
    errors : tuple of float
        Root mean square test error after each number of labels, from that of `start` on.
    map : LiveMap
    pane : StructurePane or None

    Raises
    ------
    ValueError
        If lengths disagree, or `start` or an order names a candidate twice or one that does not exist.
    """

    def __init__(
        self,
        features,
        targets,
        test_features,
        test_targets,
        *,
        regularisation: float,
        variance_scale: float = 1.0,
        start: Sequence[int] = (0,),
        orders: Mapping[str, Sequence[Sequence[int]]] | None = None,
        groups: Sequence[str] | None = None,
        frames: Sequence[Atoms] | None = None,
        unit: str = "",
        title: str = "What to label next",
    ):
        self.features = feature_matrix(features)
        n = len(self.features)
        self.targets = target_vector(targets, n)
        self.test_features = feature_matrix(test_features, "test_features", self.features.shape[1])
        self.test_targets = target_vector(test_targets, len(self.test_features), "test_targets")
        self.regularisation, self.variance_scale, self.unit = regularisation, variance_scale, unit
        for name, given in (("groups", groups), ("frames", frames)):
            if given is not None and len(given) != n:
                raise ValueError(f"{name} has {len(given)} entries, but there are {n} candidates.")
        self.groups = ["candidate"] * n if groups is None else [str(group) for group in groups]
        self.start = self._checked_order("start", start)
        if not self.start:
            raise ValueError("start is empty; at least one candidate must be labelled at the beginning.")
        self._others = {
            name: np.array([self.learning_curve(order) for order in several])
            for name, several in (orders or {}).items()
        }
        coordinates = project(self.features).coordinates
        self.map = LiveMap(*coordinates.T, x_label="principal component 1", y_label="principal component 2", height=340)
        self.pane = None
        if frames is not None:
            self.pane = StructurePane(frames)
            link(self.map, self.pane)
        self.curve = Curve(
            x_label="labels",
            y_label=f"rms test error ({unit})" if unit else "rms test error",
            y_scale="log",
            height=300,
        )
        self._buttons = {
            "one": ipywidgets.Button(description="Label this one", button_style="primary"),
            "uncertain": ipywidgets.Button(description="Label the most uncertain"),
            "five": ipywidgets.Button(description="… and five times more"),
            "again": ipywidgets.Button(description="Start again"),
        }
        for button in self._buttons.values():
            button.layout.width = "auto"
        self._buttons["one"].on_click(lambda _: self._answer(self.label_active))
        self._buttons["uncertain"].on_click(lambda _: self._answer(self.label_uncertain))
        self._buttons["five"].on_click(lambda _: self._answer(lambda: self.label_uncertain(5)))
        self._buttons["again"].on_click(lambda _: self._answer(self.restart))
        self.readouts = {
            name: Readout(name, "–", unit if name in ("Its error bar", "It was off by", "Test error") else "")
            for name in ("Chosen", "Its error bar", "It was off by", "Labels", "Test error")
        }
        controls = [*self._buttons.values(), *self.readouts.values()]
        super().__init__(controls, [self.map, self.curve], self.pane, title)
        self.add_class("matterscape-active-learning")
        self.map.observe(lambda _: self._show_candidate(), "active")
        self.restart()

    def label(self, candidate: int) -> None:
        """Label one candidate and refit.

        Raises
        ------
        ValueError
            If it does not exist or is labelled already.
        """
        self._checked_order("candidate", [*self.labelled, candidate])
        off = float(self.features[candidate] @ self._weights - self.targets[candidate])
        self._last = off, float(self.deviations[candidate])
        self.labelled += (int(candidate),)
        self._refit()
        self._draw()

    def label_active(self) -> None:
        """Label the candidate that is marked on the map.

        Raises
        ------
        ValueError
            If none is marked, or it is labelled already.
        """
        if self.map.active is None:
            raise ValueError("No candidate is marked; click a point of the map first.")
        self.label(self.map.active)

    def label_uncertain(self, times: int = 1) -> None:
        """Label the candidate with the largest error bar, and so on with the error bars that follow.

        Raises
        ------
        ValueError
            If all candidates are labelled.
        """
        for _ in range(times):
            if len(self.labelled) == len(self.features):
                raise ValueError(f"All {len(self.features)} candidates are labelled; start again.")
            open_deviations = np.where(np.isin(np.arange(len(self.features)), self.labelled), -1.0, self.deviations)
            self.label(int(np.argmax(open_deviations)))
        self.map.active = self.labelled[-1]

    def restart(self) -> None:
        """Forget all labels but those of the beginning."""
        self.labelled, self.errors, self._last = tuple(self.start), (), None
        self._refit()
        self._draw()

    def learning_curve(self, order: Sequence[int]) -> np.ndarray:
        """Root mean square test error (n + 1,) with the labels of the start, and after each of the n of an order.

        Raises
        ------
        ValueError
            If the order names a candidate twice, one of the start, or one that does not exist.
        """
        order = self._checked_order("order", [*self.start, *order])
        return np.array([self._fit(order[:k])[1] for k in range(len(self.start), len(order) + 1)])

    def _checked_order(self, name: str, order: Sequence[int]) -> list[int]:
        order = [int(candidate) for candidate in order]
        for k, candidate in enumerate(order):
            if not 0 <= candidate < len(self.features):
                raise ValueError(f"{name} contains {candidate}, but the candidates are 0 to {len(self.features) - 1}.")
            if candidate in order[:k]:
                raise ValueError(f"{name} contains {candidate}, which is labelled already.")
        return order

    def _fit(self, labelled: Sequence[int]) -> tuple[np.ndarray, float]:
        """Weights, and root mean square error on the test set."""
        known = self.features[list(labelled)]
        penalised = known.T @ known + self.regularisation * np.eye(known.shape[1])
        weights = np.linalg.solve(penalised, known.T @ self.targets[list(labelled)])
        return weights, float(np.sqrt(np.mean((self.test_features @ weights - self.test_targets) ** 2)))

    def _refit(self) -> None:
        self._weights, error = self._fit(self.labelled)
        self.errors += (error,)
        rigidity = Rigidity(
            gram(self.features[list(self.labelled)]), self.regularisation, variance_scale=self.variance_scale
        )
        self.deviations = np.sqrt(rigidity.variance(self.features))

    def _draw(self) -> None:
        known = np.isin(np.arange(len(self.features)), self.labelled)
        colour = np.log10(self.deviations)
        colour[known] = np.nan
        labels = [f"{group}, labelled" if flag else group for group, flag in zip(self.groups, known.tolist())]
        unit = f" ({self.unit})" if self.unit else ""
        self.map.update(colour=colour, labels=labels, colour_label=f"log10 error bar{unit}")
        first = len(self.start)
        series = {}
        for name, curves in self._others.items():
            logs, counts = np.log(curves), np.arange(first, first + curves.shape[1])
            middle, spread = logs.mean(axis=0), logs.std(axis=0)
            band = (np.exp(middle - spread), np.exp(middle + spread)) if len(curves) > 1 else (None, None)
            series[name] = Series(counts, np.exp(middle), *band)
        series[OWN] = Series(np.arange(first, first + len(self.errors)), self.errors, style="both")
        self.curve.update(series)
        self.readouts["Labels"].show(len(self.labelled))
        self.readouts["Test error"].show(self.errors[-1])
        last = "–" if self._last is None else f"{self._last[0]:+.3g} (± {self._last[1]:.3g})"
        self.readouts["It was off by"].show(last)
        self._show_candidate()

    def _show_candidate(self) -> None:
        candidate = self.map.active
        known = candidate in self.labelled
        self._buttons["one"].disabled = candidate is None or known
        name = "–" if candidate is None else f"{self.groups[candidate]}, no. {candidate}"
        self.readouts["Chosen"].show(f"{name}, labelled" if known else name)
        self.readouts["Its error bar"].show("–" if candidate is None else float(self.deviations[candidate]))

    def _answer(self, action) -> None:
        with self.reporting(lambda: f"{len(self.labelled)} of {len(self.features)} candidates are labelled."):
            action()
