"""Third-order force constants of any potential along directions, as central differences of its second derivatives."""

from dataclasses import replace

import numpy as np
import torch

from matterscape.checks import check_number
from matterscape.potentials.base import Potential, check_potential
from matterscape.potentials.force_constants import ForceConstants
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants

#: Displacement in Å of the atom that moves most.
STEP = 5e-3


class DirectionalThirdOrder:
    """Phi3 . e = [Phi(x + h e) - Phi(x - h e)] / 2h, whose error falls as the square of the step.

    It stands for a tensor that need not be known: widths ask for nothing else than Phi3 along eigenvectors. Each
    direction costs two matrices of second derivatives.

    Parameters
    ----------
    potential : Potential
    structures : Structures
        One structure, at a minimum of the energy.
    step : float
        Displacement h of the atom that moves most, in Å. Errors of second derivatives are amplified by 1/h, those of
        the difference grow as h^2; :meth:`error` tells how large they are.
    force_step : float, optional
        Displacement in Å of central differences of forces, for potentials without second derivatives; they take six
        evaluations per atom.

    Raises
    ------
    ValueError
        If there is more than one structure, or a step is not positive.
    """

    def __init__(
        self, potential: Potential, structures: Structures, *, step: float = STEP, force_step: float | None = None
    ):
        check_potential("potential", potential)
        check_number("step", step, "Å", positive=True)
        if structures.n_structures != 1:
            raise ValueError(f"structures are {structures.n_structures}; accepted is one")
        self.potential, self.structures, self.step, self.force_step = potential, structures, step, force_step

    def contract(self, vector: np.ndarray) -> ForceConstants:
        """Phi3 . e: the change of the force constants per unit of a displacement that has the cell's period.

        Parameters
        ----------
        vector : ndarray (n_atoms, 3) or (3 n_atoms,)

        Returns
        -------
        ForceConstants
            In eV/Å^3 times the unit of the vector.

        Raises
        ------
        ValueError
            If the vector has another shape.
        """
        return self._difference(vector, self.step)

    def error(self, vector: np.ndarray) -> float:
        """Largest change in eV/Å^3 of Phi3 . e, e with its longest part scaled to 1, when the step is halved.

        The error of the result itself is about 4/3 of it, if the step is large enough for rounding not to matter.
        """
        vector = np.asarray(vector, dtype=np.float64) / np.abs(self._checked(vector)).max()
        return float(
            np.abs((self._difference(vector, self.step) + -1.0 * self._difference(vector, self.step / 2)).blocks).max()
        )

    def _difference(self, vector: np.ndarray, step: float) -> ForceConstants:
        displacements = self._checked(vector)
        longest = np.linalg.norm(displacements, axis=1).max()
        if longest == 0:
            return 0.0 * self._second(displacements)
        displacements = displacements / longest
        ends = [self._second(sign * step * displacements) for sign in (1, -1)]
        return (longest / (2 * step)) * (ends[0] + -1.0 * ends[1])

    def _second(self, displacements: np.ndarray) -> ForceConstants:
        positions = self.structures.positions.detach().double() + torch.from_numpy(displacements)
        moved = replace(self.structures, positions=positions, strain=None, _leaf_positions=None, _topologies={})
        found = force_constants(self.potential, moved, step=self.force_step)
        return replace(found, structures=self.structures)

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        vector = np.asarray(vector, dtype=np.float64)
        n_atoms = self.structures.n_atoms
        if vector.shape not in ((n_atoms, 3), (3 * n_atoms,)) or not np.isfinite(vector).all():
            raise ValueError(
                f"vector has shape {vector.shape}; accepted are finite ones of {(n_atoms, 3)} and {(3 * n_atoms,)}"
            )
        return vector.reshape(n_atoms, 3)
