"""Expansion of single neighbours in radial functions and spherical harmonics."""

import torch

from matterscape.descriptors._density_operators import density_expansion
from matterscape.descriptors.expansion import SphericalExpansion
from matterscape.structures import Pairs, Structures


def expand_pairs(
    expansion: SphericalExpansion,
    structures: Structures,
    pairs: Pairs | None = None,
    *,
    species_channels: bool = True,
) -> torch.Tensor:
    r"""Contribution of every neighbour j to the density of its atom i.

    .. math:: g_{ij}^{anlm} = \delta_{a a_j} f_c(r_{ij}) s(r_{ij}) R_{nl}(r_{ij}) Y_{lm}(\hat r_{ij})

    with the functions of a :class:`SphericalExpansion`; the sum over j is its density without the central atom's own
    contribution. The reverse pair has ``(-1)^l`` times the value, in the channels of the other species.

    Parameters
    ----------
    expansion : SphericalExpansion
    structures : Structures
    pairs : Pairs, optional
        The neighbours within the cutoff, where they are known already; the result is differentiable in their vectors.
        Found anew if not given.
    species_channels : bool
        Whether the channels are those of the density, of which one neighbour fills those of its species. If False:
        the radial functions only, for every species alike.

    Returns
    -------
    tensor (pairs, (max_angular + 1)^2, n_channels or max_radial)
        Differentiable in positions and strain.

    Raises
    ------
    ValueError
        If a species occurs that the expansion was not made for, or the pairs do not fit into memory.

    References
    ----------
    Nigam, Willatt, Ceriotti, J. Chem. Phys. 156, 014115 (2022).
    """
    pairs = structures.pairs(expansion.cutoff) if pairs is None else pairs
    alone = torch.arange(len(pairs) + 1, device=pairs.vectors.device)  # every pair is an atom of its own
    centres = expansion._species_index(structures)
    second, offsets, *tables, n_species = expansion._fixed(centres, pairs.second, alone, structures)
    weights = expansion._weights(pairs.vectors)
    if not species_channels:
        return density_expansion(pairs.vectors, weights, torch.zeros_like(second), offsets, *tables, 1)
    return expansion._mixed(density_expansion(pairs.vectors, weights, second, offsets, *tables, n_species))
