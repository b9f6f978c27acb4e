"""Rigid-ion potentials of the alkali halides after Fumi and Tosi."""

from matterscape.potentials.short_range import BornMayerHuggins

# Ion sizes in Å and the number of electrons in the outer shell
_SIZES = {
    "Li": 0.816, "Na": 1.170, "K": 1.463, "Rb": 1.587, "Cs": 1.720, "F": 1.179, "Cl": 1.585, "Br": 1.716, "I": 1.907,
}  # fmt: skip
_SHELLS = {symbol: 2 if symbol == "Li" else 8 for symbol in _SIZES}
# rho in Å; C of ++, +-, -- in 1e-60 erg cm^6; D of the same in 1e-76 erg cm^8
_SALTS = {
    ("Li", "F"): (0.299, (0.073, 0.8, 14.5), (0.03, 0.6, 17.0)),
    ("Li", "Cl"): (0.342, (0.073, 2.0, 111.0), (0.03, 2.4, 223.0)),
    ("Li", "Br"): (0.353, (0.073, 2.5, 185.0), (0.03, 3.3, 423.0)),
    ("Li", "I"): (0.430, (0.073, 3.3, 378.0), (0.03, 5.3, 1060.0)),
    ("Na", "F"): (0.330, (1.68, 4.5, 16.5), (0.8, 3.8, 20.0)),
    ("Na", "Cl"): (0.317, (1.68, 11.2, 116.0), (0.8, 13.9, 233.0)),
    ("Na", "Br"): (0.340, (1.68, 14.0, 196.0), (0.8, 19.0, 450.0)),
    ("Na", "I"): (0.386, (1.68, 19.1, 392.0), (0.8, 31.0, 1100.0)),
    ("K", "F"): (0.338, (24.3, 19.5, 18.6), (24.0, 21.0, 22.0)),
    ("K", "Cl"): (0.337, (24.3, 48.0, 124.5), (24.0, 73.0, 250.0)),
    ("K", "Br"): (0.335, (24.3, 60.0, 206.0), (24.0, 99.0, 470.0)),
    ("K", "I"): (0.355, (24.3, 82.0, 403.0), (24.0, 156.0, 1130.0)),
    ("Rb", "F"): (0.328, (59.4, 31.0, 18.9), (82.0, 40.0, 23.0)),
    ("Rb", "Cl"): (0.318, (59.4, 79.0, 130.0), (82.0, 134.0, 260.0)),
    ("Rb", "Br"): (0.335, (59.4, 99.0, 215.0), (82.0, 180.0, 490.0)),
    ("Rb", "I"): (0.337, (59.4, 135.0, 428.0), (82.0, 280.0, 1200.0)),
    ("Cs", "F"): (0.282, (152.0, 52.0, 19.1), (278.0, 78.0, 23.0)),
}
_B = 0.210963  # eV: 0.338e-19 J
_DISPERSION = 0.624151  # eV Å^6 in 1e-60 erg cm^6, and eV Å^8 in 1e-76 erg cm^8

#: Salts that have parameters: those that crystallise in the rock-salt structure.
SALTS = tuple(cation + anion for cation, anion in _SALTS)


def fumi_tosi(salt: str, *, cutoff: float = 9.0, shift: bool = False, switch: float | None = None) -> BornMayerHuggins:
    """Short-ranged part of the Born-Mayer-Huggins potential of an alkali halide, with its charges of +1 and -1.

    phi_ij(r) = b (1 + z_i / n_i + z_j / n_j) exp[(s_i + s_j - r) / rho] - C_ij / r^6 - D_ij / r^8. The charges are kept
    with the potential: :meth:`~matterscape.potentials.pair.PairPotential.with_coulomb` and the Ewald sums use them, and
    pairs inside the barrier of the whole interaction are refused.

    Parameters
    ----------
    salt : str
        E.g. ``"NaCl"``; one of :data:`SALTS`.
    cutoff : float
        In Å.
    shift : bool
        Subtract the energy at the cutoff.
    switch : float, optional
        From here (Å) on the energy is taken to zero at the cutoff with two continuous derivatives.

    Raises
    ------
    ValueError
        If the salt is not in the table.

    Source: M. P. Tosi, F. G. Fumi, J. Phys. Chem. Solids 25, 45 (1964) for b, sizes and rho; J. E. Mayer, J. Chem.
    Phys. 1, 270 (1933) for C and D. The numbers agree in two independent public parameter files.
    """
    if salt not in SALTS:
        raise ValueError(f"salt is {salt!r}; accepted are {', '.join(SALTS)}")
    cation, anion = next(pair for pair in _SALTS if "".join(pair) == salt)
    rho, c, d = _SALTS[cation, anion]
    charges = {cation: 1.0, anion: -1.0}
    table = {}
    for k, (i, j) in enumerate([(cation, cation), (cation, anion), (anion, anion)]):
        b = _B * (1 + charges[i] / _SHELLS[i] + charges[j] / _SHELLS[j])
        table[i, j] = (b, rho, _SIZES[i] + _SIZES[j], _DISPERSION * c[k], _DISPERSION * d[k])
    potential = BornMayerHuggins(table, cutoff, shift=shift, switch=switch, charges=charges)
    potential.name = f"Fumi-Tosi {salt}"
    return potential
