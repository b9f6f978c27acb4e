"""What a potential is: energies, forces and flux tensors of every atom in one pass.

The energy of a structure is a sum over atoms, U = sum_i U_i. Besides the forces F_k = -dU/dr_k a potential gives the
flux tensors

    W_j^{ab} = -sum_i (r_j - r_i)^a (dU_i/dr_j)^b,

from which everything else follows: their sum is the virial -dU/d(strain), and the heat flux is
J = sum_i (e_i v_i + W_i v_i) with e_i = U_i + m_i v_i^2 / 2. For pair potentials W_i = 1/2 sum_j r_ij F_ij.

Source: Z. Fan et al., Phys. Rev. B 92, 094301 (2015), eqs. 12-21, in the notation used here.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_masses, chemical_symbols

from matterscape.structures import NeighbourLists, Structures

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

    from matterscape.potentials.force_constants import ForceConstants


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Energies, forces and flux tensors of a batch.

    Attributes
    ----------
    energies : tensor (n_atoms,)
        Energy of each atom in eV.
    forces : tensor (n_atoms, 3)
        In eV/Å.
    flux_tensors : tensor (n_atoms, 3, 3)
        W of each atom in eV, see :mod:`matterscape.potentials.base`.
    structures : Structures
        The batch; derivatives of all of these flow back to its positions and strain.
    """

    energies: torch.Tensor
    forces: torch.Tensor
    flux_tensors: torch.Tensor
    structures: Structures

    @property
    def energy(self) -> torch.Tensor:
        """Energy of each structure (n_structures,) in eV."""
        return self._per_structure(self.energies)

    @property
    def virials(self) -> torch.Tensor:
        """Virial -dU/d(strain) of each structure (n_structures, 3, 3) in eV, symmetric."""
        total = self._per_structure(self.flux_tensors)
        return 0.5 * (total + total.transpose(1, 2))

    @property
    def stress(self) -> torch.Tensor:
        """Stress of each structure (n_structures, 3, 3) in eV/Å^3, positive under tension.

        Raises
        ------
        ValueError
            If a structure has no cell.
        """
        volumes = self.structures.volumes
        if bool((volumes == 0).any()):
            index = int((volumes == 0).nonzero()[0])
            raise ValueError(f"structure {index} has no cell, so its stress is not defined; use virials")
        return -self.virials / volumes[:, None, None]

    def heat_flux(self, velocities: torch.Tensor, masses: torch.Tensor | None = None) -> torch.Tensor:
        """Heat flux J = sum_i (e_i v_i + W_i v_i) of each structure.

        Parameters
        ----------
        velocities : tensor (n_atoms, 3)
            In Å per ASE time unit.
        masses : tensor (n_atoms,), optional
            In amu; standard atomic masses if not given.

        Returns
        -------
        tensor (n_structures, 3)
            Extensive, in eV Å per ASE time unit.
        """
        if masses is None:
            masses = torch.from_numpy(atomic_masses).to(velocities)[self.structures.species]
        energies = self.energies + 0.5 * masses * (velocities**2).sum(1)
        return self._per_structure(
            energies[:, None] * velocities + torch.einsum("nab,nb->na", self.flux_tensors, velocities)
        )

    def _per_structure(self, values: torch.Tensor) -> torch.Tensor:
        total = values.new_zeros(self.structures.n_structures, *values.shape[1:])
        return total.index_add(0, self.structures.structure_index, values)


class Bound(ABC):
    """A potential made ready for one set of atoms: plain arrays in and out, for many steps."""

    @abstractmethod
    def add(
        self,
        positions: np.ndarray,
        cells: np.ndarray,
        energies: np.ndarray,
        forces: np.ndarray,
        pieces: np.ndarray | None,
    ) -> None:
        """Add this potential's contributions to the arrays.

        Parameters
        ----------
        positions : ndarray (n_atoms, 3), float64
            Not necessarily wrapped. The neighbour lists given to :meth:`Potential.bind` are up to date with them.
        cells : ndarray (n_structures, 3, 3), float64
        energies : ndarray (n_atoms,)
        forces : ndarray (n_atoms, 3)
        pieces : ndarray (n_atoms, 3, 3) or None
            Flux tensors, if they are wanted.

        Raises
        ------
        ValueError
            If two atoms are closer than the potential allows.
        """


class Potential(ABC):
    """Interatomic potential. Sums (``a + b``) and multiples (``0.5 * a``) are potentials again."""

    #: Atomic numbers that the potential has parameters for; None accepts all.
    species: tuple[int, ...] | None = None

    @abstractmethod
    def __call__(self, structures: Structures) -> Evaluation:
        """Energies, forces and flux tensors of a batch, differentiable in positions and strain.

        Raises
        ------
        ValueError
            If a species has no parameters, or two atoms are closer than the potential allows.
        """

    @abstractmethod
    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """Make the potential ready for many steps with the same atoms.

        Parameters
        ----------
        structures : Structures
        lists : NeighbourLists
            Where the potential asks for the neighbours that it needs.
        """

    def check(self, structures: Structures) -> None:
        """Raise ``ValueError`` if an atom's species has no parameters, ``TypeError`` if these are no Structures."""
        if not isinstance(structures, Structures):
            raise TypeError(
                f"structures is a {type(structures).__name__}; accepted is Structures, e.g. Structures.from_ase(atoms)"
            )
        if self.species is None:
            return
        known = torch.tensor(self.species, device=structures.species.device)
        unknown = ~torch.isin(structures.species, known)
        if bool(unknown.any()):
            atom = int(unknown.nonzero()[0])
            structure = int(structures.structure_index[atom])
            names = ", ".join(chemical_symbols[number] for number in self.species)
            raise ValueError(
                f"atom {atom - int(structures.offsets[structure])} of structure {structure} is "
                f"{chemical_symbols[int(structures.species[atom])]}, which {self} has no parameters for; "
                f"accepted are {names}"
            )

    def hessian(self, structures: Structures) -> "ForceConstants":
        """Second derivatives of the energy, resolved by periodic image.

        Parameters
        ----------
        structures : Structures

        Returns
        -------
        ForceConstants

        Raises
        ------
        NotImplementedError
            If the potential has none; torch differentiates the forces of any potential.
        """
        raise NotImplementedError(f"{self} has no hessian; differentiate its forces with torch instead")

    def calculator(self, **keywords: Any) -> "Calculator":
        """This potential as an ASE calculator; keywords as of :class:`matterscape.potentials.calculator.Calculator`."""
        from matterscape.potentials.calculator import Calculator

        return Calculator(self, **keywords)

    def __add__(self, other: "Potential") -> "Potential":
        from matterscape.potentials.composition import Sum

        return Sum(self, other) if isinstance(other, Potential) else NotImplemented

    def __mul__(self, factor: float) -> "Potential":
        from matterscape.potentials.composition import Scaled

        return Scaled(self, factor) if isinstance(factor, Real) else NotImplemented

    __rmul__ = __mul__

    def __str__(self) -> str:
        return type(self).__name__


def check_potential(name: str, value: Any) -> None:
    """Raise ``TypeError`` unless a value is a :class:`Potential`."""
    if not isinstance(value, Potential):
        raise TypeError(f"{name} is a {type(value).__name__}; accepted is a matterscape Potential")
