"""Numba loop of the Monte Carlo search for a short-range order."""

import numba


@numba.njit(nogil=True, cache=True, error_model="numpy")
def swap_towards(chosen, pairs, neighbours, like, targets, scale, draws):
    """Exchange the two sites of each pair (P, 2) where that brings pairs of equal atoms closer to their targets.

    ``chosen (N,)`` says which sites are taken, ``neighbours (M, N, Z)`` the sites of each shell, -1 where there are
    fewer; ``like (M,)`` the numbers of ordered pairs of taken sites in each shell, kept up to date. A step away from
    the targets, whose measure is the sum of squares of ``like - targets``, by d is taken where ``draws (P,)``, times
    ``scale``, is above d: with probability exp(-d / scale) where they are exponentially distributed.
    """
    n_shells, width = neighbours.shape[0], neighbours.shape[2]
    change = like.copy()
    distance = 0.0
    for m in range(n_shells):
        distance += (like[m] - targets[m]) ** 2
    for step in range(len(pairs)):
        i, j = pairs[step]
        if chosen[i] == chosen[j]:
            continue
        if not chosen[i]:
            i, j = j, i
        proposed = 0.0
        for m in range(n_shells):
            gained = 0.0
            for z in range(width):
                k = neighbours[m, i, z]
                if k >= 0 and chosen[k]:
                    gained -= 1.0
                k = neighbours[m, j, z]
                if k >= 0 and chosen[k] and k != i:
                    gained += 1.0
            change[m] = 2.0 * gained
            proposed += (like[m] + change[m] - targets[m]) ** 2
        excess = proposed - distance
        if excess <= 0 or draws[step] * scale > excess:
            chosen[i], chosen[j] = False, True
            like += change
            distance = proposed
