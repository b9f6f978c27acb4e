"""The flexible water model q-TIP4P/F, whose negative charge sits beside the oxygen."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from ase import units

from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.composition import Sum
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.topology import Molecules, find_molecules
from matterscape.structures import NeighbourLists, Structures, VerletList

#: Weight of the oxygen in the place of the negative charge; the hydrogens share the rest.
OXYGEN_WEIGHT = 0.73612
#: Charge of a hydrogen; the site M carries minus twice that.
HYDROGEN_CHARGE = 0.5564
_DEPTH, _WIDTH = 0.185 * units.Hartree, 1.21 / units.Bohr
#: D [a^2 x^2 - a^3 x^3 + 7/12 a^4 x^4], the Morse potential expanded to fourth order.
BOND = PairTerm(
    length=1.78 * units.Bohr,
    quadratic=_DEPTH * _WIDTH**2,
    cubic=-_DEPTH * _WIDTH**3,
    quartic=7 / 12 * _DEPTH * _WIDTH**4,
)
ANGLE = AngleTerm(stiffness=0.07 * units.Hartree, angle_deg=107.4)
LONGEST_BOND = 1.6  # Å
