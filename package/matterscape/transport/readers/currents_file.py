"""From the columns of a file to currents: what is chosen, what is guessed, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number, check_whole
from matterscape.transport.currents import UNITS, Currents
from matterscape.transport.readers import columns as names
from matterscape.transport.readers.table import Contents, CurrentsFileError, Table
from matterscape.transport.readers.unit_styles import UnitStyle, unit_style

Column = str | int
_STEADY = 1e-6  # relative spread of a volume that is constant but for rounding


@dataclass(frozen=True, eq=False)
class Reading:
    """Currents of a file, and what a person should know of how they were read.

    Attributes
    ----------
    currents : Currents
    remarks : tuple of str
        What was guessed, assumed or left out.
    """

    currents: Currents
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join((repr(self.currents).strip("<>"), *self.remarks))


class CurrentsFile:
    """A file whose numbers have been read, before it is settled what they are.

    Parameters
    ----------
    name : str
        Of the file, for errors.
    contents : Contents
        What a reader found in it.

    Attributes
    ----------
    name : str
    contents : Contents
    guessed : dict of str to (str, str)
        Name of each current that was recognised, its columns (a name of ``vectors``) and its kind.
    """

    def __init__(self, name: str, contents: Contents):
        self.name, self.contents = name, contents
        usable = [table for table in contents.tables if len(table.values) > 1]
        if not usable:
            raise CurrentsFileError(f"{name} has no run with more than one row; accepted are time series")
        self.tables = tuple(usable)
        self.guessed, self._dependent = self._guess(usable[-1])

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of the columns, in the last run."""
        return self.tables[-1].titles

    @property
    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Columns that are the components of one vector, by name, in the last run."""
        return names.vectors(self.titles)

    @property
    def n_runs(self) -> int:
        """Number of runs with more than one row."""
        return len(self.tables)

    @property
    def missing(self) -> tuple[str, ...]:
        """What :meth:`read` has to be told, as the file does not say it."""
        table = self.tables[-1]
        absent = {
            "columns": not self.guessed,
            "timestep_fs": table.step_fs is None and names.time_column(table.titles) is None,
            "temperature_K": not self._states("temperature_K", names.temperature_column(table.titles)),
            "volume": not self._states("volume", names.volume_column(table.titles)),
        }
        return tuple(name for name, is_absent in absent.items() if is_absent)

    def __str__(self) -> str:
        rows = f"{self.n_runs} runs" if self.n_runs > 1 else f"{len(self.tables[0].values)} rows"
        parts = [f"{self.name}: {self.contents.format}, {rows} of {', '.join(self.titles)}"]
        parts += [f"{name} current read from {vector} (guessed)" for name, (vector, _) in self.guessed.items()]
        if self.missing:
            parts.append(f"not said: {', '.join(self.missing)}")
        return "; ".join((*parts, *self.contents.notes))

    def read(
        self,
        columns: Mapping[str, Column | Sequence[Column]] | None = None,
        *,
        kinds: Mapping[str, str] | None = None,
        factors: Mapping[str, float] | None = None,
        units: str | None = None,
        timestep_fs: float | None = None,
        every: int | None = None,
        temperature_K: float | None = None,
        volume: float | None = None,
        runs: int | Sequence[int] | str | None = None,
    ) -> Reading:
        """Settle what is what; the parameters are those of :func:`matterscape.transport.readers.read_currents`."""
        remarks = list(self.contents.notes)
        if columns is None:
            columns = self._guessed_columns()
            kinds = {name: kind for name, (_, kind) in self.guessed.items()} | dict(kinds or {})
            remarks += [f"{name} current guessed to be {vector}" for name, vector in columns.items()]
            remarks += [f"{vector} left out, a linear combination of the others" for vector in self._dependent]
        if not columns:
            raise ValueError("columns are empty; accepted is at least one current")
        tables, chosen = self._runs(columns, runs, remarks)
        kinds = {name: self._kind(name, columns[name], kinds) for name in columns}
        style = self._units(units, remarks)
        factors = self._factors(columns, factors)
        values = self._values(tables, chosen, remarks)
        for index, name in enumerate(columns):
            if (factor := style.current(kinds[name]) * factors[name]) != 1.0:
                values[index] *= factor
        intervals = [self._interval_fs(table, timestep_fs, every, style) for table in tables]
        if not np.allclose(intervals, intervals[0], rtol=1e-9):
            raise CurrentsFileError(
                f"{self.name} has runs with {', '.join(f'{one:g}' for one in intervals)} fs between their rows; "
                "accepted are runs with one interval, choose with runs"
            )
        if temperature_K is None:
            temperature_K = self._mean("temperature_K", tables, names.temperature_column, 1.0, remarks)
        if volume is None:
            volume = self._mean("volume", tables, names.volume_column, style.volume, remarks)
        try:
            currents = Currents(
                values,
                tuple(columns),
                timestep_fs=intervals[0],
                temperature_K=temperature_K,
                volume=volume,
                kinds=tuple(kinds.values()),
            )
        except ValueError as error:
            raise CurrentsFileError(f"{self.name}: {error}") from None
        return Reading(currents, tuple(remarks))

    # -- columns -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _guess(table: Table) -> tuple[dict[str, tuple[str, str]], list[str]]:
        guessed = names.guess(table.titles)
        vectors = names.vectors(table.titles)
        samples = {name: table.values[:, list(vectors[vector])].T for name, (vector, _) in guessed.items()}
        samples = {name: values for name, values in samples.items() if np.isfinite(values).all() and values.any()}
        kept = names.independent(samples)
        dependent = [guessed[name][0] for name in samples if name not in kept]
        return {name: chosen for name, chosen in guessed.items() if chosen[0] not in dependent}, dependent

    def _guessed_columns(self) -> dict[str, str]:
        if not self.guessed:
            raise CurrentsFileError(
                f"{self.name} has the columns {', '.join(self.titles)}, none of which is known as a current; say "
                "which is which, for example columns={'energy': 'name of a vector'} or {'energy': [0, 1, 2]}"
            )
        return {name: vector for name, (vector, _) in self.guessed.items()}

    def _resolve(self, table: Table, name: str, wanted: Column | Sequence[Column]) -> list[int]:
        if isinstance(wanted, str) and wanted in (vectors := names.vectors(table.titles)):
            return list(vectors[wanted])
        several = [wanted] if isinstance(wanted, str | int) else list(wanted)
        found = []
        for one in several:
            if isinstance(one, str) and one in table.titles:
                found.append(table.titles.index(one))
            elif isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(table.titles):
                found.append(one)
            else:
                offered = [*names.vectors(table.titles), *table.titles]
                raise CurrentsFileError(
                    f"{self.name} has no column {one!r} for the current {name!r}; accepted are {', '.join(offered)}, "
                    f"and numbers from 0 to {len(table.titles) - 1}"
                )
        return found

    def _runs(
        self, columns: Mapping, runs: int | Sequence[int] | str | None, remarks: list[str]
    ) -> tuple[list[Table], list[list[list[int]]]]:
        """The runs asked for, and the columns of each current in each of them."""
        if runs is None:
            picked = [self.n_runs - 1]
            if self.n_runs > 1:
                remarks.append(f"the last of {self.n_runs} runs is used")
        elif runs == "all":
            picked = list(range(self.n_runs))
        else:
            picked = [runs] if isinstance(runs, int) else list(runs)
            for run in picked:
                if isinstance(run, bool) or not isinstance(run, int) or not -self.n_runs <= run < self.n_runs:
                    raise ValueError(
                        f"runs are {runs!r}, but {self.name} has {self.n_runs} with more than one row; accepted are "
                        "whole numbers counted from 0, or 'all'"
                    )
        tables = [self.tables[run] for run in picked]
        chosen = [[self._resolve(table, name, wanted) for name, wanted in columns.items()] for table in tables]
        widths = {name: len(found) for name, found in zip(columns, chosen[0])}
        if len(set(widths.values())) > 1 or not all(widths.values()):
            listed = ", ".join(f"{name} {width}" for name, width in widths.items())
            raise ValueError(
                f"columns give the currents different numbers of components ({listed}); accepted is one number"
            )
        return tables, chosen

    def _kind(self, name: str, wanted: Column | Sequence[Column], kinds: Mapping[str, str] | None) -> str:
        kind = (kinds or {}).get(name)
        if kind is None:
            described = wanted if isinstance(wanted, str) else ""
            kind = name if name in UNITS else names.kind_of_name(name) or names.kind_of_name(described)
        if kind not in UNITS:
            given = "no kind" if kind is None else f"the kind {kind!r}"
            raise ValueError(
                f"current {name!r} has {given}; accepted is kinds={{{name!r}: ...}} with one of {', '.join(UNITS)}"
            )
        return kind

    def _factors(self, columns: Mapping, factors: Mapping[str, float] | None) -> dict[str, float]:
        factors = dict(factors or {})
        for name, factor in factors.items():
            if name not in columns:
                raise ValueError(f"factors have {name!r}, which is no current; accepted are {', '.join(columns)}")
            check_number(f"factor of {name}", factor, signed=True)
        return {name: float(factors.get(name, 1.0)) for name in columns}

    # -- numbers -------------------------------------------------------------------------------------------------------

    def _values(self, tables: list[Table], chosen: list[list[list[int]]], remarks: list[str]) -> np.ndarray:
        """Samples (M, R, l, N) in the units of the file."""
        lengths = [len(table.values) for table in tables]
        if len(set(lengths)) > 1:
            remarks.append(f"runs of {', '.join(map(str, lengths))} rows, cut to the shortest")
        length = min(lengths)
        m, n_components = len(chosen[0]), len(chosen[0][0])
        values = np.empty((m, len(tables), n_components, length))
        for run, (table, currents) in enumerate(zip(tables, chosen)):
            for current, found in enumerate(currents):
                part = table.values[:length, found]
                if not np.isfinite(part).all():
                    row, component = np.argwhere(~np.isfinite(part))[0]
                    raise CurrentsFileError(
                        f"{self.name}, {table.where(row)} has {part[row, component]} in the column "
                        f"{table.titles[found[component]]}; accepted are finite numbers"
                    )
                values[current, run] = part.T
        return values

    def _units(self, units: str | None, remarks: list[str]) -> UnitStyle:
        if units is None:
            units = self.contents.unit_style
        if units is None:
            units = "metal"
            remarks.append("units taken to be metal (eV, Å, ps)")
        return unit_style(units)

    def _interval_fs(self, table: Table, timestep_fs: float | None, every: int | None, style: UnitStyle) -> float:
        """Time between two rows in fs."""
        if every is not None:
            check_whole("every", every, 1)
        if timestep_fs is not None:
            check_number("timestep_fs", timestep_fs, "fs", positive=True)
        column = names.step_column(table.titles)
        stride = None if column is None else self._stride(table, column)
        if stride is not None and every not in (None, stride):
            raise ValueError(
                f"every is {every}, but {self.name} has a row every {stride:g} steps; accepted is that number"
            )
        stride = stride or every or 1
        if timestep_fs is not None:
            return timestep_fs * stride
        if (time := names.time_column(table.titles)) is not None:
            unit_fs = 1000.0 * style.time if time[1] is None else time[1]
            return self._stride(table, time[0]) * unit_fs
        if table.step_fs is not None:
            return table.step_fs * stride
        raise CurrentsFileError(
            f"{self.name} does not say how much time lies between its rows; give timestep_fs, the time in fs of one "
            f"{'row' if column is None else f'step of its column {table.titles[column]}'}"
        )

    def _stride(self, table: Table, column: int) -> float:
        """Difference between consecutive entries of a column, all equal."""
        entries = table.values[:, column]
        stride = (entries[-1] - entries[0]) / (len(entries) - 1)
        # times are written with few digits: compare each entry with its place on the line
        off = np.abs(entries - (entries[0] + stride * np.arange(len(entries)))) > 0.1 * abs(stride)
        if not stride > 0 or not np.isfinite(entries).all() or off.any():
            steps = np.diff(entries)
            row = int(np.argmax(~(np.abs(steps - np.median(steps)) <= 0.2 * abs(np.median(steps))))) + 1
            raise CurrentsFileError(
                f"{self.name}, {table.where(row)}: {table.titles[column]} goes from {entries[row - 1]:g} to "
                f"{entries[row]:g}; accepted are equal steps, {np.median(steps):g} between most rows"
            )
        return float(stride)

    def _mean(self, what: str, tables: list[Table], find, unit: float, remarks: list[str]) -> float:
        if what in self.contents.constants:
            return self.contents.constants[what]
        columns = [find(table.titles) for table in tables]
        if None in columns:
            kelvin = what == "temperature_K"
            raise CurrentsFileError(
                f"{self.name} does not say the {'temperature' if kelvin else 'volume'}; give {what}"
                f"{', in K' if kelvin else ' of the cell, in Å^3'}"
            )
        entries = np.concatenate([table.values[:, column] for table, column in zip(tables, columns)]) * unit
        if not np.isfinite(entries).all():
            raise CurrentsFileError(f"{self.name} has a {what} that is not finite; give {what}")
        if what == "volume" and np.ptp(entries) > _STEADY * np.abs(entries).mean():
            raise CurrentsFileError(
                f"{self.name} has a volume that varies from {entries.min():g} to {entries.max():g} Å^3; accepted are "
                "currents at constant volume (or a volume of your own, if you know that it is)"
            )
        if what == "temperature_K":
            remarks.append(f"temperature {entries.mean():.1f} K, the mean of a column")
        return float(entries.mean())

    def _states(self, what: str, column: int | None) -> bool:
        return what in self.contents.constants or column is not None
