"""Properties that come with structures: numbers and labels per structure or per atom."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms

UNITS = {
    "energy": "eV",
    "free_energy": "eV",
    "energy_per_atom": "eV/atom",
    "forces": "eV/Å",
    "stress": "eV/Å^3",
    "virial": "eV",
    "dipole": "e Å",
    "charges": "e",
    "initial_charges": "e",
    "magmoms": "μB",
    "initial_magmoms": "μB",
    "momenta": "amu^1/2 eV^1/2",
    "masses": "amu",
}
_GEOMETRY = ("numbers", "positions")


@dataclass(frozen=True)
class Property:
    """One quantity for every structure or for every atom.

    Attributes
    ----------
    name : str
    values : array (n, ...)
        Numbers in float64 (NaN where a frame says so), or strings. First axis: structures, or all atoms in order.
    level : "structure" or "atom"
    unit : str
        Empty where unknown.
    """

    name: str
    values: np.ndarray
    level: str
    unit: str = ""

    @property
    def categorical(self) -> bool:
        """Whether the values are labels, not numbers."""
        return self.values.dtype.kind == "U"

    @property
    def scalar(self) -> bool:
        """Whether there is a single value per structure or atom."""
        return self.values.ndim == 1

    def norm(self) -> "Property":
        """Euclidean norms of a vector property, named ``|name|``."""
        norms = np.linalg.norm(self.values.reshape(len(self.values), -1), axis=1)
        return Property(f"|{self.name}|", norms, self.level, self.unit)


class Properties(dict[str, Property]):
    """Properties of a list of frames by name.

    Attributes
    ----------
    missing : dict of str to int
        Properties that were left out, with the number of frames that lack them or hold them in another form.
    n_frames : int
    """

    def __init__(self, properties: Iterable[Property], missing: dict[str, int], n_frames: int):
        super().__init__((prop.name, prop) for prop in properties)
        self.missing = missing
        self.n_frames = n_frames

    @property
    def missing_sentence(self) -> str:
        """What was left out, for a person to read; empty if nothing was."""
        if not self.missing:
            return ""
        counts = ", ".join(f"{name} (absent or different in {count})" for name, count in self.missing.items())
        return f"Left out because not all {self.n_frames} frames hold them in the same form: {counts}."

    def target(self, name: str) -> Property:
        """The property called ``name``, checked to be fit for a model.

        Parameters
        ----------
        name : str

        Returns
        -------
        Property
            Scalar, numeric and finite.

        Raises
        ------
        ValueError
            If there is none of that name, or its values are labels, vectors, or not all finite.
        """
        accepted = ", ".join(key for key, prop in self.items() if prop.scalar and not prop.categorical) or "none"
        if name in self.missing:
            raise ValueError(
                f"target {name!r} is absent or of another form in {self.missing[name]} of {self.n_frames} frames"
            )
        if name not in self or not self[name].scalar or self[name].categorical:
            raise ValueError(f"target must be a property with one number each ({accepted}), got {name!r}")
        bad = ~np.isfinite(self[name].values)
        if bad.any():
            raise ValueError(
                f"target {name!r} must be finite, got {self[name].values[bad][0]} "
                f"for {int(bad.sum())} of {len(bad)} {self[name].level}s, first for {self[name].level} {np.argmax(bad)}"
            )
        return self[name]


def collect_properties(frames: Iterable[Atoms]) -> Properties:
    """Properties that every frame holds in the same form, from ``info`` (structures) and ``arrays`` (atoms).

    Numbers keep their shape; booleans count as numbers, strings as labels; anything else is passed over. The energy
    per atom is added where there is an energy.

    Parameters
    ----------
    frames : iterable of ase.Atoms

    Returns
    -------
    Properties

    Raises
    ------
    TypeError
        If a frame is not an ``ase.Atoms``.
    ValueError
        If there is no frame.
    """
    frames = list(frames)
    for index, atoms in enumerate(frames):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"frames must hold ase.Atoms, got {type(atoms).__name__} at index {index}")
    if not frames:
        raise ValueError("frames must hold at least one structure, got none")

    properties, missing = [], {}
    for level, source in (("structure", "info"), ("atom", "arrays")):
        held = [getattr(atoms, source) for atoms in frames]
        names = dict.fromkeys(name for of_frame in held for name in of_frame if isinstance(name, str))
        for name in names:
            if level == "atom" and name in _GEOMETRY:
                continue
            parts = [_plain_values(of_frame.get(name), level) for of_frame in held]
            forms = [None if part is None else (part.dtype.kind, part.shape[1:]) for part in parts]
            known = [form for form in forms if form is not None]
            if not known:
                continue
            form = max(known, key=known.count)
            if absent := sum(other != form for other in forms):
                missing[name] = absent
            else:
                unique = name if name not in {prop.name for prop in properties} else f"{name} ({level})"
                properties.append(Property(unique, np.concatenate(parts), level, UNITS.get(name, "")))

    collected = Properties(properties, missing, len(frames))
    energy = collected.get("energy")
    if energy is not None and energy.level == "structure" and energy.scalar and not energy.categorical:
        per_atom = energy.values / np.array([len(atoms) for atoms in frames])
        collected["energy_per_atom"] = Property("energy_per_atom", per_atom, "structure", UNITS["energy_per_atom"])
    return collected


def _plain_values(value, level: str) -> np.ndarray | None:
    """Values with the samples along the first axis, as float64 or text; None for what is neither."""
    if value is None or isinstance(value, dict):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # ragged lists
        return None
    if array.dtype.kind in "biuf":
        array = array.astype(np.float64)
    elif array.dtype.kind != "U":
        return None
    return array[None] if level == "structure" else array
