"""Linear atomic cluster expansion in vectorised torch: readable reference, and the body on GPUs."""

import torch

from matterscape.basis.harmonics import harmonics_and_gradients
from matterscape.potentials import _ace_kernels as kernels


def energies(
    vectors: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    types: torch.Tensor,
    n_centres: int,
    parameters: torch.Tensor,
    tables: torch.Tensor,
    kind: int,
) -> torch.Tensor:
    """Energies (n_centres,) of the centres in eV, differentiable any number of times.

    Parameters
    ----------
    vectors : tensor (P, 3)
        From the first to the second atom of each pair in Å, also of pairs beyond the cut-offs.
    first, second : tensor (P,), int64
    types : tensor (M,), int64
    n_centres : int
    parameters, tables : tensor (R, K) and (1, M, 3 + S)
        See :mod:`matterscape.potentials._ace_kernels`.
    kind : int
        Not used.
    """
    n_species, max_angular, half_exponent = (round(float(value)) for value in parameters[0, :3].detach())
    pair = parameters[1 + types[first] * n_species + types[second]]
    kept = ((vectors**2).sum(1) < pair[:, kernels.PAIR_CUTOFF]).nonzero().flatten()
    vectors, first, second, pair = vectors[kept], first[kept], second[kept], pair[kept]
    n_radial = [round(float(n)) for n in parameters[1 + n_species**2, : max_angular + 1].detach()]

    functions = radial_functions(vectors.norm(dim=1), pair, half_exponent, max(n_radial))
    # without operators of limited order, as the energies may be differentiated further than forces need
    harmonics = harmonics_and_gradients.reference(vectors, max_angular)[0]
    # (P, elements of one species): n is the fastest index
    elements = torch.cat(
        [
            (harmonics[:, row, None] * functions[:, None, : n_radial[angular]]).flatten(1)
            for angular in range(max_angular + 1)
            for row in [slice(angular**2, (angular + 1) ** 2)]
        ],
        dim=1,
    )
    place = first * n_species + types[second]
    basis = vectors.new_zeros(n_centres * n_species, elements.shape[1]).index_add(0, place, elements)
    basis = torch.cat([vectors.new_ones(n_centres, 1), basis.reshape(n_centres, -1)], dim=1)

    factors = tables[0, :, :3].detach().round().long()
    centre_types = types[:n_centres]
    result = parameters[2 + n_species**2][centre_types]
    for z in range(n_species):
        own = (centre_types == z).nonzero().flatten()
        products = basis[own[:, None], factors[:, 0]] * basis[own[:, None], factors[:, 1]]
        products = products * basis[own[:, None], factors[:, 2]]
        result = result.index_add(0, own, products @ tables[0, :, 3 + z])
    return result


def radial_functions(distances: torch.Tensor, pair: torch.Tensor, half_exponent: int, n_radial: int) -> torch.Tensor:
    """Chebyshev polynomials of the transformed distance times the cut-off function, (P, n_radial)."""
    exponent = 2 * half_exponent
    strength = (exponent - 1) / (exponent + 1)
    y = 1 / (1 + strength * (distances / pair[:, kernels.PAIR_LENGTH]) ** exponent)
    x = 1 - 2 * (1 - y) / (1 - pair[:, kernels.PAIR_END])
    cutoff = pair[:, kernels.PAIR_CUTOFF].sqrt()
    u = ((cutoff - distances) / (cutoff - pair[:, kernels.PAIR_START])).clamp(0, 1)
    polynomials = [torch.ones_like(x), x]
    while len(polynomials) < n_radial:
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    switch = u**4 * (35 - u * (84 - u * (70 - 20 * u)))
    return torch.stack(polynomials[:n_radial], dim=1) * switch[:, None]
