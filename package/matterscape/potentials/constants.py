"""Constants of nature in the units of the package (Å, eV, elementary charges)."""

from math import pi

from ase import units

# e^2 / (4 pi eps0) in eV Å
COULOMB = units._e / (4 * pi * units._eps0) * 1e10
