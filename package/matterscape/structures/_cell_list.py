"""Numba loops of the cell list: periodic images, bins, and the search for neighbours.

Everything is in fractional coordinates of one structure, so that skewed cells need no special case: the distance of two
points along axis ``a`` is at least the difference of their fractions times the cell's height along ``a``.
"""

import numba
import numpy as np

# unsigned indices spare numba's test for negative ones
_U = np.uint64


@numba.njit(nogil=True, cache=True)
def wrap_and_count_images(positions, inverse, pbc, margins, half, fractions, wraps):
    """Wrap atoms into the cell, fractions below 1; return how many periodic images :func:`add_images` will find."""
    total = 0
    for i in range(len(positions)):
        images = 1
        for a in range(3):
            f = positions[i, 0] * inverse[0, a] + positions[i, 1] * inverse[1, a] + positions[i, 2] * inverse[2, a]
            wraps[i, a] = 0
            if pbc[a]:
                wraps[i, a] = -np.int64(np.floor(f))
                f += wraps[i, a]
                if f >= 1.0:  # the sum was rounded
                    f = 0.0
                    wraps[i, a] -= 1
                low, high = _images(f, margins[a], half and a == 0)
                images *= high - low + 1
            fractions[i, a] = f
        total += images - 1
    return total


@numba.njit(nogil=True, cache=True)
def _images(fraction, margin, forward):
    """First and last whole shift that leave a fraction within the margin; ``forward``: without the negative ones."""
    low = 0 if forward else np.int64(np.ceil(-margin - fraction))
    return low, np.int64(np.floor(1 + margin - fraction))


@numba.njit(nogil=True, cache=True)
def add_images(n_atoms, pbc, margins, half, cell, fractions, owners, shifts, points):
    """Append the images within the margins to the arrays whose first ``n_atoms`` rows are the atoms themselves.

    With ``half`` those that would precede every atom along the first axis are left out.
    """
    image = n_atoms
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for i in range(n_atoms):
        for a in range(3):
            if pbc[a]:
                low[a], high[a] = _images(fractions[i, a], margins[a], half and a == 0)
        for s in range(low[0], high[0] + 1):
            for t in range(low[1], high[1] + 1):
                for u in range(low[2], high[2] + 1):
                    if s == 0 and t == 0 and u == 0:
                        continue
                    owners[image] = i
                    for a, shift in enumerate((s, t, u)):
                        shifts[image, a] = shifts[i, a] + shift
                        fractions[image, a] = fractions[i, a] + shift
                        points[image, a] = points[i, a] + s * cell[0, a] + t * cell[1, a] + u * cell[2, a]
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
def search(points, fractions, bins, sorted_points, sorted_fractions, labels, own_labels, n_bins, reaches, starts, reach,
           half, counts, buffers, used, closest):  # fmt: skip
    """Labels of the neighbours of every atom; chunk ``c`` of the atoms writes to ``buffers[c]``.

    ``used[c]`` is what the chunk needs: the buffer was too short unless it is longer. ``closest[c]`` is the smallest
    squared distance. With ``half`` each pair is kept once: with the atom whose partner comes later along the first
    axis; the second and the third decide where both are level. Seen from the other atom the partner comes earlier, so
    only one of them keeps the pair.
    """
    n_atoms, n_chunks = len(own_labels), len(buffers)
    for chunk in numba.prange(n_chunks):
        used[chunk], closest[chunk] = _search_chunk(
            chunk * n_atoms // n_chunks, (chunk + 1) * n_atoms // n_chunks, points, fractions, bins, sorted_points,
            sorted_fractions, labels, own_labels, n_bins, reaches, starts, reach * reach, half, counts, buffers[chunk],
        )  # fmt: skip


@numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _search_chunk(first, last, points, fractions, bins, sorted_points, sorted_fractions, labels, own_labels, n_bins,
                  reaches, starts, limit, half, counts, buffer):  # fmt: skip
    """Neighbours of the atoms ``first`` to ``last``; returns how many they are and the smallest squared distance.

    Candidates are written always and kept by raising their number: cheaper than branches that the processor cannot
    foresee.
    """
    n, end, closest = _U(0), _U(len(buffer) - 1), np.inf
    for i in range(first, last):
        before, own = n, own_labels[i]
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        f, g, h = fractions[i, 0], fractions[i, 1], fractions[i, 2]
        level, low, high = bins[i, 0], max(bins[i, 2] - reaches[2], 0), min(bins[i, 2] + reaches[2], n_bins[2] - 1)
        for p in range(level if half else max(level - reaches[0], 0), min(level + reaches[0], n_bins[0] - 1) + 1):
            for q in range(max(bins[i, 1] - reaches[1], 0), min(bins[i, 1] + reaches[1], n_bins[1] - 1) + 1):
                row = (p * n_bins[1] + q) * n_bins[2]
                for k in range(_U(starts[row + low]), _U(starts[row + high + 1])):
                    dx, dy, dz = sorted_points[k, 0] - x, sorted_points[k, 1] - y, sorted_points[k, 2] - z
                    squared = dx * dx + dy * dy + dz * dz
                    label = labels[k]
                    wanted = label != own
                    if half and p == level:
                        s, t, u = sorted_fractions[k, 0], sorted_fractions[k, 1], sorted_fractions[k, 2]
                        later = (u > h) | ((u == h) & (label > own))
                        wanted = (s > f) | ((s == f) & ((t > g) | ((t == g) & later)))
                    closest = min(closest, squared if wanted else np.inf)
                    buffer[min(n, end)] = label
                    n += _U(wanted & (squared < limit))
        counts[i] = n - before
    return np.int64(n), closest


@numba.njit(nogil=True, cache=True)
def whole_cells(shifts, cells, structure_index, owners, translations):
    """``translations`` (M, 3): the shifts in Å."""
    for k in range(len(owners)):
        structure = structure_index[owners[k]]
        for x in range(3):
            total = 0.0
            for a in range(3):
                total += shifts[k, a] * cells[structure, a, x]
            translations[k, x] = total


@numba.njit(nogil=True, cache=True)
def place_extended(positions, translations, owners, extended):
    """Positions of atoms and images: those of the owners plus constant translations."""
    for k in range(len(owners)):
        i = owners[k]
        for a in range(3):
            extended[k, a] = positions[i, a] + translations[k, a]


@numba.njit(nogil=True, cache=True)
def follow(positions, reference, limit, translations, owners, extended):
    """As :func:`place_extended`, unless an atom is further than ``limit`` from its reference, squared; True if not."""
    worst = 0.0
    for i in range(len(positions)):
        squared = 0.0
        for a in range(3):
            d = positions[i, a] - reference[i, a]
            squared += d * d
            extended[i, a] = positions[i, a] + translations[i, a]
        worst = max(worst, squared)
    if worst > limit:
        return False
    for k in range(len(positions), len(owners)):
        i = owners[k]
        for a in range(3):
            extended[k, a] = positions[i, a] + translations[k, a]
    return True


@numba.njit(nogil=True, cache=True)
def equal(a, b):
    """Whether two arrays (B, 3, 3) are the same; numpy takes longer for a few cells."""
    for structure in range(len(a)):
        for x in range(3):
            for y in range(3):
                if a[structure, x, y] != b[structure, x, y]:
                    return False
    return True


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
