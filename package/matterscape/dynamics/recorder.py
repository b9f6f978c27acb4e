"""Everything that watches a run: records, trajectory files and callbacks, served at the step boundaries."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matterscape.dynamics.records import Record, read_metadata, write_metadata
from matterscape.dynamics.trajectory import TrajectoryWriter

if TYPE_CHECKING:
    from matterscape.dynamics.simulation import Simulation

Callback = Callable[["Simulation"], Any]


class Recorder:
    """Serves the records, trajectory files and callbacks of one simulation.

    Parameters
    ----------
    folder : Path, optional
        Where records go; they stay in memory without it.

    Attributes
    ----------
    records : dict of str to Record
    finished_step : int
        The last step that was served, -1 before the first.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.records: dict[str, Record] = {}
        self.finished_step = -1
        self._callbacks: list[tuple[int, Callback]] = []
        self._trajectories: list[TrajectoryWriter] = []
        self._earlier: dict[str, Any] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def refuse_used_folder(self) -> None:
        """Raise ``ValueError`` if the folder holds records already."""
        if self.folder is not None and read_metadata(self.folder) is not None:
            raise ValueError(
                f"folder {self.folder} holds the records of another run; give a new folder, or continue that run with "
                "Simulation.restart"
            )

    def continue_folder(self) -> None:
        """Let records with the names of those in the folder continue them."""
        if self.folder is not None:
            self._earlier = (read_metadata(self.folder) or {"records": {}})["records"]

    @property
    def only_records(self) -> bool:
        """Whether nothing but records watches the run: no callback, no trajectory file."""
        return not self._callbacks and not self._trajectories

    def add(self, record: Record, simulation: "Simulation") -> None:
        """Watch an observable from the present step on."""
        if record.name in self.records:
            raise ValueError(f"name is {record.name!r}, which is recorded already; give another name")
        if record.name in self._earlier:
            record.resume(self.folder, self._earlier[record.name], simulation.step)
        self.records[record.name] = record
        self._describe(simulation)

    def add_trajectory(self, writer: TrajectoryWriter) -> None:
        """Write frames from the present step on."""
        writer.open(after=self.finished_step)
        self._trajectories.append(writer)

    def add_callback(self, function: Callback, every: int) -> None:
        """Call a function after every step that ``every`` divides."""
        self._callbacks.append((every, function))

    def needs_pieces(self, step: int) -> bool:
        """Whether a record of that step uses flux tensors."""
        return any(record.pieces and step % record.every == 0 for record in self.records.values())

    def observe(self, simulation: "Simulation") -> None:
        """Serve everybody whose stride divides the present step, unless that was done before."""
        step = simulation.step
        if step == self.finished_step:
            return
        for record in self.records.values():
            if step % record.every == 0:
                begins = record.store is None
                record.take(simulation, self.folder)
                if begins:
                    self._describe(simulation)
        for writer in self._trajectories:
            if step % writer.every == 0:
                writer.append(simulation.frame(writer.structure))
        self.finished_step = step
        for every, function in self._callbacks:
            if step % every == 0:
                function(simulation)

    def extend(self, rows: dict[str, tuple[np.ndarray, int | None]], simulation: "Simulation") -> None:
        """Add rows of records (and the step of the first) that were made elsewhere, after those that are here."""
        for name, (values, first_step) in rows.items():
            self.records[name].extend(values, first_step, self.folder)
        self._describe(simulation)

    def flush(self) -> None:
        """Bring all rows into their files."""
        for record in self.records.values():
            if record.store is not None:
                record.store.flush()

    def metadata(self, simulation: "Simulation") -> dict[str, Any]:
        """What a reader of the records has to know."""
        present = {name: record.metadata() for name, record in self.records.items()}
        return {"records": {**self._earlier, **present}, **simulation.provenance()}

    def _describe(self, simulation: "Simulation") -> None:
        if self.folder is not None:
            write_metadata(self.folder, self.metadata(simulation))
