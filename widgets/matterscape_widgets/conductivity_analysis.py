"""What a ConductivityView computes, with everything kept that the next move of a slider may need again."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from matterscape.transport.cepstral import cepstral_analysis
from matterscape.transport.currents import Currents
from matterscape.transport.onsager import Conductivity, electrical_conductivity, thermal_conductivity
from matterscape.transport.spectra import (
    FEW_SAMPLES,
    CrossPeriodogram,
    SpectrumWarning,
    binned_spectrum,
    cross_periodogram,
    resampled,
    suggested_cutoff,
)

Made = TypeVar("Made")
KEPT_BYTES = 200e6  # of periodograms and filtered currents
PIECE = 32768  # samples; of series much longer than that, some pieces make the spectrum on display
PIECES = 8
DRAWN = 500  # points of a spectrum on display
SCANNED = 16  # cutoff frequencies at most
OFFERED = 60  # positions of the slider at most
FEWEST_OFFERED = 200  # samples that the lowest cutoff offered leaves


@dataclass(frozen=True)
class Part:
    """Which of the data take part.

    Attributes
    ----------
    names : tuple of str
        Currents, the one whose conductivity is wanted first.
    start_ps, stop_ps : float
        Stretch of time of every segment.
    component : int, optional
        One Cartesian component, or all.
    segment : int, optional
        One segment, or all.
    """

    names: tuple[str, ...]
    start_ps: float
    stop_ps: float
    component: int | None = None
    segment: int | None = None


@dataclass(frozen=True)
class Shift:
    """The first current is replaced by itself plus ``coefficient`` times another."""

    other: str
    coefficient: float


class Analysis:
    """Conductivities of one set of currents, for one slider move after the other.

    Parameters
    ----------
    currents : Currents
    name : str
        Of the current whose conductivity is wanted, one of energy or of charge.

    Attributes
    ----------
    cutoffs_THz : array (n,)
        Cutoff frequencies to choose from, ascending: the Nyquist frequency divided by whole numbers.
    factor : float
        Conductivity per S(0).
    unit : str
        "W/(m K)" or "S/cm".

    Raises
    ------
    ValueError
        If the current is of another kind, or the series are too short.
    """

    def __init__(self, currents: Currents, name: str):
        self.currents, self.name = currents, name
        self.conductivity_of: Callable = (
            thermal_conductivity if currents.kinds[currents.index(name)] == "energy" else electrical_conductivity
        )
        self._kept: OrderedDict[Hashable, tuple[object, float]] = OrderedDict()
        widest = max(1, currents.n_samples // FEWEST_OFFERED)
        widths = np.unique(np.rint(np.geomspace(1, widest, OFFERED)).astype(int))
        self.cutoffs_THz = currents.nyquist_THz / widths[::-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SpectrumWarning)
            alone = self._chosen(self.everything((name,)))
            self.suggested_THz = suggested_cutoff(alone, name)
            arguments = {"energy" if self.conductivity_of is thermal_conductivity else "charge": name}
            reference = self.conductivity_of(alone, self.suggested_THz, **arguments)
        self.factor, self.unit = reference.factor, reference.unit

    def everything(self, names: tuple[str, ...]) -> Part:
        """The part of the data that leaves nothing out but other currents."""
        return Part(names, 0.0, self.currents.duration_ps)

    def conductivity(
        self, part: Part, cutoff_THz: float, shift: Shift | None = None, n_coefficients: int | None = None
    ) -> tuple[Conductivity, tuple[str, ...]]:
        """Conductivity at vanishing other currents of the part, and what was warned of."""

        def make() -> tuple[Conductivity, tuple[str, ...]]:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", SpectrumWarning)
                periodogram = self._filtered(_with_other(part, shift), cutoff_THz)
                reduced = _shifted(periodogram, part.names, shift).reduced(self.name)
                found = Conductivity(cepstral_analysis(reduced), reduced, self.factor, self.unit)
            return found, tuple(dict.fromkeys(str(one.message) for one in caught))

        found, said = self._keep(("conductivity", part, cutoff_THz, shift), make, lambda pair: _size(pair[0]))
        return (found if n_coefficients is None else found.with_coefficients(n_coefficients)), said

    def unfiltered_spectrum(
        self, part: Part, limit_THz: float, shift: Shift | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reduced periodogram in bins up to a frequency: frequencies in THz, and values as conductivities.

        Of long series, pieces spread over the whole time are averaged: for a picture that is enough.
        """
        periodogram = self._in_pieces(_with_other(part, shift))
        reduced = _shifted(periodogram, part.names, shift).reduced(self.name)
        shown = reduced.frequencies_THz <= limit_THz * (1 + 1e-9)
        frequencies, values = binned_spectrum(reduced.frequencies_THz[shown], reduced.values[shown], DRAWN)
        return frequencies, self.factor * values

    def scanned_cutoffs(self, part: Part) -> np.ndarray:
        """Cutoff frequencies in THz for a scan, ascending, each leaving enough samples."""
        samples = (part.stop_ps - part.start_ps) * 1e3 / self.currents.timestep_fs
        lowest = self.currents.nyquist_THz * FEW_SAMPLES / samples
        enough = self.cutoffs_THz[self.cutoffs_THz >= lowest]
        return (
            enough[np.unique(np.linspace(0, len(enough) - 1, SCANNED).round().astype(int))] if len(enough) else enough
        )

    # -- kept steps ----------------------------------------------------------------------------------------------------

    def _filtered(self, part: Part, cutoff_THz: float) -> CrossPeriodogram:
        """Spectral matrix of the filtered currents."""

        def make() -> CrossPeriodogram:
            return cross_periodogram(resampled(self._windowed(part), cutoff_THz))

        return self._keep(("filtered", part, cutoff_THz), make, lambda made: made.matrix.nbytes)

    def _in_pieces(self, part: Part) -> CrossPeriodogram:
        def make() -> CrossPeriodogram:
            currents = self._windowed(part)
            if currents.n_samples > PIECE * PIECES:
                begins = np.linspace(0, currents.n_samples - PIECE, PIECES).astype(int)
                pieces = [currents.values[..., begin : begin + PIECE] for begin in begins]
                currents = _with_values(currents, np.concatenate(pieces, axis=1))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SpectrumWarning)
                return cross_periodogram(currents)

        return self._keep(("pieces", part), make, lambda made: made.matrix.nbytes)

    def _windowed(self, part: Part) -> Currents:
        return self._chosen(part).window(part.start_ps, part.stop_ps)

    def _chosen(self, part: Part) -> Currents:
        """Currents, segments and components that take part, over the whole time; a view if that is everything."""
        whole = replace(part, start_ps=0.0, stop_ps=self.currents.duration_ps)

        def make() -> Currents:
            currents = self.currents
            if part.names != currents.names:
                currents = currents.select(*part.names)
            if part.component is not None:
                currents = currents.components(part.component)
            if part.segment is not None:
                currents = _with_values(currents, currents.values[:, [part.segment]])
            return currents

        return self._keep(("chosen", whole), make, lambda made: made.values.nbytes)

    def _keep(self, key: Hashable, make: Callable[[], Made], size: Callable[[Made], float]) -> Made:
        """What was made before for this key, or made now; what was not asked for longest makes room."""
        if key not in self._kept:
            made = make()
            self._kept[key] = (made, size(made))
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(bytes_ for _, bytes_ in self._kept.values()) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[key][0]


def _with_values(currents: Currents, values: np.ndarray) -> Currents:
    conditions = {name: getattr(currents, name) for name in ("kinds", "timestep_fs", "temperature_K", "volume")}
    return Currents(values, currents.names, **conditions)


def _size(conductivity: Conductivity) -> float:
    return 4.0 * conductivity.periodogram.values.nbytes


def _with_other(part: Part, shift: Shift | None) -> Part:
    """The part with the current that is added, which may take no part otherwise."""
    if shift is None or shift.other in part.names:
        return part
    return replace(part, names=(*part.names, shift.other))


def _shifted(periodogram: CrossPeriodogram, names: tuple[str, ...], shift: Shift | None) -> CrossPeriodogram:
    """Spectral matrix of some of the currents after the shift of the first: S -> T S T^T."""
    chosen = [periodogram.index(name) for name in names]
    matrix = periodogram.matrix
    if shift is None:
        if chosen == list(range(len(periodogram.names))):
            return periodogram
        return replace(periodogram, matrix=matrix[:, chosen][:, :, chosen], names=names)
    first, other, c = chosen[0], periodogram.index(shift.other), shift.coefficient
    matrix = matrix.copy()
    matrix[:, first] += c * matrix[:, other]
    matrix[:, :, first] += c * matrix[:, :, other]
    return replace(periodogram, matrix=matrix[:, chosen][:, :, chosen], names=names)
