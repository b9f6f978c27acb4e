"""Stillinger-Weber potential for silicon, germanium and their alloys, or any table in the LAMMPS form."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from matterscape.potentials._stars import STILLINGER_WEBER
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.star import (
    StarPotential,
    check_table,
    element_of,
    pack_parameters,
    read_lammps_table,
)

# relative difference between entries (i, j, k) and (i, k, j) that passes for rounding
_ROUNDING = 1e-5

COLUMNS = ("epsilon", "sigma", "a", "lambda", "gamma", "costheta0", "A", "B", "p", "q")

# F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), eqs. 2.3-2.8, in eV and Å
SILICON = (2.1683, 2.0951, 1.80, 21.0, 1.20, -0.333333333333, 7.049556277, 0.6022245584, 4.0, 0.0)

# S. Ethier and L. J. Lewis, J. Mater. Res. 7, 2817 (1992); germanium: K. Ding and H. C. Andersen, Phys. Rev. B 34,
# 6987 (1986). Bonds: (epsilon in eV, sigma in Å); triplets (centre, end, end): (lambda, epsilon in eV).
SILICON_GERMANIUM_BONDS = {("Ge", "Ge"): (1.9259036578, 2.181), ("Si", "Ge"): (2.0431339110, 2.138)}
SILICON_GERMANIUM_TRIPLETS = {
    ("Si", "Si", "Ge"): (23.1, 2.1044477247),
    ("Si", "Ge", "Ge"): (25.5, 2.0432682892),
    ("Ge", "Si", "Si"): (25.5, 2.0432682892),
    ("Ge", "Si", "Ge"): (28.1, 1.9839616935),
    ("Ge", "Ge", "Ge"): (31.0, 1.9259036578),
}


class StillingerWeber(StarPotential):
    """U_i = 1/2 sum_j phi(r_ij) + sum_{j<k} lambda epsilon (cos theta - cos theta0)^2 h(r_ij) h(r_ik).

    phi(r) = A epsilon [B (sigma / r)^p - (sigma / r)^q] exp(sigma / (r - a sigma)), h(r) = exp(gamma sigma / (r - a
    sigma)), both zero from r = a sigma on. The energy of a triplet belongs to its centre.

    Parameters
    ----------
    species : sequence of str
        S chemical symbols.
    table : array (S, S, S, 10)
        By centre and two neighbours: epsilon (eV), sigma (Å), a, lambda, gamma, cos theta0, A, B, p, q. As in LAMMPS
        the entries (i, j, j) hold phi and h of the bond from i to j, and all entries epsilon, lambda and cos theta0 of
        their triplet.

    Raises
    ------
    ValueError
        If a species is no chemical symbol, or the table has the wrong shape, a number that is not finite or not
        positive where it must be, or triplets that depend on the order of the neighbours (by more than rounding; the
        mean is used then).

    Source: F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985), eqs. 2.3-2.6.
    """

    def __init__(self, species: Sequence[str], table: np.ndarray):
        numbers = numbers_of(species)
        self.table = check_table(table, len(numbers), COLUMNS, (), ("epsilon", "sigma", "a", "gamma"))
        by_name = dict(zip(COLUMNS, np.moveaxis(self.table, -1, 0)))
        strength = _symmetric("lambda epsilon", by_name["lambda"] * by_name["epsilon"], species)
        cosine = _symmetric("costheta0", by_name["costheta0"], species)
        bond = {name: np.einsum("ijj->ij", values) for name, values in by_name.items()}
        cutoffs = bond["a"] * bond["sigma"]
        pair = np.stack(
            [
                cutoffs**2,
                cutoffs,
                0.5 * bond["A"] * bond["epsilon"],
                bond["B"],
                bond["sigma"],
                bond["p"],
                bond["q"],
                bond["gamma"] * bond["sigma"],
            ],
            axis=-1,
        )
        super().__init__(
            species=numbers,
            cutoff=float(cutoffs.max()),
            parameters=pack_parameters(pair, np.stack([strength, cosine], axis=-1)),
            kind=STILLINGER_WEBER,
        )

    @classmethod
    def silicon(cls) -> "StillingerWeber":
        """Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985)."""
        return cls(("Si",), np.array(SILICON).reshape(1, 1, 1, 10))

    @classmethod
    def silicon_germanium(cls) -> "StillingerWeber":
        """Silicon-germanium alloys of Ethier and Lewis, J. Mater. Res. 7, 2817 (1992).

        Silicon is that of :meth:`silicon`.
        """
        species = ("Si", "Ge")
        table = np.broadcast_to(np.array(SILICON), (2, 2, 2, 10)).copy()
        epsilon, sigma, strength = (COLUMNS.index(name) for name in ("epsilon", "sigma", "lambda"))
        for (a, b), values in SILICON_GERMANIUM_BONDS.items():
            for i, j in ((a, b), (b, a)):
                table[species.index(i), species.index(j), species.index(j), [epsilon, sigma]] = values
        for (i, j, k), (lambda_, scale) in SILICON_GERMANIUM_TRIPLETS.items():
            for place in ((i, j, k), (i, k, j)):
                entry = table[tuple(species.index(s) for s in place)]
                if j != k:
                    entry[epsilon] = scale
                # entries (i, j, j) carry the bond's epsilon, so their lambda makes up for the triplet's
                entry[strength] = lambda_ * scale / entry[epsilon]
        return cls(species, table)

    @classmethod
    def from_lammps(cls, path: str | Path, species: Sequence[str]) -> "StillingerWeber":
        """Parameters from a LAMMPS file (``pair_style sw``).

        Parameters
        ----------
        path : str or Path
        species : sequence of str
            Names in the file; a label in brackets after the chemical symbol is allowed, such as Si(D).

        Raises
        ------
        ValueError
            If the file is not of this form or lacks an entry.
        """
        # the eleventh number of an entry is a tolerance on the cut-off, zero in all published sets
        table = read_lammps_table(path, species, len(COLUMNS), n_ignored=1)
        return cls([element_of(name) for name in species], table)


def _symmetric(name: str, values: np.ndarray, species: Sequence[str]) -> np.ndarray:
    """Means of the entries (i, j, k) and (i, k, j), which describe the same triplet."""
    exchanged = values.swapaxes(1, 2)
    differ = ~np.isclose(values, exchanged, rtol=_ROUNDING, atol=0)
    if differ.any():
        i, j, k = np.argwhere(differ)[0]
        raise ValueError(
            f"{name} of {species[i]} {species[j]} {species[k]} is {values[i, j, k]:.6g} but of {species[i]} "
            f"{species[k]} {species[j]} {values[i, k, j]:.6g}; both must be equal"
        )
    return 0.5 * (values + exchanged)
