"""Vibrational modes as a structure-property map: each mode is a structure with arrows, or a film of structures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from matterscape.checks import check_number, check_whole
from matterscape.maps.chemiscope_data import MapResult
from matterscape.structures.properties import Property
from matterscape.transport.lattice.mode_shapes import ModeShapes

KINDS = ("arrows", "frames")
FREQUENCY = "frequency (THz)"
#: Atoms in all structures of a map up to which modes are chosen by default; a browser still opens it in seconds.
MAX_ATOMS = 100_000


def mode_map(
    shapes: ModeShapes,
    properties: Mapping[str, Any],
    *,
    chosen: Sequence[tuple[int, int]] | None = None,
    kind: str = "arrows",
    amplitude: float = 1.0,
    n_frames: int = 12,
) -> MapResult:
    """Modes by frequency and other properties, with the motion of the atoms, for chemiscope.

    Parameters
    ----------
    shapes : ModeShapes
        The modes and how much of the crystal is drawn.
    properties : dict of str to array_like
        Names with units, as in "diffusivity (Å²/ps)", and a value for each mode, in one of the shapes of
        :meth:`~matterscape.transport.lattice.mode_shapes.ModeShapes.columns`; at least one. The frequency is added.
    chosen : sequence of (int, int), optional
        Wavevector and mode of those on the map; by default all of them, or as many as leave it 10^5 atoms, evenly
        through the frequencies.
    kind : "arrows" or "frames"
        One structure for each mode, with the displacements as arrows; or ``n_frames`` structures for each, which show
        one period when the viewer plays them.
    amplitude : float
        Of the atom that moves most, in Å.
    n_frames : int
        Only of "frames".

    Returns
    -------
    MapResult
        Its ``write`` makes a page or a file for chemiscope.

    Raises
    ------
    ValueError
        If there is no property, one has another shape, a mode is a translation, or an argument is out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; accepted are {', '.join(map(repr, KINDS))}")
    if not properties:
        raise ValueError("properties is empty; accepted are one or more, as the second axis of the map")
    check_number("amplitude", amplitude, "Å", positive=True)
    check_whole("n_frames", n_frames, 2)
    repeated = n_frames if kind == "frames" else 1
    rows = _rows(shapes, chosen, max(1, MAX_ATOMS // (repeated * len(shapes.atoms))))
    columns = shapes.columns({FREQUENCY: shapes.modes.frequencies_THz, **properties})
    columns = {name: np.repeat(values[rows], repeated) for name, values in columns.items()}
    axes = [name for name, values in columns.items() if values.dtype.kind in "biuf"][:2]
    if len(axes) < 2:
        raise ValueError("properties holds no numbers; accepted are one or more, as the second axis of the map")
    coordinates = np.column_stack([columns.pop(name).astype(np.float64) for name in axes])
    found = {}
    for name, values in columns.items():
        label, unit = name_and_unit(name)
        kept = values.astype(np.float64 if values.dtype.kind in "biuf" else str)
        found[label] = Property(label, kept, "structure", unit)
    colour = next(iter(found), None)
    if kind == "frames":
        found["phase"] = Property("phase", np.tile(360 / n_frames * np.arange(n_frames), len(rows)), "structure", "°")
    patterns = [_scaled(shapes.displacements(*shapes.points[row])) * amplitude for row in rows]
    if kind == "frames":
        turns = np.exp(-2j * np.pi * np.arange(n_frames) / n_frames)
        frames = [_moved(shapes.atoms, (pattern * turn).real) for pattern in patterns for turn in turns]
        arrows, viewer = None, {"keepOrientation": True, "playbackDelay": 60}
    else:
        frames = [shapes.atoms.copy() for _ in patterns]
        arrows, viewer = {"displacement": _arrows(patterns)}, {"keepOrientation": True, "shape": "displacement"}
    return MapResult(
        coordinates=coordinates,
        labels=tuple(axes),
        properties=found,
        frames=frames,
        colour=colour,
        settings={"repeats": "x".join(map(str, shapes.repeats)), "largest displacement (Å)": f"{amplitude:g}"},
        remarks=() if len(rows) == len(shapes.points) else (f"{len(rows)} of {len(shapes.points)} modes",),
        shapes=arrows,
        viewer=viewer,
    )


def name_and_unit(name: str) -> tuple[str, str]:
    """ "diffusivity (Å²/ps)" in two parts; the unit may be missing."""
    if name.endswith(")") and " (" in name:
        label, unit = name[:-1].rsplit(" (", 1)
        return label, unit
    return name, ""


def _rows(shapes: ModeShapes, chosen: Sequence[tuple[int, int]] | None, most: int) -> np.ndarray:
    """Places among the points of the modes on the map."""
    if chosen is None:
        order = np.argsort(shapes.modes.frequencies_THz[tuple(shapes.points.T)], kind="stable")
        return order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]
    place = {tuple(point): row for row, point in enumerate(shapes.points.tolist())}
    wrong = [tuple(pair) for pair in chosen if tuple(pair) not in place]
    if wrong or not len(chosen):
        raise ValueError(
            f"chosen holds {wrong[0] if wrong else 'nothing'}; accepted are pairs of a wavevector and a mode that is "
            "no translation"
        )
    return np.array([place[tuple(pair)] for pair in chosen])


def _scaled(pattern: np.ndarray) -> np.ndarray:
    return pattern / np.linalg.norm(pattern, axis=1).max()


def _moved(atoms: Atoms, displacements: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacements
    return moved


def _arrows(patterns: list[np.ndarray]) -> dict[str, Any]:
    """Chemiscope's arrows of all atoms of all structures, along the displacement at the start of a period."""
    vectors = np.concatenate(patterns).real
    return {
        "kind": "arrow",
        "parameters": {
            "global": {"baseRadius": 0.12, "headRadius": 0.24, "headLength": 0.3},
            "atom": [{"vector": vector} for vector in vectors.round(3).tolist()],
        },
    }
