"""Losses for networks that predict a mean and a variance.

Both are proper scores of a Gaussian: on average they are smallest for the true mean and the true variance. They are
given per sample, so that the caller sums, averages or weights them (Kellner, Ceriotti, Mach. Learn.: Sci. Technol. 5,
035006 (2024)).
"""

import math

import torch
from torch import Tensor

from matterscape.checks import check_number

FLOOR = 1e-10


def gaussian_negative_log_likelihood(mean: Tensor, variance: Tensor, target: Tensor, floor: float = FLOOR) -> Tensor:
    """Negative log-likelihood of a Gaussian, [ln variance + error^2 / variance + ln 2 pi] / 2 for each sample.

    Parameters
    ----------
    mean, variance, target : tensor (n_samples,)
        The variance in squared units of the target.
    floor : float
        Smallest variance that enters the loss. Below it the gradient is the one at the floor, so that a variance that
        has collapsed can open again.

    Returns
    -------
    tensor (n_samples,)

    Raises
    ------
    TypeError
        If one of the three is no tensor.
    ValueError
        If the shapes differ, a variance is negative, or the floor is not positive.
    """
    _check(mean, variance, target, floor)
    return torch.nn.functional.gaussian_nll_loss(mean, target, variance, full=True, eps=floor, reduction="none")


def gaussian_ranked_probability(mean: Tensor, variance: Tensor, target: Tensor, floor: float = FLOOR) -> Tensor:
    """Continuous ranked probability score of a Gaussian for each sample, in units of the target.

    sigma {z [2 Phi(z) - 1] + 2 phi(z) - pi^(-1/2)} with z = (target - mean) / sigma (Gneiting et al., Mon. Weather Rev.
    133, 1098 (2005), eq. 5). Its gradients in the mean and in sigma stay bounded as sigma vanishes, unlike those of the
    likelihood.

    Parameters
    ----------
    mean, variance, target : tensor (n_samples,)
        The variance in squared units of the target.
    floor : float
        As in :func:`gaussian_negative_log_likelihood`.

    Returns
    -------
    tensor (n_samples,)

    Raises
    ------
    TypeError
        If one of the three is no tensor.
    ValueError
        If the shapes differ, a variance is negative, or the floor is not positive.
    """
    _check(mean, variance, target, floor)
    variance = variance.clone()
    with torch.no_grad():
        variance.clamp_(min=floor)
    sigma = variance.sqrt()
    error = target - mean
    z = error / sigma
    density = math.sqrt(2 / math.pi) * torch.exp(-0.5 * z * z)
    return error * torch.erf(z / math.sqrt(2)) + sigma * (density - 1 / math.sqrt(math.pi))


def _check(mean: Tensor, variance: Tensor, target: Tensor, floor: float) -> None:
    for name, values in (("mean", mean), ("variance", variance), ("target", target)):
        if not isinstance(values, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(values).__name__}")
    if not mean.shape == variance.shape == target.shape:
        shapes = ", ".join(str(tuple(values.shape)) for values in (mean, variance, target))
        raise ValueError(f"mean, variance and target must have one shape, got {shapes}")
    check_number("floor", floor, positive=True)
    if (variance < 0).any():
        raise ValueError(f"variance must not be negative, got {variance.min().item()}")
