"""Bases for functions of positions: radial functions, cutoffs, spherical harmonics, and how they couple and rotate."""

from matterscape.basis.coupling import ClebschGordan, SparseCoupling, clebsch_gordan
from matterscape.basis.cutoffs import RadialScaling, ShiftedCosine, SmoothPolynomial, Step
from matterscape.basis.harmonics import (
    spherical_harmonics,
    spherical_harmonics_with_gradients,
    spherical_harmonics_with_hessians,
)
from matterscape.basis.radial import (
    CustomRadialBasis,
    GaussianTypeOrbitals,
    LaplacianEigenstates,
    RadialBasis,
    centre_overlap,
    radial_integrals,
)
from matterscape.basis.splines import Spline
from matterscape.basis.wigner import wigner_matrices

__all__ = [
    "ClebschGordan",
    "CustomRadialBasis",
    "GaussianTypeOrbitals",
    "LaplacianEigenstates",
    "RadialBasis",
    "RadialScaling",
    "ShiftedCosine",
    "SmoothPolynomial",
    "SparseCoupling",
    "Spline",
    "Step",
    "centre_overlap",
    "clebsch_gordan",
    "radial_integrals",
    "spherical_harmonics",
    "spherical_harmonics_with_gradients",
    "spherical_harmonics_with_hessians",
    "wigner_matrices",
]
