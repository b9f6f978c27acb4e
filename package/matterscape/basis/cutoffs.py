"""Functions of the distance that end a neighbourhood smoothly or weigh it: factors of every pair."""

import math
from dataclasses import dataclass

import torch


def _check_positive(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value!r}; accepted is a positive, finite number")


def _check_width(width: float, cutoff: float) -> None:
    _check_positive("width", width)
    if width > cutoff:
        raise ValueError(f"width is {width!r}; accepted is a number up to the cutoff {cutoff!r}")


@dataclass(frozen=True)
class Step:
    """1 inside the cutoff, 0 from the cutoff on: forces jump there.

    Parameters
    ----------
    cutoff : float
        In Angstrom.

    Raises
    ------
    ValueError
        If the cutoff is not a positive number.
    """

    cutoff: float

    def __post_init__(self) -> None:
        _check_positive("cutoff", self.cutoff)

    def __call__(self, distances: torch.Tensor) -> torch.Tensor:
        """Factors of the distances (any shape, Angstrom), same shape and dtype."""
        # the product keeps the result in the graph, with a derivative of zero
        return (distances < self.cutoff).to(distances.dtype) + 0 * distances


@dataclass(frozen=True)
class ShiftedCosine:
    """1 up to ``cutoff - width``, then half a cosine down to 0 at ``cutoff``: ``[1 + cos(pi t)] / 2``.

    ``t = (r - cutoff + width) / width``. The first derivative is continuous. Same as featomic's ``ShiftedCosine``; with
    ``width = cutoff`` it is the function of Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007).

    Parameters
    ----------
    cutoff, width : float
        In Angstrom.

    Raises
    ------
    ValueError
        If one of them is not a positive number or the width exceeds the cutoff.
    """

    cutoff: float
    width: float = 0.5

    def __post_init__(self) -> None:
        _check_positive("cutoff", self.cutoff)
        _check_width(self.width, self.cutoff)

    def __call__(self, distances: torch.Tensor) -> torch.Tensor:
        """Factors of the distances (any shape, Angstrom), same shape and dtype; differentiable."""
        t = (distances - (self.cutoff - self.width)) / self.width
        return _switch(t, distances < self.cutoff, torch.cos(math.pi / 2 * t) ** 2)


@dataclass(frozen=True)
class SmoothPolynomial:
    """1 up to ``cutoff - width``, then the lowest polynomial with vanishing derivatives at both ends down to 0.

    ``1 - 10 t^3 + 15 t^4 - 6 t^5`` with two continuous derivatives, ``1 - 35 t^4 + 84 t^5 - 70 t^6 + 20 t^7`` with
    three; ``t = (r - cutoff + width) / width``.

    Parameters
    ----------
    cutoff, width : float
        In Angstrom.
    smoothness : int
        Number of continuous derivatives, 2 or 3.

    Raises
    ------
    ValueError
        If cutoff or width is not a positive number, the width exceeds the cutoff or the smoothness is another one.

    References
    ----------
    The quintic: Andrea, Swope, Andersen, J. Chem. Phys. 79, 4576 (1983), doi 10.1063/1.446373.
    """

    cutoff: float
    width: float = 0.5
    smoothness: int = 2

    def __post_init__(self) -> None:
        _check_positive("cutoff", self.cutoff)
        _check_width(self.width, self.cutoff)
        if self.smoothness not in (2, 3):
            raise ValueError(f"smoothness is {self.smoothness!r}; accepted is 2 or 3")

    def __call__(self, distances: torch.Tensor) -> torch.Tensor:
        """Factors of the distances (any shape, Angstrom), same shape and dtype; differentiable."""
        t = (distances - (self.cutoff - self.width)) / self.width
        u = torch.where(t < 0.5, t, 1 - t)  # by symmetry, from the nearer end: nothing cancels
        rising = u**3 * (10 - u * (15 - 6 * u)) if self.smoothness == 2 else u**4 * (35 - u * (84 - u * (70 - 20 * u)))
        return _switch(t, distances < self.cutoff, torch.where(t < 0.5, 1 - rising, rising))


@dataclass(frozen=True)
class RadialScaling:
    """Weight that falls off with the distance: ``rate / (rate + (r / scale)**exponent)``.

    Same as featomic's ``Willatt2018``; with ``rate = 0`` it is the bare power ``(scale / r)**exponent``.

    Parameters
    ----------
    rate : float
        Zero or more.
    scale : float
        In Angstrom.
    exponent : int
        Zero (weight 1 everywhere) or more.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018), doi 10.1039/C8CP05921G.
    """

    rate: float
    scale: float
    exponent: int

    def __post_init__(self) -> None:
        if not (isinstance(self.rate, int | float) and math.isfinite(self.rate) and self.rate >= 0):
            raise ValueError(f"rate is {self.rate!r}; accepted is a finite number from 0 on")
        _check_positive("scale", self.scale)
        if isinstance(self.exponent, bool) or not isinstance(self.exponent, int) or self.exponent < 0:
            raise ValueError(f"exponent is {self.exponent!r}; accepted is a whole number from 0 on")

    def __call__(self, distances: torch.Tensor) -> torch.Tensor:
        """Factors of the distances (any shape, Angstrom), same shape and dtype; differentiable.

        With ``rate = 0`` the distances must be positive.
        """
        if self.exponent == 0:
            return torch.ones_like(distances) + 0 * distances
        if self.rate == 0:
            return (self.scale / distances) ** self.exponent
        return self.rate / (self.rate + (distances / self.scale) ** self.exponent)


def _switch(t: torch.Tensor, inside: torch.Tensor, falling: torch.Tensor) -> torch.Tensor:
    """1 for t <= 0, ``falling`` up to the cutoff, 0 from there on, with derivatives of exactly 0 on both sides."""
    zero = 0 * t
    return torch.where(inside, torch.where(t > 0, falling, zero + 1), zero)
