"""An ensemble potential made ready for many steps: compiled loops over the neighbours, matrix products for the network.

Torch is not involved. Atoms go through in blocks, those of a species side by side, so that every layer is one matrix
product. The last-layer features of all atoms stay, and give the energies of all members whenever they are asked for.
"""

from typing import TYPE_CHECKING

import numpy as np

from matterscape.basis._harmonics_kernels import harmonics_tables
from matterscape.basis._lanes import LANES
from matterscape.descriptors._power_spectrum_kernels import contraction, squares
from matterscape.models import _ensemble_kernels as kernels
from matterscape.potentials.base import Bound
from matterscape.structures import NeighbourLists, Structures

if TYPE_CHECKING:
    from matterscape.models.ensemble_potential import EnsemblePotential

ATOMS_IN_BLOCK = 128


class _Buffers:
    """What the loops over the neighbours of one block of atoms write to."""

    def __init__(self, n_atoms: int, n_pairs: int, n_blocks: int, max_angular: int, n_few: int, n_functions: int):
        self.counts = np.zeros(n_atoms, np.int64)
        self.near = np.zeros(n_pairs, np.int32)
        self.vectors, self.slopes = np.zeros((n_pairs, 3)), np.zeros((n_pairs, 3))
        self.units = np.zeros((n_blocks, 4, LANES))
        self.harmonics = np.zeros((n_blocks, (max_angular + 1) ** 2, LANES))
        self.radial_parts = np.zeros((n_blocks, LANES, 2, n_few))
        self.parts = np.zeros((n_blocks, LANES, 2, n_functions))


class _Body:
    """Network of one species without its last layer; the standardisation is part of the first layer."""

    def __init__(self, potential: "EnsemblePotential", kind: int):
        body, n_radial = potential.network.body, potential.radial.n_features
        layers = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in body.layers[kind]]
        (weights, bias), *self._others = layers
        widths, centre = body.inverse_widths[kind].numpy(), body.centres[kind].numpy()
        weights = widths[:, None] * weights
        self._bias = bias - centre @ weights
        self._radial, self._angular = weights[:n_radial].copy(), weights[n_radial:].copy()

    def forward(self, radial: np.ndarray, angular: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Last-layer features, and the slopes of all activations."""
        sums = radial @ self._radial
        sums += angular @ self._angular
        sums += self._bias
        values, slope = _silu(sums)
        slopes = [slope]
        for weights, bias in self._others:
            values, slope = _silu(values @ weights + bias)
            slopes.append(slope)
        return values, slopes

    def backward(self, weights: np.ndarray, slopes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of ``features @ weights`` with respect to both spectra."""
        gradient = slopes[-1] * weights
        for (matrix, _), slope in zip(reversed(self._others), reversed(slopes[:-1])):
            gradient = gradient @ matrix.T
            gradient *= slope
        return gradient @ self._radial.T, gradient @ self._angular.T


class BoundEnsemble(Bound):
    """The mean of the members for one set of atoms; see :class:`~matterscape.potentials.Bound`.

    Parameters
    ----------
    potential : EnsemblePotential
    structures : Structures
    lists : NeighbourLists
    """

    def __init__(self, potential: "EnsemblePotential", structures: Structures, lists: NeighbourLists):
        self._list = lists.request(potential.cutoff, half=False)
        self._kinds = potential.kinds(structures).cpu().numpy()
        self._offsets = structures.offsets.cpu().numpy()
        self._cutoff, self._width = potential.cutoff, potential.settings["cutoff_width"]
        radial, angular = potential.radial.expansion, potential.angular.expansion
        self._radial = radial.spline.inverse_step, radial.spline.coefficients
        self._angular = angular.spline.inverse_step, angular.spline.coefficients
        self._max_angular, self._tables = angular.max_angular, harmonics_tables(angular.max_angular)
        channels = angular.species_channels
        self._channels = None if channels is None else np.ascontiguousarray(channels.double().numpy())
        self._bodies = [_Body(potential, kind) for kind in range(len(potential.species))]
        weights = potential.last_layer().weights
        self._weights, self._constants = weights[:-1], weights[-1]
        self._mean_weights, self._mean_constant = weights[:-1].mean(axis=1), weights[-1].mean()
        self._baseline = potential.baseline[self._kinds]
        self._features = np.zeros((structures.n_atoms, len(self._weights)))
        # columns of the radial spectrum, of both kinds of densities, of the power spectrum
        n_channels = len(potential.species) * angular.max_radial
        self._widths = potential.radial.n_features, n_channels, angular.n_channels, potential.angular.n_features
        self._searched = -1
        self._starts = range(0, structures.n_atoms, ATOMS_IN_BLOCK)
        # within a block the atoms of a species have consecutive rows
        self._places = [np.argsort(np.argsort(self._own(start, self._kinds), kind="stable")) for start in self._starts]

    @staticmethod
    def _own(start: int, values: np.ndarray) -> np.ndarray:
        """The part of values that belongs to a block of atoms."""
        return values[start : start + ATOMS_IN_BLOCK]

    @property
    def member_energies(self) -> np.ndarray:
        """Energy of each structure by each member (n_structures, n_members) in eV, at the last positions."""
        starts = self._offsets[:-1]
        sums = np.add.reduceat(self._features, starts, axis=0) @ self._weights
        rest = np.add.reduceat(self._baseline, starts)[:, None] + np.diff(self._offsets)[:, None] * self._constants
        return sums + rest

    def add(self, positions, cells, energies, forces, pieces):
        """See :meth:`Bound.add`."""
        if self._list.n_rebuilds != self._searched:
            self._prepare()
        with_pieces = np.empty((0, 3, 3)) if pieces is None else pieces
        for start, places in zip(self._starts, self._places):
            self._add_block(start, places, energies, forces, with_pieces)

    def _prepare(self) -> None:
        """Buffers for a new neighbour list."""
        verlet = self._list
        self._searched = verlet.n_rebuilds
        self._types = self._kinds[verlet.owners]
        self._block_offsets = np.concatenate([[0], np.cumsum(-(-np.diff(verlet.offsets) // LANES))])
        sizes = []
        for start in self._starts:
            stop = min(start + ATOMS_IN_BLOCK, len(self._kinds))
            sizes.append(
                (
                    stop - start,
                    verlet.offsets[stop] - verlet.offsets[start],
                    self._block_offsets[stop] - self._block_offsets[start],
                )
            )
        # one set serves all blocks in turn
        largest = [max(column) for column in zip(*sizes)]
        self._buffers = _Buffers(*largest, self._max_angular, self._radial[1].shape[2], self._angular[1].shape[2])

    def _add_block(self, start, places, energies, forces, pieces):
        verlet, buffers, n_atoms = self._list, self._buffers, len(places)
        radial = np.empty((n_atoms, self._widths[0]))
        density = np.empty((n_atoms, (self._max_angular + 1) ** 2, self._widths[1]))
        counts = buffers.counts[:n_atoms]
        geometry = verlet.offsets, self._block_offsets
        kernels.expand(
            start, places, verlet.extended, self._types, verlet.second, *geometry, self._cutoff, self._width,
            *self._radial, *self._angular, self._max_angular, self._tables,
            counts, buffers.near, buffers.vectors, buffers.units, buffers.harmonics, buffers.radial_parts,
            buffers.parts, radial, density,
        )  # fmt: skip
        mixed = density
        if self._channels is not None:
            mixed = np.empty((*density.shape[:2], self._widths[2]))
            kernels.mix(density, self._channels, mixed)
        angular = np.empty((n_atoms, self._widths[3]))
        squares(mixed, self._max_angular, angular)

        features = np.empty((n_atoms, len(self._mean_weights)))
        on_radial, on_angular = np.empty_like(radial), np.empty_like(angular)
        first = 0
        for kind, count in enumerate(np.bincount(self._own(start, self._kinds), minlength=len(self._bodies))):
            rows = slice(first, first + count)
            features[rows], slopes = self._bodies[kind].forward(radial[rows], angular[rows])
            on_radial[rows], on_angular[rows] = self._bodies[kind].backward(self._mean_weights, slopes)
            first += count
        own = self._own(start, self._features)
        np.take(features, places, axis=0, out=own)
        self._own(start, energies)[:] += (
            own @ self._mean_weights + self._mean_constant + self._own(start, self._baseline)
        )

        on_density = np.empty_like(mixed)
        contraction(on_angular, mixed, self._max_angular, on_density)
        if self._channels is not None:
            on_mixed, on_density = on_density, np.empty_like(density)
            kernels.mix(on_mixed, self._channels.T.copy(), on_density)
        kernels.pull_back(
            start, places, self._types, *geometry, self._max_angular, self._tables,
            counts, buffers.near, buffers.units, buffers.harmonics, buffers.radial_parts, buffers.parts,
            on_radial, on_density, buffers.slopes,
        )  # fmt: skip
        kernels.fold(
            start, verlet.owners, verlet.offsets, counts, buffers.near, buffers.vectors, buffers.slopes, forces, pieces
        )


def _silu(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x / (1 + exp(-x)) and its derivative."""
    gate = 0.5 * np.tanh(0.5 * values)
    gate += 0.5
    result = values * gate
    return result, gate * (1.0 + values - result)
