"""Particle-mesh Ewald sums for 1/r and every other inverse power: charges on a mesh, fast Fourier transforms.

Charges are spread with cardinal B-splines (smooth PME: Essmann et al., J. Chem. Phys. 103, 8577 (1995)), the strengths
of the waves carry the energy-optimal factor U^2 / (sum_m U_m^2)^2 of P3M (Hockney and Eastwood; Ballenegger, Cerda and
Holm, J. Chem. Theory Comput. 8, 936 (2012)), and forces are the exact derivatives of the energy. The flux tensors take
six more transforms, of the strengths g delta_ab + h k_a k_b (g' = k h the derivative of g).

A mesh at rest feels where the atoms are, not only how they lie to each other, so their forces do not sum to zero. The
potentials therefore lay its origin at the mean position of the atoms (:func:`from_mean`). The energy no longer changes
when all atoms move together, and its exact derivative is the force on the mesh at rest without its mean, an equal share
taken from every atom, so that dynamics keeps both momentum and energy. With the mesh at rest, taking out the mean force
equally would do work on atoms of different masses, and taking it out by mass does none only without total momentum.
"""

import math
from functools import lru_cache

import numpy as np
import scipy.fft
import torch
from scipy.interpolate import BSpline

from matterscape.basis._lanes import LANES
from matterscape.kernels import get_threads
from matterscape.potentials import _mesh_kernels as kernels
from matterscape.potentials._long_range_operator import long_range_operator
from matterscape.potentials.inverse_power import fourier, fourier_at_zero

ORDERS = range(4, 9)
_COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def _spline(order: int) -> BSpline:
    """Cardinal B-spline on 0 ... order; zero outside is left to the caller."""
    return BSpline.basis_element(np.arange(order + 1.0), extrapolate=False)


@lru_cache
def spline_tables(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Polynomials in the remainder of the weights of the points 0 ... order - 1, and of their slopes.

    Returns
    -------
    weights (order, 8), slopes (order - 1, 8)
        Coefficients, highest power first; zero beyond the order.
    """
    spline = _spline(order)
    pieces = np.arange(order - 1.0, -1.0, -1.0)
    weights = np.zeros((order, LANES))
    for power in range(order):
        weights[order - 1 - power, :order] = spline(pieces, power) / math.factorial(power)
    return weights, weights[:-1] * np.arange(order - 1.0, 0.0, -1.0)[:, None]


@lru_cache(maxsize=64)
def window_factor(n_points: int, order: int) -> np.ndarray:
    """U^2 / (sum_m U_m^2)^2 of the waves 0, 1, ..., -1 of a mesh axis (n_points,); 0 for the wave at half the mesh.

    U = sinc^order is the spline's Fourier transform; the sum over its aliases m is a cosine series whose coefficients
    are the spline of twice the order at whole numbers.
    """
    angle = 2 * math.pi * np.fft.fftfreq(n_points)
    overlap = _spline(2 * order)(np.arange(1.0, 2 * order)) @ np.cos(np.arange(1 - order, order)[:, None] * angle)
    factor = np.sinc(angle / (2 * math.pi)) ** (2 * order) / overlap**2
    if n_points % 2 == 0:
        factor[n_points // 2] = 0.0
    return factor


def _influence(
    cell: torch.Tensor, geometry: list[int], alpha: float, exponent: int, with_tensor: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Strengths (n1, n2, n3 // 2 + 1) of the waves of a mesh, and of the six tensor fields (6 or 0, ...).

    ``geometry`` is the mesh and the order of the splines. Includes the factor of the discrete transforms.
    """
    *shape, order = geometry
    n_waves = shape[2] // 2 + 1
    options = {"dtype": cell.dtype, "device": cell.device}
    counts = [torch.fft.fftfreq(n, 1 / n, **options) for n in shape]
    counts[2] = counts[2][:n_waves].abs()
    triplets = torch.stack(torch.meshgrid(*counts, indexing="ij"), dim=-1)
    waves = triplets @ (2 * math.pi * torch.linalg.inv(cell).T)
    squared = (waves**2).sum(dim=-1)
    zero = torch.zeros(squared.shape, dtype=torch.bool, device=cell.device)
    zero[0, 0, 0] = True
    strength, slope = fourier(torch.where(zero, torch.ones_like(squared), squared), alpha, exponent)
    strength = torch.where(zero, torch.full_like(strength, fourier_at_zero(alpha, exponent)), strength)
    x, y, z = (torch.from_numpy(window_factor(n, order)).to(**options) for n in shape)
    factor = x[:, None, None] * y[:, None] * z[:n_waves] * (math.prod(shape) / torch.linalg.det(cell).abs())
    strength = factor * strength
    if not with_tensor:
        return strength, strength.new_zeros(0)
    slope = torch.where(zero, torch.zeros_like(slope), factor * slope)
    tensor = [slope * waves[..., a] * waves[..., b] + (strength if a == b else 0.0) for a, b in _COMPONENTS]
    return strength, torch.stack(tensor)


class ParticleMesh:
    """The mesh of every cell of a batch with the strengths of its waves, ready to be summed for any positions.

    Parameters
    ----------
    cells : array (B, 3, 3), float64, Å
    structure_index : array (N,), int64, sorted
    meshes : array (B, 4), int64
        Points along the cell vectors, and the order of the splines (4 to 8).
    alpha : float, 1/Å
    exponent : int
    """

    def __init__(self, cells: np.ndarray, structure_index: np.ndarray, meshes: np.ndarray, alpha: float, exponent: int):
        self.cells, self.meshes, self.alpha, self.exponent = cells, meshes, alpha, exponent
        self._offsets = np.searchsorted(structure_index, np.arange(len(cells) + 1))
        self._influences: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(cells)

    def fields(
        self, positions: np.ndarray, sources: np.ndarray, with_tensor: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Potential (C, N), gradient (C, N, 3) and tensor (N or 0, 3, 3) of the last source at the sites.

        ``positions`` (N, 3) and ``sources`` (C, N), float64.
        """
        n_sources, n_atoms = sources.shape
        potential, gradient = np.empty((n_sources, n_atoms)), np.empty((n_sources, n_atoms, 3))
        tensor = np.empty((n_atoms if with_tensor else 0, 3, 3))
        for structure in range(len(self.cells)):
            part = slice(self._offsets[structure], self._offsets[structure + 1])
            self._one_structure(
                structure, positions[part], sources[:, part], potential[:, part], gradient[:, part], tensor[part]
            )
        return potential, gradient, tensor

    def _influence(self, structure: int, with_tensor: bool) -> tuple[np.ndarray, np.ndarray]:
        kept = self._influences[structure]
        if kept is None or (with_tensor and len(kept[1]) == 0):
            cell, geometry = torch.from_numpy(self.cells[structure]), self.meshes[structure].tolist()
            parts = _influence(cell, geometry, self.alpha, self.exponent, with_tensor)
            kept = self._influences[structure] = tuple(part.numpy() for part in parts)
        return kept

    def _one_structure(self, structure, positions, sources, potential, gradient, tensor):
        *shape, order = self.meshes[structure].tolist()
        weights, slopes = spline_tables(order)
        to_mesh = np.linalg.inv(self.cells[structure]) * shape
        n_atoms = len(positions)
        corners, remainders = np.empty((n_atoms, 3), np.int64), np.empty((n_atoms, 3))
        by_plane, plane_offsets = np.empty(n_atoms, np.int64), np.empty(shape[0] + 1, np.int64)
        kernels.sort_by_plane(
            np.ascontiguousarray(positions), to_mesh, np.array(shape), corners, remainders, by_plane, plane_offsets
        )
        mesh = np.empty((shape[0], shape[1], shape[2] + kernels.PADDING))
        workers = get_threads()
        strength, tensor_strengths = self._influence(structure, len(tensor) > 0)

        def back(spectrum: np.ndarray, values: np.ndarray, derivatives: np.ndarray) -> None:
            kernels.pad(scipy.fft.irfftn(spectrum, s=shape, workers=workers, overwrite_x=True), mesh)
            kernels.collect(corners, remainders, by_plane, weights, slopes, mesh, values, derivatives)

        for index in range(len(sources)):
            charges = np.ascontiguousarray(sources[index])
            kernels.spread(corners, remainders, by_plane, plane_offsets, charges, weights, min(workers, shape[0]), mesh)
            spectrum = scipy.fft.rfftn(mesh[:, :, : shape[2]], workers=workers)
            derivatives = np.empty((n_atoms, 3))
            back(spectrum * strength, potential[index], derivatives)
            gradient[index] = derivatives @ to_mesh.T
        values = np.empty(n_atoms)
        for (a, b), component in zip(_COMPONENTS, tensor_strengths if len(tensor) else ()):
            back(spectrum * component, values, derivatives[:0])
            tensor[:, a, b] = tensor[:, b, a] = values


def from_mean(vectors: torch.Tensor, structure_index: torch.Tensor, n_structures: int) -> torch.Tensor:
    """Vectors (N, 3) of the atoms without their mean over each structure."""
    counts = torch.bincount(structure_index, minlength=n_structures)
    sums = vectors.new_zeros(n_structures, 3).index_add(0, structure_index, vectors)
    return vectors - (sums / counts[:, None])[structure_index]


def _fields_body(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    return ParticleMesh(cells, structure_index, geometry, alpha, exponent).fields(positions, sources, with_tensor)


def _points(
    positions: torch.Tensor, cell: torch.Tensor, shape: list[int], order: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Flat indices (N, order^3) of the mesh points of every atom, weights and their gradient (N, order^3, 3)."""
    sizes = torch.tensor(shape, device=cell.device)
    to_mesh = torch.linalg.inv(cell) * sizes
    u = positions @ to_mesh
    whole = u.detach().floor()
    values, slopes = [], []
    for table, out in zip(spline_tables(order), (values, slopes)):
        value = 0.0
        for coefficients in torch.from_numpy(table[:, :order]).to(u):
            value = value * (u - whole)[:, :, None] + coefficients
        out.extend(value.unbind(1))  # one (N, order) per axis
    corners = torch.remainder(whole.long(), sizes)
    steps = torch.arange(order, device=cell.device)
    x, y, z = torch.remainder(corners[:, :, None] + steps, sizes[:, None]).unbind(1)
    flat = (x[:, :, None, None] * shape[1] + y[:, None, :, None]) * shape[2] + z[:, None, None, :]

    def product(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return (a[:, :, None, None] * b[:, None, :, None] * c[:, None, None, :]).flatten(1)

    by_axis = [product(*(slopes[c] if c == axis else values[c] for c in range(3))) for axis in range(3)]
    return flat.flatten(1), product(*values), torch.stack(by_axis, dim=2) @ to_mesh.T


def _fields_reference(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    parts = []
    for structure in range(cells.shape[0]):
        atoms, cell, mesh = structure_index == structure, cells[structure], geometry[structure].tolist()
        *shape, order = mesh
        at, weights, slopes = _points(positions[atoms], cell, shape, order)
        strength, tensor_strengths = _influence(cell, mesh, alpha, exponent, with_tensor)
        potential, gradient = [], []
        for source in sources[:, atoms]:
            density = weights.new_zeros(math.prod(shape)).index_add(
                0, at.flatten(), (source[:, None] * weights).flatten()
            )
            spectrum = torch.fft.rfftn(density.reshape(shape))
            collected = torch.fft.irfftn(spectrum * strength, s=shape).flatten()[at]
            potential.append((collected * weights).sum(dim=1))
            gradient.append((collected[:, :, None] * slopes).sum(dim=1))
        tensor = positions.new_zeros(0, 3, 3)
        if with_tensor:
            fields = torch.fft.irfftn(spectrum * tensor_strengths, s=shape, dim=(1, 2, 3)).flatten(1)
            components = (fields[:, at] * weights).sum(dim=2)
            tensor = components.T[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3)
        parts.append((torch.stack(potential), torch.stack(gradient), tensor))
    potential, gradient, tensor = zip(*parts)
    return torch.cat(potential, 1), torch.cat(gradient, 1), torch.cat(tensor)


mesh_operator = long_range_operator("particle_mesh", _fields_body, _fields_reference)
