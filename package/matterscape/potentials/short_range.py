"""Morse, Buckingham, Born-Mayer-Huggins and Ziegler-Biersack-Littmark pair potentials."""

import math
from collections.abc import Mapping, Sequence

from matterscape.checks import check_number
from matterscape.potentials import _radial
from matterscape.potentials._pair_reference import FORMS
from matterscape.potentials._pair_table import Pair, block, complete, symbols_of
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.pair import PairPotential


class Morse(PairPotential):
    """phi(r) = D {[1 - exp(-a (r - r0))]^2 - 1} + C / r^12.

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): (D, a, r0)}`` or ``(D, a, r0, C)`` in eV, 1/Å, Å, eV Å^12 for every pair of species; None
        in place of the values means no interaction.
    cutoff : float
        In Å.
    shift : bool
        Subtract the energy at the cutoff.
    switch : float, optional
        From here (Å) on the energy is taken to zero at the cutoff with two continuous derivatives.
    charges : mapping, optional
        ``{symbol: charge}``, see :class:`~matterscape.potentials.pair.PairPotential`.

    Raises
    ------
    ValueError
        If a pair is missing, a value is not a number, or both shift and switch are asked for.

    Source: P. M. Morse, Phys. Rev. 34, 57 (1929), eq. 4; the wall C / r^12: A. Pedone et al., J. Phys. Chem. B 110,
    11780 (2006).
    """

    def __init__(
        self,
        table: Mapping[Pair, Sequence[float] | None],
        cutoff: float,
        *,
        shift: bool = False,
        switch: float | None = None,
        charges: Mapping[str, float] | None = None,
    ):
        symbols_of(table)  # a mapping of pairs
        filled = {
            pair: (*values, 0.0) if isinstance(values, Sequence) and len(values) == 3 else values
            for pair, values in table.items()
        }
        symbols, rows = complete(filled, ("D", "a", "r0", "C"))
        forms = {
            pair: {"Morse": block(cutoff, row, energy=_shift("Morse", shift), switch=switch)}
            for pair, row in rows.items()
        }
        super().__init__(symbols, forms, charges=charges)


class Buckingham(PairPotential):
    """phi(r) = A exp(-r / rho) - C / r^6.

    A pair inside its barrier is refused: there r^-6 has no bound.

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): (A, rho, C)}`` in eV, Å, eV Å^6 for every pair of species; None in place of the values
        means no interaction.
    cutoff, shift, switch, charges
        As of :class:`Morse`.

    Raises
    ------
    ValueError
        As :class:`Morse`, or if rho is not positive.

    Source: R. A. Buckingham, Proc. R. Soc. A 168, 264 (1938).
    """

    def __init__(
        self,
        table: Mapping[Pair, Sequence[float] | None],
        cutoff: float,
        *,
        shift: bool = False,
        switch: float | None = None,
        charges: Mapping[str, float] | None = None,
    ):
        symbols, rows = complete(table, ("A", "rho", "C"))
        forms = {}
        for pair, (a, rho, c) in rows.items():
            check_number(f"rho of {pair[0]}-{pair[1]}", rho, "Å", positive=True)
            values = block(cutoff, [a, 1 / rho, c, 0.0], energy=_shift("Born-Mayer", shift), switch=switch)
            forms[pair] = {"Born-Mayer": values}
        super().__init__(symbols, forms, charges=charges)


class BornMayerHuggins(PairPotential):
    """phi(r) = B exp[(s - r) / rho] - C / r^6 - D / r^8.

    A pair inside its barrier is refused: there r^-6 and r^-8 have no bound.

    Parameters
    ----------
    table : mapping
        ``{(symbol, symbol): (B, rho, s, C, D)}`` in eV, Å, Å, eV Å^6, eV Å^8 for every pair of species; None in place
        of the values means no interaction.
    cutoff, shift, switch, charges
        As of :class:`Morse`.

    Raises
    ------
    ValueError
        As :class:`Morse`, or if rho is not positive.

    Source: M. L. Huggins, J. E. Mayer, J. Chem. Phys. 1, 643 (1933).
    """

    def __init__(
        self,
        table: Mapping[Pair, Sequence[float] | None],
        cutoff: float,
        *,
        shift: bool = False,
        switch: float | None = None,
        charges: Mapping[str, float] | None = None,
    ):
        symbols, rows = complete(table, ("B", "rho", "s", "C", "D"))
        forms = {}
        for pair, (b, rho, s, c, d) in rows.items():
            check_number(f"rho of {pair[0]}-{pair[1]}", rho, "Å", positive=True)
            if s / rho > 700:
                raise ValueError(f"s of {pair[0]}-{pair[1]} is {s!r} with rho {rho!r}; accepted is at most 700 rho")
            parameters = [b * math.exp(s / rho), 1 / rho, c, d]
            values = block(cutoff, parameters, energy=_shift("Born-Mayer", shift), switch=switch)
            forms[pair] = {"Born-Mayer": values}
        super().__init__(symbols, forms, charges=charges)


class ZieglerBiersackLittmark(PairPotential):
    """Screened repulsion of nuclei, Z_i Z_j e^2 / r * screening(r / a), for atoms that collide.

    a = 0.46850 Å / (Z_i^0.23 + Z_j^0.23). Between ``inner`` and ``outer`` a polynomial c3 t^3 + c4 t^4 of
    t = r - inner is added that takes energy, force and curvature to zero at ``outer``; closer, the energy is shifted by
    a constant.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols.
    inner, outer : float
        In Å.

    Raises
    ------
    ValueError
        If a symbol is unknown or the distances are not 0 <= inner < outer.

    Source: J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter (Pergamon, 1985); the
    polynomial as in LAMMPS' pair style zbl.
    """

    def __init__(self, species: Sequence[str], *, inner: float, outer: float):
        check_number("inner", inner, "Å")
        check_number("outer", outer, "Å", positive=True)
        if inner >= outer:
            raise ValueError(f"inner is {inner!r}; accepted is a distance below outer, {outer!r}")
        charges = dict(zip(species, numbers_of(species)))
        forms = {
            (a, b): {"screened nuclei": _screened_nuclei(charges[a], charges[b], inner, outer)}
            for k, a in enumerate(species)
            for b in species[k:]
        }
        super().__init__(species, forms)


def _screened_nuclei(z_a: int, z_b: int, inner: float, outer: float) -> list[float]:
    """Block of two nuclei: the polynomial cancels phi' and phi'' at ``outer``, the shift phi."""
    charge, rate = COULOMB * z_a * z_b, (z_a**0.23 + z_b**0.23) / 0.46850
    value = slope = curvature = 0.0
    for weight, decay in zip(_radial.SCREENING_WEIGHTS, _radial.SCREENING_RATES):
        k = decay * rate
        part = weight * math.exp(-k * outer) * charge / outer
        value += part
        slope -= part * (k + 1 / outer)
        curvature += part * (k**2 + 2 * k / outer + 2 / outer**2)
    width = outer - inner
    c3 = (width * curvature - 3 * slope) / (3 * width**2)
    c4 = (2 * slope - width * curvature) / (4 * width**3)
    shift = value + width**3 * (c3 + c4 * width)
    return [*block(outer, [])[:2], shift, charge, rate, inner, c3, c4]


def _shift(form: str, wanted: bool):
    return FORMS[form][1] if wanted else None
