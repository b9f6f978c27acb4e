"""Uncertainties of predictions."""

from matterscape.uq.rigidity import Rigidity, gram, local_prediction_rigidity, variance_scale

__all__ = ["Rigidity", "gram", "local_prediction_rigidity", "variance_scale"]
