"""Diverse subsets of samples or of features: farthest point sampling and CUR decomposition (scikit-matter)."""

import numpy as np

from matterscape.uq.arrays import feature_matrix

EXACT_SIZE = 20_000_000  # entries of a matrix that is still searched without a sketch
SKETCH_WIDTH = 512


def select(
    features, n_select: int, *, method: str = "fps", axis: str = "samples", seed: int = 0, sketch: bool | None = None
) -> np.ndarray:
    """Indices of a diverse subset of the rows or of the columns of a feature matrix.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
        float32 halves the memory.
    n_select : int
        Number of rows or columns to choose.
    method : "fps" or "cur"
        Farthest point sampling (each choice is as far as possible from all before it, starting with a random one), or
        CUR (each choice has the greatest weight in the leading singular vector of what remains).
    axis : "samples" or "features"
    seed : int
    sketch : bool, optional
        Replace the vectors that are compared by random projections of 512 components, which keeps distances to a few
        per cent. By default only for matrices of more than 2e7 entries, which would take minutes.

    Returns
    -------
    integer array (n_select,)
        In the order of choice; the first m are the selection of size m.

    Raises
    ------
    ValueError
        If ``n_select`` is not between 1 and the number of candidates, or an option is unknown.

    References
    ----------
    Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).
    """
    if method not in ("fps", "cur"):
        raise ValueError(f"method must be 'fps' or 'cur', got {method!r}")
    if axis not in ("samples", "features"):
        raise ValueError(f"axis must be 'samples' or 'features', got {axis!r}")
    matrix = feature_matrix(features)
    candidates = matrix if axis == "samples" else matrix.T  # (candidates, components)
    if not 1 <= n_select <= len(candidates):
        raise ValueError(f"n_select must lie between 1 and the number of {axis} {len(candidates)}, got {n_select}")
    if len(candidates) == 1:
        return np.zeros(1, dtype=int)
    if sketch or (sketch is None and matrix.size > EXACT_SIZE):
        candidates = _sketch(candidates, seed)
    if candidates.shape[1] == 1:  # scikit-matter wants two columns
        candidates = np.concatenate([candidates, np.zeros_like(candidates)], axis=1)

    from skmatter.sample_selection import CUR, FPS

    if method == "fps":
        selector = FPS(n_to_select=n_select, initialize="random", random_state=seed)
    else:
        selector = CUR(n_to_select=n_select, random_state=seed)
    return np.asarray(selector.fit(candidates).selected_idx_[:n_select], dtype=int)


def _sketch(candidates: np.ndarray, seed: int) -> np.ndarray:
    if candidates.shape[1] <= SKETCH_WIDTH:
        return candidates
    from sklearn.random_projection import GaussianRandomProjection

    return GaussianRandomProjection(SKETCH_WIDTH, random_state=seed).fit_transform(candidates)
