"""Potentials with exact answers, for tests of the dynamics."""

import numpy as np
import torch

from matterscape.potentials import Bound, Evaluation, Potential


class FreeParticles(Potential):
    """No forces: the ideal gas."""

    stiffness = 0.0

    def __call__(self, structures):
        return Evaluation(
            self.stiffness / 2 * structures.positions.square().sum(1),
            -self.stiffness * structures.positions,
            torch.zeros(structures.n_atoms, 3, 3, dtype=structures.positions.dtype),
            structures,
        )

    def bind(self, structures, lists):
        return _BoundWells(self.stiffness)


class HarmonicWells(FreeParticles):
    """Every atom in a harmonic well about the origin, k x^2 / 2 (eV/Å^2)."""

    def __init__(self, stiffness):
        self.stiffness = stiffness


class _BoundWells(Bound):
    def __init__(self, stiffness):
        self.stiffness = stiffness

    def add(self, positions, cells, energies, forces, pieces):
        energies += 0.5 * self.stiffness * np.square(positions).sum(axis=1)
        forces -= self.stiffness * positions
