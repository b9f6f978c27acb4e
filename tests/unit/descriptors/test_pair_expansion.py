"""Expansion of single neighbours: sums to the density, reversal of bonds, derivatives."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.basis import LaplacianEigenstates, RadialScaling
from matterscape.descriptors import SphericalExpansion
from matterscape.descriptors.pair_expansion import expand_pairs
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SIZES = {"cutoff": 3.5, "max_radial": 3, "max_angular": 3, "centre_weight": 0.0}


@pytest.fixture
def structures():
    crystal = bulk("SiC", "zincblende", a=4.36, cubic=True)
    crystal.rattle(0.1, seed=5)
    return Structures.from_ase([crystal, molecule("CH3CH2OH")])


def _summed(values, pairs, n_atoms):
    return torch.zeros(n_atoms, *values.shape[1:], dtype=values.dtype).index_add(0, pairs.first, values)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"smearing": None, "radial_basis": LaplacianEigenstates(3, 3.5)},
        {"radial_scaling": RadialScaling(1.0, 2.0, 3), "species_channels": np.eye(4)[:, :2] + 0.1},
    ],
    ids=["Gaussian", "sharp", "mixed species"],
)
def test_sum_over_neighbours_is_the_density(structures, choices):
    expansion = SphericalExpansion([1, 6, 8, 14], **(SIZES | choices))
    pairs = structures.pairs(expansion.cutoff)
    values = expand_pairs(expansion, structures, pairs)
    assert values.shape == (len(pairs), 16, expansion.n_channels)
    density = expansion(structures)
    torch.testing.assert_close(_summed(values, pairs, len(density)), density, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(expand_pairs(expansion, structures), values)


def test_the_reverse_pair_has_the_parity_of_its_degree(structures):
    expansion = SphericalExpansion([1, 6, 8, 14], **SIZES)
    pairs = structures.pairs(expansion.cutoff)
    values = expand_pairs(expansion, structures, pairs, species_channels=False)
    assert values.shape == (len(pairs), 16, 3)
    keys = torch.stack([pairs.first, pairs.second, *pairs.shifts.T]).T.tolist()
    place = {tuple(key): row for row, key in enumerate(keys)}
    reverse = [place[j, i, -x, -y, -z] for i, j, x, y, z in keys]
    signs = torch.tensor([(-1.0) ** l for l in range(4) for _ in range(2 * l + 1)], dtype=torch.float64)
    torch.testing.assert_close(values[reverse], signs[:, None] * values, rtol=1e-12, atol=1e-14)
    # in the channels of the density: at the species of the second atom, zero elsewhere
    split = expand_pairs(expansion, structures, pairs).unflatten(2, (4, 3))
    channel = torch.searchsorted(torch.tensor(expansion.species), structures.species[pairs.second])
    torch.testing.assert_close(split[torch.arange(len(pairs)), :, channel], values)
    torch.testing.assert_close(split.sum(2), values)


def test_derivatives_in_the_vectors():
    structures = Structures.from_ase([molecule("H2O")])
    expansion = SphericalExpansion([1, 8], **(SIZES | {"max_angular": 2}))
    pairs = structures.pairs(expansion.cutoff)
    vectors = pairs.vectors.detach().requires_grad_()

    def values(vectors):
        of = type(pairs)(pairs.first, pairs.second, pairs.shifts, vectors, pairs.offsets)
        return expand_pairs(expansion, structures, of, species_channels=False)

    assert torch.autograd.gradcheck(values, (vectors,), fast_mode=True)
    assert torch.autograd.gradgradcheck(values, (vectors,), atol=1e-4, fast_mode=True)


def test_unknown_species(structures):
    with pytest.raises(ValueError, match="species 6 of structure 0 is unknown"):
        expand_pairs(SphericalExpansion([14], **SIZES), structures)
