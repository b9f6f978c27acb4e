"""Potentials by name, for the command line and whoever prefers a name to a constructor."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

from ase import Atoms

from matterscape.potentials.alkali_halides import SALTS
from matterscape.potentials.base import Potential


@dataclass(frozen=True)
class NamedPotential:
    """A published potential under a name.

    Attributes
    ----------
    name : str
    description : str
        One line: elements and source.
    constructor : str
        ``module:object``, the module inside ``matterscape.potentials``; imported when the potential is made.
    keywords : dict
        Of the constructor.
    of_elements : bool
        Whether the constructor takes first the chemical symbols that occur in the structure.
    """

    name: str
    description: str
    constructor: str
    keywords: dict[str, Any] = field(default_factory=dict)
    of_elements: bool = False

    def make(self, atoms: Atoms) -> Potential:
        """The potential for a structure."""
        module, _, name = self.constructor.partition(":")
        constructor: Callable[..., Potential] = attrgetter(name)(
            importlib.import_module(f"matterscape.potentials.{module}")
        )
        elements = (sorted(set(atoms.symbols)),) if self.of_elements else ()
        return constructor(*elements, **self.keywords)


_ENTRIES = (
    NamedPotential(
        "stillinger-weber-silicon", "Si: Stillinger, Weber 1985", "stillinger_weber:StillingerWeber.silicon"
    ),
    NamedPotential(
        "stillinger-weber-silicon-germanium",
        "Si, Ge: Ethier, Lewis 1992",
        "stillinger_weber:StillingerWeber.silicon_germanium",
    ),
    NamedPotential("tersoff-silicon", "Si: Tersoff 1988, third set", "tersoff:Tersoff.silicon"),
    NamedPotential("tersoff-carbon", "C: Tersoff 1988", "tersoff:Tersoff.carbon"),
    NamedPotential("tersoff-germanium", "Ge: Tersoff 1989", "tersoff:Tersoff.germanium"),
    NamedPotential("tersoff-silicon-carbide", "Si, C: Tersoff 1989", "tersoff:Tersoff.silicon_carbide"),
    NamedPotential("tersoff-silicon-germanium", "Si, Ge: Tersoff 1989", "tersoff:Tersoff.silicon_germanium"),
    NamedPotential(
        "tersoff-silicon-carbon-germanium", "Si, C, Ge: Tersoff 1989", "tersoff:Tersoff.silicon_carbon_germanium"
    ),
    NamedPotential("tersoff-silica", "Si, O: Munetoh et al. 2007", "tersoff:Tersoff.silica"),
    NamedPotential(
        "zhou2004-metals",
        "Cu, Ag, Au, Ni, Pd, Pt, Al, Pb, Fe, Mo, Ta, W, Mg, Co, Ti, Zr, Cr: Zhou et al. 2004",
        "zhou_metals:zhou2004",
        of_elements=True,
    ),
    NamedPotential(
        "pedone-silicates",
        "Li, Na, Ca, Si, O: Pedone et al. 2006",
        "silicates:pedone",
        {"switch": 4.5},
        of_elements=True,
    ),
    NamedPotential("q-tip4p-f", "flexible water: Habershon, Markland, Manolopoulos 2009", "water:QTIP4PF"),
    NamedPotential("lps-ri", "Li3PS4 with whole PS4", "li3ps4:LPSForceField"),
    *(
        NamedPotential(f"fumi-tosi-{salt.lower()}", f"{salt}: Fumi, Tosi 1964", "coulomb:alkali_halide", {"salt": salt})
        for salt in SALTS
    ),
)
LIBRARY = {entry.name: entry for entry in _ENTRIES}


def named_potential(name: str, atoms: Atoms) -> Potential:
    """The potential called ``name``, made for a structure.

    Parameters
    ----------
    name : str
        One of ``LIBRARY``.
    atoms : ase.Atoms
        A structure of the kind that it will be used on.

    Raises
    ------
    ValueError
        If there is no potential of that name, or it has no parameters for an element of the structure.
    """
    if name not in LIBRARY:
        close = get_close_matches(name, LIBRARY, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"potential is {name!r}; {hint}accepted are {', '.join(LIBRARY)}")
    return LIBRARY[name].make(atoms)
