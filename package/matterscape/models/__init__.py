"""Regression models on features, with uncertainties."""

from matterscape.models.ridge import RegularisationPath, RidgeModel
from matterscape.models.validation import LearningCurve, learning_curve

__all__ = ["LearningCurve", "RegularisationPath", "RidgeModel", "learning_curve"]
