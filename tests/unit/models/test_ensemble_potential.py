"""Potentials with an ensemble of last layers: identities of the members, derivatives, invariances, files, mistakes."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from matterscape.dynamics.restart import fingerprint
from matterscape.models.ensemble_potential import EnsemblePotential
from matterscape.structures import Structures
from matterscape.uq.rigidity import Rigidity, gram
from matterscape.uq.spectrum import RigiditySpectrum

pytestmark = pytest.mark.unit

SMALL = dict(cutoff=3.5, radial_functions=4, max_radial=2, max_angular=2, hidden=(6, 5), n_members=4)


@pytest.fixture(scope="module")
def potential():
    """Three species, random weights, and a baseline."""
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, seed=3)
    potential.baseline[:] = -1.0, -20.0, -30.0
    rng = np.random.default_rng(0)
    body = potential.network.body
    body.centres.copy_(torch.from_numpy(0.1 * rng.normal(size=body.centres.shape)))
    body.inverse_widths.copy_(torch.from_numpy(rng.uniform(1.0, 3.0, size=body.centres.shape)))
    return potential


@pytest.fixture(scope="module")
def frames():
    """Ethanol, a crystal of two atoms, water."""
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.1, seed=1)
    return [molecule("CH3CH2OH"), crystal, molecule("H2O")]


@pytest.fixture(scope="module")
def structures(frames):
    return Structures.from_ase(frames)


# -- members -----------------------------------------------------------------------------------------------------------


def test_the_potential_is_the_mean_of_its_members(potential, structures):
    result = potential(structures)
    assert torch.allclose(potential.member_energies(structures).mean(1), result.energy, rtol=0, atol=1e-12)
    assert torch.allclose(potential.local_member_energies(structures).mean(1), result.energies, rtol=0, atol=1e-12)
    assert torch.allclose(potential.member_forces(structures).mean(0), result.forces, rtol=0, atol=1e-12)
    assert torch.allclose(potential.member_virials(structures).mean(0), result.virials, rtol=0, atol=1e-12)


def test_members_differ(potential, structures):
    assert potential.member_energies(structures).std(1).min() > 1e-3
    assert potential.member_forces(structures).std(0).max() > 1e-3


def test_members_are_a_linear_last_layer(potential, structures):
    features = potential.last_layer_features(structures)
    assert features.shape == (3, 6)
    assert torch.equal(features[:, -1], structures.atoms_per_structure.double())
    per_atom = potential.last_layer_features(structures, per="atom")
    assert torch.allclose(per_atom[structures.structure_index == 1].sum(0), features[1], rtol=1e-14)
    energies = potential.last_layer().members(features) + potential.baseline_energies(structures)[:, None]
    assert torch.allclose(energies, potential.member_energies(structures), rtol=1e-14)


def test_the_baseline_belongs_to_every_member(potential, structures):
    lifted = potential.stretched(1.0)
    lifted.baseline = potential.baseline + np.array([1.0, 10.0, 100.0])
    difference = lifted.member_energies(structures) - potential.member_energies(structures)
    expected = torch.tensor([6.0 + 20.0 + 100.0, 20.0, 2.0 + 100.0], dtype=torch.float64)
    assert torch.allclose(difference, expected[:, None].expand(3, 4), rtol=0, atol=1e-10)


def test_stretching_multiplies_deviations_and_leaves_the_mean(potential, structures):
    stretched = potential.stretched(2.5)
    before, after = (p.member_forces(structures) for p in (potential, stretched))
    assert torch.allclose(after.mean(0), before.mean(0), rtol=0, atol=1e-12)
    assert torch.allclose(after.std(0), 2.5 * before.std(0), rtol=0, atol=1e-12)
    before, after = (p.member_energies(structures) for p in (potential, stretched))
    assert torch.allclose(after.mean(1), before.mean(1), rtol=0, atol=1e-12)
    assert torch.allclose(after.std(1), 2.5 * before.std(1), rtol=1e-12)


def test_calibration_makes_errors_as_large_as_deviations(potential, structures):
    energies = potential(structures).energy.numpy() + np.array([0.3, -0.2, 0.1])
    calibrated = potential.stretched(1.0)
    scale = calibrated.calibrate(structures, energies)
    members = calibrated.member_energies(structures).numpy()
    ratio = (members.mean(1) - energies) ** 2 / members.var(1, ddof=1)
    assert ratio.mean() == pytest.approx(1.0, rel=1e-10)
    spread = calibrated.member_energies(structures).std(1) / potential.member_energies(structures).std(1)
    assert torch.allclose(spread, torch.full_like(spread, scale**0.5), rtol=1e-10)


def test_features_make_rigidities(potential, structures):
    features = potential.last_layer_features(structures)
    spectrum = RigiditySpectrum(gram([features]))
    inverse = spectrum.rows(features).inverse_rigidity(1e-6)
    assert inverse.shape == (3,) and (inverse > 0).all() and (inverse < 1 + 1e-9).all()


# -- derivatives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_members", [4, 9])  # fewer and more than last-layer features
def test_forces_of_each_member_are_those_of_a_backward_pass_of_its_own(structures, n_members):
    potential = EnsemblePotential(["H", "C", "O"], **{**SMALL, "n_members": n_members})
    batch = structures.with_gradients()
    energies = potential.member_energies(batch)
    forces, rows = potential.member_forces(structures), potential.force_rows(structures)
    assert forces.shape == (n_members, 14, 3) and rows.shape == (42, 6)
    weights = torch.from_numpy(potential.last_layer().weights)
    assert torch.allclose((rows @ weights).T.reshape(forces.shape), forces, rtol=0, atol=1e-12)
    for k in range(n_members):
        (slope,) = torch.autograd.grad(energies[:, k].sum(), batch.leaf_positions, retain_graph=True)
        assert torch.allclose(forces[k], -slope, rtol=0, atol=1e-10)


def test_forces_of_members_by_finite_differences(potential, frames):
    forces = potential.member_forces(Structures.from_ase(frames[0]))
    direction = np.random.default_rng(1).normal(size=(9, 3))

    def energies(step):
        moved = frames[0].copy()
        moved.positions += step * direction
        return potential.member_energies(Structures.from_ase(moved))[0]

    slopes = (energies(1e-4) - energies(-1e-4)) / 2e-4
    assert torch.allclose(slopes, -(forces * torch.from_numpy(direction)).sum((1, 2)), rtol=0, atol=1e-6)


def test_virials_of_members_by_finite_differences(potential, frames):
    virials = potential.member_virials(Structures.from_ase(frames[1]))[:, 0]
    strain = np.array([[0.2, 0.1, 0.0], [0.1, -0.3, 0.05], [0.0, 0.05, 0.1]])

    def energies(step):
        strained = frames[1].copy()
        strained.set_cell(strained.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
        return potential.member_energies(Structures.from_ase(strained))[0]

    slopes = (energies(1e-4) - energies(-1e-4)) / 2e-4
    assert torch.allclose(slopes, -(virials * torch.from_numpy(strain)).sum((1, 2)), rtol=0, atol=1e-6)


# -- structures --------------------------------------------------------------------------------------------------------


def test_every_member_is_extensive(potential, frames):
    one, many = (Structures.from_ase(f) for f in (frames[1], frames[1] * (3, 2, 1)))
    assert torch.allclose(potential.member_energies(many), 6 * potential.member_energies(one), rtol=1e-13)
    assert torch.allclose(potential.last_layer_features(many), 6 * potential.last_layer_features(one), rtol=1e-12)


def test_members_of_a_batch_are_those_of_single_structures(potential, structures, monkeypatch):
    energies, forces = potential.member_energies(structures), potential.member_forces(structures)
    result = potential(structures)
    monkeypatch.setattr("matterscape.models.ensemble_potential.ATOMS_IN_BLOCK", 1)
    assert torch.allclose(potential.member_energies(structures), energies, rtol=1e-14)
    assert torch.allclose(potential.member_forces(structures), forces, rtol=0, atol=1e-13)
    assert torch.allclose(potential(structures).flux_tensors, result.flux_tensors, rtol=0, atol=1e-13)


def test_an_atom_alone_has_an_energy_and_no_force(potential):
    alone = Structures.from_ase(molecule("H"))
    result = potential(alone)
    assert torch.allclose(potential.member_energies(alone).mean(1), result.energy, rtol=1e-14)
    assert result.forces.abs().max() == 0


def test_single_precision(potential, structures):
    single = structures.to(dtype=torch.float32)
    energies = potential.member_energies(single)
    assert energies.dtype == torch.float32
    assert torch.allclose(energies.double(), potential.member_energies(structures), rtol=1e-5)


def test_pseudo_species_shorten_the_power_spectrum(structures):
    channels = np.array([[1.0, 0.2], [0.3, 1.0], [-0.5, 0.7]])
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, species_channels=channels)
    plain = EnsemblePotential(["H", "C", "O"], **SMALL)
    assert potential.n_descriptors == 12 + 3 * 10 < plain.n_descriptors == 12 + 3 * 21
    result = potential(structures)
    assert torch.allclose(potential.member_forces(structures).mean(0), result.forces, rtol=0, atol=1e-12)


def test_the_deviation_of_an_energy_has_forces(potential, frames):
    """-d sigma / d r through descriptors, network and members or rigidity, against central differences."""
    rows = potential.last_layer_features(Structures.from_ase(frames))
    rigidity = Rigidity(gram(rows), 1e-4)

    def deviations(structures):
        features = potential.last_layer_features(structures)
        return torch.stack(
            [potential.last_layer().standard_deviation(features)[0], rigidity.variance(features)[0] ** 0.5]
        )

    structures = Structures.from_ase(frames[0]).with_gradients()
    values = deviations(structures)
    gradients = [torch.autograd.grad(value, structures.leaf_positions, retain_graph=True)[0] for value in values]
    for atom, axis in ((0, 0), (1, 2)):
        moved = []
        for step in (1e-4, -1e-4):
            atoms = frames[0].copy()
            atoms.positions[atom, axis] += step
            moved.append(deviations(Structures.from_ase(atoms)))
        expected = (moved[0] - moved[1]) / 2e-4
        found = torch.stack([gradient[atom, axis] for gradient in gradients])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def test_rows_of_forces_give_variances_of_forces(potential, structures):
    """The spread of the members' forces is that of the last layer on the rows of forces."""
    rows, forces = potential.force_rows(structures), potential.member_forces(structures)
    spread = potential.last_layer().standard_deviation(rows).reshape(-1, 3)
    torch.testing.assert_close(spread, forces.std(0), rtol=1e-9, atol=1e-12)


def test_calibration_in_single_precision_keeps_its_digits(structures):
    """Total energies of 10^5 eV have an error of 0.01 eV in single precision."""
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, seed=3)
    potential.baseline[:] = -1e4, -2e4, -3e4
    single = structures.to(dtype=torch.float32)
    energies = potential(single.to(dtype=torch.float64)).energy.numpy() + np.array([0.003, -0.002, 0.001])
    expected = potential.stretched(1.0).calibrate(single.to(dtype=torch.float64), energies)
    assert potential.stretched(1.0).calibrate(single, energies) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="errors must not all be zero"):
        potential.calibrate(single, potential.member_energies(single.to(dtype=torch.float64)).mean(1))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [None, np.array([[1.0, 0.2], [0.3, 1.0], [-0.5, 0.7]])])
def test_a_file_gives_the_same_potential_bit_for_bit(structures, tmp_path, channels):
    potential = EnsemblePotential(["H", "C", "O"], **SMALL, seed=5, species_channels=channels)
    potential.baseline[:] = 0.1, 0.2, 0.3
    potential.save(tmp_path / "potential.npz")
    other = EnsemblePotential.load(tmp_path / "potential.npz")
    assert other.settings == potential.settings
    assert torch.equal(other.member_energies(structures), potential.member_energies(structures))
    assert torch.equal(other(structures).forces, potential(structures).forces)
    assert fingerprint(other) == fingerprint(potential) != fingerprint(potential.stretched(2.0))
    with np.load(tmp_path / "potential.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    with pytest.raises(ValueError, match="that of a fitted EnsemblePotential, got none of its entries baseline"):
        EnsemblePotential.from_state_dict({"settings": "{}"})


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"n_members": 1}, "n_members is 1; accepted is a whole number of members"),
        ({"hidden": ()}, "hidden is empty"),
        ({"seed": -1}, "seed is -1; accepted is a whole number"),
        ({"hidden": (8, 0)}, "hidden is 0; accepted is a whole number of units"),
        ({"cutoff": -1.0}, "cutoff is -1.0; accepted is a positive number"),
        ({"cutoff_width": 9.0}, "width is 9.0; accepted is a number up to the cutoff"),
        ({"species_channels": np.ones((2, 1))}, r"species_channels has shape \(2, 1\)"),
    ],
)
def test_parameters_that_make_no_potential(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        EnsemblePotential(["Si"], **{**SMALL, **changes})


def test_unknown_species(potential):
    with pytest.raises(ValueError, match="species holds 'Xx'; accepted are chemical symbols"):
        EnsemblePotential(["Si", "Xx"])
    silicon = Structures.from_ase(bulk("Si"))
    for ask in (potential, potential.member_energies, potential.member_forces, potential.baseline_energies):
        with pytest.raises(ValueError, match="atom 0 of structure 0 is Si, which EnsemblePotential of H, C, O"):
            ask(silicon)


def test_other_mistakes(potential, structures):
    with pytest.raises(ValueError, match="per is 'pair'; accepted are 'structure' and 'atom'"):
        potential.last_layer_features(structures, per="pair")
    with pytest.raises(TypeError, match="structures is a Atoms; accepted is Structures"):
        potential.member_energies(bulk("C"))
    with pytest.raises(ValueError, match="factor is 0"):
        potential.stretched(0)
    with pytest.raises(ValueError, match="energies must be finite"):
        potential.calibrate(structures, [1.0, np.nan, 2.0])
