"""Spherical expansion, power and radial spectrum: values and position gradients against featomic, to 1e-6 relative."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.basis import LaplacianEigenstates, RadialScaling
from matterscape.benchmarks.tasks import featomic_parameters
from matterscape.datasets import generators
from matterscape.descriptors import PowerSpectrum, RadialSpectrum, SphericalExpansion, forces
from matterscape.structures import Structures

pytestmark = pytest.mark.peers
featomic = pytest.importorskip("featomic")
for _module in ("basis", "cutoff", "density", "splines"):
    pytest.importorskip(f"featomic.{_module}")

RELATIVE = 1e-6


def _silicon():
    return [generators.silicon_crystal(2, rattle=0.1, seed=3), bulk("Si")]


def _molecules():
    return [molecule(name) for name in ("CH3CH2OH", "H2O", "CH3NO2", "C6H6")]


def _water():
    return [generators.water_box(32, seed=4)]


SYSTEMS = {"silicon": _silicon, "molecules": _molecules, "water": _water}


@pytest.fixture(params=SYSTEMS)
def frames(request):
    return SYSTEMS[request.param]()


def _parameters(**changes):
    parameters = featomic_parameters()
    parameters["basis"]["radial"] |= {"max_radial": 5}
    parameters["basis"]["max_angular"] = 4
    parameters["basis"]["spline_accuracy"] = 1e-10  # featomic's own interpolation must not limit the comparison
    for path, value in changes.items():
        target = parameters
        *keys, last = path.split("/")
        for key in keys:
            target = target[key]
        target[last] = value
    return parameters


OURS = {"cutoff": 5.0, "max_radial": 6, "max_angular": 4, "smearing": 0.3}


def _expansion_matrix(calculator, frames, species, n_radial, max_angular):
    """featomic's blocks as one array (n_atoms, (max_angular + 1)^2, n_species n_radial)."""
    offsets = np.concatenate([[0], np.cumsum([len(atoms) for atoms in frames])])
    dense = np.zeros((offsets[-1], (max_angular + 1) ** 2, len(species) * n_radial))
    for key, block in calculator.compute(frames).items():
        l, column = key["o3_lambda"], species.index(key["neighbor_type"]) * n_radial
        rows = offsets[block.samples["system"]] + block.samples["atom"]
        dense[rows, l * l : (l + 1) ** 2, column : column + n_radial] = block.values
    return dense


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"centre_weight": 0.0}, {"density/center_atom_weight": 0.0}),
        (
            {"radial_scaling": RadialScaling(rate=1.0, scale=2.0, exponent=3)},
            {"density/scaling": {"type": "Willatt2018", "rate": 1.0, "scale": 2.0, "exponent": 3}},
        ),
        ({"smearing": 0.5}, {"density/width": 0.5}),
    ],
    ids=["plain", "no centre", "radial scaling", "wide"],
)
def test_spherical_expansion(frames, ours, theirs):
    structures = Structures.from_ase(frames)
    expansion = SphericalExpansion(structures.unique_species, **(OURS | ours))
    expected = _expansion_matrix(
        featomic.SphericalExpansion(**_parameters(**theirs)), frames, list(expansion.species), 6, 4
    )
    _assert_close(expansion(structures).numpy(), expected)


def test_power_spectrum_values_and_gradients(frames):
    structures = Structures.from_ase(frames)
    soap = PowerSpectrum(structures.unique_species, **OURS)
    theirs = featomic.SoapPowerSpectrum(**_parameters()).compute(frames, gradients=["positions"])
    columns = soap.columns
    offsets = structures.offsets.numpy()
    random = np.random.default_rng(0)

    features = soap(structures).numpy()
    weights, energy_of_theirs = np.zeros(soap.n_features), 0.0
    forces_of_theirs = np.zeros((structures.n_atoms, 3))
    seen = np.zeros_like(features, dtype=bool)
    for key, block in theirs.items():
        rows = offsets[block.samples["system"]] + block.samples["atom"]
        gradient = block.gradient("positions")
        for column, (l, n_1, n_2) in enumerate(block.properties.values):
            # featomic keeps n_1 > n_2 of equal species as well; ours are once, times sqrt(2)
            same = key["neighbor_1_type"] == key["neighbor_2_type"]
            if same and n_1 > n_2:
                continue
            factor = np.sqrt(2) if same and n_1 < n_2 else 1.0
            (ours,) = np.flatnonzero(
                (columns["l"] == l)
                & (columns["species_1"] == key["neighbor_1_type"])
                & (columns["species_2"] == key["neighbor_2_type"])
                & (columns["n_1"] == n_1)
                & (columns["n_2"] == n_2)
            )
            np.testing.assert_allclose(
                features[rows, ours], factor * block.values[:, column], rtol=0, atol=RELATIVE * np.abs(features).max()
            )
            seen[rows, ours] = True
            if weights[ours] == 0:
                weights[ours] = random.normal()
            scale = weights[ours] * factor
            energy_of_theirs += scale * block.values[:, column].sum()
            atoms = offsets[gradient.samples["system"]] + gradient.samples["atom"]
            np.subtract.at(forces_of_theirs, atoms, scale * gradient.values[:, :, column])
    assert np.all(features[~seen] == 0)  # species that are not around an atom

    differentiable = structures.with_gradients()
    energy = (soap(differentiable) @ torch.from_numpy(weights)).sum()
    assert energy.item() == pytest.approx(energy_of_theirs, rel=RELATIVE)
    _assert_close(forces(energy, differentiable).numpy(), forces_of_theirs)


def test_radial_spectrum(frames):
    structures = Structures.from_ase(frames)
    ours = RadialSpectrum(structures.unique_species, cutoff=5.0, max_radial=6, smearing=0.3)
    parameters = _parameters()
    del parameters["basis"]["max_angular"]
    parameters["basis"] |= {"type": "TensorProduct"}
    theirs = featomic.SoapRadialSpectrum(
        cutoff=parameters["cutoff"],
        density=parameters["density"],
        basis={"radial": parameters["basis"]["radial"], "spline_accuracy": 1e-10},
    ).compute(frames)
    expected = np.zeros((structures.n_atoms, ours.n_features))
    offsets = structures.offsets.numpy()
    for key, block in theirs.items():
        rows = offsets[block.samples["system"]] + block.samples["atom"]
        column = ours.species.index(key["neighbor_type"]) * 6
        expected[rows, column : column + 6] = block.values
    _assert_close(ours(structures).numpy(), expected)


def test_sharp_density_on_laplacian_eigenstates():
    frames = _silicon()
    structures = Structures.from_ase(frames)
    ours = LaplacianEigenstates(6, 5.0)
    theirs = {l: featomic.basis.SphericalBessel(max_radial=5, radius=5.0, angular_channel=l) for l in range(5)}
    expansion = SphericalExpansion(
        structures.unique_species, radial_basis=ours, **(OURS | {"smearing": None, "centre_weight": 0.0})
    )
    spliner = featomic.splines.SoapSpliner(
        cutoff=featomic.cutoff.Cutoff(radius=5.0, smoothing=featomic.cutoff.ShiftedCosine(width=0.5)),
        density=featomic.density.DiracDelta(center_atom_weight=0.0),
        basis=featomic.basis.Explicit(by_angular=theirs),
        n_spline_points=2000,
    )
    calculator = featomic.SphericalExpansion(**spliner.get_hypers())
    expected = _expansion_matrix(calculator, frames, list(expansion.species), 6, 4)
    _assert_close(expansion(structures).numpy(), expected)


def _assert_close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=RELATIVE * np.abs(theirs).max())
