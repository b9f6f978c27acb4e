"""Star potentials in vectorised torch: readable reference, body on GPUs, and the way to all higher derivatives."""

import torch

from matterscape.potentials import _stillinger_weber_kernels as sw
from matterscape.potentials import _tersoff_kernels as tersoff
from matterscape.potentials._stars import TERSOFF


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
    """Energies of the centres from directed pairs, differentiable any number of times.

    Parameters
    ----------
    vectors : tensor (P, 3)
        From the first to the second atom of each pair in Å, also of pairs beyond the cut-offs.
    first, second : tensor (P,), int64
    types : tensor (M,), int64
    n_centres : int
    parameters, tables : tensor (R, K) and (T, n, c)
        See :mod:`matterscape.potentials._stars`.
    kind : int
        Functional form.

    Returns
    -------
    tensor (n_centres,)
        U_i in eV.
    """
    n_species = round(float(parameters[0, 0].detach()))
    rows = 1 + types[first] * n_species + types[second]
    kept = ((vectors**2).sum(1) < parameters[rows, 0]).nonzero().flatten()
    kept = kept[torch.argsort(first[kept], stable=True)]
    vectors, first, second, rows = vectors[kept], first[kept], second[kept], rows[kept]
    form = tersoff_pairs if kind == TERSOFF else stillinger_weber_pairs
    per_pair = form(vectors, first, types[first], types[second], rows, n_centres, n_species, parameters)
    return vectors.new_zeros(n_centres).index_add(0, first, per_pair)


def triplets(first: torch.Tensor, n_centres: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All ordered couples (p, q), p != q, of pairs that share their first atom; ``first`` is sorted."""
    counts = torch.bincount(first, minlength=n_centres)
    starts = counts.cumsum(0) - counts
    partners = counts[first]
    p = torch.repeat_interleave(torch.arange(len(first), device=first.device), partners)
    within = torch.arange(len(p), device=first.device) - (partners.cumsum(0) - partners)[p]
    q = starts[first[p]] + within
    different = p != q
    return p[different], q[different]


def stillinger_weber_pairs(vectors, first, centre_types, neighbour_types, rows, n_centres, n_species, parameters):
    """Stillinger-Weber energies, those of triplets given to one of their two pairs."""
    pair = parameters[rows]
    distances = vectors.norm(dim=1)
    to_cutoff = 1 / (distances - pair[:, sw.PAIR_CUTOFF])
    ratio = pair[:, sw.PAIR_SIGMA] / distances
    shape = pair[:, sw.PAIR_B] * ratio ** pair[:, sw.PAIR_P] - ratio ** pair[:, sw.PAIR_Q]
    result = pair[:, sw.PAIR_HALF_STRENGTH] * shape * torch.exp(pair[:, sw.PAIR_SIGMA] * to_cutoff)
    h = torch.exp(pair[:, sw.PAIR_GAMMA_SIGMA] * to_cutoff)

    p, q = triplets(first, n_centres)
    p, q = p[p < q], q[p < q]
    triplet = parameters[_triplet_rows(p, q, centre_types, neighbour_types, n_species)]
    cosines = (vectors[p] * vectors[q]).sum(1) / (distances[p] * distances[q])
    angular = triplet[:, sw.TRIPLET_STRENGTH] * (cosines - triplet[:, sw.TRIPLET_COSINE]) ** 2
    return result.index_add(0, p, angular * h[p] * h[q])


def tersoff_pairs(vectors, first, centre_types, neighbour_types, rows, n_centres, n_species, parameters):
    """Half of the Tersoff bond energies."""
    pair = parameters[rows]
    distances = vectors.norm(dim=1)
    p, q = triplets(first, n_centres)
    triplet = parameters[_triplet_rows(p, q, centre_types, neighbour_types, n_species)]
    cosines = (vectors[p] * vectors[q]).sum(1) / (distances[p] * distances[q])
    squares = (cosines - triplet[:, tersoff.TRIPLET_COSINE]) ** 2
    angular = triplet[:, tersoff.TRIPLET_GAMMA] + triplet[:, tersoff.TRIPLET_STRENGTH] * squares / (
        triplet[:, tersoff.TRIPLET_D_SQUARED] + squares
    )
    stretch = triplet[:, tersoff.TRIPLET_LAMBDA3] * (distances[p] - distances[q])
    growth = torch.exp(torch.where(triplet[:, tersoff.TRIPLET_M] == 3, stretch**3, stretch))
    switch = _switch(distances[q], triplet[:, tersoff.TRIPLET_INNER : tersoff.TRIPLET_SWITCH + 1])
    zeta = vectors.new_zeros(len(vectors)).index_add(0, p, switch * angular * growth)

    # a bond without neighbours has order 1 and no slope; the stand-in keeps the unused branch finite
    bonded = zeta > pair[:, tersoff.PAIR_SMALL]
    reduced = pair[:, tersoff.PAIR_BETA] * torch.where(bonded, zeta, 1 / pair[:, tersoff.PAIR_BETA])
    power = pair[:, tersoff.PAIR_N]
    order = torch.where(bonded, (1 + reduced**power) ** (-0.5 / power), 1.0)
    repulsion = pair[:, tersoff.PAIR_HALF_A] * torch.exp(-pair[:, tersoff.PAIR_LAMBDA1] * distances)
    attraction = pair[:, tersoff.PAIR_HALF_B] * torch.exp(-pair[:, tersoff.PAIR_LAMBDA2] * distances)
    switch = _switch(distances, pair[:, tersoff.PAIR_INNER : tersoff.PAIR_SWITCH + 1])
    return switch * (repulsion - order * attraction)


def _triplet_rows(p, q, centre_types, neighbour_types, n_species):
    place = (centre_types[p] * n_species + neighbour_types[p]) * n_species + neighbour_types[q]
    return 1 + n_species**2 + place


def _switch(distances: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Cut-off function 1/2 + 1/2 cos(pi (r - inner) / (outer - inner)); columns inner, outer, pi / (outer - inner)."""
    inner, outer, factor = columns.unbind(1)
    inside = torch.minimum(torch.maximum(distances, inner), outer)
    return 0.5 + 0.5 * torch.cos(factor * (inside - inner))
