"""Descriptors of atomic environments."""

from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.descriptors.gradients import forces
from matterscape.descriptors.soap import PowerSpectrum, RadialSpectrum

__all__ = ["PowerSpectrum", "RadialSpectrum", "SphericalExpansion", "forces"]
