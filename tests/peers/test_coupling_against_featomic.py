"""Clebsch-Gordan products against featomic, block by block, and against e3nn: 1e-10 relative.

featomic multiplies every coupling by (-1)^(l1 + l2 + L), which its table of coefficients does not hold. From densities,
whose sigma is +1, the factors of all steps make up the sigma of the result.
"""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.basis import clebsch_gordan
from matterscape.descriptors.coupling import couple
from matterscape.descriptors.equivariants import Equivariants, correlations, product

pytestmark = pytest.mark.peers

SIZES = {
    "cutoff": {"radius": 3.5, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.4},
    "basis": {"type": "TensorProduct", "max_angular": 3, "radial": {"type": "Gto", "max_radial": 1}},
}


@pytest.fixture(scope="module")
def featomic():
    pytest.importorskip("featomic.clebsch_gordan")
    return pytest.importorskip("featomic")


@pytest.fixture(scope="module")
def crystal():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.15, seed=1)
    return atoms


def _density(tensor):
    """Blocks of one centre and neighbour type as features; the samples are in one order everywhere."""
    return Equivariants({(1, int(key["o3_lambda"])): torch.as_tensor(block.values) for key, block in tensor.items()})


def _places(labels, names):
    """Column of every label, as a tuple of the named fields."""
    return {tuple(label): column for column, label in enumerate(labels[names].tolist())}


def _without_types(featomic, calculator, systems):
    import metatensor

    tensor = calculator.compute(systems)
    for name in ("center_type", "neighbor_type", "first_atom_type", "second_atom_type"):
        if name in tensor.keys.names:
            tensor = metatensor.remove_dimension(tensor, "keys", name)
    return tensor


def test_coefficients(featomic):
    tensor = featomic.clebsch_gordan.calculate_cg_coefficients(
        lambda_max=4, cg_backend="python-dense", arrays_backend="numpy", dtype=np.float64, device="cpu"
    )
    assert len(tensor) == 65
    for key, block in tensor.items():
        expected = clebsch_gordan(*(int(key[name]) for name in ("l1", "l2", "lambda")))
        np.testing.assert_allclose(block.values.reshape(expected.shape), expected, atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_density_correlations(featomic, crystal, order):
    tensor = _without_types(featomic, featomic.SphericalExpansion(**SIZES), [crystal])
    ours = correlations(_density(tensor), order)[-1]
    theirs = featomic.clebsch_gordan.DensityCorrelations(
        n_correlations=order - 1, max_angular=3 * order, skip_redundant=False
    ).compute(tensor)
    names = ["l_1", "l_2", "k_2", "l_3"][: 2 if order == 2 else 4]
    channels = [f"_{i + 1}" for i in range(order)]
    n_compared = 0
    for key, block in theirs.items():
        ours_key = int(key["o3_sigma"]), int(key["o3_lambda"])
        # the parity of an intermediate block is no label: it follows from l_1 + l_2 + k_2
        place = _places(ours.labels[ours_key], [*names, *(f"q{i}" for i in channels)])
        degrees = [int(key[name]) for name in names]
        columns = [place[(*degrees, *(int(label[f"n{i}"]) for i in channels))] for label in block.properties]
        values = ours[ours_key][:, :, columns].numpy()
        np.testing.assert_allclose(
            ours_key[0] * values, block.values, rtol=0, atol=1e-10 * np.abs(values).max() + 1e-15
        )
        n_compared += len(columns)
    assert n_compared == sum(ours.channels.values())


def test_power_spectrum(featomic, crystal):
    tensor = _without_types(featomic, featomic.SphericalExpansion(**SIZES), [crystal])
    features = correlations(_density(tensor), 2, invariants_only=True)[-1]
    (block,) = featomic.SoapPowerSpectrum(**SIZES).compute([crystal]).blocks()
    labels = features.labels[1, 0]
    place = _places(labels, ["l_1", "q_1", "q_2"])
    assert len(place) == len(block.properties)
    columns = [place[tuple(int(label[name]) for name in ("l", "n_1", "n_2"))] for label in block.properties]
    np.testing.assert_allclose(features.invariants().numpy()[:, columns], block.values, rtol=1e-10, atol=1e-13)


def test_products_of_bonds_and_centres(featomic):
    metatensor = pytest.importorskip("metatensor")
    water = molecule("H2O")
    water.numbers[:] = 1  # one type of block
    water.positions += np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.2, 0]])
    centres = _without_types(featomic, featomic.SphericalExpansion(**SIZES), [water])
    bonds = _without_types(featomic, featomic.SphericalExpansionByPair(**SIZES), [water])
    samples = bonds.block(1).samples  # those of l = 0 hold every atom with itself besides
    bonds = metatensor.slice(bonds, "samples", samples)
    first = torch.as_tensor(np.array(samples["first_atom"]), dtype=torch.int64)
    ours = product(_density(centres), _density(bonds), first_index=first)
    theirs = featomic.clebsch_gordan.EquivariantPowerSpectrumByPair(
        featomic.SphericalExpansion(**SIZES), featomic.SphericalExpansionByPair(**SIZES)
    ).compute([water])
    n_compared = 0
    for key, block in theirs.items():
        ours_key = int(key["o3_sigma"]), int(key["o3_lambda"])
        place = _places(ours.labels[ours_key], ["l_1", "l_2", "q_1", "q_2"])
        columns = [place[tuple(int(label[n]) for n in ("l_1", "l_2", "n_1", "n_2"))] for label in block.properties]
        theirs_rows = [block.samples.position(sample) for sample in samples]
        values = block.values[theirs_rows]
        np.testing.assert_allclose(ours_key[0] * ours[ours_key][:, :, columns].numpy(), values, rtol=1e-10, atol=1e-12)
        n_compared += len(columns)
    # they keep l_1 <= l_2 only
    kept = sum(int((labels["l_1"] <= labels["l_2"]).sum()) for labels in ours.labels.values())
    assert n_compared == kept > 100


@pytest.fixture
def double():
    """e3nn keeps its coefficients in torch's default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("l1, l2", [(0, 2), (1, 1), (2, 1), (3, 2)])
def test_against_e3nn(double, l1, l2):
    o3 = pytest.importorskip("e3nn.o3")
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(6, 2 * l + 1, q, generator=generator) for l, q in ((l1, 3), (l2, 4)))
    peer = o3.FullTensorProduct(f"3x{l1}e", f"4x{l2}e", irrep_normalization="norm")
    # e3nn's rows are (channels, 2 l + 1)
    values = peer(*(block.transpose(1, 2).flatten(1) for block in (first, second)))
    norms = first.pow(2).sum((1, 2)) * second.pow(2).sum((1, 2))
    for (count, irrep), part in zip(peer.irreps_out, values.split([m.dim for m in peer.irreps_out], dim=1)):
        ours = couple(first, second, irrep.l)
        theirs = part.unflatten(1, (count, irrep.dim)).transpose(1, 2)
        # coefficients are known up to their sign, and e3nn's have another norm
        factor = float((ours * theirs).sum() / (theirs * theirs).sum())
        torch.testing.assert_close(ours, factor * theirs, rtol=1e-10, atol=1e-12)
        norms = norms - ours.pow(2).sum((1, 2))
    torch.testing.assert_close(norms, torch.zeros(6), rtol=0, atol=1e-10)
