"""Tensors of three vectors and irreducible parts beside e3nn, sphericart and featomic."""

import math

import numpy as np
import pytest
import torch

from matterscape.descriptors.irreps import cartesian_to_spherical
from matterscape.descriptors.tensor_basis import maximally_coupled

pytestmark = pytest.mark.peers


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("lambda_", [1, 2, 3, 4, 5, 6])
def test_powers_are_sphericarts_solid_harmonics(lambda_):
    sphericart = pytest.importorskip("sphericart")
    vectors = random(30, 3, 3)
    solid = sphericart.SolidHarmonics(lambda_).compute(vectors[:, [2, 0, 1], 1].contiguous().numpy())
    double_factorial = math.prod(range(2 * lambda_ + 1, 0, -2))
    scale = math.sqrt(4 * math.pi * math.factorial(lambda_) / double_factorial)
    power = maximally_coupled(vectors, lambda_)[:, :, 0].numpy()
    np.testing.assert_allclose(power, scale * solid[:, lambda_**2 :], atol=1e-13 * np.abs(power).max())


def test_products_are_e3nns():
    """Its real harmonics differ in the order of the axes only: its y is the polar axis."""
    o3 = pytest.importorskip("e3nn.o3")
    vectors = random(10, 3, 3)
    table = o3.wigner_3j(1, 1, 2, dtype=torch.float64)
    xyz = vectors[:, [2, 0, 1]]
    given = xyz[:, [1, 2, 0]]  # e3nn's (x, y, z) for our (y, z, x)
    for column, (left, right) in enumerate([(1, 1), (0, 1), (0, 0), (1, 2), (0, 2)]):
        expected = math.sqrt(5) * torch.einsum("abM,na,nb->nM", table, given[:, :, left], given[:, :, right])
        found = maximally_coupled(vectors, 2)[:, :, column]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_irreducible_parts_are_featomics():
    pytest.importorskip("featomic")
    mts = pytest.importorskip("metatensor")
    from featomic.clebsch_gordan import cartesian_to_spherical as theirs

    tensors = np.random.default_rng(0).normal(size=(8, 3, 3))
    block = mts.TensorBlock(
        tensors[..., None],
        mts.Labels.range("sample", 8),
        [mts.Labels.range("xyz_1", 3), mts.Labels.range("xyz_2", 3)],
        mts.Labels.range("property", 1),
    )
    tensor = mts.TensorMap(mts.Labels.range("_", 1), [block])
    converted = theirs(tensor, components=["xyz_1", "xyz_2"])
    parts = cartesian_to_spherical(tensors, symmetric=False)
    compared = set()
    for key, values in converted.items():
        l = int(key["o3_lambda"])
        sign = -1 if l == 1 else 1  # its part of order 1 is that of the transposed tensor
        np.testing.assert_allclose(parts[l], sign * np.asarray(values.values)[..., 0], atol=1e-12)
        compared.add(l)
    assert compared == {0, 1, 2}
