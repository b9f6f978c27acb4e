"""Training of potentials with an ensemble of last layers: forces, losses, interrupts, what is refused."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from matterscape.descriptors import forces as forces_of
from matterscape.models._ensemble_training import Labelled, fitted_baseline, make_examples
from matterscape.models.ensemble_potential import EnsemblePotential
from matterscape.potentials import StillingerWeber
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

SMALL = dict(cutoff=3.8, radial_functions=5, max_radial=2, max_angular=2, hidden=(8, 8), n_members=4)


def rattled(n_frames, seed, amplitude=0.15):
    """Cells of 8 silicon atoms, strained and displaced."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += amplitude * rng.normal(size=(8, 3))
        frames.append(atoms)
    return frames


def labelled(n_frames, seed):
    """Structures with the energies and forces of Stillinger and Weber."""
    structures = Structures.from_ase(rattled(n_frames, seed))
    truth = StillingerWeber.silicon()(structures)
    return structures, truth.energy.numpy(), truth.forces.numpy()


@pytest.fixture(scope="module")
def silicon():
    return labelled(60, 0)


@pytest.fixture(scope="module")
def test_set():
    return labelled(30, 1)


@pytest.fixture(scope="module")
def with_forces(silicon):
    potential = EnsemblePotential(["Si"], **SMALL)
    return potential.fit(*silicon, force_weight=30, epochs=40, batch_size=6, learning_rate=5e-3)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_forces_teach_energies_and_forces(silicon, test_set, with_forces):
    structures, energies, forces = test_set
    only_energies = EnsemblePotential(["Si"], **SMALL)
    only_energies.fit(*silicon[:2], epochs=40, batch_size=6, learning_rate=5e-3)
    errors = {}
    for name, potential in {"energies": only_energies, "forces": with_forces}.items():
        result = potential(structures)
        errors[name] = rms(result.energy.numpy() - energies), rms(result.forces.numpy() - forces)
    assert errors["energies"][0] < 0.5 * energies.std()
    assert errors["forces"][0] < errors["energies"][0]
    assert errors["forces"][1] < 0.7 * errors["energies"][1]


@pytest.mark.parametrize("loss", ["likelihood", "ranked probability"])
def test_deviations_tell_the_size_of_errors(silicon, test_set, loss):
    potential = EnsemblePotential(["Si"], **SMALL).fit(*silicon[:2], epochs=60, batch_size=6, loss=loss)
    members = potential.member_energies(test_set[0]).numpy()
    scale = np.mean((members.mean(1) - test_set[1]) ** 2 / members.var(1, ddof=1))
    assert 0.2 < scale < 5


def test_the_square_error_leaves_the_deviations_alone(silicon, test_set):
    potential = EnsemblePotential(["Si"], **SMALL).fit(*silicon[:2], epochs=20, batch_size=6, loss="squared")
    members = potential.member_energies(test_set[0]).numpy()
    assert rms(members.mean(1) - test_set[1]) < 0.8 * test_set[1].std()


def test_the_force_of_the_loss_is_the_force_of_the_mean(silicon, with_forces):
    structures, energies, forces = silicon[0][:5], silicon[1][:5], silicon[2][:40]
    (example,) = make_examples(with_forces, Labelled(structures, energies, forces), 5, 0)
    order = np.random.default_rng(0).permutation(5)
    batch = structures[order].with_gradients()
    head = with_forces.network.head
    rows = example.rows.detach().requires_grad_()
    mean = with_forces.network.features(rows, example.kinds) @ head.weight.mean(0)
    expected = forces_of(with_forces.member_energies(batch).mean(1), batch)
    assert torch.allclose(example._forces(mean, rows), expected, rtol=0, atol=1e-12)
    assert np.array_equal(example.forces.numpy().reshape(5, 8, 3), forces.reshape(5, 8, 3)[order])


def test_gradients_of_the_loss_by_finite_differences(silicon):
    potential = EnsemblePotential(["Si"], **SMALL, seed=1)
    (example,) = make_examples(potential, Labelled(silicon[0][:3], 0.1 * silicon[1][:3], silicon[2][:24]), 3, 0)
    network = potential.network.requires_grad_(True)
    rng = np.random.default_rng(2)
    for parameter in network.parameters():
        direction = torch.from_numpy(rng.normal(size=parameter.shape))
        for _ in range(2):  # the graph of the descriptors survives its use
            network.zero_grad()
            example.losses(network, "likelihood", 0.7).mean().backward()
        slope = float((parameter.grad * direction).sum())
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter += step * direction
            values.append(float(example.losses(network, "likelihood", 0.7).detach().mean()))
            with torch.no_grad():
                parameter -= step * direction
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_drawn_batches_are_the_structures_themselves(silicon):
    mixed = Structures.from_ase([*rattled(2, 5), bulk("Si"), *rattled(1, 6)])
    potential = EnsemblePotential(["Si"], **SMALL)
    (everything,) = make_examples(potential, Labelled(mixed, np.arange(4.0), None), 2, 0)
    part = everything.select(torch.tensor([2, 0]))
    assert torch.equal(part.rows, potential.descriptors(mixed[[2, 0]]))
    assert torch.equal(part.structure_index, mixed[[2, 0]].structure_index)
    assert part.counts.tolist() == [2, 8] and part.targets.tolist() == [2.0, 0.0]


def test_the_same_seed_gives_the_same_potential(silicon):
    first, second, other = (
        EnsemblePotential(["Si"], **SMALL).fit(*silicon, epochs=2, seed=seed).member_energies(silicon[0])
        for seed in (4, 4, 5)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_training_in_single_precision(silicon, test_set):
    structures = silicon[0].to(dtype=torch.float32)
    potential = EnsemblePotential(["Si"], **SMALL).fit(structures, *silicon[1:], epochs=3)
    assert potential.network.head.weight.dtype == torch.float64
    double = EnsemblePotential(["Si"], **SMALL).fit(*silicon, epochs=3)
    energies = [p.member_energies(test_set[0]) for p in (potential, double)]
    assert torch.allclose(*energies, rtol=1e-3)


def test_the_baseline_of_several_species():
    frames = [bulk("SiC", "zincblende", a=4.4), bulk("Si"), bulk("SiC", "zincblende", a=4.6)]
    structures = Structures.from_ase(frames)
    kinds = EnsemblePotential(["C", "Si"], **SMALL).kinds(structures)
    energies = np.array([-3.0 - 5.0, -10.0, -3.0 - 5.0])
    assert np.allclose(fitted_baseline(Labelled(structures, energies, None), kinds, 2), [-3.0, -5.0], atol=1e-12)
    one = Labelled(structures[[0]], energies[:1], None)
    assert np.allclose(fitted_baseline(one, kinds[:2], 2), [-4.0, -4.0])


def test_an_interrupt_keeps_the_best_network(silicon):
    potential = EnsemblePotential(["Si"], **SMALL)

    def strike(fraction, message):
        if fraction > 0.25:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="training interrupted after"):
        potential.fit(*silicon[:2], epochs=12, warm_up=0, progress=strike)
    assert not potential.history.complete and len(potential.history.losses) == 4
    assert np.isfinite(potential.member_energies(silicon[0]).numpy()).all()


def test_a_training_that_fails_changes_nothing(silicon):
    potential = EnsemblePotential(["Si"], **SMALL, seed=9)
    before = potential.member_energies(silicon[0])

    def strike(fraction, message):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        potential.fit(*silicon[:2], epochs=2, progress=strike)
    assert torch.equal(potential.member_energies(silicon[0]), before)
    assert potential.settings["seed"] == 9 and potential.history is None


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"energies": np.ones(59)}, "energies must have one number for each of the 60 samples"),
        ({"energies": np.r_[np.nan, np.ones(59)]}, "energies must be finite, got nan for sample 0"),
        ({"forces": np.ones((10, 3))}, r"forces has shape \(10, 3\); accepted is \(480, 3\), a row per atom"),
        ({"forces": np.full((480, 3), np.inf)}, "forces of atom 0 are"),
        ({"loss": "nll"}, "loss is 'nll'; accepted are 'likelihood', 'ranked probability', 'squared'"),
        ({"validation": 1.5}, "validation is 1.5 with 60 structures; accepted are a fraction between 0 and 1"),
        ({"validation": (1, 2, 3, 4)}, "validation has 4 entries; accepted is a tuple of structures, energies"),
        ({"batch_size": 0}, "batch_size is 0; accepted is a whole number, at least 1"),
        ({"force_weight": -1.0}, "force_weight is -1.0; accepted is a non-negative number"),
        ({"epochs": 0}, "epochs is 0; accepted is a whole number of epochs"),
    ],
)
def test_what_cannot_be_trained_on(silicon, change, sentence):
    structures, energies, forces = silicon
    arguments = {"structures": structures, "energies": energies, "forces": forces, **change}
    with pytest.raises(ValueError, match=sentence):
        EnsemblePotential(["Si"], **SMALL).fit(**arguments)


def test_unknown_species_are_not_trained_on(silicon):
    with pytest.raises(ValueError, match="is Si, which EnsemblePotential of Ge"):
        EnsemblePotential(["Ge"], **SMALL).fit(*silicon)
