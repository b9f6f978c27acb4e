"""Interatomic potentials: energies, forces and flux tensors in one pass, composable and differentiable."""

from matterscape.potentials import li3ps4
from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.composition import Scaled, Sum, mix
from matterscape.potentials.coulomb import Coulomb, Ionic, alkali_halide
from matterscape.potentials.eam import EAM
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.external import ExternalPotential
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.gay_berne import Ellipsoid, GayBerne
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.li3ps4 import LPSForceField
from matterscape.potentials.local import LocalPotential, local_operator
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.pair import PairPotential, by_species
from matterscape.potentials.short_range import BornMayerHuggins, Buckingham, Morse, ZieglerBiersackLittmark
from matterscape.potentials.silicates import pedone
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.potentials.tether import Tether
from matterscape.potentials.third_order import ThirdOrder
from matterscape.potentials.topology import Molecules, Topology, find_molecules
from matterscape.potentials.verification import verify
from matterscape.potentials.virtual_sites import OnSites
from matterscape.potentials.water import QTIP4PF
from matterscape.potentials.zhou_metals import zhou2004

__all__ = [
    "EAM",
    "QTIP4PF",
    "AngleTerm",
    "Bonded",
    "BornMayerHuggins",
    "Bound",
    "Buckingham",
    "Coulomb",
    "Ellipsoid",
    "Evaluation",
    "Evaluator",
    "ExternalPotential",
    "ForceConstants",
    "GayBerne",
    "InversePower",
    "Ionic",
    "LPSForceField",
    "LennardJones",
    "LocalPotential",
    "Molecules",
    "Morse",
    "OnSites",
    "PairPotential",
    "PairTerm",
    "Potential",
    "Scaled",
    "StillingerWeber",
    "Sum",
    "Tersoff",
    "Tether",
    "ThirdOrder",
    "Topology",
    "ZieglerBiersackLittmark",
    "alkali_halide",
    "by_species",
    "find_molecules",
    "fumi_tosi",
    "li3ps4",
    "local_operator",
    "mix",
    "pedone",
    "verify",
    "zhou2004",
]
