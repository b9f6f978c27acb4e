"""Range separation of 1/r^p: short-ranged rest in real space, smooth part in reciprocal space.

    1/r^p = Gamma(p/2, a^2 r^2) / (Gamma(p/2) r^p)  +  gamma(p/2, a^2 r^2) / (Gamma(p/2) r^p)

with the upper and lower incomplete gamma functions and the inverse length a = ``alpha``; p = 1 gives erfc(a r) / r and
erf(a r) / r. Everything follows from g_s(x) = Gamma(s, x) / x^s, for which g_s' = -g_{s+1}.

References: Nijboer and De Wette, Physica 23, 309 (1957); Williams, Acta Cryst. A 27, 452 (1971); Essmann et al.,
J. Chem. Phys. 103, 8577 (1995).
"""

import math

import numpy as np
import torch
from scipy import special

EXPONENTS = range(1, 10)


def checked_exponent(exponent: int) -> int:
    """The exponent p of 1/r^p, a whole number from 1 to 9.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if isinstance(exponent, bool) or exponent not in EXPONENTS:
        raise ValueError(f"exponent is {exponent!r}; accepted are whole numbers from 1 to 9")
    return int(exponent)


def gamma_ratio(s: float, x: np.ndarray) -> np.ndarray:
    """g_s(x) = Gamma(s, x) / x^s for half-integer or whole s of either sign and x > 0.

    Recurrences g_{s+1} = (s g_s + e^-x) / x up and g_s = (x g_{s+1} - e^-x) / s down, from erfc, exp or the exponential
    integral.
    """
    decay = np.exp(-x)
    if s != int(s):
        at, value = 0.5, math.sqrt(math.pi) * special.erfc(np.sqrt(x)) / np.sqrt(x)
    elif s > 0:
        at, value = 1.0, decay / x
    else:
        at, value = 0.0, special.exp1(x)
    while at < s:
        value = (at * value + decay) / x
        at += 1
    while at > s:
        at -= 1
        value = (x * value - decay) / at
    return value


class _GammaRatio(torch.autograd.Function):
    """g_s(x) in torch, differentiable to any order."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.s = s
        ctx.save_for_backward(x)
        value = gamma_ratio(s, x.detach().cpu().double().numpy())
        return torch.from_numpy(np.asarray(value)).to(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return -gradient * _GammaRatio.apply(x, ctx.s + 1), None


def short_range(distances: torch.Tensor, alpha: float, exponent: int = 1) -> torch.Tensor:
    """Gamma(p/2, a^2 r^2) / (Gamma(p/2) r^p), the part that is summed in real space.

    Parameters
    ----------
    distances : tensor (...), positive, Å
    alpha : float
        Inverse length of the separation, 1/Å.
    exponent : int
        p.

    Returns
    -------
    tensor (...), Å^-p, differentiable in the distances.
    """
    scale = alpha**exponent / math.gamma(exponent / 2)
    return scale * _GammaRatio.apply((alpha * distances) ** 2, exponent / 2)


def long_range(distances: torch.Tensor, alpha: float, exponent: int = 1) -> torch.Tensor:
    """gamma(p/2, a^2 r^2) / (Gamma(p/2) r^p), the smooth part; arguments as in :func:`short_range`."""
    x = (alpha * distances) ** 2
    return torch.special.gammainc(torch.full_like(x, exponent / 2), x) / distances**exponent


def long_range_at_zero(alpha: float, exponent: int = 1) -> float:
    """The smooth part at r = 0: a^p / Gamma(p/2 + 1), in Å^-p; 2 a / sqrt(pi) for charges."""
    return alpha**exponent / math.gamma(exponent / 2 + 1)


def fourier_at_zero(alpha: float, exponent: int = 1) -> float:
    """Strength of the wave k = 0: 2 pi^{3/2} a^{p-3} / ((p - 3) Gamma(p/2)), in Å^(3-p).

    For p > 3 it is the limit of :func:`fourier`. For p < 3 it is minus the integral of the short-ranged part: a uniform
    background that neutralises the sources, -pi / a^2 for charges. For p = 3 the integral diverges, only neutral sets
    of sources have an energy, and the value is 0.
    """
    if exponent == 3:
        return 0.0
    return 2 * math.pi**1.5 * alpha ** (exponent - 3) / ((exponent - 3) * math.gamma(exponent / 2))


def fourier(squared_waves: torch.Tensor, alpha: float, exponent: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Fourier transform of the smooth part and its derivative in k^2 / 2.

    Parameters
    ----------
    squared_waves : tensor (...)
        k^2 in 1/Å^2, positive.
    alpha, exponent
        As in :func:`short_range`.

    Returns
    -------
    strength, slope : tensors (...)
        In Å^(3-p) and Å^(5-p): 4 pi e^{-k^2/4a^2} / k^2 and -2 (1/k^2 + 1/4a^2) times that for charges.
    """
    s = (3 - exponent) / 2
    scale = math.pi**1.5 * alpha ** (exponent - 3) / math.gamma(exponent / 2)
    x = squared_waves / (4 * alpha**2)
    return scale * _GammaRatio.apply(x, s), -scale / (2 * alpha**2) * _GammaRatio.apply(x, s + 1)
