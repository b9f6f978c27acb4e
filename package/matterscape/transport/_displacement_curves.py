"""What one trajectory says about displacements: curves of every block of it, single atoms' and collective ones."""

from typing import NamedTuple

import numpy as np

from matterscape.dynamics._displacements import atom_blocks, displacement_sums, time_blocks, transform
from matterscape.transport.trajectories import UnwrappedTrajectory, refuse_jumps

N_SPREAD_LAGS = 12


class Curves(NamedTuple):
    """Displacements over each lag m, averaged over all origins of a block.

    Attributes
    ----------
    single : array (n_blocks, n_lags, S, 3)
        <(x_i(k + m) - x_i(k))^2> of the atoms i of each species, along each axis, in Å^2.
    collective : array (n_blocks, n_lags, S, S, 3)
        <(X_a(k + m) - X_a(k)) (X_b(k + m) - X_b(k))> of X_a = sum of x_i over the atoms of species a, in Å^2.
    spread_lags : array (n,), int64
        Some of the lags.
    spread : array (n, S, 3)
        Variance over the origins k, at these lags, of the mean of (x_i(k + m) - x_i(k))^2 over the atoms of a species.
    """

    single: np.ndarray
    collective: np.ndarray
    spread_lags: np.ndarray
    spread: np.ndarray


def species_displacements(
    trajectory: UnwrappedTrajectory, frame_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Summed displacements of each species since the first row (S, 3, n_times), and those of the frame (3, n_times).

    The frame moves with the mean displacement of the atoms, weighted by ``frame_weights`` (n_atoms,); without weights
    it rests.

    Raises
    ------
    ValueError
        If a position is not finite, or the trajectory was wrapped into its cell.
    """
    positions, labels = trajectory.positions, trajectory.labels
    n_atoms, n_species = len(labels), len(trajectory.elements)
    weights = np.zeros((n_species + 1, n_atoms))
    weights[labels, np.arange(n_atoms)] = 1.0
    if frame_weights is not None:
        weights[-1] = frame_weights / frame_weights.sum()
    first = np.array(positions[0], dtype=np.float64)
    sums = np.empty((trajectory.n_times, n_species + 1, 3))
    for times, rows in time_blocks(positions):
        refuse_jumps(rows, times.start, trajectory.cell)
        rows -= first
        sums[times] = np.einsum("sn,tnx->tsx", weights, rows, optimize=True)
    sums = sums.transpose(1, 2, 0)
    frame = sums[-1]
    counts = np.bincount(labels, minlength=n_species)
    return np.ascontiguousarray(sums[:-1] - counts[:, None, None] * frame), np.ascontiguousarray(frame)


def displacement_curves(
    trajectory: UnwrappedTrajectory, frame_weights: np.ndarray | None, n_blocks: int, block_length: int
) -> Curves:
    """Curves of the first ``n_blocks * block_length`` rows, up to lags of half a block."""
    collective, frame = species_displacements(trajectory, frame_weights)
    labels, n_species = trajectory.labels, len(trajectory.elements)
    counts = np.bincount(labels, minlength=n_species)
    n_rows, n_lags = n_blocks * block_length, block_length // 2 + 1
    blocks = [slice(n * block_length, (n + 1) * block_length) for n in range(n_blocks)]
    squares = np.zeros((n_blocks, n_species, 3, block_length))
    power = np.zeros((n_blocks, n_species, 3, transform(squares[0, 0, 0]).shape[-1]))
    lags = np.unique(np.geomspace(1, n_lags - 1, N_SPREAD_LAGS).astype(np.int64))
    moved = [np.zeros((n_species, 3, n_rows - lag)) for lag in lags]
    for atoms, series in atom_blocks(trajectory.positions[:n_rows]):
        series -= frame[:, :n_rows]
        for s in np.unique(labels[atoms]):
            own = series[labels[atoms] == s]
            for b, block in enumerate(blocks):
                part = own[..., block] - own[..., block].mean(axis=-1, keepdims=True)
                squares[b, s] += np.einsum("axt,axt->xt", part, part)
                spectrum = transform(part)
                power[b, s] += np.einsum("axf,axf->xf", spectrum.real, spectrum.real)
                power[b, s] += np.einsum("axf,axf->xf", spectrum.imag, spectrum.imag)
            for lag, square in zip(lags, moved):
                move = own[..., lag:] - own[..., :-lag]
                square[s] += np.einsum("axt,axt->xt", move, move)
    origins = np.arange(block_length, 0, -1)[:n_lags]
    single = displacement_sums(squares, power)[..., :n_lags] / (origins * counts[:, None, None])
    spread = np.stack([(square / counts[:, None, None]).var(axis=-1, ddof=1) for square in moved])
    together = np.stack([_products(collective[..., block])[..., :n_lags] / origins for block in blocks])
    return Curves(single.transpose(0, 3, 1, 2), together.transpose(0, 4, 1, 2, 3), lags, spread)


def _products(series: np.ndarray) -> np.ndarray:
    """Sums over origins of the products of two displacements, (S, S, 3, n_times) from (S, 3, n_times)."""
    series = series - series.mean(axis=-1, keepdims=True)
    spectrum = transform(series)
    power = np.einsum("axf,bxf->abxf", spectrum, spectrum.conj()).real
    return displacement_sums(np.einsum("axt,bxt->abxt", series, series), power)
