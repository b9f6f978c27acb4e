"""Interatomic potentials: energies, forces and flux tensors in one pass, composable and differentiable."""

from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.composition import Scaled, Sum, mix
from matterscape.potentials.coulomb import Coulomb, Ionic, alkali_halide
from matterscape.potentials.eam import EAM
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.local import LocalPotential, local_operator
from matterscape.potentials.long_range import InversePower
from matterscape.potentials.pedone import pedone
from matterscape.potentials.short_range import BornMayerHuggins, Buckingham, Morse, ZieglerBiersackLittmark
from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.potentials.third_order import ThirdOrder
from matterscape.potentials.zhou2004 import zhou2004

__all__ = [
    "EAM",
    "BornMayerHuggins",
    "Bound",
    "Buckingham",
    "Coulomb",
    "Evaluation",
    "Evaluator",
    "ForceConstants",
    "InversePower",
    "Ionic",
    "LennardJones",
    "LocalPotential",
    "Morse",
    "Potential",
    "Scaled",
    "StillingerWeber",
    "Sum",
    "Tersoff",
    "ThirdOrder",
    "ZieglerBiersackLittmark",
    "alkali_halide",
    "fumi_tosi",
    "local_operator",
    "mix",
    "pedone",
    "zhou2004",
]
