"""Features of bonds, the density of an atom times one of its neighbours, number by number against featomic."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from matterscape.benchmarks.tasks import featomic_parameters
from matterscape.descriptors.equivariants import Equivariants
from matterscape.descriptors.messages import bond_features
from matterscape.structures import Pairs

pytestmark = pytest.mark.peers
featomic = pytest.importorskip("featomic")
clebsch_gordan = pytest.importorskip("featomic.clebsch_gordan")

MAX_ANGULAR, N_RADIAL, TYPES = 2, 3, (11, 17)
DENSITY = np.array([(number, n) for number in TYPES for n in range(N_RADIAL)], [("species", np.int64), ("n", np.int64)])


def _salt():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=0)
    return atoms


def _density(blocks, n_atoms):
    """featomic's expansion as (n_atoms, (max_angular + 1)^2, n_types n_radial)."""
    dense = torch.zeros(n_atoms, (MAX_ANGULAR + 1) ** 2, len(DENSITY), dtype=torch.float64)
    for key, block in blocks.items():
        l, column = key["o3_lambda"], TYPES.index(key["neighbor_type"]) * N_RADIAL
        dense[block.samples["atom"], l * l : (l + 1) ** 2, column : column + N_RADIAL] = torch.tensor(block.values)
    return dense


def _neighbours(block):
    """Sorted samples and values of a block by pair, without the atoms themselves, which featomic lists for l = 0."""
    samples = np.asarray(block.samples.values)  # system, first atom, second atom, shift
    others = np.flatnonzero((samples[:, 1] != samples[:, 2]) | (samples[:, 3:] != 0).any(axis=1))
    order = others[np.lexsort(samples[others].T)]
    return samples[order], torch.tensor(block.values)[torch.from_numpy(order)]


def test_density_times_neighbour():
    atoms = _salt()
    parameters = featomic_parameters()
    parameters["cutoff"]["radius"] = 4.5
    parameters["density"]["center_atom_weight"] = 0.0  # an atom's own density is not its neighbour's
    parameters["basis"]["radial"]["max_radial"] = N_RADIAL - 1
    parameters["basis"]["max_angular"] = MAX_ANGULAR
    by_atom, by_pair = featomic.SphericalExpansion(**parameters), featomic.SphericalExpansionByPair(**parameters)
    expected = clebsch_gordan.EquivariantPowerSpectrumByPair(by_atom, by_pair).compute(
        atoms, neighbors_to_properties=True
    )
    density = Equivariants.from_density(_density(by_atom.compute(atoms), len(atoms)), DENSITY)
    pair_blocks, compared = by_pair.compute(atoms), 0
    for (lambda_, sigma, first_type, second_type), block in expected.items():
        types = {"first_atom_type": first_type, "second_atom_type": second_type}
        samples, expected_values = _neighbours(block)
        expansions = [_neighbours(pair_blocks.block(o3_lambda=l, o3_sigma=1, **types)) for l in range(MAX_ANGULAR + 1)]
        assert all((one == samples).all() for one, _ in expansions)
        bonds = torch.cat([values for _, values in expansions], dim=1)
        first, second = torch.from_numpy(samples[:, 1:3].astype(np.int64)).T
        pairs = Pairs(first, second, *(torch.zeros(len(first), 3),) * 2, torch.zeros(len(atoms) + 1))
        found = bond_features(pairs, Equivariants.from_density(bonds), density, only=[(sigma, lambda_)])
        ours = {tuple(label): k for k, label in enumerate(found.labels[sigma, lambda_].tolist())}
        # (l_1, l_2, type of the neighbour in the density, n_1, n_2) there, (species_1, n_1, l_1, q_2, l_2) here
        columns = [ours[kind, n1, l1, n2, l2] for l1, l2, kind, n1, n2 in np.asarray(block.properties.values).tolist()]
        # featomic multiplies the same coefficients by (-1)^(l1 + l2 + L), which is sigma for densities
        values = sigma * found[sigma, lambda_][:, :, columns]
        scale = expected_values.abs().max()
        assert (values - expected_values).abs().max() < 1e-10 * scale, (lambda_, sigma)
        compared += values.numel()
        assert scale > 0 and len(set(columns)) == len(columns)
    assert compared > 10_000
