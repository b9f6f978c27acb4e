"""Lennard-Jones potential."""

import math
from collections.abc import Mapping, Sequence

from matterscape.checks import check_number
from matterscape.potentials._pair_reference import FORMS
from matterscape.potentials._pair_table import Pair, block, checked_values, complete, symbols_of
from matterscape.potentials.pair import PairPotential

MIXING = ("lorentz-berthelot", "geometric")
NAMES = ("epsilon", "sigma")


class LennardJones(PairPotential):
    """phi(r) = 4 epsilon [(sigma / r)^12 - (sigma / r)^6].

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): (epsilon, sigma)}`` in eV and Å for every pair of species; None in place of the values
        means no interaction. With ``mixing``, pairs of unlike species may be left out.
    cutoff : float
        In Å.
    mixing : {"lorentz-berthelot", "geometric"}, optional
        How unlike pairs that are not in the table follow from like ones: epsilon is the geometric mean; sigma the
        arithmetic or the geometric mean.
    shift : bool
        Subtract the energy at the cutoff, so that the energy is continuous.
    switch : float, optional
        From here (Å) on the energy is multiplied by a quintic that takes it to zero at the cutoff with two continuous
        derivatives.

    Raises
    ------
    ValueError
        If a pair is missing, a value is not a number, or both shift and switch are asked for.

    Source: J. E. Lennard-Jones, Proc. Phys. Soc. 43, 461 (1931); mixing: H. A. Lorentz (1881), D. Berthelot (1898).
    """

    def __init__(
        self,
        table: Mapping[Pair, Sequence[float] | None],
        cutoff: float,
        *,
        mixing: str | None = None,
        shift: bool = False,
        switch: float | None = None,
    ):
        symbols, values = complete(table if mixing is None else _mixed(table, mixing), NAMES)
        forms = {}
        for pair, (epsilon, sigma) in values.items():
            check_number(f"sigma of {pair[0]}-{pair[1]}", sigma, "Å", positive=True)
            parameters = [4 * epsilon * sigma**12, 4 * epsilon * sigma**6]
            energy = FORMS["Lennard-Jones"][1] if shift else None
            forms[pair] = {"Lennard-Jones": block(cutoff, parameters, energy=energy, switch=switch)}
        super().__init__(symbols, forms)


def _mixed(table: Mapping[Pair, Sequence[float] | None], rule: str) -> dict[Pair, Sequence[float] | None]:
    if rule not in MIXING:
        raise ValueError(f"mixing is {rule!r}; accepted are {', '.join(MIXING)}")
    symbols = symbols_of(table)
    result = dict(table)
    for k, a in enumerate(symbols):
        for b in symbols[k + 1 :]:
            if (a, b) in table or (b, a) in table or any(table.get((s, s)) is None for s in (a, b)):
                continue  # given, or left to the check for missing pairs
            (epsilon_a, sigma_a), (epsilon_b, sigma_b) = (checked_values((s, s), table[s, s], NAMES) for s in (a, b))
            for symbol, epsilon in ((a, epsilon_a), (b, epsilon_b)):
                check_number(f"epsilon of {symbol}-{symbol}, which enters a geometric mean,", epsilon, "eV")
            for symbol, size in ((a, sigma_a), (b, sigma_b)):
                check_number(f"sigma of {symbol}-{symbol}", size, "Å", positive=True)
            arithmetic = rule == "lorentz-berthelot"
            sigma = 0.5 * (sigma_a + sigma_b) if arithmetic else math.sqrt(sigma_a * sigma_b)
            result[a, b] = (math.sqrt(epsilon_a * epsilon_b), sigma)
    return result
