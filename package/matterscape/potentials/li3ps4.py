"""Rigid-ion force field LPS-RI of lithium thiophosphate, Li3PS4, and the cells of its gamma and beta phases.

Ions with partial charges and Buckingham potentials; four P-S bonds and six S-P-S angles hold each PS4 together, within
which charges and Buckingham potentials do not act. Exclusions are those of images: in a small cell an ion still sees
the periodic image of its own PS4.

Parameters and relaxed cells: fit of this project to PBEsol forces and energies of the data set behind L. Gigli,
D. Tisi, F. Grasselli and M. Ceriotti, Chem. Mater. 36, 1482 (2024), arXiv:2310.15679. It is no model of that paper.
Force errors are 0.38 of 0.70 eV/Å; it expands too much when heated, so keep the volume fixed, and its PS4 flip far too
often.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from ase import Atoms
from ase.spacegroup import crystal

from matterscape.potentials.bonded import AngleTerm, Bonded, PairTerm
from matterscape.potentials.composition import Sum
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Ionic
from matterscape.potentials.short_range import Buckingham
from matterscape.potentials.topology import Topology, find_molecules
from matterscape.structures import Structures

#: In elementary charges; they are interaction parameters, not the charges that carry a current (Li +1, PS4 -3).
CHARGES = {"Li": 0.6, "P": -0.0074, "S": -0.44815}
#: A in eV, rho in Å, C in eV Å^6.
BUCKINGHAM = {
    ("Li", "S"): (62483.0, 0.17458, 0.0),
    ("Li", "P"): (4692.9, 0.26199, 0.0),
    ("S", "S"): (1506.1, 0.35313, 150.0),
}
BUCKINGHAM_CUTOFF = 8.0
BOND = PairTerm(length=2.0843, quadratic=6.8419, cubic=-9.4817, quartic=7.6650)
ANGLE = AngleTerm(stiffness=2.91615, angle_deg=108.07)
LONGEST_BOND = 2.9


def gamma() -> Atoms:
    """Relaxed cell of the gamma phase, Pmn2_1, 16 atoms, for :class:`LPSForceField`."""
    return crystal(
        ["Li", "Li", "P", "S", "S", "S"],
        [
            (0.2552, 0.6834, 0.5422),
            (0, 0.1458, 0.5328),
            (0, 0.8159, 0.0318),
            (0.2277, 0.6676, 0.9265),
            (0, 0.8207, 0.3607),
            (0, 0.1098, 0.9183),
        ],
        spacegroup=31,
        cellpar=[7.4166, 6.5620, 6.2302, 90, 90, 90],
    )


def beta() -> Atoms:
    """Relaxed cell of the beta phase, Pnma, 32 atoms, for :class:`LPSForceField`."""
    return crystal(
        ["Li", "Li", "P", "S", "S", "S"],
        [
            (0.6653, 0.0282, 0.8982),
            (0, 0, 0),
            (0.9186, 0.25, 0.6678),
            (0.9203, 0.25, 0.3383),
            (0.0681, 0.25, 0.7841),
            (0.8430, 0.0358, 0.7769),
        ],
        spacegroup=62,
        cellpar=[12.8213, 7.8191, 6.2524, 90, 90, 90],
    )


def thiophosphates(structures: Structures) -> Topology:
    """Bonds, S-S pairs and angles of the PS4 of a batch.

    Raises
    ------
    ValueError
        If a P has not four S, or an S no P within 2.9 Å: a reactive frame.
    """
    return find_molecules(structures, "P", "S", 4, LONGEST_BOND).topology(bond_row=0, ligand_row=1, angle_row=0)


class LPSForceField(Sum):
    """Force field LPS-RI of Li3PS4; see :mod:`matterscape.potentials.li3ps4` for its origin and limits.

    Parameters
    ----------
    sharing : str
        Whose the energy of an S-P-S angle is: the "centre"'s (P), or in "thirds" of the three.
    **coulomb
        Options of :class:`~matterscape.potentials.coulomb.Coulomb`, such as ``force_error`` in eV/Å.

    Raises
    ------
    ValueError
        At use, naming the atom: for other species, or where a P has not four S within 2.9 Å.

    Notes
    -----
    Coulomb and Buckingham run over all pairs, and the bonded terms take out again what they add inside each PS4. The
    bonds are those of the structures at hand; :meth:`bind` keeps them for a whole run.
    """

    def __init__(self, sharing: str = "centre", **coulomb: Any):
        symbols = list(CHARGES)
        pairs = [(a, b) for k, a in enumerate(symbols) for b in symbols[k:]]
        table = {pair: BUCKINGHAM.get(pair) for pair in pairs}
        self.ionic = Ionic(Buckingham(table, BUCKINGHAM_CUTOFF, shift=True, charges=CHARGES), **coulomb)
        bonds = [_excluding(BOND, "P", "S"), _excluding(PairTerm(), "S", "S")]
        super().__init__(self.ionic, Bonded(thiophosphates, bonds, [ANGLE], sharing))

    def energy_terms(self, structures: Structures) -> dict[str, torch.Tensor]:
        """Contributions to the energy.

        Returns
        -------
        dict of str to tensor (n_structures,)
            In eV: "coulomb" and "buckingham" without those inside PS4, "bonds" and "angles".
        """
        topology = thiophosphates(structures)
        no_angle, no_pair = AngleTerm(0.0, ANGLE.angle_deg), PairTerm()
        excluded = [_excluding(no_pair, "P", "S"), _excluding(no_pair, "S", "S")]
        coulomb = [PairTerm(coulomb=term.coulomb) for term in excluded]
        rows = {
            "coulomb": (coulomb, no_angle),
            "buckingham": ([replace(term, coulomb=0.0) for term in excluded], no_angle),
            "bonds": ([BOND, no_pair], no_angle),
            "angles": ([no_pair, no_pair], ANGLE),
        }
        terms = {name: Bonded(topology, pairs, [angle])(structures).energy for name, (pairs, angle) in rows.items()}
        terms["coulomb"] = terms["coulomb"] + self.ionic.coulomb(structures).energy
        terms["buckingham"] = terms["buckingham"] + self.ionic.pairs(structures).energy
        return terms


def _excluding(bond: PairTerm, a: str, b: str) -> PairTerm:
    """The bond, less what Coulomb and Buckingham potentials add between two ions of these species."""
    repulsion, decay, dispersion = BUCKINGHAM.get((a, b), (0.0, 1.0, 0.0))
    shift = repulsion * math.exp(-BUCKINGHAM_CUTOFF / decay) - dispersion / BUCKINGHAM_CUTOFF**6
    return replace(
        bond,
        coulomb=-COULOMB * CHARGES[a] * CHARGES[b],
        repulsion=-repulsion,
        decay=decay,
        dispersion=-dispersion,
        constant=-shift,
    )
