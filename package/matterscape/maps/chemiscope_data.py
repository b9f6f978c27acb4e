"""A finished map: coordinates, properties and structures, and its files."""

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from matterscape.maps.html import standalone_page
from matterscape.models.files import atomic_path
from matterscape.structures.properties import Property

EXTENSIONS = (".html", ".json", ".json.gz")


@dataclass(frozen=True)
class MapResult:
    """A structure-property map.

    Attributes
    ----------
    coordinates : array (n_samples, n_components)
    labels : tuple of str
        Name of each coordinate.
    properties : dict of str to Property
        One value per sample each, in the order in which a viewer should list them.
    frames : list of ase.Atoms
    environments : integer array (n_samples, 2) or None
        Structure and atom (counted within the structure) of each sample; None if the samples are the structures.
    cutoff : float
        Radius of an environment in Å.
    settings : dict
        What the map was made with.
    colour : str or None
        Property that colours the map at first.
    features : array (n_samples, n_features) or None
    model : object or None
        The fitted model that predictions and rigidities come from.
    remarks : tuple of str
        Sentences about what was left out or chosen automatically.
    shapes : dict or None
        Arrows, ellipsoids and the like, in chemiscope's format.
    viewer : dict
        Settings of chemiscope's structure viewer beyond its own.
    """

    coordinates: np.ndarray
    labels: tuple[str, ...]
    properties: dict[str, Property]
    frames: list[Atoms]
    environments: np.ndarray | None = None
    cutoff: float = 5.0
    settings: dict[str, Any] = field(default_factory=dict)
    colour: str | None = None
    features: np.ndarray | None = field(default=None, repr=False)
    model: Any = field(default=None, repr=False)
    remarks: tuple[str, ...] = ()
    shapes: dict[str, Any] | None = field(default=None, repr=False)
    viewer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_samples = len(self.frames) if self.environments is None else len(self.environments)
        if self.coordinates.shape != (n_samples, len(self.labels)):
            expected = (n_samples, len(self.labels))
            raise ValueError(f"coordinates must have shape {expected}, got {self.coordinates.shape}")
        for name, values in self.properties.items():
            if values.values.shape != (n_samples,):
                raise ValueError(
                    f"property {name!r} must have one value for each of {n_samples} samples, got {values.values.shape}"
                )
        if self.colour is not None and self.colour not in self.properties:
            raise ValueError(
                f"colour must be one of {', '.join(self.properties) or 'no property'}, got {self.colour!r}"
            )

    @property
    def level(self) -> str:
        """What a point of the map is, "structure" or "atom"."""
        return "structure" if self.environments is None else "atom"

    def chemiscope_input(self, name: str = "map") -> dict[str, Any]:
        """The map as a chemiscope data set.

        Parameters
        ----------
        name : str
            Title that the viewer shows.

        Returns
        -------
        dict
            As ``chemiscope.create_input`` makes it; ready for ``chemiscope.show_input`` and for JSON.
        """
        import chemiscope

        columns = {
            label: {"target": self.level, "values": self.coordinates[:, k], "description": "map coordinate"}
            for k, label in enumerate(self.labels)
        }
        for key, values in self.properties.items():
            columns[key] = {"target": self.level, "values": values.values.tolist()}
            if values.unit:
                columns[key]["units"] = values.unit
        environments = None
        if self.environments is not None:
            environments = [(int(structure), int(atom), self.cutoff) for structure, atom in self.environments]
        axes = dict(zip("xyz", self.labels))
        return chemiscope.create_input(
            structures=[_geometry(atoms) for atoms in self.frames],
            properties=columns,
            environments=environments,
            shapes=self.shapes,
            metadata={"name": name, "description": self._description()},
            settings=chemiscope.quick_settings(
                **axes,
                map_color=self.colour,
                periodic=any(atoms.pbc.any() for atoms in self.frames),
                target=self.level,
                structure_settings={"supercell": [1, 1, 1], **self.viewer},
            ),
        )

    def write(self, path: str | Path) -> Path:
        """Write the map, all or nothing.

        Parameters
        ----------
        path : str or Path
            ``.html`` is one file that opens in any browser without a network; ``.json`` and ``.json.gz`` are for
            chemiscope.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the extension is another one.
        OSError
            If the folder does not exist or cannot be written to.
        """
        path = Path(path)
        extension = next((end for end in EXTENSIONS if path.name.lower().endswith(end)), None)
        if extension is None:
            raise ValueError(f"path must end in {', '.join(EXTENSIONS[:-1])} or {EXTENSIONS[-1]}, got {path.name!r}")
        with atomic_path(path) as partial:
            name = path.name[: -len(extension)] or "map"
            text = json.dumps(self.chemiscope_input(name))
            if extension == ".html":
                partial.write_text(standalone_page(text, title=name), encoding="utf-8")
            elif extension == ".json":
                partial.write_text(text, encoding="utf-8")
            else:
                partial.write_bytes(gzip.compress(text.encode(), mtime=0))
        return path

    def _description(self) -> str:
        what = f"{len(self.coordinates)} {'structures' if self.environments is None else 'environments'}"
        settings = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        return ". ".join(filter(None, [what, settings, *self.remarks]))


def _geometry(atoms: Atoms) -> Atoms:
    """Only what a viewer draws; periodicity decides whether there is a cell."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell if atoms.pbc.any() else None, pbc=atoms.pbc)
