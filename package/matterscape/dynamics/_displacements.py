"""Sums of squared displacements over all time origins, by fast Fourier transform, from files larger than memory."""

import mmap
from collections.abc import Iterator

import numpy as np
from scipy import fft

from matterscape.kernels import get_threads

NUMBERS_PER_BLOCK = 2**22  # that are copied out of a long array at once
_BYTES_MAPPED = 2**26  # of a memory map that may be in use before the system gets the pages back


def atom_blocks(positions: np.ndarray, numbers: int = NUMBERS_PER_BLOCK) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of atoms, each as (n, 3, n_times) float64 with time running fastest."""
    n_times, n_atoms, _ = positions.shape
    width = max(1, numbers // (3 * n_times))
    height = max(1, _BYTES_MAPPED // (3 * n_atoms * positions.itemsize))
    for start in range(0, n_atoms, width):
        atoms = slice(start, min(start + width, n_atoms))
        copied = np.empty((n_times, atoms.stop - start, 3), positions.dtype)
        for first in range(0, n_times, height):  # the pages of a whole pass would be those of the whole file
            times = slice(first, first + height)
            copied[times] = positions[times, atoms]
            release(positions)
        yield atoms, np.ascontiguousarray(copied.transpose(1, 2, 0), dtype=np.float64)


def time_blocks(positions: np.ndarray, numbers: int = NUMBERS_PER_BLOCK) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of times, each as (n, n_atoms, 3) float64, beginning with the last time of the block before."""
    n_times, n_atoms, _ = positions.shape
    height = max(1, numbers // (3 * n_atoms))
    for start in range(0, n_times, height):
        times = slice(max(start - 1, 0), min(start + height, n_times))
        rows = np.array(positions[times], dtype=np.float64)
        release(positions)
        yield times, rows


def release(array: np.ndarray) -> None:
    """Let the system take back the pages of a read-only memory map; elsewhere nothing happens."""
    base, mode = array, None
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", mode)
        base = base.base
    if mode == "r" and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def transform_length(n_times: int) -> int:
    """Length of transforms in which a series of n_times does not overlap its own images."""
    return fft.next_fast_len(2 * n_times - 1, real=True)


def transform(series: np.ndarray) -> np.ndarray:
    """Transform of real series (..., n_times), padded with zeros."""
    return fft.rfft(series, transform_length(series.shape[-1]), workers=get_threads())


def displacement_sums(squares: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Sum of squared displacements over all origins, from what can be added up over many series before.

        sum_k |x(k + m) - x(k)|^2 = sum_k [x(k + m)^2 + x(k)^2] - 2 sum_k x(k) x(k + m)

    Parameters
    ----------
    squares : array (..., n_times)
        x(k)^2, or x(k) y(k) for the product of two displacements.
    power : array (..., n_frequencies)
        |X|^2, or the real part of X conj(Y).

    Returns
    -------
    array (..., n_times)
        At lags 0, 1, ...

    Source: V. Calandrini et al., Collection SFN 12, 201 (2011), eqs. 43-49 (nMoldyn).
    """
    n_times = squares.shape[-1]
    sums = np.zeros((*squares.shape[:-1], n_times + 1))
    np.cumsum(squares, axis=-1, out=sums[..., 1:])
    ends = sums[..., :0:-1] + sums[..., -1:] - sums[..., :-1]
    correlations = fft.irfft(power, transform_length(n_times), workers=get_threads())[..., :n_times]
    result = ends - 2 * correlations
    result[..., 0] = 0.0
    return result
