"""Constants in the units of lattice dynamics: Å, ps, amu, and angular frequencies in rad/ps."""

import math

from ase import units

#: (rad/ps)^2 per eV/(Å^2 amu).
SQUARED_FREQUENCY = units._e / units._amu * 1e-4
#: amu Å^2/ps.
REDUCED_PLANCK = units._hbar / units._amu * 1e8
#: amu Å^2/(ps^2 K).
BOLTZMANN = units._k / units._amu * 1e-4
#: W/(m K) per Å^-1 ps^-1 of heat capacity in k_B times diffusivity over volume.
CONDUCTIVITY = units._k * 1e22
#: rad/ps per THz.
ANGULAR = 2 * math.pi
