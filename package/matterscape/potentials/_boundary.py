"""Boundary conditions of long-ranged sums: slabs through a cell with vacuum, a sphere of crystal in vacuum.

Both add a pair function c (r^T P r + constant) to the fully periodic one, c = -2 pi / V:

- slab with unit normal n: P = n n^T and the constant h^2 / 6 for a cell of height h along n (Yeh and Berkowitz,
  J. Chem. Phys. 111, 3155 (1999); the constant serves charged slabs: Ballenegger, Arnold and Cerda, J. Chem. Phys.
  131, 094107 (2009)). Up to terms that fall exponentially with the vacuum this is the sum over the two periodic
  directions alone;
- sphere in vacuum: P = 1/3, that is the energy 2 pi M^2 / 3 V of the dipole moment M (de Leeuw, Perram and Smith,
  Proc. R. Soc. A 373, 27 (1980)).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Periodic:
    """Fully periodic cells that stand for a batch of structures of one kind of boundary.

    Attributes
    ----------
    cells : tensor (B, 3, 3), Å
        Those of the structures; of slabs, with the free vector along the normal.
    normals, heights : tensors (B, 3) and (B,), or None
        Unit normal of a slab, and how high its cell is.
    """

    cells: torch.Tensor
    normals: torch.Tensor | None = None
    heights: torch.Tensor | None = None


def periodic_cells(
    positions: torch.Tensor,
    cells: torch.Tensor,
    pbc: torch.Tensor,
    structure_index: torch.Tensor,
    accuracy: float,
    heights: torch.Tensor | None = None,
) -> Periodic:
    """Cells for the periodic sums, differentiable in ``cells``.

    A slab's cell leaves vacuum across which the field of its images falls to ``accuracy`` of that at the slab; the
    slowest waves fall as exp(-2 pi z / d) with d the larger distance between rows of a lattice plane. ``heights`` (B,)
    of earlier cells are kept as long as they do.
    """
    if bool(pbc.all()):
        return Periodic(cells)
    free = (~pbc).long().argmax(dim=1)
    structures = torch.arange(len(cells), device=cells.device)
    first, second = cells[structures, (free + 1) % 3], cells[structures, (free + 2) % 3]
    normals = torch.linalg.cross(first, second)
    areas = normals.norm(dim=1)
    normals = normals / areas[:, None]
    along = (positions * normals[structure_index]).sum(dim=1).detach()
    lowest = torch.full_like(areas, -math.inf).detach()
    extents = lowest.scatter_reduce(0, structure_index, along, "amax")
    extents = extents + lowest.scatter_reduce(0, structure_index, -along, "amax")
    rows = (areas / torch.minimum(first.norm(dim=1), second.norm(dim=1))).detach()
    needed = extents + rows * (math.log(1 / accuracy) / (2 * math.pi))
    if heights is None or bool((heights < needed).any()):
        heights = needed + 0.25 * extents
    full = torch.where((~pbc)[:, :, None], (heights[:, None] * normals)[:, None, :], cells)
    return Periodic(full, normals, heights)


def dipole_terms(
    positions: torch.Tensor,
    charges: torch.Tensor,
    structure_index: torch.Tensor,
    periodic: Periodic,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies (N,), gradient (N, 3) and flux tensors (N, 3, 3) of the dipole terms per unit prefactor.

    For slabs those of the slab, otherwise those of a sphere in vacuum. Positions must not be wrapped along a direction
    that these terms see.
    """
    n_structures = len(periodic.cells)

    def total(values: torch.Tensor) -> torch.Tensor:
        sums = values.new_zeros(n_structures, *values.shape[1:]).index_add(0, structure_index, values)
        return sums[structure_index]

    counts = total(torch.ones_like(charges))
    centred = positions - (total(positions) / counts[:, None]).detach()  # any origin will do; this one rounds least
    strength = (-2 * math.pi / torch.linalg.det(periodic.cells).abs())[structure_index]
    charge = total(charges)
    if periodic.normals is None:
        moment = total(charges[:, None] * centred)
        second = total(charges[:, None, None] * centred[:, :, None] * centred[:, None, :])
        squares = charge[:, None, None] * centred[:, :, None] * centred[:, None, :]
        cross = centred[:, :, None] * moment[:, None, :]
        # sum_i q_i (r_j - r_i)(r_j - r_i)^T
        spread = squares - cross - cross.transpose(1, 2) + second
        potential = strength / 3 * spread.diagonal(dim1=1, dim2=2).sum(dim=1)
        field = (2 * strength / 3)[:, None] * (charge[:, None] * centred - moment)
        tensor = -(2 * strength / 3)[:, None, None] * spread
    else:
        normal = periodic.normals[structure_index]
        z = (centred * normal).sum(dim=1)
        moment = total(charges * z)
        spread = charge * z**2 - 2 * z * moment + total(charges * z**2)
        constant = charge * (periodic.heights**2)[structure_index] / 6
        potential = strength * (spread + constant)
        field = (2 * strength * (charge * z - moment))[:, None] * normal
        tensor = (-2 * strength * (spread + constant))[:, None, None] * normal[:, :, None] * normal[:, None, :]
    tensor = tensor + potential[:, None, None] * torch.eye(3, dtype=tensor.dtype, device=tensor.device)
    return 0.5 * charges * potential, charges[:, None] * field, 0.5 * charges[:, None, None] * tensor


def dipole_hessian(charges: np.ndarray, structure_index: np.ndarray, periodic: Periodic) -> np.ndarray:
    """Second derivatives (3 N, 3 N) of the dipole terms per unit prefactor: -2 c q_i q_j P between atoms i and j."""
    n_atoms = len(charges)
    strength = -4 * math.pi / torch.linalg.det(periodic.cells).abs().numpy()
    if periodic.normals is None:
        forms = np.broadcast_to(np.eye(3) / 3, (len(strength), 3, 3))
    else:
        forms = (periodic.normals[:, :, None] * periodic.normals[:, None, :]).numpy()
    together = structure_index[:, None] == structure_index
    products = together * charges[:, None] * charges * strength[structure_index]
    products = np.diag(products.sum(axis=1)) - products
    return np.einsum("ij,iab->iajb", products, forms[structure_index]).reshape(3 * n_atoms, 3 * n_atoms)
