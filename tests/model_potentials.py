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


class Quartic(FreeParticles):
    """One anharmonic oscillator per atom and direction, x^4 (eV/Å^4): no equipartition of its potential energy."""

    def bind(self, structures, lists):
        return _BoundQuartic()


class _BoundQuartic(Bound):
    def add(self, positions, cells, energies, forces, pieces):
        energies += (positions**4).sum(axis=1)
        forces -= 4.0 * positions**3


class CellSpring(FreeParticles):
    """Ideal gas in an elastic cell of energy k/2 sum h^2 (eV/Å^2), shared by its atoms."""

    def __init__(self, stiffness):
        self.stiffness = stiffness

    def bind(self, structures, lists):
        return _BoundCellSpring(self.stiffness, structures.structure_index.numpy())


class _BoundCellSpring(Bound):
    def __init__(self, stiffness, structure_index):
        self.stiffness, self.structure_index = stiffness, structure_index

    def add(self, positions, cells, energies, forces, pieces):
        share = self.stiffness / np.bincount(self.structure_index)
        energies += (0.5 * share * np.square(cells).sum(axis=(1, 2)))[self.structure_index]
        if pieces is not None:
            pieces -= (share[:, None, None] * cells.transpose(0, 2, 1) @ cells)[self.structure_index]
