"""Interatomic potentials: energies, forces and flux tensors in one pass, composable and differentiable."""

from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.composition import Scaled, Sum, mix
from matterscape.potentials.evaluator import Evaluator
from matterscape.potentials.local import LocalPotential, local_operator

__all__ = ["Bound", "Evaluation", "Evaluator", "LocalPotential", "Potential", "Scaled", "Sum", "local_operator", "mix"]
