"""Numba loops of the cell list: periodic images, bins, and the search for neighbours.

Everything is in fractional coordinates of one structure, so that skewed cells need no special case: the distance of two
points along axis ``a`` is at least the difference of their fractions times the cell's height along ``a``.
"""

import numba
import numpy as np

# unsigned indices spare numba's test for negative ones
_U = np.uint64


@numba.njit(nogil=True, cache=True)
def wrap_and_count_images(positions, inverse, pbc, margins, fractions, wraps):
    """Wrap atoms into the cell; return how many periodic images lie within ``margins`` (fractions) of it."""
    total = 0
    for i in range(len(positions)):
        images = 1
        for a in range(3):
            f = positions[i, 0] * inverse[0, a] + positions[i, 1] * inverse[1, a] + positions[i, 2] * inverse[2, a]
            wraps[i, a] = 0
            if pbc[a]:
                wraps[i, a] = -np.int64(np.floor(f))
                f += wraps[i, a]
                images *= np.int64(np.floor(1 + margins[a] - f)) - np.int64(np.ceil(-margins[a] - f)) + 1
            fractions[i, a] = f
        total += images - 1
    return total


@numba.njit(nogil=True, cache=True)
def add_images(n_atoms, pbc, margins, fractions, owners, shifts):
    """Append the images within the margins to the arrays whose first ``n_atoms`` rows are the atoms themselves."""
    image = n_atoms
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for i in range(n_atoms):
        for a in range(3):
            if pbc[a]:
                low[a] = np.int64(np.ceil(-margins[a] - fractions[i, a]))
                high[a] = np.int64(np.floor(1 + margins[a] - fractions[i, a]))
        for s in range(low[0], high[0] + 1):
            for t in range(low[1], high[1] + 1):
                for u in range(low[2], high[2] + 1):
                    if s == 0 and t == 0 and u == 0:
                        continue
                    owners[image] = i
                    shifts[image, 0] = shifts[i, 0] + s
                    shifts[image, 1] = shifts[i, 1] + t
                    shifts[image, 2] = shifts[i, 2] + u
                    fractions[image, 0] = fractions[i, 0] + s
                    fractions[image, 1] = fractions[i, 1] + t
                    fractions[image, 2] = fractions[i, 2] + u
                    image += 1


@numba.njit(nogil=True, cache=True)
def sort_into_bins(fractions, lower, scale, n_bins, bins, starts, order):
    """Counting sort of points into bins; bin (x, y, z) holds ``order[starts[b]:starts[b + 1]]``, z running fastest."""
    starts[:] = 0
    for k in range(len(fractions)):
        label = 0
        for a in range(3):
            b = np.int64((fractions[k, a] - lower[a]) * scale[a])
            b = min(max(b, 0), n_bins[a] - 1)
            bins[k, a] = b
            label = label * n_bins[a] + b
        starts[label + 1] += 1
    for label in range(len(starts) - 1):
        starts[label + 1] += starts[label]
    filled = starts[:-1].copy()
    for k in range(len(fractions)):
        label = (bins[k, 0] * n_bins[1] + bins[k, 1]) * n_bins[2] + bins[k, 2]
        order[filled[label]] = k
        filled[label] += 1


@numba.njit(nogil=True, cache=True, parallel=True)
def search(n_atoms, points, sorted_points, order, labels, owners, shifts, bins, n_bins, reaches, starts, reach, half,
           counts, buffers, used, closest, closest_pair):  # fmt: skip
    """Labels of the neighbours of the first ``n_atoms`` points; chunk ``c`` of them writes to ``buffers[c]``.

    ``used[c]`` is what the chunk needs: the buffer was too short unless it is longer. With ``half`` each pair is kept
    once, by a chessboard rule that shares the work evenly; of an atom's own images one of each opposite two.
    """
    n_chunks = len(buffers)
    for chunk in numba.prange(n_chunks):
        used[chunk], closest[chunk] = _search_chunk(
            chunk * n_atoms // n_chunks, (chunk + 1) * n_atoms // n_chunks, points, sorted_points, order, labels,
            owners, shifts, bins, n_bins, reaches, starts, reach, half, counts, buffers[chunk], closest_pair[chunk],
        )  # fmt: skip


@numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _search_chunk(first, last, points, sorted_points, order, labels, owners, shifts, bins, n_bins, reaches, starts,
                  reach, half, counts, buffer, closest_pair):  # fmt: skip
    """Neighbours of the points ``first`` to ``last``; returns how many they are and the smallest squared distance.

    Candidates are written always and kept by raising their number: cheaper than branches that the processor cannot
    foresee.
    """
    near, squares = np.empty(len(order) + 1, np.int32), np.empty(len(order) + 1)
    n, end, limit, nearest = _U(0), _U(len(buffer) - 1), reach * reach, np.inf
    for i in range(first, last):
        before = n
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        low, high = max(bins[i, 2] - reaches[2], 0), min(bins[i, 2] + reaches[2], n_bins[2] - 1)
        n_near = _U(0)
        for p in range(max(bins[i, 0] - reaches[0], 0), min(bins[i, 0] + reaches[0], n_bins[0] - 1) + 1):
            for q in range(max(bins[i, 1] - reaches[1], 0), min(bins[i, 1] + reaches[1], n_bins[1] - 1) + 1):
                row = (p * n_bins[1] + q) * n_bins[2]
                for k in range(_U(starts[row + low]), _U(starts[row + high + 1])):
                    dx, dy, dz = sorted_points[k, 0] - x, sorted_points[k, 1] - y, sorted_points[k, 2] - z
                    squared = dx * dx + dy * dy + dz * dz
                    near[n_near], squares[n_near] = k, squared
                    n_near += _U(squared < limit)
        for m in range(n_near):
            j = order[near[m]]
            if j == i:
                continue
            owner = owners[j]
            if squares[m] < nearest:
                nearest = squares[m]
                closest_pair[0], closest_pair[1] = i, j
            keep = not half or ((i + owner) % 2 == 0) == (owner > i)
            if half and owner == i:
                keep = _is_forward(shifts[j, 0] - shifts[i, 0], shifts[j, 1] - shifts[i, 1], shifts[j, 2] - shifts[i, 2])
            buffer[min(n, end)] = labels[j]
            n += _U(keep)
        counts[i] = n - before
    return np.int64(n), nearest


@numba.njit(nogil=True, cache=True)
def _is_forward(s, t, u):
    """One of each two opposite shifts."""
    return s > 0 or (s == 0 and (t > 0 or (t == 0 and u >= 0)))


@numba.njit(nogil=True, cache=True)
def place_extended(positions, translations, owners, extended):
    """Positions of atoms and images: those of the owners plus constant translations."""
    for k in range(len(owners)):
        i = owners[k]
        for a in range(3):
            extended[k, a] = positions[i, a] + translations[k, a]


@numba.njit(nogil=True, cache=True)
def largest_displacements(positions, reference, maps, offsets, largest):
    """Largest squared displacement per structure beyond the affine map ``maps`` of the reference positions."""
    for structure in range(len(offsets) - 1):
        worst = 0.0
        for i in range(offsets[structure], offsets[structure + 1]):
            squared = 0.0
            for a in range(3):
                d = positions[i, a]
                for b in range(3):
                    d -= reference[i, b] * maps[structure, b, a]
                squared += d * d
            worst = max(worst, squared)
        largest[structure] = worst
