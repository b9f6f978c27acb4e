"""Periodic images of pairs in order of distance, and the triangles of three atoms that are shortest."""

import itertools

import numba
import numpy as np

from matterscape.kernels import launch


def ordered_images(
    first: np.ndarray, second: np.ndarray, box: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of each pair of atoms, nearest first.

    Parameters
    ----------
    first, second : ndarray (n, 3), (N, 3)
        Positions in Å.
    box : ndarray (3, 3)
        Cell vectors as rows.
    reach : float
        All images nearer than this many times the longest vector of the box's Wigner-Seitz cell are among those
        returned: 1 for nearest images; 2 for the corners of triangles of least perimeter, by the triangle inequality.

    Returns
    -------
    shifts : ndarray (n, N, I, 3), int64
        Whole box vectors added to the second atom.
    vectors : ndarray (n, N, I, 3)
        From the first to the image of the second, in Å.
    distances : ndarray (n, N, I)
    """
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3))) @ box
    longest = reach * np.linalg.norm(corners, axis=1).max()
    inverse = np.linalg.inv(box)
    counts = np.ceil(longest * np.linalg.norm(inverse, axis=0) + 0.5).astype(int)
    boxes = np.array(list(itertools.product(*(range(-n, n + 1) for n in counts))))
    direct = second[None] - first[:, None]
    shifts = -np.round(direct @ inverse).astype(np.int64)[:, :, None] + boxes
    vectors = direct[:, :, None] + shifts @ box
    distances = np.linalg.norm(vectors, axis=3)
    order = np.argsort(distances, axis=2, kind="stable")
    order = order[:, :, : int((distances <= longest + 1e-6).sum(axis=2).max())]
    return (
        np.take_along_axis(shifts, order[..., None], axis=2),
        np.take_along_axis(vectors, order[..., None], axis=2),
        np.take_along_axis(distances, order, axis=2),
    )


def shortest_triangles(
    triplets: np.ndarray, vectors: np.ndarray, distances: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images that make the triangles of three atoms shortest in perimeter.

    Parameters
    ----------
    triplets : ndarray (T, 3), int64
        Number of the first atom, and of the second and third, in ``vectors``.
    vectors, distances : ndarray
        Of :func:`ordered_images` with a reach of 2.
    tolerance : float
        Perimeters that agree to this many Å count as equal.

    Returns
    -------
    numbers : ndarray (S,), int64
        Triplet that each triangle belongs to, ascending.
    places : ndarray (S, 2), int64
        Images of its second and third atom.
    shares : ndarray (S,)
        One over the number of equally short triangles.
    """
    size = 0
    triplets = np.ascontiguousarray(triplets, dtype=np.int64)
    with launch():
        for _ in range(2):  # first count, then write
            numbers, places, shares = np.empty(size, np.int64), np.empty((size, 2), np.int64), np.empty(size)
            size = _scan_triangles(triplets, vectors, distances, tolerance, numbers, places, shares)
    return numbers, places, shares


@numba.njit(nogil=True, cache=True)
def _scan_triangles(triplets, vectors, distances, tolerance, numbers, places, shares):
    """Count the triangles of least perimeter; where there is room, write triplet, images and share of each."""
    n_images = distances.shape[2]
    count = 0
    for t in range(len(triplets)):
        i, j, k = triplets[t]
        least = np.inf
        begin = count
        for turn in range(2):  # first the least perimeter, then the images that have it
            for a in range(n_images):
                if 2 * distances[i, j, a] > least + tolerance:
                    break
                for b in range(n_images):
                    if 2 * distances[i, k, b] > least + tolerance:
                        break
                    side = 0.0
                    for x in range(3):
                        side += (vectors[i, j, a, x] - vectors[i, k, b, x]) ** 2
                    perimeter = distances[i, j, a] + distances[i, k, b] + np.sqrt(side)
                    if turn == 0:
                        least = min(least, perimeter)
                    elif perimeter <= least + tolerance:
                        if count < len(numbers):
                            numbers[count], places[count, 0], places[count, 1] = t, a, b
                        count += 1
        if count <= len(numbers):
            shares[begin:count] = 1 / (count - begin)
    return count
