"""Symmetry and acoustic sum rule of third-order force constants that come from elsewhere."""

import warnings
from dataclasses import replace

import numpy as np

from matterscape.potentials.force_constants import group_pairs
from matterscape.transport.lattice.triplets import TripletForceConstants

SWEEPS = 500
ACCURACY = 1e-8  # largest sum left, over the largest block


def impose_sum_rule(triplets: TripletForceConstants) -> TripletForceConstants:
    """The nearest third-order force constants that are symmetric and whose sums over third atoms vanish.

    Projections onto either property in turn converge to the point that has both and is nearest to the start (J. von
    Neumann, Functional Operators II (1950)). Only triplets that are there, in any order of their atoms, are changed.

    Parameters
    ----------
    triplets : TripletForceConstants

    Warns
    -----
    UserWarning
        If sums remain after 500 turns.
    """
    exchanged = _exchanged(triplets)
    twice = _moved(_moved(triplets)), _moved(_moved(exchanged))
    for other in (exchanged, _moved(triplets), _moved(exchanged), *twice):
        triplets = triplets + 0.0 * other
    exchange, move = _places(triplets, *_exchanged_keys(triplets)), _places(triplets, *_moved_keys(triplets))
    order, starts = group_pairs(triplets.first, triplets.second, triplets.second_shifts, triplets.structures.n_atoms)
    sizes = np.diff(starts)
    blocks = triplets.blocks
    largest = np.abs(blocks).max()
    for _ in range(SWEEPS):
        # the six orders are products of exchanging the last two atoms and moving the first one on
        blocks = (blocks + blocks[exchange].swapaxes(2, 3)) / 2
        once = blocks[move].transpose(0, 2, 3, 1)
        blocks = (blocks + once + once[move].transpose(0, 2, 3, 1)) / 3
        sums = np.add.reduceat(blocks[order], starts[:-1], axis=0)
        if np.abs(sums).max() <= ACCURACY * largest:
            break
        shares = np.repeat(sums / sizes[:, None, None, None], sizes, axis=0)
        blocks = blocks.copy()
        blocks[order] -= shares
    else:
        warnings.warn(
            f"sums of third-order force constants up to {np.abs(sums).max():.2g} eV/Å^3 are left after {SWEEPS} turns",
            stacklevel=2,
        )
    return replace(triplets, blocks=blocks)


def _exchanged_keys(t: TripletForceConstants) -> tuple[np.ndarray, ...]:
    """First, third, second."""
    return t.first, t.third, t.second, t.third_shifts, t.second_shifts


def _moved_keys(t: TripletForceConstants) -> tuple[np.ndarray, ...]:
    """Third, first, second, with the third in the home cell."""
    return t.third, t.first, t.second, -t.third_shifts, t.second_shifts - t.third_shifts


def _exchanged(triplets: TripletForceConstants) -> TripletForceConstants:
    blocks = triplets.blocks.swapaxes(2, 3)
    return TripletForceConstants.from_terms(*_exchanged_keys(triplets), blocks, triplets.structures)


def _moved(triplets: TripletForceConstants) -> TripletForceConstants:
    blocks = triplets.blocks.transpose(0, 3, 1, 2)
    return TripletForceConstants.from_terms(*_moved_keys(triplets), blocks, triplets.structures)


def _places(triplets: TripletForceConstants, *keys: np.ndarray) -> np.ndarray:
    """Where in the triplets, which hold them all, the given ones stand."""
    own = triplets.first, triplets.second, triplets.third, triplets.second_shifts, triplets.third_shifts
    both = np.concatenate([np.column_stack(own), np.column_stack(keys)])
    inverse = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    size = len(triplets.first)
    lookup = np.empty(size, np.int64)
    lookup[inverse[:size]] = np.arange(size)
    return lookup[inverse[size:]]
