"""How many linearly independent correlations of a density there are."""

import math
from collections.abc import Sequence

from matterscape.checks import check_whole


def multiplicity(channels_of_l: Sequence[int], order: int, angular: int) -> tuple[int, int]:
    r"""Number of linearly independent equivariants of one degree among the correlations of one order.

    Correlations of order nu of a density V, with ``n_l`` channels of each l, span the symmetric power Sym^nu(V). A
    representation holds degree lambda as often as it has weights m = lambda more than weights m = lambda + 1. The
    weights of Sym^nu(V) come with the generating function

    .. math:: \prod_l \prod_{m=-l}^{l} (1 - e_l\, t\, x^m)^{-n_l}, \qquad e_l = (-1)^l \text{ under inversion}

    as whole numbers, without any integration over rotations.

    Parameters
    ----------
    channels_of_l : sequence of int
        Number of channels of l = 0, 1, ...
    order : int
        Correlation order nu, from 0 on.
    angular : int
        Degree lambda.

    Returns
    -------
    (int, int)
        Numbers of equivariants with sigma = +1 (inversion multiplies by (-1)^lambda) and sigma = -1.

    Raises
    ------
    ValueError
        If one of the numbers is not a whole number from 0 on.

    References
    ----------
    Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020); Fulton, Harris, Representation Theory (1991),
    lectures 11 and 23.
    """
    check_whole("order", order, 0)
    check_whole("angular", angular, 0)
    for l, channels in enumerate(channels_of_l):
        check_whole(f"channels_of_l[{l}]", channels, 0)
    # weights[k][e][m]: states of k quanta with parity (-1)^e and weight m
    weights: list[list[dict[int, int]]] = [[{}, {}] for _ in range(order + 1)]
    weights[0][0][0] = 1
    for l, channels in enumerate(channels_of_l):
        for m in range(-l, l + 1):
            weights = _with_states(weights, m, l % 2, channels)
    by_parity = [states.get(angular, 0) - states.get(angular + 1, 0) for states in weights[order]]
    return by_parity[angular % 2], by_parity[1 - angular % 2]


def _with_states(weights: list[list[dict[int, int]]], m: int, odd: int, channels: int) -> list[list[dict[int, int]]]:
    """Add ``channels`` one-quantum states of one weight and parity, each of which any number of quanta may occupy."""
    result = [[dict(states) for states in of_parity] for of_parity in weights]
    for added in range(1, len(weights) if channels else 1):
        ways = math.comb(channels + added - 1, added)
        for before in range(len(weights) - added):
            for parity, states in enumerate(weights[before]):
                target = result[before + added][(parity + odd * added) % 2]
                for weight, count in states.items():
                    target[weight + m * added] = target.get(weight + m * added, 0) + ways * count
    return result
