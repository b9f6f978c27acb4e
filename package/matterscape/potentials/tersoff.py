"""Tersoff potential for silicon, carbon, germanium, their alloys and silica, or any table in the LAMMPS form."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from matterscape.checks import check_fraction
from matterscape.potentials._stars import TERSOFF
from matterscape.potentials._symbols import numbers_of
from matterscape.potentials.star import (
    StarPotential,
    check_table,
    element_of,
    pack_parameters,
    read_lammps_table,
)

COLUMNS = (
    "m", "gamma", "lambda3", "c", "d", "costheta0", "n", "beta", "lambda2", "B", "R", "D", "lambda1", "A",
)  # fmt: skip

_CENTRE = ("beta", "n", "c", "d", "costheta0")
_BOND = ("A", "B", "lambda1", "lambda2", "R", "D")

# J. Tersoff, Phys. Rev. B 39, 5566 (1989), with the erratum Phys. Rev. B 41, 3248 (1990); A, B in eV, lambda
# in 1/Å, R and D (middle and half width of the cut-off) in Å. Order: beta, n, c, d, cos0.
CENTRES_1989 = {
    "Si": (1.1e-6, 0.78734, 1.0039e5, 16.217, -0.59825),
    "C": (1.5724e-7, 0.72751, 3.8049e4, 4.3484, -0.57058),
    "Ge": (9.0166e-7, 0.75627, 1.0643e5, 15.652, -0.43884),
}
# Order: A, B, lambda1, lambda2, R, D. Unlike bonds follow from Tersoff's mixing rules with chi(Si-C) = 0.9776 and
# chi(Si-Ge) = 1.00061, rounded as in common use; he gave no chi for C-Ge, where it is taken as 1.
BONDS_1989 = {
    ("Si", "Si"): (1830.8, 471.18, 2.4799, 1.7322, 2.85, 0.15),
    ("C", "C"): (1393.6, 346.74, 3.4879, 2.2119, 1.95, 0.15),
    ("Ge", "Ge"): (1769.0, 419.23, 2.4451, 1.7047, 2.95, 0.15),
    ("Si", "C"): (1597.3111, 395.1451, 2.9839, 1.97205, 2.3573, 0.1527),
    ("Si", "Ge"): (1799.6347, 444.7177, 2.4625, 1.71845, 2.8996, 0.15),
}

# S. Munetoh, T. Motooka, K. Moriguchi, A. Shintani, Comput. Mater. Sci. 39, 334 (2007)
CENTRES_2007 = {
    "Si": (1.1e-6, 0.78734, 100390.0, 16.217, -0.59825),
    "O": (1.1632e-7, 1.04968, 64692.1, 4.11127, -0.845922),
}
BONDS_2007 = {
    ("Si", "Si"): (1830.8, 471.18, 2.4799, 1.73222, 2.65, 0.15),
    ("O", "O"): (1882.55, 218.787, 4.17108, 2.35692, 1.85, 0.15),
    ("Si", "O"): (1856.495, 378.690, 3.32549, 2.04456, 2.215, 0.155),
}

# (beta zeta)^n / (2 n) below this leaves the bond order 1 to rounding
_NO_EFFECT = 1e-16


class Tersoff(StarPotential):
    """U_i = 1/2 sum_j fC(r_ij) [A exp(-lambda1 r_ij) - b_ij B exp(-lambda2 r_ij)].

    b_ij = (1 + (beta zeta_ij)^n)^(-1/2n), zeta_ij = sum_{k != j} fC(r_ik) g(theta_ijk) exp[lambda3^m (r_ij - r_ik)^m],
    g = gamma (1 + c^2/d^2 - c^2/(d^2 + (cos theta - cos theta0)^2)); fC falls from 1 at R - D to 0 at R + D as
    1/2 - 1/2 sin(pi (r - R) / 2D). A bond's energy is shared by its two ends, each with its own bond order.

    Parameters
    ----------
    species : sequence of str
        S chemical symbols.
    table : array (S, S, S, 14)
        By centre i, bonded neighbour j and other neighbour k: m (1 or 3), gamma, lambda3 (1/Å), c, d, cos theta0, n,
        beta, lambda2 (1/Å), B (eV), R, D (Å), lambda1 (1/Å), A (eV). As in LAMMPS the entries (i, j, j) hold what
        belongs to the bond (n, beta, lambda1, lambda2, A, B and its R, D), all entries what belongs to zeta.

    Raises
    ------
    ValueError
        If a species is no chemical symbol, or the table has the wrong shape, a number that is not finite or not
        positive where it must be, or m other than 1 and 3.

    Source: J. Tersoff, Phys. Rev. B 37, 6991 (1988), and 39, 5566 (1989), eq. 1, in the form of LAMMPS.
    """

    def __init__(self, species: Sequence[str], table: np.ndarray):
        numbers = numbers_of(species)
        self.table = check_table(table, len(numbers), COLUMNS, ("d", "D"), ("n", "beta"))
        by_name = dict(zip(COLUMNS, np.moveaxis(self.table, -1, 0)))
        if not np.isin(by_name["m"], (1.0, 3.0)).all():
            wrong = by_name["m"][~np.isin(by_name["m"], (1.0, 3.0))][0]
            raise ValueError(f"m is {wrong:g} in the table; accepted are 1 and 3")
        bond = {name: np.einsum("ijj->ij", values) for name, values in by_name.items()}
        n, beta = bond["n"], bond["beta"]
        inner, outer = by_name["R"] - by_name["D"], by_name["R"] + by_name["D"]
        # a neighbour counts as soon as any of the functions of its distance does
        reach = np.maximum(np.einsum("ijj->ij", outer), outer.max(axis=1))
        pair = np.stack(
            [
                reach**2,
                bond["R"] - bond["D"],
                bond["R"] + bond["D"],
                0.5 * np.pi / bond["D"],
                0.5 * bond["A"],
                bond["lambda1"],
                0.5 * bond["B"],
                bond["lambda2"],
                beta,
                n,
                np.maximum((2 * n * _NO_EFFECT) ** (1 / n) / beta, 1e-30),
            ],
            axis=-1,
        )
        ratio = by_name["gamma"] * (by_name["c"] / by_name["d"]) ** 2
        angular = [by_name["gamma"], ratio, by_name["d"] ** 2, by_name["costheta0"]]
        plain = by_name["lambda3"] == 0
        for values in (*angular, plain):
            plain = plain & (values == values.swapaxes(1, 2))
        for ends in (inner, outer):
            own = ends == np.einsum("ikk->ik", ends)[:, None, :]
            plain = plain & own & own.swapaxes(1, 2)
        triplet = np.stack(
            [plain, *angular, by_name["lambda3"], by_name["m"], inner, outer, 0.5 * np.pi / by_name["D"]], axis=-1
        )
        super().__init__(
            species=numbers, cutoff=float(reach.max()), parameters=pack_parameters(pair, triplet), kind=TERSOFF
        )

    @classmethod
    def silicon(cls) -> "Tersoff":
        """Silicon of Tersoff, Phys. Rev. B 39, 5566 (1989)."""
        return cls(("Si",), _mixed_table(("Si",), CENTRES_1989, BONDS_1989))

    @classmethod
    def carbon(cls) -> "Tersoff":
        """Carbon of Tersoff, Phys. Rev. B 39, 5566 (1989)."""
        return cls(("C",), _mixed_table(("C",), CENTRES_1989, BONDS_1989))

    @classmethod
    def germanium(cls) -> "Tersoff":
        """Germanium of Tersoff, Phys. Rev. B 39, 5566 (1989)."""
        return cls(("Ge",), _mixed_table(("Ge",), CENTRES_1989, BONDS_1989))

    @classmethod
    def silicon_carbide(cls) -> "Tersoff":
        """Silicon and carbon of Tersoff, Phys. Rev. B 39, 5566 (1989) with the erratum 41, 3248 (1990)."""
        return cls(("Si", "C"), _mixed_table(("Si", "C"), CENTRES_1989, BONDS_1989))

    @classmethod
    def silicon_germanium(cls) -> "Tersoff":
        """Silicon and germanium of Tersoff, Phys. Rev. B 39, 5566 (1989)."""
        return cls(("Si", "Ge"), _mixed_table(("Si", "Ge"), CENTRES_1989, BONDS_1989))

    @classmethod
    def silicon_carbon_germanium(cls) -> "Tersoff":
        """Silicon, carbon and germanium of Tersoff, Phys. Rev. B 39, 5566 (1989).

        Tersoff fitted no bond between carbon and germanium. It follows here from his mixing rules (geometric
        means of A, B, R - D and R + D, arithmetic means of lambda1 and lambda2), with chi = 1.
        """
        species = ("Si", "C", "Ge")
        carbon, germanium = BONDS_1989["C", "C"], BONDS_1989["Ge", "Ge"]
        ends = [np.sqrt((carbon[4] + s * carbon[5]) * (germanium[4] + s * germanium[5])) for s in (-1, 1)]
        mixed = (
            *np.sqrt(np.multiply(carbon[:2], germanium[:2])),
            *(0.5 * np.add(carbon[2:4], germanium[2:4])),
            0.5 * (ends[0] + ends[1]),
            0.5 * (ends[1] - ends[0]),
        )
        return cls(species, _mixed_table(species, CENTRES_1989, BONDS_1989 | {("C", "Ge"): mixed}))

    @classmethod
    def silica(cls) -> "Tersoff":
        """Silicon and oxygen of Munetoh et al., Comput. Mater. Sci. 39, 334 (2007).

        It has no charges: polar phonons do not split at long wavelengths.
        """
        return cls(("Si", "O"), _mixed_table(("Si", "O"), CENTRES_2007, BONDS_2007))

    @classmethod
    def virtual_crystal(cls, germanium_fraction: float) -> "Tersoff":
        """Silicon-germanium in which every atom is the same average of silicon and germanium.

        Atoms may be labelled Si or Ge, which changes their masses and nothing else: force constants of a virtual
        crystal for a lattice with mass disorder. With x the fraction of germanium, parameters of a centre are
        (1 - x) Si + x Ge, parameters of a bond (1 - x)^2 Si-Si + 2 x (1 - x) Si-Ge + x^2 Ge-Ge.

        Parameters
        ----------
        germanium_fraction : float
            x, from 0 to 1.

        Raises
        ------
        ValueError
            If x is outside 0 to 1.
        """
        x = germanium_fraction
        check_fraction("germanium_fraction", x)
        silicon, germanium = (np.array(CENTRES_1989[symbol]) for symbol in ("Si", "Ge"))
        weights = {("Si", "Si"): (1 - x) ** 2, ("Si", "Ge"): 2 * x * (1 - x), ("Ge", "Ge"): x * x}
        centre = (1 - x) * silicon + x * germanium
        bond = sum(weight * np.array(BONDS_1989[key]) for key, weight in weights.items())
        species = ("Si", "Ge")
        return cls(species, _mixed_table(species, dict.fromkeys(species, centre), dict.fromkeys(weights, bond)))

    @classmethod
    def from_lammps(cls, path: str | Path, species: Sequence[str]) -> "Tersoff":
        """Parameters from a LAMMPS file (``pair_style tersoff``).

        Each end of a bond uses its own entry for the repulsion; LAMMPS uses that of one end for both, which differs
        where a file rounds the two entries differently.

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
        return cls([element_of(name) for name in species], read_lammps_table(path, species, len(COLUMNS)))


def _mixed_table(
    species: Sequence[str], centres: Mapping[str, Sequence[float]], bonds: Mapping[tuple[str, str], Sequence[float]]
) -> np.ndarray:
    """Table of triplets in which zeta depends on the centre and the cut-offs only (m = 3, gamma = 1, lambda3 = 0)."""
    table = np.zeros((len(species),) * 3 + (len(COLUMNS),))
    column = {name: table[..., index] for index, name in enumerate(COLUMNS)}
    column["m"][:], column["gamma"][:] = 3.0, 1.0
    for i, centre in enumerate(species):
        for name, value in zip(_CENTRE, centres[centre], strict=True):
            column[name][i] = value
        for k, neighbour in enumerate(species):
            values = bonds[(centre, neighbour) if (centre, neighbour) in bonds else (neighbour, centre)]
            for name, value in zip(_BOND, values, strict=True):
                if name in ("R", "D"):
                    column[name][i, :, k] = value
                else:
                    column[name][i, k, k] = value
    return table
