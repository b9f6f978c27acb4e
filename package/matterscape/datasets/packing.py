"""Random points that keep their distance."""

import numpy as np
from scipy.spatial import cKDTree


def spread_points(n: int, edge: float, distance: float, generator: np.random.Generator) -> np.ndarray:
    """Random points in a periodic cube, pushed apart until all are ``distance`` from each other."""
    points = generator.uniform(0, edge, (n, 3))
    while True:
        pairs = cKDTree(points, boxsize=edge).query_pairs(distance, output_type="ndarray")
        if not len(pairs):
            return points
        vectors = points[pairs[:, 1]] - points[pairs[:, 0]]
        vectors -= edge * np.round(vectors / edge)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # a little beyond the aim, and a little noise so that no arrangement is jammed for ever
        push = 0.5 * (1.02 * distance - lengths) * vectors / lengths + generator.normal(scale=0.01, size=vectors.shape)
        np.add.at(points, pairs[:, 1], push)
        np.add.at(points, pairs[:, 0], -push)
        points %= edge
