"""Numba loops that follow carriers from plateau to plateau."""

import math

import numba


@numba.njit(nogil=True, cache=True)
def find_departures(points, threshold, n_stay, antipodal, times, carriers):
    """Steps at which carriers leave their plateau for good, in the order of carriers; returns their number.

    A carrier has left when it has been farther than ``threshold`` from the mean of its plateau for ``n_stay`` steps
    after the first one there; its new plateau begins where it then is. Points are (carriers, steps, components), of
    unit length where ``antipodal`` says that p and -p are the same.
    """
    n_carriers, n_steps, n_components = points.shape
    n_events = 0
    for i in range(n_carriers):
        total = points[i, 0].copy()  # sum over the plateau
        norm = 1.0
        away = 0
        for t in range(1, n_steps):
            square = scalar = 0.0
            for x in range(n_components):
                scalar += total[x] * points[i, t, x]
            sign = -1.0 if antipodal and scalar < 0 else 1.0
            for x in range(n_components):
                square += (sign * points[i, t, x] - total[x] / norm) ** 2
            if square <= threshold * threshold:
                away = 0
                norm += 1.0
                for x in range(n_components):
                    total[x] += sign * points[i, t, x]
                if antipodal:
                    norm = 0.0
                    for x in range(n_components):
                        norm += total[x] ** 2
                    norm = math.sqrt(norm)
                continue
            away += 1
            if away > n_stay:
                if n_events < len(times):
                    times[n_events], carriers[n_events] = t - n_stay, i
                n_events += 1
                total[:] = points[i, t]
                norm = 1.0
                away = 0
    return n_events


@numba.njit(nogil=True, cache=True)
def find_moves(sites, n_stay, times, carriers, origins, targets):
    """Steps at which carriers change their site and stay, in the order of carriers; returns their number.

    The new site counts when the carrier is still there ``n_stay`` steps after it came. Sites are (carriers, steps).
    """
    n_carriers, n_steps = sites.shape
    n_events = 0
    for i in range(n_carriers):
        home = sites[i, 0]
        guest = home
        since = 0
        for t in range(1, n_steps):
            now = sites[i, t]
            if now != guest:
                guest, since = now, t
            if guest != home and t - since >= n_stay:
                if n_events < len(times):
                    times[n_events], carriers[n_events] = since, i
                    origins[n_events], targets[n_events] = home, guest
                n_events += 1
                home = guest
    return n_events
