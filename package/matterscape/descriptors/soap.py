"""SOAP power spectrum and radial spectrum."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from matterscape.descriptors._power_spectrum_operators import (
    channel_pairs,
    n_features,
    power_spectrum,
    power_spectrum_bilinear,
)
from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.progress import progress
from matterscape.structures import Pairs, Structures

BLOCK_BYTES = 2**26  # features of one block when nothing needs all of them at once
POOLINGS = (None, "sum", "mean")


class _Invariants(ABC):
    """What the spectra share: expansion, normalisation, pooling in blocks, Jacobians."""

    def __init__(self, species: Any, *, normalise: bool = False, **expansion: Any):
        self.expansion = SphericalExpansion(species, **expansion)
        self.normalise = bool(normalise)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that may occur."""
        return self.expansion.species

    @property
    @abstractmethod
    def columns(self) -> np.ndarray:
        """Label of every column of the features, a structured array."""

    @abstractmethod
    def _features(self, density: torch.Tensor) -> torch.Tensor:
        """Features (N, n_features) of densities."""

    @abstractmethod
    def _derivative(self, density: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """Change of the features to first order for a change of the densities."""

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def __call__(
        self, structures: Structures, *, pooling: str | None = None, pairs: Pairs | None = None
    ) -> torch.Tensor:
        """Features of every atom, or of every structure.

        Parameters
        ----------
        structures : Structures
        pooling : None, "sum" or "mean"
            None gives a row per atom, else the rows of a structure's atoms are summed or averaged. Without gradients
            this goes through the atoms in blocks, and features per atom never exist all at once.
        pairs : Pairs, optional
            The neighbours within the cutoff, where they are known already; the features are differentiable in their
            vectors. Found anew if not given.

        Returns
        -------
        tensor (n_atoms, n_features) or (n_structures, n_features)
            In the dtype of the positions; differentiable in positions and strain.

        Raises
        ------
        ValueError
            If ``pooling`` is another one, or the structures hold unknown species.
        """
        if pooling not in POOLINGS:
            raise ValueError(f"pooling is {pooling!r}; accepted are None, 'sum' and 'mean'")
        differentiable = torch.is_grad_enabled() and (
            structures.positions.requires_grad or structures.cells.requires_grad
        )
        atoms_in_block = max(1, BLOCK_BYTES // (self.n_features * structures.positions.element_size()))
        if pooling is None or pairs is not None or differentiable or structures.n_atoms <= atoms_in_block:
            return _pooled(self._normalised(self._features(self.expansion(structures, pairs))), structures, pooling)
        blocks = list(structures.split(atoms_in_block))
        result = structures.positions.new_empty(structures.n_structures, self.n_features)
        start = 0
        for block in progress(blocks, "features"):
            rows = self._normalised(self._features(self.expansion(block)))
            result[start : start + len(block)] = _pooled(rows, block, pooling)
            start += len(block)
        return result

    def jacobian(self, structures: Structures) -> torch.Tensor:
        """All derivatives of the features with respect to the positions, as a sparse tensor.

        :func:`forces` never needs it; ask for it only for small systems.

        Returns
        -------
        sparse tensor (n_atoms, n_atoms, 3, n_features)
            Entry [i, k] is the dense block d(features of atom i) / d(position of atom k), for k = i or a neighbour.
        """
        atoms = torch.arange(structures.n_atoms, device=structures.positions.device)
        shape = (structures.n_atoms, 3, self.n_features)
        own = structures.positions.new_zeros(shape)
        indices, values = [torch.stack([atoms, atoms])], [own]
        for first, second, block in self.pair_jacobian(structures):
            own.index_add_(0, first, -block)
            indices.append(torch.stack([first, second]))
            values.append(block)
        size = (structures.n_atoms, *shape)
        indices, values = torch.cat(indices, dim=1), torch.cat(values)
        return torch.sparse_coo_tensor(indices, values, size, check_invariants=True).coalesce()

    def pooled_jacobian(self, structures: Structures) -> Iterator[torch.Tensor]:
        """Derivatives of the summed features of each structure, one dense matrix at a time.

        Yields
        ------
        tensor (3 n_atoms_of_the_structure, n_features)
            d(sum of the features over the atoms) / d(positions), rows (atom, x) with x innermost. A linear model with
            weights w has the forces ``-matrix @ w``.
        """
        for index in range(structures.n_structures):
            structure = structures[index]
            result = structure.positions.new_zeros(structure.n_atoms, 3, self.n_features)
            for first, second, block in self.pair_jacobian(structure):
                result.index_add_(0, second, block)
                result.index_add_(0, first, -block)
            yield result.reshape(-1, self.n_features)

    def pair_jacobian(self, structures: Structures) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Derivatives of the first atom's features with respect to each pair vector, a block of pairs at a time.

        Yields
        ------
        tuple of tensors
            First atoms (p,), second atoms (p,), derivatives (p, 3, n_features), in the order of
            ``structures.pairs(cutoff)``.
        """
        with torch.no_grad():
            density = self.expansion(structures)
            max_pairs = max(1, BLOCK_BYTES // (3 * self.n_features * density.element_size()))
            for first, second, changes in self.expansion.pair_derivatives(structures, max_pairs):
                centre = density[first]
                block = torch.stack([self._derivative(centre, change) for change in changes], dim=1)  # (p, 3, F)
                if self.normalise:
                    rows = self._features(centre)
                    norms = _norms(rows)[:, None]
                    unit = (rows / norms[:, 0])[:, None]
                    block = (block - unit * (block * unit).sum(dim=2, keepdim=True)) / norms
                yield first, second, block

    def _normalised(self, features: torch.Tensor) -> torch.Tensor:
        return features / _norms(features) if self.normalise else features


def _norms(features: torch.Tensor) -> torch.Tensor:
    """Norms (N, 1); 1 for environments without neighbours and centre, whose features stay zero."""
    squares = (features * features).sum(dim=1, keepdim=True)
    return torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt()


def _pooled(features: torch.Tensor, structures: Structures, pooling: str | None) -> torch.Tensor:
    if pooling is None:
        return features
    total = features.new_zeros(structures.n_structures, features.shape[1])
    total = total.index_add(0, structures.structure_index, features)
    return total / structures.atoms_per_structure[:, None].to(total.dtype) if pooling == "mean" else total


class PowerSpectrum(_Invariants):
    r"""SOAP power spectrum: rotationally invariant products of two expansion coefficients.

    .. math:: p_i^{q_1 q_2 l} = \sqrt{2 - \delta_{q_1 q_2}} \frac{(-1)^l}{\sqrt{2l + 1}}
              \sum_m c_i^{q_1 lm} c_i^{q_2 lm},
              \qquad q = (a, n),\ q_1 \le q_2

    Only pairs of channels q1 <= q2 are kept; the factor sqrt(2) leaves all inner products as with the full matrix.
    The factor of l is the Clebsch-Gordan coefficient of an invariant, as in featomic.

    Parameters
    ----------
    species : sequence of int
        Atomic numbers that may occur.
    normalise : bool
        Scale every atom's features to unit norm.
    **expansion
        Parameters of :class:`SphericalExpansion`: ``cutoff``, ``max_radial``, ``max_angular``, ``smearing``,
        ``radial_basis``, ``cutoff_function``, ``radial_scaling``, ``centre_weight``, ``species_channels``.

    References
    ----------
    Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013), eq. (33).
    """

    @property
    def columns(self) -> np.ndarray:
        """Label of every column: structured array with ``l``, ``species_1``, ``n_1``, ``species_2``, ``n_2``.

        With pseudo-species the fields are ``channel_1`` and ``channel_2``.
        """
        labels = self.expansion.channels
        name = labels.dtype.names[0]
        q1, q2 = channel_pairs(len(labels))
        max_angular = self.expansion.max_angular
        fields = ("l", f"{name}_1", "n_1", f"{name}_2", "n_2")
        columns = np.empty(n_features(len(labels), max_angular), dtype=[(field, np.int64) for field in fields])
        columns["l"] = np.repeat(np.arange(max_angular + 1), len(q1))
        for suffix, q in (("1", q1), ("2", q2)):
            columns[f"{name}_{suffix}"] = np.tile(labels[name][q], max_angular + 1)
            columns[f"n_{suffix}"] = np.tile(labels["n"][q], max_angular + 1)
        return columns

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return n_features(self.expansion.n_channels, self.expansion.max_angular)

    def _features(self, density: torch.Tensor) -> torch.Tensor:
        return power_spectrum(density, self.expansion.max_angular)

    def _derivative(self, density: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return 2 * power_spectrum_bilinear(density, change, self.expansion.max_angular)


class RadialSpectrum(_Invariants):
    """SOAP radial spectrum: the coefficients ``c_i^{an00}`` of the density's spherical average.

    Parameters
    ----------
    species, normalise, **expansion
        As for :class:`PowerSpectrum`, without ``max_angular``.

    References
    ----------
    Willatt, Musil, Ceriotti, J. Chem. Phys. 150, 154110 (2019), eq. (15).
    """

    def __init__(self, species: Any, *, normalise: bool = False, **expansion: Any):
        super().__init__(species, normalise=normalise, max_angular=0, **expansion)

    @property
    def columns(self) -> np.ndarray:
        """Label of every column: structured array with ``species`` (or ``channel``) and ``n``."""
        return self.expansion.channels

    def _features(self, density: torch.Tensor) -> torch.Tensor:
        return density[:, 0]

    def _derivative(self, density: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        return self._features(change)
