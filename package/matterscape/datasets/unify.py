"""One name for each target, whatever the program that wrote the file called it."""

import re

import numpy as np
from ase import Atoms
from ase.outputs import all_outputs

# Normalised names (lower case, letters and digits only), best first. A free energy, a virial or an energy without
# a hint of what it is ("potential") are not the same quantity and keep their own names.
_ENERGY = ("energy", "totenergy", "totalenergy", "etot", "refenergy", "dftenergy", "energyref", "energydft")
_FORCES = ("forces", "force", "refforces", "refforce", "dftforces", "dftforce", "forcesref", "forcesdft")
_STRESS = ("stress", "refstress", "dftstress", "stressref", "stressdft")


def unify(atoms: Atoms) -> Atoms:
    """Move energy, forces and stress to their common names and drop the calculator, losing no number.

    Results of an attached calculator become entries of ``info`` (per structure) or ``arrays`` (per atom). The aliases
    above are renamed where the common name is free. Changes ``atoms`` in place and returns it.
    """
    if atoms.calc is not None:
        for key, value in getattr(atoms.calc, "results", {}).items():
            if value is None:
                continue
            per_atom = key in all_outputs and all_outputs[key].shapespec[:1] == ("natoms",) and len(value) == len(atoms)
            holder = atoms.arrays if per_atom else atoms.info
            if key not in holder:
                holder[key] = np.asarray(value) if per_atom else value
        atoms.calc = None
    _rename(atoms.info, "energy", _ENERGY, _as_energy)
    _rename(atoms.arrays, "forces", _FORCES, _as_forces)
    _rename(atoms.info, "stress", _STRESS, _as_stress)
    return atoms


def _rename(holder: dict, name: str, aliases: tuple[str, ...], convert) -> None:
    """Give the best usable alias the common name; entries that convert to None keep theirs."""
    known = {}
    for key in holder:
        known.setdefault(re.sub("[^a-z0-9]", "", str(key).lower()), key)
    ordered = [name] if name in holder else [known[alias] for alias in aliases if alias in known]
    for key in ordered:
        value = convert(holder[key])
        if value is not None:
            del holder[key]
            holder[name] = value
            return


def _as_energy(value) -> float | None:
    numeric = np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.number)
    return float(value) if numeric else None


def _as_forces(value: np.ndarray) -> np.ndarray | None:
    numeric = np.issubdtype(value.dtype, np.number)
    return np.asarray(value, dtype=float) if numeric and value.ndim == 2 and value.shape[1] == 3 else None


def _as_stress(value) -> np.ndarray | None:
    value = np.asarray(value)
    if not np.issubdtype(value.dtype, np.number) or value.size not in (6, 9):
        return None
    return value.astype(float).reshape((6,) if value.size == 6 else (3, 3))
