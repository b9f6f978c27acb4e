"""What a LiveSimulation can run: systems with knobs in their potentials, and four that are ready to use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from ase import Atoms, units
from ase.build import bulk

from matterscape.potentials import Potential
from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.coulomb import Ionic
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.stillinger_weber import COLUMNS, SILICON, StillingerWeber
from matterscape.potentials.zhou_metals import zhou2004


@dataclass(frozen=True)
class Knob:
    """A number in the potential that a slider turns.

    Attributes
    ----------
    start, low, high, step : float
        Where the slider stands at first, its ends and its step.
    label : str
        Name with unit.
    """

    start: float
    low: float
    high: float
    step: float
    label: str


@dataclass(frozen=True)
class System:
    """What can be simulated.

    Attributes
    ----------
    atoms : ase.Atoms
        How it starts.
    potential : callable
        Called with the value of each knob by name; returns a Potential.
    temperature_K, highest_temperature_K : float
        Where the temperature slider stands at first and where it ends.
    timestep_fs : float
        A good time step.
    neighbour_cutoff : float
        Distance in Å up to which atoms count as neighbours in the map of environments: between two shells of the
        crystal, with some twelve to eighteen atoms inside.
    knobs : dict of str to Knob
        Sliders of the potential.
    compressibility_per_GPa : float, optional
        Estimate for the barostat; without it constant pressure is not offered.
    highest_pressure_GPa : float
        Where the pressure slider ends.
    """

    atoms: Atoms
    potential: Callable[..., Potential]
    temperature_K: float
    highest_temperature_K: float
    timestep_fs: float
    neighbour_cutoff: float
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    compressibility_per_GPa: float | None = None
    highest_pressure_GPa: float = 1.0


def lennard_jones_argon(epsilon_K: float = 119.8, sigma: float = 3.405) -> LennardJones:
    """Lennard-Jones argon with a cutoff of 2.5 sigma.

    Parameters
    ----------
    epsilon_K : float
        Depth of the well over k_B, in K.
    sigma : float
        In Å.

    Source: A. Rahman, Phys. Rev. 136, A405 (1964), for the parameters (119.8 K, 3.405 Å).
    """
    return LennardJones({("Ar", "Ar"): (epsilon_K * units.kB, sigma)}, cutoff=2.5 * sigma, shift=True)


def stillinger_weber_silicon(strength: float = 21.0) -> StillingerWeber:
    """Silicon of Stillinger and Weber with another strength of the angular term.

    Parameters
    ----------
    strength : float
        lambda: 21 for silicon. Larger makes it more tetrahedral (23.15 is used for water), smaller a simple liquid.

    Source: F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985); V. Molinero, S. Sastry, C. A. Angell, Phys.
    Rev. Lett. 97, 075701 (2006), for lambda as a knob.
    """
    table = np.array(SILICON).reshape(1, 1, 1, -1)
    table[..., COLUMNS.index("lambda")] = strength
    return StillingerWeber(("Si",), table)


@lru_cache(maxsize=1)
def _copper() -> Potential:
    return zhou2004(["Cu"])


def embedded_copper(strength: float = 1.0) -> Potential:
    """The copper of :func:`matterscape.potentials.zhou_metals.zhou2004`, all energies times ``strength``."""
    return strength * _copper()


def molten_salt(charge: float = 1.0) -> Ionic:
    """The sodium chloride of Fumi and Tosi with ions of another charge.

    Parameters
    ----------
    charge : float
        In elementary charges; the short-ranged part stays.
    """
    return Ionic(fumi_tosi("NaCl", cutoff=8.0), charges={"Na": charge, "Cl": -charge}, force_error=1e-3)


def ready_systems() -> dict[str, System]:
    """Argon (Lennard-Jones), silicon (Stillinger-Weber), copper (embedded atoms), sodium chloride (Fumi-Tosi).

    All of them begin as crystals below their melting points.
    """
    return {
        "Argon (LJ)": System(
            bulk("Ar", "fcc", a=5.35, cubic=True) * 4,
            lennard_jones_argon,
            temperature_K=60,
            highest_temperature_K=200,
            timestep_fs=10,
            neighbour_cutoff=4.6,
            knobs={
                "epsilon_K": Knob(119.8, 59.8, 179.8, 1, "ε / k_B (K)"),
                "sigma": Knob(3.405, 3.105, 3.705, 0.005, "σ (Å)"),
            },
            compressibility_per_GPa=0.5,
            highest_pressure_GPa=0.5,
        ),
        "Silicon (SW)": System(
            bulk("Si", cubic=True) * 3,
            stillinger_weber_silicon,
            temperature_K=1200,
            highest_temperature_K=4000,
            timestep_fs=1.5,
            neighbour_cutoff=4.2,
            knobs={"strength": Knob(21, 12, 26, 0.1, "three-body λ")},
            compressibility_per_GPa=0.02,
            highest_pressure_GPa=10,
        ),
        "Copper (EAM)": System(
            bulk("Cu", a=3.67, cubic=True) * 4,
            embedded_copper,
            temperature_K=900,
            highest_temperature_K=4000,
            timestep_fs=3,
            neighbour_cutoff=3.2,
            knobs={"strength": Knob(1, 0.3, 1.5, 0.01, "all energies ×")},
            compressibility_per_GPa=0.01,
            highest_pressure_GPa=10,
        ),
        "Salt (Ewald)": System(
            bulk("NaCl", "rocksalt", a=5.8, cubic=True) * 3,
            molten_salt,
            temperature_K=900,
            highest_temperature_K=4000,
            timestep_fs=2,
            neighbour_cutoff=4.5,
            knobs={"charge": Knob(1, 0.5, 1.2, 0.01, "charge (e)")},
            compressibility_per_GPa=0.05,
            highest_pressure_GPa=5,
        ),
    }
