"""Bonds, angles and corrections between fixed partners: the potential of molecules that never react."""

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
import torch

from matterscape.checks import check_number, is_number
from matterscape.potentials import _bonded_kernels as kernels
from matterscape.potentials._bonded_operator import bonded, check_term
from matterscape.potentials.base import Bound, Evaluation, Potential
from matterscape.potentials.force_constants import ForceConstants
from matterscape.potentials.local import fold
from matterscape.potentials.topology import Topology
from matterscape.structures import NeighbourLists, Structures

SHARINGS = ("centre", "thirds")


@dataclass(frozen=True)
class PairTerm:
    """Energy between two fixed partners.

    U(r) = k2 x^2 + k3 x^3 + k4 x^4 + q/r + A exp(-r/rho) - C/r^6 - u0 with x = r - r0.

    The polynomial is a bond; it needs no factors 1/2, 1/6. The rest, with the signs turned, takes out of a force field
    what non-bonded potentials see between bonded partners.

    Parameters
    ----------
    length : float
        r0 in Å.
    quadratic, cubic, quartic : float
        k2, k3, k4 in eV/Å^2, eV/Å^3, eV/Å^4.
    coulomb : float
        q in eV Å; minus e^2/(4 pi eps0) times both charges excludes a pair from an Ewald sum.
    repulsion, decay : float
        A in eV and rho in Å.
    dispersion : float
        C in eV Å^6.
    constant : float
        u0 in eV.
    """

    length: float = 1.0
    quadratic: float = 0.0
    cubic: float = 0.0
    quartic: float = 0.0
    coulomb: float = 0.0
    repulsion: float = 0.0
    decay: float = 1.0
    dispersion: float = 0.0
    constant: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(field.name, getattr(self, field.name), signed=True)
        check_number("decay", self.decay, "Å", positive=True)

    @classmethod
    def quartic_morse(cls, depth: float, width: float, length: float) -> "PairTerm":
        """Morse potential to fourth order, D [(a x)^2 - (a x)^3 + 7/12 (a x)^4], which does not break.

        Parameters
        ----------
        depth : float
            D in eV.
        width : float
            a in 1/Å.
        length : float
            r0 in Å.
        """
        return cls(
            length=length, quadratic=depth * width**2, cubic=-depth * width**3, quartic=7 / 12 * depth * width**4
        )


@dataclass(frozen=True)
class AngleTerm:
    """Energy k (theta - theta0)^2 of an angle.

    Parameters
    ----------
    stiffness : float
        k in eV per radian squared.
    angle_deg : float
        theta0 in degrees.
    """

    stiffness: float
    angle_deg: float

    def __post_init__(self) -> None:
        check_number("stiffness", self.stiffness, signed=True)
        if not is_number(self.angle_deg) or not 0 < self.angle_deg < 180:
            raise ValueError(f"angle_deg is {self.angle_deg!r}; accepted is between 0 and 180")


class Bonded(Potential):
    """Bonds, angles and exclusions of molecules whose bonds are fixed.

    Parameters
    ----------
    topology : callable or Topology
        ``topology(structures)`` finds the bonds of a batch; a Topology holds those of one batch.
    pairs : sequence of PairTerm
        Rows that ``Topology.pair_rows`` refers to.
    angles : sequence of AngleTerm
        Rows that ``Topology.angle_rows`` refers to.
    sharing : str
        Whose the energy of an angle is: all of it the "centre"'s, or in "thirds" of the three atoms. Forces and stress
        do not depend on it, energies of atoms and heat flux do. The energy of a pair always belongs to both in halves.

    Raises
    ------
    TypeError
        If ``topology`` is something else.
    ValueError
        If ``sharing`` is unknown.

    Notes
    -----
    The flux tensors are those of the energies of the atoms: for an angle W_j = (r_j - r_e) F_j with r_e the place of
    its energy, the centre or the mean of the three atoms. Dividing an angle's virial equally among its atoms, as the
    virial of an atom is often defined, gives the current of no energy.
    Source: D. Surblys et al., Phys. Rev. E 99, 051301 (2019); Z. Fan et al., Phys. Rev. B 92, 094301 (2015).
    """

    def __init__(
        self,
        topology: Callable[[Structures], Topology] | Topology,
        pairs: Sequence[PairTerm] = (),
        angles: Sequence[AngleTerm] = (),
        sharing: str = "centre",
    ):
        if sharing not in SHARINGS:
            raise ValueError(f"sharing is {sharing!r}; accepted are {', '.join(map(repr, SHARINGS))}")
        if not (isinstance(topology, Topology) or callable(topology)):
            raise TypeError(f"topology is a {type(topology).__name__}; accepted is a Topology or a function")
        self._topology = topology
        self.sharing = sharing
        self.pair_parameters = torch.tensor([astuple(p) for p in pairs], dtype=torch.float64)
        self.pair_parameters = self.pair_parameters.reshape(-1, kernels.PAIR_COLUMNS)
        rows = [(a.stiffness, math.radians(a.angle_deg)) for a in angles]
        self.angle_parameters = torch.tensor(rows, dtype=torch.float64).reshape(-1, kernels.ANGLE_COLUMNS)

    def topology(self, structures: Structures) -> Topology:
        """The bonds of a batch.

        Raises
        ------
        ValueError
            If they cannot be found, or do not belong to this batch and these parameters.
        """
        found = self._topology if isinstance(self._topology, Topology) else self._topology(structures)
        if found.n_atoms != structures.n_atoms:
            raise ValueError(f"the topology is that of {found.n_atoms} atoms; the structures have {structures.n_atoms}")
        for name, rows, table in (
            ("pair_rows", found.pair_rows, self.pair_parameters),
            ("angle_rows", found.angle_rows, self.angle_parameters),
        ):
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(table):
                raise ValueError(
                    f"{name} run from {rows.min()} to {rows.max()}; there are {len(table)} rows of parameters"
                )
        return found

    def check(self, structures: Structures) -> None:
        """See :meth:`matterscape.potentials.base.Potential.check`; also finds the molecules."""
        super().check(structures)
        self.topology(structures)

    def __call__(self, structures: Structures) -> Evaluation:
        """See :meth:`matterscape.potentials.base.Potential.__call__`."""
        topology = self.topology(structures)
        positions = topology.extend(structures.positions, structures.cells, structures.structure_index)
        device = positions.device
        terms = [
            torch.from_numpy(array).to(device)
            for array in (topology.pairs, topology.pair_rows, topology.angles, topology.angle_rows)
        ]
        energies, gradient, pieces = bonded(
            positions,
            positions.new_zeros(0),
            *terms[:2],
            self.pair_parameters.to(positions),
            *terms[2:],
            self.angle_parameters.to(positions),
            self.sharing == "thirds",
        )
        owners = torch.from_numpy(topology.owners).to(device)
        folded = [
            part.new_zeros(structures.n_atoms, *part.shape[1:]).index_add(0, owners, part)
            for part in (energies, gradient, pieces)
        ]
        return Evaluation(folded[0], -folded[1], folded[2], structures)

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`matterscape.potentials.base.Potential.bind`; the bonds found now are kept."""
        return _BoundBonded(self, structures)

    def hessian(self, structures: Structures) -> ForceConstants:
        """Second derivatives of the energy, exact to rounding (complex steps).

        Source: J. N. Lyness and C. B. Moler, SIAM J. Numer. Anal. 4, 202 (1967).
        """
        topology = self.topology(structures)
        positions = topology.extend(
            structures.positions.detach(), structures.cells.detach(), structures.structure_index
        )
        terms = (topology.pairs, topology.pair_rows, topology.angles, topology.angle_rows)
        tables = [table.detach().cpu().numpy() for table in (self.pair_parameters, self.angle_parameters)]
        blocks = np.empty((4 * len(topology.pairs) + 9 * len(topology.angles), 3, 3))
        kernels.second_derivatives(
            positions.cpu().double().numpy(), *terms[:2], tables[0], *terms[2:], tables[1], blocks
        )
        first = np.concatenate([np.repeat(atoms, atoms.shape[1], axis=1).ravel() for atoms in terms[::2]])
        second = np.concatenate([np.tile(atoms, (1, atoms.shape[1])).ravel() for atoms in terms[::2]])
        owners, shifts = topology.owners, topology.shifts
        return ForceConstants.from_terms(
            owners[first], owners[second], shifts[second] - shifts[first], blocks, structures
        )


class _BoundBonded(Bound):
    """The bonds that the structures have when bound, for ever."""

    def __init__(self, potential: Bonded, structures: Structures):
        self.topology = topology = potential.topology(structures)
        self._structure_index = structures.structure_index.cpu().numpy()
        self._terms = (
            topology.pairs,
            topology.pair_rows,
            potential.pair_parameters.detach().cpu().numpy(),
            topology.angles,
            topology.angle_rows,
            potential.angle_parameters.detach().cpu().numpy(),
            potential.sharing == "thirds",
        )
        n_extended = len(topology.owners)
        self._no_weights = np.zeros(0)
        self._extended = np.empty((n_extended, 3))
        self._energies, self._gradient = np.empty(n_extended), np.empty((n_extended, 3))
        self._pieces = np.empty((n_extended, 3, 3))

    def add(self, positions, cells, energies, forces, pieces):
        topology = self.topology
        kernels.extend(positions, cells, self._structure_index, topology.owners, topology.shifts, self._extended)
        used = self._pieces if pieces is not None else self._pieces[:0]
        for array in (self._energies, self._gradient, used):
            array.fill(0.0)
        term = kernels.accumulate(
            self._extended,
            self._no_weights,
            *self._terms,
            pieces is not None,
            self._energies,
            self._gradient,
            used,
        )
        check_term(term, topology.pairs, topology.angles, topology.owners)
        fold(
            topology.owners, self._energies, self._gradient, used, energies, forces, used if pieces is None else pieces
        )
