"""Crystalline or not: how alike the surroundings of neighbouring atoms are oriented."""

import numpy as np
from scipy import sparse

from matterscape.basis import spherical_harmonics
from matterscape.dynamics.analysis import Frames
from matterscape.structures import Structures


def crystalline_share(frames: Frames, cutoff: float, *, degree: int = 6, threshold: float = 0.5) -> np.ndarray:
    """Share of the neighbours of each atom whose own surroundings are oriented like the atom's.

    Two neighbours i and j are alike if q_i . q_j / (|q_i| |q_j|) > threshold, where the vector q_i holds the means of
    Y_lm over the neighbours of i. In a crystal nearly all neighbours are, in a liquid few.

    Parameters
    ----------
    frames : Structures, ase.Atoms or iterable of ase.Atoms
    cutoff : float
        Neighbours are closer than this, in Å.
    degree : int
        The l.
    threshold : float
        From -1 to 1.

    Returns
    -------
    array (n_atoms,)
        From 0 to 1; zero for an atom without neighbours.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source: P. R. ten Wolde, M. J. Ruiz-Montero, D. Frenkel, J. Chem. Phys. 104, 9932 (1996), eqs. 5-6, with neighbours
    counted relative to their number.
    """
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold!r}; accepted is a number from -1 to 1")
    structures = frames if isinstance(frames, Structures) else Structures.from_ase(frames)
    pairs = structures.pairs(cutoff)
    offsets, first, second = pairs.offsets.numpy(), pairs.first.numpy(), pairs.second.numpy()
    harmonics = spherical_harmonics(pairs.vectors.detach().double(), degree).numpy()[:, degree**2 :]
    add = sparse.csr_matrix((np.ones(len(second)), np.arange(len(second)), offsets), (structures.n_atoms, len(second)))
    sums = add @ harmonics
    sums = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)
    alike = np.einsum("pm,pm->p", sums[first], sums[second]) > threshold
    return np.bincount(first[alike], minlength=structures.n_atoms) / np.maximum(np.diff(offsets), 1)
