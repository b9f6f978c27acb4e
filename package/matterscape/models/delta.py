"""Delta-learning: a physical potential as baseline, and a learned correction on what it leaves.

The baseline brings long-ranged forces and walls where there are no data; the correction E(reference) - E(baseline) is
smoother and smaller than the energy itself, so a short-ranged model learns it from few structures.
Source: R. Ramakrishnan et al., J. Chem. Theory Comput. 11, 2087 (2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms

from matterscape.models.ensemble_potential import EnsemblePotential
from matterscape.models.training_sets import TrainingSet
from matterscape.potentials.base import Bound, Potential
from matterscape.potentials.composition import Sum
from matterscape.structures import NeighbourLists, Structures


def accepted_frames(potential: Potential, frames: Sequence[Atoms]) -> tuple[list[Atoms], dict[int, str]]:
    """Frames that a potential can describe, and why not the others.

    A force field with fixed bonds refuses frames in which bonds have broken.

    Parameters
    ----------
    potential : Potential
    frames : sequence of ase.Atoms

    Returns
    -------
    accepted : list of ase.Atoms
    refused : dict of int to str
        Number of each other frame, and what the potential says about it.
    """
    accepted, refused = [], {}
    for number, atoms in enumerate(frames):
        try:
            potential.check(Structures.from_ase(atoms))
        except ValueError as error:
            refused[number] = str(error)
        else:
            accepted.append(atoms)
    return accepted, refused


def residual(baseline: Potential, references: TrainingSet) -> TrainingSet:
    """The same structures with the energies and forces that a baseline leaves unexplained.

    Parameters
    ----------
    baseline : Potential
    references : TrainingSet

    Returns
    -------
    TrainingSet
    """
    with torch.no_grad():
        explained = baseline(references.structures)
    return TrainingSet(
        references.structures,
        references.energies - explained.energy.double().numpy(),
        references.forces - explained.forces.double().numpy(),
    )


@dataclass(frozen=True)
class PredictionErrors:
    """How well a potential predicts energies and forces, beside how much these vary.

    Attributes
    ----------
    force_rmse, force_rms : float
        Root mean square of the errors, and of the forces themselves, per component in eV/Å.
    energy_rmse, energy_deviation : float
        Root mean square error of the energy per atom and standard deviation of the reference, in eV. The mean error is
        left out: the zero of energy is a convention of each method.
    n_structures : int
    """

    force_rmse: float
    force_rms: float
    energy_rmse: float
    energy_deviation: float
    n_structures: int


def prediction_errors(potential: Potential, references: TrainingSet) -> PredictionErrors:
    """Errors of a potential for structures of one composition.

    Parameters
    ----------
    potential : Potential
    references : TrainingSet

    Returns
    -------
    PredictionErrors
    """
    left = residual(potential, references)
    return PredictionErrors(
        force_rmse=float(np.sqrt(np.mean(left.forces**2))),
        force_rms=float(np.sqrt(np.mean(references.forces**2))),
        energy_rmse=float(np.std(left.energies / left.n_atoms)),
        energy_deviation=float(np.std(references.energies / references.n_atoms)),
        n_structures=len(references),
    )


class DeltaPotential(Sum):
    """A baseline potential plus an ensemble of learned corrections.

    Its energies, forces and flux tensors are those of the baseline and of the mean of the members. The spread of the
    members grows where the correction extrapolates; record ``member_energies`` in a Simulation to watch it.

    Parameters
    ----------
    baseline : Potential
    correction : EnsemblePotential
        Fitted already to the :func:`residual` of the baseline, or :meth:`fit` does it.

    Raises
    ------
    TypeError
        If one of them is something else.
    ValueError
        If they have no species in common.
    """

    def __init__(self, baseline: Potential, correction: EnsemblePotential):
        if not isinstance(correction, EnsemblePotential):
            raise TypeError(f"correction is a {type(correction).__name__}; accepted is an EnsemblePotential")
        super().__init__(baseline, correction)
        self.baseline, self.correction = baseline, correction

    def fit(
        self, references: TrainingSet, validation: TrainingSet, *, dtype: torch.dtype = torch.float64, **training: Any
    ) -> "DeltaPotential":
        """Train the correction on what the baseline leaves of reference energies and forces.

        Parameters
        ----------
        references : TrainingSet
            To train on.
        validation : TrainingSet
            To choose the best epoch by.
        dtype : torch.dtype
            Of the training; float32 is faster. The baseline is evaluated in the dtype of the structures.
        **training
            As of :meth:`EnsemblePotential.fit`, such as ``force_weight`` and ``epochs``.

        Returns
        -------
        DeltaPotential
            Itself.

        Raises
        ------
        ValueError
            If the baseline refuses a structure, see :func:`accepted_frames`.
        """
        left, held_out = residual(self.baseline, references), residual(self.baseline, validation)
        self.correction.fit(
            left.structures.to(dtype=dtype),
            left.energies,
            left.forces,
            validation=(held_out.structures.to(dtype=dtype), held_out.energies, held_out.forces),
            **training,
        )
        return self

    def calibrate(self, references: TrainingSet) -> float:
        """Stretch the members so that their variance fits the errors of energies that were not trained on.

        See :meth:`EnsemblePotential.calibrate`, whose variance scale it gives.
        """
        left = residual(self.baseline, references)
        return self.correction.calibrate(left.structures, left.energies)

    def member_energies(self, structures: Structures) -> torch.Tensor:
        """Energy of each structure by each member (n_structures, n_members) in eV, baseline included."""
        return self.correction.member_energies(structures) + self.baseline(structures).energy[:, None]

    def bind(self, structures: Structures, lists: NeighbourLists) -> Bound:
        """See :meth:`Potential.bind`; the result also has ``member_energies``, those of the last evaluation."""
        return _BoundDelta(self.baseline.bind(structures, lists), self.correction.bind(structures, lists), structures)


class _BoundDelta(Bound):
    def __init__(self, baseline: Bound, correction: Bound, structures: Structures):
        self.baseline, self.correction = baseline, correction
        self._starts = structures.offsets[:-1].cpu().numpy()
        self._baseline_energy = np.zeros(structures.n_structures)

    @property
    def member_energies(self) -> np.ndarray:
        """Energy of each structure by each member (n_structures, n_members) in eV, at the last positions."""
        return self.correction.member_energies + self._baseline_energy[:, None]

    def add(self, positions, cells, energies, forces, pieces):
        before = np.add.reduceat(energies, self._starts)
        self.baseline.add(positions, cells, energies, forces, pieces)
        self._baseline_energy = np.add.reduceat(energies, self._starts) - before
        self.correction.add(positions, cells, energies, forces, pieces)
