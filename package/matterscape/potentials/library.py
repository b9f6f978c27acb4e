"""Potentials by name, for the command line and whoever prefers a name to a constructor."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter

from ase import Atoms

from matterscape.potentials.base import Potential


@dataclass(frozen=True)
class NamedPotential:
    """A published potential under a name.

    Attributes
    ----------
    name : str
    description : str
        One line: form, substance, source.
    constructor : str
        ``module:object``, the module inside ``matterscape.potentials``; imported when the potential is made.
    arguments : tuple
        Of the constructor.
    of_structure : bool
        Whether the constructor takes a structure, whose cell or molecules it needs, before the arguments.
    """

    name: str
    description: str
    constructor: str
    arguments: tuple = ()
    of_structure: bool = False

    def make(self, atoms: Atoms) -> Potential:
        """The potential for a structure."""
        module, _, name = self.constructor.partition(":")
        constructor: Callable[..., Potential] = attrgetter(name)(
            importlib.import_module(f"matterscape.potentials.{module}")
        )
        return constructor(*((atoms,) if self.of_structure else ()), *self.arguments)


LIBRARY = {
    entry.name: entry
    for entry in (
        NamedPotential(
            "stillinger-weber-silicon",
            "Si: Stillinger, Weber 1985",
            "stillinger_weber:StillingerWeber.silicon",
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
    )
}


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
        If there is no potential of that name, or it does not fit the structure.
    """
    if name not in LIBRARY:
        close = get_close_matches(name, LIBRARY, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"potential is {name!r}; {hint}accepted are {', '.join(LIBRARY)}")
    return LIBRARY[name].make(atoms)
