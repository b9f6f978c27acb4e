"""Delta-learning: residuals, the sum of baseline and correction, what it is good for."""

import copy

import numpy as np
import pytest
import torch
from ase.build import bulk

from matterscape.dynamics import Simulation, VelocityVerlet
from matterscape.models import EnsemblePotential, TrainingSet
from matterscape.models.delta import DeltaPotential, accepted_frames, prediction_errors, residual
from matterscape.potentials import LennardJones, LPSForceField, StillingerWeber, verify
from matterscape.potentials.li3ps4 import beta, gamma
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SMALL = {"cutoff": 4.0, "radial_functions": 4, "max_radial": 3, "max_angular": 2, "hidden": (8, 8), "n_members": 4}
TRAINING = {"force_weight": 10.0, "epochs": 15, "batch_size": 5, "learning_rate": 5e-3}


def silicon(number, seed):
    frames = []
    for k in range(number):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.12, seed=1000 * seed + k)
        frames.append(atoms)
    return frames


def labelled(number, seed):
    structures = Structures.from_ase(silicon(number, seed))
    result = StillingerWeber.silicon()(structures)
    return TrainingSet(structures, result.energy.numpy(), result.forces.numpy())


@pytest.fixture(scope="module")
def baseline():
    """Stiffer and shifted: what it leaves is smoother than what there is."""
    return 0.8 * StillingerWeber.silicon()


@pytest.fixture(scope="module")
def fitted(baseline):
    potential = DeltaPotential(baseline, EnsemblePotential(["Si"], **SMALL))
    return potential.fit(labelled(15, 0), labelled(5, 1), **TRAINING)


def test_the_residual_is_what_is_left(baseline):
    references = labelled(3, 0)
    left = residual(baseline, references)
    np.testing.assert_allclose(left.energies, 0.2 * references.energies, atol=1e-9)
    np.testing.assert_allclose(left.forces, 0.2 * references.forces, atol=1e-12)
    assert left.structures is references.structures


def test_errors_beside_what_varies(baseline):
    references = labelled(4, 0)
    found = prediction_errors(baseline, references)
    assert found.force_rmse == pytest.approx(0.2 * found.force_rms)
    assert found.force_rms == pytest.approx(np.sqrt(np.mean(references.forces**2)))
    assert found.energy_rmse == pytest.approx(0.2 * found.energy_deviation)
    assert found.n_structures == 4
    shifted = TrainingSet(references.structures, references.energies + 100.0 * references.n_atoms, references.forces)
    assert prediction_errors(baseline, shifted).energy_rmse == pytest.approx(found.energy_rmse)


def test_the_correction_learns_what_the_baseline_leaves(baseline, fitted):
    test = labelled(20, 2)
    plain = EnsemblePotential(["Si"], **SMALL)
    training, held_out = labelled(15, 0), labelled(5, 1)
    plain.fit(
        training.structures, training.energies, training.forces,
        validation=(held_out.structures, held_out.energies, held_out.forces), **TRAINING,
    )  # fmt: skip
    errors = {name: prediction_errors(p, test) for name, p in (("b", baseline), ("d", fitted), ("p", plain))}
    assert errors["d"].force_rmse < 0.5 * errors["b"].force_rmse
    assert errors["d"].force_rmse < 0.5 * errors["p"].force_rmse
    assert errors["d"].energy_rmse < errors["b"].energy_rmse


def test_it_is_the_sum(baseline, fitted):
    structures = Structures.from_ase(silicon(2, 3))
    whole, parts = fitted(structures), (baseline(structures), fitted.correction(structures))
    for name in ("energies", "forces", "flux_tensors"):
        expected = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), expected, rtol=1e-12, atol=1e-12)
    members = fitted.member_energies(structures)
    assert members.shape == (2, 4)
    torch.testing.assert_close(members.mean(dim=1), whole.energy, rtol=1e-12, atol=1e-10)


def test_it_is_a_potential(fitted):
    assert verify(fitted, silicon(1, 5)).passed


def test_dynamics_conserves_energy_to_second_order_in_the_step(fitted):
    changes = []
    for timestep in (1.0, 0.5):
        simulation = Simulation(
            silicon(2, 4), fitted, integrator=VelocityVerlet(), timestep_fs=timestep, initial_temperature_K=300.0
        )
        energy = simulation.total_energy
        simulation.run(round(100 / timestep))
        changes.append(simulation.total_energy - energy)
    np.testing.assert_allclose(changes[0] / changes[1], 4.0, atol=0.3)


def test_dynamics_knows_the_members(fitted):
    simulation = Simulation(
        silicon(2, 4), fitted, integrator=VelocityVerlet(), timestep_fs=1.0, initial_temperature_K=300.0
    )
    record = simulation.record("member_energies", every=50)
    simulation.run(100)
    np.testing.assert_allclose(record.values[-1].mean(axis=1), simulation.potential_energy, atol=1e-9)
    frames = silicon(2, 4)
    for atoms, positions in zip(frames, simulation.positions.reshape(2, 8, 3)):
        atoms.positions = positions
    expected = fitted.member_energies(Structures.from_ase(frames)).numpy()
    np.testing.assert_allclose(simulation.member_energies, expected, atol=1e-9)


def test_members_deviate_more_where_there_are_no_data(fitted):
    def spread(amplitude):
        frames = [bulk("Si", cubic=True) for _ in range(10)]
        for k, atoms in enumerate(frames):
            atoms.rattle(amplitude, seed=k)
        return float(fitted.member_energies(Structures.from_ase(frames)).std(dim=1).mean())

    assert spread(0.35) > 2 * spread(0.12)


def test_calibration_makes_the_members_deviate_as_they_err(baseline, fitted):
    potential = DeltaPotential(baseline, copy.copy(fitted.correction))
    references = labelled(20, 6)
    members = potential.member_energies(references.structures).numpy()
    errors = members.mean(axis=1) - references.energies
    scale = potential.calibrate(references)
    assert scale == pytest.approx(np.mean(errors**2 / members.var(axis=1, ddof=1)), rel=1e-6)
    after = potential.member_energies(references.structures).numpy()
    np.testing.assert_allclose(after.mean(axis=1), members.mean(axis=1), atol=1e-9)


def test_frames_with_broken_bonds_are_set_aside():
    broken = gamma()
    sulphur = np.flatnonzero(broken.symbols == "S")[0]
    broken.positions[sulphur] += (1.5, 1.0, 0.0)
    accepted, refused = accepted_frames(LPSForceField(), [gamma(), broken, beta()])
    assert [len(atoms) for atoms in accepted] == [16, 32]
    assert list(refused) == [1]
    assert "within 2.9 Å" in refused[1]


def test_bad_parts(baseline):
    with pytest.raises(TypeError, match="correction is a LennardJones; accepted is an EnsemblePotential"):
        DeltaPotential(baseline, LennardJones({("Ar", "Ar"): (0.01, 3.4)}, cutoff=8.0))
    with pytest.raises(ValueError, match="no species in common"):
        DeltaPotential(baseline, EnsemblePotential(["Ar"], **SMALL))
