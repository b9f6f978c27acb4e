"""The functional forms of :mod:`_radial` in torch: the readable reference, and the source of higher derivatives."""

import math
from collections.abc import Callable

import torch

from matterscape.potentials import _radial
from matterscape.potentials._radial import CUTOFF, FIRST, SHIFT, SWITCH


def _lennard_jones(r: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    i6 = r**-6
    return i6 * (a * i6 - b)


def _morse(r: torch.Tensor, depth: torch.Tensor, rate: torch.Tensor, r0: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    x = torch.exp(-rate * (r - r0))
    return depth * x * (x - 2) + c * r**-12


def _born_mayer(r: torch.Tensor, a: torch.Tensor, rate: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return a * torch.exp(-rate * r) - c * r**-6 - d * r**-8


def _nuclei(
    r: torch.Tensor, charge: torch.Tensor, rate: torch.Tensor, start: torch.Tensor, c3: torch.Tensor, c4: torch.Tensor
) -> torch.Tensor:
    weights, rates = r.new_tensor(_radial.SCREENING_WEIGHTS), r.new_tensor(_radial.SCREENING_RATES)
    screening = (weights * torch.exp(-rates * (rate * r)[:, None])).sum(1)
    t = (r - start).clamp(min=0)
    return charge / r * screening + t**3 * (c3 + c4 * t)


def _coulomb(
    r: torch.Tensor, charge: torch.Tensor, alpha: torch.Tensor, c0: torch.Tensor, c1: torch.Tensor
) -> torch.Tensor:
    return charge * (torch.erfc(alpha * r) / r + c0 + c1 * r)


#: Name, first column and energy of every form.
FORMS: dict[str, tuple[int, Callable[..., torch.Tensor]]] = {
    "Lennard-Jones": (_radial.LENNARD_JONES, _lennard_jones),
    "Morse": (_radial.MORSE, _morse),
    "Born-Mayer": (_radial.BORN_MAYER, _born_mayer),
    "screened nuclei": (_radial.NUCLEI, _nuclei),
    "Coulomb": (_radial.COULOMB, _coulomb),
}
_STARTS = [start for start, _ in FORMS.values()]
BLOCKS = {name: slice(start, stop) for name, start, stop in zip(FORMS, _STARTS, [*_STARTS[1:], _radial.N_COLUMNS])}


def pair_energies(distances: torch.Tensor, rows: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    """Energies (P,) in eV of pairs at the given distances (P,) in Å, differentiable.

    Parameters
    ----------
    distances : tensor (P,)
    rows : tensor (P,), int64
        Row of the table for each pair.
    parameters : tensor (R, N_COLUMNS)
    """
    total = 0 * distances  # stays differentiable where every pair is beyond its cutoff
    for name, (_, form) in FORMS.items():
        table = parameters[:, BLOCKS[name]]
        inside = (distances < table[rows, CUTOFF]).nonzero()[:, 0]
        if len(inside) == 0:
            continue
        r, block = distances[inside], table[rows[inside]]
        phi = form(r, *block[:, FIRST:].unbind(1)) - block[:, SHIFT]
        start, width = block[:, SWITCH], block[:, CUTOFF] - block[:, SWITCH]
        t = ((r - start) / torch.where(width > 0, width, 1)).clamp(min=0)  # 0 where nothing is switched off
        total = total.index_add(0, inside, phi * (1 - t) ** 3 * (1 + t * (3 + 6 * t)))
    return total


def pair_derivatives(
    distances: torch.Tensor, rows: torch.Tensor, parameters: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies (P,), first and second derivatives of pairs; arguments as of :func:`pair_energies`."""
    with torch.enable_grad():
        r = distances.detach().requires_grad_()
        phi = pair_energies(r, rows, parameters)
        (slope,) = torch.autograd.grad(phi.sum(), r, create_graph=True)
        if not slope.requires_grad:  # every pair is beyond its cutoff
            return phi.detach(), slope, torch.zeros_like(slope)
        (curvature,) = torch.autograd.grad(slope.sum(), r)
    return phi.detach(), slope.detach(), curvature


def energies(
    vectors: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    types: torch.Tensor,
    n_centres: int,
    parameters: torch.Tensor,
    tables: torch.Tensor,
    kind: int,
) -> torch.Tensor:
    """Energies (n_centres,) of atoms, half of each pair's; see :func:`matterscape.potentials.local.local_operator`."""
    rows = types[first] * math.isqrt(len(parameters)) + types[second]
    values = pair_energies(vectors.norm(dim=1), rows, parameters)
    return values.new_zeros(n_centres).index_add(0, first, 0.5 * values)
