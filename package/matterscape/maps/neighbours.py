"""Which environments or structures resemble each other most, and how they group."""

from dataclasses import dataclass

import numpy as np

from matterscape.uq.arrays import as_array, feature_matrix

METRICS = ("euclidean", "cosine", "kernel")


@dataclass(frozen=True)
class Neighbours:
    """Nearest samples of each query, the nearest first.

    Attributes
    ----------
    indices : integer array (n_queries, n_neighbours)
    distances : array (n_queries, n_neighbours)
    """

    indices: np.ndarray
    distances: np.ndarray


def nearest(
    features, n_neighbours: int = 10, *, queries=None, metric: str = "euclidean", exponent: float = 2.0
) -> Neighbours:
    """Nearest samples of all samples, or of the chosen ones; no sample is its own neighbour.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
    n_neighbours : int
    queries : integer array (n_queries,), optional
        Rows to find the neighbours of; all by default.
    metric : "euclidean", "cosine" or "kernel"
        |x - x'|; 1 - u with u the cosine of the angle between x and x'; or sqrt(2 - 2 u^exponent), the distance that
        goes with the normalised kernel u^exponent, where u < 0 counts as 0.
    exponent : float
        Of the kernel, positive.

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        If there are fewer other samples than ``n_neighbours``, a query is out of range, or an option is unknown.
    """
    x = feature_matrix(features)
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if not exponent > 0:
        raise ValueError(f"exponent must be positive, got {exponent}")
    if not 1 <= n_neighbours < len(x):
        raise ValueError(f"n_neighbours must lie between 1 and {len(x) - 1}, got {n_neighbours}")
    rows = np.arange(len(x)) if queries is None else as_array(queries).reshape(-1)
    if rows.dtype.kind not in "iu" or rows.size == 0 or rows.min() < 0 or rows.max() >= len(x):
        raise ValueError(f"queries must hold row numbers from 0 to {len(x) - 1}, got {queries}")

    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=n_neighbours + 1, metric="euclidean" if metric == "euclidean" else "cosine")
    distances, indices = search.fit(x).kneighbors(x[rows])
    # Drop the query itself; if duplicates have pushed it out of the list, drop the last one.
    itself = indices == rows[:, None]
    itself[~itself.any(axis=1), -1] = True
    shape = (len(rows), n_neighbours)
    distances, indices = distances[~itself].reshape(shape), indices[~itself].reshape(shape)
    if metric == "kernel":
        distances = np.sqrt(2.0 - 2.0 * np.clip(1.0 - distances, 0.0, 1.0) ** exponent)
    return Neighbours(indices, distances)


def cluster(features, n_clusters: int | None = None, *, seed: int = 0) -> np.ndarray:
    """Group samples: k-means for a given number of clusters, else HDBSCAN, which finds the number itself.

    Parameters
    ----------
    features : array or tensor (n_samples, n_features)
        Best a few coordinates of a projection.
    n_clusters : int, optional
    seed : int
        Of k-means.

    Returns
    -------
    integer array (n_samples,)
        Cluster of each sample; -1 for samples that HDBSCAN leaves out.

    Raises
    ------
    ValueError
        If ``n_clusters`` is not between 1 and the number of samples.
    """
    x = feature_matrix(features)
    if n_clusters is None:
        from sklearn.cluster import HDBSCAN

        smallest = min(len(x), max(5, len(x) // 50))
        return HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(x) if len(x) > 1 else np.zeros(1, dtype=int)
    if not 1 <= n_clusters <= len(x):
        raise ValueError(f"n_clusters must lie between 1 and the number of samples {len(x)}, got {n_clusters}")
    from sklearn.cluster import KMeans

    return KMeans(n_clusters, random_state=seed, n_init=10).fit_predict(x)
