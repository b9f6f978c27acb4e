"""Numba loops of the fourfold random network: Keating energy, its exact line search, bond switches, rings.

A network is held as ``neighbours (N, 4)`` and ``images (N, 4, 3)``: slot ``k`` of atom ``i`` is the bond to atom
``neighbours[i, k]`` displaced by ``images[i, k]`` whole edges of the orthorhombic cell. The energy of atom ``i`` is

    (3/32) (alpha/d^2) sum_k (r_k^2 - d^2)^2 + (3/8) (beta/d^2) sum_{k<l} (r_k . r_l + d^2/3)^2,

half of each of its four bonds and all of its six angles. Along a straight line of displacements every ``r_k . r_l`` is
a quadratic polynomial and hence the energy a quartic one: its minimum on the line is found exactly from one pass.
"""

import math

import numba
import numpy as np

FORBIDDEN, REJECTED_EARLY, REJECTED, ACCEPTED = range(4)  # outcomes of an attempt
LOCAL_ITERATIONS = 40  # a local relaxation that is not done by then is taken as it stands
LOCAL_FORCE = 0.02  # eV/Å, largest component at which a local relaxation ends


@numba.njit(nogil=True, cache=True, error_model="numpy")
def keating(positions, edges, neighbours, images, constants, centres, energies, gradient):
    """Energies (N,) of the centres, whose sum is returned; adds their gradient to ``gradient`` (N, 3).

    ``constants`` are alpha (eV/Å^2), beta (eV/Å^2) and d (Å).
    """
    alpha, beta, length = constants
    square = length * length
    stretch, bend = 3 * alpha / (32 * square), 3 * beta / (8 * square)
    r = np.empty((4, 3))
    total = 0.0
    for i in centres:
        for k in range(4):
            j = neighbours[i, k]
            for x in range(3):
                r[k, x] = positions[j, x] + images[i, k, x] * edges[x] - positions[i, x]
        energy = 0.0
        for k in range(4):
            j = neighbours[i, k]
            excess = r[k, 0] * r[k, 0] + r[k, 1] * r[k, 1] + r[k, 2] * r[k, 2] - square
            energy += stretch * excess * excess
            slope = 4 * stretch * excess
            gx, gy, gz = slope * r[k, 0], slope * r[k, 1], slope * r[k, 2]
            for l in range(4):
                if l != k:
                    excess = r[k, 0] * r[l, 0] + r[k, 1] * r[l, 1] + r[k, 2] * r[l, 2] + square / 3
                    energy += 0.5 * bend * excess * excess
                    slope = 2 * bend * excess
                    gx += slope * r[l, 0]
                    gy += slope * r[l, 1]
                    gz += slope * r[l, 2]
            gradient[j, 0] += gx
            gradient[j, 1] += gy
            gradient[j, 2] += gz
            gradient[i, 0] -= gx
            gradient[i, 1] -= gy
            gradient[i, 2] -= gz
        energies[i] = energy
        total += energy
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _along_line(positions, edges, neighbours, images, constants, centres, direction, coefficients):
    """Coefficients (5,) of the energy of the centres as a polynomial of the step along ``direction`` (N, 3)."""
    alpha, beta, length = constants
    square = length * length
    stretch, bend = 3 * alpha / (32 * square), 3 * beta / (8 * square)
    r, s = np.empty((4, 3)), np.empty((4, 3))
    coefficients[:] = 0
    for i in centres:
        for k in range(4):
            j = neighbours[i, k]
            for x in range(3):
                r[k, x] = positions[j, x] + images[i, k, x] * edges[x] - positions[i, x]
                s[k, x] = direction[j, x] - direction[i, x]
        for k in range(4):
            for l in range(k, 4):
                constant = r[k, 0] * r[l, 0] + r[k, 1] * r[l, 1] + r[k, 2] * r[l, 2]
                constant += -square if l == k else square / 3
                linear = r[k, 0] * s[l, 0] + r[k, 1] * s[l, 1] + r[k, 2] * s[l, 2]
                linear += s[k, 0] * r[l, 0] + s[k, 1] * r[l, 1] + s[k, 2] * r[l, 2]
                quadratic = s[k, 0] * s[l, 0] + s[k, 1] * s[l, 1] + s[k, 2] * s[l, 2]
                factor = stretch if l == k else bend
                coefficients[0] += factor * constant * constant
                coefficients[1] += 2 * factor * constant * linear
                coefficients[2] += factor * (linear * linear + 2 * constant * quadratic)
                coefficients[3] += 2 * factor * linear * quadratic
                coefficients[4] += factor * quadratic * quadratic


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _first_minimum(c):
    """Smallest positive stationary point of ``sum_n c[n] t^n`` with ``c[1] < 0 < c[4]``."""
    high = 1.0
    while c[1] + high * (2 * c[2] + high * (3 * c[3] + high * 4 * c[4])) < 0:
        high *= 2
    low = 0.0
    t = -c[1] / (2 * c[2]) if c[2] > 0 else 0.5 * high
    for _ in range(60):
        if not low < t < high:
            t = 0.5 * (low + high)
        slope = c[1] + t * (2 * c[2] + t * (3 * c[3] + t * 4 * c[4]))
        if slope < 0:
            low = t
        else:
            high = t
        if abs(slope) < 1e-10 * abs(c[1]) or high - low < 1e-15 * high:
            break
        curvature = 2 * c[2] + t * (6 * c[3] + t * 12 * c[4])
        t = t - slope / curvature if curvature > 0 else 0.5 * (low + high)
    return t


@numba.njit(nogil=True, cache=True, error_model="numpy")
def minimise(
    positions, edges, neighbours, images, constants, centres, mobile, energies, work, force, iterations, limit, bound
):
    """Conjugate gradients (Polak-Ribière) with exact line search on the ``mobile`` atoms, in place.

    ``centres`` are the atoms whose energy depends on the mobile ones; ``work`` is (2, N, 3) scratch space. Ends when
    every component of the force is below ``force`` (eV/Å), after ``iterations``, or as soon as the energy of the
    centres cannot fall to ``limit`` any more because ``energy - bound |gradient|^2 > limit``.

    Returns the energy of the centres and whether the last reason ended it.
    """
    gradient, direction = work[0], work[1]
    coefficients = np.empty(5)
    before = np.empty((len(mobile), 3))
    norm = 1.0
    for iteration in range(iterations + 1):
        for a in mobile:
            for x in range(3):
                gradient[a, x] = 0.0
        energy = keating(positions, edges, neighbours, images, constants, centres, energies, gradient)
        new_norm, mixed, largest = 0.0, 0.0, 0.0
        for n, a in enumerate(mobile):
            for x in range(3):
                g = gradient[a, x]
                new_norm += g * g
                mixed += g * before[n, x] if iteration > 0 else 0.0
                largest = max(largest, abs(g))
                before[n, x] = g
        if energy - bound * new_norm > limit:
            return energy, True
        if largest < force or iteration == iterations:
            return energy, False
        beta = max(0.0, (new_norm - mixed) / norm) if iteration > 0 else 0.0
        norm = new_norm
        slope = 0.0
        for a in mobile:
            for x in range(3):
                direction[a, x] = beta * direction[a, x] - gradient[a, x] if beta > 0 else -gradient[a, x]
                slope += direction[a, x] * gradient[a, x]
        if slope >= 0:
            for a in mobile:
                for x in range(3):
                    direction[a, x] = -gradient[a, x]
        _along_line(positions, edges, neighbours, images, constants, centres, direction, coefficients)
        step = _first_minimum(coefficients)
        for a in mobile:
            for x in range(3):
                positions[a, x] += step * direction[a, x]
    return energy, False


@numba.njit(nogil=True, cache=True)
def _slot(neighbours, i, j):
    for k in range(4):
        if neighbours[i, k] == j:
            return k
    return -1


@numba.njit(nogil=True, cache=True)
def switch(neighbours, images, b, c, slot_a, slot_d):
    """Replace the bonds A-B and C-D of the chain A-B-C-D by A-C and B-D; the image vectors follow the chain.

    ``slot_a`` is the slot of A at B, ``slot_d`` the slot of D at C.
    """
    slot_c = _slot(neighbours, b, c)
    a, d = neighbours[b, slot_a], neighbours[c, slot_d]
    at_a, at_d = _slot(neighbours, a, b), _slot(neighbours, d, c)
    for x in range(3):
        to_a, to_c, to_d = images[b, slot_a, x], images[b, slot_c, x], images[c, slot_d, x]
        images[a, at_a, x] = to_c - to_a  # A -> B -> C
        images[c, slot_d, x] = to_a - to_c
        images[b, slot_a, x] = to_c + to_d  # B -> C -> D
        images[d, at_d, x] = -to_c - to_d
    neighbours[a, at_a], neighbours[c, slot_d] = c, a
    neighbours[b, slot_a], neighbours[d, at_d] = d, b


@numba.njit(nogil=True, cache=True)
def allowed(neighbours, b, c, a, d):
    """Whether the switch leaves a simple network without triangles."""
    if a == d or a == c or d == b or _slot(neighbours, a, c) >= 0 or _slot(neighbours, b, d) >= 0:
        return False
    for k in range(4):
        n = neighbours[a, k]
        if n != b and _slot(neighbours, n, c) >= 0:
            return False
        n = neighbours[d, k]
        if n != c and _slot(neighbours, n, b) >= 0:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def count_contacts(positions, edges, neighbours, atoms, contact):
    """Number of atoms closer than ``contact`` to one of ``atoms`` without being bonded to it."""
    count = 0
    for i in atoms:
        for j in range(len(positions)):
            square = 0.0
            for x in range(3):
                separation = positions[j, x] - positions[i, x]
                separation -= edges[x] * round(separation / edges[x])
                square += separation * separation
            if square < contact * contact and j != i and _slot(neighbours, i, j) < 0:
                count += 1
    return count


@numba.njit(nogil=True, cache=True)
def shells(neighbours, seeds, n_shells, members, marks, mark):
    """Atoms within ``n_shells`` bonds of the seeds into ``members``, nearest first; ends of the shells (n_shells + 1,).

    Visited atoms get ``marks[atom] = mark``, which must not occur before.
    """
    ends = np.empty(n_shells + 1, np.int64)
    count = 0
    for a in seeds:
        if marks[a] != mark:
            marks[a] = mark
            members[count] = a
            count += 1
    ends[0] = count
    start = 0
    for shell in range(n_shells):
        stop = count
        for n in range(start, stop):
            for k in range(4):
                j = neighbours[members[n], k]
                if marks[j] != mark:
                    marks[j] = mark
                    members[count] = j
                    count += 1
        start = stop
        ends[shell + 1] = count
    return ends


@numba.njit(nogil=True, cache=True)
def attempt_switches(
    positions, edges, neighbours, images, energies, constants, temperature, draws, n_shells, bound, contact, outcomes
):
    """One Metropolis attempt for each row of ``draws`` (n, 5), uniform in [0, 1); the arrays change in place.

    Four numbers choose the chain A-B-C-D, the fifth fixes the threshold that the energy must reach *before* any
    relaxation, so a hopeless attempt ends early. ``temperature`` is in eV. ``outcomes`` (n,) is filled.
    """
    n_atoms = len(positions)
    members = np.empty(n_atoms, np.int64)
    marks = np.full(n_atoms, -1, np.int64)
    saved_positions, saved_energies = np.empty((n_atoms, 3)), np.empty(n_atoms)
    work = np.zeros((2, n_atoms, 3))
    seeds = np.empty(4, np.int64)
    for attempt in range(len(draws)):
        b = int(draws[attempt, 0] * n_atoms)
        slot_c = int(draws[attempt, 1] * 4)
        c = neighbours[b, slot_c]
        slot_a = (slot_c + 1 + int(draws[attempt, 2] * 3)) % 4
        slot_d = (_slot(neighbours, c, b) + 1 + int(draws[attempt, 3] * 3)) % 4
        a, d = neighbours[b, slot_a], neighbours[c, slot_d]
        if not allowed(neighbours, b, c, a, d):
            outcomes[attempt] = FORBIDDEN
            continue
        seeds[0], seeds[1], seeds[2], seeds[3] = a, b, c, d
        switch(neighbours, images, b, c, slot_a, slot_d)
        ends = shells(neighbours, seeds, n_shells + 1, members, marks, attempt)
        mobile, centres = members[: ends[n_shells]], members[: ends[n_shells + 1]]
        limit = -temperature * math.log(1.0 - draws[attempt, 4])
        for atom in centres:
            saved_energies[atom] = energies[atom]
            limit += energies[atom]
        for atom in mobile:
            for x in range(3):
                saved_positions[atom, x] = positions[atom, x]
        energy, hopeless = minimise(
            positions,
            edges,
            neighbours,
            images,
            constants,
            centres,
            mobile,
            energies,
            work,
            LOCAL_FORCE,
            LOCAL_ITERATIONS,
            limit,
            bound,
        )
        for atom in mobile:
            for x in range(3):
                work[1, atom, x] = 0.0  # atoms that do not move have no direction
        contacts = 0
        if energy <= limit and not hopeless:
            contacts = count_contacts(positions, edges, neighbours, mobile, contact)
            if contacts == 0:
                outcomes[attempt] = ACCEPTED
                continue
        for atom in mobile:
            for x in range(3):
                work[0, atom, x] = positions[atom, x]
                positions[atom, x] = saved_positions[atom, x]
        switch(neighbours, images, c, b, slot_d, slot_a)
        if contacts > 0 and contacts <= count_contacts(positions, edges, neighbours, mobile, contact):
            switch(neighbours, images, b, c, slot_a, slot_d)
            for atom in mobile:
                for x in range(3):
                    positions[atom, x] = work[0, atom, x]
            outcomes[attempt] = ACCEPTED
            continue
        for atom in centres:
            energies[atom] = saved_energies[atom]
        outcomes[attempt] = REJECTED_EARLY if hopeless else REJECTED


@numba.njit(nogil=True, cache=True)
def _walk(neighbours, images, root, depth, window, place, nodes, distances):
    """Breadth-first walk over the unfolded network; ``nodes (n, 4)`` become atom and image, ``place`` their row + 1.

    Returns the number of nodes within ``depth`` bonds of the root.
    """
    nodes[0, 0], nodes[0, 1], nodes[0, 2], nodes[0, 3] = root, 0, 0, 0
    distances[0] = 0
    place[root, window, window, window] = 1
    count, current = 1, 0
    while current < count:
        if distances[current] < depth:
            for k in range(4):
                atom = neighbours[nodes[current, 0], k]
                x = nodes[current, 1] + images[nodes[current, 0], k, 0]
                y = nodes[current, 2] + images[nodes[current, 0], k, 1]
                z = nodes[current, 3] + images[nodes[current, 0], k, 2]
                if place[atom, x + window, y + window, z + window] == 0:
                    nodes[count, 0], nodes[count, 1], nodes[count, 2], nodes[count, 3] = atom, x, y, z
                    distances[count] = distances[current] + 1
                    count += 1
                    place[atom, x + window, y + window, z + window] = count
        current += 1
    return count


@numba.njit(nogil=True, cache=True)
def _distance_table(neighbours, images, depth, window, place, nodes, distances):
    """Sorted keys (N, n) of the nodes near every atom and their distances (N, n); missing ones have the largest key."""
    n_atoms = len(neighbours)
    width = 2 * window + 1
    keys = np.full((n_atoms, len(nodes)), np.iinfo(np.int64).max)
    far = np.zeros((n_atoms, len(nodes)), np.int8)
    for root in range(n_atoms):
        count = _walk(neighbours, images, root, depth, window, place, nodes, distances)
        for n in range(count):
            atom, x, y, z = nodes[n, 0], nodes[n, 1] + window, nodes[n, 2] + window, nodes[n, 3] + window
            place[atom, x, y, z] = 0
            keys[root, n] = ((atom * width + x) * width + y) * width + z
        order = np.argsort(keys[root, :count])
        keys[root, :count] = keys[root, :count][order]
        for n in range(count):
            far[root, n] = distances[order[n]]
    return keys, far


@numba.njit(nogil=True, cache=True)
def _closer(keys, far, window, first, second, limit):
    """Whether two nodes of the unfolded network are fewer than ``limit`` bonds apart."""
    x, y, z = second[1] - first[1] + window, second[2] - first[2] + window, second[3] - first[3] + window
    width = 2 * window + 1
    if min(x, y, z) < 0 or max(x, y, z) >= width:
        return False
    key = ((second[0] * width + x) * width + y) * width + z
    n = np.searchsorted(keys[first[0]], key)
    return n < keys.shape[1] and keys[first[0], n] == key and far[first[0], n] < limit


@numba.njit(nogil=True, cache=True)
def _paths(adjacent, distances, n_paths, end):
    """All shortest paths (n, distance + 1) from the root to a node."""
    length = distances[end]
    paths = np.empty((n_paths[end], length + 1), np.int64)
    paths[0, length] = end
    filled = 1
    for step in range(length, 0, -1):  # a path with several predecessors is copied once for each further one
        for path in range(filled):
            node, found = paths[path, step], 0
            for k in range(4):
                before = adjacent[node, k]
                if before >= 0 and distances[before] == step - 1:
                    if found == 0:
                        paths[path, step - 1] = before
                    else:
                        paths[filled, step:] = paths[path, step:]
                        paths[filled, step - 1] = before
                        filled += 1
                    found += 1
    return paths


@numba.njit(nogil=True, cache=True)
def _rings_through(first, second, nodes, keys, far, window):
    """Number of shortest-path rings made of one path of ``first`` and one of ``second``, which start at the root.

    Paths with the same end close an even ring; paths with bonded ends an odd one.
    """
    odd = first[0, -1] != second[0, -1]
    half = first.shape[1] - 1
    size = 2 * half + 1 if odd else 2 * half
    ring = np.empty(size, np.int64)
    count = 0
    for p in range(len(first)):
        for q in range(len(second) if odd else p):
            ring[: half + 1] = first[p]
            for n in range(half + 1, size):
                ring[n] = second[q, size - n]
            good = True
            for n in range(half + 1, size):
                for m in range(1, half + 1):
                    good = good and ring[n] != ring[m]
            for n in range(size if odd else half):
                if not good:
                    break
                opposite = ring[(n + half) % size]
                good = not _closer(keys, far, window, nodes[ring[n]], nodes[opposite], half)
            count += good
    return count


@numba.njit(nogil=True, cache=True)
def count_rings(neighbours, images, largest):
    """Number of shortest-path rings of each size (largest + 1,) in the unfolded network of one cell.

    Every atom is the root in turn: rings run from it along two shortest paths to an opposite node or bond, and no pair
    of opposite nodes may have a shorter way outside the ring. A ring of n atoms is met from each of them.
    """
    n_atoms, depth = len(neighbours), largest // 2
    window = depth * np.abs(images).max()
    width = 2 * window + 1
    capacity = 1 + 2 * (3**depth - 1)
    nodes, distances = np.empty((capacity, 4), np.int64), np.empty(capacity, np.int64)
    place = np.zeros((n_atoms, width, width, width), np.int32)
    keys, far = _distance_table(neighbours, images, depth, window, place, nodes, distances)
    adjacent, n_paths = np.empty((capacity, 4), np.int64), np.empty(capacity, np.int64)
    counts = np.zeros(largest + 1, np.int64)
    for root in range(n_atoms):
        count = _walk(neighbours, images, root, depth, window, place, nodes, distances)
        for n in range(count):
            n_paths[n] = 1 if n == 0 else 0
            for k in range(4):
                atom = neighbours[nodes[n, 0], k]
                x = nodes[n, 1] + images[nodes[n, 0], k, 0] + window
                y = nodes[n, 2] + images[nodes[n, 0], k, 1] + window
                z = nodes[n, 3] + images[nodes[n, 0], k, 2] + window
                inside = min(x, y, z) >= 0 and max(x, y, z) < width
                adjacent[n, k] = place[atom, x, y, z] - 1 if inside else -1
                if adjacent[n, k] >= 0 and distances[adjacent[n, k]] < distances[n]:
                    n_paths[n] += n_paths[adjacent[n, k]]
        for n in range(1, count):
            if n_paths[n] > 1:
                paths = _paths(adjacent, distances, n_paths, n)
                counts[2 * distances[n]] += _rings_through(paths, paths, nodes, keys, far, window)
            for k in range(4):
                m = adjacent[n, k]
                if m > n and distances[m] == distances[n] and 2 * distances[n] < largest:
                    first = _paths(adjacent, distances, n_paths, n)
                    second = _paths(adjacent, distances, n_paths, m)
                    counts[2 * distances[n] + 1] += _rings_through(first, second, nodes, keys, far, window)
        for n in range(count):
            place[nodes[n, 0], nodes[n, 1] + window, nodes[n, 2] + window, nodes[n, 3] + window] = 0
    for size in range(1, largest + 1):
        counts[size] //= size
    return counts


@numba.njit(nogil=True, cache=True)
def swap_unlike(neighbours, signs, generator, n_attempts):
    """Swap unlike signs (N,) in place so that few bonds join like ones; the temperature falls from one bond to zero."""
    for attempt in range(n_attempts):
        first, second = generator.integers(0, len(signs)), generator.integers(0, len(signs))
        if signs[first] == signs[second]:
            continue
        # each like bond counts +1 before and -1 after; a bond between the two stays unlike
        change = 0.0
        for k in range(neighbours.shape[1]):
            if neighbours[first, k] != second:
                change -= signs[first] * signs[neighbours[first, k]]
            if neighbours[second, k] != first:
                change -= signs[second] * signs[neighbours[second, k]]
        temperature = 1 - attempt / n_attempts
        if change <= 0 or generator.random() < math.exp(-change / temperature):
            signs[first], signs[second] = signs[second], signs[first]
