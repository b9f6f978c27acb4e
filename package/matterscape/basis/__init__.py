"""Functions on the sphere and along the radius, and how they couple."""

from matterscape.basis.cutoffs import RadialScaling, ShiftedCosine, SmoothPolynomial, Step
from matterscape.basis.radial import (
    CustomRadialBasis,
    GaussianTypeOrbitals,
    LaplacianEigenstates,
    RadialBasis,
    centre_overlap,
    radial_integrals,
)
from matterscape.basis.spherical_harmonics import (
    spherical_harmonics,
    spherical_harmonics_with_gradients,
    spherical_harmonics_with_hessians,
)
from matterscape.basis.splines import Spline

__all__ = [
    "CustomRadialBasis",
    "GaussianTypeOrbitals",
    "LaplacianEigenstates",
    "RadialBasis",
    "RadialScaling",
    "ShiftedCosine",
    "SmoothPolynomial",
    "Spline",
    "Step",
    "centre_overlap",
    "radial_integrals",
    "spherical_harmonics",
    "spherical_harmonics_with_gradients",
    "spherical_harmonics_with_hessians",
]
