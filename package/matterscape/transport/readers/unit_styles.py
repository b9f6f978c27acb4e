"""Units of currents in the files of other programs, and their conversion to eV, Å, ps, e and amu."""

from dataclasses import dataclass

from ase import units

_ATOMIC_TIME_PS = units._hbar / units._e / units.Hartree * 1e12


@dataclass(frozen=True)
class UnitStyle:
    """A consistent set of units.

    Attributes
    ----------
    length, time, energy, charge, mass : float
        One unit of each in Å, ps, eV, e and amu.
    """

    length: float
    time: float
    energy: float
    charge: float
    mass: float

    def current(self, kind: str) -> float:
        """One unit of a current of a kind (see ``matterscape.transport.currents.UNITS``) in the units of that kind."""
        amount = {"energy": self.energy, "charge": self.charge, "number": 1.0, "mass": self.mass}[kind]
        return amount * self.length / self.time

    @property
    def volume(self) -> float:
        """One unit of volume in Å^3."""
        return self.length**3


#: "metal", "real", "si" and "cgs" as in the manual of LAMMPS (command ``units``); "ase" are those of ASE and of GPUMD
#: (time from eV, Å and amu); "atomic" those of Hartree. Constants are those of ``ase.units`` (CODATA).
STYLES = {
    "metal": UnitStyle(1.0, 1.0, 1.0, 1.0, 1.0),
    "real": UnitStyle(1.0, 1e-3, units.kcal / units.mol, 1.0, 1.0),
    "si": UnitStyle(1e10, 1e12, units.J, units.C, units.kg),
    "cgs": UnitStyle(1e8, 1e12, 1e-7 * units.J, 0.1 * units.C / units._c, 1e-3 * units.kg),  # 1 statC = 0.1 C m/s / c
    "ase": UnitStyle(1.0, 1e-3 / units.fs, 1.0, 1.0, 1.0),
    "atomic": UnitStyle(units.Bohr, _ATOMIC_TIME_PS, units.Hartree, 1.0, units._me / units._amu),
}


def unit_style(name: str) -> UnitStyle:
    """The units of that name.

    Raises
    ------
    ValueError
        If there are none.
    """
    if name not in STYLES:
        reason = ", which fix no temperature in K" if name == "lj" else ""
        raise ValueError(f"units are {name!r}{reason}; accepted are {', '.join(STYLES)}")
    return STYLES[name]
