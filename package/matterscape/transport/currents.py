"""Currents along one or several runs: the one container that every transport coefficient starts from."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from matterscape.checks import check_number, check_whole
from matterscape.models.files import atomic_path

if TYPE_CHECKING:
    from matterscape.dynamics import Simulation

#: Unit of a current of each kind; all are sums over atoms, not densities.
UNITS = {"energy": "eV Å/ps", "charge": "e Å/ps", "number": "Å/ps", "mass": "amu Å/ps"}
# Unit of a recorded flux, and what flows.
_KIND_OF = {"eV Å / ASE time": "energy", "e Å / ASE time": "charge", "Å / ASE time": "number"}
# A time mean this small, in units of its width for white noise, has been subtracted: by chance it occurs once in 10^6
# series of one component, and writing a table with seven digits leaves less.
_SUBTRACTED = 1e-6
_AT_REST = 1e-6  # kinetic energy of the centre of mass in units of its thermal mean, above rounding
_PER_PS = 1000.0 * units.fs  # a velocity in Å / ASE time, times this, is in Å/ps


class MomentumWarning(UserWarning):
    """Currents of a system that moves as a whole, which carries its energy and its atoms along."""


@dataclass(frozen=True, eq=False)
class Currents:
    """Extensive currents J_a(t) of independent runs of one system, at equal intervals.

    Nothing here ever subtracts a mean: the spectrum at zero frequency, which holds the transport coefficient, would
    vanish.

    Parameters
    ----------
    values : array (M, R, l, N), float32 or float64
        M currents, R segments (independent runs, or parts of one), l Cartesian components, N samples. Arrays
        (M, l, N) are one segment.
    names : sequence of str
        Of the M currents, all different.
    timestep_fs : float
        Time between two samples in fs.
    temperature_K : float
        Mean temperature in K.
    volume : float
        Of the cell in Å^3.
    kinds : sequence of str, optional
        "energy", "charge", "number" or "mass" for each current, see ``UNITS``; by default the names, where they are
        among these.

    Raises
    ------
    ValueError
        If a number or shape is out of range, a sample is not finite, a current vanishes throughout, or the time mean of
        a current was subtracted beforehand.

    Attributes
    ----------
    values : array (M, R, l, N)
    names, kinds : tuple of str
    timestep_fs, temperature_K, volume : float
    """

    values: np.ndarray
    names: tuple[str, ...]
    timestep_fs: float
    temperature_K: float
    volume: float
    kinds: tuple[str, ...]

    def __init__(
        self,
        values: np.ndarray,
        names: Sequence[str],
        *,
        timestep_fs: float,
        temperature_K: float,
        volume: float,
        kinds: Sequence[str] | None = None,
    ):
        names = (names,) if isinstance(names, str) else tuple(names)
        values = _checked_values(values, names)
        for name, number, unit in (
            ("timestep_fs", timestep_fs, "fs"),
            ("temperature_K", temperature_K, "K"),
            ("volume", volume, "Å^3"),
        ):
            check_number(name, number, unit, positive=True)
        for key, value in {
            "values": values,
            "names": names,
            "timestep_fs": float(timestep_fs),
            "temperature_K": float(temperature_K),
            "volume": float(volume),
            "kinds": _checked_kinds(kinds, names),
        }.items():
            object.__setattr__(self, key, value)

    @classmethod
    def from_records(
        cls,
        simulation: "Simulation",
        currents: Mapping[str, str] | None = None,
        *,
        structure: int = 0,
        temperature_K: float | None = None,
    ) -> "Currents":
        """Currents from the records of a simulation, converted to Å/ps.

        Parameters
        ----------
        simulation : Simulation
            With records of ``heat_flux``, ``charge_flux`` or ``species_flux`` at one stride.
        currents : mapping of str to str, optional
            Name of each current, and the record that it is read from: ``"heat_flux"``, ``"charge_flux"``,
            ``"species_flux:Li"`` for the summed velocities of one element, or the name of a record of a function that
            gives a flux (B, 3) in a unit of these. By default ``energy`` and ``charge``, those that were recorded.
        structure : int
            Which structure of the batch.
        temperature_K : float, optional
            By default the mean of the record ``temperature_K``.

        Raises
        ------
        ValueError
            If a record is missing, or strides differ.

        Warns
        -----
        MomentumWarning
            If there are other currents than of charge, and the total momentum is not zero: with a thermostat that does
            not conserve it, or forces that do not sum to zero.
        """
        from ase.data import atomic_numbers

        records = simulation.records
        if currents is None:
            usual = {"energy": "heat_flux", "charge": "charge_flux"}
            currents = {name: record for name, record in usual.items() if record in records}
        rows, kinds, strides, starts = [], [], set(), set()
        for name, source in currents.items():
            record, _, element = source.partition(":")
            kind = _KIND_OF.get(records[record].unit) if record in records else None
            values = records[record].values if kind else np.empty(0)
            if values.shape[1:2] == (simulation.state.n_structures,):
                values = values[:, structure]
            if record == "species_flux" and kind:
                number = atomic_numbers.get(element)
                if number not in simulation.species:
                    raise ValueError(f"current {name!r} is to be read from {source!r}, an element that does not occur")
                values = values[:, simulation.species.index(number)]
            if values.shape[1:] != (3,):
                raise ValueError(
                    f"current {name!r} is to be read from {source!r}; the simulation recorded {', '.join(records)}, "
                    "accepted are heat_flux, charge_flux, species_flux:X for an element X, and other fluxes (B, 3) in "
                    f"{', '.join(_KIND_OF)}"
                )
            rows.append(values.T * _PER_PS)
            kinds.append(kind)
            strides.add(records[record].every)
            starts.add(records[record].first_step)
        if not rows or len(strides) > 1 or len(starts) > 1:
            raise ValueError(
                f"currents are {dict(currents)!r}, recorded every {sorted(strides)} steps from steps {sorted(starts)}; "
                "accepted is at least one record, all with one stride and first step"
            )
        if set(kinds) != {"charge"}:
            _warn_of_momentum(simulation, structure)
        if temperature_K is None:
            if "temperature_K" not in records:
                raise ValueError("temperature_K is None; give it, or record temperature_K along with the currents")
            temperature_K = float(np.mean(records["temperature_K"].values[:, structure]))
        return cls(
            np.stack(rows),
            list(currents),
            timestep_fs=strides.pop() * simulation.timestep_fs,
            temperature_K=temperature_K,
            volume=float(simulation.volume[structure]),
            kinds=kinds,
        )

    # -- what is there -------------------------------------------------------------------------------------------------

    @property
    def n_currents(self) -> int:
        """Number of currents M."""
        return self.values.shape[0]

    @property
    def n_segments(self) -> int:
        """Number of segments R."""
        return self.values.shape[1]

    @property
    def n_components(self) -> int:
        """Number of Cartesian components l."""
        return self.values.shape[2]

    @property
    def n_samples(self) -> int:
        """Number of samples N of each segment."""
        return self.values.shape[3]

    @property
    def duration_ps(self) -> float:
        """Length of a segment in ps."""
        return self.n_samples * self.timestep_fs * 1e-3

    @property
    def nyquist_THz(self) -> float:
        """Highest frequency that the samples resolve, in THz."""
        return 500.0 / self.timestep_fs

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each current."""
        return tuple(UNITS[kind] for kind in self.kinds)

    def index(self, name: str) -> int:
        """Position of a current among ``names``; ``ValueError`` if there is none of that name."""
        if name not in self.names:
            raise ValueError(f"there is no current {name!r}; accepted are {', '.join(self.names)}")
        return self.names.index(name)

    def __getitem__(self, name: str) -> np.ndarray:
        """Samples of one current (R, l, N)."""
        return self.values[self.index(name)]

    def __repr__(self) -> str:
        listed = ", ".join(f"{name} ({unit})" for name, unit in zip(self.names, self.units))
        return (
            f"<Currents {listed}: {self.n_segments} x {self.n_components} x {self.n_samples} samples every "
            f"{self.timestep_fs:g} fs, {self.temperature_K:g} K, {self.volume:g} Å^3>"
        )

    # -- parts and combinations ----------------------------------------------------------------------------------------

    def select(self, *names: str) -> "Currents":
        """Only some of the currents, in the order given."""
        chosen = [self.index(name) for name in names]
        if not chosen:
            raise ValueError(f"names are empty; accepted are some of {', '.join(self.names)}")
        kinds = tuple(self.kinds[index] for index in chosen)
        return self._with(values=self.values[chosen], names=tuple(names), kinds=kinds)

    def shifted(self, name: str, other: str, coefficient: float) -> "Currents":
        """The same with the current ``name`` replaced by ``name + coefficient * other``.

        Conductivities of ``name`` at vanishing ``other`` do not change, see
        :func:`matterscape.transport.onsager.thermal_conductivity`.
        """
        check_number("coefficient", coefficient, signed=True)
        index, added = self.index(name), self.index(other)
        if index == added:
            raise ValueError(f"other is {other!r}, the current that is to be shifted; accepted is a different one")
        values = self.values.copy()
        values[index] += coefficient * values[added]
        return self._with(values=values)

    def from_centre_of_mass(self, velocity: np.ndarray, carried: Mapping[str, float]) -> "Currents":
        """The currents that an observer sees who moves with the centre of mass: J_a - A_a V.

        A system that moves as a whole carries along what it contains. Of energy that is the enthalpy E + P V, for its
        current counts the work of the pressure, too; of matter the number of atoms or the mass, of charge the net one.

        Parameters
        ----------
        velocity : array (R, l, N), or (l, N) of one segment
            V, of the centre of mass in Å/ps.
        carried : mapping of str to float
            A of each current: in eV for energy, else the number, e or amu. Currents that are left out stay.

        Raises
        ------
        ValueError
            If a name is not one of the currents, a number is not finite, or the velocity has another shape or is not
            finite.
        """
        velocity = self._one_current("velocity", velocity)
        if not np.isfinite(velocity).all():
            raise ValueError("velocity has samples that are not finite; accepted are finite numbers")
        amounts = np.zeros(self.n_currents)
        for name, amount in carried.items():
            check_number(f"carried[{name!r}]", amount, signed=True)
            amounts[self.index(name)] = amount
        return self._with(values=self.values - amounts[:, None, None, None] * velocity)

    def with_current(self, name: str, kind: str, values: np.ndarray) -> "Currents":
        """The same with one more current: samples (R, l, N), or (l, N) of one segment."""
        added = self._one_current("values", values)[None]
        return Currents(
            np.concatenate([self.values, added]), (*self.names, name), kinds=(*self.kinds, kind), **self._conditions()
        )

    def window(self, start_ps: float = 0.0, stop_ps: float | None = None) -> "Currents":
        """The samples of a stretch of time of every segment.

        Parameters
        ----------
        start_ps, stop_ps : float
            In ps from the first sample; until the end if ``stop_ps`` is not given.
        """
        stop_ps = self.duration_ps if stop_ps is None else stop_ps
        check_number("start_ps", start_ps, "ps")
        check_number("stop_ps", stop_ps, "ps", positive=True)
        first, last = (round(time * 1e3 / self.timestep_fs) for time in (start_ps, stop_ps))
        if not first + 2 <= last <= self.n_samples:
            raise ValueError(
                f"start_ps is {start_ps:g} and stop_ps is {stop_ps:g}; accepted are two times from 0 to "
                f"{self.duration_ps:g} ps with at least two samples between them"
            )
        return self._with(values=self.values[..., first:last])

    def split(self, n_segments: int) -> "Currents":
        """Each segment cut into equal parts; what is left over at the end is dropped."""
        check_whole("n_segments", n_segments, 1)
        length = self.n_samples // n_segments
        if length < 2:
            raise ValueError(f"n_segments is {n_segments}; accepted is at most {self.n_samples // 2}")
        m, r, l, _ = self.values.shape
        parts = self.values[..., : n_segments * length].reshape(m, r, l, n_segments, length)
        return self._with(values=parts.transpose(0, 1, 3, 2, 4).reshape(m, r * n_segments, l, length))

    def strided(self, every: int) -> "Currents":
        """Every so manyth sample. Frequencies above the new limit fold back: filter first, or know there are none."""
        check_whole("every", every, 1)
        return self._with(values=self.values[..., ::every], timestep_fs=self.timestep_fs * every)

    def components(self, *chosen: int) -> "Currents":
        """Only some of the Cartesian components, such as 2 for the conductivity along z."""
        for component in chosen:
            if component not in range(self.n_components):
                raise ValueError(f"component is {component!r}; accepted are whole numbers below {self.n_components}")
        if not chosen:
            raise ValueError(f"components are empty; accepted are whole numbers below {self.n_components}")
        return self._with(values=self.values[:, :, list(chosen)])

    @classmethod
    def join(cls, runs: "Sequence[Currents]") -> "Currents":
        """Runs of one system as segments of one object; temperature and volume are averaged over the segments.

        Raises
        ------
        ValueError
            If there is no run, or currents, components, lengths or time steps differ.
        """
        runs = list(runs)
        if not runs:
            raise ValueError("runs are empty; accepted is at least one")
        first = runs[0]
        for number, run in enumerate(runs):
            for what in ("names", "kinds", "n_components", "n_samples", "timestep_fs"):
                if getattr(run, what) != getattr(first, what):
                    raise ValueError(
                        f"run {number} has {what} {getattr(run, what)!r}, run 0 has {getattr(first, what)!r}; accepted "
                        "are equal ones"
                    )
        weights = [run.n_segments for run in runs]
        temperature, volume = (
            float(np.average([getattr(run, what) for run in runs], weights=weights))
            for what in ("temperature_K", "volume")
        )
        values = np.concatenate([run.values for run in runs], axis=1)
        return first._with(values=values, temperature_K=temperature, volume=volume)

    def _one_current(self, name: str, values: np.ndarray) -> np.ndarray:
        """An argument that holds samples (R, l, N), or (l, N) for all segments."""
        values = np.asarray(values)
        if values.shape != self.values.shape[1:] and values.shape != self.values.shape[2:]:
            raise ValueError(f"the shape of {name} is {values.shape}; accepted is {self.values.shape[1:]}")
        return np.broadcast_to(values, self.values.shape[1:])

    def _with(self, **changes: Any) -> "Currents":
        # what was checked once needs no second look at every sample
        made = object.__new__(Currents)
        for key in ("values", "names", "timestep_fs", "temperature_K", "volume", "kinds"):
            object.__setattr__(made, key, changes.get(key, getattr(self, key)))
        return made

    def _conditions(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("timestep_fs", "temperature_K", "volume")}

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike) -> None:
        """Write everything to an ``.npz`` file, all or nothing."""
        with atomic_path(Path(path)) as partial, open(partial, "wb") as file:
            np.savez(file, values=self.values, names=self.names, kinds=self.kinds, **self._conditions())

    @classmethod
    def load(cls, path: str | PathLike) -> "Currents":
        """Read a file that :meth:`save` wrote.

        Raises
        ------
        ValueError
            If it is something else.
        """
        with np.load(Path(path), allow_pickle=False) as file:
            missing = {"values", "names", "kinds", "timestep_fs", "temperature_K", "volume"} - set(file.files)
            if missing:
                raise ValueError(f"{path} lacks {', '.join(sorted(missing))}; accepted are files of Currents.save")
            conditions = {name: float(file[name]) for name in ("timestep_fs", "temperature_K", "volume")}
            return cls(file["values"], file["names"].tolist(), kinds=file["kinds"].tolist(), **conditions)


def _warn_of_momentum(simulation: "Simulation", structure: int) -> None:
    own = slice(*simulation.state.offsets[range(simulation.state.n_structures)[structure] :][:2])
    masses = simulation.masses[own]
    momentum = masses @ simulation.velocities[own]
    thermal = 1.5 * units.kB * float(simulation.temperature_K[structure])
    share = float(momentum @ momentum) / (2 * masses.sum() * thermal)
    if share > _AT_REST:
        warnings.warn(
            f"the centre of mass moves with {share:.2g} of its thermal energy, which adds to the currents; run without "
            "thermostat and with forces that conserve momentum, or see them from the centre of mass",
            MomentumWarning,
            stacklevel=3,
        )


def _checked_values(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    try:
        values = np.asarray(values)
    except ValueError:
        raise ValueError(
            "values are ragged; accepted are currents whose components and samples are equally many"
        ) from None
    if values.dtype.kind not in "iuf":
        raise TypeError(f"values have the type {values.dtype}; accepted are real numbers")
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim != 4 or 0 in values.shape or values.shape[3] < 2:
        raise ValueError(
            f"values have shape {values.shape}; accepted is (currents, segments, components, samples) with at least "
            "two samples, or (currents, components, samples)"
        )
    if len(names) != len(values) or len(set(names)) != len(names) or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"names are {names!r}; accepted are {len(values)} different names, one for each current")
    for name, current in zip(names, values):
        sums = current.sum(axis=-1, dtype=np.float64)
        squares = np.einsum("rln,rln->rl", current, current, dtype=np.float64)
        if not (np.isfinite(sums) & np.isfinite(squares)).all():
            segment, component, sample = np.argwhere(~np.isfinite(current))[0]
            raise ValueError(
                f"current {name!r} is {current[segment, component, sample]} at sample {sample} of component "
                f"{component} in segment {segment}; accepted are finite numbers"
            )
        if not squares.all():
            segment, component = np.argwhere(squares == 0)[0]
            raise ValueError(
                f"current {name!r} vanishes throughout component {component} of segment {segment}, so it has no "
                "spectrum; leave it out"
            )
        if (np.abs(sums) < _SUBTRACTED * np.sqrt(squares)).all():
            raise ValueError(
                f"the time mean of current {name!r} has been subtracted, which takes away the spectrum at zero "
                "frequency and the conductivity with it; give the current as it was"
            )
    return values


def _checked_kinds(kinds: Sequence[str] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    kinds = names if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if len(kinds) != len(names) or not set(kinds) <= set(UNITS):
        raise ValueError(
            f"kinds are {kinds!r}; accepted is one of {', '.join(UNITS)} for each of {len(names)} currents"
        )
    return kinds
