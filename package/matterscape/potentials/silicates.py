"""Silicate crystals and glasses after Pedone et al."""

from collections.abc import Sequence

from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.pair import PairPotential
from matterscape.potentials.short_range import Morse

# Of the pair with oxygen: D eV, a 1/Å, r0 Å, C eV Å^12
_WITH_OXYGEN = {
    "Li": (0.001114, 3.429506, 2.681360, 1.0),
    "Na": (0.023363, 1.763867, 3.006315, 5.0),
    "Ca": (0.030211, 2.241334, 2.923245, 5.0),
    "Si": (0.340554, 2.006700, 2.100000, 1.0),
    "O": (0.042395, 1.379316, 3.618701, 22.0),
}
#: Partial charges in elementary charges.
CHARGES = {"Li": 0.6, "Na": 0.6, "Ca": 1.2, "Si": 2.4, "O": -1.2}


def pedone(
    species: Sequence[str] = ("Li", "Si", "O"),
    *,
    cutoff: float = 5.5,
    alpha: float = 0.25,
    coulomb_cutoff: float = 8.0,
    shift: bool = False,
    switch: float | None = None,
) -> PairPotential:
    """Potential of silicates: Morse and r^-12 between oxygen and everything, damped shifted Coulomb between all.

    phi(r) = D {[1 - exp(-a (r - r0))]^2 - 1} + C / r^12 for pairs with oxygen; cations repel each other by their
    partial charges only.

    Parameters
    ----------
    species : sequence of str
        Among Li, Na, Ca, Si and O.
    cutoff : float
        Of Morse and r^-12, in Å.
    alpha, coulomb_cutoff : float
        Damping in 1/Å and cutoff in Å of :func:`~matterscape.potentials.pair.damped_shifted_coulomb`.
    shift : bool
        Subtract the energy of Morse and r^-12 at their cutoff.
    switch : float, optional
        From here (Å) on they are taken to zero at the cutoff with two continuous derivatives.

    Raises
    ------
    TypeError
        If the species are one string.
    ValueError
        If they are no different chemical symbols, or there are no parameters for a species.

    Source: A. Pedone, G. Malavasi, M. C. Menziani, A. N. Cormack, U. Segre, J. Phys. Chem. B 110, 11780 (2006); damped
    shifted Coulomb in place of the Ewald sum of the paper. The numbers agree in two independent public files.
    """
    numbers_of(species)
    for symbol in species:
        if symbol not in CHARGES:
            raise ValueError(f"species has {symbol!r}; accepted are {', '.join(CHARGES)}")
    table = {
        (a, b): _WITH_OXYGEN[a if b == "O" else b] if "O" in (a, b) else None
        for k, a in enumerate(species)
        for b in species[k:]
    }
    charges = {symbol: CHARGES[symbol] for symbol in species}
    short = Morse(table, cutoff, shift=shift, switch=switch, charges=charges)
    potential = short.with_damped_shifted_coulomb(alpha=alpha, cutoff=coulomb_cutoff)
    potential.name = "Pedone"
    return potential
