"""Rows of linear models of energies and forces: features summed over the atoms of each species."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from matterscape.descriptors.soap import PowerSpectrum, RadialSpectrum
from matterscape.progress import progress
from matterscape.structures import Structures


@dataclass(frozen=True)
class StructureRows:
    """What a linear model of energies and forces sees of a list of structures.

    Attributes
    ----------
    features : array (n_structures, n_features), float64
        Features summed over the atoms of a structure, one block of columns for each species of the central atom.
    jacobians : tuple of arrays (3 n_atoms, n_features), or None
        Derivatives of each row of ``features`` with respect to the positions, in 1/Å; the forces of a linear model
        with weights w are ``-jacobian @ w``.
    """

    features: np.ndarray
    jacobians: tuple[np.ndarray, ...] | None

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index) -> "StructureRows":
        """Rows of the chosen structures, in the order asked for."""
        chosen = np.arange(len(self))[index].reshape(-1)
        jacobians = None if self.jacobians is None else tuple(self.jacobians[k] for k in chosen)
        return StructureRows(self.features[chosen], jacobians)


def structure_rows(
    structures: Structures,
    descriptors: Sequence[PowerSpectrum | RadialSpectrum],
    *,
    jacobians: bool = True,
    dtype: type = np.float32,
) -> StructureRows:
    """Features of structures, summed over the atoms of each species separately, and their derivatives.

    With weights of their own for every species of the central atom, a linear model on these rows is a sum of one linear
    atomic energy per species, as in the linear models of Bartók et al. and Thompson et al. (J. Comput. Phys. 285, 316
    (2015)).

    Parameters
    ----------
    structures : Structures
    descriptors : sequence of PowerSpectrum, RadialSpectrum
        All for the same species; their features stand side by side.
    jacobians : bool
        Whether derivatives are wanted. They take 3 n_atoms n_features numbers per structure.
    dtype : numpy floating-point type
        Of the derivatives, single precision by default: they are a weighted sum of many terms of similar size, and the
        Gram matrix of the rows is accumulated in double precision anyway.

    Returns
    -------
    StructureRows

    Raises
    ------
    TypeError
        If the structures are no Structures, or the descriptors no list.
    ValueError
        If there is no descriptor, or their species differ.
    """
    if not isinstance(structures, Structures):
        raise TypeError(f"structures must be Structures, got {type(structures).__name__}")
    if not isinstance(descriptors, Sequence):
        raise TypeError(f"descriptors must be a list of descriptors, got {type(descriptors).__name__}")
    if not descriptors:
        raise ValueError("descriptors must hold at least one descriptor, got none")
    species = descriptors[0].species
    for descriptor in descriptors[1:]:
        if descriptor.species != species:
            raise ValueError(
                f"descriptors must all be for the same species, got {descriptor.species} and {tuple(species)}"
            )
    n_features = len(species) * sum(descriptor.n_features for descriptor in descriptors)
    features = np.empty((len(structures), n_features))
    blocks = []
    with torch.no_grad():
        for index in progress(range(len(structures)), "features and derivatives" if jacobians else "features"):
            structure = structures[index]
            centre = torch.searchsorted(torch.tensor(species), structure.species)
            sums = [_species_sums(descriptor(structure), centre, len(species)) for descriptor in descriptors]
            features[index] = torch.cat(sums, dim=1).reshape(-1).numpy()
            if jacobians:
                parts = [_species_jacobian(d.jacobian(structure), centre, len(species)) for d in descriptors]
                block = torch.cat(parts, dim=2).permute(1, 0, 2).reshape(3 * structure.n_atoms, n_features)
                blocks.append(block.numpy().astype(dtype))
    return StructureRows(features, tuple(blocks) if jacobians else None)


def _species_sums(features: torch.Tensor, centre: torch.Tensor, n_species: int) -> torch.Tensor:
    """Sums (n_species, n_features) of the rows of the atoms of each species."""
    return features.new_zeros(n_species, features.shape[1]).index_add_(0, centre, features)


def _species_jacobian(jacobian: torch.Tensor, centre: torch.Tensor, n_species: int) -> torch.Tensor:
    """Derivatives (n_species, 3 n_atoms, n_features) of those sums, from the sparse Jacobian of the atoms' features."""
    first, moved = jacobian.indices()
    n_atoms, n_features = jacobian.shape[0], jacobian.shape[-1]
    sums = jacobian.values().new_zeros(n_species * n_atoms, 3 * n_features)
    sums.index_add_(0, centre[first] * n_atoms + moved, jacobian.values().flatten(1))
    return sums.reshape(n_species, 3 * n_atoms, n_features)
