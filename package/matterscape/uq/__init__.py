"""Uncertainties of predictions."""

from matterscape.uq.local_rigidity import local_prediction_rigidity
from matterscape.uq.rigidity import Rigidity, gram, variance_scale

__all__ = ["Rigidity", "gram", "local_prediction_rigidity", "variance_scale"]
