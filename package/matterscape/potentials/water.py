"""The flexible water model q-TIP4P/F, made for path integrals: quantum nuclei give the density and diffusion of water.

Parameters: S. Habershon, T. E. Markland and D. E. Manolopoulos, J. Chem. Phys. 131, 024501 (2009), table I, in the
atomic units in which i-PI's driver carries them.
"""

from typing import Any

from ase import units

from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.composition import Sum
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Coulomb
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.topology import Molecules, Topology, find_molecules
from matterscape.potentials.virtual_sites import OnSites
from matterscape.structures import Structures

#: Weight of the oxygen in the place of the negative charge M; the hydrogens share the rest.
OXYGEN_WEIGHT = 0.73612
#: In elementary charges; that of the oxygen sits on M.
CHARGES = {"O": -1.1128, "H": 0.5564}
#: Lennard-Jones epsilon in eV and sigma in Å between oxygens.
OXYGEN_OXYGEN = (2.95147e-4 * units.Hartree, 5.96946 * units.Bohr)
BOND = PairTerm.quartic_morse(depth=0.185 * units.Hartree, width=1.21 / units.Bohr, length=1.78 * units.Bohr)
ANGLE = AngleTerm(stiffness=0.07 * units.Hartree, angle_deg=107.4)
LONGEST_BOND = 1.6  # Å


def water_molecules(structures: Structures) -> Molecules:
    """The molecules of a batch: every hydrogen belongs to the nearest oxygen.

    Raises
    ------
    ValueError
        If an oxygen has not two hydrogens, or a hydrogen no oxygen within 1.6 Å.
    """
    return find_molecules(structures, "O", "H", 2, LONGEST_BOND)


def _bonds(structures: Structures) -> Topology:
    return water_molecules(structures).topology(bond_row=0, angle_row=0)


class QTIP4PF(Sum):
    """Flexible water q-TIP4P/F: quartic bonds, a harmonic angle, Lennard-Jones oxygens, three charges.

    The charges of a molecule do not see each other. The negative one sits at
    r_M = 0.73612 r_O + 0.13194 (r_H1 + r_H2); its force and its energy are shared by these weights.

    Parameters
    ----------
    cutoff : float
        Of the Lennard-Jones interaction, in Å.
    shift : bool
        Whether its energy at the cutoff is subtracted.
    sharing : str
        Whose the energy of an angle is: the "centre"'s (O), or in "thirds" of the three.
    **coulomb
        Options of :class:`~matterscape.potentials.coulomb.Coulomb`, such as ``force_error`` in eV/Å.

    Raises
    ------
    ValueError
        At use, naming the atom: for other species, or molecules that are not whole.

    Source: S. Habershon, T. E. Markland, D. E. Manolopoulos, J. Chem. Phys. 131, 024501 (2009).
    """

    def __init__(self, cutoff: float = 9.0, *, shift: bool = True, sharing: str = "centre", **coulomb: Any):
        charges = Coulomb(CHARGES, **coulomb)
        exclusions = [PairTerm(coulomb=-COULOMB * CHARGES["H"] * CHARGES[other]) for other in ("O", "H")]

        def between_sites(molecules: Molecules) -> Sum:
            return Sum(charges, Bonded(molecules.topology(bond_row=0, ligand_row=1), exclusions))

        table = {("O", "O"): OXYGEN_OXYGEN, ("O", "H"): None, ("H", "H"): None}
        super().__init__(
            LennardJones(table, cutoff, shift=shift),
            Bonded(_bonds, [BOND], [ANGLE], sharing),
            OnSites(water_molecules, between_sites, OXYGEN_WEIGHT, species=charges.species),
        )
