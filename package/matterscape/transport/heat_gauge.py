"""Heat flux of a solid without the part that only makes noise.

Atoms that rattle about fixed places R_j have a heat flux with a part linear in their velocities,

    J_lin = sum_j G_j v_j,   G_j = U_j 1 + W_j   of a fixed structure,

which is the time derivative of sum_j G_j (r_j - R_j). Where no atom leaves its place that is bounded and conducts
nothing, yet in a disordered solid it is nearly all of the flux: every atom has tensors G_j of its own. Subtracting it
changes the gauge of the energy density, not the conductivity.

Sources: A. Marcolongo, P. Umari, S. Baroni, Nat. Phys. 12, 80 (2016), and L. Ercole, A. Marcolongo, P. Umari, S.
Baroni, J. Low Temp. Phys. 185, 79 (2016), for conductivities that do not depend on the gauge; F. Knoop, M. Scheffler,
C. Carbogno, Phys. Rev. B 107, 224304 (2023), for virials of fixed places that do not contribute. G_j of many-body
potentials follows from the flux tensors of :mod:`matterscape.potentials.base`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from matterscape.potentials.base import Potential, check_potential
from matterscape.structures import Structures

if TYPE_CHECKING:
    from matterscape.dynamics import Simulation


@dataclass(frozen=True, eq=False)
class HeatGauge:
    """The part of a heat flux that is linear in the velocities.

    :meth:`record` keeps it beside the whole in one run. The flux in the new gauge is then
    ``Currents.from_records(simulation, {"energy": "heat_flux", "bounded": "bounded_flux"}).shifted("energy", "bounded",
    -1)``.

    Parameters
    ----------
    tensors : array (N, 3, 3)
        G_j in eV.

    Raises
    ------
    ValueError
        If the tensors have another shape, or one is not finite.
    """

    tensors: np.ndarray

    def __post_init__(self) -> None:
        tensors = np.array(self.tensors, dtype=float)
        if tensors.ndim != 3 or tensors.shape[1:] != (3, 3) or not len(tensors):
            raise ValueError(f"tensors have shape {tensors.shape}; accepted is (N, 3, 3)")
        if not np.isfinite(tensors).all():
            atom = int(np.argwhere(~np.isfinite(tensors))[0, 0])
            raise ValueError(f"tensors of atom {atom} are {tensors[atom].tolist()}; accepted are finite numbers")
        object.__setattr__(self, "tensors", tensors)

    @classmethod
    def of_structure(cls, potential: Potential, structures: Atoms | Sequence[Atoms] | Structures) -> "HeatGauge":
        """Tensors of the places that the atoms rattle about: a minimum of the energy, or their mean places.

        Parameters
        ----------
        potential : Potential
            The one that moves the atoms.
        structures : ase.Atoms, list of ase.Atoms, or Structures
            The batch that is simulated, in the order of its atoms.
        """
        check_potential("potential", potential)
        batch = structures if isinstance(structures, Structures) else Structures.from_ase(structures)
        found = potential(batch)
        tensors = found.flux_tensors.detach().numpy() + found.energies.detach().numpy()[:, None, None] * np.eye(3)
        return cls(tensors)

    @classmethod
    def mean(cls, gauges: Sequence["HeatGauge"]) -> "HeatGauge":
        """Mean tensors, such as of frames along a run.

        Velocities of a classical system know nothing of the positions of the same instant, so that of all constant
        tensors the mean ones, <U_j 1 + W_j>, leave the least of the flux.

        Parameters
        ----------
        gauges : sequence of HeatGauge
            Of one system.
        """
        gauges = list(gauges)
        shapes = {gauge.tensors.shape for gauge in gauges}
        if len(shapes) != 1:
            raise ValueError(
                f"gauges have tensors of shapes {sorted(shapes)}; accepted is one shape, at least one gauge"
            )
        return cls(np.mean([gauge.tensors for gauge in gauges], axis=0))

    def flux(self, velocities: np.ndarray, offsets: Sequence[int] | None = None) -> np.ndarray:
        """J_lin of each structure.

        Parameters
        ----------
        velocities : array (N, 3)
            In any unit.
        offsets : sequence of int (B + 1,), optional
            Where the atoms of each structure begin; by default there is one.

        Returns
        -------
        array (B, 3)
            Extensive, in eV times the unit of velocity.
        """
        velocities = np.asarray(velocities)
        if velocities.shape != self.tensors.shape[:2]:
            raise ValueError(f"velocities have shape {velocities.shape}; accepted is {self.tensors.shape[:2]}")
        offsets = [0, len(velocities)] if offsets is None else offsets
        return np.add.reduceat(np.einsum("nab,nb->na", self.tensors, velocities), offsets[:-1], axis=0)

    def record(self, simulation: "Simulation", every: int = 1) -> None:
        """Record ``heat_flux`` and J_lin, under the name ``bounded_flux``, both (B, 3) in eV Å / ASE time.

        Parameters
        ----------
        simulation : Simulation
            Of the structures that the tensors belong to.
        every : int
            Steps between two samples.
        """

        def bounded_flux(running: "Simulation") -> np.ndarray:
            return self.flux(running.velocities, running.state.offsets)

        self.flux(simulation.velocities, simulation.state.offsets)  # says now if the number of atoms is another
        simulation.record("heat_flux", every=every)
        simulation.record(bounded_flux, every=every, unit=simulation.units["heat_flux"])

    def moment(self, displacements: np.ndarray) -> np.ndarray:
        """sum_j G_j u_j (3,) in eV Å of displacements (N, 3) of one structure, whose time derivative is J_lin.

        It must stay bounded; where atoms diffuse it does not, and the flux must not be changed by J_lin.
        """
        return self.flux(displacements)[0]
