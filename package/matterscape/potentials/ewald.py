"""Ewald sums over the waves of a cell, for 1/r and every other inverse power.

References: Ewald, Ann. Phys. 369, 253 (1921); Williams, Acta Cryst. A 27, 452 (1971) for 1/r^p. Per-atom flux tensors:
the wave k adds q_i / 2 g_k A_i(k) [delta_ab - 2 k_a k_b (1/k^2 + 1/4 alpha^2)] for charges, with
A_i = Re[e^{-ik.r_i} S(k)].
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from matterscape.basis._lanes import LANES
from matterscape.potentials import _ewald_kernels as kernels
from matterscape.potentials._long_range_operator import long_range_operator
from matterscape.potentials.inverse_power import fourier, fourier_at_zero

# order of the second moments in the kernels: 11, 22, 33, 23, 13, 12
WAVES_PER_BLOCK = 512
_MOMENTS = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def wave_rows(cells: np.ndarray, cutoff: float) -> np.ndarray:
    """Rows of waves (R, 5), int64, that cover all waves up to a cut-off.

    Parameters
    ----------
    cells : array (B, 3, 3), Å
    cutoff : float
        Largest wave number in 1/Å.

    Returns
    -------
    array (R, 5)
        Structure, n1, n2, number of values 0, 1, ... of |n3|, and the index of the row's first wave.
    """
    reciprocals = 2 * math.pi * np.linalg.inv(cells).transpose(0, 2, 1)
    metrics = np.ascontiguousarray(reciprocals @ reciprocals.transpose(0, 2, 1))
    rows = np.empty((kernels.wave_rows(metrics, cutoff, np.empty((0, kernels.ROW), np.int64)), kernels.ROW), np.int64)
    kernels.wave_rows(metrics, cutoff, rows)
    return rows


def _waves(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Integer triplets (K, 3) of +n3, structures (K,) and multiplicities (K, 2) of +n3 and -n3 in the half space."""
    lengths = rows[:, 3]
    third = torch.arange(int(lengths.sum()), device=rows.device) - torch.repeat_interleave(rows[:, 4], lengths)
    structure, first, second = (torch.repeat_interleave(rows[:, column], lengths) for column in (0, 1, 2))
    counted = torch.ones(len(third), 2, dtype=torch.float64, device=rows.device)
    counted[third == 0, 1] = 0.0
    line = (first == 0) & (second == 0)
    counted[line, 1] = 0.0
    counted[line & (third == 0), 0] = 0.5  # the wave k = 0 is its own opposite
    return torch.stack([first, second, third], dim=1), structure, counted


def _strengths(
    cells: torch.Tensor, rows: torch.Tensor, alpha: float, exponent: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Wave vectors (K, 2, 3) of +n3 and -n3, their strengths and slopes (K, 2) over the volume."""
    triplets, structure, counted = _waves(rows)
    reciprocals = 2 * math.pi * torch.linalg.inv(cells).transpose(1, 2)
    triplets = torch.stack([triplets, triplets * triplets.new_tensor([1, 1, -1])], dim=1)
    vectors = torch.einsum("ksn,knx->ksx", triplets.to(cells.dtype), reciprocals[structure])
    zero = (triplets == 0).all(dim=2)
    squared = torch.where(zero, torch.ones_like(vectors[..., 0]), (vectors**2).sum(dim=2))
    strength, slope = fourier(squared, alpha, exponent)
    strength = torch.where(zero, torch.full_like(strength, fourier_at_zero(alpha, exponent)), strength)
    slope = torch.where(zero, torch.zeros_like(slope), slope)
    factor = counted.to(cells.dtype) / torch.linalg.det(cells).abs()[structure][:, None]
    return vectors, factor * strength, factor * slope


@dataclass(frozen=True)
class EwaldSum:
    """The waves of a batch of cells with their strengths, ready to be summed for any positions.

    Parameters
    ----------
    cells : array (B, 3, 3), float64, Å
    structure_index : array (N,), int64, sorted
    rows : array (R, 5), int64
        From :func:`wave_rows`.
    alpha : float, 1/Å
    exponent : int
    """

    cells: np.ndarray
    structure_index: np.ndarray
    rows: np.ndarray
    alpha: float
    exponent: int

    def __post_init__(self) -> None:
        n_structures = len(self.cells)
        counts = np.bincount(self.structure_index, minlength=n_structures)
        ends = counts.cumsum()
        per_structure = -(-counts // LANES)
        block_offsets = np.concatenate([[0], per_structure.cumsum()])
        structure = np.repeat(np.arange(n_structures), per_structure)
        first = (ends - counts)[structure] + LANES * (np.arange(len(structure)) - block_offsets[structure])
        atoms = np.arange(len(self.structure_index)) - (ends - counts)[self.structure_index]
        _, strengths, slopes = (
            part.numpy()
            for part in _strengths(torch.from_numpy(self.cells), torch.from_numpy(self.rows), self.alpha, self.exponent)
        )
        prepared = {
            "reciprocals": 2 * math.pi * np.linalg.inv(self.cells).transpose(0, 2, 1).copy(),
            "n_powers": np.array(
                [np.abs(self.rows[:, column]).max() + extra for column, extra in ((1, 1), (2, 1), (3, 0))]
            ),
            "blocks": np.stack([structure, first, ends[structure]], axis=1),
            "block_offsets": block_offsets,
            "row_offsets": np.searchsorted(self.rows[:, 0], np.arange(n_structures + 1)),
            "slots": block_offsets[self.structure_index] * LANES + atoms,  # place of every atom in the blocks
            "strengths": strengths,
            "slopes": slopes,
        }
        for name, value in prepared.items():
            object.__setattr__(self, f"_{name}", value)

    def fields(
        self, positions: np.ndarray, sources: np.ndarray, with_tensor: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Potential (C, N), gradient (C, N, 3) and tensor (N or 0, 3, 3) of the last source at the sites.

        ``positions`` (N, 3) and ``sources`` (C, N), float64.
        """
        n_blocks, n_atoms = len(self._blocks), len(positions)
        tables = np.empty((2 * n_blocks * int(self._n_powers.sum()), LANES))
        kernels.phase_tables(positions, self._reciprocals, self._blocks, self._n_powers, tables)
        potential, gradient = np.empty((len(sources), n_atoms)), np.empty((len(sources), n_atoms, 3))
        tensor = np.empty((0, 3, 3))
        factors = np.empty((len(self._strengths), 4))
        values, derivatives = np.empty((n_blocks, LANES)), np.empty((3 * n_blocks, LANES))
        reciprocals = self._reciprocals[self.structure_index]
        for index, source in enumerate(sources):
            last = with_tensor and index == len(sources) - 1
            charges = np.zeros(n_blocks * LANES)
            charges[self._slots] = source
            charges = charges.reshape(n_blocks, LANES)
            kernels.structure_factors(charges, tables, self._n_powers, self.rows, self._block_offsets, factors)
            coefficients = np.empty((len(factors), 20 if last else 8))
            kernels.site_coefficients(factors, self._strengths, self._slopes, self.rows, coefficients)
            moments = np.empty((6 * n_blocks if last else 0, LANES))
            kernels.site_sums(
                tables,
                self._n_powers,
                self.rows,
                self._row_offsets,
                self._blocks,
                coefficients,
                (0,) * last,
                values,
                derivatives,
                moments,
            )
            potential[index] = values.ravel()[self._slots]
            by_phase = derivatives.reshape(n_blocks, 3, LANES).transpose(0, 2, 1).reshape(-1, 3)[self._slots]
            gradient[index] = np.einsum("nc,ncx->nx", by_phase, reciprocals)
            if last:
                by_phase = moments.reshape(n_blocks, 6, LANES).transpose(0, 2, 1).reshape(-1, 6)[self._slots]
                tensor = reciprocals.transpose(0, 2, 1) @ by_phase[:, _MOMENTS] @ reciprocals
                tensor[:, np.arange(3), np.arange(3)] += potential[index][:, None]
        return potential, gradient, tensor

    def hessian(self, positions: np.ndarray, charges: np.ndarray) -> np.ndarray:
        """Second derivatives (3 N, 3 N) of 1/2 sum_i q_i v_i, in blocks of waves by matrix products.

        The block of atoms i and j is q_i q_j sum_k g_k k k^T Re[e^{ik.(r_i - r_j)}]; those with i itself make the sum
        over j vanish.
        """
        n_atoms = len(positions)
        vectors, strengths, _ = (
            part.numpy()
            for part in _strengths(torch.from_numpy(self.cells), torch.from_numpy(self.rows), self.alpha, self.exponent)
        )
        structure = np.repeat(self.rows[:, 0], self.rows[:, 3])
        result = np.zeros((n_atoms, 3, n_atoms, 3))
        for index in range(len(self.cells)):
            atoms = np.flatnonzero(self.structure_index == index)
            waves = vectors[structure == index].reshape(-1, 3)
            weights = np.sqrt(2 * np.maximum(strengths[structure == index].reshape(-1), 0.0))
            block = np.zeros((3 * len(atoms), 3 * len(atoms)))
            for start in range(0, len(waves), WAVES_PER_BLOCK):
                part = slice(start, start + WAVES_PER_BLOCK)
                phases = np.exp(1j * positions[atoms] @ waves[part].T) * charges[atoms, None]
                rows = (phases[:, None, :] * (weights[part, None] * waves[part]).T).reshape(3 * len(atoms), -1)
                block += rows.real @ rows.real.T + rows.imag @ rows.imag.T
            block = block.reshape(len(atoms), 3, len(atoms), 3)
            block[np.arange(len(atoms)), :, np.arange(len(atoms))] -= block.sum(axis=2)
            result[np.ix_(atoms, range(3), atoms, range(3))] = block
        return result.reshape(3 * n_atoms, 3 * n_atoms)


def _fields_body(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    return EwaldSum(cells, structure_index, geometry, alpha, exponent).fields(positions, sources, with_tensor)


def _fields_reference(positions, cells, sources, structure_index, geometry, alpha, exponent, with_tensor):
    vectors, strengths, slopes = _strengths(cells, geometry, alpha, exponent)
    _, wave_structure, _ = _waves(geometry)
    parts = []
    for structure in range(cells.shape[0]):
        atoms, waves = structure_index == structure, wave_structure == structure
        k, g, h = vectors[waves].flatten(0, 1), 2 * strengths[waves].flatten(), 2 * slopes[waves].flatten()
        phases = torch.polar(torch.ones_like(positions[:1, 0]), positions[atoms] @ k.T)  # (N, K)
        factors = sources[:, atoms].to(phases.dtype) @ phases  # (C, K)
        projected = phases * factors[:, None].conj()  # (C, N, K)
        potential = projected.real @ g
        gradient = -torch.einsum("cnk,k,kx->cnx", projected.imag, g, k)
        tensor = torch.einsum("nk,k,kx,ky->nxy", projected[-1].real, h, k, k)
        tensor = tensor + potential[-1][:, None, None] * torch.eye(3, dtype=k.dtype, device=k.device)
        parts.append((potential, gradient, tensor))
    potential, gradient, tensor = zip(*parts)
    return torch.cat(potential, 1), torch.cat(gradient, 1), torch.cat(tensor)[: len(positions) if with_tensor else 0]


ewald_operator = long_range_operator("ewald_reciprocal", _fields_body, _fields_reference)
