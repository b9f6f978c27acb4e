"""Bases, harmonics and coupling coefficients against featomic and sphericart."""

import ase
import numpy as np
import pytest
import torch

from matterscape.basis.coupling import ClebschGordan, clebsch_gordan
from matterscape.basis.cutoffs import RadialScaling, ShiftedCosine
from matterscape.basis.harmonics import spherical_harmonics_with_hessians
from matterscape.basis.radial import GaussianTypeOrbitals, LaplacianEigenstates, centre_overlap, radial_integrals

pytestmark = pytest.mark.peers
featomic = pytest.importorskip("featomic")

CUTOFF = 5.0
STEP = {"radius": CUTOFF, "smoothing": {"type": "Step"}}
DISTANCES = [0.05, 0.4, 1.0, 1.7, 2.5, 3.33, 4.2, 4.9]


def pair_coefficients(density, basis, distance, cutoff=STEP):
    """featomic's expansion of one pair along z, divided by the harmonics: {l: (n,)}."""
    calculator = featomic.SphericalExpansionByPair(cutoff=cutoff, density=density, basis=basis)
    atoms = ase.Atoms("HH", positions=[[0, 0, 0], [0, 0, distance]])
    result = {}
    for key, block in calculator.compute(atoms).items():
        samples = block.samples.values
        row = np.flatnonzero((samples[:, 1] == 0) & (samples[:, 2] == 1))[0]
        angular = int(key["o3_lambda"])
        # along z only m = 0 survives, with sqrt((2 l + 1) / 4 pi)
        result[angular] = np.asarray(block.values)[row, angular] / np.sqrt((2 * angular + 1) / (4 * np.pi))
    return result


@pytest.mark.parametrize("smearing", [0.2, 0.5])
def test_gaussian_type_orbitals_equal_featomic(smearing):
    basis = {
        "type": "TensorProduct",
        "max_angular": 6,
        "radial": {"type": "Gto", "max_radial": 7},
        "spline_accuracy": None,
    }
    spline = radial_integrals(GaussianTypeOrbitals(8, CUTOFF), 6, smearing)
    for distance in DISTANCES:
        reference = pair_coefficients({"type": "Gaussian", "width": smearing}, basis, distance)
        ours = spline.evaluate(np.array([distance])).reshape(7, 8)
        for angular, values in reference.items():
            np.testing.assert_allclose(ours[angular], values, atol=1e-8, err_msg=f"l = {angular}")


def test_sharp_density_equals_featomic():
    from featomic.basis import Gto

    r = np.linspace(0.01, CUTOFF, 50)
    theirs = Gto(radius=CUTOFF, max_radial=7).compute(r, derivative=False)
    ours = radial_integrals(GaussianTypeOrbitals(8, CUTOFF), 2).evaluate(r).reshape(50, 3, 8)
    np.testing.assert_allclose(ours, np.repeat(theirs[:, None], 3, axis=1), atol=1e-7)


@pytest.mark.parametrize("smearing", [None, 0.3])
def test_laplacian_eigenstates_equal_featomic(smearing):
    """Looser: featomic's own table of cubic polynomials limits the agreement."""
    from featomic.basis import LaplacianEigenstate
    from featomic.cutoff import Cutoff
    from featomic.density import DiracDelta, Gaussian
    from featomic.splines import SoapSpliner

    hypers = SoapSpliner(
        cutoff=Cutoff(CUTOFF, smoothing=None),
        density=DiracDelta() if smearing is None else Gaussian(width=smearing),
        basis=LaplacianEigenstate(radius=CUTOFF, max_radial=4, max_angular=3),
        n_spline_points=300,
    ).get_hypers()
    spline = radial_integrals(LaplacianEigenstates(5, CUTOFF), 3, smearing)
    for distance in DISTANCES:
        row = spline.evaluate(np.array([distance])).reshape(4, 5)
        for angular, values in pair_coefficients(hypers["density"], hypers["basis"], distance).items():
            np.testing.assert_allclose(row[angular, : len(values)], values, atol=2e-6, err_msg=f"l = {angular}")


def test_centre_overlap_equals_featomic():
    calculator = featomic.SphericalExpansion(
        cutoff=STEP,
        density={"type": "Gaussian", "width": 0.3},
        basis={"type": "TensorProduct", "max_angular": 2, "radial": {"type": "Gto", "max_radial": 7}},
    )
    block = calculator.compute(ase.Atoms("H")).block(o3_lambda=0)
    np.testing.assert_allclose(centre_overlap(GaussianTypeOrbitals(8, CUTOFF), 0.3), block.values[0, 0], atol=1e-8)


def test_cutoff_and_scaling_equal_featomic():
    basis = {"type": "TensorProduct", "max_angular": 0, "radial": {"type": "Gto", "max_radial": 2}}
    plain = {"type": "Gaussian", "width": 0.4}
    scaled = plain | {"scaling": {"type": "Willatt2018", "rate": 1.3, "scale": 1.7, "exponent": 4}}
    smooth = {"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": 0.8}}
    for distance in (1.0, 4.3, 4.7, 4.95):
        r = torch.tensor([distance], dtype=torch.float64)
        factor = (ShiftedCosine(CUTOFF, 0.8)(r) * RadialScaling(rate=1.3, scale=1.7, exponent=4)(r)).item()
        expected = pair_coefficients(scaled, basis, distance, cutoff=smooth)[0]
        np.testing.assert_allclose(factor * pair_coefficients(plain, basis, distance)[0], expected, rtol=1e-10)


@pytest.mark.parametrize("max_angular", [1, 6, 12, 20])
def test_harmonics_equal_sphericart(max_angular):
    sphericart = pytest.importorskip("sphericart")
    vectors = np.random.default_rng(0).normal(size=(101, 3))
    vectors *= np.linspace(0.5, 7, 101)[:, None] / np.linalg.norm(vectors, axis=1, keepdims=True)
    theirs = sphericart.SphericalHarmonics(max_angular).compute_with_hessians(vectors)
    for result, expected in zip(spherical_harmonics_with_hessians(torch.from_numpy(vectors), max_angular), theirs):
        np.testing.assert_allclose(result, expected, atol=1e-12 * max(1, np.abs(expected).max()))


def test_coupling_coefficients_equal_featomic():
    from featomic.clebsch_gordan._coefficients import calculate_cg_coefficients

    theirs = calculate_cg_coefficients(4, "python-dense", "numpy", np.float64, "cpu")
    compared = 0
    for key, block in theirs.items():
        triple = int(key["l1"]), int(key["l2"]), int(key["lambda"])
        expected = np.asarray(block.values)[0, :, :, :, 0]
        np.testing.assert_allclose(clebsch_gordan(*triple), expected, atol=1e-12, err_msg=str(triple))
        compared += 1
    assert compared == len(list(ClebschGordan(4)))
