"""Heat transport by the vibrations of solids: modes, their widths, and quasi-harmonic Green-Kubo conductivities.

A potential and a crystal give second- and third-order force constants, these give modes and half widths, and these the
conductivity:

    supercell = stable_supercell(primitive, potential, repeats)
    constants = nearest_images(force_constants(potential, supercell.structures))
    modes = vibrational_modes(supercell.fold(constants), supercell.repeats)
    couplings = ModeCouplings(modes, cubic_force_constants(potential, supercell))
    half_widths = linewidths(couplings, 300.0, broadening_THz=0.4)
    conductivity = qhgk(modes, half_widths, 300.0)
"""

from matterscape.transport.lattice.anharmonicity import Anharmonicity, sigma_anharmonic
from matterscape.transport.lattice.couplings import ModeCouplings, linewidths
from matterscape.transport.lattice.cubic import CubicForceConstants, cubic_force_constants
from matterscape.transport.lattice.green_kubo import LatticeConductivity, qhgk
from matterscape.transport.lattice.harmonic import force_constants, impose_acoustic_sum_rule, nearest_images
from matterscape.transport.lattice.minima import stable_supercell
from matterscape.transport.lattice.modes import UnstableModesError, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.quanta import heat_capacities, occupations
from matterscape.transport.lattice.supercells import Supercell, remaining_repeats

__all__ = [
    "Anharmonicity",
    "CubicForceConstants",
    "LatticeConductivity",
    "ModeCouplings",
    "Supercell",
    "UnstableModesError",
    "VibrationalModes",
    "cubic_force_constants",
    "force_constants",
    "heat_capacities",
    "impose_acoustic_sum_rule",
    "linewidths",
    "nearest_images",
    "occupations",
    "qhgk",
    "remaining_repeats",
    "sigma_anharmonic",
    "stable_supercell",
    "vibrational_modes",
]
